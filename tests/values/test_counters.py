"""`voltgw.values.counters`: plain integers, and a histogram in powers of two."""

from __future__ import annotations

import itertools
import random

from twisted.trial.unittest import SynchronousTestCase

from voltgw.values.compiling import slots_of
from voltgw.values.counters import (
    LATENCY_BOUNDS_US,
    ClusterCounters,
    Histogram,
    ListenerCounters,
    RouteCounters,
)


class HistogramTests(SynchronousTestCase):
    def bucket(self, microseconds: float) -> int:
        """Which bucket counts this value."""
        histogram = Histogram()
        histogram.observe(microseconds / 1e6)
        self.assertEqual(sum(histogram.buckets), 1)
        return histogram.buckets.index(1)

    def test_bounds(self) -> None:
        """From 64 us to 67 s, each twice the one before; one more bucket counts what is longer."""
        self.assertEqual((LATENCY_BOUNDS_US[0], LATENCY_BOUNDS_US[-1]), (64, 67_108_864))
        self.assertTrue(all(b == 2 * a for a, b in itertools.pairwise(LATENCY_BOUNDS_US)))
        self.assertEqual(len(Histogram().buckets), len(LATENCY_BOUNDS_US) + 1)

    def test_on_both_sides_of_each_edge(self) -> None:
        """Just below a bound counts for its bucket, just above it for the next one, down to half a microsecond."""
        for index, bound in enumerate(LATENCY_BOUNDS_US):
            for distance in (0.5, 1, 10):
                self.assertEqual(self.bucket(bound - distance), index)
                self.assertEqual(self.bucket(bound + distance), index + 1)

    def test_each_value_lies_within_its_bucket(self) -> None:
        """Ten thousand values of every size: none above the bound of its bucket, none below the one before."""
        chance = random.Random(1)
        bounds = [0.0, *map(float, LATENCY_BOUNDS_US), float("inf")]
        for _ in range(10_000):
            value = 2.0 ** chance.uniform(-2, 30)
            index = self.bucket(value)
            self.assertLessEqual(bounds[index], value)
            self.assertLessEqual(value, bounds[index + 1])

    def test_the_smallest_and_the_largest(self) -> None:
        """Nothing at all, the least that a clock tells, and a day: the first bucket, and the last."""
        self.assertEqual([self.bucket(value) for value in (0, 0.001, 1)], [0, 0, 0])
        self.assertEqual(self.bucket(86_400e6), len(LATENCY_BOUNDS_US))

    def test_sum(self) -> None:
        """The sum is in seconds, of all values."""
        histogram = Histogram()
        for seconds in (0.25, 0.5, 100.0):
            histogram.observe(seconds)
        self.assertEqual((histogram.sum_s, sum(histogram.buckets)), (100.75, 3))


class CountersTests(SynchronousTestCase):
    def test_all_begin_at_zero(self) -> None:
        """Every slot of every kind of counters is set and zero, and no two objects share a list or dict."""
        for kind in (RouteCounters, ClusterCounters, ListenerCounters):
            one, other = kind(), kind()
            for name in slots_of(kind):
                value = getattr(one, name)
                if isinstance(value, int):
                    self.assertEqual(value, 0)
                    continue
                self.assertIsNot(value, getattr(other, name))
                if isinstance(value, Histogram):
                    self.assertEqual((sum(value.buckets), value.sum_s), (0, 0.0))
                elif isinstance(value, dict):
                    self.assertEqual(value, {})
                else:
                    self.assertEqual(value, [0] * 6)    # by class of status: 0 to 5

    def test_no_other_names(self) -> None:
        """A counter that nobody declared is an error where it is counted, not a metric that is never exported."""
        for kind in (Histogram, RouteCounters, ClusterCounters, ListenerCounters):
            self.assertRaises(AttributeError, setattr, kind(), "requets", 1)
