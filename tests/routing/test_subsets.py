"""Which labels a route wants of the endpoints of its clusters (objects.md 22.5)."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import Cluster, RouteObject
from voltgw.config.objects.extensions import SubsetExtension
from voltgw.config.objects.route import RouteDestination, RouteDestinationList, RouteSpec, RouteType
from voltgw.config.objects.virtual_host import VirtualHostSpec
from voltgw.config.values import FrozenMap, Ref
from voltgw.interfaces import UpstreamCluster
from voltgw.routing.problems import BuildErrors
from voltgw.routing.table import VirtualHost, build_host


class Asked(Cluster):
    """Notes which subset it is asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked: list[tuple[dict[str, str], str]] = []

    def subset(self, labels: Mapping[str, str], name: str = "", /) -> Cluster:
        self.asked.append((dict(labels), name))
        return self if name != "unknown" else super().subset(labels, name)


class SubsetTests(SynchronousTestCase):
    def asked(self, **more: object) -> list[tuple[dict[str, str], str]]:
        """What a cluster is asked for by a route with two destinations, the second of which has labels of its own."""
        cluster = Asked("default/c")

        def find(ref: Ref, namespace: str) -> UpstreamCluster:
            return cluster

        first = RouteDestination(cluster=(Ref(None, "c"),), weight=1)
        second = RouteDestination(cluster=(Ref(None, "c"),), weight=1, **more)      # type: ignore[arg-type]  # the caller's
        forward = RouteDestinationList(destinations=(first, second), endpoint_subsets=FrozenMap({"site": "a", "version": "10"}))
        self.host: VirtualHost = build_host("h", VirtualHostSpec(domains=("*",)), [
            RouteObject("r", RouteSpec(routes=(RouteType(route_destination=forward),)))], find)
        return cluster.asked

    def test_labels_of_the_destination_win(self) -> None:
        """They are laid over those of the route, which hold for every destination."""
        self.assertEqual(self.asked(endpoint_subsets=FrozenMap({"version": "11", "stage": "x"})), [
            ({"site": "a", "version": "10"}, ""), ({"site": "a", "version": "11", "stage": "x"}, "")])
        self.assertEqual(len({one.identity for one in self.host.routes[0].destinations}), 2)

    def test_a_named_subset(self) -> None:
        """A destination may name an expression of its cluster; one that there is not is a mistake, told at its place."""
        self.assertEqual([name for _, name in self.asked(voltgw=SubsetExtension(subset="new"))], ["", "new"])
        error = self.assertRaises(BuildErrors, self.asked, voltgw=SubsetExtension(subset="unknown"))
        self.assertIn("'unknown'", str(error.problems[0]))
