"""Redirects, direct responses and rewriting (objects.md 5.3, 5.5, 5.6)."""

from __future__ import annotations

import base64
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import Client, prefix, request
from voltgw.config.objects.route import (
    PathMatcherType,
    QueryParamsSimpleRoute,
    RegexMatchRewrite,
    RouteDestinationList,
    RouteDirectResponse,
    RouteMatch,
    RouteRedirect,
)
from voltgw.routing.actions import direct_response, host_rewrite, redirect, target_rewrite
from voltgw.routing.match import EVERYTHING, Clause, compile_match
from voltgw.routing.problems import ProblemError
from voltgw.values.head import RequestHead
from voltgw.wire.path import BadTarget


def location(spec: RouteRedirect, head: RequestHead, clause: Clause = EVERYTHING, scheme: bytes = b"http") -> bytes:
    """The Location of the redirect."""
    reply = redirect(spec, clause)(head, Client(scheme))
    (name, value), = reply.fields
    assert name == b"location"
    return value


def rewritten(spec: RouteDestinationList, target: bytes, clause: Clause = EVERYTHING) -> bytes:
    """The target that the endpoint gets."""
    rewrite = target_rewrite(spec, clause)
    assert rewrite is not None
    return rewrite(request(target))


def forward(**fields: object) -> RouteDestinationList:
    return RouteDestinationList(destinations=(), **fields)  # type: ignore[arg-type]  # the caller's field names


