"""CORS: who else's pages may read answers (objects.md 3.8)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import answer, build, exchange
from tests.routing.test_table import add, rule, to
from voltgw.config.objects.policies import CorsPolicy
from voltgw.config.objects.route import RouteDirectResponse, RouteType
from voltgw.config.objects.virtual_host import VirtualHostSpec
from voltgw.routing.filters.cors import Cors, cors
from voltgw.routing.problems import BuildErrors
from voltgw.values.exchange import Exchange
from voltgw.values.head import Field
from voltgw.values.reply import Reply

ORIGIN = b"https://app.example"
FULL = CorsPolicy(
    allow_origin=("https://app.example",), allow_origin_regex=(r"https://[a-z]+\.dev\.example",), allow_methods="GET, PUT",
    allow_headers="x-token", expose_headers="x-total", maximum_age_s=600.0, allow_credentials=True)


def made(policy: CorsPolicy) -> Cors:
    """Its filters."""
    filters = cors(policy, None)
    assert filters is not None
    return filters


def preflight(policy: CorsPolicy, origin: bytes = ORIGIN, method: bytes = b"OPTIONS") -> Reply | None:
    """The answer to a preflight; None = it goes on to the endpoint."""
    reply = made(policy).request(exchange(
        [(b"origin", origin), (b"access-control-request-method", b"PUT"), (b"access-control-request-headers", b"x-token")],
        method=method))
    assert reply is None or isinstance(reply, Reply)
    return reply


def answered(policy: CorsPolicy, origin: bytes | None = ORIGIN, *fields: Field) -> list[Field]:
    """The fields of an endpoint's answer."""
    response = answer(*fields)
    exchanged = exchange([] if origin is None else [(b"origin", origin)], response)
    made(policy).response(exchanged)
    return response.fields


class PreflightTests(SynchronousTestCase):
    """OPTIONS with Origin and Access-Control-Request-Method."""

    def test_an_origin_that_is_allowed(self) -> None:
        """The gateway answers what the policy says; the endpoint sees nothing of it."""
        reply = preflight(FULL)
        assert reply is not None
        self.assertEqual((reply.status, reply.flag, reply.body), (204, "", b""))
        self.assertEqual(reply.fields, [
            (b"access-control-allow-origin", ORIGIN), (b"access-control-allow-credentials", b"true"),
            (b"access-control-allow-methods", b"GET, PUT"), (b"access-control-allow-headers", b"x-token"),
            (b"access-control-max-age", b"600"), (b"vary", b"origin")])

    def test_any_other_origin(self) -> None:
        """It is refused, and told nothing."""
        for origin in (b"https://evil.example", b"https://app.example.evil.example", b"http://app.example", b"null", b"",
                       b"https://app.example:8443", b"https://a.dev.example.evil.example", b"https://A.dev.example",
                       b"https://app.example, https://evil.example"):
            reply = preflight(FULL, origin)
            assert reply is not None
            self.assertEqual((reply.status, reply.flag, reply.fields), (403, "CORS", [(b"vary", b"origin")]), origin)

    def test_regex(self) -> None:
        """Either list may match; a pattern matches the whole origin."""
        reply = preflight(FULL, b"https://blue.dev.example")
        assert reply is not None
        self.assertEqual(reply.fields[0], (b"access-control-allow-origin", b"https://blue.dev.example"))

    def test_what_is_no_preflight(self) -> None:
        """Other methods and OPTIONS of other kinds go on."""
        self.assertIsNone(preflight(FULL, method=b"GET"))
        for fields in ([(b"origin", ORIGIN)], [(b"access-control-request-method", b"PUT")], []):
            self.assertIsNone(made(FULL).request(exchange(fields, method=b"OPTIONS")))

    def test_everybody(self) -> None:
        """Without credentials the answer is the same for all, and says so; with them it names the origin."""
        reply = preflight(CorsPolicy(allow_origin=("*",)), b"https://any.example")
        assert reply is not None
        self.assertEqual(reply.fields, [(b"access-control-allow-origin", b"*")])
        reply = preflight(CorsPolicy(allow_origin=("*",), allow_credentials=True), b"https://any.example")
        assert reply is not None
        self.assertEqual(reply.fields, [(b"access-control-allow-origin", b"https://any.example"),
                                        (b"access-control-allow-credentials", b"true"), (b"vary", b"origin")])

    def test_age(self) -> None:
        """-1 is sent as it is; the old text where there is no number."""
        for policy, wanted in ((CorsPolicy(allow_origin=("*",), maximum_age_s=-1.0), b"-1"),
                               (CorsPolicy(allow_origin=("*",), max_age="86400"), b"86400"),
                               (CorsPolicy(allow_origin=("*",), max_age="1", maximum_age_s=2.0), b"2")):
            reply = preflight(policy)
            assert reply is not None
            self.assertIn((b"access-control-max-age", wanted), reply.fields)

    def test_how_operators_write_origins(self) -> None:
        """Case and a slash at the end do not count, since no browser sends them."""
        self.assertEqual(answered(CorsPolicy(allow_origin=("HTTPS://App.Example/",)))[0],
                         (b"access-control-allow-origin", ORIGIN))


