"""The gate that asks for credentials: kinds together, what goes on to the endpoint, dry runs, routes that ask for something else."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config, makings
from tests.certificates import authority
from tests.certificates import inline as certificate_url
from tests.security.credentials import ADA, basic, chosen, credential, gate_of, gated, inline, judged, tokens
from tests.security.making import asks, service_policy
from tests.security.tokens import GOOD, NOW, jwks, rsa, signed
from voltgw.app.build import build
from voltgw.errors import ConfigErrors
from voltgw.routing.problems import BuildErrors
from voltgw.security.jwt import Jwt
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Reply

KEY = "sesame-sesame-sesame"
KEYS = {"keys": [{"name": "robot", "sha256": sha256(KEY.encode()).hexdigest()}]}


def bearer(**claims: Any) -> str:
    """The header line of a good token with other claims."""
    return f"Authorization: Bearer {signed({**GOOD, **claims})}"


def fields(exchange: Exchange, name: str) -> list[bytes]:
    """Values of a field as the endpoint would get it."""
    return [value for key, value in exchange.request.fields if key == name.encode()]


def told(reply: Reply | None) -> tuple[int, str, bytes]:
    """Status, detail and challenge of a refusal."""
    assert reply is not None, "it was let pass"
    return reply.status, reply.detail, dict(reply.fields).get(b"www-authenticate", b"")


class KindTests(SynchronousTestCase):
    """One kind of credential."""

    def test_tokens_of_the_virtual_host(self) -> None:
        """Without a token 401 and a challenge without an error code; with a bad one the code of RFC 6750; with a good one it passes."""
        made = gated(jwt_validation=tokens(reserved_claims={"issuer": GOOD["iss"]}))
        self.assertEqual(told(judged(made, asks())), (401, "authentication: jwt missing", b'Bearer realm="h"'))
        status, detail, challenge = told(judged(made, asks("/", "GET", bearer(exp=NOW - 100))))
        self.assertEqual((status, detail), (401, "authentication: jwt expired"))
        self.assertEqual(challenge, b'Bearer realm="h", error="invalid_token", error_description="the token has expired"')
        self.assertIn(b'error_description="the token is not accepted"', told(judged(made, asks("/", "GET", bearer(iss="x"))))[2])
        exchange = asks("/", "GET", bearer())
        self.assertIs(judged(made, exchange), None)
        assert exchange.user is not None
        self.assertEqual((exchange.user.name, exchange.user.claims["iss"]), ("ada", GOOD["iss"]))

    def test_the_answer_to_a_refused_request(self) -> None:
        """It is marked in the log, not to be stored, and has nothing of the credential."""
        reply = judged(gated(jwt_validation=tokens()), asks("/", "GET", "Authorization: Bearer secret.secret.secret"))
        assert reply is not None
        self.assertEqual((reply.flag, reply.negotiate), ("AU", True))
        self.assertIn((b"cache-control", b"no-store"), reply.fields)
        self.assertNotIn("secret", reply.detail + repr(reply.fields))

    def test_users_and_passwords(self) -> None:
        """The right password of a user, and the credential does not go on; everything else is 401 with a challenge."""
        made = gated({"basic": basic(ADA, realm='the "shop"')})
        exchange = asks("/", "GET", credential("ada", "secret"))
        self.assertIs(judged(made, exchange), None)
        assert exchange.user is not None and exchange.proof is not None
        self.assertEqual((exchange.user.name, exchange.proof.said, fields(exchange, "authorization")), ("ada", "basic", []))
        challenge = b'Basic realm="the shop", charset="UTF-8"'
        for line, reason, status in (
                ("Accept: */*", "missing", 401), (credential("ada", "Secret"), "wrong_password", 401),
                (credential("eve", "secret"), "wrong_password", 401), ("Authorization: Basic !!!", "malformed", 400),
                ("Authorization: Basic YWRh", "malformed", 400), ("Authorization: Basic OnNlY3JldA==", "malformed", 400),
                ("Authorization: Bearer YWRhOnNlY3JldA==", "missing", 401), (credential("ada", "x" * 3000), "oversized", 401)):
            self.assertEqual(told(judged(made, asks("/", "GET", line))), (status, f"authentication: basic {reason}", challenge))
        self.assertEqual(fields(self.passing({"basic": basic(ADA, forward=True)}, credential("ada", "secret")), "authorization"),
                         [credential("ada", "secret").partition(": ")[2].encode()])

    def passing(self, authentication: dict[str, Any], *lines: str, target: str = "/") -> Exchange:
        """A request that is let pass."""
        exchange = asks(target, "GET", *lines)
        self.assertIs(judged(gated(authentication), exchange), None)
        return exchange

    def test_keys(self) -> None:
        """In a header of its own, with a prefix, a cookie or the query; from the configuration or a file."""
        for place, line, target in (
                ({}, f"X-API-Key: {KEY}", "/"), ({"header": "Authorization", "prefix": "ApiKey "}, f"Authorization: ApiKey {KEY}", "/"),
                ({"cookie": "key"}, f"Cookie: key={KEY}", "/"), ({"query": "k"}, "Accept: */*", f"/?a=1&k={KEY}"),
                ({"keys": [], "keys_file": inline(b"# ours\nrobot:" + KEYS["keys"][0]["sha256"].encode())}, f"x-api-key: {KEY}", "/"),
                ({"keys": [{"name": "robot", "key": inline(KEY.encode() + b"\n")}]}, f"x-api-key: {KEY}", "/")):
            exchange = self.passing({"api_key": {**KEYS, **place}}, line, target=target)
            assert exchange.user is not None
            self.assertEqual((exchange.user.name, exchange.user.by), ("robot", "api_key"))
            self.assertNotIn(KEY.encode(), repr(exchange.request.fields).encode() + exchange.request.forward)
        made = gated({"api_key": KEYS})
        for line, reason in (("Accept: */*", "missing"), (f"X-Api-Key: {KEY}x", "unknown_key"), ("X-Api-Key:", "missing"),
                             (f"X-Api-Key: {KEYS['keys'][0]['sha256']}", "unknown_key"), ("X-Api-Key: " + "x" * 5000, "oversized")):
            self.assertEqual(told(judged(made, asks("/", "GET", line)))[:2], (401, f"authentication: api_key {reason}"))
        twice = judged(made, asks("/", "GET", f"X-Api-Key: {KEY}", f"X-Api-Key: {KEY}"))
        self.assertEqual(told(twice)[:2], (400, "authentication: api_key malformed"))

    def test_base_paths(self) -> None:
        """Only what is below them needs a token; every way to write such a path is below it."""
        made = gated(jwt_validation=tokens(target={"base_paths": {"base_paths": ["/api", "/Admin/"]}}))
        for target in ("/", "/apix", "/open", "/x/../apis", "/a/api"):
            self.assertIs(judged(made, asks(target)), None, target)
        for target in ("/api", "/api/", "/api/x?y", "//api", "/%61pi", "/x/../api", "/API", "/api;v=1/x", "/./api", "/%2e/api", "/x%2f..%2fapi",
                       "/admin", "/ADMIN/x", "/api%2Fx", "/;/api", "/x/%2e%2e/api", "/%5capi"):
            self.assertEqual(told(judged(made, asks(target)))[0], 401, target)


class TogetherTests(SynchronousTestCase):
    """Several kinds, and what the endpoint is told."""

    def test_all_of_them(self) -> None:
        """Without ``satisfy`` each must be good; the first name counts, and what each says goes together."""
        made = gated({"api_key": KEYS, "basic": basic(ADA)})
        self.assertEqual(told(judged(made, asks("/", "GET", credential("ada", "secret"))))[1], "authentication: api_key missing")
        self.assertEqual(told(judged(made, asks("/", "GET", f"X-Api-Key: {KEY}")))[1], "authentication: basic missing")
        exchange = asks("/", "GET", f"X-Api-Key: {KEY}", credential("ada", "secret"))
        self.assertIs(judged(made, exchange), None)
        assert exchange.user is not None
        self.assertEqual((exchange.user.name, exchange.user.by), ("robot", "api_key+basic"))

    def test_any_of_them(self) -> None:
        """One is enough; when none is, the client hears of the one that it has tried."""
        made = gated({"satisfy": "ANY", "basic": basic(ADA)}, jwt_validation=tokens())
        for line in (credential("ada", "secret"), bearer()):
            self.assertIs(judged(made, asks("/", "GET", line)), None)
        self.assertEqual(told(judged(made, asks("/", "GET", credential("ada", "no"))))[1], "authentication: basic wrong_password")
        self.assertEqual(told(judged(made, asks("/", "GET", bearer(exp=1))))[1], "authentication: jwt expired")
        reply = judged(made, asks())
        self.assertEqual(told(reply)[1], "authentication: jwt missing")
        assert reply is not None
        self.assertEqual([value for name, value in reply.fields if name == b"www-authenticate"],
                         [b'Bearer realm="h"', b'Basic realm="h", charset="UTF-8"'])

    def test_claims_and_names_in_headers(self) -> None:
        """Text as it is, the rest as JSON, nested ones by path; what no field can carry is left out."""
        claims = {"role": "admin", "n": 5, "ok": True, "list": ["a", "b"], "realm": {"roles": ["x"]}, "a.b": "dotted",
                  "evil": "x\r\nX-Admin: yes", "nul": "\0", "umlaut": "ä", "long": "x" * 5000, "none": None}
        headers = {"role": "x-role", "n": "x-n", "ok": "x-ok", "list": "x-list", "realm.roles": "x-roles", "a.b": "x-dotted",
                   "evil": "x-evil", "nul": "x-nul", "umlaut": "X-Umlaut", "long": "x-long", "none": "x-none", "absent": "x-absent"}
        made = gated({"user_header": "X-Auth-User"}, jwt_validation=tokens(voltgw={
            "claims_to_headers": [{"claim": claim, "header": header} for claim, header in headers.items()], "max_token": "32KiB"}))
        exchange = asks("/", "GET", bearer(**claims), "X-Role: made-up", "x-absent: made-up", "X-Auth-User: root", "X-Other: kept")
        self.assertIs(judged(made, exchange), None)
        got = {name.decode(): value for name, value in exchange.request.fields if name != b"authorization"}
        self.assertEqual(got, {
            "x-role": b"admin", "x-n": b"5", "x-ok": b"true", "x-list": b'["a","b"]', "x-roles": b'["x"]', "x-dotted": b"dotted",
            "x-umlaut": "ä".encode(), "x-auth-user": b"ada", "x-other": b"kept"})

    def test_made_up_headers_never_pass(self) -> None:
        """On a route that asks for nothing, without a token in a dry run, or several times: the client's copies are gone."""
        open_route = service_policy("r", {"voltgw": {"authentication": {"disabled": True}}, "routes": [
            {"route_destination": {"destinations": [{"cluster": [{"name": "c"}]}]}}]}, "route")
        spec = tokens(voltgw={"claims_to_headers": [{"claim": "role", "header": "x-role"}]})
        for made in (gated({"user_header": "x-user"}, open_route, jwt_validation=spec),
                     gated({"user_header": "x-user", "report_only": True}, jwt_validation=spec)):
            exchange = asks("/", "GET", "X-Role: admin", "x-role: admin", "X-USER: root", "a: b")
            self.assertIs(judged(made, exchange), None)
            self.assertEqual(exchange.request.fields, [(b"a", b"b")])
            self.assertIs(exchange.user, None)


    def test_claims_before_service_policies(self) -> None:
        """A rule on claims sees those of the token that was verified, and of no other."""
        rules = [{"metadata": {"name": "staff"}, "spec": {"action": "ALLOW", "jwt_claims": [
            {"name": "role", "item": {"exact_values": ["staff"]}}]}}]
        made = gated(None, service_policy("edge", {"rule_list": {"rules": rules}}), jwt_validation=tokens(),
                     active_service_policies={"policies": ["edge"]})
        self.assertIs(judged(made, asks("/", "GET", bearer(role="staff"))), None)
        self.assertEqual(told(judged(made, asks("/", "GET", bearer(role="guest"))))[0], 403)
        self.assertEqual(told(judged(made, asks("/", "GET", f"Authorization: Bearer {signed({**GOOD, 'role': 'staff'}, key=rsa('r2'))}")))[0], 401)
        open_host = gated(None, service_policy("edge", {"rule_list": {"rules": rules}}), active_service_policies={"policies": ["edge"]})
        self.assertEqual(told(judged(open_host, asks("/", "GET", bearer(role="staff"))))[0], 403)

    def test_conditions_on_claims(self) -> None:
        """Each item of a list, numbers and truth values; whether there is one; the other way round."""
        for matcher, good, bad in (
                ({"item": {"exact_values": ["b"]}}, {"c": ["a", "b"]}, {"c": ["a"]}), ({"item": {"exact_values": ["5"]}}, {"c": 5}, {"c": 50}),
                ({"item": {"exact_values": ["true"]}}, {"c": True}, {"c": "True"}), ({"item": {"regex_values": ["x+"]}}, {"c": "xx"}, {"c": "xxy"}),
                ({"check_present": {}}, {"c": ""}, {}), ({"check_not_present": {}}, {}, {"c": 0}),
                ({"item": {"exact_values": ["a"]}, "invert_matcher": True}, {"c": "b"}, {"c": "a"}),
                ({"item": {"exact_values": ["A"], "transformers": ["UPPER_CASE"]}}, {"c": "a"}, {"c": "b"})):
            rule = {"metadata": {"name": "x"}, "spec": {"action": "ALLOW", "jwt_claims": [{"name": "c", **matcher}]}}
            made = gated(None, service_policy("edge", {"rule_list": {"rules": [rule]}}), jwt_validation=tokens(),
                         active_service_policies={"policies": ["edge"]})
            self.assertIs(judged(made, asks("/", "GET", bearer(**good))), None, matcher)
            self.assertEqual(told(judged(made, asks("/", "GET", bearer(**bad))))[0], 403, matcher)


