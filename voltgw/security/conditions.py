"""The conditions of service policy rules (objects.md 13.3), compiled: a sentence and a function of the exchange each.

Semantics beyond the object model:

* The path is the host's normal form with its escapes decoded, and dot segments that only this made are resolved too: ``%2F``
  and ``..%2F`` cannot carry a request around a rule. A path that may be read in several ways (`voltgw.security.readings`), one
  with ``;parameters`` among them, is refused by any of them, and let pass by all. Empty segments (``//``) and case are part of
  a path; NORMALIZE_PATH and LOWER_CASE are there for origins that see them differently.
* A matcher without any value is as if it were not there; of a header, parameter or cookie it asks for presence.
* Header names compare without case, values exactly. Fields by which proxies speak of the client (X-Forwarded-For and the like)
  are set aside before: a client cannot deceive a rule by them, and a rule on them never finds any.
* A client's names are those of its verified certificate. Host names compare without case and without port.
* Methods compare without case: RFC 9110 9.1 tells ``delete`` from ``DELETE``, but many frameworks behind us do not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from voltgw.config.labels import selector
from voltgw.routing.cookies import cookie_values
from voltgw.routing.match import set_aside
from voltgw.routing.problems import ProblemError, at
from voltgw.security.addresses import MOST_COPIED, Prefixes, number_of
from voltgw.security.constraints import exceeding
from voltgw.security.geo import CLIENT_LABELS, country_code, labels_of
from voltgw.security.readings import every_way, readings
from voltgw.security.texts import fits, patterns, transformer, words

if TYPE_CHECKING:
    from voltgw.config.objects.endpoint import LabelSelectorType
    from voltgw.config.objects.matchers import JWTClaimMatcherType, PolicyPathMatcherType
    from voltgw.config.objects.parts import PolicyPortMatcherType
    from voltgw.config.objects.service_policy import ServicePolicySpec, SourceList
    from voltgw.config.objects.service_policy_rule import ServicePolicyRuleSpec
    from voltgw.config.values import Ref
    from voltgw.security.geo import Geo, Location
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead

Test: TypeAlias = "Callable[[Exchange], bool]"
#: A reference to an ip_prefix_set -> its prefixes.
FindPrefixes: TypeAlias = "Callable[[Ref], Prefixes]"
#: A reference to a bgp_asn_set -> its autonomous systems.
FindSystems: TypeAlias = "Callable[[Ref], Iterable[int]]"


class Condition(NamedTuple):
    """One condition. `table` says by what a table can decide it: ``host``, ``method``, ``path``, ``ip``, ``header``, ``cookie``
    or ``parameter``.

    `keys` are then the values for which it holds: of the last three, names with values; of a path (behind `transform`) exact
    ones, beginnings, ends and pieces, which with `strict` must fit every reading. Without `decisive` it does not hold for
    others, but has to be asked about these.
    """

    text: str
    test: Test
    table: str = ""
    keys: tuple[Any, ...] = ()
    decisive: bool = True
    transform: Callable[[bytes], bytes] | None = None
    seen: Callable[[Exchange], str] | None = None       # what it looks at, where that is no secret
    undotted: Callable[[bytes], bytes] | None = None    # `transform`, but for dot segments
    strict: bool = False


class Surroundings(NamedTuple):
    """What conditions need to know beside the request: the virtual host, sets, the time (seconds since the epoch), and where
    addresses are (None: there is no database).

    `relays` is set for a host that passes connections on, of which no request is known: ``TCP``, ``TLS`` or ``UDP``.
    """

    host_name: str
    labels: Mapping[str, str]
    prefixes: FindPrefixes
    wall: Callable[[], float]
    relays: str = ""
    systems: FindSystems = lambda ref: ()
    geo: Geo | None = None


#: Octets of a value that are shown to people.
_MOST_SHOWN: Final = 80
#: Places whose labels were compared and are remembered, for each rule that asks for labels.
_MOST_KNOWN: Final = 4096
#: Lengths of the pieces by which regexes are found; a piece has the greatest that fits into it.
PIECES: Final = (24, 12, 6, 3)
#: Fields that cannot be judged here. Whoever lets them be ignored gets a rule that never holds: it admits nobody.
UNJUDGED: Final = (
    "ip_threat_category_list", "client_role", "label_matcher", "dst_asn_list", "dst_asn_matcher",
    "dst_ip_prefix_list", "dst_ip_matcher", "api_group_matcher", "body_matcher", "arg_matchers",
    "url_matcher", "segment_policy", "l4_dest_matcher",
)


#: Fields that ask for something of a request, which a connection does not have.
OF_REQUESTS: Final = (
    "http_method", "path", "headers", "cookie_matchers", "query_params", "jwt_claims", "request_constraints", "url_matcher",
)


def piece_of(literal: bytes) -> bytes | None:
    """What a regex whose matches all contain `literal` is found by; None where that is too short."""
    return next((literal[:length] for length in PIECES if len(literal) >= length), None)


def of_rule(spec: ServicePolicyRuleSpec, around: Surroundings) -> list[Condition]:
    """All conditions of a rule. Raises ValueError with the way to the one that is wrong."""
    found: list[Condition] = []
    if around.relays:
        names = OF_REQUESTS if around.relays == "TLS" else (*OF_REQUESTS, "domain_matcher")
        asked = [name for name in names if getattr(spec, name)]
        if asked and spec.action.value != "ALLOW":
            raise ProblemError(
                f"{asked[0]} asks for something of a request, and {around.host_name!r} passes connections on, of which none is "
                "known: whom this rule refuses would be admitted", (asked[0],),
                "list whom it serves by ALLOW rules instead, or say `no_service_policies: {}` in it")
        if asked:
            return [_static(f"{asked[0]} asks for something of a request, and there is none", False)]
    for name in UNJUDGED:
        if getattr(spec, name):
            found.append(_static(f"{name} cannot be judged here", False))
    if spec.expiration_timestamp is not None:
        with at("expiration_timestamp"):
            found.append(_expiry(spec.expiration_timestamp, around.wall))
    if spec.server_selector is not None:
        found.append(_labels(spec.server_selector, around))
    if spec.virtual_host_matcher is not None:
        with at("virtual_host_matcher"):
            test = fits(spec.virtual_host_matcher)
        if test is not None:
            found.append(_static(
                f"the virtual host is {words(spec.virtual_host_matcher)}", test(around.host_name.encode("utf-8"))))
    if spec.domain_matcher is not None and (spec.domain_matcher.exact_values or spec.domain_matcher.regex_values):
        with at("domain_matcher"):
            test = fits(spec.domain_matcher, any_case=True)
        assert test is not None             # it has values
        keys = () if spec.domain_matcher.regex_values else tuple(
            text.lower().encode("utf-8") for text in spec.domain_matcher.exact_values)
        found.append(_host(f"Host is {words(spec.domain_matcher)}", test, keys))
    if spec.http_method is not None and spec.http_method.methods:
        found.append(_method(spec.http_method.methods, inverted=spec.http_method.invert_matcher))
    if spec.path is not None:
        with at("path"):
            found += _path(spec.path, strict=spec.action.value != "DENY" and not spec.log_rule_evaluation)
    if spec.ip_prefix_list is not None:
        found.append(_address(
            Prefixes(spec.ip_prefix_list.ip_prefixes), "ip_prefix_list", inverted=spec.ip_prefix_list.invert_match))
    if spec.ip_matcher is not None:
        with at("ip_matcher"):
            listed = Prefixes((), [around.prefixes(ref) for ref in spec.ip_matcher.prefix_sets])
        found.append(_address(listed, "ip_matcher", inverted=spec.ip_matcher.invert_matcher))
    if spec.client_selector is not None:
        with at("client_selector"):
            found.append(_client_labels(spec.client_selector, around))
    if spec.asn_list is not None:
        with at("asn_list"):
            found.append(_system(spec.asn_list.as_numbers, around))
    if spec.asn_matcher is not None:
        with at("asn_matcher"):
            found.append(_system([one for ref in spec.asn_matcher.asn_sets for one in around.systems(ref)], around))
    if spec.port_matcher is not None:
        found.append(_port(spec.port_matcher))
    schemes = frozenset(spec.scheme)
    if schemes and "ANY" not in schemes and around.relays:
        spoken = {"TCP", "TLS"} if around.relays == "TLS" else {around.relays}
        found.append(_static(f"the scheme is one of {', '.join(sorted(schemes))}", bool(schemes & spoken)))
    elif schemes and "ANY" not in schemes:
        wanted = frozenset(name.lower().encode("ascii") for name in schemes)
        found.append(Condition(
            f"the scheme is one of {', '.join(sorted(schemes))}", lambda exchange: exchange.client.scheme in wanted))
    found += _clients(spec)
    found += _fingerprints(spec)
    for number, header in enumerate(spec.headers):
        with at("headers", number):
            found.append(_header(header))
    for number, cookie in enumerate(spec.cookie_matchers):
        with at("cookie_matchers", number):
            found.append(_pair(cookie, cookie.name, "cookie", cookie_values, "cookie"))
    for number, parameter in enumerate(spec.query_params):
        with at("query_params", number):
            found.append(_pair(parameter, parameter.key, "query parameter", parameter_values, "parameter"))
    if spec.request_constraints is not None:
        limits = exceeding(spec.request_constraints)
        if limits is not None:
            found.append(Condition(*limits))
    for number, claim in enumerate(spec.jwt_claims):
        with at("jwt_claims", number):
            found.append(_claim(claim))
    return found


def of_servers(spec: ServicePolicySpec, around: Surroundings) -> list[Condition]:
    """The conditions of a policy on what is asked for (objects.md 13.1, ``server_choice`` and ``port_matcher``)."""
    found: list[Condition] = []
    name = around.host_name.encode("utf-8")
    if spec.server_name is not None:
        wanted = spec.server_name.lower().encode("utf-8")
        if spec.server_name != around.host_name:
            found.append(_host(f"the server is {spec.server_name!r}", wanted.__eq__, (wanted,)))
    if spec.server_selector is not None:
        found.append(_labels(spec.server_selector, around))
    if spec.server_name_matcher is not None:
        with at("server_name_matcher"):
            by_name, by_host = fits(spec.server_name_matcher), fits(spec.server_name_matcher, any_case=True)
        if by_name is not None and by_host is not None and not by_name(name):
            found.append(_host(f"the server is {words(spec.server_name_matcher)}", by_host, ()))
    if spec.port_matcher is not None:
        found.append(_port(spec.port_matcher))
    return found


def of_sources(spec: SourceList, around: Surroundings) -> list[Condition]:
    """Whether a client is listed (objects.md 13.2): one criterion is enough."""
    listed = [*(spec.prefix_list.prefixes if spec.prefix_list is not None else ()),
              *(spec.prefix_list.ipv6_prefixes if spec.prefix_list is not None else ())]
    with at("ip_prefix_set"):
        sets = [around.prefixes(ref) for ref in spec.ip_prefix_set]
    ways = [_address(Prefixes(listed, sets), "the list", inverted=False)]
    numbers = list(spec.asn_list.as_numbers) if spec.asn_list is not None else []
    with at("asn_set"):
        numbers += [one for ref in spec.asn_set for one in around.systems(ref)]
    if numbers:
        with at("asn_list"):
            ways.append(_system(numbers, around))
    if spec.country_list:
        with at("country_list"):
            ways.append(_country(spec.country_list, around))
    known = frozenset(spec.tls_fingerprint_values)
    if known:
        ways.append(Condition("the TLS fingerprint is in the list", lambda exchange: ja3_of(exchange) in known))
    if len(ways) == 1:
        return ways
    tests = tuple(way.test for way in ways)
    shown = tuple(way.seen for way in ways if way.seen is not None)
    return [Condition(", or ".join(way.text for way in ways), lambda exchange: any(test(exchange) for test in tests),
                      seen=lambda exchange: ", ".join(seen(exchange) for seen in shown))]


def ja3_of(exchange: Exchange) -> str:
    """The JA3 fingerprint of the client's hello, "" without TLS."""
    handshake = exchange.client.handshake
    return "" if handshake is None else handshake.ja3


