"""Many datagrams of a bound socket in one call, read and answered (recvmmsg(2), sendmmsg(2)), called through cffi.

Memory for them is laid out once, in slots: where the kernel writes a datagram, who sent it, and to which address of ours;
an answer goes into the slot of its question, and is sent to whom, and from where, that slot says. An `mmap` gives slices of it
as bytes in one step, which no other buffer of Python's does.
"""

from __future__ import annotations

import errno
import mmap
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from voltgw.net.datagrams import DATAGRAMS_PER_TURN, DatagramPort

if TYPE_CHECKING:
    from voltgw.net.loop import Loop

#: What is longer is cut off where it comes in, and not sent where it goes out. No powers of two: else all slots would have the
#: same few lines of the processor's caches.
IN_BYTES: Final = 4096 + 64
OUT_BYTES: Final = 2048 + 64
_CONTROL_BYTES: Final = 64                  # CMSG_SPACE of an in6_pktinfo is 40
_CONTROL_HEAD: Final = 16                   # struct cmsghdr; the interface follows it (IPv4), or the address and it (IPv6)
_INTERFACE_4, _INTERFACE_6 = slice(_CONTROL_HEAD, _CONTROL_HEAD + 4), slice(_CONTROL_HEAD + 16, _CONTROL_HEAD + 20)
_PEER_4, _PEER_6 = 16, 28                   # struct sockaddr_in, sockaddr_in6
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"

_DECLARATIONS: Final = """
struct iovec { void *iov_base; size_t iov_len; };
struct msghdr { void *msg_name; unsigned int msg_namelen; struct iovec *msg_iov; size_t msg_iovlen; void *msg_control;
    size_t msg_controllen; int msg_flags; };
struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
int recvmmsg(int, struct mmsghdr *, unsigned int, int, void *);
int sendmmsg(int, struct mmsghdr *, unsigned int, int);
"""


@cache
def _libc() -> tuple[Any, Any]:
    """The C library of the process: (ffi, library). Raises OSError and AttributeError where it has no such calls."""
    cffi = import_module("cffi")            # it takes a while, and few need it
    ffi = cffi.FFI()
    ffi.cdef(_DECLARATIONS)
    library = ffi.dlopen(None)
    _ = library.recvmmsg, library.sendmmsg
    return ffi, library


def available() -> bool:
    """Whether the system can do it; else a `DatagramPort` does."""
    try:
        _libc()
    except (ImportError, OSError, AttributeError):
        return False
    return sys.maxsize > 1 << 32            # the declarations are those of 64 bits


class Slots:
    """The memory: slot *n* of `heap` (`IN_BYTES` each) has a datagram that came, of `peers` (`peer_bytes` each) who sent it,
    a struct sockaddr, and of `out` (`OUT_BYTES` each) its answer, whose length `sizes[2 * n + 1]` is.
    """

    def __init__(self, family: int, count: int = DATAGRAMS_PER_TURN) -> None:
        self.count = count
        self.six = family == socket.AF_INET6
        self.peer_bytes = _PEER_6 if self.six else _PEER_4
        #: Where the address stands in a slot of `peers`.
        self.address = slice(8, 24) if self.six else slice(4, 8)
        self.heap = mmap.mmap(-1, count * IN_BYTES)
        self.out = mmap.mmap(-1, count * OUT_BYTES)
        self.peers = mmap.mmap(-1, count * self.peer_bytes)
        self.sizes: Any = memoryview(bytearray(16 * count)).cast("Q")

    def peer(self, slot: int) -> tuple[str, int]:
        """(address, port) of who sent a slot's datagram."""
        start = slot * self.peer_bytes
        raw = self.peers[self.address_of(slot)]
        host = socket.inet_ntop(socket.AF_INET6 if self.six else socket.AF_INET, raw)
        return host, int.from_bytes(self.peers[start + 2:start + 4], "big")

    def address_of(self, slot: int) -> slice:
        """Where the address of who sent it stands in `peers`."""
        start = slot * self.peer_bytes
        return slice(start + self.address.start, start + self.address.stop)

    def packed(self, slot: int) -> bytes:
        """That address; one that is IPv4 in IPv6's clothes is IPv4."""
        raw = self.peers[self.address_of(slot)]
        return raw[12:] if raw.startswith(_MAPPED) else raw