class DryRunTests(SynchronousTestCase):
    """``report_only``, and the model's own word for it."""

    def test_nobody_is_refused(self) -> None:
        """What would have been said stands in the record and is counted; a good credential proves as ever."""
        for made in (gated({"report_only": True}, jwt_validation=tokens()), gated(jwt_validation=tokens(action={"report": {}}))):
            exchange = asks("/", "GET", bearer(exp=1))
            self.assertIs(judged(made, exchange), None)
            assert exchange.proof is not None
            self.assertEqual((exchange.proof.said, exchange.user), ("jwt expired (report only)", None))
            good = asks("/", "GET", bearer())
            self.assertIs(judged(made, good), None)
            assert good.user is not None
            self.assertEqual(good.user.name, "ada")
            self.assertEqual(list(gate_of(made).results.rows()),
                             [("jwt", "accepted", 1), ("jwt", "expired", 1), ("jwt", "reported", 1)])


class RouteTests(SynchronousTestCase):
    """Routes that ask for something else."""

    def test_overrides(self) -> None:
        """A rule's word is above its route object's, and that above the virtual host's."""
        forward = {"destinations": [{"cluster": [{"name": "c"}]}]}
        route = service_policy("r", {"voltgw": {"authentication": {"api_key": KEYS}}, "routes": [
            {"match": [{"path": {"prefix": "/open"}}], "route_destination": forward, "voltgw": {"authentication": {"disabled": True}}},
            {"match": [{"path": {"prefix": "/basic"}}], "route_destination": forward, "voltgw": {"authentication": {"basic": basic(ADA)}}},
            {"route_destination": forward}]}, "route")
        made = gated(None, route, jwt_validation=tokens())
        self.assertIs(judged(made, asks("/open")), None)
        self.assertEqual(told(judged(made, asks("/basic")))[1], "authentication: basic missing")
        self.assertEqual(told(judged(made, asks("/")))[1], "authentication: api_key missing")
        self.assertIs(judged(made, asks("/", "GET", f"X-Api-Key: {KEY}")), None)

    def test_what_is_not_asked_for_costs_nothing(self) -> None:
        """Without authentication there is no gate; a route that is left out of it has none either."""
        self.assertEqual(gated().hosts["default/h"].gates, ())
        open_route = service_policy("r", {"voltgw": {"authentication": {"disabled": True}}, "routes": [
            {"route_destination": {"destinations": [{"cluster": [{"name": "c"}]}]}}]}, "route")
        made = gated(None, open_route, jwt_validation=tokens())
        self.assertEqual(chosen(made, asks()).request_filters, ())


