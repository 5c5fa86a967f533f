"""What each limit of the object model allows and what it does not, as values to try."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from tests.config.samples import sample, text
from tests.config.table import ROWS, SPECIAL, Row, companions, declared
from voltgw.config.compound import ListOf, MapOf
from voltgw.config.contents import Content, Hex, SecretContent
from voltgw.config.ranges import Between, Ports
from voltgw.config.schema import Decl
from voltgw.config.types import Choice, Number, Text

#: Where we accept more than the API does, and why. Each is a row's field and the words of the limit that is not held.
LENIENT: Final[Mapping[tuple[str, str, str], str]] = {
    ("RetryPolicyType", "retry_condition", "req"): "files of 2020 say retry_on instead",
    ("RetryPolicyType", "retry_condition", "≥1 items"): "an empty list is an absent one",
    ("service_policy", "algo", "req"): "not published any more",
    ("service_policy_rule", "challenge_action", "req"): "never published",
    ("service_policy_rule", "waf_action", "req"): "real files leave it out; the harmless member is meant",
    ("ForwardProxyAdvancedRuleType", "metadata", "req"): "files of 2020 say rule_name instead",
    ("K8SDiscoveryType", "publish_info", "req"): "real files leave it out; `disable` is meant",
    ("ConsulDiscoveryType", "publish_info", "req"): "real files leave it out; `disable` is meant",
    ("HttpHealthCheck", "expected_status_codes", "item len≤10"): "only zeros in front make a status longer",
    ("RouteType", "waf_exclusion_policy", "req"): "one member of a oneof; required is only that it names something",
    ("virtual_host", "proxy", "enum numbers [4,5]"): "the founding description has 0 to 5",
}
#: Where we accept less, and why; the good value is then one that both accept.
STRICTER: Final[Mapping[tuple[str, str, str], tuple[str, Any]]] = {
    ("RouteDirectResponse", "response_code", "≥100"): ("an interim status ends no request", 200),
}
#: Good and bad values of the formats that limits name.
FORMATS: Final[Mapping[str, tuple[Any, Any]]] = {
    "ip": ("2001:db8::1", "300.0.2.1"),
    "ipv4": ("192.0.2.7", "2001:db8::1"),
    "hostname": ("a-b.example", "a b.example"),
    "hostport": ("a.example:80", "a.example:99999"),
    "http_path": ("/a/b", "a/b"),
    "http_valid_methods": ("GET, POST", "GET, FETCH"),
    "uri_ref": ("string:///YQ==", "no URL at all"),
    "certificate_url": ("string:///YQ==", "no URL at all"),
    "truststore_url": ("string:///YQ==", "no URL at all"),
    "ves_object_name": ("a-b", "a b"),
    "regex": ("a+", "(a"),
    "hex": ("50494e47", "5049zz"),
    "unique_port_range_list": ("80,443,8080-8191", "80,8000-8100,8050"),
    "max_ports=1024": ("1-1024", "1-1025"),
    "not INVALID": ("CUSTOMER_EDGE", "INVALID"),
    "enum numbers [0,1,2,3,4,7]": ("VIRTUAL_NETWORK_GLOBAL", "VIRTUAL_NETWORK_SITE_SERVICE"),
    "enum numbers [4,5]": ("UDP_PROXY", "HTTP_PROXY"),
    "in 0,10-50": (50, 9),
}
ITEMS: Final[Mapping[str, tuple[Any, Any]]] = {
    "vh_domain": ("*.a.example", "a.*.example"),
    "ipv4_prefix": ("192.0.2.0/24", "2001:db8::/32"),
    "http_status_range": ("200-250", "200-99"),
    "regex": ("a+", "(a"),
    "uint32.lte=65535": (65535, 65536),
    "cipher": ("TLS_AES_128_GCM_SHA256", "TLS_NULL_WITH_NULL_NULL"),
    "waf_rule_id": ("WAF_RULE_942100", "942100"),
    "JA3": ("0123456789abcdef0123456789abcdef", "0123"),
    "JA4": ("t13d1516h2_8daaf6152771_b186095e22b6", "t13d"),
}
#: In place of a value: the field is left out.
ABSENT: Final = object()


class Case(NamedTuple):
    """A value that a limit allows and one that it does not; the field may also have to be absent (None)."""

    good: Any
    bad: Any


def put(row: Row, value: Any) -> tuple[dict[str, Any], str]:
    """The fields of a message in which the row's field has `value`, and the name of a field to leave out."""
    if value is ABSENT:
        return {}, row.field
    return {**companions(row), row.field: value}, ""


def cases() -> Iterator[tuple[Row, str, Case]]:
    """Every limit of the table with what it allows and what it does not; one without a bad value only has a good one."""
    for row in ROWS:
        _, decl = declared(row)
        if decl is None:
            continue
        for term in row.terms:
            for case in tried(term, decl):
                if (row.message, row.field, term) in STRICTER:
                    case = case._replace(good=STRICTER[row.message, row.field, term][1])
                elif term == "req":
                    case = case._replace(good=SPECIAL.get((row.message, row.field), case.good))
                yield row, term, case


