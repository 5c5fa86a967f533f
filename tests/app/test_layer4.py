"""UDP, TLS that passes through, and SMA_PROXY in a whole gateway: what peers receive, what the log and the metrics say."""

from __future__ import annotations

import json
import random
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from tests.app.making import balancer, config
from tests.app.running import GET, GatewayCase
from tests.certificates import authority, server
from tests.integration.gateway import free_port
from tests.servers import require
from voltgw.app import service
from voltgw.app.dry import dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.question import read_question
from voltgw.app.service import GatewayService
from voltgw.app.settings import StartError
from voltgw.errors import ConfigErrors
from voltgw.observe.decisions import text_of

SMA = """
gateway: {site: edge}
objects:
- kind: site
  metadata: {name: edge, namespace: system}
  spec: {inside_vip: 127.0.0.1, outside_vip: 127.0.0.2}
- kind: virtual_host
  metadata: {name: secrets}
  spec: {domains: [vault.example], proxy: SMA_PROXY, advertise_policies: [p], routes: [r]}
- kind: advertise_policy
  metadata: {name: p}
  spec: {POLICY, port: PORT}
- kind: route
  metadata: {name: r}
  spec: {routes: [{route_destination: {destinations: [{cluster: [c]}]}}]}
- kind: cluster
  metadata: {name: c}
  spec: {endpoints: [e]}
- kind: endpoint
  metadata: {name: e}
  spec: {ip: 127.0.0.1, port: ORIGIN}
"""
INSIDE = "where: {site: {ref: [system/edge], network_type: VIRTUAL_NETWORK_SITE_LOCAL_INSIDE}}"


