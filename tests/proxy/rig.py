"""The data plane without sockets: real connections, clusters, routes and deadlines, on transports that a test turns by
hand.

`Wire` behaves as `voltgw.net.stream.Stream` does, and is written from its documentation: it sends at once unless its
peer
is `stalled`, holds what may not be read yet, closes behind what waits, and reports the end in a later turn where the
stream
does. `ProxyCase` is the base of the tests: `client()` connects, `accept()` lets the next dial succeed.

Each test ends with every connection gone and every counter of things under way back at zero.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from errno import ECONNRESET
from random import Random
from typing import Any, Final

import h11
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from voltgw.cluster.cluster import DEFAULT_LIMITS, Cluster, Limits
from voltgw.cluster.endpoint import Endpoint
from voltgw.cluster.schedulers.round_robin import FACTORY
from voltgw.cluster.snapshot import EndpointKey, EndpointSet, EndpointState
from voltgw.errors import ConnectFailed
from voltgw.net.deadlines import LOOK_AHEAD, TICK_S, Deadlines
from voltgw.proxy.factory import HttpFactory
from voltgw.proxy.plane import Plane
from voltgw.proxy.pool import Pool
from voltgw.proxy.tcp import TcpFactory
from voltgw.routing.hosts import HostTable
from voltgw.routing.split import Destination
from voltgw.routing.table import Route, VirtualHost
from voltgw.values.counters import ListenerCounters
from voltgw.values.defaults import BUFFER_HIGH_WATER_BYTES
from voltgw.values.exchange import Exchange
from voltgw.values.record import ConnectionRecord

#: The client of most tests, and where it connects to.
PEER: Final = "192.0.2.7"
LISTENER: Final = ("198.51.100.1", 8080)
#: The wall clock stands still: Sun, 06 Nov 1994 08:49:37 GMT.
WALL: Final = 784111777.0
DATE: Final = b"Sun, 06 Nov 1994 08:49:37 GMT"
#: A plain request, as most tests send it, and the smallest answer that keeps the connection.
GET: Final = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
EMPTY: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Records:
    """An access log that keeps the objects it is given."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.connections: list[ConnectionRecord] = []

    def http(self, exchange: Exchange, /) -> None:
        """One finished exchange."""
        assert not any(other is exchange for other in self.exchanges), "an exchange was recorded twice"
        self.exchanges.append(exchange)

    def connection(self, record: ConnectionRecord, /) -> None:
        """One ended connection."""
        assert not any(other is record for other in self.connections), "a connection was recorded twice"
        self.connections.append(record)


