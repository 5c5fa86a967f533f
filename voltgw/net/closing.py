"""Bounds for the end of a stream: closing waits for a peer, but not for one that does not play its part."""

from __future__ import annotations

import termios
from array import array
from collections.abc import Callable
from fcntl import ioctl
from typing import TYPE_CHECKING, Final

from voltgw.net.deadlines import NO_SLOT
from voltgw.values.defaults import CLOSE_TIMEOUT_S, LINGER_BYTES, LINGER_TIMEOUT_S

if TYPE_CHECKING:
    from voltgw.net.loop import Loop
    from voltgw.net.stream import Stream


#: Where the kernel puts its answer: one place for all, which it is told of without a new object.
_unread: Final = array("i", (0,))


class LastWait:
    """The deadline of a stream that is closing with bytes unsent; made only for those."""

    __slots__ = ("_at", "_loop", "_sent", "_stream", "deadline_slot")

    def __init__(self, loop: Loop, stream: Stream) -> None:
        self._loop = loop
        self._stream = stream
        self._sent = stream.bytes_out
        self._at = loop.monotonic() + CLOSE_TIMEOUT_S
        self.deadline_slot = NO_SLOT
        loop.deadlines.schedule(self)

    def __repr__(self) -> str:
        return f"<LastWait {self._stream!r}>"

    @property
    def deadline(self) -> float:
        """When the peer must have taken something; 0.0 once the stream has ended, so that the sweep lets go of it."""
        return 0.0 if self._stream.disconnected else self._at

    @deadline.setter
    def deadline(self, at: float) -> None:
        self._at = at

    def expired(self, now: float) -> None:
        """Look whether the peer has taken anything since."""
        stream = self._stream
        if stream.bytes_out == self._sent:
            stream.abortConnection()
            return
        self._sent = stream.bytes_out
        self._at = now + CLOSE_TIMEOUT_S
        self._loop.deadlines.schedule(self)


class Linger:
    """Reads and throws away what the peer still says after our FIN: at most `LINGER_BYTES` in `LINGER_TIMEOUT_S`.

    A socket that is closed with bytes unread answers with RST at once, and with it goes what the kernel has not delivered
    yet, or the peer's program has not read: the end of our last answer (RFC 9112 9.6). `end` closes the stream.
    """

    __slots__ = ("_at", "_end", "_left", "_stream", "deadline_slot")

    def __init__(self, loop: Loop, stream: Stream, end: Callable[[], None]) -> None:
        self._stream = stream
        self._end = end
        self._left = LINGER_BYTES
        self._at = loop.monotonic() + LINGER_TIMEOUT_S
        self.deadline_slot = NO_SLOT
        loop.deadlines.schedule(self)

    def __repr__(self) -> str:
        return f"<Linger {self._stream!r}>"

    @property
    def deadline(self) -> float:
        """When to give up; 0.0 once the stream has ended, so that the sweep lets go of it."""
        return 0.0 if self._stream.disconnected else self._at

    @deadline.setter
    def deadline(self, at: float) -> None:
        self._at = at

    def received(self, data: bytes) -> None:
        """The peer still talks."""
        self._left -= len(data)
        if self._left < 0:
            self._end()

    def expired(self, now: float) -> None:
        """It has had its time."""
        self._end()


def unread_bytes(fd: int) -> int:
    """How much has arrived on a socket that nobody has read (FIONREAD); 0 if it has ended."""
    try:
        ioctl(fd, termios.FIONREAD, _unread)
    except OSError:
        return 0
    return _unread[0]
