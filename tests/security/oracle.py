"""A second reading of service policies, for judging the first.

It was written from the object model's text (service_policy, its rules and sets) before its author had read ``voltgw.security``. It walks plain
mappings as they stand in a file, compiles nothing, indexes nothing and shares no line with the product: slow and short on purpose.

What the text leaves open is decided here as its neighbours read: a regex is held against the whole value; a matcher that is inverted holds where the
plain one does not, for an absent value too; transformers change what the request says, never what the file says. NORMALIZE_PATH was then taken to fold ``//``, too, as the
product documents it, and a path with parameters or backslashes to have several readings, of which one is enough to refuse and none must miss to
let pass; these are what was changed here after the two had been compared.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any  # a file's mappings are what they are
from urllib.parse import unquote_to_bytes

Spec = Mapping[str, Any]
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass
class Question:
    """One request as a policy sees it: who, through which host, asking what."""

    address: str
    method: str = "GET"
    target: str = "/"
    host: str = "shop.example.com"
    port: int = 80
    scheme: str = "HTTP"
    headers: Sequence[tuple[str, str]] = ()
    ja3: str | None = None
    ja4: str | None = None
    asn: int | None = None
    country: str | None = None
    client_name: str | None = None
    client_labels: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, Sequence[str]] = field(default_factory=dict)
    vh_name: str = "shop"
    vh_labels: Mapping[str, str] = field(default_factory=dict)
    now: float = 0.0  # POSIX seconds


@dataclass
class World:
    """The objects that rules refer to by name: prefix sets and AS number sets."""

    ip_prefix_sets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    asn_sets: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """ALLOW or DENY, and who said so; both names are empty where nobody did and the end of the set decides."""

    verdict: str
    policy: str = ""
    rule: str = ""


def judge(policies: Sequence[tuple[str, Spec]], asked: Question, world: World) -> Answer:
    """Walk the active policies in order; the first that says ALLOW or DENY decides, the end of the set is DENY."""
    for name, spec in policies:
        if not _server(spec, asked):
            continue
        said = _policy(spec, asked, world)
        if said is not None and said[0] in ("ALLOW", "DENY"):
            return Answer(said[0], name, said[1])
    return Answer("DENY")


def _policy(spec: Spec, asked: Question, world: World) -> tuple[str, str] | None:
    if "allow_all_requests" in spec:
        return "ALLOW", ""
    if "deny_all_requests" in spec:
        return "DENY", ""
    for which, verdict in (("allow_list", "ALLOW"), ("deny_list", "DENY")):
        if which in spec:
            if _listed(spec[which], asked, world):
                return verdict, ""
            if "default_action_deny" in spec[which]:
                return "DENY", ""
            if "default_action_allow" in spec[which]:
                return "ALLOW", ""
            return None
    rules = [(rule["metadata"]["name"], rule["spec"]) for rule in spec.get("rule_list", {}).get("rules", ()) if not rule["metadata"].get("disable")]
    first = {"DENY_OVERRIDES": "DENY", "ALLOW_OVERRIDES": "ALLOW"}.get(spec.get("algo", "FIRST_MATCH"))
    if first is not None:
        rules = [each for each in rules if _action(each[1]) == first] + [each for each in rules if _action(each[1]) != first]
    for name, rule in rules:
        if _rule(rule, asked, world):
            return _action(rule), name
    return None


def _action(rule: Spec) -> str:
    return str(rule.get("action", "DENY"))


def _server(spec: Spec, asked: Question) -> bool:
    if "port_matcher" in spec and not _port(spec["port_matcher"], asked.port):
        return False
    if "server_name" in spec:
        return spec["server_name"].lower() in (asked.host.lower(), asked.vh_name.lower())
    if "server_name_matcher" in spec:
        return _basic(spec["server_name_matcher"], [asked.host.lower(), asked.vh_name])
    if "server_selector" in spec:
        return _selected(spec["server_selector"], asked.vh_labels)
    return True


def _listed(source: Spec, asked: Question, world: World) -> bool:
    """Whether a source belongs to a SourceList: any criterion suffices."""
    listed = source.get("prefix_list", {})
    prefixes = [*listed.get("prefixes", ()), *listed.get("ipv6_prefixes", ())]
    for ref in source.get("ip_prefix_set", ()):
        prefixes += world.ip_prefix_sets[ref["name"]]
    numbers = list(source.get("asn_list", {}).get("as_numbers", ()))
    for ref in source.get("asn_set", ()):
        numbers += world.asn_sets[ref["name"]]
    return (
        _inside(asked.address, prefixes)
        or (asked.asn is not None and asked.asn in numbers)
        or (asked.country is not None and f"COUNTRY_{asked.country}" in source.get("country_list", ()))
        or (asked.ja3 is not None and asked.ja3 in source.get("tls_fingerprint_values", ()))
    )


def _rule(rule: Spec, asked: Question, world: World) -> bool:
    """Whether every predicate that the rule names holds."""
    if "expiration_timestamp" in rule and asked.now >= rule["expiration_timestamp"]:
        return False
    path, query = _path(asked.target)
    headers: dict[str, list[str]] = {}
    for name, value in asked.headers:
        headers.setdefault(name.lower(), []).append(value)
    cookies = _cookies(headers.get("cookie", []))
    tests: list[bool] = []
    for key, want in rule.items():
        if key == "client_name":
            tests.append(asked.client_name is not None and asked.client_name == want)
        elif key == "client_name_matcher":
            tests.append(asked.client_name is not None and _basic(want, [asked.client_name]))
        elif key == "client_selector":
            tests.append(_selected(want, asked.client_labels))
        elif key == "server_selector":
            tests.append(_selected(want, asked.vh_labels))
        elif key == "label_matcher":
            tests.append(all(name in asked.client_labels and asked.client_labels[name] == asked.vh_labels.get(name) for name in want["keys"]))
        elif key == "path":
            each_way = [_text(want, [each]) for each in _readings(path, want)]
            tests.append(any(each_way) if rule.get("action", "DENY") == "DENY" else all(each_way))
        elif key == "headers":
            tests += [_many(each, headers.get(each["name"].lower(), [])) for each in want]
        elif key == "query_params":
            tests += [_many(each, query.get(each["key"], [])) for each in want]
        elif key == "cookie_matchers":
            tests += [_many(each, cookies.get(each["name"], [])) for each in want]
        elif key == "jwt_claims":
            tests += [_many(each, list(asked.claims.get(each["name"], ()))) for each in want]
        elif key == "http_method":
            tests.append((asked.method in want["methods"] or "ANY" in want["methods"]) != bool(want.get("invert_matcher")))
        elif key == "ip_prefix_list":
            tests.append(_inside(asked.address, want["ip_prefixes"]) != bool(want.get("invert_match")))
        elif key == "ip_matcher":
            prefixes = [prefix for ref in want["prefix_sets"] for prefix in world.ip_prefix_sets[ref["name"]]]
            tests.append(_inside(asked.address, prefixes) != bool(want.get("invert_matcher")))
        elif key == "asn_list":
            tests.append(asked.asn is not None and asked.asn in want["as_numbers"])
        elif key == "asn_matcher":
            tests.append(asked.asn is not None and any(asked.asn in world.asn_sets[ref["name"]] for ref in want["asn_sets"]))
        elif key == "port_matcher":
            tests.append(_port(want, asked.port))
        elif key == "domain_matcher":
            tests.append(_basic(want, [asked.host.lower()]))
        elif key == "virtual_host_matcher":
            tests.append(_basic(want, [asked.vh_name]))
        elif key == "tls_fingerprint_matcher":
            held = asked.ja3 is not None and asked.ja3 in want.get("exact_values", ())
            tests.append(held and asked.ja3 not in want.get("excluded_values", ()))
        elif key == "ja4_tls_fingerprint":
            tests.append(asked.ja4 is not None and asked.ja4 in want["exact_values"])
        elif key == "scheme":
            tests.append("ANY" in want or asked.scheme in want)
        elif key == "request_constraints":
            tests.append(_exceeds(want, asked, headers, cookies, query))
        elif key not in ("action", "waf_action", "any_client", "any_ip", "any_asn", "expiration_timestamp", "challenge_action"):
            raise NotImplementedError(key)
    return all(tests)


def _exceeds(
    want: Spec, asked: Question, headers: Mapping[str, Sequence[str]], cookies: Mapping[str, Sequence[str]], query: Mapping[str, Sequence[str]]
) -> bool:
    """Whether any limit of a request_constraints is exceeded."""
    _, mark, text = asked.target.partition("?")
    sizes = {
        "max_header_count_exceeds": sum(len(values) for values in headers.values()),
        "max_cookie_count_exceeds": sum(len(values) for values in cookies.values()),
        "max_parameter_count_exceeds": sum(len(values) for values in query.values()),
        "max_header_key_size_exceeds": max(map(len, headers), default=0),
        "max_header_value_size_exceeds": max((len(value) for values in headers.values() for value in values), default=0),
        "max_query_size_exceeds": len(text),
        "max_url_size_exceeds": len(asked.target),
    }
    return any(key in want and size > want[key] for key, size in sizes.items())


def _many(want: Spec, values: list[str]) -> bool:
    """A matcher by name (header, query parameter, cookie, claim): one of several values is enough."""
    if "check_present" in want:
        held = bool(values)
    elif "check_not_present" in want:
        held = not values
    else:
        held = _text({**want["item"], "invert_matcher": False}, values)
    return held != bool(want.get("invert_matcher"))


def _text(want: Spec, values: Sequence[str]) -> bool:
    held = False
    for raw in values:
        value = _transformed(raw, want.get("transformers", ()))
        held = held or value in want.get("exact_values", ())
        held = held or any(value.startswith(prefix) for prefix in want.get("prefix_values", ()))
        held = held or any(value.endswith(suffix) for suffix in want.get("suffix_values", ()))
        held = held or any(re.fullmatch(pattern, value) for pattern in want.get("regex_values", ()))
    return held != bool(want.get("invert_matcher"))


def _basic(want: Spec, values: Sequence[str]) -> bool:
    return any(value in want.get("exact_values", ()) or any(re.fullmatch(p, value) for p in want.get("regex_values", ())) for value in values)


def _transformed(value: str, steps: Sequence[str]) -> str:
    for step in steps:
        if step == "LOWER_CASE":
            value = value.lower()
        elif step == "UPPER_CASE":
            value = value.upper()
        elif step == "REMOVE_WHITESPACE":
            value = re.sub(r"\s", "", value)
        elif step == "URL_DECODE":
            value = unquote_to_bytes(value.encode("latin-1")).decode("latin-1")
        elif step == "TRIM_LEFT":
            value = value.lstrip()
        elif step == "TRIM_RIGHT":
            value = value.rstrip()
        elif step == "TRIM":
            value = value.strip()
        elif step == "BASE64_DECODE":
            try:
                value = base64.b64decode(value, validate=True).decode("latin-1")
            except binascii.Error:
                pass
        elif step == "NORMALIZE_PATH":
            value = _without_dots(re.sub("/+", "/", value))
        elif step != "TRANSFORMER_NONE":
            raise NotImplementedError(step)
    return value


def _inside(address: str, prefixes: Sequence[str]) -> bool:
    """Whether an address is in one of the prefixes; an IPv4 address that came as IPv6 is its IPv4 self."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in map(ipaddress.ip_network, prefixes) if network.version == ip.version)