class FieldTests(SynchronousTestCase):
    """What the fields under ``voltgw`` make of tokens and of fetched keys."""

    def method(self, **spec: Any) -> Jwt:
        """The method of a host."""
        (found,) = gate_of(gated(jwt_validation=spec)).terms.methods
        assert isinstance(found, Jwt)
        return found

    def test_terms_of_tokens(self) -> None:
        """Defaults, and each field with another value."""
        plain = self.method(**tokens()).terms
        self.assertEqual((plain.leeway_s, plain.max_bytes, plain.user_claim, plain.period), (60.0, 8192, "sub", True))
        terms = self.method(**tokens(
            reserved_claims={"issuer": "i", "audience": {"audiences": ["a"]}, "validate_period_disable": {}},
            mandatory_claims={"claim_names": ["c"]},
            voltgw={"leeway": 0, "max_token": "1KiB", "user_claim": "email", "algorithms": ["ES256"]})).terms
        self.assertEqual((terms.leeway_s, terms.max_bytes, terms.user_claim, terms.period), (0.0, 1024, "email", False))
        self.assertEqual((terms.issuer, terms.audiences, terms.mandatory, terms.algorithms),
                         ("i", frozenset("a"), ("c",), frozenset(("ES256",))))

    def test_user_and_realm(self) -> None:
        """The claim that names the user, and what a challenge says."""
        made = gated(jwt_validation=tokens(voltgw={"user_claim": "email", "realm": 'the "shop"\r\nX-Evil: \\ä'}))
        exchange = asks("/", "GET", bearer(email="ada@example.com"))
        self.assertIs(judged(made, exchange), None)
        assert exchange.user is not None
        self.assertEqual(exchange.user.name, "ada@example.com")
        self.assertEqual(told(judged(made, asks()))[2], b'Bearer realm="the shopX-Evil: "')

    def test_places(self) -> None:
        """A token in each place that is named, and in no other."""
        made = gated(jwt_validation=tokens(voltgw={"places": [{"header": "X-Token", "prefix": "t="}, {"cookie": "c"}, {"query": "q"}]}))
        token = signed()
        for exchange in (asks("/", "GET", f"X-Token: t={token}"), asks("/", "GET", f"Cookie: c={token}"), asks(f"/?q={token}")):
            self.assertIs(judged(made, exchange), None)
        self.assertEqual(told(judged(made, asks("/", "GET", bearer())))[1], "authentication: jwt missing")

    def test_keys_as_text(self) -> None:
        """The older form: the key set itself."""
        self.assertIs(judged(gated(jwt_validation={"jwks": jwks(rsa()).decode()}), asks("/", "GET", bearer())), None)

    def test_keys_that_go_on(self) -> None:
        """An API key with ``forward``; one in the query never does."""
        exchange = asks("/", "GET", f"X-Api-Key: {KEY}")
        self.assertIs(judged(gated({"api_key": {**KEYS, "forward": True}}), exchange), None)
        self.assertEqual(fields(exchange, "x-api-key"), [KEY.encode()])
        exchange = asks(f"/?k={KEY}")
        self.assertIs(judged(gated({"api_key": {**KEYS, "query": "k", "forward": True}}), exchange), None)
        self.assertEqual(exchange.request.forward, b"/")

    def test_terms_of_keys_that_are_fetched(self) -> None:
        """Defaults, and each field with another value; who names the same ones shares them."""
        plain = self.method(voltgw={"jwks_url": "https://id.example/keys"}).keys.fetched
        assert plain is not None
        self.assertEqual(plain, ("https://id.example/keys", None, 300.0, 30.0, 5.0))
        other = self.method(voltgw={"jwks_url": "https://id.example/keys", "refresh_interval": "1h", "refetch_pause": 5,
                                    "fetch_timeout": "2s", "trusted_ca": certificate_url(authority().certificate)}).keys.fetched
        assert other is not None
        self.assertEqual(other[1:], (authority().certificate, 3600.0, 5.0, 2.0))
        forward = {"destinations": [{"cluster": [{"name": "c"}]}]}
        twice = service_policy("r", {"routes": [{"route_destination": forward, "voltgw": {"authentication": {
            "jwt": {"voltgw": {"jwks_url": "https://id.example/keys"}}}}}]}, "route")
        made = gated(None, twice, jwt_validation={"voltgw": {"jwks_url": "https://id.example/keys"}})
        self.assertEqual(len(gate_of(made).sources), 1)


