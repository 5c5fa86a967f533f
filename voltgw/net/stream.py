"""One connected socket on the loop: how it begins, is read, and ends. What it sends is `voltgw.net.outgoing`.

A stream provides the parts of Twisted's `ITransport`, `IConsumer` and `IPushProducer` that protocols use, so any
Twisted protocol runs on it and our protocols run on any Twisted transport.

Where it differs from Twisted's TCP transport, on purpose:

- `write` may find the connection dead; it says so later, through `connectionLost`, and never from inside.
- When the peer has reset the connection, what it sent before is still delivered to a protocol that reads: an origin
  that answers early and closes has its answer read although our request could not be sent to the end.
- After `loseConnection` only a registered producer may write; Twisted sends what anybody writes until its buffer is
  empty. As there, a pull producer may finish first, while a push producer does not hold up the end.
- `loseConnection` waits for unsent bytes only as long as the peer takes some of them; and with bytes unread it lingers
  for a moment, lest the kernel's RST destroy what was sent last (`voltgw.net.closing` has both).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from typing import TYPE_CHECKING, Any, Final, Self

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import classImplements

from voltgw.net.closing import LastWait, Linger, unread_bytes
from voltgw.net.outgoing import Outgoing
from voltgw.net.sockets import address_of as address_of
from voltgw.net.sockets import plain_address as plain_address
from voltgw.net.splice import BodySplice, Splice

if TYPE_CHECKING:
    from voltgw.net.loop import Loop
    from voltgw.values.tls import Handshake
    from voltgw.wire.clienthello import ClientHello

#: First read size; it doubles while reads come back full and halves again when they come back nearly empty.
READ_BYTES: Final = 16 * 1024
#: Largest read of a stream whose bytes a codec looks at: 256 KiB of one-byte chunks would be a turn of 35 ms. A body of 64 KiB,
#: which is a usual size of buffers, comes in one read with its head.
MAX_READ_BYTES: Final = 72 * 1024
#: The same of a plain relay (fewer system calls per gigabyte).
RELAY_READ_BYTES: Final = 1024 * 1024
#: A relay that has brought this much is large; from then on the kernel carries its large pieces (`voltgw.net.splice`).
SPLICE_AFTER_BYTES: Final = 1024 * 1024
_DONE: Final = Failure(ConnectionDone())
_ABORTED: Final = Failure(ConnectionAborted())
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)    # struct linger {on, 0 s}: close sends RST
_GONE: Final = EPOLLHUP | EPOLLERR
#: Errors of send(2) and shutdown(2) that mean a reset by the peer; what it sent before that can still be read.
_PEER_RESET: Final = frozenset((errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN))


class Stream(Outgoing):
    """A connected, non-blocking stream socket. Made by a listener or a dial; `open` starts it.

    `bytes_in` and `bytes_out` count what the kernel gave and took. `on_lost` is the bookkeeping of whoever made the
    stream, called once after the protocol's `connectionLost`. The reason of a loss has the errno as `osError`; however
    a reset by the peer was noticed, it is ECONNRESET.
    """

    __slots__ = (
        "_by_kernel", "_deliver", "_protocol", "_read_bytes", "_read_closed", "_reading", "_reason", "_recv", "_sink",
        "_splice", "bytes_in", "hello", "max_read_bytes", "on_lost",
    )
    #: What TLS has agreed on; None on a stream without.
    handshake: Handshake | None = None

    def __init__(
        self, loop: Loop, sock: socket.SocketType, peer: tuple[str, int], local: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(loop, sock, peer, local)
        self.bytes_in = 0
        self.max_read_bytes = MAX_READ_BYTES
        self.on_lost: Callable[[Stream], None] | None = None
        self.hello: ClientHello | None = None           # what a listener's sniffer has seen of a client that speaks TLS
        self._recv: Callable[[int], bytes] = sock.recv
        self._protocol: Any = None
        self._deliver: Callable[[bytes], object] | None = None
        self._read_bytes = READ_BYTES
        self._reading = True
        self._sink: Stream | None = None    # where the kernel may carry what comes in, once it is much, for a relay…
        self._splice: Splice | None = None  # …how it does…
        self._by_kernel = False             # …and whether it does so now
        self._read_closed = False
        self._reason: Failure | None = None # why it ended, or why writing failed while reading goes on

    def __repr__(self) -> str:
        return f"<Stream {self.peer[0]}:{self.peer[1]} {type(self._protocol).__name__}>"

    # -- starting --------------------------------------------------------------------------------------------------

    def open(self, protocol: Any) -> None:
        """Join the loop and tell `protocol` that it is connected.

        Raises OSError, and is closed, if the kernel has no room for it. A protocol that fails in `makeConnection` is a
        bug for the guard: the stream ends, nothing is raised here.
        """
        self._protocol = protocol
        self._deliver = protocol.dataReceived
        if self._mask:                      # it has inherited a descriptor that is in the set
            self._loop.take_over(self._fd, self._ready)
        else:
            try:
                self._loop.watch(self._fd, EPOLLIN, self._ready)
            except OSError:
                self._gone = self._blocked = True
                self._sock.close()
                raise
            self._mask = EPOLLIN
        self._loop.opened()
        try:
            protocol.makeConnection(self)
        except BaseException:
            self._loop.failed(self)

    def inherit(self) -> Self:
        """Its descriptor is in the epoll set already, for EPOLLIN: `open` takes it over from whoever waited before."""
        self._mask = EPOLLIN
        return self

    def release(self) -> socket.SocketType:
        """Give the socket up as it is, for another stream on it; the protocol hears nothing of that. `on_lost` stays here.

        Nothing may wait to be sent, and nothing that was read be needed.
        """
        if self._out_bytes or self._gone:
            raise RuntimeError(f"{self!r} cannot be released: something waits to be sent, or it has ended")
        self._gone = self._blocked = True
        self._reading = False
        if self._mask:
            self._mask = 0
            self._loop.forget(self._fd)
        else:
            self._loop.parked.discard(self)
        self._loop.closed()
        self._protocol = self._deliver = self._sink = self._splice = None
        return self._sock

    def discard(self) -> None:
        """Close a stream that was never opened."""
        self._gone = self._blocked = True
        if self._mask:
            self._mask = 0
            self._loop.leave(self._fd)
        self._loop.bury(self._sock)

    @property
    def protocol(self) -> Any:
        """The protocol; may be set to another one in mid-stream, as Twisted's transports allow."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._protocol = protocol
        if not self._closing:
            self._deliver = protocol.dataReceived

    def deliver_to(self, receiver: Callable[[bytes], object], max_read_bytes: int = RELAY_READ_BYTES) -> None:
        """Give what is read straight to `receiver` (a relay's other side) instead of the protocol's `dataReceived`."""
        if self._by_kernel:
            self.carry_no_more()
        if not self._closing:
            self._deliver = receiver
        self.max_read_bytes = max_read_bytes

    def splice_to(self, sink: Stream) -> None:
        """Have the kernel carry what comes to `sink`, which `deliver_to` serves, while it is much (`voltgw.net.splice`).

        It does where both are plain sockets. Nobody else may write to `sink`.
        """
        if type(self) is type(sink) is Stream and not self._closing:
            self._sink = sink
            self._splice = None

    def carry(self, sink: object, size: int, told: Callable[[int], None]) -> None:
        """Have the kernel carry the next `size` bytes to `sink`, from the next event on, where both are plain sockets.

        `told` hears of each piece that moved. It may end before all have: the rest is delivered as before
        (`voltgw.net.splice.BodySplice`). What is written to `sink` is sent behind what was carried until then.
        """
        if type(self) is type(sink) is Stream and not (self._closing or self._gone):
            self._splice = splice = BodySplice(self, sink, self._loop.pipes, size, told)
            self._by_kernel = True
            if self._mask:
                self._loop.take_over(self._fd, splice.ready)

    def carry_no_more(self) -> None:
        """Deliver whatever comes from now on."""
        if self._by_kernel:
            self._sink = self._splice = None
            self.by_pieces()

    def read_at_most(self, size: int) -> None:
        """Read no more than `size` bytes at once from now on; the next read may be smaller, it grows with what comes."""
        self.max_read_bytes = size
        if self._read_bytes > size:
            self._read_bytes = size

    # -- what it is ------------------------------------------------------------------------------------------------

    def carried(self) -> tuple[int, int]:
        """Bytes (in, out) on the wire, for a listener's counters."""
        return self.bytes_in, self.bytes_out

    @property
    def stands(self) -> bool:
        """Whether the peer has neither closed nor reset it, as far as the kernel knows by now."""
        if self._gone or self._read_closed:
            return False
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    @property
    def connected(self) -> bool:
        """As on Twisted's transports: it has not ended yet."""
        return not self._gone

    @property
    def disconnected(self) -> bool:
        """As on Twisted's transports: it has ended, though `connectionLost` may still be on its way."""
        return self._gone

    @property
    def disconnecting(self) -> bool:
        """As on Twisted's transports: `loseConnection` was called (LineReceiver asks)."""
        return self._closing

    # -- ITransport ------------------------------------------------------------------------------------------------

    def loseConnection(self) -> None:
        """Send what waits, and let a pull producer finish; then close. Reading stops now."""
        if self._gone or self._closing:
            return
        self._closing = True
        self._blocked = True
        self._reading = False
        if self._out_bytes or self._pulling:
            self._want(self._wants_now())
            LastWait(self._loop, self)
        else:
            self._finish()

    def loseWriteConnection(self) -> None:
        """Send what waits, then close our half (FIN); reading goes on."""
        if self._gone or self._closing or self._half_closing:
            return
        self._half_closing = True
        self._blocked = True
        if not self._out_bytes:
            self._shut_write()

    def abortConnection(self) -> None:
        """Close at once with RST; nothing that waits is sent."""
        if self._gone:
            return
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        except OSError:
            pass                            # the peer was faster; closing is all that is left
        self._end(_ABORTED)

    # -- IPushProducer ---------------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Stop reading; the kernel's window then stops the peer."""
        if self._gone or self._closing:
            return
        self._reading = False
        if self._reason is not None:        # it was reset, and only the reading was left
            self._end(self._reason)
            return
        self._want(self._wants_now())

    def resumeProducing(self) -> None:
        """Read again, unless this stream is closing or the peer has sent its FIN."""
        if self._gone or self._closing or self._read_closed:
            return
        self._reading = True
        self._want(self._wants_now())

    def stopProducing(self) -> None:
        """Our reader is gone for good: send what waits, and close without lingering."""
        self._read_closed = True
        self.loseConnection()

    # -- the loop's side -------------------------------------------------------------------------------------------

    def _ready(self, events: int) -> None:
        if events & ~EPOLLOUT:
            if self._reading:
                try:
                    data = self._recv(self._read_bytes)
                except BlockingIOError:
                    pass
                except OSError as error:
                    self._lose(Failure(_lost(error)))
                    return
                else:
                    if not data:
                        self._end_of_stream()
                    else:
                        size = len(data)
                        self.bytes_in += size
                        if size == self._read_bytes:
                            if size < self.max_read_bytes:
                                self._read_bytes = min(size << 1, self.max_read_bytes)
                        elif size << 3 < self._read_bytes > READ_BYTES:
                            self._read_bytes = max(self._read_bytes >> 1, READ_BYTES)
                        if size >= READ_BYTES and self._sink is not None and self.bytes_in >= SPLICE_AFTER_BYTES:
                            self._let_kernel_carry()
                        self._deliver(data)         # type: ignore[misc]  # set by open, before any event
            elif events & _GONE and not events & EPOLLOUT:
                self._hung_up()
        if events & EPOLLOUT and self._out_bytes:
            self._flush()

    def _let_kernel_carry(self) -> None:
        """From the next event on."""
        splice = self._splice
        if splice is None:
            assert self._sink is not None
            self._splice = splice = Splice(self, self._sink, self._loop.pipes)
        self._by_kernel = True
        self._loop.take_over(self._fd, splice.ready)

    # -- for `Splice`, which stands in for `_ready` while the kernel carries what comes in ------------------------------------

    @property
    def fd(self) -> int:
        """The descriptor."""
        return self._fd

    @property
    def reads(self) -> bool:
        """Whether what comes in is read, and for the relay's other side."""
        return self._reading and not self._closing

    @property
    def deaf(self) -> bool:
        """Whether it is certain that nothing more is sent: what is written is thrown away."""
        return self._gone or self._closing or self._half_closing

    def handle(self, events: int) -> None:
        """Handle an event as if no kernel carried anything."""
        self._ready(events)

    def by_pieces(self) -> None:
        """What comes in is read and written again, from the next event on, until it is much."""
        self._by_kernel = False
        if self._mask:
            self._loop.take_over(self._fd, self._ready)

    def read_failed(self, error: OSError) -> None:
        """Reading failed: it has ended."""
        self._lose(Failure(_lost(error)))

    def read_ended(self) -> None:
        """The peer has sent its FIN."""
        self._end_of_stream()

    def write_failed(self, error: OSError) -> None:
        """Writing failed."""
        self._fail(error)

    def crashed(self) -> None:
        """A guard caught an exception of our protocol: let it answer if it can, then close."""
        if self._gone:
            return
        crashed = getattr(self._protocol, "crashed", None)
        if crashed is None:
            self.abortConnection()
            return
        try:
            crashed()
        except BaseException:
            self.abortConnection()          # it cannot even end by itself
            raise

    def shut(self) -> None:
        """The loop stops: close now, and tell the protocol. A peer that waits for more is told by RST."""
        if self._out_bytes:
            self.abortConnection()
        else:
            self._end(_ABORTED)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _wants_now(self) -> int:
        wants = EPOLLIN if self._reading else 0
        if self._out_bytes:
            wants |= EPOLLOUT
        return wants

    def _want(self, wants: int) -> None:
        """Make the epoll set wait for exactly `wants`; nothing wanted means out of the set (a hang-up would spin)."""
        if wants == self._mask:
            return
        if self._mask == 0:
            self._loop.parked.discard(self)
            self._loop.watch(self._fd, wants, self._splice.ready if self._by_kernel and self._splice else self._ready)
        elif wants == 0:
            self._loop.forget(self._fd)
            self._loop.parked.add(self)
        else:
            self._loop.change(self._fd, wants)
        self._mask = wants

    def _finish(self) -> None:
        """Everything is sent: close."""
        if self._read_closed or not unread_bytes(self._fd):
            self._done()
            return
        self._write_closed = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._fail(error)
            return
        self._deliver = Linger(self._loop, self, self._done).received
        self._reading = True
        self._want(EPOLLIN)

    def _done(self) -> None:
        self._end(_DONE)

    def _shut_write(self) -> None:
        self._write_closed = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._fail(error)
            return
        if self._read_closed:
            self._done()
        elif IHalfCloseableProtocol.providedBy(self._protocol):
            self._loop.soon(self._report_write_closed)

    def _report_write_closed(self) -> None:
        if not self._gone:
            self._protocol.writeConnectionLost()

    def _end_of_stream(self) -> None:
        """The peer has sent its FIN."""
        self._read_closed = True
        self._reading = False
        protocol = self._protocol
        if self._write_closed or not IHalfCloseableProtocol.providedBy(protocol):
            self._lose(_DONE)
            return
        self._want(self._wants_now())
        protocol.readConnectionLost()

    def _hung_up(self) -> None:
        """HUP or ERR while we do not read, which is while bytes wait to be sent (else we are not in the set).

        TCP says EPOLLOUT with it, and then sending tells; but an error alone would be told again and again.
        """
        number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
        self._lose(Failure(_lost(OSError(number, os.strerror(number)))))

    def _fail(self, error: OSError) -> None:
        """Writing failed: report it as lost, but not from inside the writer."""
        if error.errno not in _PEER_RESET:
            self._end(Failure(_lost(error)))
            return
        reason = Failure(_lost(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))))
        if not self._reading:
            self._end(reason)
            return
        # What the peer sent before its reset is still there: read on, as if half closed; then `reason` is reported.
        self._blocked = self._half_closing = self._write_closed = True
        self._reason = reason
        self._drop_unsent()
        self._want(EPOLLIN)

    def _lose(self, reason: Failure) -> None:
        """It has ended; the protocol is told at once (nobody of ours stands between the loop and us)."""
        if not self._gone:
            self._leave(reason)
            self._report()

    def _end(self, reason: Failure) -> None:
        """It ends now; the protocol is told later, from the loop."""
        if not self._gone:
            self._leave(reason)
            self._loop.soon(self._report)

    def _leave(self, reason: Failure) -> None:
        self._gone = True
        self._blocked = True
        self._reading = False
        if self._reason is None:
            self._reason = reason
        self._drop_unsent()
        if self._mask:
            self._mask = 0
            self._loop.leave(self._fd)
        else:
            self._loop.parked.discard(self)
        self._loop.bury(self._sock)
        self._loop.closed()

    def _report(self) -> None:
        """Tell everybody, whatever one of them raises: a count that stays up would stop the listener for good."""
        producer, self._producer = self._producer, None
        try:
            if producer is not None:
                producer.stopProducing()
        finally:
            try:
                self._protocol.connectionLost(self._reason)
            finally:
                # No ring of references is left for the garbage collector.
                self._protocol = self._deliver = self._sink = self._splice = None
                on_lost, self.on_lost = self.on_lost, None
                if on_lost is not None:
                    on_lost(self)


classImplements(Stream, ITCPTransport, IConsumer, IPushProducer)


def _lost(error: OSError) -> ConnectionLost:
    lost = ConnectionLost(error.strerror or str(error))
    lost.osError = error.errno              # type: ignore[attr-defined]  # named as ConnectError names it
    return lost