def ja4_of(exchange: Exchange) -> str:
    """Likewise JA4."""
    handshake = exchange.client.handshake
    return "" if handshake is None else handshake.ja4


def parameter_values(name: str) -> Callable[[RequestHead], list[bytes]]:
    """All values of a query parameter, decoded."""
    wanted = name.encode("utf-8")

    def values(head: RequestHead) -> list[bytes]:
        if not head.query:
            return []
        if len(head.query) > _LONG_QUERY:
            return _parsed(head.query).get(wanted, [])
        found: list[bytes] = []
        for pair in head.query.split(b"&"):
            key, _, value = pair.partition(b"=")
            if unquote_to_bytes(key.replace(b"+", b" ")) == wanted:
                found.append(unquote_to_bytes(value.replace(b"+", b" ")))
        return found

    return values


#: Queries that are longer are taken apart once, and not by each rule that asks for a parameter.
_LONG_QUERY: Final = 256


@lru_cache(maxsize=1)
def _parsed(query: bytes) -> dict[bytes, list[bytes]]:
    """The parameters of a query. Only the last one is remembered: that of the request which is judged at present."""
    found: dict[bytes, list[bytes]] = {}
    for pair in query.split(b"&"):
        key, _, value = pair.partition(b"=")
        if b"%" in key or b"+" in key:
            key = unquote_to_bytes(key.replace(b"+", b" "))
        if b"%" in value or b"+" in value:
            value = unquote_to_bytes(value.replace(b"+", b" "))
        found.setdefault(key, []).append(value)
    return found


