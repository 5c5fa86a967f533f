"""From objects to what serves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import (
    balancer,
    balancers,
    cluster,
    config,
    endpoint,
    host,
    makings,
    objects,
    policy,
    route,
    runtime,
)
from voltgw.app import build as build_module
from voltgw.app.build import ListenerKey, Runtime, build, building
from voltgw.app.load import Loader, at_once
from voltgw.cluster.plan import ClusterPlan, plan_cluster
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.errors import ConfigError, ConfigErrors
from voltgw.routing.route import VirtualHost
from voltgw.routing.table import build_host

ON_8080 = policy("p", "address: 127.0.0.1, port: 8080")
SHOP = route("r") + cluster() + endpoint()


class CarriedOverTests(SynchronousTestCase):
    """What a second build takes from the first."""

    def test_an_equal_cluster(self) -> None:
        """A cluster that means the same is the very same object; one whose endpoint has another port is not."""
        before = runtime(balancers(balancer("a", "127.0.0.1:1", "127.0.0.1:11"), balancer("b", "127.0.0.1:2", "127.0.0.1:12")))
        after = runtime(
            "# a comment above\n" + balancers(balancer("a", "127.0.0.1:1", "127.0.0.1:11"),
                                              balancer("b", "127.0.0.1:2", "127.0.0.1:13")), before)
        self.assertIs(after.clusters["default/a"], before.clusters["default/a"])
        self.assertIsNot(after.clusters["default/b"], before.clusters["default/b"])

    def test_what_a_cluster_refers_to(self) -> None:
        """A change of an endpoint or a health check that it names makes another cluster, though its own object is the same."""
        check = ("- {kind: healthcheck, metadata: {name: h}, spec: {tcp_health_check: {}, timeout: 1, interval: %d, "
                 "healthy_threshold: 1, unhealthy_threshold: 1}}\n")
        parts = host("a"), ON_8080, route("r"), cluster(more=", health_checks: [h]")
        first = runtime(objects(*parts, endpoint(), check % 5))
        self.assertIs(runtime(objects(*parts, endpoint(), check % 5), first).clusters["default/c"], first.clusters["default/c"])
        for other in (objects(*parts, endpoint(), check % 6),
                      objects(*parts, endpoint(spec="ip: 192.0.2.1, port: 80, voltgw: {weight: 2}"), check % 5)):
            self.assertIsNot(runtime(other, first).clusters["default/c"], first.clusters["default/c"])

    def test_counters_of_routes(self) -> None:
        """A route keeps its counters by its name in its host, whatever else changes; a new one begins at 0."""
        before = runtime(objects(host("a"), ON_8080, SHOP))
        kept = before.hosts["default/a"].routes[0].counters
        after = runtime(objects(host("a", routes="[n, r]", domains="[shop.example]"), ON_8080, SHOP, route("n")), before)
        new, old = after.hosts["default/a"].routes
        self.assertEqual((new.name, old.name), ("n/0", "r/0"))
        self.assertIs(old.counters, kept)
        self.assertIsNot(new.counters, kept)

    def test_counters_of_another_host(self) -> None:
        """The same route in another host has counters of its own."""
        both = objects(host("a", domains="[a.example]"), host("b", domains="[b.example]"), ON_8080, SHOP)
        before = runtime(both)
        after = runtime(both, before)
        for name in ("default/a", "default/b"):
            self.assertIs(after.hosts[name].routes[0].counters, before.hosts[name].routes[0].counters)
        self.assertIsNot(after.hosts["default/a"].routes[0].counters, after.hosts["default/b"].routes[0].counters)

    def test_a_route_that_a_host_names_twice(self) -> None:
        """Each mention keeps its own counters, so that nothing is counted twice after a reload."""
        text = objects(host("a", routes="[r, r]"), ON_8080, SHOP)
        before = runtime(text)
        after = runtime(text, before)
        first, second = after.hosts["default/a"].routes
        self.assertEqual(first.name, second.name)
        self.assertIs(first.counters, before.hosts["default/a"].routes[0].counters)
        self.assertIs(second.counters, before.hosts["default/a"].routes[1].counters)
        self.assertIsNot(first.counters, second.counters)


class CarriedHostTests(SynchronousTestCase):
    """A virtual host of a file that has not changed is not built anew."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.write("voltgw.yaml", "include: [a.yaml, b.yaml, clusters.yaml]\nobjects:\n" + ON_8080)
        self.write("a.yaml", "objects:\n" + host("a", domains="[a.example]", routes="[ra]") + route("ra", "ca"))
        self.write("b.yaml", "objects:\n" + host("b", domains="[b.example]", routes="[rb]") + route("rb", "cb"))
        self.write("clusters.yaml", "objects:\n" + cluster("ca") + cluster("cb") + endpoint())
        self.loader = Loader(str(self.folder / "voltgw.yaml"), {})
        self.first = self.load(None)

    def write(self, name: str, text: str) -> None:
        """One of its files."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def load(self, previous: Runtime | None) -> Runtime:
        """Read and build."""
        return build(at_once(self.loader), previous, makings())

    def test_only_the_changed_one_is_built(self) -> None:
        """One host of two changes: the other is the same object, in the listener's table, too."""
        self.write("b.yaml", "objects:\n" + host("b", domains="[other.example]", routes="[rb]") + route("rb", "cb"))
        after = self.load(self.first)
        self.assertIs(after.hosts["default/a"], self.first.hosts["default/a"])
        self.assertIsNot(after.hosts["default/b"], self.first.hosts["default/b"])
        table = after.listeners[ListenerKey("127.0.0.1", 8080)].table
        assert table is not None
        self.assertIs(table.choose(b"a.example", None, 8080), after.hosts["default/a"])
        self.assertIs(table.choose(b"other.example", None, 8080), after.hosts["default/b"])

    def test_its_cluster_is_another(self) -> None:
        """A host whose cluster was built anew is built anew: its route must not lead to the old one."""
        self.write("clusters.yaml", "objects:\n" + cluster("ca") + cluster("cb", more=", connection_timeout: 5") + endpoint())
        after = self.load(self.first)
        self.assertIs(after.hosts["default/a"], self.first.hosts["default/a"])
        self.assertIsNot(after.hosts["default/b"], self.first.hosts["default/b"])
        self.assertIs(after.hosts["default/b"].routes[0].cluster, after.clusters["default/cb"])

    def test_its_route_is_another(self) -> None:
        """A host whose route object stands in another file, which changed, is built anew."""
        self.write("a.yaml", "objects:\n" + host("a", domains="[a.example]", routes="[rb]"))
        second = self.load(self.first)
        self.write("b.yaml", "objects:\n" + host("b", domains="[b.example]", routes="[rb]") + route("rb", "ca"))
        third = self.load(second)
        self.assertIsNot(third.hosts["default/a"], second.hosts["default/a"])
        self.assertIs(third.hosts["default/a"].routes[0].cluster, third.clusters["default/ca"])

    def test_a_cluster_that_comes_to_be(self) -> None:
        """A reference that led nowhere and now leads somewhere is a change."""
        self.write("voltgw.yaml", "gateway: {on_dangling: serve_503}\ninclude: [a.yaml, clusters.yaml]\nobjects:\n" + ON_8080)
        self.write("clusters.yaml", "objects:\n" + endpoint())
        without = self.load(None)
        self.assertIsNone(without.hosts["default/a"].routes[0].cluster)
        self.write("clusters.yaml", "objects:\n" + cluster("ca") + endpoint())
        after = self.load(without)
        self.assertIs(after.hosts["default/a"].routes[0].cluster, after.clusters["default/ca"])

    def test_places_stay_true(self) -> None:
        """A host that has moved in its file is the same one, and the admin page names the line where it stands now.

        As long as the new runtime does not serve, nothing of the old one changes.
        """
        text = (self.folder / "a.yaml").read_text(encoding="utf-8")
        host = self.first.hosts["default/a"]
        route = host.routes[0]
        self.assertEqual((host.place.line, route.place.line, route.destinations[0].place.line), (2, 3, 3))
        self.write("a.yaml", "# one more line\n" + text)
        after = self.load(self.first)
        self.assertEqual((host.place.line, route.place.line), (2, 3))
        self.assertIs(after.hosts["default/a"], host)
        after.settle()
        self.assertEqual((host.place.line, route.place.line, route.destinations[0].place.line), (3, 4, 4))
        self.assertIs(self.load(after).hosts["default/a"], host)

    def test_places_stay_true_in_a_large_file(self) -> None:
        """So it is where reading gives the very same objects, a line further down."""
        filler = "".join(endpoint(f"f{number}") for number in range(800))
        text = "objects:\n" + host("a", domains="[a.example]", routes="[ra]") + route("ra", "ca") + filler
        self.write("a.yaml", text)
        second = self.load(self.first)
        second.settle()
        made = second.hosts["default/a"]
        self.assertIs(self.load(second).hosts["default/a"], made)
        line = made.place.line
        self.write("a.yaml", "# one more line\n" + text)
        third = self.load(second)
        self.assertEqual(third.moved, [])
        self.assertIs(third.sources["default/a"], second.sources["default/a"])
        self.assertEqual((made.place.line, made.routes[0].place.line), (line + 1, line + 2))

    def test_retiring(self) -> None:
        """What was not taken over is taken apart, so that it is freed without the cycle collector; what was is left whole."""
        self.write("b.yaml", "objects:\n" + host("b", domains="[other.example]", routes="[rb]") + route("rb", "cb"))
        after = self.load(self.first)
        steps = self.first.retiring(after)
        rest: list[object] = []
        while True:
            try:
                next(steps)
            except StopIteration as done:
                rest = done.value
                break
        kept = [self.first.hosts["default/a"], self.first.clusters["default/ca"], self.first.plans["default/ca"]]
        gone = [self.first.hosts["default/b"], self.first.sources["default/b"], self.first.config.objects["route"]["default", "rb"]]
        self.assertEqual([any(each is one for one in rest) for each in (*kept, *gone)], [False] * 3 + [True] * 3)
        self.assertEqual([len(self.first.hosts[name].routes) for name in ("default/a", "default/b")], [1, 0])
        self.assertEqual([len(after.hosts[name].routes) for name in ("default/a", "default/b")], [1, 1])


