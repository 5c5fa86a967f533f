"""PROXY headers towards HTTP endpoints: connections that are kept, but never shared by two clients."""

from __future__ import annotations

import re
import socket
import subprocess
from typing import Any

from twisted.internet.threads import deferToThread

from tests.app.running import GET
from tests.certificates import authority, inline, server
from tests.integration.gateway import free_port
from tests.integration.test_proxy_protocol import CLIENT, OBJECTS, TRUSTED, ProxyProtocolCase
from tests.servers import haproxy, nginx, require
from voltgw.wire.proxyproto import TLV_AUTHORITY, TLV_UNIQUE_ID, header_2, read_header

OTHER = "127.0.0.78"
#: What nginx says: whom the header tells of, its connection, and how many requests that has had.
SAYS = 'return 200 "$proxy_protocol_addr $connection $connection_requests $server_protocol.";'


class Asking:
    """A client whose connection is kept."""

    def __init__(self, port: int, source: str = CLIENT, before: bytes = b"") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 5, (source, 0))
        self.sock.sendall(before)

    def ask(self, request: bytes = GET) -> str:
        """The body of an answer."""
        self.sock.sendall(request)
        heard = b""
        while not heard.endswith(b"."):
            more = self.sock.recv(65536)
            if not more:
                raise AssertionError(heard)
            heard += more
        return heard.rpartition(b"\r\n\r\n")[2].decode()


class HttpCase(ProxyProtocolCase):
    async def behind(self, port: int, cluster: str, policy: str = "") -> Any:
        """A gateway in front of the server on `port`."""
        await self.listens(port)
        return await self.serve("HTTP_PROXY", port, policy, cluster)

    def asking(self, source: str = CLIENT, before: bytes = b"") -> Asking:
        """A client that is closed in the end."""
        asking = Asking(self.port, source, before)
        self.addCleanup(asking.sock.close)
        return asking

    def tls_files(self) -> str:
        """Certificate and key for an nginx, and the cluster's side of it."""
        issued, ca = server("shop.example"), inline(authority("lab").certificate)
        for name, content in (("chain.pem", issued.certificate), ("key.pem", issued.key)):
            (self.folder / name).write_bytes(content)
        return (", tls_parameters: {sni: shop.example, common_params: "
                f"{{validation_params: {{trusted_ca_url: '{ca}'}}}}}}")


