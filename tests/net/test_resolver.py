"""Names looked up with the servers of a network."""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet.interfaces import IHostnameResolver
from zope.interface.verify import verifyObject

from tests.support import SteppedLoopCase
from voltgw.net import resolver as room
from voltgw.net.namespaces import home_namespace
from voltgw.net.resolver import ROUNDS, NetworkResolver
from voltgw.values.defaults import DNS_SERVER_TIMEOUT_S
from voltgw.values.network import Network


class Receiver:
    """An `IResolutionReceiver` that writes down what it hears."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.resolution: Any = None
        self.complete = False

    def resolutionBegan(self, resolution: Any) -> None:
        self.resolution = resolution

    def addressResolved(self, address: Any) -> None:
        self.found.append(address.host)

    def resolutionComplete(self) -> None:
        if self.complete:
            raise AssertionError("complete twice")
        self.complete = True


class ResolverTests(SteppedLoopCase):
    """A server is a UDP socket of the test's own on 127.0.0.1; a second one, on 127.0.0.2, has the same port."""

    def setUp(self) -> None:
        home_namespace()                    # it stays open, and is none of those that the test leaves behind
        super().setUp()
        while True:
            # its TCP side listens from the start: a port that is free for connections may be taken for datagrams
            self.listening = socket.create_server(("127.0.0.1", 0))
            self.listening.settimeout(2)
            self._sockets.append(self.listening)
            self.port: int = self.listening.getsockname()[1]
            try:
                self.first = self.server("127.0.0.1", self.port)
                self.second = self.server("127.0.0.2", self.port)
            except OSError:
                continue
            break
        self.resolver = NetworkResolver(
            self.loop, Network("lab", dns_servers=("127.0.0.1", "127.0.0.2")), self.port)

    def server(self, address: str, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets.append(sock)
        sock.bind((address, port))
        sock.settimeout(2)
        return sock

    def ask(self, name: str = "app.example", **options: Any) -> Receiver:
        receiver = Receiver()
        self.resolver.resolveHostName(receiver, name, **options)
        return receiver

    def questions(self, sock: socket.socket, count: int = 2) -> dict[int, tuple[bytes, Any]]:
        """What a server is asked, by type."""
        found = {}
        for _ in range(count):
            data, client = sock.recvfrom(2048)
            at = 12
            while data[at]:
                at += data[at] + 1
            found[int.from_bytes(data[at + 1:at + 3], "big")] = (data, client)
        return found

    def answer(self, question: bytes, *addresses: str, rcode: int = 0, truncated: bool = False) -> bytes:
        """The answer of a server: A or AAAA records."""
        at = 12
        while question[at]:
            at += question[at] + 1
        flags = 0x8180 | rcode | (0x0200 if truncated else 0)
        data = question[:2] + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0) + question[12:at + 5]
        for address in addresses:
            family, kind = (socket.AF_INET6, 28) if ":" in address else (socket.AF_INET, 1)
            packed = socket.inet_pton(family, address)
            data += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(packed)) + packed
        return data

    def test_it_is_a_resolver(self) -> None:
        """As Twisted has it."""
        self.assertTrue(verifyObject(IHostnameResolver, self.resolver))

    def test_both_versions(self) -> None:
        """They are asked for at a time; complete means that both have been answered."""
        receiver = self.ask()
        asked = self.questions(self.first)
        self.assertEqual(set(asked), {1, 28})
        data, client = asked[1]
        self.first.sendto(self.answer(data, "192.0.2.7"), client)
        self.spin(lambda: receiver.found)
        self.assertFalse(receiver.complete)
        data, client = asked[28]
        self.first.sendto(self.answer(data, "2001:db8::7"), client)
        self.spin(lambda: receiver.complete)
        self.assertEqual(receiver.found, ["192.0.2.7", "2001:db8::7"])
        self.assertEqual((self.resolver.questions, self.resolver.failures), (1, 0))

    def test_an_address_needs_no_server(self) -> None:
        """It is its own answer."""
        receiver = self.ask("192.0.2.7")
        self.assertEqual((receiver.found, receiver.complete), (["192.0.2.7"], True))
        self.assertEqual(self.resolver.questions, 0)

    def test_what_is_no_name(self) -> None:
        """Nobody is asked."""
        receiver = self.ask("a" * 64 + ".example")
        self.assertEqual((receiver.found, receiver.complete), ([], True))

    def test_times_to_live(self) -> None:
        """Whoever wants to know is told the shortest one of the answers that have addresses."""
        told: list[int] = []
        receiver = Receiver()
        receiver.lives_for = told.append        # type: ignore[attr-defined]
        self.resolver.resolveHostName(receiver, "app.example")
        asked = self.questions(self.first)
        data, client = asked[1]
        self.first.sendto(self.answer(data, "192.0.2.7").replace(b"\0\0\0\x3c", b"\0\0\0\x05"), client)
        data, client = asked[28]
        self.first.sendto(self.answer(data, "2001:db8::7"), client)
        self.spin(lambda: receiver.complete)
        self.assertEqual(told, [5])

    def test_a_silent_server(self) -> None:
        """The next one is asked; what the first one says later goes nowhere."""
        receiver = self.ask()
        late = self.questions(self.first)
        self.advance(DNS_SERVER_TIMEOUT_S)
        for data, client in self.questions(self.second).values():
            self.second.sendto(self.answer(data), client)
        self.spin(lambda: receiver.complete)
        for data, client in late.values():
            self.first.sendto(self.answer(data, "192.0.2.66"), client)
        self.assert_quiet()
        self.assertEqual(receiver.found, [])

    def test_a_server_that_fails(self) -> None:
        """SERVFAIL and REFUSED lead to the next one at once, no such name does not."""
        receiver = self.ask()
        for rcode, (data, client) in zip((2, 5), self.questions(self.first).values(), strict=True):
            self.first.sendto(self.answer(data, rcode=rcode), client)
        self.spin(self.second_is_asked)
        for data, client in self.questions(self.second).values():
            self.second.sendto(self.answer(data, rcode=3), client)
        self.spin(lambda: receiver.complete)
        self.assertEqual(receiver.found, [])
        self.assertEqual(self.resolver.failures, 0)

    def second_is_asked(self) -> bool:
        self.second.setblocking(False)
        try:
            self.second.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        finally:
            self.second.settimeout(2)
        return True

    def test_nobody_answers(self) -> None:
        """After some rounds it is complete without an address, and counted."""
        receiver = self.ask()
        self.advance(DNS_SERVER_TIMEOUT_S * 2 * ROUNDS)
        self.assertTrue(receiver.complete)
        self.assertEqual((receiver.found, self.resolver.failures), ([], 1))

    def test_forged_answers(self) -> None:
        """Another number, or another name, is not believed; the right answer still is."""
        receiver = self.ask(addressTypes=None)
        for kind, (data, client) in self.questions(self.first).items():
            number = int.from_bytes(data[:2], "big") ^ 1
            self.first.sendto(self.answer(number.to_bytes(2, "big") + data[2:], "192.0.2.66"), client)
            self.first.sendto(self.answer(data.replace(b"app", b"bad"), "192.0.2.66"), client)
            self.first.sendto(b"\0", client)
            self.first.sendto(self.answer(data, *(("192.0.2.7",) if kind == 1 else ())), client)
        self.spin(lambda: receiver.complete)
        self.assertEqual(receiver.found, ["192.0.2.7"])

    def test_too_many_forged_answers(self) -> None:
        """Whoever guesses has so many tries with one server; then the next one is asked, with another number."""
        self.patch(room, "MAX_STRAYS", 4)
        receiver = self.ask()
        for _, client in self.questions(self.first).values():
            for _ in range(5):
                self.first.sendto(b"\0", client)
        self.spin(self.second_is_asked)
        receiver.resolution.cancel()

    def test_an_answer_that_does_not_fit(self) -> None:
        """It is asked for by TCP, of the same server, and may come in pieces."""
        receiver = self.ask()
        asked = self.questions(self.first)
        data, client = asked[28]
        self.first.sendto(self.answer(data), client)
        data, client = asked[1]
        self.first.sendto(self.answer(data, truncated=True), client)
        self.spin(lambda: self.resolver.questions and not self.wait(0.05))
        accepted, _ = self.listening.accept()
        with accepted:
            accepted.settimeout(2)
            self.spin(lambda: not self.wait(0.05))
            size = int.from_bytes(accepted.recv(2), "big")
            question = accepted.recv(size)
            many = [f"192.0.2.{number}" for number in range(1, 200)]
            reply = self.answer(question, *many)
            reply = len(reply).to_bytes(2, "big") + reply
            accepted.sendall(reply[:1])
            self.spin(lambda: not self.wait(0.05))
            accepted.sendall(reply[1:700])
            self.spin(lambda: not self.wait(0.05))
            accepted.sendall(reply[700:])
            self.spin(lambda: receiver.complete)
        self.assertEqual(receiver.found, many)

    def test_it_is_cancelled(self) -> None:
        """Nobody hears of it any more, and nothing stays open."""
        receiver = self.ask()
        asked = self.questions(self.first)
        receiver.resolution.cancel()
        for data, client in asked.values():
            self.first.sendto(self.answer(data, "192.0.2.7"), client)
        self.assert_quiet()
        self.assertEqual((receiver.found, receiver.complete), ([], False))

    def test_the_loop_stops(self) -> None:
        """Whoever waits hears that there is nothing."""
        receiver = self.ask()
        self.questions(self.first)
        self.loop.stop()
        self.assertTrue(receiver.complete)

    def test_a_network_that_is_not_there(self) -> None:
        """No socket can be made: complete without an address, soon."""
        self.resolver = NetworkResolver(self.loop, Network("gone", netns="vg-none", dns_servers=("127.0.0.1",)), self.port)
        receiver = self.ask()
        self.spin(lambda: receiver.complete)
        self.assertEqual(receiver.found, [])
