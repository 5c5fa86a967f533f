"""`voltgw.net.portions`: how much is taken in one turn."""

from __future__ import annotations

from typing import Any

from tests.support import SteppedLoopCase
from voltgw.net.portions import Portion


class PortionTests(SteppedLoopCase):
    def setUp(self) -> None:
        """A portion of at most 64."""
        super().setUp()
        self.portion = Portion(self.loop, 64)

    def after(self, turns: int, **state: Any) -> int:
        """What is taken so many turns after the last time."""
        self.loop.turns += turns
        for name, value in state.items():
            setattr(self.loop, name, value)
        return self.portion.take()

    def test_as_much_as_came_last_time(self) -> None:
        """At first all that may be taken, then what there was, and at least one."""
        self.assertEqual(self.portion.take(), 64)
        self.portion.ended(5)
        self.assertEqual(self.after(9), 5)
        self.portion.ended(0)
        self.assertEqual(self.after(9), 1)

    def test_more_where_it_was_too_little(self) -> None:
        """Twice as much when the next turn brings more, up to the bound and not beyond."""
        self.portion.take()
        self.portion.ended(20)
        self.assertEqual([self.after(1) for _ in range(4)], [20, 40, 64, 64])
        self.portion.ended(20)
        self.assertEqual([self.after(1), self.after(2), self.after(2)], [20, 20, 20])   # not at once: it was enough

    def test_amid_a_crowd(self) -> None:
        """Where its turn comes seldom, what was full grows all the same."""
        self.portion.take()
        self.portion.ended(1)
        self.assertEqual([self.after(4, crowded=True) for _ in range(3)], [1, 2, 4])
