"""Tests for `voltgw.cluster.affinity`: clients that are pinned to endpoints by a cookie."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import FakePool, key, numbers, state
from tests.fuzz.settings import examples
from voltgw.cluster.affinity import PINNED, Affinity, AffinityRules
from voltgw.cluster.attempts import Attempts
from voltgw.cluster.cluster import Cluster, SchedulerFactory
from voltgw.cluster.schedulers import ring_hash, round_robin
from voltgw.cluster.snapshot import EndpointSet, EndpointState
from voltgw.cluster.spread import SpreadRules
from voltgw.errors import ConnectFailed

KEY = b"k" * 32


class ValueTests(SynchronousTestCase):
    def test_a_value_is_made_with_the_key(self) -> None:
        """The same key gives the same value everywhere, another key another one; no address is in it."""
        one, two = Affinity(AffinityRules(key=KEY)), Affinity(AffinityRules(), b"other")
        self.assertEqual(one.value(key(1)), Affinity(AffinityRules(key=KEY)).value(key(1)))
        self.assertNotEqual(one.value(key(1)), one.value(key(2)))
        self.assertNotEqual(one.value(key(1)), two.value(key(1)))
        self.assertRegex(one.value(key(1)), rb"^[0-9a-f]{32}$")

    def test_the_cookie(self) -> None:
        """Its attributes."""
        self.assertEqual(Affinity(AffinityRules()).set_cookie(b"x"), b"voltgw-endpoint=x; Path=/; HttpOnly; SameSite=Lax")
        made = Affinity(AffinityRules("node", KEY, 3600, True))
        self.assertEqual(made.set_cookie(b"x"), b"node=x; Max-Age=3600; Path=/; Secure; HttpOnly; SameSite=Lax")

    @examples(100)
    @given(st.binary(max_size=40))
    def test_anything_that_is_no_value(self, value: bytes) -> None:
        """It is no key, or one that no hash policy makes."""
        number = Affinity.number(value)
        self.assertTrue(number is None or number >= PINNED)


class PinnedTests(SynchronousTestCase):
    def cluster(self, *members: EndpointState, factory: SchedulerFactory = round_robin.FACTORY) -> Cluster:
        """With affinity."""
        made = Cluster("default/shop", factory, lambda _: FakePool(), Random(0), spread=SpreadRules(),
                       affinity=Affinity(AffinityRules(key=KEY)))
        made.install(EndpointSet(1, members))
        return made

    def test_it_stays(self) -> None:
        """Whoever brings the cookie gets its endpoint each time, the others take turns."""
        cluster = self.cluster(state(1), state(2), state(3))
        number = Affinity.number(cluster.endpoints[1].token)
        self.assertEqual(numbers([cluster.pick(number) for _ in range(5)]), [2] * 5)
        self.assertEqual(set(numbers([cluster.pick(None) for _ in range(3)])), {1, 2, 3})

    def test_it_falls_back(self) -> None:
        """When that is not ready, has left, or was never there, the scheduler picks, also one that goes by keys."""
        for factory in (round_robin.FACTORY, ring_hash.FACTORY):
            cluster = self.cluster(state(1), state(2), state(3), factory=factory)
            number = Affinity.number(cluster.endpoints[1].token)
            cluster.mark_unready(key(2), "it fails")
            self.assertEqual(set(numbers([cluster.pick(number) for _ in range(60)])), {1, 3})
            cluster.install(EndpointSet(2, (state(1), state(3))))
            self.assertEqual(set(numbers([cluster.pick(number) for _ in range(60)])), {1, 3})
            cluster.install(EndpointSet(3, (state(1), state(2), state(3))))
            self.assertEqual(numbers([cluster.pick(number)]), [2])
            self.assertEqual(set(numbers([cluster.pick(PINNED + 12345) for _ in range(90)])), {1, 2, 3})

    def test_retries_go_elsewhere(self) -> None:
        """After a failure of the pinned one the others share its clients."""
        cluster = self.cluster(state(1), state(2), state(3))
        pinned = cluster.endpoints[0]
        number = Affinity.number(pinned.token)
        others = []
        for _ in range(20):
            attempts = Attempts(cluster, b"GET", number)
            attempts.after(ConnectFailed("no"), pinned, False, True)
            others.append(attempts.next())
        self.assertEqual(set(numbers(others)), {2, 3})

    def test_it_stays_in_a_lower_priority(self) -> None:
        """A client that was given a stand-by endpoint keeps it when the first ones are back."""
        cluster = self.cluster(state(1), state(2, priority=1))
        number = Affinity.number(cluster.endpoints[1].token)
        self.assertEqual(numbers([cluster.pick(number), cluster.pick(None)]), [2, 1])
        self.assertEqual(cluster.of_high_priority().endpoints[1].token, cluster.endpoints[1].token)