# -- one by one --------------------------------------------------------------------------------------------------------

def _static(text: str, holds: bool) -> Condition:
    return Condition(text, lambda exchange: holds)


def _labels(spec: LabelSelectorType, around: Surroundings) -> Condition:
    return _static("the virtual host has the labels", selector(spec.expressions).matches(around.labels))


def _inverted(condition: Condition) -> Condition:
    test = condition.test
    return Condition(f"not: {condition.text}", lambda exchange: not test(exchange), seen=condition.seen)


def _expiry(text: str, wall: Callable[[], float]) -> Condition:
    ends = datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
    if ends.tzinfo is None:
        raise ValueError("has no time zone")
    seconds = ends.timestamp()
    return Condition(f"it is before {text}", lambda exchange: wall() < seconds)


def _host(text: str, test: Callable[[bytes], bool], keys: tuple[bytes, ...]) -> Condition:
    # one final dot is gone already; further ones make no other name of it
    return Condition(text, lambda exchange: test(exchange.request.host.rstrip(b".")), "host" if keys else "", keys,
                     seen=lambda exchange: f"host {_text(exchange.request.host)}")


def _method(names: Sequence[str], *, inverted: bool) -> Condition:
    wanted = frozenset(name.encode("ascii") for name in names)
    text = f"the method is one of {', '.join(names)}"
    if "ANY" in names:
        return _static("the method is any", not inverted)
    if inverted:
        return Condition(f"not: {text}", lambda exchange: exchange.request.method.upper() not in wanted, seen=_seen_method)
    return Condition(text, lambda exchange: exchange.request.method.upper() in wanted, "method", tuple(wanted),
                     seen=_seen_method)


