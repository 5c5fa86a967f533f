"""Rules that are never reached, and domains that are never chosen."""

from __future__ import annotations

import time
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import PORT, Clusters, RouteObject, build, prefix, request
from tests.routing.test_table import rule
from voltgw.config.objects.conditions import CookieMatcherType, HeaderMatcherType
from voltgw.config.objects.extensions import MatchExtension, RouteExtension
from voltgw.config.objects.route import (
    HttpMethod,
    PathMatcherType,
    PortMatcherType,
    QueryParameterMatcherType,
    RouteMatch,
    RouteSpec,
    RouteType,
)
from voltgw.config.objects.virtual_host import ProxyType, VirtualHostSpec
from voltgw.config.values import Range
from voltgw.errors import Place, Severity
from voltgw.routing.hosts import HostTable
from voltgw.routing.lint import lint_domains, lint_rules
from voltgw.routing.problems import Placer
from voltgw.routing.route import VirtualHost
from voltgw.routing.table import build_host


def path(**fields: str) -> RouteMatch:
    return RouteMatch(path=PathMatcherType(**fields))


def hidden(*rules: RouteType) -> list[str]:
    """Where problems stand."""
    return [problem.place.file.removeprefix("r.yaml:routes.") for problem in lint_rules(build(*rules))]


def hides(first: RouteMatch, second: RouteMatch, *, segments: bool = False) -> bool:
    """Whether a rule with `first` hides one with `second`."""
    extension = RouteExtension(segment_prefix=segments)
    return bool(hidden(rule(first, voltgw=extension), rule(second, voltgw=extension)))


class PathTests(SynchronousTestCase):
    """Paths alone."""

    def test_prefixes(self) -> None:
        """A byte prefix hides all that begins with it."""
        for second in (path(prefix="/a"), path(prefix="/ab"), path(prefix="/a/b"), path(path="/a"), path(path="/ab"),
                       path(regex="/a/.*"), path(regex="/a[0-9]+"), path(regex="/ab")):
            self.assertTrue(hides(path(prefix="/a"), second), second)
        for second in (path(prefix="/"), path(prefix="/b"), path(path="/"), RouteMatch(), path(regex="/[ab]x"), path(regex=".*")):
            self.assertFalse(hides(path(prefix="/a"), second), second)

    def test_segments(self) -> None:
        """A segment prefix hides what stands at or below it."""
        for second in (path(prefix="/a"), path(prefix="/a/b"), path(path="/a"), path(path="/a/b")):
            self.assertTrue(hides(path(prefix="/a"), second, segments=True), second)
        for second in (path(prefix="/ab"), path(path="/ab"), path(prefix="/"), path(regex="/a.*")):
            self.assertFalse(hides(path(prefix="/a"), second, segments=True), second)

    def test_everything(self) -> None:
        """A rule without conditions, the prefix ``/`` and their like."""
        for first in (RouteMatch(), path(prefix="/")):
            for second in (path(prefix="/a"), path(path="/"), path(regex=".*"), RouteMatch(),
                           RouteMatch(http_method=HttpMethod.GET)):
                self.assertTrue(hides(first, second), (first, second))
        star = RouteMatch(http_method=HttpMethod.OPTIONS)
        self.assertFalse(hides(path(prefix="/"), star))
        self.assertTrue(hides(RouteMatch(), star))

    def test_exact_paths_and_regexes(self) -> None:
        """A regex is tried on whole paths, and known by its text; what it might also match is not guessed."""
        self.assertTrue(hides(path(path="/a"), path(path="/a")))
        self.assertFalse(hides(path(path="/a"), path(path="/ab")))
        self.assertFalse(hides(path(path="/a"), path(prefix="/a")))
        self.assertTrue(hides(path(regex="/[a-c]/.*"), path(path="/b/x")))
        self.assertTrue(hides(path(regex="/[a-c]/.*"), path(regex="/[a-c]/.*")))
        self.assertFalse(hides(path(regex="/[a-c]/.*"), path(prefix="/b/")))
        self.assertTrue(hides(path(regex="/a.*"), path(prefix="/ab")))
        self.assertFalse(hides(path(prefix="/a.*"), path(regex="/a.*")))


