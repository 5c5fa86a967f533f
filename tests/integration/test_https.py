"""HTTPS as clients see it: curl and openssl in front, TLS origins behind."""

from __future__ import annotations

import http.server
import json
import os
import re
import socket
import ssl
import subprocess
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import ocsp
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import NOW, authority
from tests.integration.gateway import PATIENCE_S, Gateway, free_port, log_lines, until
from voltgw.config.issuing import Issued, Usage, issue, new_authority, revoke


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the request's head."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The answer."""
        body = f"{self.requestline}\n{self.headers}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


class QuietServer(http.server.ThreadingHTTPServer):
    """Clients that refuse its certificate are the point of some tests."""

    daemon_threads = True
    accepted = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing is said."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        """A request, the handshake first, in the connection's own thread."""
        if isinstance(request, ssl.SSLSocket):
            request.do_handshake()
        type(self).accepted += 1
        super().finish_request(request, client_address)


class HttpsCase(SynchronousTestCase):
    """A folder with certificates, origins, a gateway, and clients for it."""

    def setUp(self) -> None:
        self.port = free_port()
        self.pki = Path(self.mktemp()).absolute()
        self.pki.mkdir(parents=True)
        self.put("ca", Issued(authority().certificate, authority().key))

    def put(self, name: str, made: Issued) -> None:
        """Files of a certificate and its key."""
        (self.pki / f"{name}.key").write_bytes(made.key)
        (self.pki / f"{name}.crt").write_bytes(made.certificate)

    def server(self, name: str, *names: str, ca: Issued | None = None, days: int = 20) -> None:
        """A server's certificate as files."""
        self.put(name, issue(ca or authority(), name, names or (name,), Usage.SERVER, NOW, days))

    def client(self, name: str, *names: str, ca: Issued | None = None) -> Issued:
        """A client's certificate as files."""
        made = issue(ca or authority(), name, names, Usage.CLIENT, NOW, 20)
        self.put(name, made)
        return made

    def origin(self, certificate: str = "", client_ca: str = "") -> int:
        """The port of an origin that echoes, by TLS if it has a certificate."""
        server = QuietServer(("127.0.0.1", 0), Echo)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.pki / f"{certificate}.crt", self.pki / f"{certificate}.key")
            if client_ca:
                context.load_verify_locations(self.pki / f"{client_ca}.crt")
                context.verify_mode = ssl.CERT_REQUIRED
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join(PATIENCE_S)

        self.addCleanup(stop)
        return int(server.server_address[1])

    def gateway(self, *objects: str, more: str = "") -> Gateway:
        """A gateway of these objects, ready; PKI, PORT and ADMIN stand for where they are."""
        text = ("gateway: {admin: {port: ADMIN}, access_log: {path: access.log, format: json}" + more + "}\nobjects:\n"
                + "".join(objects))
        made = Gateway(self, text.replace("PKI", str(self.pki)).replace("PORT", str(self.port)))
        made.wait_ready()
        return made

    def curl(self, host: str, *options: str, path: str = "/", port: int = 0) -> subprocess.CompletedProcess[str]:
        """curl asks `host` at the gateway's port."""
        port = port or self.port
        return subprocess.run(
            ["curl", "-sS", "--max-time", "10", "--noproxy", "*", "--cacert", str(self.pki / "ca.crt"), "--resolve",
             f"{host}:{port}:127.0.0.1", *options, f"https://{host}:{port}{path}"], capture_output=True, text=True, check=False)

    def mine(self, name: str) -> tuple[str, ...]:
        """Options with which curl shows a certificate."""
        return "--cert", str(self.pki / f"{name}.crt"), "--key", str(self.pki / f"{name}.key")

    def s_client(self, *options: str) -> str:
        """What ``openssl s_client`` says of a handshake."""
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-CAfile", str(self.pki / "ca.crt"), *options],
                              input="", capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        return done.stdout + done.stderr

    def records(self, gateway: Gateway, count: int) -> list[dict[str, Any]]:
        """The access log, once it has so many lines."""
        log = gateway.folder / "access.log"
        until("the lines are there", lambda: log.exists() and log.read_text().count("\n") >= count)
        return log_lines(log)


