"""Tests for `voltgw.control.probes.prober`."""

from __future__ import annotations

import errno
from collections import Counter
from itertools import pairwise
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.control.fakes import FakeLoop, FakeNet
from voltgw.control.probes.prober import MOST_PROBES, STALE_KEPT, Prober
from voltgw.control.probes.target import KEPT_RESULTS, Check, Target
from voltgw.control.probes.tcp import TcpProbe


class ProberTestCase(SynchronousTestCase):
    """A running prober; `told` is what the observer heard, (port, changed)."""

    def setUp(self) -> None:
        """Start it."""
        self.loop = FakeLoop()
        self.net = FakeNet()
        self.prober = Prober(self.loop, Random(0), self.net.dial)
        self.prober.startService()
        self.told: list[tuple[int, bool]] = []

    def tearDown(self) -> None:
        """It leaves no timer."""
        self.prober.stopService()
        self.assertEqual(self.loop.clock.getDelayedCalls(), [])
        self.assertEqual(self.prober.under_way, 0)

    def probed(self, target: Target, changed: bool) -> None:
        """Hear of a result."""
        self.told.append((target.port, changed))

    def target(self, port: int = 1, interval_s: float = 5.0, timeout_s: float = 2.0, jitter_percent: int = 0) -> Target:
        """Add one, told apart by its port."""
        check = Check("default/tcp", TcpProbe(b"", b""), interval_s, timeout_s, 2, 3, jitter_percent)
        made = Target(check, "", "192.0.2.1", port, self, None)
        self.prober.add(made)
        return made

    def accept_all(self) -> list[int]:
        """Let every probe that waits pass; their ports."""
        ports = []
        while self.net.dials:
            for dial in self.net.take():
                ports.append(dial.port)
                dial.accept()
        return ports


class TimesTests(ProberTestCase):
    def test_the_first_probe_is_sent_at_once(self) -> None:
        """A new target is probed without waiting for its interval."""
        self.target(interval_s=600.0)
        self.loop.advance(0.011)
        self.assertEqual(self.accept_all(), [1])
        self.assertEqual(self.told, [(1, True)])

    def test_one_probe_each_interval_from_start_to_start(self) -> None:
        """After the first two, probes start one interval after each other, however long they take."""
        starts: list[float] = []
        self.target()
        for _ in range(4000):
            self.loop.advance(0.010)
            for dial in self.net.take():
                starts.append(self.loop.monotonic())
                self.loop.clock.callLater(1.0, dial.accept)
        gaps = [round(after - before, 1) for before, after in pairwise(starts[1:])]
        self.assertGreaterEqual(len(gaps), 5)
        self.assertEqual(set(gaps), {5.0})
        self.assertLessEqual(starts[1] - starts[0], 5.0)

    def test_a_probe_that_takes_longer_than_the_interval(self) -> None:
        """The next one starts when it is over: there are never two for one target."""
        self.target(interval_s=1.0, timeout_s=3.0)
        for _ in range(200):
            self.loop.advance(0.1)
            self.assertLessEqual(self.prober.under_way, 1)
        self.assertIn(self.net.total, (6, 7))

    def test_targets_that_were_added_together_are_spread(self) -> None:
        """From the second probe on, targets stand evenly over the interval."""
        for port in range(200):
            self.target(port)
        self.loop.advance(0.011)
        self.assertEqual(len(self.accept_all()), 200)
        for _ in range(7):                  # the second round, at random moments; the third begins meanwhile
            self.loop.advance(0.8, step_s=0.010)
            self.accept_all()
        seconds = Counter[int]()
        began = self.loop.monotonic()
        for _ in range(500):
            self.loop.advance(0.010)
            seconds[int(self.loop.monotonic() - began - 0.001)] += len(self.accept_all())
        self.assertEqual(sum(seconds.values()), 200)
        self.assertLess(max(seconds.values()), 65)
        self.assertGreater(min(seconds[second] for second in range(5)), 20)

    def test_jitter_lengthens_the_interval(self) -> None:
        """With 50 % jitter the gaps lie between one interval and one and a half, and differ."""
        starts: list[float] = []
        self.target(jitter_percent=50)
        for _ in range(20_000):
            self.loop.advance(0.010)
            if self.accept_all():
                starts.append(self.loop.monotonic())
        gaps = [after - before for before, after in pairwise(starts[1:])]
        self.assertGreater(len(gaps), 25)
        self.assertGreaterEqual(min(gaps), 4.99)
        self.assertLessEqual(max(gaps), 7.53)
        self.assertGreater(max(gaps) - min(gaps), 1.0)

    def test_intervals_of_their_own(self) -> None:
        """While results disagree with the health, and while an endpoint is out, probes come at other intervals if told so."""
        check = Check("default/tcp", TcpProbe(b"", b""), 10.0, 1.0, 2, 3, 0, 1.0, 30.0)
        target = Target(check, "", "192.0.2.1", 1, self, None)
        self.prober.add(target)
        gaps: list[int] = []
        began = 0.0
        for ok in (True, True, False, False, False, True, True, True):
            while not self.net.dials:
                self.loop.advance(0.010)
            gaps.append(round(self.loop.monotonic() - began))
            began = self.loop.monotonic()
            dial = self.net.one()
            if ok:
                dial.accept()
            else:
                dial.refuse()
        # after: the first result (anywhere), good, the first failure, the second, the third (out), the first success, back
        self.assertEqual(gaps[2:], [10, 1, 1, 30, 1, 10])
        self.assertIs(target.state.healthy, True)

    def test_ten_thousand_targets_cost_one_timer(self) -> None:
        """However many targets wait, one timer wakes the prober."""
        for port in range(10_000):
            self.target(port)
        self.assertEqual(len(self.loop.clock.getDelayedCalls()), 1)


