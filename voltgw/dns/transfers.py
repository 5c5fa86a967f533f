"""A zone that is handed over to its secondaries (AXFR, RFC 5936), and the word that it has changed (NOTIFY, RFC 1996).

What a secondary gets is the zone as it is answered now: static records, and of each virtual host's name all addresses that may
be given. How answers choose among those (by weight, priority, or the client's network) does not go with them.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from voltgw.dns.tsig import Seal, SharedKey, sign_query
from voltgw.routing.zone import Node, Zone, Zones, is_newer
from voltgw.values.address import where
from voltgw.wire.dnsmsg import (
    AA,
    AAAA,
    HEADER_BYTES,
    IN,
    IXFR,
    NOTIFY,
    SOA,
    A,
    Query,
    Sections,
    record,
    text_of,
    write_answer,
)

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Records of a transfer are collected into messages of about so many bytes.
MESSAGE_BYTES: Final = 16 * 1024
#: Transfers that may be under way at once; whoever comes then is refused, and tries again after the SOA's retry time.
MAX_TRANSFERS: Final = 8
#: A NOTIFY that is not answered is sent again so many times, after 2, 4, 8, ... seconds (RFC 1996 3.6 lets the sender choose).
MAX_NOTIFIES: Final = 6
_FIRST_WAIT_S: Final = 2.0
_HEADER: Final = struct.Struct("!HHHHHH")
_ASKED: Final = b"\xC0\x0C"
_UNSENT: Final = "no address of `gateway.dns` is of its family, or there is no way to it"


@dataclass(frozen=True, slots=True)
class Secondary:
    """A server that may fetch a zone, and is told of changes unless `notify` is false; with `key` it has to sign by it."""

    address: str
    port: int = 53
    key: SharedKey | None = None
    notify: bool = True

    @property
    def name(self) -> str:
        """``address:port``."""
        return where(self.address, self.port)


@dataclass(slots=True)
class Standing:
    """What is known of one secondary of one zone: when it has fetched which version, and which one it has confirmed to know
    of; wall time in seconds."""

    fetched: int | None = None
    fetched_at: float = 0.0
    notified: int | None = None
    confirmed: int | None = None
    unsent: bool = False                    # the last time that it was to be told, nothing could be sent to it


class Transfers:
    """Who may fetch which zone, and what that is. `now` gives wall time in seconds."""

    def __init__(
        self, secondaries: Mapping[bytes, tuple[Secondary, ...]], now: Callable[[], float], counts: Counter[str],
    ) -> None:
        self.secondaries = secondaries
        self.standings: dict[tuple[bytes, Secondary], Standing] = {
            (apex, each): Standing() for apex, all_of_it in secondaries.items() for each in all_of_it}
        self._under_way = [0]               # one count for all that have followed each other
        self.counts = counts                # full, current, refused, busy
        self._now = now

    @property
    def under_way(self) -> int:
        """Transfers that have begun and not ended."""
        return self._under_way[0]

    def inherit(self, before: Transfers) -> None:
        """After a reload: what is known of secondaries that were there before, and the transfers that are under way."""
        self._under_way = before._under_way
        for key, standing in before.standings.items():
            if key in self.standings:
                self.standings[key] = standing

    def allowed(self, apex: bytes, peer: str, seal: Seal | None) -> Secondary | None:
        """The secondary that `peer` (an address) is, if it is one of that zone's."""
        address = ip_address(peer.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        for each in self.secondaries.get(apex, ()):
            if ip_address(each.address) == address and (
                    each.key is None or seal is not None and seal.name == each.key.name.lower()):
                return each
        return None

    def messages(self, query: Query, zones: Zones, peer: str, seal: Seal | None) -> Iterator[bytes] | None:
        """The messages that hand the zone over, made one by one as they are asked for; None: it is refused."""
        zone = zones.zones.get(query.name)
        secondary = self.allowed(query.name, peer, seal)
        if zone is None or secondary is None or query.klass != IN:
            self.counts["refused"] += 1
            return None
        if query.kind == IXFR and query.serial is not None and not is_newer(zone.serial, query.serial):
            self.counts["current"] += 1
            return iter((_sealed(write_answer(query, soa_alone(zone), 0xFFFF), seal),))
        if self._under_way[0] >= MAX_TRANSFERS:
            self.counts["busy"] += 1
            return None
        return self._full(query, zone, secondary, seal)

    def _full(self, query: Query, zone: Zone, secondary: Secondary, seal: Seal | None) -> Iterator[bytes]:
        self._under_way[0] += 1
        serial = zone.serial
        try:
            for part in _packed(_records(zone)):
                yield _sealed(write_answer(query, part, 0xFFFF), seal, several=True)
            standing = self.standings[zone.apex, secondary]
            standing.fetched, standing.fetched_at = serial, self._now()
            self.counts["full"] += 1
        finally:
            self._under_way[0] -= 1


def _sealed(answer: bytes, seal: Seal | None, *, several: bool = False) -> bytes:
    return answer if seal is None else seal.sign(answer, several=several)


def soa_alone(zone: Zone) -> Sections:
    """The answer that says which version there is and no more (RFC 1995 2)."""
    return Sections(AA, 1, 0, 0, record(_ASKED, SOA, zone.soa.ttl, zone.soa.rdatas[0]))


def _records(zone: Zone) -> Iterator[bytes]:
    """All of a zone, between its SOA and its SOA (RFC 5936 2.2)."""
    soa = record(_ASKED, SOA, zone.soa.ttl, zone.soa.rdatas[0])
    yield soa
    above = len(zone.apex)
    for name, node in list(zone.nodes.items()):
        yield from _of(zone, node, name, name[:-above] + _ASKED)
    yield soa


def _of(zone: Zone, node: Node, name: bytes, owner: bytes) -> Iterator[bytes]:
    for kind, rrset in node.rrsets.items():
        if kind != SOA:
            for rdata in rrset.rdatas:
                yield record(owner, kind, rrset.ttl, rdata)
    host = zone.hosts.get(name)
    if host is not None:
        for address in dict.fromkeys(target.address for target in host.given):
            yield record(owner, A if address.version == 4 else AAAA, zone.ttl, address.packed)


def _packed(records: Iterator[bytes]) -> Iterator[Sections]:
    part: list[bytes] = []
    size = 0
    for one in records:
        if size + len(one) > MESSAGE_BYTES and part:
            yield Sections(AA, len(part), 0, 0, b"".join(part))
            part, size = [], 0
        part.append(one)
        size += len(one)
    yield Sections(AA, len(part), 0, 0, b"".join(part))


# -- NOTIFY --------------------------------------------------------------------------------------------------------------------


class _Notice:
    """One zone's change that one secondary is told of until it answers."""

    __slots__ = ("again", "apex", "identity", "secondary", "serial", "standing", "times")

    def __init__(self, apex: bytes, secondary: Secondary, serial: int, identity: int, standing: Standing) -> None:
        self.standing = standing
        self.apex = apex
        self.secondary = secondary
        self.serial = serial
        self.identity = identity
        self.times = 0
        self.again: IDelayedCall | None = None


class Notifier:
    """Tells secondaries that a zone has changed. `send` sends one datagram to an address and port, from the server's own
    address; False when it cannot be sent."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, send: Callable[[bytes, str, int], bool], identity: Callable[[], int],
        wall: Callable[[], float], counts: Counter[str],
    ) -> None:
        self._clock = clock
        self._send = send
        self._identity = identity
        self._wall = wall
        self._open: dict[tuple[bytes, Secondary], _Notice] = {}
        self.counts = counts                # sent, unsent, answered, refused, given_up

    @property
    def waiting(self) -> int:
        """Secondaries that have not answered yet."""
        return len(self._open)

    def changed(self, transfers: Transfers, zone: Zone) -> None:
        """Tell every secondary of the zone of its serial number, unless it has confirmed that one already."""
        for secondary in transfers.secondaries.get(zone.apex, ()):
            standing = transfers.standings[zone.apex, secondary]
            if not secondary.notify or standing.confirmed == zone.serial:
                continue
            self._close(self._open.get((zone.apex, secondary)))
            notice = _Notice(zone.apex, secondary, zone.serial, self._identity(), standing)
            self._open[zone.apex, secondary] = notice
            standing.notified = zone.serial
            self._tell(notice, zone.soa.rdatas[0], zone.soa.ttl)

    def heard(self, transfers: Transfers, data: bytes, peer: str, port: int) -> bool:
        """An answer has come from `peer`; True when it is one to a NOTIFY of ours."""
        if len(data) < HEADER_BYTES or data[2] >> 3 & 0xF != NOTIFY:
            return False
        identity = int.from_bytes(data[:2], "big")
        address: Any = ip_address(peer.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        for notice in self._open.values():
            if notice.identity == identity and ip_address(notice.secondary.address) == address \
                    and notice.secondary.port == port:
                break
        else:
            return False
        self._close(notice)
        refused = data[3] & 0xF
        self.counts["refused" if refused else "answered"] += 1
        standing = transfers.standings.get((notice.apex, notice.secondary))
        if standing is not None and not refused:
            standing.confirmed = notice.serial
        return True

    def stop(self) -> None:
        """Tell nobody any more."""
        for notice in list(self._open.values()):
            self._close(notice)

    def _tell(self, notice: _Notice, soa: bytes, ttl: int) -> None:
        notice.times += 1
        if notice.times > MAX_NOTIFIES:
            self.counts["given_up"] += 1
            self._close(notice)
            return
        message = _notify(notice, soa, ttl)
        key = notice.secondary.key
        if key is not None:
            message = sign_query(message, key, self._wall)
        sent = self._send(message, notice.secondary.address, notice.secondary.port)
        self.counts["sent" if sent else "unsent"] += 1
        if not sent and not notice.standing.unsent:
            self._log.warn("secondary {secondary} of zone {zone} cannot be told of version {serial}: " + _UNSENT,
                           secondary=notice.secondary.name, zone=text_of(notice.apex), serial=notice.serial)
        notice.standing.unsent = not sent
        notice.again = self._clock.callLater(_FIRST_WAIT_S * 2 ** (notice.times - 1), self._tell, notice, soa, ttl)

    def _close(self, notice: _Notice | None) -> None:
        if notice is not None:
            if notice.again is not None and notice.again.active():
                notice.again.cancel()
            self._open.pop((notice.apex, notice.secondary), None)


def _notify(notice: _Notice, soa: bytes, ttl: int) -> bytes:
    """The message of RFC 1996 3.7, with the SOA that there is now."""
    return _HEADER.pack(notice.identity, NOTIFY << 11 | AA, 1, 1, 0, 0) + notice.apex + struct.pack("!HH", SOA, IN) \
        + record(_ASKED, SOA, ttl, soa)


def described(transfers: Transfers, zone: Zone) -> list[dict[str, Any]]:
    """Every secondary of a zone and what it knows, JSON-ready."""
    return [{
        "address": each.name, "tsig_key": each.key.name if each.key is not None else None, "notified": standing.notified,
        "confirmed": standing.confirmed, "fetched": standing.fetched, "fetched_at": standing.fetched_at or None,
        "why": _why(zone.serial, standing, each),
    } for each in transfers.secondaries.get(zone.apex, ()) for standing in (transfers.standings[zone.apex, each],)]


def _why(serial: int, standing: Standing, secondary: Secondary) -> str:
    if standing.fetched == serial:
        return "it has the zone as it is"
    if standing.unsent:
        return f"it cannot be told of the newest version: {_UNSENT}"
    if standing.fetched is None:
        return "it has not fetched the zone since this gateway began"
    if not secondary.notify:
        return "it has an older version, and looks for a newer one by the SOA's refresh time"
    return "it has an older version, and is told of the newer one"
