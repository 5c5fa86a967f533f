"""UDP sockets on the loop: datagrams as they are, answers from the address that was asked."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from tests.support import SteppedLoopCase
from voltgw.net.datagrams import (
    DATAGRAMS_PER_TURN,
    DatagramPort,
    connected_datagram_socket,
    datagram_socket,
    is_own_address,
    local_text,
)
from voltgw.net.sockets import CannotListen


class DatagramCase(SteppedLoopCase):
    def setUp(self) -> None:
        super().setUp()
        self.heard: list[tuple[bytes, Any, bytes]] = []

    def bind(self, address: str | None = "127.0.0.1") -> DatagramPort:
        """A port that writes down what it hears."""
        port = DatagramPort(self.loop, datagram_socket(address, 0), lambda data, *what: self.heard.append((bytes(data), *what)))
        port.startListening()
        self.addCleanup(port.stopListening)
        return port

    def client(self, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
        """Somebody who sends."""
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.settimeout(5)
        self.addCleanup(sock.close)
        return sock

    def hear(self, count: int = 1) -> None:
        """Until so many have come."""
        self.spin(lambda: len(self.heard) >= count)


class PortTests(DatagramCase):
    def test_each_as_it_was_sent(self) -> None:
        """Borders stay: an empty one is one, and the largest that IPv4 has comes whole."""
        port, client = self.bind(), self.client()
        sent = [b"one", b"", b"x" * 65507, b"two"]
        for data in sent:
            client.sendto(data, port.address)
        self.hear(4)
        self.assertEqual([data for data, _, _ in self.heard], sent)
        self.assertEqual({who for _, who, _ in self.heard}, {("127.0.0.1", client.getsockname()[1])})

    def test_an_answer(self) -> None:
        """From the port that was asked; an empty one, too."""
        port, client = self.bind(), self.client()
        client.sendto(b"?", port.address)
        self.hear()
        _, who, local = self.heard[0]
        for data in (b"!", b""):
            self.assertTrue(port.send(data, who, local))
            self.assertEqual(client.recvfrom(100), (data, port.address))

    def test_a_turn_is_bounded(self) -> None:
        """What is more waits for the next one."""
        port, client = self.bind(), self.client()
        for _ in range(DATAGRAMS_PER_TURN + 10):
            client.sendto(b"x", port.address)
        self.turn()
        self.assertEqual(len(self.heard), DATAGRAMS_PER_TURN)
        self.hear(DATAGRAMS_PER_TURN + 10)

    def test_all_addresses(self) -> None:
        """An answer leaves from the address that the client has sent to, IPv4 and IPv6, though one socket has them all."""
        port = self.bind(None)
        number = port.address[1]
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.9"), (socket.AF_INET6, "::1")):
            self.heard.clear()
            client = self.client(family)
            client.sendto(b"?", (host, number))
            self.hear()
            _, who, local = self.heard[0]
            self.assertEqual(local_text(local), host)
            self.assertTrue(port.send(b"!", who, local))
            self.assertEqual(client.recvfrom(100)[1][:2], (host, number))

    def test_all_of_ipv4(self) -> None:
        """Likewise where there is no IPv6."""
        port, client = self.bind("0.0.0.0"), self.client()
        client.sendto(b"?", ("127.0.0.7", port.address[1]))
        self.hear()
        _, who, local = self.heard[0]
        self.assertEqual(local, socket.inet_aton("127.0.0.7"))
        port.send(b"!", who, local)
        self.assertEqual(client.recvfrom(100)[1], ("127.0.0.7", port.address[1]))

    def test_too_long(self) -> None:
        """The sender is told."""
        port, client = self.bind(), self.client()
        client.bind(("127.0.0.1", 0))
        with self.assertRaises(OSError) as caught:
            port.send(b"x" * 65530, client.getsockname(), b"")
        self.assertEqual(caught.exception.errno, errno.EMSGSIZE)

    def test_closed_while_datagrams_wait(self) -> None:
        """Nothing more is delivered, and nothing is sent."""
        port, client = self.bind(), self.client()
        port._received = lambda data, *what: (self.heard.append((bytes(data), *what)), port.stopListening())     # type: ignore[assignment,func-returns-value]  # as a protocol does
        client.sendto(b"1", port.address)
        client.sendto(b"2", port.address)
        self.hear()
        self.assert_quiet()
        self.assertEqual((len(self.heard), port.send(b"x", ("127.0.0.1", 9), b""), port.fileno()), (1, False, -1))

    def test_the_address_is_taken(self) -> None:
        """By another UDP socket; the error says how to find it. TCP's are others."""
        port = self.bind()
        with self.assertRaises(CannotListen) as caught:
            datagram_socket(*port.address)
        self.assertIn("ss -lunp", str(caught.exception))


class ConnectedTests(DatagramCase):
    def test_only_the_endpoint_is_heard(self) -> None:
        """What others send to the same port does not arrive."""
        endpoint, stranger = self.client(), self.client()
        endpoint.bind(("127.0.0.1", 0))
        sock = connected_datagram_socket(*endpoint.getsockname())
        self.addCleanup(sock.close)
        stranger.sendto(b"forged", sock.getsockname())
        endpoint.sendto(b"true", sock.getsockname())
        sock.setblocking(True)
        sock.settimeout(5)
        self.assertEqual(sock.recv(100), b"true")

    def test_own_addresses(self) -> None:
        """Of an interface of this host, or not."""
        self.assertEqual([is_own_address(host) for host in ("127.0.0.1", "::1", "192.0.2.1", "nonsense")],
                         [True, True, False, False])


class AncillaryTests(DatagramCase):
    def test_layout(self) -> None:
        """The structures have the kernel's sizes."""
        self.assertEqual((struct.calcsize("=i4s4s"), struct.calcsize("=16si")), (12, 20))
