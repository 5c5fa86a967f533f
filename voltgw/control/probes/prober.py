"""When probes are sent: each target at its interval, all of them spread out, and never too many at once.

One prober serves the whole gateway. What it costs does not depend on how many targets wait: they stand in a heap by the
time at which they are due, and one timer wakes it for the earliest.
"""

from __future__ import annotations

import errno
import heapq
from collections import deque
from typing import TYPE_CHECKING, Final

from twisted.application.service import Service
from twisted.logger import Logger

from voltgw.control.probes.reach import reach

if TYPE_CHECKING:
    from random import Random

    from voltgw.control.probes.run import ProbeRun
    from voltgw.control.probes.target import Target
    from voltgw.control.seams import ControlLoop, Dialer, Timer

#: Probes under way at once, which bounds the descriptors and the work of one turn.
MOST_PROBES: Final = 256
#: Targets whose last probe ran into its timeout get this share of the places at most while others wait, so that a
#: thousand endpoints that swallow packets do not delay the probes of those that answer…
SLOW_SHARE_BUSY: Final = 4
#: …and this one while nobody else waits.
SLOW_SHARE_IDLE: Final = 2
#: The timer is not set any finer: probes that are due within so many seconds of each other start together.
TICK_S: Final = 0.010
#: Removed targets that may stand in the heap beside the live ones before it is swept: their time may be minutes away.
STALE_KEPT: Final = 64
#: Failures of our own, which say nothing of the endpoint: no descriptor, no memory, no local port.
LOCAL_ERRORS: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))


class Prober(Service):
    """Probes targets until they are removed.

    The first probe of a target goes out at once (as soon as a place is free), the second at a random moment of the
    interval that follows, so that targets which were added together do not stay together, and from then on one each
    interval (`Check.pause_s`), from start to start; `jitter_percent` adds up to that share at random.
    """

    name = "prober"
    _log = Logger()

    def __init__(
        self, loop: ControlLoop, random: Random, dial: Dialer = reach, most: int = MOST_PROBES
    ) -> None:
        self.under_way = 0
        self.probes = 0                     # finished so far
        self.failures = 0                   # of these, failed
        self.local_failures = 0             # not counted above: our own fault, no result
        self.late_s = 0.0                   # how late the last probe was started
        self._loop = loop
        self._random = random
        self._dial = dial
        self._most = most
        self._slow_under_way = 0
        self._due: list[tuple[float, int, Target]] = []
        self._count = 0                     # breaks ties in the order of the calls
        self._stale = 0                     # about so many in `_due` were removed since
        self._quick: deque[tuple[float, Target]] = deque()
        self._slow: deque[tuple[float, Target]] = deque()
        self._runs: set[ProbeRun] = set()
        self._timer: Timer | None = None
        self._complained = False

    # -- life ------------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Start probing what was added."""
        super().startService()
        self._arm()

    def stopService(self) -> None:
        """Stop at once; probes under way give no result."""
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        now = self._loop.monotonic()
        for run in list(self._runs):
            self._forget(run)
            run.abandon()
            self._schedule(now, run.target)     # should it be started again
        for queue in (self._slow, self._quick):
            for due, target in queue:
                self._schedule(due, target)
            queue.clear()

    # -- for membership --------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Targets that are due and wait for a place."""
        return len(self._quick) + len(self._slow)

    def add(self, target: Target) -> None:
        """Probe `target`, from now on."""
        self._schedule(self._loop.monotonic(), target)

    def remove(self, target: Target) -> None:
        """Probe it no more; a probe under way gives no result."""
        target.removed = True               # it is passed over where it still stands
        target.let_go()
        run = target.run
        if run is not None:
            self._forget(run)
            run.abandon()
            self._start()
            return
        self._stale += 1
        if self._stale > len(self._due) // 2 + STALE_KEPT:
            self._due = [entry for entry in self._due if not entry[2].removed]
            heapq.heapify(self._due)
            self._stale = 0

    # -- inside ----------------------------------------------------------------------------------------------------

    def _schedule(self, due: float, target: Target) -> None:
        self._count += 1
        heapq.heappush(self._due, (due, self._count, target))
        if self.running and (self._timer is None or self._timer.getTime() > due + TICK_S):
            self._arm()

    def _arm(self) -> None:
        """Set the timer for the earliest one."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._due:
            delay_s = self._due[0][0] - self._loop.monotonic()
            self._timer = self._loop.clock.callLater(max(delay_s, TICK_S), self._wake)

    def _wake(self) -> None:
        self._timer = None
        now = self._loop.monotonic()
        heap = self._due
        while heap and heap[0][0] <= now:
            due, _, target = heapq.heappop(heap)
            if target.removed:
                self._stale -= 1
            else:
                (self._slow if target.slow else self._quick).append((due, target))
        self._start()
        self._arm()

    def _start(self) -> None:
        """Start as many as there are places."""
        if not self.running:
            return
        slow = self._slow
        while slow and self.under_way < self._most:
            if self._slow_under_way >= self._most // (SLOW_SHARE_BUSY if self._quick else SLOW_SHARE_IDLE):
                break
            self._begin(*slow.popleft())
        quick = self._quick
        while quick and self.under_way < self._most:
            self._begin(*quick.popleft())

    def _begin(self, due: float, target: Target) -> None:
        if target.removed:
            return
        run = target.run = target.new_run()
        self._runs.add(run)
        self.under_way += 1
        self._slow_under_way += target.slow
        run.begin(target, self._loop, self._dial, self._finished)
        self.late_s = run.began - due

    def _forget(self, run: ProbeRun) -> None:
        target = run.target
        target.run = None
        self._runs.discard(run)
        self.under_way -= 1
        self._slow_under_way -= target.slow

    def _finished(self, run: ProbeRun, ok: bool, reason: str, at_once: bool, failure: int) -> None:
        """A run has its verdict."""
        self._forget(run)
        target = run.target
        check = target.check
        now = self._loop.monotonic()
        took_s = now - run.began
        first = target.unprobed
        changed: bool | None = None
        if failure in LOCAL_ERRORS:
            self.local_failures += 1
            if not self._complained:
                self._log.error("probes cannot be sent: {reason}; the endpoints are not blamed", reason=reason,
                                event="probes.failed")
            self._complained = True
        else:
            self._complained = False
            self.probes += 1
            self.failures += not ok
            target.slow = not ok and took_s > check.timeout_s - TICK_S      # it can hardly have been anything else
            changed = target.record(now, took_s, ok, reason, at_once)
        interval_s = check.pause_s(target.state) * (1 + self._random.random() * check.jitter_percent / 100)
        if first:                           # the second probe: anywhere in the interval
            interval_s *= self._random.random()
        self._schedule(max(run.began + interval_s, now), target)
        if changed is not None:
            target.observer.probed(target, changed)
        if self._quick or self._slow:
            self._start()
