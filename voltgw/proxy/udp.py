"""UDP_PROXY: what a client sends goes to one endpoint for as long as they talk, and what that endpoint answers comes back.

A session is known by the client's address and port and by the address of ours that it sends to. It has a socket of its own that
is connected to its endpoint: the kernel lets nobody else answer, and reports when nobody is there. It stays with its endpoint
until it ends, also when others would be chosen meanwhile.
"""

from __future__ import annotations

import errno
from select import EPOLLIN
from typing import TYPE_CHECKING, Any, Final

from voltgw.net.datagrams import MAX_DATAGRAM_BYTES, connected_datagram_socket, local_text
from voltgw.net.deadlines import NO_SLOT
from voltgw.net.sockets import plain_address
from voltgw.proxy.hashed import connection_key
from voltgw.values.defaults import UDP_IDLE_TIMEOUT_S
from voltgw.values.record import ConnectionRecord

if TYPE_CHECKING:
    import socket

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.net.datagrams import DatagramPort, Local
    from voltgw.proxy.plane import Plane
    from voltgw.proxy.sessions import SessionRoom
    from voltgw.routing.table import Route
    from voltgw.values.counters import ListenerCounters
    from voltgw.values.tls import Handshake

#: Answers of one endpoint that are read in one turn.
ANSWERS_PER_TURN: Final = 32
_UNREACHABLE: Final = frozenset((errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN))
_NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC, errno.EAGAIN))


