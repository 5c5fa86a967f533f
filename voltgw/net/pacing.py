"""How fast: so many a second, a number of them at once (the generic cell rate algorithm, ITU-T I.371, as a leaky bucket).

A `Pace` says when the next one may come. A `Valve` reads a stream no faster than that: whoever sends too much is not read for a
while, and the kernel's window tells the sender; no byte is dropped or delayed longer than the rate asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

#: A limited stream is read in pieces of what it may send in this time, so that it flows evenly; bounds in bytes.
PIECE_S: Final = 0.05
LEAST_PIECE_BYTES: Final = 512
MOST_PIECE_BYTES: Final = 64 * 1024
#: Share of an interval by which sums of floats may be wrong.
_SLACK: Final = 0.01


class Rate(NamedTuple):
    """So many in a second, and so many at once."""

    per_second: int
    burst: int


class Pace:
    """When the next one may come. Times are monotonic seconds."""

    __slots__ = ("_due", "_interval", "_slack", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._interval = 1.0 / rate.per_second
        self._slack = (rate.burst - 1 + _SLACK) * self._interval
        self._due = 0.0                     # from when on one more may come

    def wait(self, now: float) -> float:
        """Seconds until one may come; 0.0 = it may now."""
        return max(self._due - now, 0.0)

    def take(self, count: int, now: float) -> None:
        """So many have come. They may be more than there were to be: the next one waits for longer then."""
        self._due = max(self._due, now - self._slack) + count * self._interval


def paced(before: Pace | None, rate: Rate | None) -> Pace | None:
    """The pace of what goes on by `rate`; where that is the same as before, what has come is not forgotten."""
    if rate is None:
        return None
    return before if before is not None and before.rate == rate else Pace(rate)


class Valve:
    """Between a stream and what takes its bytes: it opens and closes the stream's reading as its rate allows.

    The stream is the producer of another transport as well, which may want no more for reasons of its own: it is read only when
    both agree (`hold`, `release`). `later` makes a timer; `counted` is told of each time that the rate has closed it.
    """

    __slots__ = ("_counted", "_held", "_later", "_monotonic", "_pace", "_sink", "_source", "_timer", "waited_s")

    def __init__(
        self, source: Any, sink: Callable[[bytes], object], rate: Rate, monotonic: Callable[[], float],
        later: Callable[[float, Callable[[], None]], IDelayedCall], counted: Callable[[], None],
    ) -> None:
        self._source = source
        self._sink = sink
        self._pace = Pace(rate)
        self._later = later
        self._monotonic = monotonic
        self._counted = counted
        self._held = False
        self.waited_s = 0.0                 # how long the rate has closed it so far, the last time to its end
        self._timer: IDelayedCall | None = None

    @property
    def piece_bytes(self) -> int:
        """The most bytes that should be read at once."""
        return min(max(int(self._pace.rate.per_second * PIECE_S), LEAST_PIECE_BYTES), MOST_PIECE_BYTES)

    def received(self, data: bytes) -> None:
        """A piece of the stream: it goes on at once, and the next one when it is due."""
        self._sink(data)
        self.took(len(data))

    def took(self, count: int) -> None:
        """So many bytes have passed."""
        now = self._monotonic()
        self._pace.take(count, now)
        wait = self._pace.wait(now)
        if wait > 0.0 and self._timer is None and self._source is not None:
            self._counted()
            self.waited_s += wait
            self._source.pauseProducing()
            self._timer = self._later(wait, self._open)

    def hold(self) -> None:
        """The other transport wants no more for now."""
        self._held = True
        if self._source is not None:
            self._source.pauseProducing()

    def release(self) -> None:
        """It takes bytes again."""
        self._held = False
        if self._timer is None and self._source is not None:
            self._source.resumeProducing()

    def close(self) -> None:
        """The stream is over."""
        self._source = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _open(self) -> None:
        self._timer = None
        if not self._held and self._source is not None:
            self._source.resumeProducing()
