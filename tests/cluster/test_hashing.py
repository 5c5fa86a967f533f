"""Tests for the schedulers that keep affinity: ring hash, Maglev, rendezvous, and the one that lets the route decide."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.cluster.making import FakePool, endpoints, numbers
from tests.cluster.test_random import chi_square
from tests.fuzz.settings import examples
from voltgw.cluster.endpoint import Endpoint
from voltgw.cluster.schedulers import lb_override, maglev, rendezvous, ring_hash
from voltgw.cluster.schedulers.building import finished
from voltgw.cluster.snapshot import EndpointKey, EndpointState
from voltgw.cluster.xxhash64 import xxh64
from voltgw.interfaces import IFactory

_CHANCE = Random(7)
KEYS = [_CHANCE.getrandbits(64) for _ in range(4_000)]
FACTORIES: dict[str, Any] = {
    "ring_hash": ring_hash.FACTORY, "maglev": maglev.Maglev(table_size=4_093), "rendezvous": rendezvous.FACTORY,
    "lb_override": lb_override.FACTORY,
}


def many(count: int, weight: int = 1) -> list[Endpoint]:
    """So many endpoints of one weight."""
    return [Endpoint(EndpointState(EndpointKey("default/shop", "TCP", "", f"10.0.{number >> 8}.{number & 255}", 80), weight),
                     FakePool()) for number in range(count)]


def owners(factory: Any, members: Sequence[Endpoint], keys: Sequence[int] = KEYS) -> list[str]:
    """Who gets each key."""
    scheduler = factory.build(members, Random(0))
    return [str(scheduler.pick(key).key) for key in keys]


class AffinityTests(SynchronousTestCase):
    def test_they_are_factories(self) -> None:
        """The registry finds what it needs."""
        for factory in FACTORIES.values():
            verifyObject(IFactory, factory)

    def test_a_key_stays(self) -> None:
        """Another build in another order, with other chance, sends every key where it went."""
        for name, factory in FACTORIES.items():
            members = many(20)
            again = factory.build([*reversed(members)], Random(99))
            self.assertEqual(owners(factory, members), [str(again.pick(key).key) for key in KEYS], name)

    def test_another_process_agrees(self) -> None:
        """Nothing depends on the process: not on its hash seed, and not on what it did before."""
        script = ("from tests.cluster.test_hashing import *\n"
                  "print([owners(factory, many(9), KEYS[:50]) for factory in FACTORIES.values()])")
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={
            "PYTHONHASHSEED": "4711", "PYTHONPATH": str(Path(__file__).parents[2])}).stdout.strip()
        self.assertEqual(other, str([owners(factory, many(9), KEYS[:50]) for factory in FACTORIES.values()]))

    def test_one_leaves(self) -> None:
        """Of 20: its keys move, a twentieth; of the others' none by rendezvous, and few by the tables."""
        for name, factory in FACTORIES.items():
            members = many(20)
            before, after = owners(factory, members), owners(factory, members[:7] + members[8:])
            left = str(members[7].key)
            theirs = [(old, new) for old, new in zip(before, after, strict=True) if old != left]
            moved = sum(old != new for old, new in theirs)
            self.assertLessEqual(moved / len(theirs), 0 if name == "rendezvous" else 0.06, name)
            self.assertLess(before.count(left) / len(KEYS), 0.08, name)
            if name != "maglev":
                self.assertGreater(len({new for old, new in zip(before, after, strict=True) if old == left}), 8, name)

    def test_shares_follow_weights(self) -> None:
        """Weights 1 to 4 of 10 get a tenth to four tenths of the keys, as evenly as each algorithm promises."""
        for name, factory in FACTORIES.items():
            members = endpoints(1, 2, 3, 4)
            scheduler = factory.build(members, Random(0))
            counts = Counter(numbers([scheduler.pick(key) for key in KEYS]))
            for number in range(1, 5):
                self.assertLess(abs(counts[number] / len(KEYS) - number / 10), 0.03, name)

    def test_rendezvous_is_as_even_as_chance(self) -> None:
        """Chi-square of the keys' shares for weights 1 to 4, 3 degrees of freedom, 99.9 %."""
        scheduler = rendezvous.FACTORY.build(endpoints(1, 2, 3, 4), Random(0))
        counts = Counter(numbers([scheduler.pick(key) for key in KEYS]))
        self.assertLess(chi_square(counts, [0.1, 0.2, 0.3, 0.4], len(KEYS)), 16.3)

    def test_without_a_key_chance_decides(self) -> None:
        """All endpoints get requests that have no key."""
        for name, factory in FACTORIES.items():
            scheduler = factory.build(many(5), Random(3))
            self.assertEqual(len({str(scheduler.pick(None).key) for _ in range(200)}), 5, name)

    @examples(40)
    @given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=8), st.sampled_from(sorted(FACTORIES)),
           st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
    def test_only_ready_ones_and_always_one(self, members: list[tuple[int, bool]], name: str, keys: list[int]) -> None:
        """Whatever weights and readiness: a pick is ready, the same each time, and None only if nobody is."""
        made = endpoints(*(weight for weight, _ in members))
        scheduler = FACTORIES[name].build(made, Random(0))
        for endpoint, (_, ready) in zip(made, members, strict=True):
            endpoint.ready = ready
        for key in keys:
            for picked in (scheduler.pick(key), scheduler.pick_next(key, 1)):
                self.assertEqual(picked is not None and picked.ready, any(endpoint.ready for endpoint in made))
            self.assertIs(scheduler.pick(key), scheduler.pick(key))

    def test_the_next_for_a_key(self) -> None:
        """Tries after the first go to others, the same ones for the same key."""
        for name, factory in FACTORIES.items():
            scheduler = factory.build(many(10), Random(0))
            for key in KEYS[:100]:
                tries = [scheduler.pick(key), *(scheduler.pick_next(key, attempt) for attempt in range(1, 12))]
                self.assertGreater(len(set(tries)), 3, name)
                self.assertIs(scheduler.pick_next(key, 1), scheduler.pick_next(key, 1))

    def test_nobody(self) -> None:
        """None when there is nobody."""
        for factory in FACTORIES.values():
            self.assertIsNone(factory.build([], Random(0)).pick(1))


