"""The fast way to the first rule that matches finds what trying every rule in order finds."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable
from random import Random
from timeit import timeit
from types import FrameType
from typing import Any, TypeAlias
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

#: `Index.choose`.
Choose: TypeAlias = "Callable[[RequestHead, int], Route | None]"


def clauses(*matches: RouteMatch, segments: bool = False) -> list[tuple[Clause, Route]]:
    """Each match with a route of its own, named by its number."""
    return [(compile_match(match, segments=segments), Route(HOST, str(n))) for n, match in enumerate(matches)]


def one_by_one(listed: list[tuple[Clause, Route]], head: RequestHead, port: int) -> Route | None:
    """First match wins, tried one after the other."""
    return next((route for clause, route in listed if clause.whole.holds(head, port)), None)


def calls(choose: Choose, target: str) -> list[str]:
    """The functions, of C and of Python, that are called to find the route for `target`."""
    seen: list[str] = []

    def note(frame: FrameType, event: str, of: Any) -> None:
        if event == "c_call":
            seen.append(of.__name__)
        elif event == "call":
            seen.append(frame.f_code.co_name)

    head = request(target.encode())
    sys.setprofile(note)
    try:
        route = choose(head, 1)
    finally:
        sys.setprofile(None)
    assert route is not None
    return [name for name in seen if name != "setprofile"]


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
        for candidates, few in ((3, 8), (999, 0), (999, 1), (999, 2), (999, 99)):
            ways.append(Index(listed, candidates, few))
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

    def test_a_prefix_within_a_longer_segment(self) -> None:
        """Bytes decide, not segments: a prefix takes longer first segments, too, however many prefixes there are."""
        words = [f"/w{number}" for number in range(40)]
        choose = Index(clauses(*(RouteMatch(path=PathMatcherType(prefix=text)) for text in (*words, "/api/v1/", "/api/v1/x", "/ap")))).choose
        for target, wanted in ((b"/w7", "7"), (b"/w7/", "7"), (b"/w7/a/b", "7"), (b"/w7x/a", "7"), (b"/w39-", "3"), (b"/w44/", "4"),
                               (b"/api/v1/", "40"), (b"/api/v1/xy/z", "40"), (b"/api/v1", "42"), (b"/ap/v1/x", "42"), (b"/apis", "42")):
            route = choose(request(target), 1)
            self.assertEqual(route and route.name, wanted, target)
        self.assertIsNone(choose(request(b"/a/w7"), 1))
        self.assertIsNone(choose(request(b"/v/w7/"), 1))

    def test_steps_of_a_choice(self) -> None:
        """Among 1,000 prefixes a choice takes the very calls that it takes with one, and nothing is bisected."""
        chance = Random(7)
        words = ["".join(chance.choices("abcdefgh", k=chance.randint(3, 20))) for _ in range(1000)]
        for form in ("/{}", "/{}/", "/api/v1/{}/", "/api/v1/{}"):
            texts = [form.format(word) for word in words]
            many, one = (Index(clauses(*(RouteMatch(path=PathMatcherType(prefix=text)) for text in some))).choose
                         for some in (texts, texts[:1]))
            wanted = calls(one, texts[0].rstrip("/") + "/items")
            self.assertLessEqual(len(wanted), 6, wanted)
            for text in texts:
                self.assertEqual(calls(many, text.rstrip("/") + "/items"), wanted, text)

    def test_steps_of_a_choice_in_a_tree(self) -> None:
        """With prefixes of several depths there are a few calls more, and no list of more than a few is bisected."""
        chance = Random(7)
        words = ["".join(chance.choices("abcdefgh", k=chance.randint(3, 20))) for _ in range(30)]
        texts = [f"/{one}/{other}/" for one in words for other in words] + [f"/{one}/" for one in words] + ["/health", "/"]
        lengths: list[int] = []

        def bisected(prefixes: list[bytes], path: bytes) -> int:
            lengths.append(len(prefixes))
            return bisect_right(prefixes, path)

        with mock.patch.object(index, "bisect_right", bisected):
            choose = Index(clauses(*(RouteMatch(path=PathMatcherType(prefix=text)) for text in texts))).choose
            for text in texts:
                lengths.clear()
                self.assertLessEqual(len(calls(choose, text + "items")), 12, text)
                self.assertEqual(lengths, [3] if text in ("/", "/health") else [], text)
            choose(request(b"/elsewhere"), 1)
        self.assertEqual(lengths[-1:], [3])     # the root and the two short ones

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