class PlacesTests(ProberTestCase):
    def test_at_most_so_many_at_once(self) -> None:
        """No more than 256 probes are under way; each that ends makes room for the next in line."""
        for port in range(MOST_PROBES + 100):
            self.target(port)
        self.loop.advance(0.011)
        self.assertEqual((self.prober.under_way, self.prober.waiting), (MOST_PROBES, 100))
        dials = self.net.take()
        self.assertEqual([dial.port for dial in dials], list(range(MOST_PROBES)))
        for dial in dials[:3]:
            dial.accept()
        self.assertEqual([dial.port for dial in self.net.take()], [MOST_PROBES, MOST_PROBES + 1, MOST_PROBES + 2])
        self.assertEqual(self.prober.under_way, MOST_PROBES)

    def test_targets_that_time_out_do_not_starve_the_others(self) -> None:
        """With a thousand endpoints that swallow packets, those that answer are probed in time once that is known."""
        for port in range(1000):
            self.target(port)
        good = {self.target(port).port for port in range(1000, 1020)}
        times: dict[int, list[float]] = {port: [] for port in range(1020)}
        for tick in range(2500):
            self.loop.advance(0.020)
            for dial in self.net.take():
                if tick > 1000:             # the first rounds are over, it is known who is slow
                    times[dial.port].append(self.loop.monotonic())
                if dial.port in good:
                    dial.accept()
        for port in good:
            self.assertGreaterEqual(len(times[port]), 5)
            self.assertLess(max(after - before for before, after in pairwise(times[port])), 5.1)
        slow = [len(times[port]) for port in range(1000)]
        self.assertGreaterEqual(min(slow), 1)


