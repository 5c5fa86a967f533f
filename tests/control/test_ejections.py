"""Tests for `voltgw.control.ejections` and what membership makes of outlier detection."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar

from tests.cluster.making import FakePool
from tests.control.fakes import FakeLoop, FakeNet
from tests.control.test_membership import CLUSTER, HTTP, FakeFeed, MembershipTestCase, found
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.outlier import SWEEP_STEP, OutlierDetector, OutlierRules
from voltgw.cluster.schedulers import round_robin
from voltgw.control.feed import Found, Remove, Reset
from voltgw.control.membership import Membership
from voltgw.control.probes.prober import Prober
from voltgw.control.terms import Terms

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BAD = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"


class EjectionsCase(MembershipTestCase):
    """A membership whose cluster ejects outliers."""

    rules: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        """Start it."""
        self.loop = FakeLoop()
        self.net = FakeNet()
        self.prober = Prober(self.loop, Random(0), self.net.dial)
        self.feeds = (FakeFeed("default/one"), FakeFeed("default/two"))
        self.cluster = Cluster(CLUSTER, round_robin.FACTORY, lambda _: FakePool(), Random(0),
                               outliers=OutlierDetector(OutlierRules(**self.rules), Random(0)))
        self.membership = Membership(self.cluster, self.feeds, self.checks, self.prober, self.loop,
                                     terms=Terms(self.panic_threshold))
        self.prober.startService()
        self.membership.startService()

    def failing(self, number: int, times: int = 5) -> None:
        """It answers 500 so often."""
        endpoint = self.endpoint(number)
        for _ in range(times):
            endpoint.status[5] += 1
            endpoint.heard(500, 0.01, self.loop.monotonic())

    def why(self, number: int) -> str:
        """What the admin page says of it."""
        return str(next(each["why"] for each in self.membership.view() if each["address"] == f"192.0.2.{number}"))


class EjectionTests(EjectionsCase):
    def test_out_at_once_and_back_by_itself(self) -> None:
        """It gets nothing from the moment of its fifth failure on, and is back with the first sweep after its time."""
        self.say(Reset(found(1, 2, 3)))
        self.failing(2)
        self.assertEqual(self.ready(), [1, 3])          # before the turn is over
        self.loop.advance(0)
        self.assertEqual(self.ready(), [1, 3])
        self.assertEqual(self.why(2), "receives no traffic: it is ejected for 30 s: 5 failures in a row, it answered 500")
        self.loop.advance(29.9, 0.1)
        self.assertEqual(self.ready(), [1, 3])
        self.loop.advance(0.2)
        self.assertEqual(self.ready(), [1, 2, 3])
        self.assertEqual([event for event in self.events() if event[0] and event[1] != "added"],
                         [("192.0.2.2:80", "ejected"), ("192.0.2.2:80", "returned")])
        self.assertEqual(self.membership.events.ring[-1].reason, "its time is over, after 30.1 s")
        self.assertEqual(self.why(2), "receives traffic: the cluster has no health checks")

    def test_the_only_endpoint(self) -> None:
        """One may always be ejected: then nobody is left, the cluster is down and says so."""
        self.say(Reset(found(1)))
        self.failing(1)
        self.assertIs(self.cluster.pick(None), None)
        self.loop.advance(0)
        self.assertEqual(self.events()[-1], ("", "down"))
        self.loop.advance(30)
        self.assertEqual((self.ready(), self.events()[-1]), ([1], ("", "serving again")))

    def test_connect_failures_count(self) -> None:
        """Connections that cannot be made eject by the same rule, in place of the one for clusters without checks."""
        self.say(Reset(found(1, 2)))
        for _ in range(4):
            self.cluster.connect_failed(self.endpoint(1))
        self.loop.advance(0)
        self.assertEqual(self.ready(), [1, 2])
        self.cluster.connect_failed(self.endpoint(1))
        self.assertEqual(self.ready(), [2])
        self.loop.advance(0)

    def test_an_ejected_one_that_leaves(self) -> None:
        """It is forgotten, and comes back as a new endpoint."""
        self.say(Reset(found(1, 2)))
        self.failing(1)
        self.say(Remove(found(1)))
        self.assertEqual(self.ready(), [2])
        self.say(Reset(found(1, 2)))
        self.assertEqual(self.ready(), [1, 2])
        self.loop.advance(60, 1)
        self.assertNotIn(("192.0.2.1:80", "returned"), self.events())

    def test_high_priority_shares_the_judgement(self) -> None:
        """Failures of requests of high priority count as well, and the endpoint is out for both."""
        high = self.cluster.of_high_priority()
        self.say(Reset(found(1, 2)))
        twin = high.get(self.endpoint(1).key)
        assert twin is not None
        self.failing(1, 3)
        for _ in range(2):
            twin.heard(503, 0.01, self.loop.monotonic())
        self.assertEqual((self.endpoint(1).ready, twin.ready), (False, False))
        self.loop.advance(0)

    def test_a_large_cluster_is_swept_over_several_turns(self) -> None:
        """Each turn does one step."""
        members = tuple(Found(f"192.0.{number >> 8}.{number & 255}", 80) for number in range(2 * SWEEP_STEP + 1))
        self.say(Reset(members))
        self.loop.clock.advance(10.0)
        turns = 0
        while self.loop.turn():
            turns += 1
        self.assertEqual(turns, 2)

    def test_flapping_at_ten_hertz(self) -> None:
        """An endpoint that fails and recovers ten times a second is out most of the time, and changes a few times, not hundreds."""
        self.say(Reset(found(1, 2)))
        before = self.cluster.version
        for tenth in range(600):            # a minute
            endpoint = self.endpoint(1)
            if endpoint.ready:              # ten requests each time
                for _ in range(10):
                    if (status := 500 if tenth % 2 else 200) >= endpoint.heeds:
                        endpoint.heard(status, 0.001, self.loop.monotonic())
            self.loop.advance(0.1)
        self.assertLess(self.cluster.version - before, 10)
        self.assertLessEqual(len([1 for _, state in self.events() if state == "ejected"]), 3)


class WithChecksTests(EjectionsCase):
    checks = (HTTP,)

    def answer_probes(self, data: bytes = OK) -> None:
        """Each probe that is under way is answered."""
        for dial in self.dials().values():
            dial.answer(data)
        self.loop.advance(0)

    def test_a_passing_probe_brings_it_back(self) -> None:
        """The next probe that passes ends the ejection."""
        self.say(Reset(found(1, 2)))
        self.answer_probes()
        self.failing(1)
        self.loop.advance(0)
        self.assertEqual(self.ready(), [2])
        for _ in range(60):
            self.loop.advance(0.1)
            self.answer_probes()
        self.assertEqual(self.ready(), [1, 2])
        self.assertIn("a health check passes", self.membership.events.ring[-1].reason)

    def test_health_and_ejection_are_two_things(self) -> None:
        """Its health stays what the probes say; both must be well for traffic."""
        self.say(Reset(found(1, 2)))
        self.answer_probes()
        self.failing(1)
        self.loop.advance(0)
        self.assertEqual((self.endpoint(1).health, self.endpoint(1).ready), ("healthy", False))


class TimeOnlyTests(WithChecksTests):
    rules: ClassVar[dict[str, Any]] = {"successful_active_health_check_uneject_host": False}

    def test_a_passing_probe_brings_it_back(self) -> None:
        """Not where only time shall: it is out for its 30 s although every probe passes."""
        self.say(Reset(found(1, 2)))
        self.answer_probes()
        self.failing(1)
        for _ in range(250):
            self.loop.advance(0.1)
            self.answer_probes()
        self.assertEqual(self.ready(), [2])
        for _ in range(60):
            self.loop.advance(0.1)
            self.answer_probes()
        self.assertEqual(self.ready(), [1, 2])


class PanicTests(EjectionsCase):
    rules: ClassVar[dict[str, Any]] = {"max_ejection_percent": 100}
    panic_threshold = 50

    def test_all_ejected_with_a_panic_threshold(self) -> None:
        """Ejected ones count as unhealthy: below the threshold all are used, and the reason says both."""
        self.say(Reset(found(1, 2, 3)))
        self.failing(1)
        self.loop.advance(0)
        self.assertEqual(self.ready(), [2, 3])
        self.failing(2)
        self.loop.advance(0.5, 0.1)
        self.assertEqual((self.ready(), self.membership.panic), ([1, 2, 3], True))
        self.assertIn("panic, health is ignored: it is ejected", self.why(1))
        self.loop.advance(60, 1)
        self.assertEqual((self.ready(), self.membership.panic), ([1, 2, 3], False))


class AllEjectedTests(EjectionsCase):
    rules: ClassVar[dict[str, Any]] = {"max_ejection_percent": 100}

    def test_all_ejected(self) -> None:
        """Without a panic threshold nobody is used, which is what 100 percent asks for; requests are refused."""
        self.say(Reset(found(1, 2)))
        self.failing(1)
        self.failing(2)
        self.assertIs(self.cluster.pick(None), None)
        self.loop.advance(0)
        self.assertFalse(self.cluster.any_ready)
