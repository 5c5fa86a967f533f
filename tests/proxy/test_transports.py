"""The data plane on transports that are not ours: Twisted's own in-memory ones (DECISIONS: Twisted, as the design card
asks)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IProtocolFactory, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.test.iosim import FakeTransport, IOPump
from zope.interface.verify import verifyObject

from tests.proxy.rig import EMPTY, GET, ProxyCase, RelayCase, answer, requests
from voltgw.errors import ConnectFailed


class Peer(Protocol):
    """The other end: keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.left = False

    def dataReceived(self, data: bytes) -> None:
        """Heard something."""
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        """Over."""
        self.left = True


def joined(ours: Any, *, address: str = "192.0.2.9") -> tuple[Peer, IOPump]:
    """`ours` connected to a `Peer` over iosim."""
    peer = Peer()
    our_side = FakeTransport(ours, isServer=True, peerAddress=IPv4Address("TCP", address, 1))
    peer_side = FakeTransport(peer, isServer=False)
    pump = IOPump(peer, ours, peer_side, our_side, debug=False)
    ours.makeConnection(our_side)
    peer.makeConnection(peer_side)
    return peer, pump


class HttpTests(ProxyCase):
    def test_on_iosim(self) -> None:
        """Client and endpoint on Twisted's simulated transports: requests, a chunked body, keep-alive, both ends'
        closes."""
        client, client_pump = joined(self.http.buildProtocol(IPv4Address("TCP", "192.0.2.9", 1)))
        assert client.transport is not None
        client.transport.write(GET)
        client_pump.flush()
        dial = self.dialled
        self.rig.dials.remove(dial)
        origin, origin_pump = joined(dial.protocol)
        assert origin.transport is not None

        def flush() -> None:
            for _ in range(3):
                origin_pump.flush()
                client_pump.flush()
                self.turn()

        flush()
        self.assertEqual(requests(origin.heard)[0].get(b"x-real-ip"), b"192.0.2.9")
        origin.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        flush()
        origin.transport.write(b"0\r\n\r\n")
        flush()
        self.assertEqual(answer(client.heard).body, b"hello")
        client.heard = origin.heard = b""
        client.transport.write(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nh")
        flush()
        client.transport.write(b"i")
        flush()
        self.assertEqual(requests(origin.heard)[0].body, b"hi")
        origin.transport.write(EMPTY)
        flush()
        self.assertEqual((answer(client.heard).get(b"connection"), client.left), (b"close", True))
        origin.transport.loseConnection()
        flush()
        self.assertEqual((self.under_way(), len(self.endpoint.pool)), ({}, 0))

    def test_switching_protocols_on_iosim(self) -> None:
        """The transports are handed to a tunnel, as Twisted allows it; bytes and closes pass both ways."""
        self.route.upgrades = frozenset((b"websocket",))
        client, client_pump = joined(self.http.buildProtocol(IPv4Address("TCP", "192.0.2.9", 1)))
        assert client.transport is not None
        client.transport.write(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
        client_pump.flush()
        dial = self.dialled
        self.rig.dials.remove(dial)
        origin, origin_pump = joined(dial.protocol)
        assert origin.transport is not None

        def flush() -> None:
            for _ in range(3):
                origin_pump.flush()
                client_pump.flush()
                self.turn()

        flush()
        origin.heard = b""
        origin.transport.write(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nworm")
        flush()
        self.assertTrue(client.heard.endswith(b"upgrade: websocket\r\n\r\nworm"))
        client.transport.write(b" bird")
        flush()
        self.assertEqual(origin.heard, b"early bird")
        origin.transport.loseConnection()
        flush()
        self.assertEqual((client.left, self.under_way(), len(self.records)), (True, {}, 1))
        self.assertEqual(self.records[0].bytes_in, len(GET) + len(b"Connection: Upgrade\r\nUpgrade: websocket\r\n") + 10)

    def test_on_a_string_transport(self) -> None:
        """The client's side alone: an answer of ours, and a close where there is no half-close."""
        self.endpoint.ready = False
        protocol = self.http.buildProtocol(IPv4Address("TCP", "192.0.2.9", 1))
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
        self.assertEqual(answer(transport.value()).start, 503)
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(None)       # type: ignore[arg-type]  # it does not look at the reason

    def test_interfaces(self) -> None:
        """Factories and protocols provide what Twisted asks of them."""
        verifyObject(IProtocolFactory, self.http)
        protocol = self.http.buildProtocol(None)
        verifyObject(IProtocol, protocol)
        verifyObject(IPushProducer, protocol)


class TcpTests(RelayCase):
    def test_on_iosim(self) -> None:
        """A relay over Twisted's simulated transports, which know no `deliver_to`."""
        client, client_pump = joined(self.tcp.buildProtocol(IPv4Address("TCP", "192.0.2.9", 1)))
        assert client.transport is not None
        client.transport.write(b"hello")
        client_pump.flush()
        dial = self.dialled
        self.rig.dials.remove(dial)
        origin, origin_pump = joined(dial.protocol)
        assert origin.transport is not None
        origin.transport.write(b"welcome")
        steps: list[Callable[[], object]] = [origin_pump.flush, client_pump.flush, self.hand.turn]
        for step in steps * 3:
            step()
        self.assertEqual((origin.heard, client.heard), (b"hello", b"welcome"))
        origin.transport.loseConnection()
        for step in steps * 3:
            step()
        self.assertEqual((client.left, self.under_way()), (True, {}))
        self.assertEqual((self.relayed[0].bytes_in, self.relayed[0].bytes_out), (5, 7))

    def test_interfaces(self) -> None:
        """Factory and protocol provide what Twisted asks of them."""
        verifyObject(IProtocolFactory, self.tcp)
        protocol = self.tcp.buildProtocol(None)
        for interface in (IProtocol, IHalfCloseableProtocol, IPushProducer):
            verifyObject(interface, protocol)

    def test_a_failure_carries_its_reason(self) -> None:
        """What the relay is told of a failed connect is what the record says."""
        client = self.client()
        self.dialled.fail(ConnectFailed("Connection refused"))
        self.assertTrue(client.aborted)
        self.assertEqual(self.relayed[0].detail, "connect_failure")