class Session:
    """A client, its endpoint and the socket between us and that; also its own `ClientSide`, deadline and record's subject."""

    __slots__ = (
        "_answered", "_client", "_cluster", "_endpoint", "_factory", "_fd", "_key", "_local", "_record", "_sock", "_turn",
        "certified", "connected_wall", "deadline", "deadline_slot", "ended", "handshake", "listener", "local_address",
        "local_port",
        "peer_address", "peer_port", "scheme", "sni", "tls_cipher", "tls_version",
    )

    def __init__(
        self, factory: UdpFactory, key: Any, client: Any, peer: tuple[str, int], local: Local, endpoint: Endpoint, cluster: Any,
        sock: socket.socket, now: float,
    ) -> None:
        self.peer_address, self.peer_port = peer
        self.local_address = local_text(local) if local else factory.local_address
        self.local_port = factory.local_port
        self.listener = factory.name
        self.scheme = b""
        self.sni = self.tls_version = self.tls_cipher = ""
        self.handshake: Handshake | None = None
        self.certified = b""
        self.connected_wall = factory.plane.wall()
        self.deadline = now + factory.idle_timeout_s
        self.deadline_slot = NO_SLOT
        self.ended = False
        self._answered = False
        self._turn = -2                     # of the loop, in which it was ready last
        self._factory = factory
        self._key = key
        self._client = client
        self._local = local
        self._endpoint = endpoint
        self._cluster = cluster
        self._sock = sock
        self._fd = sock.fileno()
        self._record = record = ConnectionRecord(self, factory.route, now)
        record.endpoint = endpoint
        record.attempts = 1

    def __repr__(self) -> str:
        return f"<Session {self.peer_address}:{self.peer_port} to {self._endpoint!r}>"

    def open(self) -> None:
        """Wait for the endpoint's answers. Raises OSError when the kernel has no room in the epoll set."""
        plane = self._factory.plane
        plane.loop.watch(self._fd, EPOLLIN, self._ready)
        self._factory.room.opened(self)
        self._factory.connections[self._key] = self
        counters = self._factory.counters
        counters.accepted += 1
        counters.open += 1
        cluster, endpoint = self._cluster, self._endpoint
        cluster.counters.requests += 1
        cluster.counters.connects += 1
        cluster.active += 1
        cluster.connections += 1
        endpoint.requests += 1
        endpoint.active += 1
        endpoint.connections += 1
        plane.deadlines.schedule(self)

    def send(self, data: memoryview, now: float) -> None:
        """Something of the client's, for the endpoint."""
        self.deadline = now + self._factory.idle_timeout_s
        try:
            self._sock.send(data)
        except OSError as error:
            self._failed(error)
            return
        self._record.bytes_in += len(data)

    def evict(self) -> None:
        """Another one needs the room, and nobody ever answered this one."""
        self._factory.counters.sessions_evicted += 1
        self._end("UO", "evicted")

    def expired(self, now: float) -> None:
        """Nobody has said anything for long: that is how sessions end."""
        self._end("" if self._answered else "UR", "" if self._answered else "no_answer")

    def close(self) -> None:
        """The listener's time is up."""
        self._end("", "drained")

    def shut(self) -> None:
        """The loop stops."""
        self._end("", "drained")

    def crashed(self) -> None:
        """A bug of ours; the guard has logged it."""
        self._end("IE", "internal_error")

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _ready(self, events: int) -> None:
        factory = self._factory
        loop = factory.plane.loop
        now = loop.monotonic()
        # Most answers are one datagram: looking for a second one costs a system call that says no. Whoever is ready in the
        # next turn again has more, and is read until it has none.
        most = ANSWERS_PER_TURN if loop.turns - self._turn <= 1 else 1
        self._turn = loop.turns
        buffer = factory.buffer
        for _ in range(most):
            try:
                data = buffer[:self._sock.recv_into(buffer)]
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    self._failed(error)
                return
            if self.ended:
                return
            if not self._answered:
                self._answered = True
                self._record.t_upstream_connected = now
                self._endpoint.failed_in_a_row = 0
                factory.room.unanswered.pop(self, None)
            self.deadline = now + factory.idle_timeout_s
            if factory.answer(data, self._client, self._local):
                self._record.bytes_out += len(data)

    def _failed(self, error: OSError) -> None:
        """The kernel could not send, or tells that what was sent did not arrive (ICMP)."""
        if error.errno in _UNREACHABLE:
            # counted as a connect that failed: whoever judges endpoints by that shall see it. The next datagram chooses again.
            self._factory.drop("unreachable")
            self._cluster.connect_failed(self._endpoint)
            self._end("UF", "upstream_unreachable")
        elif error.errno in _NO_ROOM:
            self._factory.drop("blocked")
        else:
            self._factory.drop("too_long" if error.errno == errno.EMSGSIZE else "unsent")

    def _end(self, flag: str, detail: str) -> None:
        if self.ended:
            return
        self.ended = True
        self.deadline = 0.0
        factory, record = self._factory, self._record
        plane = factory.plane
        plane.deadlines.forget(self)
        plane.loop.forget(self._fd)
        plane.loop.bury(self._sock)
        factory.room.closed(self)
        cluster, endpoint = self._cluster, self._endpoint
        cluster.active -= 1
        cluster.connections -= 1
        endpoint.active -= 1
        endpoint.connections -= 1
        record.flag, record.detail, record.t_end = flag, detail, plane.monotonic()
        counters = record.route.counters if record.route is not None else plane.unrouted
        counters.status[0] += 1
        counters.bytes_in += record.bytes_in
        counters.bytes_out += record.bytes_out
        counters.latency.observe(record.t_end - record.t_start)
        if flag:
            counters.local_replies[flag] = counters.local_replies.get(flag, 0) + 1
        plane.access.connection(record)
        factory.ended(self._key, record)


