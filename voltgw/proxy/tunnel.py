"""A connection that has switched protocols (RFC 9110 7.8): from the endpoint's 101 on it is a relay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltgw.proxy.relay import Relay, Side
from voltgw.values.defaults import TUNNEL_IDLE_TIMEOUT_S

if TYPE_CHECKING:
    from voltgw.proxy.client import ClientConnection
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.stream2_end import EndingStream
    from voltgw.proxy.terms import HttpTerms
    from voltgw.values.exchange import Exchange
    from voltgw.values.tls import Handshake


class Tunnel(Relay):
    """Takes over both transports of an exchange, whose record is written when the tunnel ends."""

    __slots__ = ("_connection", "_exchange", "_factory", "_idle_timeout_s", "_upstream")

    def __init__(
        self, connection: ClientConnection | EndingStream, upstream: EndpointConnection, exchange: Exchange,
        factory: HttpTerms, idle_timeout_s: float,
    ) -> None:
        super().__init__(factory.plane)
        self._connection = connection
        self._upstream = upstream
        self._exchange = exchange
        self._factory = factory
        self._idle_timeout_s = idle_timeout_s or TUNNEL_IDLE_TIMEOUT_S

    @property
    def idle_timeout_s(self) -> float:
        """That of the route, or an hour."""
        return self._idle_timeout_s

    @property
    def handshake(self) -> Handshake | None:
        """That of the client's connection."""
        return self._exchange.client.handshake

    def begin(self, from_client: bytes, from_server: bytes, now: float) -> None:
        """Relay; first what either peer has sent behind its last HTTP message."""
        counters = self._plane.counters
        counters.tunnels += 1
        counters.tunnels_open += 1
        self._factory.connections.add(self)
        server = Side(self)
        self._take(self._client, self._connection.transport)
        self._take(server, self._upstream.transport)
        self._upstream.hand_over()
        self._join(server, now)
        if from_client:
            server.transport.write(from_client)
        if from_server:
            self._client.transport.write(from_server)

    def client_has_finished(self) -> None:
        """The client had sent its FIN before the tunnel began."""
        self._client.readConnectionLost()

    @staticmethod
    def _take(side: Side, transport: Any) -> None:
        side.makeConnection(transport)
        side.before = getattr(transport, "bytes_in", 0)
        transport.unregisterProducer()
        transport.protocol = side           # as Twisted's transports allow

    def _server_lost(self) -> None:
        self._upstream.left()

    def _finish(self, flag: str, detail: str) -> None:
        self._plane.counters.tunnels_open -= 1
        self._factory.connections.discard(self)
        exchange = self._exchange
        server = self._server
        exchange.bytes_in += self._client.moved
        exchange.bytes_out += server.moved if server is not None else 0
        exchange.flag, exchange.detail = flag, detail
        self._connection.tunnelled(exchange, self._plane.monotonic())
