"""Tests for `voltgw.control.membership` and what stands around it: events, warm-up, the connect judge, the view."""

from __future__ import annotations

import json
from random import Random

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.cluster.making import FakePool, numbers
from tests.control.fakes import FakeDial, FakeLoop, FakeNet
from voltgw.cluster.cluster import Cluster, SchedulerFactory
from voltgw.cluster.endpoint import Endpoint
from voltgw.cluster.schedulers import ring_hash, round_robin
from voltgw.cluster.snapshot import EndpointKey
from voltgw.control.connects import FAILURES, HOLD_S
from voltgw.control.events import KEPT_EVENTS, LOGGED_EVENTS, Events
from voltgw.control.feed import Add, Deliver, Failed, FeedState, Found, Gone, Remove, Reset, Update
from voltgw.control.membership import Membership
from voltgw.control.probes.asking import HttpOptions
from voltgw.control.probes.http import HttpProbe
from voltgw.control.probes.prober import Prober
from voltgw.control.probes.target import Check
from voltgw.control.probes.tcp import TcpProbe
from voltgw.control.terms import Terms

CLUSTER = "default/shop"
INSTALL = Cluster.install
HTTP = Check("default/http", HttpProbe(HttpOptions(b"/healthz")), 5.0, 2.0, 2, 3)
TCP = Check("default/tcp", TcpProbe(b"", b""), 7.0, 1.0, 1, 1)


class FakeFeed:
    """A feed that says what the test tells it to."""

    def __init__(self, name: str = "default/feed") -> None:
        self.name = name
        self.state = FeedState.PENDING
        self.last_error = ""
        self.last_success = 0.0
        self.deliver: Deliver | None = None

    def start(self, deliver: Deliver) -> None:
        """Keep whom to tell."""
        self.deliver = deliver

    def stop(self) -> None:
        """Tell nobody."""
        self.deliver = None

    def say(self, update: Update) -> None:
        """Tell."""
        assert self.deliver is not None
        self.state = FeedState.FAILED if isinstance(update, Failed) else FeedState.BOUND
        self.deliver(update)


def found(*numbers: int) -> tuple[Found, ...]:
    """192.0.2.n:80 for each number."""
    return tuple(Found(f"192.0.2.{number}", 80) for number in numbers)


class MembershipTestCase(SynchronousTestCase):
    """One membership with two feeds; `checks` says how it probes."""

    checks: tuple[Check, ...] = ()
    panic_threshold = 0

    def setUp(self) -> None:
        """Start it."""
        self.loop = FakeLoop()
        self.net = FakeNet()
        self.prober = Prober(self.loop, Random(0), self.net.dial)
        self.feeds = (FakeFeed("default/one"), FakeFeed("default/two"))
        self.installed = 0
        self.cluster = Cluster(CLUSTER, round_robin.FACTORY, lambda _: FakePool(), Random(0))
        self.membership = Membership(
            self.cluster, self.feeds, self.checks, self.prober, self.loop,
            lambda address, port: "that is this gateway" if address == "127.0.0.1" else "", Terms(self.panic_threshold),
        )
        self.prober.startService()
        self.membership.startService()

    def tearDown(self) -> None:
        """It leaves no timer and no target."""
        self.membership.stopService()
        self.prober.stopService()
        self.assertEqual(self.loop.clock.getDelayedCalls(), [])
        self.assertEqual(self.prober.under_way, 0)

    def say(self, *updates: Update, feed: int = 0) -> None:
        """Let a feed speak, then let the turn end."""
        for update in updates:
            self.feeds[feed].say(update)
        self.loop.advance(0)

    def dials(self) -> dict[int, FakeDial]:
        """The probes that wait now, by the last part of the address."""
        self.loop.advance(0.011)
        return {int(dial.address.rpartition(".")[2]): dial for dial in self.net.take()}

    def ready(self) -> list[int]:
        """Who is picked."""
        return sorted(set(numbers([self.cluster.pick(None) for _ in range(4 * len(self.cluster.endpoints) + 1)])))

    def endpoint(self, number: int) -> Endpoint:
        """The live endpoint."""
        endpoint = self.cluster.get(EndpointKey(CLUSTER, "TCP", "", f"192.0.2.{number}", 80))
        assert endpoint is not None
        return endpoint

    def events(self) -> list[tuple[str, str]]:
        """Events so far, as (endpoint, state)."""
        return [(event.endpoint, event.state) for event in self.membership.events.ring]


