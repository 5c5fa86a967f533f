"""Tests for `voltgw.cluster.spread`: who is picked from, by priority, locality and where the gateway is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import FakePool, numbers, state
from voltgw.cluster.attempts import Attempts
from voltgw.cluster.cluster import Cluster, SchedulerFactory
from voltgw.cluster.schedulers import maglev, ring_hash, round_robin
from voltgw.cluster.schedulers.round_robin import Turns
from voltgw.cluster.snapshot import EndpointSet, EndpointState
from voltgw.cluster.spread import SITE_LABEL, Home, Spread, SpreadRules
from voltgw.cluster.subset import Subset, SubsetRules
from voltgw.errors import ConnectFailed


class SpreadCase(SynchronousTestCase):
    """A cluster over some members."""

    def cluster(self, *members: EndpointState, factory: SchedulerFactory = round_robin.FACTORY,
                subsets: SubsetRules | None = None, **rules: object) -> Cluster:
        """With these installed."""
        made = Cluster("default/shop", factory, lambda _: FakePool(), Random(1), subsets=subsets,
                       spread=SpreadRules(**rules))     # type: ignore[arg-type]
        self.version = 1
        made.install(EndpointSet(1, members))
        return made

    def install(self, cluster: Cluster, *members: EndpointState) -> None:
        """Other members."""
        self.version += 1
        cluster.install(EndpointSet(self.version, members))

    def shares(self, cluster: Cluster, count: int = 4000) -> dict[int, int]:
        """Percent of picks by the last part of the address."""
        seen = Counter(numbers([cluster.pick(None) for _ in range(count)]))
        return {number: round(100 * seen[number] / count) for number in sorted(seen)}

    def near(self, found: dict[int, int], expected: dict[int, int]) -> None:
        """The same but for chance."""
        self.assertEqual(set(found), set(expected))
        for number, share in expected.items():
            self.assertLess(abs(found[number] - share), 4, (found, expected))


class PriorityTests(SpreadCase):
    def members(self, healthy: int, total: int, first: int, priority: int) -> Sequence[EndpointState]:
        """So many of a priority, the first ones healthy."""
        return [state(first + number, ready=number < healthy, priority=priority) for number in range(total)]

    def test_the_first_priority_takes_all(self) -> None:
        """While enough of it is healthy nobody else gets anything, and picks cost no more than without priorities."""
        cluster = self.cluster(*self.members(3, 4, 1, 0), *self.members(2, 2, 11, 1))
        self.assertEqual(set(self.shares(cluster)), {1, 2, 3})

    def test_it_spills(self) -> None:
        """With half of it healthy 30 % go to the next one."""
        cluster = self.cluster(*self.members(2, 4, 1, 0), *self.members(2, 2, 11, 1))
        self.near(self.shares(cluster), {1: 35, 2: 35, 11: 15, 12: 15})
        self.assertEqual({int(each.address[8:]): round(share, 2) for each, share in cluster.shares().items()},
                         {1: 0.35, 2: 0.35, 11: 0.15, 12: 0.15})

    def test_all_down_but_the_last(self) -> None:
        """A priority of which nobody is ready gets nothing."""
        cluster = self.cluster(*self.members(0, 4, 1, 0), *self.members(0, 1, 11, 1), *self.members(1, 1, 21, 2))
        self.assertEqual(self.shares(cluster), {21: 100})

    def test_nobody(self) -> None:
        """None, and `any_ready` says so."""
        cluster = self.cluster(*self.members(0, 2, 1, 0), *self.members(0, 2, 11, 1))
        self.assertEqual((cluster.pick(None), cluster.any_ready, cluster.shares()), (None, False, {}))

    def test_total_panic(self) -> None:
        """Where all are used although nobody is well it goes by how many there are."""
        panic = [state(number, panic=True) for number in (1, 2, 3)]
        cluster = self.cluster(*panic, *[state(11, priority=1, panic=True)])
        self.near(self.shares(cluster), {1: 25, 2: 25, 3: 25, 11: 25})

    def test_one_that_fails_between_two_sets(self) -> None:
        """Picks pass over it at once; when nobody is left in its priority, another one serves."""
        cluster = self.cluster(*self.members(1, 1, 1, 0), *self.members(1, 1, 11, 1))
        self.assertEqual(self.shares(cluster), {1: 100})
        cluster = self.cluster(*self.members(1, 2, 1, 0), *self.members(1, 1, 11, 1))
        cluster.mark_unready(cluster.endpoints[0].key, "it fails")
        self.assertEqual(self.shares(cluster), {11: 100})

    def test_retries_stay_in_what_is_used(self) -> None:
        """Another try goes to the lower priority only when nobody else is left."""
        cluster = self.cluster(*self.members(2, 2, 1, 0), *self.members(1, 1, 11, 1))
        first, second, backup = cluster.endpoints
        attempts = Attempts(cluster, b"GET", None)
        self.assertIsNot(attempts.after(ConnectFailed("no"), first, False, True), None)
        self.assertIs(attempts.next(), second)
        self.assertIs(cluster.pick_other([first, second], None), backup)

    def test_without_priorities_nothing_changes(self) -> None:
        """The scheduler is asked directly."""
        self.assertIsInstance(self.cluster(state(1), state(2)).scheduler, Turns)
        self.assertIsInstance(self.cluster(state(1), state(2, priority=1)).scheduler, Spread)

    def test_a_subset_has_priorities_of_its_own(self) -> None:
        """The health of its members decides, not that of the cluster."""
        cluster = self.cluster(
            state(1, labels={"v": "1"}, ready=False), state(2, labels={"v": "2"}), state(11, labels={"v": "1"}, priority=1),
            subsets=SubsetRules(keys=(("v",),)))
        subset = cluster.subset({"v": "1"})
        self.assertEqual(numbers([subset.pick(None)]), [11])
        self.assertEqual(numbers([cluster.of_high_priority().subset({"v": "2"}).pick(None)]), [2])


class AffinityTests(SpreadCase):
    def test_keys_keep_their_endpoint(self) -> None:
        """A key goes to the same endpoint each time, also over two priorities, and shares are right inside each."""
        for factory in (ring_hash.FACTORY, maglev.FACTORY):
            members = [state(n, ready=n < 3) for n in (1, 2, 3, 4)] + [state(11, priority=1), state(12, priority=1)]
            cluster = self.cluster(*members, factory=factory)
            chance = Random(2)
            keys = [chance.getrandbits(64) for _ in range(4000)]
            owners = numbers([cluster.pick(key) for key in keys])
            self.assertEqual(owners, numbers([cluster.pick(key) for key in keys]))
            seen = {number: round(100 * owners.count(number) / len(keys)) for number in set(owners)}
            for number, share in {1: 35, 2: 35, 11: 15, 12: 15}.items():
                self.assertLess(abs(seen[number] - share), 7, (factory, seen))

    def test_the_next_one_for_a_retry(self) -> None:
        """It is of the same part."""
        cluster = self.cluster(state(1), state(2), state(11, priority=1), factory=ring_hash.FACTORY)
        first = cluster.pick(12345)
        assert first is not None
        other = cluster.pick_other([first], 12345)
        assert other is not None
        self.assertEqual({int(each.address[8:]) for each in (first, other)}, {1, 2})


class LocalityTests(SpreadCase):
    def test_weights(self) -> None:
        """Zones get what their weights say, whatever number of endpoints they have."""
        cluster = self.cluster(state(1, zone="a"), state(2, zone="b"), state(3, zone="b"), localities={"a": 3})
        self.near(self.shares(cluster), {1: 75, 2: 12, 3: 12})

    def test_a_zone_that_is_half_down(self) -> None:
        """It gets 0.7 of its weight; with 1.4 times what it needs still there, all of it."""
        members = [state(number, zone="a", ready=number <= 2) for number in (1, 2, 3, 4)]
        cluster = self.cluster(*members, state(11, zone="b"), localities={"a": 1, "b": 1})
        self.near(self.shares(cluster), {1: 21, 2: 21, 11: 59})
        members[2] = state(3, zone="a")
        self.install(cluster, *members, state(11, zone="b"))
        self.near(self.shares(cluster), {1: 17, 2: 17, 3: 17, 11: 50})

    def test_a_zone_of_weight_zero(self) -> None:
        """It gets nothing while another one is left, and everything when none is."""
        cluster = self.cluster(state(1, zone="a"), state(2, zone="b"), localities={"b": 0})
        self.assertEqual(self.shares(cluster), {1: 100})
        self.install(cluster, state(1, zone="a", ready=False), state(2, zone="b"))
        self.assertEqual(self.shares(cluster), {2: 100})

    def test_schedulers_go_on(self) -> None:
        """A zone whose members are the same keeps its scheduler's place in the round."""
        cluster = self.cluster(state(1, zone="a"), state(2, zone="b"), localities={"a": 1})
        before = cluster.scheduler
        self.install(cluster, state(1, zone="a"), state(2, zone="b"), state(3, zone="b"))
        self.assertIsNot(cluster.scheduler, before)
        self.near(self.shares(cluster), {1: 50, 2: 25, 3: 25})


