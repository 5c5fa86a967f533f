"""Service policies against `tests.security.oracle`, which was written by somebody who had not read them."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.security.databases import PLACES, SYSTEMS, places, systems
from tests.security.making import asks, chain_of, host, service_policy, serving, verdict
from tests.security.oracle import Question, World, judge
from voltgw.values.tls import Handshake

SETS = 200
REQUESTS = 50                               # of each set: 10,000 together

PATHS = ("/", "/a", "/a/b", "/admin", "/admin/x", "/adminx", "/A", "/b.js", "/a%20b", "/c;x=1", "//admin", "/a%2Fb", "/%61dmin",
         "/x/../admin", "/a/./b/..", "/x/%2e%2e/a", "/b%2Ejs", "/%41")
HOSTS = ("shop.example", "api.example", "x.other")
METHODS = ("GET", "POST", "PUT", "DELETE")
ADDRESSES = ("192.0.2.1", "192.0.2.200", "10.0.0.1", "10.1.2.3", "203.0.113.9")
SETS_OF_PREFIXES = {"office": ["10.1.0.0/16", "192.0.2.128/25"], "all": ["0.0.0.0/0"], "one": ["203.0.113.9/32"]}
SETS_OF_SYSTEMS = {"nets": [64501, 64502], "home": [64500]}
WORLD = World(ip_prefix_sets=SETS_OF_PREFIXES, asn_sets=SETS_OF_SYSTEMS)
PREFIXES = ("192.0.2.0/24", "192.0.2.128/25", "10.0.0.0/8", "10.1.0.0/16", "203.0.113.9/32", "0.0.0.0/0")
SELECTORS = ("tier in (gold, silver)", "tier notin (gold)", "!zone", "tier", "tier=gold,area!=west", "area = east", "zone in (a)")
LABELS = {"tier": "gold", "area": "east"}
QUERIES = ("one", "two", "Three", "%6Fne", "a+b", "")
JA3 = ("a" * 32, "b" * 32, "c" * 32)
JA4 = ("t13d1516h2_8daaf6152771_b186095e22b6", "t13d1517h2_8daaf6152771_b0da82dd1658", "t12d2012h1_2b729b4bf6f3_9e7b989ebec8")
VALUES = ("one", "two", "Three", " one", "T", "b25l", "")


class Making:
    """Draws policies and requests; each value is likely to meet another."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def some(self, values: Sequence[Any], most: int = 3) -> list[Any]:
        return self.random.sample(values, self.random.randint(1, min(most, len(values))))

    def maybe(self, spec: dict[str, Any], key: str, value: Any, chance: float = 0.3) -> None:
        if self.random.random() < chance:
            spec[key] = value

    def inverted(self, spec: dict[str, Any], key: str = "invert_matcher") -> dict[str, Any]:
        self.maybe(spec, key, True, 0.2)
        return spec

    def item(self) -> dict[str, Any]:
        item: dict[str, Any] = {"exact_values": self.some(VALUES)}
        self.maybe(item, "regex_values", ["t.*"], 0.2)
        self.maybe(item, "transformers", self.some(("LOWER_CASE", "UPPER_CASE", "TRIM", "REMOVE_WHITESPACE", "TRIM_LEFT")), 0.3)
        return item

    def named(self, key: str, names: tuple[str, ...]) -> dict[str, Any]:
        how = self.random.choice(("item", "item", "check_present", "check_not_present"))
        return self.inverted({key: self.random.choice(names), how: self.item() if how == "item" else {}})

    def path(self) -> dict[str, Any]:
        spec: dict[str, Any] = {}
        texts = ("/", "/a", "/a/b", "/admin", "/admin/", "/b.js", "/a b", "//admin", "/a/")
        self.maybe(spec, "exact_values", self.some(texts), 0.5)
        self.maybe(spec, "prefix_values", self.some(texts), 0.4)
        self.maybe(spec, "suffix_values", self.some((".js", "x", "b")), 0.2)
        self.maybe(spec, "regex_values", self.some(("/a.*", ".*b", "/[a-c]+", "(?i)/ADMIN(/.*)?", "/|/a b")), 0.3)
        if not spec:
            spec["prefix_values"] = ["/a"]
        self.maybe(spec, "transformers", self.some(("LOWER_CASE", "NORMALIZE_PATH", "URL_DECODE")), 0.2)
        return self.inverted(spec)

    def rule(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"action": self.random.choice(("ALLOW", "DENY", "NEXT_POLICY"))}
        self.maybe(spec, "domain_matcher", {"exact_values": self.some(HOSTS, 2)})
        self.maybe(spec, "domain_matcher", {"regex_values": [".*\\.example"]}, 0.1)
        self.maybe(spec, "http_method", self.inverted({"methods": self.some(METHODS)}))
        self.maybe(spec, "path", self.path(), 0.6)
        self.maybe(spec, "ip_prefix_list", self.inverted({"ip_prefixes": self.some(PREFIXES)}, "invert_match"))
        if "ip_prefix_list" not in spec:
            sets = [{"name": name} for name in self.some(("office", "all", "one"), 2)]
            self.maybe(spec, "ip_matcher", self.inverted({"prefix_sets": sets}), 0.15)
        if self.random.random() < 0.5:
            self.maybe(spec, "asn_list", {"as_numbers": self.some((64500, 64501, 64502), 2)}, 0.1)
        else:
            self.maybe(spec, "asn_matcher", {"asn_sets": [{"name": self.random.choice(("nets", "home"))}]}, 0.1)
        self.maybe(spec, "port_matcher", self.inverted({"ports": self.some((8080, "8000-8081", 9000), 2)}), 0.1)
        self.maybe(spec, "virtual_host_matcher", {"exact_values": self.some(("h", "other"), 1)}, 0.05)
        self.maybe(spec, "server_selector", {"expressions": [self.random.choice(SELECTORS)]}, 0.1)
        self.maybe(spec, "scheme", self.some(("HTTP", "HTTPS", "ANY"), 1), 0.05)
        if self.random.random() < 0.1:
            field, values = self.random.choice((("tls_fingerprint_matcher", JA3), ("ja4_tls_fingerprint", JA4)))
            spec[field] = {"exact_values": self.some(values, 2)}
        self.maybe(spec, "request_constraints", self.random.choice((
            {"max_header_count_exceeds": 1}, {"max_cookie_count_exceeds": 1}, {"max_query_size_exceeds": 6},
            {"max_url_size_exceeds": 12, "max_parameter_count_exceeds": 1}, {"max_header_value_size_exceeds": 4})), 0.08)
        self.maybe(spec, "headers", [self.named("name", ("x-a", "X-B")) for _ in range(self.random.randint(1, 2))])
        self.maybe(spec, "cookie_matchers", [self.named("name", ("c", "d"))], 0.15)
        self.maybe(spec, "query_params", [self.named("key", ("q", "r"))], 0.15)
        return spec

    def policy(self) -> dict[str, Any]:
        kind = self.random.random()
        spec: dict[str, Any] = {}
        if kind < 0.05:
            spec["allow_all_requests"] = {}
        elif kind < 0.08:
            spec["deny_all_requests"] = {}
        elif kind < 0.25:
            source: dict[str, Any] = {"prefix_list": {"prefixes": self.some(PREFIXES[:5])}}
            self.maybe(source, "ip_prefix_set", [{"name": self.random.choice(("office", "one"))}], 0.3)
            self.maybe(source, "asn_list", {"as_numbers": self.some((64500, 64501, 64502), 1)}, 0.2)
            self.maybe(source, "asn_set", [{"name": self.random.choice(("nets", "home"))}], 0.2)
            self.maybe(source, "country_list", self.some(("COUNTRY_FR", "COUNTRY_DE", "COUNTRY_US"), 2), 0.3)
            self.maybe(source, f"default_action_{self.random.choice(('deny', 'allow', 'next_policy'))}", {}, 0.6)
            spec[self.random.choice(("allow_list", "deny_list"))] = source
        else:
            spec["algo"] = self.random.choice(("FIRST_MATCH", "DENY_OVERRIDES", "ALLOW_OVERRIDES"))
            spec["rule_list"] = {"rules": [
                {"metadata": {"name": f"rule-{number}"}, "spec": self.rule()} for number in range(self.random.randint(1, 6))]}
        if self.random.random() < 0.3:
            key, value = self.random.choice((
                ("server_name", self.random.choice((*HOSTS, "h"))), ("server_selector", {"expressions": [self.random.choice(SELECTORS)]}),
                ("server_name_matcher", {"exact_values": self.some(HOSTS, 1), "regex_values": [".*\\.other"]}), ("any_server", {})))
            spec[key] = value
        self.maybe(spec, "port_matcher", self.inverted({"ports": [8080, 8081]}), 0.1)
        return spec

    def request(self) -> Question:
        headers = [(name, value) for name, value in (
            (self.random.choice(("x-a", "x-b")), self.random.choice(VALUES)) for _ in range(self.random.randint(0, 3)))]
        if self.random.random() < 0.3:
            headers.append(("cookie", "; ".join(
                f"{self.random.choice('cd')}={self.random.choice(VALUES)}" for _ in range(self.random.randint(1, 2)))))
        query = "&".join(f"{self.random.choice('qr')}={self.random.choice(QUERIES)}" for _ in range(self.random.randint(0, 2)))
        target = self.random.choice(PATHS) + (f"?{query}" if query else "")
        address = self.random.choice(ADDRESSES)
        at = ip_address(address)
        return Question(
            address, self.random.choice(METHODS), target, self.random.choice(HOSTS),
            self.random.choice((8080, 8081, 9000)), headers=[(name, value.strip()) for name, value in headers], vh_name="h",
            vh_labels=LABELS, ja3=self.random.choice((None, *JA3)), ja4=self.random.choice((None, *JA4)),
            country=next((code for prefix, code in PLACES.items() if at in ip_network(prefix)), None),
            asn=next((number for prefix, number in SYSTEMS.items() if at in ip_network(prefix)), None))


