"""Sockets that were open before we were: of systemd, of the process that served before, of a control process.

Whoever needs a socket asks here first. One that is found is used as it is: connections that wait in its queue are not lost,
its port was never closed, and no right is needed for a port below 1024.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final, NamedTuple

from twisted.logger import Logger

from voltgw.net.sockets import CannotListen, adopt, plain_address, where

# ip(7), ipv6(7), socket(7); Python's socket module names only some of them
_IP_PKTINFO: Final = 8
_IPV6_RECVPKTINFO: Final = 49

#: Kinds of sockets, as `SocketKey.protocol` has them.
TCP: Final = "TCP"
UDP: Final = "UDP"
UNIX: Final = "UNIX"


class SocketKey(NamedTuple):
    """What a socket is for. Two of one key in two processes are the same socket, or may be.

    `port` is the configured one: with port 0 the socket of the process before is found, whatever the kernel has chosen.
    """

    part: str                               # "listener", "dns", "admin", "monitor"
    protocol: str                           # TCP, UDP or UNIX
    address: str                            # "" = every address of both families; a Unix socket's path
    port: int = 0
    network: str = ""                       # interface and namespace, as `ListenerKey.place` has them
    number: int = 0                         # which of several that share one port (SO_REUSEPORT)

    def __str__(self) -> str:
        shown = self.address if self.protocol == UNIX else where(self.address or None, self.port)
        return (f"{self.part} {shown}{'/udp' if self.protocol == UDP else ''}{self.network}"
                f"{f' ({self.number + 1})' if self.number else ''}")


class Inherited:
    """What there is to take. Each socket is given once; `rest` closes what nobody took."""

    _log = Logger()

    def __init__(self) -> None:
        self._by_key: dict[SocketKey, socket.socket] = {}
        self._by_place: dict[tuple[str, str, int, str], list[socket.socket]] = {}
        self.taken = 0                      # sockets that were found here and are used

    def __len__(self) -> int:
        return len(self._by_key) + sum(map(len, self._by_place.values()))

    def offer(self, key: SocketKey, fd: int) -> None:
        """`fd` is a socket for `key`; it is ours from now on. Raises `CannotListen`, and leaves it, when it is none."""
        sock = checked(key.protocol, fd)
        before = self._by_key.pop(key, None)
        if before is not None:
            before.close()
        self._by_key[key] = sock

    def offer_bound(self, fd: int) -> str:
        """`fd` is a socket for whoever wants what it is bound to; says what that is. Raises as `offer`."""
        sock = checked(_protocol(fd), fd)
        place = _place(sock)
        self._by_place.setdefault(place, []).append(sock)
        protocol, address, port, device = place
        return f"{address if protocol == UNIX else where(address or None, port)}{'/udp' if protocol == UDP else ''}{device}"

    def take(self, key: SocketKey) -> socket.socket | None:
        """The socket for `key`, which is the caller's from now on; None = open one yourself."""
        sock = self._by_key.pop(key, None)
        if sock is None and (key.port or key.protocol == UNIX):
            address = key.address if key.protocol == UNIX else _compressed(key.address)
            found = (self._by_place.get((key.protocol, address, key.port, key.network))
                     or self._by_place.get((key.protocol, address or "0.0.0.0", key.port, key.network)))
            if found:
                sock = found.pop(0)
        if sock is not None:
            self.taken += 1
        return sock

    def rest(self) -> list[str]:
        """Close what nobody took, and say so; their names."""
        left = list(self._rest())
        self._by_key.clear()
        self._by_place.clear()
        for name, sock in left:
            self._log.warn("an inherited socket is not needed and is closed: {name}", name=name, event="socket.unused")
            sock.close()
        return [name for name, _ in left]

    def _rest(self) -> Iterator[tuple[str, socket.socket]]:
        for key, sock in self._by_key.items():
            yield str(key), sock
        for (protocol, address, port, device), socks in self._by_place.items():
            for sock in socks:
                shown = address if protocol == UNIX else where(address or None, port)
                yield f"{shown}{'/udp' if protocol == UDP else ''}{device}", sock


def checked(protocol: str, fd: int) -> socket.socket:
    """The socket of `fd`, made ready for us. Raises `CannotListen`, and leaves `fd` as it is, when it is not of `protocol`."""
    if _protocol(fd) != protocol:
        raise CannotListen(errno.EINVAL, f"descriptor {fd}", f"it is no socket for {protocol}")
    if protocol != UDP:
        return adopt(fd)
    sock = socket.socket(fileno=fd)
    try:
        address = plain_address(sock.getsockname())
        if not address[1]:
            raise CannotListen(errno.EINVAL, f"descriptor {fd}", "it is not bound to a port")
        sock.setblocking(False)
        sock.set_inheritable(False)
        if address[0] == "::":              # so that answers leave from the address that was asked
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        elif address[0] == "0.0.0.0":
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    except BaseException:
        sock.detach()
        raise
    return sock


def _protocol(fd: int) -> str:
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise CannotListen(error.errno or errno.EIO, f"descriptor {fd}", "it is no socket") from error
    try:
        if sock.type == socket.SOCK_STREAM:
            return UNIX if sock.family == socket.AF_UNIX else TCP
        if sock.type == socket.SOCK_DGRAM and sock.family in (socket.AF_INET, socket.AF_INET6):
            return UDP
    finally:
        sock.detach()
    raise CannotListen(errno.EINVAL, f"descriptor {fd}", "it is no TCP, UDP or Unix stream socket")


def _compressed(address: str) -> str:
    """As the kernel writes it."""
    try:
        return ip_address(address).compressed
    except ValueError:                      # a name, or none
        return address


def _place(sock: socket.socket) -> tuple[str, str, int, str]:
    """What it is bound to, as a key would say it."""
    if sock.family == socket.AF_UNIX:
        return UNIX, os.fsdecode(sock.getsockname()), 0, ""
    address, port = plain_address(sock.getsockname())
    if address == "::" and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        address = ""
    device = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0").decode()
    protocol = UDP if sock.type == socket.SOCK_DGRAM else TCP
    return protocol, address, port, f"%{device}" if device else ""


def descriptors_of(environ: dict[str, str], pid: int) -> list[tuple[int, str]]:
    """Descriptors that systemd hands over, with their names (sd_listen_fds(3)), and forgets what says so. Raises ValueError.

    They begin at 3. They are ours only when ``LISTEN_PID`` is our `pid`: else they were meant for a parent of ours.
    """
    said_pid, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    environ.pop("LISTEN_PIDFDID", None)
    if not said_pid and not count:
        return []
    if not (said_pid.isdecimal() and count.isdecimal() and int(count) <= 65_536):
        raise ValueError(f"LISTEN_PID={said_pid!r} LISTEN_FDS={count!r} cannot be read")
    if int(said_pid) != pid:
        return []
    each = names.split(":") if names else []
    each += [""] * (int(count) - len(each))
    found = list(zip(range(3, 3 + int(count)), each, strict=False))
    for fd, _ in found:
        os.set_inheritable(fd, False)
    return found