class UdpFactory:
    """The sessions of one UDP_PROXY listener, by client and address; `route` is swapped at a reload, sessions stay."""

    def __init__(
        self, plane: Plane, room: SessionRoom, name: str, local_address: str, local_port: int, route: Route,
        counters: ListenerCounters,
    ) -> None:
        self.plane = plane
        self.room = room
        self.name = name
        self.local_address = local_address
        self.local_port = local_port
        self.route = route
        self.counters = counters
        self.idle_timeout_s = UDP_IDLE_TIMEOUT_S
        self.draining = False
        self.connections: dict[Any, Session] = {}
        self.buffer = memoryview(bytearray(MAX_DATAGRAM_BYTES))     # for answers, one at a time
        self._port: DatagramPort | None = None
        self._own = ("", 0)
        self._now = 0.0

    def serve_on(self, port: DatagramPort) -> None:
        """Answer through `port`, which brings the datagrams."""
        self._port = port
        host, number = port.address
        self._own = ("" if host in ("0.0.0.0", "::") else host, number)
        self.room.own.add(self._own)

    def batch(self) -> None:
        """Datagrams have come: one look at the clock is enough for them all."""
        self._now = self.plane.monotonic()

    def received(self, data: memoryview, client: Any, local: Local) -> None:
        """A datagram of a client's."""
        counters = self.counters
        counters.datagrams_in += 1
        counters.bytes_in += len(data)
        key = (client, local) if local else client
        session = self.connections.get(key)
        if session is None:
            session = self._begin(key, client, local)
            if session is None:
                return
        session.send(data, self._now)

    def answer(self, data: memoryview, client: Any, local: Local) -> bool:
        """Send an endpoint's answer; whether it could be."""
        assert self._port is not None       # a session began with a datagram from it
        try:
            sent = self._port.send(data, client, local)
        except OSError as error:
            self.drop("too_long" if error.errno == errno.EMSGSIZE else "unsent")
            return False
        if not sent:
            self.drop("blocked")
            return False
        self.counters.datagrams_out += 1
        self.counters.bytes_out += len(data)
        return True

    def drop(self, reason: str) -> None:
        """Count a datagram that goes nowhere."""
        dropped = self.counters.datagrams_dropped
        dropped[reason] = dropped.get(reason, 0) + 1

    def set_idle_timeout(self, idle_timeout_s: float) -> None:
        """Longest silence of a session in seconds; 0.0 = the default."""
        self.idle_timeout_s = idle_timeout_s or UDP_IDLE_TIMEOUT_S

    def drain(self) -> None:
        """Begin no more sessions; the port closes with the last one."""
        self.draining = True
        self._leave()

    def close(self) -> None:
        """End what there is."""
        self.draining = True
        for session in list(self.connections.values()):
            session.close()
        self._leave()

    def ended(self, key: Any, record: ConnectionRecord) -> None:
        """A session has."""
        del self.connections[key]
        self.counters.open -= 1
        if self.draining:
            self._leave()

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        if self._port is not None and not self.connections and not self._port.stopped:
            self.room.own.discard(self._own)
            self._port.stopListening()

    def _begin(self, key: Any, client: Any, local: Local) -> Session | None:
        peer = plain_address(client)
        if self.draining:
            self.drop("draining")
            return None
        reason = self.room.refusal(*peer, self._now)
        if reason:
            self.drop(reason)
            return None
        plane, route = self.plane, self.route
        cluster: Any = route.cluster
        if cluster is None:
            destination = route.split(plane.random()) if route.split is not None else None
            cluster = destination.cluster if destination is not None else None
        endpoint: Endpoint | None = None
        if cluster is not None:
            address = local_text(local) if local else self.local_address
            endpoint = cluster.pick(connection_key(route, peer, (address, self.local_port)))
        if endpoint is None:
            if cluster is not None:
                cluster.counters.no_endpoint += 1
            self.drop("no_endpoint")
            return None
        if cluster.connections >= cluster.max_connections:
            cluster.counters.overflow += 1
            self.drop("overflow")
            return None
        if self.room.is_own(endpoint.address, endpoint.port):
            self.drop("own")                # it would come straight back, as a client of its own each time
            return None
        try:
            sock = connected_datagram_socket(endpoint.address, endpoint.port)
        except OSError as error:
            if error.errno in _UNREACHABLE:
                cluster.connect_failed(endpoint)
                self.drop("unreachable")
            else:
                self.drop("descriptors")
            return None
        session = Session(self, key, client, peer, local, endpoint, cluster, sock, self._now)
        try:
            session.open()
        except OSError:                     # the kernel has no room in the epoll set
            sock.close()
            self.drop("descriptors")
            return None
        return session
