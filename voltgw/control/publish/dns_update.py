"""Names in a zone of a DNS server that takes DNS UPDATE (RFC 2136), such as BIND and Knot: the registrar ``dns_update``.

A name is ours when a TXT record beside it says so (`marker_of`, `mark_of`). Every update has a prerequisite (RFC 2136 2.4)
about that record, so that the server itself sees to it that nothing of another's is overwritten, whatever happened since we
looked.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.update
from twisted.logger import Logger

from voltgw.control.publish.dns_index import NameIndex, together
from voltgw.control.publish.dnsclient import Account, DnsClient, NoTransfer
from voltgw.control.publish.marks import Seen, mark_of, marker_of, name_behind, owner_in
from voltgw.control.publish.names import Act, Change, Held, Observed, Refused, Wanted
from voltgw.control.publish.registrar import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable

_ADDRESSES: Final = ("A", "AAAA")
#: Changes between which the publisher can be told of something else.
_MOST: Final = 100
#: Names that are asked for in one go.
_TOGETHER: Final = 64
_NOT_OURS: Final = frozenset((dns.rcode.YXDOMAIN, dns.rcode.YXRRSET, dns.rcode.NXRRSET, dns.rcode.NXDOMAIN))


class DnsUpdateRegistrar:
    """Keeps names in `zone` of the server that `account` names. `ttl` is that of records, in seconds."""

    kind = "dns_update"
    most = _MOST
    _log = Logger()

    def __init__(self, reactor: Any, clock: Any, account: Account, zone: str, ttl: int, owner: str) -> None:
        """Raises ValueError for a key or a zone that cannot be."""
        self.registry = f"{zone} at {account.address} port {account.port}"
        self.owner = owner
        self._client = DnsClient(reactor, clock, account)
        self._zone = _name(zone)
        self._ttl = ttl
        self._no_transfer = ""
        self._index = NameIndex(self._client, self._zone, owner, ttl)
        self._stale: list[str] = []                 # names in the index that are not ours any more
        self._seen: tuple[int, Observed] | None = None      # what there was at that serial number

    def content(self, wanted: Wanted) -> Hashable:
        """The addresses, and their TTL."""
        return _content(wanted.addresses, {self._ttl} if wanted.addresses else set(), "")

    async def observe(self, names: Collection[str]) -> Observed:
        """From the zone's transfer where the server gives one, else by our index; nothing is read while its serial stays."""
        serial = await self._serial()
        if self._seen is not None and self._seen[0] == serial and all(name in self._seen[1].held for name in names):
            return self._seen[1]
        if not self._no_transfer:
            try:
                seen = await self._transferred(frozenset(names))
            except NoTransfer as error:
                self._no_transfer = str(error)
                self._log.info("{registry} is asked name by name, since it cannot be transferred: {why}",
                               registry=self.registry, why=self._no_transfer)
        if self._no_transfer:
            listed = await self._index.read()
            seen = await self._asked(dict.fromkeys((*names, *listed)))
            asked = frozenset(names)
            self._stale = [name for name in listed if name not in asked and mark_of(self.owner) not in seen[name].marks]
        held: dict[str, Held] = await self._client.aside(
            lambda: {name: each.held(_content) for name, each in seen.items()})
        observed = Observed(held, complete=not self._no_transfer or not self._index.refused)
        self._seen = serial, observed
        return observed

    async def apply(self, changes: Sequence[Change]) -> Sequence[Refused | None]:
        """One update for each change, so that a name that is refused keeps none of the others."""
        self._seen = None
        if self._no_transfer:
            await self._list(change.name for change in changes if change.act is Act.CREATE)
        outcomes = await together(self._write(change) for change in changes)
        if self._no_transfer:
            gone = [change.name for change, refused in zip(changes, outcomes, strict=True)
                    if change.act is Act.REMOVE and refused is None]
            stale, self._stale = self._stale, []
            await self._index.drop([*gone, *stale])
        return outcomes

    async def _list(self, names: Iterable[str]) -> None:
        refused = self._index.refused
        await self._index.add(list(names))
        if self._index.refused and not refused:
            self._log.warn("{registry} cannot have the index of our names: {why}; names of a former life of this gateway are "
                           "not found", registry=self.registry, why=self._index.refused)

    def close(self) -> None:
        """Cut the connection."""
        self._client.close()

    # -- reading -----------------------------------------------------------------------------------------------------------

    async def _serial(self) -> int:
        answer = await self._client.ask(_query(self._zone, "SOA"))
        self._taken(answer, "asked for its SOA")
        for rrset in answer.answer:
            if rrset.rdtype == dns.rdatatype.SOA and rrset.name == self._zone and answer.flags & dns.flags.AA:
                serial: int = rrset[0].serial
                return serial
        raise RegistryError("the server does not have the zone")

    async def _transferred(self, names: frozenset[str]) -> dict[str, Seen]:
        seen = {name: Seen() for name in names}
        markers = {marker_of(name): name for name in names}

        def take(message: dns.message.Message) -> None:
            for rrset in message.answer:
                if rrset.rdtype == dns.rdatatype.TXT:
                    text = _text(rrset.name)
                    name = markers.get(text) or name_behind(text)
                    if name is not None:
                        seen.setdefault(name, Seen()).note(_rows(rrset), marker=True)
                elif rrset.rdtype in _LEADING:
                    # That of names which are no longer wanted is of no interest: what is ours goes with the marker.
                    known = seen.get(_text(rrset.name))
                    if known is not None:
                        known.note(_rows(rrset), marker=False)

        await self._client.transfer(self._zone, take)
        return seen

    async def _asked(self, names: Collection[str]) -> dict[str, Seen]:
        seen: dict[str, Seen] = {}
        waiting = list(names)
        while waiting:
            some, waiting = waiting[:_TOGETHER], waiting[_TOGETHER:]
            for name, each in zip(some, await together(self._ask(name) for name in some), strict=True):
                seen[name] = each
        return seen

    async def _ask(self, name: str) -> Seen:
        seen = Seen()
        answer = await self._client.ask(_query(_name(marker_of(name)), "TXT"))
        self._taken(answer, f"asked for {name}")
        for rrset in answer.answer:
            if rrset.rdtype == dns.rdatatype.TXT:   # another text may be a wildcard's, and if not, the update itself will tell
                seen.note((row for row in _rows(rrset) if owner_in(row[1])), marker=True)
        if seen.marks:                              # else what is there may come from a wildcard; the update itself will tell
            for kind in _ADDRESSES:
                answer = await self._client.ask(_query(_name(name), kind))
                self._taken(answer, f"asked for {name}")
                for rrset in answer.answer:
                    if rrset.name == _name(name):
                        seen.note(_rows(rrset), marker=False)
        return seen

    def _taken(self, answer: dns.message.Message, when: str) -> None:
        rcode = answer.rcode()
        if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise RegistryError(_failure(rcode, when, self._client.account.key_name))

    # -- writing -----------------------------------------------------------------------------------------------------------

    async def _write(self, change: Change) -> Refused | None:
        rcode = (await self._client.ask(self._update(change))).rcode()
        if rcode == dns.rcode.NOERROR:
            return None
        if rcode in _NOT_OURS:
            return Refused("there are records of that name without our mark" if change.act is Act.CREATE
                           else "its mark has gone, or is another's", foreign=True)
        why = _failure(rcode, f"told to {change.act.value} {change.name}", self._client.account.key_name)
        if rcode in (dns.rcode.REFUSED, dns.rcode.NOTZONE):
            return Refused(why)                     # of this name; others may do
        raise RegistryError(why)

    def _update(self, change: Change) -> dns.update.UpdateMessage:
        update = dns.update.UpdateMessage(self._zone)
        name, marker = _name(change.name), _name(marker_of(change.name))
        mark = f'"{mark_of(self.owner)}"'
        if change.act is Act.CREATE:
            for kind in (*_ADDRESSES, "CNAME"):
                update.absent(name, kind)
            update.absent(marker, "TXT")
            update.add(marker, self._ttl, "TXT", mark)
        else:
            update.present(marker, "TXT", mark)
            for kind in (*_ADDRESSES, "CNAME"):
                update.delete(name, kind)
        if change.wanted is None:
            update.delete(marker, "TXT")
        else:
            for address in change.wanted.addresses:
                update.add(name, self._ttl, "AAAA" if ":" in address else "A", address)
        return update


