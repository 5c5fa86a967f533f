"""A client's connection apart from its requests: how it begins, how far it is read and written, how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import classImplements

from voltgw.errors import BadRequest, ClientGone, ClientTimeout, ProxyError, UpstreamTimeout
from voltgw.proxy.arrival import came_to
from voltgw.proxy.casing import recased
from voltgw.proxy.counters import SHED
from voltgw.proxy.fields import VIA, line
from voltgw.proxy.identity import about_client, introduced
from voltgw.proxy.phases import BODY, CLOSED, LINGER, READY, SENT
from voltgw.proxy.replies import marked, render
from voltgw.proxy.served import Served
from voltgw.proxy.tunnel import Tunnel
from voltgw.values.defaults import LINGER_BYTES, LINGER_TIMEOUT_S, MAX_PIPELINED_BYTES
from voltgw.values.exchange import Exchange
from voltgw.values.head import RequestHead
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.terms import HttpTerms
    from voltgw.values.head import ResponseHead
    from voltgw.values.identity import Identity
    from voltgw.values.proxyheader import ProxyHeader
    from voltgw.values.tls import Handshake
    from voltgw.wire.chunks import ChunkScanner


class ClientConnection(Served):
    """A client's connection. It is its own `ClientSide` for records and its own `Deadline`."""

    __slots__ = (
        "_counters", "_factory", "_held", "_left", "_paused", "_scanner", "certified", "connected_wall", "handshake",
        "listener", "local_address", "local_port", "peer_address", "peer_port", "scheme", "sni",
        "tls_cipher", "tls_version",
    )

    def __init__(self, factory: HttpTerms, peer_address: str, peer_port: int) -> None:
        super().__init__(factory.plane)
        self.peer_address = peer_address
        self.peer_port = peer_port
        self.local_address = factory.local_address
        self.local_port = factory.local_port
        self.listener = factory.name
        self.scheme = b"http"
        self.sni = self.tls_version = self.tls_cipher = ""
        self.handshake: Handshake | None = None
        self.certified = b""
        self.connected_wall = self.wall()
        self._factory = factory
        self._counters = factory.counters
        self._held = b""                    # bytes that cannot be looked at yet
        self._paused = False                # we stopped reading because of `_held`
        self._left = 0                      # request body bytes still to come (`CHUNKED`: ask the scanner)
        self._scanner: ChunkScanner | None = None

    @property
    def announced(self) -> ProxyHeader | None:
        """The PROXY header with which the connection began."""
        return getattr(self.transport, "announced", None)

    @property
    def came_to(self) -> tuple[str, int]:
        """Where the client connected to."""
        return came_to(self, self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the client."""
        raise NotImplementedError

    # -- beginning and end -------------------------------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """The client is connected: it has a head's time to say something."""
        handshake = getattr(transport, "handshake", None)
        if handshake is not None and handshake.alpn == b"h2":
            self.become_version_2(transport)
            return
        if handshake is not None:
            self.handshake = handshake
            self.scheme = b"https"
            self.sni, self.tls_version, self.tls_cipher = handshake.sni, handshake.version, handshake.cipher
            self.certified = self._factory.certified(handshake)
        self._forwarded = introduced(self, not self._factory.skip_xff_append)
        self.transport = transport
        transport.registerProducer(_Backlog(self), True)
        self._factory.connections.add(self)
        self.deadline = self.monotonic() + self._factory.head_timeout_s
        self._plane.deadlines.schedule(self)

    def connectionMade(self) -> None:
        """Part of IProtocol; `makeConnection` does it all."""

    def become_version_2(self, transport: Any) -> None:
        """Give the transport to a connection of HTTP/2."""
        raise NotImplementedError

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone, or we have closed."""
        self.deadline = 0.0
        self._plane.deadlines.forget(self)
        self.phase = CLOSED
        self._held = b""
        self._factory.connections.discard(self)
        exchange = self.exchange
        if exchange is not None:
            self._drop()
            error = ClientGone("the client closed its connection")
            exchange.flag = exchange.flag or error.flag
            exchange.detail = exchange.detail or error.detail
            self._record(exchange, self.monotonic())
        if self._plane.tied:
            self._plane.tied.gone(self)
        self._ask_no_more()

    def leave(self) -> None:
        """The listener is about to drain: the next answer says that it is the last one, by `HttpFactory.closes`."""

    def drain(self) -> None:
        """The listener drains: an idle connection closes now, a busy one after its answer."""
        self.must_close = True
        if self.phase == READY and not self._held:
            self._leave(self.monotonic())

    def close(self) -> None:
        """The drain's time is up."""
        if self.exchange is not None:
            self.exchange.detail = "drained"
        self._cut()

    @property
    def held_bytes(self) -> int:
        """Memory that bytes of this connection take: those not sent yet, either way, and those kept for another try."""
        held = len(self._held) + getattr(self.transport, "unsent", 0) + sum(map(len, self._kept))
        if self._gathered is not None:
            held += self._gathered.size
        return held + getattr(getattr(self._upstream, "transport", None), "unsent", 0)

    def shed(self) -> None:
        """Memory is short, and this connection holds much of it."""
        if self.exchange is not None:
            self.exchange.flag, self.exchange.detail = SHED
        self._cut()

    def crashed(self) -> None:
        """A bug of ours on this connection: the guard has logged it; the client hears of it if it still can."""
        exchange = self.exchange
        if exchange is None or exchange.t_downstream_first or self.phase in (CLOSED, LINGER):
            if exchange is not None:
                exchange.flag, exchange.detail = "IE", "internal_error"
            self._drop()
            self._cut()
            return
        self.must_close = True
        self._drop()
        reply = Reply(500, flag="IE", detail="internal_error", close=True, negotiate=True)
        self._answer(reply, self.monotonic())

    # -- switching protocols -----------------------------------------------------------------------------------------------

    def switched(self, upstream: EndpointConnection, response: ResponseHead, rest: bytes, now: float) -> None:
        """Pass the 101 on, and with it both transports to a tunnel; `tunnelled` is the end of the exchange."""
        exchange, route = self.exchange, self.route
        assert exchange is not None and route is not None and response.upgrade is not None
        exchange.response = response
        for response_filter in route.response_filters:
            response_filter(exchange)
        exchange.transform = None           # there is no body
        self._wins(upstream, exchange)
        self._upstream = None
        lines = [b"HTTP/1.1 101 " + response.reason, *map(line, response.fields)]
        lines += [b"set-cookie: " + cookie for cookie in exchange.cookies_to_set or ()]
        if route.host.via:
            lines.append(VIA[response.minor])
        lines += [b"connection: upgrade", b"upgrade: " + response.upgrade]
        if route.host.header_case is not None:
            lines = recased(lines, route.host.header_case)
        lines += [b"", b""]
        wire = b"\r\n".join(lines)
        exchange.response_code = 101
        exchange.t_downstream_first = now
        exchange.bytes_out += len(wire) + len(rest)
        upstream.endpoint.status[1] += 1
        self._cluster.counters.status[1] += 1
        self.transport.write(wire)
        held, self._held = self._held, b""
        exchange.bytes_in += len(held)
        self.phase = CLOSED                 # as far as requests go
        self.deadline = 0.0
        self._plane.deadlines.forget(self)
        self._factory.connections.discard(self)
        if self._plane.tied:
            self._plane.tied.gone(self)     # there will be no request any more
        Tunnel(self, upstream, exchange, self._factory, route.idle_timeout_s).begin(held, rest, now)
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()

    def tunnelled(self, exchange: Exchange, now: float) -> None:
        """The tunnel has ended."""
        exchange.t_upstream_last_tx = exchange.t_upstream_last_rx = exchange.t_downstream_last = now
        self._finish(exchange, now)

    # -- answers of our own ------------------------------------------------------------------------------------------------

    def _answer(self, reply: Reply, now: float) -> None:
        """Answer ourselves."""
        exchange = self.exchange
        assert exchange is not None
        if reply.flag:
            reply = marked(reply, exchange)
        complete = self.phase == SENT
        close = reply.close or self.must_close or not complete
        wire = render(reply, exchange.request, self.host, exchange.request_id, self.wall(), close)
        exchange.flag, exchange.detail = reply.flag, reply.detail
        exchange.response_code = reply.status
        exchange.bytes_out += len(wire)
        exchange.t_downstream_first = exchange.t_downstream_last = now
        self.transport.write(wire)
        self._finish(exchange, now)
        if close:
            self._close_after_answer(exchange, now)
            return
        self.phase = READY
        self._set_deadline(now + self._factory.keep_alive_timeout_s)
        if self.choked:
            self.transport.pauseProducing()         # `caught_up` goes on
        elif self._held:
            self._plane.soon(self._next)

    def _finish(self, exchange: Exchange, now: float) -> None:
        self._scanner = None
        super()._finish(exchange, now)

    def _broken_off(self, error: ProxyError, now: float) -> None:
        exchange = self.exchange
        assert exchange is not None
        exchange.flag, exchange.detail = error.flag, error.detail
        self._finish(exchange, now)
        self._cut()

    def _about_client(self, exchange: Exchange, identity: Identity | None) -> bytes:
        return about_client(exchange, identity, not self._factory.skip_xff_append)

    def _refuse(self, error: BadRequest, now: float) -> None:
        """The client's bytes are not HTTP: say so, and never look at the rest of them."""
        self._counters.bad_requests += 1
        exchange = self.exchange
        self.must_close = True
        self._held = b""
        if exchange is None:
            self._misunderstood(now, 0)
        elif exchange.t_downstream_first:
            self._drop()
            self._broken_off(error, now)
            return
        self.phase = BODY                  # whatever comes is not a request
        self._fail(error, now)

    def _misunderstood(self, now: float, bytes_in: int) -> Exchange:
        """An exchange for what never became a request; whatever comes behind it is none either."""
        head = RequestHead(b"", b"", b"", None, 1, b"", b"", None, [], 0, False)
        self.exchange = exchange = Exchange(self, head, self._plane.request_id(), now, bytes_in)
        self.route = None
        self.host = None
        return exchange

    # -- what waits, either way --------------------------------------------------------------------------------------------

    def _hold(self, data: bytes) -> None:
        """Keep bytes that may not be looked at yet, and stop reading when they are many."""
        self._held += data
        if len(self._held) > MAX_PIPELINED_BYTES and not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def _next(self) -> None:
        """Look at what the client sent ahead, one request a turn, so that it cannot starve the others."""
        if self.phase != READY or not self._held or self.choked:
            return
        data, self._held = self._held, b""
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        self.dataReceived(data)

    def _let_flow(self) -> None:
        if not self._paused:
            self.transport.resumeProducing()

    def caught_up(self) -> None:
        """The client has read most of it."""
        self.choked = False
        if self.answering is not None:
            self.answering.resume()
        elif self.phase == READY:
            if not self._paused:
                self.transport.resumeProducing()
            if self._held:
                self._plane.soon(self._next)

    # -- deadlines ---------------------------------------------------------------------------------------------------------

    def expired(self, now: float) -> None:
        """The deadline of the present phase has passed."""
        phase = self.phase
        if phase == READY and (not self._held or self.choked):
            self._leave(now)                            # an idle connection: closing is answer enough
            return
        if phase == LINGER:
            self._leave(now)                            # what it has not read yet, it may still read
            return
        if phase == CLOSED:
            self._cut()
            return
        exchange = self.exchange
        error: ProxyError
        if phase == BODY and self._stalled:
            self._cluster.counters.timeouts += 1
            error = UpstreamTimeout("the endpoint stopped reading the request")
        else:
            self._counters.timeouts += 1
            error = ClientTimeout("the request did not arrive in time")
        if exchange is None:
            exchange = self._misunderstood(now, len(self._held))
            self._held = b""
            self.phase = BODY
        if exchange.t_downstream_first:
            self._broken_off(error, now)
        else:
            self._fail(error, now)

    # -- closing -----------------------------------------------------------------------------------------------------------

    def _close_after_answer(self, exchange: Exchange, now: float) -> None:
        """Close; but a client that may still send must be able to read the answer first (RFC 9112 9.6)."""
        self._limit = 0.0
        if self.phase == SENT and not exchange.request.keep_alive and not self._held:
            self._leave(now)                # it has said that it will send no more, and has not
            return
        self.phase = LINGER
        self.choked = False
        self.transport.unregisterProducer()
        self._scanner = None
        self._held = b""
        self._left = LINGER_BYTES
        if self._paused:
            self._paused = False
        self.transport.resumeProducing()
        self._set_deadline(now + LINGER_TIMEOUT_S)
        shut = getattr(self.transport, "loseWriteConnection", None)
        if shut is not None:
            shut()
        else:
            self.transport.loseConnection()

    def _leave(self, now: float) -> None:
        """Close when everything written has gone; a client that does not read it is not waited for without end."""
        if self.phase != LINGER:
            self.transport.unregisterProducer()
        self.phase = CLOSED
        self._set_deadline(now + self.body_timeout_s)
        self.transport.loseConnection()

    def _cut(self) -> None:
        self.phase = CLOSED
        self.deadline = 0.0
        self.transport.abortConnection()


class _Backlog:
    """The producer of all that is written to a client, from its first answer to its last.

    An answer that streams is bounded by pausing its endpoint. Whole answers need a bound as well: a client that asks on and on
    without reading would have us keep them all.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def pauseProducing(self) -> None:
        """The client does not keep up."""
        self._connection.backed_up()

    def resumeProducing(self) -> None:
        """The client keeps up again."""
        self._connection.caught_up()

    def stopProducing(self) -> None:
        """The client is gone; `ClientConnection.connectionLost` says so in a moment."""


classImplements(_Backlog, IPushProducer)