class Far(DatagramProtocol):
    """A UDP server that answers with its name and what it heard."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.heard: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """One datagram."""
        self.heard.append(datagram)
        assert self.transport is not None
        self.transport.write(self.name + datagram, addr)


class UdpTests(GatewayCase):
    def far(self, name: bytes) -> tuple[Far, int]:
        """A server and its port."""
        core: Any = reactor
        far = Far(name)
        port = core.listenUDP(0, far, "127.0.0.1")
        self.addCleanup(port.stopListening)
        return far, port.getHost().port

    def client(self) -> socket.socket:          # type: ignore[override]  # a datagram one here
        """Somebody who asks."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(("127.0.0.1", self.port))
        sock.settimeout(5)
        self.addCleanup(sock.close)
        return sock

    async def test_from_the_short_form(self) -> None:
        """Answers come back; the access log has a line for the session, the metrics count it."""
        one, port_1 = self.far(b"1")
        other, port_2 = self.far(b"2")
        log = self.folder / "access.log"
        gateway = self.start(
            balancer("dns", f"127.0.0.1:{self.port}", f"127.0.0.1:{port_1}", f"127.0.0.1:{port_2}", more=", protocol: udp"),
            gateway=f"access_log: {{path: {log}}}")
        await self.warm()
        clients = [self.client(), self.client()]
        answers = []
        for client in clients:
            client.send(b"ask")
            answers.append(await deferToThread(client.recv, 100))
        self.assertEqual(sorted(answers), [b"1ask", b"2ask"])
        self.assertEqual((one.heard, other.heard), ([b"ask"], [b"ask"]))
        (listener,) = gateway.listeners()
        self.assertEqual((listener.name, listener.protocol, listener.kind, listener.counters.open),
                         (f"127.0.0.1:{self.port}/udp", "UDP", "UDP_PROXY", 2))
        gateway.listening.close()
        await self.until(lambda: log.exists() and log.read_text().count("\n") == 2)
        line = json.loads(log.read_text().splitlines()[0])
        self.assertEqual((line["proxy_type"], line["vh_type"], line["req_size"], line["rsp_size"], line["rsp_code_details"]),
                         ("udp", "UDP-LOAD-BALANCER", "3", "4", "drained"))

    async def test_tcp_and_udp_on_one_port_number(self) -> None:
        """They do not meet."""
        _, port = self.far(b"u")
        origin = self.ok_origin()
        self.start(balancer("dns", f"127.0.0.1:{self.port}", f"127.0.0.1:{port}", more=", protocol: udp"),
                   balancer("web", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}"))
        await self.warm()
        client = self.client()
        client.send(b"ask")
        self.assertEqual(await deferToThread(client.recv, 100), b"uask")
        peer = await super().client(self.port)
        self.assertEqual(await self.ask(peer=peer), b"HTTP/1.1 200 OK")

    async def test_a_reload_keeps_sessions(self) -> None:
        """A session that is under way stays with its endpoint, though the new configuration has another one."""
        _, port_1 = self.far(b"1")
        _, port_2 = self.far(b"2")
        gateway = self.start(balancer("dns", f"127.0.0.1:{self.port}", f"127.0.0.1:{port_1}", more=", protocol: udp"))
        await self.warm()
        old, new = self.client(), self.client()
        old.send(b"a")
        self.assertEqual(await deferToThread(old.recv, 100), b"1a")
        self.write(balancer("dns", f"127.0.0.1:{self.port}", f"127.0.0.1:{port_2}", more=", protocol: udp"))
        self.assertTrue((await gateway.reload())["ok"])
        for client, answer in ((old, b"1b"), (new, b"2b")):
            client.send(b"b")
            self.assertEqual(await deferToThread(client.recv, 100), answer)

    async def test_a_port_that_moves(self) -> None:
        """From one address to all of them and back: the port answers all the time."""
        _, port = self.far(b"1")
        gateway = self.start(balancer("dns", f"127.0.0.1:{self.port}", f"127.0.0.1:{port}", more=", protocol: udp"))
        await self.warm()
        for listen in (str(self.port), f"127.0.0.1:{self.port}", f"127.0.0.2:{self.port}", f"127.0.0.1:{self.port}"):
            client = self.client()
            if not listen.startswith("127.0.0.2"):
                self.write(balancer("dns", listen, f"127.0.0.1:{port}", more=", protocol: udp"))
                self.assertTrue((await gateway.reload())["ok"], listen)
                client.send(b"x")
                self.assertEqual(await deferToThread(client.recv, 100), b"1x", listen)


class PassThroughTests(GatewayCase):
    def tls_server(self, name: str) -> int:
        """A TLS server with a certificate of its own, which says its name and what it was told; its port."""
        issued = server(name)
        chain, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        chain.write_bytes(issued.certificate)
        key.write_bytes(issued.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        sock = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                try:
                    raw, _ = sock.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(raw, server_side=True) as tls:
                        tls.sendall(name.encode() + tls.recv(100))
                except OSError:
                    raw.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()

        def stop() -> None:
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()
            thread.join(5)

        self.addCleanup(stop)
        port: int = sock.getsockname()[1]
        return port

    def ask_tls(self, name: str) -> bytes:
        """What a client hears that trusts our CA and asks for `name`. Raises ssl.SSLError."""
        context = ssl.create_default_context(cadata=authority("lab").certificate.decode())
        with socket.create_connection(("127.0.0.1", self.port), 5) as raw, \
                context.wrap_socket(raw, server_hostname=name) as tls:
            tls.sendall(b"!")
            return tls.recv(100)

    def balancer(self, name: str, domain: str, port: int) -> str:
        """One that passes TLS through."""
        return balancer(name, f"127.0.0.1:{self.port}", f"127.0.0.1:{port}", more=f", protocol: sni, domains: ['{domain}']")

    async def test_by_name(self) -> None:
        """Each name's own server ends the TLS, with its own certificate; an unknown name is refused by an alert."""
        log = self.folder / "access.log"
        self.start(*(self.balancer(name, domain, self.tls_server(shown)) for name, domain, shown in (
            ("mail", "mail.example", "mail.example"), ("files", "*.files.example", "a.files.example"))),
            gateway=f"access_log: {{path: {log}}}")
        await self.warm()
        for name in ("mail.example", "a.files.example"):
            self.assertEqual(await deferToThread(self.ask_tls, name), name.encode() + b"!")
        with self.assertRaises(ssl.SSLError) as caught:
            await deferToThread(self.ask_tls, "other.example")
        self.assertIn("UNRECOGNIZED_NAME", str(caught.exception).upper().replace(" ", "_"))
        await self.until(lambda: log.exists() and log.read_text().count("\n") >= 3)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        passed = [line for line in lines if line["proxy_type"] == "tcp_with_sni" and line["vh_name"]]
        self.assertEqual({(line["vh_name"], line["sni"], line["tls_version"]) for line in passed}, {
            ("mail", "mail.example", "VERSION_UNSPECIFIED"), ("files", "a.files.example", "VERSION_UNSPECIFIED")})

    async def test_beside_hosts_that_end_tls(self) -> None:
        """HTTPS and names that pass through share an address and port."""
        origin = self.ok_origin()
        issued = server("shop.example")
        (self.folder / "shop.crt").write_bytes(issued.certificate)
        (self.folder / "shop.key").write_bytes(issued.key)
        self.start(
            self.balancer("mail", "mail.example", self.tls_server("mail.example")),
            balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}", more=", protocol: https, domains: "
                     "[shop.example], tls: {cert: shop.crt, key: shop.key}"))
        await self.warm()
        self.assertEqual(await deferToThread(self.ask_tls, "mail.example"), b"mail.example!")

        def get() -> bytes:
            context = ssl.create_default_context(cadata=authority("lab").certificate.decode())
            with socket.create_connection(("127.0.0.1", self.port), 5) as raw, \
                    context.wrap_socket(raw, server_hostname="shop.example") as tls:
                tls.sendall(GET)
                return tls.recv(1000)

        self.assertTrue((await deferToThread(get)).startswith(b"HTTP/1.1 200 OK"))

    async def test_many_names(self) -> None:
        """``openssl s_client`` with thirty names on one port gets each one's certificate."""
        names = [f"n{number}.example" for number in range(30)]
        ports = {name: self.tls_server(name) for name in names}
        self.start(*(self.balancer(f"lb{number}", name, ports[name]) for number, name in enumerate(names)))
        await self.warm()
        for name in names:
            output = await deferToThread(self.s_client, name)
            self.assertIn(f"subject=CN = {name}".encode(), output)

    async def test_many_names_of_both_kinds(self) -> None:
        """HTTPS hosts and names that pass through, twelve of each and in turns on one port: ``openssl s_client`` gets the right
        certificate from the right one, and an alert for a name that nobody has.
        """
        origin = self.ok_origin()
        balancers = []
        for number in range(24):
            name = f"n{number}.example"
            if number % 2:
                balancers.append(self.balancer(f"lb{number}", name, self.tls_server(name)))
            else:
                issued = server(name)
                (self.folder / f"{name}.pem").write_bytes(issued.certificate)
                (self.folder / f"{name}.key").write_bytes(issued.key)
                balancers.append(balancer(
                    f"lb{number}", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}", more=f", protocol: https, domains: [{name}], "
                    f"tls: {{cert: {name}.pem, key: {name}.key}}"))
        self.start(*balancers)
        await self.warm()
        for number in range(24):
            output = await deferToThread(self.s_client, f"n{number}.example")
            self.assertIn(f"subject=CN = n{number}.example".encode(), output)
        self.assertNotIn(b"subject=", await deferToThread(self.s_client, "nobody.example"))
        (listener,) = self.gateway.listeners()
        self.assertEqual((listener.counters.tls_handshakes, listener.counters.tls_refused), (12, 1))

    def s_client(self, name: str) -> bytes:
        """What ``openssl s_client`` says of a connection by name."""
        return subprocess.run(
            [require("openssl"), "s_client", "-connect", f"127.0.0.1:{self.port}", "-servername", name], input=b"!",
            capture_output=True, timeout=10, check=False).stdout


