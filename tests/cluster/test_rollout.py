"""The canary that ramps itself, with a clock and counts of the test's own."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.cluster.evidence import Tally
from voltgw.cluster.rollout import Analysis, Finding, Phase, Quantile, Ramp, Step, Terms

WALL = 1_000_000.0
STEPS = (Step(5.0, 60.0), Step(25.0, 60.0), Step(50.0, 60.0))


class Run:
    """A rollout with so many requests each second, and versions of which so much fails."""

    def __init__(self, terms: Terms, rate: int = 1000, bad: float = 0.0, baseline_bad: float = 0.0, seed: int = 1) -> None:
        self.ramp = Ramp(terms)
        self.ramp.begin(WALL)
        self.now = 100.0
        self.rate, self.bad, self.baseline_bad = rate, bad, baseline_bad
        self.latency_s = self.baseline_s = 0.01
        self.ready = True
        self.chance = Random(seed)
        self.ramp.look(self.now, WALL)

    def second(self) -> None:
        """One second of traffic, then a look."""
        count = round(self.rate * self.ramp.weight / 100)
        for number in range(self.rate):
            candidate = number < count
            tally = self.ramp.candidate if candidate else self.ramp.baseline
            failed = self.chance.random() < (self.bad if candidate else self.baseline_bad)
            tally.count(failed, False, self.chance.uniform(0.9, 1.1) * (self.latency_s if candidate else self.baseline_s))
        self.now += 1.0
        self.ramp.look(self.now, WALL + self.now, self.ready)

    def seconds(self, most: int) -> int:
        """Go on until nothing more happens by itself, at most so long; how long it took."""
        for number in range(most):
            if self.ramp.over or self.ramp.phase is Phase.PAUSED:
                return number
            self.second()
        return most


class RampTests(SynchronousTestCase):
    def test_a_good_version(self) -> None:
        """It goes up step by step, each for its pause at least, to everything."""
        run = Run(Terms(STEPS), rate=200)
        weights: list[float] = []
        for _ in range(600):
            if not weights or weights[-1] != run.ramp.weight:
                weights.append(run.ramp.weight)
            run.second()
        self.assertEqual(weights, [5.0, 25.0, 50.0, 100.0])
        self.assertIs(run.ramp.phase, Phase.PROMOTED)
        self.assertEqual([text.partition(":")[0] for _, text in run.ramp.events],
                         ["begins at 5 %", "from 5 % to 25 %", "from 25 % to 50 %", "promoted from 50 % to 100 %"])
        times = [wall for wall, _ in run.ramp.events]
        self.assertTrue(all(after - before >= 60.0 for before, after in pairwise(times[1:])))

    def test_a_version_of_which_one_in_twenty_fails(self) -> None:
        """At 50 requests a second it is rolled back within the documented time: at 95 of 100 within 320 requests."""
        took = []
        for seed in range(40):
            run = Run(Terms(STEPS), rate=200, bad=0.05, seed=seed)        # 10 requests a second for the candidate
            took.append(run.seconds(1000))
            self.assertIs(run.ramp.phase, Phase.ROLLED_BACK)
            self.assertEqual(run.ramp.weight, 0.0)
            self.assertRegex(run.ramp.why, r"rolled back from 5 %: \d+ of \d+ requests failed, of the baseline's 0 of \d+: at "
                                           r"least [\d.]+ % more than the baseline, 1 % may")
        took.sort()
        self.assertLessEqual(took[20], 15)
        self.assertLessEqual(took[37], 40)

    def test_false_alarms(self) -> None:
        """Of versions that fail as often as they may, looked at for long, at most 5 of 100 are rolled back."""
        alarms = 0
        for seed in range(60):
            run = Run(Terms((Step(50.0, 1e9),)), rate=100, bad=0.01, seed=seed)
            run.seconds(100)
            alarms += run.ramp.phase is Phase.ROLLED_BACK
        self.assertLessEqual(alarms, 4)

    def test_both_fail(self) -> None:
        """What the baseline fails just the same is not held against the candidate."""
        run = Run(Terms((Step(50.0, 10.0),)), rate=400, bad=0.2, baseline_bad=0.2)
        run.seconds(300)
        self.assertIs(run.ramp.phase, Phase.PROMOTED, run.ramp.why)

    def test_too_little_traffic(self) -> None:
        """It holds, and says how many requests there were; a few more that are good are not enough either."""
        run = Run(Terms(STEPS), rate=20)        # one a second
        run.seconds(90)
        self.assertEqual((run.ramp.phase, run.ramp.weight), (Phase.RAMPING, 5.0))
        self.assertEqual(run.ramp.why, "holds: 87 of at least 100 requests so far")
        run.seconds(60)
        self.assertEqual(run.ramp.weight, 5.0)
        self.assertIn("without a failure it takes 268 requests", run.ramp.why)
        run.seconds(200)
        self.assertEqual(run.ramp.weight, 25.0)

    def test_a_step_that_takes_too_long(self) -> None:
        """With a deadline it is rolled back, and says why it could not be passed."""
        run = Run(Terms(STEPS, deadline_s=120.0), rate=20)
        self.assertTrue(119 <= run.seconds(500) <= 121)
        self.assertIn("the step was not passed within 120 s", run.ramp.why)

    def test_pause_instead(self) -> None:
        """A bad version keeps its share until somebody has looked, if that is what was asked for."""
        run = Run(Terms(STEPS, pause_if_bad=True), bad=0.5)
        run.seconds(100)
        self.assertEqual((run.ramp.phase, run.ramp.weight), (Phase.PAUSED, 5.0))
        run.ramp.resume(WALL)
        self.assertEqual((run.ramp.phase, run.ramp.candidate.requests), (Phase.RAMPING, 0))

    def test_few_failures_prove_nothing(self) -> None:
        """Two failures of ten are no verdict, three are."""
        for failures, finding in ((2, Finding.UNSURE), (3, Finding.BAD)):
            tally = Tally()
            for number in range(10):
                tally.count(number < failures, False, 0.01)
            self.assertIs(Analysis().judge(tally, Tally(), 1).finding, finding)

    def test_the_baseline_is_not_ready(self) -> None:
        """No step is passed while there is nothing to compare with."""
        run = Run(Terms((Step(50.0, 10.0),)))
        run.ready = False
        run.seconds(60)
        self.assertIn("the baseline has no endpoint that may be used", run.ramp.why)
        run.ready = True
        run.seconds(5)
        self.assertIs(run.ramp.phase, Phase.PROMOTED)

    def test_the_baseline_is_not_needed(self) -> None:
        """At a step of 100 % it may be gone; its ratio is not asked for, and the candidate's alone decides."""
        for bad, phase in ((0.0, Phase.PROMOTED), (0.05, Phase.ROLLED_BACK)):
            run = Run(Terms((Step(100.0, 10.0),), Analysis(quantiles=(Quantile(0.99, 0.1),))), bad=bad)
            run.ready = False
            run.seconds(60)
            self.assertIs(run.ramp.phase, phase, run.ramp.why)

    def test_time_stands_still_before_the_first_look(self) -> None:
        """A restart adds nothing to the time that a step has lasted."""
        ramp = Ramp(Terms(STEPS))
        ramp.look(1e6, WALL)
        ramp.look(1e6 + 5, WALL)
        self.assertEqual(ramp.elapsed_s, 5.0)


