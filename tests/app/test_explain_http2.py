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
