"""Tests for `voltgw.control.orders` and what membership makes of them."""

from __future__ import annotations

from random import Random
from typing import Final

from tests.cluster.making import FakePool
from tests.control.fakes import FakeLoop, FakeNet
from tests.control.test_membership import CLUSTER, HTTP, FakeFeed, MembershipTestCase, found
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.schedulers import round_robin
from voltgw.cluster.snapshot import EndpointKey
from voltgw.cluster.spread import SITE_LABEL, ZONE_LABEL, Home, SpreadRules
from voltgw.control.feed import Found, Remove, Reset
from voltgw.control.membership import Membership
from voltgw.control.orders import MOST_ORDERS, Orders, ordered
from voltgw.control.probes.prober import Prober
from voltgw.control.terms import Terms

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BAD: Final = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"


class OrderedCase(MembershipTestCase):
    """A membership with orders."""

    terms = Terms()
    spread = SpreadRules()

    def setUp(self) -> None:
        """Start it."""
        self.loop = FakeLoop()
        self.net = FakeNet()
        self.prober = Prober(self.loop, Random(0), self.net.dial)
        self.feeds = (FakeFeed("default/one"), FakeFeed("default/two"))
        self.cluster = Cluster(CLUSTER, round_robin.FACTORY, lambda _: FakePool(), Random(0), spread=self.spread)
        self.orders = Orders(self.loop)
        self.addCleanup(self.orders.stop)
        self.membership = self.make()
        self.prober.startService()
        self.membership.startService()

    def tearDown(self) -> None:
        """Ejections of orders end with the process, not with a membership."""
        self.orders.stop()
        super().tearDown()

    def make(self) -> Membership:
        """A membership of the cluster."""
        return Membership(self.cluster, self.feeds, self.checks, self.prober, self.loop, terms=self.terms, orders=self.orders)

    def order(self, act: str, number: int, value: str = "", cluster: str = "") -> None:
        """As the command does it."""
        ordered(self.orders, [self.membership], act, f"192.0.2.{number}:80", cluster, value)
        self.loop.advance(0)

    def why(self, number: int) -> str:
        """What the admin page says of it."""
        return str(next(each["why"] for each in self.membership.view() if each["address"] == f"192.0.2.{number}"))


class OrdersTests(OrderedCase):
    def test_drain_and_undrain(self) -> None:
        """It gets nothing from that moment on, says so, and its pool stays; afterwards it serves again."""
        self.say(Reset(found(1, 2)))
        self.order("drain", 1)
        self.assertEqual(self.ready(), [2])
        self.assertEqual(self.why(1), "receives no traffic: an operator drains it: nothing new, what is under way may finish")
        self.assertFalse(self.endpoint(1).gone)
        self.assertEqual([each["order"] and each["order"]["drained"] for each in self.membership.view()], [True, None])
        self.order("undrain", 1)
        self.assertEqual((self.ready(), len(self.orders)), ([1, 2], 0))

    def test_ejected_for_a_while(self) -> None:
        """It comes back by itself after its time, or is let back before."""
        self.say(Reset(found(1, 2)))
        self.order("eject", 1, "10s")
        self.loop.advance(9.9)
        self.assertEqual(self.ready(), [2])
        self.loop.advance(0.2)
        self.assertEqual((self.ready(), len(self.orders)), ([1, 2], 0))
        self.order("eject", 1)
        self.order("undrain", 1)
        self.assertEqual(self.ready(), [1, 2])
        self.assertEqual(self.loop.clock.getDelayedCalls(), [])

    def test_weight(self) -> None:
        """Another weight, nothing at all, and its own one again."""
        self.say(Reset((Found("192.0.2.1", 80, weight=2), Found("192.0.2.2", 80))))
        self.order("weight", 1, "7")
        self.assertEqual((self.endpoint(1).weight, self.membership.view()[0]["share_percent"]), (7, 87.5))
        self.order("weight", 1, "0")
        self.assertEqual((self.ready(), self.why(1)), ([2], "receives no traffic: its weight is 0"))
        self.order("weight", 1, "reset")
        self.assertEqual((self.endpoint(1).weight, len(self.orders)), (2, 0))

    def test_a_reload_keeps_them(self) -> None:
        """A new membership of a cluster that was changed finds its endpoint drained; the old one's end changes nothing."""
        self.say(Reset(found(1, 2)))
        self.order("drain", 1)
        old, self.membership = self.membership, self.make()
        self.membership.startService()
        old.stopService()
        for feed in self.feeds:
            feed.stop()
        self.membership.stopService()
        self.membership = self.make()
        self.membership.startService()
        self.say(Reset(found(1, 2)))
        self.assertEqual(self.ready(), [2])
        self.order("undrain", 1)
        self.assertEqual(self.ready(), [1, 2])

    def test_it_leaves_and_comes_back(self) -> None:
        """It is still drained; while it is away it can be undrained."""
        self.say(Reset(found(1, 2)))
        self.order("drain", 1)
        self.say(Remove(found(1)))
        self.say(Reset(found(1, 2)))
        self.assertEqual(self.ready(), [2])
        self.say(Remove(found(1)))
        self.order("undrain", 1)
        self.say(Reset(found(1, 2)))
        self.assertEqual(self.ready(), [1, 2])

    def test_what_is_refused(self) -> None:
        """Each in words."""
        self.say(Reset(found(1, 2)))
        for act, number, value, cluster, reason in (
            ("drain", 9, "", "", "no cluster has an endpoint '192.0.2.9:80'"), ("drain", 1, "", "none", "there is no cluster 'none'"),
            ("eject", 1, "long", "", "duration"), ("eject", 1, "2d", "", "at most 86400 s"), ("weight", 1, "NaN", "", "no whole number"),
            ("weight", 1, "", "", "no whole number"), ("weight", 1, "99999", "", "more than 65535"), ("nudge", 1, "", "", "none of drain"),
        ):
            with self.assertRaises(ValueError) as caught:
                self.order(act, number, value, cluster)
            self.assertIn(reason, str(caught.exception), (act, value))
        self.assertEqual((self.ready(), len(self.orders)), ([1, 2], 0))

    def test_there_is_a_bound(self) -> None:
        """So many endpoints and no more."""
        for number in range(MOST_ORDERS):
            self.orders.drain(EndpointKey("c", "TCP", "", "192.0.2.1", number))
        with self.assertRaises(ValueError):
            self.orders.drain(EndpointKey("c", "UDP", "", "192.0.2.1", 1))

    def test_by_the_name_of_the_cluster(self) -> None:
        """With or without its namespace."""
        self.say(Reset(found(1, 2)))
        self.order("drain", 1, cluster="shop")
        self.order("drain", 2, cluster=CLUSTER)
        self.assertEqual(len(self.orders), 2)