class SmaTests(GatewayCase):
    async def test_inside_alone(self) -> None:
        """It listens on the inside address; on the outside one nothing does."""
        origin = self.ok_origin()
        self.file.write_text(SMA.replace("gateway: {", "gateway: {admin: {port: 0}, ").replace("POLICY", INSIDE).replace(
            "PORT", str(self.port)).replace("ORIGIN", str(origin.port)))
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")
        self.assertEqual([each.name for each in gateway.listeners()], [f"127.0.0.1:{self.port}"])
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.2", self.port)), 0)

    async def test_the_site_gets_another_address(self) -> None:
        """A reload moves the listener there; a connection that is relayed stays."""
        origin = self.ok_origin()
        self.file.write_text(SMA.replace("gateway: {", "gateway: {admin: {port: 0}, ").replace("POLICY", INSIDE).replace(
            "PORT", str(self.port)).replace("ORIGIN", str(origin.port)))
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        stays = await self.client(self.port)
        self.assertEqual(await self.ask(peer=stays), b"HTTP/1.1 200 OK")
        self.file.write_text(self.file.read_text().replace("inside_vip: 127.0.0.1", "inside_vip: 127.0.0.3"))
        await gateway.reload()
        self.assertEqual([each.name for each in gateway.listeners()], [f"127.0.0.3:{self.port}"])
        with socket.socket() as probe:
            self.assertEqual(probe.connect_ex(("127.0.0.3", self.port)), 0)
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", self.port)), 0)
        self.assertEqual(await self.ask(peer=stays), b"HTTP/1.1 200 OK")

    def test_outside_is_refused(self) -> None:
        """By `check`, with both places."""
        for policy in ("where: {site: {ref: [system/edge]}}", "address: 127.0.0.1", "voltgw: {any_address: true}"):
            with self.assertRaises(ConfigErrors) as caught:
                config(SMA.replace("POLICY", policy).replace("PORT", "8200").replace("ORIGIN", "1"))
            (problem,) = caught.exception.problems
            self.assertEqual((problem.code, len(problem.related)), ("VG0215", 1), policy)


class ExplainTests(GatewayCase):
    def test_datagrams_and_names(self) -> None:
        """``udp://`` finds the UDP listener beside a TCP one of the same port, ``tls://`` the host by its name."""
        port = free_port()
        explainer = Explainer(dry_runtime(config("load_balancers:\n" + "".join((
            balancer("dns", f"127.0.0.1:{port}", "127.0.0.1:1", more=", protocol: udp"),
            balancer("db", f"127.0.0.1:{port}", "127.0.0.1:2", more=", protocol: tcp"),
            balancer("mail", "127.0.0.1:443", "127.0.0.1:3", more=", protocol: sni, domains: [mail.example]"),
            balancer("files", "127.0.0.1:443", "127.0.0.1:4", more=", protocol: sni, domains: [files.example]"))))))
        for url, outcome, host in (
            (f"udp://127.0.0.1:{port}", "relayed", "default/dns"), (f"tcp://127.0.0.1:{port}", "relayed", "default/db"),
            ("tls://files.example:443", "relayed", "default/files"), ("tls://other.example:443", "refused", ""),
            ("udp://127.0.0.1:443", "no listener", ""),
        ):
            found = explainer.explain(read_question("-", url))
            self.assertEqual((found.outcome, found.virtual_host), (outcome, host), url)

    def test_what_a_udp_listener_does(self) -> None:
        """What is asked of proxies before us, how sessions are told apart, and what endpoints are told."""
        for extension, said in (("quic_connection_ids: true", "by their connection ids"),
                                ("per_packet_load_balancing: true", "each datagram has its own choice"), ("", "")):
            text = ListenerTests.POLICY.format(
                options="proxy_protocol: {trusted: [10.0.0.0/8]}", address="127.0.0.1", proxy="UDP_PROXY", port=53, origin=53,
                protocol="UDP").replace("proxy: UDP_PROXY", f"proxy: UDP_PROXY, voltgw: {{{extension}}}").replace(
                    "endpoints: [e]", "endpoints: [e], proxy_protocol_v2: {}")
            found = text_of(Explainer(dry_runtime(config(text))).explain(read_question("-", "udp://127.0.0.1:53")).plain()["decisions"])
            for words in (said, "a PROXY header must come first, from a proxy in 10.0.0.0/8", "we tell ALPN AUTHORITY SSL"):
                self.assertIn(words, found)


    def test_rates(self) -> None:
        """A listener's bounds are told with it."""
        text = ListenerTests.POLICY.format(
            options="max_connections: 9, connections_per_second: 3, upload_bytes_per_second: 1KiB", address="127.0.0.1",
            proxy="TCP_PROXY", port=53, origin=53, protocol="TCP")
        found = text_of(Explainer(dry_runtime(config(text))).explain(read_question("-", "tcp://127.0.0.1:53")).plain()["decisions"])
        self.assertIn("max_connections is 9; connections_per_second is 3; connection_burst is 3; upload_bytes_per_second is 1024", found)


