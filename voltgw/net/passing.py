"""Messages with descriptors between processes of one gateway, over a connected Unix socket (SCM_RIGHTS, unix(7)).

A message is a frame: its length (4 bytes) and how many descriptors belong to it (4 bytes), then its bytes. Descriptors travel
beside the frame's first bytes, at most `FDS_AT_ONCE` with one call; what is more goes with empty frames ahead of it.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.logger import Logger
from zope.interface import implementer

#: Longest message.
MAX_MESSAGE_BYTES: Final = 256 << 20
#: Descriptors with one call of sendmsg; the kernel takes 253 (SCM_MAX_FD).
FDS_AT_ONCE: Final = 200
#: Descriptors of one message: more than any gateway has listeners.
MAX_FDS: Final = 65_536
#: Bytes that may wait to be sent before `full` is True.
FULL_BYTES: Final = 4 << 20

_HEAD: Final = struct.Struct("!II")
_READ_BYTES: Final = 256 * 1024
_CREDENTIALS: Final = struct.Struct("3i")


class NotOurs(Exception):
    """The other end is a process of somebody else."""


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """Process and user at the other end of a Unix socket (SO_PEERCRED: as of when it was connected)."""
    pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid


def check_peer(sock: socket.socket, *users: int) -> int:
    """The process at the other end, if it runs as our user, as root or as one of `users`. Raises `NotOurs`."""
    pid, uid = peer_of(sock)
    if uid not in (os.getuid(), os.geteuid(), 0, *users):
        raise NotOurs(f"process {pid} runs as user {uid}")
    return pid


@implementer(IReadWriteDescriptor)
class Channel:
    """One end; it owns `sock`. `received(message, fds)` is called for each message, `lost(why)` once, when it is over.

    `fds` are close-on-exec; whoever takes one removes it from the list, and those that are left are closed. What is sent must
    not be changed or closed before it has left; descriptors are duplicated, so the caller may close its own at once.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, sock: socket.socket, received: Callable[[bytes, list[int]], None],
        lost: Callable[[str], None],
    ) -> None:
        sock.setblocking(False)
        self.received = received
        self.lost = lost
        self.waiting_bytes = 0
        self.closed = False
        self.closing = False
        self._reactor = reactor
        self._sock = sock
        self._unsent: deque[tuple[memoryview, list[int]]] = deque()
        self._buffer = bytearray()
        self._fds: list[int] = []

    def __repr__(self) -> str:
        return f"<Channel {self.fileno()} {self.waiting_bytes} bytes wait>"

    def start(self) -> None:
        """Read from now on."""
        self._reactor.addReader(self)

    @property
    def full(self) -> bool:
        """Whether so much waits to be sent that what can be left out should be."""
        return self.waiting_bytes >= FULL_BYTES

    def send(self, message: bytes, fds: Sequence[int] = ()) -> None:
        """Send a message; in order, and never later than what is sent after it. On one that is closed nothing happens.

        Raises ValueError for a message that is too long or has too many descriptors, OSError when one cannot be duplicated.
        """
        if len(message) > MAX_MESSAGE_BYTES or len(fds) > MAX_FDS:
            raise ValueError(f"a message of {len(message)} bytes with {len(fds)} descriptors is too large")
        if self.closed:
            return
        own: list[int] = []
        try:
            for fd in fds:
                own.append(os.dup(fd))
        except OSError:
            for fd in own:
                os.close(fd)
            raise
        while len(own) > FDS_AT_ONCE:
            self._queue(_HEAD.pack(0, 0), own[:FDS_AT_ONCE])
            own = own[FDS_AT_ONCE:]
        self._queue(_HEAD.pack(len(message), len(fds)), own)
        if message:
            self._queue(message, [])
        self._reactor.addWriter(self)
        self.doWrite()

    def _queue(self, data: bytes, fds: list[int]) -> None:
        self._unsent.append((memoryview(data), fds))
        self.waiting_bytes += len(data)

    def close(self) -> None:
        """Send what waits, then end; `lost` is not called."""
        self.lost = _nobody
        self.closing = True
        if not self._unsent:
            self._end("")

    def abort(self) -> None:
        """End at once; `lost` is not called."""
        self.lost = _nobody
        self._end("")

    def detach(self) -> socket.socket:
        """Give the socket back, for a process that is to be started with it."""
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self.closed = True
        return self._sock

    # -- IReadWriteDescriptor ------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The socket's; -1 when it is closed."""
        return self._sock.fileno()

    def logPrefix(self) -> str:
        """Its name in logs."""
        return "Channel"

    def doRead(self) -> None:
        """Take in what there is."""
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, _READ_BYTES, FDS_AT_ONCE, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        for fd in fds:
            os.set_inheritable(fd, False)
        self._fds += fds
        if not data:
            self._end("the other end has closed it")
            return
        self._buffer += data
        try:
            self._take()
        except ValueError as error:
            self._end(str(error))

    def _take(self) -> None:
        """Hand over what is complete. Raises ValueError for what is no frame of ours."""
        while len(self._buffer) >= _HEAD.size and not self.closed:
            size, count = _HEAD.unpack_from(self._buffer)
            if size > MAX_MESSAGE_BYTES or count > MAX_FDS or len(self._fds) > MAX_FDS:
                raise ValueError(f"a frame of {size} bytes and {count} descriptors is too large")
            end = _HEAD.size + size
            if len(self._buffer) < end:
                return
            if not size and not count:      # it brought descriptors of the next one
                del self._buffer[:end]
                continue
            if len(self._fds) < count:
                raise ValueError(f"{count} descriptors were announced, {len(self._fds)} have come")
            message = bytes(memoryview(self._buffer)[_HEAD.size:end])
            del self._buffer[:end]
            fds, self._fds = self._fds[:count], self._fds[count:]
            try:
                self.received(message, fds)
            except Exception:               # a bug; the next message is none of its business
                self._log.failure("a message from another process of the gateway could not be handled")
            finally:
                for fd in fds:
                    os.close(fd)

    def doWrite(self) -> None:
        """Send what waits, as far as it goes."""
        while self._unsent and not self.closed:
            data, fds = self._unsent[0]
            try:
                sent = socket.send_fds(self._sock, [data], fds) if fds else self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._end(error.strerror or str(error))
                return
            for fd in fds:
                os.close(fd)
            self.waiting_bytes -= sent
            if sent < len(data):
                self._unsent[0] = (data[sent:], [])
            else:
                self._unsent.popleft()
        if not self.closed:
            self._reactor.removeWriter(self)
            if self.closing:
                self._end("")

    def connectionLost(self, reason: Any) -> None:
        """The reactor says that it is over."""
        self._end(reason.getErrorMessage() if reason is not None else "")

    def _end(self, why: str) -> None:
        if self.closed:
            return
        self.closed = True
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._sock.close()
        for fd in (*self._fds, *(fd for _, fds in self._unsent for fd in fds)):
            os.close(fd)
        self._fds.clear()
        self._unsent.clear()
        self.waiting_bytes = 0
        self.lost(why)


