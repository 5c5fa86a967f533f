"""Connections that begin with a PROXY header: it is read, and taken from the kernel to the byte, before anybody else looks.

A listener either requires the header or knows nothing of it; it is never guessed (the protocol forbids it). Only proxies in
trusted prefixes are heard: anybody else could say that he is whoever he likes.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address
from select import EPOLLIN
from typing import TYPE_CHECKING, Final

from voltgw.net.deadlines import NO_SLOT
from voltgw.values.defaults import PROXY_HEADER_TIMEOUT_S
from voltgw.wire.proxyproto import MAX_HEADER_BYTES, ProxyHeader, ProxyHeaderRefused, read_header

if TYPE_CHECKING:
    from voltgw.net.loop import Loop

_RESET: Final = struct.pack("ii", 1, 0)
#: Whose headers are believed.
Trusted = tuple[IPv4Network | IPv6Network, ...]


def trusts(prefixes: Trusted, host: str) -> bool:
    """Whether a proxy at `host` is believed."""
    address = ip_address(host.partition("%")[0])
    return any(address in prefix for prefix in prefixes)


class Announced:
    """An accepted connection until its header has come. `told` is called with the header, or with None when it is over.

    It owns `sock` until `told` has the header. It is its own deadline.
    """

    __slots__ = ("_fd", "_loop", "_seen", "_sock", "_told", "deadline", "deadline_slot")

    def __init__(self, loop: Loop, sock: socket.SocketType, told: Callable[[Announced, ProxyHeader | None], None]) -> None:
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._told = told
        self._seen = 0
        self.deadline = loop.monotonic() + PROXY_HEADER_TIMEOUT_S
        self.deadline_slot = NO_SLOT

    def start(self) -> None:
        """Wait for it. Raises OSError if the kernel has no room in the epoll set."""
        self._loop.watch(self._fd, EPOLLIN, self._ready)
        self._loop.deadlines.schedule(self)

    def expired(self, now: float) -> None:
        """It took too long."""
        self._drop()

    def shut(self) -> None:
        """The loop stops."""
        self._drop()

    def crashed(self) -> None:
        """A bug of ours; the guard has logged it."""
        self._drop()

    def _ready(self, events: int) -> None:
        sock = self._sock
        try:
            data = sock.recv(MAX_HEADER_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:                     # reset
            self._drop()
            return
        if len(data) <= self._seen:         # no more will come
            self._drop()
            return
        self._seen = len(data)
        try:
            found = read_header(data)
        except ProxyHeaderRefused:
            self._drop()
            return
        if isinstance(found, int):
            # the socket stays quiet until more has come than was seen: a header in pieces would make the loop spin
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, min(len(data) + found, MAX_HEADER_BYTES))
            return
        taken = sock.recv(found.size)
        if len(taken) != found.size:        # it was all there a moment ago
            self._drop()
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._leave()
        self._told(self, found)

    def _drop(self) -> None:
        self._leave()
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except OSError:
            pass                            # it is gone already
        self._loop.bury(self._sock)
        self._told(self, None)

    def _leave(self) -> None:
        self.deadline = 0.0
        self._loop.deadlines.forget(self)
        self._loop.forget(self._fd)
