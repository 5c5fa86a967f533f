"""Which names are ours in a zone that its server does not hand out: kept in the zone itself, as PTR records.

They stand at ``<0-f>.<owner>._voltgw-index.<zone>``, spread over sixteen names so that each fits into an answer, which takes
some 2,000 names. A name enters before it is written and leaves after it was taken out, so that no name of ours is ever missing;
one that is there in vain does no harm, since only its mark counts. A server whose policy does not let us write it goes without.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.update
from twisted.internet.defer import Deferred, DeferredList

from voltgw.control.publish.registrar import RegistryError

if TYPE_CHECKING:
    from voltgw.control.publish.dnsclient import DnsClient

_SHARDS: Final = "0123456789abcdef"
_LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}")
#: Names in one update.
_TOGETHER: Final = 200


#: What a server answers that does not have, or take, such a thing; other codes pass.
_NEVER: Final = (dns.rcode.REFUSED, dns.rcode.NOTAUTH, dns.rcode.NOTIMP, dns.rcode.NOTZONE)


class NameIndex:
    """The index of one owner in one zone. `refused` says why it cannot be kept, "" = it can, for all that is known."""

    def __init__(self, client: DnsClient, zone: dns.name.Name, owner: str, ttl: int) -> None:
        self.refused = ""
        self._client = client
        self._zone = zone
        self._ttl = ttl
        label = owner if _LABEL.fullmatch(owner) else hashlib.sha256(owner.encode()).hexdigest()[:32]
        self._base = dns.name.from_text(f"{label}._voltgw-index", zone)

    async def read(self) -> list[str]:
        """The names in it. Raises `RegistryError`."""
        answers = await together(self._client.ask(_query(self._at(shard))) for shard in _SHARDS)
        found: dict[str, None] = {}
        for answer in answers:
            if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                self._not(answer.rcode(), "asked for it")
            for rrset in answer.answer:
                if rrset.rdtype == dns.rdatatype.PTR:
                    found.update((rdata.target.to_text(omit_final_dot=True).lower(), None) for rdata in rrset
                                 if rdata.target.is_subdomain(self._zone))
        return list(found)

    async def add(self, names: Collection[str]) -> None:
        """These are about to be written. Raises `RegistryError`."""
        await self._write(names, there=True)

    async def drop(self, names: Collection[str]) -> None:
        """These have been taken out. Raises `RegistryError`."""
        await self._write(names, there=False)

    async def _write(self, names: Collection[str], *, there: bool) -> None:
        waiting = list(names)
        while waiting and not self.refused:
            some, waiting = waiting[:_TOGETHER], waiting[_TOGETHER:]
            update = dns.update.UpdateMessage(self._zone)
            for name in some:
                at, target = self._at(_shard(name)), f"{name}."
                if there:
                    update.add(at, self._ttl, "PTR", target)
                else:
                    update.delete(at, "PTR", target)
            rcode = (await self._client.ask(update)).rcode()
            if rcode != dns.rcode.NOERROR:
                self._not(rcode, "told to change it")

    def _not(self, rcode: dns.rcode.Rcode, what: str) -> None:
        """It was not done: for good, or, which raises `RegistryError`, just now."""
        why = f"{what}, the server answers {dns.rcode.to_text(rcode)}"
        if rcode not in _NEVER:
            raise RegistryError(f"the index of names: {why}")
        self.refused = why

    def _at(self, shard: str) -> dns.name.Name:
        return dns.name.from_text(shard, self._base)


def _shard(name: str) -> str:
    return _SHARDS[hashlib.sha256(name.encode()).digest()[0] & 15]


def _query(name: dns.name.Name) -> dns.message.Message:
    query = dns.message.make_query(name, "PTR")
    query.flags &= ~dns.flags.RD
    return query


async def together(calls: Iterable[Any]) -> list[Any]:
    """The results of coroutines that run at once; the first failure ends all of them."""
    running = [Deferred.fromCoroutine(call) for call in calls]
    gathered: Any = DeferredList(running, fireOnOneErrback=True, consumeErrors=True)
    try:
        return [result for _, result in await gathered]
    except Exception as error:
        failure = getattr(error, "subFailure", None)
        raise (failure.value if failure is not None else error) from None
    finally:
        for each in running:
            each.cancel()
