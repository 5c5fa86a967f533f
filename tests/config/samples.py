"""Values that a declared type accepts, and the smallest object in which a message can stand.

They let a test say something about every field of the object model without writing two thousand objects by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from voltgw.config.compound import Anything, ListOf, MapOf
from voltgw.config.contents import Content, Hex, SecretContent, SecretText
from voltgw.config.kinds import KINDS
from voltgw.config.model import Metadata
from voltgw.config.names import Reference
from voltgw.config.quantities import Duration, Size
from voltgw.config.ranges import Between, Ports
from voltgw.config.schema import Decl, Nested, Plan, plan_of
from voltgw.config.types import Choice, Decimal, FilePath, Flag, Number, Presence, Text, Type

#: A good value of each format, by its words; numbers that make values differ are put in (whole, and as two small ones).
_FORMATS: Final = {
    "IP address": "192.0.2.{}", "IPv4 address": "192.0.2.{}", "IPv6 address": "2001:db8::{}", "IP prefix": "10.{high}.{low}.0/24",
    "IPv4 prefix": "10.{high}.{low}.0/24", "IPv6 prefix": "2001:db8:{}::/48", "host name": "h{}.example",
    "host name or address": "h{}.example", "host or host:port": "h{}.example:80",
    "domain: host, *.host or *, with an optional :port": "h{}.example", "path that begins with /": "/p{}",
    "header name": "x-h{}", "header value": "v{}", "object name": "n{}", "hexadecimal bytes": "50494e{:02x}",
    "label expression": "k{} in (a)", "methods with commas between them": "GET", "time such as 2026-01-31T12:00:00Z":
    "2026-01-31T12:00:{:02d}Z", "UUID": "00000000-0000-0000-0000-{:012d}", "JA3 fingerprint": "{:032x}",
    "JA4 fingerprint": "{:036x}", "core rule": "WAF_RULE_{:06d}", "cookie name": "c{}",
}
#: What a message's own rules, or the lowering of a view, want beyond its required fields.
_ALSO: Final[Mapping[str, Mapping[str, Any]]] = {
    "EndpointSpec": {"port": 80},
    "HealthcheckSpec": {"tcp_health_check": {}},
    "RouteType": {"route_direct_response": {"response_code": 200}},
    "VirtualHostSpec": {"domains": ["a.example"]},
    "VirtualSiteSpec": {"site_type": "REGIONAL_EDGE"},
    "PathMatcherType": {"prefix": "/"},
    "HttpLoadbalancerSpec": {"domains": ["a.example"]},
    "TcpLoadbalancerSpec": {"origin_pools_weights": [{"cluster": "c"}], "listen_port": 80},
    "UdpLoadbalancerSpec": {"origin_pools_weights": [{"cluster": "c"}], "listen_port": 80},
    "ProxyTypeHttps": {"tls_cert_params": {"certificates": ["c"]}},
    "ProxyTypeTLSTCP": {"tls_cert_params": {"certificates": ["c"]}},
    "ViewDownstreamTlsCertParams": {"certificates": ["c"]},
    "ViewDownstreamTlsParams": {"tls_certificates": [{"certificate_url": "string:///YQ==", "private_key": {}}]},
    "OriginPoolSpec": {"port": 80},
    "OriginPoolWithWeight": {"pool": "p"},
    "OriginServerType": {"public_ip": {"ip": "192.0.2.1"}},
    "OriginServerPublicIP": {"ip": "192.0.2.1"},
    "OriginServerPublicName": {"dns_name": "a.example"},
    "OriginServerPrivateIP": {"ip": "192.0.2.1"},
    "OriginServerPrivateName": {"dns_name": "a.example"},
    "OriginServerK8SService": {"service_name": "a"},
    "OriginServerConsulService": {"service_name": "a"},
    "OriginServerCBIPService": {"service_name": "a"},
    "OriginServerVirtualNetworkIP": {"ip": "192.0.2.1"},
    "OriginServerVirtualNetworkName": {"dns_name": "a.example"},
    "OriginServerCustomEndpoint": {"endpoint": "e"},
    "WhereSite": {"site": "s"},
    "WhereVirtualSite": {"virtual_site": "s"},
    "WhereVirtualSiteSpecifiedVIP": {"virtual_site": "s"},
    "WhereVirtualNetwork": {"virtual_network": "n"},
    "AdvertisePublic": {"public_ip": "p"},
    "ViewRouteType": {"redirect_route": {"route_redirect": {}}},
    "SimpleRouteType": {"origin_pools": [{"pool": "p"}]},
    "RedirectRouteType": {"route_redirect": {}},
    "DirectResponseRouteType": {"route_direct_response": {}},
    "CustomRouteObjectType": {"route_ref": "r"},
}


class Step(NamedTuple):
    """A field that leads from one message into another."""

    plan: Plan
    decl: Decl
    shape: str                      # how the inner message stands in it: "", "list" or "map"


class Where(NamedTuple):
    """A message and how it is reached from an object of a kind (from the object itself when there are no steps)."""

    kind: str
    steps: tuple[Step, ...]
    plan: Plan


def messages() -> dict[str, Where]:
    """Every kind by its name, and every message inside them by its class, each with the shortest way to it.

    Messages that stand in voltgw's own fields only are left out.
    """
    kinds = {plan.cls for kind in KINDS.values() if (plan := kind.plan()) is not None}
    found: dict[str, Where] = {"metadata": Where("metadata", (), plan_of(Metadata))}
    waiting: list[Where] = []
    for kind in KINDS.values():
        plan = kind.plan()
        if plan is not None:
            found[kind.name] = Where(kind.name, (), plan)
            waiting.append(found[kind.name])
    while waiting:
        outer = waiting.pop(0)
        for decl in outer.plan.decls:
            for inner, shape in _inside(decl.type) if decl.since != "voltgw" else ():
                name = inner.cls.__name__
                if name not in found and inner.cls not in kinds:
                    found[name] = Where(outer.kind, (*outer.steps, Step(outer.plan, decl, shape)), plan_of(inner.cls))
                    waiting.append(found[name])
    return found


def _inside(type_: Type[Any, Any]) -> Iterator[tuple[Nested[Any], str]]:
    if isinstance(type_, Nested):
        yield type_, ""
    elif isinstance(type_, ListOf) and isinstance(type_.item, Nested):
        yield type_.item, "list"
    elif isinstance(type_, MapOf) and isinstance(type_.value, Nested):
        yield type_.value, "map"


def minimal(plan: Plan) -> dict[str, Any]:
    """The smallest message that is read without an error."""
    also = _ALSO.get(plan.cls.__name__, {})
    return {**{decl.name: sample(decl.type) for decl in plan.required}, **also}


def around(where: Where, fields: Mapping[str, Any], *, without: str = "") -> dict[str, Any]:
    """The spec of an object in which the message of `where` has these fields (and not the field `without`)."""
    value = _joined(where.plan, fields)
    value.pop(without, None)
    for step in reversed(where.steps):
        wrapped = {"list": [value], "map": {"x": value}}.get(step.shape, value)
        value = _joined(step.plan, {step.decl.name: wrapped})
    return value


def _joined(plan: Plan, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The smallest message with these fields in it, and nothing that they exclude."""
    groups = {decl.group for name in fields if (decl := plan.by_key.get(name)) is not None and decl.group}
    kept = {name: value for name, value in minimal(plan).items() if plan.by_key[name].group not in groups or name in fields}
    return {**kept, **fields}


