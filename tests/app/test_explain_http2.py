"""What is said of requests where HTTP/2 is spoken."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config, host, objects, policy
from voltgw.app.dry import dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.question import read_question
from voltgw.observe.decisions import text_of

CONFIG = objects(
    host("shop", more=", http_protocol_options: {http_protocol_enable_v2_only: {}}"),
    policy("p", "address: 127.0.0.1, port: 8080"), """\
- kind: route
  metadata: {name: r}
  spec: {routes: [{route_destination: {destinations: [{cluster: [main]}]}}]}
- {kind: cluster, metadata: {name: main}, spec: {endpoints: [a], http2_options: {enabled: true}}}
- {kind: endpoint, metadata: {name: a}, spec: {ip: 10.0.0.1, port: 80}}
""")


class Http2Tests(SynchronousTestCase):
    def test_both_sides(self) -> None:
        """A listener that speaks nothing else is asked all the same, and the cluster's version is told."""
        runtime = dry_runtime(config(CONFIG))
        said = text_of(Explainer(runtime).explain(read_question("GET", "http://127.0.0.1:8080/x", ["x-a: 1"], "", "")).plain()["decisions"])
        self.assertIn("protocol  ", said)
        self.assertIn("HTTP/2 options of the cluster", said)
        self.assertIn("GET /x HTTP/1.1", said)
        self.assertNotIn("unknown", said.partition("request sent")[2])


class TiedTests(SynchronousTestCase):
    def said(self, cluster: str) -> str:
        """What is said of a request to a cluster of these fields."""
        runtime = dry_runtime(config(CONFIG.replace(", http2_options: {enabled: true}", cluster)))
        return text_of(Explainer(runtime).explain(read_question("GET", "http://127.0.0.1:8080/x", [], "", "")).plain()["decisions"])

    def test_connections_that_serve_one_client_alone(self) -> None:
        """That the endpoint hears a PROXY header first, what stands in it, and that connections are not shared."""
        self.assertIn("version 1", self.said(", proxy_protocol_v1: {}"))
        said = self.said(", proxy_protocol_v2: {}, voltgw: {proxy_protocol: {tell: [SSL], pass_on: [AWS, \"0xe4\"]}}")
        self.assertIn("we tell SSL, and pass on 0xe4 AWS", said)
        self.assertIn("everything that the proxy before us has told", self.said(", proxy_protocol_v2: {}"))
        self.assertIn("disable_conn_pool_reuse", self.said(", upstream_conn_pool_reuse_type: {disable_conn_pool_reuse: {}}"))