class BatchPort(DatagramPort):
    """A bound UDP socket whose datagrams come in batches: `serve` is given how long each is, puts answers into the `slots`,
    and calls `post` for those that are there. It owns `sock`.

    `undelivered` is where it counts answers that the kernel has not taken, by why: `unreachable`, or `full`.
    """

    def __init__(self, loop: Loop, sock: socket.socket, undelivered: Counter[str]) -> None:
        super().__init__(loop, sock, _nobody)
        self.serve: Callable[[Sequence[int]], None] = _nobody
        self.slots = slots = Slots(sock.family)
        self._undelivered = undelivered
        self._ffi, self._library = ffi, library = _libc()
        self._read, self._write = library.recvmmsg, library.sendmmsg
        self._no_target = ffi.NULL
        count = slots.count
        self._control = mmap.mmap(-1, count * _CONTROL_BYTES) if self._wildcard else None
        self._in, self._out = ffi.new("struct mmsghdr[]", count), ffi.new("struct mmsghdr[]", count)
        into, out_of = ffi.new("struct iovec[]", count), ffi.new("struct iovec[]", count)
        slots.sizes = memoryview(ffi.buffer(out_of)).cast("B").cast("Q")
        heap, peers, out = (ffi.from_buffer(each) for each in (slots.heap, slots.peers, slots.out))
        control = ffi.from_buffer(self._control) if self._control is not None else None
        self._alive = into, out_of, heap, peers, out, control       # pointers keep nothing alive
        for slot in range(count):
            into[slot].iov_base, into[slot].iov_len = heap + slot * IN_BYTES, IN_BYTES
            out_of[slot].iov_base = out + slot * OUT_BYTES
            for headers, vectors in ((self._in, into), (self._out, out_of)):
                header = headers[slot].msg_hdr
                header.msg_name, header.msg_namelen = peers + slot * slots.peer_bytes, slots.peer_bytes
                header.msg_iov, header.msg_iovlen = vectors + slot, 1
                if control is not None:
                    header.msg_control, header.msg_controllen = control + slot * _CONTROL_BYTES, _CONTROL_BYTES
        words = memoryview(ffi.buffer(self._in)).cast("B").cast("I")
        self._lengths = words[ffi.offsetof("struct mmsghdr", "msg_len") // 4::ffi.sizeof("struct mmsghdr") // 4]

    def post(self, first: int, count: int) -> None:
        """Send the answers of `count` slots from `first` on; what the kernel does not take is lost, as a datagram may be."""
        while count:
            sent = self._write(self._fd, self._out + first, count, 0) if not self.stopped else count
            if sent < 0:                    # of the first of them
                if self._ffi.errno in (errno.EAGAIN, errno.ENOBUFS):
                    self._undelivered["full"] += count
                    return
                self._undelivered["unreachable"] += 1
                sent = 1
            first += sent
            count -= sent

    def _ready(self, events: int) -> None:
        if self._control is not None:
            self._clear()
        count = self._read(self._fd, self._in, self.slots.count, 0, self._no_target)
        if count <= 0:
            return                          # an error of something sent earlier; reading it has cleared it
        if self._control is not None:
            self._aim(count)
        self.serve(self._lengths[:count].tolist())

    def _clear(self) -> None:
        """The kernel has written how much of each there was."""
        for slot in range(self.slots.count):
            self._in[slot].msg_hdr.msg_controllen = _CONTROL_BYTES

    def _aim(self, count: int) -> None:
        """Answers leave from the address that was asked, by whichever interface leads to the client; of a link-local address
        the interface is part."""
        control, slots = self._control, self.slots
        assert control is not None
        for slot in range(count):
            base = slot * _CONTROL_BYTES
            if slots.six:
                scope = (slot + 1) * slots.peer_bytes - 4
                control[base + _INTERFACE_6.start:base + _INTERFACE_6.stop] = slots.peers[scope:scope + 4]
            else:
                control[base + _INTERFACE_4.start:base + _INTERFACE_4.stop] = b"\0\0\0\0"
            self._out[slot].msg_hdr.msg_controllen = self._in[slot].msg_hdr.msg_controllen


def _nobody(*_: Any) -> None:
    raise AssertionError("nobody serves this port, or not in batches")
