"""Random: every pick is drawn anew, with a probability that follows the weights."""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from zope.interface import implementer

from voltgw.cluster.schedulers.round_robin import Nobody
from voltgw.interfaces import IFactory
from voltgw.values.compiling import mypyc_attr

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from voltgw.cluster.cluster import Scheduler
    from voltgw.cluster.endpoint import Endpoint

#: Draws before the ready ones are looked for one by one. While at least half are ready, 1 pick in 16 gets that far.
DRAWS: Final = 4


@mypyc_attr(allow_interpreted_subclasses=True)
class Uniform:
    """All weights are equal."""

    __slots__ = ("_count", "_draw", "_endpoints")

    def __init__(self, endpoints: Sequence[Endpoint], random: Random) -> None:
        self._endpoints = tuple(endpoints)
        self._count = len(endpoints)
        self._draw = random.random

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """Draw one; an unready one is drawn again."""
        endpoints = self._endpoints
        count = self._count
        for _ in range(DRAWS):
            endpoint = endpoints[int(self._draw() * count)]
            if endpoint.ready:
                return endpoint
        return drawn_from_ready(endpoints, self._draw())


class Weighted:
    """The probability follows the weights: a binary search among their running sums."""

    __slots__ = ("_draw", "_endpoints", "_sums", "_total")

    def __init__(self, endpoints: Sequence[Endpoint], random: Random) -> None:
        self._endpoints = tuple(endpoints)
        self._draw = random.random
        self.keep_pace()

    def keep_pace(self) -> None:
        """Some who start slowly count for more now."""
        self._sums = list(accumulate(endpoint.weight * endpoint.pace for endpoint in self._endpoints))
        self._total = self._sums[-1]

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """Draw one; an unready one is drawn again."""
        endpoints = self._endpoints
        for _ in range(DRAWS):
            endpoint = endpoints[bisect(self._sums, self._draw() * self._total, 0, len(endpoints) - 1)]
            if endpoint.ready:
                return endpoint
        return drawn_from_ready(endpoints, self._draw())


def drawn_from_ready(endpoints: Sequence[Endpoint], chance: float) -> Endpoint | None:
    """One of the ready ones by weight; the rare case, until the scheduler is built without the others."""
    ready = [endpoint for endpoint in endpoints if endpoint.ready]
    if not ready:
        return None
    sums = list(accumulate(endpoint.weight * endpoint.pace for endpoint in ready))
    return ready[bisect(sums, chance * sums[-1], 0, len(ready) - 1)]


@implementer(IFactory)
class RandomChoice:
    """The factory; it has no options."""

    name = "random"

    def options(self, raw: object, place: object) -> object:
        """Nothing to set."""
        return None

    def build(self, endpoints: Sequence[Endpoint], random: Random, /) -> Scheduler:
        """Uniform when the weights allow it."""
        if not endpoints:
            return Nobody()
        if len({endpoint.weight * endpoint.pace for endpoint in endpoints}) == 1:
            return Uniform(endpoints, random)
        return Weighted(endpoints, random)


FACTORY: Final = RandomChoice()