def prefix_sets() -> list[str]:
    """The sets that rules refer to."""
    return [*(service_policy(name, {"prefix": prefixes}, "ip_prefix_set") for name, prefixes in SETS_OF_PREFIXES.items()),
            *(service_policy(name, {"as_numbers": numbers}, "bgp_asn_set") for name, numbers in SETS_OF_SYSTEMS.items())]


class TruthTests(SynchronousTestCase):
    def test_ten_thousand_requests(self) -> None:
        """10,000 requests to 200 random lists of policies: the same verdict by the same rule, and both verdicts often enough."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        geo = f"geo: {{database: {places(folder / 'city.mmdb')}, asn_database: {systems(folder / 'asn.mmdb')}}}"
        seen = {"allow": 0, "deny": 0}
        deciding: set[str] = set()
        for seed in range(SETS):
            making = Making(seed)
            policies = [making.policy() for _ in range(making.random.randint(1, 5))]
            names = [f"policy-{number}" for number in range(len(policies))]
            chain = chain_of(serving(
                host(labels=LABELS, active_service_policies={"policies": names}), *prefix_sets(), *map(service_policy, names, policies),
                gateway=geo))
            for _ in range(REQUESTS):
                one = making.request()
                lines = [f"{name}: {value}" for name, value in one.headers]
                exchange = asks(one.target, one.method, *lines, host=one.host, address=one.address, port=one.port)
                exchange.client.handshake = Handshake("TLSv1.3", "x", ja3=one.ja3 or "", ja4=one.ja4 or "")
                said = verdict(chain, exchange)
                wanted = judge(list(zip(names, policies, strict=True)), one, WORLD)
                self.assertEqual(said, wanted.verdict.lower(), f"set {seed}: {one} {wanted}")
                self.assertTrue(exchange.policy.startswith(
                    f"default/{wanted.policy}/{wanted.rule}" if wanted.policy else "end of the policies"), (exchange.policy, wanted, seed))
                seen[said] += 1
                deciding.add(f"{seed} {exchange.policy}")
        self.assertEqual(sum(seen.values()), SETS * REQUESTS)
        self.assertGreater(min(seen.values()), SETS * REQUESTS // 5, seen)
        self.assertGreater(len(deciding), 3 * SETS, "nearly everything is decided by the same rules")
