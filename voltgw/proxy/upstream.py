"""One HTTP/1.1 connection to an endpoint: takes the answer's bytes and hands them to the client's side.

`dataReceived` is the second half of the hot path (the first is `voltgw.proxy.http1` with `voltgw.proxy.sending`): a small
answer that comes whole is parsed, edited, written and accounted for without another call of our own but the codec, the
filters and two writes. It is written flat on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from zope.interface import classImplements

from voltgw.errors import BadResponse, UpstreamClosed
from voltgw.net.stream import READ_BYTES
from voltgw.proxy.casing import as_in, names_in, recased
from voltgw.proxy.endpoint import EndpointConnection
from voltgw.proxy.fields import VIA
from voltgw.proxy.phases import CHUNKS, CLOSING, HEAD, IDLE, LENGTH, OVER, SENT
from voltgw.proxy.reading import LONG_BODY_BYTES, carry, read_in_bulk
from voltgw.values.defaults import MAX_INTERIM_RESPONSES, MAX_RESPONSE_HEAD_BYTES
from voltgw.values.head import CHUNKED, UNTIL_CLOSE
from voltgw.values.preserve_case import preserve_case
from voltgw.wire.chunks import LAST_CHUNK, ChunkScanner, chunk
from voltgw.wire.http1 import ResponseParser, bare_line_end, http_date

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.proxy.plane import Plane
    from voltgw.proxy.sending import Sender
    from voltgw.values.head import ResponseHead

#: A body of so much is copied once on its way, behind its head, and not out of what was read before; a small one is, since a
#: view of it costs more.
MUCH_BYTES: Final = 16 * 1024


class Upstream(EndpointConnection):
    """A connection to `endpoint`: the answers to one exchange after another."""

    __slots__ = ("_held", "_last", "_left", "_parser", "_scanner")

    def __init__(self, endpoint: Endpoint, cluster: Any, downstream: Sender, plane: Plane) -> None:
        super().__init__(endpoint, cluster, downstream, plane)
        self._last: int = cluster.max_requests_per_connection
        self._parser = ResponseParser()
        self._held = b""                    # the beginning of a head that is not complete
        self._left = 0                      # body bytes still to come (LENGTH)
        self._scanner: ChunkScanner | None = None

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
            parser = self._parser
            response = parser.repeated(data, exchange.request.method)
            if response is not None:
                end = parser.end
            else:
                end = data.find(b"\r\n\r\n")
                if end < 0 or end > MAX_RESPONSE_HEAD_BYTES:
                    self._incomplete(data)
                    return
                try:
                    response = parser.anew(data, end, exchange.request.method)
                except BadResponse as error:
                    self._broken(error)
                    return
            start = end + 4
            status = response.status
            if status >= 200:
                break
            if status == 101 and response.upgrade is not None and response.upgrade.lower() == downstream.upgrade:
                downstream.switched(self, response, data[start:], now)
                return
            if not self._pass_interim(response):
                self._broken(BadResponse("an interim answer that was not asked for"))
                return
            data = data[start:]
            if not data or downstream.exchange is None:
                return

        if self._interim:
            self._interim = 0
        route = downstream.route
        assert route is not None            # what was sent was routed
        endpoint = self.endpoint
        if status >= endpoint.heeds:
            endpoint.heard(status, now - exchange.t_upstream_last_tx, now)
        retry = route.retry
        if ((downstream.tried or (retry is not None and (status > 399 or status in retry.statuses)))
                and downstream.rejects(self, response, now)):
            downstream = self.downstream    # somebody else, or nobody
            if downstream is None:
                return
            exchange, route = downstream.exchange, downstream.route
            assert exchange is not None and route is not None
        # The answer's head is complete: edit it, frame it for this client, send it with what came behind it.
        exchange.response = response
        exchange.response_code = status
        request = exchange.request
        for response_filter in route.response_filters:
            response_filter(exchange)
        endpoint.status[status // 100 if status < 600 else 0] += 1
        if downstream.phase != SENT:
            downstream.must_close = True    # answered while the request is still coming: the rest has nowhere to go
        close = downstream.must_close
        length = response.length
        transform = exchange.transform
        if transform is not None:
            length = self._transforms(exchange, response)
        if not downstream.plain:
            self._hand_on(downstream, response, length, data[start:], now)
            return
        pieces = [b"HTTP/1.1 %d %b" % (status, response.reason)]
        fields, shared = response.fields, response.shared
        if shared is not None and fields[:shared.count] == shared.fields:   # edits have at most added some behind
            pieces.append(shared.text)
            for index in range(shared.count, len(fields)):
                name, value = fields[index]
                pieces.append(name + b": " + value)
        else:
            for name, value in fields:
                pieces.append(name + b": " + value)
        host = downstream.host
        assert host is not None
        server = host.server_line
        if server is None or (response.server is not None and host.keep_server):
            server = response.server and b"server: " + response.server
        if server:
            pieces.append(server)
        if not response.dated:
            pieces.append(b"date: " + http_date(downstream.wall()))
        if exchange.cookies_to_set is not None:
            for cookie in exchange.cookies_to_set:
                pieces.append(b"set-cookie: " + cookie)
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
        if host.via:
            pieces.append(VIA[response.minor])
        case = host.header_case
        if case is not None:
            pieces = recased(pieces, case if case is not preserve_case else as_in(names_in(data, end)))
        pieces.append(b"")
        self.served = served = self.served + 1
        self.reusable = response.keep_alive and served != self._last
        exchange.t_downstream_first = now
        come = len(data) - start

        if come == length:                  # the common case: all of it is here
            if come < MUCH_BYTES:
                pieces.append(data[start:])
                wire = b"\r\n".join(pieces)
            else:
                wire = b"\r\n".join([*pieces, memoryview(data)[start:]])
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
        elif self._transform is not None:
            pieces.append(b"")
            self._begin_body(response.length, bool(request.minor))
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
        if self._transform is None and (self.phase == CLOSING or (self.phase == LENGTH and self._left > LONG_BODY_BYTES)):
            self._bulk = True
            read_in_bulk(self.transport, True)
            if self.phase == LENGTH:
                carry(self.transport, downstream.transport, self._left, self._carried)
        if downstream.choked:
            self.pause()
        self._touch(now, downstream.body_timeout_s)
        if length < 0 and come:
            self._more(data[start:])

    def grow_old(self) -> None:
        """It is as old as it may become: the present answer is the last, whether it has begun or not."""
        self._last = self.served + 1
        super().grow_old()

    def connectionLost(self, reason: Failure) -> None:
        """The connection is over, by whoever."""
        self.deadline = 0.0
        self._plane.deadlines.forget(self)
        self.left()
        phase, self.phase = self.phase, OVER
        downstream = self.downstream
        if downstream is None:
            if phase == IDLE:
                self.pool.forget(self)
            return
        if phase == CLOSING and reason.check(ConnectionDone):
            last = LAST_CHUNK if self._encode and self._transform is None else b""
            self._end_of_body(self._plane.monotonic(), last)
            self.deadline = 0.0             # closing has set it, but there is nothing left to wait for
            return
        self._let_go()
        fresh = phase == HEAD and not self._held and not self._interim
        error = UpstreamClosed(reason.getErrorMessage())
        error.silent = fresh
        downstream.upstream_failed(self, error, reused=self.reused and fresh)

    def _hand_on(self, downstream: Sender, response: ResponseHead, length: int, body: bytes, now: float) -> None:
        """The rest of an answer's beginning for a client that frames it itself; `body` came behind the head."""
        exchange = downstream.exchange
        assert exchange is not None
        self.served = served = self.served + 1
        self.reusable = response.keep_alive and served != self._last
        exchange.t_downstream_first = now
        come = len(body)
        if come >= length >= 0:
            if come > length:
                self.reusable = False
                body = body[:length]
            exchange.bytes_out += len(body)
            self.phase = OVER
            downstream.answer_head(response, length, body, True)
            downstream.answered(self, now)
            return
        self._begin_body(response.length, False)
        downstream.answer_head(response, length, b"", False)
        self._producing = True
        downstream.answering = self
        if downstream.choked:
            self.pause()
        self._touch(now, downstream.body_timeout_s)
        if come:
            self._more(body)

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
                if left > LONG_BODY_BYTES and self._bulk and len(data) >= READ_BYTES:
                    carry(self.transport, downstream.transport, left, self._carried)
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
                downstream.trailers = scanner.trailers
                self._end_of_body(now, passed)
            else:
                self._pass_on(passed)
                self._touch(now, downstream.body_timeout_s)
        elif phase == CLOSING:
            self._pass_on(chunk(data) if self._encode and self._transform is None else data)
            self._touch(now, downstream.body_timeout_s)

    def _carried(self, size: int) -> None:
        """The kernel has taken so much of the body to the client."""
        downstream = self.downstream
        assert downstream is not None and downstream.exchange is not None       # whoever parts from it closes us
        downstream.exchange.bytes_out += size
        self._left -= size
        now = self._plane.monotonic()
        if self._left:
            self._touch(now, downstream.body_timeout_s)
        else:
            self._end_of_body(now, b"")

    def _begin_body(self, length: int, encode: bool) -> None:
        """What follows is the body in the endpoint's framing, which the client does not get; `encode`: it gets ours."""
        self._encode = encode
        if length >= 0:
            self._left = length
            self.phase = LENGTH
        elif length == CHUNKED:
            self.phase = CHUNKS
            self._scanner = ChunkScanner(BadResponse, dechunk=True)
        else:
            self.phase = CLOSING
            self.reusable = False

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
        downstream.interim(response)
        return True

    def _broken(self, error: BadResponse) -> None:
        """The endpoint sent what may not be forwarded."""
        downstream = self.downstream
        self.abort()
        if downstream is not None:
            downstream.upstream_failed(self, error, reused=False)


classImplements(Upstream, IProtocol)
