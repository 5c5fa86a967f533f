"""Tests for `voltgw.cluster.priorities`: Envoy's integers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.cluster.priorities import availability, loads_by_count, panicking, priority_loads


def loads(*healthy: int, overprovisioning: int = 140) -> list[int]:
    """The loads of priorities with so many of 100 healthy."""
    return priority_loads([availability(each, 100, overprovisioning) for each in healthy])


class LoadTests(SynchronousTestCase):
    def test_the_worked_cases(self) -> None:
        """Healthy percentages and what they lead to, as Envoy's code has it (its table says 36 for 37 in the last)."""
        for healthy, expected in (
            ((72, 72), [100, 0]), ((71, 71), [99, 1]), ((50, 50), [70, 30]), ((25, 100), [35, 65]), ((25, 25), [50, 50]),
            ((25, 25, 100), [35, 35, 30]), ((25, 25, 20), [37, 35, 28]), ((0, 100), [0, 100]), ((0, 0), [0, 0]),
            ((100,), [100]), ((1,), [100]),
        ):
            self.assertEqual(loads(*healthy), expected, healthy)

    def test_another_factor(self) -> None:
        """Without overprovisioning what is missing spills at once."""
        self.assertEqual(loads(90, 100, overprovisioning=100), [90, 10])

    def test_nobody_there(self) -> None:
        """A priority without members takes nothing."""
        self.assertEqual((availability(0, 0), priority_loads([]), priority_loads([0, 50])), (0, [], [0, 100]))

    @examples(100)
    @given(st.lists(st.integers(0, 100), min_size=1, max_size=8), st.integers(100, 1000))
    def test_they_sum_to_all(self, healthy: list[int], overprovisioning: int) -> None:
        """Unless nobody is healthy the loads sum to 100, and who has nobody healthy gets nothing."""
        found = loads(*healthy, overprovisioning=overprovisioning)
        self.assertEqual(sum(found), 100 if any(healthy) else 0)
        self.assertTrue(all(load == 0 or count for load, count in zip(found, healthy, strict=True)))

    @examples(100)
    @given(st.lists(st.integers(0, 50), max_size=8))
    def test_by_count(self, counts: list[int]) -> None:
        """In proportion, summing to 100."""
        found = loads_by_count(counts)
        self.assertEqual(sum(found), 100 if sum(counts) else 0)
        self.assertEqual([bool(load) for load in loads_by_count([1, 3])], [True, True])


class PanicTests(SynchronousTestCase):
    def test_one_priority(self) -> None:
        """Strictly below the threshold, and never with a threshold of 0."""
        for serving, judged, threshold, panic in (
            (4, 10, 50, True), (5, 10, 50, False), (0, 10, 1, True), (9, 10, 100, True), (0, 10, 0, False), (0, 0, 100, False),
        ):
            self.assertEqual(panicking({0: serving}, {0: judged}, threshold), {0} if panic else set(), (serving, judged))

    def test_others_can_take_it(self) -> None:
        """While the priorities together can take everything none of them panics."""
        self.assertEqual(panicking({0: 0, 1: 72}, {0: 100, 1: 100}, 50), set())
        self.assertEqual(panicking({0: 1, 1: 40}, {0: 100, 1: 100}, 50), {0, 1})
        self.assertEqual(panicking({0: 1, 1: 60}, {0: 100, 1: 100}, 50), {0})
        self.assertEqual(panicking({1: 1}, {0: 100, 1: 100}, 50), {0, 1})
