"""UDP sockets on the loop: a bound one that clients send to, and connected ones towards endpoints.

A bound socket of all addresses asks the kernel where each datagram was sent to (IP_PKTINFO, IPV6_PKTINFO), and its answers
leave from there: a client drops what comes from another address than the one it has asked.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from select import EPOLLIN
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed

from voltgw.net.namespaces import NO_ROOM, inside, make_socket
from voltgw.net.portions import Portion
from voltgw.net.sockets import CannotListen, datagram_hint, plain_address, sockaddr_of, where
from voltgw.values.compiling import mypyc_attr
from voltgw.values.network import HOST, Network

if TYPE_CHECKING:
    from voltgw.net.loop import Loop

#: Datagrams of one socket that are read in one turn; the rest wait in the kernel while others get their turn.
DATAGRAMS_PER_TURN: Final = 64
#: Larger than any datagram (RFC 768: 16 bits of length).
MAX_DATAGRAM_BYTES: Final = 65536
#: What the kernel keeps for a bound socket between two of our turns; it caps it at net.core.rmem_max.
RECEIVE_BUFFER_BYTES: Final = 4 * 1024 * 1024

# ip(7), ipv6(7); Python's socket module names only some of them
_IP_PKTINFO: Final = 8
_IP_FREEBIND: Final = 15
_IPV6_RECVPKTINFO: Final = 49
_IPV6_PKTINFO: Final = 50
_INFO_4: Final = struct.Struct("=i4s4s")            # struct in_pktinfo: interface, our address, where it was sent to
_INFO_6: Final = struct.Struct("=16si")             # struct in6_pktinfo: where it was sent to, interface
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_INFO_6.size) + socket.CMSG_SPACE(_INFO_4.size)
_NO_IPV6: Final = frozenset((errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL))

#: Our address that a datagram was sent to, as the kernel's control message has it; b"" where there is only one.
Local = bytes
#: Takes one datagram: what it says (the next one is read into the same place, so it is true only until this returns),
#: who sent it (the kernel's socket address), and to which address of ours.
Received = Callable[[memoryview, Any, Local], None]


def datagram_socket(
    address: str | None, port: int, *, freebind: bool = False, reuse_port: bool = False, device: str = "",
    network: Network = HOST,
) -> socket.socket:
    """A bound, non-blocking UDP socket; arguments as for `sockets.listening_socket`. Raises `CannotListen`."""
    try:
        if address is None:
            try:
                return _bind(socket.AF_INET6, ("::", port), True, freebind, reuse_port, device, network)
            except OSError as failed:
                if failed.errno not in _NO_IPV6:
                    raise
                return _bind(socket.AF_INET, ("0.0.0.0", port), False, freebind, reuse_port, device, network)
        family, sockaddr = sockaddr_of(address, port, network)
        return _bind(family, sockaddr, False, freebind, reuse_port, device, network)
    except ValueError as wrong:
        raise CannotListen(errno.EINVAL, _place(address, port, network), str(wrong)) from wrong
    except OSError as error:
        number = error.errno or errno.EIO
        raise CannotListen(number, _place(address, port, network), datagram_hint(number, address, port, network)) from error


def _place(address: str | None, port: int, network: Network) -> str:
    return f"{where(address, port)} (UDP)" + (f" in network {network}" if network.apart else "")


def _bind(
    family: socket.AddressFamily, sockaddr: tuple[Any, ...], dual: bool, freebind: bool, reuse_port: bool,
    device: str, network: Network,
) -> socket.socket:
    sock = make_socket(family, socket.SOCK_DGRAM, network)
    try:
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        if freebind:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        if device and device != network.device:      # binding it once takes no right, binding it again does
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        if sockaddr[0] == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)      # tells of IPv4 too, as mapped addresses
        elif sockaddr[0] == "0.0.0.0":
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.bind(sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


@mypyc_attr(allow_interpreted_subclasses=True)
class DatagramPort:
    """A bound UDP socket, which hands each datagram that comes to `received`. It owns `sock` (of `datagram_socket`).

    `batch`, if given, is called before the datagrams of one wake are read. An error of the socket itself is not one of any
    client's: what the kernel reports of answers that did not arrive is passed over.
    """

    def __init__(
        self, loop: Loop, sock: socket.socket, received: Received, batch: Callable[[], None] | None = None,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._received = received
        self._batch = batch
        self._address = plain_address(sock.getsockname())
        self._wildcard = self._address[0] in ("0.0.0.0", "::")
        self._watched = False
        self._buffer = bytearray(MAX_DATAGRAM_BYTES)
        self._view = memoryview(self._buffer)
        self._portion = Portion(loop, DATAGRAMS_PER_TURN)
        self.stopped = False

    def __repr__(self) -> str:
        return f"<DatagramPort {where(*self._address)}{' closed' if self.stopped else ''}>"

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) that it is bound to."""
        return self._address

    def startListening(self) -> None:
        """Begin to read. Raises OSError when the kernel has no room in the epoll set."""
        if not self._watched and not self.stopped:
            self._loop.watch(self._fd, EPOLLIN, self._ready)
            self._watched = True

    def stopReading(self) -> None:
        """Read no more, for good; what is sent goes out."""
        if self._watched:
            self._watched = False
            self._loop.forget(self._fd)

    def stopListening(self) -> Deferred[None]:
        """Close it; nothing can be sent any more. The Deferred has already fired."""
        if not self.stopped:
            self.stopped = True
            if self._watched:
                self._watched = False
                self._loop.forget(self._fd)
            self._loop.bury(self._sock)
        return succeed(None)

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self._sock.fileno()

    def shut(self) -> None:
        """The loop stops."""
        self.stopListening()

    def crashed(self) -> None:
        """Whoever took a datagram failed over it; the guard has logged it, the next one gets its chance."""

    def send(self, data: bytes | memoryview, client: Any, local: Local) -> bool:
        """Send to a client from the address that it has sent to; False when the kernel does not take it now.

        Raises OSError for what will not be better later: it is too long (EMSGSIZE), or there is no way to the client.
        """
        if self.stopped:
            return False
        try:
            if not local:
                self._sock.sendto(data, client)
            elif len(local) == 4:
                info = _INFO_4.pack(0, local, b"\0\0\0\0")
                self._sock.sendmsg((data,), ((socket.IPPROTO_IP, _IP_PKTINFO, info),), 0, client)
            else:
                info = _INFO_6.pack(local, client[3])       # the interface matters for link-local addresses alone
                self._sock.sendmsg((data,), ((socket.IPPROTO_IPV6, _IPV6_PKTINFO, info),), 0, client)
        except BlockingIOError:
            return False
        return True

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _ready(self, events: int) -> None:
        if self._batch is not None:
            self._batch()
        received, buffer, sock, wildcard = self._received, self._view, self._sock, self._wildcard
        for number in range(self._portion.take()):
            local = b""
            try:
                if wildcard:
                    size, extra, _, client = sock.recvmsg_into((buffer,), _ANCILLARY_BYTES)
                    local = _sent_to(extra)
                else:
                    size, client = sock.recvfrom_into(buffer)
            except BlockingIOError:
                self._portion.ended(number)
                return
            except OSError:                 # of something sent earlier; reading it has cleared it
                continue
            received(buffer[:size], client, local)
            if self.stopped:
                return


