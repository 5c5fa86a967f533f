"""What clients, issuers and authorizers may try against those who judge requests, one trick a test."""

from __future__ import annotations

import json
from collections import Counter
from time import process_time
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.security.credentials import ADA, basic, credential, gated, judged, tokens
from tests.security.making import asks, chain_of, host, service_policy, serving, verdict
from tests.security.test_limits import answer, limiter, users
from tests.security.tokens import GOOD, rsa, signed
from voltgw.app.explain import Explainer
from voltgw.app.question import read_question
from voltgw.errors import ConfigErrors
from voltgw.security.ext_authz import check_response
from voltgw.security.htpasswd import Htpasswd
from voltgw.values.exchange import Exchange
from voltgw.wire.protobuf import message, number, octets


def told(exchange: Exchange, name: bytes) -> list[bytes]:
    """What the endpoint is told in a field."""
    return [value for field, value in exchange.request.fields if field == name]


class NameTests(SynchronousTestCase):
    def test_white_space_around_a_name(self) -> None:
        """" root" is somebody else than "root", but a field cannot say so (RFC 9110 5.5): the endpoint is told of nobody."""
        runtime = gated({"jwt": tokens(voltgw={"claims_to_headers": [{"claim": "role", "header": "x-role"}]}), "user_header": "x-user"})
        for name, said in (("ada", [b"ada"]), (" root", []), ("root ", []), ("\troot", []), ("ro ot", [b"ro ot"])):
            token = signed(json.dumps({**GOOD, "sub": name, "role": name}).encode(), rsa())
            exchange = asks("/", "GET", f"Authorization: Bearer {token}", "X-User: root", "X-Role: root")
            self.assertIsNone(judged(runtime, exchange))
            self.assertEqual((told(exchange, b"x-user"), told(exchange, b"x-role")), (said, said), repr(name))

    def test_users_who_do_not_exist(self) -> None:
        """They cost what those cost who do, each always the same: how long an answer takes tells nobody who is there."""
        asked: list[str] = []

        def check(kind: str) -> Any:
            def fits(password: bytes) -> bool:
                asked.append(kind)
                return True                 # even a decoy's password that fits is nobody's

            return fits

        users = Htpasswd({b"slow%d" % one: check("slow") for one in range(50)} | {b"quick%d" % one: check("quick") for one in range(50)})
        first: list[str] = []
        for _ in range(2):
            asked.clear()
            for one in range(400):
                self.assertFalse(users.check(b"nobody%d" % one, b"x"))
            self.assertEqual(first or asked, asked)
            first = list(asked)
        kinds = Counter(first)
        self.assertGreater(min(kinds["slow"], kinds["quick"]), 120, kinds)
        self.assertFalse(Htpasswd({}).check(b"nobody", b"x"))


class MethodTests(SynchronousTestCase):
    def test_in_lower_case(self) -> None:
        """``delete`` is not DELETE to RFC 9110, but it is to many a framework: a rule about DELETE holds for both."""
        refuses = service_policy("no", {"rule_list": {"rules": [
            {"metadata": {"name": "writes"}, "spec": {"action": "DENY", "http_method": {"methods": ["DELETE", "PUT"]}}},
            {"metadata": {"name": "rest"}, "spec": {"action": "ALLOW"}}]}})
        chain = chain_of(serving(host(active_service_policies={"policies": ["no"]}), refuses))
        for method in ("DELETE", "delete", "Delete", "dELETE", "put"):
            exchange = asks("/", method)
            self.assertEqual((verdict(chain, exchange), exchange.policy), ("deny", "default/no/writes"), method)
            reply, _ = chain.rehearse(exchange)
            self.assertIsNotNone(reply, method)
        for method in ("GET", "get", "DELETES", "REPORT"):
            self.assertEqual(verdict(chain, asks("/", method)), "allow", method)

    def test_all_but_some(self) -> None:
        """An inverted matcher likewise."""
        reads = service_policy("reads", {"rule_list": {"rules": [
            {"metadata": {"name": "r"}, "spec": {"action": "ALLOW", "http_method": {"methods": ["DELETE"], "invert_matcher": True}}}]}})
        chain = chain_of(serving(host(active_service_policies={"policies": ["reads"]}), reads))
        self.assertEqual([verdict(chain, asks("/", method)) for method in ("GET", "delete")], ["allow", "deny"])


