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
from voltgw.net.pacing import Pace
from voltgw.net.sockets import plain_address
from voltgw.proxy.announced_udp import Announcements, header_of
from voltgw.proxy.announcing import announcement
from voltgw.proxy.hashed import connection_key
from voltgw.proxy.judged import Seen, arrival, refusal, verdict_of
from voltgw.values.defaults import UDP_IDLE_TIMEOUT_S
from voltgw.values.record import ConnectionRecord

if TYPE_CHECKING:
    import socket

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.net.datagrams import DatagramPort, Local
    from voltgw.net.pacing import Rate
    from voltgw.proxy.plane import Plane
    from voltgw.proxy.quic import ConnectionIds
    from voltgw.proxy.sessions import SessionRoom
    from voltgw.routing.table import Route
    from voltgw.values.counters import ListenerCounters
    from voltgw.values.exchange import ClientSide, Exchange
    from voltgw.values.proxyheader import ProxyHeader
    from voltgw.values.reply import Reply
    from voltgw.values.tls import Handshake

#: Between two lines of the log about datagrams that gates refuse, in seconds.
REFUSED_LINES_S: Final = 1.0
#: Answers of one endpoint that are read in one turn.
ANSWERS_PER_TURN: Final = 32
_UNREACHABLE: Final = frozenset((errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN))
_NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC, errno.EAGAIN))


class Session:
    """A client, its endpoint and the socket between us and that; also its own `ClientSide`, deadline and record's subject."""

    __slots__ = (
        "_announce",
        "_answered",
        "_client",
        "_cluster",
        "_down",
        "_endpoint",
        "_factory",
        "_fd",
        "_key",
        "_local",
        "_route",
        "_sock",
        "_t_answered",
        "_t_start",
        "_turn",
        "_up",
        "announced",
        "bytes_in",
        "bytes_out",
        "certified",
        "connected_wall",
        "deadline",
        "deadline_slot",
        "ended",
        "handshake",
        "listener",
        "local_address",
        "local_port",
        "peer_address",
        "peer_port",
        "scheme",
        "sni",
        "tls_cipher",
        "tls_version",
    )

    def __init__(
        self, factory: UdpFactory, key: Any, client: Any, peer: tuple[str, int], local: Local, endpoint: Endpoint, cluster: Any,
        sock: socket.socket, now: float, announced: ProxyHeader | None = None,
    ) -> None:
        self.peer_address, self.peer_port = peer
        self.local_address = local_text(local) if local else factory.local_address
        self.local_port = factory.local_port
        self.listener = factory.name
        self.scheme = b""
        self.sni = self.tls_version = self.tls_cipher = ""
        self.handshake: Handshake | None = None
        self.certified = b""
        self.announced = announced
        out = cluster.proxy_protocol        # version 1 knows nothing of datagrams
        self._announce = announcement(self, out, datagram=True) if out is not None and out.version == 2 else b""
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
        self._up = None if factory.upload is None else Pace(factory.upload)
        self._down = None if factory.download is None else Pace(factory.download)
        self._fd = sock.fileno()
        # The record is made at the end: it names us, and the two would be a cycle, which only the collector finds.
        self._route = factory.route
        self._t_start = now
        self._t_answered = 0.0
        self.bytes_in = 0
        self.bytes_out = 0

    @property
    def came_to(self) -> tuple[str, int]:
        """Where the client sends to."""
        announced = self.announced
        return (announced and announced.destination) or (self.local_address, self.local_port)

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
        if self._up is not None and not self._factory.may_pass(self._up, len(data), now):
            return
        try:
            if self._announce:
                self._sock.sendmsg((self._announce, data))
                if self._cluster.proxy_protocol.first_datagram_only:
                    self._announce = b""
            else:
                self._sock.send(data)
        except OSError as error:
            self._failed(error)
            return
        self.bytes_in += len(data)

    def is_at(self, client: Any, local: Local) -> bool:
        """Whether answers go to this address, from that one of ours."""
        return bool(self._client == client and self._local == local)

    def move(self, client: Any, local: Local) -> None:
        """Answers go there from now on. Bounds and records still name the address with which it began."""
        self._client = client
        self._local = local

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
        buffer, quic = factory.buffer, factory.quic
        for _ in range(most):
            try:
                size = self._sock.recv_into(buffer)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    self._failed(error)
                return
            if self.ended:
                return
            data = buffer[:size]
            if not self._answered:
                self._answered = True
                self._t_answered = now
                self._endpoint.accepted(final=True)
                factory.room.unanswered.pop(self, None)
            self.deadline = now + factory.idle_timeout_s
            if quic is not None and not quic.answers(self, data):
                factory.drop("unproven")
                continue
            if self._down is not None and not factory.may_pass(self._down, len(data), now):
                continue
            if factory.answer(data, self._client, self._local):
                self.bytes_out += len(data)

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
        factory = self._factory
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
        record = ConnectionRecord(self, self._route, self._t_start)
        record.endpoint, record.attempts, record.t_upstream_connected = endpoint, 1, self._t_answered
        record.bytes_in, record.bytes_out = self.bytes_in, self.bytes_out
        record.flag, record.detail, record.t_end = flag, detail, plane.monotonic()
        counters = self._route.counters
        counters.status[0] += 1
        counters.bytes_in += record.bytes_in
        counters.bytes_out += record.bytes_out
        counters.latency.observe(record.t_end - record.t_start)
        if flag:
            counters.local_replies[flag] = counters.local_replies.get(flag, 0) + 1
        plane.access.connection(record)
        factory.ended(self._key, record)


