"""Timers on the monotonic clock.

Twisted's own `reactor.callLater` counts in wall time: when the wall clock is set back by an hour, every timer is an
hour late. This clock is an `IReactorTime` on `time.monotonic`, woken by a Linux timerfd that stands in the loop's epoll set.
"""

from __future__ import annotations

import ctypes
import heapq
import os
import struct
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from voltgw.values.counters import LATENCY_BOUNDS_US, Histogram

#: Cancelled calls stay in the heap until more than this many, and more than half of it, are such; then it is rebuilt.
MAX_CANCELLED: Final = 64

_FIRST_BOUND: Final = LATENCY_BOUNDS_US[0].bit_length() - 1
_LAST_BUCKET: Final = len(LATENCY_BOUNDS_US)
_CLOCK_MONOTONIC: Final = 1
_TFD_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
_ITIMERSPEC: Final = struct.Struct("@qqqq")         # interval s/ns, value s/ns: struct itimerspec on 64-bit Linux
_libc = ctypes.CDLL(None, use_errno=True)


class TimerFd:
    """A one-shot timer that is a file descriptor: readable once its time has come (timerfd_create(2))."""

    def __init__(self) -> None:
        self.fd: int = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_FLAGS)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def arm(self, seconds: float) -> None:
        """Fire once, `seconds` from now; anything not positive fires at once. A closed timer never fires."""
        if self.fd < 0:
            return                          # its number may belong to another descriptor by now
        nanoseconds = max(int(seconds * 1e9), 1)
        spec = _ITIMERSPEC.pack(0, 0, *divmod(nanoseconds, 1_000_000_000))
        if _libc.timerfd_settime(self.fd, 0, spec, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def acknowledge(self) -> None:
        """Make it unreadable again."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            pass                            # re-armed between the event and this read

    def close(self) -> None:
        """Give the descriptor back."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class _Call(DelayedCall):
    """A `DelayedCall` that knows which of its heap entries counts: the one with this number. Older ones are stale."""

    entry = 0


@implementer(IReactorTime)
class MonotonicClock:
    """`callLater` for everything of ours that must not care when somebody sets the wall clock.

    `arm(seconds)` is asked to call `run` again in so many seconds; the loop gives it a timerfd.
    """

    _log = Logger()

    def __init__(self, monotonic: Callable[[], float], arm: Callable[[float], None]) -> None:
        self._monotonic = monotonic
        self._arm = arm
        self._heap: list[tuple[float, int, _Call]] = []
        self.lateness = Histogram()         # how much later than they were due calls were made, the first of each time
        self._count = 0                     # numbers the entries; breaks ties in the order of the calls
        self._cancelled = 0
        self._runs = False                  # calls are being made; the timer is armed once, behind them

    def seconds(self) -> float:
        """Monotonic seconds."""
        return self._monotonic()

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> DelayedCall:
        """Call later, as in `IReactorTime`; the result can be cancelled, delayed and reset."""
        call = _Call(self._monotonic() + delay, callable, args, kw, self._count_cancelled, self._push, self.seconds)
        self._push(call)
        return call

    def getDelayedCalls(self) -> list[Any]:
        """The calls that still wait."""
        return [call for _, entry, call in self._heap if entry == call.entry and call.active()]

    def run(self) -> None:
        """Make the calls that are due, then ask to be woken for the next one.

        What they add, even for at once, is for the next time: a call that renews itself without delay must not hold us.
        """
        heap = self._heap
        now = self._monotonic()
        self._runs = True
        due = []
        if heap and heap[0][0] <= now:
            late = now - heap[0][0]         # `Histogram.observe`, in line
            bucket = (int(late * 1e6) >> _FIRST_BOUND).bit_length()
            self.lateness.buckets[bucket if bucket < _LAST_BUCKET else _LAST_BUCKET] += 1
            self.lateness.sum_s += late
        while heap and heap[0][0] <= now:
            due.append(heapq.heappop(heap))
        for _, entry, call in due:
            if entry != call.entry or not call.active():
                continue
            if call.getTime() > now:        # it was delayed, or reset to later
                call.activate_delay()       # or a reset to earlier would not be seen as one (it compares with `time`)
                self._push(call)
                continue
            call.called = 1
            try:
                call.func(*call.args, **call.kw)
            except BaseException:           # whatever it is, the calls behind it shall not suffer, as in Twisted
                self._log.failure("a timed call failed: {call}", call=call.func)
        while heap and not (heap[0][1] == heap[0][2].entry and heap[0][2].active()):
            heapq.heappop(heap)
        self._runs = False
        if heap:
            self._arm(heap[0][0] - self._monotonic())

    def _push(self, call: DelayedCall) -> None:
        """Give `call` its only valid entry; also how it is moved to an earlier time (`DelayedCall.reset`)."""
        assert isinstance(call, _Call)      # they come from callLater
        self._count += 1
        call.entry = self._count
        when = call.getTime()
        heapq.heappush(self._heap, (when, call.entry, call))
        if self._heap[0][2] is call and not self._runs:
            self._arm(when - self._monotonic())

    def _count_cancelled(self, call: DelayedCall) -> None:
        """`call` is about to be cancelled (not marked yet): it stays in the heap until its time, or until we weed."""
        self._cancelled += 1
        if self._cancelled > MAX_CANCELLED and self._cancelled > len(self._heap) >> 1:
            self._cancelled = 0
            # in place: `run` may hold the list
            self._heap[:] = [item for item in self._heap if item[1] == item[2].entry and item[2].active()]
            heapq.heapify(self._heap)
