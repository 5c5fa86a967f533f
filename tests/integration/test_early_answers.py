"""Uploads over HTTP/2 that are answered before they are complete, with curl, which sends on and reads nothing meanwhile."""

from __future__ import annotations

import os
import socket
import subprocess

from tests.integration.envoy import PREFIX, start_envoy
from tests.integration.gateway import free_port, until
from tests.integration.test_https import HttpsCase, policy
from tests.integration.threaded import ThreadedServer
from tests.servers import require

#: An upload is larger than any window that a stream has at first.
SIZE = 3_000_000
OBJECTS = """\
- {kind: endpoint, metadata: {name: origin}, spec: {ip: 127.0.0.1, port: ORIGIN}}
- {kind: cluster, metadata: {name: origin}, spec: {endpoints: [origin]}}
- kind: route
  metadata: {name: table}
  spec:
    routes:
    - {match: [{path: {path: /away}}], route_redirect: {path_redirect: /here, response_code: 302}}
    - {match: [{path: {path: /empty}}], route_direct_response: {response_code: 204}}
    - {match: [{path: {path: /own}}], route_direct_response: {response_code: 203, response_body: of ours}}
    - {match: [{path: {path: /large}}], route_direct_response: {response_code: 413, response_body: too large}}
    - {route_destination: {destinations: [{cluster: origin}]}}
- kind: virtual_host
  metadata: {name: table}
  spec:
    domains: ["*"]
    routes: [table]
    advertise_policies: [p]
    http_protocol_options: {http_protocol_enable_v1_v2: {}}
"""
TLS = """\
    proxy: HTTPS_PROXY
    tls_parameters:
      common_params:
        tls_certificates: [{certificate_url: "file:PKI/a.example.crt", private_key: {clear_secret_info: {url: "file:PKI/a.example.key"}}}]
"""


class Hasty(ThreadedServer):
    """An origin that answers when some of the request is there, and then reads no more."""

    def serve(self, sock: socket.socket) -> None:
        """One request."""
        head = sock.recv(65536)
        while b"\r\n\r\n" not in head:
            head += sock.recv(65536)
        got = 0
        while got < 100_000:
            got += len(sock.recv(65536))
        if b"chunked" in head.split(b" ")[1]:
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        else:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):             # a reset would overtake the answer
            pass


class EarlyAnswerTests(HttpsCase):
    def setUp(self) -> None:
        """An upload, and an origin that does not wait for it."""
        super().setUp()
        self.file = self.pki / "upload"
        self.file.write_bytes(bytes(SIZE))
        self.hasty = Hasty()
        self.addCleanup(self.hasty.stop)
        self.server("a.example")

    def send(self, scheme: str, path: str, *how: str) -> tuple[str, str]:
        """Status and version of the answer to an upload, which must come within seconds, not when curl gives up."""
        with self.file.open("rb") as upload:
            done = subprocess.run(
                [require("curl"), "-sS", "--max-time", "10", "--noproxy", "*", "--cacert", str(self.pki / "ca.crt"),
                 "--http2" if scheme == "https" else "--http2-prior-knowledge", "-o", os.devnull,
                 "--resolve", f"a.example:{self.port}:127.0.0.1", "-w", "%{http_code} %{http_version} %{time_total}", *how,
                 f"{scheme}://a.example:{self.port}{path}"], stdin=upload, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, f"{scheme} {path} {how}: {done.stderr}")
        status, version, took_s = done.stdout.split()
        self.assertLess(float(took_s), 4.0, (scheme, path, how))
        return status, version

    def check(self, scheme: str) -> None:
        """Every kind of early answer to every kind of upload."""
        ways = (["--data-binary", f"@{self.file}"], ["-T", str(self.file)], ["-T", "-"], ["-F", f"a=@{self.file}"])
        answers = {"/away": "302", "/empty": "204", "/own": "203", "/large": "413", "/length": "200", "/chunked": "200"}
        for path, status in answers.items():
            for how in ways:
                self.assertEqual(self.send(scheme, path, *how), (status, "2"), (path, how))

    def test_without_tls(self) -> None:
        """Redirects, own answers and those of an endpoint reach a client that still sends, over plain HTTP/2."""
        gateway = self.gateway(policy(), OBJECTS.replace("ORIGIN", str(self.hasty.port)))
        self.check("http")
        text = gateway.admin("/metrics").body.decode()
        self.assertIn("voltgw_internal_failures_total 0.0", text)
        self.assertIn('voltgw_http2_faults_total{reason="protocol",side="downstream"} 0.0', text)

    def test_behind_envoy(self) -> None:
        """Envoy and h2load, which upload on, take the answers, too; no connection is lost over it."""
        gateway = self.gateway(policy(), OBJECTS.replace("ORIGIN", str(self.hasty.port)))
        port = free_port()
        kind = f"{PREFIX}.upstreams.http.v3.HttpProtocolOptions"
        start_envoy(self, port, self.port, {"codec_type": "HTTP2"}, {"typed_extension_protocol_options": {
            kind.removeprefix("type.googleapis.com/"): {
                "@type": kind, "explicit_http_config": {"http2_protocol_options": {}}}}})
        until("Envoy answers", lambda: subprocess.run(
            [require("curl"), "-sf", "--http2-prior-knowledge", f"http://127.0.0.1:{port}/own"],
            capture_output=True, check=False).returncode == 0)
        for target, number in ((port, 50), (self.port, 200)):
            done = subprocess.run(
                [require("h2load"), "-n", str(number), "-c", "4", "-m", "5", "-d", str(self.file), f"http://127.0.0.1:{target}/own"],
                capture_output=True, text=True, timeout=60, check=False)
            self.assertIn(f"{number} succeeded, 0 failed, 0 errored", done.stdout)
        text = gateway.admin("/metrics").body.decode()
        for reason in ("protocol", "strays", "resets", "window_updates"):
            self.assertIn(f'voltgw_http2_faults_total{{reason="{reason}",side="downstream"}} 0.0', text)

    def test_with_tls(self) -> None:
        """The same over TLS."""
        gateway = self.gateway(policy(), OBJECTS.replace("ORIGIN", str(self.hasty.port)) + TLS)
        self.check("https")
        self.assertIn("voltgw_internal_failures_total 0.0", gateway.admin("/metrics").body.decode())