class ListenerTests(GatewayCase):
    POLICY = """
gateway: {{admin: {{port: 0}}}}
objects:
- kind: virtual_host
  metadata: {{name: h}}
  spec: {{domains: [a.example], proxy: {proxy}, advertise_policies: [p], routes: [r]}}
- kind: advertise_policy
  metadata: {{name: p}}
  spec: {{address: {address}, port: {port}, protocol: {protocol}, voltgw: {{{options}}}}}
- kind: route
  metadata: {{name: r}}
  spec: {{routes: [{{route_destination: {{destinations: [{{cluster: [c]}}]}}}}]}}
- kind: cluster
  metadata: {{name: c}}
  spec: {{endpoints: [e]}}
- kind: endpoint
  metadata: {{name: e}}
  spec: {{ip: 127.0.0.1, port: {origin}, protocol: {protocol}}}
"""

    def lay_out(self, options: str, address: str = "127.0.0.1", proxy: str = "TCP_PROXY", origin: int = 1) -> Any:
        """Write the file of one listener; returns the gateway, not started."""
        protocol = "UDP" if proxy == "UDP_PROXY" else "TCP"
        self.file.write_text(self.POLICY.format(options=options, address=address, proxy=proxy, port=self.port, origin=origin,
                                                protocol=protocol))
        return self.make()

    def test_an_address_that_is_not_there_yet(self) -> None:
        """With `freebind` the socket stands, for both transports; without it the start fails and says why."""
        for proxy in ("TCP_PROXY", "UDP_PROXY"):
            gateway = self.lay_out("", "192.0.2.77", proxy)
            with self.assertRaises(StartError) as caught:
                gateway.privilegedStartService()
            self.assertIn("no interface of this host has that address", str(caught.exception))
            gateway = self.lay_out("freebind: true", "192.0.2.77", proxy)
            gateway.privilegedStartService()
            gateway.startService()
            self.assertEqual([each.bound for each in gateway.listeners()], [True])
            gateway.abandon()
            gateway.stopService()

    async def test_port_ranges(self) -> None:
        """Every port of a policy is open, for both transports; what comes by any of them gets to the endpoint."""
        ports = [self.port, free_port(), free_port()]
        listed = '"' + ",".join(f"{port}-{port}" for port in ports) + '"'
        origin = self.ok_origin()
        gateway = self.lay_out("", origin=origin.port)
        self.file.write_text(self.file.read_text().replace(f"port: {self.port},", f"port_ranges: {listed},"))
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        for number, port in enumerate(ports, 1):
            self.assertEqual(await self.ask(port), b"HTTP/1.1 200 OK")
            self.assertEqual(len(origin.peers), number)
        self.assertEqual(sorted(each.name for each in gateway.listeners()), sorted(f"127.0.0.1:{port}" for port in ports))
        gateway.abandon()
        await gateway.stopService()
        far = Far(b"far")
        core: Any = reactor
        udp = core.listenUDP(0, far, "127.0.0.1")
        self.addCleanup(udp.stopListening)
        self.lay_out("", proxy="UDP_PROXY", origin=udp.getHost().port)
        self.file.write_text(self.file.read_text().replace(f"port: {self.port},", f"port_ranges: {listed},"))
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        for port in ports:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(5)
                sock.connect(("127.0.0.1", port))
                sock.send(b"ask")
                self.assertTrue((await deferToThread(sock.recv, 100)).startswith(b"far"))

    async def test_one_interface(self) -> None:
        """A listener of the loopback interface is reached by it; an interface that does not exist is an error that says so."""
        origin = self.ok_origin()
        gateway = self.lay_out("device: lo", origin=origin.port)
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")
        self.assertEqual(gateway.listeners()[0].name, f"127.0.0.1:{self.port}%lo")

    def test_no_such_interface(self) -> None:
        """The start fails, and says how to find out which there are."""
        gateway = self.lay_out("device: nosuch0")
        with self.assertRaises(StartError) as caught:
            gateway.privilegedStartService()
        self.assertIn("ip link", str(caught.exception))

    async def test_a_limit_of_connections(self) -> None:
        """What is more waits in the kernel, and is served when there is room; nobody is refused."""
        origin = self.ok_origin()
        gateway = self.lay_out("max_connections: 2", origin=origin.port)
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        peers = [await self.client(self.port) for _ in range(3)]
        await self.until(lambda: gateway.listeners()[0].counters.paused_limit)
        self.assertEqual(gateway.listeners()[0].counters.open, 2)
        peers[0].close()
        self.assertEqual(await self.ask(peer=peers[2]), b"HTTP/1.1 200 OK")

    async def test_a_rate_of_connections(self) -> None:
        """What comes faster waits in the kernel, and is served when it is due; nobody is refused. A reload to no rate lets all
        in at once, and what is open stays."""
        origin = self.ok_origin()
        gateway = self.lay_out("connections_per_second: 4, connection_burst: 2", origin=origin.port)
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        began = time.monotonic()
        peers = [await self.client(self.port) for _ in range(5)]
        for peer in peers:
            self.assertEqual(await self.ask(peer=peer), b"HTTP/1.1 200 OK")
        self.assertGreater(time.monotonic() - began, 0.7)
        listener = gateway.listeners()[0]
        self.assertGreater(listener.counters.paused_rate, 0)
        self.assertEqual(listener.limits, {"connections_per_second": 4, "connection_burst": 2})
        self.file.write_text(self.file.read_text().replace("connections_per_second: 4, connection_burst: 2", ""))
        await gateway.reload()
        for peer in [await self.client(self.port) for _ in range(20)]:
            self.assertEqual(await self.ask(peer=peer), b"HTTP/1.1 200 OK")
        self.assertEqual(gateway.listeners()[0].limits, {})
        self.assertEqual(await self.ask(peer=peers[0]), b"HTTP/1.1 200 OK")

    async def test_a_rate_of_bytes(self) -> None:
        """A large answer comes no faster than its rate, whole and in order, though without a rate the kernel would carry it."""
        size, rate = 3_000_000, 2_000_000
        whole = random.Random(1).randbytes(size)
        origin = self.origin(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + whole)
        gateway = self.lay_out(f"download_bytes_per_second: {rate}", origin=origin.port)
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        began = time.monotonic()
        peer = await self.client(self.port)
        peer.send(GET)
        await peer.heard(b"\r\n\r\n")
        await self.until(lambda: len(peer.received) >= size, 10.0)
        self.assertGreater(time.monotonic() - began, (size - rate / 10) / rate * 0.95)
        self.assertEqual(sha256(peer.received).digest(), sha256(whole).digest())
        self.assertGreater(gateway.listeners()[0].counters.paced, 5)

    async def test_rates_of_datagrams(self) -> None:
        """New sessions beyond their rate, and bytes of a session beyond theirs, are dropped and counted."""
        far = Far(b"far")
        core: Any = reactor
        udp = core.listenUDP(0, far, "127.0.0.1")
        self.addCleanup(udp.stopListening)
        gateway = self.lay_out("connections_per_second: 1, connection_burst: 2, upload_bytes_per_second: 1000", proxy="UDP_PROXY",
                               origin=udp.getHost().port)
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        socks = []
        for _ in range(4):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.addCleanup(sock.close)
            sock.connect(("127.0.0.1", self.port))
            sock.send(b"ask")
            socks.append(sock)
        counters = gateway.listeners()[0].counters
        await self.until(lambda: counters.datagrams_in == 4)
        self.assertEqual((counters.open, counters.datagrams_dropped), (2, {"session_rate": 2}))
        for _ in range(20):
            socks[0].send(b"x" * 2000)
        await self.until(lambda: counters.datagrams_in == 24)
        self.assertTrue(8 <= counters.datagrams_dropped["byte_rate"] <= 13, counters.datagrams_dropped)

    async def test_tcp_options(self) -> None:
        """Accepted connections have them."""
        origin = self.ok_origin()
        gateway = self.lay_out("tcp: {congestion_control: reno, send_buffer: 65536, receive_buffer: 32768, user_timeout: 7, "
                               "keep_alive: 30}", origin=origin.port)
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")
        [bound] = gateway.listening.bound.values()
        [relay] = bound.factory.connections
        sock = relay._client.transport._sock
        tcp = socket.IPPROTO_TCP
        self.assertEqual(sock.getsockopt(tcp, socket.TCP_CONGESTION, 16).rstrip(b"\0"), b"reno")
        self.assertEqual([sock.getsockopt(level, name) for level, name in (
            (socket.SOL_SOCKET, socket.SO_SNDBUF), (socket.SOL_SOCKET, socket.SO_RCVBUF), (tcp, 18), (tcp, socket.TCP_KEEPIDLE))],
            [131072, 65536, 7000, 30])          # the kernel doubles buffers for its own bookkeeping


