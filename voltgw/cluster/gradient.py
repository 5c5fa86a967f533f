"""Adaptive concurrency: how many requests a cluster may have under way, by what they take.

Netflix's ``Gradient2Limit`` (concurrency-limits): the limit follows the ratio of the long-term to the present time of answers.
While answers come as fast as they use to, the limit grows by `QUEUE` at a step; when they become slower than `tolerance` times
that, they queue somewhere, and the limit shrinks, at most by half at a step, smoothed. A limit that is not used does not grow.
What counts is the time from the end of the request to the head of the answer; failures say nothing about time and do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Requests that may queue: what a limit grows by.
QUEUE: Final = 4
#: How much of a new limit enters at each answer.
SMOOTHING: Final = 0.2
#: Answers over which the long-term time is averaged, and those of the beginning that are averaged plainly.
LONG_WINDOW: Final = 600
WARM_UP: Final = 10
#: When the present time is less than this part of the long-term one, that comes down faster: the load was high and is over.
RECOVERY: Final = 2.0
RECOVERY_DECAY: Final = 0.95
LEAST_GRADIENT: Final = 0.5


@dataclass(frozen=True, slots=True)
class GradientRules:
    """The limits of the limit, where it begins, and how much slower answers may become before it shrinks."""

    initial: int = 20
    least: int = 20
    most: int = 200
    tolerance: float = 1.5


class Gradient:
    """The limit of one cluster; `limit` is what it is now, a fraction included."""

    __slots__ = ("_answers", "_long_s", "_rules", "limit")

    def __init__(self, rules: GradientRules) -> None:
        self._rules = rules
        self._long_s = 0.0
        self._answers = 0
        self.limit = float(min(max(rules.initial, rules.least), rules.most))

    @property
    def long_s(self) -> float:
        """What answers take in the long run, in seconds."""
        return self._long_s

    def observe(self, took_s: float, active: int) -> int:
        """An answer took so long, with `active` under way; the limit from now on."""
        rules, limit = self._rules, self.limit
        took_s = max(took_s, 1e-6)
        answers = self._answers = self._answers + 1
        if answers <= WARM_UP:
            self._long_s += (took_s - self._long_s) / answers
        else:
            self._long_s += (took_s - self._long_s) * 2.0 / (LONG_WINDOW + 1)
        if self._long_s > RECOVERY * took_s:
            self._long_s *= RECOVERY_DECAY
        if active >= limit / 2:             # else the limit is not what holds anybody up
            gradient = max(LEAST_GRADIENT, min(1.0, rules.tolerance * self._long_s / took_s))
            limit = limit * (1.0 - SMOOTHING) + (limit * gradient + QUEUE) * SMOOTHING
            self.limit = max(float(rules.least), min(float(rules.most), limit))
        return int(self.limit)