class LocalTests(SpreadCase):
    def test_local_preferred(self) -> None:
        """Others serve only while no local one is ready, and in that moment."""
        members = [state(1), state(2), state(11, local=False)]
        cluster = self.cluster(*members, prefer_local=True)
        self.assertEqual(set(self.shares(cluster)), {1, 2})
        self.install(cluster, state(1, ready=False), state(2), state(11, local=False))
        self.assertEqual(self.shares(cluster), {2: 100})
        self.install(cluster, state(1, ready=False), state(2, ready=False), state(11, local=False))
        self.assertEqual(self.shares(cluster), {11: 100})

    def test_distributed(self) -> None:
        """Where nothing is preferred all serve alike."""
        self.near(self.shares(self.cluster(state(1), state(11, local=False))), {1: 50, 11: 50})

    def test_home(self) -> None:
        """By the site of the endpoint, its label, and its zone; what is unknown is taken for local."""
        for home, site, labels, zone, local in (
            (Home(), "", {}, "", True), (Home(), "", {SITE_LABEL: "lyon"}, "b", True), (Home(), "lyon", {}, "", False),
            (Home("paris"), "", {SITE_LABEL: "lyon"}, "", False), (Home("paris"), "", {SITE_LABEL: "paris"}, "", True),
            (Home("paris", "a"), "", {}, "b", False), (Home("paris", "a"), "", {}, "a", True), (Home("paris", "a"), "", {}, "", True),
        ):
            self.assertIs(home.has(site, labels, zone), local, (home, site, labels, zone))