class ConditionTests(SynchronousTestCase):
    """Conditions beside the path."""

    def header(self, **fields: object) -> RouteMatch:
        return RouteMatch(headers=(HeaderMatcherType(name="x", **fields),))  # type: ignore[arg-type]  # the caller's fields

    def test_a_condition_more(self) -> None:
        """A narrower rule behind a wider one is never reached; the other way round it is."""
        for narrow in (RouteMatch(http_method=HttpMethod.GET), self.header(exact="1"), self.header(presence=True, invert_match=True),
                       RouteMatch(query_params=(QueryParameterMatcherType(key="q"),)),
                       RouteMatch(incoming_port=PortMatcherType(port=80)),
                       RouteMatch(voltgw=MatchExtension(cookies=(CookieMatcherType(name="c"),)))):
            self.assertTrue(hides(RouteMatch(), narrow), narrow)
            self.assertFalse(hides(narrow, RouteMatch()), narrow)
            self.assertTrue(hides(narrow, narrow), narrow)

    def test_headers(self) -> None:
        """A value implies presence, and every regex that matches it; an inverted condition implies only itself."""
        there, one, two = self.header(presence=True), self.header(exact="1"), self.header(exact="2")
        digit, inverted = self.header(regex="[0-9]"), self.header(exact="1", invert_match=True)
        for first, second, wanted in ((there, one, True), (there, digit, True), (digit, one, True), (one, digit, False),
                                      (one, two, False), (one, there, False), (inverted, two, False), (inverted, inverted, True),
                                      (there, inverted, False), (one, inverted, False),
                                      (one, RouteMatch(headers=(HeaderMatcherType(name="y", exact="1"),)), False)):
            self.assertEqual(hides(first, second), wanted, (first, second))

    def test_ports(self) -> None:
        """A port in a range; ranges are known only as they are written."""
        one, some = PortMatcherType(port=80), PortMatcherType(port_ranges=(Range(80, 90),))
        self.assertTrue(hides(RouteMatch(incoming_port=some), RouteMatch(incoming_port=one)))
        self.assertFalse(hides(RouteMatch(incoming_port=one), RouteMatch(incoming_port=some)))

    def test_all_of_them(self) -> None:
        """Every condition of the wider rule must follow from those of the narrower one."""
        wide = prefix("/a", http_method=HttpMethod.GET)
        self.assertTrue(hides(wide, prefix("/a/b", http_method=HttpMethod.GET, headers=(HeaderMatcherType(name="x"),))))
        self.assertFalse(hides(wide, prefix("/a/b", http_method=HttpMethod.POST)))
        self.assertFalse(hides(wide, prefix("/a/b")))


class RuleTests(SynchronousTestCase):
    """Whole rules and alternatives."""

    def test_the_message(self) -> None:
        """It names the rule that takes the requests, and where both stand."""
        spec = RouteSpec(routes=(rule(prefix("/a")), rule(prefix("/b"))))

        class Lines(RouteObject):
            @property
            def place(self) -> Placer:
                return lambda *steps: Place("r.yaml", 30 + int(steps[1]) if len(steps) > 1 else 1, 5)

        host = build_host("shop", VirtualHostSpec(domains=("*",)), [
            Lines("r", spec), Lines("s", RouteSpec(routes=(rule(prefix("/ax")),)))], Clusters())
        (problem,) = lint_rules(host)
        self.assertEqual((problem.code, problem.severity, problem.place), ("VG0303", Severity.WARNING, Place("r.yaml", 30, 5)))
        self.assertEqual(problem.message, "rule s/0 of virtual_host default/shop is never reached: line 30 (rule r/0) matches "
                         "everything that it does")
        self.assertEqual(problem.related, (("rule r/0 takes its requests", Place("r.yaml", 30, 5)),))

    def test_all_alternatives(self) -> None:
        """A rule is unreachable when each of its alternatives is, by whichever rule; else only those are named."""
        self.assertEqual(hidden(rule(prefix("/a")), rule(prefix("/b")), rule(prefix("/a/x"), prefix("/b/x"))), ["2"])
        self.assertEqual(hidden(rule(prefix("/a")), rule(prefix("/c"), prefix("/a/x"))), ["1.match.1"])
        self.assertEqual(hidden(rule(prefix("/c"), prefix("/a")), rule(prefix("/a/x"))), ["1"])

    def test_alternatives_of_one_rule(self) -> None:
        """They lead to the same place, so one that adds nothing is no problem."""
        self.assertEqual(hidden(rule(prefix("/a"), prefix("/a/b"))), [])

    def test_nothing_to_say(self) -> None:
        """The narrow ones first, then the wide one."""
        self.assertEqual(hidden(rule(path(path="/")), rule(prefix("/a/b")), rule(prefix("/a")), rule()), [])

    def test_kinds_that_relay_connections(self) -> None:
        """Only their first rule counts."""
        host = build(rule(), rule(), spec=VirtualHostSpec(proxy=ProxyType.TCP_PROXY))
        self.assertEqual(len(list(lint_rules(host))), 1)

    _MATCHES = st.sampled_from([
        path(prefix="/"), path(prefix="/a"), path(prefix="/a/"), path(prefix="/ab"), path(path="/a"), path(path="/a/b"),
        path(regex="/a.*"), path(regex="/[ab]"), path(regex="/a/[a-z]+"), RouteMatch(), prefix("/a", http_method=HttpMethod.GET),
        RouteMatch(headers=(HeaderMatcherType(name="x", exact="1"),)), RouteMatch(headers=(HeaderMatcherType(name="x"),)),
        RouteMatch(headers=(HeaderMatcherType(name="x", invert_match=True),))])

    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.tuples(_MATCHES, st.booleans()), min_size=2, max_size=6))
    def test_never_wrong(self, entries: list[tuple[RouteMatch, bool]]) -> None:
        """No request, of many, ever reaches a rule that is said to be unreachable."""
        host = build(*(rule(match, voltgw=RouteExtension(segment_prefix=segments)) for match, segments in entries))
        named = {problem.message.split()[1] for problem in lint_rules(host)}
        for target, method, fields in product(
            (b"/", b"/a", b"/a/", b"/ab", b"/a/b", b"/abc", b"/b", b"/a/bc/d"), (b"GET", b"POST"),
            ((), ((b"x", b"1"),), ((b"x", b"2"),)),
        ):
            route = host.choose(request(target, method=method, fields=fields), PORT)
            self.assertNotIn(route.name if route is not None else "", named)

    def test_a_thousand_rules(self) -> None:
        """They are gone through in little time, told apart by their paths."""
        host = build(*(rule(prefix(f"/{number}/")) for number in range(1000)), rule(prefix("/7/8")))
        began = time.perf_counter()
        self.assertEqual([problem.message.split()[1] for problem in lint_rules(host)], ["r/1000"])
        self.assertLess(time.perf_counter() - began, 0.5)