class ViewTests(SynchronousTestCase):
    def test_a_load_balancer(self) -> None:
        """``jwt_validation`` of an ``http_loadbalancer``, where the object model has it, asks for tokens."""
        text = json.dumps({"objects": [{"kind": "http_loadbalancer", "metadata": {"name": "shop"}, "spec": {
            "domains": ["*"], "http": {"port": 8080}, "advertise_on_public_default_vip": {}, "jwt_validation": tokens(
                reserved_claims={"issuer": GOOD["iss"], "audience_disable": {}, "validate_period_enable": {}},
                target={"all_endpoint": {}}, token_location={"bearer_token": {}}, action={"block": {}}),
            "routes": [{"direct_response_route": {"path": {"prefix": "/"}, "route_direct_response": {"response_code": 200}}}]}}]})
        made = build(config(text), None, replace(makings(), wall=lambda: NOW, interface_address=lambda kind, network: "192.0.2.10"))
        (host,) = made.hosts.values()
        for line, status in (("Accept: */*", 401), (bearer(), None), (bearer(iss="x"), 401)):
            exchange = asks("/", "GET", line)
            route = host.choose(exchange.request, 8080)
            assert route is not None
            reply = route.request_filters[0](exchange)
            self.assertEqual(None if reply is None else cast(Reply, reply).status, status)


