"""TLS inspection as clients meet it: who is shown which certificate, what is filtered inside, whose origins are believed."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from base64 import b64encode
from datetime import timedelta
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests import certificates
from tests.integration.forwarding import Proxied, connector, sha_line, site, tunnelled, upgrade, upgrading
from tests.integration.gateway import PATIENCE_S, free_port, until
from tests.servers import Server, nginx, require
from voltgw.config.issuing import Issued, Usage, issue

_ECHO: Final = ("location / { return 200 'host=$host version=$server_protocol xff=$http_x_forwarded_for via=$http_via'; } "
                "location /secret { return 200 'secret'; } location /up { return 200 'got it'; }")
_DENY_SECRET: Final = ("{deny_list: {http_list: [{exact_value: a.test, path_prefix_value: /secret}, {exact_value: pinned.test, "
                       "path_prefix_value: /secret}], default_action_allow: {}}}")


class InspectionCase(SynchronousTestCase):
    """Origins a.test, b.test and plain.test behind one address, under a CA that only the gateway trusts."""

    def setUp(self) -> None:
        self.port = free_port()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.signer = certificates.authority("inspection")
        self.ca = self.save("signer.pem", self.signer.certificate)
        self.origin_ca = self.save("origins.pem", certificates.authority("origins").certificate)
        self.origin = self.serve(certificates.server("a.test", "b.test", "pinned.test", ca="origins"))
        self.hosts: dict[str, list[str] | list[list[str]]] = {
            name: ["127.0.0.1"] for name in ("a.test", "b.test", "pinned.test", "other.test")}

    def save(self, name: str, data: bytes) -> str:
        path = self.folder / name
        path.write_bytes(data)
        return str(path)

    def serve(self, one: Issued, *, http2: bool = True) -> Server:
        name = f"origin-{len(list(self.folder.iterdir()))}"
        chain, key = self.save(f"{name}.pem", one.certificate), self.save(f"{name}.key", one.key)
        self.log = self.folder / "origin.log"
        return nginx(self, f"ssl_certificate {chain}; ssl_certificate_key {key}; "
                     f"access_log {self.log} combined; {_ECHO}", ssl=True, http2=http2)

    def interception(self, policy: str = "enable_for_all_domains: {}", voltgw: str = "") -> str:
        certificate = certificates.inline(self.signer.certificate)
        key = certificates.inline(self.signer.key)
        return (f"tls_intercept: {{{policy}, custom_certificate: {{certificate_url: '{certificate}', private_key: "
                f"{{clear_secret_info: {{url: '{key}'}}}}}}, trusted_ca_url: 'file:{self.origin_ca}', voltgw: {{{voltgw}}}}}")

    def proxied(
        self, policies: dict[str, str] | None = None, *, policy: str = "enable_for_all_domains: {}", voltgw: str = "",
        explicit: str = "", ports: tuple[int, ...] = (),
    ) -> Proxied:
        listed = ",".join(str(port) for port in (self.origin.port, *ports))
        spec = connector(self.port, proxy=self.interception(policy, voltgw), voltgw=f"connect_ports: '443,{listed}'",
                         explicit=explicit)
        return Proxied(self, site(spec, policies), self.port, self.hosts)

    def url(self, name: str, path: str = "/", port: int = 0) -> str:
        return f"https://{name}:{port or self.origin.port}{path}"

    def seen(self) -> list[str]:
        return [line.split('"')[1] for line in self.log.read_text(encoding="utf-8").splitlines()] if self.log.exists() else []

    def shown(self, name: str, port: int = 0, *arguments: str) -> tuple[str, str]:
        """Subject alternative names and issuer of what a client sees."""
        done = subprocess.run(
            [require("openssl"), "s_client", "-proxy", f"127.0.0.1:{self.port}", "-connect", f"{name}:{port or self.origin.port}",
             "-servername", name, "-showcerts", *arguments], input=b"", capture_output=True, timeout=PATIENCE_S, check=False)
        text = subprocess.run([require("openssl"), "x509", "-noout", "-ext", "subjectAltName", "-issuer", "-dates"],
                              input=done.stdout, capture_output=True, timeout=PATIENCE_S, check=False).stdout.decode()
        names = next((line.strip() for line in text.splitlines() if "DNS:" in line or "IP Address:" in line), "")
        issuer = next((line for line in text.splitlines() if line.startswith("issuer")), "")
        return names, issuer


class OpeningTests(InspectionCase):
    def test_urls_inside_tls(self) -> None:
        """A client that trusts our CA is filtered by URL, over HTTP/2 and HTTP/1.1; the origin sees nothing of what is denied."""
        proxied = self.proxied({"urls": _DENY_SECRET})
        for version in ("--http2", "--http1.1"):
            status, connect, body = proxied.curl("--cacert", self.ca, version, self.url("a.test", "/one"))
            self.assertEqual((status, connect), (200, 200), body)
            self.assertIn("host=a.test version=HTTP/2.0 xff= via=", body)
            self.assertIn("voltgw-", body)
            self.assertEqual(proxied.curl("--cacert", self.ca, version, self.url("a.test", "/secret/x"))[:2], (403, 200))
        self.assertEqual(self.seen(), ["GET /one HTTP/2.0", "GET /one HTTP/2.0"])
        records = proxied.records(8)
        denied = [record for record in records if record["rsp_code"] == "403"]
        self.assertEqual({(record["policy"], record["scheme"], record["sni"]) for record in denied},
                         {("system/urls/deny_list.http_list", "https", "a.test")})
        self.assertEqual({record["http_version"] for record in denied}, {"HTTP/2", "HTTP/1.1"})
        connects = [record for record in records if record["method"] == "CONNECT"]
        self.assertEqual({record["rsp_code_details"] for record in connects}, {"tls_opened"})
        self.assertEqual(proxied.metric('voltgw_forward_tls_total{action="opened"}'), 4)
        self.assertEqual(proxied.metric("voltgw_forward_certificates_total"), 1)

    def test_what_a_client_is_shown(self) -> None:
        """The name that was asked for, our CA, and the origin's validity; nobody else's CA is needed to believe it."""
        self.proxied()
        names, issuer = self.shown("b.test", 0, "-CAfile", self.ca, "-verify_return_error")
        self.assertEqual(names, "DNS:b.test")
        self.assertIn("inspection CA", issuer)

    def test_some_domains_are_spliced(self) -> None:
        """Names that a rule leaves out, and names that no rule has, show the origin's own certificate."""
        self.proxied(policy="policy: {interception_rules: [{domain_match: {exact_value: b.test}, disable_interception: {}}, "
                            "{domain_match: {suffix_value: test}, enable_interception: {}}]}")
        self.assertIn("inspection CA", self.shown("a.test")[1])
        self.assertIn("origins CA", self.shown("b.test")[1])

    def test_peeking_looks_before_it_passes_on(self) -> None:
        """Spliced as the origin is, once that was verified; an origin that is refused is not passed on."""
        strange = self.serve(certificates.server("other.test", ca="strangers"))
        proxied = self.proxied(policy="policy: {interception_rules: [{domain_match: {suffix_value: test}, disable_interception: "
                                      "{}, voltgw: {peek: true}}]}", ports=(strange.port,))
        self.assertIn("origins CA", self.shown("a.test")[1])
        self.assertEqual(self.shown("other.test", strange.port), ("", ""))
        self.assertEqual(proxied.metric('voltgw_forward_tls_total{action="peeked"}'), 1)
        self.assertIn("tls_origin: tls_failure:", proxied.records(2)[1]["rsp_code_details"])

    def test_large_bodies_both_ways(self) -> None:
        """A megabyte up and down through two TLS connections."""
        proxied = self.proxied()
        body = self.save("body", b"x" * 1_000_000)
        for version in ("--http2", "--http1.1"):
            status, _, text = proxied.curl("--cacert", self.ca, version, "--data-binary", f"@{body}", self.url("a.test", "/up"))
            self.assertEqual((status, text), (200, "got it"))

    def test_another_host_inside(self) -> None:
        """What was opened for one name serves no other: 421, whatever the policy says of that one."""
        proxied = self.proxied()
        self.assertEqual(proxied.curl("--cacert", self.ca, "-H", "Host: b.test", self.url("a.test"))[:2], (421, 200))

    def test_who_has_asked(self) -> None:
        """The user of the CONNECT is that of the requests in its tunnel, which carry no login of the proxy's."""
        users = "string:///" + b64encode((sha_line("ann", "secret") + "\n").encode()).decode()
        proxied = self.proxied(explicit=f"htpasswd: '{users}'")
        status, connect, body = proxied.curl("--cacert", self.ca, "-U", "ann:secret", self.url("a.test", "/one"))
        self.assertEqual((status, connect), (200, 200), body)
        self.assertEqual({(record["method"], record["auth_user"]) for record in proxied.records(2)}, {("GET", "ann"), ("CONNECT", "ann")})

    def test_an_origin_without_http2(self) -> None:
        """The client may speak HTTP/2 all the same."""
        old = self.serve(certificates.server("b.test", ca="origins"), http2=False)
        proxied = self.proxied(ports=(old.port,))
        status, _, body = proxied.curl("--cacert", self.ca, "--http2", self.url("b.test", "/one", old.port))
        self.assertEqual(status, 200)
        self.assertIn("version=HTTP/1.1", body)

    def test_upgrades(self) -> None:
        """WebSocket goes through both connections, and is judged as the request that it was."""
        one = certificates.server("b.test", ca="origins")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.save("ws.pem", one.certificate + one.key)
        context.load_cert_chain(self.folder / "ws.pem")
        port = upgrading(self, context)
        self.proxied({"urls": "{deny_list: {http_list: [{exact_value: b.test, path_prefix_value: /secret}], default_action_allow: "
                              "{}}}"}, ports=(port,))
        trusting = ssl.create_default_context(cafile=self.ca)
        for path, expected in (("/ws", b"WORD"), ("/secret", b"HTTP/1.1 403 ")):
            with trusting.wrap_socket(tunnelled(self.port, f"b.test:{port}"), server_hostname="b.test") as client:
                self.assertTrue(upgrade(client, path, f"b.test:{port}").startswith(expected), path)

    def test_inside_tls_to_the_proxy(self) -> None:
        """A client that speaks TLS with the proxy is inspected as well."""
        shown = certificates.shown(certificates.server("proxy.test"))
        proxied = self.proxied({"urls": _DENY_SECRET}, explicit=f"tls_parameters: {{common_params: {{{shown}}}}}")
        proxy_ca = self.save("proxy.pem", certificates.authority("lab").certificate)
        arguments = ("--proxy-cacert", proxy_ca, "--resolve", f"proxy.test:{self.port}:127.0.0.1", "--cacert", self.ca)
        for path, expected in (("/one", 200), ("/secret", 403)):
            status, connect, body = proxied.curl(*arguments, self.url("a.test", path), proxy=f"https://proxy.test:{self.port}")
            self.assertEqual((status, connect), (expected, 200), body)


