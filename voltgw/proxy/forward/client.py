"""A client's connection to a forward proxy: requests that say where they go, and CONNECT.

Requests take the way of any other (`voltgw.proxy.sending`): the gate is the first filter of their route and says which
destination they go to. CONNECT ends in a tunnel, which is first listened to (`voltgw.proxy.forward.passage`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from voltgw.errors import BadRequest, NoEndpoint
from voltgw.proxy.forward.gate import Gate, Way
from voltgw.proxy.forward.passage import Passage
from voltgw.proxy.http1 import Downstream
from voltgw.proxy.http2 import Client2
from voltgw.proxy.phases import CLOSED
from voltgw.wire.http1 import RequestParser

if TYPE_CHECKING:
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.forward.factory import ForwardFactory
    from voltgw.routing.table import Route
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead
    from voltgw.values.identity import Identity

_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
EXPLICIT: Final = Way()


class ForwardClient(Downstream):
    """A client that speaks HTTP/1.1."""

    __slots__ = ("_forwarder", "gate")

    def __init__(self, factory: ForwardFactory, peer_address: str, peer_port: int, way: Way = EXPLICIT) -> None:
        super().__init__(factory, peer_address, peer_port)
        self._forwarder = factory
        self.gate = Gate(factory.outside, factory, way)
        self._parser = RequestParser(tunnels=True)

    def makeConnection(self, transport: Any) -> None:
        """The client is connected."""
        super().makeConnection(transport)
        self._forwarded = b"via: " + self._forwarder.outside.via(1)

    def become_version_2(self, transport: Any) -> None:
        """Give the transport to a connection of HTTP/2; nothing was read from it yet."""
        following = ForwardClient2(self._forwarder, self.peer_address, self.peer_port, self.gate.way)
        transport.protocol = following
        following.makeConnection(transport)

    def _about_client(self, exchange: Exchange, identity: Identity | None) -> bytes:
        """What the client says of itself goes on as it is: that is between it and the origin. We add Via (RFC 9110 7.6.3)."""
        return about(exchange, self._forwarder.outside.via(exchange.request.minor))

    # -- CONNECT ---------------------------------------------------------------------------------------------------------------

    def _forward(self, route: Route, head: RequestHead, exchange: Exchange, body: bytes, now: float) -> None:
        if head.method == b"CONNECT":
            self._tunnel(route, head, exchange, now)
        else:
            super()._forward(route, head, exchange, body, now)

    def _tunnel(self, route: Route, head: RequestHead, exchange: Exchange, now: float) -> None:
        """Connect to the first of the addresses that takes us."""
        if head.length:
            self.must_close = True          # what comes is not known to end anywhere
            self._fail(BadRequest("CONNECT has no content (RFC 9110 9.3.6)"), now)
            return
        destination = None if route.split is None else route.split(exchange.hash_key or 0)
        cluster: Any = None if destination is None else destination.cluster
        endpoint = None if cluster is None else cluster.pick(exchange.hash_key)
        if endpoint is None:
            self._fail(NoEndpoint("the destination is not known any more"), now)
            return
        self._cluster = cluster
        cluster.counters.requests += 1
        self._endpoint = exchange.endpoint = endpoint
        exchange.attempts = 1
        endpoint.active += 1
        endpoint.requests += 1
        cluster.active += 1
        self._wire = b""
        self._replayable = True
        self._limit_at = self._try_at = self.deadline = 0.0
        self._connect(cluster, endpoint, now)

    def connected(self, upstream: EndpointConnection) -> None:
        """The destination accepted: send what waits, or begin the tunnel."""
        exchange = self.exchange
        if exchange is None or exchange.request.method != b"CONNECT":
            super().connected(upstream)
            return
        now = self.monotonic()
        upstream.endpoint.accepted(final=True)
        self._wins(upstream, exchange)
        self._upstream = None
        held, self._held = self._held, b""
        exchange.response_code = 200
        exchange.t_upstream_first_tx = exchange.t_upstream_first_rx = exchange.t_downstream_first = now
        exchange.bytes_out += len(_ESTABLISHED)
        self._cluster.counters.status[2] += 1
        self.phase = CLOSED                 # as far as requests go
        self.deadline = 0.0
        factory = self._forwarder
        factory.connections.discard(self)
        self.transport.unregisterProducer()
        self.transport.write(_ESTABLISHED)
        factory.outside.counters.tunnels += 1
        going = self.gate.going
        assert going is not None            # the gate has let it through
        passage = Passage(factory, self, exchange, going, upstream)
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        passage.begin(held)


class ForwardClient2(Client2):
    """A client that speaks HTTP/2, inside TLS that we have opened."""

    __slots__ = ("gate",)

    def __init__(self, factory: ForwardFactory, peer_address: str, peer_port: int, way: Way) -> None:
        super().__init__(factory, peer_address, peer_port)
        self.gate = Gate(factory.outside, factory, way)

    def makeConnection(self, transport: Any) -> None:
        """The client is connected."""
        super().makeConnection(transport)
        factory: Any = self.factory
        self.forwarded = b"via: " + factory.outside.via(2)

    def about(self, exchange: Exchange, identity: Identity | None) -> bytes:
        """As `ForwardClient`."""
        factory: Any = self.factory
        return about(exchange, factory.outside.via(2))


def about(exchange: Exchange, via: bytes) -> bytes:
    """Our Via, and what the client says of itself; our own number of the request takes the place of its own."""
    lines = [b"via: " + via]
    lines += [b"%b: %b" % field for field in exchange.request.forwarding or () if field[0] != b"x-request-id"]
    return b"\r\n".join(lines)
