"""Messages of rtnetlink(7) about addresses, routes and rules: written and read; sans-IO.

Numbers are in the host's byte order, attributes are padded to four bytes.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

#: linux/rtnetlink.h
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWRULE, DELRULE, GETRULE = 32, 33, 34
#: linux/netlink.h
REQUEST, ACK, DUMP, REPLACE, EXCL, CREATE = 0x1, 0x4, 0x300, 0x100, 0x200, 0x400
_ERROR: Final = 2
_DONE: Final = 3
_HEADER: Final = struct.Struct("=IHHII")                # length, type, flags, sequence number, port
_ATTRIBUTE: Final = struct.Struct("=HH")
_IFADDRMSG: Final = struct.Struct("=BBBBI")             # family, prefix length, flags, scope, interface
#: Family, length of destination and of source, TOS, table, protocol, scope, type, flags.
_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_CACHEINFO: Final = struct.Struct("=IIII")              # preferred, valid (seconds), created, updated
_U32: Final = struct.Struct("=I")
# attributes of addresses (linux/if_addr.h)
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS, _IFA_PROTO = 1, 2, 6, 8, 11
_IFA_F_NODAD, _IFA_F_NOPREFIXROUTE = 0x02, 0x200
# attributes of routes and rules (linux/rtnetlink.h, linux/fib_rules.h)
_RTA_DST, _RTA_OIF, _RTA_TABLE = 1, 4, 15
_FRA_PRIORITY, _FRA_FWMARK, _FRA_TABLE, _FRA_PROTOCOL, _FRA_FWMASK = 6, 10, 15, 21, 16
#: Types and scopes of routes.
LOCAL: Final = 2
_SCOPE_HOST: Final = 254
_TO_TABLE: Final = 1
_UNSPEC_TABLE: Final = 0
#: By this number addresses, routes and rules that we have made are told from all others ("v").
OURS: Final = 118
#: The life of an address that does not end.
FOREVER: Final = 0xFFFFFFFF
_ALL_BITS: Final = 0xFFFFFFFF
# linux/netfilter/nfnetlink.h, nf_tables.h
_NFGENMSG: Final = struct.Struct("=BBH")                # family, version, resource
_NFT_GETTABLE: Final = 10 << 8 | 1
_NFPROTO_INET: Final = 1


class Address(NamedTuple):
    """An address of an interface: `protocol` tells who has made it (`OURS`; 0: nobody says), `valid_s` how long it lives."""

    interface: int
    address: str
    prefix: int
    protocol: int
    valid_s: int


class Route(NamedTuple):
    """Where packets for an address go: `kind` is `LOCAL` for one of the host's own, `interface` 0 where none is named."""

    kind: int
    interface: int


class Refused(OSError):
    """The kernel has refused a request; `errno` says why."""


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """A whole message."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | REQUEST, sequence, 0) + body


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute."""
    size = _ATTRIBUTE.size + len(data)
    return _ATTRIBUTE.pack(size, kind) + data + bytes(-size % 4)