def policy(port: str = "PORT", name: str = "p") -> str:
    """Where hosts are offered."""
    return f"- {{kind: advertise_policy, metadata: {{name: {name}}}, spec: {{address: 127.0.0.1, port: {port}}}}}\n"


def host(name: str, domain: str, certificate: str, tls: str = "", trust: str = "", more: str = "", proxy: str = "HTTPS_PROXY") -> str:
    """A virtual host whose certificate stands in files, with the route ``r``."""
    trust = f", validation_params: {{{trust}}}" if trust else ""
    return f"""
- kind: virtual_host
  metadata: {{name: {name}}}
  spec:
    domains: ["{domain}"]
    proxy: {proxy}
    advertise_policies: [p]
    routes: [r]
    tls_parameters: {{common_params: {{tls_certificates: [{{certificate_url: "file:PKI/{certificate}.crt", private_key: {{clear_secret_info: {{url: "file:PKI/{certificate}.key"}}}}}}]{trust}}}{tls}}}
    {more}
"""


def upstream(port: int, tls: str = "", more: str = "") -> str:
    """The route ``r`` to a cluster with one endpoint."""
    tls = f", tls_parameters: {{{tls}}}" if tls else ""
    return ("- {kind: route, metadata: {name: r}, spec: {routes: [{route_destination: {destinations: [{cluster: [c]}]}}]}}\n"
            f"- {{kind: cluster, metadata: {{name: c}}, spec: {{endpoints: [e]{tls}{more}}}}}\n"
            f"- {{kind: endpoint, metadata: {{name: e}}, spec: {{ip: 127.0.0.1, port: {port}}}}}\n")


CLIENT_CA: Final = "trusted_ca_url: 'file:PKI/ca.crt'"


