"""Spans made of records, as OpenTelemetry's own messages read them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span
from twisted.trial.unittest import SynchronousTestCase

from tests.observe.making import START, WALL, Client, Host, Route, a_connection, an_exchange
from tests.otlp import CLIENT, INTERNAL, SERVER, said
from voltgw.observe.relayed_spans import spans_of_relayed
from voltgw.observe.spans import spans_of
from voltgw.values.exchange import Exchange
from voltgw.values.tls import Handshake
from voltgw.values.trace import Trace

OFFSET = WALL - START


def read(spans: list[bytes]) -> list[Any]:
    """Spans as OpenTelemetry has them."""
    found = []
    for each in spans:
        one = Span()
        one.ParseFromString(each)
        found.append(one)
    return found


def traced(exchange: Exchange) -> list[Any]:
    """The spans of an exchange that has a trace."""
    if exchange.trace is None:
        exchange.trace = Trace(b"0" * 31 + b"1", 5, b"", True)
    return read(spans_of(exchange, OFFSET))


class RequestTests(SynchronousTestCase):
    def test_times(self) -> None:
        """Wall clock in nanoseconds: the request from its beginning to its last byte, the try from its first to its last."""
        server, client = traced(an_exchange())
        begins = round(WALL * 1e3) * 10**6
        self.assertLess(abs(server.start_time_unix_nano - begins), 1000)
        self.assertLess(abs(server.end_time_unix_nano - begins - 1_460_000), 1000)
        self.assertLess(abs(client.start_time_unix_nano - begins - 123_000), 1000)
        self.assertLess(abs(client.end_time_unix_nano - begins - 1_456_000), 1000)
        self.assertEqual([each.name for each in server.events], [
            "first byte to the endpoint", "first byte of the endpoint", "first byte to the client"])
        self.assertEqual((server.name, server.kind, client.name, client.kind), ("GET shop/0", SERVER, "GET", CLIENT))
        self.assertEqual((server.span_id, client.span_id), ((5).to_bytes(8, "big"), (6).to_bytes(8, "big")))

    def test_what_it_was_not(self) -> None:
        """A request that is no call of gRPC, and goes to no rollout, is told as neither."""
        names = ("rpc.system", "rpc.grpc.status_code", "voltgw.rollout")
        server, client = traced(an_exchange())
        self.assertEqual([name for name in names if name in said(server) or name in said(client)], [])
        exchange = an_exchange()
        exchange.grpc_status, exchange.rollout = b"14", "default/shop candidate"
        server, _ = traced(exchange)
        self.assertEqual([said(server)[name] for name in names], ["grpc", 14, "default/shop candidate"])

    def test_methods_that_nobody_knows(self) -> None:
        """They do not make names of spans up (semantic conventions, http.request.method)."""
        server, client = traced(an_exchange(method=b"BREW"))
        self.assertEqual((server.name, client.name), ("HTTP shop/0", "_OTHER"))
        self.assertEqual((said(server)["http.request.method"], said(server)["http.request.method_original"]), ("_OTHER", "BREW"))

    def test_secrets(self) -> None:
        """Those of paths and queries are hidden as in the access log; other headers are never in spans."""
        server, _ = traced(an_exchange(b"/a;jsessionid=s3cr3t?token=s3cr3t&page=2", fields=[
            (b"authorization", b"Bearer s3cr3t"), (b"cookie", b"session=s3cr3t")]))
        self.assertEqual((said(server)["url.path"], said(server)["url.query"]), ("/a;jsessionid=***", "token=***&page=2"))
        self.assertNotIn(b"s3cr3t", server.SerializeToString())

    def test_what_was_refused(self) -> None:
        """No try, the status and why; 429 is the client's error, 503 ours."""
        for status, flag, code in ((429, "RL", 0), (503, "NC", 2)):
            exchange = an_exchange()
            exchange.endpoint = exchange.response = None
            exchange.attempts, exchange.response_code, exchange.flag, exchange.detail = 0, status, flag, "why"
            exchange.limit, exchange.policy = "default/per-user 192.0.2.7", "default/edge/no-admin"
            (server,) = traced(exchange)
            values = said(server)
            self.assertEqual((server.status.code, values["http.response.status_code"], values["voltgw.response_flags"]),
                             (code, status, flag))
            self.assertEqual((values["voltgw.details"], values["voltgw.rate_limit"], values["voltgw.policy"]),
                             ("why", "default/per-user 192.0.2.7", "default/edge/no-admin"))
            self.assertEqual("error.type" in values, code == 2)

    def test_nobody_was_answered(self) -> None:
        """The client left: an error without a status."""
        exchange = an_exchange()
        exchange.response, exchange.response_code, exchange.flag, exchange.detail = None, 0, "DC", "client_left"
        exchange.t_upstream_last_rx = 0.0
        server, client = traced(exchange)
        self.assertEqual((server.status.code, server.status.message, client.status.code), (2, "client_left", 2))
        self.assertNotIn("http.response.status_code", said(server))
        self.assertEqual(said(client)["error.type"], "DC")

    def test_an_error_of_the_client(self) -> None:
        """404: no error of the server's span, one of the try (semantic conventions)."""
        exchange = an_exchange()
        assert exchange.response is not None
        exchange.response.status = exchange.response_code = 404
        server, client = traced(exchange)
        self.assertEqual((server.status.code, client.status.code, said(client)["error.type"]), (0, 2, "404"))

    def test_an_ejected_endpoint(self) -> None:
        """The try that failed says that outlier detection has taken its endpoint out."""
        for ejected in (False, True):
            exchange = an_exchange()
            exchange.response, exchange.response_code, exchange.flag = None, 502, "UC"
            exchange.endpoint.watch = SimpleNamespace(ejected=ejected)      # type: ignore[union-attr]  # the tests' own
            self.assertEqual("voltgw.endpoint.ejected" in said(traced(exchange)[1]), ejected)

    def test_the_clients_handshake_is_told_once(self) -> None:
        """With the first recorded request of its connection, if that came soon."""
        client = Client(tls_version="TLSv1.3", tls_cipher="TLS_AES_128_GCM_SHA256", sni="shop.example",
                        handshake=Handshake("TLSv1.3", "TLS_AES_128_GCM_SHA256"), connected_wall=WALL - 0.25)
        transport = SimpleNamespace(handshake_s=0.125)
        client.transport = transport        # type: ignore[attr-defined]  # real ones have one
        server, handshake, _ = traced(an_exchange(client=client))
        self.assertEqual((handshake.name, handshake.kind, handshake.parent_span_id), ("TLS handshake", INTERNAL, server.span_id))
        self.assertLess(abs(handshake.end_time_unix_nano - handshake.start_time_unix_nano - 125_000_000), 1000)
        self.assertLess(abs(server.start_time_unix_nano - handshake.end_time_unix_nano - 250_000_000), 1000)
        self.assertEqual(said(handshake), {"tls.protocol.version": "1.3", "tls.client.server_name": "shop.example"})
        self.assertEqual(len(traced(an_exchange(client=client))), 2)
        client.connected_wall, transport.handshake_s = WALL - 60, 0.125
        self.assertEqual(len(traced(an_exchange(client=client))), 2)


