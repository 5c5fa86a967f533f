"""Rendezvous (highest random weight): a key goes to the endpoint for which the two together give the highest number.

D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates", 1998; with unequal weights the score is
-weight / ln(h), h in (0, 1). There is no table, and a change moves only the keys of the endpoint that changed;
but a pick looks at all endpoints, 0.4 microseconds each, so it is for small clusters. What was found for a key is remembered
until members change, for so many keys (`REMEMBERED`): users who come again cost a look into a dict.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Final

from zope.interface import implementer

from voltgw.cluster.schedulers.options import read_options
from voltgw.cluster.schedulers.round_robin import Nobody
from voltgw.cluster.xxhash64 import xxh64
from voltgw.interfaces import IFactory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from voltgw.cluster.cluster import Scheduler
    from voltgw.cluster.endpoint import Endpoint

#: Keys whose endpoint is remembered; at this many all are forgotten, which costs less than finding out who was here last.
REMEMBERED: Final = 16_384
_MASK: Final = 0xFFFFFFFFFFFFFFFF
# The finalizer of MurmurHash3 for 64 bits (A. Appleby), which mixes an endpoint's number with a key's.
_M1: Final = 0xFF51AFD7ED558CCD
_M2: Final = 0xC4CEB9FE1A85EC53


class Rendezvous:
    """Endpoints with the numbers of their names."""

    __slots__ = ("_draw", "_equal", "_known", "_seeds")

    def __init__(self, endpoints: Sequence[Endpoint], random: Random) -> None:
        self._seeds = [(xxh64(str(endpoint.key).encode("ascii")), endpoint) for endpoint in endpoints]
        self._equal = len({endpoint.weight for endpoint in endpoints}) == 1
        self._draw = random.getrandbits
        self._known: dict[int, Endpoint] = {}

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """The ready endpoint with the highest score for the key."""
        if hash_key is None:
            return self._found(self._draw(64))
        known = self._known
        endpoint = known.get(hash_key)
        if endpoint is not None and endpoint.ready:     # nobody becomes ready without there being another scheduler
            return endpoint
        endpoint = self._found(hash_key)
        if endpoint is not None:
            if len(known) >= REMEMBERED:
                known.clear()
            known[hash_key] = endpoint
        return endpoint

    def _found(self, key: int) -> Endpoint | None:
        best: Endpoint | None = None
        most: float = -1
        equal = self._equal
        for seed, endpoint in self._seeds:
            if not endpoint.ready:
                continue
            score: float = mixed(key ^ seed)
            if not equal:
                score = -endpoint.weight / log((score + 0.5) / (1 << 64))
            if score > most:
                best, most = endpoint, score
        return best

    def pick_next(self, hash_key: int, attempt: int, /) -> Endpoint | None:
        """For try `attempt` (1, 2…) after the first: the one that would be next if those before it were not there."""
        key = hash_key
        scored = sorted(
            ((mixed(key ^ seed) if self._equal else -endpoint.weight / log((mixed(key ^ seed) + 0.5) / (1 << 64)), number)
             for number, (seed, endpoint) in enumerate(self._seeds) if endpoint.ready), reverse=True)
        return self._seeds[scored[attempt % len(scored)][1]][1] if scored else None


def mixed(number: int) -> int:
    """64 bits of which each depends on each bit of `number`."""
    number = (number ^ number >> 33) * _M1 & _MASK
    number = (number ^ number >> 33) * _M2 & _MASK
    return number ^ number >> 33


@implementer(IFactory)
class RendezvousChoice:
    """The factory; it has no options."""

    name = "rendezvous"

    def options(self, raw: object, place: object) -> object:
        """Nothing to set."""
        return read_options(raw, place, {})

    def build(self, endpoints: Sequence[Endpoint], random: Random, /) -> Scheduler:
        """One form."""
        return Rendezvous(endpoints, random) if endpoints else Nobody()


FACTORY: Final = RendezvousChoice()
