"""What a stream sends: at once if the kernel takes it, else it waits here, and whoever produces it is held back."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from select import EPOLLOUT
from typing import TYPE_CHECKING, Any, Final

from voltgw.net.connected import ConnectedSocket
from voltgw.values.defaults import BUFFER_HIGH_WATER_BYTES

if TYPE_CHECKING:
    from voltgw.net.loop import Loop
    from voltgw.net.splice import Pipe

#: A paused producer goes on when no more than this waits to be sent.
LOW_WATER_BYTES: Final = BUFFER_HIGH_WATER_BYTES // 4
#: Small pieces that wait are joined up to this size for one send; a larger piece is sent from where it lies. The joined one
#: exists beside its parts for a moment, so this is also what a stream holds more while it sends.
JOIN_BYTES: Final = 64 * 1024


class Outgoing(ConnectedSocket):
    """The sending half of a `Stream`, which has the rest: when it may begin, what becomes of an error, how it ends.

    `bytes_out` counts what the kernel took.
    """

    __slots__ = (
        "_blocked", "_closing", "_fd", "_gone", "_half_closing", "_loop", "_mask", "_out", "_out_bytes", "_producer",
        "_producer_paused", "_send", "_streaming", "_write_closed", "bytes_out", "pipe",
    )

    def __init__(self, loop: Loop, sock: socket.SocketType, peer: tuple[str, int], local: tuple[str, int] | None) -> None:
        super().__init__(sock, peer, local)
        self.bytes_out = 0
        self._loop = loop
        self._fd = sock.fileno()
        self._send: Callable[[bytes | memoryview], int] = sock.send
        self._mask = 0                      # events the epoll set has (0: not in the set)
        self._blocked = False               # write must queue: kernel full, stream closing or gone, pull producer
        self._out: list[bytes | memoryview] = []
        self._out_bytes = 0
        self._producer: Any = None
        self._streaming = True
        self._producer_paused = False
        self.pipe: Pipe | None = None       # where the last of the unsent bytes lie, if the kernel carries those to us
        self._closing = False
        self._half_closing = False
        self._write_closed = False
        self._gone = False

    # -- what a stream does ------------------------------------------------------------------------------------------------

    def _wants_now(self) -> int:
        """The events that the present state waits for."""
        raise NotImplementedError

    def _want(self, wants: int) -> None:
        """Make the epoll set wait for exactly `wants`."""
        raise NotImplementedError

    def _fail(self, error: OSError) -> None:
        """Writing failed."""
        raise NotImplementedError

    def _finish(self) -> None:
        """Everything is sent, and it closes."""
        raise NotImplementedError

    def _shut_write(self) -> None:
        """Everything is sent, and our half closes."""
        raise NotImplementedError

    # -- ITransport --------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send, or keep what the kernel does not take. Never raises; calls nobody back but a producer to pause it."""
        if self._blocked:
            self._queue(data)
            return
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._fail(error)
            return
        self.bytes_out += sent
        if sent != len(data):
            self._blocked = True
            self._keep(memoryview(data)[sent:] if sent else data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send all pieces in order, as one."""
        self.write(b"".join(iovec))

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._out_bytes

    # -- IConsumer -------------------------------------------------------------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have `producer` paused while more than the high-water mark waits to be sent.

        One that does not stream is asked for more, from the loop, whenever what it gave has gone out.
        """
        if self._producer is not None:
            raise RuntimeError(f"{self!r} already has the producer {self._producer!r}")
        if self._gone:
            producer.stopProducing()
            return
        self._producer = producer
        self._streaming = streaming
        self._producer_paused = False
        if not streaming:
            self._blocked = True            # what it writes takes the way through `_flush`, which asks it for more
            self._loop.soon(self._pull)
        elif self._out_bytes > BUFFER_HIGH_WATER_BYTES:
            self._producer_paused = True
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """The producer has written its last. If it was paused it stays so: whoever unregisters it knows why it is."""
        self._producer = None
        self._producer_paused = False
        if self._out_bytes or self._gone:
            return
        if self._closing:
            self._finish()
        elif not self._half_closing:
            self._blocked = False

    # -- for `Splice` of the stream whose bytes we send ----------------------------------------------------------------------

    def keep_piped(self, pipe: Pipe, size: int) -> None:
        """`size` more bytes wait for us, at the end of `pipe`."""
        self.pipe = pipe
        self._blocked = True
        self._held(size)

    def hold_back(self) -> None:
        """The pipe takes no more: have the producer paused until some of it is sent."""
        if self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _queue(self, data: bytes) -> None:
        """What `write` does when it may not send."""
        if not isinstance(data, bytes):
            raise TypeError(f"a stream is sent bytes, not {type(data).__name__}")
        if self._gone or self._half_closing or (self._closing and self._producer is None) or not data:
            return                          # nobody will read it
        if self.pipe is not None:
            self._empty_pipe(self.pipe)
        self._keep(data)

    def _empty_pipe(self, pipe: Pipe) -> None:
        """Something is written behind what lies in the pipe, which would be sent last: take it into memory."""
        size = self._out_bytes - sum(map(len, self._out))
        while size:
            data = os.read(pipe.read_fd, size)
            self._out.append(data)
            size -= len(data)
        self.pipe = None
        self._loop.pipes.give(pipe)

    def _keep(self, data: bytes | memoryview) -> None:
        self._out.append(data)
        self._held(len(data))

    def _held(self, size: int) -> None:
        """So much more waits to be sent."""
        self._out_bytes += size
        if not self._mask & EPOLLOUT:
            self._want(self._wants_now())
        if (
            self._producer is not None and self._streaming and not self._producer_paused
            and self._out_bytes > BUFFER_HIGH_WATER_BYTES
        ):
            self._producer_paused = True
            self._producer.pauseProducing()

    def _flush(self) -> None:
        """The kernel has room and something waits."""
        pieces = self._out
        data: bytes | memoryview = b""
        if pieces:
            data = pieces[0]
            if len(pieces) > 1 and len(data) < JOIN_BYTES:
                data = self._join()
        try:
            sent = self._send(data) if pieces else self.pipe.send_to(self._fd, self._out_bytes)   # type: ignore[union-attr]
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        self.bytes_out += sent
        self._out_bytes -= sent
        if pieces:
            if sent == len(data):
                del pieces[0]
            else:
                pieces[0] = memoryview(data)[sent:]
        elif not self._out_bytes and self.pipe is not None:
            pipe, self.pipe = self.pipe, None
            self._loop.pipes.give(pipe)
        if self._producer_paused and self._out_bytes <= LOW_WATER_BYTES:
            self._producer_paused = False
            self._producer.resumeProducing()
        if self._gone or self._out_bytes:
            return
        if self._closing:
            if not self._pulling:
                self._finish()
                return
        elif self._half_closing:
            if not self._write_closed:
                self._shut_write()
        elif not self._pulling:
            self._blocked = False
        if not self._gone:
            self._want(self._wants_now())
            self._pull()

    def _join(self) -> bytes | memoryview:
        """Make one piece of the first few, where they are small."""
        pieces = self._out
        size = count = 0
        for piece in pieces:
            size += len(piece)
            if size > JOIN_BYTES and count:
                break
            count += 1
        if count == 1:
            return pieces[0]
        joined = b"".join(pieces[:count])
        pieces[:count] = [joined]
        return joined

    @property
    def _pulling(self) -> bool:
        return self._producer is not None and not self._streaming

    def _pull(self) -> None:
        """Ask a pull producer for its next piece; one piece a turn, so that others have theirs."""
        if self._pulling and not self._out_bytes:
            self._producer.resumeProducing()

    def _drop_unsent(self) -> None:
        """Nobody will take it."""
        self._out.clear()
        self._out_bytes = 0
        if self.pipe is not None:
            pipe, self.pipe = self.pipe, None
            self._loop.pipes.drop(pipe)
