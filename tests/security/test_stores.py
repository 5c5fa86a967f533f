"""What every store of rate limits must do, shown by ours and by one that several processes share; and how exact sharing is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config, makings
from tests.security.making import REST, asks, host, host_of
from tests.security.stores import Shared, SharingStore, sharing
from tests.security.test_limits import limiter
from voltgw.app.build import Runtime, build
from voltgw.security.limiting import Limits
from voltgw.security.rates import LocalStore, NewStore, Pace, Store, local_store
from voltgw.values.exchange import Exchange

_PACES = (Pace(10, 1.0, 5), Pace(3, 60.0, 3), Pace(8192, 1.0, 8192), Pace(7, 1.0, 35), Pace(2, 60.0, 2, strict=True))


class _Contract:
    """The tests of any `Store`; a store of another place is tested by naming here how it is made."""

    new: Callable[[Pace], Store]

    def test_it_counts_as_one(self: Any) -> None:
        """Two users at random moments: every answer is that of the store of one process, to a hundredth of an interval."""
        for pace in _PACES:
            store, judge, random, now = self.new(pace), LocalStore(pace), Random(3), 3600.0
            for _ in range(3000):
                key = random.choice(("a", "b"))
                now += random.random() * pace.interval_s
                said, expected = store.take(key, now), judge.take(key, now)
                self.assertAlmostEqual(said, expected, delta=pace.interval_s / 100)
                self.assertEqual(said > 0.0, expected > 0.0)

    def test_a_refusal_counts_nothing(self: Any) -> None:
        """Whoever keeps on asking is served when somebody who waits would be."""
        store = self.new(Pace(1, 1.0, 1))
        self.assertLessEqual(store.take("a", 10.0), 0.0)
        for tenth in range(1, 10):
            self.assertGreater(store.take("a", 10.0 + tenth / 10), 0.0)
        self.assertLessEqual(store.take("a", 11.0), 0.0)

    def test_looking_ahead(self: Any) -> None:
        """`peek` says what `take` then says, however often it is asked."""
        for pace in _PACES:
            store = self.new(pace)
            for step in range(8):
                ahead = store.peek("a", 70.0 + step / 4)
                self.assertEqual(store.peek("a", 70.0 + step / 4), ahead)
                self.assertEqual(store.take("a", 70.0 + step / 4), ahead)

    def test_it_is_bounded(self: Any) -> None:
        """It never remembers more users than it says, and counts those whose debts it forgot."""
        store = self.new(Pace(1, 60.0, 1))
        for number in range(store.most + 500):
            store.take(number, 5.0)
            self.assertLessEqual(len(store), store.most)
        self.assertEqual(store.evicted, 500)


class LocalStoreTests(_Contract, SynchronousTestCase):
    new = staticmethod(lambda pace: local_store("default/h default/two", pace, 1000))


class SharingStoreTests(_Contract, SynchronousTestCase):
    new = staticmethod(lambda pace: SharingStore(Shared(pace)))


class BoundTests(SynchronousTestCase):
    def let_pass(self, pace: Pace, stores: list[Store], seconds: int) -> int:
        """How many of one user's requests pass who sends to each store in turn, as fast as it will do."""
        passed, step = 0, pace.interval_s / 4
        for number in range(round(seconds / step)):
            passed += sum(store.take("a", 100.0 + number * step) <= 0.0 for store in stores)
        return passed

    def test_stores_that_share_nothing(self) -> None:
        """Four processes let pass four times as much, and no more."""
        pace = Pace(10, 1.0, 10)
        one = self.let_pass(pace, [LocalStore(pace)], 20)
        self.assertEqual(self.let_pass(pace, [LocalStore(pace) for _ in range(4)], 20), 4 * one)

    def test_stores_that_share_at_once(self) -> None:
        """Four processes let pass what one does."""
        pace = Pace(10, 1.0, 10)
        shared = Shared(pace)
        one = self.let_pass(pace, [LocalStore(pace)], 20)
        self.assertEqual(self.let_pass(pace, [SharingStore(shared) for _ in range(4)], 20), one)

    def test_stores_that_share_now_and_then(self) -> None:
        """Four that tell each other every half second: beyond one, each other one lets pass at most a burst and what comes in
        that time."""
        for total, burst, every_s in ((10, 10, 0.5), (10, 10, 2.0), (50, 5, 0.1), (100, 300, 1.0)):
            pace = Pace(total, 1.0, burst)
            shared = Shared(pace)
            one = self.let_pass(pace, [LocalStore(pace)], 20)
            four = self.let_pass(pace, [SharingStore(shared, every_s=every_s) for _ in range(4)], 20)
            self.assertGreater(four, one)
            self.assertLessEqual(four, one + 3 * (burst + total * every_s))

    def test_nobody_can_be_reached(self) -> None:
        """It goes on alone, and what it let pass is told when the others are back."""
        pace = Pace(1, 60.0, 2)
        shared = Shared(pace)
        here, there = SharingStore(shared), SharingStore(shared)
        shared.reachable = False
        self.assertEqual([here.take("a", 50.0) <= 0.0 for _ in range(3)], [True, True, False])
        shared.reachable = True
        here.take("b", 51.0)
        self.assertGreater(there.take("a", 51.0), 0.0)


class GatewayTests(SynchronousTestCase):
    def made(self, new_store: NewStore) -> Runtime:
        text = "".join((host(rate_limiter=["two"]), limiter(), *REST))
        return build(config(f"objects:\n{text}"), None, replace(makings(), new_store=new_store))

    def passes(self, made: Runtime, exchange: Exchange) -> bool:
        exchange.t_start = 1000.0
        limits = next(gate for gate in host_of(made).gates if isinstance(gate, Limits))
        return limits.judge(exchange) is None

    def test_gateways_that_share(self) -> None:
        """Two gateways that are given stores of one place let a user send as much as one does; users stay apart."""
        places: dict[str, Shared] = {}
        new_store = sharing(places)
        here, there = self.made(new_store), self.made(new_store)
        self.assertEqual(
            [self.passes(made, asks()) for made in (here, there, here, there)], [True, True, False, False])
        self.assertTrue(self.passes(there, asks(address="192.0.2.9")))
        self.assertEqual(list(places), ["default/h default/two"])
