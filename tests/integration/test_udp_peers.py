"""UDP through the gateway with real peers: DNS servers and proxies, SIP telephones."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from tests.app.running import GatewayCase
from tests.certificates import authority, server
from tests.integration.gateway import free_port
from tests.servers import dnsdist, quic_python, require, unbound
from voltgw.config.issuing import Issued

OBJECTS = """
gateway: {{admin: {{port: 0}}, access_log: {{path: {log}}}}}
objects:
- kind: virtual_host
  metadata: {{name: h}}
  spec: {{domains: ["*"], proxy: UDP_PROXY, advertise_policies: [p], routes: [r]}}
- kind: advertise_policy
  metadata: {{name: p}}
  spec: {{address: 127.0.0.1, port: {port}, protocol: UDP{policy}}}
- kind: route
  metadata: {{name: r}}
  spec: {{routes: [{{route_destination: {{destinations: [{{cluster: [c]}}]}}}}]}}
- kind: cluster
  metadata: {{name: c}}
  spec: {{endpoints: [e]{cluster}}}
- kind: endpoint
  metadata: {{name: e}}
  spec: {{ip: 127.0.0.1, port: {origin}, protocol: UDP}}
"""
PEER = Path(__file__).with_name("quic_peer.py")
CLIENT, OTHER = "127.0.0.77", "127.0.0.78"
NAMES = {"": {"who.example": "a stranger"}, f"{CLIENT}/32": {"who.example": "number 77"}}


class UdpPeersCase(GatewayCase):
    async def serve(self, origin: int, policy: str = "", cluster: str = "", text: str = OBJECTS) -> Any:
        """Run a gateway in front of a UDP port."""
        self.log = self.folder / "access.log"
        self.file.write_text(text.format(port=self.port, policy=policy, cluster=cluster, origin=origin, log=self.log))
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        return gateway

    async def said(self, *command: str) -> str:
        """What a program says that ends well."""
        def run() -> str:
            done = subprocess.run([require(command[0]), *command[1:]], capture_output=True, text=True, timeout=60, check=False)
            if done.returncode:
                raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
            return done.stdout

        answer: str = await deferToThread(run)
        return answer

    async def dig(self, port: int, source: str = CLIENT, *more: str) -> str:
        """The text that dig gets for who.example."""
        return await self.said("dig", "@127.0.0.1", "-p", str(port), "-b", source, "+short", "+tries=1", "+time=5", "TXT",
                               "who.example", *more)


class DnsTests(UdpPeersCase):
    async def test_dig(self) -> None:
        """A query goes to the DNS server and its answer comes back; without a header the server sees the gateway."""
        await self.serve(unbound(self, NAMES).port)
        self.assertEqual(await self.dig(self.port), '"a stranger"\n')
        self.assertEqual(await self.dig(self.port, CLIENT, "+bufsize=4096", "+dnssec"), '"a stranger"\n')

    async def test_a_dns_server_that_is_told(self) -> None:
        """unbound answers each client as its own view says, by the header that every datagram begins with."""
        await self.serve(unbound(self, NAMES, proxied=True).port, cluster=", proxy_protocol_v2: {}")
        for _ in range(2):
            self.assertEqual(await self.dig(self.port), '"number 77"\n')
            self.assertEqual(await self.dig(self.port, OTHER), '"a stranger"\n')

    async def test_a_dns_proxy_that_tells(self) -> None:
        """dnsdist tells us of the client, and we tell unbound; the access log has the client."""
        gateway = await self.serve(unbound(self, NAMES, proxied=True).port, cluster=", proxy_protocol_v2: {}",
                                   policy=", voltgw: {proxy_protocol: {trusted: [127.0.0.0/8]}}")
        front = dnsdist(self, self.port)
        self.assertEqual(await self.dig(front.port), '"number 77"\n')
        self.assertEqual(await self.dig(front.port, OTHER), '"a stranger"\n')
        (listener,) = gateway.listeners()
        self.assertEqual((listener.counters.open, listener.counters.datagrams_dropped), (2, {}))
        self.advance(70)
        await self.until(lambda: self.log.exists() and all(
            f'"src_ip":"{one}"' in self.log.read_text() and f'"proxied_to":"127.0.0.1:{front.port}"' in self.log.read_text()
            for one in (CLIENT, OTHER)))


class HealthTests(UdpPeersCase):
    async def judged(self, cluster: Any, healthy: bool) -> None:
        """Until the only endpoint of a cluster is, or is not, healthy by its check."""
        await self.until(lambda: [(each.ready, "passes" in each.reason) for each in cluster.endpoints] == [(healthy, healthy)])

    async def test_a_dns_server_that_wants_headers(self) -> None:
        """Probes have one: it is healthy; one that wants none is not, when it gets them."""
        check = ("- {kind: healthcheck, metadata: {name: k}, spec: {voltgw: {dns_query_health_check: {query_name: who.example, "
                 "query_type: TXT}}, interval: 60, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 1}}\n")
        for proxied, healthy in ((True, True), (False, False)):
            self.port = free_port()
            gateway = await self.serve(unbound(self, NAMES, proxied=proxied).port, text=OBJECTS + check.replace(
                "{", "{{").replace("}", "}}"), cluster=", health_checks: [k], proxy_protocol_v2: {}")
            await self.judged(gateway.runtime.clusters["default/c"], healthy)
            gateway.abandon()
            await gateway.stopService()


class QuicTests(UdpPeersCase):
    def server(self, name: str, issued: Issued) -> int:
        """A QUIC server that says this name; the port it has."""
        port = free_port()
        for file, content in ((f"{name}.pem", issued.certificate), (f"{name}.key", issued.key)):
            (self.folder / file).write_bytes(content)
        process = subprocess.Popen(
            [quic_python(), str(PEER), "server", str(port), name, f"{name}.pem", f"{name}.key"], cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        return port

    async def moving(self, option: str, moves: int) -> tuple[Any, int, list[str]]:
        """The gateway, and how a client's asking ended that changes its port so often, and what it heard."""
        ports = [self.server(name, server("shop.example")) for name in ("one", "two")]
        text = OBJECTS.replace('proxy: UDP_PROXY', f"proxy: UDP_PROXY, voltgw: {{{{{option}}}}}").replace(
            "endpoints: [e]", "endpoints: [e, f]") + f"""\
- kind: endpoint
  metadata: {{{{name: f}}}}
  spec: {{{{ip: 127.0.0.1, port: {ports[1]}, protocol: UDP}}}}
"""
        gateway = await self.serve(ports[0], text=text)
        ca = self.folder / "ca.pem"
        ca.write_bytes(authority("lab").certificate)

        def run() -> tuple[int, list[str]]:
            done = subprocess.run([quic_python(), str(PEER), "client", str(self.port), str(ca), str(moves)], capture_output=True,
                                  text=True, timeout=60, check=False)
            return done.returncode, done.stdout.splitlines()

        status, heard = await deferToThread(run)
        return gateway, status, heard

    async def test_a_client_that_moves(self) -> None:
        """Its connection goes on with the same server, from each new port, also with ids that were offered in secret."""
        gateway, status, heard = await self.moving("quic_connection_ids: true", 4)
        name = heard[0].split()[0] if heard else ""
        self.assertEqual((status, heard), (0, [f"{name} {number}" for number in range(5)]))
        (listener,) = gateway.listeners()
        self.assertEqual((listener.counters.accepted, listener.counters.sessions_moved), (1, 4))

    async def test_without_the_option(self) -> None:
        """The other server gets what is of another's connection, and the client hears nothing more."""
        gateway, status, heard = await self.moving("", 1)
        self.assertEqual((status != 0, [each.split()[1] for each in heard]), (True, ["0"]))
        (listener,) = gateway.listeners()
        self.assertEqual((listener.counters.accepted, listener.counters.sessions_moved), (2, 0))


