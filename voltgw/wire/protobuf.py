"""Protocol Buffers' encoding (https://protobuf.dev/programming-guides/encoding/), as far as messages by hand need it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
#: Octets of the longest varint.
_MOST_OCTETS: Final = 10
_64_BITS: Final = (1 << 64) - 1
_SHORT: Final = tuple(bytes((number,)) for number in range(128))


def varint(value: int) -> bytes:
    """A number; a negative one as its two's complement in 64 bits (int32, int64)."""
    if 0 <= value < 128:
        return _SHORT[value]                # lengths and keys of fields, nearly all of them
    value &= _64_BITS
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A field with a number; nothing for 0, which is the default (proto3)."""
    return varint(field << 3 | VARINT) + varint(value) if value else b""


def fixed64(field: int, value: int) -> bytes:
    """A field with a number in eight octets, such as a time; nothing for 0."""
    return varint(field << 3 | FIXED64) + value.to_bytes(8, "little") if value else b""


def fixed32(field: int, value: int) -> bytes:
    """A field with a number in four octets; nothing for 0."""
    return varint(field << 3 | FIXED32) + value.to_bytes(4, "little") if value else b""


def octets(field: int, value: bytes) -> bytes:
    """A field with octets, text in UTF-8, or a message; nothing for an empty one. See `message` for one that must be there."""
    return message(field, value) if value else b""


def message(field: int, value: bytes) -> bytes:
    """A field with a message, even an empty one."""
    return varint(field << 3 | BYTES) + varint(len(value)) + value


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in their order, as numbers or octets. Raises ValueError for what is no message."""
    at, end = 0, len(data)
    while at < end:
        key, at = _read(data, at)
        kind = key & 7
        if not key >> 3:
            raise ValueError("a field without a number")
        if kind == VARINT:
            value, at = _read(data, at)
            yield key >> 3, value
            continue
        if kind == BYTES:
            length, at = _read(data, at)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError("a field of a kind that is not used any more")
        if length > end - at:
            raise ValueError("a field that ends behind its message")
        yield key >> 3, data[at:at + length]
        at += length


def _read(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for octet in data[at:at + _MOST_OCTETS]:
        at += 1
        value |= (octet & 127) << shift
        if octet < 128:
            return value & _64_BITS, at
        shift += 7
    raise ValueError("a number without an end")
