"""Access records as JSON."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.observe.making import START, WALL, Client, Endpoint, a_connection, an_exchange
from voltgw.observe.fields import ACCESS_FIELDS
from voltgw.observe.json_lines import JsonLines, host_type, proxy_type
from voltgw.observe.lines import MAX_LINE, seconds
from voltgw.values.exchange import Exchange
from voltgw.values.head import RequestHead
from voltgw.values.proxyheader import ProxyHeader
from voltgw.values.trace import Trace

OFFSET = WALL - START


class JsonLinesTests(SynchronousTestCase):
    """The schema, and what may not break it."""

    def setUp(self) -> None:
        """A gateway in Paris."""
        self.lines = JsonLines("paris", "edge-1", "site-local-vn")

    def read(self, exchange: Exchange) -> dict[str, Any]:
        """The record of one exchange, as a log reader gets it."""
        line = self.lines.http(exchange, OFFSET)
        self.assertEqual(line.count("\n"), 1)
        self.assertTrue(line.endswith("}\n"))
        record: dict[str, Any] = json.loads(line.encode("ascii"))
        return record

    def test_an_exchange_that_went_well(self) -> None:
        """Every key has its value."""
        self.assertEqual(self.read(an_exchange(b"/./cart?page=2", b"/cart")), {
            "time": "2022-03-28T23:09:53.748Z", "connected_time": "2022-03-28T23:09:53.498000Z",
            "listener": "127.0.0.1:8080", "scheme": "http", "sni": "", "tls_version": "VERSION_UNSPECIFIED",
            "tls_cipher_suite": "VERSION_UNSPECIFIED/TLS_NULL_WITH_NULL_NULL", "src": "N:site-local-vn",
            "src_site": "paris", "src_ip": "203.0.113.10", "src_port": "63826", "user": "IP-203.0.113.10",
            "site": "paris", "cluster_name": "paris", "hostname": "edge-1", "namespace": "default", "vh_name": "shop",
            "vh_type": "HTTP-LOAD-BALANCER", "app_type": "shop-app", "proxy_type": "http", "route": "shop/0",
            "authority": "shop.example.com", "original_authority": "shop.example.com", "method": "GET",
            "req_path": "/cart", "original_path": "/./cart", "req_params": "page=2", "req_size": "717",
            "req_id": "f282cd42-4c86-4fd8-8d57-f90e43e1c9a5", "http_version": "HTTP/1.1", "x_forwarded_for": "",
            "user_agent": "curl/8.5.0", "rsp_code": "200", "rsp_code_class": "2xx", "rsp_code_details": "via_upstream",
            "response_flags": "", "auth": "", "auth_user": "", "policy": "", "rate_limit": "", "rsp_size": "223", "upstream_cluster": "default/shop", "dst": "S:10.0.0.5",
            "dst_ip": "10.0.0.5", "dst_port": "9001", "dst_site": "paris", "attempts": 1,
            "time_to_first_upstream_tx_byte": 0.000123, "time_to_last_upstream_tx_byte": 0.000123,
            "time_to_first_upstream_rx_byte": 0.001456, "time_to_last_upstream_rx_byte": 0.001456,
            "time_to_first_downstream_tx_byte": 0.00146, "time_to_last_downstream_tx_byte": 0.00146,
            "duration_with_data_tx_delay": "0.001337", "duration_with_no_data_tx_delay": "0.001337",
            "duration_s": 0.00146,
        })

    def test_where_requests_take_part_in_tracing(self) -> None:
        """The trace, our span and the decision stand behind the request's id, in a line that was clipped as well."""
        exchange = an_exchange()
        exchange.trace = Trace(b"0af7651916cd43dd8448eb211c80319c", 0xF067AA0BA902B7, b"b7ad6b7169203331", True)
        expected = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "00f067aa0ba902b7", "sampled": "1"}
        traced = [field.name for field in ACCESS_FIELDS if field.traced]
        for path in (b"/cart", b"/" + b"x" * 10_000):
            exchange.request.path = path
            found = json.loads(self.lines.http(exchange, OFFSET))
            self.assertEqual({name: found[name] for name in traced}, expected)
            self.assertEqual(list(found), [field.name for field in ACCESS_FIELDS if field.http and (field.always or field.traced)])
        exchange.trace.sampled = False
        self.assertEqual(json.loads(self.lines.http(exchange, OFFSET))["sampled"], "0")

    def test_keys_types_and_order_are_those_of_the_schema(self) -> None:
        """`ACCESS_FIELDS`, from which the docs are made, says what the lines hold."""
        http = json.loads(self.lines.http(an_exchange(), OFFSET))
        tcp = json.loads(self.lines.connection(a_connection(), OFFSET))
        self.assertEqual(list(http), [field.name for field in ACCESS_FIELDS if field.http and field.always])
        self.assertEqual(list(tcp), [field.name for field in ACCESS_FIELDS if field.tcp and field.always])
        kinds = {field.name: field.kind for field in ACCESS_FIELDS}
        for record in (http, tcp):
            for name, value in record.items():
                self.assertIsInstance(value, str if kinds[name] == "string" else (int, float), name)

    def test_what_a_proxy_has_announced(self) -> None:
        """TLVs are bounded text, whatever bytes they have; the two keys stand in such records alone."""
        exchange, record = an_exchange(), a_connection()
        header = ProxyHeader(100, ("203.0.113.10", 1), ("198.51.100.1", 443), (
            (2, b"shop.example"), (3, b"\0\1\2\3"), (0xEA, b"\x01vpce"), (0x20, b"ascii"), (0xE0, b'"\xff' * 500), (5, b"x" * 500),
            *((0xE1, b"") for _ in range(50))))
        exchange.client.announced = record.client.announced = header            # type: ignore[misc]
        for found in (self.read(exchange), json.loads(self.lines.connection(record, OFFSET))):
            self.assertEqual(found["proxied_to"], "198.51.100.1:443")
            self.assertEqual(found["proxy_tlvs"][:5], [
                "AUTHORITY=shop.example", "AWS=0176706365", "SSL=6173636969", "0xe0=" + "22ff" * 32 + "...",
                "UNIQUE_ID=" + "x" * 128 + "..."])
            self.assertEqual(len(found["proxy_tlvs"]), 15)
        lines = JsonLines("paris", "edge-1", "site-local-vn")
        exchange.client.announced = ProxyHeader(28)                             # type: ignore[misc]
        self.assertEqual(json.loads(lines.http(exchange, OFFSET))["proxied_to"], "")

    def test_a_relayed_connection(self) -> None:
        """A connection's record says when it ended and what passed."""
        record = json.loads(self.lines.connection(a_connection(), OFFSET))
        for name, value in {
            "terminated_time": "2022-03-28T23:09:56.248000Z", "connection_state": "CLOSED", "proxy_type": "tcp",
            "vh_type": "TCP-LOAD-BALANCER", "req_size": "1000", "rsp_size": "2000", "dst": "S:10.0.0.7",
            "time_to_upstream_connected": 0.00031, "duration_s": 2.5, "route": "db/0", "src_ip": "203.0.113.10",
        }.items():
            self.assertEqual(record[name], value, name)

    def test_every_phase_at_its_own_time(self) -> None:
        """Each time is measured from the request's beginning, the two durations from the first byte to the endpoint."""
        exchange = an_exchange()
        (exchange.t_upstream_first_tx, exchange.t_upstream_last_tx, exchange.t_upstream_first_rx,
         exchange.t_downstream_first, exchange.t_upstream_last_rx, exchange.t_downstream_last) = (
            START + second for second in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
        record = self.read(exchange)
        self.assertEqual([record[f"time_to_{what}_byte"] for what in (
            "first_upstream_tx", "last_upstream_tx", "first_upstream_rx", "first_downstream_tx", "last_upstream_rx",
            "last_downstream_tx")], [1, 2, 3, 4, 5, 6])
        self.assertEqual(record["duration_with_data_tx_delay"], "5.000000")
        self.assertEqual(record["duration_with_no_data_tx_delay"], "3.000000")
        self.assertEqual(record["duration_s"], 6)

    def test_a_local_answer_to_nobodys_request(self) -> None:
        """Without virtual host and endpoint the keys are there and say so."""
        exchange = an_exchange()
        exchange.route = exchange.endpoint = exchange.response = None
        exchange.response_code, exchange.flag, exchange.detail = 404, "NR", "route_not_found"
        exchange.attempts = 0
        exchange.t_upstream_first_tx = exchange.t_upstream_last_tx = 0.0
        exchange.t_upstream_first_rx = exchange.t_upstream_last_rx = 0.0
        record = self.read(exchange)
        for name, value in {
            "vh_name": "", "namespace": "", "route": "", "proxy_type": "http", "dst": "", "dst_ip": "NOT-APPLICABLE",
            "dst_port": "0", "rsp_code": "404", "rsp_code_class": "4xx", "rsp_code_details": "route_not_found",
            "response_flags": "NR", "time_to_first_upstream_tx_byte": 0, "duration_with_data_tx_delay": "0",
            "time_to_last_downstream_tx_byte": 0.00146, "duration_s": 0.00146, "site": "paris",
        }.items():
            self.assertEqual(record[name], value, name)

    def test_a_client_that_left_before_the_answer(self) -> None:
        """Nothing was sent: status 0 without a class, and the duration ends with the last thing that happened."""
        exchange = an_exchange()
        exchange.response = None
        exchange.response_code, exchange.flag = 0, "DC"
        exchange.t_downstream_first = exchange.t_downstream_last = 0.0
        exchange.t_upstream_first_rx = exchange.t_upstream_last_rx = 0.0
        record = self.read(exchange)
        self.assertEqual((record["rsp_code"], record["rsp_code_class"], record["duration_s"]), ("0", "", 0.000123))

    def test_bytes_that_were_never_a_request(self) -> None:
        """An exchange with an empty head has a valid line."""
        exchange = Exchange(Client(), RequestHead(b"", b"", b"", None, 1, b"", b"", None, [], 0, False), b"id", START, 0)
        self.assertEqual(self.read(exchange)["method"], "")

    def test_a_tls_connection(self) -> None:
        """Version and suite are the client's, not "unspecified"."""
        client = Client(scheme=b"https", sni="shop.example.com", tls_version="TLSv1.3", tls_cipher="TLS_AES_128_GCM_SHA256")
        record = self.read(an_exchange(client=client))
        self.assertEqual([record[name] for name in ("scheme", "sni", "tls_version", "tls_cipher_suite")],
                         ["https", "shop.example.com", "TLSv1.3", "TLSv1.3/TLS_AES_128_GCM_SHA256"])

    def test_a_client_behind_a_trusted_hop(self) -> None:
        """The address is the believed one, and its port, which nobody said, is 0; the connection's own is not mixed in."""
        client = Client()
        exchange = an_exchange(client=client)
        exchange.client_address = "198.51.100.7"
        exchange.request.forwarding = [(b"x-real-ip", b"1.1.1.1"), (b"x-forwarded-for", b"198.51.100.7"),
                                       (b"x-forwarded-for", b"10.1.1.1")]
        record = self.read(exchange)
        self.assertEqual((record["src_ip"], record["src_port"], record["user"], record["x_forwarded_for"]),
                         ("198.51.100.7", "0", "IP-198.51.100.7", "198.51.100.7, 10.1.1.1"))
        self.assertEqual(self.read(an_exchange(client=client))["src_ip"], "203.0.113.10")

    def test_bytes_that_are_no_utf8(self) -> None:
        """They are shown as escapes, and the line is valid JSON in ASCII."""
        exchange = an_exchange(b"/\xff\xfe\x00\"\\\n?q=\x80", fields=[(b"user-agent", b"\xe9\x1b[31m \xc3\xa9")])
        exchange.request.authority = b"sh\xf6p"
        record = self.read(exchange)
        self.assertEqual(record["req_path"], "/\\xff\\xfe\x00\"\\\n")
        self.assertEqual(record["req_params"], "q=\\x80")
        self.assertEqual(record["user_agent"], "\\xe9\x1b[31m é")
        self.assertEqual(record["authority"], "sh\\xf6p")
        self.assertEqual(record["original_authority"], "shop.example.com")

    def test_every_byte_in_every_value(self) -> None:
        """No byte breaks the line, wherever it stands."""
        for number in range(256):
            byte = bytes([number])
            exchange = an_exchange(b"/" + byte, method=b"M" + byte, authority=b"a" + byte,
                                   fields=[(b"user-agent", byte)])
            exchange.request.query = byte
            exchange.request_id = byte
            exchange.request.forwarding = [(b"x-forwarded-for", byte)]
            record = self.read(exchange)
            if number < 128:
                self.assertEqual(record["method"], "M" + chr(number))

    def test_absolute_and_star_targets(self) -> None:
        """The original path has neither query nor host nor password."""
        for target, path in (
            (b"http://user:pw@shop.example.com/a?x=1", "/a"), (b"http://shop.example.com", "/"), (b"*", "*"),
            (b"shop.example.com:443", "shop.example.com:443"), (b"/a://b?c", "/a://b"),
        ):
            record = self.read(an_exchange(target, b"/n"))
            self.assertEqual((record["original_path"], record["req_path"]), (path, "/n"))

    def test_secrets_in_the_query(self) -> None:
        """Their values are not in the line at all: not in the parameters, not in the original path."""
        line = self.lines.http(an_exchange(b"/a/../cart?token=S3cret&page=2", b"/cart"), OFFSET)
        self.assertNotIn("S3cret", line)
        self.assertEqual(json.loads(line)["req_params"], "token=***&page=2")

    def test_a_session_in_the_path(self) -> None:
        """Parameters of path segments are treated like those of the query, in the path as sent and as judged."""
        for target, path in ((b"/a;v=1;jsessionid=S3cret/b", None), (b"/./a;jsessionid=S3cret", b"/a;jsessionid=S3cret")):
            exchange = an_exchange(target, path)
            self.assertNotIn("S3cret", self.lines.http(exchange, OFFSET))
        self.assertEqual(self.read(an_exchange(b"/a;v=1;jsessionid=S3cret/b"))["req_path"], "/a;v=1;jsessionid=***/b")

    def test_values_of_sixty_kilobytes(self) -> None:
        """The line is clipped, stays valid, and keeps everything else."""
        huge = b"/" + b"x" * 30_000
        exchange = an_exchange(huge + b"?" + b"y" * 30_000, fields=[(b"a", b"b"), (b"user-agent", b"z" * 30_000)])
        line = self.lines.http(exchange, OFFSET)
        self.assertLess(len(line), MAX_LINE)
        record = json.loads(line)
        self.assertTrue(record["req_path"].startswith("/xxx") and record["req_path"].endswith("xx..."))
        self.assertTrue(record["user_agent"].endswith("zz..."))
        short = self.read(an_exchange())
        for name in set(short) - {"req_path", "original_path", "req_params", "user_agent"}:
            self.assertEqual(record[name], short[name], name)
        self.assertEqual(exchange.request.target[:30_001], huge)

    def test_many_user_agents(self) -> None:
        """What is remembered of them is bounded, and what is written is theirs."""
        for number in range(3000):
            record = self.read(an_exchange(fields=[(b"user-agent", b"agent %d" % number)]))
            self.assertEqual(record["user_agent"], f"agent {number}")
        self.assertLessEqual(len(self.lines._memo), 1024)

    def test_nothing_outlives_a_batch(self) -> None:
        """After `forget` no connection, route or endpoint is held, and an endpoint that changed is described anew."""
        endpoint = Endpoint()
        exchange = an_exchange()
        exchange.endpoint = endpoint
        self.read(exchange)
        self.lines.forget()
        endpoint.address = "10.0.0.6"
        self.assertEqual(self.read(exchange)["dst"], "S:10.0.0.6")
        self.lines.forget()
        held = [*self.lines._clients, *self.lines._routes, *(each for each in self.lines._endpoints if each is not None)]
        self.assertEqual(held, [])

    def test_names_of_proxy_types(self) -> None:
        """The object model's names for the kinds of host."""
        for proxy, short, kind in (
            ("HTTP_PROXY", "http", "HTTP-LOAD-BALANCER"), ("HTTPS_PROXY", "https", "HTTP-LOAD-BALANCER"),
            ("TCP_PROXY", "tcp", "TCP-LOAD-BALANCER"), ("UDP_PROXY", "udp", "UDP-LOAD-BALANCER"),
            ("TCP_PROXY_WITH_SNI", "tcp_with_sni", "TCP-LOAD-BALANCER"),
        ):
            self.assertEqual((proxy_type(proxy), host_type(proxy)), (short, kind))

    def test_time_goes_on_within_a_batch(self) -> None:
        """Timestamps that share a second or a millisecond are each right, and so is one that goes back."""
        for later, text in ((0.0, "53.748"), (0.0004, "53.748"), (0.0015, "53.749"), (0.252, "54.000"), (59.0, "52.748"),
                            (0.0, "53.748")):
            exchange = an_exchange()
            exchange.t_start = START + later + 1e-5
            self.assertEqual(self.read(exchange)["time"][-7:-1], text)

    def test_durations_are_rounded_as_the_formatter_does(self) -> None:
        """To microseconds, and exactly: also between two of them, at the ends of the fast way, and beyond."""
        chance = Random(7)
        found = [chance.random() * 10 ** -chance.randrange(7) for _ in range(5_000)]
        found += [(chance.randrange(1_000_000) + 0.5) / 1e6 for _ in range(5_000)]
        found += [0.0, 1e-9, 5e-7, 0.9999984, 0.999999, 0.9999994, 0.9999996, 1.0, 61.5, -1e-9, -0.25, float("inf")]
        for duration in found:
            self.assertEqual(seconds(duration), f"{duration:.6f}")