class HandLoop:
    """The part of the loop that the data plane uses; the test moves its clock and runs what was asked for soon."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.failures: list[Failure] = []
        self.deadlines = Deadlines(self.now, self.failed)
        self.clock = Clock()
        self.clock.rightNow = self.now
        self._soon: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def go_on(self, most: float) -> None:
        """Let time pass to the next timer, but not more than `most` seconds."""
        timers = [call.getTime() for call in self.clock.getDelayedCalls()]
        self.now = min([self.now + most, *timers])
        self.clock.rightNow = self.now
        self.clock.advance(0)

    def soon(self, call: Callable[[], None]) -> None:
        """Call in the next turn."""
        self._soon.append(call)

    def turn(self) -> bool:
        """Run what was asked for soon; whether there was anything."""
        calls, self._soon = self._soon, []
        for call in calls:
            call()
        return bool(calls)

    def failed(self, owner: Any) -> None:
        """The guard: keep the failure, and tell the owner as `Loop.failed` does."""
        self.failures.append(Failure())
        owner.crashed()


class Wire(StringTransport):
    """One end of a connection, ours; the test acts as the other end. `written` is what the peer has got so far."""

    def __init__(self, loop: HandLoop, peer: IPv4Address | IPv6Address, protocol: Any) -> None:
        super().__init__(hostAddress=IPv4Address("TCP", *LISTENER), peerAddress=peer)
        self.deliver: Callable[[bytes], object] = protocol.dataReceived
        self.protocol = protocol
        self.bytes_in = 0
        self.stalled = False                # the peer takes nothing
        self.aborted = False                # we have sent RST
        self.gone = False                   # the socket is closed
        self.finished = False               # we have sent FIN
        self.reason: Failure | None = None  # what the protocol was told in the end
        self._loop = loop
        self._waiting = b""                 # written, but not taken by the peer
        self._come = b""                    # sent by the peer, but not read
        self._fin_come = False
        self._reading = True
        self._read_closed = False
        self._closing = False
        self._half_closing = False
        self._producer_paused = False

    @property
    def protocol(self) -> Any:
        """The protocol; may be set to another one in mid-stream."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._protocol = protocol
        self.deliver = protocol.dataReceived

    # -- what protocols call -------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send, or keep what the peer does not take."""
        assert isinstance(data, bytes)
        if self.gone or self._half_closing or (self._closing and self.producer is None):
            return
        if not self.stalled and not self._waiting:
            self.io.write(data)
            return
        self._waiting += data
        if self.producer is not None and not self._producer_paused and len(self._waiting) > BUFFER_HIGH_WATER_BYTES:
            self._producer_paused = True
            self.producer.pauseProducing()

    def loseConnection(self) -> None:
        """Close behind what waits; reading stops now."""
        if self.gone or self._closing:
            return
        self._closing = True
        self._reading = False
        if not self._waiting and (self.producer is None or self._producer_paused):
            self._end(Failure(ConnectionDone()))

    def loseWriteConnection(self) -> None:
        """FIN behind what waits; reading goes on."""
        if self.gone or self._closing or self._half_closing:
            return
        self._half_closing = True
        if not self._waiting:
            self._shut_write()

    def abortConnection(self) -> None:
        """RST."""
        if not self.gone:
            self.aborted = True
            self._waiting = b""
            self._end(Failure(ConnectionAborted()))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """As the stream does."""
        assert streaming
        if self.producer is not None:
            raise RuntimeError("there is a producer already")
        if self.gone:
            producer.stopProducing()
            return
        self.producer = producer
        self._producer_paused = False
        if len(self._waiting) > BUFFER_HIGH_WATER_BYTES:
            self._producer_paused = True
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """As the stream does: unregistering twice is no mistake there."""
        self.producer = None
        self._producer_paused = False
        if self._closing and not self._waiting:
            self._end(Failure(ConnectionDone()))

    def pauseProducing(self) -> None:
        """Read no more."""
        self._reading = False

    def resumeProducing(self) -> None:
        """Read again."""
        if self.gone or self._closing or self._read_closed:
            return
        self._reading = True
        if self._come or self._fin_come:
            self._loop.soon(self._read)

    def deliver_to(self, receiver: Callable[[bytes], object]) -> None:
        """Give what is read to `receiver`."""
        self.deliver = receiver

    # -- what the peer does --------------------------------------------------------------------------------------------

    @property
    def reading(self) -> bool:
        """Whether the gateway reads from this connection."""
        return self._reading and not self.gone

    @property
    def unread(self) -> int:
        """Bytes that the peer has sent and the gateway has not read."""
        return len(self._come)

    @property
    def waiting(self) -> int:
        """Bytes that the gateway holds for this peer."""
        return len(self._waiting)

    def send(self, data: bytes) -> None:
        """The peer sends."""
        assert not self._fin_come, "the peer has said its last"
        self._come += data
        self._read()

    def fin(self) -> None:
        """The peer sends its FIN."""
        self._fin_come = True
        self._read()

    def reset(self, code: int = ECONNRESET) -> None:
        """The peer sends RST (or, with another `code`, the kernel says that it cannot be reached)."""
        if not self.gone:
            lost = ConnectionLost(os.strerror(code))
            lost.osError = code             # type: ignore[attr-defined]  # Twisted sets it on some of its own
            self._leave(Failure(lost))
            self._report()

    def stall(self) -> None:
        """The peer takes nothing from now on."""
        self.stalled = True

    def take(self) -> None:
        """The peer takes all that waits, and what comes."""
        self.stalled = False
        data, self._waiting = self._waiting, b""
        self.io.write(data)
        if self._producer_paused:
            self._producer_paused = False
            assert self.producer is not None
            self.producer.resumeProducing()
        if self._closing and self.producer is None and not self._waiting:
            self._end(Failure(ConnectionDone()))
        elif self._half_closing and not self.finished:
            self._shut_write()

    @property
    def written(self) -> bytes:
        """What the peer has got since it was last asked with `got`."""
        return self.io.getvalue()

    def got(self) -> bytes:
        """The same, and forget it."""
        data = self.io.getvalue()
        self.clear()
        return data

    # -- inside --------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        if self.gone or not self._reading:
            return
        if self._come:
            data, self._come = self._come, b""
            self.bytes_in += len(data)
            try:
                self.deliver(data)
            except Exception:
                self._loop.failed(self)
        if self._fin_come and self._reading and not self.gone and not self._come:
            self._read_closed = True
            self._reading = False
            if self.finished or not IHalfCloseableProtocol.providedBy(self.protocol):
                self._leave(Failure(ConnectionDone()))
                self._report()
            else:
                self.protocol.readConnectionLost()

    def crashed(self) -> None:
        """The guard caught an exception of our protocol."""
        if self.gone:
            self.abortConnection()
        else:
            self.protocol.crashed()

    def _shut_write(self) -> None:
        self.finished = True
        if self._read_closed:
            self._end(Failure(ConnectionDone()))
        elif IHalfCloseableProtocol.providedBy(self.protocol):
            self._loop.soon(self.protocol.writeConnectionLost)

    def _end(self, reason: Failure) -> None:
        if not self.gone:
            self._leave(reason)
            self._loop.soon(self._report)

    def _leave(self, reason: Failure) -> None:
        self.gone = True
        self._reading = False
        self.reason = reason

    def _report(self) -> None:
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(self.reason)


