"""Least request: of two endpoints drawn by chance the one with fewer requests under way.

Equal weights: two *distinct* endpoints are drawn, as Finagle's ``P2CPick`` does (M. Mitzenmacher, "The power of two choices
in randomized load balancing", 2001). Unequal weights: a round by deadlines in which an endpoint counts for weight / (active
+ 1), as Envoy's ``least_request_lb.cc`` with its active request bias of 1.0. With ``full_scan`` all are looked at, and one of
those with the lowest (active + 1) / weight is drawn: exact, but the cost grows with their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from zope.interface import implementer

from voltgw.cluster.schedulers.options import Whole, read_options
from voltgw.cluster.schedulers.random import DRAWS, Uniform, drawn_from_ready
from voltgw.cluster.schedulers.round_robin import Nobody
from voltgw.interfaces import IFactory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from voltgw.cluster.cluster import Scheduler
    from voltgw.cluster.endpoint import Endpoint


class TwoChoices(Uniform):
    """Two or more endpoints of equal weight."""

    __slots__ = ()

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """The less busy of two; of equals the first. An unready one loses, two unready ones are drawn again."""
        endpoints = self._endpoints
        count = self._count
        draw = self._draw
        for _ in range(DRAWS):
            one = int(draw() * count)
            two = int(draw() * (count - 1))
            if two >= one:
                two += 1
            first = endpoints[one]
            second = endpoints[two]
            if first.ready:
                return second if second.active < first.active and second.ready else first
            if second.ready:
                return second
        return drawn_from_ready(endpoints, draw())


class SomeChoices(Uniform):
    """More than two are drawn, nearly as good as looking at all of them and much cheaper; some may be drawn twice."""

    __slots__ = ("_choices",)

    def __init__(self, endpoints: Sequence[Endpoint], random: Random, choices: int) -> None:
        super().__init__(endpoints, random)
        self._choices = range(choices)

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """The least busy of those that are drawn; of equals the first."""
        endpoints, count, draw = self._endpoints, self._count, self._draw
        best: Endpoint | None = None
        for _ in self._choices:
            endpoint = endpoints[int(draw() * count)]
            if endpoint.ready and (best is None or endpoint.active < best.active):
                best = endpoint
        return drawn_from_ready(endpoints, draw()) if best is None else best


class BusyDeadlines:
    """Endpoints of unequal weights: everyone has a deadline, (active + 1) / weight after its last one; the earliest is next."""

    __slots__ = ("_heap",)

    def __init__(self, endpoints: Sequence[Endpoint], random: Random) -> None:
        # [deadline, tie, endpoint]; first deadlines are spread, so that gateways do not align.
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
            entry[0] += (endpoint.active + 1) / (endpoint.weight * endpoint.pace)       # type: ignore[operator]
            heapreplace(heap, entry)
            if endpoint.ready:
                return endpoint
        for entry in heap:                  # heavy unready ones came round again before a light ready one
            if entry[2].ready:              # type: ignore[union-attr]
                return entry[2]             # type: ignore[return-value]
        return None


class FullScan:
    """Looks at all of them."""

    __slots__ = ("_draw", "_endpoints")

    def __init__(self, endpoints: Sequence[Endpoint], random: Random) -> None:
        self._endpoints = tuple(endpoints)
        self._draw = random.random

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """The least busy for its weight; of equals each with the same chance (reservoir sampling)."""
        best: Endpoint | None = None
        least = 0.0
        equals = 0
        for endpoint in self._endpoints:
            if not endpoint.ready:
                continue
            load = (endpoint.active + 1) / (endpoint.weight * endpoint.pace)
            if best is None or load < least:
                best, least, equals = endpoint, load, 1
            elif load == least:
                equals += 1
                if int(self._draw() * equals) == 0:
                    best = endpoint
        return best


@implementer(IFactory)
@dataclass(frozen=True, slots=True)
class LeastRequest:
    """The factory."""

    full_scan: bool = False
    choice_count: int = 2
    name: ClassVar[str] = "least_request"

    def options(self, raw: object, place: object) -> object:
        """``full_scan``: true or false; ``choice_count``: 2 to 64."""
        return read_options(raw, place, {"full_scan": None, "choice_count": Whole(2, 64)})

    def configured(self, options: dict[str, Any]) -> LeastRequest:
        """The same with options."""
        return LeastRequest(**options)

    def build(self, endpoints: Sequence[Endpoint], random: Random, /) -> Scheduler:
        """The cheapest form that fits."""
        if not endpoints:
            return Nobody()
        if self.full_scan:
            return FullScan(endpoints, random)
        if len(endpoints) == 1:
            return Uniform(endpoints, random)
        if len({endpoint.weight * endpoint.pace for endpoint in endpoints}) == 1:
            return (TwoChoices(endpoints, random) if self.choice_count == 2
                    else SomeChoices(endpoints, random, self.choice_count))
        return BusyDeadlines(endpoints, random)


FACTORY: Final = LeastRequest()
