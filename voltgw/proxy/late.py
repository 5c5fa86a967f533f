"""Tries that must have an answer sooner than a sweep of deadlines would notice.

Everyone who waits for the same time is due in the order in which they began: a queue, and one timer for its head. So a try
costs one append, however many there are, and those that were answered in time are passed over when their time comes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from voltgw.net.deadlines import TICK_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.values.exchange import Exchange

#: Longer times are left to the sweep: its step is a quarter of this, and entries of tries long answered would pile up here.
FINE_S: Final = 4 * TICK_S


class Late:
    """The tries that have `timeout_s` seconds; `Upstream.late` is called on those that have no answer by then."""

    __slots__ = ("_clock", "_monotonic", "_queue", "_running", "timeout_s")

    def __init__(self, timeout_s: float, clock: IReactorTime, monotonic: Callable[[], float]) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self._monotonic = monotonic
        self._queue: deque[tuple[float, EndpointConnection, Exchange]] = deque()
        self._running = False

    def add(self, upstream: EndpointConnection, exchange: Exchange, now: float) -> None:
        """`upstream` has begun its try for `exchange`."""
        upstream.late_at = at = now + self.timeout_s
        self._queue.append((at, upstream, exchange))
        if not self._running:
            self._running = True
            self._clock.callLater(self.timeout_s, self._due)

    def _due(self) -> None:
        self._running = False
        queue = self._queue
        now = self._monotonic()
        due = []
        while queue:
            at, upstream, exchange = queue[0]
            waits = upstream.waits_for(exchange) and upstream.late_at == at     # else it is another try by now
            if waits and at > now:
                self._running = True
                self._clock.callLater(at - now, self._due)
                break
            queue.popleft()
            if waits:
                due.append((upstream, exchange))
        for upstream, exchange in due:
            if upstream.waits_for(exchange):        # one before it may have ended it
                upstream.late(now)