class RedirectTests(SynchronousTestCase):
    """`redirect`."""

    def test_thirty_six_combinations(self) -> None:
        """Scheme, host, path and query are each kept or replaced, independently of the others."""
        schemes = ((None, b"http"), ("incoming-proto", b"http"), ("https", b"https"))
        hosts = ((None, b"shop.example"), ("new.example", b"new.example"))
        paths: tuple[tuple[dict[str, str], bytes], ...] = (({}, b"/old/x"), ({"path_redirect": "/new"}, b"/new"))
        queries: tuple[tuple[dict[str, object], bytes], ...] = (
            ({}, b"?q=1"), ({"remove_all_params": True}, b""), ({"replace_params": "a=b"}, b"?a=b"))
        head = request(b"/old/x?q=1")
        seen = 0
        for (proto, scheme), (host, authority), (path, new_path), (query, new_query) in product(
                schemes, hosts, paths, queries):
            spec = RouteRedirect(proto_redirect=proto, host_redirect=host, **path, **query)  # type: ignore[arg-type]  # a mix
            self.assertEqual(location(spec, head), scheme + b"://" + authority + new_path + new_query)
            seen += 1
        self.assertEqual(seen, 36)

    def test_codes(self) -> None:
        """301 unless another status that redirects is given."""
        for code, wanted in ((None, 301), (0, 301), (302, 302), (303, 303), (307, 307), (308, 308)):
            self.assertEqual(redirect(RouteRedirect(response_code=code), EVERYTHING)(request(), Client()).status, wanted)
        for code in (200, 304, 404, 599):
            error = self.assertRaises(ProblemError, redirect, RouteRedirect(response_code=code), EVERYTHING)
            self.assertEqual(error.path, ("response_code",))

    def test_ports(self) -> None:
        """A kept host keeps its port unless the scheme changes; a port that the scheme implies is not written."""
        for spec, port, scheme, wanted in (
                (RouteRedirect(), 8080, b"http", b"http://shop.example:8080/"),
                (RouteRedirect(), 80, b"http", b"http://shop.example/"),
                (RouteRedirect(), 443, b"https", b"https://shop.example/"),
                (RouteRedirect(proto_redirect="https"), 8080, b"http", b"https://shop.example/"),
                (RouteRedirect(proto_redirect="https"), 8443, b"https", b"https://shop.example:8443/"),
                (RouteRedirect(proto_redirect="https", port_redirect=8443), 80, b"http", b"https://shop.example:8443/"),
                (RouteRedirect(proto_redirect="https", port_redirect=443), 80, b"http", b"https://shop.example/"),
                (RouteRedirect(port_redirect=81), None, b"http", b"http://shop.example:81/"),
                (RouteRedirect(host_redirect="a.example"), 8080, b"http", b"http://a.example/"),
                (RouteRedirect(host_redirect="a.example:81"), 8080, b"http", b"http://a.example:81/"),
                (RouteRedirect(host_redirect="a.example:81", port_redirect=82), 8080, b"http", b"http://a.example:82/"),
                (RouteRedirect(host_redirect="[::1]:81", port_redirect=82), None, b"http", b"http://[::1]:82/"),
                (RouteRedirect(host_redirect="[::1]"), None, b"http", b"http://[::1]/")):
            self.assertEqual(location(spec, request(port=port), scheme=scheme), wanted)

    def test_prefix_rewrite(self) -> None:
        """The matched prefix is swapped, the rest and the query stay."""
        clause = compile_match(prefix("/old/"))
        spec = RouteRedirect(prefix_rewrite="/new/")
        self.assertEqual(location(spec, request(b"/old/a/b?c"), clause), b"http://shop.example/new/a/b?c")
        exact = compile_match(RouteMatch(path=PathMatcherType(path="/old")))
        self.assertEqual(location(spec, request(b"/old"), exact), b"http://shop.example/new/")

    def test_prefix_rewrite_that_escapes(self) -> None:
        """A new ".." that leads out of the new prefix is answered 400, not redirected."""
        reply = redirect(RouteRedirect(prefix_rewrite="/new/"), compile_match(prefix("/old")))(request(b"/old../x"), Client())
        self.assertEqual((reply.status, reply.fields, reply.negotiate), (400, [], True))

    def test_query_of_2020(self) -> None:
        """``all_params: true`` drops the query."""
        self.assertEqual(location(RouteRedirect(all_params=True), request(b"/a?b")), b"http://shop.example/a")
        self.assertEqual(location(RouteRedirect(retain_all_params=True), request(b"/a?b")), b"http://shop.example/a?b")

    def test_new_path_with_query_and_fragment(self) -> None:
        """A new path may bring its own query, which then stands alone, and a fragment, which stands last."""
        for path, wanted in (("/a?b=c", b"/a?b=c"), ("/a#/x", b"/a?q#/x"), ("/a?b#c", b"/a?b#c"), ("/a?", b"/a?")):
            self.assertEqual(location(RouteRedirect(path_redirect=path), request(b"/o?q")), b"http://shop.example" + wanted)

    def test_without_host(self) -> None:
        """An HTTP/1.0 client without Host gets a path, which never looks like another host."""
        self.assertEqual(location(RouteRedirect(), request(b"/a?b", host=b"")), b"/a?b")
        self.assertEqual(location(RouteRedirect(), request(b"//evil.example/a", host=b"")), b"/.//evil.example/a")

    def test_no_open_redirect(self) -> None:
        """Whatever the path looks like, the client's own host stands before it."""
        for target in (b"//evil.example", b"/%2fevil.example", b"/%5cevil.example", b"/@evil.example", b"/.evil.example"):
            self.assertTrue(location(RouteRedirect(), request(target)).startswith(b"http://shop.example/"), target)

    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=20))
    def test_any_bytes(self, path: bytes, query: bytes, host: bytes) -> None:
        """Even from a head that no codec would make, a Location has no line end, space or control character."""
        head = request()
        head.path, head.query, head.host = b"/" + path, query, host
        for spec in (RouteRedirect(), RouteRedirect(path_redirect="/a"), RouteRedirect(replace_params="x")):
            self.assertRegex(location(spec, head).decode("latin-1"), r"\A[!-~]+\Z")

    def test_encoded_line_ends_stay_encoded(self) -> None:
        """``%0d%0a`` in the path or query never becomes a line end."""
        self.assertEqual(location(RouteRedirect(), request(b"/a%0d%0aSet-Cookie:x?y=%0d%0a")),
                         b"http://shop.example/a%0D%0ASet-Cookie:x?y=%0d%0a")

    def test_refused(self) -> None:
        """What an operator cannot mean is refused with the way to it."""
        for field, spec in (("host_redirect", RouteRedirect(host_redirect="http://a")),
                            ("host_redirect", RouteRedirect(host_redirect="a\r\nb: c")),
                            ("path_redirect", RouteRedirect(path_redirect="a")),
                            ("path_redirect", RouteRedirect(path_redirect="/%zz")),
                            ("prefix_rewrite", RouteRedirect(prefix_rewrite="/a?b")),
                            ("replace_params", RouteRedirect(replace_params="a#b"))):
            error = self.assertRaises(ProblemError, redirect, spec, EVERYTHING)
            self.assertEqual(error.path, (field,))

    def test_replies_are_not_shared(self) -> None:
        """Each request has a reply of its own, which the data plane may change."""
        answer = redirect(RouteRedirect(), EVERYTHING)
        answer(request(), Client()).fields.clear()
        self.assertEqual(len(answer(request(), Client()).fields), 1)


