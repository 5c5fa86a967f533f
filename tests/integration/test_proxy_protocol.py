"""The PROXY protocol with HAProxy and nginx, as senders and as receivers."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from tests.app.running import GET, OK, GatewayCase
from tests.certificates import authority, inline, server
from tests.integration.gateway import free_port
from tests.servers import Server, haproxy, nginx
from tests.support import Peer
from voltgw.wire.proxyproto import header_2, line_1

OBJECTS = """
gateway: {{admin: {{port: 0}}, access_log: {{path: {log}}}}}
objects:
- kind: virtual_host
  metadata: {{name: h}}
  spec: {{domains: ["{domain}"], proxy: {proxy}, advertise_policies: [p], routes: [r]}}
- kind: advertise_policy
  metadata: {{name: p}}
  spec: {{address: 127.0.0.1, port: {port}{policy}}}
- kind: route
  metadata: {{name: r}}
  spec: {{routes: [{{route_destination: {{destinations: [{{cluster: [c]}}]}}}}]}}
- kind: cluster
  metadata: {{name: c}}
  spec: {{endpoints: [e]{cluster}}}
- kind: endpoint
  metadata: {{name: e}}
  spec: {{ip: 127.0.0.1, port: {origin}}}
"""
TRUSTED = ", voltgw: {proxy_protocol: {trusted: [127.0.0.1/32]}}"
#: Where clients of these tests come from; what we see without a header is another address.
CLIENT = "127.0.0.77"


def exchange(port: int, data: bytes, source: str = CLIENT, pieces: int = 0) -> bytes:
    """What a client hears until the end, or until it has heard a whole answer; `pieces` sends so many bytes at a time."""
    with socket.create_connection(("127.0.0.1", port), 5, (source, 0)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), pieces or len(data)):
            sock.sendall(data[start:start + (pieces or len(data))])
        heard = b""
        try:
            while not heard.endswith(b"ok") and not heard.endswith(b"."):
                more = sock.recv(65536)
                if not more:
                    break
                heard += more
        except ConnectionResetError:
            pass
        return heard


class ProxyProtocolCase(GatewayCase):
    async def serve(self, proxy: str, origin: int, policy: str = "", cluster: str = "", domain: str = "*") -> Any:
        """Run a gateway of one host."""
        self.log = self.folder / "access.log"
        self.file.write_text(OBJECTS.format(proxy=proxy, port=self.port, policy=policy, cluster=cluster, origin=origin,
                                            domain=domain, log=self.log))
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        return gateway

    async def listens(self, port: int) -> None:
        """Until a server has opened a port that it was not handed."""
        def tried() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        await self.until(tried)

    def from_haproxy(self, how: str) -> Server:
        """An HAProxy that relays to us."""
        return haproxy(self, "  default_backend ours", mode="tcp",
                       sections=f"backend ours\n  server one 127.0.0.1:{self.port} {how}")


class SenderTests(ProxyProtocolCase):
    async def test_haproxy_in_front_of_http(self) -> None:
        """The client that it names is the one in X-Forwarded-For and in the log, with either version."""
        for how in ("send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority"):
            self.port = free_port()
            heard: list[bytes] = []

            def answer_it(peer: Peer, data: bytes, heard: list[bytes] = heard) -> None:
                heard.append(data)
                peer.send(OK)

            gateway = await self.serve("HTTP_PROXY", self.origin(answer_it).port, TRUSTED)
            front = self.from_haproxy(how)
            answer = await deferToThread(exchange, front.port, GET)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200"), how)
            self.assertIn(b"x-forwarded-for: 127.0.0.77\r\n", b"".join(heard).lower())
            await self.until(lambda: self.log.exists() and self.log.read_text().count("\n") > 0)
            self.assertEqual(json.loads(self.log.read_text().splitlines()[-1])["src_ip"], CLIENT)
            front.stop()
            gateway.abandon()
            await gateway.stopService()
            self.log.unlink()

    async def test_haproxy_in_front_of_tcp(self) -> None:
        """Behind the header everything is the client's, to the byte."""
        origin = self.origin(lambda peer, data: peer.send(data))
        await self.serve("TCP_PROXY", origin.port, TRUSTED)
        front = self.from_haproxy("send-proxy-v2")
        self.assertEqual(await deferToThread(exchange, front.port, b"PROXY TCP4 is what I say."), b"PROXY TCP4 is what I say.")


    async def test_nginx_in_front(self) -> None:
        """Its stream module sends version 1."""
        modules = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
        load = f"load_module {modules};\n" if modules.exists() else ""
        origin = self.origin(lambda peer, data: peer.send(data))
        await self.serve("TCP_PROXY", origin.port, TRUSTED)
        front = free_port()
        nginx(self, "return 404;", top=f"{load}stream {{ server {{ listen 127.0.0.1:{front}; proxy_protocol on; "
                                       f"proxy_pass 127.0.0.1:{self.port}; }} }}")
        await self.listens(front)
        self.assertEqual(await deferToThread(exchange, front, b"PROXY TCP4 is what I say."), b"PROXY TCP4 is what I say.")
        await self.until(lambda: self.log.exists() and CLIENT in self.log.read_text())


