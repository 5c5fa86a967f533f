"""Conditions of routes, one by one (objects.md 5.2)."""

from __future__ import annotations

from time import process_time

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import PORT, prefix, request
from voltgw.config.objects.conditions import CookieMatcherType
from voltgw.config.objects.extensions import MatchExtension
from voltgw.config.objects.route import (
    HeaderMatcherType,
    HttpMethod,
    PathMatcherType,
    PortMatcherType,
    QueryParameterMatcherType,
    RouteMatch,
)
from voltgw.config.values import Range
from voltgw.routing.match import EVERYTHING, PathKind, compile_match
from voltgw.routing.problems import ProblemError
from voltgw.values.head import CHUNKED, Field, RequestHead


def holds(match: RouteMatch, head: RequestHead, port: int = PORT, *, segments: bool = False) -> bool:
    return compile_match(match, segments=segments).whole.holds(head, port)


class PathTests(SynchronousTestCase):
    """Conditions on the path."""

    def check(self, match: RouteMatch, good: tuple[bytes, ...], bad: tuple[bytes, ...], segments: bool = False) -> None:
        for target in good:
            self.assertTrue(holds(match, request(target), segments=segments), target)
        for target in bad:
            self.assertFalse(holds(match, request(target), segments=segments), target)

    def test_byte_prefix(self) -> None:
        """A prefix is one of bytes, as published: ``/admin`` takes ``/adminx``, but neither ``/ADMIN`` nor a trick."""
        self.check(prefix("/admin"), (b"/admin", b"/adminx", b"/admin/x?y", b"/x/../admin", b"/%61dmin", b"/./admin"),
                   (b"/", b"/ADMIN", b"/admin/../x", b"//admin", b"/a%2fdmin", b"/x?/admin"))

    def test_segment_prefix(self) -> None:
        """A segment-aware prefix ends where a segment does."""
        self.check(prefix("/admin"), (b"/admin", b"/admin/", b"/admin/x", b"/admin?x"),
                   (b"/adminx", b"/admin;x", b"/admin%2Fx", b"/"), segments=True)
        self.check(prefix("/admin/"), (b"/admin/", b"/admin/x"), (b"/admin",), segments=True)
        self.check(prefix("/"), (b"/", b"/x", b"//"), (), segments=True)

    def test_exact(self) -> None:
        """An exact path does not look at the query."""
        match = RouteMatch(path=PathMatcherType(path="/a/b"))
        self.check(match, (b"/a/b", b"/a/b?x", b"/a/./b"), (b"/a/b/", b"/a/bc", b"/a", b"/a//b"))

    def test_regex(self) -> None:
        """A regex covers the whole path without the query."""
        match = RouteMatch(path=PathMatcherType(regex="/v[0-9]+/.*"))
        self.check(match, (b"/v1/", b"/v22/x?y"), (b"/v/", b"/x/v1/", b"/v1", b"/a?/v1/"))

    def test_any(self) -> None:
        """No condition takes every path, ``*`` included; a prefix does not take ``*``."""
        head = request(b"*", method=b"OPTIONS")
        self.assertTrue(holds(RouteMatch(), head))
        self.assertTrue(EVERYTHING.whole.holds(head, PORT))
        self.assertFalse(holds(prefix("/"), head))
        self.assertTrue(holds(RouteMatch(path=PathMatcherType(path="*")), head))

    def test_literals_are_normalised(self) -> None:
        """An operator's path matches in whatever spelling it was written."""
        self.check(prefix("/%7Euser/caf%c3%a9"), (b"/~user/caf%C3%A9/x", b"/%7euser/caf%c3%a9"), (b"/~user/cafe",))
        self.check(prefix("/café|"), (b"/caf%C3%A9%7C",), (b"/caf",))
        self.check(prefix("/."), (b"/.well-known/x",), (b"/x",))

    def test_paths_that_no_request_has(self) -> None:
        """A path that could never match is refused with the way to it."""
        for path in (PathMatcherType(path="/a/../b"), PathMatcherType(prefix="/a/./b"), PathMatcherType(path="/a?b"),
                     PathMatcherType(prefix="a"), PathMatcherType(prefix="/a#b"), PathMatcherType(path="/%zz"),
                     PathMatcherType(path="/."), PathMatcherType(regex="(")):
            error = self.assertRaises(ProblemError, compile_match, RouteMatch(path=path))
            self.assertEqual(error.path[0], "path")

    def test_raw_paths(self) -> None:
        """Where paths are not normalised, an operator's path is taken as written too."""
        clause = compile_match(RouteMatch(path=PathMatcherType(path="/a/../%7eb")), normalised=False)
        self.assertEqual(clause.literal, b"/a/../%7eb")

    def test_regexes_that_are_literals(self) -> None:
        """A regex that is a literal or a prefix needs no regex at all."""
        for regex, kind, literal in (("^/a$", PathKind.EXACT, b"/a"), ("/a/.*", PathKind.PREFIX, b"/a/"),
                                     (".*", PathKind.ANY, b"")):
            clause = compile_match(RouteMatch(path=PathMatcherType(regex=regex)))
            self.assertEqual((clause.kind, clause.literal, clause.test), (kind, literal, None))


