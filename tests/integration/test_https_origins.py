"""TLS towards endpoints: who is verified, by which name, and what becomes of those that fail."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

from tests.certificates import NOW, authority
from tests.integration.gateway import Gateway, ask, free_port, until
from tests.integration.test_https import HttpsCase, host, policy, upstream
from tests.servers import require
from voltgw.config.issuing import Usage, issue, new_authority

_ROOT: Final = Path(__file__).resolve().parents[2]
TRUST: Final = "common_params: {validation_params: {trusted_ca_url: 'file:PKI/ca.crt'%s}%s}"


class OriginTests(HttpsCase):
    def plain(self, port: int, tls: str, more: str = "") -> Gateway:
        """A gateway that takes HTTP and asks an origin by TLS."""
        return self.gateway(
            policy(), "- {kind: virtual_host, metadata: {name: h}, spec: {domains: [a.example, b.example], proxy: HTTP_PROXY, "
            "advertise_policies: [p], routes: [r]}}\n", upstream(port, tls, more))

    def answer(self, name: str = "a.example") -> tuple[int, str]:
        """Status and body of a request for `name`."""
        found = ask(self.port, host=name)
        return found.status, found.body.decode()

    def test_a_good_origin(self) -> None:
        """By a name that is said, by the endpoint's own address, by Host: each name has connections of its own."""
        self.server("a.example", "a.example", "127.0.0.1")
        port = self.origin("a.example")
        for tls in ("sni: a.example, ", "", "disable_sni: {}, "):
            gateway = self.plain(port, tls + TRUST % ("", ""))
            self.assertEqual(self.answer()[0], 200, tls)
            gateway.stop()
            self.port = free_port()
        self.plain(port, "use_host_header_as_sni: {}, " + TRUST % ("", ""))
        self.assertEqual([self.answer(name)[0] for name in ("a.example", "b.example", "a.example", "b.example")], [200, 502, 200, 502])

    def test_origins_that_are_not_who_they_should_be(self) -> None:
        """502 with the flag and the reason; the origin never sees a request."""
        self.server("wrong.example")
        self.server("late", "a.example")
        late = issue(authority(), "a.example", ["a.example"], Usage.SERVER, NOW - timedelta(days=10), 5)
        self.put("late", late)
        self.server("other", "a.example", ca=new_authority("other CA", NOW))
        for certificate, reason in (("wrong.example", "a.example"), ("late", "expired"), ("other", "issuer|self.signed|unable")):
            gateway = self.plain(self.origin(certificate), "sni: a.example, " + TRUST % ("", ""))
            status, body = self.answer()
            self.assertEqual(status, 502, certificate)
            self.assertNotIn("GET /", body)
            (record,) = self.records(gateway, 1)
            self.assertEqual(record["response_flags"], "UF", certificate)
            self.assertRegex(record["rsp_code_details"], f"tls_failure:.*({reason})")
            gateway.stop()
            self.port = free_port()

    def test_verification_is_off_by_name_only(self) -> None:
        """Any certificate then does, and a metric and a warning say so."""
        self.server("other", "x.example", ca=new_authority("other CA", NOW))
        gateway = self.plain(self.origin("other"), "voltgw: {skip_server_verification: true}")
        self.assertEqual(self.answer()[0], 200)
        self.assertIn('voltgw_cluster_tls_unverified{cluster="default/c"} 1.0', gateway.admin("/metrics").body.decode())
        done = subprocess.run([sys.executable, "-m", "voltgw.cli.main", "check", "voltgw.yaml"], cwd=gateway.folder,
                              env={"PYTHONPATH": str(_ROOT)}, capture_output=True, text=True, check=False)
        self.assertIn("VG0411", done.stdout + done.stderr)

    def test_we_show_a_certificate(self) -> None:
        """An origin that wants one gets ours, and refuses who has none."""
        self.server("a.example")
        self.client("gateway")
        port = self.origin("a.example", client_ca="ca")
        mine = (", tls_certificates: [{certificate_url: 'file:PKI/gateway.crt', "
                "private_key: {clear_secret_info: {url: 'file:PKI/gateway.key'}}}]")
        gateway = self.plain(port, "sni: a.example, " + TRUST % ("", mine))
        self.assertEqual(self.answer()[0], 200)
        gateway.stop()
        self.port = free_port()
        self.plain(port, "sni: a.example, " + TRUST % ("", ""))
        self.assertEqual(self.answer()[0], 502)

    def test_health_checks_speak_tls(self) -> None:
        """A good certificate is healthy, a wrong one is not."""
        self.server("a.example")
        check = ("- {kind: healthcheck, metadata: {name: k}, spec: {http_health_check: {path: /}, interval: 1, timeout: 1, "
                 "healthy_threshold: 1, unhealthy_threshold: 1}}\n")
        port = self.origin("a.example")
        for name, healthy in (("a.example", True), ("b.example", False)):
            gateway = self.gateway(policy(), host("h", "a.example", "a.example"), check,
                                   upstream(port, f"sni: {name}, " + TRUST % ("", ""), ", health_checks: [k]"))
            (endpoint,) = gateway.cluster("default/c")["endpoints"]
            self.assertEqual(endpoint["health"] == "healthy", healthy, endpoint)
            gateway.stop()
            self.port = free_port()

    def test_nginx_with_client_certificates(self) -> None:
        """The same with a server that others have made."""
        require("nginx")
        self.server("a.example")
        self.client("gateway")
        port = free_port()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}} http {{ access_log off; "
            f"client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; "
            f"scgi_temp_path {folder}/e; server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {self.pki}/a.example.crt; "
            f"ssl_certificate_key {self.pki}/a.example.key; ssl_client_certificate {self.pki}/ca.crt; ssl_verify_client on; "
            "location / { return 200 \"$ssl_client_s_dn $ssl_server_name $ssl_session_reused\"; } } }\n")
        process = subprocess.Popen([require("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)],
                                   stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        mine = (", tls_certificates: [{certificate_url: 'file:PKI/gateway.crt', "
                "private_key: {clear_secret_info: {url: 'file:PKI/gateway.key'}}}]")
        self.plain(port, "sni: a.example, " + TRUST % ("", mine))
        until("nginx answers", lambda: self.answer()[0] == 200)
        self.assertIn("CN=gateway a.example", self.answer()[1])


class RelayTests(HttpsCase):
    def test_tls_in_front_of_tcp_and_behind_it(self) -> None:
        """What is inside passes as it is; the origin's certificate is verified all the same."""
        self.server("t.example")
        self.server("o.example")
        gateway = self.gateway(
            policy(), host("t", "t.example", "t.example", proxy="TLS_TCP_PROXY"),
            upstream(self.origin("o.example"), "sni: o.example, " + TRUST % ("", "")))
        answer = self.curl("t.example", "--http1.1")
        self.assertIn("GET / HTTP/1.1", answer.stdout, answer.stderr)
        self.assertNotIn("x-forwarded", answer.stdout)
        (record,) = self.records(gateway, 1)
        self.assertEqual((record["sni"], record["tls_version"], record["proxy_type"]), ("t.example", "TLSv1.3", "tls_tcp"))


class TutorialTests(HttpsCase):
    def test_the_tutorial_of_both_sides(self) -> None:
        """Every command of the page, in its order, does what the page says."""
        page = (_ROOT / "docs" / "howto" / "mtls.rst").read_text(encoding="utf-8")
        commands = [line.strip()[2:] for line in page.splitlines() if line.strip().startswith("$ ")]
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        front, back, admin = free_port(), free_port(), free_port()
        text = (_ROOT / "etc" / "examples" / "mtls.yaml").read_text(encoding="utf-8")
        (folder / "mtls.yaml").write_text(
            f"gateway: {{admin: {{port: {admin}}}}}\n" + text.replace("8443", str(front)).replace("9443", str(back)), encoding="utf-8")
        curls = []
        made: list[str] = []
        for command in commands:
            words = shlex.split(command.replace("8443", str(front)))
            if words[:3] == ["voltgw", "run", "mtls.yaml"]:
                self.pki = folder / "pki"
                port = self.origin("origin.example.com", client_ca="ca")
                config = folder / "mtls.yaml"
                config.write_text(config.read_text().replace(str(back), str(port)))
                process = subprocess.Popen([sys.executable, "-m", "voltgw.cli.main", "run", "mtls.yaml"], cwd=folder,
                                           env={"PYTHONPATH": str(_ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                self.addCleanup(process.wait)
                self.addCleanup(process.terminate)
                until("it is ready", lambda: _ready(admin))
            elif words[0] == "voltgw":
                done = subprocess.run([sys.executable, "-m", "voltgw.cli.main", *words[1:]], cwd=folder,
                                      env={"PYTHONPATH": str(_ROOT)}, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, command + done.stdout + done.stderr)
                made.append(words[1])
            else:
                curls.append(subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False))
        self.assertEqual(set(made), {"pki", "check"})
        first, second = curls
        self.assertIn('x-forwarded-client-cert: Hash=', first.stdout, first.stderr)
        self.assertIn('Subject="CN=alice";URI=spiffe://lab/alice', first.stdout)
        self.assertIn("client-cert: :", first.stdout)
        self.assertNotEqual(second.returncode, 0)
        self.assertTrue(shutil.which("curl"))
        self.assertEqual((folder / "pki" / "ca.key").stat().st_mode & 0o777, 0o600)


def _ready(admin: int) -> bool:
    try:
        return ask(admin, "/ready").status == 200
    except OSError:
        return False
