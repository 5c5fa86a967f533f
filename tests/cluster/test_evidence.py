"""Bounds of ratios and of quantiles."""

from __future__ import annotations

from math import inf
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.cluster.evidence import Latencies, Tally, difference, wilson, z_of


class WilsonTests(SynchronousTestCase):
    def test_published_values(self) -> None:
        """Newcombe's examples for one ratio (Statistics in Medicine 17, 857-872, table I, method 3), at 95 %."""
        for failures, requests, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
                                              (1, 29, 0.0061, 0.1718)):
            found = wilson(failures, requests, z_of(0.025))
            self.assertAlmostEqual(found[0], low, places=4)
            self.assertAlmostEqual(found[1], high, places=4)

    def test_of_nothing(self) -> None:
        """No request says nothing."""
        self.assertEqual(wilson(0, 0, 2.0), (0.0, 1.0))

    @examples(100)
    @given(st.integers(1, 10**7), st.floats(0, 1), st.floats(0.1, 6))
    def test_the_ratio_is_inside(self, requests: int, share: float, z: float) -> None:
        """The bounds hold the ratio and stay in [0, 1]."""
        failures = round(share * requests)
        low, high = wilson(failures, requests, z)
        self.assertTrue(0.0 <= low <= failures / requests <= high <= 1.0)

    @examples(100)
    @given(st.integers(1, 5000), st.floats(0, 1), st.floats(0.5, 4))
    def test_more_of_the_same_narrows(self, requests: int, share: float, z: float) -> None:
        """The same ratio among ten times the requests has narrower bounds."""
        failures = round(share * requests)
        low, high = wilson(failures, requests, z)
        closer_low, closer_high = wilson(failures * 10, requests * 10, z)
        self.assertLess(closer_high - closer_low, high - low)


class DifferenceTests(SynchronousTestCase):
    def test_published_values(self) -> None:
        """Newcombe's examples for two ratios (Statistics in Medicine 17, 873-890, table II, method 10), at 95 %."""
        for numbers, low, high in (((56, 70, 48, 80), 0.0524, 0.3339), ((9, 10, 3, 10), 0.1705, 0.8090),
                                   ((10, 10, 0, 20), 0.6791, 1.0), ((5, 56, 0, 29), -0.0381, 0.1926)):
            found = difference(*numbers, z_of(0.025))
            self.assertAlmostEqual(found[0], low, places=4)
            self.assertAlmostEqual(found[1], high, places=4)

    def test_without_another(self) -> None:
        """Alone, it is the ratio itself that is bounded."""
        self.assertEqual(difference(3, 100, 0, 0, 2.0), wilson(3, 100, 2.0))


class LatenciesTests(SynchronousTestCase):
    @examples(100)
    @given(st.floats(0, 60))
    def test_one_value(self, seconds: float) -> None:
        """A value is found again to within 6.25 %, and a microsecond."""
        counted = Latencies()
        counted.observe(seconds)
        self.assertLessEqual(seconds, counted.quantile(0.5) + 1e-9)
        self.assertLessEqual(counted.quantile(0.5), seconds * 1.0626 + 1.1e-6)

    def test_beyond_the_last_bucket(self) -> None:
        """What took minutes counts as the longest that there is."""
        counted = Latencies()
        counted.observe(600.0)
        self.assertGreater(counted.quantile(0.5), 60.0)

    def test_quantiles(self) -> None:
        """Of a thousand even values."""
        counted = Latencies()
        for number in range(1, 1001):
            counted.observe(number / 1000)
        for q in (0.01, 0.5, 0.95, 0.99):
            self.assertTrue(q * 0.999 <= counted.quantile(q) <= q * 1.07, q)

    def test_bounds_hold_the_quantile(self) -> None:
        """At two deviations the bounds hold the true quantile in at least 95 of 100 samples."""
        chance = Random(4)
        held = 0
        for _ in range(200):
            counted = Latencies()
            for _ in range(300):
                counted.observe(chance.expovariate(1.0))
            held += counted.quantile(0.9, -2.0) / 1.0626 <= 2.302585 <= counted.quantile(0.9, 2.0)
        self.assertGreaterEqual(held, 190)

    def test_too_few(self) -> None:
        """Ten values have no upper bound of their 99th percentile, and nothing has a lower one of 0."""
        counted = Latencies()
        self.assertEqual((counted.quantile(0.9), counted.quantile(0.9, 2.0)), (0.0, inf))
        for _ in range(10):
            counted.observe(0.01)
        self.assertEqual(counted.quantile(0.99, 2.0), inf)
        self.assertGreater(counted.quantile(0.99, -2.0), 0.0)


class TallyTests(SynchronousTestCase):
    @examples(100)
    @given(st.lists(st.tuples(st.booleans(), st.booleans(), st.one_of(st.none(), st.floats(0, 100)))))
    def test_written_and_read(self, told: list[tuple[bool, bool, float | None]]) -> None:
        """What was counted can be written down and read back."""
        tally = Tally()
        for failed, retried, latency_s in told:
            tally.count(failed, retried, latency_s)
        self.assertEqual(Tally.of_plain(tally.plain()).plain(), tally.plain())
        self.assertLessEqual(tally.failures, tally.requests)

    def test_saved_by_another_try(self) -> None:
        """It counts as a failure of the version, and is told apart."""
        tally = Tally()
        tally.count(False, True, 0.1)
        tally.count(True, True, None)
        self.assertEqual((tally.requests, tally.failures, tally.retried, tally.latencies.count), (2, 2, 1, 1))

    def test_what_cannot_be(self) -> None:
        """Counts that contradict each other are refused."""
        for wrong in ({"requests": 1, "failures": 2, "retried": 0, "latencies": {}},
                      {"requests": 1, "failures": 0, "retried": 0, "latencies": {"-1": 1}}):
            self.assertRaises(ValueError, Tally.of_plain, wrong)
