"""How a stream's exchange ends, and with it the stream: as it should, early, by a reset, by a bug, as a tunnel (RFC 8441)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import TYPE_CHECKING, Any, Final

from voltgw.errors import BadResponse, ClientGone, ClientTimeout, UpstreamTimeout
from voltgw.proxy.fields import VIA
from voltgw.proxy.phases import BODY, CLOSED, LINGER
from voltgw.proxy.pipe import Pipe
from voltgw.proxy.served import Served
from voltgw.proxy.tunnel import Tunnel
from voltgw.values.defaults import LINGER_TIMEOUT_S
from voltgw.values.reply import Reply
from voltgw.wire.h2frames import CANCEL, INTERNAL_ERROR, NO_ERROR, error_name
from voltgw.wire.h2heads import response_fields

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.errors import ProxyError
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.http2 import Client2
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import ResponseHead
    from voltgw.wire.h2streams import Stream

#: RFC 6455 1.3.
_WEBSOCKET: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACCEPT: Final = b"sec-websocket-accept"


class EndingStream(Served):
    """What `voltgw.proxy.stream2.Stream2` is, its request and its answer aside: the exchange on `stream` of `connection`."""

    __slots__ = ("_connection", "_key", "_stream", "pipe")

    def __init__(self, connection: Client2, stream: Stream) -> None:
        super().__init__(connection.plane)
        self.plain = False
        self._connection = connection
        self._stream = stream
        self._key = b""                     # what an endpoint of HTTP/1.1 must prove to have understood (RFC 6455 4.1)
        self._forwarded = connection.forwarded
        self.pipe = Pipe(connection, stream, self)
        self.transport = self.pipe

    def again(self, stream: Stream) -> None:
        """Serve another request, on `stream`, after one without a body that went well."""
        self._stream = stream
        self.must_close = self.choked = self.tried = False
        self.pipe.stream = stream
        self.pipe.left = -1
        stream.owner = self.pipe

    # -- the stream's end ----------------------------------------------------------------------------------------------------

    def _over(self, now: float) -> None:
        """The exchange is over: let the stream end when the last of the answer has gone, but not wait for that for ever.

        If it was answered early, the rest of the request has nowhere to go. RFC 9113 8.1 has us reset the stream, but there are
        clients that then throw the answer away; so they may go on for a moment, as in HTTP/1.1.
        """
        stream = self._stream
        self._plane.deadlines.forget(self)
        if stream.closed:
            self._leave()
            self._connection.stream_over()
            return
        if not stream.remote_ended:
            self._connection.codec.ignore(stream)
        self.phase = LINGER
        self.pipe.linger()
        self.deadline = now + (self.body_timeout_s if stream.held is not None else LINGER_TIMEOUT_S)
        self._plane.deadlines.schedule(self)

    def _leave(self) -> None:
        self.phase = CLOSED
        self.deadline = 0.0
        self._stream.owner = None

    def _cut(self, code: int) -> None:
        self._leave()
        self._plane.deadlines.forget(self)
        self.pipe.reset(code)
        self._connection.stream_over()

    def _broken_off(self, error: ProxyError, now: float) -> None:
        exchange = self.exchange
        assert exchange is not None
        exchange.flag, exchange.detail = error.flag, error.detail
        self._finish(exchange, now)
        self._cut(INTERNAL_ERROR)

    def caught_up(self) -> None:
        """What was held has gone."""
        self.choked = False
        if self.phase == LINGER:
            self._over(self.monotonic())
        elif self.answering is not None:
            self.answering.resume()

    def was_reset(self, code: int, ours: bool) -> None:
        """The stream has ended before its time."""
        why = "what the client sent was not valid" if ours else f"the client has reset the stream: {error_name(code)}"
        self._gone(ClientGone(why), "bad_request" if ours else "downstream_remote_reset")

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""
        error = ClientGone("the client closed its connection")
        self._gone(error, error.detail)

    def _gone(self, error: ClientGone, detail: str) -> None:
        exchange = self.exchange
        self._leave()
        self._plane.deadlines.forget(self)
        if exchange is not None:
            self._drop()
            exchange.flag = exchange.flag or error.flag
            exchange.detail = exchange.detail or detail
            self._finish(exchange, self.monotonic())
        self._ask_no_more()
        self._connection.stream_over()

    @property
    def held_bytes(self) -> int:
        """Memory that bytes of the request take, on their way to its endpoint."""
        held = sum(map(len, self._kept)) + (0 if self._gathered is None else self._gathered.size)
        return held + getattr(getattr(self._upstream, "transport", None), "unsent", 0)

    def crashed(self) -> None:
        """A bug of ours in this exchange: the guard has logged it; the client hears of it if it still can."""
        exchange = self.exchange
        if exchange is None:
            self._drop()
            if self.phase not in (CLOSED, LINGER):
                self._cut(INTERNAL_ERROR)
            return
        self._drop()
        if exchange.t_downstream_first:
            exchange.flag, exchange.detail = "IE", "internal_error"
            self._finish(exchange, self.monotonic())
            self._cut(INTERNAL_ERROR)
        else:
            self._answer(Reply(500, flag="IE", detail="internal_error", negotiate=True), self.monotonic())

    def expired(self, now: float) -> None:
        """The deadline of the present phase has passed."""
        if self.phase == LINGER:            # it does not read what is left of the answer, or still sends
            self._cut(CANCEL if self._stream.held is not None else NO_ERROR)
            return
        exchange = self.exchange
        if exchange is None:
            return
        error: ProxyError
        if self.phase == BODY and self._stalled:
            self._cluster.counters.timeouts += 1
            error = UpstreamTimeout("the endpoint stopped reading the request")
        else:
            self._connection.counters.timeouts += 1
            error = ClientTimeout("the request did not arrive in time")
        if exchange.t_downstream_first:
            self._broken_off(error, now)
        else:
            self._fail(error, now)

    # -- tunnels (RFC 8441) --------------------------------------------------------------------------------------------------

    def switched(self, upstream: EndpointConnection, response: ResponseHead, rest: bytes, now: float) -> None:
        """Tell the client that the tunnel stands (a 200), and join both ends; `tunnelled` is the end of the exchange."""
        exchange, route, connection = self.exchange, self.route, self._connection
        assert exchange is not None and route is not None
        if self._key and response.get(_ACCEPT) != b64encode(sha1(self._key + _WEBSOCKET).digest()):
            self._broken_tunnel(upstream, "the endpoint does not prove that it has understood the handshake (RFC 6455 4.1)")
            return
        exchange.response = response
        for response_filter in route.response_filters:
            response_filter(exchange)
        exchange.transform = None           # there is no body
        self._wins(upstream, exchange)
        self._upstream = None
        fields = [each for each in response.fields if each[0] != _ACCEPT]
        fields += [(b"set-cookie", cookie) for cookie in exchange.cookies_to_set or ()]
        if route.host.via:
            fields.append((b"via", VIA[response.minor].partition(b": ")[2]))
        exchange.response_code = 200
        exchange.t_downstream_first = now
        exchange.bytes_out += len(rest) + connection.codec.send_head(self._stream, response_fields(200, fields), False)
        upstream.endpoint.status[2] += 1
        self._cluster.counters.status[2] += 1
        connection.flush_soon()
        self.phase = CLOSED                 # as far as requests go
        self.deadline = 0.0
        Tunnel(self, upstream, exchange, connection.factory, route.idle_timeout_s).begin(b"", rest, now)
        self.pipe.resumeProducing()

    def _broken_tunnel(self, upstream: EndpointConnection, why: str) -> None:
        upstream.abort()
        self.upstream_failed(upstream, BadResponse(why), reused=False)

    def tunnelled(self, exchange: Exchange, now: float) -> None:
        """The tunnel has ended."""
        exchange.t_upstream_last_tx = exchange.t_upstream_last_rx = exchange.t_downstream_last = now
        self._finish(exchange, now)
        self._connection.stream_over()


def owner_of(stream: Stream) -> Any:
    """The exchange of a stream, or the side of a tunnel that it became; None when it is over."""
    pipe: Any = stream.owner
    return None if pipe is None else pipe.protocol
