"""What registrars of APIs share: requests that keep their distance, and batches of which one change may not be taken."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.task import deferLater

from voltgw.control.publish.names import Change, Refused
from voltgw.control.publish.registrar import NotMade


class RefusedBatchError(Exception):
    """A batch was not taken as a whole. `foreign`: since a name in it is not as it was found."""

    def __init__(self, why: str, *, foreign: bool) -> None:
        super().__init__(why)
        self.foreign = foreign


async def in_halves(
    changes: Sequence[Change], write: Callable[[Sequence[Change]], Coroutine[Any, Any, None]],
) -> list[Refused | None]:
    """Write changes as one batch; where it is not taken, as two halves, until it is known which change is not."""
    if not changes:
        return []
    try:
        await write(changes)
    except RefusedBatchError as error:
        if len(changes) == 1:
            return [Refused(str(error), error.foreign)]
        half = len(changes) // 2
        return [*await in_halves(changes[:half], write), *await in_halves(changes[half:], write)]
    return [None] * len(changes)


async def one_by_one(
    changes: Sequence[Change], write: Callable[[Change], Coroutine[Any, Any, Refused | None]],
) -> list[Refused | None]:
    """Write each change by itself; one that is not made (`NotMade`) keeps none of the others."""
    outcomes: list[Refused | None] = []
    for change in changes:
        try:
            outcomes.append(await write(change))
        except NotMade as error:
            outcomes.append(Refused(str(error)))
    return outcomes


class Pace:
    """Lets requests through, one in `pause_s` seconds at most. `clock` is an `IReactorTime`."""

    def __init__(self, clock: Any, pause_s: float) -> None:
        self._clock = clock
        self._pause_s = pause_s
        self._next = float("-inf")

    async def wait(self) -> None:
        """Until it is one's turn."""
        now = self._clock.seconds()
        at, self._next = max(now, self._next), max(now, self._next) + self._pause_s
        if at > now:
            await deferLater(self._clock, at - now)
