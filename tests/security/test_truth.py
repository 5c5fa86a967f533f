"""Service policies against a second evaluator, which was written from objects.md 13 alone."""

from __future__ import annotations

from random import Random
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.security.making import asks, chain_of, host, service_policy, serving, verdict
from tests.security.reference import Asked
from tests.security.reference import verdict as expected

SETS = 200
REQUESTS = 50                               # of each set: 10,000 together

PATHS = ("/", "/a", "/a/b", "/admin", "/admin/x", "/adminx", "/A", "/b.js", "/a b", "/c;x=1", "//admin", "/a%2Fb")
HOSTS = ("shop.example", "api.example", "x.other")
METHODS = ("GET", "POST", "PUT", "DELETE")
ADDRESSES = ("192.0.2.1", "192.0.2.200", "10.0.0.1", "10.1.2.3", "203.0.113.9")
PREFIXES = ("192.0.2.0/24", "192.0.2.128/25", "10.0.0.0/8", "10.1.0.0/16", "203.0.113.9/32", "0.0.0.0/0")
VALUES = ("one", "two", "Three", "")


class Making:
    """Draws policies and requests; each value is likely to meet another."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def some(self, values: tuple[str, ...], most: int = 3) -> list[str]:
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
        self.maybe(item, "transformers", ["LOWER_CASE"], 0.2)
        return item

    def named(self, key: str, names: tuple[str, ...]) -> dict[str, Any]:
        how = self.random.choice(("item", "item", "check_present", "check_not_present"))
        return self.inverted({key: self.random.choice(names), how: self.item() if how == "item" else {}})

    def path(self) -> dict[str, Any]:
        spec: dict[str, Any] = {}
        texts = ("/", "/a", "/a/b", "/admin", "/admin/", "/b.js", "/a b", "//admin")
        self.maybe(spec, "exact_values", self.some(texts), 0.5)
        self.maybe(spec, "prefix_values", self.some(texts), 0.4)
        self.maybe(spec, "suffix_values", self.some((".js", "x", "b")), 0.2)
        self.maybe(spec, "regex_values", ["/a.*"], 0.2)
        if not spec:
            spec["prefix_values"] = ["/a"]
        self.maybe(spec, "transformers", ["LOWER_CASE"], 0.15)
        return self.inverted(spec)

    def rule(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"action": self.random.choice(("ALLOW", "DENY", "NEXT_POLICY"))}
        self.maybe(spec, "domain_matcher", {"exact_values": self.some(HOSTS, 2)})
        self.maybe(spec, "domain_matcher", {"regex_values": [".*\\.example"]}, 0.1)
        self.maybe(spec, "http_method", self.inverted({"methods": self.some(METHODS)}))
        self.maybe(spec, "path", self.path(), 0.6)
        self.maybe(spec, "ip_prefix_list", self.inverted({"ip_prefixes": self.some(PREFIXES)}, "invert_match"))
        self.maybe(spec, "port_matcher", self.inverted({"ports": [8080]}), 0.1)
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
            self.maybe(source, f"default_action_{self.random.choice(('deny', 'allow', 'next_policy'))}", {}, 0.6)
            spec[self.random.choice(("allow_list", "deny_list"))] = source
        else:
            spec["algo"] = self.random.choice(("FIRST_MATCH", "DENY_OVERRIDES", "ALLOW_OVERRIDES"))
            spec["rule_list"] = {"rules": [
                {"metadata": {"name": f"rule-{number}"}, "spec": self.rule()} for number in range(self.random.randint(1, 6))]}
        self.maybe(spec, "server_name", self.random.choice(HOSTS), 0.15)
        self.maybe(spec, "port_matcher", self.inverted({"ports": [8080, 8081]}), 0.1)
        return spec

    def request(self) -> Asked:
        headers = [(name, value) for name, value in (
            (self.random.choice(("x-a", "x-b")), self.random.choice(VALUES)) for _ in range(self.random.randint(0, 3)))]
        if self.random.random() < 0.3:
            headers.append(("cookie", "; ".join(
                f"{self.random.choice('cd')}={self.random.choice(VALUES)}" for _ in range(self.random.randint(1, 2)))))
        query = "&".join(f"{self.random.choice('qr')}={self.random.choice(VALUES)}" for _ in range(self.random.randint(0, 2)))
        return Asked(self.random.choice(METHODS), self.random.choice(HOSTS), quote(self.random.choice(PATHS), safe="/;=%"), query,
                     tuple(headers), self.random.choice(ADDRESSES), self.random.choice((8080, 8081, 9000)))


class TruthTests(SynchronousTestCase):
    def test_ten_thousand_requests(self) -> None:
        """10,000 requests to 200 random lists of policies: the same verdict, and both verdicts often enough to mean something."""
        seen = {"allow": 0, "deny": 0}
        for seed in range(SETS):
            making = Making(seed)
            policies = [making.policy() for _ in range(making.random.randint(1, 5))]
            names = [f"policy-{number}" for number in range(len(policies))]
            chain = chain_of(serving(host(active_service_policies={"policies": names}), *map(service_policy, names, policies)))
            for _ in range(REQUESTS):
                one = making.request()
                target = one.path + (f"?{one.query}" if one.query else "")
                lines = [f"{name}: {value}" for name, value in one.headers]
                said = verdict(chain, asks(target, one.method, *lines, host=one.host, address=one.address, port=one.port))
                self.assertEqual(said, expected(policies, one), f"set {seed}: {one}")
                seen[said] += 1
        self.assertEqual(sum(seen.values()), SETS * REQUESTS)
        self.assertGreater(min(seen.values()), SETS * REQUESTS // 5, seen)
