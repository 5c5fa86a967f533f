"""What a unit of work on each path costs, as counts: calls into the kernel, exactly, and our own calls, within bounds.

The paths are those of the tables of docs/performance.rst. The floor of each is one receive and one send for each way of a
message, which a kept connection reaches; the epoll set changes only where a connection begins or ends.
"""

from __future__ import annotations

import select
import socket
from typing import ClassVar

from tests.proxy.sockets import SocketCase
from tests.proxy.test_call_count import ANSWER, REQUEST
from tests.proxy.test_call_count_2 import Request2Case
from tests.proxy.test_udp import UdpCase
from tests.seam import SeamCase

UPGRADE = (b"GET /socket HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
SWITCHED = (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
#: A binary frame of five octets, masked with zeroes, and without a mask.
ASKED, ECHOED = b"\x82\x85\0\0\0\0hello", b"\x82\x05hello"


class KeptRequestTests(SeamCase, SocketCase):
    """HTTP/1.1: a request on a kept connection, to an endpoint with a kept connection."""

    kernel: ClassVar = {"socket.recv": 2, "socket.send": 2}
    least, most = 5, 20

    def setUp(self) -> None:
        """A client whose connection is warm."""
        super().setUp()
        self.client = self.connect(self.http())
        self.client.sendall(REQUEST)
        self.accept()
        self.finish()

    def finish(self) -> None:
        """The endpoint answers what it has heard."""
        self.assertIn(b"HTTP/1.1\r\n", self.heard(self.origin))
        self.origin.sendall(ANSWER)
        self.assertTrue(self.heard(self.client).endswith(b"hello"))

    def unit(self) -> None:
        """One request."""
        self.client.sendall(REQUEST)
        self.finish()

    def test_kernel(self) -> None:
        """Two receives and two sends."""
        self.check_kernel()

    def test_calls(self) -> None:
        """Few, since the way is flat."""
        self.check_calls()


class NewConnectionTests(SeamCase, SocketCase):
    """HTTP/1.1: a connection of a client for one request, to an endpoint with a kept connection."""

    kernel: ClassVar = {"socket._accept": 1, "socket.setblocking": 1, "epoll.register": 1, "socket.recv": 2, "socket.send": 2,
              "socket.close": 1}
    least, most = 20, 80

    def setUp(self) -> None:
        """A listener, and an endpoint whose connection is kept."""
        super().setUp()
        self.listener = self.listen(self.http())
        self.unit()

    def unit(self) -> None:
        """From accept to close."""
        client = self.socket(self.listener)
        client.settimeout(5)
        client.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        if not hasattr(self, "origin"):
            self.accept()
        self.heard(self.origin)
        self.origin.sendall(ANSWER)
        self.assertTrue(self.heard(client).endswith(b"hello"))
        self.assertEqual(self.heard(client), b"")
        client.close()
        self.spin(lambda: self.loop.accepted == 0)

    def test_kernel(self) -> None:
        """One entry into the epoll set, and nothing is asked of a socket that is known."""
        self.check_kernel()

    def test_calls(self) -> None:
        """What a connection is made of, and taken apart."""
        self.check_calls()


class Http2RequestTests(SeamCase, Request2Case):
    """HTTP/2: a request on a kept connection; its calls are counted by `CallCount2Tests`."""

    kernel: ClassVar = {"socket.recv": 2, "socket.send": 2}

    def unit(self) -> None:
        """One request."""
        self.serve(b"/index.html?x=1")

    def test_kernel(self) -> None:
        """As for HTTP/1.1: head and body of the answer leave together."""
        self.unit()
        self.check_kernel()


class TcpRoundTripTests(SeamCase, SocketCase):
    """A TCP relay: a message and its echo on a kept connection."""

    kernel: ClassVar = {"socket.recv": 2, "socket.send": 2}
    least, most = 2, 5

    def setUp(self) -> None:
        """A relay that stands."""
        super().setUp()
        self.client = self.connect(self.tcp())
        self.accept()
        self.unit()

    def unit(self) -> None:
        """There and back."""
        self.client.sendall(b"hello")
        self.assertEqual(self.heard(self.origin), b"hello")
        self.origin.sendall(b"hello")
        self.assertEqual(self.heard(self.client), b"hello")

    def test_kernel(self) -> None:
        """Two receives and two sends."""
        self.check_kernel()

    def test_calls(self) -> None:
        """A stream's handler and the other's write, each way."""
        self.check_calls()


class TcpConnectionTests(SeamCase, SocketCase):
    """A TCP relay: the life of a connection with one message and its echo."""

    kernel: ClassVar = {"socket._accept": 1, "socket.setblocking": 1, "socket.connect_ex": 1, "socket.setsockopt": 2,
              "socket.getsockname": 1, "epoll.register": 2, "epoll.modify": 1, "socket.recv": 4, "socket.send": 2,
              "socket.shutdown": 1, "epoll.unregister": 1, "socket.close": 2}
    least, most = 30, 140

    def setUp(self) -> None:
        """A relay."""
        super().setUp()
        self.listener = self.listen(self.tcp())

    def unit(self) -> None:
        """From accept to close."""
        client = self.socket(self.listener)
        client.settimeout(5)
        client.sendall(b"hello")
        self.accept()
        self.assertEqual(self.heard(self.origin), b"hello")
        self.origin.sendall(b"hello")
        self.assertEqual(self.heard(client), b"hello")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(self.heard(self.origin), b"")
        self.origin.close()
        self.assertEqual(self.heard(client), b"")
        client.close()
        self.spin(lambda: self.loop.open == 0)

    def test_kernel(self) -> None:
        """Each side enters the epoll set once and leaves it once."""
        self.check_kernel()

    def test_calls(self) -> None:
        """What two connections are made of, and taken apart."""
        self.check_calls()


class WebSocketMessageTests(SeamCase, SocketCase):
    """WebSocket: a message and its echo on a connection that was upgraded."""

    kernel: ClassVar = {"socket.recv": 2, "socket.send": 2}
    least, most = 2, 5

    def setUp(self) -> None:
        """A connection that was upgraded."""
        super().setUp()
        self.route.upgrades = frozenset((b"websocket",))
        self.client = self.connect(self.http())
        self.client.sendall(UPGRADE)
        self.accept()
        self.heard(self.origin)
        self.origin.sendall(SWITCHED)
        self.assertIn(b" 101 ", self.heard(self.client))
        self.unit()

    def unit(self) -> None:
        """There and back."""
        self.client.sendall(ASKED)
        self.assertEqual(self.heard(self.origin), ASKED)
        self.origin.sendall(ECHOED)
        self.assertEqual(self.heard(self.client), ECHOED)

    def test_kernel(self) -> None:
        """Two receives and two sends."""
        self.check_kernel()

    def test_calls(self) -> None:
        """As of a relay."""
        self.check_calls()


class UdpRoundTripTests(SeamCase, UdpCase):
    """A UDP relay: a datagram and its answer in a session that stands."""

    kernel: ClassVar = {"socket.recvfrom_into": 1, "socket.send": 1, "socket.recv_into": 1, "socket.sendto": 1}
    least, most = 2, 8

    def setUp(self) -> None:
        """A session."""
        super().setUp()
        self.sender = self.client()
        self.say(self.sender)
        (self.server,) = [each for each in self.endpoints if self.waits(each)]
        self.answer(self.server)
        self.sender.recv(100)

    def waits(self, server: socket.socket) -> bool:
        """Whether it has a datagram to read."""
        return bool(select.select([server], [], [], 0.2)[0])

    def unit(self) -> None:
        """There and back."""
        self.say(self.sender)
        self.answer(self.server)
        self.assertEqual(self.sender.recv(100), b"!")

    def test_kernel(self) -> None:
        """A receive and a send each way, and no look whether more has come."""
        self.check_kernel()

    def test_calls(self) -> None:
        """A handler each way."""
        self.check_calls()