class RequiredTests(ProxyProtocolCase):
    async def test_byte_by_byte(self) -> None:
        """A header in pieces is one; both versions, with the request right behind."""
        origin = self.ok_origin()
        await self.serve("HTTP_PROXY", origin.port, TRUSTED)
        for header in (line_1(("192.0.2.9", 1), ("192.0.2.1", 80)), header_2(("2001:db8::9", 1), ("2001:db8::1", 80))):
            for pieces in (1, 7, 0):
                answer = await deferToThread(exchange, self.port, header + GET, "127.0.0.1", pieces)
                self.assertTrue(answer.startswith(b"HTTP/1.1 200"), (header, pieces))

    async def test_without_a_header(self) -> None:
        """Required is required: a plain request, garbage and half a header are closed without a word, and counted."""
        origin = self.ok_origin()
        gateway = await self.serve("HTTP_PROXY", origin.port, TRUSTED)
        for data in (GET, b"\0" * 20, b"PROXY TCP4 x y 1 2\r\n" + GET):
            self.assertEqual(await deferToThread(exchange, self.port, data, "127.0.0.1"), b"")
        (listener,) = gateway.listeners()
        self.assertEqual((listener.counters.proxy_refused, listener.counters.open, len(origin.peers)), (3, 0, 0))

    async def test_from_somebody_else(self) -> None:
        """Who is no trusted proxy may not say who he is, nor come without saying."""
        origin = self.ok_origin()
        gateway = await self.serve("HTTP_PROXY", origin.port, TRUSTED)
        for data in (GET, line_1(("192.0.2.9", 1), ("192.0.2.1", 80)) + GET):
            self.assertEqual(await deferToThread(exchange, self.port, data, "127.0.0.5"), b"")
        self.assertEqual(gateway.listeners()[0].counters.proxy_refused, 2)

    async def test_a_listener_that_knows_nothing_of_it(self) -> None:
        """The header is a bad request there."""
        origin = self.ok_origin()
        await self.serve("HTTP_PROXY", origin.port)
        answer = await deferToThread(exchange, self.port, line_1(("192.0.2.9", 1), ("192.0.2.1", 80)) + GET)
        self.assertTrue(answer.startswith(b"HTTP/1.1 400"))

    async def test_the_proxy_speaks_for_itself(self) -> None:
        """LOCAL and UNKNOWN: its own address is the client's, as in health checks."""
        origin = self.ok_origin()
        await self.serve("HTTP_PROXY", origin.port, TRUSTED)
        self.assertTrue((await deferToThread(exchange, self.port, b"PROXY UNKNOWN\r\n" + GET, "127.0.0.1"))
                        .startswith(b"HTTP/1.1 200"))

    async def test_too_slow(self) -> None:
        """A header that does not come is not waited for."""
        origin = self.ok_origin()
        gateway = await self.serve("HTTP_PROXY", origin.port, TRUSTED)
        peer = await self.client(self.port)
        peer.send(b"PROXY ")
        await self.until(lambda: gateway.listeners()[0].counters.open)
        self.advance(6)
        await peer.ended()
        self.assertEqual(gateway.listeners()[0].counters.proxy_refused, 1)


class ReceiverTests(ProxyProtocolCase):
    async def through(self, port: int, version: str, more: str = "") -> bytes:
        """What a server behind a gateway of its own answers, to which that speaks this version; `more` of the cluster."""
        self.port = free_port()
        gateway = await self.serve("TCP_PROXY", port, cluster=f", proxy_protocol_{version}: {{}}{more}")
        answer = await deferToThread(exchange, self.port, GET)
        gateway.abandon()
        await gateway.stopService()
        return answer

    async def test_nginx(self) -> None:
        """It sees the client's address and the port that the client came to, in both versions."""
        port = free_port()
        nginx(self, f"listen 127.0.0.1:{port} proxy_protocol; "
                    'return 200 "$proxy_protocol_addr $proxy_protocol_server_port.";')
        await self.listens(port)
        for version in ("v1", "v2"):
            answer = await self.through(port, version)
            self.assertTrue(answer.endswith(f"\r\n\r\n{CLIENT} {self.port}.".encode()), answer)

    async def test_haproxy(self) -> None:
        """Likewise."""
        port = free_port()
        haproxy(self, f"  bind 127.0.0.1:{port} accept-proxy\n"
                      '  http-request return status 200 content-type text/plain lf-string "%[src] %[dst_port]."')
        await self.listens(port)
        for version in ("v1", "v2"):
            answer = await self.through(port, version)
            self.assertTrue(answer.endswith(f"\r\n\r\n{CLIENT} {self.port}.".encode()), answer)

    async def test_before_tls(self) -> None:
        """Towards an endpoint with TLS the header comes before the handshake, as nginx wants it."""
        port = free_port()
        issued, ca = server("shop.example"), inline(authority("lab").certificate)
        for name, content in (("chain.pem", issued.certificate), ("key.pem", issued.key)):
            (self.folder / name).write_bytes(content)
        nginx(self, f"listen 127.0.0.1:{port} ssl proxy_protocol; ssl_certificate {self.folder}/chain.pem; "
                    f'ssl_certificate_key {self.folder}/key.pem; return 200 "$scheme $proxy_protocol_addr.";')
        await self.listens(port)
        for version in ("v1", "v2"):
            answer = await self.through(port, version, ", tls_parameters: {sni: shop.example, common_params: "
                                        f"{{validation_params: {{trusted_ca_url: '{ca}'}}}}}}")
            self.assertTrue(answer.endswith(f"\r\n\r\nhttps {CLIENT}.".encode()), answer)

    async def test_from_proxy_to_proxy(self) -> None:
        """What one proxy says of the client the next one hears from us."""
        port = free_port()
        nginx(self, f"listen 127.0.0.1:{port} proxy_protocol; "
                    'return 200 "$proxy_protocol_addr.";')
        await self.listens(port)
        await self.serve("TCP_PROXY", port, TRUSTED, ", proxy_protocol_v2: {}")
        front = self.from_haproxy("send-proxy")
        answer = await deferToThread(exchange, front.port, GET)
        self.assertTrue(answer.endswith(f"\r\n\r\n{CLIENT}.".encode()), answer)
