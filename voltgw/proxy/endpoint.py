"""A connection to an endpoint apart from its answers: how it begins, waits, is given up, and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from voltgw.errors import ClientTimeout, ProxyError, Source, UpstreamTimeout
from voltgw.net.deadlines import NO_SLOT, TICK_S
from voltgw.proxy.aging import Age
from voltgw.proxy.phases import HEAD, IDLE, OVER
from voltgw.proxy.reading import read_in_bulk
from voltgw.proxy.ties import FREE
from voltgw.values.defaults import LINGER_TIMEOUT_S
from voltgw.values.head import UNTIL_CLOSE
from voltgw.wire.chunks import LAST_CHUNK, chunk

if TYPE_CHECKING:
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.errors import ConnectFailed
    from voltgw.interfaces import StreamTransport
    from voltgw.proxy.plane import Dialling, Plane
    from voltgw.proxy.pool import Pool
    from voltgw.proxy.sending import Sender
    from voltgw.values.exchange import BodyTransform, Exchange
    from voltgw.values.head import ResponseHead

_TICKS: Final = 1 / TICK_S


class EndpointConnection:
    """A connection to `endpoint`, serving one exchange after another, one at a time. It is its own `Deadline`.

    One that is not `plain` is a lane of a connection of HTTP/2 and serves a single exchange; of those that wait for one such
    connection, one `leads`.
    """

    plain: ClassVar[bool] = True

    __slots__ = (
        "_bulk", "_cluster", "_dial", "_encode", "_interim", "_plane", "_producing", "_transform", "age", "deadline",
        "deadline_slot", "dialled",
        "downstream", "endpoint", "idle_timeout_s", "late_at", "leads", "limit", "phase", "pool", "reusable", "reused",
        "served", "stalled", "tie", "transport",
    )

    transport: StreamTransport

    def __init__(self, endpoint: Endpoint, cluster: Any, downstream: Sender, plane: Plane) -> None:
        self.endpoint = endpoint
        self.pool: Pool = endpoint.pool     # type: ignore[assignment]  # the cluster sees a PoolLike; we made it
        self.downstream: Sender | None = downstream
        self.idle_timeout_s: float = cluster.idle_timeout_s
        self.tie = FREE if cluster.tls is None and not cluster.tied else downstream.tie(cluster, endpoint)
        self.served = 0                     # answers that began on this connection
        self.reused = False                 # whether it has already served an exchange
        self.reusable = True                # whether the present answer lets it serve another one
        self.limit = 0.0                    # when the present exchange must be over (monotonic; 0.0: no such limit)
        self.dialled = 0.0                  # when it began to connect
        self.late_at = 0.0                  # belongs to `voltgw.proxy.late`
        self.deadline = 0.0
        self.deadline_slot = NO_SLOT
        self.phase = HEAD
        self._plane = plane
        self._cluster = cluster
        self._dial: Dialling | None = None      # the endpoint has yet to accept
        self.leads = True                   # its failure to connect counts against the endpoint
        self._interim = 0                   # 1xx answers so far in this exchange
        self._bulk = False                  # the body is read in larger pieces
        self._encode = False                # we put the body into chunks (the origin ends it by closing)
        self._transform: BodyTransform | None = None
        self._producing = False             # the client's side knows that an answer's body comes from us
        self.stalled = False                # the client does not take what we produce
        self.age: Age | None = None         # when it is too old

    def ask(self, sender: Sender, now: float, timeout_s: float, limit: float) -> None:
        """Send the request of `sender` by HTTP/2; the answer must begin within `timeout_s`."""
        raise NotImplementedError

    # -- beginning -----------------------------------------------------------------------------------------------------

    def connect(self, timeout_s: float) -> None:
        """Dial the endpoint; `Sender.connected` or `Sender.connect_failed` follows, unless `abort` comes first."""
        self._cluster.pending += 1
        self._cluster.counters.connects += 1
        self.dialled = self._plane.monotonic()
        tls, tie = self._cluster.tls, self.tie
        self._dial = self._plane.dial(self.endpoint, self, timeout_s, self._refused,
                                      None if tls is None else (tls, tie.server_name), tie.first)

    def _refused(self, error: ConnectFailed) -> None:
        self._dial = None
        self._no_dial()
        self.phase = OVER
        self.deadline = 0.0
        downstream, self.downstream = self.downstream, None
        assert downstream is not None       # whoever no longer needs it has cancelled the dial
        self.leads = self.leads and error.source is Source.UPSTREAM
        downstream.connect_failed(self, error)

    def _no_dial(self) -> None:
        self._cluster.pending -= 1
        if self._plane.queues:
            self._plane.room(self._cluster)

    def makeConnection(self, transport: Any) -> None:
        """The endpoint has accepted."""
        self.transport = transport
        self._dial = None
        self.endpoint.connections += 1
        self._cluster.connections += 1
        self._cluster.pending -= 1
        if self.tie.client is not None:
            self._plane.tied.add(self)
        if self._cluster.max_age_s:
            self.age = Age(self._plane, self._cluster.max_age_s, self.grow_old)
        downstream = self.downstream
        if downstream is not None:
            downstream.connected(self)
        else:
            self.close()

    def left(self) -> None:
        """The connection has ended: it is no longer counted."""
        self.endpoint.connections -= 1
        self._cluster.connections -= 1
        if self.age is not None:
            self.age.stop()
        if self.tie.client is not None:
            self._plane.tied.forget(self)
        if self._plane.queues:
            self._plane.room(self._cluster)

    def grow_old(self) -> None:
        """It is as old as it may become."""
        if self.phase == IDLE:
            self.pool.forget(self)
            self.close()
        else:
            self.reusable = False

    def left_by_client(self) -> None:
        """The only client that it may serve has gone."""
        if self.phase == IDLE:
            self.pool.forget(self)
            self.close()
        else:
            self.idle_timeout_s = 0.0       # it will not wait for another request

    def connectionMade(self) -> None:
        """Part of IProtocol; `makeConnection` does it all."""

    # -- for the client's side -------------------------------------------------------------------------------------

    def begin(self, wire: bytes, now: float, timeout_s: float, limit: float) -> None:
        """Send a request head with what there is of its body; the answer must begin within `timeout_s`."""
        self.phase = HEAD
        self._interim = 0
        self.limit = limit
        deadline = now + timeout_s
        self.deadline = limit if limit and limit < deadline else deadline
        if self.deadline_slot > self.deadline * _TICKS + 1:
            self._plane.deadlines.schedule(self)
        self.transport.write(wire)

    def send(self, data: bytes) -> None:
        """More of the request's body, as the client's side has it."""
        self.transport.write(data)

    def rest(self, now: float) -> None:
        """The exchange is over: wait in the pool for the next one, if there may be one.

        `Downstream.answered` does the same in line.
        """
        self._let_go()
        self.reused = True
        if not self.reusable or self.pool.draining:
            self.close()
            return
        self.phase = IDLE
        self.limit = 0.0
        self._touch(now, self.idle_timeout_s)
        self.pool.idle.append(self)
        if self._plane.queues:
            self._plane.offer(self._cluster, self)

    def request_sent(self, timeout_s: float) -> None:
        """The rest of the request has gone: the answer must begin within `timeout_s`, if it has not yet."""
        if self.phase == HEAD:
            self._touch(self._plane.monotonic(), timeout_s)

    def close(self) -> None:
        """Nobody needs this connection any more; an endpoint that does not read what waits is not waited for without end."""
        self._let_go()
        self.phase = OVER
        self.limit = 0.0
        self._touch(self._plane.monotonic(), LINGER_TIMEOUT_S)
        self.transport.loseConnection()

    def abort(self) -> None:
        """The exchange cannot go on: stop dialling, or close so that the endpoint notices at once."""
        self._let_go()
        self.phase = OVER
        self.deadline = 0.0
        dialling, self._dial = self._dial, None
        if dialling is not None:
            dialling.cancel()
            self._no_dial()
        else:
            self.transport.abortConnection()

    def hand_over(self) -> None:
        """Somebody else has the transport from now on, and calls `left` when it ends."""
        self._let_go()
        self.phase = OVER
        self.deadline = 0.0
        self._plane.deadlines.forget(self)

    def expired(self, now: float) -> None:
        """The deadline of the present phase has passed."""
        downstream = self.downstream
        if downstream is None:
            if self.phase == IDLE:
                self.pool.forget(self)
                self.close()
            else:
                self.abort()                # it was to close, but the endpoint did not read the rest
            return
        if self.phase == HEAD:
            self.late(now)
            return
        error: ProxyError
        if self.stalled and not (self.limit and now >= self.limit):
            error = ClientTimeout("the client stopped reading the answer")
        else:
            error = UpstreamTimeout("the answer's body stopped")
        self.abort()
        downstream.upstream_failed(self, error, reused=False)

    def waits_for(self, exchange: Exchange) -> bool:
        """Whether the answer to this exchange has yet to begin."""
        downstream = self.downstream
        return self.phase == HEAD and downstream is not None and downstream.exchange is exchange

    def late(self, now: float) -> None:
        """The answer has not begun in time."""
        downstream = self.downstream
        if downstream is not None and not downstream.late(self, now):
            self.abort()
            downstream.upstream_failed(self, UpstreamTimeout("the answer did not begin in time"), reused=False)

    def wait_on(self, now: float, timeout_s: float) -> None:
        """The answer has so much more time to begin."""
        self._touch(now, timeout_s)

    def crashed(self) -> None:
        """A bug of ours while handling its bytes: this connection is not to be trusted, the client hears of a 500."""
        downstream = self.downstream
        self.abort()
        if downstream is not None:
            downstream.crashed()

    # -- for the client's side: we produce the answer's body -----------------------------------------------------------

    def pause(self) -> None:
        """The client does not keep up."""
        self.stalled = True
        self.transport.pauseProducing()

    def resume(self) -> None:
        """The client keeps up again."""
        self.stalled = False
        self.transport.resumeProducing()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _touch(self, now: float, timeout_s: float) -> None:
        deadline = now + timeout_s
        self.deadline = self.limit if self.limit and self.limit < deadline else deadline
        if self.deadline_slot > self.deadline * _TICKS + 1:
            self._plane.deadlines.schedule(self)

    def _pass_on(self, data: bytes) -> None:
        """Bytes of the body go to the client: as they are, or what `_transform` makes of them."""
        if self._transform is not None and data:
            data = self._transform.feed(data)
            if self._encode and data:
                data = chunk(data)
        downstream = self.downstream
        if data and downstream is not None and downstream.exchange is not None:
            downstream.exchange.bytes_out += len(data)
            downstream.transport.write(data)

    def _transforms(self, exchange: Exchange, response: ResponseHead) -> int:
        """The answer's length once `exchange.transform` has changed its body: nobody knows it, if it has a body at all."""
        if exchange.request.method == b"HEAD" or response.status == 304:
            response.declared = -1          # the length of what is not sent would be another, too
        if not response.length:             # a bodiless one has none either, see `ResponseParser.parse`
            exchange.transform = None
            return 0
        self._transform = exchange.transform
        return UNTIL_CLOSE

    def _end_of_body(self, now: float, last: bytes) -> None:
        self._pass_on(last)
        transform, self._transform = self._transform, None
        if transform is not None:
            rest = transform.finish()
            if self._encode:
                self._encode = False
                rest = chunk(rest) + LAST_CHUNK if rest else LAST_CHUNK
            self._pass_on(rest)
            if self.downstream is not None and self.downstream.exchange is not None:
                self.downstream.exchange.transform = None
        self.phase = OVER
        downstream = self.downstream
        self._unregister()
        if downstream is not None:
            downstream.answered(self, now)

    def _unregister(self) -> None:
        if self._producing and self.downstream is not None:
            self._producing = self.stalled = False
            self.downstream.answering = None
            if self._bulk:
                self._bulk = False
                read_in_bulk(self.transport, False)
            self.transport.resumeProducing()

    def _let_go(self) -> None:
        """Part from the client's side, which goes on alone."""
        self._unregister()
        self._transform = None
        self.downstream = None

