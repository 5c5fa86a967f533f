"""XXH64: the hash by which ring hash and Maglev place endpoints, the same in every process, at every site and in Envoy.

The algorithm is that of the xxHash specification ("XXH64 algorithm description"). It runs only while tables are built: a
request brings a key that is hashed already.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

_MASK: Final = 0xFFFFFFFFFFFFFFFF
_P1: Final = 0x9E3779B185EBCA87
_P2: Final = 0xC2B2AE3D27D4EB4F
_P3: Final = 0x165667B19E3779F9
_P4: Final = 0x85EBCA77C2B2AE63
_P5: Final = 0x27D4EB2F165667C5
_stripe: Final = Struct("<QQQQ").unpack_from
_number: Final = int.from_bytes


def xxh64(data: bytes, seed: int = 0) -> int:
    """64 bits of `data`; `seed` is below 2**64. A short key takes a few microseconds."""
    length = len(data)
    at = 0
    if length >= 32:
        lanes = [(seed + _P1 + _P2) & _MASK, (seed + _P2) & _MASK, seed, (seed - _P1) & _MASK]
        while at <= length - 32:
            lanes = [_round(lane, word) for lane, word in zip(lanes, _stripe(data, at), strict=True)]
            at += 32
        turned = zip(lanes, (1, 7, 12, 18), strict=True)
        result = sum((lane << by | lane >> (64 - by)) & _MASK for lane, by in turned) & _MASK
        for lane in lanes:
            result = ((result ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        result = (seed + _P5) & _MASK
    result += length
    while at <= length - 8:
        word = _number(data[at:at + 8], "little") * _P2 & _MASK
        word = (word << 31 | word >> 33) & _MASK
        result = (result ^ word * _P1) & _MASK
        result = ((result << 27 | result >> 37) * _P1 + _P4) & _MASK
        at += 8
    if at <= length - 4:
        result ^= _number(data[at:at + 4], "little") * _P1 & _MASK
        result = (result << 23 | (result & _MASK) >> 41) & _MASK
        result = (result * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        result = (result ^ byte * _P5) & _MASK
        result = (result << 11 | result >> 53) * _P1 & _MASK
    result &= _MASK
    result = (result ^ result >> 33) * _P2 & _MASK
    result = (result ^ result >> 29) * _P3 & _MASK
    return result ^ result >> 32


def _round(lane: int, word: int) -> int:
    lane = (lane + word * _P2) & _MASK
    return (lane << 31 | lane >> 33) * _P1 & _MASK
