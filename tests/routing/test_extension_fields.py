"""What stands under ``voltgw:`` in virtual hosts and routes, from the text of a file to what serves."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import lines, loaded, problems
from tests.routing.support import PORT, Clusters, chosen, request
from voltgw.routing.problems import BuildErrors
from voltgw.routing.route import VirtualHost
from voltgw.routing.table import build_host

HOST = """
    kind: virtual_host
    metadata: {{name: shop}}
    spec: {{domains: ["*"], routes: [r], {}}}
    """
RULE = """
    kind: route
    metadata: {{name: r}}
    spec: {{routes: [{{{}}}]}}
    """
DESTINATIONS = "route_destination: {{destinations: [{{cluster: a}}, {{cluster: b}}]{}}}".format


def built(host: str = "", rule: str = "") -> VirtualHost:
    """The host of a file with these fields, at its places."""
    config = loaded(HOST.format(host or "no_challenge: {}") + "---" + RULE.format(rule or DESTINATIONS("")))
    (host_object,) = config.of("virtual_host").values()
    (route_object,) = config.of("route").values()
    return build_host("shop", host_object.spec, [route_object], Clusters(), place=host_object.place)


def found(host: str = "", rule: str = "") -> list[str]:
    """What reading such a file finds wrong."""
    references = ("VG0107", "VG0207", "VG0211")     # the clusters are not there, which is beside the point here
    texts = problems(HOST.format(host)) if host else problems(RULE.format(rule))
    return lines(tuple(problem for problem in texts if problem.code not in references))


class ReadingTests(SynchronousTestCase):
    """From text to routes."""

    def test_fault(self) -> None:
        """Durations and shares in the units of the file."""
        host = built("voltgw: {fault: {delay: {duration: 250ms, percent: 12.5}, abort: {status: 503}}}")
        self.assertEqual([label.name for label in host.routes[0].filters], ["fault"])
        self.assertEqual(len(host.routes[0].request_filters), 2)

    def test_sticky(self) -> None:
        """On the list of destinations."""
        sticky = built(rule=DESTINATIONS(", voltgw: {sticky: {cookie: user}}")).routes[0].sticky
        assert sticky is not None
        self.assertEqual(sticky.text, "cookie user")

    def test_cookies(self) -> None:
        """In a match."""
        host = built(rule="match: [{voltgw: {cookies: [{name: user, exact: bob}]}}], " + DESTINATIONS(""))
        self.assertEqual(chosen(host, request(fields=[(b"cookie", b"user=bob")])), "r/0")
        self.assertIsNone(host.choose(request(), PORT))

    def test_retries(self) -> None:
        """What is allowed beyond the policy."""
        plan = built("retry_policy: {retry_condition: [5xx]}, voltgw: {retry_non_idempotent: true}").routes[0].retry
        assert plan is not None
        self.assertTrue(plan.non_idempotent)

    def test_encodings(self) -> None:
        """gzip alone needs nothing."""
        host = built("compression_params: {voltgw: {encodings: [gzip]}}")
        self.assertEqual(len(host.routes[0].response_filters), 1)

    def test_policies_are_acted_on(self) -> None:
        """None of the fields that filters act on is warned of any more."""
        for text in ("cors_policy: {allow_origin: [https://a.example]}", "csrf_policy: {all_load_balancer_domains: {}}",
                     "csrf_policy: {custom_domain_list: {domains: [a.example]}}", "compression_params: {}",
                     "request_cookies_to_add: [{name: a, value: b}]", "request_cookies_to_remove: [a]",
                     "response_cookies_to_add: [{name: a, value: b, add_secure: {}}]", "response_cookies_to_remove: [a]"):
            self.assertEqual(found(text), [], text)
        self.assertEqual(found(rule=DESTINATIONS(", hash_policy: [{source_ip: true}], cors_policy: {}")), [])

    def test_mistakes_of_values(self) -> None:
        """Each with its place and a hint where there is one."""
        for text, wanted in (
            ("fault: {}", "a fault needs `delay` or `abort`"), ("fault: {abort: {}}", '"status" is missing here: Status of the answer.'),
            ("fault: {abort: {status: 99}}", "99 is outside 200 to 599"), ("fault: {delay: {percent: 101, duration: 1}}", "101 is outside 0 to 100"),
            ("filters: [{options: {}}]", '"name" is missing here: The name that the package declares.'), ("fautl: {}", 'unknown field "fautl"'),
        ):
            (line,) = found(f"voltgw: {{{text}}}")
            self.assertIn(wanted, line)
        (line,) = found(rule=DESTINATIONS(", voltgw: {sticky: {}}"))
        self.assertIn("sticky needs `cookie` or `header`", line)
        (line,) = found(rule=DESTINATIONS(", voltgw: {sticky: {cookie: 'a b'}}"))
        self.assertIn("'a b' is not the name of a cookie", line)

    def test_the_place_of_a_filter_that_nobody_has(self) -> None:
        """Its line and column, so that an editor can go there."""
        error = self.assertRaises(BuildErrors, built, "voltgw: {filters: [{name: nobody}]}")
        self.assertEqual(lines(error.problems), [
            "3:63 VG0302 voltgw.filters: there is no 'nobody'; there are: none"])
        error = self.assertRaises(BuildErrors, built, "", "voltgw: {filters: [{name: nobody}]}, " + DESTINATIONS(""))
        self.assertEqual([problem.place.line for problem in error.problems], [7])
