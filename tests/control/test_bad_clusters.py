"""What clusters make of bad input: nobody there, nobody well, twins, missing labels, members that flap."""

from __future__ import annotations

from tests.control.test_membership import CLUSTER, HTTP, MembershipTestCase, found
from voltgw.cluster.subset import SubsetRules
from voltgw.control.events import KEPT_EVENTS
from voltgw.control.feed import Found, Remove, Reset

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BAD = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"


class BadInputTests(MembershipTestCase):
    def test_no_endpoints(self) -> None:
        """Nobody is picked, the cluster says so once, and serves when somebody comes."""
        self.say(Reset(()))
        self.say(Reset(()), feed=1)
        self.assertIs(self.cluster.pick(None), None)
        self.assertFalse(self.cluster.any_ready)
        self.assertEqual([(event.state, event.reason) for event in self.membership.events.ring if event.state == "down"],
                         [("down", "it has no endpoints: requests to it are refused")])
        self.say(Reset(found(1)))
        self.assertEqual(self.ready(), [1])

    def test_twins(self) -> None:
        """Of two with one address the first stays, with its weight and labels; when it leaves the other one takes its place."""
        self.say(Reset((Found("192.0.2.1", 80, weight=3, labels={"v": "1"}), Found("192.0.2.1", 80, weight=5))))
        self.say(Reset((Found("192.0.2.1", 80, weight=7),)), feed=1)
        self.assertEqual([(each.weight, dict(each.labels)) for each in self.cluster.endpoints], [(3, {"v": "1"})])
        self.say(Reset(()))
        self.assertEqual([each.weight for each in self.cluster.endpoints], [7])

    def test_labels_are_missing(self) -> None:
        """An endpoint without a label is in no subset by it, and serves those who ask for none."""
        self.cluster.subsets = SubsetRules(keys=(("v",),))
        self.say(Reset((Found("192.0.2.1", 80, labels={"v": "1"}), Found("192.0.2.2", 80))))
        self.assertEqual([each.address for each in self.cluster.subset({"v": "1"}).endpoints],     # type: ignore[attr-defined]
                         ["192.0.2.1"])
        self.assertEqual(self.ready(), [1, 2])

    def test_a_feed_that_flaps_at_ten_hertz(self) -> None:
        """Each change is one set at most, no timer is left, and the ring of events stays within its bound."""
        self.say(Reset(found(1, 2)))
        before = self.cluster.version
        for number in range(600):           # a minute
            self.feeds[0].say(Remove(found(1)) if number % 2 else Reset(found(1, 2)))
            self.loop.advance(0.1)
        self.assertLessEqual(self.cluster.version - before, 600)
        self.assertLessEqual(len(self.membership.events.ring), KEPT_EVENTS)
        self.assertLessEqual(len(self.cluster.endpoints), 2)
        self.assertEqual([call for call in self.loop.clock.getDelayedCalls() if call.getTime() > self.loop.monotonic() + 2], [])


class FlappingProbesTests(MembershipTestCase):
    checks = (HTTP,)

    def probes(self, *bad: int) -> None:
        """Every probe that is under way is answered."""
        for number, dial in self.dials().items():
            dial.answer(BAD if number in bad else OK)
        self.loop.advance(0)

    def test_all_unhealthy(self) -> None:
        """Nobody is picked, the event is loud and comes once."""
        self.say(Reset(found(1, 2)))
        self.say(Reset(()), feed=1)
        for _ in range(100):
            self.loop.advance(0.2)
            self.probes(1, 2)
        self.assertIs(self.cluster.pick(None), None)
        self.assertEqual([event.state for event in self.membership.events.ring if not event.endpoint].count("down"), 1)

    def test_one_that_flaps_at_ten_hertz(self) -> None:
        """It is seen as often as it is probed, and changes at most once for each `rise` of good ones."""
        self.say(Reset(found(1, 2)))
        self.say(Reset(()), feed=1)
        for tenth in range(1200):           # two minutes
            self.loop.advance(0.1)
            self.probes(*([1] if tenth % 2 else []))
        changes = [event for event in self.membership.events.ring if event.endpoint == "192.0.2.1:80" and event.state != "added"]
        self.assertLessEqual(len(changes), 2 * 120 / HTTP.interval_s / HTTP.rise)
        self.assertIn(2, self.ready())
        self.assertEqual(self.cluster.name, CLUSTER)
