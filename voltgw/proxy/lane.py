"""One exchange on an HTTP/2 connection to an endpoint; to the client's side it looks like a connection of its own."""

from __future__ import annotations

from base64 import b64encode
from functools import partial
from hashlib import sha1
from typing import TYPE_CHECKING, Any, ClassVar

from voltgw.cluster.outlier import NO_ANSWERS
from voltgw.errors import BadRequest, BadResponse, ConnectTimeout, StreamRefused, UpstreamClosed, UpstreamReset
from voltgw.proxy.answering import last_chunk
from voltgw.proxy.ask import takes_trailers
from voltgw.proxy.endpoint import EndpointConnection
from voltgw.proxy.phases import CHUNKS, HEAD, OVER, SENT
from voltgw.proxy.pipe import Pipe
from voltgw.proxy.rpc import GRPC_STATUS, retry_status
from voltgw.values.defaults import MAX_INTERIM_RESPONSES
from voltgw.values.head import CHUNKED, ResponseHead
from voltgw.wire.chunks import ChunkScanner, chunk
from voltgw.wire.h2frames import NO_ERROR, REFUSED_STREAM, error_name
from voltgw.wire.h2heads import connect_fields

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.proxy.ask import Ask
    from voltgw.proxy.sending import Sender
    from voltgw.proxy.upstream2 import Trunk
    from voltgw.values.head import Field

#: RFC 6455 1.3.
_WEBSOCKET: bytes = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = b"sec-websocket-key"


