"""Packet rules: what they say, and connections that they bring, with where those were meant to go."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading

from twisted.trial.unittest import SynchronousTestCase

from tests.namespaces import Lab, NamespaceCase
from tests.servers import require
from voltgw.net import capture
from voltgw.net.capture import CannotCapture, Capture, check, install, installed, routing, ruleset
from voltgw.net.original import original_destination
from voltgw.net.sockets import listening_socket
from voltgw.values.network import Network

#: Somewhere outside; no host has these addresses.
FAR = (("203.0.113.80", 80), ("2001:db8:ffff::80", 443))


class TextTests(SynchronousTestCase):
    def test_a_redirect(self) -> None:
        """One table, replaced as a whole; what is meant for the host itself is left alone."""
        self.assertEqual(ruleset([Capture("", "eth1", "redirect", 15001)]), """\
table inet voltgw
delete table inet voltgw
table inet voltgw {
    comment "made by voltgw, removed when it ends"
    chain by_redirect {
        type nat hook prerouting priority dstnat; policy accept;
        fib daddr type { local, broadcast, anycast, multicast } return
        iifname "eth1" meta l4proto tcp redirect to :15001
    }
}
""")
        self.assertEqual(routing([Capture("", "eth1", "redirect", 15001)]), [])

    def test_tproxy(self) -> None:
        """Both versions of IP, the packets of connections that there are, and a routing table for what is marked."""
        text = ruleset([Capture("", "", "tproxy", 15001, ((80, 80), (8000, 8100)))])
        self.assertIn('iifname != "lo" meta nfproto ipv4 tcp dport { 80, 8000-8100 } tproxy ip to :15001', text)
        self.assertIn('iifname != "lo" meta nfproto ipv6 tcp dport { 80, 8000-8100 } tproxy ip6 to :15001', text)
        self.assertIn("socket transparent 1", text)
        self.assertEqual(routing([Capture("", "", "tproxy", 15001)])[:2], [
            "ip -4 route replace local default dev lo table 7667", "ip -4 rule add fwmark 0x7667 lookup 7667 priority 7667"])


class CaptureTests(NamespaceCase):
    """A host whose default route leads to the gateway's namespace, where nothing is forwarded."""

    def setUp(self) -> None:
        require("nft")
        self.lab = lab = Lab(self)
        self.own, self.client = lab.namespace("gw"), lab.namespace("client")
        lab.cable(self.own, "eth1", self.client, "eth0")
        lab.address(self.own, "eth1", "10.1.0.1/24", "fd01::1/64")
        lab.address(self.client, "eth0", "10.1.0.2/24", "fd01::2/64")
        lab.ip("-n", self.client, "route", "add", "default", "via", "10.1.0.1")
        lab.ip("-n", self.client, "-6", "route", "add", "default", "via", "fd01::1")

    def rules(self) -> str:
        return self.lab.run(self.own, "nft", "list", "ruleset").stdout

    def meant(self, listening: socket.socket, address: str, port: int) -> object:
        """What is found out of a connection of the client's to an address, and that it is answered from there."""
        said: list[subprocess.CompletedProcess[str]] = []
        ask = ("import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); "
               "print(s.getpeername()[0], s.recv(9).decode())")
        thread = threading.Thread(
            target=lambda: said.append(self.lab.run(self.client, "python3", "-c", ask, address, str(port))))
        thread.start()
        listening.settimeout(5)
        try:
            accepted, peer = listening.accept()
        except TimeoutError:
            thread.join()
            return said[0].stderr
        with accepted:
            found = original_destination(accepted)
            accepted.sendall(b"captured!")
            thread.join()
        self.assertEqual(said[0].stdout, f"{address} captured!\n", said[0].stderr)
        self.assertIn(peer[0].removeprefix("::ffff:"), ("10.1.0.2", "fd01::2"))
        return found

    def listen(self, mode: str, address: str | None = None) -> socket.socket:
        sock = listening_socket(address, 15001, network=Network("inside", self.own, "eth1", "eth1"), transparent=mode)
        self.addCleanup(sock.close)
        return sock

    def test_every_way(self) -> None:
        """By REDIRECT and by TPROXY, IPv4 and IPv6, on one socket for both: the destination is the one that was meant."""
        for mode in ("redirect", "tproxy"):
            sock = self.listen(mode)
            install(self.own, [Capture(self.own, "eth1", mode, 15001)])
            for address, port in FAR:
                self.assertEqual(self.meant(sock, address, port), (address, port), mode)
            sock.close()

    def test_a_socket_of_one_version(self) -> None:
        """Likewise."""
        for mode in ("redirect", "tproxy"):
            sock = self.listen(mode, "0.0.0.0")
            install(self.own, [Capture(self.own, "eth1", mode, 15001)])
            self.assertEqual(self.meant(sock, *FAR[0]), FAR[0], mode)
            sock.close()

    def test_what_is_meant_for_us(self) -> None:
        """A redirected listener that is asked itself has no other destination; a VIP beside it is not captured."""
        sock = self.listen("redirect")
        install(self.own, [Capture(self.own, "eth1", "redirect", 15001)])
        self.assertIsNone(self.meant(sock, "10.1.0.1", 15001))
        vip = listening_socket("10.1.0.1", 80, network=Network("inside", self.own))
        self.addCleanup(vip.close)
        self.assertIsNone(self.meant(vip, "10.1.0.1", 80))

    def test_some_ports(self) -> None:
        """Others go nowhere: packets are not forwarded."""
        sock = self.listen("redirect")
        install(self.own, [Capture(self.own, "eth1", "redirect", 15001, ((80, 80), (8000, 8010)))])
        self.assertEqual(self.meant(sock, "203.0.113.80", 8005), ("203.0.113.80", 8005))
        self.assertIn("Error", str(self.meant(sock, "203.0.113.80", 81)))

    def test_removed(self) -> None:
        """Rules, routing rule and route go, and nothing of others; removing what is not there is no error."""
        self.lab.run(self.own, "nft", "add", "table", "inet", "another")
        install(self.own, [Capture(self.own, "eth1", "tproxy", 15001)])
        self.assertTrue(installed(self.own))
        self.assertIn("proto 118", self.lab.ip("-n", self.own, "rule"))
        self.assertIn("local default", self.lab.ip("-n", self.own, "-6", "route", "show", "table", "7667"))
        install(self.own, [])
        install(self.own, [])
        self.assertFalse(installed(self.own))
        self.assertEqual(self.rules(), "table inet another {\n}\n")
        for version in ("-4", "-6"):
            self.assertNotIn("7667", self.lab.ip("-n", self.own, version, "rule"))
            self.assertEqual(self.lab.ip("-n", self.own, version, "route", "show", "table", "all").count("7667"), 0)

    def test_from_tproxy_to_redirect(self) -> None:
        """The routing goes with the rules that needed it."""
        install(self.own, [Capture(self.own, "eth1", "tproxy", 15001)])
        install(self.own, [Capture(self.own, "eth1", "redirect", 15001)])
        self.assertNotIn("7667", self.lab.ip("-n", self.own, "rule"))
        self.assertNotIn("tproxy", self.rules())

    def test_only_asked(self) -> None:
        """A check changes nothing; what the kernel would refuse is said."""
        check(self.own, [Capture(self.own, "eth1", "tproxy", 15001)])
        self.assertFalse(installed(self.own))
        with self.assertRaises(CannotCapture) as caught:
            check(self.own, [Capture(self.own, "eth1", "redirect", 70000)])
        self.assertIn("nft refuses the packet rules in network namespace", str(caught.exception))

    def test_what_is_missing(self) -> None:
        """A namespace, and the program."""
        with self.assertRaises(CannotCapture) as caught:
            install("vg-none", [Capture("vg-none", "eth1", "tproxy", 15001)])
        self.assertIn("in network namespace vg-none: no such file", str(caught.exception))
        self.patch(capture, "_SBIN", ())
        self.patch(shutil, "which", lambda name: None)
        with self.assertRaises(CannotCapture) as caught:
            check(self.own, [Capture(self.own, "eth1", "tproxy", 15001)])
        self.assertIn("nft is not installed", str(caught.exception))