def _seen_method(exchange: Exchange) -> str:
    return f"method {_text(exchange.request.method)}"


def _text(value: bytes) -> str:
    return repr(value[:_MOST_SHOWN].decode("utf-8", "backslashreplace")) + ("..." if len(value) > _MOST_SHOWN else "")


def _path(spec: PolicyPathMatcherType, *, strict: bool) -> list[Condition]:
    """With `strict` it holds for a path only if it does for all of its readings, else if it does for one."""
    if not (spec.exact_values or spec.prefix_values or spec.suffix_values or spec.regex_values):
        return []
    # An operator may write a path as it looks in a request or decoded: both mean the same.
    exact, prefixes, suffixes = (
        tuple(unquote_to_bytes(text.encode("utf-8")) for text in texts)
        for texts in (spec.exact_values, spec.prefix_values, spec.suffix_values))
    compiled = patterns(spec.regex_values)
    regexes = tuple(pattern.matches for pattern in compiled)
    transform, undotted = transformer(spec.transformers), transformer(spec.transformers, dots=False)
    whole = frozenset(exact)
    inverted = spec.invert_matcher
    # a rule that speaks of parameters means them
    parameters = any(";" in text for text in (*spec.exact_values, *spec.prefix_values, *spec.suffix_values, *spec.regex_values))

    def ways(exchange: Exchange) -> Sequence[bytes]:
        return every_way(readings(exchange.request, parameters=parameters), transform, undotted)

    def fits(path: bytes) -> bool:
        return (path in whole or path.startswith(prefixes) or path.endswith(suffixes)
                or any(bool(matches(path)) for matches in regexes)) is not inverted

    def test(exchange: Exchange) -> bool:
        paths = ways(exchange)
        if not paths:
            return not strict               # nobody reads them all
        return all(map(fits, paths)) if strict else any(map(fits, paths))

    shown = [f"is {text!r}" for text in spec.exact_values] + [f"begins with {text!r}" for text in spec.prefix_values]
    shown += [f"ends with {text!r}" for text in spec.suffix_values] + [f"matches {text!r}" for text in spec.regex_values]
    def seen(exchange: Exchange) -> str:
        return f"path {' or '.join(dict.fromkeys(map(_text, ways(exchange) or (exchange.request.path,))))}"

    text = "the path " + " or ".join(shown[:4]) + (" or …" if len(shown) > 4 else "")
    made = Condition(f"not: {text}" if inverted else text, test, seen=seen)
    if inverted or parameters:
        return [made]
    begins = tuple(pattern.prefix for pattern in compiled if pattern.prefix)
    pieces = tuple(piece_of(pattern.within) for pattern in compiled if not pattern.prefix)
    if not all(suffixes) or not all(pieces):
        return [made]
    steps = [name for name in spec.transformers if name != "TRANSFORMER_NONE"]
    return [made._replace(table=" ".join(("path", *steps)), keys=(exact, prefixes + begins, suffixes, pieces),
                          decisive=not regexes, transform=transform, undotted=undotted, strict=strict)]


