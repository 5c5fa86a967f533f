"""TCP_PROXY: accept, pick, connect, relay; nothing of the bytes is looked at.

Once both sides stand, a stream hands what it reads straight to the other's `write` (`Stream.deliver_to`), so a relayed
piece costs no call of ours but those two. Back-pressure, half-close and reset pass from side to side.
"""

from __future__ import annotations

from errno import ECONNRESET
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IProtocolFactory, IPushProducer
from zope.interface import implementer

from voltgw.cluster.attempts import Attempts
from voltgw.errors import ClientGone, ConnectFailed, NoCluster, NoEndpoint, Overflow, ProxyError
from voltgw.net.deadlines import NO_SLOT
from voltgw.values.defaults import LINGER_TIMEOUT_S, MAX_PIPELINED_BYTES, TUNNEL_IDLE_TIMEOUT_S
from voltgw.values.record import ConnectionRecord

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.interfaces import StreamTransport
    from voltgw.net.connector import Dial
    from voltgw.proxy.plane import Plane
    from voltgw.routing.table import Route
    from voltgw.values.counters import ListenerCounters

#: Both sides are closed by us when a relay idles; the access log says it so (Envoy's flag for an idle stream).
_IDLE_FLAG: Final = "SI"


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
class _Side:
    """What the two sides of a relay have in common: each is the producer for the other's transport."""

    __slots__ = ("bytes_in", "closed", "half_closed", "other", "relay", "transport")

    transport: StreamTransport

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.other: _Side | None = None     # set once both sides are connected
        self.bytes_in = 0
        self.half_closed = False            # its peer has sent FIN
        self.closed = False

    def makeConnection(self, transport: Any) -> None:
        """Connected; which side this is decides what follows."""
        self.transport = transport

    def connectionMade(self) -> None:
        """Part of IProtocol; `makeConnection` does it all."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes, when the transport is not one that delivers straight to the other side."""
        self.bytes_in += len(data)
        if self.other is not None:
            self.other.transport.write(data)
        else:
            self.relay.hold(data)

    def readConnectionLost(self) -> None:
        """FIN: the other side's peer gets one too, behind what was sent before."""
        self.half_closed = True
        self.relay.half_closed(self)

    def writeConnectionLost(self) -> None:
        """Our FIN is out; the other direction goes on."""

    def connectionLost(self, reason: Failure) -> None:
        """This side is over."""
        self.closed = True
        self.bytes_in = max(self.bytes_in, getattr(self.transport, "bytes_in", 0))
        self.relay.lost(self, reason)

    def crashed(self) -> None:
        """A bug of ours; the guard has logged it."""
        self.relay.end("IE", "internal_error", reset=True)

    # -- IPushProducer: the other side's transport cannot keep up with what we read ------------------------------------

    def pauseProducing(self) -> None:
        """Stop reading this side."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read this side again."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The other transport is gone; its protocol hears of it in a moment."""


class _Client(_Side):
    __slots__ = ()

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.relay.accepted()


class _Server(_Side):
    __slots__ = ()

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.relay.connected()


