"""Tests for `voltgw.cluster.subset`."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Mapping
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import CLUSTER, FakePool, numbers, state
from voltgw.cluster.attempts import Attempts
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.schedulers import ring_hash, round_robin
from voltgw.cluster.snapshot import EndpointSet
from voltgw.cluster.subset import Subset, SubsetRules, Wanted
from voltgw.config.objects.cluster import SubsetFallbackPolicy
from voltgw.config.values import FrozenMap
from voltgw.errors import ConnectFailed

NO_FALLBACK, ANY_ENDPOINT, DEFAULT_SUBSET = SubsetFallbackPolicy

#: The worked case of the object model (objects.md 22.5): endpoints e1 to e4…
LABELS = (
    {"stage": "production", "site": "india"}, {"stage": "deployment", "site": "us"}, {"stage": "production", "app": "hr"},
    {"site": "india"},
)
#: …and who gets what, with default_subset stage=production.
WORKED: tuple[tuple[Mapping[str, str], set[int]], ...] = (
    ({"site": "india"}, {1, 4}), ({"site": "us"}, {2}), ({"app": "hr"}, {1, 3}), ({"stage": "production", "app": "hr"}, {3}),
    ({"other": "x"}, {1, 3}), ({}, {1, 3}),
)


def rules(fallback: SubsetFallbackPolicy, **more: str) -> SubsetRules:
    """Those of the worked case with this fallback; `more` are named expressions."""
    return SubsetRules((("site",), ("stage", "app")), fallback, FrozenMap({"stage": "production"}), FrozenMap(more))


def cluster(subsets: SubsetRules | None, factory: object = round_robin.FACTORY) -> Cluster:
    """A cluster with the endpoints of the worked case."""
    made = Cluster(CLUSTER, factory, lambda _: FakePool(), Random(0), subsets=subsets)   # type: ignore[arg-type]  # any factory
    made.install(EndpointSet(1, tuple(state(number, labels=labels) for number, labels in enumerate(LABELS, 1))))
    return made


def served(subset: object, picks: int = 40) -> set[int]:
    """Whom a subset or cluster picks; 0 = nobody."""
    assert isinstance(subset, (Cluster, Subset))
    return set(numbers([subset.pick(None) for _ in range(picks)]))


class RulesTests(SynchronousTestCase):
    def test_the_worked_case(self) -> None:
        """Every row of the object model's example, with a pick and not only with a list."""
        made = cluster(rules(DEFAULT_SUBSET))
        for labels, expected in WORKED:
            self.assertEqual(served(made.subset(labels)), expected, labels)

    def test_the_worked_case_with_the_other_policies(self) -> None:
        """Where the default subset served, all do, or nobody does; where there is a subset, nothing is different."""
        found = [{1, 4}, {2}, None, {3}, None, None]
        for policy, instead in ((ANY_ENDPOINT, {1, 2, 3, 4}), (NO_FALLBACK, {0})):
            made = cluster(rules(policy))
            for (labels, _), expected in zip(WORKED, found, strict=True):
                self.assertEqual(served(made.subset(labels)), expected or instead, (policy, labels))

    def test_a_value_that_nobody_has(self) -> None:
        """The key set is declared, but no endpoint carries the value: the fallback policy decides."""
        for policy, expected in ((NO_FALLBACK, {0}), (ANY_ENDPOINT, {1, 2, 3, 4}), (DEFAULT_SUBSET, {1, 3})):
            self.assertEqual(served(cluster(rules(policy)).subset({"site": "mars"})), expected)

    def test_a_default_subset_without_members(self) -> None:
        """As without a fallback."""
        made = cluster(SubsetRules((("site",),), DEFAULT_SUBSET, FrozenMap({"stage": "none"})))
        self.assertEqual(served(made.subset({})), {0})

    def test_named_expressions(self) -> None:
        """A label expression says who is in it; the policy serves where nobody is; what asks for nothing gets all of it."""
        made = cluster(SubsetRules(fallback=NO_FALLBACK, expressions=FrozenMap({
            "asia": "site in (india, japan), !app", "live": "stage=production", "mars": "site in (mars)"})))
        for name, expected in (("asia", {1, 4}), ("live", {1, 3}), ("mars", {0})):
            self.assertEqual(served(made.subset({}, name)), expected, name)
        self.assertIs(made.subset({}), made)
        with self.assertRaises(ValueError):
            made.subset({}, "asja")
        with self.assertRaises(ValueError):
            cluster(None).subset({}, "asia")

    def test_a_cluster_without_subsets(self) -> None:
        """Labels that are asked for mean nothing: it is the cluster itself that serves."""
        made = cluster(None)
        self.assertIs(made.subset({"site": "us"}), made)

    def test_in_words(self) -> None:
        """Why these."""
        made = cluster(rules(DEFAULT_SUBSET))
        for labels, expected in (
            ({"site": "us"}, "1 of 4 members are in it"), ({}, "no labels are asked for: the default subset stage=production"),
            ({"a": "b", "c": "d"}, "a=b,c=d is none of the key sets of the cluster: the default subset stage=production"),
            ({"site": "mars"}, "no member carries site=mars: the default subset stage=production"),
        ):
            subset = made.subset(labels)
            assert isinstance(subset, Subset)
            self.assertEqual(subset.how, expected)


class SubsetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = cluster(rules(NO_FALLBACK))

    def subset(self, **labels: str) -> Subset:
        """The subset of these labels."""
        made = self.cluster.subset(labels)
        assert isinstance(made, Subset)
        return made

    def test_members_come_go_and_change(self) -> None:
        """It follows the cluster: a relabelled endpoint changes sides, a removed one is gone."""
        india, us = self.subset(site="india"), self.subset(site="us")
        self.cluster.install(EndpointSet(2, (
            state(1, labels={"site": "us"}), state(2, labels={"site": "us"}), state(9, labels={"site": "india"}))))
        self.assertEqual((served(india), served(us)), ({9}, {1, 2}))
        self.cluster.install(EndpointSet(3, ()))
        self.assertEqual((served(india), india.any_ready), ({0}, False))

    def test_all_of_a_subset_are_down(self) -> None:
        """Its requests fail; they are not sent to another version. That it is down is known at once."""
        us = self.subset(site="us")
        self.assertTrue(us.any_ready)
        self.cluster.mark_unready(self.cluster.endpoints[1].key, "down")
        self.assertFalse(us.any_ready)
        self.assertTrue(self.cluster.any_ready)
        self.assertEqual(served(us), {0})

    def test_one_set_of_counts_and_limits(self) -> None:
        """What the data plane counts on a subset is the cluster's, and so are endpoints with their pools."""
        us = self.subset(site="us")
        for name in ("active", "pending", "connections", "retries"):
            setattr(us, name, getattr(us, name) + 3)
            self.assertEqual(getattr(self.cluster, name), 3, name)
        self.assertIs(us.counters, self.cluster.counters)
        self.assertIs(us.endpoints[0], self.cluster.endpoints[1])
        for name in ("max_requests", "max_connections", "max_pending", "max_retries", "http2", "tls", "connect_timeout_s", "config"):
            self.assertEqual(getattr(us, name), getattr(self.cluster, name))
        us.connect_failed(us.endpoints[0])
        self.assertEqual((self.cluster.counters.connect_failures, us.endpoints[0].connect_failures), (1, 1))

    def test_another_try_stays_in_the_subset(self) -> None:
        """Also when nobody else is there."""
        india, us = self.subset(site="india"), self.subset(site="us")
        first = india.pick(None)
        assert first is not None
        other = india.pick_other([first], None)
        self.assertEqual(set(numbers([first, other])), {1, 4})
        self.assertIsNone(us.pick_other([us.endpoints[0]], None))
        attempts = Attempts(india, b"GET", None)
        self.assertEqual(attempts.after(ConnectFailed("refused"), first, False, True), 0.0)
        self.assertIs(attempts.next(), other)
        self.assertEqual(self.cluster.retries, 0)       # a connection that could not be made takes nothing from the budget

    def test_one_for_all_who_ask_for_the_same(self) -> None:
        """Two routes share a subset, so that its turn is one; the order of labels is nothing."""
        self.assertIs(self.cluster.subset({"stage": "production", "app": "hr"}), self.cluster.subset({"app": "hr", "stage": "production"}))

    def test_nobody_has_it_any_longer(self) -> None:
        """A subset that no route has goes, without the garbage collector's help."""
        gc.disable()
        self.addCleanup(gc.enable)
        subset = weakref.ref(self.subset(site="us"))
        self.assertIsNone(subset())
        self.cluster.install(EndpointSet(2, ()))

    def test_of_high_priority(self) -> None:
        """The same endpoints, with the other counts."""
        high = self.subset(site="us").of_high_priority()
        self.assertEqual(served(high), {2})
        self.assertIs(high.cluster, self.cluster.high)
        self.assertEqual(high.wanted, Wanted((("site", "us"),)))

    def test_every_subset_has_its_own_turns(self) -> None:
        """Picks of one subset do not take another's turn."""
        india, whole = self.subset(site="india"), cluster(rules(ANY_ENDPOINT)).subset({})
        assert isinstance(whole, Subset)
        picked = []
        for _ in range(10):
            picked.append(india.pick(None))
            self.subset(site="us").pick(None)
        self.assertEqual(Counter(numbers(picked)), {1: 5, 4: 5})

    def test_affinity_inside_a_subset(self) -> None:
        """A key keeps its endpoint among those of the subset."""
        made = cluster(rules(NO_FALLBACK), ring_hash.FACTORY)
        india = made.subset({"site": "india"})
        for key in (1, 2**40, 2**63):
            self.assertEqual(len(set(numbers([india.pick(key) for _ in range(5)]))), 1)
        self.assertEqual(set(numbers([india.pick(Random(key).getrandbits(64)) for key in range(50)])), {1, 4})
