"""What tells users apart when they are counted (user_identification, objects.md 14.2).

The first rule that yields a value wins; where none does, and where nothing is said, the client's address does. An IPv6 client
is its /64, since whoever has one has them all; IPv4 mapped into IPv6 is IPv4. Values of different rules never meet, and a long
one stands in the store as its hash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from ipaddress import IPv6Address
from socket import AF_INET6, inet_ntoa, inet_pton
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from voltgw.routing.cookies import cookie_values
from voltgw.routing.match import set_aside
from voltgw.security.addresses import MAPPED
from voltgw.security.conditions import ja3_of, ja4_of, parameter_values

if TYPE_CHECKING:
    from voltgw.config.objects.user_identification import UserIdentificationRule
    from voltgw.security.geo import Geo, Location
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead

#: A user in a store of rates.
User: TypeAlias = "str | bytes | tuple[Any, ...]"
UserOf: TypeAlias = "Callable[[Exchange], User]"
_ValueOf: TypeAlias = "Callable[[Exchange], User | None]"

#: Longer values are hashed: a flood of them must not cost more memory than addresses would.
_LONG: Final = 48
#: What is told apart by rules without a value of their own.
_PLAIN: Final = {
    "client_ip": "address", "none": "all users together",
    "tls_fingerprint": "JA3 fingerprint", "ja4_tls_fingerprint": "JA4 fingerprint",
    "ip_and_tls_fingerprint": "address and JA3 fingerprint", "ip_and_ja4_tls_fingerprint": "address and JA4 fingerprint",
    "client_asn": "autonomous system", "client_country": "country", "client_region": "region", "client_city": "city",
}
#: And by those with one.
_NAMED: Final = {
    "query_param_key": "query parameter", "http_header_name": "header", "cookie_name": "cookie", "jwt_claim_name": "claim",
    "ip_and_http_header_name": "address and header",
}


def address_of(exchange: Exchange) -> User:
    """The client's address, the /64 of an IPv6 one."""
    address = exchange.client_address
    return network_of(address) if ":" in address else address


def network_of(address: str) -> str | bytes:
    """The /64 of an IPv6 address, as eight octets; of one that is IPv4 mapped into IPv6, the IPv4 address. Others stay."""
    try:
        packed = inet_pton(AF_INET6, address if "%" not in address else address.partition("%")[0])
    except (OSError, ValueError):
        return address
    return inet_ntoa(packed[12:]) if packed.startswith(MAPPED) else packed[:8]


def described(rules: Sequence[UserIdentificationRule]) -> str:
    """What tells users apart, in words."""
    parts = []
    for rule in rules:
        found = next(((name, value) for name in (*_PLAIN, *_NAMED) if (value := getattr(rule, name))), None)
        if found is not None:
            name, value = found
            parts.append(_PLAIN[name] if name in _PLAIN else f"{_NAMED[name]} {value}")
    return ", else ".join(parts or ["address"])


def needs_claims(rules: Sequence[UserIdentificationRule]) -> bool:
    """Whether it can only be known after authentication."""
    return any(rule.jwt_claim_name is not None for rule in rules)


def user_of(rules: Sequence[UserIdentificationRule], geo: Geo | None = None) -> UserOf:
    """The function that says who a request is from. Without `geo`, what asks where a client is yields nothing."""
    readers = [reader for number, rule in enumerate(rules) if (reader := _reader(rule, number, geo)) is not None]
    if not readers or readers[0] is address_of:
        return address_of
    if len(readers) == 1:
        only = readers[0]

        def one(exchange: Exchange) -> User:
            user = only(exchange)
            return address_of(exchange) if user is None else user

        return one
    several = tuple(readers)

    def first(exchange: Exchange) -> User:
        for reader in several:
            user = reader(exchange)
            if user is not None:
                return user
        return address_of(exchange)

    return first


