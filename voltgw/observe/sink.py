"""Where finished log lines go: a file, a named pipe, or a descriptor that we were started with. Writing never waits.

A regular file is opened with O_APPEND, so that several processes can write whole lines to one file. A pipe or terminal
is written without blocking, but not by setting O_NONBLOCK on the descriptor that we were given: that flag belongs to
the open file, which our parent and our own standard error share. It is opened once more instead (/proc/self/fd,
proc(5)), or asked for room first (poll(2)) where that is refused. A socket, which is what a service manager gives, is
sent to with MSG_DONTWAIT. Only a disk can make us wait, and only when the kernel has no memory left to buffer for it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import stat
from collections.abc import Callable
from typing import Final

#: What may wait while a pipe is full or a disk has no room; lines beyond it are dropped and counted.
TAIL_BYTES: Final = 1024 * 1024
#: How long `close` waits for a reader that does not read.
CLOSE_WAIT_S: Final = 0.5

_FILE_MODE: Final = 0o640                   # client addresses and paths are nobody's business but the operator's
_FILE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_AGAIN_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PIPE_BYTES: Final = 1024 * 1024            # Linux's limit for a user's pipes (fcntl(2), F_SETPIPE_SZ)
_NOBODY_READS: Final = "nobody reads it"
_BLOCKED: Final = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR, errno.ENOBUFS))

WriteTo = Callable[[int, bytes], int]


class Sink:
    """Takes whole lines and writes them, as far as that goes without waiting. No method raises but the constructor.

    `lines` counts the lines taken, `bytes` the bytes written, `failures` the writes that failed. `dropped_blocked`
    counts lines dropped because nobody read them, `dropped_failed` those dropped because writing failed (disk full,
    reader gone). `problem` says what is wrong now, "" = nothing. `write` stands for os.write.
    """

    __slots__ = ("_closed", "_fd", "_path", "_tail", "_write", "bytes", "dropped_blocked", "dropped_failed", "failures",
                 "lines", "problem", "tail_bytes")

    def __init__(self, path: str | int, *, tail_bytes: int = TAIL_BYTES, write: WriteTo | None = None) -> None:
        """Open `path`: a file's name, ``-`` for standard output, or the number of an open descriptor, which we copy.

        Raises OSError when a file cannot be opened. A named pipe that nobody reads yet is tried again at every write.
        """
        self._path: str | int = 1 if path == "-" else path
        self._tail = b""
        self.tail_bytes = tail_bytes
        self.lines = 0
        self.bytes = 0
        self.dropped_blocked = 0
        self.dropped_failed = 0
        self.failures = 0
        self.problem = ""
        self._closed = False
        self._fd = -1
        self._write: WriteTo = os.write
        self._open()
        if write is not None:
            self._write = write

    @property
    def given(self) -> int | None:
        """The descriptor that we were given; None = it is a file that we have opened by its name."""
        return self._path if isinstance(self._path, int) else None

    @property
    def blocked(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._tail)

    def write(self, data: bytes, lines: int) -> None:
        """Write `data`, which is `lines` whole lines, behind what waits already."""
        self.lines += lines
        if self._closed:
            self.dropped_failed += lines
            return
        tail = self._tail
        if tail and len(tail) + len(data) > self.tail_bytes:
            self.flush()                    # perhaps there is room by now
            tail = self._tail
            if tail and len(tail) + len(data) > self.tail_bytes:
                self._drop(lines)
                return
        self._tail = tail + data if tail else data
        self.flush()
        if len(self._tail) > self.tail_bytes:
            self._cut()

    def flush(self) -> None:
        """Write what waits, as far as that goes."""
        if not self._tail or (self._fd < 0 and not self._reopen_pipe()):
            return
        try:
            while self._tail:               # after a short write, the next one says why it was short
                done = self._write(self._fd, self._tail)
                self.bytes += done
                self._tail = self._tail[done:]
        except OSError as error:
            self._failed(error)
        else:
            self.problem = ""

    def reopen(self) -> str:
        """Open the file by its name again, for log rotation; the answer says what went wrong, "" = nothing.

        When it cannot be opened, the old one stays in use. A descriptor that we were given has no name and stays.
        """
        if not isinstance(self._path, str) or self._closed:
            return ""
        self.flush()                        # what waits belongs to the old file if it still takes it
        old = self._fd
        try:
            self._open()
        except OSError as error:
            self._fd = old
            return _words(error)
        if old >= 0 and old != self._fd:
            os.close(old)
        self.problem = ""
        return ""

    def close(self) -> None:
        """Write what waits, for at most `CLOSE_WAIT_S`; what is left then, or comes later, is dropped and counted."""
        if self._fd >= 0:
            waits = 0
            self.flush()
            while self._tail and waits < 10 and self._fd >= 0:
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll(CLOSE_WAIT_S * 100)       # a tenth of it, in milliseconds
                self.flush()
                waits += 1
        self._closed = True
        if self._tail:
            self._drop(self._tail.count(b"\n"))
            self._tail = b""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # -- inside ----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        path = self._path
        if isinstance(path, int):
            self._fd, self._write = _without_waiting(path)
            return
        try:
            fd = os.open(path, _FILE_FLAGS, _FILE_MODE)
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(os.stat(path).st_mode):
                raise
            self._fd = -1                   # a named pipe without a reader (fifo(7))
            self.problem = _NOBODY_READS
            return
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            _widen(fd)
        self._fd = fd

    def _reopen_pipe(self) -> bool:
        if self._closed:
            return False
        try:
            self._open()
        except OSError as error:
            self._failed(error)
        return self._fd >= 0

    def _failed(self, error: OSError) -> None:
        if error.errno in _BLOCKED:
            self.problem = _NOBODY_READS
            return
        self.failures += 1
        self.problem = _words(error)
        if error.errno == errno.EPIPE:      # the reader is gone, and with it the half of a line that it may have got
            self.dropped_failed += self._tail.count(b"\n")
            self._tail = b""
            if isinstance(self._path, str):
                os.close(self._fd)          # a named pipe may find another reader
                self._fd = -1

    def _cut(self) -> None:
        """Keep the oldest whole lines that may wait. The first may be the rest of one that is half written."""
        end = self._tail.rfind(b"\n", 0, self.tail_bytes) + 1
        if not end:                         # one line alone is longer: what is written of it must still find its end
            end = self._tail.find(b"\n") + 1
        self._drop(self._tail.count(b"\n", end))
        self._tail = self._tail[:end]

    def _drop(self, lines: int) -> None:
        if self.problem == _NOBODY_READS:
            self.dropped_blocked += lines
        else:
            self.dropped_failed += lines


def _words(error: OSError) -> str:
    return error.strerror or str(error)


def _widen(fd: int) -> None:
    """Give a pipe as much room as the system allows, so that a reader may fall behind for a moment."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        pass                                # it stays as it is: the system's limit for this user is reached


def _without_waiting(given: int) -> tuple[int, WriteTo]:
    """A descriptor of our own for the open file behind `given`, and a way to write to it that does not wait."""
    mode = os.fstat(given).st_mode
    if stat.S_ISSOCK(mode):
        return os.dup(given), _send
    if not stat.S_ISREG(mode):
        try:
            fd = os.open(f"/proc/self/fd/{given}", _AGAIN_FLAGS)
        except OSError:
            return os.dup(given), _write_if_room    # another user's terminal or pipe, or no /proc
        if stat.S_ISFIFO(mode):
            _widen(fd)
        return fd, os.write
    return os.dup(given), os.write          # a redirect: standard error may share its position, so no second opening


def _send(fd: int, data: bytes) -> int:
    with socket.socket(fileno=os.dup(fd)) as sock:
        return sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _write_if_room(fd: int, data: bytes) -> int:
    """Write at most PIPE_BUF, which a descriptor that polls writable takes without waiting (pipe(7))."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError(errno.EAGAIN, "no room")
    return os.write(fd, data[:select.PIPE_BUF])
