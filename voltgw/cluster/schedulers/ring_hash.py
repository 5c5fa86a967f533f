"""Ring hash: every endpoint has points on a circle of 64-bit numbers, and a key belongs to the first point at or after it.

The ketama form as Envoy builds it (``ring_hash_lb.cc``): point i of an endpoint is XXH64 of ``<address:port>_<i>``, seed 0; the
lightest endpoint's share decides how many points there are, at least 1,024 and at most 8,388,608. A pick is a binary
search. The circle depends on addresses and weights only, so all gateways, and each of them after a restart, agree. Without
a key the point is drawn.

With ``bounded_load`` an endpoint with more than that many percent of its share of what is under way passes a key on by jumps
that the key decides (V. Mirrokni et al., "Consistent hashing with bounded loads", 2016; the jumps are those of
arXiv:1908.08762), so that one busy key cannot drown an endpoint.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Generator
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, ClassVar, Final

from zope.interface import implementer

from voltgw.cluster.schedulers.building import HASH, STEP, finished
from voltgw.cluster.schedulers.options import Whole, read_options
from voltgw.cluster.schedulers.round_robin import Nobody
from voltgw.cluster.xxhash64 import xxh64
from voltgw.interfaces import IFactory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from voltgw.cluster.cluster import Scheduler
    from voltgw.cluster.endpoint import Endpoint

#: Points on the circle, as Envoy has them.
MIN_RING: Final = 1024
MAX_RING: Final = 8_388_608
#: Points that are looked at one after the other for a ready endpoint; most are ready, or there will soon be another ring.
NEAR: Final = 64
#: Jumps, as a multiple of the endpoints and at most, before the least busy endpoint that was met takes the key.
JUMPS: Final = 2
MOST_JUMPS: Final = 1024
_MASK: Final = 0xFFFFFFFFFFFFFFFF
_JUMP: Final = 0x9E3779B97F4A7C15           # 2**64 / golden ratio: jumps are spread evenly (D. Knuth, TAOCP 3, 6.4)


class Ring:
    """The circle: its points in order, and whose each is."""

    __slots__ = ("_draw", "_endpoints", "_owners", "_points", "names")

    def __init__(
        self, endpoints: Sequence[Endpoint], points: array[int], owners: array[int], random: Random,
        names: dict[str, array[int]],
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._points = points
        self._owners = owners
        self._draw = random.getrandbits
        self.names = names                  # name -> its points, for the next ring

    def __len__(self) -> int:
        return len(self._points)

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """The owner of the first point at or after the key, or of the next one that is ready."""
        points = self._points
        at = bisect_left(points, self._draw(64) if hash_key is None else hash_key)
        endpoint = self._endpoints[self._owners[at if at < len(points) else 0]]
        return endpoint if endpoint.ready else self._ready_from(at + 1)

    def pick_next(self, hash_key: int, attempt: int, /) -> Endpoint | None:
        """For try `attempt` (1, 2…) after the first: so many points further on."""
        return self._ready_from(bisect_left(self._points, hash_key) + attempt)

    def _ready_from(self, at: int) -> Endpoint | None:
        endpoints, owners = self._endpoints, self._owners
        size = len(owners)
        for near in range(at, at + NEAR):
            endpoint = endpoints[owners[near % size]]
            if endpoint.ready:
                return endpoint
        ready = [endpoint for endpoint in endpoints if endpoint.ready]
        return ready[at % len(ready)] if ready else None


class BoundedRing:
    """A ring whose endpoints take no more than their share and something."""

    __slots__ = ("_draw", "_endpoints", "_factor", "_left", "_ring", "_total", "_weights")

    def __init__(self, ring: Ring, endpoints: Sequence[Endpoint], percent: int, random: Random) -> None:
        self._ring = ring
        self._endpoints = tuple(endpoints)
        self._factor = percent / 100
        self._weights = sum(endpoint.weight for endpoint in endpoints)
        self._draw = random.getrandbits
        self._total = 0
        self._left = 0

    @property
    def names(self) -> dict[str, array[int]]:
        """Those of the ring."""
        return self._ring.names

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """The key's owner unless it is too busy; then one that is not, or the least busy of those that were asked."""
        if hash_key is None:
            hash_key = self._draw(64)
        endpoints = self._endpoints
        self._left -= 1
        if self._left <= 0:                 # adding them up each time would cost n; so it costs 4 for each pick
            self._left = len(endpoints) // 4 + 1
            self._total = sum(endpoint.active for endpoint in endpoints)
        self._total += 1
        slots = self._total * self._factor / self._weights      # of an endpoint of weight 1
        owner = self._ring.pick(hash_key)
        if owner is None or owner.active < ceil(slots * owner.weight):
            return owner
        best, least = owner, owner.active / (slots * owner.weight)
        jump = hash_key
        for _ in range(min(JUMPS * len(endpoints), MOST_JUMPS)):
            jump = (jump ^ jump >> 31) * _JUMP & _MASK
            other = endpoints[(jump >> 20) % len(endpoints)]
            if other.ready:
                load = other.active / max(1, ceil(slots * other.weight))
                if load < 1:
                    return other
                if load < least:
                    best, least = other, load
        return best

    def pick_next(self, hash_key: int, attempt: int, /) -> Endpoint | None:
        """As that of the ring."""
        return self._ring.pick_next(hash_key, attempt)