class ReceiverTests(HttpCase):
    async def two_clients(self, version: str, cluster: str = "") -> tuple[list[str], Any]:
        """What two clients hear in turns, each on one connection."""
        gateway = await self.behind(self.origin_port, f", proxy_protocol_{version}: {{}}{cluster}")
        one, other = await deferToThread(self.asking), await deferToThread(self.asking, OTHER)
        heard = []
        for asking in (one, other, one, other, one):
            heard.append(await deferToThread(asking.ask))
        return heard, (gateway, one, other)

    def judge(self, heard: list[str]) -> None:
        """Each client is told of by its own address, on one connection that only it uses."""
        words = [text.split() for text in heard]
        self.assertEqual([each[0] for each in words], [CLIENT, OTHER, CLIENT, OTHER, CLIENT])
        self.assertEqual([each[2] for each in words], ["1", "1", "2", "2", "3"])
        self.assertEqual(len({each[1] for each in words}), 2)

    async def test_nginx(self) -> None:
        """Requests of one client share a connection, those of two do not; in both versions."""
        for version in ("v1", "v2"):
            self.port, self.origin_port = free_port(), free_port()
            origin = nginx(self, f"listen 127.0.0.1:{self.origin_port} proxy_protocol; {SAYS}")
            heard, (gateway, one, other) = await self.two_clients(version)
            self.judge(heard)
            one.sock.close()
            other.sock.close()
            gateway.abandon()
            await gateway.stopService()
            origin.stop()

    async def test_haproxy(self) -> None:
        """It knows the server name and the unique id of the proxy before us, and the addresses."""
        self.origin_port = free_port()
        haproxy(self, f"  bind 127.0.0.1:{self.origin_port} accept-proxy\n  http-request return status 200 content-type text/plain "
                      'lf-string "%[src] %[dst] %[dst_port] %[fc_pp_authority] %[fc_pp_unique_id]."')
        await self.behind(self.origin_port, ", proxy_protocol_v2: {}", TRUSTED)
        told = header_2(("192.0.2.9", 1234), ("198.51.100.1", 443),
                        ((TLV_AUTHORITY, b"shop.example"), (TLV_UNIQUE_ID, b"id-17")))
        asking = await deferToThread(self.asking, "127.0.0.1", told)
        for _ in range(2):
            self.assertEqual(await deferToThread(asking.ask), "192.0.2.9 198.51.100.1 443 shop.example id-17.")

    async def test_before_tls(self) -> None:
        """The header comes before the handshake; connections are kept as in plain text."""
        self.origin_port = free_port()
        tls = self.tls_files()
        nginx(self, f"listen 127.0.0.1:{self.origin_port} ssl proxy_protocol; ssl_certificate {self.folder}/chain.pem; "
                    f"ssl_certificate_key {self.folder}/key.pem; {SAYS}")
        self.judge((await self.two_clients("v2", tls))[0])

    async def test_http2(self) -> None:
        """One connection of HTTP/2 for each client, with and without TLS."""
        self.origin_port = free_port()
        nginx(self, f"listen 127.0.0.1:{self.origin_port} http2 proxy_protocol; {SAYS}")
        heard, (gateway, one, other) = await self.two_clients("v2", ", http2_options: {enabled: true}")
        self.judge(heard)
        self.assertEqual(heard[0].split()[3], "HTTP/2.0.")
        for asking in (one, other):
            asking.sock.close()
        gateway.abandon()
        await gateway.stopService()
        self.port, self.origin_port = free_port(), free_port()
        tls = self.tls_files()
        nginx(self, f"listen 127.0.0.1:{self.origin_port} http2 ssl proxy_protocol; ssl_certificate {self.folder}/chain.pem; "
                    f"ssl_certificate_key {self.folder}/key.pem; {SAYS}")
        heard, _ = await self.two_clients("v1", tls + ", http2_options: {enabled: true}")
        self.judge(heard)
        self.assertEqual(heard[0].split()[3], "HTTP/2.0.")

    async def test_clients_of_http2(self) -> None:
        """All streams of a client's connection share what was made for it; when it ends, so do those."""
        self.origin_port = free_port()
        nginx(self, f"listen 127.0.0.1:{self.origin_port} proxy_protocol; {SAYS}")
        await self.listens(self.origin_port)
        text = OBJECTS.format(proxy="HTTP_PROXY, http_protocol_options: {http_protocol_enable_v1_v2: {}}", port=self.port, policy="",
                              cluster=", proxy_protocol_v2: {}", origin=self.origin_port, domain="*",
                              log=self.folder / "access.log")
        self.file.write_text(text)
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()

        def ask() -> list[list[str]]:
            urls = [f"http://127.0.0.1:{self.port}/{number}" for number in range(3)]
            said = subprocess.run([require("nghttp"), *urls], capture_output=True, text=True, check=True).stdout
            return [each.split() for each in said.split("HTTP/1.1.") if each]

        connections = []
        for _ in range(2):
            words = await deferToThread(ask)
            self.assertEqual([each[0] for each in words], ["127.0.0.1"] * 3)
            connections.append({each[1] for each in words})
        self.assertEqual(connections[0] & connections[1], set())
        await self.connected(gateway.runtime.clusters["default/c"], 0)
        self.assertEqual(len(gateway.plane.tied), 0)

    async def test_a_limit_of_connections(self) -> None:
        """With room for one connection, another client's idle one makes place; each is told of by its own address."""
        self.origin_port = free_port()
        nginx(self, f"listen 127.0.0.1:{self.origin_port} proxy_protocol; {SAYS}")
        heard, (gateway, _, _) = await self.two_clients("v1", ", circuit_breaker: {connection_limit: 1}")
        words = [text.split() for text in heard]
        self.assertEqual([each[0] for each in words], [CLIENT, OTHER, CLIENT, OTHER, CLIENT])
        self.assertEqual(({each[2] for each in words}, len({each[1] for each in words})), ({"1"}, 5))
        self.assertEqual((gateway.runtime.clusters["default/c"].connections, len(gateway.plane.tied)), (1, 1))

    async def test_another_endpoint(self) -> None:
        """A try at another endpoint has the header, too; and so has a copy for another cluster."""
        self.origin_port, other = free_port(), free_port()
        nginx(self, f"listen 127.0.0.1:{other} proxy_protocol; {SAYS}")
        copies = self.origin(lambda peer, data: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
        await self.listens(other)
        text = OBJECTS.format(proxy="HTTP_PROXY", port=self.port, policy="", cluster=", proxy_protocol_v1: {}", domain="*",
                              origin=self.origin_port, log=self.folder / "access.log")
        text = text.replace("endpoints: [e]", "endpoints: [e, f]").replace(
            "{cluster: [c]}]}}]}", "{cluster: [c]}], mirror_policy: {cluster: [m], percent: {numerator: 100}}}}]}")
        self.file.write_text(text + f"""\
- {{kind: endpoint, metadata: {{name: f}}, spec: {{ip: 127.0.0.1, port: {other}}}}}
- {{kind: cluster, metadata: {{name: m}}, spec: {{endpoints: [m], proxy_protocol_v2: {{}}}}}}
- {{kind: endpoint, metadata: {{name: m}}, spec: {{ip: 127.0.0.1, port: {copies.port}}}}}
""")
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        asking = await deferToThread(self.asking)
        for _ in range(4):
            self.assertEqual((await deferToThread(asking.ask)).split()[0], CLIENT)
        self.assertGreaterEqual(gateway.runtime.clusters["default/c"].counters.connect_failures, 1)
        await self.until(lambda: len(copies.peers) == 4)
        for peer in copies.peers:
            header: Any = read_header(peer.received)
            self.assertEqual(header.source, (CLIENT, asking.sock.getsockname()[1]))
            self.assertTrue(peer.received[header.size:].startswith(b"GET "))

    async def connected(self, cluster: Any, count: int) -> None:
        """Until a cluster has so many connections."""
        await self.until(lambda: cluster.connections == count)

    async def test_what_a_client_leaves_behind(self) -> None:
        """The connections that only it could use are closed with its own."""
        self.origin_port = free_port()
        nginx(self, f"listen 127.0.0.1:{self.origin_port} proxy_protocol; {SAYS}")
        for http2 in ("", ", http2_options: {enabled: true}"):
            self.port = free_port()
            if http2:
                self.origin_port = free_port()
                nginx(self, f"listen 127.0.0.1:{self.origin_port} http2 proxy_protocol; {SAYS}")
            heard, (gateway, one, other) = await self.two_clients("v2", http2)
            cluster = gateway.runtime.clusters["default/c"]
            self.assertEqual((cluster.connections, len(gateway.plane.tied)), (2, 2))
            one.sock.close()
            await self.connected(cluster, 1)
            self.judge([*heard[:4], heard[4]])
            self.assertEqual((await deferToThread(other.ask)).split()[::2][:2], [OTHER, "3"])
            other.sock.close()
            await self.connected(cluster, 0)
            self.assertEqual(len(gateway.plane.tied), 0)
            gateway.abandon()
            await gateway.stopService()


class HealthTests(HttpCase):
    async def ready(self, gateway: Any, expected: bool) -> None:
        """Until the only endpoint is, or is not, healthy by its check."""
        def judged() -> bool:
            self.advance(1)
            return [(each.ready, "passes" in each.reason) for each in cluster.endpoints] == [(expected, expected)]

        cluster = gateway.runtime.clusters["default/c"]
        await self.warm()
        await self.until(judged)

    async def checked(self, version: str, more: str = "", endpoint: str = "") -> Any:
        """A gateway whose cluster has an HTTP health check."""
        await self.listens(self.origin_port)
        text = OBJECTS.format(proxy="HTTP_PROXY", port=self.port, policy="", cluster=f"{version}{more}, health_checks: [k]",
                              origin=self.origin_port, domain="*", log=self.folder / "access.log")
        text = text.replace("spec: {ip: 127.0.0.1,", f"spec: {{{endpoint}ip: 127.0.0.1,")
        self.file.write_text(text + "- {kind: healthcheck, metadata: {name: k}, spec: {http_health_check: {path: /" + (
            ", use_http2: true" if "http2" in more else "") + "}, interval: 60, timeout: 30, healthy_threshold: 1, unhealthy_threshold: 1}}\n")
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        return gateway

    async def test_probes_have_a_header_of_our_own(self) -> None:
        """An endpoint that wants headers is healthy, with TLS and HTTP/2 as well; one that wants none is not."""
        tls = self.tls_files()
        ssl = f"ssl_certificate {self.folder}/chain.pem; ssl_certificate_key {self.folder}/key.pem;"
        for version, listen, more, healthy in (
                (", proxy_protocol_v1: {}", "proxy_protocol", "", True), (", proxy_protocol_v2: {}", "proxy_protocol", "", True),
                (", proxy_protocol_v2: {}", "proxy_protocol ssl", tls, True),
                (", proxy_protocol_v2: {}", "http2 proxy_protocol", ", http2_options: {enabled: true}", True),
                (", proxy_protocol_v2: {}", "", "", False), ("", "proxy_protocol", "", False)):
            self.port, self.origin_port = free_port(), free_port()
            origin = nginx(self, f"listen 127.0.0.1:{self.origin_port} {listen}; {ssl if 'ssl' in listen else ''} return 200 yes;")
            gateway = await self.checked(version, more)
            await self.ready(gateway, healthy)
            gateway.abandon()
            await gateway.stopService()
            origin.stop()

    async def test_a_port_for_checks_alone(self) -> None:
        """What listens there is asked without a header."""
        self.origin_port, checks = free_port(), free_port()
        nginx(self, f"listen 127.0.0.1:{self.origin_port} proxy_protocol; listen 127.0.0.1:{checks}; return 200 yes;")
        gateway = await self.checked(", proxy_protocol_v1: {}", "", f"health_check_port: {checks}, ")
        await self.ready(gateway, True)


class UnsharedTests(HttpCase):
    async def test_connections_that_are_not_shared(self) -> None:
        """`disable_conn_pool_reuse`: a client's requests have a connection that no other client's have."""
        origin = free_port()
        nginx(self, f"listen 127.0.0.1:{origin}; return 200 \"$connection $connection_requests.\";")
        for reuse, connections in (("disable", 2), ("enable", 1)):
            self.port = free_port()
            gateway = await self.behind(origin, f", upstream_conn_pool_reuse_type: {{{reuse}_conn_pool_reuse: {{}}}}")
            one, other = await deferToThread(self.asking), await deferToThread(self.asking, OTHER)
            heard = []
            for asking in (one, other, one, other):
                heard.append((await deferToThread(asking.ask)).split()[0])
            self.assertEqual(len(set(heard)), connections)
            one.sock.close()
            other.sock.close()
            gateway.abandon()
            await gateway.stopService()


class PassedOnTests(HttpCase):
    async def asked(self, origin: Any) -> None:
        """Until the origin has heard a request."""
        await self.until(lambda: origin.peers and b"GET" in origin.peers[0].received)

    async def test_tlvs(self) -> None:
        """What is configured is told and passed on, to the byte; the rest is not."""
        told = header_2(("192.0.2.9", 1234), ("198.51.100.1", 443), (
            (TLV_AUTHORITY, b"shop.example"), (TLV_UNIQUE_ID, b"id-17"), (0xEA, b"\x01vpce-1"), (0xE4, b"x" * 3000)))
        for proxy in ("HTTP_PROXY", "TCP_PROXY"):
            for more, expected in (
                    ("", {TLV_AUTHORITY: b"shop.example", TLV_UNIQUE_ID: b"id-17", 0xEA: b"\x01vpce-1", 0xE4: b"x" * 3000}),
                    (", voltgw: {proxy_protocol: {pass_on: [AWS, UNIQUE_ID]}}", {TLV_UNIQUE_ID: b"id-17", 0xEA: b"\x01vpce-1"}),
                    (", voltgw: {proxy_protocol: {pass_on: [\"0xe4\"]}}", {0xE4: b"x" * 3000}),
                    (", voltgw: {proxy_protocol: {pass_on: [NONE]}}", {})):
                self.port = free_port()
                origin = self.origin(None)
                gateway = await self.serve(proxy, origin.port, TRUSTED, f", proxy_protocol_v2: {{}}{more}")
                asking = await deferToThread(self.asking, "127.0.0.1", told + GET)
                await self.asked(origin)
                header: Any = read_header(origin.peers[0].received)
                self.assertEqual((header.source, header.destination), (("192.0.2.9", 1234), ("198.51.100.1", 443)))
                self.assertEqual(dict(header.tlvs), expected, (proxy, more))
                self.assertTrue(re.match(rb"GET ", origin.peers[0].received[header.size:]))
                asking.sock.close()
                gateway.abandon()
                await gateway.stopService()