class Lane(EndpointConnection):
    """What one exchange has of a `Trunk`. Its `transport` is the stream's `Pipe`, once there is a stream."""

    plain: ClassVar[bool] = False

    __slots__ = ("_ask", "_deferred", "_scanner", "trunk")

    def __init__(self, trunk: Trunk, downstream: Sender) -> None:
        super().__init__(trunk.endpoint, trunk.cluster, downstream, trunk.plane)
        self.trunk = trunk
        self.reusable = False               # for another exchange there is another lane
        self.leads = False
        self._ask: Ask | None = None
        self._deferred = False              # the request waits for the endpoint's settings
        self._scanner: ChunkScanner | None = None   # takes the request's body out of the chunks of HTTP/1.1

    # -- beginning -----------------------------------------------------------------------------------------------------

    def connect(self, timeout_s: float) -> None:
        """Wait for the connection, and have it made if nobody has."""
        self._cluster.pending += 1
        self.dialled = now = self._plane.monotonic()
        if timeout_s < self._cluster.connect_timeout_s:
            self._touch(now, timeout_s)
        self.trunk.join(self)

    def ask(self, sender: Sender, now: float, timeout_s: float, limit: float) -> None:
        """Open a stream with the request; what there is of its body goes with it."""
        self.phase = HEAD
        self._interim = 0
        self.limit = limit
        self._touch(now, timeout_s)
        self._ask, _ = sender.ask_of(self.endpoint)
        if self._ask.upgrade is not None and not self.trunk.settled:
            self._deferred = True           # whether it knows RFC 8441 stands in its settings
            self.trunk.deferred.append(self)
        else:
            self._open(sender)

    def settled(self) -> None:
        """The endpoint's settings are here."""
        if self._deferred and self.downstream is not None:
            self._deferred = False
            self._open(self.downstream)

    def _open(self, sender: Sender) -> None:
        trunk, codec = self.trunk, self.trunk.client
        ask, kept = sender.ask_of(self.endpoint)
        if not codec.can_open:
            self._refuse_soon(StreamRefused("the connection takes no more requests"))
            return
        fields = ask.version_2()
        if ask.upgrade is not None:
            if not codec.peer_extended_connect:
                self._refuse_soon(BadResponse("the endpoint does not speak WebSocket over HTTP/2 (RFC 8441)"))
                return
            fields = [each for each in fields if each[0] != _KEY]
            stream = codec.connect(connect_fields(ask.upgrade, trunk.scheme, ask.authority, ask.target, fields), sender.never)
            self.transport = Pipe(trunk, stream, self)
            trunk.begun()
            return
        whole = sender.phase == SENT
        stream = codec.open(
            ask.method, trunk.scheme, ask.authority, ask.target, fields, whole and not ask.length, sender.never)
        self.transport = pipe = Pipe(trunk, stream, self)
        trunk.begun()
        if not ask.length:
            return
        data = b"".join([ask.body, *kept]) if kept else ask.body
        if ask.framed:
            self._scanner = ChunkScanner(BadRequest, dechunk=True)
            data, _ = self._scanner.feed(data)
        if whole:
            behind = sender.behind if ask.length == CHUNKED else None
            if data or not behind:
                codec.send_data(stream, data, not behind)
            if behind:
                codec.send_trailers(stream, behind)
        elif data:
            pipe.write(data)

    def _refuse_soon(self, error: BadResponse | StreamRefused) -> None:
        """We are in the sender's turn: it hears of it in the next one."""
        self._plane.soon(partial(self._refuse, error))

    def _refuse(self, error: BadResponse | StreamRefused) -> None:
        downstream = self.downstream
        if downstream is not None and self.phase == HEAD:
            self._let_go()
            self.phase = OVER
            self.deadline = 0.0
            try:
                downstream.upstream_failed(self, error, reused=False)
            except BaseException:
                self._plane.loop.failed(downstream)

    # -- for the client's side -------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """More of the request's body."""
        if self._scanner is not None:
            data, _ = self._scanner.feed(data)
        if data:
            self.transport.write(data)

    def request_sent(self, timeout_s: float) -> None:
        """The request is complete: end the stream on our side."""
        downstream = self.downstream
        ask = self._ask
        pipe: Pipe = self.transport         # type: ignore[assignment]
        pipe.end(downstream.behind if downstream is not None and ask is not None and ask.length == CHUNKED else None)
        super().request_sent(timeout_s)

    def rest(self, now: float) -> None:
        """The exchange is over."""
        self.close()

    def close(self) -> None:
        """The exchange is over; an endpoint that has not said all, or not heard all, need not go on."""
        self._end(NO_ERROR)

    def abort(self) -> None:
        """The exchange cannot go on."""
        self._end(None)

    def _end(self, code: int | None) -> None:
        self._let_go()
        self.phase = OVER
        self.deadline = 0.0
        self._plane.deadlines.forget(self)
        trunk = self.trunk
        if trunk.waits(self):
            trunk.leave(self)
            self._cluster.pending -= 1
        elif hasattr(self, "transport"):
            pipe: Pipe = self.transport     # type: ignore[assignment]
            trunk.give_up(pipe.stream, code)
        trunk.lane_over()

    def hand_over(self) -> None:
        """A tunnel has the stream from now on."""
        super().hand_over()
        self._plane.deadlines.forget(self)

    def left(self) -> None:
        """The tunnel has ended."""
        self.trunk.lane_over()

    def expired(self, now: float) -> None:
        """The deadline of the present phase has passed."""
        downstream = self.downstream
        if downstream is None:
            return
        if self.trunk.waits(self):
            self.abort()
            downstream.connect_failed(self, ConnectTimeout("no connection in time"))
            return
        super().expired(now)

    def backed_up(self) -> None:
        """What was written is held; nobody writes more now."""

    def caught_up(self) -> None:
        """It has gone."""

    # -- the answer --------------------------------------------------------------------------------------------------

    def response(self, response: ResponseHead, ended: bool) -> None:
        """The head of the answer, or an interim one."""
        downstream = self.downstream
        if downstream is None or self.phase != HEAD:
            return
        now = self._plane.monotonic()
        exchange = downstream.exchange
        assert exchange is not None         # a downstream in use has one
        exchange.t_upstream_first_rx = exchange.t_upstream_first_rx or now
        status = response.status
        if status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                self._broken(BadResponse("too many interim answers"))
            else:
                downstream.interim(response)
            return
        ask = self._ask
        if ask is not None and ask.upgrade is not None and status < 300 and not ended:
            downstream.switched(self, self._switching(response, ask), b"", now)
            return
        route = downstream.route
        assert route is not None
        endpoint, retry = self.endpoint, route.retry
        if endpoint.heeds < NO_ANSWERS:
            judged = retry_status(response, ended)
            if judged >= endpoint.heeds:
                endpoint.heard(judged, now - exchange.t_upstream_last_tx, now)
        if downstream.tried or retry is not None:
            bad = retry_status(response, ended)
            if ((downstream.tried or (retry is not None and (bad > 399 or bad in retry.statuses or retry.grpc)))
                    and downstream.rejects(self, response, now)):
                downstream = self.downstream
                if downstream is None:
                    return
                exchange, route = downstream.exchange, downstream.route
                assert exchange is not None and route is not None
        exchange.response = response
        exchange.response_code = status
        for response_filter in route.response_filters:
            response_filter(exchange)
        endpoint.status[status // 100 if status < 600 else 0] += 1
        if downstream.phase != SENT:
            downstream.must_close = True    # answered while the request is still coming: the rest has nowhere to go
        length = response.length
        if exchange.transform is not None:
            length = self._transforms(exchange, response)
        exchange.t_downstream_first = now
        self._encode = downstream.answer_head(response, length, b"", ended)
        if ended:
            grpc_status = response.get(GRPC_STATUS)
            if grpc_status is not None:
                self._plane.counters.count_grpc(grpc_status)
                exchange.grpc_status = grpc_status
            self._encode = False
            self.phase = OVER
            downstream.answered(self, now)
            return
        self.phase = CHUNKS
        self._producing = True
        downstream.answering = self
        if downstream.choked:
            self.pause()
        self._touch(now, downstream.body_timeout_s)

    @staticmethod
    def _switching(response: ResponseHead, ask: Ask) -> ResponseHead:
        """The answer to an extended CONNECT as HTTP/1.1 has it: a 101 that proves that the key was understood."""
        fields: list[Field] = list(response.fields)
        key = next((value for name, value in ask.fields if name == _KEY), None)
        if key is not None:
            fields.append((b"sec-websocket-accept", b64encode(sha1(key + _WEBSOCKET).digest())))
        head = ResponseHead(101, b"Switching Protocols", 2, fields, 0, True)
        head.upgrade = ask.upgrade
        head.server, head.dated = response.server, response.dated
        return head

    def dataReceived(self, data: bytes) -> None:
        """Part of the answer's body."""
        downstream = self.downstream
        if downstream is None or self.phase != CHUNKS:
            return
        self._pass_on(chunk(data) if self._encode and self._transform is None else data)
        self._touch(self._plane.monotonic(), downstream.body_timeout_s)

    def trailersReceived(self, fields: list[Field]) -> None:
        """What stands behind the body; `readConnectionLost` follows."""
        if self.downstream is not None:
            self.downstream.trailers = fields
            for name, value in fields:
                if name == GRPC_STATUS:
                    self._plane.counters.count_grpc(value)
                    if self.downstream.exchange is not None:
                        self.downstream.exchange.grpc_status = value

    def readConnectionLost(self) -> None:
        """The end of the answer."""
        downstream = self.downstream
        if downstream is None or self.phase != CHUNKS:
            return
        last = b""
        if self._encode and self._transform is None:
            self._encode = False
            exchange = downstream.exchange
            wanted = exchange is not None and takes_trailers(exchange.request)
            last = last_chunk(downstream.trailers if wanted else None)
        self._end_of_body(self._plane.monotonic(), last)

    # -- how it may end --------------------------------------------------------------------------------------------------

    def was_reset(self, code: int, ours: bool) -> None:
        """The stream ended before its time."""
        downstream = self.downstream
        if downstream is None or self.phase == OVER:
            return
        error: UpstreamClosed | StreamRefused | BadResponse
        if ours:
            error = BadResponse(self.trunk.why or "not a valid answer of HTTP/2")
        elif code == REFUSED_STREAM and downstream.replayable:
            error = StreamRefused("the endpoint has refused the stream")
            error.again = self.trunk.codec.peer_going_away
        else:
            error = UpstreamReset(f"the endpoint has reset the stream: {error_name(code)}")
        self._fail(error, False)

    def lost(self, reason: str) -> None:
        """The connection has ended."""
        error = UpstreamClosed(reason)
        error.silent = self.phase == HEAD and not self._interim
        self._fail(error, error.silent and self.reused)

    def refused(self, error: Any) -> None:
        """The connection could not be made."""
        downstream = self.downstream
        self.phase = OVER
        self.deadline = 0.0
        self._plane.deadlines.forget(self)
        self._cluster.pending -= 1
        self.downstream = None
        if downstream is not None:
            downstream.connect_failed(self, error)

    def _fail(self, error: UpstreamClosed | StreamRefused | BadResponse, reused: bool) -> None:
        downstream = self.downstream
        if downstream is None or self.phase == OVER:
            return
        self._let_go()
        self.phase = OVER
        self.deadline = 0.0
        self._plane.deadlines.forget(self)
        self.trunk.lane_over()
        downstream.upstream_failed(self, error, reused=reused)

    def _broken(self, error: BadResponse) -> None:
        downstream = self.downstream
        self.abort()
        if downstream is not None:
            downstream.upstream_failed(self, error, reused=False)

    def connectionLost(self, reason: Failure) -> None:
        """`Pipe` says so when it is done with; the lane knows already."""