class _Refused:
    """The `ClientSide` of a client that gets no session."""

    scheme = b""
    sni = ""
    tls_version = ""
    tls_cipher = ""
    handshake: Handshake | None = None
    certified = b""
    announced: ProxyHeader | None = None

    def __init__(self, factory: UdpFactory, client: ClientSide) -> None:
        self.peer_address, self.peer_port = client.peer_address, client.peer_port
        self.local_address, self.local_port = factory.local_address, factory.local_port
        self.came_to = self.local_address, self.local_port
        self.connected_wall = factory.plane.wall()
        self.listener = factory.name


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
        self.pace: Pace | None = None       # how fast sessions may begin
        self.upload: Rate | None = None     # bytes of clients, and
        self.download: Rate | None = None   # bytes for them, each session by itself
        self.draining = False
        self.connections: dict[Any, Session] = {}
        self.buffer = memoryview(bytearray(MAX_DATAGRAM_BYTES))     # for answers, one at a time
        self._port: DatagramPort | None = None
        self.announcements: Announcements | None = None     # the proxies that must say whose datagrams they bring
        self.per_packet = False             # each datagram has its own choice of an endpoint
        self.quic: ConnectionIds | None = None              # sessions are known by connection ids
        self.netns = ""                     # the network namespace that its port is in
        self._own = ("", 0, "")
        self._now = 0.0
        self._logged = -REFUSED_LINES_S

    def serve_on(self, port: DatagramPort) -> None:
        """Answer through `port`, which brings the datagrams."""
        self._port = port
        host, number = port.address
        self._own = ("" if host in ("0.0.0.0", "::") else host, number, self.netns)
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
        if self.announcements is not None:
            self._heard(self.announcements, data, key, client, local)
        elif self.quic is not None:
            self._quic(self.quic, data, key, client, local, None)
        elif self.per_packet:
            self._anew(data, key, client, local, None)
        else:
            session = self.connections.get(key)
            if session is None:
                session = self._begin(key, client, local)
                if session is None:
                    return
            session.send(data, self._now)

    def _heard(self, announcements: Announcements, data: memoryview, key: Any, client: Any, local: Local) -> None:
        """A datagram that a proxy brings for somebody."""
        quic = self.quic
        if announcements.first_only and (key in self.connections if quic is None else quic.knows(key)):
            who, rest = None, data
        else:
            heard = announcements.hear(data, client[0])
            if heard is None:
                self.drop("proxy_header")
                return
            who, rest = heard
            if not announcements.first_only:
                key = (key, who)
        if quic is not None:
            self._quic(quic, rest, key, client, local, None if who is None else data)
            return
        session = self.connections.get(key)
        if session is None or self.per_packet:
            header = header_of(data)
            if header is None:
                self.drop("proxy_header")
                return
            if self.per_packet:
                self._anew(rest, key, client, local, header)
                return
            session = self._begin(key, client, local, header)
            if session is None:
                return
        session.send(rest, self._now)

    def _anew(self, data: memoryview, key: Any, client: Any, local: Local, header: ProxyHeader | None) -> None:
        """A datagram that has its own choice of an endpoint: a client has a session with each that it was given."""
        peer = plain_address(client)
        chosen = self._choose(peer if header is None else header.source or peer, local)
        if chosen is None:
            return
        key = (key, chosen[1])
        session = self.connections.get(key) or self._begin(key, client, local, header, chosen)
        if session is not None:
            session.send(data, self._now)

    def _quic(
        self, quic: ConnectionIds, data: memoryview, address: Any, client: Any, local: Local, whole: memoryview | None,
    ) -> None:
        """A datagram of a client that may have moved; `whole` has the header before it, None = there is none."""
        session = quic.find(address, data)
        if session is None:
            header = None if whole is None else header_of(whole)
            if whole is not None and header is None:
                self.drop("proxy_header")
                return
            key = quic.key(address, data)
            session = self.connections.get(key) or self._begin(key, client, local, header)
            if session is None:
                return
            quic.began(session, address, data)
        elif quic.came(session, address, client, local, len(data)):
            self.counters.sessions_moved += 1
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

    def may_pass(self, pace: Pace, count: int, now: float) -> bool:
        """Whether a datagram of so many bytes may go on; it is dropped, and counted, if there were too many before it."""
        if pace.wait(now) > 0.0:
            self.drop("byte_rate")
            return False
        pace.take(count, now)
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
        session = self.connections.pop(key)
        if self.quic is not None:
            self.quic.ended(session)
        self.counters.open -= 1
        if self.draining:
            self._leave()

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _log_refused(self, exchange: Exchange, reply: Reply) -> None:
        """One line a second at most: whoever refuses datagrams may get a flood of them, and they are counted anyway."""
        if self._now < self._logged + REFUSED_LINES_S:
            return
        self._logged = self._now
        record = ConnectionRecord(_Refused(self, exchange.client), self.route, self._now)
        record.flag, record.detail, record.policy = reply.flag, reply.detail, verdict_of(exchange, reply)
        record.t_end = self._now
        self.plane.access.connection(record)

    def _leave(self) -> None:
        if self._port is not None and not self.connections and not self._port.stopped:
            self.room.own.discard(self._own)
            self._port.stopListening()

    def _choose(self, peer: tuple[str, int], local: Local) -> tuple[Any, Endpoint] | None:
        """A cluster and its endpoint for a client; None: there is none, which is counted."""
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
        return cluster, endpoint

    def _begin(
        self, key: Any, client: Any, local: Local, header: ProxyHeader | None = None,
        chosen: tuple[Any, Endpoint] | None = None,
    ) -> Session | None:
        peer = plain_address(client)
        if header is not None:
            if self.room.is_own(*peer, self.netns):
                self.drop("own")
                return None
            peer = header.source or peer
        if self.draining:
            self.drop("draining")
            return None
        reason = self.room.refusal(*peer, self._now, self.netns)
        if reason:
            self.drop(reason)
            return None
        pace = self.pace
        if pace is not None and pace.wait(self._now) > 0.0:
            self.drop("session_rate")
            return None
        route = self.route
        if route.gates:
            exchange = arrival(Seen(peer, self.local_port, "", None), self._now)
            refused = refusal(route, exchange)
            if refused is not None:
                self.drop("policy" if refused.flag == "SP" else "limit")
                self._log_refused(exchange, refused)
                return None
        chosen = chosen or self._choose(peer, local)
        if chosen is None:
            return None
        cluster, endpoint = chosen
        if cluster.connections >= cluster.max_connections:
            cluster.counters.overflow += 1
            self.drop("overflow")
            return None
        if self.room.is_own(endpoint.address, endpoint.port, endpoint.network.netns):
            self.drop("own")                # it would come straight back, as a client of its own each time
            return None
        try:
            sock = connected_datagram_socket(endpoint.address, endpoint.port, endpoint.network)
        except OSError as error:
            if error.errno in _UNREACHABLE:
                cluster.connect_failed(endpoint)
                self.drop("unreachable")
            else:
                self.drop("descriptors")
            return None
        session = Session(self, key, client, peer, local, endpoint, cluster, sock, self._now, header)
        if pace is not None:
            pace.take(1, self._now)
        try:
            session.open()
        except OSError:                     # the kernel has no room in the epoll set
            sock.close()
            self.drop("descriptors")
            return None
        return session
