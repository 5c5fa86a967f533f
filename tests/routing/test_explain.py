"""Why a request goes where it goes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import PORT, Clusters, build, prefix, request
from tests.routing.test_table import rule, to
from voltgw.config.objects.route import HeaderMatcherType, HttpMethod, RouteDirectResponse, RouteMatch, RouteType
from voltgw.config.objects.virtual_host import VirtualHostSpec
from voltgw.routing.explain import explain
from voltgw.routing.hosts import HostTable
from voltgw.routing.table import VirtualHost
from voltgw.values.reason import Reason


def lines(reason: Reason, depth: int = 0) -> list[str]:
    """A reason and its steps as indented lines."""
    text = f"{'  ' * depth}{reason.about}: {reason.outcome}" + (f" ({reason.why})" if reason.why else "")
    return [text, *(line for step in reason.steps for line in lines(step, depth + 1))]


class ExplainTests(SynchronousTestCase):
    """`explain`."""

    def setUp(self) -> None:
        self.clusters = Clusters("gone")
        self.host = build(
            rule(prefix("/api", http_method=HttpMethod.POST),
                 RouteMatch(headers=(HeaderMatcherType(name="authorization", exact="s3cret"),))),
            rule(prefix("/admin")),
            rule(prefix("/"), to_=to("a=3", "b=1", "gone=1", "zero=0", retract_cluster=True)),
            RouteType(route_direct_response=RouteDirectResponse(response_code=404)),
            clusters=self.clusters)
        self.table = HostTable([(["shop.example", "*.example:8080"], self.host), (["*"], VirtualHost("rest"))])

    def test_the_whole_story(self) -> None:
        """The host and its domain, each rule with why not, the one that matches, each destination's share; no secrets."""
        self.assertEqual(lines(explain(self.table, request(b"/api/x"), PORT)), [
            "GET shop.example/api/x: r/2 (the first rule that matches; 1 behind it was not tried)",
            "  virtual host: default/shop ('shop.example' is the name: domain 'shop.example')",
            "  route: r/2 (the first rule that matches; 1 behind it was not tried)",
            "    rule r/0: does not match (none of its alternatives holds)",
            "      match 0: does not hold (it is not so that the method is POST)",
            "      match 1: does not hold (it is not so that header authorization is the wanted one)",
            "    rule r/1: does not match (it is not so that the path begins with /admin)",
            "    rule r/2: matches (the path begins with /)",
            "    action: forward",
            "      cluster default/a: 75.0% (weight 3)",
            "      cluster default/b: 25.0% (weight 1)",
            "      cluster default/gone: 0.0% (the cluster does not exist: requests are answered 503)",
            "      cluster default/zero: 0.0% (its weight is 0)",
        ])

    def test_health_moves_the_shares(self) -> None:
        """A cluster that is down shows why it gets nothing."""
        self.clusters.made["default/a"].any_ready = False
        text = "\n".join(lines(explain(self.table, request(b"/"), PORT)))
        self.assertIn("cluster default/a: 0.0% (it has no endpoint that may be used)", text)
        self.assertIn("cluster default/b: 100.0% (weight 1)", text)

    def test_wildcards_and_ports(self) -> None:
        """The reason names the domain that won."""
        for head, wanted in ((request(host=b"a.example"), "domain '*.example:8080', for this port"),
                             (request(host=b"a.example", port=80), "domain '*' takes any name")):
            self.assertIn(wanted, explain(self.table, head, PORT).steps[0].why)

    def test_no_host(self) -> None:
        """Without a virtual host there is no route to look for."""
        reason = explain(HostTable([(["a.example"], self.host)]), request(), PORT)
        self.assertEqual((reason.outcome, len(reason.steps)), ("no virtual host", 1))
        self.assertIn("'shop.example'", reason.why)

    def test_no_route(self) -> None:
        """Without a route every rule says why not."""
        host = build(rule(prefix("/a")), rule(prefix("/b")))
        reason = explain(HostTable([(["*"], host)]), request(b"/c"), PORT)
        self.assertEqual((reason.outcome, reason.why), ("no route", "none of the 2 rules matches"))
        self.assertEqual([step.outcome for step in reason.steps[1].steps], ["does not match"] * 2)

    def test_answers(self) -> None:
        """A route that answers itself says so."""
        host = build(RouteType(route_direct_response=RouteDirectResponse()))
        reason = explain(HostTable([(["*"], host)]), request(), PORT)
        self.assertEqual(reason.steps[1].steps[-1].outcome, "an answer of our own")

    def test_paths_as_written(self) -> None:
        """A host that takes paths as written is explained by them."""
        host = build(rule(prefix("/a/..")), rule(), spec=VirtualHostSpec(domains=("*",), disable_path_normalize=True))
        self.assertEqual(explain(HostTable([(["*"], host)]), request(b"/a/../b"), PORT).outcome, "r/0")

    def test_it_agrees_with_the_data_plane(self) -> None:
        """What is explained is what is done."""
        for head in (request(b"/api", method=b"POST"), request(b"/admin"), request(b"/x"), request(b"*", method=b"OPTIONS"),
                     request(b"/y", fields=[(b"authorization", b"s3cret")])):
            route = self.host.choose(head, PORT)
            assert route is not None
            self.assertEqual(explain(self.table, head, PORT).outcome, route.name)
