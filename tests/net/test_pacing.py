"""`voltgw.net.pacing`: how many a second, how many at once, and streams that are read no faster."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import floats, integers, lists
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.net.pacing import LEAST_PIECE_BYTES, MOST_PIECE_BYTES, Pace, Rate, Valve, paced


class PaceTests(SynchronousTestCase):
    """`Pace`."""

    def test_one_by_one(self) -> None:
        """Each waits for its turn; time that nobody used is not saved."""
        pace = Pace(Rate(4, 1))
        self.assertEqual(pace.wait(100.0), 0.0)
        pace.take(1, 100.0)
        for now, wait in ((100.0, 0.25), (100.1, 0.15), (100.25, 0.0)):
            self.assertAlmostEqual(pace.wait(now), wait, places=2)
        pace.take(1, 110.0)
        self.assertAlmostEqual(pace.wait(110.0), 0.25, places=2)

    def test_several_at_once(self) -> None:
        """As many as the burst says, after a silence."""
        pace, came = Pace(Rate(10, 5)), 0
        while not pace.wait(50.0):
            pace.take(1, 50.0)
            came += 1
        self.assertEqual(came, 5)
        self.assertAlmostEqual(pace.wait(50.0), 0.1, places=2)

    @examples(100)
    @given(lists(floats(0.0, 3.0), max_size=60), integers(1, 50), integers(1, 20))
    def test_never_more(self, gaps: list[float], rate: int, burst: int) -> None:
        """In any time of t seconds no more come than burst + rate x t."""
        pace, now, came = Pace(Rate(rate, burst)), 1000.0, []
        for gap in gaps:
            now += gap
            for _ in range(40):
                if pace.wait(now) > 0.0:
                    break
                pace.take(1, now)
                came.append(now)
        for first in range(len(came)):
            for last in range(first, len(came)):
                self.assertLessEqual(last - first + 1, burst + rate * (came[last] - came[first]) + 0.02)

    def test_a_reload(self) -> None:
        """The same rate goes on where it was; another one begins anew; without one there is none."""
        pace = Pace(Rate(1, 1))
        self.assertIs(paced(pace, Rate(1, 1)), pace)
        self.assertIsNot(paced(pace, Rate(2, 1)), pace)
        self.assertIsNone(paced(pace, None))


class Source:
    """A stream that says whether it is read."""

    reading = True

    def pauseProducing(self) -> None:
        """No more."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Again."""
        self.reading = True


class ValveTests(SynchronousTestCase):
    """`Valve`."""

    def valve(self, rate: Rate) -> Valve:
        """One between a source and a list."""
        self.clock, self.source, self.got, self.closed = Clock(), Source(), b"", 0
        return Valve(self.source, self.take, rate, self.clock.seconds, self.clock.callLater, self.count)

    def take(self, data: bytes) -> None:
        """What comes out."""
        self.got += data

    def count(self) -> None:
        """It has closed."""
        self.closed += 1

    def test_the_rate_is_kept(self) -> None:
        """A sender that always has something gets through what the rate says, to the piece; nothing is lost."""
        valve = self.valve(Rate(10_000, 2000))
        sent = 0
        for _ in range(1000):
            while self.source.reading:
                valve.received(b"x" * 500)
                sent += 500
            self.clock.advance(0.01)
        self.assertEqual(len(self.got), sent)
        self.assertTrue(10_000 * 10 <= sent <= 10_000 * 10 + 2000 + 500, sent)
        self.assertGreater(self.closed, 100)
        valve.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_both_must_agree(self) -> None:
        """A stream whose receiver is slow and whose time has not come is read when both are over, whichever is first."""
        for receiver_first in (True, False):
            valve = self.valve(Rate(100, 1))
            valve.received(b"x" * 100)
            valve.hold()
            if receiver_first:
                valve.release()
                self.assertFalse(self.source.reading)
                self.clock.advance(1)
            else:
                self.clock.advance(1)
                self.assertFalse(self.source.reading)
                valve.release()
            self.assertTrue(self.source.reading)

    def test_an_end_while_it_is_closed(self) -> None:
        """No timer is left, and the stream is left alone."""
        valve = self.valve(Rate(100, 1))
        valve.received(b"x" * 100)
        valve.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        valve.release()
        self.assertFalse(self.source.reading)

    def test_pieces(self) -> None:
        """They are what a twentieth of a second allows, within bounds."""
        self.assertEqual([self.valve(Rate(rate, 1)).piece_bytes for rate in (1, 100_000, 1 << 30)], [LEAST_PIECE_BYTES, 5000, MOST_PIECE_BYTES])
