"""Tests for `voltgw.cluster.schedulers.round_robin`."""

from __future__ import annotations

import sys
from collections import Counter
from random import Random
from types import FrameType
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.cluster.making import cluster, endpoints, numbers, state
from tests.support import interpreted_only
from voltgw.cluster.schedulers.round_robin import FACTORY, PREPARED_STEPS, Deadlines, Turns, smooth_sequence
from voltgw.interfaces import IFactory

WEIGHTS = st.lists(st.integers(1, 12), min_size=1, max_size=8)


class SmoothSequenceTests(SynchronousTestCase):
    def test_five_one_one(self) -> None:
        """The sequence that nginx documents: a a b a c a a."""
        self.assertEqual("".join("abc"[index] for index in smooth_sequence([5, 1, 1])), "aabacaa")

    def test_three_one(self) -> None:
        """Two cycles of 3:1 are a a b a a a b a."""
        self.assertEqual("".join("ab"[index] for index in smooth_sequence([3, 1])) * 2, "aabaaaba")

    @given(WEIGHTS)
    @settings(max_examples=60, deadline=None, derandomize=True)
    def test_a_cycle_gives_everyone_its_weight(self, weights: list[int]) -> None:
        """In one cycle everyone is picked exactly as often as its weight says."""
        counts = Counter(smooth_sequence(weights))
        self.assertEqual([counts[index] for index in range(len(weights))], weights)

    @given(st.lists(st.integers(1, 12), min_size=2, max_size=8))
    @settings(max_examples=60, deadline=None, derandomize=True)
    def test_nobody_runs_ahead(self, weights: list[int]) -> None:
        """After any number of picks nobody is more than one full turn of everyone away from its exact share."""
        total = sum(weights)
        counts = [0] * len(weights)
        for picks, index in enumerate(smooth_sequence(weights), 1):
            counts[index] += 1
            for count, weight in zip(counts, weights, strict=True):
                self.assertLess(abs(count - picks * weight / total), len(weights))


class RoundRobinTests(SynchronousTestCase):
    def test_it_is_a_factory(self) -> None:
        """The registry finds what it needs."""
        verifyObject(IFactory, FACTORY)

    def test_nobody(self) -> None:
        """Without endpoints there is nobody to pick."""
        self.assertIsNone(FACTORY.build([], Random(0)).pick(None))

    @given(st.integers(1, 20), st.integers(1, 7), st.integers(0, 1000))
    @settings(max_examples=60, deadline=None, derandomize=True)
    def test_equal_weights_take_turns(self, count: int, weight: int, seed: int) -> None:
        """In every stretch of n picks each of n equals is picked exactly once, wherever it begins, whatever the weight."""
        scheduler = FACTORY.build(endpoints(*[weight] * count), Random(seed))
        picks = numbers([scheduler.pick(None) for _ in range(3 * count)])
        for begin in range(2 * count):
            self.assertEqual(sorted(picks[begin:begin + count]), list(range(1, count + 1)))

    @given(WEIGHTS, st.integers(0, 1000))
    @settings(max_examples=60, deadline=None, derandomize=True)
    def test_weights_are_exact_over_a_cycle(self, weights: list[int], seed: int) -> None:
        """In every stretch as long as the sum of the weights everyone gets exactly its weight, wherever it begins."""
        scheduler = FACTORY.build(endpoints(*weights), Random(seed))
        total = sum(weights)
        picks = numbers([scheduler.pick(None) for _ in range(2 * total)])
        for begin in (0, total // 2, total):
            counts = Counter(picks[begin:begin + total])
            self.assertEqual([counts[number] for number in range(1, len(weights) + 1)], weights)

    def test_gateways_do_not_march_in_step(self) -> None:
        """The first pick depends on the random source, so that many gateways do not begin with the same endpoint."""
        firsts = {numbers([FACTORY.build(endpoints(1, 1, 1, 1), Random(seed)).pick(None)])[0] for seed in range(40)}
        self.assertEqual(firsts, {1, 2, 3, 4})

    @given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=8), st.integers(0, 99))
    @settings(max_examples=80, deadline=None, derandomize=True)
    def test_unready_ones_are_passed_over(self, members: list[tuple[int, bool]], seed: int) -> None:
        """Who is not ready any more gets nothing, at once; with nobody ready the answer is None and comes soon."""
        made = endpoints(*[weight for weight, _ in members])
        for scheduler in (FACTORY.build(made, Random(seed)), Deadlines(made, Random(seed))):
            for endpoint, (_, ready) in zip(made, members, strict=True):
                endpoint.ready = ready
            picks = [scheduler.pick(None) for _ in range(60)]
            if any(ready for _, ready in members):
                self.assertTrue(all(endpoint is not None and endpoint.ready for endpoint in picks))
            else:
                self.assertEqual(set(picks), {None})

    @interpreted_only
    def test_a_pick_costs_one_frame(self) -> None:
        """A pick from a cluster is one Python call, as the hot path counts them."""
        made = cluster(*(state(number) for number in range(1, 4)))
        frames = []

        def count(frame: FrameType, event: str, argument: Any) -> None:
            if event == "call":
                frames.append(frame.f_code.co_name)

        sys.setprofile(count)
        try:
            made.pick(None)
        finally:
            sys.setprofile(None)
        self.assertEqual(frames, ["pick"])


class FormsTests(SynchronousTestCase):
    def test_small_weighted_clusters_are_prepared(self) -> None:
        """A weighted cluster of everyday size turns through a prepared sequence."""
        self.assertIsInstance(FACTORY.build(endpoints(5, 1, 1), Random(0)), Turns)

    def test_large_weighted_clusters_are_not(self) -> None:
        """A sequence that would take more than a millisecond to prepare is not prepared; picks stay exact all the same."""
        weights = [7, 1] * (PREPARED_STEPS // 100)
        scheduler = FACTORY.build(endpoints(*weights), Random(0))
        self.assertIsInstance(scheduler, Deadlines)
        counts = Counter(numbers([scheduler.pick(None) for _ in range(3 * sum(weights))]))
        off = [abs(counts[number] - 3 * weight) for number, weight in enumerate(weights, 1)]
        self.assertLessEqual(max(off), 1)

    @given(WEIGHTS, st.integers(0, 1000))
    @settings(max_examples=60, deadline=None, derandomize=True)
    def test_deadlines_are_as_fair(self, weights: list[int], seed: int) -> None:
        """Over ten cycles the heap gives everyone its share, to within one pick."""
        scheduler = Deadlines(endpoints(*weights), Random(seed))
        counts = Counter(numbers([scheduler.pick(None) for _ in range(10 * sum(weights))]))
        for number, weight in enumerate(weights, 1):
            self.assertLessEqual(abs(counts[number] - 10 * weight), 1)
