"""What becomes of a request, and why, by a configuration alone."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config, host, objects, policy, route
from voltgw.app.dry import NOT_ASKED, dry_runtime
from voltgw.app.explain import Explainer, Explanation
from voltgw.app.question import read_question
from voltgw.observe.decisions import text_of
from voltgw.values.reason import Reason

ON_8080 = policy("p", "address: 127.0.0.1, port: 8080")

ROUTES = """\
- kind: route
  metadata: {name: r}
  spec:
    routes:
    - match: [{path: {path: /old}}]
      route_redirect: {path_redirect: /new}
    - match: [{path: {prefix: /api/}, headers: [{name: x-canary, exact: always}]}]
      route_destination: {destinations: [{cluster: [canary]}], prefix_rewrite: /v2/, host_rewrite: inner.example, timeout: 3s}
      request_headers_to_add: [{name: x-seen, value: gateway}]
      request_headers_to_remove: [x-canary]
      response_headers_to_add: [{name: x-served, value: canary}]
    - match: [{path: {prefix: /api/}}]
      route_destination:
        destinations: [{cluster: [main], weight: 3}, {cluster: [canary], weight: 1}, {cluster: [idle], weight: 0}]
    - match: [{path: {prefix: /empty}}]
      route_destination: {destinations: [{cluster: [nobody]}]}
"""

CLUSTERS = """\
- {kind: cluster, metadata: {name: main}, spec: {endpoints: [a, b, off], connection_timeout: 700ms}}
- {kind: cluster, metadata: {name: canary}, spec: {endpoints: [c]}}
- {kind: cluster, metadata: {name: idle}, spec: {endpoints: [c]}}
- {kind: cluster, metadata: {name: nobody}, spec: {endpoints: []}}
- {kind: endpoint, metadata: {name: a}, spec: {ip: 10.0.0.1, port: 80}}
- {kind: endpoint, metadata: {name: b}, spec: {ip: 10.0.0.2, port: 80, voltgw: {weight: 3}}}
- {kind: endpoint, metadata: {name: off}, spec: {ip: 10.0.0.3, port: 80, voltgw: {weight: 0}}}
- {kind: endpoint, metadata: {name: c}, spec: {dns_name: canary.internal, port: 8000}}
"""

SHOP = objects(host("shop", domains='[shop.example, "*.shop.example"]'), host("rest", domains='["*.example"]'), ON_8080,
               ROUTES, CLUSTERS)


def steps(reason: Reason) -> list[tuple[str, str]]:
    """What was looked at on the way, and what came out."""
    return [(step.about, step.outcome) for step in reason.steps]


class ExplainCase(SynchronousTestCase):
    text = SHOP

    def setUp(self) -> None:
        self.runtime = dry_runtime(config(self.text))

    def ask(
        self, method: str, url: str, *headers: str, source: str = "", listener: str = "",
    ) -> Explanation:
        """The explanation of one request."""
        return Explainer(self.runtime).explain(read_question(method, url, headers, source, listener))

    def step(self, explanation: Explanation, about: str) -> Reason:
        """The decision about something."""
        found = [reason for reason in explanation.decisions if reason.about == about]
        self.assertEqual(len(found), 1, f"{about} in {[reason.about for reason in explanation.decisions]}")
        return found[0]


class RouteTests(ExplainCase):
    def test_every_rule_up_to_the_one_that_matches(self) -> None:
        """Each rule that was tried says why not, with its place; those behind the first match were not tried."""
        chosen = self.step(self.ask("GET", "http://shop.example:8080/api/x"), "route")
        self.assertEqual(chosen.outcome, "r/2")
        self.assertEqual(steps(chosen), [("rule r/0", "does not match"), ("rule r/1", "does not match"), ("rule r/2", "matches")])
        self.assertIn("x-canary", chosen.steps[1].why)
        self.assertEqual([step.place.line if step.place is not None else 0 for step in chosen.steps],
                         [number for number, line in enumerate(self.text.splitlines(), 1) if line.startswith("    - match")][:3])

    def test_no_rule_matches(self) -> None:
        """The gateway's own 404 is told, with its flag."""
        explanation = self.ask("GET", "http://shop.example:8080/nothing")
        self.assertEqual((explanation.outcome, explanation.status, explanation.flag), ("answered", 404, "NR"))
        self.assertEqual(self.step(explanation, "route").outcome, "none")
        self.assertEqual(explanation.virtual_host, "default/shop")

    def test_a_target_that_is_not_in_its_normal_form(self) -> None:
        """The normal form is what is matched, and the explanation says so."""
        explanation = self.ask("GET", "http://shop.example:8080/x/../api/%7Ea")
        self.assertEqual(explanation.target, "/api/~a")
        self.assertEqual(steps(self.step(explanation, "request")), [("target", "/api/~a")])

    def test_a_request_that_is_refused(self) -> None:
        """What the codec refuses gets its status, and no route is spoken of."""
        explanation = self.ask("GET", "http://shop.example:8080/%00")
        self.assertEqual((explanation.outcome, explanation.status, explanation.flag), ("answered", 400, "DPE"))
        self.assertEqual(self.step(explanation, "request").outcome, "refused 400")
        self.assertEqual(explanation.virtual_host, "")

    def test_a_redirect(self) -> None:
        """The answer of a route is told with its fields."""
        explanation = self.ask("GET", "http://shop.example:8080/old?x=1")
        self.assertEqual((explanation.outcome, explanation.status, explanation.sent), ("answered", 301, None))
        assert explanation.told is not None
        self.assertEqual(explanation.told.get("location"), "http://shop.example:8080/new?x=1")