class DomainTests(SynchronousTestCase):
    """Domains of several hosts on one listener."""

    def never(self, *hosts: tuple[str, ...], port: int = PORT) -> list[str]:
        made = [VirtualHost(f"h{number}", domains=domains, place=Place("h.yaml", number)) for number, domains in enumerate(hosts)]
        return [problem.message.split(" is never")[0]
                for problem in lint_domains(HostTable((host.domains, host) for host in made), port)]

    def test_a_wildcard_inside_a_label(self) -> None:
        """Longer suffixes come first, so no wildcard hides another: each still takes names that the other does not."""
        for other in ("*.shop.example", "*.example", f"*.shop.example:{PORT}", "*u.shop.example", "*x-eu.shop.example"):
            self.assertEqual(self.never(("*-eu.shop.example",), (other, "*", "x-eu.shop.example")), [], other)

    def test_ports(self) -> None:
        """With the listener's port comes before without; another port hides nothing."""
        self.assertEqual(self.never(("a.example",), (f"a.example:{PORT}",)), ["domain a.example of virtual_host default/h0"])
        self.assertEqual(self.never(("*",), (f"*:{PORT}",)), ["domain * of virtual_host default/h0"])
        self.assertEqual(self.never(("a.example",), ("a.example:9",)), [])
        self.assertEqual(self.never(("*-eu.a.example",), (f"*-eu.a.example:{PORT}",)), ["domain *-eu.a.example of virtual_host default/h0"])
        self.assertEqual(self.never(("*-eu.a.example",), ("*-eu.a.example:9",)), [])

    def test_usual_lists(self) -> None:
        """Names, wildcards and a catch-all beside each other are what ranks are for."""
        self.assertEqual(self.never(("a.example", "www.a.example"), ("*.a.example",), ("*.example",), ("*",)), [])

    def test_one_host(self) -> None:
        """What a host hides from itself changes nothing."""
        self.assertEqual(self.never(("*-eu.a.example", "*.a.example", "a.example", f"a.example:{PORT}")), [])

    def test_what_it_says_is_so(self) -> None:
        """The table chooses the other host for names that the domain takes."""
        hosts = [VirtualHost(f"h{number}", domains=(domain,))
                 for number, domain in enumerate(("*-eu.shop.example", f"*-eu.shop.example:{PORT}"))]
        table = HostTable((host.domains, host) for host in hosts)
        self.assertEqual(len(list(lint_domains(table, PORT))), 1)
        for name in (b"x-eu.shop.example", b"a.b-eu.shop.example"):
            self.assertIs(table.choose(name, None, PORT), hosts[1])

    def test_the_place(self) -> None:
        """It is that of the domain."""
        host = build_host("shop", VirtualHostSpec(domains=("a.example", "*-eu.shop.example")), [], Clusters(),
                          place=lambda *steps: Place(f"v.yaml:{'.'.join(map(str, steps))}", 7))
        other = VirtualHost("other", domains=(f"*-eu.shop.example:{PORT}",), place=Place("o.yaml", 3))
        (problem,) = lint_domains(HostTable([(host.domains, host), (other.domains, other)]), PORT)
        self.assertEqual((problem.code, problem.place), ("VG0304", Place("v.yaml:domains.1", 7)))
        self.assertEqual(problem.related, ((f"*-eu.shop.example:{PORT} of default/other", Place("o.yaml", 3)),))
