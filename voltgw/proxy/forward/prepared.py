"""A connection to an origin that was made to look at its certificate: whoever dials that endpoint next gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IProtocol
from zope.interface import classImplements

from voltgw.net.deadlines import NO_SLOT

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.proxy.plane import Plane

#: How long it waits for somebody: the client's handshake comes in between.
WAITS_S: Final = 15.0


class Prepared:
    """Its protocol while nobody has it. It is its own `Deadline`, and stands for the dial of whoever takes it."""

    __slots__ = ("_endpoint", "_plane", "_protocol", "_transport", "deadline", "deadline_slot")

    def __init__(self, plane: Plane, endpoint: Endpoint) -> None:
        self._plane = plane
        self._endpoint = endpoint
        self._transport: Any = None
        self._protocol: Any = None
        self.deadline = 0.0
        self.deadline_slot = NO_SLOT

    def makeConnection(self, transport: Any) -> None:
        """It stands: wait. What the origin says meanwhile stays in the kernel."""
        self._transport = transport
        plane = self._plane
        before = plane.prepared.get(self._endpoint)
        if before is not None:
            before.cancel()
        plane.prepared[self._endpoint] = self
        transport.pauseProducing()
        self.deadline = plane.monotonic() + WAITS_S
        plane.deadlines.schedule(self)

    def connectionMade(self) -> None:
        """Part of IProtocol; `makeConnection` does it all."""

    def dataReceived(self, data: bytes) -> None:
        """Never: nothing is read here."""

    def connectionLost(self, reason: Failure) -> None:
        """It has ended while it waited, or on its way to somebody: who then finds it closed when they write."""
        self._leave()
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.makeConnection(self._transport)
            protocol.connectionLost(reason)

    def expired(self, now: float) -> None:
        """Nobody came."""
        self.cancel()

    def hand_over(self, protocol: Any) -> Prepared:
        """`protocol` gets it in the next turn, unless it is cancelled."""
        self._leave()
        self._protocol = protocol
        self._plane.soon(self._give)
        return self

    def cancel(self) -> None:
        """Nobody wants it."""
        self._leave()
        self._protocol = None
        if self._transport is not None:
            self._transport.loseConnection()

    def crashed(self) -> None:
        """A bug of ours; the guard has logged it."""
        self.cancel()

    def _give(self) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            transport = self._transport
            transport.protocol = protocol
            transport.resumeProducing()
            protocol.makeConnection(transport)

    def _leave(self) -> None:
        self.deadline = 0.0
        self._plane.deadlines.forget(self)
        if self._plane.prepared.get(self._endpoint) is self:
            del self._plane.prepared[self._endpoint]


classImplements(Prepared, IProtocol)
