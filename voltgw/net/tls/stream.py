"""A stream that speaks TLS on its socket: what it writes is encrypted, what it reads was."""

from __future__ import annotations

import errno
import os
import socket
from functools import partial
from select import EPOLLIN, EPOLLOUT
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure

from voltgw.net.closing import LastWait
from voltgw.net.stream import Stream

if TYPE_CHECKING:
    from voltgw.net.loop import Loop
    from voltgw.net.tls.engine import TlsConnection
    from voltgw.values.tls import Handshake


class TlsStream(Stream):
    """A `Stream` whose handshake is over. It owns `connection` and the socket of that.

    `bytes_in` and `bytes_out` count plaintext; `carried` is what went over the wire. The ends of TLS are the ends of the
    stream: close_notify stands where FIN does, in both directions and before it, and a FIN without close_notify is a
    connection *lost*, since anybody on the way could have sent it (RFC 8446 6.1).
    """

    __slots__ = ("_again", "_carried", "_connection", "_noted", "_noting", "handshake",
                 "handshake_s")
    __deletable__ = ("_connection",)

    def __init__(
        self, loop: Loop, connection: TlsConnection, handshake: Handshake, peer: tuple[str, int],
        local: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(loop, connection.sock, peer, local)
        self.handshake: Handshake | None = handshake
        self.handshake_s = 0.0              # how long it took, as far as somebody has measured it
        self._connection: TlsConnection = connection
        self._recv = connection.read
        self._send = connection.write
        self._again = False                 # `_read_again` stands in the loop's list
        self._noting = False                # the kernel has no room for our close_notify
        self._noted = False                 # it was sent
        self._carried = (0, 0)

    def __repr__(self) -> str:
        return f"<TlsStream {self.peer[0]}:{self.peer[1]} {type(self._protocol).__name__}>"

    def open(self, protocol: Any) -> None:
        """Join the loop; see `Stream.open`. What came with the end of the handshake is delivered soon."""
        try:
            super().open(protocol)
        except OSError:
            self.discard()
            raise
        self._look_inside()

    def discard(self) -> None:
        """Close a stream that was never opened."""
        self._carried = self.carried()
        self._connection.free()
        super().discard()

    def carried(self) -> tuple[int, int]:
        """Bytes (in, out) on the wire, the handshake included."""
        if self._gone:
            return self._carried
        raw = self._connection.carried()
        return raw if raw != (0, 0) else (self.bytes_in, self.bytes_out)

    def resumeProducing(self) -> None:
        """Read again."""
        super().resumeProducing()
        self._look_inside()

    # -- the loop's side ---------------------------------------------------------------------------------------------------

    def _ready(self, events: int) -> None:
        if events & EPOLLOUT and self._noting:
            self._noting = False
            if self._closing:
                self._finish()
            else:
                self._shut_write()
            if self._gone:
                return
        super()._ready(events)
        # Bytes that OpenSSL has taken from the kernel are seen by no epoll: the loop's list brings us back, and as one turn
        # reads once, others have their turn in between.
        self._look_inside()

    def _look_inside(self) -> None:
        if not self._gone and self._reading and not self._again and self._connection.pending():
            self._again = True
            self._loop.soon(self._read_again)

    def _read_again(self) -> None:
        self._again = False
        if not self._gone and self._reading:
            self._ready(EPOLLIN)

    def _wants_now(self) -> int:
        wants = super()._wants_now()
        return wants | EPOLLOUT if self._noting else wants

    # -- ends --------------------------------------------------------------------------------------------------------------

    def _note(self) -> bool:
        """Send close_notify, once; False when that has to wait, or the connection broke over it."""
        if self._noted:
            return True
        try:
            sent = self._connection.close_notify()
        except OSError as error:
            self._fail(error)
            return False
        if not sent:
            self._noting = True
            self._want(self._wants_now())
            return False
        self._noted = True
        return True

    def _finish(self) -> None:
        if not self._note():
            if self._noting:
                LastWait(self._loop, self)
            return
        # what it lingers for is thrown away: it need not be deciphered, nor what OpenSSL has taken already be looked at
        self._recv = partial(socket.socket.recv, self._sock)
        self._again = True
        super()._finish()

    def _shut_write(self) -> None:
        if self._note():
            super()._shut_write()

    def _end_of_stream(self) -> None:
        """The peer has sent close_notify."""
        if not self._noted and not IHalfCloseableProtocol.providedBy(self._protocol):
            try:
                self._connection.close_notify()     # it is owed one, and gets it if there is room
            except OSError:
                pass                        # it is gone altogether
        super()._end_of_stream()

    def shut(self) -> None:
        """The loop stops."""
        if not self._gone and not self._noted and not self._out_bytes:
            try:
                self._connection.close_notify()
            except OSError:
                pass                        # it is gone already
        super().shut()

    def _leave(self, reason: Failure) -> None:
        self._carried = self.carried()
        super()._leave(reason)
        self._connection.free()
        del self._connection
        self._recv = self._send = _ended


def _ended(*_: object) -> Any:
    raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
