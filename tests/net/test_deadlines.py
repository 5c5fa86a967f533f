"""`voltgw.net.deadlines`: deadlines that are attributes."""

from __future__ import annotations

import gc
import random
import weakref

from twisted.trial.unittest import SynchronousTestCase

from voltgw.net.deadlines import LOOK_AHEAD, NO_SLOT, TICK_S, Deadlines


class Thing:
    """Something with a deadline."""

    def __init__(self, deadline: float = 0.0) -> None:
        self.deadline = deadline
        self.deadline_slot = NO_SLOT
        self.expired_at: list[float] = []

    def expired(self, now: float) -> None:
        self.expired_at.append(now)


class DeadlinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 500.1
        self.deadlines = Deadlines(self.now)

    def scheduled(self, seconds: float) -> Thing:
        thing = Thing(self.now + seconds)
        self.deadlines.schedule(thing)
        return thing

    def run_for(self, seconds: float) -> None:
        """Sweep on every edge of a slot, as the loop does."""
        end = self.now + seconds
        while True:
            edge = (int(self.now / TICK_S) + 1) * TICK_S
            if edge > end:
                break
            self.now = edge
            self.deadlines.sweep(edge)
        self.now = end

    def test_noticed_at_most_a_tick_late_and_never_early(self) -> None:
        """Whatever part of a slot a deadline falls into, short or beyond the look-ahead."""
        things = [(seconds / 7, self.scheduled(seconds / 7)) for seconds in range(1, 100)]
        start = self.now
        self.run_for(20)
        for seconds, thing in things:
            (at,) = thing.expired_at
            self.assertGreaterEqual(at - start, seconds - 1e-9)
            self.assertLessEqual(at - start, seconds + TICK_S)
        self.assertEqual(len(self.deadlines), 0)

    def test_exactly_on_an_edge(self) -> None:
        """A deadline that is a slot's edge expires in the next sweep after it at the latest."""
        self.now = 600.0
        self.deadlines.sweep(600.0)
        thing = self.scheduled(1.0)
        self.run_for(0.99)
        self.assertEqual(thing.expired_at, [])
        self.run_for(0.02 + TICK_S)
        self.assertEqual(len(thing.expired_at), 1)

    def test_moved_to_later(self) -> None:
        """Only the attribute is written; it expires once, at the later time."""
        thing = self.scheduled(1)
        thing.deadline = self.now + 9
        start = self.now
        self.run_for(20)
        (at,) = thing.expired_at
        self.assertGreaterEqual(at - start, 9)

    def test_moved_to_earlier(self) -> None:
        """`schedule` makes the sweep look in time; the old entry makes no second call."""
        thing = self.scheduled(3)
        thing.deadline = self.now + 1
        self.deadlines.schedule(thing)
        start = self.now
        self.run_for(20)
        (at,) = thing.expired_at
        self.assertLessEqual(at - start, 1 + TICK_S)

    def test_forgotten(self) -> None:
        """0.0 means no deadline: nothing expires, and the thing is let go of within the look-ahead."""
        thing = self.scheduled(3600)
        thing.deadline = 0.0
        gone = weakref.ref(thing)
        del thing
        self.run_for((LOOK_AHEAD + 1) * TICK_S)
        gc.collect()
        self.assertEqual(len(self.deadlines), 0)
        self.assertIsNone(gone())

    def test_forgotten_and_set_again(self) -> None:
        """A thing that is reused (a kept connection) may get a deadline again, before or after the sweep dropped it."""
        for pause in (0.1, 10):
            thing = self.scheduled(1)
            thing.deadline = 0.0
            self.run_for(pause)
            thing.deadline = self.now + 2
            self.deadlines.schedule(thing)
            self.run_for(5)
            self.assertEqual(len(thing.expired_at), 1)

    def test_moved_to_and_fro(self) -> None:
        """A thing that is scheduled earlier again and again has few entries, whatever its deadlines were."""
        thing = self.scheduled(3600)
        most = 0
        for _ in range(100):
            thing.deadline = self.now + 1
            self.deadlines.schedule(thing)
            self.run_for(0.75)
            thing.deadline = self.now + 3600
            self.run_for(0.5)
            most = max(most, len(self.deadlines))
        self.assertEqual(thing.expired_at, [])
        self.assertLess(most, 6)

    def test_already_past(self) -> None:
        """A deadline in the past expires in the next sweep."""
        thing = self.scheduled(-100)
        self.run_for(TICK_S)
        self.assertEqual(len(thing.expired_at), 1)

    def test_renewed_while_it_expires(self) -> None:
        """`expired` may set the next deadline; it is kept, even one that is past already, without an endless sweep."""
        deadlines = self.deadlines

        class Again(Thing):
            def expired(self, now: float) -> None:
                super().expired(now)
                self.deadline = now - 1
                deadlines.schedule(self)

        thing = Again(self.now + 0.1)
        self.deadlines.schedule(thing)
        self.run_for(4 * TICK_S)
        self.assertIn(len(thing.expired_at), (3, 4))
        thing.deadline = 0.0

    def test_a_clock_that_stood_still_for_a_day(self) -> None:
        """After a suspend one sweep expires all that is due, in the order of the deadlines, without visiting every slot."""
        order: list[float] = []

        class Noting(Thing):
            def __init__(self, deadline: float) -> None:
                super().__init__(deadline)
                self.was = deadline

            def expired(self, now: float) -> None:
                order.append(self.was)

        for seconds in (3, 1, 2):
            self.deadlines.schedule(Noting(self.now + seconds))
        far = self.scheduled(200_000)
        self.now += 86_400
        self.deadlines.sweep(self.now)
        self.assertEqual(order, sorted(order))
        self.assertEqual(len(order), 3)
        self.assertEqual(far.expired_at, [])
        self.assertEqual(len(self.deadlines), 1)

    def test_swept_twice_for_the_same_moment(self) -> None:
        """Sweeping again, or with a time before the last one, expires nothing twice."""
        thing = self.scheduled(0.1)
        self.run_for(1)
        self.deadlines.sweep(self.now)
        self.deadlines.sweep(self.now - 1)
        self.assertEqual(len(thing.expired_at), 1)

    def test_one_that_fails(self) -> None:
        """Whatever it raises, SystemExit included, the others of its slot expire, and the guard hears of it."""
        heard: list[object] = []

        class Bad(Thing):
            def expired(self, now: float) -> None:
                raise SystemExit("no")

        for deadlines in (Deadlines(self.now, heard.append), Deadlines(self.now)):
            bad, good = Bad(self.now + 0.1), Thing(self.now + 0.1)
            deadlines.schedule(bad)
            deadlines.schedule(good)
            deadlines.sweep(self.now + 1)
            self.assertEqual(len(good.expired_at), 1)
        self.assertEqual(len(heard), 1)
        self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1)

    def test_deadlines_that_move_at_random(self) -> None:
        """A thousand moves of ten things, scheduled only when the inline check of the data plane says so: all in time."""
        chance = random.Random(3)
        things = [self.scheduled(5) for _ in range(10)]
        most = 0
        for _ in range(1000):
            thing = things[chance.randrange(10)]
            thing.deadline = self.now + chance.randrange(1, 300) / 8
            if thing.deadline_slot > thing.deadline / TICK_S + 1:
                self.deadlines.schedule(thing)
            before = [(t.deadline, len(t.expired_at), t) for t in things]
            self.run_for(chance.randrange(5) / 8)
            for deadline, count, t in before:
                if deadline and len(t.expired_at) == count:
                    self.assertGreater(deadline + TICK_S, self.now)     # not due, or only in the tick that is next
                for at in t.expired_at[count:]:
                    self.assertGreaterEqual(at, deadline)
            most = max(most, len(self.deadlines))
        self.assertGreater(sum(len(t.expired_at) for t in things), 20)
        self.assertLess(most, 200)          # stale entries live for the look-ahead, not for the deadline