class ShareOfLimitTests(SynchronousTestCase):
    def limited(self, **rule: Any) -> Any:
        """Two requests a minute for each user."""
        return serving(host(rate_limiter=["two"]), users(rule), limiter(user_identification=["who"]))

    def statuses(self, made: Any, *exchanges: Exchange) -> list[int]:
        """0 where a request may pass."""
        return [0 if (reply := answer(made, each)) is None else reply.status for each in exchanges]

    def test_a_new_name_before_the_true_one(self) -> None:
        """Several values that differ are none: such a client is its address, and cannot have a fresh share with each request."""
        tries = range(5)
        for rule, exchanges in (
            ({"http_header_name": "x-key"}, [asks("/", "GET", f"X-Key: new{one}", "X-Key: mine") for one in tries]),
            ({"cookie_name": "id"}, [asks("/", "GET", f"Cookie: id=new{one}; id=mine") for one in tries]),
            ({"cookie_name": "id"}, [asks("/", "GET", f"Cookie: id=new{one}", "Cookie: id=mine") for one in tries]),
            ({"query_param_key": "key"}, [asks(f"/?key=new{one}&k%65y=mine") for one in tries]),
            ({"ip_and_http_header_name": "x-key"}, [asks("/", "GET", f"X-Key: new{one}", "X-Key: mine") for one in tries]),
        ):
            self.assertEqual(self.statuses(self.limited(**rule), *exchanges), [0, 0, 429, 429, 429], rule)

    def test_the_same_twice(self) -> None:
        """That is one name, and an empty one beside it says nothing."""
        made = self.limited(http_header_name="x-key")
        exchanges = [asks("/", "GET", "X-Key: mine", address=f"192.0.2.{one}") for one in (1, 2)]
        exchanges += [asks("/", "GET", "X-Key: mine", "X-Key: mine", address="192.0.2.3"),
                      asks("/", "GET", "X-Key:", "X-Key: mine", address="192.0.2.4")]
        self.assertEqual(self.statuses(made, *exchanges), [0, 0, 429, 429])


class AuthorizerTests(SynchronousTestCase):
    """A CheckResponse that is not what it seems."""

    OK = message(1, b"")
    REFUSED = message(1, number(1, 7))

    def test_a_verdict_that_is_no_number(self) -> None:
        """It is an answer that makes no sense, and not "0, so it may pass"."""
        for data in (message(1, octets(1, b"\7")), message(1, b"\x0d\7\0\0\0"), message(1, b"\x09" + bytes(8)), number(1, 7)):
            self.assertRaises(ValueError, check_response, data)
        self.assertEqual([check_response(data).code for data in (self.OK, self.REFUSED, b"")], [0, 7, 0])

    def test_several_verdicts(self) -> None:
        """A number that stands twice is the last one; an empty message behind a refusal takes nothing back."""
        self.assertEqual(check_response(message(1, number(1, 16) + number(1, 7))).code, 7)
        self.assertEqual(check_response(self.REFUSED + self.OK).code, 7)
        self.assertEqual(check_response(self.OK + self.REFUSED).code, 7)
        denied = message(2, message(1, number(1, 401)) + message(1, number(1, 403)))
        self.assertEqual(check_response(self.REFUSED + denied).status, 403)

    def test_fields_that_are_not_its_to_set(self) -> None:
        """What frames messages, is for one hop, leads elsewhere, or is ours to say of the client."""
        def option(name: bytes, value: bytes) -> bytes:
            return message(2, message(1, octets(1, name) + octets(2, value)))

        bad = [(name, b"1") for name in (
            b"Content-Length", b"transfer-encoding", b"Connection", b"proxy-connection", b"HTTP2-Settings", b"Expect", b"Host", b":path",
            b"te", b"trailer", b"upgrade", b"keep-alive", b"proxy-authorization", b"x-forwarded-for", b"X-Forwarded-Client-Cert", b"x y",
            b"", b"x:y")]
        bad += [(b"x-a", b"b\r\nx-c: d"), (b"x-a", b"b\0"), (b"x-a\r\nb", b"c")]
        inner = b"".join(option(name, value) for name, value in (*bad, (b"X-User", b" ada ")))
        self.assertEqual(check_response(self.OK + message(3, inner)).headers, ((b"x-user", b"ada"),))
        self.assertEqual(check_response(self.REFUSED + message(2, inner)).headers, ((b"x-user", b"ada"),))


