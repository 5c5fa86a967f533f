"""Certificates that are fetched from a real CA: `pebble`, which looks at every challenge and refuses some good nonces."""

from __future__ import annotations

import base64
import os
import re
import shlex
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, ask, free_port, until
from tests.servers import nginx, pebble, require


def shown(port: int, name: str) -> bytes:
    """The certificate (DER) that a listener shows to those who ask for `name`; b"" if the handshake fails."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as raw, context.wrap_socket(raw, server_hostname=name) as sock:
            return sock.getpeercert(True) or b""
    except ssl.SSLError:
        return b""


_ROOT: Final = Path(__file__).resolve().parents[2]


def encoded(text: str) -> str:
    """Base64."""
    return base64.b64encode(text.encode()).decode()


class AcmeCase(SynchronousTestCase):
    """A gateway with an automatic certificate for shop.example, and its CA."""

    challenge = "tls-alpn-01"

    def begin(
        self, *, validity_s: int = 86400, names: str = "shop.example, www.shop.example", acme: str = "", challenge_port: int = 0,
        view: bool = False, **options: Any,
    ) -> None:
        """Start both; the gateway is ready, its certificate may not be there yet.

        The CA comes to `challenge_port`, 0 = where our listeners are. With `view` there is an http_loadbalancer, too.
        """
        self.http, self.https, self.secure = free_port(), free_port(), free_port()
        self.ca = pebble(self, challenge_port or self.http, challenge_port or self.https, validity_s=validity_s, **options)
        origin = nginx(self, "location / { return 200 ok; }")
        self.config = (
            "gateway: {admin: {port: ADMIN}, access_log: access.log, port_map: {80: " + f"{self.http}, 443: {self.secure}" + "}, "
            f"data_dir: data, acme: {{directory: '{self.ca.directory}', agree_to_terms: true, contacts: [ops@shop.example], "
            f"trusted_ca: 'file:{self.ca.ca}', challenge: {self.challenge}{acme}}}}}\n"
            "load_balancers:\n"
            f"- {{name: plain, listen: '127.0.0.1:{80 if view else self.http}', domains: [plain.example], origins: ['127.0.0.1:{origin.port}']}}\n"
            f"- {{name: shop, protocol: https, listen: '127.0.0.1:{self.https}', domains: [{names}], tls: {{auto_cert: true}}, "
            f"origins: ['127.0.0.1:{origin.port}']}}\n")
        if view:
            self.config += (
                "objects:\n"
                "- {kind: site, metadata: {name: local, namespace: system}, spec: {}}\n"
                "- kind: http_loadbalancer\n"
                "  metadata: {name: console}\n"
                "  spec:\n"
                "    domains: [shop.example]\n"
                "    https_auto_cert: {http_redirect: true, add_hsts: true}\n"
                "    advertise_custom: {advertise_where: [{site: {network: SITE_NETWORK_OUTSIDE, ip: 127.0.0.1, "
                "site: {name: local, namespace: system}}, use_default_port: {}}]}\n"
                "    routes: [{direct_response_route: {http_method: ANY, path: {prefix: /}, route_direct_response: "
                "{response_code: 200, response_body: hello}}}]\n")
        self.gateway = Gateway(self, self.config)
        self.gateway.wait_ready()

    def certificates(self) -> list[dict[str, Any]]:
        """What the admin interface says of fetched ones."""
        found: list[dict[str, Any]] = self.gateway.admin("/certificates").json["certificates"]
        return found

    def wait_valid(self) -> x509.Certificate:
        """Until it is served; the leaf."""
        der = until("the certificate is served", lambda: shown(self.https, "shop.example"))
        return x509.load_der_x509_certificate(der)


class IssueTests(AcmeCase):
    def test_tls_alpn_01(self) -> None:
        """Issued through the listener that it is for; openssl verifies name and chain against the CA's root."""
        self.begin()
        self.wait_valid()
        root = self.ca.folder / "root.pem"
        root.write_bytes(self.ca.root())
        said = subprocess.run(
            [require("openssl"), "s_client", "-connect", f"127.0.0.1:{self.https}", "-servername", "www.shop.example",
             "-verify_hostname", "www.shop.example", "-CAfile", str(root), "-verify_return_error"],
            input=b"GET / HTTP/1.0\r\nHost: www.shop.example\r\n\r\n", capture_output=True, timeout=20, check=False)
        self.assertIn(b"Verify return code: 0 (ok)", said.stdout)
        self.assertIn(b"Verified peername: www.shop.example", said.stdout)
        self.assertEqual(said.stdout.count(b" s:"), 2, said.stdout)         # leaf and intermediate
        (one,) = self.certificates()
        self.assertEqual((one["names"], one["virtual_hosts"], one["state"], one["failures"], one["last_error"]),
                         (["shop.example", "www.shop.example"], ["default/shop"], "valid", 0, ""))
        self.assertIn('voltgw_acme_orders_total{result="issued"} 1.0', self.gateway.admin("/metrics").body.decode())


