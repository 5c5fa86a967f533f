"""What a capturing listener makes of a new connection: `voltgw.proxy.forward.captured` finds out what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IProtocol, IProtocolFactory
from zope.interface import classImplements, implementer

from voltgw.proxy.forward.captured import Captured
from voltgw.proxy.forward.factory import ForwardFactory

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure


class _Arriving:
    """The protocol of a captured connection for the moment in which it is asked where it wanted to go."""

    def __init__(self, factory: CaptureFactory, peer: tuple[str, int]) -> None:
        self._factory = factory
        self._peer = peer

    def makeConnection(self, transport: Any) -> None:
        """Accepted."""
        Captured(self._factory, transport, self._peer).begin()

    def connectionMade(self) -> None:
        """Part of IProtocol; `makeConnection` does it all."""

    def dataReceived(self, data: bytes) -> None:
        """Another protocol has taken over."""

    def connectionLost(self, reason: Failure) -> None:
        """Likewise."""


classImplements(_Arriving, IProtocol)


@implementer(IProtocolFactory)
class CaptureFactory(ForwardFactory):
    """Takes the connections of one capturing listener."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A protocol for the client at `addr`."""
        return self.serve((getattr(addr, "host", "0.0.0.0"), getattr(addr, "port", 0)))

    def serve(self, peer: tuple[str, int]) -> Any:
        """The same for those that have the plain address."""
        self.outside.counters.captured += 1
        return _Arriving(self, peer)