def _sent_to(extra: list[tuple[int, int, bytes]]) -> Local:
    """Our address in the control messages of a datagram; one sent to a broadcast address is answered from the interface's."""
    for level, kind, data in extra:
        if level == socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO:
            address, _ = _INFO_6.unpack_from(data)
            return bytes(address)
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, local, _ = _INFO_4.unpack_from(data)
            return bytes(local)
    return b""


def local_text(local: Local) -> str:
    """An address of a control message as text, a mapped IPv4 address as plain IPv4."""
    if len(local) == 4:
        return socket.inet_ntop(socket.AF_INET, local)
    return plain_address((socket.inet_ntop(socket.AF_INET6, local), 0))[0]


def connected_datagram_socket(address: str, port: int, network: Network = HOST) -> socket.socket:
    """A non-blocking UDP socket in `network` that hears `address` alone, from the network's source address.

    Raises OSError, and ValueError if it is no IP address.
    """
    family, sockaddr = sockaddr_of(address, port, network)
    sock = make_socket(family, socket.SOCK_DGRAM, network)
    try:
        own = network.source(address)
        if own:
            sock.bind(sockaddr_of(own, 0, network)[1])
        sock.connect(sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


def is_own_address(host: str, netns: str = "") -> bool:
    """Whether an interface of this host, in a network namespace ("" = our own), has the address `host` (an IP literal).

    It asks the kernel, and sends nothing.
    """
    try:
        with inside(netns):
            family, sockaddr = sockaddr_of(host, 0)
            with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
                probe.bind(sockaddr)
    except OSError as error:
        return error.errno in NO_ROOM       # then it is not known, and counts as ours
    except ValueError:
        return False
    return True