class MissingTests(SynchronousTestCase):
    """References that lead nowhere, objects that are switched off or elsewhere."""

    def test_a_dangling_cluster(self) -> None:
        """With ``on_dangling: serve_503`` the route has a destination without a cluster."""
        made = runtime(objects(host("a"), ON_8080, route("r", "gone"), gateway="on_dangling: serve_503"))
        found = made.hosts["default/a"].routes[0]
        self.assertIsNone(found.cluster)
        self.assertEqual([destination.cluster for destination in found.destinations], [None])
        self.assertIsNotNone(found.split)

    def test_a_dangling_cluster_is_an_error_otherwise(self) -> None:
        """Without it nothing is built."""
        with self.assertRaises(ConfigErrors):
            runtime(objects(host("a"), ON_8080, route("r", "gone")))

    def test_disabled_objects(self) -> None:
        """A disabled endpoint, policy, cluster or host takes no part."""
        off = ", disable: true"
        made = runtime(objects(
            host("a", policies="[p, q]"), ON_8080, policy("q", "address: 127.0.0.1, port: 8081", off), route("r"),
            cluster(endpoints="[e, f]"), endpoint(), endpoint("f", "ip: 192.0.2.2, port: 80", off),
            cluster("d", metadata=off)))
        self.assertEqual([str(key) for key in made.listeners], ["127.0.0.1:8080"])
        self.assertEqual([member.address for member in made.plans["default/c"].members], ["192.0.2.1"])
        self.assertEqual(list(made.clusters), ["default/c"])

    def test_endpoints_of_another_site(self) -> None:
        """An endpoint whose ``where`` is another site is none of ours."""
        elsewhere = "ip: 192.0.2.2, port: 80, where: {site: {ref: [{name: tokyo}]}}"
        made = runtime(objects(
            host("a"), ON_8080, route("r"), cluster(endpoints="[e, f]"), endpoint(), endpoint("f", elsewhere),
            "- {kind: site, metadata: {name: tokyo}, spec: {}}\n"))
        self.assertEqual([member.address for member in made.plans["default/c"].members], ["192.0.2.1"])

    def test_no_policy(self) -> None:
        """A virtual host without an advertise policy opens nothing."""
        self.assertEqual(runtime(objects(host("a", policies="[]"), SHOP)).listeners, {})