class ServerNameTests(HttpsCase):
    def test_names_certificates_and_versions(self) -> None:
        """Each name has its certificate; old versions, unknown names and no name at all are refused in the handshake."""
        self.server("a.example")
        self.server("wild", "*.b.example")
        gateway = self.gateway(policy(), host("a", "a.example", "a.example"), host("b", "*.b.example", "wild"), upstream(self.origin()))
        for name in ("a.example", "x.b.example"):
            for version in ("--http1.1", "--http2"):
                answer = self.curl(name, version, "-w", "%{http_version} %{http_code}")
                self.assertIn(f"host: {name}:{self.port}", answer.stdout.lower(), answer.stderr)
                self.assertIn("x-forwarded-proto: https", answer.stdout)
                self.assertTrue(answer.stdout.endswith(f"{version.removeprefix('--http').replace('.0', '')} 200"), answer.stdout)
        self.assertIn("subject=CN = a.example", self.s_client("-servername", "a.example"))
        self.assertIn("subject=CN = wild", self.s_client("-servername", "y.b.example"))
        for version in ("1_2", "1_3"):
            self.assertIn("Verify return code: 0 (ok)", self.s_client("-servername", "a.example", f"-tls{version}"))
        self.assertIn("alert protocol version", self.s_client(
            "-servername", "a.example", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"))
        for options in (("-servername", "c.example"), ("-noservername",)):
            self.assertIn("unrecognized name", self.s_client(*options))
        (listener,) = gateway.admin("/listeners").json["listeners"]
        self.assertEqual([one["names"] for one in listener["certificates"]], [["a.example"], ["*.b.example"]])
        self.assertIn('voltgw_certificate_expiry_timestamp_seconds{', gateway.admin("/metrics").body.decode())
        records = [one for one in self.records(gateway, 4) if one.get("rsp_code") == "200"]
        first = records[0]
        self.assertEqual((first["scheme"], first["sni"], first["tls_version"]), ("https", "a.example", "TLSv1.3"))
        self.assertRegex(first["tls_fingerprint"], "^[0-9a-f]{32}$")
        self.assertRegex(first["ja4_tls_fingerprint"], "^t13d")

    def test_the_default_load_balancer(self) -> None:
        """It takes unknown names and none, and answers for hosts that nobody has."""
        self.server("a.example")
        self.server("d.example")
        self.gateway(policy(), host("a", "a.example", "a.example"),
                     host("d", "d.example", "d.example", more="default_loadbalancer: {}"), upstream(self.origin()))
        for options in (("-noservername",), ("-servername", "who.example")):
            self.assertIn("subject=CN = d.example", self.s_client(*options))
        answer = self.curl("who.example", "-k", "-w", "%{http_code}")
        self.assertTrue(answer.stdout.endswith("200"), answer.stdout + answer.stderr)


    def test_an_ocsp_response_is_stapled(self) -> None:
        """From its file, to whoever asks for it."""
        made = issue(authority(), "a.example", ["a.example"], Usage.SERVER, NOW, 20)
        self.put("a.example", Issued(made.certificate + authority().certificate, made.key))     # curl needs the issuer
        leaf, above = (x509.load_pem_x509_certificate(pem) for pem in (made.certificate, authority().certificate))
        key = load_pem_private_key(authority().key, None)
        assert isinstance(key, EllipticCurvePrivateKey)
        builder = ocsp.OCSPResponseBuilder().add_response(
            leaf, above, SHA1(), ocsp.OCSPCertStatus.GOOD, NOW, NOW + timedelta(days=2), None, None)
        response = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, above).certificates([above]).sign(key, SHA256())
        (self.pki / "a.ocsp").write_bytes(response.public_bytes(Encoding.DER))
        one = host("a", "a.example", "a.example").replace(
            "certificate_url:", 'voltgw: {ocsp_response: "file:PKI/a.ocsp"}, certificate_url:')
        self.gateway(policy(), one, upstream(self.origin()))
        said = self.s_client("-servername", "a.example", "-status")
        self.assertIn("OCSP Response Status: successful", said)
        self.assertIn("Cert Status: good", said)
        answer = self.curl("a.example", "--cert-status", "-o", "/dev/null", "-w", "%{http_code}")
        self.assertEqual(answer.stdout, "200", answer.stderr)


class ClientCertificateTests(HttpsCase):
    def start(self, *more: str) -> Gateway:
        """``lax`` asks for nothing, ``strict`` for a certificate; they share the port."""
        for name in ("lax.example", "strict.example"):
            self.server(name)
        return self.gateway(
            policy(), host("lax", "lax.example", "lax.example"),
            host("strict", "strict.example", "strict.example", trust=CLIENT_CA,
                 tls=", client_certificate_required: {}, crl: [l], xfcc_header_elements: [XFCC_SUBJECT, XFCC_URI, XFCC_DNS], "
                     "voltgw: {client_cert_header: LEAF}"),
            "- {kind: crl, metadata: {name: l}, spec: {voltgw: {crl: 'file:PKI/crl.pem'}}}\n", upstream(self.origin()), *more)

    def test_a_strict_host_beside_a_lax_one(self) -> None:
        """Nobody without a good certificate comes to it, by whatever name the connection began."""
        (self.pki / "crl.pem").write_bytes(revoke(authority(), (), None, NOW))
        self.client("alice", "spiffe://lab/alice", "alice.example")
        self.client("eve", ca=new_authority("evil CA", NOW))
        gateway = self.start()
        self.assertEqual(self.curl("lax.example", "-o", "/dev/null", "-w", "%{http_code}").stdout, "200")
        self.assertNotEqual(self.curl("strict.example").returncode, 0)
        refused = self.curl("strict.example", *self.mine("eve"))
        self.assertNotEqual(refused.returncode, 0)
        (turned,) = [one for one in self.records(gateway, 3) if one["response_flags"] == "TLS" and "issuer" in one["rsp_code_details"]]
        self.assertEqual((turned["sni"], turned["src_ip"]), ("strict.example", "127.0.0.1"))
        for version in ("--http1.1", "--http2"):
            misdirected = self.curl("lax.example", version, "-H", "Host: strict.example", "-w", "%{http_code}")
            self.assertTrue(misdirected.stdout.endswith("421"), misdirected.stdout)
            misdirected = self.curl("strict.example", version, *self.mine("alice"), "-H", "Host: lax.example", "-w", "%{http_code}")
            self.assertTrue(misdirected.stdout.endswith("421"), misdirected.stdout)
        seen = self.curl("strict.example", *self.mine("alice"), "-H", "Client-Cert: :YQ==:", "-H",
                         "X-Forwarded-Client-Cert: Subject=admin").stdout.lower()
        self.assertEqual(len(re.findall("client-cert: :", seen)), 1)
        self.assertNotIn("yq==", seen)
        self.assertNotIn("admin", seen)
        self.assertRegex(seen, 'x-forwarded-client-cert: hash=[0-9a-f]{64};subject="cn=alice";uri=spiffe://lab/alice;dns=alice.example')
        record = next(one for one in reversed(self.records(gateway, 6)) if one.get("client_certificate_subject"))
        self.assertEqual((record["client_certificate_subject"], record["client_certificate_names"]),
                         ("CN=alice", "URI:spiffe://lab/alice,DNS:alice.example"))
        told = gateway.admin("/explain?url=https://strict.example/").json
        self.assertIn("client certificate", json.dumps(told))

    def test_a_certificate_is_revoked(self) -> None:
        """The list is a file that is replaced: new connections are refused, the open one ends after its request."""
        alice, bob = self.client("alice"), self.client("bob")
        (self.pki / "crl.pem").write_bytes(revoke(authority(), (), None, NOW))
        gateway = self.start()
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        talks = {}
        for name in ("alice", "bob"):
            context.load_cert_chain(self.pki / f"{name}.crt", self.pki / f"{name}.key")
            plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
            talks[name] = context.wrap_socket(plain, server_hostname="strict.example")
            self.addCleanup(talks[name].close)
            self.assertIn(b"200", self.get(talks[name]))
        self.assertTrue(bob.certificate)
        fresh = self.pki / "new.pem"
        fresh.write_bytes(revoke(authority(), [alice.certificate], None, NOW))
        os.replace(fresh, self.pki / "crl.pem")
        until("the list is taken", lambda: gateway.admin("/").json["generation"] == 2)
        self.assertNotIn(b"200", self.get(talks["alice"]))
        self.assertIn(b"200", self.get(talks["bob"]))
        self.assertNotEqual(self.curl("strict.example", *self.mine("alice")).returncode, 0)
        self.assertEqual(self.curl("strict.example", *self.mine("bob"), "-o", "/dev/null", "-w", "%{http_code}").stdout, "200")

    @staticmethod
    def get(talk: ssl.SSLSocket) -> bytes:
        """One request on an open connection; b"" when it has ended."""
        try:
            talk.sendall(b"GET / HTTP/1.1\r\nHost: strict.example\r\n\r\n")
            answer = b""
            while not answer.endswith(b"\n\n"):        # the end of the head that is echoed
                data = talk.recv(65536)
                if not data:
                    break
                answer += data
            return answer
        except OSError:
            return b""


class RenewalTests(HttpsCase):
    def test_a_new_certificate_and_a_bad_one(self) -> None:
        """A new pair is served without a word, a certificate without its key is not, and open connections do not notice."""
        self.server("a.example")
        gateway = self.gateway(policy(), host("a", "a.example", "a.example"), upstream(self.origin()))
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))

        def connect() -> ssl.SSLSocket:
            talk = context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), PATIENCE_S), server_hostname="a.example")
            self.addCleanup(talk.close)
            return talk

        first = connect()
        shown = first.getpeercert(True)
        renewed = issue(authority(), "a.example", ["a.example"], Usage.SERVER, NOW + timedelta(days=1), 20)
        (self.pki / "a.example.crt").write_bytes(renewed.certificate)
        until("the lone certificate is refused", lambda: gateway.admin("/").json["reloads_rejected"] == 1)
        self.assertEqual(connect().getpeercert(True), shown)
        (self.pki / "a.example.key").write_bytes(renewed.key)
        until("the pair is taken", lambda: gateway.admin("/").json["generation"] == 2)
        self.assertNotEqual(ssl.PEM_cert_to_DER_cert(renewed.certificate.decode()), shown)
        first.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        self.assertIn(b"200 OK", first.recv(65536))


