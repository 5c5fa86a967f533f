"""Maglev: a table with an entry for every remainder of the key, filled by the endpoints in turn.

D. Eisenbud et al., "Maglev: a fast and reliable software network load balancer", NSDI 2016, section 3.4, with the hashes
and the weights of Envoy's ``maglev_lb.cc``: an endpoint's permutation is (offset + skip x j) mod M, its offset XXH64(name) mod
M, its skip XXH64(name, seed 1) mod (M - 1) + 1, and its name ``address:port``. Endpoints are sorted by name first, so that the
table does not depend on the order in which they were found. M is 65,537. A pick costs one division; a change moves about
twice as many keys as with ring hash. Without a key the entry is drawn.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from zope.interface import implementer

from voltgw.cluster.schedulers.building import HASH, STEP, finished
from voltgw.cluster.schedulers.options import Whole, read_options
from voltgw.cluster.schedulers.round_robin import Nobody
from voltgw.cluster.xxhash64 import xxh64
from voltgw.errors import NOWHERE, ConfigError, ConfigErrors, Place
from voltgw.interfaces import IFactory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from voltgw.cluster.cluster import Scheduler
    from voltgw.cluster.endpoint import Endpoint

#: Entries of the table, a prime (the paper's smaller size), and the most there may be.
TABLE_SIZE: Final = 65_537
MAX_TABLE_SIZE: Final = 5_000_011
#: Entries that are tried for a ready endpoint before the ready ones are listed.
TRIES: Final = 16
_ALL: Final = 1 << 64


class Table:
    """The table."""

    __slots__ = ("_draw", "_endpoints", "_entries", "_size", "hashes")

    def __init__(
        self, endpoints: Sequence[Endpoint], entries: array[int], random: Random, hashes: dict[str, tuple[int, int]],
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._entries = entries
        self._size = len(entries)
        self._draw = random.getrandbits
        self.hashes = hashes                # by name, for the next table

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """The endpoint of the key's entry; if it is not ready, that of the next try."""
        if hash_key is None:
            hash_key = self._draw(64)
        endpoint = self._endpoints[self._entries[hash_key % self._size]]
        return endpoint if endpoint.ready else self.pick_next(hash_key, 1)

    def pick_next(self, hash_key: int, attempt: int, /) -> Endpoint | None:
        """For try `attempt` (1, 2…) after the first: another entry that the key decides, as in Envoy."""
        endpoints = self._endpoints
        for number in range(attempt, attempt + TRIES):
            endpoint = endpoints[self._entries[(hash_key ^ (_ALL - number)) % self._size]]
            if endpoint.ready:
                return endpoint
        ready = [endpoint for endpoint in endpoints if endpoint.ready]
        return ready[(hash_key + attempt) % len(ready)] if ready else None

    def shares(self) -> dict[Endpoint, int]:
        """How many entries each endpoint has."""
        found = dict.fromkeys(self._endpoints, 0)
        for number in self._entries:
            found[self._endpoints[number]] += 1
        return found


@implementer(IFactory)
@dataclass(frozen=True, slots=True)
class Maglev:
    """The factory; its one option is ``table_size``."""

    table_size: int = TABLE_SIZE
    name: ClassVar[str] = "maglev"

    def options(self, raw: object, place: object) -> object:
        """``table_size``: a prime."""
        read = read_options(raw, place, {"table_size": Whole(2, MAX_TABLE_SIZE)})
        size = read.get("table_size", TABLE_SIZE)
        if any(size % number == 0 for number in range(2, int(size ** 0.5) + 1)):
            where = place if isinstance(place, Place) else NOWHERE
            raise ConfigErrors((ConfigError("VG0105", where, f"table_size must be a prime, which {size} is not"),))
        return read

    def configured(self, options: dict[str, int]) -> Maglev:
        """The same with options."""
        return Maglev(**options)

    def build(self, endpoints: Sequence[Endpoint], random: Random, /) -> Scheduler:
        """The whole table at once."""
        return finished(self.building(endpoints, random, None))

    def building(
        self, endpoints: Sequence[Endpoint], random: Random, previous: Scheduler | None, /,
    ) -> Generator[None, None, Scheduler]:
        """The table in steps; an endpoint that `previous` had is not hashed again."""
        if not endpoints:
            return Nobody()
        size = self.table_size
        known = previous.hashes if isinstance(previous, Table) else {}
        hashes: dict[str, tuple[int, int]] = {}
        places: list[int] = []              # where each one's permutation stands
        skips: list[int] = []
        named = sorted(((str(endpoint.key), number) for number, endpoint in enumerate(endpoints)))
        cost = 0
        for name, _ in named:
            pair = known.get(name)
            if pair is None:
                key = name.encode("ascii")
                pair = xxh64(key), xxh64(key, 1)
                cost += 2 * HASH
            hashes[name] = pair
            places.append(pair[0] % size)
            skips.append(pair[1] % (size - 1) + 1)
            cost += 4
            if cost >= STEP:
                cost = 0
                yield
        order = [number for _, number in named]
        weights = [endpoints[number].weight for number in order]
        heaviest = max(weights)
        targets = [0] * len(order)
        empty = len(endpoints)
        entries = array("I", [empty]) * size
        left = size
        turn = 0
        while left:
            turn += 1
            for index, number in enumerate(order):
                cost += 1
                if turn * weights[index] < targets[index]:
                    continue
                targets[index] += heaviest
                at = places[index]
                skip = skips[index]
                while entries[at] != empty:
                    at += skip
                    if at >= size:
                        at -= size
                    cost += 1
                entries[at] = number
                at += skip
                places[index] = at - size if at >= size else at
                left -= 1
                if not left:
                    break
                if cost >= STEP:
                    cost = 0
                    yield
        return Table(endpoints, entries, random, hashes)


FACTORY: Final = Maglev()
