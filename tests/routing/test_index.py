"""The fast way to the first rule that matches finds what trying every rule in order finds."""

from __future__ import annotations

from timeit import timeit
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import PORT, request
from voltgw.config.objects.route import (
    HeaderMatcherType,
    HttpMethod,
    PathMatcherType,
    PortMatcherType,
    QueryParameterMatcherType,
    RouteMatch,
)
from voltgw.routing import index
from voltgw.routing.index import Index
from voltgw.routing.match import EVERYTHING, Clause, compile_match
from voltgw.routing.table import Route, VirtualHost
from voltgw.values.head import RequestHead

HOST = VirtualHost("h")


def clauses(*matches: RouteMatch, segments: bool = False) -> list[tuple[Clause, Route]]:
    """Each match with a route of its own, named by its number."""
    return [(compile_match(match, segments=segments), Route(HOST, str(n))) for n, match in enumerate(matches)]


def one_by_one(listed: list[tuple[Clause, Route]], head: RequestHead, port: int) -> Route | None:
    """First match wins, tried one after the other."""
    return next((route for clause, route in listed if clause.holds(head, port)), None)


_WORDS = st.lists(st.sampled_from(["/", "a", "b", "/a", "/b/", "ab"]), max_size=5).map(lambda parts: "/" + "".join(parts))
_PATHS = st.one_of(
    st.none(),
    _WORDS.map(lambda text: PathMatcherType(prefix=text)),
    _WORDS.map(lambda text: PathMatcherType(path=text)),
    st.tuples(_WORDS, st.sampled_from([".*", "[ab]+", "(a|/b)?", "", ".*b"])).map(lambda t: PathMatcherType(regex="".join(t))),
    st.sampled_from([PathMatcherType(regex=".*"), PathMatcherType(regex=".*a"), PathMatcherType(path="*")]),
)
_MATCHES = st.builds(
    RouteMatch, path=_PATHS,
    headers=st.sampled_from([
        (), (), (), (HeaderMatcherType(name="x", exact="1"),), (HeaderMatcherType(name="x", invert_match=True),)]),
    query_params=st.sampled_from([(), (), (), (QueryParameterMatcherType(key="q"),)]),
    http_method=st.sampled_from([HttpMethod.ANY, HttpMethod.ANY, HttpMethod.GET, HttpMethod.POST]),
    incoming_port=st.sampled_from([None, None, PortMatcherType(port=PORT)]),
)
_LISTED = st.lists(st.tuples(_MATCHES, st.booleans()), max_size=12).map(
    lambda rows: [(compile_match(match, segments=segments), Route(HOST, str(n))) for n, (match, segments) in enumerate(rows)])
_HEADS = st.builds(
    lambda path, query, method, fields: request(path.encode() + query, method=method, fields=fields),
    _WORDS, st.sampled_from([b"", b"?q", b"?r=q"]), st.sampled_from([b"GET", b"POST", b"PUT"]),
    st.sampled_from([[], [(b"x", b"1")], [(b"x", b"2")]]),
)


class IndexTests(SynchronousTestCase):
    """`Index`."""

    @settings(max_examples=600, deadline=None, derandomize=True, database=None)
    @given(_LISTED, st.lists(_HEADS, min_size=6, max_size=6), st.sampled_from([PORT, 1]))
    def test_any_rules(self, listed: list[tuple[Clause, Route]], heads: list[RequestHead], port: int) -> None:
        """For any rules and requests the index and the plain loop choose the same route, whichever way the index works."""
        ways = [Index(listed)]
        for candidates, many, lengths, lookups in ((3, 32, 8, 1.5), (999, 0, 99, 99.0), (999, 0, -1, 0.0)):
            with mock.patch.multiple(
                    index, MAX_CANDIDATES=candidates, MANY=many, MOST_LENGTHS=lengths, MEAN_LOOKUPS=lookups):
                ways.append(Index(listed))
        star = request(b"*", method=b"OPTIONS")
        for head in (*heads, star):
            wanted = one_by_one(listed, head, port)
            for built in ways:
                self.assertIs(built.choose(head, port), wanted)
                if built.only is not None:
                    self.assertIs(built.only, wanted)

    def test_only(self) -> None:
        """A host whose first rule takes everything has but one route, whatever stands behind it."""
        listed = [(EVERYTHING, Route(HOST, "0")), *clauses(RouteMatch(path=PathMatcherType(path="/a")))]
        self.assertIs(Index(listed[:1]).only, listed[0][1])
        self.assertIsNone(Index(listed[1:]).only)
        self.assertIs(Index(clauses(RouteMatch(path=PathMatcherType(regex=".*")))).only is None, False)
        self.assertIsNone(Index(clauses(RouteMatch(http_method=HttpMethod.GET))).only)
        self.assertIsNone(Index(clauses(RouteMatch(path=PathMatcherType(prefix="/")))).only)
        self.assertIsNone(Index([]).only)
        built = Index(listed)
        self.assertIs(built.choose(request(b"/a"), 1), listed[0][1])

    def test_nested_prefixes(self) -> None:
        """The longest prefix is looked up, but the first rule wins."""
        listed = clauses(*(RouteMatch(path=PathMatcherType(prefix=text)) for text in ("/a/b/c", "/a", "/a/b")))
        choose = Index(listed).choose
        for target, wanted in ((b"/a/b/c/d", "0"), (b"/a/b/x", "1"), (b"/a", "1"), (b"/ab", "1")):
            route = choose(request(target), 1)
            self.assertEqual(route and route.name, wanted)
        self.assertIsNone(choose(request(b"/b"), 1))
        self.assertIsNone(choose(request(b"/"), 1))

    def test_a_thousand_routes_cost_as_much_as_one(self) -> None:
        """The cost of a choice does not grow with rules that literal paths tell apart."""
        def cost(count: int, kind: str) -> float:
            matches = [RouteMatch(path=PathMatcherType(**{kind: f"/svc{n}/{'' if kind != 'regex' else '[a-z]+'}"}))
                       for n in range(count)]
            choose = Index(clauses(*matches)).choose
            head = request(b"/svc%d/%b" % (count // 2, b"" if kind == "path" else b"items"))
            assert choose(head, 1) is not None
            return min(timeit(lambda: choose(head, 1), number=1000) for _ in range(7))

        for kind in ("prefix", "path", "regex"):
            self.assertLess(cost(1000, kind), 2.5 * cost(1, kind), kind)    # generous: this machine has other work
