"""`voltgw.net.clock`: timers that do not care for the wall clock."""

from __future__ import annotations

import random
import select
import time
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from voltgw.net.clock import MAX_CANCELLED, MonotonicClock, TimerFd


class ClockCase(SynchronousTestCase):
    """A clock on a time that only the test moves."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.armed: list[float] = []
        self.made: list[Any] = []
        self.clock = MonotonicClock(lambda: self.now, self.armed.append)

    def later(self, delay: float, name: str) -> Any:
        """A call that writes down its name and when it was made."""
        return self.clock.callLater(delay, lambda: self.made.append((name, self.now - 1000)))

    def run_until(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass, and the clock be run in steps."""
        while self.now < 1000 + seconds:
            self.now += step
            self.clock.run()


class MonotonicClockTests(ClockCase):
    def test_it_is_an_ireactortime(self) -> None:
        """Twisted code (LoopingCall, deferLater, task.Cooperator) takes it for a reactor."""
        verifyObject(IReactorTime, self.clock)

    def test_calls_are_made_in_order_of_time_then_of_birth(self) -> None:
        """Two calls for one moment are made in the order in which they were asked for."""
        self.later(2, "c")
        self.later(1, "a")
        self.later(1, "b")
        self.run_until(3)
        self.assertEqual(self.made, [("a", 1), ("b", 1), ("c", 2)])

    def test_arguments_are_handed_on(self) -> None:
        """Positional and keyword arguments reach the call."""
        self.clock.callLater(0, lambda *args, **kw: self.made.append((args, kw)), 1, two=2)
        self.clock.run()
        self.assertEqual(self.made, [((1,), {"two": 2})])

    def test_the_timer_is_armed_for_the_earliest_call(self) -> None:
        """A later call changes nothing, an earlier one re-arms, and after a run the next one is armed."""
        self.later(5, "late")
        self.later(9, "later")
        self.later(2, "early")
        self.assertEqual(self.armed, [5, 2])
        self.now += 2
        self.clock.run()
        self.assertEqual(self.armed, [5, 2, 3])

    def test_cancelled(self) -> None:
        """A cancelled call is never made, and is not among those that wait; cancelling twice is told."""
        call = self.later(1, "x")
        call.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.run_until(2)
        self.assertEqual(self.made, [])
        self.assertRaises(AlreadyCancelled, call.cancel)

    def test_cancelled_by_the_call_before_it(self) -> None:
        """Of two calls that are due in one run, the first may still cancel the second."""
        second: list[Any] = []
        self.clock.callLater(1, lambda: [call.cancel() for call in second])
        second.append(self.later(1, "second"))
        self.run_until(2)
        self.assertEqual(self.made, [])

    def test_made_cannot_be_cancelled(self) -> None:
        """As in Twisted: AlreadyCalled."""
        call = self.later(1, "x")
        self.run_until(1)
        self.assertRaises(AlreadyCalled, call.cancel)

    def test_delayed(self) -> None:
        """`delay` adds to the time that was set; delays add up, negative ones bring it forward."""
        call = self.later(2, "x")
        call.delay(2)
        call.delay(3)
        call.delay(-1)
        self.run_until(10)
        self.assertEqual(self.made, [("x", 6)])

    def test_delayed_to_earlier(self) -> None:
        """A negative delay before the original time is kept."""
        call = self.later(5, "x")
        call.delay(-3)
        self.assertEqual(self.armed, [5, 2])
        self.run_until(6)
        self.assertEqual(self.made, [("x", 2)])

    def test_reset_to_earlier(self) -> None:
        """`reset` counts from now; the old place in the queue makes no second call."""
        call = self.later(5, "x")
        call.reset(1)
        self.run_until(10)
        self.assertEqual(self.made, [("x", 1)])

    def test_reset_to_later_then_earlier_after_its_first_time_has_passed(self) -> None:
        """A call put off past its original time can still be brought forward (an idle timeout that becomes short)."""
        call = self.later(2, "x")
        call.reset(50)
        self.run_until(10)
        call.reset(5)
        self.run_until(30)
        self.assertEqual(self.made, [("x", 15)])

    def test_reset_by_the_call_before_it(self) -> None:
        """Of two calls that are due in one run, the first may still put off the second."""
        self.clock.callLater(1, lambda: second.reset(3))
        second = self.later(1, "second")
        self.run_until(6)
        self.assertEqual(self.made, [("second", 4)])

    def test_moved_without_end(self) -> None:
        """A call that is moved to and fro leaves at most a few stale entries, not one per move."""
        call = self.later(10, "x")
        for _ in range(200):
            call.reset(30)
            self.run_until(self.now - 1000 + 10.5)
            call.reset(1)
            call.reset(10)
            self.assertEqual(self.clock.getDelayedCalls(), [call])
        self.assertLess(len(self.clock._heap), 10)

    def test_cancelled_without_end(self) -> None:
        """Timeouts that are always cancelled (every probe has one) do not pile up until their time comes."""
        for _ in range(50 * MAX_CANCELLED):
            self.later(3600, "x").cancel()
        self.assertLess(len(self.clock._heap), 3 * MAX_CANCELLED)
        self.later(1, "y")
        self.run_until(2)
        self.assertEqual(self.made, [("y", 1)])

    def test_a_call_that_renews_itself_for_at_once(self) -> None:
        """It is made once a run, so that a run ends."""
        def again() -> None:
            self.made.append("again")
            self.clock.callLater(0, again)

        self.clock.callLater(0, again)
        self.clock.run()
        self.assertEqual(self.made, ["again"])
        self.clock.run()
        self.assertEqual(self.made, ["again", "again"])

    def test_a_call_that_fails(self) -> None:
        """It is logged; those behind it are made, and the timer is armed for the next. SystemExit is no exception."""
        def bad(kind: type[BaseException]) -> None:
            raise kind("no")

        self.clock.callLater(1, bad, ValueError)
        self.clock.callLater(1, bad, SystemExit)
        self.later(1, "behind")
        self.later(2, "next")
        self.now += 1
        self.clock.run()
        self.assertEqual(self.made, [("behind", 1)])
        self.assertEqual(self.armed[-1], 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError, SystemExit)), 2)

    def test_like_twisted_in_a_thousand_random_moves(self) -> None:
        """Calls, cancellations, delays and resets at random are made exactly when Twisted's own Clock makes them."""
        from twisted.internet.task import Clock
        chance = random.Random(7)
        judge = Clock()
        made: dict[str, list[tuple[int, float]]] = {"ours": [], "twisted": []}
        calls: list[tuple[Any, Any]] = []
        start = self.now
        for step in range(1000):
            kind = chance.randrange(5)
            delay = chance.randrange(1, 40) / 4
            if kind < 2 or not calls:
                calls.append((
                    self.clock.callLater(delay, lambda n=step: made["ours"].append((n, self.now - start))),
                    judge.callLater(delay, lambda n=step: made["twisted"].append((n, judge.seconds()))),
                ))
            else:
                ours, theirs = chance.choice(calls)
                if theirs.active():
                    if kind == 2:
                        ours.cancel()
                        theirs.cancel()
                    elif kind == 3:
                        ours.reset(delay)
                        theirs.reset(delay)
                    else:
                        ours.delay(delay - 5)
                        theirs.delay(delay - 5)
            self.now += 0.25
            self.clock.run()
            judge.advance(0.25)
            self.assertEqual([ours.active() for ours, _ in calls], [theirs.active() for _, theirs in calls])
        self.assertEqual(sorted(made["ours"]), sorted(made["twisted"]))
        self.assertGreater(len(made["ours"]), 100)


class TimerFdTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.timer = TimerFd()
        self.addCleanup(self.timer.close)

    def fired(self, timeout_s: float) -> bool:
        """Whether it is readable within this time."""
        return bool(select.select([self.timer.fd], [], [], timeout_s)[0])

    def test_it_fires_once_when_its_time_has_come(self) -> None:
        """Not before, and not again once acknowledged."""
        began = time.monotonic()
        self.timer.arm(0.02)
        self.assertTrue(self.fired(2))
        self.assertGreaterEqual(time.monotonic() - began, 0.0199)
        self.timer.acknowledge()
        self.assertFalse(self.fired(0))

    def test_time_that_has_passed(self) -> None:
        """Zero or less fires at once (zero would disarm a timerfd)."""
        for seconds in (0.0, -5.0):
            self.timer.arm(seconds)
            self.assertTrue(self.fired(1))
            self.timer.acknowledge()

    def test_armed_again_before_it_was_acknowledged(self) -> None:
        """Acknowledging a timer that was re-armed in the meantime is no error."""
        self.timer.arm(0)
        self.assertTrue(self.fired(1))
        self.timer.arm(3600)
        self.timer.acknowledge()
        self.assertFalse(self.fired(0))

    def test_closed(self) -> None:
        """Arming or closing a closed timer touches no descriptor: its number may be another's by now."""
        self.timer.close()
        self.assertEqual(self.timer.fd, -1)
        self.timer.arm(1)
        self.timer.close()