def _nobody(why: str) -> None:
    """Nobody is to be told."""


def send_frame(sock: socket.socket, message: bytes, fds: Sequence[int] = ()) -> None:
    """Send one message on a socket that blocks, with at most `FDS_AT_ONCE` descriptors a call. Raises OSError, ValueError."""
    if len(message) > MAX_MESSAGE_BYTES or len(fds) > MAX_FDS:
        raise ValueError(f"a message of {len(message)} bytes with {len(fds)} descriptors is too large")
    left = list(fds)
    while len(left) > FDS_AT_ONCE:
        socket.send_fds(sock, [_HEAD.pack(0, 0)], left[:FDS_AT_ONCE])
        left = left[FDS_AT_ONCE:]
    head = _HEAD.pack(len(message), len(fds))
    sent = socket.send_fds(sock, [head], left) if left else sock.send(head)
    sock.sendall(head[sent:] + message)


def receive_frame(sock: socket.socket, most_bytes: int = MAX_MESSAGE_BYTES) -> tuple[bytes, list[int]]:
    """One message from a socket that blocks, with its descriptors, which are the caller's. Raises OSError and ValueError."""
    found: list[int] = []
    try:
        while True:
            size, count = _HEAD.unpack(_exactly(sock, _HEAD.size, found))
            if size > most_bytes or count > MAX_FDS:
                raise ValueError(f"a frame of {size} bytes and {count} descriptors is too large")
            message = _exactly(sock, size, found)
            if size or count:
                break
        if len(found) != count:
            raise ValueError(f"{count} descriptors were announced, {len(found)} have come")
    except BaseException:
        for fd in found:
            os.close(fd)
        raise
    return message, found


def _exactly(sock: socket.socket, size: int, found: list[int]) -> bytes:
    data = b""
    while len(data) < size:
        more, fds, _, _ = socket.recv_fds(sock, size - len(data), FDS_AT_ONCE, socket.MSG_CMSG_CLOEXEC)
        found += fds
        if len(found) > MAX_FDS:
            raise ValueError("too many descriptors have come")
        if not more:
            raise ConnectionResetError("the other end has closed it")
        data += more
    return data
