"""Round robin: everyone in turn, as often as its weight says, and never more often in a row than it must be.

Equal weights turn through the endpoints. Unequal ones follow nginx's smooth weighted round robin
(``ngx_http_upstream_round_robin.c``), prepared once as a sequence; clusters whose sequence would take too long to
prepare are kept in a heap by deadline (Envoy's ``edf_scheduler.h``), which is as even but costs more per pick.
"""

from __future__ import annotations

import itertools
from heapq import heapify, heapreplace
from math import gcd
from typing import TYPE_CHECKING, Final

from zope.interface import implementer

from voltgw.interfaces import IFactory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from voltgw.cluster.cluster import Scheduler
    from voltgw.cluster.endpoint import Endpoint

#: Steps (turns x endpoints) that may be spent on a prepared sequence: at most 1 ms of a turn of the reactor.
PREPARED_STEPS: Final = 16_384


def smooth_sequence(weights: Sequence[int]) -> list[int]:
    """One cycle of smooth weighted round robin as indices into `weights`; 5, 1, 1 gives 0 0 1 0 2 0 0.

    In each turn everyone gains its weight, the one with most is picked (the first of equals) and pays the sum.
    """
    total = sum(weights)
    current = [0] * len(weights)
    sequence = []
    for _ in range(total):
        current = [have + gain for have, gain in zip(current, weights, strict=True)]
        best = current.index(max(current))
        current[best] -= total
        sequence.append(best)
    return sequence


class Turns:
    """Goes round a fixed sequence, from `start` on. One call into C when the next one is ready."""

    __slots__ = ("_count", "_next")

    def __init__(self, sequence: Sequence[Endpoint], start: int) -> None:
        self._count = len(sequence)
        self._next = itertools.cycle([*sequence[start:], *sequence[:start]]).__next__

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """The next ready one; it looks at nobody twice."""
        endpoint = self._next()
        if endpoint.ready:
            return endpoint
        for _ in range(1, self._count):
            endpoint = self._next()
            if endpoint.ready:
                return endpoint
        return None


class Deadlines:
    """Everyone has a deadline, 1/weight after its last one; the earliest is picked, in logarithmic time."""

    __slots__ = ("_heap",)

    def __init__(self, endpoints: Sequence[Endpoint], random: Random) -> None:
        # [deadline, tie, interval, endpoint]: the list itself is moved, so that a pick makes no new entry. The first
        # deadlines are spread over the interval: equals then stand between each other, and gateways do not align.
        self._heap = [
            [random.random() / endpoint.weight, number, 1 / endpoint.weight, endpoint]
            for number, endpoint in enumerate(endpoints)
        ]
        heapify(self._heap)

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """The one whose deadline is next, or the next ready one after it."""
        heap = self._heap
        for _ in range(len(heap)):
            entry = heap[0]
            entry[0] += entry[2]            # type: ignore[operator]  # both are floats; the list is not uniform
            heapreplace(heap, entry)
            endpoint: Endpoint = entry[3]   # type: ignore[assignment]
            if endpoint.ready:
                return endpoint
        for entry in heap:                  # heavy unready ones came round again before a light ready one
            if entry[3].ready:              # type: ignore[attr-defined]
                return entry[3]             # type: ignore[return-value]
        return None


class PacedDeadlines:
    """The same while somebody starts slowly: the interval is worked out anew each time, as weight and pace are then."""

    __slots__ = ("_heap",)

    def __init__(self, endpoints: Sequence[Endpoint], random: Random) -> None:
        self._heap: list[list[float | int | Endpoint]] = [
            [random.random() / (endpoint.weight * endpoint.pace), number, endpoint]
            for number, endpoint in enumerate(endpoints)]
        heapify(self._heap)

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """The one whose deadline is next, or the next ready one after it."""
        heap = self._heap
        for _ in range(len(heap)):
            entry = heap[0]
            endpoint: Endpoint = entry[2]       # type: ignore[assignment]  # the list is not uniform
            entry[0] += 1 / (endpoint.weight * endpoint.pace)       # type: ignore[operator]
            heapreplace(heap, entry)
            if endpoint.ready:
                return endpoint
        for entry in heap:
            if entry[2].ready:              # type: ignore[union-attr]
                return entry[2]             # type: ignore[return-value]
        return None


class Nobody:
    """There is no endpoint."""

    __slots__ = ()

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """None, always."""
        return None


@implementer(IFactory)
class RoundRobin:
    """The factory; it has no options."""

    name = "round_robin"

    def options(self, raw: object, place: object) -> object:
        """Nothing to set."""
        return None

    def build(self, endpoints: Sequence[Endpoint], random: Random, /) -> Scheduler:
        """The cheapest form that fits; it starts at a random point, so that several gateways do not march in step."""
        if not endpoints:
            return Nobody()
        if any(endpoint.pace < 1.0 for endpoint in endpoints):
            return PacedDeadlines(endpoints, random)
        weights = [endpoint.weight for endpoint in endpoints]
        divisor = gcd(*weights)
        weights = [weight // divisor for weight in weights]
        turns = sum(weights)
        if turns == len(endpoints):
            return Turns(endpoints, random.randrange(turns))
        if turns * len(endpoints) <= PREPARED_STEPS:
            sequence = [endpoints[index] for index in smooth_sequence(weights)]
            return Turns(sequence, random.randrange(turns))
        return Deadlines(endpoints, random)


FACTORY: Final = RoundRobin()
