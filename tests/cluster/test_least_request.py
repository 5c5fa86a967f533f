"""Tests for `voltgw.cluster.schedulers.least_request`."""

from __future__ import annotations

from collections import Counter, deque
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.cluster.making import endpoints, numbers
from tests.cluster.test_random import chi_square
from tests.fuzz.settings import examples
from voltgw.cluster.schedulers.least_request import FACTORY, BusyDeadlines, FullScan, LeastRequest, TwoChoices
from voltgw.interfaces import IFactory

SCAN = LeastRequest(full_scan=True)


class LeastRequestTests(SynchronousTestCase):
    def test_it_is_a_factory(self) -> None:
        """The registry finds what it needs, and the cheapest form is built."""
        verifyObject(IFactory, FACTORY)
        self.assertIsInstance(FACTORY.build(endpoints(2, 2), Random(0)), TwoChoices)
        self.assertIsInstance(FACTORY.build(endpoints(2, 1), Random(0)), BusyDeadlines)
        self.assertIsInstance(SCAN.build(endpoints(2, 1), Random(0)), FullScan)

    def test_two_endpoints_are_two_choices(self) -> None:
        """The two that are drawn are distinct: of two endpoints the less busy one is always found."""
        made = endpoints(1, 1)
        made[0].active = 1
        scheduler = FACTORY.build(made, Random(1))
        self.assertEqual(set(numbers([scheduler.pick(None) for _ in range(200)])), {2})

    def test_idle_equals_are_uniform(self) -> None:
        """10,000 picks among ten idle equals are uniform (chi-square, 9 degrees of freedom, 99.9 %)."""
        for factory in (FACTORY, SCAN):
            scheduler = factory.build(endpoints(*[1] * 10), Random(1))
            counts = Counter(numbers([scheduler.pick(None) for _ in range(10_000)]))
            self.assertLess(chi_square(counts, [0.1] * 10, 10_000), 27.9)

    def test_the_shares_of_two_choices(self) -> None:
        """With loads 0, 1, 2, 3 the k-th of n wins 2(n - k) of n(n - 1) draws: 1/2, 1/3, 1/6 and nothing."""
        made = endpoints(1, 1, 1, 1)
        for load, endpoint in enumerate(made):
            endpoint.active = load
        scheduler = FACTORY.build(made, Random(1))
        counts = Counter(numbers([scheduler.pick(None) for _ in range(12_000)]))
        self.assertEqual(counts[4], 0)
        self.assertLess(chi_square(counts, [1 / 2, 1 / 3, 1 / 6], 12_000), 13.8)

    def test_idle_weights_are_shares(self) -> None:
        """While nobody is busy, weights 3:1 give 3 of 4 requests to the heavy one."""
        scheduler = FACTORY.build(endpoints(3, 1), Random(1))
        self.assertEqual(Counter(numbers([scheduler.pick(None) for _ in range(4_000)]))[1], 3_000)

    def test_a_busy_one_counts_for_less(self) -> None:
        """Weight 2 with 4 under way counts for 2 / 5 against the other's 2: a sixth of the requests."""
        made = endpoints(2, 2, 1)
        made[0].active = 4
        scheduler = BusyDeadlines(made[:2], Random(1))
        self.assertAlmostEqual(Counter(numbers([scheduler.pick(None) for _ in range(6_000)]))[1] / 6_000, 1 / 6, delta=0.01)

    def test_a_slow_one_gets_less(self) -> None:
        """One of ten that takes twenty times as long as the others never has many more under way than they."""
        for factory in (FACTORY, SCAN):
            made = endpoints(*[1] * 10)
            scheduler = factory.build(made, Random(1))
            ends: deque[tuple[int, int]] = deque()
            most = 0
            for now in range(4_000):
                for end in [end for end in ends if end[0] <= now]:
                    ends.remove(end)
                    made[end[1] - 1].active -= 1
                endpoint = scheduler.pick(None)
                assert endpoint is not None
                endpoint.active += 1
                number = numbers([endpoint])[0]
                ends.append((now + (200 if number == 1 else 10), number))
                most = max(most, made[0].active)
            self.assertLessEqual(most, 5)

    def test_full_scan_finds_the_least_for_its_weight(self) -> None:
        """(3 + 1) / 4 is less than (1 + 1) / 1."""
        made = endpoints(1, 4, 1)
        for endpoint, active in zip(made, (1, 3, 2), strict=True):
            endpoint.active = active
        self.assertEqual(numbers([SCAN.build(made, Random(0)).pick(None)]), [2])

    @examples(60)
    @given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9), st.booleans()), min_size=1, max_size=9), st.booleans())
    def test_only_ready_ones_and_always_one(self, members: list[tuple[int, int, bool]], scan: bool) -> None:
        """Whatever weights, loads and readiness: a pick is ready, and None only if nobody is."""
        made = endpoints(*(weight for weight, _, _ in members))
        for endpoint, (_, active, ready) in zip(made, members, strict=True):
            endpoint.active = active
            endpoint.ready = ready
        scheduler = LeastRequest(full_scan=scan).build(made, Random(0))
        for _ in range(20):
            picked = scheduler.pick(None)
            self.assertEqual(picked is not None and picked.ready, any(endpoint.ready for endpoint in made))

    def test_nobody(self) -> None:
        """None when there is nobody."""
        self.assertIsNone(FACTORY.build([], Random(1)).pick(None))


class SomeChoicesTests(SynchronousTestCase):
    def test_more_choices_come_closer_to_the_least_busy(self) -> None:
        """Of a hundred endpoints with 0 to 99 under way, eight choices give about the best ninth on average, two the best third."""
        members = endpoints(*[1] * 100)
        for number, member in enumerate(members):
            member.active = number
        for choices, expected in ((2, 33), (8, 10.5)):
            pick = LeastRequest(choice_count=choices).build(members, Random(0)).pick
            mean = sum(endpoint.active for _ in range(3000) if (endpoint := pick(None)) is not None) / 3000
            self.assertLess(abs(mean - expected), 2, choices)

    def test_unready_ones(self) -> None:
        """They are passed over, also when all that were drawn are."""
        members = endpoints(*[1] * 100)
        for member in members[1:]:
            member.ready = False
        pick = LeastRequest(choice_count=3).build(members, Random(0)).pick
        self.assertEqual({pick(None) for _ in range(20)}, {members[0]})
        members[0].ready = False
        self.assertIs(pick(None), None)
