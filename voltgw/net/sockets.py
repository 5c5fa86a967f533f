"""Making sockets: addresses as operators write them, options that every stream inherits, errors that say what to do."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address

from voltgw.values.address import where as where

#: Connections that may wait in the kernel for `accept`; the kernel caps it at net.core.somaxconn.
BACKLOG: Final = 4096

_NO_IPV6: Final = frozenset((errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL))
# ip(7) and ipv6(7); Python has no names for them
_IP_FREEBIND: Final = 15
_IP_BIND_ADDRESS_NO_PORT: Final = 24
_UNPRIVILEGED: Final = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


class CannotListen(OSError):
    """A listening socket could not be had. The text says where, why and what to do about it; `errno` is the kernel's."""

    def __init__(self, number: int, place: str, hint: str = "") -> None:
        super().__init__(number, os.strerror(number))
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        return f"cannot listen on {self.place}: {(self.strerror or '').lower()}{self.hint and '; '}{self.hint}"


def address_of(sockaddr: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    """The Twisted address of a kernel socket address; IPv4 seen through a dual-stack socket becomes plain IPv4."""
    host, port = plain_address(sockaddr)
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)


def plain_address(sockaddr: tuple[Any, ...]) -> tuple[str, int]:
    """(host, port) of a kernel socket address, without the ``::ffff:`` of a mapped IPv4 address."""
    host: str = sockaddr[0]
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return host, sockaddr[1]


def listening_socket(
    address: str | None, port: int, *, backlog: int = BACKLOG, freebind: bool = False, reuse_port: bool = False,
) -> socket.socket:
    """A bound, listening, non-blocking TCP socket.

    `address` None means every address, IPv4 and IPv6 on one dual-stack socket (IPv4 alone where the host has no IPv6);
    ``::`` means IPv6 alone. `freebind` allows an address that the host does not have yet, `reuse_port` several sockets
    (of one user) on one address, among which the kernel spreads the connections. TCP_NODELAY and SO_KEEPALIVE are set
    here because Linux hands them on to every accepted socket. Raises `CannotListen`.
    """
    try:
        if address is None:
            try:
                return _listen(socket.AF_INET6, ("::", port), backlog, True, freebind, reuse_port)
            except OSError as error:
                if error.errno not in _NO_IPV6:
                    raise
                return _listen(socket.AF_INET, ("0.0.0.0", port), backlog, False, freebind, reuse_port)
        family, sockaddr = _sockaddr(address, port)
        return _listen(family, sockaddr, backlog, False, freebind, reuse_port)
    except ValueError as error:
        raise CannotListen(errno.EINVAL, where(address, port), str(error)) from error
    except OSError as error:
        number = error.errno or errno.EIO
        raise CannotListen(number, where(address, port), _hint(number, address, port)) from error


def adopt(fd: int) -> socket.socket:
    """A socket that listens already, made by another process and handed to us as `fd`; we own `fd` from here on.

    It becomes non-blocking and is not handed on to programs that we start. What it was bound with stays, and so do the
    options of connections that wait on it already. Raises `CannotListen`, and leaves `fd` as it is, when it is no
    listening TCP socket.
    """
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise CannotListen(error.errno or errno.EIO, f"descriptor {fd}", "it is no socket") from error
    try:
        if (
            sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM
            or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        ):
            raise CannotListen(errno.EINVAL, f"descriptor {fd}", "it is no listening TCP socket")
        sock.setblocking(False)
        sock.set_inheritable(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except BaseException:
        sock.detach()
        raise
    return sock


def connecting_socket(address: str, port: int, source: tuple[str, int] | None = None) -> tuple[socket.socket, int]:
    """A non-blocking TCP socket on its way to `address` (an IP literal); the errno of `connect` comes beside it.

    0 or EINPROGRESS mean that it is under way. Raises OSError when no socket could be made or `source` not be bound,
    and ValueError when `address` is no IP address (a name is never looked up: that would block).
    """
    family, sockaddr = _sockaddr(address, port)
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if source is not None:
            if source[1] == 0:              # chosen at connect, so that ports need only differ per target
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind(_sockaddr(*source)[1])
        return sock, sock.connect_ex(sockaddr)
    except BaseException:
        sock.close()
        raise


def _listen(
    family: socket.AddressFamily, sockaddr: tuple[Any, ...], backlog: int, dual: bool, freebind: bool, reuse_port: bool,
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        if freebind:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)     # Linux heeds it for IPv6, too
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.bind(sockaddr)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _sockaddr(address: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """What the kernel wants for an IP literal. ValueError if it is none: Python would ask the resolver, and block."""
    if not 0 <= port <= 65535:
        raise ValueError(f"{port} is no port")
    if ":" not in address:
        if not _literal(socket.AF_INET, address):
            raise ValueError(f"{address!r} is no IP address")
        return socket.AF_INET, (address, port)
    host, _, zone = address.partition("%")
    if not _literal(socket.AF_INET6, host):
        raise ValueError(f"{address!r} is no IP address")
    if not zone:
        return socket.AF_INET6, (address, port)
    return socket.AF_INET6, (host, port, 0, int(zone) if zone.isdigit() else socket.if_nametoindex(zone))


def _literal(family: socket.AddressFamily, address: str) -> bool:
    try:
        socket.inet_pton(family, address)
    except (OSError, ValueError):           # ValueError: a NUL inside
        return False
    return True


def _hint(number: int, address: str | None, port: int) -> str:
    """What an operator can do about a listening socket that was refused, "" if we cannot say."""
    if number == errno.EADDRINUSE:
        return f"another socket listens there already: `ss -ltnp sport = :{port}` shows which program's"
    if number == errno.EACCES and port < (first := _first_unprivileged_port()):
        return (f"ports below {first} need CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE); "
                f"or choose a port from {first} on")
    if number == errno.EADDRNOTAVAIL:
        return "no interface of this host has that address: `ip address` shows which there are"
    if number == errno.EAFNOSUPPORT and address and ":" in address:
        return "this host has no IPv6"
    if number in (errno.EMFILE, errno.ENFILE):
        return "raise the limit of open files (ulimit -n, systemd: LimitNOFILE=)"
    return ""


def _first_unprivileged_port() -> int:
    try:
        with open(_UNPRIVILEGED, encoding="ascii") as setting:
            return int(setting.read())
    except (OSError, ValueError):
        return 1024                         # the kernel's default, where /proc cannot be read
