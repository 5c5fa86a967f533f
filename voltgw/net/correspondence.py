"""A UDP socket with which one asks one peer, as health probes do: `write_to` is to datagrams what `dial` is to connections."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from select import EPOLLIN
from typing import TYPE_CHECKING, Any, Final

from voltgw.errors import ConnectFailed
from voltgw.net.datagrams import MAX_DATAGRAM_BYTES, connected_datagram_socket
from voltgw.net.sockets import where
from voltgw.values.network import HOST, Network

if TYPE_CHECKING:
    from voltgw.net.loop import Loop

# ip(7), ipv6(7): without them a connected socket hears only of closed ports, not of hosts that cannot be reached
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25


def write_to(
    loop: Loop, address: str, port: int, protocol: Any, failed: Callable[[ConnectFailed], None], network: Network = HOST,
    first: bytes = b"",
) -> Correspondence:
    """Let `protocol` write to an IP address; `protocol.makeConnection` or `failed(error)` is called later, exactly once.

    ``makeConnection`` says nothing of the peer, only that the kernel has a way to it. Each datagram of the peer, and of nobody
    else, is one ``dataReceived``; ``refused(error)`` is called with the `OSError` of an ICMP message that says that nobody is
    there (the kernel's own, too, when a neighbour does not answer), or of a datagram that could not be sent.
    `Correspondence.cancel` ends it before that, without any call. Each datagram begins with `first`.
    """
    made = Correspondence(loop, address, port, protocol, failed, network, first)
    loop.soon(made.open)
    return made


class Correspondence:
    """The transport of such a protocol."""

    __slots__ = ("_address", "_failed", "_first", "_loop", "_network", "_over", "_port", "_protocol", "_sock")

    def __init__(
        self, loop: Loop, address: str, port: int, protocol: Any, failed: Callable[[ConnectFailed], None], network: Network,
        first: bytes = b"",
    ) -> None:
        self._first = first
        self._loop = loop
        self._address = address
        self._port = port
        self._protocol = protocol
        self._failed = failed
        self._network = network
        self._sock: socket.socket | None = None
        self._over = False

    def __repr__(self) -> str:
        return f"<Correspondence with {where(self._address, self._port)}>"

    def open(self) -> None:
        """Make the socket."""
        if self._over:
            return
        if self._loop.stopped:
            self._refuse(errno.ECANCELED)
            return
        try:
            sock = connected_datagram_socket(self._address, self._port, self._network)
        except ValueError:                  # a Unix socket, for example: there is no UDP on it
            self._refuse(errno.EINVAL)
            return
        except OSError as error:
            self._refuse(error.errno or errno.EIO)
            return
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        try:
            self._loop.watch(sock.fileno(), EPOLLIN, self._ready)
        except OSError as error:            # the kernel has no room in the epoll set
            sock.close()
            self._refuse(error.errno or errno.EIO)
            return
        self._sock = sock
        self._protocol.makeConnection(self)

    def cancel(self) -> None:
        """Give up without telling anybody."""
        self._over = True
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.forget(sock.fileno())
            self._loop.bury(sock)

    def shut(self) -> None:
        """The loop stops."""
        self.loseConnection()

    def crashed(self) -> None:
        """A bug of ours in the protocol, of which the guard has told."""
        crashed = getattr(self._protocol, "crashed", None)
        if crashed is not None:
            crashed()
        self.loseConnection()

    # -- the transport -------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send one datagram."""
        sock = self._sock
        if sock is None:
            return
        try:
            sock.send(self._first + data)
        except OSError as error:            # also what ICMP has said of an earlier one
            self._loop.soon(partial(self._say, error))

    def loseConnection(self) -> None:
        """Close; ``connectionLost`` follows."""
        if not self._over:
            self.cancel()
            self._loop.soon(self._lost)

    def abortConnection(self) -> None:
        """The same: nothing waits to be sent."""
        self.loseConnection()

    def _lost(self) -> None:
        self._protocol.connectionLost(None)

    # -- inside --------------------------------------------------------------------------------------------------------------

    def _ready(self, events: int) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            data = sock.recv(MAX_DATAGRAM_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._say(error)
            return
        self._protocol.dataReceived(data)   # one a turn: whoever sends many does not hold the others up

    def _say(self, error: OSError) -> None:
        if not self._over:
            self._protocol.refused(error)

    def _refuse(self, number: int) -> None:
        self._over = True
        error = ConnectFailed(f"{where(self._address, self._port)}: {os.strerror(number)}")
        error.errno = number
        self._failed(error)
