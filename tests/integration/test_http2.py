"""HTTP/2 with real parts: curl, nghttp, h2load and Envoy as clients, nginx, Envoy and the gateway itself as origins."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.envoy import PREFIX, start_envoy
from tests.integration.gateway import Gateway, free_port, until
from tests.servers import nginx, require

#: Two listeners: `outer` speaks HTTP/2 to its endpoint, which is `inner`, which speaks HTTP/1.1 to the origin.
CONFIG: Final = """\
gateway: {{admin: {{port: ADMIN}}, access_log: access.log}}
objects:
- {{kind: advertise_policy, metadata: {{name: inner}}, spec: {{address: 127.0.0.1, protocol: TCP, port: {inner}}}}}
- {{kind: advertise_policy, metadata: {{name: outer}}, spec: {{address: 127.0.0.1, protocol: TCP, port: {outer}}}}}
- {{kind: endpoint, metadata: {{name: origin}}, spec: {{ip: 127.0.0.1, port: {origin}}}}}
- {{kind: endpoint, metadata: {{name: inner}}, spec: {{ip: 127.0.0.1, port: {next}}}}}
- {{kind: cluster, metadata: {{name: origin}}, spec: {{endpoints: [origin]}}}}
- {{kind: cluster, metadata: {{name: inner}}, spec: {{endpoints: [inner], http2_options: {{enabled: true}}}}}}
- kind: route
  metadata: {{name: origin}}
  spec:
    routes:
    - match: [{{path: {{path: /away}}}}]
      route_redirect: {{path_redirect: /here, response_code: 302}}
    - match: [{{path: {{path: /own}}}}]
      route_direct_response: {{response_code: 203, response_body: of ours}}
    - match: [{{path: {{prefix: /old}}}}]
      route_destination: {{destinations: [{{cluster: origin}}], prefix_rewrite: /new}}
      request_headers_to_add: [{{name: x-added, value: "1"}}]
      response_headers_to_add: [{{name: x-seen, value: "2"}}]
    - route_destination: {{destinations: [{{cluster: origin}}], timeout: 20000}}
- {{kind: route, metadata: {{name: inner}}, spec: {{routes: [{{route_destination: {{destinations: [{{cluster: inner}}]}}}}]}}}}
- kind: virtual_host
  metadata: {{name: inner}}
  spec:
    domains: ["*"]
    routes: [origin]
    advertise_policies: [inner]
    http_protocol_options: {{http_protocol_enable_v1_v2: {{}}}}
- kind: virtual_host
  metadata: {{name: outer}}
  spec:
    domains: ["*"]
    routes: [inner]
    advertise_policies: [outer]
    http_protocol_options: {{http_protocol_enable_v1_v2: {{}}}}