class DirectResponseTests(SynchronousTestCase):
    """`direct_response`."""

    def test_bodies(self) -> None:
        """The encoded body wins over the literal one; the content type says what it is."""
        for spec, body, content_type in (
                (RouteDirectResponse(response_body="hello"), b"hello", b"text/plain; charset=utf-8"),
                (RouteDirectResponse(response_body="ü"), "ü".encode(), b"text/plain; charset=utf-8"),
                (RouteDirectResponse(response_body="x", response_body_encoded=b"not here"), b"not here",
                 b"text/plain; charset=utf-8"),
                (RouteDirectResponse(response_body="<!DOCTYPE html><p>"), b"<!DOCTYPE html><p>", b"text/html; charset=utf-8"),
                (RouteDirectResponse(response_body='{"a": 1}'), b'{"a": 1}', b"application/json"),
                (RouteDirectResponse(response_body="{a}"), b"{a}", b"text/plain; charset=utf-8"),
                (RouteDirectResponse(response_body="<3"), b"<3", b"text/plain; charset=utf-8")):
            reply = direct_response(spec)(request(), Client())
            self.assertEqual((reply.status, reply.body, reply.fields), (200, body, [(b"content-type", content_type)]))

    def test_literal_in_a_url(self) -> None:
        """``string:///`` and base64 in the old field are decoded too, as real files have it; other text stays text."""
        text = "string:///" + base64.b64encode(b"not here").decode()
        self.assertEqual(direct_response(RouteDirectResponse(response_body=text))(request(), Client()).body, b"not here")
        plain = "string:///is a URL"
        self.assertEqual(direct_response(RouteDirectResponse(response_body=plain))(request(), Client()).body, plain.encode())

    def test_no_body(self) -> None:
        """An empty body has no type."""
        reply = direct_response(RouteDirectResponse(response_code=204))(request(), Client())
        self.assertEqual((reply.status, reply.body, reply.fields), (204, b"", []))

    def test_refused(self) -> None:
        """An interim status ends no request; a body over the host's limit is refused."""
        error = self.assertRaises(ProblemError, direct_response, RouteDirectResponse(response_code=101))
        self.assertEqual(error.path, ("response_code",))
        error = self.assertRaises(ProblemError, direct_response, RouteDirectResponse(response_body="12345"), 4)
        self.assertEqual(error.path, ("response_body",))
        direct_response(RouteDirectResponse(response_body="1234"), 4)

    def test_replies_are_not_shared(self) -> None:
        """Each request has a reply of its own, which the data plane may change."""
        answer = direct_response(RouteDirectResponse(response_body="x"))
        answer(request(), Client()).fields.clear()
        self.assertEqual(len(answer(request(), Client()).fields), 1)