def _address(prefixes: Prefixes, what: str, *, inverted: bool) -> Condition:
    made = Condition(f"the client's address is in {what}", lambda exchange: prefixes.holds(number_of(exchange.client_address)),
                     "ip" if prefixes.whole and len(prefixes) <= MOST_COPIED else "", tuple(prefixes),
                     seen=lambda exchange: f"address {exchange.client_address}")
    return _inverted(made) if inverted else made


def _system(numbers: Sequence[int], around: Surroundings) -> Condition:
    find, wanted = _located(around, "autonomous systems"), frozenset(numbers)
    text = ", ".join(f"AS{number}" for number in sorted(wanted)[:8]) + (", …" if len(wanted) > 8 else "")
    return Condition(f"the client's autonomous system is one of {text or 'none'}",
                     lambda exchange: find(exchange.client_address).asn in wanted,
                     seen=lambda exchange: f"AS{find(exchange.client_address).asn or ' unknown'}")


def _client_labels(spec: LabelSelectorType, around: Surroundings) -> Condition:
    wanted = selector(spec.expressions)
    for alternative in wanted.alternatives:
        for need in alternative:
            if need.key not in CLIENT_LABELS:
                raise ProblemError(f"clients have no label {need.key}: they have {', '.join(CLIENT_LABELS)}")
    find = _located(around, "labels of clients")
    known: dict[Location, bool] = {}

    def test(exchange: Exchange) -> bool:
        found = find(exchange.client_address)
        holds = known.get(found)
        if holds is None:
            if len(known) >= _MOST_KNOWN:
                known.clear()
            holds = known[found] = wanted.matches(labels_of(found))
        return holds

    def seen(exchange: Exchange) -> str:
        labels = labels_of(find(exchange.client_address))
        return ", ".join(f"{name}={value}" for name, value in labels.items()) or "no labels"

    return Condition(f"the client has the labels {' or '.join(spec.expressions)}", test, seen=seen)


