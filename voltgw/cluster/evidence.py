"""What a number of requests says about a version: error ratios with bounds, quantiles of latency with bounds.

Sources: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212, for one
ratio; R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17
(1998) 873-890, method 10, for the difference of two. A quantile's bounds are those of its rank, a binomial number.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, sqrt
from statistics import NormalDist
from typing import Any, Final

#: A latency is counted in one of 16 equal parts of the octave of its microseconds, so to within 6.25 %.
_PARTS: Final = 16
_PART_BITS: Final = 4
#: Octaves above the first 16 us; the last one ends at 67 s, and whatever took longer counts in it.
_OCTAVES: Final = 22
_BUCKETS: Final = _PARTS * (_OCTAVES + 1)


def z_of(alpha: float) -> float:
    """The normal quantile that is exceeded with probability `alpha`, in (0, 1)."""
    return NormalDist().inv_cdf(1.0 - alpha)


def wilson(failures: int, requests: int, z: float) -> tuple[float, float]:
    """Wilson's score interval of a ratio: its lower and its upper bound. Of nothing it is known that it is in [0, 1]."""
    if not requests:
        return 0.0, 1.0
    ratio, square = failures / requests, z * z
    scale = 1.0 + square / requests
    middle = (ratio + square / (2.0 * requests)) / scale
    half = z / scale * sqrt(ratio * (1.0 - ratio) / requests + square / (4.0 * requests * requests))
    # At the ends the sum is exact only up to rounding, and the bound must hold the ratio itself.
    return max(min(middle - half, ratio), 0.0), min(max(middle + half, ratio), 1.0)


def difference(failures: int, requests: int, other_failures: int, other_requests: int, z: float) -> tuple[float, float]:
    """Newcombe's interval of how much greater the first ratio is than the other; without other requests, than nought."""
    low, high = wilson(failures, requests, z)
    if not other_requests:
        return low, high
    ratio, other = (failures / requests if requests else 0.5), other_failures / other_requests
    other_low, other_high = wilson(other_failures, other_requests, z)
    gap = ratio - other
    return (gap - sqrt((ratio - low) ** 2 + (other_high - other) ** 2),
            gap + sqrt((high - ratio) ** 2 + (other - other_low) ** 2))


class Latencies:
    """Latencies counted finely enough to compare their quantiles: to within 6.25 %, from 1 us to 67 s."""

    __slots__ = ("buckets", "count")

    def __init__(self) -> None:
        self.buckets = [0] * _BUCKETS
        self.count = 0

    def observe(self, seconds: float) -> None:
        """Count one value (seconds, not negative)."""
        self.buckets[_bucket(int(seconds * 1e6))] += 1
        self.count += 1

    def quantile(self, q: float, z: float = 0.0) -> float:
        """The value (seconds) below which the part `q` of all lies; `z` moves it by so many deviations of its rank.

        So with `z` of -2 it is a lower bound of the quantile, and with 2 an upper one; infinite where so few values can have
        none. Of nothing it is 0 or, as an upper bound, infinite.
        """
        if not self.count:
            return inf if z > 0.0 else 0.0
        rank = self.count * q + z * sqrt(self.count * q * (1.0 - q))
        if rank > self.count:
            return inf
        seen = 0
        for index, number in enumerate(self.buckets):
            seen += number
            if seen >= rank and seen:
                return _bound_s(index)
        raise AssertionError("the buckets hold less than was counted")

    def plain(self) -> dict[str, int]:
        """JSON-ready: the buckets that are not empty."""
        return {str(index): number for index, number in enumerate(self.buckets) if number}

    @classmethod
    def of_plain(cls, said: Mapping[str, Any]) -> Latencies:
        """What `plain` has said. Raises ValueError or IndexError for anything else."""
        made = cls()
        for index, number in said.items():
            if int(index) < 0 or int(number) < 0:
                raise ValueError("a count or its place is negative")
            made.buckets[int(index)] = int(number)
        made.count = sum(made.buckets)
        return made


class Tally:
    """What became of the requests that one destination got, as their clients saw it."""

    __slots__ = ("failures", "latencies", "requests", "retried")

    def __init__(self) -> None:
        self.requests = 0
        self.failures = 0           # of those: no answer, half an answer, or one of status 5xx
        self.retried = 0            # of the failures: those that another try has saved
        self.latencies = Latencies()

    def count(self, failed: bool, retried: bool, latency_s: float | None) -> None:
        """One request is over; `latency_s` is the time to the first byte of its answer, None where none came."""
        self.requests += 1
        if failed or retried:
            self.failures += 1
            if not failed:
                self.retried += 1
        if latency_s is not None:
            self.latencies.observe(latency_s)

    @property
    def ratio(self) -> float:
        """The part that failed."""
        return self.failures / self.requests if self.requests else 0.0

    def plain(self) -> dict[str, Any]:
        """JSON-ready, whole."""
        return {"requests": self.requests, "failures": self.failures, "retried": self.retried,
                "latencies": self.latencies.plain()}

    @classmethod
    def of_plain(cls, said: Mapping[str, Any]) -> Tally:
        """What `plain` has said. Raises ValueError, KeyError, IndexError, TypeError or AttributeError for anything else."""
        made = cls()
        made.requests, made.failures, made.retried = (int(said[name]) for name in ("requests", "failures", "retried"))
        if not 0 <= made.retried <= made.failures <= made.requests:
            raise ValueError("more failures than requests")
        made.latencies = Latencies.of_plain(said["latencies"])
        return made


def percent(ratio: float) -> str:
    """A ratio for people to read."""
    return f"{ratio * 100:.3g} %"


def _bucket(us: int) -> int:
    if us < _PARTS:
        return us if us > 0 else 0
    octave = us.bit_length() - _PART_BITS - 1
    return min(_PARTS * (octave + 1) + (us >> octave) - _PARTS, _BUCKETS - 1)


def _bound_s(index: int) -> float:
    """The upper bound of a bucket, in seconds."""
    if index < _PARTS:
        return (index + 1) / 1e6
    octave, part = divmod(index, _PARTS)
    return ((part + _PARTS + 1) << (octave - 1)) / 1e6