class ListenerTests(SynchronousTestCase):
    """Which sockets are opened for which hosts."""

    def test_several_policies_and_ports(self) -> None:
        """Each address and port of each policy is a listener of its own, with the host behind it."""
        made = runtime(objects(
            host("a", policies="[p, q]"), ON_8080, policy("q", 'address: "::1", port_ranges: "90-91"'), SHOP))
        self.assertEqual([str(key) for key in made.listeners], ["127.0.0.1:8080", "[::1]:90", "[::1]:91"])
        self.assertEqual([plan.port for plan in made.listeners.values()], [8080, 90, 91])
        for plan in made.listeners.values():
            self.assertEqual(plan.hosts, [made.hosts["default/a"]])

    def test_port_map(self) -> None:
        """The mapped port is bound; rules about ports go by the one that the policy names."""
        made = runtime(objects(host("a"), policy("p", "address: 127.0.0.1"), SHOP, gateway="port_map: {80: 8080}"))
        [(key, plan)] = made.listeners.items()
        self.assertEqual((str(key), plan.port), ("127.0.0.1:8080", 80))

    def test_any_address(self) -> None:
        """A bare port of the short form, or ``any_address``, is one socket on all addresses."""
        made = runtime(balancers(balancer("a", "8080", "127.0.0.1:1")))
        [key] = made.listeners
        self.assertEqual((key, str(key)), (ListenerKey(None, 8080), "*:8080"))

    def test_the_sites_vip(self) -> None:
        """A policy without an address means the own site's VIP of its network, else that interface's own address."""
        inside = "where: {site: {ref: [{name: paris}], network_type: VIRTUAL_NETWORK_SITE_LOCAL_INSIDE}}, port: 81"
        parts = host("a", policies="[p, q]"), policy("p", "port: 80"), policy("q", inside), SHOP
        site = "- {kind: site, metadata: {name: paris}, spec: {outside_vip: 198.51.100.1}}\n"
        made = runtime(objects(*parts, site, gateway="site: paris"))
        self.assertEqual([str(key) for key in made.listeners], ["198.51.100.1:80", "10.0.0.10:81"])
        bare = runtime(objects(host("a"), policy("p", "port: 80"), SHOP))
        self.assertEqual([str(key) for key in bare.listeners], ["192.0.2.10:80"])

    def test_a_policy_for_another_site(self) -> None:
        """It opens nothing here."""
        made = runtime(objects(
            host("a", policies="[p, q]"), ON_8080, policy("q", "where: {site: {ref: [{name: tokyo}]}}, port: 81"), SHOP,
            "- {kind: site, metadata: {name: tokyo}, spec: {}}\n"))
        self.assertEqual([str(key) for key in made.listeners], ["127.0.0.1:8080"])

    def test_two_hosts_share_a_listener(self) -> None:
        """Both are in its table; what acts before the host is known is the largest that any of them asks for."""
        big = ", max_request_header_size: 90, connection_idle_timeout: 300000"
        made = runtime(objects(
            host("a", domains="[a.example]"), host("b", policies="[q]", domains="[b.example]", more=big), ON_8080,
            policy("q", "address: 127.0.0.1, port: 8080, skip_xff_append: true"), SHOP))
        [plan] = made.listeners.values()
        assert plan.table is not None
        for name in ("a", "b"):
            self.assertIs(plan.table.choose(f"{name}.example".encode(), None, 8080), made.hosts[f"default/{name}"])
        self.assertIsNone(plan.table.choose(b"c.example", None, 8080))
        self.assertEqual((plan.max_head_bytes, plan.keep_alive_timeout_s, plan.skip_xff_append), (90 * 1024, 300.0, True))

    def test_one_host_by_two_policies(self) -> None:
        """Two policies that mean the same address and port put the host there once."""
        made = runtime(objects(host("a", policies="[p, q]"), ON_8080, policy("q", "address: 127.0.0.1, port: 8080"), SHOP))
        [plan] = made.listeners.values()
        self.assertEqual(plan.hosts, [made.hosts["default/a"]])

    def test_a_relay(self) -> None:
        """A TCP_PROXY listener has no table of names."""
        made = runtime(objects(host("a", proxy="TCP_PROXY"), ON_8080, SHOP))
        [plan] = made.listeners.values()
        self.assertEqual((plan.kind, plan.table), (ProxyType.TCP_PROXY, None))