class KeyTests(SynchronousTestCase):
    def test_what_only_looks_like_this_machine(self) -> None:
        """Keys are not fetched in the clear from ``127.example``, whatever its name begins with."""
        for url in ("http://127.id.example/keys", "http://127.0.0.1.nip.example/keys", "http://localhost.example/keys", "http://128.0.0.1/"):
            self.assertRaises(ConfigErrors, gated, jwt_validation={"voltgw": {"jwks_url": url}})
        for url in ("http://127.8.9.1/keys", "http://localhost/keys", "http://[::1]/keys"):
            gated(jwt_validation={"voltgw": {"jwks_url": url}})


class CredentialTests(SynchronousTestCase):
    def test_several_at_once(self) -> None:
        """Two fields of one name, or two values joined by a comma, are no credential: an origin might read the other one."""
        runtime = gated({"basic": basic(ADA)})
        good, bad = credential("ada", "secret"), credential("eve", "x")
        self.assertIsNone(judged(runtime, asks("/", "GET", good)))
        joined = f"{good}, {bad.partition(': ')[2]}"
        for lines, status in (((good, bad), 400), ((good, good), 400), ((joined,), 400), ((bad, good), 400),
                              ((f"{good} {good.rpartition(' ')[2]}",), 400), ((good.replace("Basic ", "Basic\t"),), 401),
                              ((good.replace("Authorization", "Proxy-Authorization"),), 401)):
            reply = judged(runtime, asks("/", "GET", *lines))
            assert reply is not None, lines
            self.assertEqual(reply.status, status, lines)

    def test_names_with_an_underscore(self) -> None:
        """``X_User`` is ``X-User`` to CGI and WSGI: it never arrives."""
        runtime = gated({"basic": basic(ADA), "user_header": "x-user"})
        exchange = asks("/", "GET", credential("ada", "secret"), "X_User: root", "x-USER: root", "x_user: root")
        self.assertIsNone(judged(runtime, exchange))
        self.assertEqual([field for field in exchange.request.fields if b"user" in field[0].lower()], [(b"x-user", b"ada")])


