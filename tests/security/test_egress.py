"""Policies of forward proxies: which rule decides, what is waited for, what they say of it."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from voltgw.config.load import load_text
from voltgw.routing.problems import nowhere
from voltgw.security.egress import ALLOW, DENY, END, WAIT, EgressPolicy, Flow, Policies, Speaks
from voltgw.security.egress_rules import rules_of


def policies(*specs: str, judged: bool = True, prefixes: tuple[str, ...] = ()) -> Policies:
    """Policies of these specs (YAML in one line), as a firewall would name them."""
    made = []
    for number, spec in enumerate(specs):
        config = load_text(
            "objects:\n- kind: forward_proxy_policy\n  metadata: {name: p, namespace: system}\n"
            f"  spec: {spec}\n- kind: ip_prefix_set\n  metadata: {{name: some, namespace: system}}\n  spec: {{prefix: []}}\n")
        one: Any = next(iter(config.of("forward_proxy_policy").values()))
        rules = tuple(rules_of(one.spec, nowhere, lambda ref: prefixes))
        made.append(EgressPolicy(f"p{number}", rules, nowhere))
    return Policies(made, judged=judged)


def tls(name: str, address: str = "192.0.2.1", port: int = 443, source: str = "10.0.0.1") -> Flow:
    """TLS to a server name, "" = without one."""
    return Flow(source, name.encode(), port, Speaks.TLS, address=address)


def http(name: str, path: str = "/", address: str = "192.0.2.1", *, opened: bool = False, source: str = "10.0.0.1") -> Flow:
    """A request."""
    return Flow(source, name.encode(), 443 if opened else 80, Speaks.HTTP, address=address, path=path.encode(), opened=opened)


def other(address: str, port: int) -> Flow:
    """Neither."""
    return Flow("10.0.0.1", b"", port, Speaks.OTHER, address=address)


class NameTests(SynchronousTestCase):
    def check(self, made: Policies, flow: Flow, action: str) -> None:
        self.assertEqual(made.judge(flow).action, action, (flow.name, flow.path, flow.address, flow.port, flow.speaks))

    def test_tls_by_server_name(self) -> None:
        """Exact names, whole-label suffixes with the bare name, patterns over the whole name; without a name none of them."""
        made = policies("{allow_list: {tls_list: [{exact_value: a.com}, {suffix_value: b.com}, {regex_value: 'c[0-9]+\\.com'}], "
                        "default_action_deny: {}}}")
        for name, action in (("a.com", ALLOW), ("x.a.com", DENY), ("b.com", ALLOW), ("x.y.b.com", ALLOW), ("xb.com", DENY),
                             ("c12.com", ALLOW), ("c12.com.evil", DENY), ("xc1.com", DENY), ("", DENY)):
            self.check(made, tls(name), action)
        self.check(made, http("a.com"), DENY)
        self.check(made, other("192.0.2.1", 443), DENY)

    def test_http_by_host_and_path(self) -> None:
        """The three of hosts with the four of paths; TLS that is not opened is none of its business."""
        made = policies("{deny_list: {http_list: [{exact_value: a.com, path_prefix_value: /secret}, "
                        "{suffix_value: b.com, any_path: {}}, {exact_value: c.com, path_exact_value: /x}, "
                        "{exact_value: d.com, path_regex_value: '/v[0-9]+/.*'}], default_action_allow: {}}}")
        for flow, action in ((http("a.com", "/secret/1"), DENY), (http("a.com", "/public"), ALLOW), (http("b.com"), DENY),
                             (http("www.b.com", "/any"), DENY), (http("c.com", "/x"), DENY), (http("c.com", "/x/"), ALLOW),
                             (http("d.com", "/v1/a"), DENY), (http("d.com", "/w1/a"), ALLOW), (tls("b.com"), ALLOW),
                             (http("b.com", "/any", opened=True), DENY)):
            self.check(made, flow, action)

    def test_paths_with_several_readings(self) -> None:
        """Rules that treat them alike do not mind; those that do not leave nobody a choice."""
        made = policies("{deny_list: {http_list: [{exact_value: a.com, path_prefix_value: /secret}], default_action_allow: {}}}")
        for name, paths, torn in (("a.com", ("/secret/../x", "/x"), True), ("a.com", ("/x/../secret", "/secret"), True),
                                  ("a.com", ("/x/../y", "/y"), False), ("a.com", ("/secret/a;b", "/secret/a"), False),
                                  ("b.com", ("/secret/../x", "/x"), False)):
            flow = http(name, paths[0])
            self.assertEqual(made.torn(flow, [path.encode() for path in paths[1:]]), torn, (name, paths))
            self.assertEqual(flow.path, paths[0].encode())
        self.assertFalse(policies(judged=False).torn(http("a.com", "/secret"), [b"/x"]))

    def test_many_urls_are_asked_like_one_after_another(self) -> None:
        """Whatever stands in one list, and whatever is known of the request."""
        chance = Random(7)
        names = ("a.com", "x.a.com", "b.com", "c9.com")
        hosts = (*(f"{kind}: {name}" for kind in ("exact_value", "suffix_value") for name in (*names, "com")),
                 "regex_value: 'c[0-9]\\.com'")
        paths = ("any_path: {}", "path_exact_value: /x", "path_prefix_value: /x", "path_regex_value: '/x.*y'")
        urls = [f"{{{host}, {path}}}" for host in hosts for path in paths]
        judge = {url: policies(f"{{deny_list: {{http_list: [{url}], default_action_allow: {{}}}}}}").judge for url in urls}
        for _ in range(60):
            some = chance.sample(urls, 5)
            together = policies(f"{{deny_list: {{http_list: [{', '.join(some)}], default_action_allow: {{}}}}}}")
            for _ in range(20):
                flow = Flow("10.0.0.1", chance.choice((*names, "d.com", "")).encode(), 80, chance.choice(list(Speaks)),
                            path=chance.choice((None, b"/", b"/x", b"/x/y")), opened=chance.random() < 0.5)
                said = {judge[url](flow).action for url in some}
                expected = DENY if DENY in said else WAIT if WAIT in said else ALLOW
                self.assertEqual(together.judge(flow).action, expected, (some, flow.name, flow.path, flow.speaks))

    def test_the_rest_by_address_and_port(self) -> None:
        """An allowing dest_list is for what is neither HTTP nor TLS with a name; a denying one is for everything."""
        allow = policies("{allow_list: {dest_list: [{prefixes: [192.0.2.0/24], port_ranges: '22,2000-2100'}], "
                         "default_action_deny: {}}}")
        for flow, action in ((other("192.0.2.9", 22), ALLOW), (other("192.0.2.9", 23), DENY), (other("192.0.3.9", 22), DENY),
                             (tls("", "192.0.2.9", 2050), ALLOW), (tls("a.com", "192.0.2.9", 2050), DENY)):
            self.check(allow, flow, action)
        deny = policies("{deny_list: {dest_list: [{prefixes: [192.0.2.0/24]}, {ipv6_prefixes: ['2001:db8::/32'], port_ranges: '443'}], "
                        "default_action_allow: {}}}")
        for flow, action in ((tls("a.com", "192.0.2.9"), DENY), (http("a.com", address="192.0.2.9"), DENY),
                             (tls("a.com", "2001:db8::1"), DENY), (other("2001:db8::1", 22), ALLOW), (tls("a.com", "192.0.3.9"), ALLOW)):
            self.check(deny, flow, action)


class OrderTests(SynchronousTestCase):
    RULES = ("{rule_list: {rules: ["
             "{metadata: {name: guests}, action: DENY, prefix_list: {prefixes: [10.9.0.0/16]}, all_destinations: {}},"
             "{metadata: {name: later}, action: NEXT_POLICY, all_sources: {}, tls_list: {tls_list: [{suffix_value: c.com}]}},"
             "{metadata: {name: good}, action: ALLOW, all_sources: {}, tls_list: {tls_list: [{suffix_value: com}]}},"
             "{metadata: {name: net}, action: ALLOW, all_sources: {}, dst_prefix_list: {prefixes: [192.0.2.0/24]}, "
             "port_matcher: {ports: ['8000-8191'], invert_matcher: false}}]}}")

    def test_the_first_rule_that_holds_decides(self) -> None:
        """Sources, NEXT_POLICY, destinations with ports; behind the last policy everything is refused."""
        made = policies(self.RULES, "{allow_list: {tls_list: [{exact_value: c.com}]}}")
        for flow, action, label in (
                (tls("a.com"), ALLOW, "p0/good"), (tls("a.com", source="10.9.1.1"), DENY, "p0/guests"),
                (tls("c.com"), ALLOW, "p1/allow_list.tls_list"), (tls("x.c.com"), DENY, END),
                (Flow("10.0.0.1", b"h.org", 8001, Speaks.HTTP, address="192.0.2.1", path=b"/"), ALLOW, "p0/net"),
                (Flow("10.0.0.1", b"h.org", 9000, Speaks.HTTP, address="192.0.2.1", path=b"/"), DENY, END)):
            verdict = made.judge(flow)
            self.assertEqual((verdict.action, verdict.label), (action, label))

    def test_without_a_firewall_everything_is_let_through(self) -> None:
        """No firewall asks for policies; a firewall that lists none refuses everything."""
        self.assertEqual(policies(judged=False).judge(tls("a.com")).action, ALLOW)
        self.assertEqual(policies().judge(tls("a.com")).action, DENY)

    def test_sets_of_prefixes(self) -> None:
        """ip_prefix_set of sources and of destinations."""
        made = policies("{rule_list: {rules: [{metadata: {name: r}, action: ALLOW, ip_prefix_set: {name: some}, "
                        "dst_ip_prefix_set: {name: some}}]}}", prefixes=("192.0.2.0/24",))
        self.assertEqual(made.judge(tls("a", "192.0.2.1", source="192.0.2.9")).action, ALLOW)
        self.assertEqual(made.judge(tls("a", "192.0.2.1")).action, DENY)
        self.assertEqual(made.judge(tls("a", "192.0.3.1", source="192.0.2.9")).action, DENY)

    def test_hits_are_counted_when_they_are_acted_on(self) -> None:
        """Asking counts nothing; `counted` does, and a reload counts on."""
        made = policies("{allow_all: {}}")
        made.judge(tls("a.com"))
        self.assertEqual(list(made.rows()), [])
        made.judge(tls("a.com")).counted()
        self.assertEqual([(row.policy, row.rule, row.action, row.hits) for row in made.rows()], [("p0", "allow_all", ALLOW, 1)])
        again = Policies(made.policies, made.hits)
        again.judge(tls("a.com")).counted()
        self.assertEqual([row.hits for row in again.rows()], [2])


class WaitTests(SynchronousTestCase):
    """What a CONNECT alone tells."""

    def ask(self, made: Policies, name: str, port: int = 8443, address: str = "192.0.2.1") -> str:
        return made.judge(Flow("10.0.0.1", name.encode(), port, address=address, connect=True)).action

    def test_what_cannot_change_any_more_is_said_at_once(self) -> None:
        """A name that no rule has is refused before anything is heard; one that a rule might have is waited for."""
        made = policies("{allow_list: {tls_list: [{exact_value: a.com}], default_action_deny: {}}}")
        self.assertEqual(self.ask(made, "b.com"), DENY)
        self.assertEqual(self.ask(made, "a.com"), WAIT)
        self.assertEqual(self.ask(made, ""), WAIT)

    def test_a_rule_that_would_say_the_same_is_not_waited_for(self) -> None:
        """Whether the first rule holds does not matter where the rest says the same."""
        made = policies("{deny_list: {http_list: [{exact_value: a.com, any_path: {}}], default_action_deny: {}}}")
        self.assertEqual(self.ask(made, "a.com"), DENY)

    def test_an_address_that_is_not_known_is_waited_for(self) -> None:
        """Rules on addresses decide once the name was looked up."""
        made = policies("{rule_list: {rules: [{metadata: {name: r}, action: DENY, dst_prefix_list: {prefixes: [192.0.2.0/24]}}, "
                        "{metadata: {name: s}, action: ALLOW}]}}")
        self.assertEqual(self.ask(made, "a.com", address=""), WAIT)
        self.assertEqual(self.ask(made, "a.com"), DENY)
        self.assertEqual(self.ask(made, "a.com", address="192.0.3.1"), ALLOW)

    def test_why_says_which_rule_and_what_is_not_known(self) -> None:
        """Rule by rule: does not hold, perhaps, holds."""
        made = policies("{rule_list: {rules: [{metadata: {name: first}, action: DENY, prefix_list: {prefixes: [10.9.0.0/16]}}, "
                        "{metadata: {name: second}, action: DENY, tls_list: {tls_list: [{exact_value: a.com}]}}, "
                        "{metadata: {name: third}, action: ALLOW}]}}")
        reason = made.why(Flow("10.0.0.1", b"a.com", 8443, address="192.0.2.1", connect=True))
        self.assertEqual(reason.outcome, "decided when more was heard")
        rules = reason.steps[0].steps
        self.assertEqual([each.outcome for each in rules], ["does not hold", "perhaps: DENY", "holds: ALLOW"])
        self.assertEqual(made.why(tls("a.com")).outcome, "refused")