class PolicyTests(HttpsCase):
    def test_another_certificate_in_another_region(self) -> None:
        """Two policies with TLS of their own: two leaves, and versions as each says."""
        for name in ("a.example", "eu", "cn"):
            self.server(name, "a.example")
        other = free_port()
        spec = ("tls_parameters: {common_params: {%s, tls_certificates: [{certificate_url: 'file:PKI/%s.crt', "
                "private_key: {clear_secret_info: {url: 'file:PKI/%s.key'}}}]}}")
        self.gateway(
            f"- {{kind: advertise_policy, metadata: {{name: p}}, spec: {{address: 127.0.0.1, port: PORT, "
            f"{spec % ('minimum_protocol_version: TLSv1_3', 'eu', 'eu')}}}}}\n",
            f"- {{kind: advertise_policy, metadata: {{name: q}}, spec: {{address: 127.0.0.1, port: {other}, "
            + spec % ("maximum_protocol_version: TLSv1_2, cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]", "cn", "cn")
            + "}}\n", host("a", "a.example", "a.example").replace("[p]", "[p, q]"), upstream(self.origin()))
        said = self.s_client("-servername", "a.example")
        self.assertIn("subject=CN = eu", said)
        self.assertIn("TLSv1.3", said)
        self.assertIn("protocol version", self.s_client("-servername", "a.example", "-tls1_2"))
        self.port = other
        said = self.s_client("-servername", "a.example")
        self.assertIn("subject=CN = cn", said)
        self.assertIn("ECDHE-ECDSA-CHACHA20-POLY1305", said)
        self.assertIn("Verify return code: 0 (ok)", said)

    def test_a_load_balancer_as_the_console_writes_it(self) -> None:
        """HSTS, and plain HTTP that is sent to HTTPS."""
        self.server("a.example")
        plain = free_port()
        origin = self.origin()
        self.gateway(f"""
- kind: http_loadbalancer
  metadata: {{name: l}}
  spec:
    domains: [a.example]
    https:
      port: PORT
      add_hsts: true
      http_redirect: true
      tls_parameters:
        no_mtls: {{}}
        tls_certificates: [{{certificate_url: "file:PKI/a.example.crt", private_key: {{clear_secret_info: {{url: "file:PKI/a.example.key"}}}}}}]
    default_route_pools: [{{pool: o}}]
    advertise_custom: {{advertise_where: [{{site: {{network: SITE_NETWORK_OUTSIDE, site: local}}}}]}}
- {{kind: origin_pool, metadata: {{name: o}}, spec: {{port: {origin}, no_tls: {{}}, origin_servers: [{{public_ip: {{ip: 127.0.0.1}}}}]}}}}
""", more=f", port_map: {{80: {plain}}}")
        address = json.loads(subprocess.run(["ip", "-j", "route", "get", "192.0.2.1"], capture_output=True, text=True,
                                            check=False).stdout or "[{}]")[0].get("prefsrc", "127.0.0.1")
        answer = subprocess.run(
            ["curl", "-sS", "-i", "--max-time", "10", "--cacert", str(self.pki / "ca.crt"), "--resolve",
             f"a.example:{self.port}:{address}", f"https://a.example:{self.port}/"], capture_output=True, text=True, check=False)
        self.assertIn("strict-transport-security: max-age=", answer.stdout.lower(), answer.stderr)
        answer = subprocess.run(["curl", "-sS", "-i", "--max-time", "10", "--resolve", f"a.example:{plain}:{address}",
                                 f"http://a.example:{plain}/x"], capture_output=True, text=True, check=False)
        self.assertRegex(answer.stdout.lower(), r"^http/1.1 30[18][^\n]*\n(.*\n)*location: https://a.example")


class ShortFormTests(HttpsCase):
    def test_ten_lines(self) -> None:
        """A certificate and a key are enough; an origin by https:// is verified; a client CA asks for certificates."""
        self.server("a.example")
        self.client("alice")
        config = (f"gateway: {{admin: {{port: ADMIN}}}}\nload_balancers:\n- name: shop\n  protocol: https\n  listen: 127.0.0.1:{self.port}\n"
                  f"  tls: {{cert: {self.pki}/a.example.crt, key: {self.pki}/a.example.key, client_ca: {self.pki}/ca.crt}}\n"
                  f"  origins: [127.0.0.1:{self.origin()}]\n")
        Gateway(self, config).wait_ready()
        self.assertEqual(self.curl("a.example", *self.mine("alice"), "-o", "/dev/null", "-w", "%{http_code}").stdout, "200")
        self.assertNotEqual(self.curl("a.example").returncode, 0)
