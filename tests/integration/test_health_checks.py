"""Health checks against real servers: grpcio with TLS and without it, BIND, UDP sockets; and servers that misbehave."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any, Final

from tests.integration.gateway import Gateway, free_port, until
from tests.integration.test_https import HttpsCase, host, policy
from tests.integration.threaded import ThreadedServer
from tests.servers import grpc_python, named, nginx

_PEER: Final = Path(__file__).with_name("grpc_peer.py")
_TIMES: Final = "timeout: 1, interval: 1, healthy_threshold: 1, unhealthy_threshold: 1"


def check(name: str, probe: str, times: str = _TIMES) -> str:
    """A healthcheck object."""
    return f"- {{kind: healthcheck, metadata: {{name: {name}}}, spec: {{{probe}, {times}}}}}\n"


def cluster(name: str, port: int, *checks: str, more: str = "", endpoint: str = "ip: 127.0.0.1") -> str:
    """A cluster of one endpoint under these checks."""
    return (f"- {{kind: endpoint, metadata: {{name: {name}}}, spec: {{{endpoint}, port: {port}}}}}\n"
            f"- {{kind: cluster, metadata: {{name: {name}}}, spec: {{endpoints: [{name}], health_checks: [{', '.join(checks)}]{more}}}}}\n"
            f"- {{kind: route, metadata: {{name: {name}}}, spec: {{routes: [{{match: [{{path: {{path: /{name}}}}}], "
            f"route_destination: {{destinations: [{{cluster: {name}}}]}}}}]}}}}\n")


class HealthCase(HttpsCase):
    def serve(self, *objects: str) -> Gateway:
        """A gateway whose clusters are used by a virtual host."""
        names = [line.split("name: ")[1].split("}")[0] for line in "".join(objects).splitlines() if "kind: cluster" in line]
        return self.gateway(
            policy(), *objects,
            f"- {{kind: virtual_host, metadata: {{name: h}}, spec: {{domains: ['*'], routes: [{', '.join(names)}], "
            "advertise_policies: [p]}}\n")

    def verdicts(self, gateway: Gateway) -> dict[str, tuple[bool, list[str]]]:
        """Of each cluster's endpoint: whether it gets traffic, and what each check's last probe said."""
        def all_probed() -> Any:
            found = {}
            for each in gateway.admin("/clusters").json["clusters"]:
                (endpoint,) = each["endpoints"]
                if not all(one["results"] for one in endpoint["checks"]):
                    return None
                found[each["cluster"].removeprefix("default/")] = (
                    endpoint["ready"], [one["results"][0]["reason"] for one in endpoint["checks"]])
            return found

        found: dict[str, tuple[bool, list[str]]] = until("every check has a result", all_probed)
        return found

    def grpc_server(self, *files: str) -> int:
        """The port of a gRPC server by grpcio."""
        server = subprocess.Popen([grpc_python(), str(_PEER), "server", *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL)     # it tells of every handshake that is refused
        assert server.stdin is not None and server.stdout is not None
        self.addCleanup(server.wait, 20)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.stdin.close)
        return int(server.stdout.readline())


class GrpcHealthTests(HealthCase):
    def test_a_server_by_grpcio(self) -> None:
        """Its services, known and unknown, up and down, slow ones, by address and by name, with other checks beside."""
        port = self.grpc_server()
        web = nginx(self, "location / { return 200; }").port
        grpc = "voltgw: {grpc_health_check: {%s}}"
        gateway = self.serve(
            check("whole", grpc % ""), check("up", grpc % "service: up, authority: up.example"), check("down", grpc % "service: down"),
            check("unknown", grpc % "service: other"), check("slow", grpc % "service: slow"), check("tcp", "tcp_health_check: {}"),
            cluster("whole", port, "whole"), cluster("up", port, "up", endpoint="dns_name: localhost"), cluster("down", port, "down"),
            cluster("unknown", port, "unknown"), cluster("slow", port, "slow"),
            cluster("both", port, "whole", "tcp"), cluster("one", port, "tcp", "down"), cluster("web", web, "whole"),
            cluster("elsewhere", 1, "whole", endpoint=f"ip: 127.0.0.1, health_check_port: {port}"),
        )
        found = self.verdicts(gateway)
        self.assertEqual(found.pop("web")[0], False)
        ready, (reason,) = found.pop("slow")        # who notices first that its time is up, is a matter of luck
        self.assertFalse(ready)
        self.assertRegex(reason, "^(DEADLINE_EXCEEDED|no result within 1 s)")
        self.assertEqual(found, {
            "whole": (True, ["SERVING"]), "up": (True, ["SERVING"]), "down": (False, ["NOT_SERVING"]),
            "unknown": (False, ["NOT_FOUND: the server does not know the service"]),
            "both": (True, ["SERVING", "accepted"]), "one": (False, ["accepted", "NOT_SERVING"]), "elsewhere": (True, ["SERVING"]),
        })
        why = {each["cluster"]: each["endpoints"][0]["why"] for each in gateway.admin("/clusters").json["clusters"]}
        self.assertIn("health check default/down fails: NOT_SERVING", why["default/one"])
        metrics = gateway.admin("/metrics").body.decode()
        for name, result in (("tcp", "passed"), ("down", "failed")):
            line = f'voltgw_cluster_health_checks_total{{cluster="default/one",health_check="default/{name}",result="{result}"}}'
            self.assertRegex(metrics, re.escape(line) + " [1-9]")
        self.assertIn("voltgw_internal_failures_total 0.0", gateway.admin("/metrics").body.decode())

    def test_with_tls(self) -> None:
        """By the cluster's TLS parameters: the server's certificate must be the one that it says; HTTP/2 is agreed on by ALPN."""
        self.server("a.example")
        self.server("b.example")
        port = self.grpc_server(str(self.pki / "a.example.key"), str(self.pki / "a.example.crt"))
        tls = ", tls_parameters: {sni: %s, common_params: {validation_params: {trusted_ca_url: 'file:PKI/ca.crt'}}}"
        gateway = self.serve(
            check("up", "voltgw: {grpc_health_check: {service: up}}"),
            cluster("good", port, "up", more=tls % "a.example"), cluster("bad", port, "up", more=tls % "b.example"),
            cluster("plain", port, "up"), cluster("http", nginx(self, "return 200;").port, "up", more=tls % "a.example"))
        found = self.verdicts(gateway)
        self.assertEqual(found["good"], (True, ["SERVING"]))
        self.assertEqual([found[name][0] for name in ("bad", "plain", "http")], [False] * 3)
        self.assertIn("a.example", found["bad"][1][0])


class KeptConnectionTests(HealthCase):
    def test_one_connection_for_many_probes(self) -> None:
        """By either version over TLS, with a gateway as endpoint: its metrics tell how many connections there were."""
        self.server("a.example")
        port = free_port()
        tls = ", tls_parameters: {sni: a.example, common_params: {validation_params: {trusted_ca_url: 'file:PKI/ca.crt'}}}"
        probe = "http_health_check: {path: /, use_http2: true, host_header: a.example}, voltgw: {keep_connection: %s}"
        gateway = self.serve(
            check("two", probe % "true"), check("new", probe % "false"),
            check("one", probe.replace(", use_http2: true", "") % "true"),
            cluster("two", port, "two", more=tls), cluster("one", port, "one", more=tls), cluster("new", port, "new", more=tls),
            policy(str(port), "q"),
            host("target", "a.example", "a.example").replace("[p]", "[q]"),
            "- {kind: route, metadata: {name: r}, spec: {routes: [{route_direct_response: {response_code: 200}}]}}\n")

        def rounds() -> bool:
            return min(len(gateway.cluster(f"default/{name}")["endpoints"][0]["checks"][0]["results"]) for name in ("one", "two", "new")) >= 4

        until("three rounds", rounds)
        self.assertEqual({name: ready for name, (ready, _) in self.verdicts(gateway).items()}, {"one": True, "two": True, "new": True})
        text = gateway.admin("/metrics").body.decode()
        found = re.search(rf'^voltgw_listener_connections_total{{listener="127.0.0.1:{port}",.*}} ([0-9]+)', text, re.MULTILINE)
        assert found is not None
        new = len(gateway.cluster("default/new")["endpoints"][0]["checks"][0]["results"])
        self.assertIn(int(found[1]), (2 + new, 3 + new))    # one more may have begun meanwhile
        self.assertIn("voltgw_internal_failures_total 0.0", text)


class UdpEcho(threading.Thread):
    """Answers datagrams with themselves until it is closed; `deaf`: reads and says nothing."""

    def __init__(self, deaf: bool = False) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.05)
        self.port: int = self.socket.getsockname()[1]
        self.closed = False
        self._deaf = deaf

    def run(self) -> None:
        """Serve."""
        while not self.closed:
            try:
                data, peer = self.socket.recvfrom(65536)
            except TimeoutError:
                continue
            if not self._deaf:
                self.socket.sendto(data, peer)
        self.socket.close()

    def stop(self) -> None:
        """End."""
        self.closed = True
        self.join()


class UdpHealthTests(HealthCase):
    def echo(self, deaf: bool = False) -> UdpEcho:
        """An echo, running."""
        made = UdpEcho(deaf)
        made.start()
        self.addCleanup(made.stop)
        return made

    def test_servers_of_udp(self) -> None:
        """An echo passes; nobody there fails at once by ICMP; silence is what is configured; then the echo dies and is seen."""
        echo, deaf = self.echo(), self.echo(deaf=True)
        udp = "voltgw: {udp_health_check: {%s}}"
        times = "timeout: 1, interval: 1, healthy_threshold: 1, unhealthy_threshold: 2"
        gateway = self.serve(
            check("echo", udp % "send_payload: '70696e67', expected_response: '696e'", times), check("any", udp % ""),
            check("wrong", udp % "send_payload: '70', expected_response: '71'"), check("silent", udp % "silence: failure"),
            check("icmp", "udp_icmp_health_check: {}"),
            *(cluster(name, echo.port, name) for name in ("echo", "any", "wrong")),
            cluster("deaf", deaf.port, "silent"), cluster("icmp", deaf.port, "icmp"), cluster("dead", 9, "icmp"),
        )
        self.assertEqual(self.verdicts(gateway), {
            "echo": (True, ["answered as expected"]), "any": (True, ["answered with 0 bytes"]),
            "wrong": (False, ["the expected bytes are not in the answer of 1 bytes"]), "deaf": (False, ["no result within 1 s"]),
            "icmp": (True, ["no answer, and nobody says that it is unreachable"]), "dead": (False, ["127.0.0.1:9: Connection refused"]),
        })
        echo.stop()
        until("the dead echo is out", lambda: not gateway.cluster("default/echo")["endpoints"][0]["ready"])
        said = gateway.cluster("default/echo")["endpoints"][0]
        self.assertEqual(said["health"], "unhealthy")
        self.assertIn(f"127.0.0.1:{echo.port}: Connection refused", said["why"])
        self.assertRegex(gateway.output, r"default/echo 127\.0\.0\.1:\d+ is unhealthy")


    def test_datagrams_go_to_those_that_live(self) -> None:
        """UDP_PROXY: of two endpoints the one that nobody answers at gets nothing."""
        echo, port = self.echo(), free_port()
        objects = (
            f"- {{kind: advertise_policy, metadata: {{name: u}}, spec: {{address: 127.0.0.1, port: {port}, protocol: UDP}}}}\n"
            "- {kind: virtual_host, metadata: {name: u}, spec: {domains: ['*'], proxy: UDP_PROXY, advertise_policies: [u], routes: [u]}}\n"
            "- {kind: route, metadata: {name: u}, spec: {routes: [{route_destination: {destinations: [{cluster: u}]}}]}}\n"
            "- {kind: cluster, metadata: {name: u}, spec: {endpoints: [alive, dead], health_checks: [icmp]}}\n"
            f"- {{kind: endpoint, metadata: {{name: alive}}, spec: {{ip: 127.0.0.1, port: {echo.port}, protocol: UDP}}}}\n"
            "- {kind: endpoint, metadata: {name: dead}, spec: {ip: 127.0.0.1, port: 9, protocol: UDP}}\n")
        gateway = self.gateway(check("icmp", "udp_icmp_health_check: {}"), objects)
        until("one is out", lambda: gateway.cluster("default/u")["unhealthy"] == 1 and gateway.cluster("default/u")["healthy"] == 1)
        for number in range(10):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(5)
                client.sendto(b"%d" % number, ("127.0.0.1", port))
                self.assertEqual(client.recv(100), b"%d" % number)


class DnsHealthTests(HealthCase):
    def test_bind(self) -> None:
        """Names that it has and has not, addresses, other zones; over UDP and TCP."""
        port = named(self, "health.example", "up A 192.0.2.1\nup A 192.0.2.2\nup AAAA 2001:db8::1").port
        questions = {
            "soa": ("query_name: health.example, query_type: SOA", True, "answered NOERROR"),
            "up": ("query_name: up.health.example, expected_address: 192.0.2.2", True, "answered NOERROR with 192.0.2.2"),
            "six": ("query_name: up.health.example, query_type: AAAA, expected_address: '2001:db8::1', over_tcp: true", True,
                    "answered NOERROR with 2001:db8::1"),
            "other": ("query_name: up.health.example, expected_address: 192.0.2.9", False, ""),
            "none": ("query_name: down.health.example", False, "answered NXDOMAIN, not NOERROR"),
            "gone": ("query_name: down.health.example, expected_rcode: NXDOMAIN", True, "answered NXDOMAIN"),
            "zone": ("query_name: elsewhere.example, expected_rcode: REFUSED, over_tcp: true", True, "answered REFUSED"),
        }
        gateway = self.serve(
            *(check(name, f"voltgw: {{dns_query_health_check: {{{question}}}}}") for name, (question, _, _) in questions.items()),
            *(cluster(name, port, name) for name in questions), cluster("dead", 9, "soa"),
        )
        found = self.verdicts(gateway)
        self.assertEqual(found.pop("dead"), (False, ["127.0.0.1:9: Connection refused"]))
        ready, (reason,) = found.pop("other")
        self.assertFalse(ready)
        self.assertIn(reason, ("answered 192.0.2.1, 192.0.2.2, not 192.0.2.9", "answered 192.0.2.2, 192.0.2.1, not 192.0.2.9"))
        self.assertEqual(found, {name: (good, [reason]) for name, (_, good, reason) in questions.items() if name != "other"})


class Misbehaving(ThreadedServer):
    """Accepts, and does what `how` says."""

    def __init__(self, how: str) -> None:
        self._how = how
        self.accepted = 0
        super().__init__()

    def serve(self, sock: socket.socket) -> None:
        """One connection."""
        self.accepted += 1
        try:
            sock.recv(65536)
            if self._how == "mute":
                while sock.recv(65536):
                    pass
            elif self._how == "slow":
                sock.sendall(b"HTTP/1.1 2")
                while sock.recv(65536):
                    pass
            elif self._how == "endless":
                sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while True:
                    sock.sendall(b"4000\r\n" + bytes(0x4000) + b"\r\n")
            elif self._how == "endless head":
                sock.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    sock.sendall(b"x-more: %b\r\n" % (b"y" * 1000))
            elif self._how == "garbage":
                sock.sendall(bytes(range(256)) * 10)
            elif self._how == "redirect":
                sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass                            # the prober has had enough, which is the point


class BadInputTests(HealthCase):
    def test_peers_that_misbehave(self) -> None:
        """Slow, endless, redirecting, talking garbage or no TLS: a failure with its words, one connection a probe, nothing kept."""
        ways = ("slow", "endless", "endless head", "garbage", "redirect", "closes")
        servers = {way.replace(" ", "-"): Misbehaving(way) for way in ways}
        for server in servers.values():
            self.addCleanup(server.stop)
        tls, mute = Misbehaving("garbage"), Misbehaving("mute")
        self.addCleanup(tls.stop)
        self.addCleanup(mute.stop)
        gateway = self.serve(
            check("http", "http_health_check: {path: /, expected_response: '6e6f'}"), check("plain", "http_health_check: {path: /}"),
            check("two", "http_health_check: {path: /, use_http2: true}"), check("grpc", "voltgw: {grpc_health_check: {}}"),
            *(cluster(name, server.port, "http" if name == "endless" else "plain") for name, server in servers.items()),
            cluster("two", servers["garbage"].port, "two"), cluster("grpc", servers["garbage"].port, "grpc"),
            cluster("no-tls", tls.port, "plain", more=", tls_parameters: {use_host_header_as_sni: {}}"),
            cluster("mute-tls", mute.port, "plain", more=", tls_parameters: {use_host_header_as_sni: {}}"),
        )
        found = self.verdicts(gateway)
        self.assertEqual({name for name, (ready, _) in found.items() if ready}, set())
        said = {name: reasons[0] for name, (_, reasons) in found.items()}
        self.assertEqual(said["slow"], "no result within 1 s")
        self.assertIn("not the expected bytes in the body's first", said["endless"])
        self.assertEqual(said["redirect"], "status 302")
        self.assertEqual(said["garbage"], "the answer is not HTTP/1.x")
        self.assertEqual(said["closes"], "the connection was closed before the answer was complete")
        self.assertIn("not valid HTTP/2", said["two"])
        self.assertIn("not valid HTTP/2", said["grpc"])
        self.assertIn(f"127.0.0.1:{tls.port}: ", said["no-tls"])
        self.assertEqual(said["mute-tls"], "no result within 1 s")
        (result, *_) = gateway.cluster("default/mute-tls")["endpoints"][0]["checks"][0]["results"]
        self.assertLess(result["took_ms"], 1500)        # a handshake has no time beyond the probe's
        # one connection for each probe and no more, and none of them stays: the state after some rounds tells
        def rounds(name: str) -> int:
            return len(gateway.cluster(f"default/{name}")["endpoints"][0]["checks"][0]["results"])

        def descriptors() -> int:
            return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))

        before = descriptors()
        until("some rounds", lambda: rounds("redirect") >= 5)
        self.assertLessEqual(servers["redirect"].accepted, 8)
        until("no more descriptors than before", lambda: descriptors() <= before)
        metrics = gateway.admin("/metrics").body.decode()
        self.assertIn("voltgw_internal_failures_total 0.0", metrics)