class LatencyTests(SynchronousTestCase):
    def terms(self, *quantiles: Quantile) -> Terms:
        return Terms((Step(20.0, 10.0),), Analysis(quantiles=quantiles))

    def test_slower_than_the_baseline(self) -> None:
        """Twice as slow where half as much again is allowed."""
        run = Run(self.terms(Quantile(0.95, 0.5)))
        run.latency_s = 0.04
        run.baseline_s = 0.02
        self.assertLess(run.seconds(100), 10)
        self.assertIn("rolled back from 20 %: p95 of", run.ramp.why)
        self.assertIn("the baseline's 22", run.ramp.why)

    def test_as_slow_as_the_baseline(self) -> None:
        """No matter how slow that is."""
        run = Run(self.terms(Quantile(0.99, 0.25)))
        run.latency_s = run.baseline_s = 3.0
        run.seconds(100)
        self.assertIs(run.ramp.phase, Phase.PROMOTED, run.ramp.why)

    def test_over_the_most(self) -> None:
        """A limit that holds whatever the baseline does."""
        run = Run(self.terms(Quantile(0.5, most_s=0.1)))
        run.latency_s = run.baseline_s = 0.2
        run.seconds(100)
        self.assertIn("over 100 ms (the most it may be)", run.ramp.why)

    def test_slack(self) -> None:
        """A millisecond that becomes three is within five milliseconds."""
        run = Run(self.terms(Quantile(0.95, 0.1)))
        run.latency_s, run.baseline_s = 0.003, 0.001
        run.seconds(100)
        self.assertIs(run.ramp.phase, Phase.PROMOTED, run.ramp.why)

    def test_perhaps(self) -> None:
        """Over the limit, but not surely: it holds."""
        slow, fast = Tally(), Tally()
        for number in range(400):
            slow.count(False, False, 0.02 if number % 20 < 18 else 0.2)
            fast.count(False, False, 0.02)
        verdict = Analysis(quantiles=(Quantile(0.905, 0.5),)).judge(slow, fast, 1)
        self.assertIs(verdict.finding, Finding.UNSURE)
        self.assertIn("over 3", verdict.why)


