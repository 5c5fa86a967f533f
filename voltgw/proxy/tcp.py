"""TCP_PROXY: accept, pick, connect, relay (`voltgw.proxy.relay`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IProtocolFactory
from zope.interface import implementer

from voltgw.cluster.attempts import Attempts
from voltgw.cluster.cluster import whole_of
from voltgw.errors import ClientGone, ConnectFailed, NoCluster, NoEndpoint, Overflow, ProxyError, Source
from voltgw.proxy.announcing import announcement
from voltgw.proxy.arrival import came_to
from voltgw.proxy.hashed import connection_key
from voltgw.proxy.judged import arrival, refusal, verdict_of
from voltgw.proxy.named import server_name
from voltgw.proxy.relay import Relay, Side
from voltgw.proxy.waiting import Queue, Waiter
from voltgw.values.compiling import mypyc_attr
from voltgw.values.defaults import MAX_PIPELINED_BYTES, TUNNEL_IDLE_TIMEOUT_S
from voltgw.values.record import ConnectionRecord

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.net.pacing import Rate
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.plane import Dialling, Plane
    from voltgw.routing.table import Route
    from voltgw.values.counters import ListenerCounters
    from voltgw.values.proxyheader import ProxyHeader
    from voltgw.values.tls import Handshake
    from voltgw.wire.clienthello import ClientHello


class _Client(Side):
    __slots__ = ()

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.relay.accepted()


class _Server(Side):
    __slots__ = ()

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.relay.connected(self)


class TcpRelay(Relay):
    """One client connection, the endpoint it was given, and their record. It is its own `ClientSide`."""

    __slots__ = (
        "_attempts", "_cluster", "_dial", "_dialled", "_endpoint", "_factory", "_held", "_record", "_waiter", "_whole",
        "certified", "connected_wall",
        "handshake", "listener", "local_address", "local_port", "peer_address", "peer_port", "scheme", "sni", "tls_cipher",
        "tls_version",
    )
    __deletable__ = ("_record",)

    def __init__(self, factory: RelayTerms, peer_address: str, peer_port: int) -> None:
        plane = factory.plane
        super().__init__(plane)
        self.peer_address = peer_address
        self.peer_port = peer_port
        self.local_address = factory.local_address
        self.local_port = factory.local_port
        self.listener = factory.name
        self.scheme = b""
        self.sni = self.tls_version = self.tls_cipher = ""
        self.handshake: Handshake | None = None
        self.certified = b""
        self.connected_wall = plane.wall()
        self._factory = factory
        self._client = _Client(self)
        self._dial: Dialling | None = None
        self._cluster: Any = None           # a `Cluster` or a `Subset`
        self._whole: Cluster | None = None  # the same, or the cluster of which it is a subset, whose counts and limits hold
        self._endpoint: Endpoint | None = None
        self._attempts: Attempts | None = None
        self._dialled = 0.0                 # when, where the scheduler picks by what connecting takes
        self._waiter: Waiter | None = None  # the cluster has its most connections
        self._held: list[bytes] = []        # what the client said before the endpoint accepted
        self._record = ConnectionRecord(self, factory.route, plane.monotonic())

    @property
    def protocol(self) -> Side:
        """The client side's protocol, for the listener."""
        return self._client

    @property
    def announced(self) -> ProxyHeader | None:
        """The PROXY header with which the connection began."""
        return getattr(self._client.transport, "announced", None)

    @property
    def came_to(self) -> tuple[str, int]:
        """Where the client connected to."""
        return came_to(self, self._client.transport)

    def note_policy(self, label: str) -> None:
        """A policy has let the client through before there was a relay."""
        self._record.policy = label

    @property
    def idle_timeout_s(self) -> float:
        """The listener's, which a reload may change."""
        return self._factory.idle_timeout_s

    def rate_of(self, side: Side) -> Rate | None:
        """By the listener's policy."""
        return self._factory.upload if side is self._client else self._factory.download

    def limited(self) -> None:
        """Counted for the listener."""
        self._factory.counters.paced += 1

    # -- connecting ----------------------------------------------------------------------------------------------------

    def accepted(self) -> None:
        """The client is connected: find it an endpoint before it has said a word (servers may speak first)."""
        factory = self._factory
        factory.connections.add(self)
        handshake = getattr(self._client.transport, "handshake", None)
        if handshake is not None:
            self.handshake = handshake
            self.sni, self.tls_version, self.tls_cipher = handshake.sni, handshake.version, handshake.cipher
        hello: ClientHello | None = getattr(self._client.transport, "hello", None)
        if hello is not None:               # its TLS passes through; it was chosen by this name
            self.sni = hello.sni
        route = factory.route
        if route.gates and (hello is None or handshake is not None) and self._refused(route):
            return
        cluster: Any = route.cluster
        if cluster is None:
            destination = route.split(self._plane.random()) if route.split is not None else None
            cluster = destination.cluster if destination is not None else None
        if cluster is None:
            self._fail(NoCluster("the route's cluster does not exist"))
            return
        self._cluster = cluster
        self._whole = whole = whole_of(cluster)
        whole.counters.requests += 1
        endpoint: Endpoint | None = cluster.pick(self._hash_key())
        if endpoint is None:
            whole.counters.no_endpoint += 1
            self._fail(NoEndpoint("the cluster has no endpoint that may be used"))
            return
        whole.active += 1
        self._connect(endpoint)

    def _refused(self, route: Route) -> bool:
        """Whether this client may not connect; it is reset then. One whose TLS passes through was judged by its hello."""
        exchange = arrival(self, self._record.t_start)
        reply = refusal(route, exchange)
        self._record.policy = exchange.policy
        if reply is None:
            return False
        self._record.policy = verdict_of(exchange, reply)
        self._end(reply.flag, reply.detail)
        self._client.transport.abortConnection()
        return True

    def _hash_key(self) -> int | None:
        """What keeps a client at its endpoint, where the route's hash_policy says source_ip."""
        return connection_key(self._factory.route, (self.peer_address, self.peer_port), (self.local_address, self.local_port))

    def _connect(self, endpoint: Endpoint) -> None:
        cluster, record = self._whole, self._record
        assert cluster is not None
        self._endpoint = record.endpoint = endpoint
        record.attempts += 1
        endpoint.active += 1
        endpoint.requests += 1
        if cluster.pending >= cluster.max_pending:
            self._overflow("the cluster has its most clients that wait for a connection")
        elif cluster.counters in self._plane.queues or cluster.connections + cluster.pending >= cluster.max_connections:
            self._wait()
        else:
            self._begin()

    def _begin(self) -> None:
        cluster, endpoint = self._whole, self._endpoint
        assert cluster is not None and endpoint is not None
        cluster.pending += 1
        if endpoint.latency is not None:
            self._dialled = self._plane.monotonic()
        self._server = _Server(self)
        tls = cluster.tls
        if cluster.pre_open and tls is None:
            waiting = self._plane.waiting
            ready = waiting.take(endpoint)
            if ready is not None:
                said = ready.hand_over(self._server)
                if said:
                    self._client.transport.write(said)
                return
            waiting.make_room(cluster)
        cluster.counters.connects += 1
        if tls is None:
            self._dial = self._plane.dial(endpoint, self._server, cluster.connect_timeout_s, self._connect_failed)
            return
        secure = tls, server_name(cluster, endpoint, self.sni.encode("ascii", "replace"))
        self._dial = self._plane.dial(
            endpoint, self._server, cluster.connect_timeout_s, self._connect_failed, secure, first=self._announcement())

    def _announcement(self) -> bytes:
        """The PROXY header with which the connection begins, if the cluster has one."""
        out = self._cluster.proxy_protocol
        return announcement(self, out) if out is not None else b""

    # -- waiting for a connection ------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """The cluster has its most connections: wait for as long as an endpoint may take to accept, then give up."""
        cluster, plane = self._cluster, self._plane
        queue = plane.queues.get(cluster.counters)
        if queue is None:
            queue = Queue(plane, cluster)
        self._waiter = queue.join(self, True, plane.monotonic() + cluster.connect_timeout_s)
        idle = queue.idle()
        if idle is not None:                # an HTTP proxy of the same cluster has put it aside
            idle.pool.forget(idle)
            idle.close()

    @property
    def bound_for(self) -> Endpoint | None:
        """The endpoint that was picked."""
        return self._endpoint

    def may_share(self) -> bool:
        """A relay needs a connection of its own,"""
        return False

    def may_use(self, upstream: EndpointConnection) -> bool:
        """and a fresh one."""
        return False

    def given(self, upstream: EndpointConnection) -> None:
        """Never, see `may_use`."""
        raise AssertionError("a relay takes no connection that somebody else had")

    def dial_now(self) -> None:
        """There is room for one more connection."""
        self._waiter = None
        before = self._endpoint
        assert before is not None
        if not before.ready:
            endpoint: Endpoint | None = self._cluster.pick(self._hash_key())
            if endpoint is None:
                self._cluster.counters.no_endpoint += 1
                self._fail(NoEndpoint("no endpoint is left that may be used"))
                return
            before.active -= 1
            before.requests -= 1
            endpoint.active += 1
            endpoint.requests += 1
            self._endpoint = self._record.endpoint = endpoint
        self._begin()

    def waited(self, now: float) -> None:
        """No connection came in time."""
        self._waiter = None
        self._overflow("no connection to an endpoint was free in time")

    def crashed(self) -> None:
        """A bug of ours; the guard has logged it."""
        self.end("IE", "internal_error", reset=True)

    def _overflow(self, why: str) -> None:
        self._cluster.counters.overflow += 1
        self._fail(Overflow(why))

    # -- the endpoint answers, or does not ---------------------------------------------------------------------------------

    def _connect_failed(self, error: ConnectFailed) -> None:
        self._dial = None
        self._server = None
        cluster = self._cluster
        endpoint = self._endpoint
        assert endpoint is not None
        cluster.pending -= 1
        if self._plane.queues:
            self._plane.room(cluster)
        if error.source is Source.UPSTREAM:
            cluster.connect_failed(endpoint)
        if self._attempts is None:
            self._attempts = Attempts(cluster, b"", self._hash_key(), None, self._plane.random)
        other = self._attempts.next() if self._attempts.after(error, endpoint, False, True) is not None else None
        if other is None:
            self._fail(error)
            return
        cluster.counters.retries += 1
        endpoint.active -= 1
        self._connect(other)

    def connected(self, server: Side) -> None:
        """The endpoint accepted: join the two sides."""
        self._dial = None
        client, endpoint, cluster = self._client, self._endpoint, self._whole
        assert cluster is not None and endpoint is not None
        cluster.pending -= 1
        cluster.connections += 1
        endpoint.connections += 1
        endpoint.accepted(final=True)
        now = self._plane.monotonic()
        if endpoint.latency is not None:
            endpoint.latency.observe(now - self._dialled, 0, now)
        self._record.t_upstream_connected = now
        self._join(server, now)
        if cluster.proxy_protocol is not None and cluster.tls is None:  # else it went out before the handshake
            server.transport.write(self._announcement())
        held, self._held = self._held, []
        if held:
            server.transport.write(b"".join(held))
            if client.valve is not None:
                client.valve.took(sum(map(len, held)))
        if client.half_closed:
            server.transport.loseWriteConnection()
        else:
            client.resumeProducing()

    def hold(self, data: bytes) -> None:
        """Keep what the client says until the endpoint accepts; a talkative one is not read any further."""
        self._held.append(data)
        if sum(map(len, self._held)) > MAX_PIPELINED_BYTES:
            self._client.transport.pauseProducing()

    # -- ending --------------------------------------------------------------------------------------------------------

    def _server_lost(self) -> None:
        endpoint, cluster = self._endpoint, self._whole
        if endpoint is not None and cluster is not None:
            endpoint.connections -= 1
            cluster.connections -= 1
            if self._plane.queues:
                self._plane.room(cluster)

    def _left_alone(self) -> None:
        error = ClientGone("the client left before the endpoint accepted")
        self._end(error.flag, error.detail)

    def _fail(self, error: ProxyError) -> None:
        """No endpoint could be had: the client's connection is reset, which no client takes for an empty answer."""
        self._end(error.flag, error.detail)
        self._client.transport.abortConnection()

    def _finish(self, flag: str, detail: str) -> None:
        record = self._record
        self._factory.connections.discard(self)
        dialing, self._dial = self._dial, None
        if dialing is not None:
            dialing.cancel()
            self._server = None
            self._cluster.pending -= 1
            if self._plane.queues:
                self._plane.room(self._cluster)
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.queue.leave(waiter)
        if self._attempts is not None:
            self._attempts.close()
        if self._endpoint is not None:
            self._endpoint.active -= 1
        if self._whole is not None and record.endpoint is not None:
            self._whole.active -= 1
        now = self._plane.monotonic()
        record.bytes_in = self._client.moved
        record.bytes_out = self._server.moved if self._server is not None else 0
        record.flag, record.detail, record.t_end = flag, detail, now
        if (self._factory.upload is not None or self._factory.download is not None) and self.slowed_s:
            record.slowed_s = self.slowed_s
        counters = self._factory.route.counters
        counters.status[0] += 1
        counters.bytes_in += record.bytes_in
        counters.bytes_out += record.bytes_out
        counters.latency.observe(now - record.t_start)
        if flag:
            counters.local_replies[flag] = counters.local_replies.get(flag, 0) + 1
        tally = self._factory.route.tally
        if tally is not None and self._cluster is not None:
            tally(record, self._cluster, now)
        self._plane.access.connection(record)
        del self._record                    # it names us: the two would be a cycle


@mypyc_attr(native_class=False)        # somebody refers to it weakly
class RelayTerms:
    """What a relay asks of whoever makes it; `connections` are the relays that there are."""

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
        self.upload: Rate | None = None     # how fast clients may send, and
        self.download: Rate | None = None   # how fast they get, each connection by itself
        self.connections: set[Any] = set()
        plane.factories.add(self)

    def press(self) -> None:
        """Nothing: what is relayed has no requests that could be refused, and no answers with which it could end."""


@implementer(IProtocolFactory)
@mypyc_attr(native_class=False)
class TcpFactory(RelayTerms):
    """Makes a relay for every connection of one TCP_PROXY listener; `route` is swapped at a reload."""

    draining = False

    def buildProtocol(self, addr: IAddress | None) -> Side:
        """The client side of a new relay for the client at `addr`."""
        return self.serve((getattr(addr, "host", "0.0.0.0"), getattr(addr, "port", 0)))

    def serve(self, peer: tuple[str, int]) -> Side:
        """The same for those that have the plain address: our own listeners."""
        return TcpRelay(self, peer[0], peer[1]).protocol

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