"""
SERVER: Final = """
  location / { return 200 "$request_method $request_uri $http_x_added $http_x_forwarded_proto\\n"; }
  location /file { root .; }
  location /upload { client_max_body_size 20m; client_body_buffer_size 20m; proxy_pass http://unix:/nowhere; return 204; }
"""


class Http2Case(SynchronousTestCase):
    def setUp(self) -> None:
        """An origin of HTTP/1.1, and the gateway before it, twice."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.content = os.urandom(3_000_000)
        (self.folder / "file").write_bytes(self.content)
        self.origin = nginx(self, SERVER.replace("root .", f"root {self.folder}"), top="user root;" if os.getuid() == 0 else "")
        self.inner, self.outer = free_port(), free_port()
        self.start(self.inner)

    def start(self, following: int) -> None:
        """The gateway, whose outer listener asks at port `following`."""
        self.gateway = Gateway(self, CONFIG.format(
            inner=self.inner, outer=self.outer, origin=self.origin.port, next=following))
        self.gateway.wait_ready()

    def run_it(self, *command: str, patience_s: float = 30.0) -> str:
        """What a program says; it must succeed."""
        done = subprocess.run([require(command[0]), *command[1:]], capture_output=True, timeout=patience_s, check=False)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return done.stdout.decode("utf-8", "replace")

    def curl(self, port: int, path: str, *options: str) -> str:
        """Head and body of an answer over HTTP/2."""
        return self.run_it("curl", "-sSi", "--http2-prior-knowledge", *options, f"http://127.0.0.1:{port}{path}")

    def metric(self, name: str) -> float:
        """The value of one sample of the gateway's metrics."""
        text = self.gateway.admin("/metrics").body.decode()
        match = re.search(rf"^{re.escape(name)} ([0-9.e+]+)$", text, re.MULTILINE)
        assert match is not None, name
        return float(match[1])


class ClientTests(Http2Case):
    def test_actions_over_either_hop(self) -> None:
        """Forwarding with rewrites and edits, redirects and direct answers: the same over HTTP/2, once and twice."""
        for port in (self.inner, self.outer):
            answer = self.curl(port, "/old/a?b=c")
            self.assertTrue(answer.startswith("HTTP/2 200"), answer)
            self.assertIn("\r\nx-seen: 2\r\n", answer)
            self.assertTrue(answer.endswith("GET /new/a?b=c 1 http\n"), answer)
            self.assertIn("\r\nlocation: http://127.0.0.1", self.curl(port, "/away"))
            self.assertTrue(self.curl(port, "/own").endswith("of ours"))
            self.assertTrue(self.curl(port, "/x", "-I").startswith("HTTP/2 200"))
        log = until("the log", lambda: (self.gateway.folder / "access.log").read_text().count("HTTP/2") >= 8
                    and (self.gateway.folder / "access.log").read_text())
        self.assertIn("HTTP/2", log)
        self.assertGreater(self.metric('voltgw_http2_streams_total{side="upstream"}'), 3)
        self.assertGreater(self.metric('voltgw_http2_connections_total{side="downstream"}'), 3)

    def test_version_1_is_still_spoken(self) -> None:
        """By curl, at the same ports."""
        for port in (self.inner, self.outer):
            answer = self.run_it("curl", "-sSi", "--http1.1", f"http://127.0.0.1:{port}/a")
            self.assertTrue(answer.startswith("HTTP/1.1 200 OK\r\n"), answer)

    def test_it_is_never_reached_by_upgrade(self) -> None:
        """curl asks for h2c; it is answered in HTTP/1.1 (RFC 9113 has no such upgrade any more)."""
        answer = self.run_it("curl", "-sSi", "--http2", f"http://127.0.0.1:{self.inner}/a")
        self.assertTrue(answer.startswith("HTTP/1.1 200 OK\r\n"), answer)

    def test_large_bodies(self) -> None:
        """Whole, either way, over one hop and two."""
        upload = self.folder / "upload"
        upload.write_bytes(self.content)
        for port in (self.inner, self.outer):
            got = self.folder / f"got-{port}"
            self.run_it("curl", "-sSf", "--http2-prior-knowledge", "-o", str(got), f"http://127.0.0.1:{port}/file")
            self.assertTrue(got.read_bytes() == self.content)
            answer = self.curl(port, "/upload", "--data-binary", f"@{upload}")
            self.assertIn("HTTP/2 204", answer)
        self.assertEqual(self.metric("voltgw_internal_failures_total"), 0)

    def test_nghttp(self) -> None:
        """Several requests on one connection, with priorities."""
        said = self.run_it("nghttp", "-nv", *(f"http://127.0.0.1:{self.outer}/{name}" for name in "abcde"))
        self.assertEqual(len(re.findall(r":status: 200", said)), 5, said)

    def test_many_at_a_time(self) -> None:
        """h2load with 20 streams on each of 5 connections: every answer comes."""
        for port in (self.inner, self.outer):
            said = self.run_it("h2load", "-n", "2000", "-c", "5", "-m", "20", f"http://127.0.0.1:{port}/a")
            self.assertIn("2000 succeeded, 0 failed, 0 errored", said)
        self.assertEqual(self.metric("voltgw_internal_failures_total"), 0)
        self.assertLess(self.metric('voltgw_cluster_connects_total{cluster="default/inner"}'), 10)

    def test_a_restart_is_graceful(self) -> None:
        """SIGTERM in mid-download: GOAWAY, and the download ends as it should."""
        got = self.folder / "got"
        with subprocess.Popen([require("curl"), "-sSf", "--http2-prior-knowledge", "--limit-rate", "2M", "-o", str(got),
                               f"http://127.0.0.1:{self.outer}/file"]) as curl:
            until("it has begun", lambda: got.exists() and got.stat().st_size > 100_000)
            self.gateway.process.terminate()
            self.assertEqual(curl.wait(30), 0)
        self.assertTrue(got.read_bytes() == self.content)


class EnvoyTests(Http2Case):
    """Envoy speaks HTTP/2 to us, and we to it."""

    def setUp(self) -> None:
        """Envoy stands behind the outer listener, and asks the inner one."""
        self.port = free_port()
        super().setUp()

    def start(self, following: int) -> None:
        """Both."""
        super().start(self.port)
        kind = f"{PREFIX}.upstreams.http.v3.HttpProtocolOptions"
        start_envoy(self, self.port, following, {"codec_type": "HTTP2"}, {"typed_extension_protocol_options": {
            kind.removeprefix("type.googleapis.com/"): {
                "@type": kind, "explicit_http_config": {"http2_protocol_options": {}}}}})
        until("Envoy answers", lambda: subprocess.run(
            [require("curl"), "-sf", "--http2-prior-knowledge", f"http://127.0.0.1:{self.port}/own"],
            capture_output=True, check=False).returncode == 0)

    def test_between_two_listeners(self) -> None:
        """Client, gateway, Envoy, gateway, origin: answers, bodies both ways, many at a time."""
        self.assertTrue(self.curl(self.outer, "/old/a").endswith("GET /new/a 1 http\n"))
        got = self.folder / "got"
        self.run_it("curl", "-sSf", "--http2-prior-knowledge", "-o", str(got), f"http://127.0.0.1:{self.outer}/file")
        self.assertTrue(got.read_bytes() == self.content)
        upload = self.folder / "upload"
        upload.write_bytes(self.content)
        self.assertIn("HTTP/2 204", self.curl(self.outer, "/upload", "--data-binary", f"@{upload}"))
        said = self.run_it("h2load", "-n", "1000", "-c", "4", "-m", "10", f"http://127.0.0.1:{self.outer}/a")
        self.assertIn("1000 succeeded, 0 failed, 0 errored", said)
        self.assertEqual(self.metric("voltgw_internal_failures_total"), 0)