class PreflightTests(SynchronousTestCase):
    def test_where_cors_answers(self) -> None:
        """A browser's preflight has no credentials: where the route's policy answers it nothing is asked of it, else 401."""
        lines = "Origin: https://app.example", "Access-Control-Request-Method: PUT"
        policy = {"allow_origin": ["https://app.example"], "allow_methods": "PUT"}
        made = gated({"user_header": "x-user"}, jwt_validation=tokens(), cors_policy=policy)
        exchange = asks("/", "OPTIONS", *lines, "X-User: root")
        reply = judged(made, exchange)
        assert reply is not None
        self.assertEqual((reply.status, exchange.user, fields(exchange, "x-user")), (204, None, []))
        self.assertEqual(told(judged(made, asks("/", "OPTIONS", lines[0])))[0], 401)
        self.assertEqual(told(judged(made, asks("/", "PUT", *lines)))[0], 401)
        self.assertEqual(told(judged(gated(jwt_validation=tokens()), asks("/", "OPTIONS", *lines)))[0], 401)
        off = service_policy("r", {"routes": [{"route_destination": {
            "destinations": [{"cluster": [{"name": "c"}]}], "cors_policy": {"disabled": True}}}]}, "route")
        self.assertEqual(told(judged(gated(None, off, jwt_validation=tokens(), cors_policy=policy), asks("/", "OPTIONS", *lines)))[0], 401)


