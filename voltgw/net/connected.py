"""What is the same for every connected socket, whatever speaks on it: its two addresses and its TCP options."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from twisted.internet.address import IPv4Address, IPv6Address

from voltgw.net.original import original_destination
from voltgw.net.sockets import address_of, plain_address

if TYPE_CHECKING:
    from voltgw.values.proxyheader import ProxyHeader


class ConnectedSocket:
    """The addresses and options of `sock`, as `ITCPTransport` wants them."""

    __slots__ = ("_local", "_sock", "announced", "peer")

    def __init__(self, sock: socket.SocketType, peer: tuple[str, int], local: tuple[str, int] | None) -> None:
        self.peer = peer
        self.announced: ProxyHeader | None = None       # the PROXY header with which it began
        self._sock = sock
        self._local = local                 # our address, once somebody has asked

    @property
    def local(self) -> tuple[str, int]:
        """Our (host, port); asked of the kernel at most once. ``("", 0)`` if nobody asked while it was open."""
        local = self._local
        if local is None:
            try:
                local = plain_address(self._sock.getsockname())
            except OSError:                 # closed: the descriptor is the kernel's again
                return "", 0
            self._local = local
        return local

    @property
    def meant(self) -> tuple[str, int] | None:
        """Where the client of a captured connection wanted to go (`voltgw.net.original`); None: the host does not say."""
        return original_destination(self._sock)

    def getPeer(self) -> IPv4Address | IPv6Address:
        """The other side's address; a `UNIXAddress` where it is reached by a Unix socket."""
        return address_of(self.peer)        # type: ignore[return-value]  # ITCPTransport promises an IP address

    def getHost(self) -> IPv4Address | IPv6Address:
        """Our side's address; see `local`."""
        return address_of(self.local)       # type: ignore[return-value]

    def getTcpNoDelay(self) -> bool:
        """Whether Nagle's algorithm is off."""
        return bool(self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Switch Nagle's algorithm off or on; listeners and dials switch it off for every stream."""
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """Whether TCP keep-alive probes are sent."""
        return bool(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Switch TCP keep-alive probes."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)
