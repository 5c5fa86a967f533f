"""Sockets that were open before: found by key or place, refused when they are something else, closed when not wanted."""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from voltgw.net.datagrams import datagram_socket
from voltgw.net.inherited import TCP, UDP, UNIX, Inherited, SocketKey, descriptors_of
from voltgw.net.sockets import CannotListen, listening_socket


class InheritedTests(SynchronousTestCase):
    def setUp(self) -> None:
        """One TCP socket."""
        self.inherited = Inherited()
        self.addCleanup(self.inherited.rest)
        self.fds = len(os.listdir("/proc/self/fd"))

    def test_by_key(self) -> None:
        """With port 0 the socket of the process before is found; once."""
        sock = listening_socket("127.0.0.1", 0)
        port = sock.getsockname()[1]
        key = SocketKey("listener", TCP, "127.0.0.1", 0)
        self.inherited.offer(key, sock.detach())
        self.assertIsNone(self.inherited.take(key._replace(part="admin")))
        self.assertIsNone(self.inherited.take(key._replace(number=1)))
        self.assertIsNone(self.inherited.take(key._replace(network="%eth0")))
        found = self.inherited.take(key)
        assert found is not None
        self.addCleanup(found.close)
        self.assertEqual((found.getsockname()[1], self.inherited.taken), (port, 1))
        self.assertIsNone(self.inherited.take(key))

    def test_by_place(self) -> None:
        """What systemd hands over is for whoever wants its address; of two of one port each is given once."""
        first = listening_socket("::1", 0, reuse_port=True)
        port = first.getsockname()[1]
        second = listening_socket("::1", port, reuse_port=True)
        for sock in (first, second):
            self.assertEqual(self.inherited.offer_bound(sock.detach()), f"[::1]:{port}")
        udp = datagram_socket(None, 0)
        number = udp.getsockname()[1]
        self.assertEqual(self.inherited.offer_bound(udp.detach()), f"*:{number}/udp")
        found = [self.inherited.take(SocketKey("listener", TCP, "0:0::1", port, number=number)) for number in (0, 1, 2)]
        self.assertEqual([each is not None for each in found], [True, True, False])
        self.assertIsNone(self.inherited.take(SocketKey("dns", UDP, "::", number)))       # that would be IPv6 alone
        found.append(self.inherited.take(SocketKey("dns", UDP, "", number)))
        for each in found:
            if each is not None:
                each.close()

    def test_unix(self) -> None:
        """By its path."""
        path = f"/tmp/vg-{os.getpid()}.sock"
        self.inherited.offer_bound(listening_socket(path, 0).detach())
        self.addCleanup(os.unlink, path)
        found = self.inherited.take(SocketKey("listener", UNIX, path))
        assert found is not None
        found.close()

    def test_something_else(self) -> None:
        """A file, a socket that does not listen, one that is not bound, one of another protocol: refused, and left to the caller."""
        with socket.socket() as idle, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as loose, open(os.devnull, "rb") as file:
            for fd in (idle.fileno(), loose.fileno(), file.fileno(), 9999):
                self.assertRaises(CannotListen, self.inherited.offer_bound, fd)
            listening = listening_socket("127.0.0.1", 0)
            self.addCleanup(listening.close)
            self.assertRaises(CannotListen, self.inherited.offer, SocketKey("dns", UDP, "127.0.0.1", 53), listening.fileno())
            self.assertTrue(listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        self.assertEqual(len(self.inherited), 0)

    def test_the_rest(self) -> None:
        """What nobody wants is closed and named."""
        sock = listening_socket("127.0.0.1", 0)
        port = sock.getsockname()[1]
        self.inherited.offer_bound(sock.detach())
        self.assertEqual(self.inherited.rest(), [f"127.0.0.1:{port}"])
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port))
        self.assertEqual(len(os.listdir("/proc/self/fd")), self.fds)


class EnvironmentTests(SynchronousTestCase):
    def test_meant_for_another_process(self) -> None:
        """What says so is forgotten all the same: our children are not to believe it."""
        environ = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "HOME": "/"}
        self.assertEqual(descriptors_of(environ, 7), [])
        self.assertEqual(environ, {"HOME": "/"})
        self.assertEqual(descriptors_of(environ, 7), [])

    def test_garbage(self) -> None:
        """A number that is none."""
        self.assertRaises(ValueError, descriptors_of, {"LISTEN_PID": "7", "LISTEN_FDS": "many"}, 7)
        self.assertRaises(ValueError, descriptors_of, {"LISTEN_PID": "7", "LISTEN_FDS": "70000"}, 7)
