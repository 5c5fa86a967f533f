"""What service policies let pass and what they refuse (objects.md 13)."""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config
from tests.security.making import asks, chain_of, host, host_of, service_policy, serving, verdict
from voltgw.errors import ConfigErrors
from voltgw.security.addresses import Prefixes, number_of
from voltgw.security.policies import END, Chain
from voltgw.values.exchange import Exchange
from voltgw.values.tls import Handshake

NO_ADMIN = {"action": "DENY", "path": {"prefix_values": ["/admin"]}}
REST = {"action": "ALLOW"}
JA3 = "a" * 32


def rules(*specs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A policy with these rules."""
    return {"rule_list": {"rules": [
        {"metadata": {"name": f"r{number}"}, "spec": spec} for number, spec in enumerate(specs)]}, **more}


def chain(*policies: dict[str, Any], more: tuple[str, ...] = (), **spec: Any) -> Chain:
    """The chain of a host with these policies, named p0, p1, …"""
    names = [f"p{number}" for number in range(len(policies))]
    return chain_of(serving(
        host(active_service_policies={"policies": names}, **spec), *map(service_policy, names, policies), *more))


class PathTests(SynchronousTestCase):
    def test_ways_around_a_rule(self) -> None:
        """Escapes, dot segments and encoded slashes end in the verdict of the path that they mean."""
        no_admin = chain(rules(NO_ADMIN, REST))
        for target in ("/admin", "/admin/x", "/%61dmin", "/./admin", "/x/../admin", "/x/%2e%2e/admin", "/x/..%2Fadmin",
                       "/x/..%2fadmin", "/admin;x", "/admin?x", "/%2e/admin", "http://shop.example/admin", "/admin%2Fx"):
            self.assertEqual(verdict(no_admin, asks(target)), "deny", target)
        for target in ("/", "/x/admin", "/ADMIN", "//admin", "/x?/admin", "/adm"):
            self.assertEqual(verdict(no_admin, asks(target)), "allow", target)

    def test_an_origin_that_folds_slashes_and_case(self) -> None:
        """Transformers bring a path into the form that such an origin sees."""
        folded = chain(rules({"action": "DENY", "path": {
            "prefix_values": ["/admin"], "transformers": ["NORMALIZE_PATH", "LOWER_CASE"]}}, REST))
        for target in ("//admin", "/ADMIN", "/%2Fadmin", "/x/..//Admin"):
            self.assertEqual(verdict(folded, asks(target)), "deny", target)
        self.assertEqual(verdict(folded, asks("/x")), "allow")

    def test_a_host_that_takes_paths_as_they_come(self) -> None:
        """Without normal form the policy still judges what the path means."""
        made = serving(host(disable_path_normalize={}, active_service_policies={"policies": ["p0"]}),
                       service_policy("p0", rules(NO_ADMIN, REST)))
        exchange = asks("/x/../admin")
        self.assertIsNotNone(host_of(made).choose(exchange.request, 8080))
        self.assertEqual(verdict(chain_of(made), exchange), "deny")

    def test_a_path_written_with_escapes(self) -> None:
        """An operator may write a path as a browser shows it or as it is sent."""
        for text in ("/a b", "/a%20b"):
            spaced = chain(rules({"action": "ALLOW", "path": {"exact_values": [text]}}))
            self.assertEqual(verdict(spaced, asks("/a%20b")), "allow", text)


class ClientTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        """Prefixes of both versions and sets of them; IPv4 mapped into IPv6 is IPv4, and a zone does not count."""
        listed = chain({"allow_list": {
            "prefix_list": {"prefixes": ["192.0.2.0/24"], "ipv6_prefixes": ["fe80::/10"]}, "ip_prefix_set": ["s"]}},
            more=(service_policy("s", {"prefix": ["198.51.100.7/32", "2001:db8::/32"]}, "ip_prefix_set"),))
        for address, said in (("192.0.2.9", "allow"), ("::ffff:192.0.2.9", "allow"), ("fe80::1%eth0", "allow"),
                              ("198.51.100.7", "allow"), ("198.51.100.8", "deny"), ("2001:db8::1", "allow"),
                              ("2001:db9::1", "deny"), ("not an address", "deny")):
            self.assertEqual(verdict(listed, asks(address=address)), said, address)

    def test_prefixes_of_mapped_addresses(self) -> None:
        """A prefix of mapped addresses means the IPv4 addresses in it."""
        self.assertTrue(Prefixes(["::ffff:192.0.2.0/120"]).holds(number_of("192.0.2.77")))
        self.assertFalse(Prefixes(["::ffff:192.0.2.0/120"]).holds(number_of("192.0.3.77")))

    def test_spoofed_headers(self) -> None:
        """Who writes an address into a header does not get it: neither the address nor the header is believed."""
        listed = chain({"allow_list": {"prefix_list": {"prefixes": ["10.0.0.0/8"]}}})
        lines = [f"{name}: 10.0.0.1" for name in ("X-Forwarded-For", "X-Real-IP", "Client-IP")]
        self.assertEqual(verdict(listed, asks("/", "GET", *lines)), "deny")
        by_header = chain(rules({"action": "ALLOW", "headers": [{"name": "X-Forwarded-For", "item": {"exact_values": ["10.0.0.1"]}}]}))
        self.assertEqual(verdict(by_header, asks("/", "GET", *lines)), "deny")

    def test_fingerprints(self) -> None:
        """A client by the hello of its TLS; without TLS there is none."""
        known = chain(rules({"action": "ALLOW", "tls_fingerprint_matcher": {"exact_values": [JA3]}}))
        exchange = asks()
        self.assertEqual(verdict(known, exchange), "deny")
        exchange.client.handshake = Handshake("TLSv1.3", "", ja3=JA3)
        self.assertEqual(verdict(known, exchange), "allow")

    def test_names_of_a_certificate(self) -> None:
        """A client by a name in its certificate, exactly or by pattern; without one it has no name."""
        named = chain(rules({"action": "ALLOW", "client_name": "spiffe://example/shop"}),
                      rules({"action": "ALLOW", "client_name_matcher": {"regex_values": [".*\\.clients\\.example"]}}))
        exchange = asks()
        self.assertEqual(verdict(named, exchange), "deny")
        for names, said in (((b"spiffe://example/shop",), "allow"), ((b"a.clients.example",), "allow"), ((b"other",), "deny")):
            self.patch(__import__("voltgw.security.names").security.names, "names_in", lambda leaf, names=names: names)
            exchange.client.handshake = Handshake("TLSv1.3", "", peer=(b"leaf",))
            self.assertEqual(verdict(named, exchange), said, names)


class OrderTests(SynchronousTestCase):
    def test_algorithms(self) -> None:
        """FIRST_MATCH asks in the order of the file, the others ask the rules of one action first."""
        allow, deny = {"action": "ALLOW"}, {"action": "DENY"}
        for algorithm, specs, said in (("FIRST_MATCH", (allow, deny), "allow"), ("FIRST_MATCH", (deny, allow), "deny"),
                                       ("DENY_OVERRIDES", (allow, deny), "deny"), ("ALLOW_OVERRIDES", (deny, allow), "allow")):
            self.assertEqual(verdict(chain(rules(*specs, algo=algorithm)), asks()), said, algorithm)

    def test_the_end_of_the_set(self) -> None:
        """What no policy allows is refused; a list without policies allows nothing."""
        nobody = chain(rules({"action": "ALLOW", "path": {"exact_values": ["/x"]}}))
        reply = nobody.judge(asks("/y"))
        assert reply is not None
        self.assertEqual((reply.status, reply.flag, reply.detail, reply.body), (403, "SP", f"service_policy: {END}", b""))
        self.assertEqual(verdict(chain(), asks()), "deny")

    def test_the_next_policy(self) -> None:
        """NEXT_POLICY leaves the rest of its policy out."""
        two = chain(rules({"action": "NEXT_POLICY"}, {"action": "DENY"}), rules({"action": "ALLOW"}))
        self.assertEqual(verdict(two, asks()), "allow")

    def test_a_rule_that_only_logs(self) -> None:
        """``log_rule_evaluation`` counts and names a rule and goes on."""
        logging = chain(rules({"action": "DENY", "log_rule_evaluation": True}, REST))
        exchange = asks()
        self.assertEqual(verdict(logging, exchange), "allow")
        self.assertEqual([row[1:] for row in logging.rows()], [("r0", "LOG", 1), ("r1", "ALLOW", 1)])

    def test_an_expired_rule(self) -> None:
        """A rule is ignored after its time; the rehearsed clock stands at the epoch."""
        for ends, said in (("1969-12-31T23:59:59Z", "allow"), ("1970-01-01T00:00:01+00:00", "deny")):
            timed = chain(rules({"action": "DENY", "expiration_timestamp": ends}, REST))
            self.assertEqual(verdict(timed, asks()), said, ends)


class ReportTests(SynchronousTestCase):
    def test_a_policy_that_only_reports(self) -> None:
        """It counts and names what it would do and changes nothing, not even the end of the set."""
        trial = chain(rules({"action": "DENY"}, voltgw={"report_only": True}))
        exchange = asks()
        self.assertEqual(verdict(trial, exchange), "allow")
        self.assertEqual(exchange.policy, "default/p0/r0 (report only: DENY)")
        self.assertEqual(list(trial.rows()), [("default/p0", "r0", "REPORT", 1)])

    def test_beside_one_that_acts(self) -> None:
        """The others decide as if it were not there."""
        both = chain(rules({"action": "ALLOW"}, voltgw={"report_only": True}), rules(NO_ADMIN, REST))
        self.assertEqual(verdict(both, asks("/admin")), "deny")
        self.assertEqual(verdict(both, asks("/x")), "allow")


class ListTests(SynchronousTestCase):
    def test_the_set_of_the_namespace(self) -> None:
        """A ``service_policy_set`` judges every host of its namespace that does not say otherwise."""
        parts = (service_policy("s", {"policies": ["none"]}, "service_policy_set"), service_policy("none", {"deny_all_requests": {}}))
        self.assertEqual(verdict(chain_of(serving(host(), *parts)), asks()), "deny")
        self.assertIsNone(host_of(serving(host(no_service_policies={}), *parts)).guard)
        own = serving(host(active_service_policies={"policies": ["all"]}), *parts, service_policy("all", {"allow_all_requests": {}}))
        self.assertEqual(verdict(chain_of(own), asks()), "allow")
        self.assertIsNone(host_of(serving(host())).guard)

    def test_a_set_that_comes_with_a_reload(self) -> None:
        """It acts on hosts that did not change, and its counts go on over further reloads."""
        first = serving(host())
        parts = (service_policy("s", {"policies": ["none"]}, "service_policy_set"), service_policy("none", {"deny_all_requests": {}}))
        second = serving(host(), *parts, previous=first)
        self.assertEqual(verdict(chain_of(second), asks()), "deny")
        third = serving(host(), parts[0], service_policy("none", {"deny_all_requests": {}, "voltgw": {"report_only": True}}),
                        previous=second)
        self.assertEqual(verdict(chain_of(third), asks()), "allow")
        self.assertEqual([row.hits for row in chain_of(third).rows()], [2])

    def test_a_route_that_policies_do_not_judge(self) -> None:
        """``service_policy: {disable: true}`` takes the policies from one route and from no other."""
        routes = service_policy("open", {"routes": [
            {"match": [{"path": {"path": "/health"}}], "service_policy": {"disable": True}, "route_direct_response": {"response_code": 200}},
            {"route_direct_response": {"response_code": 200}}]}, "route")
        made = serving(host(routes=["open"], active_service_policies={"policies": []}), routes)
        first, second = host_of(made).routes
        self.assertEqual(([gate.name for gate in first.gates], first.guarded), (["paths"], False))
        self.assertEqual(([gate.name for gate in second.gates], second.guarded), (["paths", "service policies"], True))

    def test_a_relay(self) -> None:
        """Its connections are judged: by the set of its namespace, too, unless it says otherwise."""
        judging = service_policy("s", {"policies": []}, "service_policy_set")
        cases: list[tuple[dict[str, Any], bool]] = [({}, True), ({"no_service_policies": {}}, False)]
        for spec, guarded in cases:
            made = serving(host(proxy="TCP_PROXY", **spec), judging)
            self.assertEqual((host_of(made).guard is not None, bool(host_of(made).routes[0].gates)), (guarded, guarded))

    def test_what_a_connection_does_not_have(self) -> None:
        """A rule that refuses by something of a request is an error for a relay; one that allows by it never matches."""
        for spec, field in (({"path": {"prefix_values": ["/a"]}}, "path"), ({"http_method": {"methods": ["GET"]}}, "http_method"),
                            ({"domain_matcher": {"exact_values": ["x"]}}, "domain_matcher"),
                            ({"headers": [{"name": "a", "check_present": {}}]}, "headers")):
            for action in ("DENY", "NEXT_POLICY"):
                error = self.assertRaises(ConfigErrors, chain, rules({"action": action, **spec}, REST), proxy="TCP_PROXY")
                self.assertIn(f"{field} asks for something of a request", error.problems[0].message)
                self.assertIn("no_service_policies", error.problems[0].hint)
            inverted = {**spec, "http_method": {"methods": ["GET"], "invert_matcher": True}}
            made = chain(rules({"action": "ALLOW", **inverted}), proxy="TCP_PROXY")
            self.assertEqual(verdict(made, asks()), "deny")

    def test_how_a_connection_speaks(self) -> None:
        """TCP, or TLS, which is TCP as well."""
        for scheme, proxy, said in (("TCP", "TCP_PROXY", "allow"), ("TLS", "TCP_PROXY", "deny"), ("HTTP", "TCP_PROXY", "deny"),
                                    ("ANY", "TCP_PROXY", "allow")):
            made = chain(rules({"action": "ALLOW", "scheme": [scheme]}), proxy=proxy)
            self.assertEqual(verdict(made, asks()), said, (scheme, proxy))

    def test_a_set_of_another_kind_or_a_second_one(self) -> None:
        """Nobody is admitted by a guess: what such sets would refuse is not known."""
        first = service_policy("s", {"policies": []}, "service_policy_set")
        for other in (service_policy("t", {"policies": []}, "service_policy_set"),
                      service_policy("s", {"policies": [], "type": "RATE_LIMITING"}, "service_policy_set")):
            parts = (first, other) if '"t"' in other else (other,)
            error = self.assertRaises(ConfigErrors, serving, host(), *parts)
            self.assertIn("VG0115", {problem.code for problem in error.problems}, other)

    def test_a_load_balancer(self) -> None:
        """``active_service_policies`` of an http_loadbalancer judges the requests of the host that is made of it."""
        made = serving(
            service_policy("shop", {"domains": ["*"], "http": {"port": 8080}, "advertise_custom": {"advertise_where": []},
                                    "routes": [{"direct_response_route": {"route_direct_response": {"response_code": 200}}}],
                                    "active_service_policies": {"policies": ["none"]}}, "http_loadbalancer"),
            service_policy("none", {"deny_all_requests": {}}), host(name="h"))
        chain = chain_of(made, "ves-io-http-loadbalancer-shop")
        self.assertEqual((verdict(chain, asks()), chain.policies[0].name), ("deny", "default/none"))

    def test_what_cannot_be_judged(self) -> None:
        """A condition that is not acted on is an error; where it may be ignored, its rule admits nobody."""
        text = "objects:\n" + service_policy("p", rules({"action": "ALLOW", "dst_asn_list": {"as_numbers": [64500]}}))
        error = self.assertRaises(ConfigErrors, config, text)
        self.assertIn("VG0115", {problem.code for problem in error.problems})
        made = serving(host(active_service_policies={"policies": ["p"]}), text.removeprefix("objects:\n"),
                       gateway="allow_unenforced: [dst_asn_list]")
        self.assertEqual(verdict(chain_of(made), asks()), "deny")

    def test_why(self) -> None:
        """Each rule that was asked says why not, with its place."""
        _, reason = chain(rules(NO_ADMIN, REST)).rehearse(asks("/x"))
        self.assertEqual((reason.outcome, reason.why), ("let pass", "rule default/p0/r1"))
        first, second = reason.steps[0].steps
        self.assertEqual((first.outcome, second.outcome), ("does not match", "matches: ALLOW"))
        self.assertIn("/admin", first.why)
        self.assertGreater(first.place.line if first.place is not None else 0, 0)


class TableTests(SynchronousTestCase):
    def test_many_rules(self) -> None:
        """2,000 rules in 100 policies: a request that only the last one takes asks none of the others."""
        asked: list[str] = []
        hundred = [rules(*({"action": "ALLOW", "path": {"prefix_values": [f"/{policy}/{rule}/"]},
                            "headers": [{"name": "x-a", "check_present": {}}]} for rule in range(20))) for policy in range(100)]
        made = chain(*hundred)

        def noted(exchange: Exchange) -> bool:
            asked.append(exchange.policy)
            return False

        for ruling in made.rulings[:-1]:
            ruling.asked = (noted,)
        self.assertEqual(verdict(made, asks("/99/19/x", "GET", "x-a: 1")), "allow")
        self.assertEqual(asked, [])
        self.assertEqual([row.hits for row in made.rows()], [1])


class BlockingTests(SynchronousTestCase):
    def test_whom_they_do_not_refuse(self) -> None:
        """Policies that only refuse come before everything, hold for every route, and leave all else to the others."""
        made = serving(
            host(voltgw={"blocking_policies": ["them"]}, active_service_policies={"policies": ["p0"]}, routes=["own"]),
            service_policy("them", {"deny_list": {"prefix_list": {"prefixes": ["192.0.2.0/24"]}}}),
            service_policy("p0", rules(NO_ADMIN, REST)),
            service_policy("own", {"routes": [
                {"match": [{"path": {"path": "/health"}}], "service_policy": {"disable": True},
                 "route_direct_response": {"response_code": 200}},
                {"route_direct_response": {"response_code": 200}}]}, "route"))

        def said(exchange: Exchange) -> str:
            route = host_of(made).choose(exchange.request, 8080)
            assert route is not None
            for gate in route.gates:
                reply: Any = gate.judge(exchange)
                if reply is not None:
                    return str(reply.detail)
            return "pass"

        for target, address, detail in (
            ("/", "192.0.2.1", "service_policy: default/them/deny_list"), ("/health", "192.0.2.1", "service_policy: default/them/deny_list"),
            ("/", "198.51.100.1", "pass"), ("/admin", "198.51.100.1", "service_policy: default/p0/r0"), ("/health", "198.51.100.1", "pass"),
        ):
            self.assertEqual(said(asks(target, address=address)), detail, target)
        names = [[gate.name for gate in route.gates] for route in host_of(made).routes]
        self.assertEqual(names, [["blocking policies", "paths"], ["blocking policies", "paths", "service policies"]])
        blocking = host_of(made).gates[0]
        self.assertEqual(list(blocking.verdicts()), [("default/them", "refused", 2)])
        reply, reason = blocking.rehearse(asks(address="198.51.100.1"))
        self.assertEqual((reply, reason.outcome), (None, "let pass"))

    def test_without_other_policies(self) -> None:
        """Nobody else is refused."""
        made = serving(host(voltgw={"blocking_policies": ["them"]}),
                       service_policy("them", {"deny_list": {"prefix_list": {"prefixes": ["192.0.2.0/24"]}}}))
        (gate,) = host_of(made).gates
        self.assertIsNone(host_of(made).guard)
        self.assertIsNotNone(gate.judge(asks()))
        self.assertIsNone(gate.judge(asks(address="198.51.100.1")))


class FloodTests(SynchronousTestCase):
    def test_headers_cookies_and_parameters(self) -> None:
        """A request with a great many of each gets the verdict that it deserves, in a time that grows with it and no faster."""
        names = {"cookie_matchers": "name", "headers": "name", "query_params": "key"}
        made = chain(rules(*(
            {"action": "DENY", field: [{key: f"k{number}", "item": {"exact_values": ["bad"]}}]}
            for field, key in names.items() for number in range(100)), REST))
        took = {}
        for count in (200, 2000):
            cookies = "; ".join(f"c{number}=x" for number in range(count))
            lines = [f"h{number}: x" for number in range(min(count, 100))]   # the codec takes no more than 128
            query = "&".join(f"q{number}=x" for number in range(count))
            good = asks(f"/?{query}", "GET", f"Cookie: {cookies}", *lines)
            began = perf_counter()
            for _ in range(5):
                self.assertIsNone(made.judge(good))
            took[count] = perf_counter() - began
            for bad in (asks(f"/?{query}&k7=bad", "GET", f"Cookie: {cookies}", *lines),
                        asks(f"/?{query}", "GET", f"Cookie: {cookies}; k7=bad", *lines),
                        asks(f"/?{query}", "GET", f"Cookie: {cookies}", *lines, "K7: bad")):
                self.assertEqual(verdict(made, bad), "deny")
        self.assertLess(took[2000], 60 * took[200])

    def test_patterns_that_are_found_by_a_piece(self) -> None:
        """Regexes that begin with nothing fixed: the same verdict whether a table finds them or not, on short and long paths."""
        texts = [f".*-{number}/[a-z]+" for number in range(50)] + ["[ab]+c", "(?i).*/ADMIN", ".*"]
        for text in texts:
            made = chain(rules({"action": "DENY", "path": {"regex_values": [text]}}, REST))
            for target in ("/", "/x-7/abc", "/x-70/abc", "/aabc", "/Admin", "/x/admin", "/" + "x-" * 500 + "7/abc"):
                wanted = "deny" if re.fullmatch(text, target) else "allow"
                self.assertEqual(verdict(made, asks(target)), wanted, (text, target[:20]))


class ConstraintTests(SynchronousTestCase):
    def test_each_limit(self) -> None:
        """At the limit a request does not exceed it, one more does; any one of several is enough."""
        line = "Cookie: a=1; bb=22"
        for name, at_it, request in (
            ("cookie_count", 2, ("/", "GET", line)), ("cookie_key_size", 2, ("/", "GET", line)),
            ("cookie_value_size", 2, ("/", "GET", line)), ("header_count", 2, ("/", "GET", "a: 1", "b: 2")),
            ("header_key_size", 3, ("/", "GET", "abc: 1")), ("header_value_size", 3, ("/", "GET", "a: 123")),
            ("parameter_count", 2, ("/?a=1&b",)), ("parameter_name_size", 2, ("/?aa=1&b=2",)),
            ("parameter_value_size", 2, ("/?a=11&b=2",)), ("query_size", 5, ("/?a=1&b",)), ("request_line_size", 14, ("/",)),
            ("url_size", 4, ("/?a=",)),
        ):
            if name == "request_line_size":
                at_it = len("GET / HTTP/1.1")
            for limit, said in ((at_it, "allow"), (at_it - 1, "deny")):
                made = chain(rules({"action": "DENY", "request_constraints": {f"max_{name}_exceeds": limit}}, REST))
                self.assertEqual(verdict(made, asks(*request)), said, (name, limit))
        both = chain(rules({"action": "DENY", "request_constraints": {
            "max_query_size_exceeds": 100, "max_url_size_exceeds": 3, "max_header_count_none": {}}}, REST))
        self.assertEqual(verdict(both, asks("/long")), "deny")

    def test_the_size_of_a_whole_request(self) -> None:
        """Head and announced body together; a body of which nobody says how long it is is too long."""
        limited = chain(rules({"action": "DENY", "request_constraints": {"max_request_size_exceeds": 100}}, REST))
        whole = len("POST / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        for line, said in ((f"Content-Length: {100 - whole}", "allow"), (f"Content-Length: {101 - whole}", "deny"),
                           ("Transfer-Encoding: chunked", "deny")):
            self.assertEqual(verdict(limited, asks("/", "POST", line)), said)
        self.assertEqual((verdict(limited, asks()), verdict(limited, asks("/" + "x" * 80))), ("allow", "deny"))
