"""Where a connection was meant to go that the host's packet rules have brought to us instead.

Two ways of capture leave two traces. TPROXY does not change the packet: the accepted socket's own address *is* the one that the
client wanted. REDIRECT rewrites it, and connection tracking remembers what stood there: SO_ORIGINAL_DST asks it.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final, Literal

from voltgw.net.sockets import plain_address

#: How connections are captured; a listener for them is made with ``transparent=`` one of these.
Transparent = Literal["tproxy", "redirect"]

# ip(7), ipv6(7), linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h; Python has no names for them
IP_TRANSPARENT: Final = 19
IPV6_TRANSPARENT: Final = 75
_SO_ORIGINAL_DST: Final = 80
_SOCKADDR_IN: Final = struct.Struct("!2xH4s8x")             # family (of the host's byte order) is passed over
_SOCKADDR_IN6: Final = struct.Struct("!2xH4x16s4x")
#: The connection is not tracked, or its rewriting is not known any more.
_UNKNOWN: Final = frozenset((errno.ENOENT, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.ENOTCONN, errno.EINVAL))


def original_destination(sock: socket.SocketType) -> tuple[str, int] | None:
    """(IP address, port) that the client of an accepted TCP connection has connected to; None when it meant us.

    For a listener of TPROXY every connection has one: whoever connects to an address of ours gets that very address, which
    the caller has to refuse (it would be a way to our own ports, or a loop). None as well when the host cannot say, and when
    the client is gone already.
    """
    try:
        local = plain_address(sock.getsockname())
        if sock.family == socket.AF_INET6:
            transparent = sock.getsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT)
        elif sock.family == socket.AF_INET:
            transparent = sock.getsockopt(socket.IPPROTO_IP, IP_TRANSPARENT)
        else:
            return None
        if transparent:
            return local
        if ":" in local[0]:
            port, packed = _SOCKADDR_IN6.unpack(sock.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, _SOCKADDR_IN6.size))
            meant = (socket.inet_ntop(socket.AF_INET6, packed), port)
        else:
            port, packed = _SOCKADDR_IN.unpack(sock.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, _SOCKADDR_IN.size))
            meant = (socket.inet_ntop(socket.AF_INET, packed), port)
    except OSError as error:
        if error.errno in _UNKNOWN:
            return None
        raise
    return None if meant == local else meant