class AnswerTests(SynchronousTestCase):
    """Answers of endpoints."""

    def test_an_origin_that_is_allowed(self) -> None:
        """It may read the answer."""
        self.assertEqual(answered(FULL, ORIGIN, (b"a", b"1")), [
            (b"a", b"1"), (b"access-control-allow-origin", ORIGIN), (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", b"x-total"), (b"vary", b"origin")])

    def test_any_other(self) -> None:
        """It may not, whatever the endpoint itself says; the answer still varies by Origin."""
        fields = ((b"access-control-allow-origin", b"*"), (b"access-control-allow-credentials", b"true"), (b"a", b"1"))
        for origin in (b"https://evil.example", None):
            self.assertEqual(answered(FULL, origin, *fields), [(b"a", b"1"), (b"vary", b"origin")])

    def test_one_policy(self) -> None:
        """The endpoint's fields never stand beside ours."""
        found = answered(FULL, ORIGIN, (b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"x"))
        self.assertEqual([name for name, _ in found].count(b"access-control-allow-origin"), 1)
        self.assertIn((b"access-control-expose-headers", b"x-total"), found)

    def test_vary(self) -> None:
        """It is added to what is there, once."""
        for there, wanted in ((b"accept", b"accept, origin"), (b"Origin", b"Origin"), (b"accept , ORIGIN", b"accept , ORIGIN"),
                              (b"*", b"*"), (b"", b"origin")):
            self.assertIn((b"vary", wanted), answered(FULL, ORIGIN, (b"vary", there)))
        self.assertEqual(answered(CorsPolicy(allow_origin=("*",)), None), [])


class LevelTests(SynchronousTestCase):
    """Routes and hosts."""

    def fields(self, exchanged: Exchange, route_fields: dict[str, object], host: CorsPolicy | None) -> list[bytes]:
        spec = VirtualHostSpec(domains=("*",), cors_policy=host)
        route = build(rule(to_=to("c", **route_fields)), spec=spec).routes[0]
        for request_filter in route.request_filters:
            self.assertIsNone(request_filter(exchanged))
        for response_filter in route.response_filters:
            response_filter(exchanged)
        assert exchanged.response is not None
        return [value for name, value in exchanged.response.fields if name == b"access-control-allow-origin"]

    def test_the_route_wins(self) -> None:
        """A route's policy stands in the place of its host's, and may switch it off."""
        everybody, disabled = CorsPolicy(allow_origin=("*",)), CorsPolicy(disabled=True)
        for own, host, wanted in ((None, FULL, [ORIGIN]), (everybody, FULL, [b"*"]), (disabled, FULL, []), (everybody, None, [b"*"]),
                                  (None, disabled, []), (None, None, [])):
            self.assertEqual(self.fields(exchange([(b"origin", ORIGIN)], answer()), {"cors_policy": own}, host), wanted)

    def test_no_policy(self) -> None:
        """Costs no filter."""
        self.assertEqual(build(rule()).routes[0].request_filters, ())

    def test_an_edit_that_hides_origin_from_the_endpoint(self) -> None:
        """The answer still goes to the origin that asked."""
        spec = VirtualHostSpec(domains=("*",), cors_policy=FULL, request_headers_to_remove=("origin",))
        for one in (rule(), rule(request_headers_to_add=(add("origin", "https://inside.example"),))):
            route = build(one, spec=spec).routes[0]
            exchanged = exchange([(b"origin", ORIGIN)], answer())
            for request_filter in route.request_filters:
                request_filter(exchanged)
            self.assertIsNone(exchanged.request.get(b"origin"))
            for response_filter in route.response_filters:
                response_filter(exchanged)
            assert exchanged.response is not None
            self.assertIn((b"access-control-allow-origin", ORIGIN), exchanged.response.fields)

    def test_routes_that_answer_themselves(self) -> None:
        """The host's policy holds for them, too."""
        route = build(RouteType(route_direct_response=RouteDirectResponse(response_body="x")),
                      spec=VirtualHostSpec(domains=("*",), cors_policy=FULL)).routes[0]
        self.assertEqual((len(route.request_filters), len(route.response_filters)), (1, 1))

    def test_mistakes(self) -> None:
        """Each at its place; the host's once, however many routes there are."""
        bad = CorsPolicy(allow_origin_regex=("ok", "(?=x)"))
        error = self.assertRaises(BuildErrors, build, rule(to_=to("c", cors_policy=bad)))
        self.assertEqual([problem.place.file for problem in error.problems],
                         ["r.yaml:routes.0.route_destination.cors_policy.allow_origin_regex.1"])
        error = self.assertRaises(BuildErrors, build, rule(), rule(), spec=VirtualHostSpec(domains=("*",), cors_policy=bad))
        self.assertEqual(len(error.problems), 1)
        error = self.assertRaises(BuildErrors, build, rule(request_headers_to_add=(add("a b", "1"),), to_=to("c", cors_policy=FULL)))
        self.assertEqual([problem.place.file for problem in error.problems], ["r.yaml:routes.0.request_headers_to_add.0.name"])
        split = CorsPolicy(allow_origin=("*",), allow_headers="x\r\nset-cookie: a=b")
        error = self.assertRaises(BuildErrors, build, rule(to_=to("c", cors_policy=split)))
        self.assertEqual([problem.place.file for problem in error.problems],
                         ["r.yaml:routes.0.route_destination.cors_policy.allow_headers"])