UNIX = """
gateway: {admin: {port: 0}, access_log: {path: access.log}}
objects:
- {kind: virtual_host, metadata: {name: web}, spec: {domains: ["*"], proxy: KIND, advertise_policies: [p], routes: [r]}}
- {kind: advertise_policy, metadata: {name: p}, spec: {voltgw: {unix: in.sock, unix_mode: "0600"}}}
- {kind: route, metadata: {name: r}, spec: {routes: [{route_destination: {destinations: [{cluster: [c]}]}}]}}
- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e]}}
- {kind: endpoint, metadata: {name: e}, spec: {voltgw: {unix: out.sock}}}
"""


class UnixSocketTests(GatewayCase):
    """Clients and endpoints on Unix sockets."""

    def setUp(self) -> None:
        """In a folder whose name is short: that of a Unix socket has no more than 107 octets."""
        super().setUp()
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = self.folder / "voltgw.yaml"

    def begin(self, kind: str) -> None:
        """A gateway from in.sock to out.sock."""
        self.file.write_text(UNIX.replace("KIND", kind), encoding="utf-8")
        self.make().privilegedStartService()
        self.gateway.startService()

    def behind(self, answer: bytes) -> list[bytes]:
        """Somebody at out.sock who hears one connection, and answers."""
        heard: list[bytes] = []
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self.folder / "out.sock"))
        listening.listen()
        listening.settimeout(20)

        def serve() -> None:
            with listening, listening.accept()[0] as sock:
                heard.append(sock.recv(65536))
                sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)
        return heard

    def say(self, request: bytes) -> bytes:
        """What a client at in.sock is answered, up to the end."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(self.folder / "in.sock"))
            sock.sendall(request)
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
            return answer

    async def both(self, kind: str, request: bytes, answer: bytes) -> tuple[bytes, bytes, dict[str, Any]]:
        """What the origin heard, what the client got, and the line of the access log."""
        heard = self.behind(answer)
        self.begin(kind)
        await self.warm()
        got = await deferToThread(self.say, request)
        log = self.folder / "access.log"
        await self.until(lambda: log.exists() and log.stat().st_size > 0)
        return heard[0], got, json.loads(log.read_text().splitlines()[0])

    async def test_http(self) -> None:
        """An HTTP request comes and goes on Unix sockets; the log names the endpoint's; the file has the mode that was asked
        for, and is gone with the gateway.
        """
        heard, got, line = await self.both(
            "HTTP_PROXY", b"GET /x HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        self.assertIn(b"GET /x HTTP/1.1\r\nhost: app.example", heard.replace(b"Host", b"host"))
        self.assertIn(b"\r\nX-Forwarded-For: 127.0.0.1\r\n".lower(), heard.lower())
        self.assertTrue(got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"hi"))
        self.assertEqual(line["dst_ip"], str(self.folder / "out.sock"))
        path = self.folder / "in.sock"
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        await self.stop()
        self.assertFalse(path.exists())

    async def test_tcp(self) -> None:
        """So does a TCP connection."""
        heard, got, line = await self.both("TCP_PROXY", b"question", b"answer")
        self.assertEqual((heard, got, line["dst_ip"]), (b"question", b"answer", str(self.folder / "out.sock")))

    def test_explained(self) -> None:
        """``voltgw explain`` names both paths; ``check`` refuses an address or a port beside one."""
        text = UNIX.replace("KIND", "HTTP_PROXY")
        self.file.write_text(text, encoding="utf-8")
        made = config(text)
        runtime = dry_runtime(made)
        said = text_of(Explainer(runtime).explain(read_question("GET", "http://app.example/x", [], "", "")).plain()["decisions"])
        self.assertIn("in.sock", said)
        self.assertIn("out.sock", said)
        for old, new in (("{unix: in.sock, unix_mode", "{unix: in.sock, any_address: true, unix_mode"),
                         ("{voltgw: {unix: out.sock}}", "{port: 80, voltgw: {unix: out.sock}}"),
                         ("{voltgw: {unix: out.sock}}", "{ip: 127.0.0.1, voltgw: {unix: out.sock}}")):
            with self.assertRaises(ConfigErrors) as caught:
                config(text.replace(old, new))
            self.assertEqual([problem.code for problem in caught.exception.problems], ["VG0106"])

    async def test_the_mode_changes_with_a_reload(self) -> None:
        """On the file that stands there, which is still the one where it listens."""
        heard = self.behind(b"answer")
        self.begin("TCP_PROXY")
        await self.warm()
        path = self.folder / "in.sock"
        before = path.stat()
        self.file.write_text(UNIX.replace("KIND", "TCP_PROXY").replace('"0600"', '"0666"'), encoding="utf-8")
        await self.gateway.reload()
        after = path.stat()
        self.assertEqual((before.st_mode & 0o777, after.st_mode & 0o777, after.st_ino), (0o600, 0o666, before.st_ino))
        self.assertEqual(await deferToThread(self.say, b"question"), b"answer")
        self.assertEqual(heard, [b"question"])

    async def probed(self, endpoint: Any, asked: list[bytes], ready: bool, number: int) -> None:
        """Until so many probes were asked (of three), and the endpoint is, or is not, ready."""
        def over() -> bool:
            self.advance(1)
            return endpoint.ready is ready and len(asked) >= min(number, 3)

        await self.until(over)

    async def test_health_checks(self) -> None:
        """An endpoint on a Unix socket is probed there: it has no traffic when the answer is bad, or nobody is there."""
        answers = [b"200 OK", b"503 Service Unavailable", b"200 OK"]
        asked: list[bytes] = []

        def serve() -> None:
            for answer in answers:
                with listening.accept()[0] as sock:
                    asked.append(sock.recv(65536))
                    sock.sendall(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n")
            listening.close()

        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self.folder / "out.sock"))
        listening.listen()
        listening.settimeout(20)
        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)
        self.file.write_text(UNIX.replace("KIND", "HTTP_PROXY").replace("endpoints: [e]", "endpoints: [e], health_checks: [k]")
                             + "- {kind: healthcheck, metadata: {name: k}, spec: {http_health_check: {path: /well}, interval: 60, "
                             "timeout: 30, healthy_threshold: 1, unhealthy_threshold: 1, jitter_percent: 0}}\n", encoding="utf-8")
        self.make().privilegedStartService()
        self.gateway.startService()
        await self.warm()
        [endpoint] = self.gateway.runtime.clusters["default/c"].endpoints
        for number, ready in enumerate((True, False, True, False), 1):          # the last time nobody is there
            await self.probed(endpoint, asked, ready, number)
        self.assertTrue(all(b"GET /well HTTP/1.1" in each for each in asked), asked)

    async def test_a_file_that_was_left_behind(self) -> None:
        """A gateway that was killed leaves its file: the next one replaces it, but never one where somebody listens, nor a
        file of another kind.
        """
        path = self.folder / "in.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
            left.listen()
            self.assertRaises(StartError, self.begin, "HTTP_PROXY")
        self.begin("HTTP_PROXY")
        await self.warm()
        await self.stop()
        path.write_text("mine")
        self.assertRaises(StartError, self.begin, "HTTP_PROXY")
        self.assertEqual(path.read_text(), "mine")


TOWARDS = """
gateway: {admin: {port: 0}, access_log: {path: access.log}}
objects:
- {kind: virtual_host, metadata: {name: a}, spec: {domains: ["*"], proxy: TCP_PROXY, advertise_policies: [p], routes: [r]}}
- {kind: advertise_policy, metadata: {name: p}, spec: {address: 127.0.0.1, port: PORT}}
- {kind: route, metadata: {name: r}, spec: {routes: [{route_destination: {destinations: [{cluster: [c]}]}}]}}
- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e], voltgw: {EXTENSION}}}
- {kind: endpoint, metadata: {name: e}, spec: {ip: 127.0.0.1, port: ORIGIN}}
"""


class TowardsEndpointsTests(GatewayCase):
    """TCP options of upstream connections, and connections that stand ready."""

    def begin(self, extension: str) -> socket.socket:
        """A relay, and the listening socket of its endpoint."""
        origin = socket.create_server(("127.0.0.1", 0))
        origin.settimeout(20)
        self.addCleanup(origin.close)
        text = TOWARDS.replace("PORT", str(self.port)).replace("ORIGIN", str(origin.getsockname()[1]))
        self.file.write_text(text.replace("EXTENSION", extension), encoding="utf-8")
        self.make().privilegedStartService()
        self.gateway.startService()
        return origin

    def accept(self, origin: socket.socket) -> socket.socket:
        sock, _ = origin.accept()
        self.addCleanup(sock.close)
        sock.settimeout(20)
        return sock

    def talk(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), 20)
        self.addCleanup(sock.close)
        return sock

    def said(self) -> list[str]:
        """The warnings of the log from now on, as they come."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def hear(event: Any) -> None:
            if event["log_level"] is LogLevel.warn:
                lines.append(formatEvent(event))

        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)
        return lines

    async def test_congestion_control(self) -> None:
        """One that the host has is that of the connections, and nothing is said."""
        said = self.said()
        origin = self.begin("tcp: {congestion_control: reno}")
        await self.warm()
        self.talk()
        await deferToThread(self.accept, origin)
        [bound] = self.gateway.listening.bound.values()
        relays: Any = bound.factory.connections
        await self.until(lambda: any(hasattr(relay._server, "transport") for relay in relays))
        [relay] = relays
        algorithm = relay._server.transport._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        self.assertEqual((algorithm.rstrip(b"\0"), said), (b"reno", []))

    async def test_tcp_options(self) -> None:
        """Connections to endpoints have them; one that the host does not know changes nothing, and the log says so."""
        said = self.said()
        origin = self.begin("tcp: {congestion_control: nonsense, send_buffer: 65536, receive_buffer: 32768, user_timeout: 7, "
                            "keep_alive: 30}")
        self.assertEqual([line for line in said if "does not take" in line],
                         ["default/c: the host does not take a TCP congestion_control of nonsense: No such file or directory"])
        await self.warm()
        self.talk()
        await deferToThread(self.accept, origin)
        [bound] = self.gateway.listening.bound.values()
        relays: Any = bound.factory.connections
        await self.until(lambda: any(relay._server is not None for relay in relays))
        [relay] = relays
        await self.until(lambda: hasattr(relay._server, "transport"))
        sock = relay._server.transport._sock
        tcp = socket.IPPROTO_TCP
        self.assertEqual([sock.getsockopt(level, name) for level, name in (
            (socket.SOL_SOCKET, socket.SO_SNDBUF), (socket.SOL_SOCKET, socket.SO_RCVBUF), (tcp, 18), (tcp, socket.TCP_KEEPIDLE))],
            [131072, 65536, 7000, 30])

    async def test_they_count_as_connections(self) -> None:
        """With those that stand ready a cluster never has more than its `connection_limit`; a client comes before a spare one."""
        origin = self.begin("pre_open: 4}, circuit_breaker: {connection_limit: 3")
        await self.warm()
        cluster, waiting = self.gateway.runtime.clusters["default/c"], self.gateway.plane.waiting
        ready = [await deferToThread(self.accept, origin) for _ in range(3)]
        origin.settimeout(0.2)
        self.advance(5)                         # it is looked again and again
        with self.assertRaises(TimeoutError):
            await deferToThread(self.accept, origin)
        origin.settimeout(20)
        self.assertEqual((len(waiting), cluster.connections), (3, 0))
        clients = [self.talk() for _ in range(3)]
        for number, client in enumerate(clients):
            client.sendall(b"question %d" % number)
        heard = {await deferToThread(sock.recv, 100): sock for sock in ready}
        self.assertEqual(sorted(heard), [b"question 0", b"question 1", b"question 2"])
        self.advance(5)
        self.assertEqual((len(waiting), cluster.connections), (0, 3))
        fourth = self.talk()
        fourth.sendall(b"question 3")
        await self.until(lambda: cluster.pending == 1)          # it waits for its turn
        clients[0].close()
        heard[b"question 0"].close()
        sock = await deferToThread(self.accept, origin)
        self.assertEqual(await deferToThread(sock.recv, 100), b"question 3")
        self.assertEqual(cluster.connections, 3)

    async def test_connections_that_stand_ready(self) -> None:
        """They are there before a client; a client gets one, with the greeting that its server has sent, and another takes its
        place; one that the endpoint closes is replaced, and none is left with the gateway.
        """
        origin = self.begin("pre_open: 2")
        await self.warm()
        first = [await deferToThread(self.accept, origin) for _ in range(2)]
        for number, sock in enumerate(first):
            sock.sendall(b"greeting %d\n" % number)
        waiting = self.gateway.plane.waiting
        await self.until(lambda: sum(len(one._said) for own in waiting._by_endpoint.values() for one in own) == 2)
        client = self.talk()
        greeting = await deferToThread(client.recv, 100)
        self.assertRegex(greeting, b"^greeting [01]\n$")
        client.sendall(b"question")
        mine = first[int(greeting.split()[1])]
        self.assertEqual(await deferToThread(mine.recv, 100), b"question")
        third = await deferToThread(self.accept, origin)
        await self.until(lambda: len(waiting) == 2)
        self.assertEqual(waiting.used, 1)
        third.close()
        fourth = await deferToThread(self.accept, origin)
        client.close()
        self.assertEqual(await deferToThread(mine.recv, 100), b"")
        mine.close()
        log = self.folder / "access.log"
        await self.until(lambda: log.exists() and log.stat().st_size > 0)
        line = json.loads(log.read_text().splitlines()[0])
        self.assertEqual((line["rsp_size"], line["req_size"], line["dst_port"]), ("11", "8", str(origin.getsockname()[1])))
        await self.stop()
        self.assertEqual(await deferToThread(fourth.recv, 100), b"")

    async def test_one_that_has_just_gone(self) -> None:
        """An endpoint that restarts has closed them all: no client is given one of those."""
        origin = self.begin("pre_open: 1")
        await self.warm()
        old = await deferToThread(self.accept, origin)
        await self.until(lambda: len(self.gateway.plane.waiting) == 1)
        old.close()
        client = self.talk()
        client.sendall(b"question")
        heard = b""
        while not heard:
            sock = await deferToThread(self.accept, origin)
            sock.settimeout(0.3)
            try:
                heard = await deferToThread(sock.recv, 100)
            except TimeoutError:
                continue                    # this one stands ready for the next client
        self.assertEqual(heard, b"question")


