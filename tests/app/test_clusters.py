"""Clusters from files to what is built: where the gateway is, by what a route balances, who signs cookies."""

from __future__ import annotations

from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config, host, makings, policy, runtime
from tests.cluster.making import key
from voltgw.app.build import build
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.schedulers.least_request import LeastRequest
from voltgw.cluster.spread import Home
from voltgw.cluster.subset import Subset

FILE: Final = "gateway: {site: paris}\nobjects:\n" + host("h") + policy("p", "address: 127.0.0.1, protocol: TCP, port: 8080") + """
- kind: site
  metadata: {name: paris, labels: {topology.kubernetes.io/zone: ZONE}}
  spec: {site_type: REGIONAL_EDGE}
- kind: route
  metadata: {name: r}
  spec: {routes: [{match: [{path: {prefix: /}}], route_destination: {destinations: [{cluster: [c]}], voltgw: {balance: BALANCE}}}]}
- kind: cluster
  metadata: {name: c}
  spec: {endpoints: [e], endpoint_selection: LOCAL_ONLY, voltgw: {affinity: endpoint_cookie}}
- {kind: endpoint, metadata: {name: e}, spec: {ip: 192.0.2.1, port: 80, voltgw: {zone: a, priority: 1}}}
"""


def file(zone: str = "a", balance: str = "CLUSTER") -> str:
    """The file of a gateway in this zone, with a route that balances so."""
    return FILE.replace("ZONE", zone).replace("BALANCE", balance)


class ClusterTests(SynchronousTestCase):
    def test_where_the_gateway_is(self) -> None:
        """The own site's name, and the zone of its label; another zone makes another cluster, the same one the same."""
        text = file("a", "CLUSTER")
        first = runtime(text)
        plan = first.plans["default/c"]
        self.assertEqual((plan.home, plan.local_only), (Home("paris", "a"), True))
        self.assertEqual((plan.members[0].zone, plan.members[0].priority), ("a", 1))
        again = runtime(text, first)
        self.assertIs(again.clusters["default/c"], first.clusters["default/c"])
        moved = runtime(file("b", "CLUSTER"), first)
        self.assertIsNot(moved.clusters["default/c"], first.clusters["default/c"])

    def test_by_what_a_route_balances(self) -> None:
        """Its destination is the cluster with another scheduler; with CLUSTER it is the cluster itself."""
        (route,) = runtime(file("a", "LEAST_REQUEST")).hosts["default/h"].routes
        self.assertIsInstance(route.cluster, Subset)
        assert isinstance(route.cluster, Subset)
        self.assertIsInstance(route.cluster.factory, LeastRequest)
        (route,) = runtime(file("a", "CLUSTER")).hosts["default/h"].routes
        self.assertIsInstance(route.cluster, Cluster)

    def test_who_signs_cookies(self) -> None:
        """A cluster without a key of its own has the process's, so that a reload does not move clients."""
        made = makings()
        first = build(config(file("a", "CLUSTER")), None, made)
        other = build(config(file("b", "CLUSTER")), first, made)
        one, two = first.clusters["default/c"], other.clusters["default/c"]
        self.assertIsNot(one, two)
        assert one.affinity is not None and two.affinity is not None
        self.assertEqual(one.affinity.value(key(1)), two.affinity.value(key(1)))
