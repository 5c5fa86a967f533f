"""What registrars of APIs share: requests that keep their distance, and batches of which one change may not be taken."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from voltgw.control.publish.names import Change, Refused


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
            turn: Deferred[None] = Deferred(lambda _: call.cancel())
            call = self._clock.callLater(at - now, turn.callback, None)
            await turn