def _country(names: Sequence[str], around: Surroundings) -> Condition:
    find, wanted = _located(around, "countries"), frozenset(map(country_code, names))
    return Condition(f"the client's country is one of {', '.join(sorted(code or 'none' for code in wanted))}",
                     lambda exchange: find(exchange.client_address).country in wanted,
                     seen=lambda exchange: f"country {find(exchange.client_address).country or 'unknown'}")


def _located(around: Surroundings, what: str) -> Callable[[str], Location]:
    if around.geo is None:
        raise ProblemError(f"{what} are told by a database, and there is none", (),
                           "say `gateway: {geo: {database: /var/lib/GeoIP/....mmdb}}`")
    return around.geo.find


def _port(spec: PolicyPortMatcherType) -> Condition:
    ranges = spec.ports

    def test(exchange: Exchange) -> bool:
        request = exchange.request
        port = request.port if request.method == b"CONNECT" else exchange.client.local_port
        return port is not None and any(port in span for span in ranges)

    made = Condition(f"the port is in {', '.join(map(str, ranges))}", test)
    return _inverted(made) if spec.invert_matcher else made


def _clients(spec: ServicePolicyRuleSpec) -> list[Condition]:
    if spec.client_name is None and spec.client_name_matcher is None:
        return []
    names_of: Callable[[Exchange], tuple[bytes, ...]] = import_module("voltgw.security.names").names_of

    def seen(exchange: Exchange) -> str:
        return "certificate of " + (", ".join(map(_text, names_of(exchange)[:4])) or "nobody")

    if spec.client_name is not None:
        wanted = spec.client_name.encode("utf-8")
        return [Condition(f"the client's certificate names {spec.client_name!r}",
                          lambda exchange: wanted in names_of(exchange), seen=seen)]
    assert spec.client_name_matcher is not None
    with at("client_name_matcher"):
        test = fits(spec.client_name_matcher)
    if test is None:
        return []
    of_name = test
    return [Condition(f"the client's certificate names {words(spec.client_name_matcher)}",
                      lambda exchange: any(map(of_name, names_of(exchange))), seen=seen)]


def _fingerprints(spec: ServicePolicyRuleSpec) -> list[Condition]:
    if spec.ja4_tls_fingerprint is not None:
        known = frozenset(spec.ja4_tls_fingerprint.exact_values)
        return [Condition("the JA4 fingerprint is listed", lambda exchange: ja4_of(exchange) in known,
                          seen=lambda exchange: f"JA4 {ja4_of(exchange) or 'none'}")]
    matcher = spec.tls_fingerprint_matcher
    if matcher is None:
        return []
    if matcher.classes:
        return [_static("classes of TLS fingerprints cannot be judged here", False)]
    found: list[Condition] = []
    if matcher.exact_values:
        wanted = frozenset(matcher.exact_values)
        found.append(Condition("the JA3 fingerprint is listed", lambda exchange: ja3_of(exchange) in wanted,
                               seen=lambda exchange: f"JA3 {ja3_of(exchange) or 'none'}"))
    if matcher.excluded_values:
        excluded = frozenset(matcher.excluded_values)
        found.append(Condition("the JA3 fingerprint is not excluded", lambda exchange: ja3_of(exchange) not in excluded,
                               seen=lambda exchange: f"JA3 {ja3_of(exchange) or 'none'}"))
    return found


