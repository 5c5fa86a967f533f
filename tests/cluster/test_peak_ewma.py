"""Tests for `voltgw.cluster.ewma` and the scheduler that picks by it."""

from __future__ import annotations

from collections import Counter
from math import exp
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import cluster, endpoints, state
from voltgw.cluster.endpoint import Endpoint
from voltgw.cluster.ewma import DECAY_S, PENALTY_S, PeakEwma
from voltgw.cluster.outlier import ALL_ANSWERS, NO_ANSWERS, OutlierDetector, OutlierRules
from voltgw.cluster.schedulers import peak_ewma
from voltgw.cluster.snapshot import EndpointSet
from voltgw.errors import ConfigErrors


class ValueTests(SynchronousTestCase):
    def test_a_peak_counts_at_once(self) -> None:
        """A slower answer is the value from then on."""
        value = PeakEwma()
        value.observe(0.010, 200, 100.0)
        value.observe(0.500, 200, 100.1)
        self.assertEqual(value.latency_s(100.1), 0.5)

    def test_decay(self) -> None:
        """Without answers the value falls by e in the time constant: the worked figures after 1, 5, 10 and 30 s."""
        value = PeakEwma()
        value.observe(1.0, 200, 100.0)
        self.assertEqual([round(value.latency_s(100.0 + t), 3) for t in (0, 1, 5, 10, 30)], [1.0, 0.905, 0.607, 0.368, 0.05])

    def test_faster_answers_enter_by_their_age(self) -> None:
        """An answer 10 s later counts for 1 - 1/e."""
        value = PeakEwma()
        value.observe(1.0, 200, 100.0)
        value.observe(0.1, 200, 110.0)
        self.assertAlmostEqual(value.latency_s(110.0), exp(-1) + 0.1 * (1 - exp(-1)))

    def test_many_fast_answers_do_not_hide_a_peak(self) -> None:
        """A thousand answers within a second take it down no further than a second does."""
        value = PeakEwma()
        value.observe(1.0, 200, 100.0)
        for number in range(1000):
            value.observe(0.001, 200, 100.0 + number / 1000)
        self.assertGreater(value.latency_s(101.0), 0.9)

    def test_failures_are_slow(self) -> None:
        """A fast 429, 500 or refusal is as bad as an answer after five seconds."""
        for status in (429, 500, 503):
            value = PeakEwma()
            value.observe(0.0005, status, 100.0)
            self.assertEqual(value.latency_s(100.0), PENALTY_S, status)
        value = PeakEwma()
        value.failed(100.0)
        self.assertEqual(value.latency_s(100.0), PENALTY_S)
        value = PeakEwma()
        value.observe(0.0005, 404, 100.0)
        self.assertEqual(value.latency_s(100.0), 0.0005)

    def test_an_unknown_one_gets_one_request(self) -> None:
        """It costs nothing while it has none under way, and much with one."""
        value = PeakEwma()
        self.assertEqual((value.cost(0, 100.0), value.cost(1, 100.0)), (0.0, PENALTY_S))

    def test_a_clock_that_stands(self) -> None:
        """Answers at the same moment, or before the last one, break nothing."""
        value = PeakEwma()
        value.observe(0.2, 200, 100.0)
        value.observe(0.1, 200, 99.0)
        self.assertEqual(value.latency_s(98.0), 0.2)


class SchedulerTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Four endpoints and a clock."""
        self.now = 100.0
        self.members = endpoints(1, 1, 1, 1)
        self.scheduler = peak_ewma.FACTORY.timed(lambda: self.now).build(self.members, Random(0))

    def serve(self, count: int, latency_s: dict[Endpoint, float], statuses: dict[Endpoint, int] | None = None,
              every_s: float = 0.002) -> Counter[Endpoint]:
        """Requests at a steady rate; each endpoint takes its time."""
        seen: Counter[Endpoint] = Counter()
        under_way: list[tuple[float, float, Endpoint]] = []
        for _ in range(count):
            self.now += every_s
            for item in [each for each in under_way if each[0] <= self.now]:
                under_way.remove(item)
                end, took, endpoint = item
                endpoint.active -= 1
                endpoint.heard((statuses or {}).get(endpoint, 200), took, end)
            chosen = self.scheduler.pick(None)
            assert chosen is not None
            seen[chosen] += 1
            chosen.active += 1
            took = latency_s[chosen]
            under_way.append((self.now + took, took, chosen))
        return seen

    def test_a_slow_one_gets_less(self) -> None:
        """One that takes ten times as long gets a small share, by itself."""
        latency = dict.fromkeys(self.members, 0.010)
        latency[self.members[0]] = 0.100
        seen = self.serve(5000, latency)
        self.assertLess(seen[self.members[0]], 500)
        self.assertGreater(min(seen[each] for each in self.members[1:]), 1200)

    def test_a_fast_429_attracts_nothing(self) -> None:
        """An endpoint that refuses in half a millisecond gets a trickle, where least request would send it almost everything."""
        for status in (429, 503):
            self.setUp()
            latency = dict.fromkeys(self.members, 0.010)
            latency[self.members[0]] = 0.0005
            seen = self.serve(5000, latency, {self.members[0]: status})
            self.assertLess(seen[self.members[0]], 50, status)

    def test_one_that_recovers_is_tried_again(self) -> None:
        """After a while without traffic it costs less than the others, gets a request, and then its share."""
        latency = dict.fromkeys(self.members, 0.010)
        self.serve(200, latency, {self.members[0]: 503})
        self.assertEqual(self.serve(200, latency)[self.members[0]], 0)
        self.now += 12 * DECAY_S
        for each in self.members[1:]:
            each.heard(200, 0.010, self.now)
        seen = self.serve(4000, latency)
        self.assertGreater(seen[self.members[0]], 600)

    def test_weights(self) -> None:
        """The cost counts for the weight: with equal latencies a heavier one takes more at a time."""
        members = endpoints(3, 1)
        scheduler = peak_ewma.FACTORY.build(members, Random(0))
        for member in members:
            member.heard(200, 0.010, 0.0)
        seen: Counter[object] = Counter()
        for _ in range(8):
            endpoint = scheduler.pick(None)
            assert endpoint is not None
            endpoint.active += 1
            seen[endpoint] += 1
        self.assertEqual(seen[members[0]], 6)

    def test_unready_ones(self) -> None:
        """They are passed over, and nobody is picked when all are."""
        for member in self.members[:3]:
            member.ready = False
        self.assertEqual({self.scheduler.pick(None) for _ in range(50)}, {self.members[3]})
        self.members[3].ready = False
        self.assertIs(self.scheduler.pick(None), None)
        self.assertIs(peak_ewma.FACTORY.build([], Random(0)).pick(None), None)

    def test_who_must_report(self) -> None:
        """Endpoints of other schedulers report nothing; these report every answer, whatever outlier detection asks for."""
        self.assertEqual((endpoints(1)[0].heeds, self.members[0].heeds), (NO_ANSWERS, ALL_ANSWERS))
        detector = OutlierDetector(OutlierRules(), Random(0))
        detector.watch(self.members[0])
        self.members[0].heard(200, 0.01, 0.0)
        self.assertEqual(self.members[0].heeds, ALL_ANSWERS)

    def test_in_a_cluster(self) -> None:
        """The cluster hands its clock on, to subsets and those who were there before as well."""
        made = cluster()
        made.factory = peak_ewma.FACTORY
        made.install(EndpointSet(1, (state(1), state(2))))
        made.keep_time(lambda: 1e6)
        for endpoint in made.endpoints:
            endpoint.heard(200, 1.0, 1e6 - 100)
        made.endpoints[1].heard(200, 0.5, 1e6)
        self.assertEqual({made.pick(None) for _ in range(20)}, {made.endpoints[0]})     # a hundred seconds ago
        twin = made.of_high_priority()
        self.assertIsInstance(twin.pick(None), Endpoint)

    def test_options(self) -> None:
        """`decay_s` and `penalty_ms`; anything else is an error with its name."""
        factory = peak_ewma.FACTORY.configured({"decay_s": 2, "penalty_ms": 100})
        (member,) = endpoints(1)
        factory.build([member], Random(0))
        member.heard(503, 0.001, 0.0)
        assert member.latency is not None
        self.assertEqual((round(member.latency.latency_s(0.0), 3), round(member.latency.latency_s(2.0), 4)), (0.1, 0.0368))
        for bad in ({"decay": 1}, {"decay_s": 0}, {"penalty_ms": "x"}):
            with self.assertRaises(ConfigErrors):
                peak_ewma.FACTORY.options(bad, None)
