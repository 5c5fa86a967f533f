"""The limit of requests under way that follows what answers take (``voltgw: {adaptive_concurrency: …}``), in the data plane."""

from __future__ import annotations

from typing import Any

from tests.proxy.rig import EMPTY, GET, ProxyCase
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.gradient import Gradient, GradientRules


class AdaptingTests(ProxyCase):
    def make_cluster(self, name: str = "default/shop", **options: Any) -> Cluster:
        """Which begins with two requests at a time."""
        self.gradient = Gradient(GradientRules(2, 1, 50))
        return super().make_cluster(name, gradient=self.gradient, **options)

    def test_over_the_limit(self) -> None:
        """The third request at a time is answered 503 at once; the endpoint does not get it."""
        for port in (50001, 50002):
            self.client(port=port).send(GET)
            self.rig.dials[-1].accept()
        refused = self.client(port=50003)
        refused.send(GET)
        self.assertIn(b"HTTP/1.1 503", refused.got())
        self.assertEqual((self.records[0].flag, self.rig.dials, self.cluster.counters.overflow), ("UO", [], 1))

    def test_it_grows_and_shrinks(self) -> None:
        """While answers are quick more requests may be under way, and fewer when they have become slow."""
        client, origin = self.asked()
        for _ in range(30):
            self.cluster.active = self.cluster.max_requests     # as if the others were under way
            self.advance(0.01)
            origin.send(EMPTY)
            self.cluster.active = 0
            client.send(GET)
        grown = self.cluster.max_requests
        self.assertGreater(grown, 10)
        for _ in range(30):
            self.cluster.active = self.cluster.max_requests
            self.advance(1.0)
            origin.send(EMPTY)
            self.cluster.active = 0
            client.send(GET)
        self.assertLess(self.cluster.max_requests, grown)
