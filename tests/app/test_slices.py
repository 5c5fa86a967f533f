"""Long work, a little in each turn."""

from __future__ import annotations

from collections.abc import Callable, Generator

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from voltgw.app.slices import LEAST_S, MOST_S, Slices


class Turns:
    """Stands for the loop: `turn` is one of its turns, in which others take `others_s`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.others_s = 0.0
        self.waiting: list[Callable[[], None]] = []

    def soon(self, call: Callable[[], None]) -> None:
        """As `Loop.soon`."""
        self.waiting.append(call)

    def turn(self) -> None:
        """Let them run."""
        calls, self.waiting = self.waiting, []
        self.now += self.others_s
        for call in calls:
            call()


class SlicesTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A loop, and work of which each step takes some time."""
        self.turns = Turns()
        self.slices = Slices(self.turns, lambda: self.turns.now)      # type: ignore[arg-type]  # as much of a loop as is asked for
        self.done: list[int] = []
        self.step_s = LEAST_S / 10

    def work(self, count: int) -> Generator[None, None, str]:
        """So many steps."""
        for number in range(count):
            self.turns.now += self.step_s
            self.done.append(number)
            yield
        return "the end"

    def run_(self, count: int, ask: Callable[[], None] | None = None, least_s: float | None = None,
             most_s: float | None = None) -> Deferred[str]:
        """Begin."""
        return Deferred.fromCoroutine(self.slices.run(self.work(count), ask, least_s, most_s))

    def steps_in_a_turn(self) -> int:
        """How many steps the next turn does."""
        before = len(self.done)
        self.turns.turn()
        return len(self.done) - before

    def test_short_work(self) -> None:
        """It is over at once."""
        self.assertEqual(self.successResultOf(self.run_(3)), "the end")

    def test_long_work(self) -> None:
        """A slice in each turn, until the end."""
        result = self.run_(95)
        self.assertNoResult(result)
        self.assertIn(len(self.done), (10, 11))
        turns = 0
        while self.turns.waiting:
            self.assertLessEqual(self.steps_in_a_turn(), 11)
            turns += 1
        self.assertEqual(self.successResultOf(result), "the end")
        self.assertIn(turns, (8, 9))

    def test_beside_much_traffic(self) -> None:
        """A slice takes half as long as the others took, so that the work is not starved, but never very long."""
        self.run_(1000)
        self.turns.others_s = MOST_S
        self.assertApproximates(self.steps_in_a_turn() * self.step_s, MOST_S / 2, 2 * self.step_s)
        self.turns.others_s = 1.0
        self.assertApproximates(self.steps_in_a_turn() * self.step_s, MOST_S, 2 * self.step_s)
        self.turns.others_s = 0.0
        self.assertApproximates(self.steps_in_a_turn() * self.step_s, LEAST_S, 2 * self.step_s)

    def test_where_nobody_waits(self) -> None:
        """The caller may say how long a slice is at least."""
        self.run_(1000, least_s=0.02)
        self.assertGreaterEqual(len(self.done) * self.step_s, 0.02)

    def test_work_that_leaves_work(self) -> None:
        """The caller may say how long a slice is at most: what its steps leave for the next turn is no reason to do more."""
        self.run_(1000, most_s=2 * LEAST_S)
        self.turns.others_s = 1.0
        for _ in range(3):
            self.assertApproximates(self.steps_in_a_turn() * self.step_s, 2 * LEAST_S, 2 * self.step_s)

    def test_it_is_given_up(self) -> None:
        """Who is asked before each step may raise."""
        def ask() -> None:
            if len(self.done) == 15:
                raise ValueError("enough")

        result = self.run_(100, ask)
        self.turns.turn()
        self.failureResultOf(result, ValueError)
        self.assertEqual((len(self.done), self.turns.waiting), (15, []))
