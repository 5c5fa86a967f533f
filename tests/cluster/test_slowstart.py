"""Tests for `voltgw.cluster.slowstart` and the schedulers while somebody starts slowly."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import FakePool, endpoints, state
from tests.fuzz.settings import examples
from voltgw.cluster.cluster import Cluster, SchedulerFactory
from voltgw.cluster.endpoint import Endpoint
from voltgw.cluster.schedulers import lb_override, least_request, peak_ewma, random, round_robin
from voltgw.cluster.schedulers.round_robin import PacedDeadlines, Turns
from voltgw.cluster.slowstart import SlowStart
from voltgw.cluster.snapshot import EndpointSet
from voltgw.cluster.subset import SubsetRules

FACTORIES: Final[tuple[tuple[str, SchedulerFactory], ...]] = (
    ("round_robin", round_robin.FACTORY), ("random", random.FACTORY), ("least_request", least_request.FACTORY),
    ("full_scan", least_request.LeastRequest(full_scan=True)), ("lb_override", lb_override.FACTORY))



def picked(chooser: Any) -> Endpoint:
    """Who is picked, and there is somebody."""
    endpoint = chooser.pick(None)
    assert isinstance(endpoint, Endpoint)
    return endpoint


class FormulaTests(SynchronousTestCase):
    def test_the_worked_cases(self) -> None:
        """A window of 60 s at 1, 6, 15, 30, 45 and 60 s: the figures that Envoy's code gives."""
        for aggression, expected in (
            (1.0, (0.1, 0.1, 0.25, 0.5, 0.75, 1.0)), (2.0, (0.129, 0.316, 0.5, 0.707, 0.866, 1.0)),
            (0.5, (0.1, 0.1, 0.1, 0.25, 0.5625, 1.0)),
        ):
            rules = SlowStart(60.0, aggression)
            self.assertEqual([round(rules.factor(t), 3) for t in (1, 6, 15, 30, 45, 60)],
                             [round(each, 3) for each in expected])

    def test_before_the_first_millisecond(self) -> None:
        """Time 0 counts as 1 ms, so that nobody has a weight of 0."""
        self.assertEqual(SlowStart(10.0, 1.0, 0.0).factor(0.0), 0.0001)

    @given(st.floats(0.1, 1e4), st.floats(0.01, 100), st.floats(0.1, 100), st.floats(0, 2e4), st.floats(0, 2e4))
    @examples(80)
    def test_it_only_grows(self, window_s: float, aggression: float, least: float, one: float, two: float) -> None:
        """Never below the least share, never above the whole one, never less later."""
        rules = SlowStart(window_s, aggression, least)
        one, two = sorted((one, two))
        self.assertLessEqual(rules.factor(one), rules.factor(two) + 1e-12)
        self.assertLessEqual(least / 100 - 1e-12, rules.factor(one))
        self.assertLessEqual(rules.factor(two), 1.0)


class SchedulerTests(SynchronousTestCase):
    def test_shares(self) -> None:
        """Of three endpoints one is at a quarter of its weight: it gets 1/9 of the picks, whoever picks."""
        for name, factory in FACTORIES:
            members = endpoints(1, 1, 1)
            members[0].pace = 0.25
            pick = factory.build(members, Random(0)).pick
            seen: Counter[object] = Counter()
            for _ in range(9000):
                endpoint = pick(None)
                if name == "full_scan" and endpoint is not None:    # it goes by what is under way, which here stays there
                    endpoint.active += 1
                seen[endpoint] += 1
            self.assertLess(abs(seen[members[0]] - 1000), 150, name)
            self.assertLess(abs(seen[members[1]] - 4000), 250, name)

    def test_peak_ewma(self) -> None:
        """Its cost counts for more while it starts slowly."""
        members = endpoints(1, 1)
        scheduler = peak_ewma.FACTORY.build(members, Random(0))
        for member in members:
            member.heard(200, 0.010, 0.0)
        members[0].pace = 0.25
        self.assertEqual({scheduler.pick(None) for _ in range(20)}, {members[1]})
        members[1].active = 4
        self.assertEqual({scheduler.pick(None) for _ in range(20)}, {members[0]})

    def test_all_equally_slow(self) -> None:
        """Where all start at once they share evenly."""
        for name, factory in FACTORIES:
            members = endpoints(1, 1, 1, 1)
            for member in members:
                member.pace = 0.1
            pick = factory.build(members, Random(0)).pick
            seen: Counter[object] = Counter()
            for _ in range(4000):
                endpoint = pick(None)
                if name == "full_scan" and endpoint is not None:
                    endpoint.active += 1
                seen[endpoint] += 1
            for member in members:
                self.assertLess(abs(seen[member] - 1000), 150, name)


