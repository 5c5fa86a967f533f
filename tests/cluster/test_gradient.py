"""Tests for `voltgw.cluster.gradient`: the limit finds what a server can do."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import cluster, state
from tests.fuzz.settings import examples
from voltgw.cluster.cluster import Limits
from voltgw.cluster.gradient import Gradient, GradientRules
from voltgw.cluster.outlier import NO_ANSWERS
from voltgw.cluster.snapshot import EndpointSet


class Server:
    """Takes 10 ms, and works at `width` requests at a time; the others wait their turn."""

    def __init__(self, width: int) -> None:
        self.width = width

    def takes_s(self, active: int) -> float:
        """What one of so many requests takes."""
        return 0.010 * max(1.0, active / self.width)


class GradientTests(SynchronousTestCase):
    def run_against(self, server: Server, answers: int, limit: Gradient, offered: int = 1000) -> int:
        """So many answers with as much load as the limit lets through; the limit in the end."""
        chance = Random(0)
        allowed = int(limit.limit)
        for _ in range(answers):
            active = min(allowed, offered)
            allowed = limit.observe(server.takes_s(active) * chance.uniform(0.95, 1.05), active)
        return allowed

    def test_it_grows_while_answers_are_fast(self) -> None:
        """A server that is never slow is given the most."""
        self.assertEqual(self.run_against(Server(10_000), 2000, Gradient(GradientRules())), 200)

    def test_it_shrinks_when_answers_become_slow(self) -> None:
        """After a long time of fast answers, ones that take ten times as long take the limit down to the least, within a hundred."""
        limit = Gradient(GradientRules())
        self.run_against(Server(10_000), 2000, limit)
        for _ in range(100):
            limit.observe(0.100, int(limit.limit))
        self.assertLess(limit.limit, 40)

    def test_it_comes_back(self) -> None:
        """When answers are fast again it grows again, and the long-term time forgets the bad one."""
        limit = Gradient(GradientRules())
        self.run_against(Server(10_000), 2000, limit)
        for _ in range(2000):
            limit.observe(0.100, int(limit.limit))
        self.assertEqual(self.run_against(Server(10_000), 2000, limit), 200)
        self.assertLess(limit.long_s, 0.012)

    def test_a_limit_that_nobody_uses_stands(self) -> None:
        """With less than half of it under way nothing is learnt about it."""
        limit = Gradient(GradientRules(initial=100))
        self.run_against(Server(10_000), 2000, limit, offered=40)
        self.assertEqual(limit.limit, 100.0)

    @given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 10_000)), max_size=60), st.integers(1, 50), st.integers(50, 500))
    @examples(60)
    def test_it_stays_within_its_bounds(self, answers: list[tuple[float, int]], least: int, most: int) -> None:
        """Whatever comes."""
        limit = Gradient(GradientRules(least, least, most))
        for took_s, active in answers:
            self.assertTrue(least <= limit.observe(took_s, active) <= most)


class ClusterTests(SynchronousTestCase):
    def test_the_limit_of_a_cluster_follows(self) -> None:
        """Answers move it; failures do not; the circuit breaker's own limit bounds it."""
        made = cluster(state(1), gradient=Gradient(GradientRules(initial=20, most=200)), limits=Limits(requests=25))
        (endpoint,) = made.endpoints
        self.assertEqual(made.max_requests, 20)
        made.active = 20
        for _ in range(50):
            self.assertGreaterEqual(200, endpoint.heeds)
            endpoint.heard(200, 0.010, 0.0)
        self.assertEqual(made.max_requests, 25)
        assert made.gradient is not None
        before = made.gradient.limit
        endpoint.heard(503, 0.0001, 0.0)
        self.assertEqual(made.gradient.limit, before)

    def test_without_it_nothing_is_reported(self) -> None:
        """No cost where it is not asked for."""
        made = cluster()
        made.install(EndpointSet(1, (state(1),)))
        self.assertEqual(made.endpoints[0].heeds, NO_ANSWERS)