def _reader(rule: UserIdentificationRule, number: int, geo: Geo | None) -> _ValueOf | None:
    if rule.client_ip:
        return address_of
    if rule.none:
        return lambda exchange: ("all",)
    if rule.http_header_name is not None:
        return _of_head(_header(rule.http_header_name), number)
    if rule.cookie_name is not None:
        return _of_head(cookie_values(rule.cookie_name), number)
    if rule.query_param_key is not None:
        return _of_head(parameter_values(rule.query_param_key), number)
    if rule.jwt_claim_name is not None:
        return _claim(rule.jwt_claim_name, number)
    if rule.ip_and_http_header_name is not None:
        return _with_address(_of_head(_header(rule.ip_and_http_header_name), number))
    if rule.tls_fingerprint or rule.ip_and_tls_fingerprint:
        ja3 = _fingerprint(ja3_of, number)
        return _with_address(ja3) if rule.ip_and_tls_fingerprint else ja3
    if rule.ja4_tls_fingerprint or rule.ip_and_ja4_tls_fingerprint:
        ja4 = _fingerprint(ja4_of, number)
        return _with_address(ja4) if rule.ip_and_ja4_tls_fingerprint else ja4
    return None if geo is None else _place(rule, geo.find)


def _place(rule: UserIdentificationRule, find: Callable[[str], Location]) -> _ValueOf | None:
    """By where the client is; one of whom that is not known yields nothing, so the next rule is asked."""
    if rule.client_asn:
        return lambda exchange: ("asn", found.asn) if (found := find(exchange.client_address)).asn else None
    if rule.client_country:
        return lambda exchange: ("country", found.country) if (found := find(exchange.client_address)).country else None
    if rule.client_region:
        return lambda exchange: ("region", *found[:2]) if (found := find(exchange.client_address)).region else None
    if rule.client_city:
        return lambda exchange: ("city", *found[:3]) if (found := find(exchange.client_address)).city else None
    return None


def _header(name: str) -> Callable[[RequestHead], list[bytes]]:
    key = name.lower().encode("ascii")
    return set_aside(name.lower()) or (lambda head: [value for field, value in head.fields if field == key])


def _of_head(values: Callable[[RequestHead], list[bytes]], number: int) -> _ValueOf:
    """The value that is not empty. Several that differ are none: whose request it is depends on who reads which of them, and a
    client could put one in front that is new each time.
    """
    def user(exchange: Exchange) -> User | None:
        found = b""
        for value in values(exchange.request):
            if value and value != found:
                if found:
                    return None
                found = value
        if not found:
            return None
        return number, found if len(found) <= _LONG else blake2b(found, digest_size=16).digest()

    return user


def _fingerprint(of: Callable[[Exchange], str], number: int) -> _ValueOf:
    def user(exchange: Exchange) -> User | None:
        value = of(exchange)
        return (number, value) if value else None

    return user


def _claim(name: str, number: int) -> _ValueOf:
    """A claim of the token that the request was authenticated by; a list of values counts as one text."""
    def user(exchange: Exchange) -> User | None:
        who = exchange.user
        value = who.claims.get(name) if who is not None else None
        if value is None or value == "":
            return None
        text = str(value).encode("utf-8")
        return number, text if len(text) <= _LONG else blake2b(text, digest_size=16).digest()

    return user


def _with_address(of: _ValueOf) -> _ValueOf:
    """Both together; without the other one, no value."""
    def user(exchange: Exchange) -> User | None:
        value = of(exchange)
        return None if value is None else (address_of(exchange), value)

    return user


def shown(user: User) -> str:
    """A user for logs and people: an address as it is; values may be secrets, so of anything else a short hash."""
    if isinstance(user, str):
        return user
    if isinstance(user, bytes):
        return f"{IPv6Address(user + bytes(8))}/64"
    if user == ("all",):
        return "everybody"
    return f"#{blake2b(repr(user).encode('utf-8'), digest_size=4).hexdigest()}"