@implementer(IFactory)
@dataclass(frozen=True, slots=True)
class RingHash:
    """The factory; `bounded_load` is in percent, 0 = no bound."""

    minimum_ring_size: int = MIN_RING
    maximum_ring_size: int = MAX_RING
    bounded_load: int = 0
    name: ClassVar[str] = "ring_hash"

    def options(self, raw: object, place: object) -> object:
        """``minimum_ring_size``, ``maximum_ring_size``, ``bounded_load``."""
        return read_options(raw, place, {
            "minimum_ring_size": Whole(1, MAX_RING), "maximum_ring_size": Whole(1, MAX_RING),
            "bounded_load": Whole(100, 10_000)})

    def configured(self, options: dict[str, int]) -> RingHash:
        """The same with options."""
        return RingHash(**options)

    def build(self, endpoints: Sequence[Endpoint], random: Random, /) -> Scheduler:
        """The whole ring at once."""
        return finished(self.building(endpoints, random, None))

    def building(
        self, endpoints: Sequence[Endpoint], random: Random, previous: Scheduler | None, /,
    ) -> Generator[None, None, Scheduler]:
        """The ring in steps; points that `previous` has are not hashed again."""
        if not endpoints:
            return Nobody()
        known = previous.names if isinstance(previous, (Ring, BoundedRing)) else {}
        total = sum(endpoint.weight for endpoint in endpoints)
        lightest = min(endpoint.weight for endpoint in endpoints) / total
        scale = min(ceil(lightest * self.minimum_ring_size) / lightest, self.maximum_ring_size)
        shift = 64 - max(0, (ceil(scale) // 256).bit_length())
        buckets: list[list[int]] = [[] for _ in range(1 << (64 - shift))]
        names: dict[str, array[int]] = {}
        cost = current = 0
        target = 0.0
        for number, endpoint in enumerate(endpoints):
            target += scale * endpoint.weight / total
            name = str(endpoint.key)
            if name in names:               # the same address by two protocols: the first stands
                continue
            points = known.get(name)
            points = array("Q", points) if points is not None else array("Q")
            wanted = 0
            while current < target:
                if wanted == len(points):
                    points.append(xxh64(b"%b_%d" % (name.encode("ascii"), wanted)))
                    cost += HASH
                point = points[wanted]
                buckets[point >> shift].append(point << 32 | number)     # one number: no work for the garbage collector
                wanted += 1
                current += 1
                cost += 2
                if cost >= STEP:
                    cost = 0
                    yield
            names[name] = points[:wanted]
            cost += 4
        ring, owners = array("Q"), array("I")
        for bucket in buckets:
            bucket.sort()
            ring.extend([both >> 32 for both in bucket])
            owners.extend([both & 0xFFFFFFFF for both in bucket])
            cost += 4 * len(bucket) + 1
            if cost >= STEP:
                cost = 0
                yield
        made = Ring(endpoints, ring, owners, random, names)
        return BoundedRing(made, endpoints, self.bounded_load, random) if self.bounded_load else made


FACTORY: Final = RingHash()
