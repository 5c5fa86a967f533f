"""Peak-EWMA: of two endpoints drawn by chance the one where a request would wait less, by what it took lately.

The cost of an endpoint is its latency (`voltgw.cluster.ewma`) x (requests under way + 1) / weight; the two are distinct, as in
Finagle's ``P2CPeakEwma``. Endpoints that answer 429 or 5xx, however quickly, count as slow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

from zope.interface import implementer

from voltgw.cluster.ewma import DECAY_S, PENALTY_S, PeakEwma
from voltgw.cluster.outlier import ALL_ANSWERS
from voltgw.cluster.schedulers.options import Whole, read_options
from voltgw.cluster.schedulers.random import DRAWS, Uniform, drawn_from_ready
from voltgw.cluster.schedulers.round_robin import Nobody
from voltgw.interfaces import IFactory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from voltgw.cluster.cluster import Scheduler
    from voltgw.cluster.endpoint import Endpoint


def no_time() -> float:
    """Where nobody has said what the time is, nothing decays."""
    return 0.0


class CheaperOfTwo(Uniform):
    """Two or more endpoints."""

    __slots__ = ("_monotonic",)

    def __init__(self, endpoints: Sequence[Endpoint], random: Random, monotonic: Callable[[], float]) -> None:
        super().__init__(endpoints, random)
        self._monotonic = monotonic

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """The one with the lower cost for its weight; of equals the first. An unready one loses, two are drawn again."""
        endpoints = self._endpoints
        count = self._count
        draw = self._draw
        for _ in range(DRAWS):
            one = int(draw() * count)
            two = int(draw() * (count - 1))
            if two >= one:
                two += 1
            first, second = endpoints[one], endpoints[two]
            if first.ready and second.ready:
                now = self._monotonic()
                cost = first.latency.cost(first.active, now) / (first.weight * first.pace)     # type: ignore[union-attr]
                other = second.latency.cost(second.active, now) / (second.weight * second.pace)  # type: ignore[union-attr]
                return second if other < cost else first
            if first.ready:
                return first
            if second.ready:
                return second
        return drawn_from_ready(endpoints, draw())


@implementer(IFactory)
@dataclass(frozen=True, slots=True)
class PeakEwmaChoice:
    """The factory; times are whole seconds and milliseconds."""

    decay_s: int = int(DECAY_S)
    penalty_ms: int = int(PENALTY_S * 1000)
    monotonic: Callable[[], float] = no_time
    name: ClassVar[str] = "peak_ewma"

    def options(self, raw: object, place: object) -> object:
        """``decay_s`` and ``penalty_ms``."""
        return read_options(raw, place, {"decay_s": Whole(1, 3600), "penalty_ms": Whole(1, 600_000)})

    def configured(self, options: dict[str, int]) -> PeakEwmaChoice:
        """The same with options."""
        return replace(self, **options)     # type: ignore[arg-type]  # they are checked

    def timed(self, monotonic: Callable[[], float]) -> PeakEwmaChoice:
        """The same, knowing the time."""
        return replace(self, monotonic=monotonic)

    def build(self, endpoints: Sequence[Endpoint], random: Random, /) -> Scheduler:
        """It has the data plane report every answer of these from now on."""
        for endpoint in endpoints:
            if endpoint.latency is None:
                endpoint.latency = PeakEwma(float(self.decay_s), self.penalty_ms / 1000)
                endpoint.heed(ALL_ANSWERS)
        if not endpoints:
            return Nobody()
        return Uniform(endpoints, random) if len(endpoints) == 1 else CheaperOfTwo(endpoints, random, self.monotonic)


FACTORY: Final = PeakEwmaChoice()