class TargetRewriteTests(SynchronousTestCase):
    """`target_rewrite`."""

    def test_nothing_to_do(self) -> None:
        """Without rewriting there is no function to call."""
        self.assertIsNone(target_rewrite(forward(), EVERYTHING))
        self.assertIsNone(target_rewrite(forward(query_params=QueryParamsSimpleRoute(retain_all_params=True)), EVERYTHING))

    def test_prefix_of_bytes(self) -> None:
        """The bytes of the prefix are swapped; what that makes of slashes is the operator's, as published."""
        for matched, new, target, wanted in (
                ("/register/", "/", b"/register/a?b", b"/a?b"), ("/register", "/", b"/register", b"/"),
                ("/register", "/", b"/register/a", b"//a"), ("/a", "/b", b"/abc", b"/bbc"), ("/", "/x/", b"/a", b"/x/a"),
                ("/a", "/%7ex/../y", b"/a/z", b"/y/z")):
            clause = compile_match(prefix(matched))
            self.assertEqual(rewritten(forward(prefix_rewrite=new), target, clause), wanted, (matched, new))

    def test_prefix_of_segments(self) -> None:
        """Where whole segments were matched, whole segments are put together."""
        for matched, new, target, wanted in (
                ("/api", "/", b"/api/x", b"/x"), ("/api", "/", b"/api", b"/"), ("/api", "/v2", b"/api/x", b"/v2/x"),
                ("/api", "/v2/", b"/api/x", b"/v2/x"), ("/api/", "/v2", b"/api/x", b"/v2/x"),
                ("/api", "/v2", b"/api?q", b"/v2?q"),
                ("/", "/v2", b"/x", b"/v2/x"), ("/api", "/", b"/api//x", b"//x")):
            clause = compile_match(prefix(matched), segments=True)
            self.assertEqual(rewritten(forward(prefix_rewrite=new), target, clause), wanted, (matched, new, target))

    def test_exact_and_regex_matches(self) -> None:
        """After an exact or regex match the whole path is replaced, but not the query."""
        for path in (PathMatcherType(path="/a/b"), PathMatcherType(regex="/a/.*"), PathMatcherType(regex="/[a-z]/b")):
            clause = compile_match(RouteMatch(path=path))
            self.assertEqual(rewritten(forward(prefix_rewrite="/new"), b"/a/b?q", clause), b"/new?q")

    def test_without_a_path_condition(self) -> None:
        """Without a condition on the path the first slash is what matched."""
        self.assertEqual(rewritten(forward(prefix_rewrite="/x/"), b"/a/b"), b"/x/a/b")

    def test_escapes(self) -> None:
        """A rewrite that makes a ".." out of innocent bytes never leads out of the new prefix."""
        clause = compile_match(prefix("/static"))
        spec = forward(prefix_rewrite="/files/")
        for target in (b"/static../etc/passwd", b"/static..", b"/static../", b"/static../files", b"/static./../../x"):
            if not request(target).path.startswith(b"/static"):
                continue
            self.assertRaises(BadTarget, rewritten, spec, target, clause)
        self.assertEqual(rewritten(spec, b"/static./x", clause), b"/files/x")
        self.assertEqual(rewritten(spec, b"/static...", clause), b"/files/...")

    def test_regex_rewrite(self) -> None:
        """A pattern rewrites the path alone; the result is normalised, and refused where it leaves the root."""
        spec = forward(regex_rewrite=RegexMatchRewrite(pattern="^/service/([^/]+)(/.*)$", substitution=r"\2/instance/\1"))
        self.assertEqual(rewritten(spec, b"/service/s/t?/service/a/b"), b"/t/instance/s?/service/a/b")
        up = forward(regex_rewrite=RegexMatchRewrite(pattern="^/a/", substitution="/../"))
        self.assertRaises(BadTarget, rewritten, up, b"/a/x")
        self.assertEqual(rewritten(up, b"/b/x"), b"/b/x")
        for pattern, substitution in (("^/", ""), ("b", " "), ("b", "\r\n"), ("%2", "%"), ("b", "?x"), ("b", "#")):
            broken = forward(regex_rewrite=RegexMatchRewrite(pattern=pattern, substitution=substitution))
            self.assertRaises(BadTarget, rewritten, broken, b"/b%2Fx")

    def test_regex_rewrite_to_what_must_be_escaped(self) -> None:
        """A substitution is an operator's text: what may not stand in a path is sent escaped, on a host with raw paths too."""
        spec = forward(regex_rewrite=RegexMatchRewrite(pattern="^/a", substitution="/é[|]"))
        for normalised, wanted in ((True, b"/%C3%A9%5B%7C%5D/~"), (False, b"/%C3%A9%5B%7C%5D/x/../%7e")):
            rewrite = target_rewrite(spec, EVERYTHING, normalised=normalised)
            assert rewrite is not None
            head = request()
            head.path = b"/a/x/../%7e"
            self.assertEqual(rewrite(head), wanted)

    def test_query(self) -> None:
        """The query is kept, dropped or replaced."""
        for query, wanted in ((QueryParamsSimpleRoute(remove_all_params=True), b"/a"),
                              (QueryParamsSimpleRoute(replace_params="a=b c"), b"/a?a=b%20c"),
                              (QueryParamsSimpleRoute(replace_params="?a=b"), b"/a?a=b")):
            self.assertEqual(rewritten(forward(query_params=query), b"/a?x=y"), wanted)
            self.assertEqual(rewritten(forward(query_params=query), b"/a"), wanted)
        both = forward(query_params=QueryParamsSimpleRoute(remove_all_params=True), prefix_rewrite="/b")
        self.assertEqual(rewritten(both, b"/?x"), b"/b")

    def test_raw_paths(self) -> None:
        """A host that takes paths as written sends the rewritten path as written, but no escape either."""
        rewrite = target_rewrite(forward(prefix_rewrite="/b/"), compile_match(prefix("/a/")), normalised=False)
        assert rewrite is not None
        head = request()
        head.path = b"/a/%7Ex/./y/../z"
        self.assertEqual(rewrite(head), b"/b/%7Ex/./y/../z")
        head.path = b"/a/x/../../z"
        self.assertRaises(BadTarget, rewrite, head)

    def test_a_neighbour_of_the_new_prefix(self) -> None:
        """On a host that takes paths as written, none leads to what only begins like the new prefix, however it says so."""
        for segments in (False, True):
            for new in ("/in", "/in/"):
                rewrite = target_rewrite(forward(prefix_rewrite=new), compile_match(prefix("/api"), segments=segments, normalised=False),
                                         normalised=False)
                assert rewrite is not None
                head = request()
                for rest in (b"/../inside", b"/../in", b"/x/../../in/y", b"/%2e%2E/inside", b"/.%2e/inside", b"/%2e./in/x", b"/..",
                             b"//../inside", b"///../x", b"//../../inside", b"/./../inside"):
                    head.path = b"/api" + rest
                    self.assertRaises(BadTarget, rewrite, head)
                for rest in (b"/x/../y", b"/./y", b"/...", b"/..x", b"/x%2F..", b"/%2ex", b"//x/../y"):
                    head.path = b"/api" + rest
                    self.assertTrue(rewrite(head).startswith(b"/in/"), rest)

    def test_refused(self) -> None:
        """Mistakes are refused with the way to them."""
        query = QueryParamsSimpleRoute(replace_params="#")
        for spec, path in ((forward(prefix_rewrite="x"), ("prefix_rewrite",)),
                           (forward(prefix_rewrite="/a?b"), ("prefix_rewrite",)),
                           (forward(regex_rewrite=RegexMatchRewrite(pattern="a*")), ("regex_rewrite",)),
                           (forward(query_params=query), ("query_params", "replace_params"))):
            self.assertEqual(self.assertRaises(ProblemError, target_rewrite, spec, EVERYTHING).path, path)

    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.sampled_from(["/", ".", "..", "a", "%2E", "%2f", "ab"]), max_size=8).map("".join),
           st.sampled_from(["/", "/n", "/n/", "/n/m"]), st.sampled_from(["/", "/a", "/a/", "/."]), st.booleans())
    def test_any_path(self, rest: str, new: str, matched: str, segments: bool) -> None:
        """A rewritten target is in normal form and below the new prefix, or the request is refused."""
        clause = compile_match(prefix(matched), segments=segments)
        head = request(b"/" + rest.encode())
        if not clause.whole.holds(head, 80):
            return
        try:
            target = rewritten(forward(prefix_rewrite=new), head.target, clause)
        except BadTarget:
            return
        self.assertEqual(request(target).path, target)
        self.assertTrue(target.startswith(new.encode()))


class HostRewriteTests(SynchronousTestCase):
    """`host_rewrite`."""

    def test_host(self) -> None:
        """A host with an optional port, or none."""
        self.assertEqual(host_rewrite(forward(host_rewrite="a.example:81")), b"a.example:81")
        self.assertIsNone(host_rewrite(forward(auto_host_rewrite=True)))
        for spec in (forward(host_rewrite="a b"), forward(host_rewrite="a\r\nx: y"),
                     forward(host_rewrite="a", auto_host_rewrite=True)):
            self.assertEqual(self.assertRaises(ProblemError, host_rewrite, spec).path, ("host_rewrite",))
