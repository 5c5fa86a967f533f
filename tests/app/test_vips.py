"""VIPs on the interfaces of a namespace, with a clock of the test's own; whole gateways are in tests/integration/test_vips.py."""

from __future__ import annotations

from twisted.internet.task import Clock

from tests.namespaces import Lab, NamespaceCase
from voltgw.app.vips import MOST_PER_TURN, Vip, Vips
from voltgw.net.addresses import netlink
from voltgw.values.defaults import VIP_LIFETIME_S, VIP_RENEWAL_S
from voltgw.values.network import Network


class VipTests(NamespaceCase):
    def setUp(self) -> None:
        self.lab = lab = Lab(self)
        self.own, other = lab.namespace("gw"), lab.namespace("other")
        lab.cable(self.own, "eth0", other, "eth0")
        lab.cable(self.own, "eth1", other, "eth1")
        lab.address(self.own, "eth0", "10.0.0.1/24")
        lab.address(self.own, "eth1", "10.0.1.1/24")
        self.clock = Clock()
        self.held: set[Vip] = set()
        self.vips = Vips(self.clock, self.held.__contains__)
        self.addCleanup(self.vips.stop)

    def vip(self, address: str, interface: str = "", netns: str | None = None) -> Vip:
        return Vip(address, Network("lab", netns=self.own if netns is None else netns, device=interface, interface=interface))

    def here(self, interface: str) -> set[str]:
        return {address for address in self.lab.addresses(self.own, interface) if not address.startswith("fe80")}

    def test_the_right_interface(self) -> None:
        """That of the network; where it names none, the one by which the VIP's neighbours are reached."""
        self.vips.follow([self.vip("10.0.1.100"), self.vip("192.0.2.9", "eth0")])
        self.assertEqual((self.here("eth0"), self.here("eth1")), ({"10.0.0.1", "192.0.2.9"}, {"10.0.1.1", "10.0.1.100"}))
        self.assertEqual([one["interface"] for one in self.vips.view()], ["eth1", "eth0"])
        self.assertEqual(self.vips.problems, [])

    def test_it_is_renewed(self) -> None:
        """Well before its life ends, again and again; one that somebody has removed is added anew."""
        self.assertLess(2 * VIP_RENEWAL_S, VIP_LIFETIME_S)
        self.vips.follow([self.vip("10.0.0.100")])
        with netlink(self.own) as talk:
            talk.renew(next(one.interface for one in talk.addresses() if one.address == "10.0.0.100"), "10.0.0.100", 3)
        self.assertLess(self.lab.addresses(self.own, "eth0")["10.0.0.100"]["valid_life_time"], 4)
        self.clock.advance(VIP_RENEWAL_S)
        self.assertGreater(self.lab.addresses(self.own, "eth0")["10.0.0.100"]["valid_life_time"], VIP_LIFETIME_S - 3)
        self.lab.ip("-n", self.own, "address", "del", "10.0.0.100/32", "dev", "eth0")
        self.clock.advance(VIP_RENEWAL_S)
        self.assertIn("10.0.0.100", self.here("eth0"))

    def test_connections_that_need_it(self) -> None:
        """A VIP whose policy has gone stays until the connections of its listener have ended."""
        vip = self.vip("10.0.0.100")
        self.vips.follow([vip])
        self.held.add(vip)
        self.vips.follow([])
        self.clock.advance(VIP_RENEWAL_S)
        self.assertIn("10.0.0.100", self.here("eth0"))
        self.held.clear()
        self.clock.advance(VIP_RENEWAL_S)
        self.assertEqual(self.here("eth0"), {"10.0.0.1"})

    def test_wanted_again(self) -> None:
        """One that was about to go stays, without a gap."""
        vip = self.vip("10.0.0.100")
        self.vips.follow([vip])
        self.held.add(vip)
        self.vips.follow([])
        self.vips.follow([vip])
        self.held.clear()
        self.clock.advance(VIP_RENEWAL_S)
        self.assertIn("10.0.0.100", self.here("eth0"))

    def test_somebody_elses(self) -> None:
        """An address that we have not made is not renewed, not marked, not taken away, wherever it stands."""
        self.lab.address(self.own, "eth1", "10.0.0.100/25")
        self.vips.follow([self.vip("10.0.0.100")])
        self.vips.stop()
        found = self.lab.addresses(self.own, "eth1")["10.0.0.100"]
        self.assertEqual((found["prefixlen"], found["valid_life_time"], found.get("protocol")), (25, 2 ** 32 - 1, None))
        self.assertNotIn("10.0.0.100", self.here("eth0"))

    def test_it_is_taken_over_by_somebody(self) -> None:
        """One that somebody has replaced by an address of his own is his: it stays when we end."""
        self.vips.follow([self.vip("10.0.0.100")])
        self.lab.ip("-n", self.own, "address", "del", "10.0.0.100/32", "dev", "eth0")
        self.lab.address(self.own, "eth0", "10.0.0.100/24")
        self.vips.stop()
        self.assertIn("10.0.0.100", self.here("eth0"))

    def test_it_is_taken_over_while_it_is_served(self) -> None:
        """It is not renewed, and not marked, from then on."""
        self.vips.follow([self.vip("10.0.0.100")])
        self.clock.advance(VIP_RENEWAL_S)
        self.lab.ip("-n", self.own, "address", "del", "10.0.0.100/32", "dev", "eth0")
        self.lab.address(self.own, "eth0", "10.0.0.100/32")
        self.clock.advance(VIP_RENEWAL_S)
        self.assertEqual(self.lab.addresses(self.own, "eth0")["10.0.0.100"]["valid_life_time"], 2 ** 32 - 1)
        self.assertFalse(self.vips.view()[0]["ours"])

    def test_no_way_to_it(self) -> None:
        """It says so, and tries again: here a route comes later."""
        self.vips.follow([self.vip("198.51.100.9")])
        self.assertEqual(self.vips.problems, ["VIP 198.51.100.9: it cannot be added: network is unreachable"])
        self.assertFalse(self.vips.view()[0]["present"])
        self.lab.ip("-n", self.own, "route", "add", "198.51.100.0/24", "dev", "eth1")
        self.clock.advance(VIP_RENEWAL_S)
        self.assertEqual(self.vips.problems, [])
        self.assertIn("198.51.100.9", self.here("eth1"))

    def test_a_network_that_is_not_there(self) -> None:
        """Others are looked after all the same."""
        self.vips.follow([self.vip("10.0.0.100"), self.vip("10.0.0.101", netns="vg-none")])
        self.assertEqual(self.vips.problems, ["VIP 10.0.0.101: it cannot be added: no such file or directory"])
        self.assertIn("10.0.0.100", self.here("eth0"))

    def test_the_end(self) -> None:
        """Nothing of ours is left: no address, no timer."""
        self.vips.follow([self.vip("10.0.0.100"), self.vip("10.0.1.100")])
        self.vips.stop()
        self.assertEqual((self.here("eth0"), self.here("eth1")), ({"10.0.0.1"}, {"10.0.1.1"}))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many(self) -> None:
        """Some in a turn, the others in the next ones; all are taken away at the end."""
        many = {f"10.0.0.{number}" for number in range(100, 200)}
        self.vips.follow(map(self.vip, sorted(many)))
        self.assertEqual(len(self.here("eth0") & many), MOST_PER_TURN)
        self.clock.advance(0)
        self.assertEqual(self.here("eth0") & many, many)
        self.vips.stop()
        self.assertEqual(self.here("eth0"), {"10.0.0.1"})

    def test_nothing_to_look_after(self) -> None:
        """Then there is no timer."""
        self.vips.follow([])
        self.assertEqual(self.clock.getDelayedCalls(), [])
