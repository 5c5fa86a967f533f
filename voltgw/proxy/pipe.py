"""A stream of an HTTP/2 connection as a transport, so that whoever writes to a TCP connection can write to it as well.

It carries the bodies of a message: `write` makes DATA frames, an end of the peer's is `readConnectionLost`, a reset is
`connectionLost`. A tunnel (RFC 8441) runs on it as on a socket. What is read while nobody wants it waits here, and the stream's
window bounds it: the peer may send on only when it has gone on.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from voltgw.wire.h2frames import CANCEL, NO_ERROR

if TYPE_CHECKING:
    from voltgw.proxy.link import Link
    from voltgw.values.head import Field
    from voltgw.wire.h2streams import Stream

_DONE: Final = Failure(ConnectionDone())
_LOST: Final = Failure(ConnectionLost())


class Pipe:
    """The transport of `protocol`, which is told of trailers by `trailersReceived` if it has that.

    `left` is how much of a body of known length is still to be written, -1 when it is not known: the last of it ends the
    stream in its own frame.
    """

    __slots__ = ("_ended", "_held", "_link", "_over", "_pause_asked", "_producer", "_reading", "_soon", "_trailers", "_unread",
                 "bytes_in", "left", "protocol", "stream")

    def __init__(self, link: Link, stream: Stream, protocol: Any) -> None:
        self.stream = stream
        self.protocol = protocol
        self.bytes_in = 0
        self.left = -1
        stream.owner = self
        self._link = link
        self._producer: Any = None
        self._pause_asked = False           # what we hold to write is enough for now
        self._reading = True
        self._held: list[bytes] = []
        self._unread = 0                    # given to the protocol since it has paused us, or held
        self._ended = False                 # the peer's END_STREAM is here, and the protocol has yet to hear of it
        self._trailers: list[Field] | None = None
        self._over = False                  # the stream is closed both ways, or cut
        self._soon = False

    # -- writing -----------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send, or hold until the peer's windows let it go."""
        left = self.left
        if left > 0:
            self.left = left = left - len(data)
        if not self._link.codec.send_data(self.stream, data, left == 0):
            self._backed_up()
        self._link.flush_soon()

    def end(self, trailers: list[Field] | None = None) -> None:
        """Send the end of the body; nothing happens when it was sent already."""
        stream = self.stream
        if stream.local_ended or stream.end_held or stream.closed:
            return
        if trailers:
            self._link.codec.send_trailers(stream, trailers)
        else:
            self._link.codec.send_data(stream, b"", True)
        self._link.flush_soon()

    def _backed_up(self) -> None:
        if not self._pause_asked:
            self._pause_asked = True
            producer = self._producer
            if producer is not None:
                producer.pauseProducing()
            else:
                self.protocol.backed_up()

    def linger(self) -> None:
        """Nobody writes more; whoever was told that it backs up hears when the rest has gone."""
        if self.stream.held is not None:
            self._producer = None
            self._pause_asked = True

    def drained(self) -> None:
        """Everything has been framed."""
        if self._pause_asked:
            self._pause_asked = False
            producer = self._producer
            if producer is not None:
                producer.resumeProducing()
            else:
                self.protocol.caught_up()

    def ended(self) -> None:
        """The peer has sent all of a body that is thrown away."""
        if not self._over:
            self.protocol.caught_up()

    @property
    def waits(self) -> bool:
        """Whether something is held that the peer's windows do not let go."""
        return self.stream.held is not None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have `producer` paused while something is held."""
        if self._over:
            producer.stopProducing()
            return
        self._producer = producer
        if self._pause_asked:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """It has written its last."""
        self._producer = None

    # -- reading -----------------------------------------------------------------------------------------------------------

    def received(self, data: bytes, ended: bool) -> None:
        """DATA of the peer."""
        size = len(data)
        self.bytes_in += size
        if ended:
            self._ended = True
        if not self._reading or self._held:
            self._unread += size
            if data:
                self._held.append(data)
            return
        if data:
            self.protocol.dataReceived(data)
            if self._reads:
                self._link.codec.consumed(self.stream, size)
                self._link.flush_soon()
            else:
                self._unread += size
        if self._ended and self._reads:
            self._tell_end()

    @property
    def _reads(self) -> bool:
        """`_reading`, asked behind a call that may have changed it: a compiled module would not look again."""
        return self._reading

    def trailers(self, fields: list[Field]) -> None:
        """The end of the peer's body."""
        self._ended = True
        self._trailers = fields
        if self._reading and not self._held:
            self._tell_end()

    def _tell_end(self) -> None:
        self._ended = False
        protocol = self.protocol
        trailers, self._trailers = self._trailers, None
        if trailers:
            received = getattr(protocol, "trailersReceived", None)
            if received is not None:
                received(trailers)
        protocol.readConnectionLost()
        self._over_yet()

    def pauseProducing(self) -> None:
        """Read no more."""
        self._reading = False

    def resumeProducing(self) -> None:
        """Read again; what was held comes in a moment, not from inside the caller."""
        if self._reading or self._over:
            return
        self._reading = True
        if (self._held or self._ended or self._unread) and not self._soon:
            self._soon = True
            self._link.plane.soon(self._go_on)

    def _go_on(self) -> None:
        self._soon = False
        if not self._reading or self._over:
            return
        try:
            held, self._held = self._held, []
            unread, self._unread = self._unread, 0
            if unread:
                self._link.codec.consumed(self.stream, unread)
                self._link.flush_soon()
            for number, data in enumerate(held):
                if not self._reads:         # it was paused by the one before
                    self._held = held[number:]
                    return
                self.protocol.dataReceived(data)
            if self._ended and self._reads and not self._held:
                self._tell_end()
        except BaseException:               # we are in nobody's turn
            self._link.plane.loop.failed(self.protocol)

    # -- the end -----------------------------------------------------------------------------------------------------------

    def loseWriteConnection(self) -> None:
        """END_STREAM behind what waits."""
        self.end()
        self._over_yet()

    def loseConnection(self) -> None:
        """The same; what the peer still sends is of no interest."""
        self.end()
        if self.stream.held is None:
            self._link.codec.reset(self.stream, NO_ERROR)
        else:
            self._link.codec.ignore(self.stream)
        self._link.flush_soon()
        self._close(_DONE)

    def abortConnection(self) -> None:
        """RST_STREAM."""
        self.reset(CANCEL)
        self._close(_LOST)

    def reset(self, code: int) -> None:
        """RST_STREAM with this code; nobody hears of it."""
        self._link.codec.reset(self.stream, code)
        self._link.flush_soon()

    def cut(self) -> None:
        """The stream ended before its time, by whoever."""
        if not self._over:
            self._over = True
            self._held = []
            producer, self._producer = self._producer, None
            if producer is not None:
                producer.stopProducing()
            self.protocol.connectionLost(_LOST)

    def _over_yet(self) -> None:
        """A tunnel's connection is over when both sides have ended."""
        stream = self.stream
        if stream.remote_ended and (stream.local_ended or stream.end_held) and hasattr(self.protocol, "relay"):
            self._close(_DONE)

    def _close(self, reason: Failure) -> None:
        if not self._over:
            self._over = True
            self._held = []
            self._producer = None
            self._link.plane.soon(partial(self._report, reason))

    def _report(self, reason: Failure) -> None:
        self.protocol.connectionLost(reason)

    def getPeer(self) -> Any:
        """The connection's peer."""
        return self._link.transport.getPeer()

    def getHost(self) -> Any:
        """Our side of the connection."""
        return self._link.transport.getHost()