def tried(term: str, decl: Decl) -> Iterator[Case]:
    """What one limit allows and does not allow."""
    type_ = decl.type
    item = type_.item if isinstance(type_, ListOf) else type_
    if term == "req":
        yield Case(sample(type_), ABSENT)
    elif term in FORMATS:
        yield Case(*FORMATS[term])
    elif term == "non-empty":
        yield Case([sample(item)], [""])
    elif term == "unique":
        yield Case(items(decl, 2), [sample(item), sample(item)])
    elif term.startswith("items one of ["):
        names = term[14:-1].split(",")
        yield Case(names, ["nonsense"])
    elif term.startswith("items "):
        good, bad = ITEMS[term[6:]]
        yield Case([good], [bad])
    elif term.startswith("one of ["):
        names = [name.strip() for name in term[8:-1].split(",")]
        for name in names:
            yield Case([name] if isinstance(type_, ListOf) else name, ["nonsense"] if isinstance(type_, ListOf) else "nonsense")
    elif term.startswith("pattern="):
        yield Case(sample(type_), "nonsense")
    elif match := re.fullmatch(r"(item )?len([≤≥])(\d+)", term):
        yield from lengths(decl, match[2], int(match[3]), listed=bool(match[1]))
    elif match := re.fullmatch(r"([≤≥])(\d+) items", term):
        yield from counts(decl, match[1], int(match[2]))
    elif match := re.fullmatch(r"([≤≥>])(-?\d+)", term):
        yield from numbers(decl, match[1], int(match[2]))
    elif match := re.fullmatch(r"≤(\d+) pairs", term):
        assert isinstance(type_, MapOf)
        most = int(match[1])
        keys = [300 + i if isinstance(type_.key, Number) else sample(type_.key, i) for i in range(most + 1)]
        yield Case(dict.fromkeys(keys[:-1], sample(type_.value)), dict.fromkeys(keys, sample(type_.value)))
    elif match := re.fullmatch(r"(keys|values)\.(string|uint32)\.(\w+)=(\w+)", term):
        yield from entries(decl, *match.groups())


def items(decl: Decl, count: int) -> list[Any]:
    """So many items of a list, different ones as long as there are any."""
    assert isinstance(decl.type, ListOf)
    item = decl.type.item
    if isinstance(item, Text) and item.one_of:
        return [name for name in item.one_of if name][:count] + [item.one_of[0]] * (count - len(item.one_of))
    return [sample(item, number) for number in range(count)]


def lengths(decl: Decl, sign: str, limit: int, *, listed: bool) -> Iterator[Case]:
    """The longest or shortest text, and one that is longer or shorter."""
    if sign == "≥" and not isinstance(decl.type, ListOf):
        yield Case(long(decl, limit), long(decl, limit)[:limit - 1] if decl.required or decl.group else None)
        return
    if isinstance(decl.type, ListOf) and not listed:        # the reference once calls the length of a list its len
        yield from counts(decl, sign, limit)
        return
    good, bad = fitting(decl, limit), long(decl, limit + 2)
    yield Case([good], [bad]) if listed else Case(good, bad)


def fitting(decl: Decl, limit: int) -> str:
    """The longest value of at most `limit` characters that the field's format allows (a host name has at most 253)."""
    type_ = decl.type.item if isinstance(decl.type, ListOf) else decl.type
    hosts = isinstance(type_, Text) and type_.form is not None and "host" in type_.form.words
    return long(decl, min(limit, 253) if hosts else limit)


def counts(decl: Decl, sign: str, limit: int) -> Iterator[Case]:
    """A list as long as it may be, and one that is too long or too short."""
    good = items(decl, limit)
    if isinstance(decl.type, ListOf) and isinstance(decl.type.item, Choice):
        good = list(dict.fromkeys(good))                    # there may be fewer words than the list may hold
    yield Case(good, items(decl, limit + 1) if sign == "≤" else items(decl, limit - 1))


def numbers(decl: Decl, sign: str, limit: int) -> Iterator[Case]:
    """The last number that is allowed, and the first that is not; a zero means "use the default" where nothing is required."""
    good = limit + 1 if sign == ">" else limit
    bad = limit + 1 if sign == "≤" else good - 1
    zero = bad == 0 and not decl.required
    unsigned = bad < 0 and limit == 0
    yield Case(good, None if zero or unsigned else bad)
    assert isinstance(decl.type, Number) or hasattr(decl.type, "unit"), decl.name


def entries(decl: Decl, part: str, kind: str, rule: str, text_: str) -> Iterator[Case]:
    """Keys or values of a map that are allowed and that are not."""
    assert isinstance(decl.type, MapOf)
    key, value = sample(decl.type.key), sample(decl.type.value)

    def pair(new: Any) -> dict[Any, Any]:
        return {new: value} if part == "keys" else {key: new}

    if rule == "uri_ref":
        yield Case(pair("string:///YQ=="), pair("no URL at all"))
    elif kind == "uint32":
        limit = int(text_)
        yield Case(pair(limit), pair(limit - 1 if rule == "gte" else limit + 1))
    elif rule == "min_len":
        yield Case(pair("a"), pair(""))
    else:
        limit = int(text_)
        type_ = decl.type.key if part == "keys" else decl.type.value
        good = "string:///" + "YWFh" * ((limit - 10) // 4) if isinstance(type_, Content) else "a" * limit
        yield Case(pair(good), pair(good + "YWFh" if isinstance(type_, Content) else good + "a"))


def long(decl: Decl, length: int) -> str:
    """A value of a text field that is so long, or a little shorter where its format allows no such length."""
    type_ = decl.type.item if isinstance(decl.type, ListOf) else decl.type
    if isinstance(type_, Ports):
        return ",".join(str(port) for port in range(10000, 12000))[:length].rstrip(",").ljust(length)
    if isinstance(type_, Between):
        return "200".zfill(length)
    if isinstance(type_, (Content, SecretContent)):
        return "string:///" + "YWFh" * ((length - 10 + (2 if length % 2 else 0)) // 4)
    if isinstance(type_, Hex):
        return "0" * (length + length % 2)
    assert isinstance(type_, Text), decl.name
    return "/" + "a" * (length - 1) if decl.name in ("prefix", "path") else text(type_, 0, length)