def _port(want: Spec, port: int) -> bool:
    held = False
    for item in want["ports"]:
        low, _, high = str(item).partition("-")
        held = held or int(low) <= port <= int(high or low)
    return held != bool(want.get("invert_matcher"))


def _selected(selector: Spec, labels: Mapping[str, str]) -> bool:
    """A label selector: strings are alternatives, requirements within one all hold; an empty one selects everything."""
    expressions = selector.get("expressions", ())
    return not expressions or any(_requirements(expression, labels) for expression in expressions)


def _requirements(expression: str, labels: Mapping[str, str]) -> bool:
    for text in re.findall(r"[^,(]+(?:\([^)]*\))?", expression):
        text = text.strip()
        named = re.fullmatch(r"(!?)\s*([^\s!=]+)\s*(?:(in|notin)\s*\(([^)]*)\)|(==|=|!=)\s*(\S*))?", text)
        assert named is not None, text
        absent, key, word, several, sign, one = named.groups()
        value = labels.get(key)
        if word is not None:
            held = value is not None and value in [each.strip() for each in several.split(",")]
            held = held if word == "in" else not held
        elif sign is not None:
            held = (value == one) if sign != "!=" else (value != one)
        else:
            held = (value is None) if absent else (value is not None)
        if not held:
            return False
    return True


