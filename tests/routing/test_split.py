"""Weights, priorities and clusters that drop out (objects.md 22.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import Cluster
from voltgw.routing.split import Destination, make_split, shares

STEPS = 6000


def destinations(*weights: int, priorities: Sequence[int] = (), down: str = "") -> list[Destination]:
    """Destinations a, b, c... with these weights; the clusters in `down` have no ready endpoint."""
    return [
        Destination(Cluster(chr(97 + n), chr(97 + n) not in down), chr(97 + n), weight, priorities[n] if priorities else 0)
        for n, weight in enumerate(weights)
    ]


def counted(items: list[Destination], retract: bool = False) -> dict[str, float]:
    """The share of each in as many picks as there are steps between 0 and 1."""
    split = make_split(items, retract)
    counts = Counter(split((step + 0.5) / STEPS).cluster_name for step in range(STEPS))
    return {name: round(count / STEPS, 3) for name, count in sorted(counts.items())}


class SplitTests(SynchronousTestCase):
    """`make_split`."""

    def test_weights(self) -> None:
        """A destination gets weight / sum of weights; 0 among several gets nothing."""
        self.assertEqual(counted(destinations(95, 5)), {"a": 0.95, "b": 0.05})
        self.assertEqual(counted(destinations(1, 2, 0, 3)), {"a": 0.167, "b": 0.333, "d": 0.5})
        self.assertEqual(counted(destinations(0, 7)), {"b": 1.0})

    def test_one_destination(self) -> None:
        """The weight of a single destination does not matter."""
        self.assertEqual(counted(destinations(0)), {"a": 1.0})

    def test_the_ends_of_the_range(self) -> None:
        """The smallest and the largest number pick somebody, and never one of weight 0."""
        split = make_split(destinations(0, 3, 2, 0), False)
        self.assertEqual(split(0.0).cluster_name, "b")
        self.assertEqual(split(1 - 2 ** -53).cluster_name, "c")

    def test_nobody(self) -> None:
        """Several destinations of weight 0 are refused: none of them would ever be used."""
        self.assertRaises(ValueError, make_split, destinations(0, 0), False)

    def test_down_without_retracting(self) -> None:
        """A cluster that is down keeps its share, whose requests fail."""
        self.assertEqual(counted(destinations(1, 1, down="a")), {"a": 0.5, "b": 0.5})

    def test_retracting(self) -> None:
        """A cluster that is down drops out, and its share is spread by weight."""
        self.assertEqual(counted(destinations(50, 10, 40, down="a"), True), {"b": 0.2, "c": 0.8})
        self.assertEqual(counted(destinations(50, 10, 40, down="c"), True), {"a": 0.833, "b": 0.167})

    def test_a_missing_cluster_is_retracted(self) -> None:
        """A cluster that does not exist has no endpoint either."""
        items = destinations(1, 1)
        items[0].cluster = None
        self.assertEqual(counted(items, True), {"b": 1.0})
        self.assertEqual(counted(items, False), {"a": 0.5, "b": 0.5})

    def test_all_down(self) -> None:
        """When nobody is ready the weights hold as if all were, so that the request fails with the right reason."""
        self.assertEqual(counted(destinations(1, 3, down="ab"), True), {"a": 0.25, "b": 0.75})

    def test_priorities(self) -> None:
        """1 is used first, then 2 and so on, 0 last; each only when nothing before it is ready."""
        for down, wanted in (("", {"c": 1.0}), ("c", {"b": 0.5, "d": 0.5}), ("cb", {"b": 0.5, "d": 0.5}), ("cbd", {"a": 1.0}),
                             ("abcd", {"c": 1.0})):
            items = destinations(1, 1, 1, 1, priorities=(0, 2, 1, 2), down=down)
            self.assertEqual(counted(items), wanted, down)
        items = destinations(1, 1, 1, 1, priorities=(0, 2, 1, 2), down="cb")
        self.assertEqual(counted(items, True), {"d": 1.0})

    def test_readiness_is_asked_at_every_pick(self) -> None:
        """A cluster that comes back is used again, without building anything."""
        items = destinations(1, 1, priorities=(1, 2), down="a")
        split = make_split(items, False)
        self.assertEqual(split(0.5).cluster_name, "b")
        first = items[0].cluster
        assert isinstance(first, Cluster)
        first.any_ready = True
        self.assertEqual(split(0.5).cluster_name, "a")

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.booleans()), min_size=2, max_size=5), st.booleans())
    def test_shares_say_what_happens(self, rows: list[tuple[int, int, bool]], retract: bool) -> None:
        """The shares that explain shows are the ones that picks have."""
        items = destinations(*(row[0] for row in rows), priorities=[row[1] for row in rows],
                             down="".join(chr(97 + n) for n, row in enumerate(rows) if not row[2]))
        if not any(item.weight for item in items):
            return
        counts = counted(items, retract)
        for destination, share in shares(items, retract):
            self.assertLess(abs(counts.get(destination.cluster_name, 0.0) - share), 0.003)
