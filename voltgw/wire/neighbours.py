"""What tells the neighbours on a wire that an address is here now: Ethernet frames, whole; sans-IO."""

from __future__ import annotations

import socket
import struct
from typing import Final

_EVERYBODY: Final = b"\xff" * 6
_ALL_NODES_MAC: Final = bytes.fromhex("333300000001")           # RFC 2464 7
_ALL_NODES: Final = socket.inet_pton(socket.AF_INET6, "ff02::1")
_ARP: Final = 0x0806
_IPV6: Final = 0x86DD
_ICMPV6: Final = 58
_ADVERTISEMENT: Final = 136
#: We replace what a neighbour knew before (RFC 4861 4.4, the O flag).
_OVERRIDE: Final = 0x20000000
REQUEST, REPLY = 1, 2


def announcements(mac: bytes, address: str) -> tuple[bytes, ...]:
    """The frames that say that `address` is at `mac`: two of ARP (RFC 5227 3; some only heed the one, some the other), or an
    unsolicited neighbour advertisement (RFC 4861 7.2.6).
    """
    if ":" in address:
        return (_advertisement(mac, socket.inet_pton(socket.AF_INET6, address)),)
    packed = socket.inet_pton(socket.AF_INET, address)
    return _arp(mac, packed, REQUEST), _arp(mac, packed, REPLY)


def _arp(mac: bytes, address: bytes, operation: int) -> bytes:
    target = bytes(6) if operation == REQUEST else _EVERYBODY
    return _EVERYBODY + mac + struct.pack("!HHHBBH", _ARP, 1, 0x0800, 6, 4, operation) + mac + address + target + address


def _advertisement(mac: bytes, address: bytes) -> bytes:
    body = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, _OVERRIDE) + address + b"\x02\x01" + mac
    pseudo = address + _ALL_NODES + struct.pack("!II", len(body), _ICMPV6)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), _ICMPV6, 255) + address + _ALL_NODES
    return _ALL_NODES_MAC + mac + struct.pack("!H", _IPV6) + header + body


def _checksum(data: bytes) -> int:
    """RFC 1071; `data` has an even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