def _path(target: str) -> tuple[str, dict[str, list[str]]]:
    """The unescaped path of a target and its query parameters."""
    raw, _, text = target.partition("?")
    path = unquote_to_bytes(_without_dots(_reserved_only(raw)).encode("latin-1")).decode("latin-1")
    query: dict[str, list[str]] = {}
    for pair in filter(None, text.split("&")):
        key, _, value = pair.partition("=")
        query.setdefault(_form(key), []).append(_form(value))
    return path, query


def _readings(path: str, want: Spec) -> list[str]:
    """What a path may mean to an origin that takes off parameters, or takes a backslash for a slash. A matcher with ``;`` in it means them."""
    said = [text for name in ("exact_values", "prefix_values", "suffix_values", "regex_values") for text in want.get(name, ())]
    bare = [path] if ";" in "".join(said) else [path, "/".join(segment.split(";")[0] for segment in path.split("/"))]
    if not set(path) & {";", "\\"} and "/." not in path:
        return [path]
    return [path, _without_dots(path), *(
        _without_dots(re.sub("//+", "/", each)) for text in bare for each in (text, text.replace("\\", "/")))]


def _form(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ").encode("latin-1")).decode("latin-1")


def _reserved_only(path: str) -> str:
    """Percent-encoded octets that need no encoding are written plainly (RFC 3986 section 6.2.2.2)."""

    def plain(found: re.Match[str]) -> str:
        octet = int(found.group(1), 16)
        return chr(octet) if octet in UNRESERVED else found.group(0).upper()

    return re.sub("%([0-9A-Fa-f]{2})", plain, path)


def _without_dots(path: str) -> str:
    """A path without dot segments (RFC 3986 section 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == ".":
            kept += [""] if last else []
        elif segment == "..":
            if len(kept) > 1:
                kept.pop()
            kept += [""] if last else []
        else:
            kept.append(segment)
    return "/".join(kept) or "/"


def _cookies(lines: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in ";".join(lines).split(";"):
        name, sign, value = pair.strip().partition("=")
        if sign:
            found.setdefault(name.strip(), []).append(value.strip())
    return found