class ReadingTests(SynchronousTestCase):
    """Paths that origins read in different ways."""

    NO_ADMIN: ClassVar[dict[str, Any]] = {"action": "DENY", "path": {"prefix_values": ["/admin"]}}
    PUBLIC: ClassVar[dict[str, Any]] = {"action": "ALLOW", "path": {"prefix_values": ["/public"]}}
    REST: ClassVar[dict[str, Any]] = {"action": "ALLOW"}

    def verdicts(self, rules: list[dict[str, Any]], *targets: str) -> list[str]:
        """What these rules say of paths; the tables and the rules one by one agree."""
        listed = [{"metadata": {"name": f"r{number}"}, "spec": rule} for number, rule in enumerate(rules)]
        chain = chain_of(serving(host(active_service_policies={"policies": ["p0"]}), service_policy("p0", {"rule_list": {"rules": listed}})))
        found = []
        for target in targets:
            found.append(verdict(chain, asks(target)))
            self.assertEqual(chain.rehearse(asks(target))[0] is None, found[-1] == "allow", target)
        return found

    def test_refused_by_any_reading(self) -> None:
        """Servlet containers take ``..;x`` for ``..``, others ``\\`` for ``/``: a rule about /admin holds for both."""
        targets = ("/x/..;/admin", "/..;a=b/admin/users", "/x/..%3B/admin", "/x/.;/..%2Fadmin", "/x\\..\\admin", "/x%5C..%5Cadmin/y",
                   "/x/..%5c/admin", "/..%2F..%2Fadmin", "/x/..%2Fadmin", "/x%2F..%2Fadmin", "/x/%2e%2e%2Fadmin", "/x/.%2e;y/admin")
        self.assertEqual(self.verdicts([self.NO_ADMIN, self.REST], *targets), ["deny"] * len(targets))
        self.assertEqual(self.verdicts([{"action": "DENY", "path": {"regex_values": ["/admin(/.*)?"]}}, self.REST], *targets),
                         ["deny"] * len(targets))

    def test_let_pass_by_all_of_them(self) -> None:
        """What is public to the one is below /admin to the other: a rule that lets /public pass does not hold for it."""
        targets = ("/admin/..%2Fpublic", "/admin%2F..%2Fpublic/x", "/admin/..;/public", "/admin/..;x=y/public", "/admin\\..\\public",
                   "/admin/%2e%2e%2fpublic", "/admin/.;/..%2Fpublic")
        self.assertEqual(self.verdicts([self.PUBLIC], *targets), ["deny"] * len(targets))
        self.assertEqual(self.verdicts([{"action": "ALLOW", "path": {"regex_values": ["/public(/.*)?"]}}], *targets), ["deny"] * len(targets))
        self.assertEqual(self.verdicts([{"action": "ALLOW", "path": {"suffix_values": [".css"]}}], "/admin/users;.css", "/a;x/b.css", "/a.css;x"),
                         ["deny", "allow", "deny"])
        inverted = {"action": "ALLOW", "path": {"prefix_values": ["/admin"], "invert_matcher": True}}
        self.assertEqual(self.verdicts([inverted], *targets, "/x/..;/admin"), ["deny"] * (len(targets) + 1))
        others = {"action": "DENY", "path": {"prefix_values": ["/public"], "invert_matcher": True}}
        self.assertEqual(self.verdicts([others, self.REST], *targets), ["deny"] * len(targets))

    def test_paths_that_only_look_odd(self) -> None:
        """One reading, one verdict: segments that begin with a dot, escapes, parameters."""
        targets = ("/public/.well-known/x", "/public/..x/y", "/public/x%2Fy", "/public;v=1", "/public/a;b/c", "/public/%5C", "/public/x/../y",
                   "/public/...", "/x/../public")
        self.assertEqual(self.verdicts([self.PUBLIC], *targets), ["allow"] * len(targets))

    def test_rules_that_speak_of_parameters(self) -> None:
        """They mean them."""
        rule = {"action": "ALLOW", "path": {"exact_values": ["/a;v=1"], "prefix_values": ["/b;"]}}
        self.assertEqual(self.verdicts([rule], "/a;v=1", "/b;v=1/c", "/a", "/a;v=2", "/a;v=1/..%2F..%2Fx"), ["allow"] * 2 + ["deny"] * 3)
        rule = {"action": "DENY", "path": {"exact_values": ["/a/b"]}}
        self.assertEqual(self.verdicts([rule, self.REST], "/a/b", "/a;v=1/b", "/a/b;x", "/;x/a/b", "/a/b/c;x"), ["deny"] * 4 + ["allow"])

    def test_long_paths(self) -> None:
        """A path with several readings that nobody would write is refused by any rule about paths; none takes long to judge."""
        odd = ("/" + "a/..;/" * 8000, "/public/" + ";\\" * 9000, "/" + "..%2F" * 9000 + "public", "/public" + "/.x;" * 9000)
        self.assertEqual(self.verdicts([self.NO_ADMIN, self.REST], *odd), ["deny"] * 4)
        self.assertEqual(self.verdicts([self.PUBLIC], *odd), ["deny"] * 4)
        self.assertEqual(self.verdicts([self.NO_ADMIN, self.REST], "/" + "a/" * 9000, "/a/" + "%2F" * 9000), ["allow"] * 2)
        rules = [{"action": "DENY", "path": {"regex_values": [f".*/secret{number}/.*"]}} for number in range(100)]
        listed = [{"metadata": {"name": f"r{number}"}, "spec": rule} for number, rule in enumerate((*rules, self.REST))]
        chain = chain_of(serving(host(active_service_policies={"policies": ["p0"]}), service_policy("p0", {"rule_list": {"rules": listed}})))
        runtime = gated({"jwt": tokens(target={"base_paths": {"base_paths": ["/api"]}})})
        for target in (*odd, "/" + "a" * 50_000, "/" + "/secret" * 7000):
            exchange = asks(target)
            began = process_time()
            for _ in range(5):
                chain.judge(exchange)
                judged(runtime, exchange)
            self.assertLess(process_time() - began, 5.0, target[:20])      # a reading that goes back and forth takes minutes

    def test_tokens_below_a_base_path(self) -> None:
        """Whoever reads the path as one below it finds a token."""
        runtime = gated({"jwt": tokens(target={"base_paths": {"base_paths": ["/api"]}})})
        for target in ("/api", "//api", "/x/..;/api", "/x/..%2Fapi", "/api/..%2Fpublic", "/api/..;/public", "/x%5C..%5Capi", "/API;v=1"):
            reply = judged(runtime, asks(target))
            assert reply is not None, target
            self.assertEqual(reply.status, 401, target)
        for target in ("/", "/apis", "/x/api", "/x/..%2Fy"):
            self.assertIsNone(judged(runtime, asks(target)), target)