class HandDial:
    """A connection attempt that the test decides."""

    def __init__(self, rig: Rig, endpoint: Endpoint, protocol: Any, timeout_s: float,
                 failed: Callable[[ConnectFailed], None]) -> None:
        self.endpoint = endpoint
        self.timeout_s = timeout_s
        self.protocol = protocol
        self.cancelled = False
        self._rig = rig
        self._failed = failed

    def cancel(self) -> None:
        """The gateway gives up."""
        assert self in self._rig.dials, "only an attempt that is under way may be cancelled"
        self.cancelled = True
        self._rig.dials.remove(self)

    def accept(self) -> Wire:
        """The endpoint accepts."""
        self._rig.dials.remove(self)
        wire = Wire(self._rig.hand, IPv4Address("TCP", self.endpoint.address, self.endpoint.port), self.protocol)
        self._rig.origins.append(wire)
        self.protocol.makeConnection(wire)
        return wire

    def fail(self, error: ConnectFailed | None = None) -> None:
        """The endpoint refuses, or does not answer."""
        self._rig.dials.remove(self)
        self._failed(error if error is not None else ConnectFailed("Connection refused"))


class Rig(Plane):
    """The plane of a test: dials wait in `dials` until the test decides them."""

    def __init__(self) -> None:
        self.hand = HandLoop()
        self.records = Records()
        self.number = 0.5                   # what `random` gives
        super().__init__(self.hand, self.records, lambda: WALL, lambda: self.number)
        self.dials: list[HandDial] = []
        self.origins: list[Wire] = []
        self.clients: list[Wire] = []

    def dial(self, endpoint: Endpoint, protocol: Any, timeout_s: float, failed: Callable[[ConnectFailed], None],
             tls: Any = None, first: bytes = b"") -> Any:
        """An attempt under way."""
        dial = HandDial(self, endpoint, protocol, timeout_s, failed)
        self.dials.append(dial)
        return dial


