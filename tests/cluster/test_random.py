"""Tests for `voltgw.cluster.schedulers.random`."""

from __future__ import annotations

from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.cluster.making import endpoints, numbers
from voltgw.cluster.schedulers.random import FACTORY
from voltgw.interfaces import IFactory


def chi_square(counts: Counter[int], shares: list[float], total: int) -> float:
    """How far `counts` of 1, 2, 3… are from `shares` of `total`."""
    return sum((counts[number] - share * total) ** 2 / (share * total) for number, share in enumerate(shares, 1))


class RandomTests(SynchronousTestCase):
    def test_it_is_a_factory(self) -> None:
        """The registry finds what it needs."""
        verifyObject(IFactory, FACTORY)

    def test_equal_weights_are_uniform(self) -> None:
        """10,000 picks among ten equals are uniform (chi-square, 9 degrees of freedom, 99.9 %)."""
        scheduler = FACTORY.build(endpoints(*[3] * 10), Random(1))
        counts = Counter(numbers([scheduler.pick(None) for _ in range(10_000)]))
        self.assertLess(chi_square(counts, [0.1] * 10, 10_000), 27.9)

    def test_weights_are_probabilities(self) -> None:
        """10,000 picks follow the weights 5:1:1 (chi-square, 2 degrees of freedom, 99.9 %)."""
        scheduler = FACTORY.build(endpoints(5, 1, 1), Random(1))
        counts = Counter(numbers([scheduler.pick(None) for _ in range(10_000)]))
        self.assertLess(chi_square(counts, [5 / 7, 1 / 7, 1 / 7], 10_000), 13.8)

    def test_unready_ones_get_nothing_and_the_rest_their_shares(self) -> None:
        """With nine of twelve unready the picks are uniform among the other three."""
        for weights in ([1] * 12, [1, 2] * 6):
            made = endpoints(*weights)
            scheduler = FACTORY.build(made, Random(1))
            for endpoint in made[:9]:
                endpoint.ready = False
            counts = Counter(numbers([scheduler.pick(None) for _ in range(3_000)]))
            self.assertEqual(set(counts), {10, 11, 12})
            shares = [weight / sum(weights[9:]) for weight in weights[9:]]
            shifted = Counter({number - 9: count for number, count in counts.items()})
            self.assertLess(chi_square(shifted, shares, 3_000), 13.8)

    def test_nobody_ready(self) -> None:
        """None when nobody is ready, and None when there is nobody."""
        for weights in ([1, 1], [1, 2]):
            made = endpoints(*weights)
            scheduler = FACTORY.build(made, Random(1))
            for endpoint in made:
                endpoint.ready = False
            self.assertIsNone(scheduler.pick(None))
        self.assertIsNone(FACTORY.build([], Random(1)).pick(None))
