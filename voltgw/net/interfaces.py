"""What the kernel says of the interfaces of a network: asked by socket calls alone, nothing is sent and nothing waits."""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import Final

from voltgw.net.namespaces import inside
from voltgw.values.network import Network

# netdevice(7), if_arp.h
_SIOCGIFADDR: Final = 0x8915
_SIOCGIFHWADDR: Final = 0x8927
_IFREQ: Final = struct.Struct("16s24x")
#: Addresses by interface, of the namespace that the thread is in: the process's own /proc/net is another thread's, perhaps.
_IF_INET6: Final = "/proc/thread-self/net/if_inet6"
_LOOPBACK: Final = "lo"
_GLOBAL_SCOPE: Final = "00"


def interface_address(network: Network) -> str:
    """The address that the interface of `network` has, of any interface where the network names none; "" = none.

    The first IPv4 address, or else the first global IPv6 one. "" as well where there is no such network.
    """
    try:
        with inside(network.netns):
            wanted = network.interface or network.device
            names = [wanted] if wanted else [name for _, name in socket.if_nameindex() if name != _LOOPBACK]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
                for name in names:
                    found = _ipv4(probe, name)
                    if found:
                        return found
            return _ipv6(names)
    except OSError:
        return ""


def _ipv4(probe: socket.socket, name: str) -> str:
    try:
        answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, _IFREQ.pack(name.encode()))
    except OSError:
        return ""                           # the interface has none
    return socket.inet_ntoa(answer[20:24])


def _ipv6(names: list[str]) -> str:
    with open(_IF_INET6, encoding="ascii") as table:
        for line in table:
            packed, _, _, scope, _, name = line.split()
            if name in names and scope == _GLOBAL_SCOPE:
                return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(packed))
    return ""


def hardware_address(interface: str) -> bytes:
    """The MAC address of an interface of the namespace that the thread is in. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        answer = fcntl.ioctl(probe.fileno(), _SIOCGIFHWADDR, _IFREQ.pack(interface.encode()))
    return bytes(answer[18:24])
