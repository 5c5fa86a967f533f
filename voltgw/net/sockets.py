"""Making sockets: addresses as operators write them, options that every stream inherits, errors that say what to do."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from voltgw.net.namespaces import NO_ROOM as NO_ROOM
from voltgw.net.namespaces import inside, make_socket
from voltgw.values.address import where as where
from voltgw.values.compiling import mypyc_attr
from voltgw.values.network import HOST, Network

#: Connections that may wait in the kernel for `accept`; the kernel caps it at net.core.somaxconn.
BACKLOG: Final = 4096

#: Who may connect to a Unix socket where nothing is said: our user and our group.
UNIX_MODE: Final = 0o660
#: Whom a client of a Unix socket counts as: a process of this host, which has no address of its own.
LOCAL_CLIENT: Final = ("127.0.0.1", 0)

_NEW_STREAM: Final = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
_NO_IPV6: Final = frozenset((errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL))
# ip(7) and ipv6(7); Python has no names for them
_IP_FREEBIND: Final = 15
_IP_TRANSPARENT: Final = 19
_IP_BIND_ADDRESS_NO_PORT: Final = 24
_UNPRIVILEGED: Final = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


@mypyc_attr(native_class=False)        # nothing native can be an OSError
class CannotListen(OSError):
    """A listening socket could not be had. The text says where, why and what to do about it; `errno` is the kernel's."""

    def __init__(self, number: int, place: str, hint: str = "") -> None:
        super().__init__(number, os.strerror(number))
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        return f"cannot listen on {self.place}: {(self.strerror or '').lower()}{self.hint and '; '}{self.hint}"


def address_of(sockaddr: tuple[Any, ...] | str) -> IPv4Address | IPv6Address | UNIXAddress:
    """The Twisted address of a kernel socket address; IPv4 seen through a dual-stack socket becomes plain IPv4."""
    host, port = plain_address(sockaddr)
    if host.startswith("/"):
        return UNIXAddress(host)
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)


def plain_address(sockaddr: tuple[Any, ...] | str | bytes) -> tuple[str, int]:
    """(host, port) of a kernel socket address, without the ``::ffff:`` of a mapped IPv4 address.

    For a Unix socket it is its path and 0, or `LOCAL_CLIENT` when it has none.
    """
    if not isinstance(sockaddr, tuple):
        return (os.fsdecode(sockaddr), 0) if sockaddr else LOCAL_CLIENT
    host: str = sockaddr[0]
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return host, sockaddr[1]


