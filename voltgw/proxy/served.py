"""A client's request from its head to its complete body, whatever version of HTTP it comes in.

Filters that wait, bodies that are passed on at the endpoint's pace or read whole first, and what is kept of them for another
try. Where the bytes come from, and in what framing, is for the subclasses to say: `voltgw.proxy.client` (HTTP/1.1, where the
connection serves itself) and `voltgw.proxy.stream2` (a stream of HTTP/2).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from voltgw.cluster.attempts import IDEMPOTENT
from voltgw.errors import BadRequest, BodyTooLarge
from voltgw.net.deadlines import TICK_S
from voltgw.proxy.outbound import Outbound
from voltgw.proxy.phases import ASKING, BUFFERING, SENT
from voltgw.values.defaults import BODY_IDLE_TIMEOUT_S, MAX_REPLAY_BYTES
from voltgw.values.reply import Delay, Reply
from voltgw.wire.chunks import ChunkScanner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from voltgw.interfaces import RequestFilter
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.plane import Plane
    from voltgw.routing.table import Route
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead

_TICKS: Final = 1 / TICK_S


class Gathered:
    """A body that is read whole before an endpoint is chosen: what has come of it, and what then becomes of it.

    `chunked`: it comes in the chunks of HTTP/1.1.
    """

    __slots__ = ("body", "most", "route", "scanner", "size")

    def __init__(self, route: Route, chunked: bool) -> None:
        self.route = route
        self.most = min(route.buffer_bytes, route.max_body_bytes or route.buffer_bytes)
        self.body: list[bytes] = []
        self.size = 0
        self.scanner = ChunkScanner(BadRequest, dechunk=True) if chunked else None


class Served(Outbound):
    """One exchange at a time of a client. It is its own `Deadline`."""

    __slots__ = ("_asked", "_gathered", "_kept_bytes", "_limit", "_room", "_stalled")

    _log: ClassVar[Logger] = Logger()

    def __init__(self, plane: Plane) -> None:
        super().__init__(plane)
        self._asked: Deferred[Reply | None] | IDelayedCall | None = None    # what a filter waits for
        self._stalled = False               # the endpoint does not take what we produce
        self._limit = 0.0                   # when the request must be complete, 0.0 = never
        self._room = 0                      # so much more may come of a body, where the route has a bound
        self._kept_bytes = 0                # of `_wire` and `_kept`
        self._gathered: Gathered | None = None

    # -- what a subclass does ----------------------------------------------------------------------------------------------

    def _flow(self) -> None:
        """Let the request's body come, beginning with what was held of it."""
        raise NotImplementedError

    def _chunked(self, head: RequestHead) -> bool:
        """Whether the body comes in the chunks of HTTP/1.1."""
        raise NotImplementedError

    def _continue(self, exchange: Exchange) -> None:
        """Tell a client that waits for it that it may send the body."""
        raise NotImplementedError

    def _stop_producing(self) -> None:
        """The request is complete: its endpoint's connection hears of nobody who produces it."""
        raise NotImplementedError

    def expired(self, now: float) -> None:
        """The deadline of the present phase has passed."""
        raise NotImplementedError

    def backed_up(self) -> None:
        """More waits for the client than it takes: the answer on its way stops."""
        self.choked = True
        if self.answering is not None:
            self.answering.pause()

    def _complete(self) -> None:
        """The request is here, whole."""
        self.deadline = self._limit = 0.0

    # -- filters that wait -------------------------------------------------------------------------------------------------

    def _wait(
        self, decision: Delay | Deferred[Reply | None], filters: Iterator[RequestFilter], body: bytes
    ) -> None:
        """The slow lane: a filter has to ask somebody, or asks for a pause. What the client sends meanwhile is held.

        `filters` are those behind it.
        """
        exchange, route, phase = self.exchange, self.route, self.phase
        assert exchange is not None and route is not None
        self.phase = ASKING
        self.deadline = 0.0

        if isinstance(decision, Delay):
            go_on = partial(self._decided, None, exchange, route, phase, filters, body)
            self._asked = self._plane.later(decision.seconds, self, go_on)
        else:
            self._asked = decision
            decision.addCallback(self._decided, exchange, route, phase, filters, body)
            decision.addErrback(self._filter_failed, exchange, phase)

    def _decided(
        self, reply: Reply | None, exchange: Exchange, route: Route, phase: int, filters: Iterator[RequestFilter], body: bytes,
    ) -> None:
        """The filter has decided on `exchange`, which stood in `phase`."""
        self._asked = None
        if self.exchange is not exchange:
            return                          # the client did not wait
        self.phase = phase
        now = self.monotonic()
        if reply is None:
            for request_filter in filters:
                result = request_filter(exchange)
                if isinstance(result, Reply):
                    reply = result
                    break
                if result is not None:
                    self._wait(result, filters, body)
                    return
        if reply is not None:
            self._answer(reply, now)
        else:
            self._forward(route, exchange.request, exchange, body, now)

    def _filter_failed(self, failure: Failure, exchange: Exchange, phase: int) -> None:
        self._asked = None
        if self.exchange is exchange:
            self._log.failure("a filter failed", failure=failure)
            self.phase = phase
            self.crashed()
        elif failure.check(CancelledError) is None:         # we cancel it when the client leaves
            self._log.failure("a filter failed, but its client has left", failure=failure)

    def _ask_no_more(self) -> None:
        """The client has left: whatever a filter waits for is of no use."""
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()

    # -- passing the body on -----------------------------------------------------------------------------------------------

    def _stream_body(self, now: float) -> None:
        upstream = self._upstream
        assert upstream is not None
        host = self.host
        if host is not None and host.request_timeout_s and self.exchange is not None:
            self._limit = self.exchange.t_start + host.request_timeout_s
        self._set_deadline(now + self.body_timeout_s)
        if not self._kept:                          # the first try of this request
            self._kept_bytes = len(self._wire)
            retry, exchange = None if self.route is None else self.route.retry, self.exchange
            again = (exchange is not None and exchange.request.method in IDEMPOTENT) or (
                retry is not None and (retry.non_idempotent or retry.grpc))
            if not again and self.shadow is None and upstream.plain:
                self._forget()                      # it may not be sent twice, once something was; a stream may be refused
        upstream.deadline = self._limit_at          # the time for the answer begins when the request is complete
        self._producing = True
        self._stalled = False
        upstream.transport.registerProducer(self, True)
        self._flow()

    def _passed_whole(self, upstream: EndpointConnection, exchange: Exchange, now: float) -> None:
        """The last of the body has gone to the endpoint."""
        self._complete()
        if self.shadow is not None:
            self._cast_shadow(exchange)
        self._stop_producing()
        self._begin_try(upstream, now)
        upstream.request_sent(self._answer_timeout_s(now))

    def _keep(self, data: bytes) -> None:
        """Keep what was sent of the body for another try, as long as it is not much."""
        self._kept.append(data)
        self._kept_bytes += len(data)
        if self._kept_bytes > MAX_REPLAY_BYTES:
            self._forget()

    def _forget(self) -> None:
        self._replayable = False
        self._wire = b""
        self._kept = []

    # -- reading it whole first (buffer_policy) ----------------------------------------------------------------------------

    def _buffer(self, route: Route, head: RequestHead, exchange: Exchange, body: bytes, now: float) -> bool:
        if self._gathered is not None:      # here it is
            self._gathered = None
            return False
        most = route.max_body_bytes
        if most:
            if head.length > most or len(body) > most:
                self._fail(BodyTooLarge("more than the route takes"), now)
                return True
            self._room = most - len(body)
            if not route.buffer_bytes:
                return False
        host = self.host
        assert host is not None             # a route belongs to one
        self._gathered = Gathered(route, self._chunked(head))
        if head.length > route.buffer_bytes:
            self._too_large(now)
            return True
        if self.phase == SENT:              # all of it came with its head
            self._add(body, exchange)
            return True
        self.phase = BUFFERING
        self.body_timeout_s = host.idle_timeout_s or BODY_IDLE_TIMEOUT_S
        limits = [exchange.t_start + host.request_timeout_s if host.request_timeout_s else 0.0,
                  now + route.buffer_time_s if route.buffer_time_s else 0.0]
        self._limit = min([limit for limit in limits if limit], default=0.0)
        self._set_deadline(now + self.body_timeout_s)
        if head.expect_continue:
            head.expect_continue = False    # it is ours to meet, and is met
            if not body:
                self._continue(exchange)
        self._add(body, exchange)
        if self.phase == BUFFERING:
            self._flow()
        return True

    def _add(self, data: bytes, exchange: Exchange) -> None:
        gathered = self._gathered
        assert gathered is not None
        now = self.monotonic()
        if gathered.scanner is not None:
            data, _ = gathered.scanner.feed(data)       # what passed once passes again
        gathered.size += len(data)
        gathered.body.append(data)
        if gathered.size > gathered.most:
            self._too_large(now)
        elif self.phase == SENT:
            self._complete()
            head = exchange.request
            head.length = gathered.size     # now that it is known, the endpoint is told (it need not understand chunks)
            if not gathered.size:
                self._gathered = None       # nobody asks again
            self._forward(gathered.route, head, exchange, b"".join(gathered.body), now)
        else:
            self._set_deadline(now + self.body_timeout_s)

    def _exceeds(self, size: int, exchange: Exchange, now: float) -> bool:
        """Whether so much more of the body is too much for the route; then it is refused, or cut if its answer has begun."""
        self._room -= size
        if self._room >= 0:
            return False
        error = BodyTooLarge("more than the route takes")
        if exchange.t_downstream_first:
            self._drop()
            self._broken_off(error, now)
        else:
            self._fail(error, now)
        return True

    def _too_large(self, now: float) -> None:
        self._fail(BodyTooLarge("more than the route's buffer policy allows"), now)

    # -- the end -----------------------------------------------------------------------------------------------------------

    def _set_deadline(self, deadline: float) -> None:
        self.deadline = deadline = self._limit if self._limit and self._limit < deadline else deadline
        if self.deadline_slot > deadline * _TICKS + 1:
            self._plane.deadlines.schedule(self)

    def _finish(self, exchange: Exchange, now: float) -> None:
        self._limit = 0.0
        super()._finish(exchange, now)

    def _record(self, exchange: Exchange, now: float) -> None:
        self._gathered = None
        super()._record(exchange, now)
