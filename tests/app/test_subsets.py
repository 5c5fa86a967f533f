"""Subsets from configuration to what serves: merged labels, names, and what explain says of them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import cluster, endpoint, host, objects, policy, runtime
from voltgw.app.build import Runtime
from voltgw.app.dry import dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.load import TextLoader, at_once
from voltgw.app.question import read_question
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.subset import Subset
from voltgw.errors import ConfigErrors
from voltgw.observe.decisions import plain_reason, text_of

ON_8080 = policy("p", "address: 127.0.0.1, port: 8080")
ENDPOINTS = "".join(
    endpoint(f"e{number}", f"ip: 192.0.2.{number}, port: 80", f", labels: {{{labels}}}")
    for number, labels in enumerate(("version: '10', tier: a", "version: '11', tier: a", "version: '11', tier: b"), 1))
KEYS = ", endpoint_subsets: [{keys: [version]}, {keys: [version, tier]}]"


def text(rule: str, more: str = KEYS) -> str:
    """One host with one rule, and a cluster of three endpoints."""
    return objects(
        host("shop"), ON_8080, f"- {{kind: route, metadata: {{name: r}}, spec: {{routes: [{{{rule}}}]}}}}\n",
        cluster(endpoints="[e1, e2, e3]", more=more), ENDPOINTS)


def rule(*destinations: str, more: str = "") -> str:
    """A rule that leads to the cluster, with what else is said of each destination."""
    listed = ", ".join(f"{{cluster: [c]{each}}}" for each in destinations)
    return f"route_destination: {{destinations: [{listed}]{more}}}"


def wanted(made: Runtime) -> list[str]:
    """What each destination of the route asks for; "all" = it gets the whole cluster."""
    route = made.hosts["default/shop"].routes[0]
    found = []
    for destination in route.destinations:
        assert isinstance(destination.cluster, (Cluster, Subset))
        found.append(str(destination.cluster.wanted) if isinstance(destination.cluster, Subset) else "all")
    return found


class MergeTests(SynchronousTestCase):
    def test_a_destination_over_its_route(self) -> None:
        """Labels of the route hold for all destinations; where both name a key, the destination's value wins."""
        made = runtime(text(rule(
            ", weight: 1", ', weight: 1, endpoint_subsets: {tier: b}', ', weight: 1, endpoint_subsets: {version: "10"}',
            more=', endpoint_subsets: {version: "11"}')))
        self.assertEqual(wanted(made), ["version=11", "tier=b,version=11", "version=10"])

    def test_nothing_is_asked_for(self) -> None:
        """With key sets the fallback policy decides then, too; without them, and with expressions only, all serve."""
        self.assertEqual(wanted(runtime(text(rule("")))), ["none asked for"])
        self.assertEqual(wanted(runtime(text(rule(""), ""))), ["all"])
        self.assertEqual(wanted(runtime(text(rule(""), ", voltgw: {subset_expressions: {new: version=11}}"))), ["all"])

    def test_by_name(self) -> None:
        """A named expression takes the place of all labels; one that is not there is an error at its place."""
        more = ", voltgw: {subset_expressions: {new: 'version in (11, 12), tier != b'}}"
        asked = rule(", voltgw: {subset: new}", more=', endpoint_subsets: {version: "10"}')
        self.assertEqual(wanted(runtime(text(asked, KEYS + more))), ["new"])
        error = self.assertRaises(ConfigErrors, runtime, text(asked, KEYS))
        self.assertIn("has no subset 'new'", error.problems[0].message)
        self.assertGreater(error.problems[0].place.column, 50)

    def test_high_priority(self) -> None:
        """Routes of high priority have the subset of the cluster's other half."""
        made = runtime(text(rule(', endpoint_subsets: {version: "11"}', more=", priority: HIGH")))
        self.assertEqual(wanted(made), ["version=11"])
        serves = made.hosts["default/shop"].routes[0].cluster
        assert isinstance(serves, Subset)
        self.assertIs(serves.cluster, made.clusters["default/c"].high)

    def test_a_reload(self) -> None:
        """An equal configuration takes the subset over; a relabelled endpoint makes another cluster and another subset."""
        first = runtime(text(rule(', endpoint_subsets: {version: "11"}')))
        again = runtime("# above\n" + text(rule(', endpoint_subsets: {version: "11"}')), first)
        self.assertIs(again.hosts["default/shop"].routes[0].cluster, first.hosts["default/shop"].routes[0].cluster)
        other = runtime(text(rule(', endpoint_subsets: {version: "11"}')).replace("version: '10'", "version: '11'"), first)
        serves = other.hosts["default/shop"].routes[0].cluster
        assert isinstance(serves, Subset)
        self.assertIs(serves.cluster, other.clusters["default/c"])
        self.assertIsNot(serves.cluster, first.clusters["default/c"])


class SchedulerTests(SynchronousTestCase):
    def test_mistakes_have_a_place(self) -> None:
        """A scheduler that nobody has, and an option that it does not have."""
        for more, code, said in (
            (", voltgw: {scheduler: maglov}", "VG0302", "did you mean 'maglev'?"),
            (", voltgw: {scheduler: maglev, scheduler_options: {table_sise: 5}}", "VG0105", "did you mean 'table_size'?"),
        ):
            error = self.assertRaises(ConfigErrors, runtime, text(rule(""), more))
            self.assertEqual([problem.code for problem in error.problems], [code])
            self.assertIn(said, error.problems[0].message)
            self.assertGreater(error.problems[0].place.line, 1)


class WordsTests(SynchronousTestCase):
    def test_explain(self) -> None:
        """Each destination's own endpoints, and why these."""
        made = dry_runtime(at_once(TextLoader(text(rule(
            ', weight: 95, endpoint_subsets: {version: "10"}', ', weight: 5, endpoint_subsets: {version: "11"}')), "voltgw.yaml")))
        explained = Explainer(made).explain(read_question("GET", "http://shop:8080/", (), "", ""))
        said = [step for reason in explained.decisions if reason.about == "action" for step in reason.steps]
        self.assertEqual([[(each.about, each.outcome) for each in step.steps] for step in said], [
            [("subset", "version=10"), ("endpoint 192.0.2.1:80", "100.0%")],
            [("subset", "version=11"), ("endpoint 192.0.2.2:80", "50.0%"), ("endpoint 192.0.2.3:80", "50.0%")]])
        self.assertIn("2 of 3 members are in it", text_of([plain_reason(each) for each in explained.decisions]))
        self.assertEqual(explained.outcome, "forwarded")

    def test_explain_that_nobody_is_left(self) -> None:
        """A request for which there is no fallback is answered 503, and the reason stands there."""
        made = dry_runtime(at_once(TextLoader(text(rule("")), "voltgw.yaml")))
        explained = Explainer(made).explain(read_question("GET", "http://shop:8080/", (), "", ""))
        self.assertEqual((explained.status, explained.flag), (503, "UH"))
        self.assertIn("no labels are asked for, and there is no fallback", text_of([plain_reason(each) for each in explained.decisions]))