class FeedsTests(MembershipTestCase):
    def test_updates(self) -> None:
        """Reset replaces what the feed said, Add and Remove change it, Gone takes all of it; other feeds keep theirs."""
        self.say(Reset(found(1, 2)))
        self.say(Reset(found(8)), feed=1)
        self.assertEqual(numbers(self.cluster.endpoints), [1, 2, 8])
        self.say(Add(found(3)), Remove(found(1, 9)))
        self.assertEqual(numbers(self.cluster.endpoints), [2, 3, 8])
        self.say(Reset(found(4, 3)))
        self.assertEqual(numbers(self.cluster.endpoints), [4, 3, 8])
        self.say(Gone())
        self.assertEqual(numbers(self.cluster.endpoints), [8])

    def test_one_set_for_each_turn(self) -> None:
        """Many updates of one turn make one set, and a turn without a change makes none."""
        self.say(Reset(found(1)), Add(found(2)), Add(found(3)), Remove(found(2)))
        self.assertEqual(self.cluster.version, 1)
        self.say(Reset(found(1, 3)), Add(found(1)))
        self.assertEqual(self.cluster.version, 1)

    def test_a_failing_feed_changes_nothing(self) -> None:
        """What a feed said last stays in force for as long as it fails, and the log hears of it once each time."""
        self.say(Reset(found(1, 2)))
        for _ in range(3):
            self.say(Failed("the server does not answer"))
            self.loop.advance(600)
        self.assertEqual(numbers(self.cluster.endpoints), [1, 2])
        self.assertEqual(self.ready(), [1, 2])
        self.say(Reset(found(1, 2)))
        self.say(Failed("again"))
        states = [state for endpoint, state in self.events() if endpoint == "default/one"]
        self.assertEqual(states, ["failing", "answering again", "failing"])

    def test_an_endpoint_of_two_feeds(self) -> None:
        """The first feed's word counts; when it drops the endpoint, the other's keeps it, as the same endpoint."""
        self.say(Reset((Found("192.0.2.1", 80, weight=2),)))
        self.say(Reset((Found("192.0.2.1", 80, weight=5),)), feed=1)
        kept = self.endpoint(1)
        self.assertEqual(kept.weight, 2)
        self.say(Reset(()))
        self.assertIs(self.endpoint(1), kept)
        self.assertEqual((kept.weight, kept.gone, self.ready()), (5, False, [1]))

    def test_duplicates_in_one_update(self) -> None:
        """Of two with one key the first counts."""
        self.say(Reset((Found("192.0.2.1", 80, weight=2), Found("192.0.2.1", 80, weight=5))))
        self.assertEqual([endpoint.weight for endpoint in self.cluster.endpoints], [2])

    def test_removal_is_seen_at_once(self) -> None:
        """A removed endpoint gets no pick even before the turn ends."""
        self.say(Reset(found(1, 2)))
        self.feeds[0].say(Remove(found(1)))
        self.assertEqual(self.ready(), [2])
        self.loop.advance(0)
        self.assertEqual(numbers(self.cluster.endpoints), [2])

    def test_all_are_replaced_at_once(self) -> None:
        """The old ones serve until the new ones are there: never is there nobody. When all go and none comes, they go at once."""
        self.feeds[0].say(Reset(found(1, 2)))
        self.loop.clock.advance(1)
        self.loop.turn()
        self.feeds[0].say(Reset(found(3, 4)))
        self.assertEqual(sum(each.ready for each in self.cluster.endpoints), 2)
        for _ in range(20):
            self.loop.turn()
            self.loop.clock.advance(0.05)
            self.assertEqual(sum(each.ready for each in self.cluster.endpoints), 2)
        self.assertEqual([each.address for each in self.cluster.endpoints], ["192.0.2.3", "192.0.2.4"])
        self.feeds[0].say(Reset(()))
        self.assertEqual([each.ready for each in self.cluster.endpoints], [False, False])

    def test_removed_and_back_in_one_turn(self) -> None:
        """An endpoint that leaves and comes back before the turn ends serves on, with its connections."""
        self.say(Reset(found(1, 2)))
        kept = self.endpoint(1)
        self.say(Remove(found(1)), Add(found(1)))
        self.assertEqual(self.ready(), [1, 2])
        self.assertIs(self.endpoint(1), kept)

    def test_changes_of_an_endpoint(self) -> None:
        """New labels, weights and names arrive at the live endpoint."""
        self.say(Reset(found(1)))
        kept = self.endpoint(1)
        self.say(Add((Found("192.0.2.1", 80, hostname="a.internal", weight=7, labels={"v": "2"}),)))
        self.assertIs(self.endpoint(1), kept)
        self.assertEqual((kept.hostname, kept.authority), ("a.internal", b"a.internal"))
        self.assertEqual((kept.weight, kept.labels), (7, {"v": "2"}))

    def test_endpoints_that_may_not_be(self) -> None:
        """An endpoint that is the gateway's own admin address is refused, and that is said once."""
        self.say(Reset((Found("127.0.0.1", 9901), *found(1))))
        self.say(Add(found(2)))
        self.assertEqual(numbers(self.cluster.endpoints), [1, 2])
        self.assertEqual(self.events().count(("127.0.0.1:9901", "refused")), 1)

    def test_without_checks_everyone_serves(self) -> None:
        """In a cluster without health checks an endpoint serves as soon as it is known."""
        self.say(Reset(found(1)))
        self.assertEqual(self.ready(), [1])
        self.assertEqual(self.membership.view()[0]["why"], "receives traffic: the cluster has no health checks")
        self.assertEqual(self.dials(), {})


