"""SipHash-2-4 with a key of 16 bytes (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012).

It authenticates short strings that strangers choose; DNS cookies are made of it (RFC 9018 4.4).
"""

from __future__ import annotations

from typing import Final

KEY_BYTES: Final = 16
_WORD: Final = 0xFFFFFFFFFFFFFFFF


def siphash24(key: bytes, data: bytes) -> bytes:
    """The eight bytes of SipHash-2-4, little-endian as published. Raises ValueError for a key of another size."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key of SipHash has {KEY_BYTES} bytes")
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    state = (k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573)
    whole = len(data) & ~7
    for start in range(0, whole, 8):
        state = _absorb(state, int.from_bytes(data[start:start + 8], "little"))
    state = _absorb(state, int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56)
    v0, v1, v2, v3 = state
    state = (v0, v1, v2 ^ 0xFF, v3)
    for _ in range(4):
        state = _round(*state)
    v0, v1, v2, v3 = state
    return (v0 ^ v1 ^ v2 ^ v3).to_bytes(8, "little")


def _absorb(state: tuple[int, int, int, int], word: int) -> tuple[int, int, int, int]:
    v0, v1, v2, v3 = state
    v0, v1, v2, v3 = _round(*_round(v0, v1, v2, v3 ^ word))
    return v0 ^ word, v1, v2, v3


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = v0 + v1 & _WORD
    v1 = (v1 << 13 | v1 >> 51) & _WORD ^ v0
    v0 = (v0 << 32 | v0 >> 32) & _WORD
    v2 = v2 + v3 & _WORD
    v3 = (v3 << 16 | v3 >> 48) & _WORD ^ v2
    v0 = v0 + v3 & _WORD
    v3 = (v3 << 21 | v3 >> 43) & _WORD ^ v0
    v2 = v2 + v1 & _WORD
    v1 = (v1 << 17 | v1 >> 47) & _WORD ^ v2
    v2 = (v2 << 32 | v2 >> 32) & _WORD
    return v0, v1, v2, v3