def listening_socket(
    address: str | None, port: int, *, backlog: int = BACKLOG, freebind: bool = False, reuse_port: bool = False,
    device: str = "", unix_mode: int = UNIX_MODE, network: Network = HOST, transparent: str | None = None,
) -> socket.socket:
    """A bound, listening, non-blocking TCP socket; or a Unix socket, when `address` is a path (it begins with a slash).

    `address` None means every address, IPv4 and IPv6 on one dual-stack socket (IPv4 alone where the host has no IPv6);
    ``::`` means IPv6 alone. `freebind` allows an address that the host does not have yet, `reuse_port` several sockets
    (of one user) on one address, among which the kernel spreads the connections. The socket is made in `network`; `device`
    names the one network interface by which connections may come, "" = that of the network. `transparent` is how packet rules
    bring it connections that are meant for others (see `voltgw.net.original`): for ``tproxy`` it takes those to any address
    (which takes CAP_NET_ADMIN), for ``redirect`` it is as any other. TCP_NODELAY and SO_KEEPALIVE are set here because Linux
    hands them on to every accepted socket. Raises `CannotListen`.

    A Unix socket's file has `unix_mode` before anybody can connect; one that was left behind by a process that has ended is
    replaced, one where somebody listens is not, and neither is a file of another kind. Whoever closes it removes it.
    """
    try:
        if address is not None and address.startswith("/"):
            return _listen_unix(address, backlog, unix_mode)
        if address is None:
            try:
                return _listen(
                    socket.AF_INET6, ("::", port), backlog, True, freebind, reuse_port, device, network, transparent)
            except OSError as error:
                if error.errno not in _NO_IPV6:
                    raise
                return _listen(
                    socket.AF_INET, ("0.0.0.0", port), backlog, False, freebind, reuse_port, device, network, transparent)
        family, sockaddr = sockaddr_of(address, port, network)
        return _listen(family, sockaddr, backlog, False, freebind, reuse_port, device, network, transparent)
    except ValueError as wrong:
        raise CannotListen(errno.EINVAL, _place(address, port, network), str(wrong)) from wrong
    except OSError as error:
        number = error.errno or errno.EIO
        hint = _hint(number, address, port, network)
        if number == errno.EPERM and transparent == "tproxy":
            hint = "connections that are meant for others (TPROXY) take CAP_NET_ADMIN"
        raise CannotListen(number, _place(address, port, network), hint) from error


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
            sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX) or sock.type != socket.SOCK_STREAM
            or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            or sock.family == socket.AF_UNIX and not isinstance(sock.getsockname(), str)      # abstract: of no file
        ):
            raise CannotListen(errno.EINVAL, f"descriptor {fd}", "it is no listening TCP socket")
        sock.setblocking(False)
        sock.set_inheritable(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except BaseException:
        sock.detach()
        raise
    return sock


def connecting_socket(
    address: str, port: int, source: tuple[str, int] | None = None, options: Iterable[tuple[int, int, int | bytes]] = (),
    network: Network = HOST,
) -> tuple[socket.SocketType, int]:
    """A non-blocking TCP socket on its way to `address` (an IP literal); the errno of `connect` comes beside it.

    0 or EINPROGRESS mean that it is under way. Raises OSError when no socket could be made or `source` not be bound,
    and ValueError when `address` is no IP address (a name is never looked up: that would block). An `address` that begins
    with a slash is the path of a Unix socket, which accepts or refuses at once (EAGAIN: its backlog is full).
    `options` (of `voltgw.net.tuning`) are for TCP; what the host refuses of them is left as it is.
    The socket is made in `network`, and bound to its source address where `source` is not given.
    """
    if address.startswith("/"):
        local = socket.SocketType(socket.AF_UNIX, _NEW_STREAM)
        try:
            return local, local.connect_ex(address)
        except BaseException:               # a path that is too long
            local.close()
            raise
    if network is HOST:
        family, sockaddr = _host_sockaddr(address, port)
        sock = socket.SocketType(family, _NEW_STREAM)
    else:
        family, sockaddr = sockaddr_of(address, port, network)
        sock = make_socket(family, socket.SOCK_STREAM, network)
    if source is None and network.sources and (own := network.source(address)):
        source = (own, 0)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for level, name, value in options:
            with suppress(OSError):         # `tuning.refused_by_host` has told the operator
                sock.setsockopt(level, name, value)
        if source is not None:
            if source[1] == 0:              # chosen at connect, so that ports need only differ per target
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind(sockaddr_of(*source)[1])
        return sock, sock.connect_ex(sockaddr)
    except BaseException:
        sock.close()
        raise


def _listen(
    family: socket.AddressFamily, sockaddr: tuple[Any, ...], backlog: int, dual: bool, freebind: bool, reuse_port: bool,
    device: str, network: Network = HOST, transparent: str | None = None,
) -> socket.socket:
    sock = make_socket(family, socket.SOCK_STREAM, network)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        if freebind:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)     # Linux heeds it for IPv6, too
        if device and device != network.device:      # binding it once takes no right, binding it again does
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        if transparent == "tproxy":
            sock.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)      # one flag of the socket, whatever its family
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.bind(sockaddr)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _listen_unix(path: str, backlog: int, mode: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _left_behind(path):
                raise
            os.unlink(path)
            sock.bind(path)
        os.chmod(path, mode)                # nobody can connect before it listens
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _left_behind(path: str) -> bool:
    """Whether a file is a socket on which nobody listens any more."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            return probe.connect_ex(path) == errno.ECONNREFUSED
    except OSError:
        return False


def remove_socket(path: str) -> None:
    """Remove the file of a Unix socket that we have closed, unless somebody listens there again."""
    if _left_behind(path):
        try:
            os.unlink(path)
        except OSError:
            pass                            # the directory is not ours any more; the next start replaces it


def sockaddr_of(address: str, port: int, network: Network = HOST) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """What the kernel wants for an IP literal. ValueError if it is none: Python would ask the resolver, and block.

    The zone of an IPv6 address is an interface of `network`; OSError where there is no such interface.
    """
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
    with inside("" if zone.isdigit() else network.netns):
        return socket.AF_INET6, (host, port, 0, int(zone) if zone.isdigit() else socket.if_nametoindex(zone))


#: The same for those whom we connect to again and again; the zone of an address may get another number, so it is none of them.
_known_sockaddr = lru_cache(maxsize=4096)(sockaddr_of)


def _host_sockaddr(address: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    return sockaddr_of(address, port) if "%" in address else _known_sockaddr(address, port)


def _literal(family: socket.AddressFamily, address: str) -> bool:
    try:
        socket.inet_pton(family, address)
    except (OSError, ValueError):           # ValueError: a NUL inside
        return False
    return True


def _place(address: str | None, port: int, network: Network) -> str:
    return where(address, port) + (f" in network {network}" if network.apart else "")


def _hint(number: int, address: str | None, port: int, network: Network = HOST) -> str:
    """What an operator can do about a listening socket that was refused, "" if we cannot say."""
    if network.netns:
        if number in (errno.ENOENT, errno.EINVAL):
            return f"there is no network namespace {network.netns}: `ip netns` shows which there are"
        if number == errno.EPERM:
            return f"entering the network namespace {network.netns} needs CAP_SYS_ADMIN"
    if address is not None and address.startswith("/"):
        return {errno.EADDRINUSE: "a program listens there already, or the file is no socket: `ss -lxp` shows it",
                errno.ENOENT: "its directory does not exist",
                errno.EACCES: "our user may not write to its directory"}.get(number, "")
    if number == errno.EADDRINUSE:
        return f"another socket listens there already: `ss -ltnp sport = :{port}` shows which program's"
    if number == errno.EACCES and port < (first := _first_unprivileged_port()):
        return (f"ports below {first} need CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE); "
                f"or choose a port from {first} on")
    if number == errno.EADDRNOTAVAIL:
        return "no interface of this host has that address: `ip address` shows which there are"
    if number == errno.EAFNOSUPPORT and address and ":" in address:
        return "this host has no IPv6"
    if number == errno.ENODEV:
        return "this host has no such network interface: `ip link` shows which there are"
    if number in (errno.EMFILE, errno.ENFILE):
        return "raise the limit of open files (ulimit -n, systemd: LimitNOFILE=)"
    return ""


def datagram_hint(number: int, address: str | None, port: int, network: Network = HOST) -> str:
    """The same for a UDP socket."""
    return _hint(number, address, port, network).replace("socket listens", "socket is bound").replace("ss -ltnp", "ss -lunp")


def _first_unprivileged_port() -> int:
    try:
        with open(_UNPRIVILEGED, encoding="ascii") as setting:
            return int(setting.read())
    except (OSError, ValueError):
        return 1024                         # the kernel's default, where /proc cannot be read