class HealthTests(MembershipTestCase):
    checks = (HTTP,)

    def status(self, number: int, *statuses: int) -> None:
        """Let the next probes of one endpoint be answered so; the others' are answered with 200."""
        left = list(statuses)
        while left:
            for other, dial in self.dials().items():
                status = left.pop(0) if other == number and left else 200
                dial.answer(b"HTTP/1.1 %d X\r\n\r\n" % status)
            self.loop.advance(0.05)

    def test_before_the_first_result(self) -> None:
        """Endpoints that were never probed serve as long as nobody is healthy, and wait as soon as somebody is."""
        self.say(Reset(found(1, 2)))
        self.assertEqual(self.ready(), [1, 2])
        self.assertEqual(
            self.membership.view()[0]["why"],
            "receives traffic: health check default/http has no result yet, and no endpoint is healthy")
        self.dials()[1].answer(b"HTTP/1.1 200 OK\r\n\r\n")
        self.loop.advance(0)
        self.assertEqual(self.ready(), [1])
        self.assertEqual(
            self.membership.view()[1]["why"], "receives no traffic: health check default/http has no result yet")

    def test_a_new_endpoint_waits_for_its_first_probe(self) -> None:
        """Beside healthy ones, a new endpoint serves from its first success on."""
        self.say(Reset(found(1)))
        self.status(1, 200)
        self.say(Add(found(2)))
        self.assertEqual(self.ready(), [1])
        self.status(2, 200)
        self.assertEqual(self.ready(), [1, 2])

    def test_failures_in_a_row(self) -> None:
        """Three failures take an endpoint out, two successes bring it back."""
        self.say(Reset(found(1, 2)))
        self.status(1, 200, 500, 500)
        self.assertEqual(self.ready(), [1, 2])
        self.status(1, 500)
        self.assertEqual(self.ready(), [2])
        self.assertEqual(self.endpoint(1).reason, "health check default/http fails: status 500")
        self.status(1, 200)
        self.assertEqual(self.ready(), [2])
        self.status(1, 200)
        self.assertEqual(self.ready(), [1, 2])

    def test_503_counts_at_once(self) -> None:
        """One 503 takes a healthy endpoint out."""
        self.say(Reset(found(1, 2)))
        self.status(1, 200, 503)
        self.assertEqual(self.ready(), [2])

    def test_unhealthy_is_seen_at_once(self) -> None:
        """An endpoint that fails gets no pick even before the turn ends, and keeps its pool."""
        self.say(Reset(found(1, 2)))
        dials = self.dials()
        dials[1].answer(b"HTTP/1.1 500 X\r\n\r\n")
        self.assertEqual(self.ready(), [2])
        dials[2].answer(b"HTTP/1.1 200 X\r\n\r\n")
        self.loop.advance(0)
        self.assertEqual(self.ready(), [2])
        self.assertEqual(self.endpoint(1).gone, False)

    def test_down_and_up_within_one_turn(self) -> None:
        """Results that come and go in one turn leave the endpoint as the last one said."""
        self.say(Reset(found(1, 2)))
        self.status(1, 200)
        target = next(iter(self.membership.members.values())).targets[0]
        for ok in (False, False, False, True, True):
            self.membership.probed(target, target.record(self.loop.monotonic(), 0.0, ok, "", False))
        self.loop.advance(0)
        self.assertIn(1, self.ready())

    def test_all_down(self) -> None:
        """When everybody is unhealthy nobody is picked, which is an error in the log, and so is the way back an event."""
        self.say(Reset(found(1)))
        self.status(1, 500)
        self.assertEqual(self.ready(), [0])
        self.assertFalse(self.cluster.any_ready)
        self.assertEqual(self.events()[-1], ("", "down"))
        self.status(1, 200, 200)
        self.assertEqual((self.ready(), self.events()[-1]), ([1], ("", "serving again")))

    def test_health_goes_with_the_endpoint_that_left(self) -> None:
        """A removed endpoint is probed no more; when it comes back it is unknown."""
        self.say(Reset(found(1, 2)))
        self.status(1, 503)
        self.say(Remove(found(1)))
        self.loop.advance(30, step_s=0.5)
        for dial in self.net.take():
            self.assertEqual(dial.address, "192.0.2.2")
        self.say(Add(found(1)))
        self.assertEqual(self.endpoint(1).health, "unknown")

    def test_where_probes_go(self) -> None:
        """Probes go to the health check port and name the host; a change of either acts on the next probe."""
        self.say(Reset((Found("192.0.2.1", 80, hostname="a.internal", health_port=8080),)))
        dial = self.dials()[1]
        self.assertEqual(dial.port, 8080)
        self.assertIn(b"host: a.internal\r\n", dial.accept().value())
        dial.protocol.dataReceived(b"HTTP/1.1 200 OK\r\n\r\n")
        self.say(Reset((Found("192.0.2.1", 80, hostname="b.internal", health_port=8081),)))
        self.loop.advance(5)
        dial = self.dials()[1]
        self.assertEqual(dial.port, 8081)
        self.assertIn(b"host: b.internal\r\n", dial.accept().value())

    def test_events(self) -> None:
        """Every transition is an event, probes are not."""
        self.say(Reset(()), feed=1)
        self.say(Reset(found(1)))
        self.status(1, 200, 200, 500, 500, 500, 500, 200, 200, 200)
        self.assertEqual(self.events(), [
            ("192.0.2.1:80", "added"), ("192.0.2.1:80", "healthy"), ("192.0.2.1:80", "unhealthy"), ("", "down"),
            ("192.0.2.1:80", "healthy"), ("", "serving again")])

    def test_the_view_is_json(self) -> None:
        """Everything that the admin page shows can be written as JSON, and says what happened when."""
        self.say(Reset(found(1, 2)))
        self.status(1, 200, 500)
        self.loop.advance(0.5)
        described = json.loads(json.dumps(self.membership.describe()))
        self.assertEqual((described["cluster"], described["ready"], described["healthy"]), (CLUSTER, 2, 2))
        self.assertEqual(described["limits"], {
            "connections": None, "pending": 1024, "requests": None, "retries": "budget"})
        self.assertEqual([feed["state"] for feed in described["feeds"]], ["bound", "pending"])
        (first, _) = described["endpoints"]
        self.assertEqual(first["why"], "receives traffic: health check default/http passes")
        (check,) = first["checks"]
        self.assertEqual((check["healthy"], check["against"], check["needed"]), (True, 1, 3))
        self.assertEqual([(result["ok"], result["reason"]) for result in check["results"]],
                         [(False, "status 500"), (True, "status 200")])
        self.assertGreaterEqual(check["results"][0]["ago_s"], 0.5)
        self.assertEqual(described["events"][-1]["state"], "added")