class HostTests(ExplainCase):
    def test_every_domain_that_would_do(self) -> None:
        """The best one takes the name; the others are told with the reason why they come behind."""
        reason = self.step(self.ask("GET", "http://a.shop.example:8080/"), "virtual host")
        self.assertEqual(reason.outcome, "default/shop")
        self.assertEqual([(step.about, step.outcome, step.why) for step in reason.steps],
                         [("domain '*.example'", "not default/rest", "the other suffix is longer")])

    def test_nobody_takes_the_name(self) -> None:
        """404, and a domain that looks like it is pointed at."""
        explanation = self.ask("GET", "http://shop.exampl:8080/")
        self.assertEqual((explanation.status, explanation.virtual_host), (404, ""))
        self.assertIn("shop.example", self.step(explanation, "virtual host").why.partition(";")[2])


class SuffixTests(ExplainCase):
    text = objects(host("part", domains='["*-x.shop.example"]'), host("whole", domains='["*.shop.example", "*"]'),
                   host("longest", domains='["*.a-x.shop.example:81"]'), ON_8080, ROUTES, CLUSTERS)

    def test_wildcards_inside_a_label(self) -> None:
        """Of all wildcards the longest takes the name, whether it ends at a label or inside one; others say why they do not."""
        reason = self.step(self.ask("GET", "http://b.a-x.shop.example:8080/"), "virtual host")
        self.assertEqual(reason.outcome, "default/part")
        self.assertEqual([(step.about, step.why) for step in reason.steps],
                         [("domain '*.shop.example'", "the other suffix is longer"), ("domain '*'", "a suffix comes before it"),
                          ("domain '*.a-x.shop.example:81'", "it is for port 81 alone")])


class PortTests(ExplainCase):
    text = objects(host("a", domains='["shop.example:81", "*"]'), host("b", domains='["shop.example:82"]'), ON_8080, ROUTES, CLUSTERS)

    def test_a_domain_of_another_port(self) -> None:
        """A domain that names another port than the request's is no candidate, and that is said."""
        reason = self.step(self.ask("GET", "http://x.example:8080/", "Host: shop.example:81"), "virtual host")
        self.assertEqual(reason.outcome, "default/a")
        self.assertEqual([(step.about, step.why) for step in reason.steps],
                         [("domain '*'", "an exact name comes before it"),
                          ("domain 'shop.example:82'", "it is for port 82 alone")])