class ReloadTests(SynchronousTestCase):
    def test_counting_goes_on(self) -> None:
        """Results are counted on, and a host that says what it said is not built anew, so that it forgets no token."""
        first = gated(jwt_validation=tokens())
        judged(first, asks("/", "GET", bearer()))
        same = gated(jwt_validation=tokens(), previous=first)
        self.assertIs(gate_of(same), gate_of(first))
        other = gated(jwt_validation=tokens(reserved_claims={"issuer": "x"}), previous=first)
        self.assertEqual(list(gate_of(other).results.rows()), [("jwt", "accepted", 1)])


class MistakeTests(SynchronousTestCase):
    """What `check` finds."""

    def problem(self, authentication: dict[str, Any] | None = None, **spec: Any) -> str:
        """The messages of a configuration that is wrong."""
        try:
            gated(authentication, **spec)
        except (ConfigErrors, BuildErrors) as errors:
            return "\n".join(f"{one.place}: {one.message}" for one in errors.problems)
        raise AssertionError("nothing is wrong with it")

    def test_each(self) -> None:
        """Every mistake is found while the configuration is read, in words that show no secret."""
        for authentication, spec, words in (
                ({}, {}, "asks for nothing"),
                ({"basic": basic("ada:plain-secret")}, {}, "line 1: this kind of hash is not accepted"),
                ({"api_key": {}}, {}, "or nobody could be let in"),
                ({"api_key": {"keys": [{"name": "x", "sha256": "my-own-secret"}]}}, {}, "is not the SHA-256 of a key"),
                ({"api_key": {"keys": [{"name": "x", "key": inline(b"short")}]}}, {}, "can be guessed"),
                ({"api_key": {"keys": [{"name": "x"}]}}, {}, "needs `sha256` or `key`"),
                ({"api_key": {"keys_file": inline(b"x:my-own-secret")}}, {}, "line 1 is not <name>:<64"),
                ({"api_key": {"keys": [*KEYS["keys"], {**KEYS["keys"][0], "name": "y"}]}}, {}, "robot and y have the same key"),
                ({"client_certificate": {}}, {}, "has no TLS"),
                ({"forward_auth": {"cluster": ["c"], "grpc": True}}, {}, "gRPC needs HTTP/2"),
                ({"forward_auth": {"cluster": ["c"], "grpc": True, "path": "/x"}}, {}, "has a path of its own"),
                ({"basic": basic(ADA)}, {"jwt_validation": tokens()}, "cannot both stand in Authorization"),
                ({"jwt": tokens()}, {"jwt_validation": tokens()}, "once is enough"),
                (None, {"jwt_validation": {}}, "no keys are named"),
                (None, {"jwt_validation": tokens(jwks_config={"cleartext": inline(b"my-own-secret")})}, "the key set is not JSON"),
                (None, {"jwt_validation": {"voltgw": {"jwks_url": "http://id.example/keys"}}}, "may be anybody's"),
                (None, {"jwt_validation": {"voltgw": {"jwks_url": "ftp://id.example/keys"}}}, "begins with https:// or http://"),
                (None, {"jwt_validation": tokens(voltgw={"jwks_url": "https://id.example/keys"})}, "which of them count is not known"),
                (None, {"jwt_validation": {"voltgw": {"jwks_url": "https://id.example/k", "trusted_ca": inline(b"x")}}}, "no PEM certificate"),
                (None, {"jwt_validation": tokens(reserved_claims={"audience": {}})}, "no audience is named"),
                (None, {"jwt_validation": tokens(target={"base_paths": {"base_paths": ["api"]}})}, "does not begin with /"),
                (None, {"jwt_validation": tokens(target={"api_groups": {"api_groups": ["x"]}})}, "api_groups"),
                (None, {"jwt_validation": tokens(voltgw={"algorithms": ["none"]})}, "none of"),
                (None, {"jwt_validation": tokens(voltgw={"places": [{}]})}, "a place needs"),
                (None, {"jwt_validation": tokens(voltgw={"places": [{"header": "x-t"}], "claims_to_headers": [{"claim": "a", "header": "X-T"}]})},
                 "is taken out, as endpoints are told")):
            said = self.problem(authentication, **spec)
            self.assertIn(words, said)
            self.assertNotIn("secret", said)
            self.assertNotIn("<unknown>", said)

    def test_hosts_that_relay(self) -> None:
        """They see no request, so asking for credentials there is an error, and not a door that stands open."""
        forward = {"destinations": [{"cluster": [{"name": "c"}]}]}
        asking = service_policy("r", {"routes": [{"route_destination": forward, "voltgw": {"authentication": {"basic": basic(ADA)}}}]}, "route")
        cases: list[tuple[dict[str, Any] | None, tuple[str, ...], dict[str, Any]]] = [
            (None, (), {"jwt_validation": tokens()}), ({"basic": basic(ADA)}, (), {}), (None, (asking,), {})]
        for authentication, parts, spec in cases:
            try:
                gated(authentication, *parts, proxy="TCP_PROXY", **spec)
            except (ConfigErrors, BuildErrors) as errors:
                self.assertIn("sees no request", errors.problems[0].message)
            else:
                self.fail("it was built")
        self.assertEqual(gated({"disabled": True}, proxy="TCP_PROXY").hosts["default/h"].gates, ())

    def test_keys_in_a_url_without_tls_where_it_is_meant(self) -> None:
        """``plain_http``, or a URL on this machine."""
        for url, more in (("http://127.0.0.1:8000/keys", {}), ("http://localhost:8000/keys", {}), ("http://[::1]:8/k", {}),
                          ("http://id.internal/keys", {"plain_http": True})):
            gated(jwt_validation={"voltgw": {"jwks_url": url, **more}})

