"""Tables that take longer than a turn of the reactor may: they are built in steps, and used when they are complete."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from voltgw.cluster.cluster import Scheduler
    from voltgw.cluster.endpoint import Endpoint

#: What one step may cost, in units of about a quarter of a microsecond: at most 1 ms of a turn.
STEP: Final = 3000
#: What a hash of an endpoint's name costs in these units.
HASH: Final = 16

T = TypeVar("T")


@runtime_checkable
class StepwiseFactory(Protocol):
    """A factory whose `build` may take long, and that can do the same in steps of at most 1 ms."""

    def building(
        self, endpoints: Sequence[Endpoint], random: Random, previous: Scheduler | None, /,
    ) -> Generator[None, None, Scheduler]:
        """Run it to its end, whose value is the scheduler; `previous` lends what it has worked out already."""


def finished(steps: Generator[None, None, T]) -> T:
    """All steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            value: T = done.value
            return value
