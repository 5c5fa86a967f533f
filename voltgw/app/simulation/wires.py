"""The two kinds of connections of a simulated gateway: those of clients, and those to endpoints; bytes need no time.

They behave as `voltgw.net.stream.Stream` does for peers that take at once what is written to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from voltgw.app.simulation.world import World

_DONE: Final = ConnectionDone()
_ABORTED: Final = ConnectionAborted()
_LOST: Final = ConnectionLost("Connection reset by peer")


class Wire:
    """Our end of a connection, `protocol` on it; `taken` gets what the gateway writes, `ended` hears that it closed."""

    __slots__ = ("_come", "_paused", "_producer", "_protocol", "_world", "bytes_in", "bytes_out", "deliver", "ended",
                 "gone", "handshake", "taken")

    def __init__(self, world: World, protocol: Any, taken: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self.taken = taken
        self.ended = ended
        self.gone = False
        self.bytes_in = 0                   # from the peer, as `Stream` counts them
        self.bytes_out = 0
        self.handshake: Any = None
        self.deliver: Callable[[bytes], object] = protocol.dataReceived
        self._protocol = protocol
        self._producer: Any = None
        self._world = world
        self._paused = False
        self._come = b""

    @property
    def protocol(self) -> Any:
        """The protocol; it may put another one in its place."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._protocol = protocol
        self.deliver = protocol.dataReceived

    # -- what protocols call -----------------------------------------------------------------------------------------------

    def write(self, data: bytes, /) -> None:
        """Give it to the peer."""
        if not self.gone:
            self.bytes_out += len(data)
            self.taken(data)

    def loseConnection(self) -> None:
        """Everything was taken: close."""
        self._end(_DONE)

    loseWriteConnection = loseConnection    # no peer of ours sends anything behind a FIN

    def abortConnection(self) -> None:
        """Reset."""
        self._end(_ABORTED)

    def registerProducer(self, producer: Any, streaming: bool, /) -> None:
        """It is never told to stop: the peer takes everything."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """There is none any more."""
        self._producer = None

    def pauseProducing(self) -> None:
        """Deliver nothing."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Deliver again, what has come meanwhile in a turn of its own."""
        self._paused = False
        if self._come:
            self._world.soon(self._rest)

    def deliver_to(self, receiver: Callable[[bytes], object]) -> None:
        """Give what comes to `receiver`."""
        self.deliver = receiver

    def getPeer(self) -> IPv4Address:
        """Somebody."""
        return IPv4Address("TCP", "192.0.2.1", 50_000)

    def getHost(self) -> IPv4Address:
        """Us."""
        return IPv4Address("TCP", "192.0.2.2", 50_000)

    # -- what the peer does ------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """The peer sends."""
        if self.gone:
            return
        if self._paused:
            self._come += data
            return
        self.bytes_in += len(data)
        try:
            self.deliver(data)
        except Exception:
            self._world.failed(self)

    def reset(self) -> None:
        """The peer is gone."""
        self._end(_LOST)

    def close(self) -> None:
        """The peer closes in an orderly way."""
        self._end(_DONE)

    # -- inside ------------------------------------------------------------------------------------------------------------

    def crashed(self) -> None:
        """A guard has caught an exception of the protocol."""
        if self.gone:
            return
        crashed = getattr(self._protocol, "crashed", None)
        if crashed is not None:
            crashed()
        else:
            self.abortConnection()

    def _rest(self) -> None:
        if not self._paused and self._come:
            data, self._come = self._come, b""
            self.send(data)

    def _end(self, reason: Exception) -> None:
        if not self.gone:
            self.gone = True
            self.ended()
            self._world.soon(lambda: self._report(reason))

    def _report(self, reason: Exception) -> None:
        producer, self._producer = self._producer, None
        try:
            if producer is not None:
                producer.stopProducing()
            self._protocol.connectionLost(Failure(reason))
        except Exception:
            self._world.failed(self)
