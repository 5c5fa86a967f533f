"""Connections that stand ready at endpoints before a client comes (a cluster's ``voltgw: {pre_open: N}``), for relays.

A client then waits for no handshake of TCP. Each endpoint that may be used has up to N; one that is used is replaced, one that
its endpoint closes is seen at once and replaced at the next look, and one that is taken is asked first whether it still
stands. What a server says first (a greeting) is kept for the client that gets the connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import implementer

from voltgw.values.defaults import MAX_PIPELINED_BYTES

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.errors import ConnectFailed
    from voltgw.proxy.plane import Dialling, Plane

#: How often it is looked whether every endpoint has its connections.
LOOK_S: Final = 1.0


@implementer(IHalfCloseableProtocol)
class Standing:
    """One connection that waits for a client, or is still being made."""

    __slots__ = ("_said", "dial", "endpoint", "transport", "waiting")

    def __init__(self, waiting: Waiting, endpoint: Endpoint) -> None:
        self.waiting = waiting
        self.endpoint = endpoint
        self.dial: Dialling | None = None
        self.transport: Any = None
        self._said: list[bytes] = []

    def makeConnection(self, transport: Any) -> None:
        """The endpoint has accepted."""
        self.dial = None
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        """The server speaks first."""
        self._said.append(data)
        if sum(map(len, self._said)) > MAX_PIPELINED_BYTES:
            self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """The endpoint wants it no more."""
        self.waiting.forget(self)
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Never: we close nothing by half."""

    def connectionLost(self, reason: Any) -> None:
        """It has ended while it waited."""
        self.waiting.forget(self)

    def failed(self, error: ConnectFailed) -> None:
        """The endpoint does not accept; that is no client's trouble, and its next client tells membership of it."""
        self.waiting.forget(self)

    def hand_over(self, protocol: Any) -> bytes:
        """Let `protocol` have the connection; what the server has said already is the result."""
        transport = self.transport
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return b"".join(self._said)

    def close(self) -> None:
        """Nobody wants it any more."""
        if self.dial is not None:
            self.dial.cancel()
        else:
            self.transport.loseConnection()


class Waiting:
    """All of them. `used` counts those that a client got."""

    __slots__ = ("_by_endpoint", "_clusters", "_plane", "_timer", "used")

    def __init__(self, plane: Plane) -> None:
        self.used = 0
        self._plane = plane
        self._by_endpoint: dict[Endpoint, list[Standing]] = {}
        self._clusters: tuple[Any, ...] = ()
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        """How many there are, those included that are being made."""
        return sum(map(len, self._by_endpoint.values()))

    def serve(self, clusters: Iterable[Any]) -> None:
        """Have connections ready for these clusters from now on, and for no others."""
        self._clusters = tuple({id(one): one for one in clusters if one.pre_open and one.tls is None}.values())
        if self._timer is None and (self._clusters or self._by_endpoint):
            self._look()

    def take(self, endpoint: Endpoint) -> Standing | None:
        """One that stands, no longer ours; None: there is none."""
        for standing in list(self._by_endpoint.get(endpoint, ())):
            if standing.dial is None:
                self.forget(standing)
                if standing.transport.stands:
                    self.used += 1
                    self._plane.soon(self._fill_all)
                    return standing
                standing.close()
        return None

    def make_room(self, cluster: Any) -> None:
        """A client of `cluster` needs a connection of its own: give one of ours up where they would be too many."""
        own = [standing for endpoint in cluster.endpoints for standing in self._by_endpoint.get(endpoint, ())]
        if own and cluster.connections + cluster.pending + len(own) >= cluster.max_connections:
            self.forget(own[0])
            own[0].close()

    def forget(self, standing: Standing) -> None:
        """It is not ours any more."""
        own = self._by_endpoint.get(standing.endpoint)
        if own is not None and standing in own:
            own.remove(standing)
            if not own:
                del self._by_endpoint[standing.endpoint]

    def _look(self) -> None:
        self._timer = None
        self._fill_all()
        if self._clusters or self._by_endpoint:
            self._timer = self._plane.later(LOOK_S, self, self._look)

    def _fill_all(self) -> None:
        wanted: set[Endpoint] = set()
        for cluster in self._clusters:
            room = cluster.max_connections - cluster.connections - cluster.pending
            room -= sum(len(self._by_endpoint.get(endpoint, ())) for endpoint in cluster.endpoints)
            for endpoint in cluster.endpoints:
                if endpoint.ready:
                    wanted.add(endpoint)
                    missing = min(cluster.pre_open - len(self._by_endpoint.get(endpoint, ())), room)
                    for _ in range(missing):
                        self._open(cluster, endpoint)
                    room -= max(0, missing)
        for endpoint in [endpoint for endpoint in self._by_endpoint if endpoint not in wanted]:
            for standing in self._by_endpoint.pop(endpoint):
                standing.close()

    def _open(self, cluster: Any, endpoint: Endpoint) -> None:
        standing = Standing(self, endpoint)
        self._by_endpoint.setdefault(endpoint, []).append(standing)
        cluster.counters.connects += 1
        standing.dial = self._plane.dial(endpoint, standing, cluster.connect_timeout_s, standing.failed)