class ClusterTests(SynchronousTestCase):
    def make(self, factory: SchedulerFactory, **options: object) -> Cluster:
        """A cluster with a window of 10 s, at 1,000 s."""
        self.now = 1000.0
        made = Cluster("default/shop", factory, lambda _: FakePool(), Random(0), slow_start=SlowStart(10.0),
                       **options)               # type: ignore[arg-type]
        made.keep_time(lambda: self.now)
        return made

    def test_from_the_beginning_to_the_end(self) -> None:
        """One that has come is at its least share, then at what its age gives; in the end the scheduler is the usual one."""
        cluster = self.make(round_robin.FACTORY)
        cluster.install(EndpointSet(1, (state(1), state(2, since=1000.0))))
        old, new = cluster.endpoints
        self.assertEqual((old.pace, new.pace), (1.0, 0.1))
        self.assertIsInstance(cluster.scheduler, PacedDeadlines)
        self.now = 1005.0
        self.assertTrue(cluster.keep_pace())
        self.assertEqual(new.pace, 0.5)
        self.now = 1010.0
        self.assertFalse(cluster.keep_pace())
        self.assertEqual(new.pace, 1.0)
        self.assertIsInstance(cluster.scheduler, Turns)

    def test_random_follows(self) -> None:
        """Its running sums are worked out anew as shares grow."""
        cluster = self.make(random.FACTORY)
        cluster.install(EndpointSet(1, (state(1), state(2, since=1000.0))))
        for now, expected in ((1000.0, 0.1 / 1.1), (1005.0, 0.5 / 1.5), (1010.0, 0.5)):
            self.now = now
            cluster.keep_pace()
            seen = sum(cluster.pick(None) is cluster.endpoints[1] for _ in range(6000)) / 6000
            self.assertLess(abs(seen - expected), 0.03, now)

    def test_one_that_fails_on_its_way(self) -> None:
        """It no longer starts; when it is back it begins anew."""
        cluster = self.make(round_robin.FACTORY)
        cluster.install(EndpointSet(1, (state(1), state(2, since=1000.0))))
        self.now = 1005.0
        cluster.mark_unready(cluster.endpoints[1].key, "it fails")
        self.assertFalse(cluster.keep_pace())
        cluster.install(EndpointSet(2, (state(1), state(2, ready=False))))
        self.now = 1020.0
        cluster.install(EndpointSet(3, (state(1), state(2, since=1020.0))))
        self.assertEqual(cluster.endpoints[1].pace, 0.1)

    def test_subsets_and_high_priority(self) -> None:
        """Their schedulers pace as well."""
        cluster = self.make(random.FACTORY, subsets=SubsetRules(keys=(("v",),)))
        cluster.install(EndpointSet(1, (state(1, labels={"v": "1"}), state(2, labels={"v": "1"}, since=1000.0))))
        subset = cluster.subset({"v": "1"})
        high = cluster.of_high_priority()
        for chooser in (subset, high):
            seen = sum(int(picked(chooser).address[-1]) == 2 for _ in range(3000)) / 3000
            self.assertLess(abs(seen - 0.1 / 1.1), 0.03)
        self.now = 1010.0
        cluster.keep_pace()
        for chooser in (subset, high):
            seen = sum(int(picked(chooser).address[-1]) == 2 for _ in range(3000)) / 3000
            self.assertLess(abs(seen - 0.5), 0.04)
