"""How durations and sizes are read: a plain number is in the unit of its field, a unit may be written."""

from __future__ import annotations

from typing import Literal

from yaml.nodes import Node

from voltgw.config import units
from voltgw.config.reader import MISSING, Missing, Reader
from voltgw.config.types import Schema, Type


class Duration(Type[float, None]):
    """A length of time; a plain number is in `unit`, and limits are too. Zero is absent unless `zero` says otherwise."""

    default = None
    suffix = "_s"

    def __init__(self, unit: Literal["ms", "s", "m", "h", "d"], least: float = 0, most: float | None = None, *,
                 zero: Literal["absent", "value"] = "absent") -> None:
        self.unit = unit
        self.least = least
        self.most = most
        self.zero = zero
        self.words = f"a duration: a number of {units.LONG[unit]}, or one with a unit such as 250ms, 30s, 5m"

    def read(self, node: Node, reader: Reader) -> float | Missing:
        text = self.scalar(node, reader)
        if text is MISSING:
            return MISSING
        if self.least < 0 and text.strip() in ("-1", "-1s"):
            return -units.SECONDS[self.unit]
        try:
            value = units.seconds(text, self.unit)
        except ValueError as error:
            return reader.wrong(node, "VG0111", str(error))
        if value == 0 and self.least > 0 and self.zero == "absent":
            return value
        scale = units.SECONDS[self.unit]
        # A rounding error must not refuse the limit itself: 0.6 s against 600 ms.
        if value < self.least * scale - 1e-9 or self.most is not None and value > self.most * scale + 1e-9:
            return reader.wrong(node, "VG0103", f"{text} is outside {self.limits()}")
        return value

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        number: Schema = {"type": "number", "minimum": 0 if self.zero == "absent" and self.least > 0 else self.least}
        if self.most is not None:
            number["maximum"] = self.most
        return {"anyOf": [number, {"type": "string", "pattern": r"^([0-9.]+\s*(ns|us|µs|ms|s|m|h|d)?\s*)+$|\$\{"}]}

    def absent(self, value: float) -> bool:
        return value == 0 and self.zero == "absent"

    def plain(self, value: float) -> object:
        return units.show_seconds(value) if value >= 0 else -1

    def limits(self) -> str:
        if self.most is None:
            return f"at least {self.least:.15g} {self.unit}" if self.least > 0 else ""
        return f"{self.least:.15g} to {self.most:.15g} {self.unit}"


class Size(Type[int, None]):
    """An amount of bytes; a plain number is in `unit`, and limits are too."""

    default = None
    suffix = "_bytes"

    def __init__(self, unit: Literal["B", "KiB"], least: int = 0, most: int | None = None) -> None:
        self.unit = unit
        self.least = least
        self.most = most
        self.words = f"a size: a number of {units.LONG[unit]}, or one with a unit such as 64KiB, 1MiB"

    def read(self, node: Node, reader: Reader) -> int | Missing:
        text = self.scalar(node, reader)
        if text is MISSING:
            return MISSING
        try:
            value = units.size(text, self.unit)
        except ValueError as error:
            return reader.wrong(node, "VG0111", str(error))
        scale = units.BYTES[self.unit.lower()]
        if value and value < self.least * scale or self.most is not None and value > self.most * scale:
            return reader.wrong(node, "VG0103", f"{text} is outside {self.limits()}")
        return value

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        number: Schema = {"type": "number", "minimum": 0}
        if self.most is not None:
            number["maximum"] = self.most
        return {"anyOf": [number, {"type": "string", "pattern": r"^[0-9.]+\s*[A-Za-z]*$|\$\{"}]}

    def absent(self, value: int) -> bool:
        return value == 0

    def plain(self, value: int) -> object:
        return units.show_bytes(value)

    def limits(self) -> str:
        if self.most is None:
            return f"at least {self.least} {self.unit}" if self.least else ""
        return f"{self.least} to {self.most} {self.unit}"
