"""Where a proxy that is told its destination by clients may never connect to, unless an operator says so.

A name says nothing of that: what counts is the address to which it resolves, and the connection then goes to that very address.
Whatever way a client has of writing an address (``2130706433``, ``0177.1``, ``0x7f.1``, ``[::ffff:127.0.0.1]``) is read as the
resolver of the host would read it, so that all of them are one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from voltgw.security.addresses import Number, Prefixes, number_of

#: What is refused, and what it is called. IANA's special-purpose registries (RFC 6890) without what is kept for documentation
#: and benchmarks, which leads nowhere, and with the metadata service of a cloud that has a public address.
DENIED: Final = (
    ("loopback", ("127.0.0.0/8", "::1/128")),
    ("this host", ("0.0.0.0/8", "::/96")),
    ("private", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10")),
    ("shared (carrier NAT)", ("100.64.0.0/10",)),
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    ("protocol assignments", ("192.0.0.0/24", "100::/64", "64:ff9b:1::/48")),
    ("a metadata service", ("168.63.129.16/32",)),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("reserved", ("240.0.0.0/4",)),
)
_LABEL: Final = re.compile(rb"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: A last label like this makes a host an address for resolvers (and for browsers, WHATWG URL 3.5), or nothing.
_NUMERIC: Final = re.compile(rb"[0-9]+|0x[0-9a-f]*")
_PART: Final = re.compile(rb"0x(?P<hex>[0-9a-f]*)|(?P<octal>0[0-7]*)|(?P<decimal>[1-9][0-9]*)")
_THIS_HOST: Final = Prefixes(("127.0.0.0/8", "0.0.0.0/32", "::1/128", "::/128"))
_NAT64: Final = IPv6Address("64:ff9b::")
#: Translators of the host itself (SIIT, RFC 7915): the last 32 bits are an IPv4 address.
_SIIT: Final = IPv6Address("::ffff:0:0:0")
_6TO4: Final = 0x2002
_TEREDO: Final = 0x20010000
#: The interface identifier of ISATAP (RFC 5214 6.1), in a network of whoever; the first bit but six says how unique it is.
_ISATAP: Final = 0x00005EFE


def literal(host: bytes) -> str | None:
    """The address that `host` (lower case, without port) is, however it is spelled; None when it is a name.

    IPv4 mapped into IPv6 is IPv4. Raises ValueError for what is neither: a name no resolver takes, an address with a zone.
    """
    if host.startswith(b"["):
        address = host[1:-1].decode("ascii", "replace")
        if "%" in address:
            raise ValueError("an address with a zone means something on one host only")
        return plain(ip_address(address))
    labels = host.split(b".")
    if _NUMERIC.fullmatch(labels[-1]) is not None:
        return str(IPv4Address(_aton(labels)))
    if len(host) > 253 or not all(_LABEL.fullmatch(label) is not None for label in labels):
        raise ValueError("no host name")
    return None


def plain(address: IPv4Address | IPv6Address) -> str:
    """The usual spelling; IPv4 mapped into IPv6 is IPv4."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def _aton(labels: list[bytes]) -> int:
    """inet_aton(3): one to four numbers, of which the last fills what is left."""
    if len(labels) > 4:
        raise ValueError("no IPv4 address")
    numbers = []
    for label in labels:
        match = _PART.fullmatch(label)
        if match is None or len(label) > 16:
            raise ValueError("no IPv4 address")
        text, base = next((match[name], base) for name, base in (("hex", 16), ("octal", 8), ("decimal", 10))
                          if match[name] is not None)
        numbers.append(int(text or b"0", base))
    *first, last = numbers
    if any(number > 255 for number in first) or last >= 1 << 8 * (4 - len(first)):
        raise ValueError("no IPv4 address")
    for place, number in enumerate(first):
        last |= number << 8 * (3 - place)
    return last


class Guard:
    """Says which addresses are refused; `allowed` are prefixes that are let through all the same.

    `own` are addresses with their ports that nothing allows: our admin interface, our own forward proxies (a loop). An
    address "" in it stands for every one of this host, which are `local` and loopback.
    """

    __slots__ = ("_allowed", "_denied", "_own", "allowed")

    def __init__(self, allowed: Iterable[str] = (), own: Collection[tuple[str, int]] = ()) -> None:
        """Raises ValueError for what is no prefix."""
        self.allowed = tuple(allowed)
        self._allowed = Prefixes(self.allowed)
        self._denied = tuple((name, Prefixes(prefixes)) for name, prefixes in DENIED)
        self._own = frozenset(own)

    def refusal(self, address: str, port: int, local: Container[str] = ()) -> str:
        """Why nothing may be sent to that address, in words; "" = it may. `local` are more addresses of this host."""
        number = number_of(address)
        if number[0] == 0:
            return "it is no address"
        if self._is_own(address, number, port, local):
            return "it is this gateway itself"
        if self._allowed.holds(number):
            return ""
        for name, prefixes in self._denied:
            if prefixes.holds(number):
                return f"its address is {name}"
        inner = _embedded(address)
        return "" if inner is None else self.refusal(inner, port, local)

    def _is_own(self, address: str, number: Number, port: int, local: Container[str]) -> bool:
        if (address, port) in self._own:
            return True
        return ("", port) in self._own and (address in local or _THIS_HOST.holds(number))


def _embedded(address: str) -> str | None:
    """The IPv4 address to which a translator or a tunnel of the host's would carry an IPv6 one (RFC 6052, 7915, 3056, 4380)."""
    found = ip_address(address.partition("%")[0])
    if found.version == 4:
        return None
    value = int(found)
    if value >> 32 in (int(_NAT64) >> 32, int(_SIIT) >> 32) or (value >> 32 & 0xFFFFFFFF) & ~0x02000000 == _ISATAP:
        return str(IPv4Address(value & 0xFFFFFFFF))
    if value >> 112 == _6TO4:
        return str(IPv4Address(value >> 80 & 0xFFFFFFFF))
    if value >> 96 == _TEREDO:              # the client's address, turned over (RFC 4380 4)
        return str(IPv4Address(~value & 0xFFFFFFFF))
    return None
