"""Making sockets in another network namespace than the one that the process runs in.

A socket belongs for ever to the namespace in which its thread was when it was made. So `inside` takes the thread there, and
back, around the few lines that make one: no other code of ours runs meanwhile, since nothing in them waits. A thread that
cannot go back would make every later socket in the wrong network, which could join networks that are kept apart: then the
process ends at once.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final, NamedTuple

from voltgw.values.network import HOST, Network

#: Errors that say that the process or the host has no descriptor or memory left for a socket.
NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
#: setns(2)
CLONE_NEWNET: Final = 0x40000000
#: Where iproute2 keeps namespaces by name.
NETNS_FOLDER: Final = "/run/netns"
_OWN: Final = "/proc/thread-self/ns/net"
#: Exit status of a process that could not go back to its own namespace (sysexits.h: EX_OSERR).
LOST_STATUS: Final = 71


def _setns(fd: int) -> None:
    """setns(2) of the calling thread. Raises OSError."""
    if hasattr(os, "setns"):                # Python 3.12 and newer
        os.setns(fd, CLONE_NEWNET)
        return
    if _libc.setns(fd, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_libc: Final = ctypes.CDLL(None, use_errno=True)


def netns_path(netns: str) -> str:
    """The file that stands for a namespace, given its name or that path."""
    return netns if netns.startswith("/") else f"{NETNS_FOLDER}/{netns}"


@cache
def home_namespace() -> int:
    """A descriptor of the namespace that the process runs in. It stays open: opening it costs more than going there."""
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside(netns: str, leave: Callable[[int], None] = _setns) -> Iterator[None]:
    """Run the body in a network namespace ("" = where we are anyway). The body must not wait, nor give way to other code.

    Raises OSError when there is no such namespace, or it may not be entered (that takes CAP_SYS_ADMIN), and RuntimeError from
    inside of another one. When the thread cannot go back (`leave` fails, which nothing short of a lost privilege could do), the
    process ends with `LOST_STATUS`.
    """
    if not netns:
        yield
        return
    home = home_namespace()
    there = os.open(netns_path(netns), os.O_RDONLY | os.O_CLOEXEC)
    thread = threading.get_ident()
    try:
        if thread in _away:
            raise RuntimeError(f"network namespace {netns} is to be entered from inside of another one")
        _setns(there)
    finally:
        os.close(there)
    _away.add(thread)
    try:
        yield
    finally:
        try:
            leave(home)
        except BaseException as error:
            sys.stderr.write(f"voltgw: cannot leave the network namespace {netns}: {error}; ending, because networks that are "
                             "kept apart must not be joined\n")
            sys.stderr.flush()
            os._exit(LOST_STATUS)
        _away.discard(thread)


#: The threads that are in another namespace at the moment: at most all there are.
_away: Final[set[int]] = set()


def make_socket(family: int, kind: int, network: Network = HOST, protocol: int = 0) -> socket.socket:
    """A non-blocking socket in `network`, bound to its device. Raises OSError."""
    kind |= socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    if not network.netns:
        sock = socket.socket(family, kind, protocol)
    else:
        with inside(network.netns):
            sock = socket.socket(family, kind, protocol)
    if network.device:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, network.device.encode())
        except BaseException:
            sock.close()
            raise
    return sock


class Identity(NamedTuple):
    """Which namespace and which interfaces a network is at a moment: sockets that were made for another one are lost.

    `namespace` is (device, inode) of the namespace's file, `devices` the indices of its interfaces. `problem` says in words
    what is missing, "" = nothing. `unknown`: it could not be looked at for want of descriptors or memory, and may be there.
    """

    namespace: tuple[int, int] = (0, 0)
    devices: tuple[int, ...] = ()
    problem: str = ""
    unknown: bool = False


def identity(network: Network) -> Identity:
    """What a network is now; two different answers mean that it has gone, or come back as another one.

    Where the namespace may not be entered, its interfaces are not looked at.
    """
    netns, names = network.netns, tuple(dict.fromkeys(filter(None, (network.device, network.interface))))
    found = (0, 0)
    if netns:
        try:
            status, own = os.stat(netns_path(netns)), os.stat(_OWN)
        except OSError:
            return Identity(problem=f"network namespace {netns} does not exist")
        if status.st_dev != own.st_dev:     # the empty file that a namespace was mounted on
            return Identity(problem=f"network namespace {netns} does not exist")
        found = (status.st_dev, status.st_ino)
    if not names:
        return Identity(found)
    try:
        with inside(netns):
            return Identity(found, tuple(map(socket.if_nametoindex, names)))
    except PermissionError:
        return Identity(found)
    except OSError as error:
        starved = error.errno if error.errno in NO_ROOM else _starved()
        if starved:
            return Identity(found, (), os.strerror(starved), unknown=True)
        missing = ", ".join(name for name in names if not _has(network, name)) or names[0]
        place = f" in {netns}" if netns else ""
        return Identity(found, (), f"network interface {missing} does not exist{place}")


def _starved() -> int:
    """Why no socket can be made (errno), 0 = one can: the number of an interface takes one, and its error does not say so."""
    try:
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC).close()
    except OSError as error:
        return error.errno or errno.EMFILE
    return 0


def _has(network: Network, interface: str) -> bool:
    try:
        with inside(network.netns):
            socket.if_nametoindex(interface)
    except OSError:
        return False
    return True