class PanicTests(MembershipTestCase):
    """A cluster with ``panic_threshold: 50``."""

    checks = (HTTP,)
    panic_threshold = 50

    def answer(self, *bad: int) -> None:
        """Three rounds of probes, in which these endpoints are down."""
        for _ in range(3):
            for number, dial in self.dials().items():
                dial.answer(b"HTTP/1.1 %d X\r\n\r\n" % (500 if number in bad else 200))
            self.loop.advance(60)

    def test_most_of_a_cluster_is_down(self) -> None:
        """Below half all endpoints are used and it is said loudly; from half on health decides again."""
        self.say(Reset(found(1, 2, 3, 4)))
        self.answer()
        self.answer(1, 2)
        self.assertEqual((self.ready(), self.membership.panic), ([3, 4], False))
        self.answer(1, 2, 3)
        self.assertEqual((self.ready(), self.membership.panic), ([1, 2, 3, 4], True))
        self.assertEqual(self.endpoint(1).reason, "panic, health is ignored: health check default/http fails: status 500")
        self.assertEqual(self.membership.describe()["panic"], True)
        self.assertEqual([event.state for event in self.membership.events.ring if not event.endpoint][-1], "panic")
        self.answer(1, 2, 3, 4)
        self.assertEqual(self.ready(), [1, 2, 3, 4])
        self.answer(1, 2)
        self.assertEqual((self.ready(), self.membership.panic), ([3, 4], False))

    def test_endpoints_that_were_never_probed(self) -> None:
        """They say nothing for or against it: one answer of four is no panic."""
        self.say(Reset(found(1, 2, 3, 4)))
        self.dials()[1].answer(b"HTTP/1.1 200 OK\r\n\r\n")
        self.loop.advance(0)
        self.assertEqual((self.ready(), self.membership.panic), ([1], False))