class BareProxyCase(SynchronousTestCase):
    """A plane, one cluster and its route; the listener's factory is the subclass's."""

    #: How many endpoints the cluster has.
    endpoint_count = 1
    limits: Limits = DEFAULT_LIMITS

    def setUp(self) -> None:
        """Make the plane."""
        self.rig = Rig()
        self.hand = self.rig.hand
        self.cluster = self.make_cluster()
        self.host = VirtualHost("shop", domains=["*"])
        self.route = Route(self.host, "shop/0")
        self.route.forward_to([Destination(self.cluster, self.cluster.name)])
        self.host.only = self.route
        self.counters = ListenerCounters()
        self.addCleanup(self.check_nothing_left)

    @property
    def records(self) -> list[Exchange]:
        """The exchanges that were recorded."""
        return self.rig.records.exchanges

    @property
    def endpoint(self) -> Endpoint:
        """The first endpoint."""
        return self.cluster.endpoints[0]

    @property
    def factory(self) -> Any:
        """The listener's factory."""
        raise NotImplementedError

    def make_cluster(self, name: str = "default/shop", **options: Any) -> Cluster:
        """A cluster of `endpoint_count` endpoints on port 9001."""
        options.setdefault("limits", self.limits)
        cluster = Cluster(name, FACTORY, lambda key: Pool(), Random(0), **options)
        keys = [EndpointKey(name, "TCP", "", f"203.0.113.{number + 1}", 9001) for number in range(self.endpoint_count)]
        cluster.install(EndpointSet(1, tuple(EndpointState(key) for key in keys)))
        return cluster

    def client(self, address: str = PEER, port: int = 50000) -> Wire:
        """A client connects."""
        kind = IPv6Address if ":" in address else IPv4Address
        peer = kind("TCP", address, port)
        protocol = self.factory.buildProtocol(peer)
        wire = Wire(self.hand, peer, protocol)
        self.rig.clients.append(wire)
        protocol.makeConnection(wire)
        return wire

    @property
    def dialled(self) -> HandDial:
        """The one attempt that is under way."""
        self.assertEqual(len(self.rig.dials), 1)
        return self.rig.dials[0]

    def accept(self) -> Wire:
        """The endpoint accepts the one attempt that is under way."""
        return self.dialled.accept()

    def turn(self) -> None:
        """Let everything that was asked for soon happen, and what that asks for."""
        for _ in range(10_000):
            if not self.hand.turn():
                return
        self.fail("the loop never comes to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        end = self.hand.now + seconds
        while self.hand.now < end:
            self.hand.go_on(min(end - self.hand.now, TICK_S))
            self.hand.deadlines.sweep(self.hand.now)
            self.turn()

    def failures(self, kind: type[BaseException]) -> list[Failure]:
        """The failures that reached the guard; they count as expected from now on."""
        found, self.hand.failures = self.hand.failures, []
        for failure in found:
            self.assertIsNot(failure.check(kind), None, failure)
        return found

    def under_way(self) -> dict[str, int]:
        """What counts as under way, without what is at zero."""
        counts = {"active": self.cluster.active, "pending": self.cluster.pending, "retries": self.cluster.retries,
                  "connections": self.cluster.connections}
        for endpoint in self.cluster.endpoints:
            counts[f"{endpoint.address} active"] = endpoint.active
            counts[f"{endpoint.address} connections"] = endpoint.connections
        return {name: count for name, count in counts.items() if count}

    def check_nothing_left(self) -> None:
        """Everybody leaves; then nothing is under way, nobody waits for a deadline, and no bug was met."""
        self.turn()
        for wire in [*self.rig.clients, *self.rig.origins]:
            wire.reset()
        self.turn()
        self.assertEqual(self.rig.dials, [], "a dial is still under way")
        self.assertEqual(self.under_way(), {})
        self.assertEqual(len(self.factory.connections), 0)
        for endpoint in self.cluster.endpoints:
            self.assertEqual(len(endpoint.pool), 0)
        for wire in [*self.rig.clients, *self.rig.origins]:
            self.assertIsNot(wire.reason, None, "a connection never heard of its end")
        self.advance((LOOK_AHEAD + 2) * TICK_S)
        self.assertEqual(len(self.hand.deadlines), 0, "a deadline outlives its connection")
        self.assertEqual(self.hand.clock.getDelayedCalls(), [], "a timer outlives its connection")
        self.assertEqual(self.hand.failures, [])


class ProxyCase(BareProxyCase):
    """An HTTP_PROXY listener with one host that takes every name."""

    def setUp(self) -> None:
        """Make the listener."""
        super().setUp()
        self.http = HttpFactory(self.rig, "http", *LISTENER, HostTable([(["*"], self.host)]), self.counters)

    @property
    def factory(self) -> HttpFactory:
        """The listener's factory."""
        return self.http

    def asked(self, request: bytes = GET, client: Wire | None = None) -> tuple[Wire, Wire]:
        """A client has asked, and an endpoint has got it on a new connection: both ends."""
        client = client if client is not None else self.client()
        client.send(request)
        return client, self.accept()

    def exchange(self, request: bytes, answer: bytes) -> tuple[bytes, bytes]:
        """What the endpoint gets for `request` of a new client, and what that gets for its `answer`."""
        client = self.client()
        client.send(request)
        origin = self.accept() if self.rig.dials else self.rig.origins[-1]
        origin.send(answer)
        self.turn()
        return origin.got(), client.got()

    def warm(self, count: int = 1) -> list[Wire]:
        """Endpoint connections that wait in the pool, the next one to be used last."""
        pairs = [self.asked() for _ in range(count)]
        for client, origin in pairs:
            origin.send(EMPTY)
            origin.clear()
            client.fin()
        self.turn()
        self.rig.records.exchanges.clear()
        return [origin for _, origin in pairs]


class RelayCase(BareProxyCase):
    """A TCP_PROXY listener with one route."""

    def setUp(self) -> None:
        """Make the listener."""
        super().setUp()
        self.tcp = TcpFactory(self.rig, "tcp", *LISTENER, self.route, self.counters)

    @property
    def factory(self) -> TcpFactory:
        """The listener's factory."""
        return self.tcp

    @property
    def relayed(self) -> list[ConnectionRecord]:
        """The connections that were recorded."""
        return self.rig.records.connections


class Message:
    """One message as h11 reads it: `start` is the status or the method; fields as a list; `whole` tells that it
    ended."""

    def __init__(self, start: int | bytes, target: bytes, fields: list[tuple[bytes, bytes]]) -> None:
        self.start = start
        self.target = target
        self.fields = fields
        self.body = b""
        self.whole = False

    def get(self, name: bytes) -> bytes | None:
        """The value of a field that stands at most once."""
        values = [value for key, value in self.fields if key == name]
        assert len(values) < 2, values
        return values[0] if values else None

    def names(self) -> list[bytes]:
        """The names of its fields, in order."""
        return [name for name, _ in self.fields]


def requests(data: bytes) -> list[Message]:
    """The requests that an endpoint has got, read by h11: it raises if they are not valid HTTP."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    found: list[Message] = []
    if not data:
        return found                        # h11 would take that for the end of the connection
    connection.receive_data(data)
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            found.append(Message(event.method, event.target, [(bytes(n), bytes(v)) for n, v in event.headers]))
        elif isinstance(event, h11.Data):
            found[-1].body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert not list(event.headers), "trailers"
            found[-1].whole = True
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
        elif event is h11.NEED_DATA:
            return found
        else:
            raise AssertionError(event)


def answers(data: bytes, methods: Sequence[bytes] = (b"GET",), closed: bool = False) -> list[Message]:
    """The answers that a client has got to requests with these methods, read by h11; `closed`: EOF came behind them."""
    found: list[Message] = []
    rest = data
    for method in methods:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        connection.send(h11.EndOfMessage())
        if rest:                            # h11 would take nothing for the end of the connection
            connection.receive_data(rest)
        if closed and method is methods[-1]:
            connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, (h11.InformationalResponse, h11.Response)):
                found.append(Message(event.status_code, b"", [(bytes(n), bytes(v)) for n, v in event.headers]))
            elif isinstance(event, h11.Data):
                found[-1].body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                found[-1].whole = True
                break
            elif event is h11.NEED_DATA:
                break
            else:
                raise AssertionError(event)
        rest = connection.trailing_data[0]
        if not rest and not (found and found[-1].whole):
            break
    assert not rest, f"bytes behind the last answer: {rest!r}"
    return found


def answer(data: bytes, method: bytes = b"GET", closed: bool = False) -> Message:
    """The one answer that a client has got, whole."""
    found = answers(data, [method], closed)
    assert len(found) == 1 and found[0].whole, (data, found)
    return found[0]
