"""The cycle collector is kept out of the way: when it runs, over how much, and that nothing needs it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import balancer
from tests.app.running import GatewayCase
from tests.control.fakes import FakeLoop
from voltgw.app import garbage
from voltgw.app.garbage import LITTLE, LOOK_S, YOUNG, Garbage
from voltgw.tap import keep_tidy
from voltgw.values.counters import Histogram


class Collector:
    """Stands for the module `gc`, so that a test does not freeze the process of all tests."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.callbacks: list[Callable[[str, dict[str, Any]], None]] = []
        self.thresholds: tuple[int, ...] = ()

    def disable(self) -> None:
        """Note it."""
        self.did.append("disable")

    def enable(self) -> None:
        """Note it."""
        self.did.append("enable")

    def collect(self, generation: int = 2) -> None:
        """Note it."""
        self.did.append(f"collect {generation}")

    def freeze(self) -> None:
        """Note it."""
        self.did.append("freeze")

    def set_threshold(self, *numbers: int) -> None:
        """Note it."""
        self.did.append("threshold")
        self.thresholds = numbers

    def ran(self, generation: int, before: Callable[[], None] = lambda: None, found: int = 0) -> None:
        """Tell of a collection that has run, in which `before` happened."""
        for callback in self.callbacks:
            callback("start", {"generation": generation})
        before()
        for callback in self.callbacks:
            callback("stop", {"generation": generation, "collected": found, "uncollectable": 0})


def count(pauses: Histogram) -> int:
    """How many values there are."""
    return sum(pauses.buckets)


class PolicyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.loop = FakeLoop()
        self.gc = Collector()
        self.patch(garbage, "gc", self.gc)
        self.garbage = Garbage(self.loop.clock, self.loop.monotonic)
        self.garbage.start()
        self.gc.did.clear()

    def looks(self) -> list[str]:
        """What is done at the next look."""
        self.gc.did.clear()
        self.loop.advance(LOOK_S)
        return self.gc.did

    def test_the_old_is_left_alone(self) -> None:
        """Only the youngest generation is gone over without being asked for."""
        self.assertEqual(self.gc.thresholds[0], YOUNG)
        self.assertGreater(min(self.gc.thresholds[1:]), 1_000_000)

    def test_nothing_to_look_at(self) -> None:
        """As long as nothing has become old, nothing is done."""
        self.assertEqual(self.looks(), [])

    def test_a_little(self) -> None:
        """A little that has become old is gone over, again and again: it may have become garbage."""
        for _ in range(LITTLE):
            self.gc.ran(0)
        self.assertEqual(self.looks(), ["collect 2"])
        self.gc.ran(2)
        self.assertEqual(self.looks(), ["collect 2"])

    def test_much(self) -> None:
        """Going over much would be a long pause: it is frozen, and what comes after it is little again."""
        for _ in range(LITTLE + 1):
            self.gc.ran(0)
        self.assertEqual(self.looks(), ["freeze"])
        self.assertEqual(self.looks(), [])
        self.gc.ran(0)
        self.assertEqual(self.looks(), ["collect 2"])

    def test_a_reload(self) -> None:
        """What was before it is gone over if it is little; what it has made never is, and no look comes in between."""
        self.gc.ran(0)
        self.garbage.reload_begins()
        self.assertEqual(self.gc.did, ["collect 1", "disable"])
        self.assertEqual(self.looks(), [])
        self.garbage.reloaded()
        self.assertEqual(self.gc.did, ["enable", "freeze"])
        for _ in range(LITTLE + 1):
            self.gc.ran(0)
        self.gc.did.clear()
        self.garbage.reload_begins()
        self.assertEqual(self.gc.did, ["disable"])

    def test_what_is_counted(self) -> None:
        """How long each took, by generation, and what it has found."""
        self.gc.ran(0, lambda: self.loop.advance(0.25), 3)
        self.gc.ran(2, lambda: self.loop.advance(0.5), 4)
        self.assertEqual([count(each) for each in self.garbage.pauses], [1, 0, 1])
        self.assertEqual([each.sum_s for each in self.garbage.pauses], [0.25, 0.0, 0.5])
        self.assertEqual(self.garbage.found, 7)


class RealTests(GatewayCase):
    """With Python's own."""

    def tidy(self) -> Garbage:
        """The collector of the gateway's process, which is that of the tests: afterwards it is as it was."""
        thresholds, callbacks = gc.get_threshold(), list(gc.callbacks)

        def put_back() -> None:
            gc.callbacks[:] = callbacks
            gc.set_threshold(*thresholds)
            gc.unfreeze()
            gc.enable()

        self.addCleanup(put_back)
        made = keep_tidy(self.gateway)
        made.start()
        return made

    def names(self, number: int) -> list[str]:
        """Balancers that have nothing to do."""
        return [balancer(f"n{each}", f"127.0.0.1:{self.port}", "127.0.0.1:1", f"127.0.0.1:{each + 2}",
                         more=f", domains: [n{each}.example]") for each in range(number)]

    async def test_frozen(self) -> None:
        """What was made at start, and by a reload, is not gone over any more."""
        self.start(*self.names(50))
        await self.warm()
        made = self.tidy()
        frozen = gc.get_freeze_count()
        self.assertGreater(frozen, 10_000)
        self.assertLess(len(gc.get_objects()), YOUNG)
        self.write(*self.names(100))
        self.assertTrue((await self.gateway.reload())["ok"])
        self.assertGreater(gc.get_freeze_count(), frozen + 50 * 100)
        self.assertLess(len(gc.get_objects()), YOUNG)
        self.assertTrue(gc.isenabled())
        self.assertEqual(count(made.pauses[0]), 0)

    async def test_requests(self) -> None:
        """They have no collection of any generation: as much is freed as is made."""
        origin = self.ok_origin()
        self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}"))
        await self.warm()
        peer = await self.client(self.port)
        made = self.tidy()
        for _ in range(300):
            self.assertEqual(await self.ask(peer=peer), b"HTTP/1.1 200 OK")
        self.assertEqual([count(each) for each in made.pauses], [0, 0, 0])