def family_of(address: str) -> tuple[int, bytes]:
    """The address family and the packed form. Raises OSError when it is no address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)


def address_request(kind: int, flags: int, sequence: int, interface: int, address: str, valid_s: int) -> bytes:
    """Add, renew (`REPLACE`) or delete a single address, marked as ours.

    An IPv6 one is deprecated from the start: it takes connections, but the kernel does not choose it for ours. There is no
    detection of duplicates, since another gateway may have had it until now.
    """
    family, packed = family_of(address)
    six = family == socket.AF_INET6
    body = _IFADDRMSG.pack(family, 128 if six else 32, 0, 0, interface) + attribute(_IFA_LOCAL, packed)
    body += attribute(_IFA_ADDRESS, packed)
    if kind == NEWADDR:
        body += attribute(_IFA_FLAGS, _U32.pack(_IFA_F_NOPREFIXROUTE | (_IFA_F_NODAD if six else 0)))
        body += attribute(_IFA_CACHEINFO, _CACHEINFO.pack(0 if six else valid_s, valid_s, 0, 0))
        body += attribute(_IFA_PROTO, bytes((OURS,)))
    return message(kind, flags | ACK, sequence, body)


def addresses_request(sequence: int) -> bytes:
    """Ask for all addresses of all interfaces."""
    return message(GETADDR, DUMP, sequence, _IFADDRMSG.pack(0, 0, 0, 0, 0))


def route_request(sequence: int, address: str, interface: int = 0) -> bytes:
    """Ask where packets for `address` go; `interface` (0 = any) names a VRF whose routes decide."""
    family, packed = family_of(address)
    body = _RTMSG.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0) + attribute(_RTA_DST, packed)
    if interface:
        body += attribute(_RTA_OIF, _U32.pack(interface))
    return message(GETROUTE, 0, sequence, body)


def local_route_request(kind: int, flags: int, sequence: int, family: int, table: int, loopback: int) -> bytes:
    """Make or remove a route in `table` by which every address counts as one of this host (``local default dev lo``)."""
    body = _RTMSG.pack(family, 0, 0, 0, _UNSPEC_TABLE, OURS, _SCOPE_HOST, LOCAL, 0)
    body += attribute(_RTA_TABLE, _U32.pack(table)) + attribute(_RTA_OIF, _U32.pack(loopback))
    return message(kind, flags | ACK, sequence, body)


def rule_request(kind: int, flags: int, sequence: int, family: int, mark: int, table: int, priority: int) -> bytes:
    """Make or remove a rule: packets with `mark` are routed by `table`."""
    body = _RTMSG.pack(family, 0, 0, 0, _UNSPEC_TABLE, 0, 0, _TO_TABLE, 0)
    body += attribute(_FRA_FWMARK, _U32.pack(mark)) + attribute(_FRA_FWMASK, _U32.pack(_ALL_BITS))
    body += attribute(_FRA_TABLE, _U32.pack(table)) + attribute(_FRA_PRIORITY, _U32.pack(priority))
    body += attribute(_FRA_PROTOCOL, bytes((OURS,)))
    return message(kind, flags | ACK, sequence, body)


def table_request(sequence: int, name: str) -> bytes:
    """Ask nfnetlink, not rtnetlink, whether nftables has a table of family inet of that name; ENOENT when it has not."""
    return message(_NFT_GETTABLE, ACK, sequence, _NFGENMSG.pack(_NFPROTO_INET, 0, 0) + attribute(1, name.encode() + b"\0"))


def read_messages(data: bytes, sequence: int) -> Iterator[tuple[int, bytes] | None]:
    """Type and body of each message that answers request `sequence`; None at the end of a dump, or for an acknowledgement.

    Raises `Refused`, and ValueError when the kernel sends what cannot be read.
    """
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind, _, number, _ = _HEADER.unpack_from(data, at)
        if size < _HEADER.size or at + size > len(data):
            raise ValueError("a message of rtnetlink is cut off")
        body = data[at + _HEADER.size:at + size]
        at += size + -size % 4
        if number != sequence:
            continue                        # of a request that was given up
        if kind == _DONE:
            yield None
        elif kind == _ERROR:
            error = -int.from_bytes(body[:4], "little" if struct.pack("=H", 1) == b"\1\0" else "big", signed=True)
            if error:
                raise Refused(error, os.strerror(error))
            yield None
        else:
            yield kind, body


def read_address(body: bytes) -> Address | None:
    """The address that a message tells of; None for one of another family. Raises ValueError."""
    try:
        return _address(body)
    except (struct.error, IndexError) as error:
        raise ValueError("a message of rtnetlink is cut off") from error


def _address(body: bytes) -> Address | None:
    family, prefix, _, _, interface = _IFADDRMSG.unpack_from(body)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    found = dict(_attributes(body, _IFADDRMSG.size))
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)       # of a point-to-point one the second is the peer's
    if packed is None:
        return None
    cache = found.get(_IFA_CACHEINFO)
    valid_s = FOREVER if cache is None else _CACHEINFO.unpack_from(cache)[1]
    return Address(interface, socket.inet_ntop(family, packed), prefix, found.get(_IFA_PROTO, b"\0")[0], valid_s)


def read_route(body: bytes) -> Route:
    """The route that a message tells of. Raises ValueError."""
    try:
        kind = _RTMSG.unpack_from(body)[7]
        oif = dict(_attributes(body, _RTMSG.size)).get(_RTA_OIF)
        return Route(kind, 0 if oif is None else _U32.unpack(oif)[0])
    except struct.error as error:
        raise ValueError("a message of rtnetlink is cut off") from error


def _attributes(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + _ATTRIBUTE.size <= len(body):
        size, kind = _ATTRIBUTE.unpack_from(body, at)
        if size < _ATTRIBUTE.size or at + size > len(body):
            raise ValueError("an attribute of rtnetlink is cut off")
        yield kind & 0x3FFF, body[at + _ATTRIBUTE.size:at + size]
        at += size + -size % 4