class HeaderTests(SynchronousTestCase):
    """Conditions on headers."""

    def check(self, header: HeaderMatcherType, good: tuple[tuple[Field, ...], ...], bad: tuple[tuple[Field, ...], ...]) -> None:
        match = RouteMatch(headers=(header,))
        for fields in good:
            self.assertTrue(holds(match, request(fields=fields)), fields)
        for fields in bad:
            self.assertFalse(holds(match, request(fields=fields)), fields)

    def test_exact(self) -> None:
        """Names compare without case, values exactly; one of several values is enough."""
        one, other = (b"x-user", b"alice"), (b"x-user", b"bob")
        self.check(HeaderMatcherType(name="X-User", exact="alice"), ((one,), (other, one), (one, other)),
                   ((), (other,), ((b"x-user", b"Alice"),), ((b"x-user", b"alice, bob"),), ((b"x-users", b"alice"),)))

    def test_regex(self) -> None:
        """A regex covers the whole value."""
        self.check(HeaderMatcherType(name="x-user", regex="(alice|bob)"),
                   (((b"x-user", b"alice"),), ((b"x-user", b"eve"), (b"x-user", b"bob"))),
                   ((), ((b"x-user", b"alicex"),), ((b"y", b"bob"),)))

    def test_presence(self) -> None:
        """Presence asks for the name alone, and so does a name without anything; an empty value is one."""
        for header in (HeaderMatcherType(name="x-user", presence=True), HeaderMatcherType(name="x-user")):
            self.check(header, (((b"x-user", b""),), ((b"x-user", b"a"),)), ((), ((b"y", b"x-user"),)))

    def test_inverted(self) -> None:
        """``invert_match`` turns the result around, also where the header is absent."""
        alice = (b"x-user", b"alice")
        self.check(HeaderMatcherType(name="x-user", exact="alice", invert_match=True), ((), ((b"x-user", b"bob"),)),
                   ((alice,), ((b"x-user", b"bob"), alice)))
        self.check(HeaderMatcherType(name="x-user", regex="a.*", invert_match=True), ((), ((b"x-user", b"bob"),)), ((alice,),))
        self.check(HeaderMatcherType(name="x-user", presence=True, invert_match=True), ((),), ((alice,),))

    def test_empty_value(self) -> None:
        """An exact empty value is not "absent"."""
        self.check(HeaderMatcherType(name="x", exact=""), (((b"x", b""),),), ((), ((b"x", b"a"),)))

    def test_host(self) -> None:
        """Host can be matched, without case and with the port that it names."""
        for name in ("Host", ":authority"):
            for value, port, good in (("Shop.Example", None, True), ("shop.example:8080", 8080, True),
                                      ("shop.example", 8080, False), ("other", None, False)):
                match = RouteMatch(headers=(HeaderMatcherType(name=name, exact=value),))
                self.assertIs(holds(match, request(host=b"SHOP.example", port=port)), good)
        match = RouteMatch(headers=(HeaderMatcherType(name="host", regex=r"SHOP\..*"),))
        self.assertTrue(holds(match, request()))
        self.assertFalse(holds(match, request(host=b"example.shop")))
        present = RouteMatch(headers=(HeaderMatcherType(name="host", presence=True),))
        self.assertTrue(holds(present, request()))
        self.assertFalse(holds(present, request(host=b"")))

    def test_what_the_codec_sets_aside(self) -> None:
        """Fields that are not in `fields` can still be asked for: they were not lost, only set aside."""
        head = request(b"/a?b", method=b"POST")
        head.upgrade = b"websocket"
        head.connection.append((b"connection", b"upgrade"))
        head.expect_continue = True
        head.length = 12
        for name, value in (("upgrade", "websocket"), ("connection", "upgrade"), ("expect", "100-continue"),
                            ("content-length", "12"), (":method", "POST"), (":path", "/a?b")):
            self.assertTrue(holds(RouteMatch(headers=(HeaderMatcherType(name=name, exact=value),)), head), name)
            self.assertTrue(holds(RouteMatch(headers=(HeaderMatcherType(name=name),)), head), name)
            self.assertFalse(holds(RouteMatch(headers=(HeaderMatcherType(name=name, exact="x"),)), head), name)
        encoding = RouteMatch(headers=(HeaderMatcherType(name="transfer-encoding", exact="chunked"),))
        self.assertFalse(holds(encoding, head))
        head.length = CHUNKED
        self.assertTrue(holds(encoding, head))
        plain = request()
        for name in ("upgrade", "connection", "expect", "content-length", "transfer-encoding", "te"):
            self.assertFalse(holds(RouteMatch(headers=(HeaderMatcherType(name=name),)), plain), name)

    def test_unknown_pseudo_header(self) -> None:
        """A pseudo-header that nothing could fill is refused."""
        match = RouteMatch(headers=(HeaderMatcherType(name="x"), HeaderMatcherType(name=":scheme", exact="http")))
        error = self.assertRaises(ProblemError, compile_match, match)
        self.assertEqual(error.path, ("headers", 1))