class ListenerTests(ExplainCase):
    text = objects(
        host("a", domains="[a.example]"), host("b", "[q]", domains="[b.example]"), host("db", "[t]", "[d]", proxy="TCP_PROXY"), route("d", "main"),
        ON_8080, policy("q", "address: 127.0.0.2, port: 8080"), policy("t", "address: 127.0.0.1, port: 5432"), ROUTES, CLUSTERS,
        gateway="port_map: {5432: 15432}")

    def test_the_urls_address(self) -> None:
        """An address in the URL is the listener's."""
        self.assertEqual(self.ask("GET", "http://127.0.0.2:8080/").listener, "127.0.0.2:8080")

    def test_the_one_whose_host_takes_the_name(self) -> None:
        """Of two on one port, the one that knows the name is taken, and the other is pointed at."""
        explanation = self.ask("GET", "http://b.example:8080/")
        self.assertEqual(explanation.listener, "127.0.0.2:8080")
        self.assertEqual(steps(self.step(explanation, "listener")), [("listener 127.0.0.1:8080", "not looked at")])

    def test_the_one_that_was_asked_for(self) -> None:
        """--listener decides, whatever the URL says."""
        explanation = self.ask("GET", "http://b.example/", listener="127.0.0.1:8080")
        self.assertEqual((explanation.listener, explanation.status), ("127.0.0.1:8080", 404))

    def test_there_is_none(self) -> None:
        """A port on which nothing listens is told, with those that do."""
        for explanation in (self.ask("GET", "http://a.example:81/"), self.ask("GET", "http://a.example/", listener="8081")):
            self.assertEqual(explanation.outcome, "no listener")
            self.assertIn("127.0.0.1:8080 (HTTP_PROXY)", explanation.decisions[0].why)

    def test_https_does_not_come_to_a_plain_listener(self) -> None:
        """A listener that speaks plain HTTP is no answer to an https URL."""
        self.assertEqual(self.ask("GET", "https://a.example:8080/").outcome, "no listener")

    def test_a_relayed_connection(self) -> None:
        """A TCP listener goes by its first rule; the port that is really bound is said."""
        explanation = self.ask("-", "tcp://127.0.0.1:5432")
        self.assertEqual((explanation.outcome, explanation.listener, explanation.route), ("relayed", "127.0.0.1:15432", "d/0"))
        self.assertIn("port_map", self.step(explanation, "listener").why)
        self.assertEqual(steps(self.step(explanation, "timeouts")), [("connect", "700ms"), ("silence", "1h")])


class SentTests(ExplainCase):
    def test_what_the_endpoint_gets(self) -> None:
        """Rewritten target and Host, edits of the route, and the fields about the client."""
        explanation = self.ask("GET", "http://shop.example:8080/api/a?b", "X-Canary: always", "Accept: */*",
                               source="203.0.113.9")
        self.assertEqual(explanation.outcome, "forwarded")
        assert explanation.sent is not None
        self.assertEqual(explanation.sent.start, "GET /v2/a?b HTTP/1.1")
        self.assertEqual([field for field in explanation.sent.fields if field[0] != "x-request-id"], [
            ("host", "inner.example"), ("accept", "*/*"), ("x-seen", "gateway"), ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "http"), ("x-real-ip", "203.0.113.9"), ("x-forwarded-host", "shop.example:8080")])

    def test_what_the_filters_do(self) -> None:
        """Each filter that runs says what it edits, in both directions."""
        explanation = self.ask("GET", "http://shop.example:8080/api/a", "X-Canary: always")
        request, = self.step(explanation, "request filters").steps
        self.assertEqual((request.outcome, [step.outcome for step in request.steps]),
                         ("edits", ["takes out x-canary: always", "puts in x-seen: gateway"]))
        response, = self.step(explanation, "response filters").steps
        self.assertEqual([step.outcome for step in response.steps], ["puts in x-served: canary"])

    def test_secrets_are_not_shown(self) -> None:
        """The endpoint gets them; the words do not."""
        explanation = self.ask("GET", "http://shop.example:8080/api/a", "Authorization: Basic aGVsbG8=", "Cookie: sid=12345")
        assert explanation.sent is not None
        self.assertEqual(explanation.sent.get("authorization"), "Basic aGVsbG8=")
        for text in (text_of(explanation.plain()["decisions"]), str(explanation.plain())):
            self.assertNotIn("aGVsbG8", text)
            self.assertNotIn("12345", text)

    def test_a_body_that_is_announced(self) -> None:
        """A request with a body is carried to its end; its framing is what the endpoint gets."""
        explanation = self.ask("POST", "http://shop.example:8080/api/a", "Content-Length: 10")
        assert explanation.sent is not None
        self.assertEqual(explanation.sent.get("content-length"), "10")
        chunked = self.ask("POST", "http://shop.example:8080/api/a", "Transfer-Encoding: chunked").sent
        assert chunked is not None
        self.assertEqual(chunked.get("transfer-encoding"), "chunked")


