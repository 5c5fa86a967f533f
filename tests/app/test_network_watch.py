"""Networks that go, come back, or become others."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from voltgw.app import network_watch
from voltgw.app.network_watch import NetworkWatch
from voltgw.net.namespaces import Identity
from voltgw.values.defaults import NETWORK_LOOK_S
from voltgw.values.network import HOST, Network

RED, BLUE = Network("red", netns="red"), Network("blue", device="eth1")


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.now = {RED: Identity((4, 100)), BLUE: Identity((0, 0), (3,))}
        self.heard: list[tuple[Network, Identity]] = []
        self.looks = 0
        self.watch = NetworkWatch(self.clock, lambda network, now: self.heard.append((network, now)), self.look)
        self.addCleanup(self.watch.stop)

    def look(self, network: Network) -> Identity:
        self.looks += 1
        return self.now[network]

    def test_what_stays(self) -> None:
        """Nobody is told anything."""
        self.watch.follow([RED, BLUE])
        self.clock.pump([NETWORK_LOOK_S] * 5)
        self.assertEqual((self.heard, self.looks), ([], 12))

    def test_it_goes_and_comes_back(self) -> None:
        """Both are told, once each, within a look; it is counted and shown."""
        self.watch.follow([RED, BLUE])
        gone = Identity((0, 0), (), "network namespace red does not exist")
        self.now[RED] = gone
        self.clock.pump([NETWORK_LOOK_S] * 3)
        self.assertEqual((self.heard, self.watch.losses), ([(RED, gone)], 1))
        self.assertEqual([(one["network"], one["present"], one["problem"]) for one in self.watch.view()],
                         [("blue", True, ""), ("red", False, "network namespace red does not exist")])
        self.now[RED] = Identity((4, 101))
        self.clock.pump([NETWORK_LOOK_S] * 3)
        self.assertEqual(self.heard[1:], [(RED, Identity((4, 101)))])

    def test_no_descriptor_is_left_to_look_with(self) -> None:
        """What could not be looked at is not gone: nobody is told, and nothing is counted."""
        self.watch.follow([RED, BLUE])
        self.now[BLUE] = Identity((0, 0), (), "Too many open files", unknown=True)
        self.clock.pump([NETWORK_LOOK_S] * 3)
        self.assertEqual((self.heard, self.watch.losses), ([], 0))
        self.now[BLUE] = Identity((0, 0), (3,))
        self.clock.pump([NETWORK_LOOK_S] * 3)
        self.assertEqual(self.heard, [])

    def test_made_anew_between_two_looks(self) -> None:
        """It is there, but another one: that is told as well."""
        self.watch.follow([BLUE])
        self.now[BLUE] = Identity((0, 0), (4,))
        self.clock.advance(NETWORK_LOOK_S)
        self.assertEqual(self.heard, [(BLUE, Identity((0, 0), (4,)))])
        self.assertEqual(self.watch.losses, 0)

    def test_nothing_to_look_at(self) -> None:
        """The host as it is, and networks that are only names for it, cost nothing: no timer."""
        self.watch.follow([HOST, Network("outside", dns_servers=("192.0.2.53",))])
        self.assertEqual((self.clock.getDelayedCalls(), self.looks), ([], 0))

    def test_a_reload(self) -> None:
        """Networks that stay are known still; those that left are not looked at any more."""
        self.watch.follow([RED, BLUE])
        self.now[RED] = Identity((4, 102))
        self.watch.follow([RED])
        self.clock.advance(NETWORK_LOOK_S)
        self.assertEqual(self.heard, [(RED, Identity((4, 102)))])
        self.watch.follow([])
        self.clock.advance(NETWORK_LOOK_S)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_between_making_sockets_and_serving(self) -> None:
        """A network that has become another one by the time that its sockets serve is noticed: they are of the old one."""
        self.watch.note([RED, HOST])
        self.now[RED] = Identity((4, 103))
        self.watch.follow([RED])
        self.clock.advance(NETWORK_LOOK_S)
        self.assertEqual(self.heard, [(RED, Identity((4, 103)))])

    def test_many(self) -> None:
        """A turn looks at some of them only; all have their turn."""
        self.patch(network_watch, "MOST_PER_TURN", 2)
        many = [Network(str(number), netns=str(number)) for number in range(5)]
        self.now = dict.fromkeys(many, Identity((4, 1)))
        self.watch.follow(many)
        self.looks = 0
        self.clock.advance(NETWORK_LOOK_S)
        self.assertEqual(self.looks, 2)
        self.now = dict.fromkeys(many, Identity((4, 2)))
        self.clock.pump([NETWORK_LOOK_S] * 5)
        self.assertEqual({network for network, _ in self.heard}, set(many))
