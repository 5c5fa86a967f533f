"""Views and hand-written objects that name each other."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.lowering.making import HTTP, POOL, balancer, config, pool, view
from tests.config.making import codes, judged, lines, loaded
from voltgw.app.dry import dry_build
from voltgw.config.load import checked
from voltgw.config.values import Ref

ROUTE = "- {kind: route, metadata: {name: hand}, spec: {routes: [{route_destination: {destinations: [{cluster: [{name: %s}]}]}}]}}\n"
NOWHERE = "do_not_advertise: {}"


def found(*objects: str, gateway: str = "") -> list[str]:
    """What is wrong with some objects."""
    return lines(judged(f"gateway: {{{gateway}}}\nobjects:\n" + "".join(objects)))


class ByHandTests(SynchronousTestCase):
    def test_a_route_object_that_names_a_pools_cluster(self) -> None:
        """As real ones do, and attached to a load balancer, as real ones are."""
        attached = f"routes: [{{custom_route_object: {{route_ref: hand}}}}], {NOWHERE}"
        made = checked(config(balancer(attached), pool(), pool(name="p"), ROUTE % POOL))
        self.assertEqual(made.warnings, ())
        hosts = dry_build(made).hosts
        self.assertEqual([rule.route.destinations[0].cluster_name for rule in hosts[f"default/{HTTP}"].rules],
                         [f"default/{POOL}", "default/ves-io-origin-pool-p"])

    def test_a_virtual_host_that_names_what_a_load_balancer_became(self) -> None:
        """Its advertise policy and its route, for another name."""
        other = f"- {{kind: virtual_host, metadata: {{name: o}}, spec: {{domains: [o.example], advertise_policies: [{HTTP}], routes: [{HTTP}]}}}}\n"
        self.assertEqual(found(balancer("advertise_on_public_default_vip: {}"), pool(name="p"), other), [])

    def test_a_load_balancer_whose_pool_is_there_as_a_cluster_only(self) -> None:
        """A dump may have the primitives without the view."""
        self.assertEqual(found(balancer(NOWHERE), "- {kind: cluster, metadata: {name: ves-io-origin-pool-p}, spec: {endpoints: [e]}}\n"
                               "- {kind: endpoint, metadata: {name: e}, spec: {ip: 192.0.2.1, port: 80}}\n"), [])

    def test_both_a_view_and_a_copy_of_what_it_becomes(self) -> None:
        """Which of the two would count must not depend on their order."""
        cluster = f"- {{kind: cluster, metadata: {{name: {POOL}}}}}\n"
        self.assertEqual(found(pool(), cluster), [f'4:36 VG0109 cluster "{POOL}" exists already (made from origin_pool "x")'])
        self.assertEqual(found(cluster, pool()),
                         [f'4:40 VG0109 cluster "{POOL}" (made from origin_pool "x") exists already'])


class ShortFormTests(SynchronousTestCase):
    def test_a_route_to_a_pool(self) -> None:
        """A short form may lead to an origin_pool; a cluster or load balancer of that name comes first."""
        short = "load_balancers: [{name: s, listen: 8080, origins: ['a:1'], routes: [{path: /x, to: %s}, {path: /y, redirect: /z}]}]\n"

        def leads_to(name: str, *objects: str) -> str:
            made = checked(loaded(short % name + "objects:\n" + "".join(objects)))
            first = dry_build(made).hosts["default/s"].rules[0].route
            return first.destinations[0].cluster_name

        self.assertEqual(leads_to("x", pool()), f"default/{POOL}")
        self.assertEqual(leads_to("x", pool(namespace="shared")), f"shared/{POOL}")
        self.assertEqual(leads_to("shared/x", pool(namespace="shared")), f"shared/{POOL}")
        self.assertEqual(leads_to("s", pool(name="s")), "default/s")
        found = judged(short % "y" + "objects:\n" + pool())
        self.assertEqual(codes(found), ["VG0107"])


class LookUpTests(SynchronousTestCase):
    def test_a_pool_that_is_not_there(self) -> None:
        """One error, about what the user wrote."""
        self.assertEqual(found(balancer(NOWHERE)), ['3:128 VG0107 origin_pool "p" not found'])
        self.assertEqual(found(balancer(f"{NOWHERE}, routes: [{{custom_route_object: {{route_ref: r}}}}]"), pool(name="p")),
                         ['3:198 VG0107 route "r" not found'])

    def test_clusters_that_may_be_missing(self) -> None:
        """As for route objects: requests are answered 503; a mirror's must be there."""
        self.assertEqual(found(balancer(NOWHERE), gateway="on_dangling: serve_503"),
                         ['W 3:128 VG0107 origin_pool "p" not found; requests for it are answered 503'])
        mirror = "routes: [{simple_route: {advanced_options: {mirror_policy: {origin_pool: m}}}}]"
        errors = [line for line in found(balancer(f"{NOWHERE}, {mirror}"), pool(name="p"), gateway="on_dangling: serve_503")
                  if not line.startswith("W")]
        self.assertEqual(len(errors), 1)
        self.assertIn('VG0107 origin_pool "m" not found', errors[0])

    def test_a_pool_in_the_shared_namespace(self) -> None:
        """It is found from any namespace, and so is its cluster."""
        made = checked(config(balancer(NOWHERE, namespace="shop"), pool(name="p", namespace="shared")))
        (rule,) = dry_build(made).hosts[f"shop/{HTTP}"].rules
        self.assertEqual(rule.route.destinations[0].cluster_name, "shared/ves-io-origin-pool-p")
        cluster = made.find("cluster", Ref(None, "ves-io-origin-pool-p"), "shop")
        assert cluster is not None
        self.assertEqual(cluster.namespace, "shared")

    def test_a_disabled_pool(self) -> None:
        """A warning where it is named; the cluster is out of service."""
        self.assertEqual(codes(judged("objects:\n" + balancer(NOWHERE) + pool(name="p", more=", disable: true"))), ["VG0119"])

    def test_two_views_of_one_kind_and_name(self) -> None:
        """The views clash, and what they become need not be told as well."""
        both = view("origin_pool", "origin_servers: []") * 2
        self.assertEqual(codes(judged("objects:\n" + both))[:1], ["VG0109"])