class SeveralChecksTests(MembershipTestCase):
    checks = (HTTP, TCP)

    def test_all_must_pass(self) -> None:
        """With two checks an endpoint is healthy once both have passed, and out as soon as one of them fails."""
        self.say(Reset(found(1, 2)))
        self.loop.advance(0.011)
        for dial in self.net.take():
            if type(dial.protocol).__name__ == "HttpRun" or dial.address == "192.0.2.2":
                dial.answer(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                tcp = dial
        self.loop.advance(0)
        self.assertEqual((self.endpoint(1).health, self.ready()), ("unknown", [2]))
        self.assertEqual(self.endpoint(1).reason, "health check default/tcp has no result yet")
        tcp.accept()
        self.loop.advance(0)
        self.assertEqual((self.endpoint(1).health, self.ready()), ("healthy", [1, 2]))
        self.assertEqual(self.endpoint(1).reason, "all 2 health checks pass")
        while self.endpoint(1).ready:
            self.loop.advance(0.011)
            for dial in self.net.take():
                if type(dial.protocol).__name__ == "TcpRun" and dial.address == "192.0.2.1":
                    dial.refuse()
                else:
                    dial.answer(b"HTTP/1.1 200 OK\r\n\r\n")
        self.loop.advance(0)
        self.assertEqual((self.endpoint(1).health, self.ready()), ("unhealthy", [2]))
        self.assertIn("default/tcp fails", self.membership.view()[0]["why"])


class WarmUpTests(MembershipTestCase):
    checks = (HTTP, TCP)

    def waiting(self, timeout_s: float | None = None) -> tuple[Deferred[None], list[None]]:
        """A Deferred of the warm-up, and what it has fired with."""
        fired: list[None] = []
        deferred = self.membership.warm_deferred(timeout_s)
        deferred.addCallback(fired.append)
        return deferred, fired

    def test_after_the_first_round(self) -> None:
        """Warm is reached when every feed has answered and every check of every endpoint has a result, good or bad."""
        _, fired = self.waiting()
        self.assertEqual(
            self.membership.missing(), "feed default/one has not answered, feed default/two has not answered")
        self.say(Reset(found(1)))
        self.say(Failed("no"), feed=1)
        self.assertEqual((self.membership.missing(), self.membership.warm), ("2 first probes under way", False))
        self.loop.advance(0.011)
        first, second = self.net.take()
        first.refuse()
        self.loop.advance(0)
        self.assertEqual((self.membership.missing(), fired), ("1 first probe under way", []))
        second.refuse()
        self.loop.advance(0)
        self.assertEqual((self.membership.missing(), self.membership.warm, fired), ("", True, [None]))
        self.assertEqual(self.successResultOf(self.membership.warm_deferred()), None)

    def test_the_set_is_installed_when_it_fires(self) -> None:
        """Whoever waited finds the result of the first round in the cluster."""
        seen: list[list[int]] = []
        self.membership.warm_deferred().addCallback(lambda _: seen.append(self.ready()))
        self.say(Reset(found(1, 2)))
        self.say(Reset(()), feed=1)
        self.loop.advance(0.011)
        for dial in self.net.take():
            if dial.address == "192.0.2.1":
                dial.answer(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                dial.refuse()
        self.loop.advance(0)
        self.assertEqual(seen, [[1]])

    def test_it_is_bounded(self) -> None:
        """Warm-up is over one second after the longest timeout of a probe, whatever has not answered."""
        _, fired = self.waiting()
        self.assertEqual(self.membership.warm_timeout_s, 3.0)
        self.say(Reset(found(1)))
        self.loop.advance(2.9, step_s=0.1)
        self.assertEqual(fired, [])
        self.loop.advance(0.2, step_s=0.1)
        self.assertEqual((fired, self.membership.warm), ([None], True))

    def test_a_shorter_time_of_ones_own(self) -> None:
        """Who waits with a timeout waits no longer; the membership itself is not warm then."""
        _, fired = self.waiting(0.5)
        self.loop.advance(0.5)
        self.assertEqual((fired, self.membership.warm), ([None], False))

    def test_cancelled(self) -> None:
        """Who no longer waits is forgotten."""
        deferred, _ = self.waiting(2.0)
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)

    def test_stopping_lets_everyone_go(self) -> None:
        """Nobody waits for a membership that was stopped."""
        _, fired = self.waiting(2.0)
        self.membership.stopService()
        self.assertEqual(fired, [None])
        self.membership.startService()

    def test_everything_down_at_the_start(self) -> None:
        """A cluster that starts with nobody healthy says so."""
        self.say(Reset(()))
        self.say(Reset(()), feed=1)
        self.assertEqual((self.membership.warm, self.events()[-1]), (True, ("", "down")))


class StoppedTests(MembershipTestCase):
    checks = (HTTP,)

    def test_the_cluster_keeps_its_endpoints(self) -> None:
        """After the stop the data plane goes on with what it has; nothing is probed or installed."""
        self.say(Reset(found(1)))
        self.feeds[0].say(Reset(found(1, 2)))
        self.membership.stopService()
        self.loop.advance(30, step_s=1.0)
        self.assertEqual((numbers(self.cluster.endpoints), self.net.dials), ([1], []))
        self.assertIsNone(self.feeds[0].deliver)

    def test_started_again(self) -> None:
        """A second start brings sets that are newer than those of the first."""
        self.say(Reset(found(1)))
        self.membership.stopService()
        self.membership.startService()
        self.say(Reset(found(2)))
        self.assertEqual((numbers(self.cluster.endpoints), self.cluster.version), ([2], 2))


class ConnectJudgeTests(MembershipTestCase):
    def refuse(self, number: int, times: int = 1) -> None:
        """Let connections to an endpoint fail."""
        for _ in range(times):
            self.cluster.connect_failed(self.endpoint(number))

    def test_failures_in_a_row(self) -> None:
        """Three connect failures in a row take an endpoint out for ten seconds, at once."""
        self.say(Reset(found(1, 2)))
        self.refuse(1, FAILURES - 1)
        self.assertEqual(self.ready(), [1, 2])
        self.refuse(1)
        self.assertEqual(self.ready(), [2])
        self.loop.advance(0)
        self.assertEqual((self.ready(), self.endpoint(1).health), ([2], "unhealthy"))
        self.assertEqual(
            self.membership.view()[0]["why"],
            "receives no traffic: 3 connections in a row failed; it is tried again after 10 s")
        self.loop.advance(HOLD_S)
        self.assertEqual((self.ready(), self.endpoint(1).health), ([1, 2], "unknown"))

    def test_when_it_is_tried_again(self) -> None:
        """After the pause one failure is enough; one success makes it as good as new."""
        self.say(Reset(found(1, 2)))
        self.refuse(1, FAILURES)
        self.loop.advance(HOLD_S)
        self.refuse(1)
        self.assertEqual(self.ready(), [2])
        self.loop.advance(HOLD_S)
        self.endpoint(1).failed_in_a_row = 0
        self.refuse(1, FAILURES - 1)
        self.assertEqual(self.ready(), [1, 2])

    def test_the_last_one_stays(self) -> None:
        """An endpoint that is the only one left is never taken out."""
        self.say(Reset(found(1, 2)))
        self.refuse(1, FAILURES)
        self.loop.advance(0)
        self.refuse(2, 10 * FAILURES)
        self.loop.advance(0)
        self.assertEqual(self.ready(), [2])
        self.assertTrue(self.cluster.any_ready)

    def test_an_endpoint_that_left_meanwhile(self) -> None:
        """Removed while it was out, it comes back as a new one."""
        self.say(Reset(found(1, 2)))
        self.refuse(1, FAILURES)
        self.say(Remove(found(1)))
        self.say(Add(found(1)))
        self.assertEqual(self.ready(), [1, 2])
        self.refuse(1, FAILURES)
        self.assertEqual(self.ready(), [2])
        self.loop.advance(HOLD_S)
        self.assertEqual(self.ready(), [1, 2])


class NoJudgeTests(MembershipTestCase):
    checks = (TCP,)

    def test_where_there_are_checks_they_decide(self) -> None:
        """With health checks, connect failures take nobody out."""
        self.say(Reset(found(1, 2)))
        for _ in range(10):
            self.cluster.connect_failed(self.endpoint(1))
        self.loop.advance(0)
        self.assertEqual(self.ready(), [1, 2])


class RestTests(MembershipTestCase):
    def test_a_pass_that_took_long_is_followed_by_a_rest(self) -> None:
        """After a pass of 10 ms the next one waits 200 ms; who left is passed over all the same."""
        self.say(Reset(found(1, 2)))
        self.membership._not_before = self.loop.monotonic() + 0.2
        self.feeds[0].say(Remove(found(1)))
        self.loop.advance(0)
        self.assertEqual((self.cluster.version, self.ready()), (1, [2]))
        self.loop.advance(0.2)
        self.assertEqual((self.cluster.version, numbers(self.cluster.endpoints)), (2, [2]))


class EventsTests(SynchronousTestCase):
    def test_ten_thousand_changes_at_once(self) -> None:
        """The log gets twenty lines and the number of the others, errors always; the ring keeps the last ones."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_namespace") == "voltgw.control.events.Events":
                lines.append(event["state"] if "state" in event else str(event["count"]))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        events = Events(CLUSTER)
        for number in range(10_000):
            events.add(float(number), f"192.0.2.1:{number}", "healthy", "")
        events.add(10_000.0, "", "down", "", LogLevel.error)
        events.flush()
        events.add(10_001.0, "", "serving again", "")
        self.assertEqual(lines, ["healthy"] * LOGGED_EVENTS + ["down", str(10_000 - LOGGED_EVENTS), "serving again"])
        self.assertEqual(len(events.ring), KEPT_EVENTS)
        self.assertEqual(events.ring[-1].state, "serving again")


class HugeTests(MembershipTestCase):
    """Ten thousand endpoints."""

    def fill(self, factory: SchedulerFactory) -> None:
        """All there, and the scheduler's table complete."""
        self.cluster.factory = factory
        self.all = tuple(Found(f"10.0.{number >> 8}.{number & 255}", 80) for number in range(10_000))
        self.say(Reset(self.all))
        self.loop.advance(1.0)

    def turns(self) -> int:
        """How many turns of the reactor it takes until nothing is left to do."""
        self.loop.clock.advance(1.0)        # a pass waits a moment behind the last one
        count = 0
        while self.loop.turn():
            count += 1
        return count

    def test_one_leaves(self) -> None:
        """It gets nothing from the same moment on; the rest is done in stages and steps, and there are not many."""
        for factory, most in ((round_robin.FACTORY, 3), (ring_hash.FACTORY, 60)):
            self.fill(factory)
            gone = self.cluster.get(EndpointKey(CLUSTER, "TCP", "", "10.0.1.1", 80))
            assert gone is not None
            self.feeds[0].say(Remove((Found("10.0.1.1", 80),)))
            self.assertFalse(gone.ready)
            turns = self.turns()
            self.assertGreaterEqual(turns, 3)
            self.assertLessEqual(turns, most)
            self.assertEqual(len(self.cluster.endpoints), 9_999)

    def test_what_comes_between_two_stages(self) -> None:
        """Nothing is lost: another pass follows."""
        self.fill(round_robin.FACTORY)
        self.feeds[0].say(Remove((Found("10.0.1.1", 80),)))
        self.loop.clock.advance(1.0)
        self.loop.turn()                    # the first stage
        self.feeds[0].say(Remove((Found("10.0.2.2", 80),)))
        self.loop.turn()
        self.turns()
        self.assertEqual(len(self.cluster.endpoints), 9_998)

    def test_a_pass_that_fails(self) -> None:
        """A bug in one pass reaches the loop, and the next pass is made all the same."""
        self.say(Reset(found(1, 2)))
        self.patch(Cluster, "install", self.broken)
        self.feeds[0].say(Reset(found(1, 2, 3)))
        self.loop.clock.advance(1.0)
        self.assertRaises(ZeroDivisionError, self.loop.turn)
        self.patch(Cluster, "install", INSTALL)
        self.say(Reset(found(1, 2, 3, 4)))
        self.loop.advance(1.0)
        self.assertEqual(len(self.cluster.endpoints), 4)

    @staticmethod
    def broken(cluster: Cluster, endpoints: object) -> None:
        """A bug."""
        raise ZeroDivisionError