class RouteTests(SynchronousTestCase):
    """A route that asks for more than its neighbours."""

    def routes(self, *rules: dict[str, Any], **spec: Any) -> Any:
        """A host with these rules and one for everything else."""
        forward = {"route_destination": {"destinations": [{"cluster": [{"name": "c"}]}]}}
        listed = [{**forward, **rule} for rule in (*rules, {})]
        return gated(None, service_policy("r", {"routes": listed}, "route"), **spec)

    def statuses(self, runtime: Any, *targets: str) -> list[int]:
        """What is answered, 0 where a request may pass."""
        return [0 if (reply := judged(runtime, asks(target))) is None else reply.status for target in targets]

    def test_an_origin_that_reads_more_into_a_path(self) -> None:
        """Nobody comes to what needs a password by writing its path so that the route beside it is chosen."""
        asking = {"match": [{"path": {"prefix": "/api"}}], "voltgw": {"authentication": {"basic": basic(ADA)}}}
        runtime = self.routes(asking)
        self.assertEqual(self.statuses(runtime, "/api", "/api/x", "/x/../api"), [401] * 3)
        ways = ("//api", "/;/api", "/x/..%2Fapi", "/x/..;/api", "/%2Fapi", "/.;/api/x", "/x%5C..%5Capi", "/x//..;a//api")
        self.assertEqual(self.statuses(runtime, *ways), [400] * len(ways))
        others = ("/", "//x", "/x/..%2Fy", "/a;b/c", "/.well-known/x", "/x%2Fapi", "/%E2%82%AC", "/100%25", "//")
        self.assertEqual(self.statuses(runtime, *others), [0] * len(others))
        gate = next(gate for gate in runtime.hosts["default/h"].gates if gate.name == "paths")
        self.assertEqual(list(gate.verdicts()), [("paths", "refused", len(ways))])
        exchange = asks("//api")
        exchange.route = runtime.hosts["default/h"].choose(exchange.request, 8080)
        reply, reason = gate.rehearse(exchange)
        self.assertEqual((reply and reply.status, "asks for more" in reason.why), (400, True))

    def test_a_route_that_asks_for_less(self) -> None:
        """Likewise where one route is open, and written so that it is chosen for what is not."""
        opened = {"match": [{"path": {"prefix": "/open"}}], "voltgw": {"authentication": {"disabled": True}}}
        runtime = self.routes(opened, jwt_validation=tokens())
        self.assertEqual(self.statuses(runtime, "/open/x", "/x", "/open/..%2Fapi", "/open/..;/api", "/open/a//b"), [0, 401, 400, 400, 0])

    def test_a_host_that_takes_paths_as_they_come(self) -> None:
        """Without normal form there are more ways, and none of them leads past the route that asks."""
        asking = {"match": [{"path": {"prefix": "/api"}}], "voltgw": {"authentication": {"basic": basic(ADA)}}}
        runtime = self.routes(asking, disable_path_normalize={})
        self.assertEqual(self.statuses(runtime, "/api", "/api/x"), [401] * 2)
        ways = ("//api", "/x/../api", "/./api", "/%61pi", "/x/%2e%2e/api", "/x/..%2Fapi", "/x/..;/api")
        self.assertEqual(self.statuses(runtime, *ways), [400] * len(ways))
        self.assertEqual(self.statuses(runtime, "/", "/x/../y", "/x/%61pi"), [0] * 3)

    def test_what_explain_says(self) -> None:
        """The same as what becomes of the request."""
        asking = {"match": [{"path": {"prefix": "/api"}}], "voltgw": {"authentication": {"basic": basic(ADA)}}}
        forward = {"route_destination": {"destinations": [{"cluster": [{"name": "c"}]}]}}
        runtime = gated(None, service_policy("r", {"routes": [{**forward, **asking}, forward]}, "route"))
        for path, status in (("//api", 400), ("/x/..%2Fapi", 400), ("/x", 503), ("/api", 401)):        # there is no endpoint
            explained = Explainer(runtime).explain(read_question("GET", f"http://127.0.0.1:8080{path}", (), "192.0.2.1"))
            self.assertEqual(explained.status, status, path)

    def test_policies_and_limits(self) -> None:
        """A route without policies, one with a limit of its own."""
        free = {"match": [{"path": {"prefix": "/free"}}], "service_policy": {"disable": True}}
        runtime = self.routes(free, active_service_policies={"policies": []})
        self.assertEqual(self.statuses(runtime, "/free", "/free/..%2Fx", "/x"), [0, 400, 403])

    def test_nothing_where_all_ask_the_same(self) -> None:
        """Then a path that is another route's is nobody's advantage, and goes on as it always did."""
        runtime = self.routes({"match": [{"path": {"prefix": "/api"}}]}, jwt_validation=tokens())
        self.assertEqual([gate.name for gate in runtime.hosts["default/h"].gates], ["authentication"])


