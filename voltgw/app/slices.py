"""Long work, a little in each turn of the reactor, so that traffic has its turns in between."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Final, TypeVar

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from voltgw.net.loop import Loop

T = TypeVar("T")

#: A turn's share of the work takes half as long as what came before it took (the traffic of a turn), but no less…
LEAST_S: Final = 0.0003
#: …and no more: no request waits longer for it, and under full load the work still gets a third of the time.
MOST_S: Final = 0.004
_SHARE: Final = 0.5


class Slices:
    """Runs generators to their end, a slice in each turn of `loop`."""

    def __init__(self, loop: Loop, monotonic: Callable[[], float]) -> None:
        self._loop = loop
        self._monotonic = monotonic

    async def run(
        self, steps: Generator[None, None, T], ask: Callable[[], None] | None = None, least_s: float | None = None,
        most_s: float | None = None,
    ) -> T:
        """The value of `steps`. `ask` is called before each step and may raise, which ends the work.

        `least_s` is in place of `LEAST_S` where nobody waits, `most_s` in place of `MOST_S` where steps leave work for later
        turns.
        """
        monotonic = self._monotonic
        least = LEAST_S if least_s is None else least_s
        most = MOST_S if most_s is None else most_s
        until = monotonic() + least
        while True:
            if ask is not None:
                ask()
            try:
                next(steps)
            except StopIteration as done:
                value: T = done.value
                return value
            now = monotonic()
            if now >= until:
                turn: Deferred[None] = Deferred()
                self._loop.soon(lambda turn=turn: turn.callback(None))      # type: ignore[misc]
                await turn
                back = monotonic()
                until = back + max(least, min((back - now) * _SHARE, most))
