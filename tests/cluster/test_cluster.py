"""Tests for `voltgw.cluster.cluster` and `voltgw.cluster.endpoint`."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import cluster, key, numbers, state
from voltgw.cluster.cluster import NO_LIMIT, Cluster, Limits
from voltgw.cluster.endpoint import Endpoint, host_field
from voltgw.cluster.snapshot import EndpointSet


def drained(endpoint: Endpoint) -> int:
    """How often its pool was drained."""
    count: int = endpoint.pool.drained      # type: ignore[attr-defined]  # a FakePool
    return count


def picks(made: Cluster, count: int) -> list[int]:
    """The numbers of so many picks."""
    return numbers([made.pick(None) for _ in range(count)])


class InstallTests(SynchronousTestCase):
    def test_before_the_first_set(self) -> None:
        """A cluster that was never told its members picks nobody."""
        made = cluster()
        self.assertIsNone(made.pick(None))
        self.assertFalse(made.any_ready)
        self.assertEqual(made.version, 0)

    def test_who_stays_keeps_its_connections_and_counts(self) -> None:
        """An endpoint that is in both sets is the same object, with its pool and what it has counted."""
        made = cluster(state(1), state(2))
        kept = made.endpoints[1]
        kept.requests, kept.active, kept.connections = 7, 2, 3
        pool = kept.pool
        made.install(EndpointSet(2, (state(2, weight=4, labels={"v": "2"}), state(3))))
        self.assertIs(made.get(key(2)), kept)
        self.assertIs(kept.pool, pool)
        self.assertEqual((kept.requests, kept.active, kept.connections, kept.weight), (7, 2, 3, 4))
        self.assertEqual(kept.labels, {"v": "2"})
        self.assertEqual(drained(kept), 0)

    def test_who_left_gets_nothing_and_is_drained(self) -> None:
        """A removed endpoint is unready, gone and drained when `install` returns, also for whoever still holds it."""
        made = cluster(state(1), state(2))
        left = made.endpoints[0]
        made.install(EndpointSet(2, (state(2),)))
        self.assertEqual((left.ready, left.gone, drained(left)), (False, True, 1))
        self.assertEqual(set(picks(made, 5)), {2})
        self.assertEqual(numbers(made.endpoints), [2])

    def test_who_comes_back_is_a_new_one(self) -> None:
        """After leaving, the same address gets a new endpoint and a new pool; the old one drains on."""
        made = cluster(state(1))
        old = made.endpoints[0]
        made.install(EndpointSet(2, ()))
        made.install(EndpointSet(3, (state(1),)))
        self.assertIsNot(made.endpoints[0], old)
        self.assertIsNot(made.endpoints[0].pool, old.pool)
        self.assertTrue(old.gone)
        self.assertEqual(picks(made, 1), [1])

    def test_unready_members_are_kept_but_not_picked(self) -> None:
        """A member that may not serve stays in the cluster with its pool, and gets nothing."""
        made = cluster(state(1), state(2, ready=False, health="unhealthy", reason="health check fails"))
        self.assertEqual(set(picks(made, 6)), {1})
        self.assertEqual(numbers(made.endpoints), [1, 2])
        self.assertEqual(made.endpoints[1].reason, "health check fails")
        self.assertEqual(drained(made.endpoints[1]), 0)

    def test_an_older_set_is_ignored(self) -> None:
        """A set that is not newer than the installed one never overwrites it."""
        made = cluster(state(1))
        made.install(EndpointSet(1, (state(2),)))
        self.assertEqual((numbers(made.endpoints), made.version), ([1], 1))

    def test_of_two_with_one_key_the_first_stays(self) -> None:
        """Duplicates of a key count once."""
        made = cluster(state(1, weight=2), state(1, weight=5), state(2))
        self.assertEqual([endpoint.weight for endpoint in made.endpoints], [2, 1])

    def test_weight_zero(self) -> None:
        """A member of weight 0 gets nothing; if all have it, nobody is picked."""
        made = cluster(state(1, weight=0), state(2))
        self.assertEqual(set(picks(made, 6)), {2})
        self.assertIsNone(made.pick_other([made.endpoints[1]], None))
        made.install(EndpointSet(2, (state(1, weight=0),)))
        self.assertEqual((made.any_ready, made.pick(None)), (False, None))

    @given(
        st.lists(st.lists(st.integers(1, 12), unique=True, max_size=10), min_size=1, max_size=6), st.integers(1, 30),
    )
    @settings(max_examples=60, deadline=None, derandomize=True)
    def test_any_series_of_sets(self, series: list[list[int]], count: int) -> None:
        """Whatever sets follow each other: picks are even over the present members, and only those who left were drained."""
        made = cluster()
        seen: dict[int, Endpoint] = {}
        for version, members in enumerate(series, 1):
            made.install(EndpointSet(version, tuple(state(number) for number in members)))
            counts = Counter(picks(made, count * len(members)))
            self.assertEqual(counts, dict.fromkeys(members, count) if members else Counter())
            for number in set(seen) - set(members):
                self.assertEqual((seen[number].gone, drained(seen[number])), (True, 1))
                del seen[number]
            for endpoint in made.endpoints:
                number = numbers([endpoint])[0]
                self.assertIs(seen.setdefault(number, endpoint), endpoint)
                self.assertEqual((endpoint.gone, drained(endpoint)), (False, 0))


class MarkUnreadyTests(SynchronousTestCase):
    def test_it_acts_before_the_next_set(self) -> None:
        """An endpoint that is marked gets nothing from the next pick on, and its reason says why."""
        made = cluster(state(1), state(2))
        made.mark_unready(key(1), "its feed no longer lists it")
        self.assertEqual(set(picks(made, 4)), {2})
        self.assertEqual(made.endpoints[0].reason, "its feed no longer lists it")
        self.assertTrue(made.any_ready)
        made.mark_unready(key(2), "as well")
        self.assertEqual((made.any_ready, made.pick(None)), (False, None))

    def test_the_next_set_decides_again(self) -> None:
        """A set that calls a marked endpoint ready makes it ready, even with a state that was installed before."""
        same = state(1)
        made = cluster(same)
        made.mark_unready(key(1), "gone for a moment")
        made.install(EndpointSet(2, (same,)))
        self.assertEqual((picks(made, 1), made.any_ready), ([1], True))

    def test_unknown_keys(self) -> None:
        """A key that is not there changes nothing."""
        made = cluster(state(1))
        made.mark_unready(key(9), "?")
        self.assertEqual(picks(made, 1), [1])


class RetireTests(SynchronousTestCase):
    def test_every_endpoint_leaves(self) -> None:
        """A cluster that is no longer configured drains every pool and picks nobody."""
        made = cluster(state(1), state(2))
        before = made.endpoints
        made.retire()
        self.assertEqual([(endpoint.gone, drained(endpoint)) for endpoint in before], [(True, 1)] * 2)
        self.assertEqual((made.pick(None), made.any_ready, made.endpoints), (None, False, ()))


class PickOtherTests(SynchronousTestCase):
    def test_it_avoids_the_tried_ones(self) -> None:
        """With one endpoint left untried, it is that one, whatever the turn and the weights."""
        made = cluster(state(1, weight=9), state(2), state(3, weight=9))
        tried = [made.endpoints[0], made.endpoints[2]]
        self.assertEqual({numbers([made.pick_other(tried, None)])[0] for _ in range(20)}, {2})

    def test_all_were_tried(self) -> None:
        """None when every ready endpoint was tried."""
        made = cluster(state(1), state(2), state(3, ready=False))
        self.assertIsNone(made.pick_other(made.endpoints[:2], None))
        self.assertIsNone(cluster().pick_other((), None))


class LimitsTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """Without a circuit breaker connections and requests are not capped, 1,024 requests may wait."""
        made = cluster()
        self.assertEqual((made.max_connections, made.max_requests, made.max_pending), (NO_LIMIT, NO_LIMIT, 1024))

    def test_retry_budget(self) -> None:
        """Three retries may be under way in any case, beyond that 20 % of what is under way, in a cluster of many."""
        made = cluster(*(state(number) for number in range(1, 21)))
        made.retries = 2
        self.assertTrue(made.may_retry())
        made.retries = 3
        self.assertFalse(made.may_retry())
        made.active, made.pending = 90, 10
        made.retries = 19
        self.assertTrue(made.may_retry())
        made.retries = 20
        self.assertFalse(made.may_retry())

    def test_the_loss_of_one_of_three_is_within_the_budget(self) -> None:
        """In a cluster of three, what one endpoint had under way may all be retried, however busy it was within reason."""
        made = cluster(state(1), state(2), state(3))
        made.active = 60
        made.retries = 39
        self.assertTrue(made.may_retry())
        made.retries = 40
        self.assertFalse(made.may_retry())

    def test_a_configured_number_of_retries_replaces_the_budget(self) -> None:
        """`circuit_breaker.retries` is a plain limit."""
        made = cluster(state(1), limits=Limits(retries=1))
        made.active = 1000
        self.assertTrue(made.may_retry())
        made.retries = 1
        self.assertFalse(made.may_retry())


class ConnectFailedTests(SynchronousTestCase):
    def test_it_is_counted_and_told(self) -> None:
        """A failed connection counts on the endpoint and on the cluster, and whoever judges by it hears of it."""
        made = cluster(state(1))
        endpoint = made.endpoints[0]
        made.connect_failed(endpoint)
        told: list[Endpoint] = []
        made.on_connect_failed = told.append
        made.connect_failed(endpoint)
        self.assertEqual((endpoint.connect_failures, endpoint.failed_in_a_row, made.counters.connect_failures), (2, 2, 2))
        self.assertEqual(told, [endpoint])


class HostFieldTests(SynchronousTestCase):
    def test_names_and_addresses(self) -> None:
        """A DNS name stands alone; an address has brackets if it needs them and its port unless that is 80."""
        cases = {
            ("app.internal", "192.0.2.1", 8000): b"app.internal",
            ("", "192.0.2.1", 80): b"192.0.2.1",
            ("", "192.0.2.1", 8000): b"192.0.2.1:8000",
            ("", "2001:db8::1", 80): b"[2001:db8::1]",
            ("", "2001:db8::1", 8000): b"[2001:db8::1]:8000",
            ("b\u00fccher.example", "192.0.2.1", 80): b"xn--bcher-kva.example",
        }
        self.assertEqual({case: host_field(*case) for case in cases}, cases)