class ClusterTests(ExplainCase):
    def test_shares(self) -> None:
        """Each destination has its part of the requests; none is called the cluster where there are several."""
        explanation = self.ask("GET", "http://shop.example:8080/api/x")
        self.assertEqual(explanation.shares, {"default/main": 0.75, "default/canary": 0.25, "default/idle": 0.0})
        self.assertEqual(explanation.cluster, "")
        self.assertEqual(steps(self.step(explanation, "action")), [
            ("cluster default/main", "75.0%"), ("cluster default/canary", "25.0%"), ("cluster default/idle", "0.0%")])

    def test_endpoints(self) -> None:
        """Candidates with their probability; nobody was asked whether they are well, and names are not looked up."""
        action = self.step(self.ask("GET", "http://shop.example:8080/api/x"), "action")
        self.assertEqual([(step.about, step.outcome, step.why) for step in action.steps[0].steps], [
            ("endpoint 10.0.0.1:80", "25.0%", NOT_ASKED), ("endpoint 10.0.0.2:80", "75.0%", f"weight 3, {NOT_ASKED}"),
            ("endpoint 10.0.0.3:80", "0.0%", "its weight is 0")])
        self.assertEqual(steps(action.steps[1]), [("endpoint canary.internal:8000", "100.0%")])

    def test_a_cluster_without_endpoints(self) -> None:
        """The answer is the one that the gateway would give: 503, no healthy endpoint."""
        explanation = self.ask("GET", "http://shop.example:8080/empty")
        self.assertEqual((explanation.status, explanation.flag, explanation.cluster), (503, "UH", "default/nobody"))
        self.assertEqual(steps(self.step(explanation, "action").steps[0]), [("endpoints", "none")])

    def test_timeouts_and_retries(self) -> None:
        """The bounds that hold, and what a failure is followed by."""
        explanation = self.ask("POST", "http://shop.example:8080/api/x")
        self.assertIn(("connect", "700ms"), steps(self.step(explanation, "timeouts")))
        retries = dict(steps(self.step(explanation, "retries")))
        self.assertEqual((retries["connection fails"], retries["reused connection closes"]), ("1 more try", "no"))
        canary = self.ask("GET", "http://shop.example:8080/api/x", "x-canary: always")
        self.assertIn(("whole answer", "3s"), steps(self.step(canary, "timeouts")))
        retries = dict(steps(self.step(canary, "retries")))
        self.assertEqual(retries["reused connection closes"], "once more")
        self.assertEqual(self.step(canary, "retries").steps[0].why, "but there is no other endpoint")