class RefusedTests(SynchronousTestCase):
    """Mistakes that only building finds are errors with a place, never a traceback."""

    def problems(self, text: str) -> list[ConfigError]:
        """What building says of it."""
        made = config(text)                 # reading and checking find nothing
        errors = self.assertRaises(ConfigErrors, build, made, None, makings())
        return list(errors.problems)

    def test_a_relay_whose_route_is_disabled(self) -> None:
        """It would not know where connections go."""
        [problem] = self.problems(objects(
            host("a", proxy="TCP_PROXY"), ON_8080, route("r", metadata=", disable: true"), cluster(), endpoint()))
        self.assertEqual((problem.code, problem.place.file, problem.place.line), ("VG0203", "voltgw.yaml", 3))

    def test_two_kinds_on_the_interfaces_address(self) -> None:
        """Only the host knows that the interface has the address which another policy names."""
        [problem] = self.problems(objects(
            host("a"), host("b", policies="[q]", proxy="TCP_PROXY"), policy("p", "port: 8080"),
            policy("q", "address: 192.0.2.10, port: 8080"), SHOP))
        self.assertEqual((problem.code, problem.place.line), ("VG0201", 4))
        self.assertIn("192.0.2.10:8080", problem.message)

    def test_two_relays_on_the_interfaces_address(self) -> None:
        """So it is with two of a kind that cannot share."""
        [problem] = self.problems(objects(
            host("a", proxy="TCP_PROXY"), host("b", policies="[q]", proxy="TCP_PROXY"), policy("p", "port: 8080"),
            policy("q", "address: 192.0.2.10, port: 8080"), SHOP))
        self.assertEqual(problem.code, "VG0201")

    def test_one_domain_twice_on_the_interfaces_address(self) -> None:
        """And with two owners of one name."""
        [problem] = self.problems(objects(
            host("a", domains="[shop.example]"), host("b", policies="[q]", domains="[shop.example]"), policy("p", "port: 8080"),
            policy("q", "address: 192.0.2.10, port: 8080"), SHOP))
        self.assertEqual(problem.code, "VG0202")
        self.assertIn("shop.example", problem.message)

    def test_all_hosts_are_looked_at(self) -> None:
        """The mistakes of two hosts are shown together."""
        bad = ("- {kind: route, metadata: {name: %s}, spec: {routes: [{match: [{path: {regex: '(a*)*b('}}], "
               "route_direct_response: {response_code: 204}}]}}\n")
        try:
            runtime(objects(host("a", domains="[a.example]", routes="[x]"), host("b", domains="[b.example]", routes="[y]"),
                            ON_8080, bad % "x", bad % "y"))
        except ConfigErrors as errors:
            self.assertEqual(len(errors.problems), 2)
        else:
            self.fail("a regular expression that cannot be read was taken")


