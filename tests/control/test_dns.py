"""Tests for the feeds: `voltgw.control.discovery.dns` and `.static`."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.control.fakes import FakeLoop, FakeResolver
from voltgw.cluster.plan import MemberPlan
from voltgw.control.discovery import dns, static
from voltgw.control.discovery.dns import LOOKUP_TIMEOUT_S, DnsFeed
from voltgw.control.discovery.sources import Sources
from voltgw.control.feed import Failed, FeedState, Found, Reset, Update
from voltgw.interfaces import IFactory

MEMBER = MemberPlan("default/app", "dns", "app.internal", 8000, refresh_s=60.0, weight=2)


class DnsFeedTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A feed that has asked its first question."""
        self.loop = FakeLoop()
        self.resolver = FakeResolver()
        self.updates: list[Update] = []
        self.feed = DnsFeed(MEMBER, self.resolver, self.loop, Random(0))
        self.feed.start(self.updates.append)

    def tearDown(self) -> None:
        """It leaves no timer."""
        self.feed.stop()
        self.assertEqual(self.loop.clock.getDelayedCalls(), [])

    def addresses(self) -> list[tuple[str, ...]]:
        """The addresses of the updates since the last call, failures as ("failed",)."""
        updates, self.updates[:] = list(self.updates), []
        return [tuple(found.address for found in update.found) if isinstance(update, Reset) else ("failed",)
                for update in updates]

    def test_every_address_is_an_endpoint(self) -> None:
        """All addresses of both families are delivered, with the name, the port and the weight of the object."""
        self.assertEqual(self.feed.state, FeedState.PENDING)
        question = self.resolver.one()
        self.assertEqual(question.name, "app.internal")
        question.answer(["192.0.2.7", "2001:db8::1"])
        self.assertEqual(self.updates, [Reset((
            Found("192.0.2.7", 8000, hostname="app.internal", weight=2),
            Found("2001:db8::1", 8000, hostname="app.internal", weight=2),
        ))])
        self.assertEqual((self.feed.state, self.feed.last_success), (FeedState.BOUND, 1000.0))

    def test_the_order_is_always_the_same(self) -> None:
        """A server that rotates its answers, or repeats an address, changes nothing."""
        self.resolver.one().answer(["192.0.2.10", "192.0.2.9", "2001:db8::1"])
        self.loop.advance(66)
        self.resolver.one().answer(["2001:db8::1", "192.0.2.9", "192.0.2.10", "192.0.2.9"])
        self.assertEqual(self.addresses(), [("192.0.2.9", "192.0.2.10", "2001:db8::1")] * 2)

    def test_it_is_asked_again(self) -> None:
        """The name is looked up again after the refresh interval, at most a tenth later, and new addresses replace old."""
        self.resolver.one().answer(["192.0.2.1"])
        self.loop.advance(59.9)
        self.assertEqual(self.resolver.asked, [])
        self.loop.advance(6.1)
        self.resolver.one().answer(["192.0.2.2"])
        self.assertEqual(self.addresses(), [("192.0.2.1",), ("192.0.2.2",)])

    def test_by_the_time_to_live(self) -> None:
        """Where that is asked for and known, the name is looked up when it is over; else after the interval as ever."""
        self.feed.stop()
        for by_ttl, told, wait_s in ((True, 5, 5.0), (True, 0, 1.0), (True, None, 60.0), (False, 5, 60.0)):
            feed = DnsFeed(replace(MEMBER, by_ttl=by_ttl), self.resolver, self.loop, Random(0))
            self.resolver.asked.clear()
            feed.start(self.updates.append)
            self.addCleanup(feed.stop)
            question = self.resolver.one()
            if told is not None:
                question.receiver.lives_for(told)
            question.answer(["192.0.2.1"])
            self.loop.advance(wait_s - 0.1)
            self.assertEqual(self.resolver.asked, [], (by_ttl, told))
            self.loop.advance(wait_s * 0.1 + 0.2)
            self.assertEqual(len(self.resolver.asked), 1, (by_ttl, told))
            feed.stop()

    def test_a_failure_keeps_what_was_there(self) -> None:
        """No address is a failure: nothing is reset, the state says so, and it is asked again sooner and sooner later."""
        self.resolver.one().answer(["192.0.2.1"])
        self.loop.advance(66)
        pauses = []
        for _ in range(9):
            self.resolver.one().answer([])
            asked = self.loop.monotonic()
            while not self.resolver.asked:
                self.loop.advance(0.5)
            pauses.append(self.loop.monotonic() - asked)
        self.assertEqual(self.addresses(), [("192.0.2.1",)] + [("failed",)] * 9)
        self.assertEqual(self.feed.state, FeedState.FAILED)
        self.assertEqual(self.feed.last_error, "app.internal: the name has no address")
        self.assertEqual(pauses, sorted(pauses))
        self.assertLessEqual(pauses[0], 1.5)
        self.assertGreaterEqual(pauses[-1], 60)
        self.assertLessEqual(pauses[-1], 66.5)
        self.resolver.one().answer(["192.0.2.1"])
        self.assertEqual((self.feed.state, self.feed.last_error), (FeedState.BOUND, ""))

    def test_nobody_answers(self) -> None:
        """A look-up without an answer is given up after 10 s; an answer that still comes goes nowhere."""
        late = self.resolver.one()
        self.loop.advance(LOOKUP_TIMEOUT_S)
        self.assertTrue(late.cancelled)
        self.assertEqual(self.updates, [Failed("app.internal: no answer within 10 s")])
        late.answer(["192.0.2.66"])
        self.assertEqual(self.addresses(), [("failed",)])
        self.loop.advance(1.2)
        self.resolver.one().answer(["192.0.2.1"])
        self.assertEqual(self.addresses(), [("192.0.2.1",)])

    def test_a_resolver_that_cannot_be_cancelled(self) -> None:
        """Twisted's own resolver raises on cancel; giving up works all the same, and so does stopping."""
        resolver = FakeResolver(cancellable=False)
        feed = DnsFeed(MEMBER, resolver, self.loop, Random(0))
        updates: list[Update] = []
        feed.start(updates.append)
        question = resolver.one()
        feed.stop()
        question.answer(["192.0.2.1"])
        self.assertEqual(updates, [])

    def test_a_resolver_that_raises(self) -> None:
        """A broken resolver is logged and counts as a failure; what it may still answer goes nowhere."""
        class Broken(FakeResolver):
            def resolveHostName(self, *arguments: Any, **named: Any) -> Any:
                super().resolveHostName(*arguments, **named)
                raise OSError("no")

        resolver = Broken()
        feed = DnsFeed(MEMBER, resolver, self.loop, Random(0))
        updates: list[Update] = []
        feed.start(updates.append)
        self.assertEqual(updates, [Failed("app.internal: the resolver failed: no")])
        resolver.one().answer(["192.0.2.66"])
        self.assertEqual(len(updates), 1)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        feed.stop()

    def test_addresses_that_nobody_can_use(self) -> None:
        """0.0.0.0 (what blocking resolvers answer) and multicast addresses are left out, alone they are a failure."""
        self.resolver.one().answer(["0.0.0.0", "224.0.0.1", "192.0.2.1", "::"])
        self.loop.advance(66)
        self.resolver.one().answer(["0.0.0.0"])
        self.assertEqual(self.addresses(), [("192.0.2.1",), ("failed",)])
        self.assertEqual(self.feed.last_error, "app.internal: the name has no usable address")

    def test_stopped(self) -> None:
        """After the stop nothing is asked and nothing delivered; it can be started again."""
        question = self.resolver.one()
        self.feed.stop()
        self.assertTrue(question.cancelled)
        self.loop.advance(600)
        self.assertEqual((self.resolver.asked, self.updates), ([], []))
        self.feed.start(self.updates.append)
        self.resolver.one().answer(["192.0.2.1"])
        self.assertEqual(self.addresses(), [("192.0.2.1",)])


class StaticFeedTests(SynchronousTestCase):
    def test_it_delivers_its_endpoint(self) -> None:
        """One address, at the start, with everything that the object says."""
        member = MemberPlan("default/a", "static", "192.0.2.1", 80, health_port=81, weight=3, labels={"v": "1"})
        feed = static.FACTORY.build(member, Sources(FakeLoop(), Random(0), None))
        updates: list[Update] = []
        self.assertEqual(feed.state, FeedState.PENDING)
        feed.start(updates.append)
        self.assertEqual(updates, [Reset((Found("192.0.2.1", 80, weight=3, health_port=81, labels={"v": "1"}),))])
        self.assertEqual(feed.state, FeedState.BOUND)
        feed.stop()


class FactoriesTests(SynchronousTestCase):
    def test_they_are_factories(self) -> None:
        """The registry finds what it needs, and a built feed carries the object's name."""
        verifyObject(IFactory, static.FACTORY)
        verifyObject(IFactory, dns.FACTORY)
        feed = dns.FACTORY.build(MEMBER, Sources(FakeLoop(), Random(0), FakeResolver()))
        self.assertEqual(feed.name, "default/app")
