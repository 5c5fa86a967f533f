"""One HTTP/2 connection to an endpoint, shared by many exchanges: a trunk with lanes.

The first request that finds no trunk with room has one made; those that come meanwhile join it. A trunk on which nothing was
heard for a while is asked for a sign of life, one that the endpoint gives up (GOAWAY) ends with its last lane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IProtocol, IPushProducer
from zope.interface import classImplements

from voltgw.errors import Source
from voltgw.proxy.aging import Age
from voltgw.proxy.lane import Lane
from voltgw.proxy.link import Link
from voltgw.proxy.ties import FREE, Tie
from voltgw.proxy.upstream import Upstream
from voltgw.values.defaults import HTTP2_PING_S, HTTP2_PING_TIMEOUT_S, MAX_RESPONSE_FIELDS, MAX_RESPONSE_HEAD_BYTES
from voltgw.wire.h2frames import CANCEL, NO_ERROR
from voltgw.wire.h2limits import Limits
from voltgw.wire.http2 import Client

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.errors import BadRequest, BadResponse, ConnectFailed
    from voltgw.proxy.plane import Dialling, Plane
    from voltgw.proxy.pool import Pool
    from voltgw.proxy.sending import Sender
    from voltgw.values.head import ResponseHead
    from voltgw.wire.h2streams import Stream

#: Streams before the endpoint has said how many it takes (RFC 9113 6.5.2 advises no fewer).
FIRST_STREAMS: Final = 100
_LIMITS: Final = Limits(max_list_bytes=MAX_RESPONSE_HEAD_BYTES, max_fields=MAX_RESPONSE_FIELDS)
_PING: Final = b"voltgw??"


class Trunk(Link):
    """A connection to `endpoint`. It stands in its pool's `trunks` from its beginning until it takes no more requests."""

    __slots__ = ("_counted", "_dial", "_heard", "_pinged", "_served", "_waiting", "_watched", "age", "client", "cluster",
                 "deferred", "endpoint", "leaving", "open", "pool", "scheme", "settled", "tie", "why")

    def __init__(self, endpoint: Endpoint, cluster: Any, plane: Plane, tie: Tie = FREE) -> None:
        super().__init__(plane)
        self.tie = tie
        self.endpoint = endpoint
        self.cluster = cluster
        self.pool: Pool = endpoint.pool     # type: ignore[assignment]  # the cluster sees a PoolLike; we made it
        self.pool.trunks.append(self)
        self.codec = self.client = Client(self, _LIMITS, plane.counters.http2_upstream)
        self.open = False
        self.leaving = False                # no more requests
        self.settled = False                # the endpoint's settings are here
        self.scheme = b"http"
        self.why = ""                       # what was wrong with the last answer that was none
        self.deferred: list[Lane] = []      # requests that wait for the settings
        self._waiting: dict[Lane, None] = {}
        self._dial: Dialling | None = None
        self.age: Age | None = None         # when it is too old
        self._counted = False
        self._served = 0
        self._heard = 0.0
        self._pinged = False
        self._watched = False               # the deadline looks for signs of life, not for idleness

    # -- lanes -----------------------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether it takes one more request."""
        if self.leaving:
            return False
        if not self.open:
            return len(self._waiting) < FIRST_STREAMS
        codec = self.codec
        return codec.can_open and (self.settled or len(codec.streams) < FIRST_STREAMS)

    @property
    def idle(self) -> bool:
        """Whether it stands open and serves nobody."""
        return self.open and not self.codec.streams

    def lane(self, sender: Sender) -> Lane:
        """A lane for the exchange of `sender`."""
        lane = Lane(self, sender)
        lane.reused = self._served > 0
        return lane

    def join(self, lane: Lane) -> None:
        """`lane` waits for the connection; `Sender.connected` or `Sender.connect_failed` follows."""
        self._waiting[lane] = None
        if self._dial is None:
            self.cluster.counters.connects += 1
            tls, tie = self.cluster.tls, self.tie
            self._dial = self.plane.dial(self.endpoint, self, self.cluster.connect_timeout_s, self._refused,
                                         None if tls is None else (tls, tie.server_name), tie.first)

    def waits(self, lane: Lane) -> bool:
        """Whether `lane` waits for the connection."""
        return lane in self._waiting

    def leave(self, lane: Lane) -> None:
        """It waits no longer; the last one who does takes the attempt with it."""
        del self._waiting[lane]
        if not self._waiting and not self.open:
            dial, self._dial = self._dial, None
            if dial is not None:
                dial.cancel()
            self._retire()

    def begun(self) -> None:
        """A stream was opened."""
        self._served += 1
        if not self._watched:
            self._watched = True
            self._heard = self.plane.monotonic()
            self._touch(self._heard + HTTP2_PING_S)
        if self._served == self.cluster.max_requests_per_connection:
            self._retire()
        self.flush_soon()

    def give_up(self, stream: Stream, code: int | None) -> None:
        """The exchange on `stream` is over; `code` None: before its time."""
        stream.owner = None
        if not stream.closed:
            self.codec.reset(stream, CANCEL if code is None or not stream.remote_ended else NO_ERROR)
            self.flush_soon()

    def lane_over(self) -> None:
        """One exchange less."""
        if self.open and not self.codec.streams:
            if self.leaving:
                self._close_soon()
            else:
                self._watched = False
                self._touch(self.plane.monotonic() + self.cluster.idle_timeout_s)
        if self.plane.queues:
            self.plane.room(self.cluster)

    def drain(self) -> None:
        """The endpoint is gone: end with the last exchange."""
        self._retire()
        if self.open and not self.codec.streams:
            self._close_soon()

    def left_by_client(self) -> None:
        """The only client that it may serve has gone."""
        self.drain()

    def _retire(self) -> None:
        self.leaving = True
        self.pool.forget_trunk(self)

    # -- the connection ----------------------------------------------------------------------------------------------------

    def _refused(self, error: ConnectFailed) -> None:
        self._dial = None
        self._retire()
        waiting, self._waiting = self._waiting, {}
        for number, lane in enumerate(waiting):
            lane.leads = not number and error.source is Source.UPSTREAM
            try:
                lane.refused(error)
            except BaseException:
                self.plane.loop.failed(lane)
        if self.plane.queues:
            self.plane.room(self.cluster)

    def makeConnection(self, transport: Any) -> None:
        """The endpoint has accepted; over TLS both sides have agreed on a version (RFC 7301)."""
        self.transport = transport
        self._dial = None
        handshake = getattr(transport, "handshake", None)
        if handshake is not None:
            self.scheme = b"https"
        if self.cluster.by_alpn and (handshake is None or handshake.alpn != b"h2"):
            self._speak_version_1(transport)
            return
        self.open = self._counted = True
        if self.tie.client is not None:
            self.plane.tied.add(self)
        self.endpoint.connections += 1
        self.cluster.connections += 1
        if self.cluster.max_age_s:
            self.age = Age(self.plane, self.cluster.max_age_s, self.drain)
        transport.registerProducer(self, True)
        waiting, self._waiting = self._waiting, {}
        self._in_turn = True
        for lane in waiting:
            self.cluster.pending -= 1
            sender = lane.downstream
            if sender is not None:
                try:
                    sender.connected(lane)
                except BaseException:
                    self.plane.loop.failed(sender)
        self._in_turn = False
        self.flush()
        if self.leaving and not self.codec.streams:
            self._close_soon()

    def _speak_version_1(self, transport: Any) -> None:
        """The endpoint has chosen HTTP/1.1: the first request has the connection, the others one each."""
        self._retire()
        self.pool.version_1 = True
        waiting, self._waiting = self._waiting, {}
        taken = False
        for lane in waiting:
            sender, lane.downstream = lane.downstream, None
            lane.deadline = 0.0
            if sender is None:
                self.cluster.pending -= 1
                continue
            try:
                if taken:
                    self.cluster.pending -= 1
                    sender.own_connection(lane)
                else:
                    taken = True
                    upstream = Upstream(self.endpoint, self.cluster, sender, self.plane)
                    sender.replaced(lane, upstream)
                    transport.protocol = upstream
                    upstream.makeConnection(transport)
            except BaseException:
                self.plane.loop.failed(sender)
        if not taken:
            transport.loseConnection()

    def connectionMade(self) -> None:
        """Part of IProtocol; `makeConnection` does it all."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the endpoint."""
        self._heard = now = self.plane.monotonic()
        self._pinged = False
        self._receive(data, now)

    def connectionLost(self, reason: Failure) -> None:
        """The connection is over, by whoever."""
        self.deadline = 0.0
        self.plane.deadlines.forget(self)
        self._retire()
        self.open = False
        if self.tie.client is not None:
            self.plane.tied.forget(self)
        if self.age is not None:
            self.age.stop()
        if self._counted:
            self._counted = False
            self.endpoint.connections -= 1
            self.cluster.connections -= 1
        fault = self.codec.fault
        why = str(fault) if fault is not None else reason.getErrorMessage()
        deferred, self.deferred = self.deferred, []
        pipes: list[Any] = [stream.owner for stream in self.codec.streams.values()]
        for pipe in pipes:
            if pipe is not None:
                if isinstance(pipe.protocol, Lane):
                    self._guarded(pipe.protocol, pipe.protocol.lost, why)
                else:
                    self._guarded(pipe.protocol, pipe.cut)
        for lane in deferred:
            self._guarded(lane, lane.lost, why)
        if self.plane.queues:
            self.plane.room(self.cluster)

    def _guarded(self, owner: Any, call: Any, *arguments: Any) -> None:
        try:
            call(*arguments)
        except BaseException:
            self.plane.loop.failed(owner)

    def expired(self, now: float) -> None:
        """Idle for long enough, or silent for too long."""
        if not self.codec.streams and not self.deferred:
            self._watched = False
            self._retire()
            self._close_soon()
            return
        if now - self._heard < HTTP2_PING_S:
            self._touch(self._heard + HTTP2_PING_S)
        elif self._pinged:
            self.transport.abortConnection()
        else:
            self._pinged = True
            self.codec.ping(_PING)
            self.flush()
            self._touch(now + HTTP2_PING_TIMEOUT_S)

    def crashed(self) -> None:
        """A bug of ours in what concerns the whole connection: it is not to be trusted."""
        pipes: list[Any] = [stream.owner for stream in self.codec.streams.values()]
        self.transport.abortConnection()
        for pipe in pipes:
            if pipe is not None and isinstance(pipe.protocol, Lane):
                pipe.protocol.crashed()

    def _close_soon(self) -> None:
        if not self.open:
            return
        self.open = False
        self._retire()
        self._part()

    # -- what the codec says -------------------------------------------------------------------------------------------------

    def on_response(self, stream: Stream, head: ResponseHead, ended: bool) -> None:
        """An answer's head."""
        pipe: Any = stream.owner
        if pipe is not None:
            try:
                pipe.protocol.response(head, ended)
            except BaseException:
                self.plane.loop.failed(pipe.protocol)

    def on_malformed(self, stream_id: int, error: BadRequest | BadResponse) -> None:
        """An answer that was none; `on_reset` follows."""
        self.why = str(error)

    def on_reset(self, stream: Stream, code: int, ours: bool) -> None:
        """A stream ended before its time."""
        pipe: Any = stream.owner
        if pipe is None:
            return
        if isinstance(pipe.protocol, Lane):
            self._guarded(pipe.protocol, pipe.protocol.was_reset, code, ours)
        else:
            self._guarded(pipe.protocol, pipe.cut)

    def on_settings(self) -> None:
        """The endpoint has said what it takes."""
        self.settled = True
        deferred, self.deferred = self.deferred, []
        for lane in deferred:
            self._guarded(lane, lane.settled)
        if self.plane.queues:
            self.plane.room(self.cluster)

    def on_goaway(self, last_id: int, code: int, debug: bytes) -> None:
        """The endpoint takes no more requests; those up to `last_id` go on, the others have heard of it."""
        self._retire()
        if not self.codec.streams:
            self._close_soon()


classImplements(Trunk, IProtocol, IPushProducer)
