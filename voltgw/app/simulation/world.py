"""Time that passes as fast as the machine can compute it: the part of the loop that the gateway uses, and its timers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any, Final

from twisted.internet.base import DelayedCall

from voltgw.net.deadlines import TICK_S, Deadlines

#: When a simulation begins, in monotonic seconds: not 0.0, which would mean that something has not happened.
BEGIN_S: Final = 1000.0
#: Turns without time passing after which something calls itself for ever.
MOST_TURNS: Final = 100_000
#: Cancelled timers that may stand in the heap before it is swept, beside half of it.
_STALE_KEPT: Final = 1024


class Stuck(RuntimeError):
    """Turn follows turn, and no time passes: a bug."""


class World:
    """Clock, deadlines and turns, as `voltgw.net.loop.Loop` has them for whoever uses it. It is its own `clock`.

    `failed` keeps what a guard caught: each is a bug of the gateway's. Deadlines are swept every `TICK_S`, as the loop does.
    """

    def __init__(self) -> None:
        self.now = BEGIN_S
        self.turns = 0
        self.failures: list[tuple[str, BaseException]] = []
        self.deadlines = Deadlines(self.now, self.failed)
        self._soon: list[Callable[[], None]] = []
        self._heap: list[tuple[float, int, Any, tuple[Any, ...]]] = []
        self._count = 0
        self._stale = 0
        self._sweep_at = self.now + TICK_S

    @property
    def clock(self) -> World:
        """Its timers."""
        return self

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    seconds = monotonic

    def soon(self, call: Callable[[], None]) -> None:
        """Call in the next turn."""
        self._soon.append(call)

    def failed(self, owner: Any) -> None:
        """A guard has caught an exception of `owner`'s, as `Loop.failed`: it is kept, and the connection ends."""
        error = sys.exc_info()[1]
        assert error is not None
        self.failures.append((repr(owner), error))
        crashed = getattr(owner, "crashed", None)
        if crashed is not None:
            crashed()

    # -- timers ------------------------------------------------------------------------------------------------------------

    def at(self, time: float, call: Callable[..., object], *args: Any) -> None:
        """Call at that time; it cannot be called off."""
        self._count += 1
        heappush(self._heap, (time, self._count, call, args))

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **named: object) -> DelayedCall:
        """Part of IReactorTime."""
        made = DelayedCall(self.now + max(delay, 0.0), callable, args, named, self._cancelled, self._moved, self.monotonic)
        self._push(made)
        return made

    def getDelayedCalls(self) -> list[DelayedCall]:
        """Part of IReactorTime: those that wait."""
        return [each[2] for each in self._heap if isinstance(each[2], DelayedCall) and each[2].active()]

    def _push(self, call: DelayedCall) -> None:
        self._count += 1
        heappush(self._heap, (call.getTime(), self._count, call, ()))

    def _cancelled(self, call: DelayedCall) -> None:
        self._stale += 1
        if self._stale > len(self._heap) // 2 + _STALE_KEPT:
            self._heap = [each for each in self._heap if not isinstance(each[2], DelayedCall) or each[2].active()]
            heapify(self._heap)
            self._stale = 0

    def _moved(self, call: DelayedCall) -> None:
        self._push(call)                    # where it stood before it is passed over: it has been called by then

    # -- running -----------------------------------------------------------------------------------------------------------

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass up to `until`, or until `done`. Raises `Stuck`."""
        while not done():
            self._settle()
            time = min(self._heap[0][0] if self._heap else inf, self._sweep_at)
            if time > until:
                self.now = until
                return
            self.now = max(time, self.now)
            self._due()
            if self.now >= self._sweep_at:
                self._sweep_at = self.now + TICK_S
                self.deadlines.sweep(self.now)

    def _settle(self) -> None:
        """Turns until nobody wants another one."""
        turns = 0
        while self._soon:
            turns += 1
            if turns > MOST_TURNS:
                raise Stuck(f"{MOST_TURNS} turns at {self.now - BEGIN_S:.3f} s, the last of {self._soon[0]!r}")
            calls, self._soon = self._soon, []
            for call in calls:
                call()
        self.turns += turns

    def _due(self) -> None:
        """Everything that is due now, but for what is made due meanwhile by what waits for a turn."""
        now, heap = self.now, self._heap
        while heap and heap[0][0] <= now and not self._soon:
            time, _, call, args = heappop(heap)
            if isinstance(call, DelayedCall):
                if not call.active():
                    self._stale = max(self._stale - 1, 0)
                    continue
                if call.getTime() > time:   # it was put off
                    call.activate_delay()
                    self._push(call)
                    continue
                call.called = 1
                call.func(*call.args, **call.kw)
            else:
                call(*args)
            heap = self._heap
