"""The part of QUIC packets that every version has and nobody encrypts: connection ids (RFC 8999)."""

from __future__ import annotations

from typing import Final, NamedTuple

#: Of the first byte: set in a long header, clear in a short one (RFC 8999 5.1 and 5.2).
LONG: Final = 0x80
#: Longest connection id of versions 1 and 2 (RFC 9000 17.2); longer ones are of a version that we know nothing of.
MAX_ID_BYTES: Final = 20
#: First byte, version, two lengths.
_LEAST_BYTES: Final = 7


class Ids(NamedTuple):
    """The connection ids of a long header: whom the packet is for, and what its sender wants to be called."""

    destination: bytes
    source: bytes


def long_ids(data: bytes | memoryview) -> Ids | None:
    """The ids of the first packet of a datagram; None: it has a short header, or is no QUIC packet of a version like 1 and 2.

    A datagram may hold several packets, but all of one connection (RFC 9000 12.2).
    """
    if len(data) < _LEAST_BYTES or not data[0] & LONG:
        return None
    size = data[5]
    end = 6 + size
    if size > MAX_ID_BYTES or end >= len(data):
        return None
    other = data[end]
    if other > MAX_ID_BYTES or end + 1 + other > len(data):
        return None
    return Ids(bytes(data[6:end]), bytes(data[end + 1:end + 1 + other]))


def short_id(data: bytes | memoryview, size: int) -> bytes | None:
    """The destination of a packet with a short header, where its connection's ids have `size` bytes; None: it has none."""
    if len(data) < 1 + size or data[0] & LONG:
        return None
    return bytes(data[1:1 + size])