FEATURES = objects(
    host("shop", more=", voltgw: {fault: {abort: {percent: 50, status: 503}}}"), host("broken", "[q]"),
    ON_8080, policy("q", "address: 127.0.0.1, port: 8081"), """\
- kind: route
  metadata: {name: r}
  spec:
    routes:
    - match: [{path: {prefix: /sticky}}]
      route_destination:
        destinations: [{cluster: [main], weight: 1}, {cluster: [canary], weight: 1}]
        voltgw: {sticky: {header: x-user}}
    - match: [{path: {prefix: /retry}}]
      route_destination:
        destinations: [{cluster: [main]}]
        retry_policy: {retry_condition: [5xx, connect-failure], num_retries: 3, per_try_timeout: 500}
        mirror_policy: {cluster: [canary]}
        buffer_policy: {max_request_bytes: 1000}
      voltgw: {retry_grpc: [unavailable]}
    - match: [{path: {prefix: /abort}}]
      route_destination: {destinations: [{cluster: [main]}]}
      voltgw: {fault: {abort: {status: 418}}}
    - match: [{path: {prefix: /delay}}]
      route_destination: {destinations: [{cluster: [main]}]}
      voltgw: {fault: {delay: {duration: 2s}}}
    - match: [{path: {prefix: /cors}}]
      route_destination:
        destinations: [{cluster: [main]}]
        cors_policy: {allow_origin: ["https://app.example"], allow_methods: "PUT"}
""", CLUSTERS)


class FeatureTests(ExplainCase):
    text = FEATURES

    def test_a_share_of_faults_is_not_told_as_what_happens(self) -> None:
        """A fault that hits half of the requests is named; what is shown is what becomes of the others."""
        explanation = self.ask("GET", "http://shop.example:8080/sticky")
        self.assertEqual(explanation.outcome, "forwarded")
        self.assertIn("fault", [step.about for step in self.step(explanation, "filters").steps])

    def test_a_fault_that_hits_every_request(self) -> None:
        """It is what happens; the filter behind which nothing follows is the last one."""
        explanation = self.ask("GET", "http://shop.example:8080/abort")
        self.assertEqual((explanation.outcome, explanation.status, explanation.flag), ("answered", 418, "FI"))
        self.assertEqual(self.step(explanation, "request filters").steps[-1].outcome, "answers 418")

    def test_a_delay(self) -> None:
        """The wait is told, and what follows it."""
        explanation = self.ask("GET", "http://shop.example:8080/delay")
        self.assertEqual(self.step(explanation, "request filters").steps[0].outcome, "waits 2 s")
        self.assertEqual((explanation.outcome, self.step(explanation, "wait").outcome), ("forwarded", "2s"))

    def test_a_preflight_is_answered(self) -> None:
        """A filter's own answer ends it."""
        explanation = self.ask("OPTIONS", "http://shop.example:8080/cors", "Origin: https://app.example",
                               "Access-Control-Request-Method: PUT")
        self.assertEqual(explanation.outcome, "answered")
        assert explanation.told is not None
        self.assertEqual(explanation.told.get("access-control-allow-origin"), "https://app.example")

    def test_a_user_that_stays(self) -> None:
        """With an identity the destination is determined, and the endpoint gets the request there; without, it is not."""
        found = {self.ask("GET", "http://shop.example:8080/sticky", f"x-user: {user}").cluster for user in range(20)}
        self.assertEqual(found, {"default/main", "default/canary"})
        explanation = self.ask("GET", "http://shop.example:8080/sticky", "x-user: 1")
        self.assertIn(explanation.cluster, self.step(explanation, "request sent").why)
        self.assertEqual(self.ask("GET", "http://shop.example:8080/sticky").cluster, "")

    def test_retries_by_a_policy(self) -> None:
        """Each condition with its tries; those that a method does not allow say so."""
        explanation = self.ask("GET", "http://shop.example:8080/retry")
        steps_of_get = dict(steps(self.step(explanation, "retries")))
        self.assertEqual((steps_of_get["5xx"], steps_of_get["connect-failure"]), ("3 more tries", "3 more tries"))
        self.assertIn(("each try", "500ms"), steps(self.step(explanation, "timeouts")))
        post = dict(steps(self.step(self.ask("POST", "http://shop.example:8080/retry", "Content-Length: 3"), "retries")))
        self.assertEqual((post["5xx"], post["connect-failure"], post["unavailable"]), ("no", "3 more tries", "3 more tries"))

    def test_copies_bodies_and_upgrades(self) -> None:
        """What else is said of forwarding stands before what is sent."""
        explanation = self.ask("GET", "http://shop.example:8080/retry", "Connection: upgrade", "Upgrade: websocket")
        self.assertIn("default/canary", self.step(explanation, "copies").why)
        self.assertEqual(self.step(explanation, "body").outcome, "read whole first")
        self.assertEqual(self.step(explanation, "upgrade").outcome, "not passed on")

    def test_an_extension(self) -> None:
        """A filter of somebody else's is named and not run, unless it says that it may be."""
        calls: list[str] = []

        class Theirs:
            """A filter that keeps count."""

            name = "theirs"
            runs_dry = False

            def request(self, exchange: object) -> None:
                calls.append("asked")

        route_object = self.runtime.hosts["default/broken"].routes[0]
        route_object.request_filters = (Theirs().request,)
        explanation = self.ask("GET", "http://shop.example:8081/sticky")
        self.assertEqual((steps(self.step(explanation, "request filters")), calls), ([("theirs", "not run")], []))
        Theirs.runs_dry = True
        explanation = self.ask("GET", "http://shop.example:8081/sticky")
        self.assertEqual((steps(self.step(explanation, "request filters")), calls), ([("theirs", "lets it pass")], ["asked"]))

    def test_a_filter_that_fails(self) -> None:
        """The explanation says so instead of failing itself."""
        def fail(exchange: object) -> None:
            raise RuntimeError("a bug")

        fail.runs_dry = True        # type: ignore[attr-defined]
        self.runtime.hosts["default/broken"].routes[0].request_filters = (fail,)
        explanation = self.ask("GET", "http://shop.example:8081/sticky")
        self.assertEqual(self.step(explanation, "outcome").why, "RuntimeError: a bug")


