"""Service policies as objects.md 13 says them, one sentence after the other: slow, and made from nothing of voltgw's."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

Spec = dict[str, Any]


class Asked(NamedTuple):
    """A request as the evaluator sees it; `path` is in its normal form, `headers` are in lower case."""

    method: str
    host: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    address: str
    port: int


def verdict(policies: list[Spec], asked: Asked) -> str:
    """``allow`` or ``deny``: the end of the set is deny."""
    for policy in policies:
        if not _servers(policy, asked):
            continue
        action = _of_policy(policy, asked)
        if action in ("ALLOW", "DENY"):
            return action.lower()
    return "deny"


def _of_policy(policy: Spec, asked: Asked) -> str | None:
    if "allow_all_requests" in policy:
        return "ALLOW"
    if "deny_all_requests" in policy:
        return "DENY"
    for name, action in (("allow_list", "ALLOW"), ("deny_list", "DENY")):
        if name in policy:
            return action if _listed(policy[name], asked) else next(
                (then for key, then in (("default_action_deny", "DENY"), ("default_action_allow", "ALLOW"))
                 if key in policy[name]), None)
    rules = [rule["spec"] for rule in policy["rule_list"]["rules"]]
    algorithm = policy.get("algo", "FIRST_MATCH")
    if algorithm != "FIRST_MATCH":
        first = algorithm.removesuffix("_OVERRIDES")
        order = [first, "ALLOW" if first == "DENY" else "DENY", "NEXT_POLICY"]
        rules = [rule for action in order for rule in rules if rule["action"] == action]
    for rule in rules:
        if _holds(rule, asked):
            return str(rule["action"])
    return None


def _servers(policy: Spec, asked: Asked) -> bool:
    if "server_name" in policy and asked.host != policy["server_name"]:
        return False
    return "port_matcher" not in policy or _port(policy["port_matcher"], asked.port)


def _listed(source: Spec, asked: Asked) -> bool:
    return any(ip_address(asked.address) in ip_network(prefix) for prefix in source["prefix_list"]["prefixes"])


def _holds(rule: Spec, asked: Asked) -> bool:
    """All predicates are ANDed; a missing one is true."""
    headers = [(name, value) for name, value in asked.headers if name != "cookie"]
    cookies = [tuple(pair.split("=", 1)) for name, value in asked.headers if name == "cookie" for pair in value.split("; ")]
    query = parse_qsl(asked.query, keep_blank_values=True)
    parts = [
        "domain_matcher" not in rule or _text(rule["domain_matcher"], asked.host),
        "http_method" not in rule or _turned(rule["http_method"], asked.method in rule["http_method"]["methods"]),
        "path" not in rule or _path(rule["path"], unquote(asked.path)),
        "ip_prefix_list" not in rule or (
            any(ip_address(asked.address) in ip_network(one) for one in rule["ip_prefix_list"]["ip_prefixes"])
            is not rule["ip_prefix_list"].get("invert_match", False)),
        "port_matcher" not in rule or _port(rule["port_matcher"], asked.port),
        *(_named(one, one["name"].lower(), headers) for one in rule.get("headers", ())),
        *(_named(one, one["name"], cookies) for one in rule.get("cookie_matchers", ())),
        *(_named(one, one["key"], query) for one in rule.get("query_params", ())),
    ]
    return all(parts)


def _turned(spec: Spec, holds: bool) -> bool:
    return holds is not spec.get("invert_matcher", False)


def _port(spec: Spec, port: int) -> bool:
    return _turned(spec, port in spec["ports"])


def _text(spec: Spec, value: str) -> bool:
    for step in spec.get("transformers", ()):
        value = {"LOWER_CASE": value.lower, "UPPER_CASE": value.upper, "TRIM": value.strip}[step]()
    return value in spec.get("exact_values", ()) or any(re.fullmatch(one, value) for one in spec.get("regex_values", ()))


def _path(spec: Spec, path: str) -> bool:
    for step in spec.get("transformers", ()):
        path = {"LOWER_CASE": path.lower, "UPPER_CASE": path.upper, "TRIM": path.strip}[step]()
    return _turned(spec, (
        path in spec.get("exact_values", ()) or any(map(path.startswith, spec.get("prefix_values", ())))
        or any(map(path.endswith, spec.get("suffix_values", ())))
        or any(re.fullmatch(one, path) for one in spec.get("regex_values", ()))))


def _named(spec: Spec, name: str, pairs: Any) -> bool:
    values = [value for key, value in pairs if key == name]
    if "check_present" in spec:
        holds = bool(values)
    elif "check_not_present" in spec:
        holds = not values
    else:
        holds = any(_text(spec["item"], value) for value in values)
    return _turned(spec, holds)