class StepsTests(SynchronousTestCase):
    def test_steps_and_what_was_known_change_nothing(self) -> None:
        """A table that is built in steps from one of other members is the one that is built at once."""
        for factory in (ring_hash.FACTORY, maglev.Maglev(table_size=4_093), lb_override.FACTORY):
            members = many(300)
            before = factory.build(members[:250], Random(0))
            steps = factory.building(members[50:], Random(0), before)
            scheduler = finished(steps)
            fresh = factory.build(members[50:], Random(0))
            self.assertEqual([scheduler.pick(key) for key in KEYS], [fresh.pick(key) for key in KEYS])

    def test_large_tables_take_many_steps(self) -> None:
        """3,000 endpoints are not built in one turn."""
        for factory in (ring_hash.FACTORY, maglev.FACTORY):
            self.assertGreater(sum(1 for _ in factory.building(many(3_000), Random(0), None)), 10)


class RingTests(SynchronousTestCase):
    def test_points_of_the_ring(self) -> None:
        """Three equal endpoints have 342 points each: 1,026, the first multiple of three from 1,024 on."""
        for factory, weights, size in (
            (ring_hash.FACTORY, (1, 1, 1), 1026), (ring_hash.FACTORY, (1, 3), 1024),
            (ring_hash.RingHash(maximum_ring_size=100), (1, 3), 100),
        ):
            made = factory.build(endpoints(*weights), Random(0))
            assert isinstance(made, ring_hash.Ring)
            self.assertEqual(len(made), size)

    def test_it_is_the_ring_of_the_definition(self) -> None:
        """Built here a second time, slowly: XXH64 of ``address:port_i``, walked to the first point at or after the key."""
        members = endpoints(1, 1)
        points = sorted((xxh64(f"{endpoint.key}_{number}".encode()), endpoint) for endpoint in members for number in range(512))
        scheduler = ring_hash.FACTORY.build(members, Random(0))
        for key in [*KEYS[:300], 0, 2**64 - 1, points[0][0], points[-1][0], points[-1][0] + 1]:
            expected = next((endpoint for point, endpoint in points if point >= key), points[0][1])
            self.assertIs(scheduler.pick(key), expected)

    def test_bounded_load(self) -> None:
        """A key that is all of the traffic keeps its endpoint below 150 % of the mean, and the rest is spread."""
        members = many(10)
        scheduler = ring_hash.RingHash(bounded_load=150).build(members, Random(0))
        for _ in range(1_000):
            picked = scheduler.pick(42)
            assert picked is not None
            picked.active += 1
        self.assertLessEqual(max(endpoint.active for endpoint in members), 155)
        self.assertGreater(sum(endpoint.active > 50 for endpoint in members), 6)

    def test_bounded_load_without_load(self) -> None:
        """As long as nobody is busy it is the plain ring."""
        members = many(10)
        self.assertEqual(owners(ring_hash.RingHash(bounded_load=125), members), owners(ring_hash.FACTORY, members))


class MaglevTests(SynchronousTestCase):
    def test_entries_follow_weights(self) -> None:
        """Weights 1:2 have 21,846 and 43,691 entries, as in Envoy; equal ones differ by at most one."""
        table = maglev.FACTORY.build(endpoints(1, 2), Random(0))
        assert isinstance(table, maglev.Table)
        self.assertEqual(sorted(table.shares().values()), [21_846, 43_691])
        table = maglev.FACTORY.build(endpoints(*[1] * 7), Random(0))
        assert isinstance(table, maglev.Table)
        counts = sorted(table.shares().values())
        self.assertEqual((sum(counts), counts[-1] - counts[0]), (maglev.TABLE_SIZE, 1))


class OverrideTests(SynchronousTestCase):
    def test_the_route_decides(self) -> None:
        """Without a key everyone in turn; with one always the same."""
        scheduler = lb_override.FACTORY.build(endpoints(1, 1, 1), Random(0))
        self.assertEqual(sorted(Counter(numbers([scheduler.pick(None) for _ in range(30)])).values()), [10, 10, 10])
        self.assertEqual(len(set(numbers([scheduler.pick(5) for _ in range(30)]))), 1)


class RememberedTests(SynchronousTestCase):
    def test_what_is_remembered_is_what_would_be_found(self) -> None:
        """A second pick of a key gives the same, one that has become unready is not given again, and there is a bound."""
        members = endpoints(*[1] * 20)
        scheduler = rendezvous.FACTORY.build(members, Random(0))
        keys = list(range(1, 500))
        first = [scheduler.pick(key) for key in keys]
        self.assertEqual([scheduler.pick(key) for key in keys], first)
        members[0].ready = False
        again = [scheduler.pick(key) for key in keys]
        self.assertNotIn(members[0], again)
        self.assertEqual([a for a, b in zip(again, first, strict=True) if b is not members[0]],
                         [b for b in first if b is not members[0]])
        for key in range(rendezvous.REMEMBERED + 10):
            scheduler.pick(key)
        self.assertLessEqual(len(scheduler._known), rendezvous.REMEMBERED)     # type: ignore[attr-defined]
