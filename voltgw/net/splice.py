"""Relaying inside the kernel: what one socket has goes through a pipe to another one, and no byte of it is copied to us.

splice(2) needs a pipe between two sockets. Pipes are lent for as long as something lies in them: where the receiver keeps up,
that is within one event, so that a few serve every flow; only a receiver that is slow keeps its pipe. When none is left a
flow is read and written as before, piece by piece, and the same again when its pieces become small.

A relay is carried for as long as it lasts (`Splice`), a message's body up to its last byte (`BodySplice`): what comes behind it
is a head, which somebody has to read.

Nothing can be lost, doubled or overtaken at the change from one way to the other, because a pipe that holds something belongs
to the receiving stream and counts as bytes that it has not sent: `Outgoing._flush` sends what waited in memory first, then the
pipe's; and while the pipe holds something, whatever comes goes into it. Where something is written behind a body, what the pipe
holds of that is taken into memory first.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from select import EPOLLOUT
from typing import TYPE_CHECKING, Final

from voltgw.values.defaults import MAX_PIPES, SPLICE_PIPE_BYTES

if TYPE_CHECKING:
    from voltgw.net.stream import Stream

#: After the host has refused a pipe, this long passes before it is asked again.
RETRY_S: Final = 10.0
#: A flow whose pieces are smaller than this gains nothing: two calls of the kernel and two more of Python for one of each.
SMALL_BYTES: Final = 8 * 1024
#: So much of a message's body moves at once. With what may wait already (`BUFFER_HIGH_WATER_BYTES`) it is all that waits for a
#: slow peer, under 256 KiB as where bytes are copied, so that a peer may read as slowly. A mebibyte would save a tenth.
BODY_PIECE_BYTES: Final = 188 * 1024
#: Pages may move, and no call waits (splice(2)).
_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Pipe:
    """One pipe of the pool; while it is lent it belongs to one receiving stream."""

    __slots__ = ("read_fd", "write_fd")

    def __init__(self, size: int) -> None:
        """Raises OSError when the host has none of `size` bytes for us (descriptors, pipe-user-pages-soft)."""
        self.read_fd, self.write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.fcntl(self.write_fd, fcntl.F_SETPIPE_SZ, size)
        except OSError:
            self.close()
            raise

    def send_to(self, fd: int, size: int) -> int:
        """Move at most `size` bytes of it to `fd`; the result says how many. Raises OSError as send(2)."""
        return os.splice(self.read_fd, fd, size, flags=_FLAGS)

    def close(self) -> None:
        """Give both ends back, with whatever lies between them."""
        os.close(self.read_fd)
        os.close(self.write_fd)


class Pipes:
    """The pipes of one loop: at most `limit` of `size` bytes, made when they are needed.

    `lent` is how many hold something now, `carried_bytes` what went through them, `refused` how often there was none and
    bytes were copied instead.
    """

    __slots__ = ("_again", "_free", "_monotonic", "carried_bytes", "limit", "made", "refused", "size")

    def __init__(self, monotonic: Callable[[], float], limit: int = MAX_PIPES, size: int = SPLICE_PIPE_BYTES) -> None:
        self.limit = limit
        self.size = size
        self.made = 0
        self.carried_bytes = 0
        self.refused = 0
        self._free: list[Pipe] = []
        self._monotonic = monotonic
        self._again = 0.0                   # when the host may be asked again

    @property
    def lent(self) -> int:
        """Pipes that hold something."""
        return self.made - len(self._free)

    def take(self) -> Pipe | None:
        """An empty pipe, or None: there are enough, or the host gives us no more."""
        if self._free:
            return self._free.pop()
        if self.made < self.limit and self._monotonic() >= self._again:
            try:
                pipe = Pipe(self.size)
            except OSError:
                self._again = self._monotonic() + RETRY_S
            else:
                self.made += 1
                return pipe
        self.refused += 1
        return None

    def give(self, pipe: Pipe) -> None:
        """It is empty again."""
        self._free.append(pipe)

    def drop(self, pipe: Pipe) -> None:
        """Something lies in it that nobody will read."""
        self.made -= 1
        pipe.close()

    def close(self) -> None:
        """Close those that nobody holds; streams drop theirs when they end."""
        self.limit = 0
        while self._free:
            self.drop(self._free.pop())


class Splice:
    """One direction of a relay while the kernel carries it: the loop's handler for `source`, a part of it that stands apart.

    Made once per direction, and put in or taken out as pieces grow or shrink. Both streams are plain ones.
    """

    __slots__ = ("_most", "_pipes", "_sink", "_source")

    def __init__(self, source: Stream, sink: Stream, pipes: Pipes) -> None:
        self._source = source
        self._sink = sink
        self._pipes = pipes
        self._most = pipes.size             # so much may move at once

    def __repr__(self) -> str:
        return f"<Splice {self._source!r}>"

    def ready(self, events: int) -> None:
        """What `Stream` does on an event, but for the reading."""
        source, sink = self._source, self._sink
        if not events & ~EPOLLOUT or not source.reads:
            source.handle(events)
            return
        held = sink.pipe
        pipe = None if sink.deaf else held or self._pipes.take()
        if pipe is None:
            self._by_hand(events)
            return
        try:
            count = os.splice(source.fd, pipe.write_fd, self._most, flags=_FLAGS)
        except BlockingIOError:
            if held is None:
                self._pipes.give(pipe)
            else:
                sink.hold_back()            # the pipe is full, which it may be of many small pieces
        except OSError as error:
            if held is None:
                self._pipes.give(pipe)
            source.read_failed(error)
        else:
            if count:
                source.bytes_in += count
                self._pipes.carried_bytes += count
                self._pass_on(pipe, count)
                self._carried(count)
            else:
                if held is None:
                    self._pipes.give(pipe)
                source.read_ended()
        if events & EPOLLOUT:
            source.handle(EPOLLOUT)

    def _pass_on(self, pipe: Pipe, count: int) -> None:
        """Send as much as the receiver takes at once; the rest waits in the pipe, which is the receiver's then."""
        sink = self._sink
        sent = 0
        if not sink.unsent:
            try:
                sent = pipe.send_to(sink.fd, count)
            except BlockingIOError:
                pass
            except OSError as error:
                self._pipes.drop(pipe)
                sink.write_failed(error)
                return
            sink.bytes_out += sent
            if sent == count:
                self._pipes.give(pipe)
                return
        sink.keep_piped(pipe, count - sent)

    def _carried(self, count: int) -> None:
        """So much has moved, and what the receiver did not take lies in its pipe."""
        if count < SMALL_BYTES and self._sink.pipe is None:
            self._source.by_pieces()

    def _by_hand(self, events: int) -> None:
        """There is no pipe, or nobody to send to: read."""
        self._source.handle(events)

    # -- for the loop, which knows handlers by their owners ----------------------------------------------------------------

    def crashed(self) -> None:
        """A bug of ours: the source's."""
        self._source.crashed()

    def shut(self) -> None:
        """The loop stops."""
        self._source.shut()


class BodySplice(Splice):
    """The next `size` bytes of `source`, and none behind them, on their way to `sink`; `told` hears of each piece that moved.

    It ends by itself, with the last byte or before: when pieces are small, when there is no pipe, or when nobody is there to
    send to. What is left then is read, and delivered as before.
    """

    __slots__ = ("_left", "_told")

    def __init__(self, source: Stream, sink: Stream, pipes: Pipes, size: int, told: Callable[[int], None]) -> None:
        super().__init__(source, sink, pipes)
        self._left = size
        self._told = told
        self._most = min(size, BODY_PIECE_BYTES)

    def _carried(self, count: int) -> None:
        self._left = left = self._left - count
        if left < self._most:
            self._most = left
        if not left or (count < SMALL_BYTES and self._sink.pipe is None):
            self._source.carry_no_more()
        self._told(count)

    def _by_hand(self, events: int) -> None:
        self._source.carry_no_more()
        self._source.handle(events)
