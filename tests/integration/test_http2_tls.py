"""HTTP/2 over TLS with real parts, on both hops: which version is spoken is agreed on when TLS begins (ALPN)."""

from __future__ import annotations

import re
import subprocess

from tests.integration.gateway import Gateway, free_port
from tests.integration.test_https import HttpsCase, host, policy
from tests.servers import nginx, require

#: A second listener, whose cluster asks the first one by TLS; `%s` says in which version.
CHAIN = """\
- {kind: advertise_policy, metadata: {name: outer}, spec: {address: 127.0.0.1, port: OUTER}}
- {kind: route, metadata: {name: outer}, spec: {routes: [{route_destination: {destinations: [{cluster: [inner]}]}}]}}
- {kind: endpoint, metadata: {name: inner}, spec: {ip: 127.0.0.1, port: PORT}}
- kind: cluster
  metadata: {name: inner}
  spec:
    endpoints: [inner]
    %s
    tls_parameters: {sni: a.example, common_params: {validation_params: {trusted_ca_url: 'file:PKI/ca.crt'}}}
"""
ORIGIN = """\
- {kind: route, metadata: {name: r}, spec: {routes: [{route_destination: {destinations: [{cluster: [c]}]}}]}}
- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e]}}
- {kind: endpoint, metadata: {name: e}, spec: {ip: 127.0.0.1, port: ORIGIN}}
"""


class BothHopsTests(HttpsCase):
    def chain(self, version: str, inner: str = "", outer: str = "") -> Gateway:
        """A gateway in front of itself, both listeners with TLS, and behind it nginx."""
        origin = nginx(self, 'location / { return 200 "hello"; }').port
        self.server("a.example")
        self.outer = free_port()
        front = host("outer", "a.example", "a.example", more=outer).replace("[p]", "[outer]").replace("[r]", "[outer]")
        objects = [policy(), host("inner", "a.example", "a.example", more=inner), ORIGIN, CHAIN % version, front]
        return self.gateway(*(each.replace("OUTER", str(self.outer)).replace("ORIGIN", str(origin)) for each in objects))

    def ask(self, version: str) -> str:
        """The version in which curl is answered, and the status."""
        return self.curl("a.example", version, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", port=self.outer).stdout

    def streams(self, gateway: Gateway, side: str) -> int:
        """Streams of HTTP/2 on one side so far."""
        text = gateway.admin("/metrics").body.decode()
        found = re.search(rf'^voltgw_http2_streams_total{{side="{side}"}} ([0-9.]+)$', text, re.MULTILINE)
        assert found is not None
        return int(float(found[1]))

    def test_http2_is_asked_for(self) -> None:
        """http2_options: whatever the client speaks, the endpoint is asked in HTTP/2, on one connection."""
        gateway = self.chain("http2_options: {enabled: true}")
        self.assertEqual([self.ask("--http2"), self.ask("--http1.1"), self.ask("--http2")], ["2 200", "1.1 200", "2 200"])
        self.assertEqual((self.streams(gateway, "upstream"), self.streams(gateway, "downstream")), (3, 5))
        text = gateway.admin("/metrics").body.decode()
        self.assertIn('voltgw_http2_connections_total{side="upstream"} 1.0', text)

    def test_the_endpoint_chooses(self) -> None:
        """auto_http_config: HTTP/2 if the endpoint takes it, else HTTP/1.1."""
        gateway = self.chain("auto_http_config: {}")
        self.assertEqual([self.ask("--http2"), self.ask("--http1.1")], ["2 200", "1.1 200"])
        self.assertEqual(self.streams(gateway, "upstream"), 2)
        gateway.stop()
        self.port = free_port()
        gateway = self.chain("auto_http_config: {}", inner="http_protocol_options: {http_protocol_enable_v1_only: {}}")
        self.assertEqual([self.ask("--http2"), self.ask("--http1.1"), self.ask("--http2")], ["2 200", "1.1 200", "2 200"])
        self.assertEqual(self.streams(gateway, "upstream"), 0)

    def test_what_a_host_speaks(self) -> None:
        """One of HTTP/1.1 does not offer HTTP/2, and the other way round."""
        self.chain("http1_config: {}", outer="http_protocol_options: {http_protocol_enable_v1_only: {}}")
        self.assertEqual(self.ask("--http2"), "1.1 200")
        self.port = free_port()
        self.chain("http1_config: {}", outer="http_protocol_options: {http_protocol_enable_v2_only: {}}")
        self.assertEqual(self.ask("--http2"), "2 200")
        self.assertNotIn("200", self.ask("--http1.1"))

    def test_many_at_a_time(self) -> None:
        """h2load, over TLS on both hops: every answer comes, on few connections."""
        gateway = self.chain("http2_options: {enabled: true}")
        done = subprocess.run(
            [require("h2load"), "-n", "1000", "-c", "4", "-m", "20", f"--connect-to=127.0.0.1:{self.outer}",
             f"https://a.example:{self.outer}/x"], capture_output=True, text=True, timeout=30, check=False)
        self.assertIn("1000 succeeded, 0 failed, 0 errored", done.stdout)
        self.assertEqual(self.streams(gateway, "upstream"), 1000)
        self.assertIn("voltgw_internal_failures_total 0.0", gateway.admin("/metrics").body.decode())
