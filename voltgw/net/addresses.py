"""Addresses of interfaces in a network: which there are, one more, one less, and telling the neighbours.

By rtnetlink, which the kernel answers before `send` returns: nothing here waits. What we add is marked as ours and has a short
life, so that it goes by itself when we do; what is not marked so is never touched.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from voltgw.net.interfaces import hardware_address
from voltgw.net.namespaces import inside, make_socket
from voltgw.values.network import Network
from voltgw.wire.neighbours import announcements
from voltgw.wire.rtnetlink import (
    CREATE,
    DELADDR,
    EXCL,
    LOCAL,
    NEWADDR,
    OURS,
    REPLACE,
    Address,
    Refused,
    Route,
    address_request,
    addresses_request,
    read_address,
    read_messages,
    read_route,
    route_request,
)

#: One read of the kernel's answers; it sends at most so much at once.
_READ_BYTES: Final = 64 * 1024
#: Reads of one answer: some hundred thousand addresses.
_MOST_READS: Final = 1024


@contextmanager
def _read() -> Iterator[None]:
    """What cannot be read is an error of the conversation like others."""
    try:
        yield
    except (ValueError, IndexError) as error:
        raise OSError(errno.EBADMSG, str(error)) from error


class Netlink:
    """A conversation with the kernel about one network namespace. Raises OSError when it may not be had, or is refused."""

    def __init__(self, netns: str, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._sock = make_socket(socket.AF_NETLINK, socket.SOCK_RAW, Network(netns=netns), protocol)
        self._sequence = 0

    def close(self) -> None:
        """End it."""
        self._sock.close()

    def ask(self, write: Callable[[int], bytes], *, many: bool = False) -> list[tuple[int, bytes]]:
        """Send what `write(sequence number)` gives; the messages that come back: all of a dump if `many`, else the first."""
        self._sequence += 1
        self._sock.send(write(self._sequence))
        found: list[tuple[int, bytes]] = []
        for _ in range(_MOST_READS):
            with _read():
                for answer in read_messages(self._sock.recv(_READ_BYTES), self._sequence):
                    if answer is None:
                        return found
                    found.append(answer)
                    if not many:
                        return found
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))

    def addresses(self) -> list[Address]:
        """All addresses of all interfaces."""
        answers = self.ask(addresses_request, many=True)
        with _read():
            return [address for address in (read_address(body) for _, body in answers) if address is not None]

    def route(self, address: str, interface: int = 0) -> Route:
        """Where packets for `address` go."""
        answers = self.ask(lambda number: route_request(number, address, interface))
        with _read():
            return read_route(answers[0][1])

    def add(self, interface: int, address: str, valid_s: int) -> None:
        """Add an address, for `valid_s` seconds; EEXIST when it is there."""
        self.ask(lambda number: address_request(NEWADDR, CREATE | EXCL, number, interface, address, valid_s))

    def renew(self, interface: int, address: str, valid_s: int) -> None:
        """Let an address of ours live for `valid_s` seconds from now."""
        self.ask(lambda number: address_request(NEWADDR, CREATE | REPLACE, number, interface, address, valid_s))

    def delete(self, interface: int, address: str) -> None:
        """Take an address away; it is no error when it is not there."""
        try:
            self.ask(lambda number: address_request(DELADDR, 0, number, interface, address, 0))
        except Refused as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
                raise


@contextmanager
def netlink(netns: str) -> Iterator[Netlink]:
    """`Netlink` for a while."""
    talk = Netlink(netns)
    try:
        yield talk
    finally:
        talk.close()


def interface_for(talk: Netlink, network: Network, address: str) -> int:
    """The number of the interface to which a VIP of `network` is added: the network's, else the one to the VIP's neighbours.

    Raises OSError: there is no such interface, or no way to any.
    """
    with inside(network.netns):
        if network.interface:
            return socket.if_nametoindex(network.interface)
        vrf = socket.if_nametoindex(network.device) if network.device else 0
    route = talk.route(address, vrf)
    if route.kind == LOCAL or not route.interface:
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
    return route.interface


def interface_name(netns: str, interface: int) -> str:
    """What an interface is called. Raises OSError."""
    with inside(netns):
        return socket.if_indextoname(interface)


def announce(netns: str, interface: int, address: str) -> None:
    """Tell the neighbours on an interface that `address` is here now. Raises OSError; it takes CAP_NET_RAW."""
    with inside(netns):
        name = socket.if_indextoname(interface)
        frames = announcements(hardware_address(name), address)
    with make_socket(socket.AF_PACKET, socket.SOCK_RAW, Network(netns=netns)) as sock:
        sock.bind((name, 0))
        for frame in frames:
            sock.send(frame)


def is_ours(address: Address) -> bool:
    """Whether it carries our mark."""
    return address.protocol == OURS