def sample(type_: Type[Any, Any], number: int = 0) -> Any:
    """A value that the type accepts; other numbers (up to a few hundred) give other values where there are any."""
    if isinstance(type_, Text):
        return text(type_, number)
    if isinstance(type_, FilePath):
        return f"/run/x{number}"
    if isinstance(type_, Number):
        return type_.least + (number if type_.least else number + 1)
    if isinstance(type_, (Duration, Size)):
        return max(type_.least, 0) + number + (0 if type_.least > 0 else 1)
    if isinstance(type_, Decimal):
        return type_.least + number
    if isinstance(type_, Flag):
        return True
    if isinstance(type_, Choice):
        words = [member.value for member in type_.enum]
        return words[number % len(words)]
    if isinstance(type_, Reference):
        return {"namespace": "shared", "name": f"n{number}"}
    if isinstance(type_, Ports):
        return str(8000 + number)
    if isinstance(type_, Between):
        return str(type_.least + number)
    if isinstance(type_, Hex):
        return f"{number % 256:02x}"
    if isinstance(type_, SecretText):
        return f"secret {number}"
    if isinstance(type_, (Content, SecretContent)):
        return "string:///YQ=="
    if isinstance(type_, Nested):
        return _numbered(plan_of(type_.cls), number)
    if isinstance(type_, ListOf):
        return [sample(type_.item, i) for i in range(max(type_.least, 1))]
    if isinstance(type_, MapOf):
        return {sample(type_.key, number): sample(type_.value, number)}
    if isinstance(type_, (Presence, Anything)):
        return {}
    raise TypeError(type(type_).__name__)


def _numbered(plan: Plan, number: int) -> dict[str, Any]:
    """The smallest message, made different by the first field in which different values can stand."""
    value = minimal(plan)
    if number:
        for decl in plan.decls:
            if isinstance(decl.type, (Text, Number, Reference)) and not (isinstance(decl.type, Text) and decl.type.one_of):
                return _joined(plan, {decl.name: sample(decl.type, number)})
        for decl in plan.decls:
            if isinstance(decl.type, ListOf):
                return _joined(plan, {decl.name: [sample(decl.type.item, number)]})
    return value


def text(type_: Text, number: int = 0, length: int = 0) -> str:
    """A text that the type accepts; with `length` as long as that where the format allows it, and never shorter."""
    if type_.one_of:
        return next(value for value in type_.one_of if value)
    form = _FORMATS.get(type_.form.words, "t{}") if type_.form is not None else "t{}"
    value = form.format(number, high=number // 250, low=number % 250)
    if length <= len(value):
        return value
    if value.startswith(("h", "/", "x-h", "v", "n", "t", "c", "k")) and "." not in value and " " not in value:
        return value + "a" * (length - len(value))
    if value.endswith(".example"):
        return _long_name(length)
    if value.endswith(".example:80"):
        return _long_name(length - 3) + ":80"
    return value + "," + " " * (length - len(value) - 6) + "k!=aa"      # a label expression: blanks are free


def _long_name(length: int) -> str:
    """A host name of so many characters."""
    labels = []
    while length > 63:
        size = 63 if length != 64 else 62
        labels.append("a" * size)
        length -= size + 1
    return ".".join([*labels, "a" * length])