class FailingTests(InspectionCase):
    def bad_origins(self) -> dict[str, Server]:
        now = certificates.NOW
        ca = certificates.authority("origins")
        return {
            "tls_failure:certificate_has_expired": self.serve(
                issue(ca, "other.test", ["other.test"], Usage.SERVER, now - timedelta(days=40), 30)),
            "tls_failure:unable_to_get_local_issuer_certificate": self.serve(certificates.server("other.test", ca="strangers")),
            "tls_failure:": self.serve(certificates.server("wrong.test", ca="origins")),
        }

    def test_origins_that_are_refused(self) -> None:
        """Expired, of an unknown CA, for another name: the client's handshake fails, and the origin is asked nothing."""
        origins = self.bad_origins()
        proxied = self.proxied(ports=tuple(origin.port for origin in origins.values()))
        for number, (detail, origin) in enumerate(origins.items(), 1):
            status, connect, body = proxied.curl("--cacert", self.ca, self.url("other.test", port=origin.port))
            self.assertEqual((status, connect), (0, 200), body)
            self.assertIn("handshake failure", body)
            self.assertIn(f"tls_origin: {detail}", proxied.records(number)[-1]["rsp_code_details"])
        self.assertEqual(self.seen(), [])

    def test_a_page_that_says_so(self) -> None:
        """By option the client gets a page of ours under a certificate of ours."""
        origins = self.bad_origins()
        proxied = self.proxied(voltgw="on_origin_failure: error_page", ports=tuple(each.port for each in origins.values()))
        for version in ("--http2", "--http1.1"):
            for detail, origin in origins.items():
                status, _, body = proxied.curl("--cacert", self.ca, version, self.url("other.test", port=origin.port))
                self.assertEqual(status, 502, (detail, body))
        self.assertEqual(self.seen(), [])

    def test_a_client_that_pins_its_origin(self) -> None:
        """It is reported; with `splice_failing` it reaches the origin at the next try, and so does nobody else."""
        proxied = self.proxied(voltgw="splice_failing: true")
        first = proxied.curl("--cacert", self.origin_ca, self.url("pinned.test"))
        self.assertEqual(first[:2], (0, 200))
        until("it is counted", lambda: proxied.metric('voltgw_forward_tls_total{action="client_refused"}') == 1)
        self.assertEqual(proxied.curl("--cacert", self.origin_ca, self.url("pinned.test"))[:2], (200, 200))
        self.assertEqual(proxied.curl("--cacert", self.origin_ca, self.url("a.test"))[:2], (0, 200))
        self.assertIn("does not take our certificate for pinned.test", proxied.gateway.output)
        self.assertIn("tls_handshake_failed", proxied.records(1)[0]["rsp_code_details"])

    def test_without_the_option_a_pinning_client_is_refused_for_good(self) -> None:
        """No client can talk itself out of inspection."""
        proxied = self.proxied()
        for _ in range(2):
            self.assertEqual(proxied.curl("--cacert", self.origin_ca, self.url("pinned.test"))[:2], (0, 200))


class SigningTests(InspectionCase):
    def problems(self, certificate: bytes, key: bytes) -> str:
        path = self.folder / "bad.yaml"
        self.signer = Issued(certificate, key)
        path.write_text(site(connector(self.port, proxy=self.interception())).replace("ADMIN", "9901"), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "voltgw.cli.main", "check", str(path)], capture_output=True, text=True, timeout=PATIENCE_S, check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])})
        self.assertEqual(done.returncode, 2)
        return done.stdout + done.stderr

    def test_a_ca_that_cannot_sign(self) -> None:
        """A key of another CA, a leaf in place of a CA: errors of the configuration, with the place."""
        other = certificates.authority("strangers")
        self.assertIn("do not belong together", self.problems(certificates.authority("inspection").certificate, other.key))
        leaf = certificates.server("a.test")
        self.assertIn("it is no CA", self.problems(leaf.certificate, leaf.key))