class Relay:
    """One client connection, the endpoint it was given, and their record. It is its own `ClientSide` and `Deadline`."""

    __slots__ = (
        "_attempts", "_client", "_cluster", "_dial", "_endpoint", "_factory", "_held", "_moved", "_plane", "_record",
        "_server", "connected_wall", "deadline", "deadline_slot", "listener", "local_address", "local_port", "peer_address",
        "peer_port", "scheme", "sni", "tls_cipher", "tls_version",
    )

    def __init__(self, factory: TcpFactory, peer_address: str, peer_port: int) -> None:
        plane = factory.plane
        self.peer_address = peer_address
        self.peer_port = peer_port
        self.local_address = factory.local_address
        self.local_port = factory.local_port
        self.listener = factory.name
        self.scheme = b""
        self.sni = self.tls_version = self.tls_cipher = ""
        self.connected_wall = plane.wall()
        self.deadline = 0.0
        self.deadline_slot = NO_SLOT
        self._factory = factory
        self._plane = plane
        self._client = _Client(self)
        self._server: _Server | None = None
        self._dial: Dial | None = None
        self._cluster: Any = None
        self._endpoint: Endpoint | None = None
        self._attempts: Attempts | None = None
        self._held: list[bytes] = []        # what the client said before the endpoint accepted
        self._moved = 0                     # bytes both ways when the idle deadline was last set
        self._record: ConnectionRecord | None = ConnectionRecord(self, factory.route, plane.monotonic())

    @property
    def protocol(self) -> _Client:
        """The client side's protocol, for the listener."""
        return self._client

    # -- connecting ----------------------------------------------------------------------------------------------------

    def accepted(self) -> None:
        """The client is connected: find it an endpoint before it has said a word (servers may speak first)."""
        factory = self._factory
        factory.connections.add(self)
        route = factory.route
        cluster: Any = route.cluster
        if cluster is None:
            destination = route.split(self._plane.random()) if route.split is not None else None
            cluster = destination.cluster if destination is not None else None
        if cluster is None:
            self._fail(NoCluster("the route's cluster does not exist"))
            return
        self._cluster = cluster
        cluster.counters.requests += 1
        endpoint = cluster.pick(None)
        if endpoint is None:
            cluster.counters.no_endpoint += 1
            self._fail(NoEndpoint("the cluster has no endpoint that may be used"))
            return
        cluster.active += 1
        self._connect(endpoint)

    def _connect(self, endpoint: Endpoint) -> None:
        cluster = self._cluster
        record = self._record
        assert record is not None
        self._endpoint = record.endpoint = endpoint
        record.attempts += 1
        endpoint.active += 1
        endpoint.requests += 1
        if cluster.pending >= cluster.max_pending or cluster.connections >= cluster.max_connections:
            cluster.counters.overflow += 1
            self._fail(Overflow("the cluster has its most connections, or clients that wait for one"))
            return
        cluster.pending += 1
        cluster.counters.connects += 1
        self._server = _Server(self)
        self._dial = self._plane.dial(endpoint, self._server, cluster.connect_timeout_s, self._connect_failed)

    def _connect_failed(self, error: ConnectFailed) -> None:
        self._dial = None
        self._server = None
        cluster = self._cluster
        endpoint = self._endpoint
        assert endpoint is not None
        cluster.pending -= 1
        cluster.connect_failed(endpoint)
        if self._attempts is None:
            self._attempts = Attempts(cluster, b"", None)
        other = self._attempts.after(error, endpoint, False, True)
        if other is None:
            self._fail(error)
            return
        cluster.counters.retries += 1
        endpoint.active -= 1
        self._connect(other)

    def connected(self) -> None:
        """The endpoint accepted: join the two sides."""
        self._dial = None
        client, server, endpoint, record = self._client, self._server, self._endpoint, self._record
        assert server is not None and endpoint is not None and record is not None
        self._cluster.pending -= 1
        self._cluster.connections += 1
        endpoint.connections += 1
        endpoint.failed_in_a_row = 0
        now = self._plane.monotonic()
        record.t_upstream_connected = now
        client.other, server.other = server, client
        server.transport.registerProducer(client, True)
        client.transport.registerProducer(server, True)
        for source, sink in ((client, server), (server, client)):
            deliver_to = getattr(source.transport, "deliver_to", None)
            if deliver_to is not None:
                deliver_to(sink.transport.write)
        held, self._held = self._held, []
        if held:
            server.transport.write(b"".join(held))
        if client.half_closed:
            server.transport.loseWriteConnection()
        else:
            client.transport.resumeProducing()
        self.deadline = now + self._factory.idle_timeout_s
        self._plane.deadlines.schedule(self)

    def hold(self, data: bytes) -> None:
        """Keep what the client says until the endpoint accepts; a talkative one is not read any further."""
        self._held.append(data)
        if sum(map(len, self._held)) > MAX_PIPELINED_BYTES:
            self._client.transport.pauseProducing()

    # -- ending --------------------------------------------------------------------------------------------------------

    def half_closed(self, side: _Side) -> None:
        """One peer has sent FIN: pass it on; after the second one both sides close."""
        other = side.other
        if other is None or other.closed:
            return                          # the endpoint has not accepted yet: `connected` passes it on
        other.transport.unregisterProducer()
        other.transport.loseWriteConnection()

    def lost(self, side: _Side, reason: Failure) -> None:
        """One side is over: so is the other, in the same manner."""
        other = side.other
        if other is None or other.closed:
            self.deadline = 0.0
        if isinstance(side, _Server):
            self._endpoint_lost()
        if other is None:
            if side is self._client and self._record is not None:
                error = ClientGone("the client left before the endpoint accepted")
                self._finish(error.flag, error.detail)
            return
        if not other.closed:
            if reason.check(ConnectionDone):
                if not other.half_closed or not side.half_closed:
                    other.transport.unregisterProducer()
                    other.transport.loseConnection()
            else:
                other.transport.abortConnection()
        if self._record is not None:
            if reason.check(ConnectionDone):
                if other.closed:
                    self._finish("", "")
            else:
                failed = getattr(reason.value, "osError", None)
                what = "reset" if failed == ECONNRESET or failed is None else "failed"
                upstream = isinstance(side, _Server)
                self._finish("UC" if upstream else "DC", f"{'upstream' if upstream else 'downstream'}_{what}")

    def _endpoint_lost(self) -> None:
        endpoint = self._endpoint
        if endpoint is not None:
            endpoint.connections -= 1
            self._cluster.connections -= 1

    def end(self, flag: str, detail: str, reset: bool) -> None:
        """Close both sides ourselves; without `reset` behind what was sent, but a peer that takes nothing has only so long."""
        self._finish(flag, detail)
        closing = False
        for side in (self._client, self._server):
            if side is not None and not side.closed and hasattr(side, "transport"):
                if reset:
                    side.transport.abortConnection()
                else:
                    if side.other is not None and not side.other.half_closed:
                        side.transport.unregisterProducer()
                    side.transport.loseConnection()
                    closing = True
        if closing:
            self.deadline = self._plane.monotonic() + LINGER_TIMEOUT_S
            self._plane.deadlines.schedule(self)

    def _fail(self, error: ProxyError) -> None:
        """No endpoint could be had: the client's connection is reset, which no client takes for an empty answer."""
        self._finish(error.flag, error.detail)
        self._client.transport.abortConnection()

    def _finish(self, flag: str, detail: str) -> None:
        record, self._record = self._record, None
        if record is None:
            return
        self.deadline = 0.0
        self._factory.connections.discard(self)
        dialing, self._dial = self._dial, None
        if dialing is not None:
            dialing.cancel()
            self._server = None
            self._cluster.pending -= 1
        if self._attempts is not None:
            self._attempts.close()
        if self._endpoint is not None:
            self._endpoint.active -= 1
        if self._cluster is not None and record.endpoint is not None:
            self._cluster.active -= 1
        now = self._plane.monotonic()
        record.bytes_in = self._bytes(self._client)
        record.bytes_out = self._bytes(self._server)
        record.flag, record.detail, record.t_end = flag, detail, now
        counters = self._factory.route.counters
        counters.status[0] += 1
        counters.bytes_in += record.bytes_in
        counters.bytes_out += record.bytes_out
        counters.latency.observe(now - record.t_start)
        if flag:
            counters.local_replies[flag] = counters.local_replies.get(flag, 0) + 1
        self._plane.access.connection(record)

    @staticmethod
    def _bytes(side: _Side | None) -> int:
        """What a side's peer has sent so far."""
        if side is None or not hasattr(side, "transport"):
            return 0
        return max(side.bytes_in, getattr(side.transport, "bytes_in", 0))

    def expired(self, now: float) -> None:
        """The idle time has passed since the deadline was set: did anything move meanwhile?"""
        if self._record is None:
            self.end("", "", reset=True)    # it was to close, but a peer did not take what waits
            return
        moved = self._bytes(self._client) + self._bytes(self._server)
        if moved != self._moved:
            self._moved = moved
            self.deadline = now + self._factory.idle_timeout_s
            self._plane.deadlines.schedule(self)
            return
        self.end(_IDLE_FLAG, "idle_timeout", reset=False)

    def drain(self) -> None:
        """Relayed connections have no message borders: they go on until the drain's time is up."""

    def close(self) -> None:
        """The drain's time is up."""
        self.end("", "drained", reset=False)