class FloodTests(SynchronousTestCase):
    def test_parameters(self) -> None:
        """Thousands of them cost the same however many rules ask for some."""
        rules = [{"action": "DENY", "query_params": [{"key": f"p{number}", "item": {"regex_values": [".*evil.*"]}}]} for number in range(100)]
        listed = [{"metadata": {"name": f"r{number}"}, "spec": rule} for number, rule in enumerate((*rules, {"action": "ALLOW"}))]
        chain = chain_of(serving(host(active_service_policies={"policies": ["p0"]}), service_policy("p0", {"rule_list": {"rules": listed}})))
        for query, said in (("%61&" * 12_000, "allow"), ("a=1&" * 12_000 + "%41=1", "allow"), ("a=1&" * 12_000 + "p9%39=an+evil%20one", "deny"),
                            ("p7=x&" * 9_000 + "p7=evil", "deny"), ("p7=evil&" + "a" * 300, "deny"), ("%707=evil", "deny"), ("p7=evi&l", "allow")):
            exchange = asks(f"/?{query}")
            began = process_time()
            self.assertEqual("deny" if chain.judge(exchange) is not None else "allow", said, query[-20:])
            self.assertLess(process_time() - began, 0.25, query[-20:])

    def test_cookies_without_a_sign(self) -> None:
        """They count like others: a limit on cookies is not passed by leaving the ``=`` out."""
        rule = {"action": "DENY", "request_constraints": {"max_cookie_count_exceeds": 3, "max_cookie_value_size_exceeds": 10}}
        listed = [{"metadata": {"name": "few"}, "spec": rule}, {"metadata": {"name": "rest"}, "spec": {"action": "ALLOW"}}]
        chain = chain_of(serving(host(active_service_policies={"policies": ["p0"]}), service_policy("p0", {"rule_list": {"rules": listed}})))
        for line, said in (("a=1; b=2; c=3", "allow"), ("a; b; c; d", "deny"), ("a=1; b; c; d=4", "deny"), ("; ;;  ; a=1", "allow"), ("x" * 11, "deny"),
                           ("a=" + "x" * 11, "deny"), ("a; b; c", "allow")):
            self.assertEqual(verdict(chain, asks("/", "GET", f"Cookie: {line}")), said, line)
