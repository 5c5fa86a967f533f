"""Which virtual host a name leads to (objects.md 22.1): a look-up per label of the name, however many hosts there are.

Rank, best first:

1. the exact name: ``www.foo.com``;
2. the longest suffix wildcard of whole labels: ``*.foo.com`` (one or more labels in place of the ``*``);
3. the longest suffix wildcard that begins inside a label, as 2020 had them: ``*-bar.foo.com`` (at least one character);
4. the lone ``*``.

An entry may name a port (``www.foo.com:8080``, ``*:8080``); it then takes only requests for that port, and comes before
the same entry without one, which takes every port. The port of a request is the one its Host names, else the listener's.
Names compare without case and without one trailing dot; IPv6 literals by value. There is no "first host" to fall back on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import AddressValueError, IPv6Address
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from voltgw.routing.table import VirtualHost

#: RFC 1035 2.3.4 as text. Names over it are not looked into: a name of 60 kB has 30,000 suffixes.
MAX_NAME_BYTES: Final = 253

_NAME_BYTES: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()+,;=%")


class Rank(Enum):
    """How an entry matches; better ones stand first."""

    EXACT = "is the name"
    LABELS = "ends with it, the * standing for whole labels"
    PART = "ends with it, the * standing for part of a label"
    ANY = "is any name"


@dataclass(frozen=True, slots=True)
class Domain:
    """One entry of `domains`, read: `key` is the name or what stands behind the ``*``; `port` None = every port."""

    rank: Rank
    key: bytes
    port: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A domain of a table and the host that it leads to; `text` is how the operator wrote it."""

    domain: Domain
    host: VirtualHost
    text: str


#: The entries that differ only by port: the one without is under None.
_ByPort: TypeAlias = "dict[int | None, Entry]"


class HostTable:
    """The virtual hosts behind one listener.

    `exact` holds the exact names for which no entry names a port: there the port cannot change the answer, whatever it
    is, so ``exact.get(head.host)`` is `choose` wherever it finds anything. The data plane asks it first.
    """

    __slots__ = ("_any", "_exact", "_labels", "_part", "_part_lengths", "entries", "exact")

    def __init__(self, hosts: Iterable[tuple[Iterable[str], VirtualHost]]) -> None:
        """Raises ValueError for a domain that cannot be read, and for one that two hosts claim."""
        self._exact: dict[bytes, _ByPort] = {}
        self._labels: dict[bytes, _ByPort] = {}
        self._part: dict[bytes, _ByPort] = {}
        self._any: dict[bytes, _ByPort] = {}
        tables = {Rank.EXACT: self._exact, Rank.LABELS: self._labels, Rank.PART: self._part, Rank.ANY: self._any}
        entries: list[Entry] = []
        for domains, host in hosts:
            for text in domains:
                domain = read_domain(text)
                entry = Entry(domain, host, text)
                by_port = tables[domain.rank].setdefault(domain.key, {})
                other = by_port.setdefault(domain.port, entry)
                if other.host is not host:
                    raise ValueError(f"domain {text!r} of {_label(host)} is already {other.text!r} of {_label(other.host)}")
                if other is entry:          # else the host has it twice in two spellings, which changes nothing
                    entries.append(entry)
        self.entries: Final = tuple(entries)
        self.exact: Final[dict[bytes, VirtualHost]] = {
            name: by_port[None].host for name, by_port in self._exact.items() if by_port.keys() == {None}
        }
        self._part_lengths: Final = tuple(sorted({len(key) for key in self._part}, reverse=True))

    def choose(self, host: bytes, port: int | None, listener_port: int) -> VirtualHost | None:
        """The host for a request; `host` and `port` as in `RequestHead`, `port` None = the client named none."""
        found = self.exact.get(host)
        if found is not None:
            return found
        entry = self.find(host, port, listener_port)
        return None if entry is None else entry.host

    def find(self, host: bytes, port: int | None, listener_port: int) -> Entry | None:
        """The entry by which `choose` decides."""
        if port is None:
            port = listener_port
        host = host.lower()
        if host.endswith(b"."):
            host = host[:-1]
        if len(host) > MAX_NAME_BYTES:
            return _for_port(self._any.get(b""), port)
        if host.startswith(b"["):
            host = _same_address(host)
        entry = _for_port(self._exact.get(host), port)
        if entry is None and self._labels:
            dot = host.find(b".", 1)
            while dot >= 0 and entry is None:
                entry = _for_port(self._labels.get(host[dot:]), port)
                dot = host.find(b".", dot + 1)
        if entry is None:
            for length in self._part_lengths:
                if length < len(host):
                    entry = _for_port(self._part.get(host[-length:]), port)
                    if entry is not None:
                        return entry
            return _for_port(self._any.get(b""), port)
        return entry


def read_domain(text: str) -> Domain:
    """What an entry of `domains` means. Raises ValueError."""
    name, port = text, None
    closing = text.rfind("]")
    colon = text.rfind(":")
    if colon > closing:
        name, digits = text[:colon], text[colon + 1:]
        if not (digits.isascii() and digits.isdigit() and 0 < int(digits) < 65536):
            raise ValueError(f"the port of domain {text!r} is not a number between 1 and 65535")
        port = int(digits)
    if not name.isascii():
        raise ValueError(f"domain {text!r} is not ASCII; write the xn-- form that clients send")
    key = name.lower().encode("ascii")
    if key == b"*":
        return Domain(Rank.ANY, b"", port)
    if key.endswith(b"."):
        key = key[:-1]
    if key.startswith(b"["):
        literal = _same_address(key)
        if literal == key and not _is_address(key):
            raise ValueError(f"domain {text!r} is not an IPv6 address in brackets")
        return Domain(Rank.EXACT, literal, port)
    rank = Rank.EXACT
    if key.startswith(b"*"):
        key = key[1:]
        rank = Rank.LABELS if key.startswith(b".") else Rank.PART
    if not key or len(key) > MAX_NAME_BYTES or not _NAME_BYTES.issuperset(key) or b".." in key or key == b"." or (
            rank is not Rank.LABELS and key.startswith(b".")):
        hint = "; a * may only stand first" if b"*" in key else ""
        raise ValueError(f"domain {text!r} is not a host name{hint}")
    return Domain(rank, key, port)


def _for_port(by_port: _ByPort | None, port: int) -> Entry | None:
    if by_port is None:
        return None
    return by_port.get(port) or by_port.get(None)


def _is_address(literal: bytes) -> bool:
    """Whether ``[...]`` holds an IPv6 address."""
    try:
        IPv6Address(literal[1:-1].decode("ascii"))
    except (AddressValueError, UnicodeDecodeError):
        return False
    return literal.endswith(b"]")


def _same_address(literal: bytes) -> bytes:
    """The one spelling of an IPv6 literal that the table has it under; what is no address stays as it is."""
    if not _is_address(literal):
        return literal
    return b"[%b]" % str(IPv6Address(literal[1:-1].decode("ascii"))).encode("ascii")


def _label(host: VirtualHost) -> str:
    return f"{host.namespace}/{host.name}"
