"""The arithmetic of rate limits, and how much a store remembers."""

from __future__ import annotations

from fractions import Fraction
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from voltgw.security.rates import LocalStore, Pace


class Bucket:
    """A token bucket in exact numbers: a second opinion."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.tokens = Fraction(pace.burst)
        self.last: Fraction | None = None

    def take(self, now: Fraction) -> bool:
        if self.pace.strict:
            now = now // Fraction(self.pace.period_s) * Fraction(self.pace.period_s)
        if self.last is not None:
            filled = self.tokens + (now - self.last) * self.pace.total / Fraction(self.pace.period_s)
            self.tokens = min(Fraction(self.pace.burst), filled)
        self.last = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class GcraTests(SynchronousTestCase):
    def test_a_burst_and_then_evenly(self) -> None:
        """Ten a second, five at once: five pass at once, the sixth comes a tenth of a second too early."""
        store = LocalStore(Pace(10, 1.0, 5))
        self.assertTrue(all(store.take("a", 100.0) <= 0.0 for _ in range(5)))
        self.assertAlmostEqual(store.take("a", 100.0), 0.1, places=2)
        self.assertAlmostEqual(store.take("a", 100.05), 0.05, places=2)
        self.assertLessEqual(store.take("a", 100.1), 0.0)
        self.assertGreater(store.take("a", 100.1), 0.0)

    def test_a_refusal_costs_nothing(self) -> None:
        """Whoever keeps on asking is served as soon as somebody who waits would be."""
        store = LocalStore(Pace(1, 1.0, 1))
        store.take("a", 0.0)
        for tenth in range(1, 10):
            self.assertGreater(store.take("a", tenth / 10), 0.0)
        self.assertLessEqual(store.take("a", 1.0), 0.0)

    def test_users_do_not_touch_each_other(self) -> None:
        """What one has spent, another one has still."""
        store = LocalStore(Pace(1, 60.0, 1))
        self.assertLessEqual(store.take("a", 0.0), 0.0)
        self.assertGreater(store.take("a", 0.0), 0.0)
        self.assertLessEqual(store.take("b", 0.0), 0.0)

    def test_asking_ahead(self) -> None:
        """`peek` says what `take` would, whether it refuses or not, and changes nothing."""
        for strict in (False, True):
            store = LocalStore(Pace(3, 60.0, 3, strict))
            for step in range(5):
                ahead = store.peek("a", 70.0 + step)
                self.assertEqual(store.peek("a", 70.0 + step), ahead)
                self.assertEqual(store.take("a", 70.0 + step), ahead)

    def test_against_exact_buckets(self) -> None:
        """100,000 requests at random moments, 8,200 of each kind at the same one: every verdict is that of a bucket in exact fractions.

        The moments are those that floats and fractions share, an hour after the machine's start.
        """
        random = Random(7)
        for strict in (False, True):
            for total, period, times in ((10, 1.0, 1), (3, 60.0, 2), (8192, 1.0, 1), (7, 1.0, 5), (100, 60.0, 1)):
                pace = Pace(total, period, total * times, strict)
                store, bucket = LocalStore(pace), Bucket(pace)
                now, refused = Fraction(3600), 0
                for step in range(10_000):
                    if step > 8200 and random.random() < 0.3:
                        now += Fraction(random.randrange(1, 4096), 4096) * Fraction(pace.interval_s) * 4
                    exact = bucket.tokens, bucket.take(now)
                    late = store.take("a", float(now))
                    if (late <= 0.0) is not exact[1]:
                        # Within a hundredth of an interval the store is lenient, on purpose: floats do not add up.
                        self.assertLessEqual(late, 0.0)
                        self.assertGreater(bucket.tokens, Fraction(98, 100), (pace, float(now)))
                        bucket.tokens -= 1
                    refused += late > 0.0
                self.assertGreater(refused, 50, pace)

    def test_the_stricter_one(self) -> None:
        """Filled at the end of each minute: nothing comes in between, and the answer says when."""
        store = LocalStore(Pace(2, 60.0, 2, strict=True))
        self.assertEqual([store.take("a", 130.0) <= 0.0 for _ in range(3)], [True, True, False])
        self.assertAlmostEqual(store.take("a", 150.0), 30.0)
        self.assertEqual([store.take("a", 180.0) <= 0.0 for _ in range(3)], [True, True, False])

    def test_blocking(self) -> None:
        """Who sends too much is refused for so long, however little they send; then they begin where they are."""
        store = LocalStore(Pace(2, 1.0, 2, block_s=300.0))
        self.assertEqual([store.take("a", 10.0) for _ in range(3)][2], 300.0)
        self.assertAlmostEqual(store.take("a", 209.5), 100.5)
        self.assertAlmostEqual(store.peek("a", 209.5), 100.5)
        self.assertLessEqual(store.take("b", 209.5), 0.0)
        self.assertEqual(store.blocked(209.5), 1)
        self.assertLessEqual(store.take("a", 310.0), 0.0)
        self.assertEqual(store.blocked(310.0), 0)


class MemoryTests(SynchronousTestCase):
    def test_a_million_users(self) -> None:
        """They cost no more memory than the bound, and no step is longer for them; those who owe most are remembered."""
        store = LocalStore(Pace(10, 1.0, 10), most=1000)
        for _ in range(10):
            store.take("greedy", 0.0)
        for number in range(1_000_000):
            store.take(number, 0.0)
            if number % 50_000 == 0:
                self.assertLessEqual(len(store), 1000)
        self.assertEqual(len(store), 1000)
        self.assertEqual(len(store._queue), 1000)
        self.assertGreater(store.evicted, 900_000)
        self.assertGreater(store.take("greedy", 0.0), 0.0)

    def test_who_owes_nothing_is_forgotten(self) -> None:
        """Users of the past make room for new ones without anybody losing anything."""
        store = LocalStore(Pace(10, 1.0, 10), most=1000)
        for number in range(100_000):
            store.take(number, number / 100)
        self.assertLess(len(store), 100)
        self.assertEqual(store.evicted, 0)

    def test_many_who_are_blocked(self) -> None:
        """They are bounded, too: the first ones are let go first."""
        store = LocalStore(Pace(1, 1.0, 1, block_s=60.0), most=100)
        for number in range(1000):
            store.take(number, 0.0)
            store.take(number, 0.0)
        self.assertLessEqual(store.blocked(0.0), 100)
        self.assertGreater(store.take(999, 0.0), 0.0)
        store.take("late", 100.0)
        store.take("late", 100.0)
        self.assertEqual(len(store._blocked), 1)
