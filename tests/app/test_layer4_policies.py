"""Who may connect to TCP, UDP and SNI hosts, in a whole gateway: what peers receive, what the log and the metrics say."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from typing import Any

from twisted.internet.threads import deferToThread

from tests.app.making import config
from tests.app.running import GET, GatewayCase
from tests.certificates import authority, client, inline, server
from tests.integration.gateway import free_port
from tests.security.making import service_policy
from voltgw.app.dry import dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.question import read_question
from voltgw.app.service import GatewayService
from voltgw.observe.decisions import text_of
from voltgw.observe.metrics import GatewayCollector, exposition
from voltgw.wire.clienthello import ClientHello, read_hello
from voltgw.wire.fingerprints import ja3, ja4

ALLOW_LOCAL = {"allow_list": {"prefix_list": {"prefixes": ["127.0.0.0/8"]}}}
DENY_LOCAL = {"deny_list": {"prefix_list": {"prefixes": ["127.0.0.1/32"]}, "default_action_allow": {}}}


class JudgedCase(GatewayCase):
    """A gateway with one virtual host that relays."""

    def serve(self, origin: int, *parts: str, proxy: str = "TCP_PROXY", domains: list[str] | None = None, **spec: Any) -> GatewayService:
        """Start it."""
        self.log = self.folder / "access.log"
        host = {"proxy": proxy, "advertise_policies": ["p"], "routes": ["r"], **spec}
        if domains is not None:
            host["domains"] = domains
        text = f"gateway: {{admin: {{port: 0}}, access_log: {{path: {self.log}}}}}\nobjects:\n" + "".join((
            service_policy("h", host, "virtual_host"),
            service_policy("p", {"address": "127.0.0.1", "port": self.port, "protocol": "UDP" if proxy == "UDP_PROXY" else "TCP"},
                           "advertise_policy"),
            service_policy("r", {"routes": [{"route_destination": {"destinations": [{"cluster": ["c"]}]}}]}, "route"),
            service_policy("c", {"endpoints": ["e"]}, "cluster"),
            service_policy("e", {"ip": "127.0.0.1", "port": origin}, "endpoint"), *parts))
        self.file.write_text(text, encoding="utf-8")
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        return gateway

    def metric(self, gateway: GatewayService, name: str) -> list[str]:
        """The lines of a metric."""
        _, pieces = exposition(GatewayCollector(gateway), "")
        return [line for line in b"".join(pieces).decode().splitlines() if line.startswith(name + "{")]

    async def logged(self, count: int) -> list[dict[str, Any]]:
        """So many lines of the access log."""
        def read() -> list[str]:
            return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

        await self.until(lambda: len(read()) >= count)
        return [json.loads(line) for line in read()]

    def explained(self, url: str, source: str) -> Any:
        """What `voltgw explain` says."""
        return Explainer(dry_runtime(config(self.file.read_text(encoding="utf-8")))).explain(read_question("-", url, (), source, ""))


class TcpTests(JudgedCase):
    async def test_who_may_not_connect(self) -> None:
        """They are reset, no endpoint hears of them; the log names the rule, the metrics count it, explain says it."""
        heard = self.ok_origin()
        gateway = self.serve(heard.port, service_policy("edge", DENY_LOCAL), active_service_policies={"policies": ["edge"]})
        await self.warm()

        def connect() -> str:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
                    sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    return repr(sock.recv(100))
            except ConnectionError:
                return "reset"

        self.assertEqual(await deferToThread(connect), "reset")
        (line,) = await self.logged(1)
        self.assertEqual((line["response_flags"], line["policy"], line["rsp_code_details"], line["src_ip"], line["upstream_cluster"]),
                         ("SP", "default/edge/deny_list", "service_policy: default/edge/deny_list", "127.0.0.1", ""))
        self.assertEqual(self.metric(gateway, "voltgw_security_verdicts_total"), [(
            'voltgw_security_verdicts_total{gate="service policies",policy="default/edge",verdict="refused",'
            'virtual_host="default/h"} 1.0')])
        said = self.explained(f"tcp://127.0.0.1:{self.port}", "127.0.0.1")
        self.assertEqual((said.outcome, said.flag, said.refused_by), ("refused", "SP", "default/edge/deny_list"))
        self.assertIn("rule default/edge/deny_list", text_of(said.plain()["decisions"]))
        self.assertEqual(self.explained(f"tcp://127.0.0.1:{self.port}", "192.0.2.1").outcome, "relayed")

    async def test_who_may(self) -> None:
        """They are relayed, and the log says which rule let them."""
        heard = self.ok_origin()
        gateway = self.serve(heard.port, service_policy("edge", ALLOW_LOCAL), active_service_policies={"policies": ["edge"]})
        await self.warm()
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")
        gateway.listening.close()
        (line,) = await self.logged(1)
        self.assertEqual((line["response_flags"], line["policy"]), ("", "default/edge/allow_list"))

    async def test_too_many_connections(self) -> None:
        """A rate limit counts connections; the one too many is reset."""
        heard = self.ok_origin()
        gateway = self.serve(heard.port, service_policy(
            "two", {"limits": [{"unit": "HOUR", "total_number": 2}]}, "rate_limiter"), rate_limiter=["two"])
        await self.warm()
        self.assertEqual([await self.ask(), await self.ask()], [b"HTTP/1.1 200 OK"] * 2)

        def third() -> bytes:
            with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
                return sock.recv(1)

        with self.assertRaises(ConnectionResetError):
            await deferToThread(third)
        gateway.listening.close()
        lines = await self.logged(3)
        (refused,) = [line for line in lines if line["response_flags"]]
        self.assertEqual((refused["response_flags"], refused["policy"]), ("RL", "default/two 127.0.0.1"))


    async def test_connections_of_one_address(self) -> None:
        """gateway.max_connections_per_source: the next one is closed and counted; a reload may say another number."""
        gateway = self.serve(self.ok_origin().port)
        text = self.file.read_text(encoding="utf-8")

        async def most(number: int) -> None:
            self.file.write_text(text.replace("gateway: {", (
                f"gateway: {{trusted_sources: [192.0.2.0/24], max_connections_per_source: {number}, "), 1), encoding="utf-8")
            self.assertTrue((await gateway.reload())["ok"])

        await self.warm()
        await most(2)
        held = [await self.client(self.port) for _ in range(2)]
        (listener,) = gateway.listeners()
        for peer in held:
            self.assertEqual(await self.ask(peer=peer), b"HTTP/1.1 200 OK")
        with socket.create_connection(("127.0.0.1", self.port), 5) as third, self.assertRaises(ConnectionResetError):
            if await deferToThread(third.recv, 1) == b"":
                raise ConnectionResetError
        self.assertEqual(listener.counters.refused_source, 1)
        await most(3)
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")

    async def test_a_list_that_is_written_anew(self) -> None:
        """Nobody has to say so: who stands in the new file is refused seconds later, and the listener is the same one."""
        listed = self.folder / "blocked.txt"
        listed.write_text("192.0.2.0/24\n", encoding="utf-8")
        gateway = self.serve(
            self.ok_origin().port,
            service_policy("edge", {"deny_list": {"ip_prefix_set": ["blocked"], "default_action_allow": {}}}),
            service_policy("blocked", {"voltgw": {"file": "blocked.txt"}}, "ip_prefix_set"), active_service_policies={"policies": ["edge"]})
        await self.warm()
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")
        (listener,) = gateway.listeners()
        listed.write_text("127.0.0.0/8\n", encoding="utf-8")
        self.advance(6)
        await self.until(lambda: gateway.generation > 1)
        with self.assertRaises(ConnectionError):
            await deferToThread(lambda: socket.create_connection(("127.0.0.1", self.port), 5).recv(1))
        self.assertIs(next(iter(gateway.listeners())), listener)


class UdpTests(JudgedCase):
    async def test_who_gets_no_session(self) -> None:
        """Their datagrams go nowhere, are counted by the reason, and one line a second says why."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as origin:
            origin.bind(("127.0.0.1", 0))
            origin.settimeout(0.2)
            gateway = self.serve(origin.getsockname()[1], service_policy("edge", DENY_LOCAL), proxy="UDP_PROXY",
                                 active_service_policies={"policies": ["edge"]})
            await self.warm()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.connect(("127.0.0.1", self.port))
                for _ in range(5):
                    client.send(b"x")
                (listener,) = gateway.listeners()
                await self.until(lambda: listener.counters.datagrams_dropped.get("policy") == 5)
            with self.assertRaises(TimeoutError):
                origin.recv(1)
        (line,) = await self.logged(1)
        self.assertEqual((line["response_flags"], line["policy"]), ("SP", "default/edge/deny_list"))
        self.assertEqual(self.explained(f"udp://127.0.0.1:{self.port}", "127.0.0.1").outcome, "refused")

    async def test_too_many_sessions(self) -> None:
        """A rate limit counts sessions, not datagrams."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as origin:
            origin.bind(("127.0.0.1", 0))
            origin.settimeout(5)
            gateway = self.serve(origin.getsockname()[1], service_policy(
                "one", {"limits": [{"unit": "HOUR", "total_number": 1}]}, "rate_limiter"), proxy="UDP_PROXY", rate_limiter=["one"])
            await self.warm()
            for number in (1, 2):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.connect(("127.0.0.1", self.port))
                    for _ in range(3):
                        client.send(b"%d" % number)
                    if number == 1:
                        self.assertEqual([await deferToThread(origin.recv, 10) for _ in range(3)], [b"1"] * 3)
            (listener,) = gateway.listeners()
            await self.until(lambda: listener.counters.datagrams_dropped.get("limit") == 3)


class SniTests(JudgedCase):
    def tls_server(self, name: str) -> int:
        """A TLS server that says its name; its port."""
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
                        tls.sendall(name.encode())
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

    def ask_tls(self, name: str, alpn: list[str] | None = None) -> str:
        """What a client hears that asks for `name`."""
        context = ssl.create_default_context(cadata=authority("lab").certificate.decode())
        context.check_hostname = False
        if alpn:
            context.set_alpn_protocols(alpn)
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as raw, context.wrap_socket(raw, server_hostname=name) as tls:
                return tls.recv(100).decode()
        except ssl.SSLError as error:
            return str(error.reason)

    async def test_by_name_and_by_fingerprint(self) -> None:
        """Who may not connect gets the alert access_denied instead of a handshake; the rule is named in the log."""
        origin = self.tls_server("a.example")
        self.serve(
            origin, service_policy("edge", {"rule_list": {"rules": [
                {"metadata": {"name": "not-b"}, "spec": {"action": "DENY", "domain_matcher": {"exact_values": ["b.example"]}}},
                {"metadata": {"name": "rest"}, "spec": {"action": "ALLOW"}}]}}),
            proxy="TCP_PROXY_WITH_SNI", domains=["a.example", "b.example"], active_service_policies={"policies": ["edge"]})
        await self.warm()
        self.assertEqual(await deferToThread(self.ask_tls, "a.example"), "a.example")
        self.assertIn("ACCESS_DENIED", (await deferToThread(self.ask_tls, "b.example")).upper())
        lines = await self.logged(2)
        (line,) = [each for each in lines if each["sni"] == "b.example"]
        self.assertEqual((line["response_flags"], line["policy"], line["rsp_code_details"]),
                         ("SP", "default/edge/not-b", "service_policy: default/edge/not-b"))
        said = self.explained(f"tls://b.example:{self.port}", "127.0.0.1")
        self.assertEqual((said.outcome, said.refused_by), ("refused", "default/edge/not-b"))

    async def test_by_fingerprint(self) -> None:
        """JA3 and JA4 of the hello, though the TLS is not ended here."""
        hello = self.hello("a.example")
        for field, value in (("tls_fingerprint_matcher", ja3(hello)), ("ja4_tls_fingerprint", ja4(hello))):
            origin = self.tls_server("a.example")
            self.port = free_port()
            gateway = self.serve(
                origin, service_policy("edge", {"rule_list": {"rules": [
                    {"metadata": {"name": "bots"}, "spec": {"action": "DENY", field: {"exact_values": [value]}}},
                    {"metadata": {"name": "rest"}, "spec": {"action": "ALLOW"}}]}}),
                proxy="TCP_PROXY_WITH_SNI", domains=["a.example"], active_service_policies={"policies": ["edge"]})
            await self.warm()
            self.assertIn("ACCESS_DENIED", (await deferToThread(self.ask_tls, "a.example")).upper())
            self.assertEqual(await deferToThread(self.ask_tls, "a.example", ["http/1.1"]), "a.example")
            await gateway.stopService()

    def hello(self, name: str) -> ClientHello:
        """What `ask_tls` begins with."""
        context = ssl.create_default_context()
        context.check_hostname = False
        out = ssl.MemoryBIO()
        tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = read_hello(out.read())
        assert isinstance(hello, ClientHello)
        return hello


class ClientCertificateTests(JudgedCase):
    async def test_by_its_names(self) -> None:
        """TLS that is ended here: who shows a certificate with another name is cut off behind the handshake."""
        files = {}
        for name, pair in (("alice", client("alice", ca="clients")), ("bob", client("bob", ca="clients"))):
            files[name] = self.folder / f"{name}.pem"
            files[name].write_bytes(pair.certificate + pair.key)
        issued = server("vault.example")
        tls = {
            "tls_certificates": [{"certificate_url": inline(issued.certificate),
                                  "private_key": {"clear_secret_info": {"url": inline(issued.key)}}}],
            "validation_params": {"trusted_ca_url": inline(authority("clients").certificate)}}
        gateway = self.serve(
            self.ok_origin().port, service_policy("edge", {"rule_list": {"rules": [
                {"metadata": {"name": "alice"}, "spec": {"action": "ALLOW", "client_name": "alice"}}]}}),
            proxy="TLS_TCP_PROXY", domains=["vault.example"], active_service_policies={"policies": ["edge"]},
            tls_parameters={"common_params": tls, "client_certificate_required": {}})
        await self.warm()

        def ask(who: str) -> bytes:
            context = ssl.create_default_context(cadata=authority("lab").certificate.decode())
            context.load_cert_chain(files[who])
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as raw, \
                        context.wrap_socket(raw, server_hostname="vault.example") as stream:
                    stream.sendall(GET)
                    return stream.recv(15)
            except OSError:
                return b"reset"

        self.assertEqual(await deferToThread(ask, "alice"), b"HTTP/1.1 200 OK")
        self.assertIn(await deferToThread(ask, "bob"), (b"", b"reset"))
        gateway.listening.close()
        lines = await self.logged(2)
        self.assertEqual({line["client_certificate_subject"]: line["policy"] for line in lines},
                         {"CN=alice": "default/edge/alice", "CN=bob": "end of the policies"})
