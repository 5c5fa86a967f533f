"""A client's request bodies: passed on as they come, at the endpoint's pace, or read whole first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IPushProducer
from zope.interface import classImplements

from voltgw.errors import BadRequest
from voltgw.net.stream import READ_BYTES
from voltgw.proxy.client import ClientConnection
from voltgw.proxy.fields import own_left
from voltgw.proxy.phases import BODY, BUFFERING, CLOSED, LINGER, SENT
from voltgw.proxy.reading import LONG_BODY_BYTES, carry, read_in_bulk
from voltgw.values.head import CHUNKED, RequestHead
from voltgw.wire.chunks import ChunkScanner

if TYPE_CHECKING:
    from voltgw.proxy.terms import HttpTerms
    from voltgw.values.exchange import Exchange

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Uploading(ClientConnection):
    """A client's connection; for the endpoint's transport it is the producer of the request's body."""

    __slots__ = ("_bulk",)

    def __init__(self, factory: HttpTerms, peer_address: str, peer_port: int) -> None:
        super().__init__(factory, peer_address, peer_port)
        self._bulk = False                  # the body is read in larger pieces

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
            self.behind = own_left(scanner.trailers, self.route)
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

    def _flow(self) -> None:
        if self._left > LONG_BODY_BYTES:
            self._bulk = True
            read_in_bulk(self.transport, True)
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        held, self._held = self._held, b""
        if held:
            self._more(held)

    def _chunked(self, head: RequestHead) -> bool:
        return head.length == CHUNKED

    def _continue(self, exchange: Exchange) -> None:
        if not self._held:
            exchange.bytes_out += len(_CONTINUE)
            self.transport.write(_CONTINUE)

    def _complete(self) -> None:
        super()._complete()
        if self._bulk:
            self._bulk = False
            read_in_bulk(self.transport, False)

    # -- passing it on -----------------------------------------------------------------------------------------------------

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
            if self.route.max_body_bytes and self._exceeds(len(data), exchange, now):   # type: ignore[union-attr]  # it has one
                return
            if self._replayable:
                self._keep(data)
            exchange.t_upstream_last_tx = now
            upstream.send(data)
            if self.phase == BODY:
                self._set_deadline(now + self.body_timeout_s)
                if self._left > LONG_BODY_BYTES and len(data) >= READ_BYTES and upstream.plain and not self._replayable:
                    carry(self.transport, upstream.transport, self._left, self._carried)
        if self.phase == SENT:
            self._passed_whole(upstream, exchange, now)

    def _carried(self, size: int) -> None:
        """The kernel has taken so much of the body to the endpoint. (A bound for it has admitted all of it, by its length.)"""
        upstream, exchange = self._upstream, self.exchange
        assert upstream is not None and exchange is not None    # whoever parts from it closes its connection
        now = self.monotonic()
        exchange.bytes_in += size
        exchange.t_upstream_last_tx = now
        self._left -= size
        if self._left:
            self._set_deadline(now + self.body_timeout_s)
        else:
            self.phase = SENT
            self._passed_whole(upstream, exchange, now)

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

    def _gather(self, data: bytes) -> None:
        """More of a body that is read whole first."""
        data = self._take(data)
        exchange = self.exchange
        if exchange is None:
            return                          # it was refused
        exchange.bytes_in += len(data)
        self._add(data, exchange)


classImplements(Uploading, IPushProducer)
