"""Durations and sizes as people write them: ``250ms``, ``30s``, ``5m``, ``1h30m``; ``64KiB``, ``1MB``.

A plain number is in the unit that the field's declaration names (the object model gives none in the file). Durations
become float seconds, sizes become int bytes.
"""

from __future__ import annotations

import re
from typing import Final

#: Seconds in each unit. `us` and `µs` are here because other gateways' files use them.
SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
#: Bytes in each unit: KB is 1,000 and KiB 1,024 bytes (IEC 80000-13); a bare K, M or G means the binary one, as in nginx.
BYTES: Final = {
    "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
    "k": 1 << 10, "m": 1 << 20, "g": 1 << 30,
}
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][0-9]+)?")
_PARTS: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ns|us|µs|ms|s|m|h|d)")
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)")


def seconds(text: str, unit: str) -> float:
    """The duration that `text` says, in seconds; `unit` is that of a plain number.

    Parts add up (``1m30s``, ``1m 30s``). Raises ValueError with the reason, fit for a user.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text) * SECONDS[unit]
    total, position = 0.0, 0
    for match in _PARTS.finditer(text):
        if text[position:match.start()].strip():
            break
        total += float(match[1]) * SECONDS[match[2]]
        position = match.end()
    if not text or position != len(text):
        raise ValueError(f"{text!r} is not a duration; write a number of {LONG[unit]} or one with a unit: 250ms, 30s, 5m")
    return total


def size(text: str, unit: str) -> int:
    """The size that `text` says, in bytes; `unit` is that of a plain number.

    Raises ValueError with the reason, fit for a user.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return round(float(text) * BYTES[unit.lower()])
    match = _SIZE.fullmatch(text)
    factor = BYTES.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a size; write a number of {LONG[unit]} or one with a unit: 64KiB, 1MiB")
    return round(float(match[1]) * factor)


#: How a unit is named in a sentence.
LONG: Final = {
    "ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "B": "bytes", "KiB": "KiB",
}


def show_seconds(value: float) -> str:
    """A duration as one would write it, in the largest unit that makes a whole number: ``1500ms``, ``30s``, ``5m``."""
    for unit in ("d", "h", "m", "s", "ms"):
        amount = value / SECONDS[unit]
        if amount >= 1 and abs(amount - round(amount)) < 1e-9 * amount:
            return f"{round(amount)}{unit}"
    return "0s" if value == 0 else f"{value * 1e3:g}ms"


def show_bytes(value: int) -> str:
    """A size as one would write it, in the largest binary unit that makes a whole number: ``64KiB``, ``1000B``."""
    for unit in ("GiB", "MiB", "KiB"):
        if value and value % BYTES[unit.lower()] == 0:
            return f"{value // BYTES[unit.lower()]}{unit}"
    return f"{value}B"