class OperatorTests(SynchronousTestCase):
    def test_approval(self) -> None:
        """A step that asks for it is passed when somebody says so, and not before; what turns bad meanwhile is rolled back."""
        terms = Terms((Step(50.0, 5.0, approve=True), Step(80.0, 5.0)))
        run = Run(terms)
        self.assertRaises(ValueError, run.ramp.approve, WALL)
        run.seconds(30)
        self.assertEqual((run.ramp.phase, run.ramp.weight), (Phase.APPROVAL, 50.0))
        run.ramp.approve(WALL)
        self.assertEqual((run.ramp.phase, run.ramp.weight), (Phase.RAMPING, 80.0))
        other = Run(terms)
        other.seconds(30)
        other.bad = 0.5
        other.seconds(30)
        self.assertIs(other.ramp.phase, Phase.ROLLED_BACK)

    def test_what_may_be_said_when(self) -> None:
        """Each order in each phase: it is done, or refused in words, and weights follow."""
        run = Run(Terms(STEPS))
        ramp = run.ramp
        ramp.pause(WALL)
        self.assertRaisesRegex(ValueError, "it is paused", ramp.pause, WALL)
        run.bad = 1.0
        run.seconds(30)
        self.assertEqual((ramp.phase, ramp.weight), (Phase.PAUSED, 5.0))
        ramp.resume(WALL)
        self.assertRaisesRegex(ValueError, "it is not paused", ramp.resume, WALL)
        ramp.promote(WALL)
        self.assertEqual(ramp.weight, 100.0)
        self.assertRaisesRegex(ValueError, "it is promoted", ramp.promote, WALL)
        self.assertRaisesRegex(ValueError, "it is promoted", ramp.pause, WALL)
        ramp.rollback(WALL)
        self.assertEqual(ramp.weight, 0.0)
        self.assertRaisesRegex(ValueError, "it is rolled back", ramp.rollback, WALL)
        ramp.restart(WALL)
        self.assertEqual((ramp.phase, ramp.weight, ramp.candidate.requests), (Phase.RAMPING, 5.0, 0))

    def test_doubt(self) -> None:
        """Where nothing is known the configured weights hold, until somebody says something."""
        ramp = Ramp(Terms(STEPS))
        ramp.doubt(WALL, "the file is damaged")
        ramp.look(1.0, WALL)
        self.assertEqual((ramp.phase, ramp.unknown), (Phase.PAUSED, True))
        again = Ramp(Terms(STEPS))
        again.restore(ramp.plain())
        self.assertTrue(again.unknown)
        again.resume(WALL)
        self.assertFalse(again.unknown)


class KeptTests(SynchronousTestCase):
    @examples(30)
    @given(st.integers(1, 200), st.floats(0, 0.1), st.integers(0, 5))       # the second one has looked once, too
    def test_a_restart_anywhere(self, seconds: int, bad: float, seed: int) -> None:
        """Written down and read back at any time, it goes on as if nothing had happened."""
        first = Run(Terms((Step(30.0, 20.0), Step(60.0, 20.0))), rate=50, bad=bad, seed=seed)
        first.seconds(seconds)
        second = Run(first.ramp.terms, rate=50, bad=bad)
        second.ramp.restore(first.ramp.plain())
        second.ramp.look(second.now, WALL + first.now)
        second.now, second.ramp._last = first.now, first.ramp._last
        second.chance.setstate(first.chance.getstate())
        self.assertEqual(second.ramp.plain(), first.ramp.plain())
        first.seconds(200)
        second.seconds(200)
        self.assertEqual(second.ramp.plain(), first.ramp.plain())

    def test_what_cannot_be_read(self) -> None:
        """It is refused whole, and the rollout stands as it stood."""
        good = Run(Terms(STEPS)).ramp.plain()
        changes: tuple[dict[str, Any], ...] = (
            {"phase": "LOST"}, {"step": 3}, {"step": "x"}, {"elapsed_s": -1}, {"candidate": {}}, {"events": [1]},
            {"elapsed_s": float("nan")}, {"baseline": None}, {"looks": -1})
        for change in changes:
            ramp = Ramp(Terms(STEPS))
            before = ramp.plain()
            self.assertRaises(ValueError, ramp.restore, {**good, **change})
            self.assertEqual(ramp.plain(), before)
        self.assertRaises(ValueError, Ramp(Terms(STEPS)).restore, {})

    @examples(50)
    @given(st.lists(st.sampled_from(("look", "fail", "pass", "approve", "pause", "resume", "rollback", "promote", "restart")),
                    max_size=60))
    def test_whatever_is_said(self, said: list[str]) -> None:
        """In any order of events the weight is one of the steps', 0 or 100, and the state can be written and read."""
        terms = Terms((Step(10.0, 0.0, approve=True), Step(20.0, 0.0)), Analysis(least_requests=10, allowed=0.3))
        ramp, now = Ramp(terms), 0.0
        for each in said:
            now += 1.0
            if each == "look":
                ramp.look(now, WALL)
            elif each in ("fail", "pass"):
                for _ in range(20):
                    ramp.candidate.count(each == "fail", False, None)
            else:
                try:
                    getattr(ramp, each)(WALL)
                except ValueError:
                    pass                    # refused; what may be said when has its own test
            self.assertIn(ramp.weight, (0.0, 10.0, 20.0, 100.0))
            other = Ramp(terms)
            other.restore(ramp.plain())
            self.assertEqual(other.plain(), ramp.plain())
