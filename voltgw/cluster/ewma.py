"""Peak-EWMA: how long an endpoint takes to answer now, quick to rise and slow to fall.

The measure is Finagle's ``PeakEwma`` (as in tower's ``load::peak_ewma``): an answer that took longer than the present value is
the value at once; others enter with a weight that decays with time, w = exp(-dt / decay). What counts is the time from the
request being sent until the head of its answer. A failed answer (5xx, 429, none at all) is one that took `PENALTY_S`, as
Linkerd has it: an endpoint that refuses quickly must not attract load.
"""

from __future__ import annotations

from math import exp
from typing import Final

#: The time constant, in seconds: Finagle's and tower's.
DECAY_S: Final = 10.0
#: What a failure is taken for, and a first request under way of which nothing is known yet: Linkerd's penalty.
PENALTY_S: Final = 5.0
_TOO_MANY: Final = 429


class PeakEwma:
    """The value of one endpoint; `decay_s` and `penalty_s` may be others than the usual ones. Times are monotonic seconds."""

    __slots__ = ("_at", "_decay_s", "_penalty_s", "_value_s", "samples")

    def __init__(self, decay_s: float = DECAY_S, penalty_s: float = PENALTY_S) -> None:
        self._at = 0.0
        self._decay_s = decay_s
        self._penalty_s = penalty_s
        self._value_s = 0.0
        self.samples = 0

    def observe(self, took_s: float, status: int, now: float) -> None:
        """An answer began `took_s` after its request was sent."""
        if status >= 500 or status == _TOO_MANY:
            took_s = max(took_s, self._penalty_s)
        self._enter(took_s, now)

    def failed(self, now: float) -> None:
        """There was no answer."""
        self._enter(self._penalty_s, now)

    def latency_s(self, now: float) -> float:
        """The value now, in seconds. It decays while nothing is heard, so that a slow endpoint is tried again some time."""
        return self._value_s * exp(min(self._at - now, 0.0) / self._decay_s)

    def cost(self, active: int, now: float) -> float:
        """What one more request would meet, with `active` under way: latency x (active + 1).

        An endpoint of which nothing is known gets one request, and no second one before the first is answered.
        """
        if not self.samples:
            return self._penalty_s * active
        return self._value_s * exp(min(self._at - now, 0.0) / self._decay_s) * (active + 1)

    def _enter(self, took_s: float, now: float) -> None:
        self.samples += 1
        if took_s > self._value_s:
            self._value_s = took_s
        else:
            kept = exp(min(self._at - now, 0.0) / self._decay_s)
            self._value_s = max(self._value_s * kept + took_s * (1.0 - kept), took_s)
        self._at = now
