"""The packet rules of listeners for captured connections: kept, put back, taken away; told to those who do it themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.namespaces import Lab, NamespaceCase
from tests.servers import require
from voltgw.app.packet_rules import PacketRules, capture_of, printed, rules_of
from voltgw.config.objects.network_connector import CaptureMode
from voltgw.net.capture import CannotCapture, Capture, installed
from voltgw.values.defaults import PACKET_RULES_LOOK_S
from voltgw.values.network import Network


class ReadTests(SynchronousTestCase):
    def capture(self, **given: Any) -> Capture | None:
        ours = SimpleNamespace(**{"capture": CaptureMode.REDIRECT, "capture_port": None, "captured_ports": (), **given})
        networks: Any = SimpleNamespace(inside=Network("lab", netns="in", device="red", interface="eth1"))
        return capture_of(ours, networks, lambda port: port + 1000)     # type: ignore[arg-type]  # so much of it is asked

    def test_what_a_connector_says(self) -> None:
        """The inside network's interface, the port that is bound, and how."""
        self.assertEqual(self.capture(), Capture("in", "eth1", "redirect", 16001))
        self.assertEqual(self.capture(capture=CaptureMode.TPROXY, capture_port=7000), Capture("in", "eth1", "tproxy", 8000))
        self.assertIsNone(self.capture(capture=CaptureMode.NONE))

    def test_where_inside_is_is_not_known(self) -> None:
        """Then nobody is captured: the rules would be for every interface, and strangers come by some."""
        networks: Any = SimpleNamespace(inside=Network("lab", dns_servers=("10.0.0.53",)))
        self.assertIsNone(capture_of(None, networks, lambda port: port))

    def test_by_namespace(self) -> None:
        """Listeners that are not for captured connections need none."""
        captures = [Capture("b", "", "redirect", 1), None, Capture("a", "", "tproxy", 2), Capture("b", "", "redirect", 1)]
        plans: Any = {number: SimpleNamespace(capture=one) for number, one in enumerate(captures)}
        self.assertEqual(rules_of(plans), {"a": (Capture("a", "", "tproxy", 2),), "b": (Capture("b", "", "redirect", 1),)})

    def test_a_script(self) -> None:
        """It runs in each namespace what we would have installed there."""
        text = printed({"a": (Capture("a", "", "tproxy", 2),), "": (Capture("", "eth1", "redirect", 1),)})
        self.assertIn("ip netns exec a nft -f - <<'END'\ntable inet voltgw\n", text)
        self.assertIn("ip netns exec a ip -6 rule add fwmark 0x7667", text)
        self.assertIn("\nnft -f - <<'END'\n", text)
        self.assertEqual(printed({}), "")


class KeptTests(NamespaceCase):
    def setUp(self) -> None:
        require("nft")
        self.lab = lab = Lab(self)
        self.own = lab.namespace("gw")
        self.clock = Clock()
        self.rules = PacketRules(self.clock)
        self.addCleanup(self.rules.stop)
        self.wanted = {self.own: (Capture(self.own, "eth1", "tproxy", 15001),)}

    def test_they_are_kept(self) -> None:
        """Flushed by somebody, they are back within a look."""
        self.rules.follow(self.wanted)
        self.assertTrue(installed(self.own))
        self.lab.run(self.own, "nft", "flush", "ruleset")
        self.assertFalse(installed(self.own))
        self.clock.advance(PACKET_RULES_LOOK_S)
        self.assertTrue(installed(self.own))
        self.assertEqual([(one["mode"], one["installed"]) for one in self.rules.view()], [("tproxy", True)])

    def test_they_go(self) -> None:
        """When no listener needs them any more, and at the end; no timer stays."""
        self.rules.follow(self.wanted)
        self.rules.follow({})
        self.assertFalse(installed(self.own))
        self.rules.follow(self.wanted)
        self.rules.stop()
        self.assertFalse(installed(self.own))
        self.clock.advance(PACKET_RULES_LOOK_S)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_network_that_comes_later(self) -> None:
        """It is no obstacle, but said; the rules come with it."""
        later = self.lab.name("later")
        wanted = {later: (Capture(later, "", "redirect", 15001),)}
        self.rules.check(wanted)
        self.rules.follow(wanted)
        self.assertEqual(len(self.rules.problems), 1)
        self.lab.namespace("later")
        self.clock.advance(PACKET_RULES_LOOK_S)
        self.assertEqual((self.rules.problems, installed(later)), ([], True))

    def test_what_the_kernel_refuses(self) -> None:
        """It is found before anything changes."""
        self.rules.follow(self.wanted)
        with self.assertRaises(CannotCapture):
            self.rules.check({self.own: (Capture(self.own, "eth1", "tproxy", 99999),)})
        self.assertTrue(installed(self.own))
