"""Membership and what an endpoint's share depends on: slow start, and weights from labels."""

from __future__ import annotations

from random import Random
from typing import Final

from tests.cluster.making import FakePool
from tests.control.fakes import FakeLoop, FakeNet
from tests.control.test_membership import CLUSTER, HTTP, FakeFeed, MembershipTestCase, found
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.schedulers import round_robin
from voltgw.cluster.slowstart import SlowStart
from voltgw.control.feed import Found, Remove, Reset
from voltgw.control.membership import Membership
from voltgw.control.probes.prober import Prober
from voltgw.control.terms import Terms

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class PaceCase(MembershipTestCase):
    """A membership with a slow start of 10 s, and weights on the label ``share``."""

    def setUp(self) -> None:
        """Start it."""
        self.loop = FakeLoop()
        self.net = FakeNet()
        self.prober = Prober(self.loop, Random(0), self.net.dial)
        self.feeds = (FakeFeed("default/one"), FakeFeed("default/two"))
        self.cluster = Cluster(CLUSTER, round_robin.FACTORY, lambda _: FakePool(), Random(0), slow_start=SlowStart(10.0))
        self.membership = Membership(
            self.cluster, self.feeds, self.checks, self.prober, self.loop, terms=Terms(weight_label="share"))
        self.prober.startService()
        self.membership.startService()

    def paces(self) -> list[float]:
        """What each endpoint's weight counts for."""
        return [round(endpoint.pace, 2) for endpoint in self.cluster.endpoints]


class SlowStartTests(PaceCase):
    def test_those_of_the_start_and_those_that_come(self) -> None:
        """Who is there when the gateway starts has its share at once; one that comes later grows into it."""
        self.say(Reset(found(1, 2)), feed=0)
        self.say(Reset(()), feed=1)
        self.assertEqual(self.paces(), [1.0, 1.0])
        self.say(Reset(found(1, 2, 3)))
        self.assertEqual(self.paces(), [1.0, 1.0, 0.1])
        self.loop.advance(5.0, 0.1)
        self.assertEqual(self.paces(), [1.0, 1.0, 0.5])
        self.loop.advance(5.0, 0.1)
        self.assertEqual(self.paces(), [1.0, 1.0, 1.0])
        self.loop.advance(1.0)
        self.assertEqual(self.loop.clock.getDelayedCalls(), [])     # nobody starts: there is nothing to wake for

    def test_one_that_leaves_while_it_starts(self) -> None:
        """Its timer ends with it."""
        self.say(Reset(found(1)))
        self.say(Reset(()), feed=1)
        self.say(Reset(found(1, 2)))
        self.say(Remove(found(2)))
        self.loop.advance(1.0, 0.1)
        self.assertEqual((self.paces(), self.loop.clock.getDelayedCalls()), ([1.0], []))


class WithChecksTests(PaceCase):
    checks = (HTTP,)

    def test_back_from_a_failure(self) -> None:
        """An endpoint whose checks pass again grows into its share; the first round of probes makes nobody slow."""
        self.say(Reset(found(1, 2)), feed=0)
        self.say(Reset(()), feed=1)
        for dial in self.dials().values():
            dial.answer(OK)
        self.loop.advance(0)
        self.assertEqual(self.paces(), [1.0, 1.0])
        failing = True
        for tenth in range(400):
            self.loop.advance(0.1)
            failing = tenth < 200
            for number, dial in self.dials().items():
                dial.answer(OK.replace(b"200", b"503") if number == 2 and failing else OK)
            self.loop.advance(0)
            if not failing and self.endpoint(2).ready:
                break
        self.assertEqual(self.paces(), [1.0, 0.1])
        self.loop.advance(4.0, 0.1)
        self.assertLess(abs(self.paces()[1] - 0.4), 0.05)


class WeightLabelTests(PaceCase):
    def weights(self) -> list[int]:
        """What the endpoints weigh."""
        return [endpoint.weight for endpoint in self.cluster.endpoints]

    def test_the_label_goes_first(self) -> None:
        """A label that is a weight counts instead of what the feed says; without the label the feed's counts."""
        self.say(Reset((Found("192.0.2.1", 80, weight=2, labels={"share": "7"}), Found("192.0.2.2", 80, weight=2))))
        self.assertEqual(self.weights(), [7, 2])

    def test_nonsense_is_refused_with_its_reason(self) -> None:
        """NaN, a huge number and words do not count; an event says whose weight it was and why."""
        self.say(Reset((
            Found("192.0.2.1", 80, weight=2, labels={"share": "NaN"}), Found("192.0.2.2", 80, labels={"share": "99999999"}),
            Found("192.0.2.3", 80, labels={"share": "much"}), Found("192.0.2.4", 80, weight=-5),
            Found("192.0.2.5", 80, labels={"share": "0"}))))
        self.assertEqual(self.weights(), [2, 1, 1, 1, 0])
        refused = [(event.endpoint, event.reason) for event in self.membership.events.ring if event.state == "weight refused"]
        self.assertEqual(refused, [
            ("192.0.2.1:80", "'NaN' is no whole number from 0 to 65535"), ("192.0.2.2:80", "99999999 is more than 65535"),
            ("192.0.2.3:80", "'much' is no whole number from 0 to 65535"),
            ("192.0.2.4:80", "-5 is no whole number from 0 to 65535")])
        self.assertNotIn(5, self.ready())

    def test_a_label_that_changes(self) -> None:
        """The weight follows, and the endpoint stays the same one."""
        self.say(Reset((Found("192.0.2.1", 80, labels={"share": "1"}), Found("192.0.2.2", 80))))
        before = self.endpoint(1)
        self.say(Reset((Found("192.0.2.1", 80, labels={"share": "9"}), Found("192.0.2.2", 80))))
        self.assertIs(self.endpoint(1), before)
        self.assertEqual(self.weights(), [9, 1])
