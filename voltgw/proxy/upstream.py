"""One HTTP/1.1 connection to an endpoint: takes the answer's bytes and hands them to the client's side.

`dataReceived` is the second half of the hot path (the first is `voltgw.proxy.http1`): a small answer that comes whole is
parsed, edited, written and accounted for without another call of our own but the codec, the filters and two writes. It is
written flat on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from zope.interface import implementer

from voltgw.errors import BadResponse, ClientTimeout, ProxyError, UpstreamClosed, UpstreamTimeout
from voltgw.net.deadlines import NO_SLOT, TICK_S
from voltgw.proxy.phases import CHUNKS, CLOSING, HEAD, IDLE, LENGTH, OVER, SENT
from voltgw.values.defaults import (
    LINGER_TIMEOUT_S,
    MAX_INTERIM_RESPONSES,
    MAX_RESPONSE_HEAD_BYTES,
)
from voltgw.values.head import CHUNKED, UNTIL_CLOSE
from voltgw.wire.http1 import LAST_CHUNK, ChunkScanner, ResponseParser, bare_line_end, chunk, http_date

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.interfaces import StreamTransport
    from voltgw.proxy.http1 import Downstream
    from voltgw.proxy.plane import Plane
    from voltgw.proxy.pool import Pool
    from voltgw.values.head import ResponseHead

_TICKS: Final = 1 / TICK_S
_field: Final = b": ".join


@implementer(IProtocol)
class Upstream:
    """A connection to `endpoint`, serving one exchange after another, one at a time."""

    __slots__ = (
        "_cluster", "_encode", "_held", "_interim", "_last", "_left", "_parse", "_plane", "_producing", "_scanner", "deadline",
        "deadline_slot", "downstream", "endpoint", "idle_timeout_s", "limit", "phase", "pool", "reusable", "reused",
        "served", "stalled", "transport",
    )

    transport: StreamTransport

    def __init__(self, endpoint: Endpoint, cluster: Cluster, downstream: Downstream, plane: Plane) -> None:
        self.endpoint = endpoint
        self.pool: Pool = endpoint.pool     # type: ignore[assignment]  # the cluster sees a PoolLike; we made it
        self.downstream: Downstream | None = downstream
        self.idle_timeout_s = cluster.idle_timeout_s
        self.served = 0                     # answers that began on this connection
        self.reused = False                 # whether it has already served an exchange
        self.reusable = True                # whether the present answer lets it serve another one
        self.limit = 0.0                    # when the present exchange must be over (monotonic; 0.0: no such limit)
        self.deadline = 0.0
        self.deadline_slot = NO_SLOT
        self.phase = HEAD
        self._plane = plane
        self._cluster = cluster
        self._last = cluster.max_requests_per_connection
        self._parse = ResponseParser().parse
        self._held = b""                    # the beginning of a head that is not complete
        self._interim = 0                   # 1xx answers so far in this exchange
        self._left = 0                      # body bytes still to come (LENGTH)
        self._scanner: ChunkScanner | None = None
        self._encode = False                # we put the body into chunks (the origin ends it by closing)
        self._producing = False             # the client's side knows that an answer's body comes from us
        self.stalled = False                # the client does not take what we produce

    # -- IProtocol -------------------------------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """The endpoint has accepted."""
        self.transport = transport
        self.endpoint.connections += 1
        self._cluster.connections += 1
        downstream = self.downstream
        if downstream is not None:
            downstream.connected(self)
        else:
            self.close()

    def connectionMade(self) -> None:
        """Part of IProtocol; `makeConnection` does it all."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the endpoint."""
        phase = self.phase
        downstream = self.downstream
        if phase != HEAD or downstream is None:
            self._more(data)
            return
        if self._held:
            data = self._held + data
            self._held = b""
        now = self._plane.monotonic()
        exchange = downstream.exchange
        assert exchange is not None         # a downstream in use has one
        if not exchange.t_upstream_first_rx:
            exchange.t_upstream_first_rx = now
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0 or end > MAX_RESPONSE_HEAD_BYTES:
                self._incomplete(data)
                return
            try:
                response = self._parse(data, end, exchange.request.method)
            except BadResponse as error:
                self._broken(error)
                return
            start = end + 4
            status = response.status
            if status >= 200:
                break
            if not self._pass_interim(response):
                self._broken(BadResponse("an interim answer that was not asked for"))
                return
            data = data[start:]
            if not data or downstream.exchange is None:
                return

        if self._interim:
            self._interim = 0
        # The answer's head is complete: edit it, frame it for this client, send it with what came behind it.
        exchange.response = response
        exchange.response_code = status
        request = exchange.request
        route = downstream.route
        assert route is not None            # what was sent was routed
        for response_filter in route.response_filters:
            response_filter(exchange)
        self.endpoint.status[status // 100 if status < 600 else 0] += 1
        if downstream.phase != SENT:
            downstream.must_close = True    # answered while the request is still coming: the rest has nowhere to go
        close = downstream.must_close
        length = response.length
        pieces = [b"HTTP/1.1 %d %b" % (status, response.reason)]
        pieces.extend(map(_field, response.fields))
        host = downstream.host
        assert host is not None
        server = host.server_line
        if server is None or (response.server is not None and host.keep_server):
            server = response.server and b"server: " + response.server
        if server:
            pieces.append(server)
        if not response.dated:
            pieces.append(b"date: " + http_date(downstream.wall()))
        if length >= 0:
            if request.method == b"HEAD" or status == 304:
                if response.declared >= 0:
                    pieces.append(b"content-length: %d" % response.declared)
            elif status != 204:
                pieces.append(b"content-length: %d" % length)
        elif request.minor:
            pieces.append(b"transfer-encoding: chunked")
            self._encode = length == UNTIL_CLOSE
        else:
            close = downstream.must_close = True
        if close:
            pieces.append(b"connection: close")
        elif not request.minor:
            pieces.append(b"connection: keep-alive")
        pieces.append(b"")
        self.served = served = self.served + 1
        self.reusable = response.keep_alive and served != self._last
        exchange.t_downstream_first = now
        come = len(data) - start

        if come == length:                  # the common case: all of it is here
            pieces.append(data[start:])
            wire = b"\r\n".join(pieces)
            exchange.bytes_out += len(wire)
            downstream.transport.write(wire)
            self.phase = OVER
            downstream.answered(self, now)
            return
        if length >= 0:
            self._left = length - come
            if come > length:               # more than it announced: what is over is not an answer to anything
                self.reusable = False
                pieces.append(data[start:start + length])
            else:
                pieces.append(data[start:])
                self.phase = LENGTH
        elif length == CHUNKED:
            self.phase = CHUNKS
            pieces.append(b"")
            self._scanner = ChunkScanner(BadResponse, dechunk=not request.minor)
        else:
            self.phase = CLOSING
            pieces.append(b"")
            self.reusable = False
        wire = b"\r\n".join(pieces)
        exchange.bytes_out += len(wire)
        downstream.transport.write(wire)
        if come > length >= 0:
            self.phase = OVER
            downstream.answered(self, now)
            return
        self._producing = True
        downstream.answering = self
        if downstream.choked:
            self.pause()
        self._touch(now, downstream.body_timeout_s)
        if length < 0 and come:
            self._more(data[start:])

    def connectionLost(self, reason: Failure) -> None:
        """The connection is over, by whoever."""
        self.deadline = 0.0
        self.endpoint.connections -= 1
        self._cluster.connections -= 1
        phase, self.phase = self.phase, OVER
        downstream = self.downstream
        if downstream is None:
            if phase == IDLE:
                self.pool.forget(self)
            return
        if phase == CLOSING and reason.check(ConnectionDone):
            self._end_of_body(self._plane.monotonic(), LAST_CHUNK if self._encode else b"")
            self.deadline = 0.0             # closing has set it, but there is nothing left to wait for
            return
        self._let_go()
        fresh = phase == HEAD and not self._held and not self._interim
        downstream.upstream_failed(UpstreamClosed(reason.getErrorMessage()), reused=self.reused and fresh)

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
        """The exchange cannot go on: close so that the endpoint notices at once."""
        self._let_go()
        self.phase = OVER
        self.deadline = 0.0
        self.transport.abortConnection()

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
        error: ProxyError
        if self.stalled and not (self.limit and now >= self.limit):
            error = ClientTimeout("the client stopped reading the answer")
        else:
            what = "the answer did not begin" if self.phase == HEAD else "the answer's body stopped"
            error = UpstreamTimeout(f"{what} in time")
        self.abort()
        downstream.upstream_failed(error, reused=False)

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

    # -- inside ----------------------------------------------------------------------------------------------------

    def _more(self, data: bytes) -> None:
        """Bytes that are not the beginning of an answer."""
        phase = self.phase
        downstream = self.downstream
        if downstream is None or phase == OVER:
            if phase == IDLE:               # bytes that nobody asked for: the next answer could not be told from them
                self.pool.forget(self)
                self.close()
            return
        now = self._plane.monotonic()
        if phase == LENGTH:
            left = self._left - len(data)
            if left > 0:
                self._left = left
                self._pass_on(data)
                self._touch(now, downstream.body_timeout_s)
                return
            if left < 0:
                self.reusable = False
                data = data[:left]
            self._end_of_body(now, data)
        elif phase == CHUNKS:
            scanner = self._scanner
            assert scanner is not None
            try:
                passed, over = scanner.feed(data)
            except BadResponse as error:
                self._broken(error)
                return
            if scanner.done:
                if over:
                    self.reusable = False
                self._end_of_body(now, passed)
            else:
                self._pass_on(passed)
                self._touch(now, downstream.body_timeout_s)
        elif phase == CLOSING:
            self._pass_on(chunk(data) if self._encode else data)
            self._touch(now, downstream.body_timeout_s)

    def _pass_on(self, data: bytes) -> None:
        downstream = self.downstream
        if data and downstream is not None and downstream.exchange is not None:
            downstream.exchange.bytes_out += len(data)
            downstream.transport.write(data)

    def _end_of_body(self, now: float, last: bytes) -> None:
        self._pass_on(last)
        self.phase = OVER
        downstream = self.downstream
        self._unregister()
        if downstream is not None:
            downstream.answered(self, now)

    def _touch(self, now: float, timeout_s: float) -> None:
        deadline = now + timeout_s
        self.deadline = self.limit if self.limit and self.limit < deadline else deadline
        if self.deadline_slot > self.deadline * _TICKS + 1:
            self._plane.deadlines.schedule(self)

    def _incomplete(self, data: bytes) -> None:
        """The head is not all here yet, or will never be."""
        if len(data) > MAX_RESPONSE_HEAD_BYTES:
            self._broken(BadResponse("the head is larger than allowed"))
        elif not data.startswith(b"HTTP/"[:len(data)]) or bare_line_end(data):
            self._broken(BadResponse("not HTTP, or not with its line ends"))
        else:
            self._held = data

    def _pass_interim(self, response: ResponseHead) -> bool:
        """Hand a 1xx on (RFC 9110 15.2); False when there were too many, or it would switch protocols unasked."""
        self._interim += 1
        downstream = self.downstream
        status = response.status
        if downstream is None or status == 101 or self._interim > MAX_INTERIM_RESPONSES:
            return False
        lines = [b"HTTP/1.1 %d %b" % (status, response.reason), *map(_field, response.fields), b"", b""]
        downstream.interim(status, b"\r\n".join(lines))
        return True

    def _broken(self, error: BadResponse) -> None:
        """The endpoint sent what may not be forwarded."""
        downstream = self.downstream
        self.abort()
        if downstream is not None:
            downstream.upstream_failed(error, reused=False)

    def _unregister(self) -> None:
        if self._producing and self.downstream is not None:
            self._producing = self.stalled = False
            self.downstream.answering = None
            self.transport.resumeProducing()

    def _let_go(self) -> None:
        """Part from the client's side, which goes on alone."""
        self._unregister()
        self.downstream = None

