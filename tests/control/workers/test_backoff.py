"""When a worker that has died is started again."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.control.workers.backoff import FIRST_S, LIVED_S, MOST_S, Backoff


class BackoffTests(SynchronousTestCase):
    def test_at_once(self) -> None:
        """One that had lived for a while, and one that was killed right after its start."""
        backoff = Backoff()
        self.assertEqual([backoff.next(100.0, 0.0), backoff.next(101.0, 100.0)], [0.0, 0.0])

    def test_a_loop_of_deaths(self) -> None:
        """Those that die at once again and again wait longer and longer, within a bound; a life ends that."""
        backoff = Backoff()
        waits = [backoff.next(1.0, 0.9) for _ in range(14)]
        self.assertEqual(waits[:5], [0.0, 0.0, FIRST_S, 2 * FIRST_S, 4 * FIRST_S])
        self.assertEqual(waits[-1], MOST_S)
        self.assertEqual(backoff.next(LIVED_S, 0.0), 0.0)
        self.assertEqual(backoff.next(1.0, 0.9), 0.0)
