"""Which virtual host a name leads to (objects.md 22.1): a look-up per label of the name, however many hosts there are.

Rank, best first:

1. the exact name: ``www.foo.com``;
2. the longest suffix wildcard: ``*.foo.com`` (one or more labels in place of the ``*``), or one that begins inside a label, as
   2020 had them: ``*-bar.foo.com`` (at least one character), which comes before ``*.foo.com`` because it says more of the name;
3. the lone ``*``.

An entry may name a port (``www.foo.com:8080``, ``*:8080``); it then takes only requests for that port, and comes before
the same entry without one, which takes every port. The port of a request is the one its Host names, else the listener's.
Entries for other ports do not count at all: the longest wildcard is looked for among those that take the request's port.
Names compare without case and without one trailing dot; IPv6 literals by value. There is no "first host" to fall back on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import AddressValueError, IPv6Address
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

from voltgw.values.compiling import mypyc_attr

if TYPE_CHECKING:
    from voltgw.routing.table import VirtualHost

#: RFC 1035 2.3.4 as text. Names over it are not looked into: a name of 60 kB has 30,000 suffixes.
MAX_NAME_BYTES: Final = 253
#: Hosts in one step of a table that follows another, which is less than 1 ms: those that it takes over, and the others.
_SAME: Final = 1024
_CHANGED: Final = 16

_NAME_BYTES: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()+,;=%")


class Rank(Enum):
    """How an entry matches. An exact name comes first and any name last; of the suffixes between them the longest does."""

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


class Entry:
    """A domain of a table and the host that it leads to; `text` is how the operator wrote it."""

    __slots__ = ("domain", "host", "text")

    def __init__(self, domain: Domain, host: VirtualHost, text: str) -> None:
        self.domain = domain
        self.host = host
        self.text = text


#: The entries that differ only by port: the one without is under None.
_ByPort: TypeAlias = "dict[int | None, Entry]"


@mypyc_attr(allow_interpreted_subclasses=True)
class HostTable:
    """The virtual hosts behind one listener.

    `exact` holds the exact names for which no entry names a port: there the port cannot change the answer, whatever it
    is, so ``exact.get(head.host)`` is `choose` wherever it finds anything. The data plane asks it first.
    """

    __slots__ = ("_any", "_exact", "_labels", "_of_host", "_part", "_part_keys", "_part_lengths", "exact")

    def __init__(self, hosts: Iterable[tuple[Iterable[str], VirtualHost]]) -> None:
        """Raises ValueError for a domain that cannot be read, and for one that two hosts claim."""
        self._exact: dict[bytes, _ByPort] = {}
        self._labels: dict[bytes, _ByPort] = {}
        self._part: dict[bytes, _ByPort] = {}
        self._any: dict[bytes, _ByPort] = {}
        self.exact: dict[bytes, VirtualHost] = {}
        self._part_keys: dict[int, int] = {}                        # how many keys of `_part` have a length
        self._part_lengths: tuple[int, ...] = ()                    # longest first
        self._of_host: dict[VirtualHost, tuple[Entry, ...]] = {}    # in the order given
        for domains, host in hosts:
            self._of_host[host] = (*self._of_host.get(host, ()), *self._added(domains, host))

    def following(self, hosts: Sequence[tuple[Iterable[str], VirtualHost]]) -> Generator[None, None, HostTable]:
        """The table of these hosts, in steps of some of them; this one does not change, and only differences are worked upon.

        A host that both have must have the same domains in both. Raises ValueError as the constructor does.
        """
        if list(self._of_host) == [host for _, host in hosts]:
            return self
        table = HostTable(())
        yield
        table._exact, table._any = dict(self._exact), dict(self._any)
        yield
        table._labels = dict(self._labels)
        yield
        table._part, table._part_keys, table._part_lengths = dict(self._part), dict(self._part_keys), self._part_lengths
        table.exact = dict(self.exact)
        yield
        staying = {host for _, host in hosts}
        yield
        gone = [host for host in self._of_host if host not in staying]
        for count, host in enumerate(gone, 1):
            table._remove(self._of_host[host])
            if count % _CHANGED == 0:
                yield
        for count, (domains, host) in enumerate(hosts, 1):
            known = self._of_host.get(host)
            table._of_host[host] = known if known is not None else tuple(table._added(domains, host))
            if count % (_SAME if known is not None else _CHANGED) == 0:
                yield
        return table

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, in the order of hosts and of their domains."""
        return tuple(chain.from_iterable(self._of_host.values()))

    def _added(self, domains: Iterable[str], host: VirtualHost) -> Iterator[Entry]:
        """Enter the domains of a host; the entries that this makes. Raises ValueError."""
        for text in domains:
            entry = Entry(read_domain(text), host, text)
            domain = entry.domain
            by_port = self._table(domain.rank).get(domain.key, {})
            other = by_port.get(domain.port)
            if other is None:
                self._put(domain, {**by_port, domain.port: entry})
                yield entry
            elif other.host is not host:    # else the host has it twice in two spellings, which changes nothing
                raise ValueError(f"domain {text!r} of {_label(host)} is already {other.text!r} of {_label(other.host)}")

    def _remove(self, entries: Iterable[Entry]) -> None:
        """Leave entries out."""
        for entry in entries:
            domain = entry.domain
            by_port = dict(self._table(domain.rank)[domain.key])
            del by_port[domain.port]
            self._put(domain, by_port)

    def _put(self, domain: Domain, by_port: _ByPort) -> None:
        """Have these entries for a name; `by_port` is never changed afterwards, since other tables may have it, too."""
        rank, key = domain.rank, domain.key
        table = self._table(rank)
        more = bool(by_port) - (key in table)
        if by_port:
            table[key] = by_port
        else:
            del table[key]
        if rank is Rank.EXACT:
            if by_port.keys() == {None}:
                self.exact[key] = by_port[None].host
            else:
                self.exact.pop(key, None)
        elif rank is Rank.PART and more:
            self._part_keys[len(key)] = self._part_keys.get(len(key), 0) + more
            if self._part_keys[len(key)] in (0, more):      # the first of this length, or the last
                self._part_lengths = tuple(sorted((length for length, keys in self._part_keys.items() if keys), reverse=True))

    def _table(self, rank: Rank) -> dict[bytes, _ByPort]:
        if rank is Rank.EXACT:
            return self._exact
        return self._labels if rank is Rank.LABELS else self._part if rank is Rank.PART else self._any

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
            host = host[:len(host) - 1]
        if len(host) > MAX_NAME_BYTES:
            return _for_port(self._any.get(b""), port)
        if host.startswith(b"["):
            host = _same_address(host)
        entry = _for_port(self._exact.get(host), port)
        if entry is None and (self._labels or self._part):
            entry = self._longest(host, port)
        return _for_port(self._any.get(b""), port) if entry is None else entry

    def _longest(self, host: bytes, port: int) -> Entry | None:
        """The entry of the longest suffix of `host`, among those that take `port`. No suffix is of both sorts."""
        labels = self._labels
        dot = host.find(b".", 1) if labels else -1
        for length in self._part_lengths:
            if length >= len(host):
                continue
            while dot >= 0 and len(host) - dot > length:
                entry = _for_port(labels.get(host[dot:]), port)
                if entry is not None:
                    return entry
                dot = host.find(b".", dot + 1)
            entry = _for_port(self._part.get(host[len(host) - length:]), port)
            if entry is not None:
                return entry
        while dot >= 0:
            entry = _for_port(labels.get(host[dot:]), port)
            if entry is not None:
                return entry
            dot = host.find(b".", dot + 1)
        return None


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
        key = key[:len(key) - 1]
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
    if not literal.endswith(b"]"):
        return False
    try:
        IPv6Address(literal[1:len(literal) - 1].decode("ascii"))
    except (AddressValueError, UnicodeDecodeError):
        return False
    return True


def _same_address(literal: bytes) -> bytes:
    """The one spelling of an IPv6 literal that the table has it under; what is no address stays as it is."""
    if not _is_address(literal):
        return literal
    return b"[%b]" % str(IPv6Address(literal[1:len(literal) - 1].decode("ascii"))).encode("ascii")


def _label(host: VirtualHost) -> str:
    return f"{host.namespace}/{host.name}"