class CookieTests(SynchronousTestCase):
    """Conditions on cookies, under ``voltgw:``."""

    def match(self, **fields: object) -> RouteMatch:
        cookie = CookieMatcherType(name="user", **fields)  # type: ignore[arg-type]  # the caller's fields
        return RouteMatch(voltgw=MatchExtension(cookies=(cookie,)))

    def check(self, match: RouteMatch, good: tuple[bytes, ...], bad: tuple[bytes, ...]) -> None:
        for line in good:
            self.assertTrue(holds(match, request(fields=[(b"cookie", line)])), line)
        for line in bad:
            self.assertFalse(holds(match, request(fields=[(b"cookie", line)])), line)

    def test_exact(self) -> None:
        """The whole value, wherever the cookie stands; of several one is enough."""
        self.check(self.match(exact="bob"), (b"user=bob", b"a=b; user=bob", b"user=eve; user=bob", b"a=1;user=bob ;b=2"),
                   (b"user=bobby", b"user=Bob", b"xuser=bob", b"a=user=bob", b"user", b""))
        self.assertFalse(holds(self.match(exact="bob"), request()))

    def test_regex(self) -> None:
        """It covers the whole value."""
        self.check(self.match(regex="beta-[0-9]+"), (b"user=beta-1", b"x=y; user=beta-22"), (b"user=beta-", b"user=xbeta-1"))

    def test_presence(self) -> None:
        """A name alone asks whether it is there, an empty value included."""
        for match in (self.match(), self.match(presence=True)):
            self.check(match, (b"user=", b"user=x"), (b"user", b"users=x"))

    def test_inverted(self) -> None:
        """It then holds where the cookie is absent, or says something else."""
        self.check(self.match(exact="bob", invert_match=True), (b"user=eve", b"", b"users=bob"), (b"user=bob", b"a=b; user=bob"))
        self.assertTrue(holds(self.match(exact="bob", invert_match=True), request()))

    def test_several_fields(self) -> None:
        """Cookies may come in more than one field."""
        head = request(fields=[(b"cookie", b"a=b"), (b"x", b"y"), (b"cookie", b"user=bob")])
        self.assertTrue(holds(self.match(exact="bob"), head))

    def test_all_must_hold(self) -> None:
        """Several conditions, and those beside them."""
        match = RouteMatch(http_method=HttpMethod.GET, voltgw=MatchExtension(cookies=(
            CookieMatcherType(name="a", exact="1"), CookieMatcherType(name="b", invert_match=True))))
        self.check(match, (b"a=1", b"c=1; a=1"), (b"a=1; b=1", b"b=1", b"a=2"))
        self.assertFalse(holds(match, request(method=b"POST", fields=[(b"cookie", b"a=1")])))

    def test_mistakes(self) -> None:
        """A regex that cannot be used, with the way to it; explain shows no value."""
        error = self.assertRaises(ProblemError, compile_match, self.match(regex="(?=x)"))
        self.assertEqual(error.path, ("voltgw", "cookies", 0, "regex"))
        self.assertEqual([part.text for part in compile_match(self.match(exact="s3cret")).parts], ["cookie user is the wanted one"])