class RelayTests(SynchronousTestCase):
    def relayed(self, **changes: Any) -> list[Any]:
        """The spans of a connection that is other than usual in these."""
        record = a_connection()
        for name, value in changes.items():
            setattr(record, name, value)
        return read(spans_of_relayed(record, b"\1" * 16, 7, True, OFFSET))

    def test_a_connection(self) -> None:
        """As long as it lived, with its bytes; the connection to the endpoint below."""
        server, client, connect = self.relayed()
        self.assertEqual(server.name, "TCP db/0")
        self.assertLess(abs(server.end_time_unix_nano - server.start_time_unix_nano - 2_500_000_000), 1000)
        self.assertLess(abs(connect.end_time_unix_nano - connect.start_time_unix_nano - 310_000), 1000)
        self.assertEqual((said(server)["voltgw.bytes.received"], said(server)["voltgw.bytes.sent"]), (1000, 2000))
        self.assertEqual((said(client)["server.address"], said(client)["server.port"]), ("10.0.0.7", 5432))

    def test_a_session(self) -> None:
        """UDP connects to nobody."""
        server, client = self.relayed(route=Route("dns/0", Host("dns", proxy="UDP_PROXY")))
        self.assertEqual((server.name, client.name, said(server)["network.transport"]), ("UDP dns/0", "UDP", "udp"))

    def test_one_that_came_to_nothing(self) -> None:
        """Refused by a policy: no endpoint. The endpoint refused: an error of both. Nobody's route: the transport alone."""
        (server,) = self.relayed(endpoint=None, flag="RBAC", detail="policy", policy="default/edge/no-admin")
        self.assertEqual((server.status.code, said(server)["voltgw.policy"]), (2, "default/edge/no-admin"))
        server, client = self.relayed(flag="UF", detail="refused", t_upstream_connected=0.0)
        self.assertEqual((server.status.code, client.status.code, said(client)["error.type"]), (2, 2, "UF"))
        self.assertEqual(self.relayed(route=None)[0].name, "TCP")
