"""Sockets of other network namespaces, and what a network is at a moment."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.namespaces import Lab, NamespaceCase
from voltgw.net import namespaces
from voltgw.net.interfaces import interface_address
from voltgw.net.namespaces import LOST_STATUS, identity, inside, make_socket
from voltgw.net.sockets import CannotListen, connecting_socket, listening_socket
from voltgw.values.network import HOST, Network

_HERE = "/proc/thread-self/ns/net"


class InsideTests(NamespaceCase):
    def setUp(self) -> None:
        self.lab = Lab(self)
        self.there = self.lab.namespace("there")

    def test_there_and_back(self) -> None:
        """The body runs in the namespace, and what follows where we were, also after an exception."""
        before = os.stat(_HERE).st_ino
        with inside(self.there):
            self.assertNotEqual(os.stat(_HERE).st_ino, before)
        self.assertEqual(os.stat(_HERE).st_ino, before)
        with self.assertRaises(ZeroDivisionError), inside(self.there):
            raise ZeroDivisionError
        self.assertEqual(os.stat(_HERE).st_ino, before)

    def test_from_inside_of_another_one(self) -> None:
        """That is a bug, which is told before anything is made: on the way back it would not be known where we are."""
        other = self.lab.namespace("other")
        before = os.stat(_HERE).st_ino
        with inside(self.there), self.assertRaises(RuntimeError), inside(other):
            self.fail("we are in two places")
        self.assertEqual(os.stat(_HERE).st_ino, before)

    def test_no_such_namespace(self) -> None:
        """That is an error, and we are where we were."""
        before = os.stat(_HERE).st_ino
        with self.assertRaises(FileNotFoundError), inside("vg-no-such-namespace"):
            self.fail("we are nowhere")
        self.assertEqual(os.stat(_HERE).st_ino, before)

    def test_no_way_back(self) -> None:
        """A process that cannot go back ends at once, and says why: its next socket would be in the wrong network."""
        code = ("import sys; from voltgw.net.namespaces import inside\n"
                "def stuck(fd): raise OSError(1, 'no way')\n"
                f"with inside({self.there!r}, stuck): pass\n"
                "print('went on')")
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                               env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
        self.assertEqual((ended.returncode, ended.stdout), (LOST_STATUS, ""))
        self.assertIn("cannot leave the network namespace", ended.stderr)

    def test_one_address_in_two_namespaces(self) -> None:
        """The same address and port are free in each; connections stay within."""
        other = self.lab.namespace("other")
        networks = (Network("a", netns=self.there), Network("b", netns=other))
        listening = [listening_socket("127.0.0.1", 7000, network=network) for network in networks]
        for sock, network in zip(listening, networks, strict=True):
            self.addCleanup(sock.close)
            connected, _ = connecting_socket("127.0.0.1", 7000, network=network)
            self.addCleanup(connected.close)
            accepted, _ = sock.accept()
            accepted.close()
            with self.assertRaises(BlockingIOError):
                sock.accept()

    def test_a_namespace_that_is_not_there(self) -> None:
        """Listening says what to look at."""
        with self.assertRaises(CannotListen) as caught:
            listening_socket("127.0.0.1", 7000, network=Network("ns/lab", netns="vg-no-such-namespace"))
        self.assertEqual(str(caught.exception), "cannot listen on 127.0.0.1:7000 in network ns/lab: no such file or directory; "
                         "there is no network namespace vg-no-such-namespace: `ip netns` shows which there are")

    def test_bound_to_the_interface_and_the_source(self) -> None:
        """A socket of the network has its device, and connections its source address."""
        self.lab.ip("-n", self.there, "address", "add", "127.0.0.9/8", "dev", "lo")
        network = Network("n", netns=self.there, device="lo", sources=("127.0.0.9",))
        with make_socket(socket.AF_INET, socket.SOCK_STREAM, network) as sock:
            self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0"), b"lo")
        listening = listening_socket("127.0.0.1", 7000, network=network)
        self.addCleanup(listening.close)
        connected, _ = connecting_socket("127.0.0.1", 7000, network=network)
        self.addCleanup(connected.close)
        accepted, peer = listening.accept()
        accepted.close()
        self.assertEqual(peer[0], "127.0.0.9")


class IdentityTests(NamespaceCase):
    def test_the_host(self) -> None:
        """It is always the same."""
        self.assertEqual(identity(HOST), identity(HOST))
        self.assertEqual(identity(HOST).problem, "")

    def test_what_is_not_there(self) -> None:
        """A namespace, an interface, an interface in a namespace: each says which."""
        lab = Lab(self)
        there = lab.namespace("there")
        for network, problem in (
            (Network("n", netns="vg-none"), "network namespace vg-none does not exist"),
            (Network("n", device="vg-none0"), "network interface vg-none0 does not exist"),
            (Network("n", netns=there, device="eth7", interface="eth7"),
             f"network interface eth7 does not exist in {there}"),
        ):
            self.assertEqual(identity(network).problem, problem)

    def test_it_may_not_be_entered(self) -> None:
        """That is no loss: sockets that stand there are served on; only the interfaces are not seen."""
        lab = Lab(self)
        there = lab.namespace("there")

        def forbidden(fd: int) -> None:
            raise PermissionError(1, "Operation not permitted")

        before = identity(Network("n", netns=there))
        self.patch(namespaces, "_setns", forbidden)
        self.assertEqual(identity(Network("n", netns=there, device="eth7")), before)
        self.assertEqual(identity(Network("n", netns=there)), before)

    def test_what_a_namespace_leaves_behind(self) -> None:
        """An empty file where it was mounted is none."""
        path = Path(self.mktemp())
        path.touch()
        self.assertIn("does not exist", identity(Network("n", netns=str(path.absolute()))).problem)

    def test_made_anew(self) -> None:
        """A namespace or an interface of the same name is another one."""
        lab = Lab(self)
        one, other = lab.namespace("one"), lab.namespace("other")
        lab.cable(one, "eth0", other, "eth0")
        network = Network("n", netns=one, device="eth0", interface="eth0")
        first = identity(network)
        self.assertEqual(identity(network), first)
        lab.ip("-n", one, "link", "del", "eth0")
        lab.cable(one, "eth0", other, "eth1")
        second = identity(network)
        self.assertEqual((second.problem, second.namespace == first.namespace, second == first), ("", True, False))
        lab.delete(one)
        lab.namespace("one")
        self.assertNotEqual(identity(Network("n", netns=one)).namespace, first.namespace)


class InterfaceAddressTests(NamespaceCase):
    def test_addresses(self) -> None:
        """The interface's first IPv4 address, else a global IPv6 one, of any interface where none is named; "" without."""
        lab = Lab(self)
        one, other = lab.namespace("one"), lab.namespace("other")
        self.assertEqual(interface_address(Network("n", netns=one)), "")
        lab.cable(one, "eth0", other, "eth0")
        lab.address(one, "eth0", "fd00::5/64")
        self.assertEqual(interface_address(Network("n", netns=one)), "fd00::5")
        lab.address(one, "eth0", "10.1.2.3/24")
        self.assertEqual(interface_address(Network("n", netns=one, device="eth0", interface="eth0")), "10.1.2.3")
        self.assertEqual(interface_address(Network("n", netns="vg-none")), "")