class Http01Tests(AcmeCase):
    challenge = "http-01"

    def test_http_01(self) -> None:
        """Answered by a plain listener that has no virtual host of that name; other paths go on as ever."""
        self.begin()
        self.wait_valid()
        self.assertEqual(ask(self.http, "/.well-known/acme-challenge/x", host="shop.example").status, 404)
        self.assertEqual(ask(self.http, "/.well-known/acme-challenge/x", host="plain.example").status, 200)


class LifeTests(AcmeCase):
    def test_renewal_and_restart(self) -> None:
        """A short-lived certificate is renewed while connections stay; a restart serves what is kept and asks nobody."""
        self.begin(validity_s=12)
        first = self.wait_valid()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.https), 5) as raw, context.wrap_socket(
                raw, server_hostname="shop.example") as sock:
            sock.settimeout(5)

            def request() -> bytes:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
                return sock.recv(4096)

            self.assertIn(b"200 OK", request())
            until("the certificate is renewed", lambda: x509.load_der_x509_certificate(
                shown(self.https, "shop.example")).serial_number != first.serial_number, 40)
            self.assertIn(b"200 OK", request())     # the connection has outlived the certificate by which it was made
        self.assertIn('voltgw_acme_orders_total{result="issued"} 2.0', self.gateway.admin("/metrics").body.decode())
        renewed = shown(self.https, "shop.example")
        kept = [path for path in (self.gateway.folder / "data").rglob("*") if path.is_file()]
        self.assertEqual({stat.S_IMODE(path.stat().st_mode) for path in kept}, {0o600})
        self.ca.stop()                              # nobody could be asked
        self.gateway.stop()
        again = Gateway(self, self.config.replace("data_dir: data", f"data_dir: {self.gateway.folder / 'data'}"))
        again.wait_ready()
        self.assertEqual(shown(self.https, "shop.example"), renewed)

    def test_a_name_that_the_ca_cannot_reach(self) -> None:
        """Handshakes are refused with the reason, which listener, page, log and explain tell; other hosts serve."""
        self.begin(names="shop.example", challenge_port=free_port())
        until("the try has failed", lambda: self.certificates()[0]["failures"])
        self.assertEqual(shown(self.https, "shop.example"), b"")
        (one,) = self.certificates()
        self.assertEqual(one["state"], "failed")
        self.assertIn("the CA does not believe that shop.example is ours", one["last_error"])
        listener = next(each for each in self.gateway.admin("/listeners").json["listeners"] if each["certificates_pending"])
        (pending,) = listener["certificates_pending"]
        self.assertEqual(pending["virtual_host"], "default/shop")
        self.assertRegex(pending["reason"], r"^certificate pending: the next try is at .*; the last one failed: the CA does not")
        self.assertIn("the next try is at", self.gateway.output)
        lines = until("the refusal is logged", lambda: [
            line for line in (self.gateway.folder / "access.log").read_text().splitlines() if "certificate pending" in line])
        self.assertIn("tls_hello_refused", lines[0])
        self.assertIn("tlsv1 alert internal error", subprocess.run(
            [require("openssl"), "s_client", "-connect", f"127.0.0.1:{self.https}", "-servername", "shop.example"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False, text=True).stderr)
        explained = self.gateway.admin("/explain?url=https://shop.example/").json
        self.assertIn("certificate pending: the next try is at", str(explained["decisions"]))
        self.assertEqual(ask(self.http, "/", host="plain.example").status, 200)
        metrics = self.gateway.admin("/metrics").body.decode()
        self.assertIn('voltgw_acme_orders_total{result="refused"} 1.0', metrics)
        self.assertIn('voltgw_acme_certificates{state="failed"} 1.0', metrics)

    def test_a_load_balancer_as_the_console_writes_it(self) -> None:
        """``https_auto_cert`` with a redirect: the redirect's port answers http-01 before it redirects."""
        self.challenge = "http-01"
        self.begin(names="other.example", view=True)
        until("the certificate is served", lambda: shown(self.secure, "shop.example"))
        got = ask(self.http, "/cart", host="shop.example")
        self.assertEqual((got.status, got.headers["location"]), (301, "https://shop.example/cart"))
        self.assertEqual(ask(self.http, "/.well-known/acme-challenge/x", host="shop.example").status, 301)

    def test_a_reload_in_the_middle_of_an_order(self) -> None:
        """The challenge is answered by what serves now, and the order goes on."""
        self.challenge = "http-01"
        self.begin(names="shop.example", environ={"PEBBLE_VA_NOSLEEP": "", "PEBBLE_VA_SLEEPTIME": "3"})
        until("the order is under way", lambda: self.certificates()[0]["under_way"])
        self.gateway.write(self.config.replace("domains: [plain.example]", "domains: [plain.example, more.example]"))
        self.gateway.reload()
        self.assertTrue(self.certificates()[0]["under_way"])
        self.wait_valid()
        self.assertEqual(ask(self.http, "/", host="more.example").status, 200)
        self.assertEqual((self.certificates()[0]["state"], self.gateway.output.count("a certificate is asked for")), ("valid", 1))

    def test_many_nonces_are_refused(self) -> None:
        """A third of the good nonces are refused by this CA; the certificate comes all the same."""
        self.begin(names="shop.example", environ={"PEBBLE_WFE_NONCEREJECT": "33"})     # ten in a row: one in 65,000
        self.wait_valid()

    def test_an_external_account(self) -> None:
        """A CA that wants one gets it."""
        mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
        self.begin(names="shop.example", acme=f", external_account: {{key_id: kid-1, hmac_key: 'string:///{encoded(mac)}'}}", config={
            "externalAccountBindingRequired": True, "externalAccountMACKeys": {"kid-1": mac}})
        self.wait_valid()

    def test_a_gateway_that_starts_before_its_ca(self) -> None:
        """It waits for it, and does not stop for want of it."""
        port = free_port()
        self.http, self.https = free_port(), free_port()
        self.gateway = Gateway(self, (
            f"gateway: {{admin: {{port: ADMIN}}, data_dir: data, acme: {{directory: 'https://localhost:{port}/dir', agree_to_terms: true}}}}\n"
            f"load_balancers: [{{name: shop, protocol: https, listen: '127.0.0.1:{self.https}', domains: [shop.example], "
            "tls: {auto_cert: true}, origins: ['127.0.0.1:1']}]\n"))
        self.gateway.wait_ready()
        (one,) = until("a try has failed", lambda: [one for one in self.certificates() if one["failures"]])
        self.assertIn("cannot be reached", one["last_error"])


class TutorialTests(SynchronousTestCase):
    def test_the_tutorial(self) -> None:
        """Every command of the page, in its order, does what the page says; only the ports are others."""
        require("pebble")
        page = (_ROOT / "docs" / "howto" / "acme.rst").read_text(encoding="utf-8")
        commands = [line.strip()[2:] for line in page.splitlines() if line.strip().startswith("$ ")]
        self.assertEqual(len(commands), 9)
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        ports = {port: str(free_port()) for port in ("8053", "8055", "14000", "15000", "8443", "8080", "9901", "9001")}

        def ours(text: str) -> str:
            return re.sub(r"\b(" + "|".join(ports) + r")\b", lambda found: ports[found[0]], text)

        origin = nginx(self, "location / { return 200 hello; }", port=int(ports["9001"]))
        self.assertEqual(str(origin.port), ports["9001"])
        for name in ("acme-lab.yaml", "pebble.json"):
            (folder / name).write_text(ours((_ROOT / "etc" / "examples" / name).read_text(encoding="utf-8")), encoding="utf-8")
        config = folder / "acme-lab.yaml"
        config.write_text(config.read_text().replace("gateway:\n", f"gateway:\n  admin: {{port: {ports['9901']}}}\n"))
        environ = {**os.environ, "PYTHONPATH": str(_ROOT)}
        said = ""
        for command in commands:
            words = shlex.split(ours(command))
            if words[0] == "voltgw":
                words[:1] = [sys.executable, "-m", "voltgw.cli.main"]
            if words[-1] == "&":
                process = subprocess.Popen(words[:-1], cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                self.addCleanup(process.wait)
                self.addCleanup(process.terminate)
                continue
            if "roots" in command:
                until("the certificate is there", lambda: _issued(int(ports["9901"])), 60)
            done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, command + done.stdout + done.stderr)
            said += done.stdout
        self.assertTrue(said.endswith("hello"), said)
        self.assertIn('"state": "valid"', said)


def _issued(admin: int) -> bool:
    try:
        found = ask(admin, "/certificates").json["certificates"]
    except OSError:
        return False
    return bool(found and found[0]["state"] == "valid")