class MovingTests(GatewayCase):
    """Listeners that stand for an interface follow its address."""

    def setUp(self) -> None:
        super().setUp()
        self.address = "127.0.0.2"
        self.patch(service, "default_interface_address", lambda network: self.address)

    def begin(self) -> GatewayService:
        """A gateway whose policy names no address."""
        origin = self.ok_origin()
        text = TOWARDS.replace("address: 127.0.0.1, ", "").replace("PORT", str(self.port)).replace(
            "ORIGIN", str(origin.port)).replace("EXTENSION", "pre_open: 1")
        self.file.write_text(text, encoding="utf-8")
        self.make().privilegedStartService()
        self.gateway.startService()
        return self.gateway

    def get(self, address: str) -> bytes:
        with socket.create_connection((address, self.port), 5) as sock:
            sock.settimeout(5)
            sock.sendall(GET)
            return sock.recv(65536)[:15]

    async def test_the_address_changes(self) -> None:
        """Within seconds the listener is at the new one and at the old one no more; a relayed connection stays, longer than
        a drain lasts, and the configuration file is not read for it.
        """
        gateway = self.begin()
        await self.warm()
        stays = socket.create_connection(("127.0.0.2", self.port), 5)
        self.addCleanup(stays.close)
        stays.settimeout(5)
        await self.until(lambda: gateway.listening.connections == 1)
        self.file.write_text("half of an ed", encoding="utf-8")
        self.address = "127.0.0.3"
        self.advance(4)
        await self.until(lambda: gateway.generation == 2)
        self.assertEqual(await deferToThread(self.get, "127.0.0.3"), b"HTTP/1.1 200 OK")
        with self.assertRaises(ConnectionRefusedError):
            await deferToThread(self.get, "127.0.0.2")
        self.advance(gateway.drain_timeout_s + 1)
        stays.sendall(GET)
        self.assertEqual((await deferToThread(stays.recv, 65536))[:15], b"HTTP/1.1 200 OK")

    async def test_a_port_that_is_taken_there(self) -> None:
        """Then the old listener serves on, and it is said why; later it is tried again."""
        gateway = self.begin()
        await self.warm()
        with socket.create_server(("127.0.0.3", self.port)):
            self.address = "127.0.0.3"
            self.advance(4)
            await self.until(lambda: gateway.reloads_rejected == 1)
            self.assertIn(f"cannot listen on 127.0.0.3:{self.port}", gateway.last_reload_error)
            self.assertEqual(await deferToThread(self.get, "127.0.0.2"), b"HTTP/1.1 200 OK")
            self.advance(20)
            self.assertEqual(gateway.reloads_rejected, 1)
        self.advance(14)
        await self.until(lambda: gateway.generation == 2)
        self.assertEqual(await deferToThread(self.get, "127.0.0.3"), b"HTTP/1.1 200 OK")

    async def test_a_lost_route(self) -> None:
        """A host without a route is not followed to loopback."""
        gateway = self.begin()
        await self.warm()
        self.address = "127.0.0.1"
        self.advance(8)
        self.assertEqual((gateway.generation, await deferToThread(self.get, "127.0.0.2")), (1, b"HTTP/1.1 200 OK"))