class ResultsTests(ProberTestCase):
    def test_results_are_kept(self) -> None:
        """The last eight results are kept with times and reasons."""
        target = self.target(interval_s=1.0)
        for number in range(12):
            while not self.net.dials:
                self.loop.advance(0.010)
            dial = self.net.one()
            self.loop.advance(0.25)
            if number % 2:
                dial.refuse()
            else:
                dial.accept()
        self.assertEqual(len(target.results), KEPT_RESULTS)
        self.assertEqual([result.ok for result in target.results], [True, False] * 4)
        self.assertEqual(target.results[-1].reason, "192.0.2.1:1: Connection refused")
        self.assertAlmostEqual(target.results[-1].took_s, 0.25)
        self.assertEqual(target.results[-1].at, self.loop.monotonic())
        self.assertEqual((self.prober.probes, self.prober.failures), (12, 6))

    def test_our_own_failures_blame_nobody(self) -> None:
        """No descriptor, no memory, no port: no result, a line in the log once, and the next try at the next interval."""
        target = self.target(interval_s=1.0)
        for number in (errno.EMFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL):
            while not self.net.dials:
                self.loop.advance(0.010)
            self.net.one().refuse(number)
        self.assertEqual(list(target.results), [])
        self.assertEqual(self.told, [])
        self.assertEqual((self.prober.probes, self.prober.local_failures), (0, 3))
        self.loop.advance(1.1)
        self.accept_all()
        self.assertEqual(self.told, [(1, True)])

    def test_changes_are_told(self) -> None:
        """The observer hears of every result and of whether it changed the health."""
        self.target(interval_s=1.0)
        for ok in (True, True, False, False, False, False):
            while not self.net.dials:
                self.loop.advance(0.010)
            dial = self.net.one()
            if ok:
                dial.accept()
            else:
                dial.refuse()
        self.assertEqual([changed for _, changed in self.told], [True, False, False, False, True, False])


class RemovalTests(ProberTestCase):
    def test_a_removed_target_gives_no_result(self) -> None:
        """Removed while its probe is under way, it is abandoned; removed while it waits, it is never probed."""
        first, second = self.target(1), self.target(2)
        self.prober.remove(second)
        self.loop.advance(0.011)
        dial = self.net.one()
        self.prober.remove(first)
        self.assertTrue(dial.cancelled)
        self.loop.advance(60.0, step_s=1.0)
        self.assertEqual((self.told, self.net.dials, self.prober.under_way), ([], [], 0))

    def test_its_place_is_taken_at_once(self) -> None:
        """Removing a target whose probe is under way starts the next in line."""
        targets = [self.target(port) for port in range(MOST_PROBES + 1)]
        self.loop.advance(0.011)
        self.net.take()
        self.prober.remove(targets[0])
        self.assertEqual(self.net.one().port, MOST_PROBES)

    def test_a_flapping_endpoint_leaves_nothing_behind(self) -> None:
        """Targets that come and go a thousand times do not pile up until their time would have come."""
        for port in range(1000):
            target = self.target(port, interval_s=600.0)
            self.loop.advance(0.011)
            self.accept_all()
            self.prober.remove(target)
        self.assertLessEqual(len(self.prober._due), 2 * STALE_KEPT + 2)


class LifeTests(ProberTestCase):
    def test_nothing_runs_before_it_is_started(self) -> None:
        """Targets that are added earlier wait for the start."""
        prober = Prober(self.loop, Random(0), self.net.dial)
        prober.add(Target(Check("c", TcpProbe(b"", b""), 5, 2, 1, 1), "", "192.0.2.1", 7, self, None))
        self.loop.advance(10.0)
        self.assertEqual(self.net.dials, [])
        prober.startService()
        self.loop.advance(0.011)
        self.assertEqual(self.net.one().port, 7)
        prober.stopService()

    def test_stopping_abandons_what_is_under_way(self) -> None:
        """After the stop nothing is told and nothing is open, and it can be started again."""
        self.target(1, interval_s=1.0)
        self.loop.advance(0.011)
        dial = self.net.one()
        self.prober.stopService()
        self.assertTrue(dial.cancelled)
        self.loop.advance(10.0)
        self.assertEqual(self.told, [])
        self.prober.startService()
        self.target(2)
        self.loop.advance(0.011)
        self.assertEqual(self.accept_all(), [1, 2])
