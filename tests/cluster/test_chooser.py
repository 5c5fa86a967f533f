"""Tests for `voltgw.cluster.chooser`: schedulers whose tables are built over many turns."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import CLUSTER, FakePool
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.schedulers import maglev, ring_hash, round_robin
from voltgw.cluster.schedulers.ring_hash import Ring
from voltgw.cluster.snapshot import EndpointKey, EndpointSet, EndpointState


def members(first: int, last: int) -> tuple[EndpointState, ...]:
    """Those from number `first` to before `last`."""
    return tuple(EndpointState(EndpointKey(CLUSTER, "TCP", "", f"10.{number >> 8}.{number & 255}.1", 80))
                 for number in range(first, last))


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.turns: list[Callable[[], None]] = []
        self.cluster = self.made(ring_hash.RingHash(minimum_ring_size=4096))

    def made(self, factory: object) -> Cluster:
        """A cluster whose turns are given by hand."""
        cluster = Cluster(CLUSTER, factory, lambda _: FakePool(), Random(0))     # type: ignore[arg-type]  # any factory
        cluster.take_turns(self.turns.append)
        return cluster

    def turn(self) -> None:
        """One turn of the reactor."""
        due, self.turns[:] = self.turns[:], []
        for call in due:
            call()

    def all_turns(self) -> int:
        """Until nothing is left to do; how many there were."""
        count = 0
        while self.turns:
            self.turn()
            count += 1
            self.assertLess(count, 10_000)
        return count

    def test_the_first_table_of_a_small_set_is_there_at_once(self) -> None:
        """Nobody waits for affinity when a cluster of usual size begins."""
        self.cluster.install(EndpointSet(1, members(0, 10)))
        self.assertIsInstance(self.cluster.scheduler, Ring)
        self.assertEqual(self.turns, [])

    def test_the_first_table_of_a_large_set(self) -> None:
        """Chance picks until it is complete."""
        self.cluster.install(EndpointSet(1, members(0, 20_000)))
        self.assertTrue(self.cluster.building)
        self.assertIsNotNone(self.cluster.pick(5))
        self.assertGreater(self.all_turns(), 20)
        self.assertIsInstance(self.cluster.scheduler, Ring)
        self.assertIs(self.cluster.pick(5), self.cluster.pick(5))

    def test_the_old_scheduler_serves_meanwhile(self) -> None:
        """Without those who left; who came is picked once the table is complete."""
        self.cluster.install(EndpointSet(1, members(0, 100)))
        left = self.cluster.endpoints[0]
        self.cluster.install(EndpointSet(2, members(1, 3_000)))
        self.assertTrue(self.cluster.building)
        picked = {self.cluster.pick(None) for _ in range(2_000)}
        self.assertNotIn(left, picked)
        self.assertLessEqual(picked, set(self.cluster.endpoints[:99]))
        self.all_turns()
        self.assertGreater(len({self.cluster.pick(None) for _ in range(2_000)}), 100)

    def test_sets_that_arrive_meanwhile(self) -> None:
        """The table under way is completed, and then the last of them counts."""
        self.cluster.install(EndpointSet(1, members(0, 100)))
        for version in range(2, 30):
            self.cluster.install(EndpointSet(version, members(version, 3_000 + version)))
            self.turn()
        self.all_turns()
        fresh = ring_hash.RingHash(minimum_ring_size=4096).build(self.cluster.endpoints, Random(0))
        keys = [Random(number).getrandbits(64) for number in range(300)]
        self.assertEqual([self.cluster.pick(key) for key in keys], [fresh.pick(key) for key in keys])

    def test_all_of_the_table_under_way_leave(self) -> None:
        """It is dropped: those who are there are picked at once."""
        self.cluster.install(EndpointSet(1, members(0, 20_000)))
        self.cluster.install(EndpointSet(2, members(30_000, 30_010)))
        picked = self.cluster.pick(1)
        self.assertIn(picked, self.cluster.endpoints)
        self.all_turns()
        self.assertIs(self.cluster.pick(1), picked)

    def test_nobody_is_left(self) -> None:
        """None at once, and the table under way is dropped."""
        self.cluster.install(EndpointSet(1, members(0, 20_000)))
        self.cluster.install(EndpointSet(2, ()))
        self.assertIsNone(self.cluster.pick(1))
        self.all_turns()
        self.assertIsNone(self.cluster.pick(1))

    def test_turns_end(self) -> None:
        """A cluster whose membership stops completes its table with the turn that was asked for."""
        self.cluster.install(EndpointSet(1, members(0, 20_000)))
        self.cluster.take_turns(None)
        self.turn()
        self.assertEqual(self.turns, [])
        self.assertIsInstance(self.cluster.scheduler, Ring)

    def test_one_of_many_changes(self) -> None:
        """What the old table has worked out is used again: far fewer steps than for the first."""
        for factory in (ring_hash.FACTORY, maglev.Maglev(table_size=4_093)):
            cluster = self.made(factory)
            cluster.install(EndpointSet(1, members(0, 4_000)))
            self.all_turns()
            first = sum(1 for _ in factory.building(cluster.endpoints, Random(0), None))
            cluster.install(EndpointSet(2, members(1, 4_001)))
            self.assertLess(self.all_turns(), first / 1.5)

    def test_schedulers_that_take_no_time(self) -> None:
        """They are built at once."""
        cluster = self.made(round_robin.FACTORY)
        cluster.install(EndpointSet(1, members(0, 1_000)))
        self.assertEqual(self.turns, [])
        self.assertIsNotNone(cluster.pick(None))
