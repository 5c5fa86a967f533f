"""When a certificate is renewed, and how long a failure is waited for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.control.acme.schedule import FIRST_WAIT_S, MOST_WAIT_S, SPREAD, renewal, wait_s

DAY = 86400.0


class RenewalTests(SynchronousTestCase):
    def test_lives_of_certificates(self) -> None:
        """Two thirds of six days, of ninety, of a year; a little earlier by its place in the spread."""
        for days in (6, 90, 365):
            self.assertAlmostEqual(renewal(0, days * DAY, None, 0.0), days * DAY * 2 / 3)
            self.assertAlmostEqual(renewal(0, days * DAY, None, 0.5), days * DAY * (2 / 3 - SPREAD / 2))

    def test_before_the_end(self) -> None:
        """So long as the operator says, if half of its life is over by then."""
        self.assertEqual(renewal(0, 90 * DAY, 30 * DAY, 0.0), 60 * DAY)
        self.assertEqual(renewal(0, 90 * DAY, 7 * DAY, 0.0), 83 * DAY)
        self.assertEqual(renewal(0, 90 * DAY, 80 * DAY, 0.0), 45 * DAY)


class WaitTests(SynchronousTestCase):
    def test_doubling(self) -> None:
        """Up to a bound, whatever the number."""
        waits = [wait_s(failures, True, None, lambda: 0.0) for failures in (1, 2, 3, 50, 10**6)]
        self.assertEqual(waits, [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S, MOST_WAIT_S, MOST_WAIT_S])
        self.assertLess(wait_s(1, False, None, lambda: 0.0), FIRST_WAIT_S)

    def test_chance(self) -> None:
        """It only makes waits longer."""
        self.assertGreater(wait_s(1, True, None, lambda: 0.99), FIRST_WAIT_S)

    def test_what_the_ca_asks_for(self) -> None:
        """It is never cut short, and does not make a wait shorter."""
        for chance in (0.0, 0.99):
            self.assertGreaterEqual(wait_s(1, True, 3 * DAY, lambda chance=chance: chance), 3 * DAY)     # type: ignore[misc]
            self.assertGreaterEqual(wait_s(1, True, 5.0, lambda chance=chance: chance), FIRST_WAIT_S)    # type: ignore[misc]
