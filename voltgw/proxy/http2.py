"""One HTTP/2 client connection of an HTTP listener: many requests at a time, each on its own stream.

How a client comes to it: by ALPN when TLS begins (RFC 7301), or without TLS by prior knowledge (RFC 9113 3.3) where a virtual
host enables HTTP/2. HTTP/1.1 is never switched to it (RFC 9113 3.1).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IProtocol, IPushProducer
from zope.interface import classImplements

from voltgw.proxy.arrival import came_to
from voltgw.proxy.counters import SHED
from voltgw.proxy.identity import about_client, introduced
from voltgw.proxy.link import Link
from voltgw.proxy.stream2 import Stream2
from voltgw.proxy.stream2_end import owner_of
from voltgw.values.exchange import Exchange
from voltgw.values.head import RequestHead
from voltgw.wire.h2limits import Limits
from voltgw.wire.http2 import Server

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.errors import BadRequest, BadResponse
    from voltgw.proxy.terms import HttpTerms
    from voltgw.routing.table import VirtualHost
    from voltgw.values.identity import Identity
    from voltgw.values.proxyheader import ProxyHeader
    from voltgw.values.tls import Handshake
    from voltgw.wire.h2frames import ConnectionFault
    from voltgw.wire.h2streams import Stream

#: Between the two GOAWAY of a drain: requests that were on their way when the client got the first one are still served.
GRACE_S: Final = 1.0
#: Requests of one connection in one turn of the loop: they are a few octets each, and one read may have a thousand.
REQUESTS_A_TURN: Final = 16
_LIMITS: Final = Limits()


class Client2(Link):
    """A client's connection. It is the `ClientSide` of the records of its requests."""

    __slots__ = (
        "_draining", "_open", "_resting", "_taken", "_within", "certified", "connected_wall", "counters", "factory",
        "forwarded", "handshake", "listener", "local_address", "local_port", "peer_address", "peer_port", "scheme", "sni",
        "spare", "tls_cipher", "tls_version",
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
        self.connected_wall = self.plane.wall()
        self.factory = factory
        self.counters = factory.counters
        self.codec = Server(
            self, replace(_LIMITS, max_list_bytes=factory.max_head_bytes, extended_connect=factory.tunnels),
            factory.plane.counters.http2_downstream)
        self.codec.heads_at_once = REQUESTS_A_TURN
        self.forwarded = b""
        self._draining = False
        self._open = False
        self._taken = 0                     # requests so far
        self.spare: list[Stream2] = []      # that have served, and may again
        self._resting = False               # what it has asked for already waits for the next turn
        self._within = False                # a head has begun that is not complete

    @property
    def announced(self) -> ProxyHeader | None:
        """The PROXY header with which the connection began."""
        return getattr(self.transport, "announced", None)

    @property
    def came_to(self) -> tuple[str, int]:
        """Where the client connected to."""
        return came_to(self, self.transport)

    # -- beginning and end -------------------------------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """The client is connected: it has a head's time to say something."""
        self.transport = transport
        handshake = getattr(transport, "handshake", None)
        if handshake is not None:
            self.handshake = handshake
            self.scheme = b"https"
            self.sni, self.tls_version, self.tls_cipher = handshake.sni, handshake.version, handshake.cipher
            self.certified = self.factory.certified(handshake)
        self.forwarded = introduced(self, not self.factory.skip_xff_append)
        transport.registerProducer(self, True)
        self._open = True
        self.factory.connections.add(self)
        self._touch(self.plane.monotonic() + self.factory.head_timeout_s)
        self.flush()

    def connectionMade(self) -> None:
        """Part of IProtocol; `makeConnection` does it all."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the client."""
        now = self.plane.monotonic()
        codec = self.codec
        self._in_turn = True
        codec.receive(data, now)
        self._in_turn = False
        self.flush()
        if codec.more:
            self._rest()
        if codec.within_head is not self._within:
            self._within = codec.within_head
            if self._within:
                self._touch(now + self.factory.head_timeout_s)  # however slowly the rest drips in
            elif codec.streams:
                self.deadline = 0.0

    def _rest(self) -> None:
        """It has asked for much at once: others have their turn first, and it is not read meanwhile."""
        if not self._resting:
            self._resting = True
            self.transport.pauseProducing()
            self.plane.soon(self._go_on)

    def _go_on(self) -> None:
        self._resting = False
        if not self._open or self.choked:
            return                          # it has ended, or `resumeProducing` goes on
        self.dataReceived(b"")
        if not self._resting and not self.choked:
            self.transport.resumeProducing()

    def resumeProducing(self) -> None:
        """The client keeps up again."""
        if not self.codec.more:
            super().resumeProducing()
            return
        self.choked = False
        self.flush_soon()
        if self._open:
            self._rest()

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone, or we have closed."""
        self.deadline = 0.0
        self.plane.deadlines.forget(self)
        self._open = False
        self.spare = []
        self.factory.connections.discard(self)
        for stream in list(self.codec.streams.values()):
            pipe: Any = stream.owner
            if pipe is not None:
                try:
                    pipe.cut()
                except BaseException:
                    self.plane.loop.failed(pipe.protocol)
        if self.plane.tied:
            self.plane.tied.gone(self)

    def drain(self) -> None:
        """The listener drains: no new requests, please; those that are on their way already are still taken."""
        if self._open and not self._draining:
            self._draining = True
            self.codec.announce_end()
            self.flush_soon()
            self._touch(self.plane.monotonic() + GRACE_S)

    def leave(self) -> None:
        """As `drain`: whoever is told GOAWAY loses nothing."""
        self.drain()

    def ease(self) -> bool:
        """There is too much of everything: end, as in a drain, unless the client has just come and has not asked yet.

        Whether it was not to end anyway.
        """
        if not self._taken or self._draining:
            return False
        self.drain()
        return True

    def close(self) -> None:
        """The drain's time is up."""
        for stream in self.codec.streams.values():
            owner = owner_of(stream)
            exchange = getattr(owner, "exchange", None)
            if exchange is not None:
                exchange.detail = "drained"
        self.transport.abortConnection()

    def expired(self, now: float) -> None:
        """A head was not completed, nothing was asked for long enough, or the drain goes on."""
        codec = self.codec
        if self._draining and codec.streams and not codec.within_head:
            codec.go_away()
            self.flush()
            return
        if codec.within_head or (not self._taken and not self._draining):
            self.counters.timeouts += 1
        self._close_soon()

    @property
    def held_bytes(self) -> int:
        """Memory that bytes of all its requests take: those not sent yet, either way, and those kept for another try."""
        held = getattr(self.transport, "unsent", 0)
        for stream in self.codec.streams.values():
            held += stream.held_bytes + getattr(owner_of(stream), "held_bytes", 0)
        return int(held)

    def shed(self) -> None:
        """Memory is short, and this connection holds much of it."""
        for stream in self.codec.streams.values():
            exchange = getattr(owner_of(stream), "exchange", None)
            if exchange is not None:
                exchange.flag, exchange.detail = SHED
        self.transport.abortConnection()

    def crashed(self) -> None:
        """A bug of ours in what concerns the whole connection; the guard has logged it."""
        self.transport.abortConnection()

    def _close_soon(self) -> None:
        if not self._open:
            return
        self._open = False
        self._part()

    # -- for the streams ---------------------------------------------------------------------------------------------------

    def stream_over(self) -> None:
        """One request less."""
        if self._open and not self.codec.streams:
            if self.codec.going_away:
                self._close_soon()
            elif not self._draining:        # else its deadline is that of the second GOAWAY
                self._touch(self.plane.monotonic() + self.factory.keep_alive_timeout_s)

    def count(self, most: int) -> None:
        """A request of a virtual host that takes `most` on one connection."""
        if self._taken >= most and not self.codec.going_away:
            self.codec.go_away()

    def serves(self, host: VirtualHost) -> bool:
        """Whether `host` may be asked here: without TLS only one that enables HTTP/2."""
        return host.version_2 if self.handshake is not None else host.prior_knowledge

    def about(self, exchange: Exchange, identity: Identity | None) -> bytes:
        """What endpoints are told of a client that says something of itself, or by a host that asks for more."""
        return about_client(exchange, identity, not self.factory.skip_xff_append)

    def misunderstood(self, now: float, bytes_in: int) -> Exchange:
        """An exchange for what never became a request."""
        self.counters.bad_requests += 1
        head = RequestHead(b"", b"", b"", None, 2, b"", b"", None, [], 0, False)
        return Exchange(self, head, self.plane.request_id(), now, bytes_in)

    # -- what the codec says -------------------------------------------------------------------------------------------------

    def on_request(self, stream: Stream, head: RequestHead, ended: bool) -> None:
        """A request has begun."""
        self.deadline = 0.0
        self._taken += 1
        spare = self.spare
        if spare:
            one = spare.pop()
            one.again(stream)
        else:
            one = Stream2(self, stream)
        try:
            one.begin(head, ended)
        except BaseException:
            self.plane.loop.failed(one)

    def on_bad_request(self, stream: Stream, error: BadRequest) -> None:
        """A request that is answered with an error."""
        self.deadline = 0.0
        self._taken += 1
        one = Stream2(self, stream)
        try:
            one.refuse(error)
        except BaseException:
            self.plane.loop.failed(one)

    def on_malformed(self, stream_id: int, error: BadRequest | BadResponse) -> None:
        """A request that was none: its stream is reset, and the log says why."""
        if stream_id in self.codec.streams:
            self.counters.bad_requests += 1
            return                          # `on_reset` follows
        now = self.plane.monotonic()
        exchange = self.misunderstood(now, 0)
        exchange.flag, exchange.detail = error.flag, error.detail
        exchange.t_downstream_last = now
        unrouted = self.plane.unrouted
        unrouted.status[0] += 1
        unrouted.local_replies[error.flag] = unrouted.local_replies.get(error.flag, 0) + 1
        self.plane.access.http(exchange)

    def on_reset(self, stream: Stream, code: int, ours: bool) -> None:
        """A stream ended before its time."""
        pipe: Any = stream.owner
        if pipe is None:
            return
        owner = pipe.protocol
        try:
            if isinstance(owner, Stream2):
                owner.was_reset(code, ours)
            else:
                pipe.cut()
        except BaseException:
            self.plane.loop.failed(owner)

    def on_settings(self) -> None:
        """It speaks HTTP/2: the time for a first request is that of any idle connection."""
        if not self._taken and not self.codec.streams and not self._draining:
            self._touch(self.plane.monotonic() + self.factory.keep_alive_timeout_s)

    def on_fault(self, fault: ConnectionFault) -> None:
        """The client broke a rule of the connection: say so, and close."""
        self.counters.bad_requests += 1
        super().on_fault(fault)


classImplements(Client2, IProtocol, IPushProducer)