class SipTests(UdpPeersCase):
    async def test_calls(self) -> None:
        """INVITE, 180, 200, ACK, BYE, 200: twenty calls by sipp, none of which fails."""
        origin = free_port()
        called = subprocess.Popen(
            [require("sipp"), "-sn", "uas", "-i", "127.0.0.1", "-p", str(origin), "-m", "20", "-nostdin"], cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(called.wait)
        self.addCleanup(called.kill)
        gateway = await self.serve(origin)
        statistics = self.folder / "calls.csv"
        await self.said("sipp", "-sn", "uac", f"127.0.0.1:{self.port}", "-i", "127.0.0.1", "-p", str(free_port()), "-m", "20", "-r",
                        "40", "-d", "50", "-nostdin", "-timeout", "30", "-trace_stat", "-stf", str(statistics), "-fd", "1")
        names, *_, last = [line.split(";") for line in statistics.read_text().splitlines()]
        found = dict(zip(names, last, strict=False))
        self.assertEqual((found["SuccessfulCall(C)"], found["FailedCall(C)"]), ("20", "0"))
        self.assertEqual(await deferToThread(called.wait), 0)           # all twenty, as it sees it
        (listener,) = gateway.listeners()
        self.assertGreaterEqual(listener.counters.datagrams_in, 60)     # INVITE, ACK and BYE of each
