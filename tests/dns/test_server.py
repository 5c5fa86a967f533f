"""The server's sockets: UDP from every address, TCP with its limits."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

import dns.message
import dns.query
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.routing.test_zone import APEX, host, zone
from voltgw.dns import server
from voltgw.dns.cookies import Cookies
from voltgw.dns.responder import Responder
from voltgw.dns.server import IDLE_S, DnsBound, DnsFactory, DnsStream
from voltgw.net.loop import Loop
from voltgw.net.sockets import CannotListen
from voltgw.routing.zone import Zones
from voltgw.wire.dnsmsg import TXT


def responder() -> Responder:
    """One that knows one name, and one that is long."""
    made = zone({"long": [(TXT, [b"\xff" + bytes((65 + number,)) * 255 for number in range(8)])]})
    made.set_host(host("shop", "10.0.0.1"))
    return Responder(Zones([made]), Cookies(bytes(16), lambda: 1e9))


def framed(name: str = f"shop.{APEX}", identity: int = 1) -> bytes:
    """A query with its length before it."""
    wire = dns.message.make_query(name, "A", id=identity).to_wire()
    return struct.pack("!H", len(wire)) + wire


class Transport(StringTransport):
    """One that can be aborted, and has options."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to delay."""

    def abortConnection(self) -> None:
        """Count as closed."""
        self.disconnecting = True


class StreamTests(SynchronousTestCase):
    """`DnsStream` and `DnsFactory`."""

    def setUp(self) -> None:
        """A factory whose time is ours."""
        self.clock = Clock()
        self.factory = DnsFactory(responder())

    def connect(self, host: str = "192.0.2.1") -> tuple[DnsStream, Transport]:
        """A client's connection."""
        protocol = self.factory.buildProtocol(IPv4Address("TCP", host, 5353))
        assert protocol is not None
        self.patch(protocol, "callLater", self.clock.callLater)
        transport = Transport()
        protocol.makeConnection(transport)
        return protocol, transport

    def identities(self, transport: Transport) -> list[int]:
        """The ids of the answers so far."""
        data, found = transport.value(), []
        while data:
            size = int.from_bytes(data[:2], "big")
            found.append(int.from_bytes(data[2:4], "big"))
            data = data[2 + size:]
        return found

    def test_pipelining(self) -> None:
        """Queries that come at once, and byte by byte."""
        protocol, transport = self.connect()
        data = b"".join(framed(identity=number) for number in range(1, 6))
        protocol.dataReceived(data[:100])
        for byte in data[100:]:
            protocol.dataReceived(bytes((byte,)))
        self.assertEqual(self.identities(transport), [1, 2, 3, 4, 5])

    def test_idle(self) -> None:
        """Thirty seconds without a whole query; scraps are no sign of life, queries are."""
        protocol, transport = self.connect()
        self.clock.advance(IDLE_S - 1)
        protocol.dataReceived(framed())
        self.clock.advance(IDLE_S - 1)
        self.assertFalse(transport.disconnecting)
        protocol.dataReceived(framed()[:10])
        self.clock.advance(1)
        self.assertTrue(transport.disconnecting)
        self.assertEqual(self.factory.open, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_crowds(self) -> None:
        """Beyond the limit the one that has been idle longest goes; one address has a smaller limit of its own."""
        self.patch(server, "MAX_CONNECTIONS", 3)
        self.patch(server, "MAX_FROM_ONE", 2)
        first, second, third = (self.connect(f"192.0.2.{number}") for number in (1, 2, 3))
        first[0].dataReceived(framed())
        self.connect("192.0.2.4")
        self.assertEqual([each[1].disconnecting for each in (first, second, third)], [False, True, False])
        self.connect("192.0.2.4")
        self.assertIsNone(self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.4", 1)))
        self.factory.close()
        self.assertEqual((self.factory.open, self.factory._from, self.clock.getDelayedCalls()), ({}, {}, []))

    def test_a_client_that_takes_no_answers(self) -> None:
        """It is not read from while they pile up."""
        protocol, transport = self.connect()
        self.assertIs(transport.producer, protocol)
        protocol.pauseProducing()
        self.assertEqual(transport.producerState, "paused")
        protocol.resumeProducing()
        self.assertEqual(transport.producerState, "producing")
        protocol.stopProducing()
        protocol.abort()

    def test_rubbish(self) -> None:
        """Malformed queries get FORMERR, answers nothing; the connection stays."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"\0\x0c" + struct.pack("!HHHHHH", 9, 0, 0, 0, 0, 0) + b"\0\0" + b"\0\x0c" + b"\xff" * 12 + framed())
        self.assertEqual(self.identities(transport), [9, 1])
        self.assertFalse(transport.disconnecting)
        protocol.abort()


class SocketTests(TestCase):
    """`DnsBound` with real sockets."""

    def start(self, address: str) -> DnsBound:
        """A server that answers."""
        loop = Loop(reactor, time.monotonic, 100)
        loop.start()
        self.addCleanup(loop.stop)
        bound = DnsBound(address, 0, responder())
        bound.start(loop, reactor)
        self.addCleanup(self._stop, bound)
        return bound

    def _stop(self, bound: DnsBound) -> Deferred[None]:
        bound.stop()
        done: Deferred[None] = Deferred()
        reactor.callLater(0, done.callback, None)  # the listening port closes in a turn of its own
        return done

    async def ask(self, bound: DnsBound, address: str, name: str, how: Any) -> dns.message.Message:
        """What dnspython gets."""
        answer: dns.message.Message = await deferToThread(
            how, dns.message.make_query(name, "TXT" if "long" in name else "A"), address, 5.0, bound.address[1])
        return answer

    async def test_udp_and_tcp(self) -> None:
        """On one port; what is too long for UDP comes by TCP; on every address, from the address that was asked."""
        for address, asked in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.9")):
            bound = self.start(address)
            for how in (dns.query.udp, dns.query.tcp):
                answer = await self.ask(bound, asked, f"shop.{APEX}", how)
                self.assertEqual(answer.answer[0].to_text(), f"shop.{APEX}. 30 IN A 10.0.0.1")
            self.assertTrue((await self.ask(bound, asked, f"long.{APEX}", dns.query.udp)).flags & 0x0200)
            self.assertEqual(len((await self.ask(bound, asked, f"long.{APEX}", dns.query.tcp)).answer[0]), 8)
            self.assertEqual(repr(bound), f"<DnsBound {bound.name}>")

    def test_a_port_that_is_taken(self) -> None:
        """By UDP or by TCP: the reason, and nothing stays open."""
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as taken:
                taken.bind(("127.0.0.1", 0))
                if kind is socket.SOCK_STREAM:
                    taken.listen()
                caught = self.assertRaises(CannotListen, DnsBound, "127.0.0.1", taken.getsockname()[1], responder())
                self.assertIn("in use", str(caught))

    def test_one_that_is_not_started(self) -> None:
        """It can be stopped all the same."""
        bound = DnsBound("127.0.0.1", 0, responder())
        self.assertEqual(bound.connections, 0)
        bound.stop()