class QueryTests(SynchronousTestCase):
    """Conditions on query parameters."""

    def check(self, parameter: QueryParameterMatcherType, good: tuple[bytes, ...], bad: tuple[bytes, ...]) -> None:
        match = RouteMatch(query_params=(parameter,))
        for query in good:
            self.assertTrue(holds(match, request(b"/?" + query)), query)
        for query in bad:
            self.assertFalse(holds(match, request(b"/?" + query)), query)
        self.assertFalse(holds(match, request(b"/")))
        self.assertFalse(holds(match, request(b"/lang=en")))

    def test_exact(self) -> None:
        """Keys and values compare decoded; of a repeated key one value is enough."""
        self.check(QueryParameterMatcherType(key="lang", exact="en"),
                   (b"lang=en", b"a=b&lang=en", b"lang=de&lang=en", b"l%61ng=e%6e", b"lang=en&"),
                   (b"", b"lang", b"lang=", b"lang=EN", b"Lang=en", b"lang=enx", b"xlang=en", b"a=lang=en", b"lang=en;x",
                    b"lang%3Den"))

    def test_encoded_key(self) -> None:
        """A key with characters that must be encoded matches in every encoding of it."""
        self.check(QueryParameterMatcherType(key="a b&ü", exact="c=d+"),
                   (b"a%20b%26%C3%BC=c=d%2B", b"a+b%26%c3%bc=c%3dd%2b"), (b"a%20b%26%C3%BC=c=d+", b"a=c"))

    def test_regex(self) -> None:
        """A regex covers the whole decoded value."""
        self.check(QueryParameterMatcherType(key="n", regex="[0-9]+"), (b"n=12", b"n=%31", b"n=x&n=1"),
                   (b"n=", b"n=1x", b"n=1%0A", b"m=1"))

    def test_long_queries(self) -> None:
        """A query of many parameters is looked through in milliseconds, whatever they are."""
        holding = compile_match(RouteMatch(query_params=(QueryParameterMatcherType(key="lang", exact="en"),)))
        for piece in (b"&", b"a&", b"lang=x&", b"%61%61&", b"=&", b"x" * 50 + b"&"):
            head = request(b"/?" + piece * (60_000 // len(piece)) + b"lang=en")
            start = process_time()
            self.assertTrue(holding.whole.holds(head, PORT), piece)
            self.assertLess(process_time() - start, 0.2, piece)

    def test_presence(self) -> None:
        """A key alone asks for presence."""
        self.check(QueryParameterMatcherType(key="debug"), (b"debug", b"debug=", b"debug=0", b"x&debug"),
                   (b"debugx=1", b"x=debug"))


class OtherTests(SynchronousTestCase):
    """Method, port, and conditions together."""

    def test_method(self) -> None:
        """A method matches itself, ANY matches all."""
        self.assertTrue(holds(RouteMatch(http_method=HttpMethod.POST), request(method=b"POST")))
        self.assertFalse(holds(RouteMatch(http_method=HttpMethod.GET), request(method=b"HEAD")))
        self.assertTrue(holds(RouteMatch(http_method=HttpMethod.ANY), request(method=b"PURGE")))

    def test_port(self) -> None:
        """The port on which the request came in, one or ranges; "no match" is none."""
        for spec, good, bad in ((PortMatcherType(port=8080), (8080,), (80, 8081)),
                                (PortMatcherType(port_ranges=(Range(80, 80), Range(8080, 8191))), (80, 8080, 8191), (81, 8079)),
                                (PortMatcherType(no_port_match=True), (1, 80), ()), (PortMatcherType(), (1, 80), ())):
            for port in (*good, *bad):
                self.assertIs(holds(RouteMatch(incoming_port=spec), request(), port), port in good)

    def test_all_parts_must_hold(self) -> None:
        """Path and method and port and headers and query."""
        match = prefix("/a", http_method=HttpMethod.GET, incoming_port=PortMatcherType(port=80),
                       headers=(HeaderMatcherType(name="x", exact="1"), HeaderMatcherType(name="y")),
                       query_params=(QueryParameterMatcherType(key="q", exact="2"),))
        fields = [(b"x", b"1"), (b"y", b"")]
        self.assertTrue(holds(match, request(b"/a?q=2", fields=fields), 80))
        for head, port in ((request(b"/b?q=2", fields=fields), 80), (request(b"/a?q=2", fields=fields, method=b"PUT"), 80),
                           (request(b"/a?q=2", fields=fields), 81), (request(b"/a?q=2", fields=fields[:1]), 80),
                           (request(b"/a?q=3", fields=fields), 80)):
            self.assertFalse(holds(match, head, port))
