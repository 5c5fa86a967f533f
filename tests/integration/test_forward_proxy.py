"""The explicit forward proxy as clients use it: curl and openssl ask, real nginx origins say what reached them."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from base64 import b64encode
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests import certificates
from tests.integration.forwarding import Proxied, connector, sha_line, site, tunnelled, upgrade, upgrading
from tests.integration.gateway import PATIENCE_S, free_port, until
from tests.servers import Server, nginx, require

_ECHO: Final = ("location / { return 200 'via=$http_via xff=$http_x_forwarded_for auth=$http_proxy_authorization host=$http_host "
                "conn=$http_proxy_connection'; } location /secret { return 200 'secret'; }")


def tls_origin(test: SynchronousTestCase, *names: str) -> Server:
    """An nginx that speaks TLS with a certificate for these names."""
    folder = Path(test.mktemp()).absolute()
    folder.mkdir(parents=True)
    one = certificates.server(*names)
    (folder / "cert.pem").write_bytes(one.certificate)
    (folder / "key.pem").write_bytes(one.key)
    return nginx(test, f"ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem; {_ECHO}".replace(
        "ssl_certificate ", "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate ", 1), ssl=True)


class OriginsCase(SynchronousTestCase):
    """Two origins, one in plain text and one with TLS for a.test, b.test and denied.test."""

    def setUp(self) -> None:
        self.port = free_port()
        self.log = Path(self.mktemp()).resolve()
        self.plain = nginx(self, f"access_log {self.log} combined; {_ECHO}")
        self.secure = tls_origin(self, "a.test", "b.test", "denied.test")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(certificates.authority("lab").certificate)
        self.hosts: dict[str, list[str] | list[list[str]]] = {
            name: ["127.0.0.1"] for name in ("a.test", "b.test", "denied.test", "localhost")}
        self.ports = f"connect_ports: '443,{self.secure.port},{self.plain.port}'"

    def proxied(self, policies: dict[str, str] | None = None, **options: str) -> Proxied:
        return Proxied(self, site(connector(self.port, **{"voltgw": self.ports, **options}), policies), self.port, self.hosts)

    def url(self, name: str, path: str = "/") -> str:
        return f"http://{name}:{self.plain.port}{path}"

    def secure_url(self, name: str, path: str = "/") -> str:
        return f"https://{name}:{self.secure.port}{path}"

    def seen(self) -> list[str]:
        """Request lines that the plain origin has seen."""
        return [line.split('"')[1] for line in self.log.read_text(encoding="utf-8").splitlines()] if self.log.exists() else []


class ExplicitTests(OriginsCase):
    def test_requests_with_a_whole_url(self) -> None:
        """The origin gets the path, its own Host, our Via; nothing of the proxy's own business and nothing of the client's address."""
        proxied = self.proxied()
        status, _, body = proxied.curl(self.url("a.test", "/x?y=1"), "-U", "me:secret", "-H", "Proxy-Connection: keep-alive")
        self.assertEqual(status, 200)
        self.assertRegex(body, r"^via=1\.1 voltgw-[0-9a-f]{12} xff= auth= host=a\.test:[0-9]+ conn=$")
        self.assertEqual(self.seen(), ["GET /x?y=1 HTTP/1.1"])
        record = proxied.records(1)[0]
        self.assertEqual((record["vh_name"], record["proxy_type"], record["dst_ip"], record["rsp_code"], record["authority"]),
                         ("out-explicit", "forward", "127.0.0.1", "200", f"a.test:{self.plain.port}"))

    def test_one_connection_for_many_requests_to_many_origins(self) -> None:
        """Keep-alive on both sides: three requests on one client connection, the origin's connection used again."""
        proxied = self.proxied()
        done = subprocess.run(
            [require("curl"), "-sS", "-x", f"http://127.0.0.1:{self.port}", "-w", "%{num_connects} ", "-o", "/dev/null",
             self.url("a.test"), "-o", "/dev/null", self.url("b.test"), "-o", "/dev/null", self.url("a.test")],
            capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        self.assertEqual(done.stdout.split(), ["1", "0", "0"])
        self.assertEqual(len(self.seen()), 3)
        self.assertEqual({record["rsp_code"] for record in proxied.records(3)}, {"200"})

    def test_connect_leads_to_the_origin_itself(self) -> None:
        """The client speaks TLS with the origin, whose own certificate it sees; the record has the name and what was moved."""
        proxied = self.proxied()
        status, connect, body = proxied.curl("--cacert", str(self.ca), self.secure_url("a.test"))
        self.assertEqual((status, connect), (200, 200))
        self.assertIn("host=a.test", body)
        shown = subprocess.run(
            [require("openssl"), "s_client", "-proxy", f"127.0.0.1:{self.port}", "-connect", f"b.test:{self.secure.port}",
             "-servername", "b.test", "-verify_return_error", "-CAfile", str(self.ca)],
            input=b"GET / HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n", capture_output=True, timeout=PATIENCE_S, check=True)
        self.assertIn(b"Verify return code: 0 (ok)", shown.stdout)
        record = proxied.records(2)[0]
        self.assertEqual((record["method"], record["rsp_code"], record["sni"], record["dst_port"]),
                         ("CONNECT", "200", "a.test", str(self.secure.port)))
        self.assertGreater(int(record["rsp_size"]), 1000)

    def test_a_whole_url_of_https(self) -> None:
        """We speak TLS to the origin ourselves, and believe only whom the system's roots vouch for."""
        proxied = self.proxied()
        answer = proxied.raw(b"GET https://a.test:%d/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % self.secure.port)
        self.assertTrue(answer.startswith(b"HTTP/1.1 502 "), answer)
        self.assertIn("tls_failure", proxied.records(1)[0]["rsp_code_details"])

    def test_what_is_no_request_to_a_proxy(self) -> None:
        """A path alone, CONNECT without a port or with content, two names for one place."""
        proxied = self.proxied()
        for request, status in (
                (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"400"), (b"CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", b"400"),
                (b"CONNECT / HTTP/1.1\r\nHost: a.test:443\r\n\r\n", b"400"), (b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", b"400"),
                (b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nContent-Length: 5\r\n\r\nhello", b"400"),
                (b"GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", b"400"),
                (b"GET http://u:p@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", b"400"),
                (b"GET http://no.such.name/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"502"),
                (b"CONNECT 1.2.3.4.5:443 HTTP/1.1\r\nHost: a\r\n\r\n", b"400")):
            self.assertEqual(proxied.raw(request).split()[1], status, request)
        # the target's authority wins over Host (RFC 9112 3.2.2)
        _, _, body = proxied.curl("-H", "Host: b.test", self.url("a.test"))
        self.assertIn(f"host=a.test:{self.plain.port}", body)

    def test_several_addresses_are_tried_in_order(self) -> None:
        """Where the first address refuses, the next one is asked, for requests as for tunnels."""
        self.hosts["a.test"] = ["127.0.0.9", "127.0.0.8", "127.0.0.1"]
        proxied = self.proxied()
        self.assertEqual(proxied.status(self.url("a.test")), 200)
        self.assertEqual(proxied.status("--cacert", str(self.ca), self.secure_url("a.test")), 200)
        first, second = proxied.records(2)
        self.assertEqual((first["attempts"], second["attempts"]), (3, 3))
        self.assertEqual((first["dst_ip"], second["dst_ip"]), ("127.0.0.1", "127.0.0.1"))

    def test_an_origin_that_refuses(self) -> None:
        """502 for a request and for CONNECT."""
        self.hosts["a.test"] = ["127.0.0.9"]
        proxied = self.proxied()
        self.assertEqual(proxied.status(self.url("a.test")), 502)
        self.assertEqual(proxied.status(self.secure_url("a.test")), 502)

    def test_upgrades(self) -> None:
        """WebSocket by a whole URL, and inside a tunnel whose requests are judged."""
        port = upgrading(self)
        host = f"a.test:{port}"
        self.proxied({"urls": "{deny_list: {http_list: [{exact_value: a.test, path_prefix_value: /secret}], "
                              "default_action_allow: {}}}"}, voltgw=f"connect_ports: '{port}'")
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as client:
            self.assertEqual(upgrade(client, f"http://{host}/ws", host), b"WORD")
        for path, expected in (("/ws", b"WORD"), ("/secret", b"HTTP/1.1 403 ")):
            with tunnelled(self.port, host) as client:
                self.assertTrue(upgrade(client, path, host).startswith(expected), path)

    def test_request_bodies(self) -> None:
        """A body of unknown length reaches the origin whole."""
        proxied = self.proxied()
        status, _, _ = proxied.curl("-X", "POST", "-H", "Transfer-Encoding: chunked", "--data-binary", "x" * 100_000,
                                    self.url("a.test", "/up"))
        self.assertEqual(status, 200)

    def test_loops_are_noticed(self) -> None:
        """Our own port on any address of ours, and a request that has our name in Via."""
        proxied = self.proxied()
        self.assertEqual(proxied.status(f"http://127.0.0.1:{self.port}/"), 403)
        self.assertEqual(proxied.status(f"http://127.0.0.5:{self.port}/"), 403)
        self.assertEqual(proxied.status(f"http://localhost:{self.port}/"), 403)
        _, _, body = proxied.curl(self.url("a.test"))
        ours = body.split()[1]
        self.assertEqual(proxied.status("-H", f"Via: 1.1 elsewhere, 1.1 {ours}", self.url("a.test")), 508)
        self.assertEqual(proxied.status("-H", "Via: 1.1 elsewhere", self.url("a.test")), 200)
        self.assertEqual(proxied.status(f"http://127.0.0.1:{proxied.gateway.admin_port}/ready"), 403)


class LoginTests(OriginsCase):
    def test_basic(self) -> None:
        """407 with a challenge until the password is right; then the origin sees nothing of it."""
        users = "string:///" + b64encode((sha_line("ann", "secret") + "\n").encode()).decode()
        proxied = self.proxied(explicit=f"htpasswd: '{users}', realm: lab")
        answer = proxied.raw(f"GET {self.url('a.test')} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n".encode())
        self.assertTrue(answer.startswith(b"HTTP/1.1 407 "), answer)
        self.assertIn(b'proxy-authenticate: Basic realm="lab", charset="UTF-8"\r\n', answer)
        self.assertEqual(proxied.status(self.url("a.test"), "-U", "ann:wrong"), 407)
        self.assertEqual(proxied.status(self.url("a.test"), "-U", "bob:secret"), 407)
        status, _, body = proxied.curl(self.url("a.test"), "-U", "ann:secret")
        self.assertEqual(status, 200)
        self.assertIn("auth= host", body)
        self.assertEqual(proxied.status(self.secure_url("a.test"), "-U", "ann:wrong"), 407)
        self.assertEqual(proxied.status("--cacert", str(self.ca), self.secure_url("a.test"), "-U", "ann:secret"), 200)
        self.assertEqual(len(self.seen()), 1)
        logged = [(record["rsp_code"], record["auth"], record["auth_user"]) for record in proxied.records(6)]
        self.assertEqual(logged, [
            ("407", "basic missing", ""), ("407", "basic wrong_password", ""), ("407", "basic wrong_password", ""),
            ("200", "basic", "ann"), ("407", "basic wrong_password", ""), ("200", "basic", "ann")])

    def test_client_certificates(self) -> None:
        """TLS to the proxy: whoever has no certificate of our CA has no proxy."""
        shown = certificates.shown(certificates.server("proxy.test"))
        ca = certificates.inline(certificates.authority("clients").certificate)
        proxied = self.proxied(
            explicit=f"tls_parameters: {{common_params: {{{shown}, validation_params: {{trusted_ca_url: '{ca}'}}}}, "
            "client_certificate_required: {}}")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        one = certificates.client("ann", ca="clients")
        (folder / "cert.pem").write_bytes(one.certificate)
        (folder / "key.pem").write_bytes(one.key)
        to_proxy = ("--proxy-cacert", str(self.ca), "--resolve", f"proxy.test:{self.port}:127.0.0.1")
        proxy = f"https://proxy.test:{self.port}"
        with_certificate = ("--proxy-cert", str(folder / "cert.pem"), "--proxy-key", str(folder / "key.pem"))
        status, _, body = proxied.curl(*to_proxy, self.url("a.test"), proxy=proxy)
        self.assertEqual(status, 0, body)
        status, _, body = proxied.curl(*to_proxy, *with_certificate, self.url("a.test"), proxy=proxy)
        self.assertEqual(status, 200, body)
        status, connect, body = proxied.curl(
            *to_proxy, *with_certificate, "--cacert", str(self.ca), self.secure_url("a.test"), proxy=proxy)
        self.assertEqual((status, connect), (200, 200), body)


class PolicyTests(OriginsCase):
    def test_urls_on_one_host_with_keep_alive(self) -> None:
        """Allowed and denied paths in turn on one connection; in disguise, too. The origin sees nothing of what is denied."""
        proxied = self.proxied({"urls": "{deny_list: {http_list: [{exact_value: a.test, path_prefix_value: /secret}], "
                                        "default_action_allow: {}}}"})
        arguments: list[str] = []
        for path in ("/one", "/secret", "/two", "/%73ecret", "/x/../secret", "/three", "/./secret/x"):
            arguments += ["-o", "/dev/null", self.url("a.test", path)]
        done = subprocess.run(
            [require("curl"), "-sS", "--path-as-is", "-x", f"http://127.0.0.1:{self.port}", "-w", "%{http_code}/%{num_connects} ",
             *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        self.assertEqual(done.stdout.split(), ["200/1", "403/0", "200/0", "403/0", "403/0", "200/0", "403/0"])
        self.assertEqual([line.split()[1] for line in self.seen()], ["/one", "/two", "/three"])
        denied = [record for record in proxied.records(7) if record["rsp_code"] == "403"]
        self.assertEqual({(record["policy"], record["response_flags"]) for record in denied},
                         {("system/urls/deny_list.http_list", "FP")})

    def test_urls_that_origins_read_differently(self) -> None:
        """What is /secret to some of them, and what is below it to others, goes to none; nor does it in a tunnel."""
        proxied = self.proxied({"urls": "{deny_list: {http_list: [{exact_value: a.test, path_prefix_value: /secret}], "
                                        "default_action_allow: {}}}"})
        for path in ("/x/..%2Fsecret", "/secret/..%2Fx", "/x/..;/secret", "/secret;x/..%2F..%2Fy", "/x%5C..%5Csecret"):
            self.assertEqual(proxied.curl("--path-as-is", self.url("a.test", path))[0], 403, path)
            self.assertEqual(proxied.curl("--path-as-is", "-p", self.url("a.test", path))[:2], (403, 200), path)
        self.assertEqual(self.seen(), [])
        self.assertEqual(proxied.curl("--path-as-is", self.url("a.test", "/x/..%2Fy"))[0], 200)

    def test_urls_inside_a_tunnel(self) -> None:
        """HTTP inside CONNECT is judged request by request where a policy speaks of URLs."""
        proxied = self.proxied({"urls": "{deny_list: {http_list: [{exact_value: a.test, path_prefix_value: /secret}], "
                                        "default_action_allow: {}}}"})
        self.assertEqual(proxied.curl("-p", self.url("a.test", "/one"))[:2], (200, 200))
        self.assertEqual(proxied.curl("-p", self.url("a.test", "/secret"))[:2], (403, 200))
        # another Host inside the tunnel leads to the same address here, so it is judged by that name
        self.assertEqual(proxied.curl("-p", self.url("b.test", "/secret"))[:2], (200, 200))
        self.assertEqual(proxied.curl("-p", "-H", "Host: a.test", self.url("b.test", "/secret"))[:2], (403, 200))
        self.assertEqual(proxied.curl("-p", "-H", "Host: no.such", self.url("b.test", "/x"))[:2], (403, 200))
        self.assertEqual(self.seen(), ["GET /one HTTP/1.1", "GET /secret HTTP/1.1"])
        head = b"CONNECT a.test:%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % self.plain.port
        answer = proxied.raw(head + b"BREW /secret HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        self.assertIn(b"HTTP/1.1 403 ", answer)
        # what only some servers take for a request is none that passes
        for disguised in (b" GET /secret HTTP/1.1\r\nHost: a.test\r\n\r\n", b"GET /secret\r\n\r\n", b"\r\n\r\nGET /secret\r\n\r\n",
                          b"\n\tGET /secret\n\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /secret HTTP/9.9\r\n\r\n",
                          b"\r\nBREW http://a.test/secret HTTP/1.0\r\nHost: a.test\r\n\r\n"):
            answer = proxied.raw(head + disguised)
            self.assertRegex(answer.partition(b"\r\n\r\n")[2], b"^HTTP/1.1 (?:400|403|505) ", disguised)
        self.assertEqual(len(self.seen()), 2)

    def test_names_of_tls(self) -> None:
        """By the server name on one address; the name of CONNECT alone is refused at once, a lie in the hello by an alert."""
        self.hosts["elsewhere.test"] = ["127.0.0.77"]
        proxied = self.proxied({"names": "{allow_list: {tls_list: [{exact_value: a.test}, {suffix_value: elsewhere.test}], "
                                         "default_action_deny: {}}}"})
        ca = ("--cacert", str(self.ca))
        self.assertEqual(proxied.status(*ca, self.secure_url("a.test")), 200)
        self.assertEqual(proxied.status(*ca, self.secure_url("denied.test")), 403)
        for name, alert in (("denied.test", b"access denied"), ("elsewhere.test", b"unrecognized name"), ("", b"access denied")):
            shown = subprocess.run(
                [require("openssl"), "s_client", "-proxy", f"127.0.0.1:{self.port}", "-connect", f"a.test:{self.secure.port}",
                 *(("-servername", name) if name else ("-noservername",))], input=b"", capture_output=True, timeout=PATIENCE_S, check=False)
            self.assertIn(alert, shown.stderr + shown.stdout, name)
            self.assertIn(b"no peer certificate available", shown.stdout)
        details = [record["rsp_code_details"] for record in proxied.records(5) if record["response_flags"] == "FP"]
        self.assertEqual(sum("forward_proxy_policy" in each for each in details), 3)
        self.assertEqual(sum("forward_name" in each for each in details), 1)

    def test_a_hello_in_many_pieces(self) -> None:
        """A hello that comes byte by byte in records of its own is heard whole before anything is decided."""
        self.proxied({"names": "{deny_list: {tls_list: [{exact_value: denied.test}], default_action_allow: {}}}"})
        for name, good in (("denied.test", False), ("b.test", True)):
            context = ssl.create_default_context(cafile=str(self.ca))
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
            self.assertRaises(ssl.SSLWantReadError, tls.do_handshake)
            hello = outgoing.read()
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as client:
                client.sendall(b"CONNECT b.test:%d HTTP/1.1\r\nHost: b.test\r\n\r\n" % self.secure.port)
                self.assertIn(b" 200 ", client.recv(4096))
                for start in range(0, len(hello), 50):
                    client.sendall(hello[start:start + 50])
                first = client.recv(4096)
                self.assertEqual(first[:1], b"\x16" if good else b"\x15", name)

    def test_a_server_that_speaks_first(self) -> None:
        """A banner decides that it is neither HTTP nor TLS: dest_list has the word. White-listed ports are not heard at all."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        port = listening.getsockname()[1]

        def serve() -> None:
            for _ in range(2):
                try:
                    one, _ = listening.accept()
                except OSError:
                    return
                with one:
                    one.sendall(b"220 hello\r\n")
                    one.settimeout(PATIENCE_S)
                    if one.recv(64) == b"QUIT\r\n":
                        one.sendall(b"221 bye\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        for voltgw, proxy, policy in (
                (f"connect_ports: '{port}'", "no_interception: {}",
                 f"{{allow_list: {{dest_list: [{{prefixes: [127.0.0.0/8], port_ranges: '{port}'}}], default_action_deny: {{}}}}}}"),
                ("", f"white_listed_ports: [{port}]",
                 f"{{allow_list: {{dest_list: [{{port_ranges: '{port}'}}], default_action_deny: {{}}}}}}")):
            self.port = free_port()
            proxied = self.proxied({"mail": policy}, voltgw=voltgw, proxy=proxy)
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as client:
                client.sendall(b"CONNECT a.test:%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % port)
                got = b""
                while b"220 hello\r\n" not in got:
                    piece = client.recv(4096)
                    self.assertTrue(piece, got)
                    got += piece
                client.sendall(b"QUIT\r\n")
                self.assertEqual(client.recv(4096), b"221 bye\r\n")
            proxied.gateway.stop()
        thread.join(PATIENCE_S)

    def test_ports_of_connect(self) -> None:
        """443 alone unless others are named; requests do not go to ports of other protocols either."""
        proxied = self.proxied(voltgw="")
        for port in (22, 25, 80, 8443, self.secure.port):
            self.assertEqual(proxied.raw(b"CONNECT a.test:%d HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n" % port).split()[1],
                             b"403", port)
        self.assertEqual(proxied.status("http://a.test:25/"), 403)
        self.assertEqual(proxied.status("http://a.test:22/"), 403)

    def test_attaching_and_detaching_the_firewall(self) -> None:
        """The same policy has no effect while no firewall of the fleet names it; a reload attaches it."""
        spec = connector(self.port, voltgw=self.ports)
        deny = {"none": "{rule_list: {rules: [{metadata: {name: all}, action: DENY, all_sources: {}, all_destinations: {}}]}}"}
        detached = site(spec, deny).replace(", network_firewall: [{name: egress}]", "")
        proxied = Proxied(self, detached, self.port, self.hosts)
        self.assertEqual(proxied.status(self.url("a.test")), 200)
        proxied.gateway.write(site(spec, deny))
        proxied.gateway.reload()
        self.assertEqual(proxied.status(self.url("a.test")), 403)
        self.assertEqual(proxied.metric(
            'voltgw_forward_policy_decisions_total{action="DENY",policy="system/none",proxy="system/out-explicit",rule="all"}'), 1)
        self.assertEqual(proxied.metric('voltgw_forward_refused_total{reason="policy"}'), 1)
        proxied.gateway.write(detached)
        proxied.gateway.reload()
        self.assertEqual(proxied.status(self.url("a.test")), 200)


    def test_what_is_explained_is_what_happens(self) -> None:
        """`explain` says which rule refuses a CONNECT and a URL, and `why` says it of one that was refused."""
        proxied = self.proxied({"names": "{rule_list: {rules: [{metadata: {name: guests}, action: DENY, prefix_list: {prefixes: "
                                         "[10.9.0.0/16]}}, {metadata: {name: bad}, action: DENY, tls_list: {tls_list: "
                                         "[{exact_value: denied.test}]}}, {metadata: {name: rest}, action: ALLOW}]}}"})
        port = self.secure.port

        def explain(*arguments: str) -> dict[str, object]:
            done = subprocess.run(
                [sys.executable, "-m", "voltgw.cli.main", "explain", str(proxied.gateway.file), *arguments, "--json"],
                capture_output=True, text=True, timeout=PATIENCE_S, check=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])})
            found: dict[str, object] = json.loads(done.stdout)
            return found

        for arguments, outcome, status, refused_by in (
                (("CONNECT", "denied.test:443"), "answered", 403, "system/names/bad"),
                (("CONNECT", f"a.test:{port}"), "relayed", None, None),
                (("CONNECT", f"a.test:{port}", "--from", "10.9.1.1"), "answered", 403, "system/names/guests"),
                (("CONNECT", "a.test:25"), "answered", 403, None), (("CONNECT", "10.0.0.1:443"), "answered", 403, None),
                (("CONNECT", "1.2.3.4.5:443"), "answered", 400, None)):
            said = explain(*arguments)
            self.assertEqual((said["outcome"], said["status"], said["refused_by"]), (outcome, status, refused_by), arguments)
            source = f"&from={arguments[3]}" if len(arguments) > 2 else ""
            live = proxied.gateway.admin(f"/explain?method=CONNECT&url={arguments[1]}{source}").json
            self.assertEqual((live["outcome"], live["status"], live["refused_by"]), (outcome, status, refused_by), arguments)
        answer = proxied.raw(b"CONNECT denied.test:443 HTTP/1.1\r\nHost: denied.test\r\nConnection: close\r\n\r\n")
        number = answer.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
        until("the journal knows it", lambda: proxied.gateway.admin(f"/why?id={number}").status == 200)
        decisions = proxied.gateway.admin(f"/why?id={number}").json["decisions"]
        found = next(each for each in decisions if each["about"] == "forward proxy policies")
        self.assertEqual((found["outcome"], found["why"]), ("refused", "rule system/names/bad"))


class AddressTests(OriginsCase):
    """Destinations that are not on the Internet, in every spelling (promises 3.2)."""

    def test_nothing_private_unless_it_is_allowed(self) -> None:
        """403 after resolution; nothing is connected to."""
        self.hosts.update({"inside.test": ["10.0.0.1"], "both.test": ["10.0.0.1", "127.0.0.1"], "meta.test": ["169.254.169.254"],
                           "six.test": ["::1"], "mapped.test": ["::ffff:127.0.0.1"]})
        proxied = self.proxied(allowed="192.0.2.0/24")
        targets = ["127.0.0.1", "2130706433", "0177.0.0.1", "0x7f000001", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "0",
                   "169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.0.1", "[fd00:ec2::254]", "[fe80::1]", "a.test", "inside.test",
                   "meta.test", "six.test", "mapped.test", "both.test", "[64:ff9b::7f00:1]"]
        for target in targets:
            authority = f"{target}:{self.plain.port}"
            for request in (f"GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n",
                            f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"):
                answer = proxied.raw(request.encode())
                self.assertEqual(answer.split()[1], b"403", request)
        self.assertEqual(self.seen(), [])
        self.assertIn("forward_destination: its address is loopback", {
            record["rsp_code_details"] for record in proxied.records(2 * len(targets))})

    def test_a_name_that_changes_its_mind(self) -> None:
        """DNS rebinding: the address that was judged is the one that is connected to, and the next answer is judged anew."""
        self.hosts["rebind.test"] = [["127.0.0.1"], ["10.0.0.1"]]
        proxied = Proxied(self, site(connector(self.port, voltgw=self.ports)), self.port, self.hosts, good_s=0.0)
        self.assertEqual(proxied.status(self.url("rebind.test")), 200)
        self.assertEqual(proxied.status(self.url("rebind.test")), 403)
        self.assertEqual(len(self.seen()), 1)

    def test_of_several_addresses_only_the_good_ones_are_used(self) -> None:
        """A private address beside a good one is passed over."""
        self.hosts["both.test"] = ["10.0.0.1", "127.0.0.1"]
        proxied = self.proxied()
        self.assertEqual(proxied.status(self.url("both.test")), 200)
        self.assertEqual(proxied.records(1)[0]["attempts"], 1)


class ReverseTests(OriginsCase):
    def test_no_virtual_host_is_a_way_out(self) -> None:
        """CONNECT and whole URLs at a VIP lead nowhere, and denying everything on the connector leaves the VIP alone."""
        vip = free_port()
        more = f"""
- kind: virtual_host
  metadata: {{name: shop}}
  spec: {{domains: [shop.test], proxy: HTTP_PROXY, advertise_policies: [{{name: here}}], routes: [{{name: all}}]}}
- kind: advertise_policy
  metadata: {{name: here}}
  spec: {{address: 127.0.0.1, protocol: TCP, port: {vip}}}
- kind: route
  metadata: {{name: all}}
  spec: {{routes: [{{route_destination: {{destinations: [{{cluster: [{{name: origin}}]}}]}}}}]}}
- kind: cluster
  metadata: {{name: origin}}
  spec: {{endpoints: [{{name: one}}]}}
- kind: endpoint
  metadata: {{name: one}}
  spec: {{ip: 127.0.0.1, port: {self.plain.port}}}
"""
        deny = {"none": "{rule_list: {rules: [{metadata: {name: all}, action: DENY, all_sources: {}, all_destinations: {}}]}}"}
        proxied = Proxied(self, site(connector(self.port, voltgw=self.ports), deny, more=more), self.port, self.hosts)
        reverse = Proxied.__new__(Proxied)
        reverse.port = vip
        until("the VIP answers", lambda: reverse.raw(
            b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200 "))
        self.assertEqual(proxied.status(self.url("a.test")), 403)
        self.assertEqual(reverse.raw(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n").split()[1], b"405")
        self.assertEqual(reverse.raw(
            f"GET {self.url('a.test')} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n".encode()).split()[1], b"404")


class DynamicTests(OriginsCase):
    """A virtual host with dynamic_reverse_proxy: its endpoint is what Host resolves to."""

    def start(self, *, host: str = "", voltgw: str = "allowed_prefixes: [127.0.0.0/8]", policies: dict[str, str] | None = None,
              proxy: str = "HTTP_PROXY") -> Proxied:
        self.vip = free_port()
        more = f"""
- kind: virtual_host
  metadata: {{name: any}}
  spec:
    domains: ["*.test", "*.test:{self.plain.port}", localhost]
    proxy: {proxy}
    advertise_policies: [{{name: here}}]
    dynamic_reverse_proxy: {{resolve_endpoint_dynamically: true}}
    disable_dns_resolve: true
    voltgw: {{{voltgw}}}
    {host}
- kind: advertise_policy
  metadata: {{name: here}}
  spec: {{address: 127.0.0.1, protocol: TCP, port: {self.vip}}}
"""
        proxied = Proxied(self, site(connector(self.port, voltgw=self.ports), policies, more=more), self.port, self.hosts)
        until("the VIP answers", lambda: self.ask(proxied, "a.test"))
        return proxied

    def ask(self, proxied: Proxied, name: str, path: str = "/") -> tuple[int, str]:
        """Ask the VIP for a name."""
        done = subprocess.run(
            [require("curl"), "-sS", "-w", "\n%{http_code}", "-H", f"Host: {name}", f"http://127.0.0.1:{self.vip}{path}"],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    def test_requests_go_where_their_host_leads(self) -> None:
        """To the address and port of Host; names that are not the host's are none of its business, nor are private addresses."""
        self.hosts.update({"inside.test": ["10.0.0.1"], "gone.test": ["127.0.0.9"]})
        proxied = self.start()
        port = self.plain.port
        status, body = self.ask(proxied, f"a.test:{port}")
        self.assertEqual(status, 200)
        self.assertIn(f"host=a.test:{port}", body)
        self.assertIn("xff=127.0.0.1", body)        # it is a reverse proxy, and says for whom it asks
        self.assertEqual(self.ask(proxied, f"elsewhere.example:{port}")[0], 404)
        self.assertEqual(self.ask(proxied, f"inside.test:{port}")[0], 403)
        self.assertEqual(self.ask(proxied, f"gone.test:{port}")[0], 502)
        self.assertEqual(self.ask(proxied, f"nobody.test:{port}")[0], 502)
        self.assertEqual(self.ask(proxied, f"localhost:{self.vip}")[0], 403)        # that is itself
        self.assertEqual(self.ask(proxied, f"a.test:{proxied.gateway.admin_port}", "/ready")[0], 403)
        for other in (22, 25, 53, 445):         # whose servers would take a request for commands of their own
            self.assertEqual(self.ask(proxied, f"a.test:{other}")[0], 403, other)
        self.assertEqual([record["rsp_code_details"] for record in proxied.records(11) if "port 25" in record["rsp_code_details"]],
                         ["forward_port: no requests are sent to port 25"])

    def test_routes_and_policies_come_first(self) -> None:
        """A route that takes a request answers it; the rest is judged by policies for such hosts, and only by those."""
        proxied = self.start(policies={
            "connectors": "{any_proxy: {}, rule_list: {rules: [{metadata: {name: all}, action: DENY}]}}",
            "hosts": "{drp_http_connect: {}, deny_list: {http_list: [{exact_value: a.test, path_prefix_value: /secret}], "
                     "default_action_allow: {}}}"})
        text = proxied.gateway.file.read_text(encoding="utf-8")
        proxied.gateway.write(text.replace("disable_dns_resolve: true", "routes: [{name: own}]") + """
- kind: route
  metadata: {name: own}
  spec: {routes: [{match: [{path: {path: /own}}], route_direct_response: {response_code: 418}}]}
""")
        proxied.gateway.reload()
        name = f"a.test:{self.plain.port}"
        self.assertEqual(self.ask(proxied, name, "/own")[0], 418)
        self.assertEqual(self.ask(proxied, name, "/one")[0], 200)
        self.assertEqual(self.ask(proxied, name, "/secret")[0], 403)
        self.assertEqual(proxied.status(self.url("a.test")), 403)
        self.assertEqual(proxied.metric(
            'voltgw_forward_policy_decisions_total{action="DENY",policy="system/hosts",proxy="default/any",'
            'rule="deny_list.http_list"}'), 1)