@implementer(IProtocolFactory)
class TcpFactory:
    """Makes a relay for every connection of one TCP_PROXY listener; `route` is swapped at a reload."""

    def __init__(
        self, plane: Plane, name: str, local_address: str, local_port: int, route: Route, counters: ListenerCounters,
    ) -> None:
        self.plane = plane
        self.name = name
        self.local_address = local_address
        self.local_port = local_port
        self.route = route
        self.counters = counters
        self.idle_timeout_s = TUNNEL_IDLE_TIMEOUT_S
        self.draining = False
        self.connections: set[Relay] = set()

    def buildProtocol(self, addr: IAddress | None) -> _Client:
        """The client side of a new relay for the client at `addr`."""
        return Relay(self, getattr(addr, "host", "0.0.0.0"), getattr(addr, "port", 0)).protocol

    def set_idle_timeout(self, idle_timeout_s: float) -> None:
        """Longest silence of a relay in seconds; 0.0 = the default."""
        self.idle_timeout_s = idle_timeout_s or TUNNEL_IDLE_TIMEOUT_S

    def doStart(self) -> None:
        """Nothing to start: the plane is shared."""

    def doStop(self) -> None:
        """Nothing to stop: relays go on after their listener."""

    def drain(self) -> None:
        """Nothing is told to relayed connections; `close` ends them when time is up."""
        self.draining = True

    def close(self) -> None:
        """Close what is still open."""
        for relay in list(self.connections):
            relay.close()