def _header(spec: Any) -> Condition:
    """A `PolicyHeaderMatcherType`; its values may stand beside the fields, as for routes."""
    name = (spec.name or "").lower()
    key = name.encode("utf-8")
    made = _named(spec, name, "header", lambda name: set_aside(name) or (
        lambda head: [value for field, value in head.fields if field == key]))
    item = spec.item
    if (item is None or spec.invert_matcher or item.regex_values or transformer(item.transformers) is not None
            or not item.exact_values or set_aside(name) is not None):
        return made
    return made._replace(table="header", keys=tuple((key, text.encode("utf-8")) for text in item.exact_values))


def _pair(spec: Any, name: str | None, what: str, reader: Callable[[str], Callable[[RequestHead], list[bytes]]],
          table: str) -> Condition:
    """The same of a cookie or a parameter."""
    made = _named(spec, name, what, reader)
    item = spec.item
    if (name is None or item is None or spec.invert_matcher or item.regex_values or not item.exact_values
            or transformer(item.transformers) is not None):
        return made
    key = name.encode("utf-8")
    return made._replace(table=table, keys=tuple((key, text.encode("utf-8")) for text in item.exact_values))


def claim_values(exchange: Exchange, name: str) -> list[bytes]:
    """A claim of the token that was proven, as texts: each item of a list, numbers and truth values as JSON has them."""
    user = exchange.user
    value = None if user is None else user.claims.get(name)
    if value is None:
        return []
    return [(one if isinstance(one, str) else json.dumps(one, separators=(",", ":"))).encode("utf-8", "replace")
            for one in (value if isinstance(value, list) else [value])]


def _claim(spec: JWTClaimMatcherType) -> Condition:
    """A condition on a claim; without a token there is none of them."""
    name = spec.name
    if not name:
        raise ProblemError("this claim has no name")
    test = None
    if spec.item is not None:
        with at("item"):
            test = fits(spec.item)
    if spec.check_not_present:
        made = Condition(f"there is no claim {name}", lambda exchange: not claim_values(exchange, name))
    elif test is None:
        made = Condition(f"there is the claim {name}", lambda exchange: bool(claim_values(exchange, name)))
    else:
        one_fits = test
        made = Condition(f"the claim {name} is {words(spec.item)}" if spec.item is not None else "",
                         lambda exchange: any(map(one_fits, claim_values(exchange, name))))
    return _inverted(made) if spec.invert_matcher else made


def _named(
    spec: Any, name: str | None, what: str, reader: Callable[[str], Callable[[RequestHead], list[bytes]]],
) -> Condition:
    """A condition on something that has a name and perhaps several values, of which one is enough."""
    if not name:
        raise ProblemError(f"this {what} has no name")
    values = reader(name)
    test = None
    if spec.item is not None:
        with at("item"):
            test = fits(spec.item)
    if spec.check_not_present:
        made = Condition(f"there is no {what} {name}", lambda exchange: not values(exchange.request))
    elif test is None:
        made = Condition(f"there is the {what} {name}", lambda exchange: bool(values(exchange.request)))
    else:
        one_fits = test                     # values may be secrets, so explain does not show them
        made = Condition(f"the {what} {name} is one that is wanted",
                         lambda exchange: any(map(one_fits, values(exchange.request))))
    return _inverted(made) if spec.invert_matcher else made