class BalanceTests(SpreadCase):
    def test_a_route_says_by_what(self) -> None:
        """The same members by another scheduler; by the cluster's own it is the cluster itself; counts and limits are shared."""
        cluster = self.cluster(state(1), state(2), state(3))
        self.assertIs(cluster.balanced_by("round_robin"), cluster)
        least = cluster.balanced_by("least_request")
        assert isinstance(least, Subset)
        self.assertIs(cluster.balanced_by("least_request"), least)
        cluster.endpoints[0].active = cluster.endpoints[1].active = 9
        self.assertEqual(Counter(numbers([least.pick(None) for _ in range(300)]))[3] > 150, True)
        self.install(cluster, state(1, ready=False), state(2, ready=False), state(3))
        self.assertEqual(numbers([least.pick(None)]), [3])
        self.assertEqual(numbers([least.of_high_priority().pick(None)]), [3])
        self.assertIs(least.counters, cluster.counters)
        self.assertEqual((str(least.wanted), least.how), ("all, by least_request", "all members, balanced by least_request"))

    def test_of_a_subset(self) -> None:
        """Its members, in another way."""
        cluster = self.cluster(state(1, labels={"v": "1"}), state(2, labels={"v": "1"}), state(3, labels={"v": "2"}),
                               subsets=SubsetRules(keys=(("v",),)))
        other = cluster.subset({"v": "1"}).balanced_by("random")
        self.assertEqual(set(numbers([other.pick(None) for _ in range(50)])), {1, 2})