class LocalOnlyTests(OrderedCase):
    terms = Terms(home=Home("paris", "a"), local_only=True)

    def test_only_where_the_gateway_is(self) -> None:
        """Others get nothing, even when no local one is ready, and their sentence says why."""
        self.say(Reset((Found("192.0.2.1", 80, labels={SITE_LABEL: "lyon"}), Found("192.0.2.2", 80, zone="b"),
                        Found("192.0.2.3", 80, labels={ZONE_LABEL: "a"}))))
        self.assertEqual(self.ready(), [3])
        self.assertEqual(self.why(1), "receives no traffic: endpoint_selection is LOCAL_ONLY, and it is not local")
        self.order("drain", 3)
        self.assertIs(self.cluster.pick(None), None)


class LocalPreferredTests(OrderedCase):
    terms = Terms(home=Home("paris", "a"))
    spread = SpreadRules(prefer_local=True)

    def test_others_wait(self) -> None:
        """The sentence of one that waits says so, and it serves when it must."""
        self.say(Reset((Found("192.0.2.1", 80, zone="a"), Found("192.0.2.2", 80, zone="b"))))
        self.assertEqual((self.ready(), self.why(2)), ([1], "receives no traffic: local endpoints are preferred, and one is ready"))
        self.order("drain", 1)
        self.assertEqual((self.ready(), self.why(2)), ([2], "receives traffic: the cluster has no health checks"))


class PriorityPanicTests(OrderedCase):
    checks = (HTTP,)
    terms = Terms(panic_threshold=50)

    def probes(self, *bad: int) -> None:
        """Every probe is answered, those of `bad` with 503; long enough for everybody."""
        for _ in range(120):
            self.loop.advance(0.1)
            for number, dial in self.dials().items():
                dial.answer(BAD if number in bad else OK)
            self.loop.advance(0)

    def test_each_priority_by_itself(self) -> None:
        """A priority that is down spills while the other one can take it; where both cannot, the bad one panics."""
        self.say(Reset((*found(1, 2), *(each._replace(priority=1) for each in found(3, 4, 5, 6)))))
        self.probes(1, 2)
        self.assertEqual((self.ready(), self.membership.panicking), ([3, 4, 5, 6], frozenset()))
        self.assertEqual(self.why(3), "receives traffic: health check default/http passes")
        self.probes(1, 2, 3, 4)
        self.assertEqual(self.membership.panicking, {0})
        (reason,) = [event.reason for event in self.membership.events.ring if event.state == "panic"]
        self.assertIn("fewer than 50 % of the endpoints of priority 0 are healthy", reason)

    def test_a_lower_one_waits(self) -> None:
        """Its sentence says for what."""
        self.say(Reset((*found(1), *(each._replace(priority=1) for each in found(2)))))
        self.probes()
        self.assertEqual((self.ready(), self.why(2)),
                         ([1], "receives no traffic: those of a higher priority than its 1 take everything"))