class NothingChangesTests(ExplainCase):
    def test_asking_moves_nothing(self) -> None:
        """No counter, no turn of a scheduler, no pool: the second answer is the first, and the runtime is untouched."""
        first = self.ask("GET", "http://shop.example:8080/api/x").plain()
        clusters = list(self.runtime.clusters.values())
        picks = [each.pick for each in clusters]
        self.assertEqual(self.ask("GET", "http://shop.example:8080/api/x").plain(), first)
        self.assertEqual([each.pick for each in clusters], picks)
        for each in clusters:
            self.assertEqual((each.active, each.pending, each.connections, each.counters.requests, each.counters.connects),
                             (0, 0, 0, 0, 0))
            for endpoint in each.endpoints:
                self.assertEqual((endpoint.requests, endpoint.active, len(endpoint.pool)), (0, 0, 0))
        for virtual_host in self.runtime.hosts.values():
            for each_route in virtual_host.routes:
                self.assertEqual(sum(each_route.counters.status), 0)
        cluster = self.runtime.clusters["default/main"]
        turn = [str(cluster.pick(None)) for _ in range(8)]
        self.ask("GET", "http://shop.example:8080/api/x")
        self.assertEqual([str(cluster.pick(None)) for _ in range(8)], turn)

    def test_text(self) -> None:
        """Neighbours stand in columns, what led to a decision stands below it, and the place stands at the end of a line."""
        lines = text_of(self.ask("GET", "http://shop.example:8080/api/x").plain()["decisions"]).splitlines()
        at = next(number for number, line in enumerate(lines) if line.startswith("route"))
        self.assertRegex(lines[at], r"^route +r/2 +the first rule that matches; 1 behind it was not tried  \[voltgw.yaml:\d+:7\]$")
        self.assertRegex(lines[at + 1], r"^  rule r/0  does not match  it is not so that the path is /old  \[voltgw.yaml:\d+:7\]$")
        self.assertEqual(lines[at + 1].index("does not match"), lines[at + 3].index("matches"))