class OneOfManyTests(SynchronousTestCase):
    """What a build costs when little has changed, counted in objects: time says little on a busy machine."""

    HOSTS = 300

    def setUp(self) -> None:
        """A file for each host; `planned` and `built` count what is made anew."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.planned: list[str] = []
        self.built: list[str] = []

        def plan(cluster: Any, *parts: Any) -> ClusterPlan:
            self.planned.append(cluster.name)
            return plan_cluster(cluster, *parts)

        def made(name: str, *arguments: Any, **options: Any) -> VirtualHost:
            self.built.append(name)
            return build_host(name, *arguments, **options)

        self.patch(build_module, "plan_cluster", plan)
        self.patch(build_module, "build_host", made)
        self.loader = Loader(str(self.folder / "voltgw.yaml"), {})
        self.write("voltgw.yaml", "include: [h*.yaml]\nobjects:\n" + ON_8080)
        for number in range(self.HOSTS):
            self.write(f"h{number}.yaml", self.one(f"h{number}"))
        self.first, steps = self.load(None)
        self.assertEqual((len(self.planned), len(self.built)), (self.HOSTS, self.HOSTS))
        self.assertGreater(steps, 2 * self.HOSTS)

    def write(self, name: str, text: str) -> None:
        """One of its files."""
        (self.folder / name).write_text(text, encoding="utf-8")

    @staticmethod
    def one(name: str, domain: str = "", timeout: int = 5, port: int = 80) -> str:
        """The file of a host."""
        return "objects:\n" + host(name, domains=f"[{domain or name}.example]", routes=f"[{name}]") + route(name, name) + cluster(
            name, f"[{name}]", more=f", connection_timeout: {timeout}") + endpoint(name, f"ip: 192.0.2.1, port: {port}")

    def load(self, previous: Runtime | None) -> tuple[Runtime, int]:
        """The runtime of the files as they are, and in how many steps it was built."""
        made = at_once(self.loader)
        self.planned.clear()
        self.built.clear()
        steps = building(made, previous, makings())
        count = 1
        while True:
            try:
                next(steps)
            except StopIteration as done:
                runtime: Runtime = done.value
                return runtime, count
            count += 1

    def others_are_the_same(self, after: Runtime) -> None:
        """All but h7."""
        for number in range(self.HOSTS):
            if number != 7:
                name = f"default/h{number}"
                self.assertIs(after.hosts[name], self.first.hosts[name])
                self.assertIs(after.clusters[name], self.first.clusters[name])

    def test_nothing_has_changed(self) -> None:
        """Nothing is made, the table neither, and there are few steps."""
        after, steps = self.load(self.first)
        self.assertEqual((self.planned, self.built), ([], []))
        key = ListenerKey("127.0.0.1", 8080)
        self.assertIs(after.listeners[key].table, self.first.listeners[key].table)
        self.assertLess(steps, 30)

    def test_one_host(self) -> None:
        """It is made anew; the cluster, which means the same, is not, nor is any other."""
        self.write("h7.yaml", self.one("h7", domain="other"))
        after, steps = self.load(self.first)
        self.assertEqual((self.planned, self.built), (["h7"], ["h7"]))
        self.others_are_the_same(after)
        self.assertIs(after.clusters["default/h7"], self.first.clusters["default/h7"])
        table = after.listeners[ListenerKey("127.0.0.1", 8080)].table
        assert table is not None
        self.assertIs(table.choose(b"other.example", None, 8080), after.hosts["default/h7"])
        self.assertIsNone(table.choose(b"h7.example", None, 8080))
        self.assertLess(steps, 30)

    def test_one_cluster_and_one_endpoint(self) -> None:
        """The cluster is another, and so is the host that leads to it."""
        for text in (self.one("h7", timeout=6), self.one("h7", port=81)):
            self.write("h7.yaml", text)
            after, _ = self.load(self.first)
            self.assertEqual((self.planned, self.built), (["h7"], ["h7"]))
            self.others_are_the_same(after)
            self.assertIsNot(after.clusters["default/h7"], self.first.clusters["default/h7"])
            self.assertIs(after.hosts["default/h7"].routes[0].cluster, after.clusters["default/h7"])

    def test_one_that_says_the_same(self) -> None:
        """A file that was only written anew is looked into; everything is taken over."""
        self.write("h7.yaml", self.one("h7") + "# a comment\n")
        after, _ = self.load(self.first)
        self.assertEqual((self.planned, self.built), (["h7"], []))
        self.others_are_the_same(after)
        self.assertIs(after.hosts["default/h7"], self.first.hosts["default/h7"])
        self.assertIs(after.clusters["default/h7"], self.first.clusters["default/h7"])

    def test_one_comes_and_one_goes(self) -> None:
        """The new one is made; nothing else is."""
        (self.folder / "h7.yaml").unlink()
        self.write("hx.yaml", self.one("hx"))
        after, _ = self.load(self.first)
        self.assertEqual((self.planned, self.built), (["hx"], ["hx"]))
        self.others_are_the_same(after)
        self.assertNotIn("default/h7", after.hosts)
        table = after.listeners[ListenerKey("127.0.0.1", 8080)].table
        assert table is not None
        self.assertIs(table.choose(b"hx.example", None, 8080), after.hosts["default/hx"])
        self.assertIsNone(table.choose(b"h7.example", None, 8080))

    def test_what_few_have(self) -> None:
        """What only few hosts have is known of those that are taken over, too, without a look at all of them."""
        quiet = self.one("h7").replace("proxy: HTTP_PROXY", "proxy: HTTP_PROXY, voltgw: {no_access_log: true}")
        self.write("h7.yaml", quiet)
        after, _ = self.load(self.first)
        self.assertEqual((self.first.quiet, after.quiet), (set(), {"default/h7"}))
        self.write("h8.yaml", self.one("h8", timeout=6))
        later, _ = self.load(after)
        self.assertEqual((self.built, later.quiet, later.fetching, later.networks()), (["h8"], {"default/h7"}, [], set()))
        self.write("h7.yaml", self.one("h7"))
        self.assertEqual(self.load(later)[0].quiet, set())

    def test_the_policy_of_all(self) -> None:
        """All hosts are looked at, and taken over on their new listener."""
        self.write("voltgw.yaml", "include: [h*.yaml]\nobjects:\n" + ON_8080.replace("8080", "8081"))
        after, _ = self.load(self.first)
        self.assertEqual((self.planned, self.built), ([], []))
        self.assertEqual([str(key) for key in after.listeners], ["127.0.0.1:8081"])
        self.assertEqual(len(after.listeners[ListenerKey("127.0.0.1", 8081)].hosts), self.HOSTS)
        self.assertIs(after.hosts["default/h7"], self.first.hosts["default/h7"])

    def test_the_gateways_part(self) -> None:
        """Everything is looked into, and taken over where it means the same."""
        self.write("voltgw.yaml", "gateway: {port_map: {8080: 9090}}\ninclude: [h*.yaml]\nobjects:\n" + ON_8080)
        after, _ = self.load(self.first)
        self.assertEqual((len(self.planned), self.built), (self.HOSTS, []))
        self.assertEqual([str(key) for key in after.listeners], ["127.0.0.1:9090"])
        self.assertIs(after.clusters["default/h7"], self.first.clusters["default/h7"])

    def test_again_and_again(self) -> None:
        """Each build takes over from the one before, whoever made what is taken over."""
        made = self.first
        for number in range(5):
            self.write(f"h{number}.yaml", self.one(f"h{number}", timeout=10 + number))
            made, _ = self.load(made)
            made.settle()
            self.assertEqual((self.planned, self.built), ([f"h{number}"], [f"h{number}"]))
        self.assertIs(made.hosts["default/h9"], self.first.hosts["default/h9"])
        self.assertIsNot(made.hosts["default/h0"], self.first.hosts["default/h0"])