_LEADING: Final = frozenset((dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME))


def _query(name: dns.name.Name, kind: str) -> dns.message.Message:
    query = dns.message.make_query(name, kind)
    query.flags &= ~dns.flags.RD
    return query


def _content(addresses: Collection[str], ttls: Collection[int], alias: str) -> Hashable:
    return tuple(sorted(addresses)), tuple(sorted(ttls)), alias


def _rows(rrset: Any) -> list[tuple[str, str, int]]:
    """Type, text and TTL of its records."""
    kind = dns.rdatatype.to_text(rrset.rdtype)
    if rrset.rdtype == dns.rdatatype.TXT:
        return [(kind, b"".join(rdata.strings).decode("utf-8", "replace"), rrset.ttl) for rdata in rrset]
    return [(kind, rdata.to_text(), rrset.ttl) for rdata in rrset]


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _failure(rcode: int, when: str, key: str) -> str:
    word = dns.rcode.to_text(dns.rcode.Rcode.make(rcode))
    said = {
        dns.rcode.REFUSED: f"its policy does not allow that to the key {key}",
        dns.rcode.NOTAUTH: "it is not the zone's primary server",
        dns.rcode.NOTZONE: "the name is not in the zone",
        dns.rcode.NOTIMP: "it takes no updates",
        dns.rcode.SERVFAIL: "it has failed",
    }.get(dns.rcode.Rcode.make(rcode))
    return f"{when}, the server answers {word}" + (f": {said}" if said else "")

