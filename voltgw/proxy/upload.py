"""A client's request bodies: passed on as they come, at the endpoint's pace, or read whole first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from voltgw.cluster.attempts import IDEMPOTENT
from voltgw.errors import BadRequest, BodyTooLarge
from voltgw.proxy.client import ClientConnection
from voltgw.proxy.phases import BODY, BUFFERING, CLOSED, LINGER, SENT
from voltgw.proxy.reading import LONG_BODY_BYTES, read_in_bulk
from voltgw.values.defaults import BODY_IDLE_TIMEOUT_S
from voltgw.values.head import CHUNKED, RequestHead
from voltgw.wire.http1 import ChunkScanner

if TYPE_CHECKING:
    from voltgw.proxy.factory import HttpFactory
    from voltgw.routing.table import Route
    from voltgw.values.exchange import Exchange

#: So much of a request is kept while its body streams, to be sent again; beyond it there is no other try.
MAX_REPLAY_BYTES: Final = 64 * 1024
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Gathered:
    """A body that is read whole before an endpoint is chosen: what has come of it, and what then becomes of it."""

    __slots__ = ("body", "most", "route", "scanner", "size")

    def __init__(self, route: Route, chunked: bool) -> None:
        self.route = route
        self.most = route.buffer_bytes
        self.body: list[bytes] = []
        self.size = 0
        self.scanner = ChunkScanner(BadRequest, dechunk=True) if chunked else None


@implementer(IPushProducer)
class Uploading(ClientConnection):
    """A client's connection; for the endpoint's transport it is the producer of the request's body."""

    __slots__ = ("_bulk", "_gathered", "_kept_bytes")

    def __init__(self, factory: HttpFactory, peer_address: str, peer_port: int) -> None:
        super().__init__(factory, peer_address, peer_port)
        self._bulk = False                  # the body is read in larger pieces
        self._kept_bytes = 0                # of `_wire` and `_kept`
        self._gathered: _Gathered | None = None

    # -- taking it in ------------------------------------------------------------------------------------------------------

    def _first_of_body(self, head: RequestHead, data: bytes) -> bytes:
        """What came of the body behind its head; sets what is left."""
        if head.length == CHUNKED:
            self._scanner = ChunkScanner(BadRequest)
            self._left = CHUNKED
        else:
            self._left = head.length
        return self._take(data)

    def _take(self, data: bytes) -> bytes:
        """The part of `data` that belongs to the body. `phase` is SENT when that is complete; what is behind it is held.

        A body that is none is refused; then there is no exchange any more.
        """
        if self._left == CHUNKED:
            return self._scan(data)
        left = self._left - len(data)
        if left < 0:                        # pipelined behind its body
            self._hold(data[left:])
            data = data[:left]
            left = 0
        self._left = left
        if not left:
            self.phase = SENT
        return data

    def _scan(self, data: bytes) -> bytes:
        scanner = self._scanner
        assert scanner is not None
        try:
            passed, over = scanner.feed(data)
        except BadRequest as error:
            self._refuse(error, self.monotonic())
            return b""
        if scanner.done:
            self._scanner = None
            self._left = 0
            self.phase = SENT
            if over:
                self._hold(over)
        return passed

    def _more(self, data: bytes) -> None:
        """Bytes while a request is under way."""
        phase = self.phase
        if phase == BODY:
            self._body(data)
        elif phase == LINGER:
            self._left -= len(data)
            if self._left < 0:
                self._cut()
        elif phase == BUFFERING:
            self._gather(data)
        elif phase != CLOSED:
            self._hold(data)

    def _read_on(self) -> bytes:
        """Read the body from now on; what was held of it is returned."""
        if self._left > LONG_BODY_BYTES:
            self._bulk = True
            read_in_bulk(self.transport, True)
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        held, self._held = self._held, b""
        return held

    def _complete(self) -> None:
        """The request is here, whole."""
        self.deadline = self._limit = 0.0
        if self._bulk:
            self._bulk = False
            read_in_bulk(self.transport, False)

    # -- passing it on -----------------------------------------------------------------------------------------------------

    def _stream_body(self, now: float) -> None:
        upstream = self._upstream
        assert upstream is not None
        host = self.host
        if host is not None and host.request_timeout_s and self.exchange is not None:
            self._limit = self.exchange.t_start + host.request_timeout_s
        self._set_deadline(now + self.body_timeout_s)
        if not self._kept:                          # the first try of this request
            self._kept_bytes = len(self._wire)
            retry, exchange = self.route and self.route.retry, self.exchange
            again = (exchange is not None and exchange.request.method in IDEMPOTENT) or (retry and retry.non_idempotent)
            if not again and self.shadow is None:
                self._forget()                      # it may not be sent twice, once something was
        upstream.deadline = self._limit_at          # the time for the answer begins when the request is complete
        self._producing = True
        self._stalled = False
        upstream.transport.registerProducer(self, True)
        held = self._read_on()
        if held:
            self._body(held)

    def _body(self, data: bytes) -> None:
        """More of the body, on its way to the endpoint."""
        data = self._take(data)
        upstream = self._upstream
        exchange = self.exchange
        if upstream is None or exchange is None:
            return                          # it was refused
        now = self.monotonic()
        if data:
            exchange.bytes_in += len(data)
            if self._replayable:
                self._keep(data)
            exchange.t_upstream_last_tx = now
            upstream.transport.write(data)
            if self.phase == BODY:
                self._set_deadline(now + self.body_timeout_s)
        if self.phase == SENT:
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

    def _stop_producing(self) -> None:
        if self._producing:
            self._producing = False
            upstream = self._upstream
            if upstream is not None:
                upstream.transport.unregisterProducer()
            self.resumeProducing()

    # -- IPushProducer, for the endpoint's transport: we produce the request body --------------------------------------------

    def pauseProducing(self) -> None:
        """The endpoint does not keep up."""
        self._stalled = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The endpoint keeps up again."""
        self._stalled = False
        if not self._paused:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The endpoint is gone; `upstream_failed` says so in a moment."""

    # -- reading it whole first (buffer_policy) ----------------------------------------------------------------------------

    def _buffer(self, route: Route, head: RequestHead, exchange: Exchange, body: bytes, now: float) -> bool:
        if self._gathered is not None:      # here it is
            self._gathered = None
            return False
        host = self.host
        assert host is not None             # a route belongs to one
        self._gathered = _Gathered(route, head.length == CHUNKED)
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
            if not body and not self._held:
                exchange.bytes_out += len(_CONTINUE)
                self.transport.write(_CONTINUE)
        held = self._read_on()
        self._add(body, exchange)
        if held and self.phase == BUFFERING:
            self._gather(held)
        return True

    def _gather(self, data: bytes) -> None:
        """More of a body that is read whole first."""
        data = self._take(data)
        exchange = self.exchange
        if exchange is None:
            return                          # it was refused
        exchange.bytes_in += len(data)
        self._add(data, exchange)

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

    def _too_large(self, now: float) -> None:
        self._fail(BodyTooLarge("more than the route's buffer policy allows"), now)

    def _record(self, exchange: Exchange, now: float) -> None:
        self._gathered = None
        super()._record(exchange, now)
