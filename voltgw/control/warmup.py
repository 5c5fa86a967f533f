"""Waiting until something is ready for the first time, for a bounded while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

if TYPE_CHECKING:
    from voltgw.control.seams import Clock, Timer


class WarmUp:
    """A latch: `over` turns True once and stays so; `end` is called by whoever knows that the time has come."""

    def __init__(self, clock: Clock) -> None:
        self.over = False
        self._clock = clock
        self._waiters: dict[Deferred[None], Timer | None] = {}

    def end(self) -> None:
        """It is over: everyone who waits may go on."""
        self.over = True
        self.let_go()

    def let_go(self) -> None:
        """Everyone who waits may go on, whether it is over or not."""
        for done in list(self._waiters):
            self._fire(done)

    def deferred(self, timeout_s: float | None) -> Deferred[None]:
        """Fires when it is over, or after `timeout_s`; never fails but by being cancelled."""
        if self.over:
            return succeed(None)
        done: Deferred[None] = Deferred(self._leave)
        self._waiters[done] = None if timeout_s is None else self._clock.callLater(timeout_s, self._fire, done)
        return done

    def _fire(self, done: Deferred[None]) -> None:
        self._leave(done)
        done.callback(None)

    def _leave(self, done: Deferred[None]) -> None:
        timer = self._waiters.pop(done, None)
        if timer is not None and timer.active():
            timer.cancel()
