"""How ports and ranges of numbers are read."""

from __future__ import annotations

from itertools import pairwise

from yaml.nodes import Node

from voltgw.config.reader import MISSING, Missing, Reader
from voltgw.config.types import Schema, Type
from voltgw.config.values import Range


class Ports(Type[tuple[Range, ...], tuple[Range, ...]]):
    """A list of ports in one text: ``80,443,8080-8191``."""

    default: tuple[Range, ...] = ()
    words = "ports such as 80,443,8080-8191"

    def __init__(self, most: int = 1024, longest: int = 512) -> None:
        self.most = most
        self.longest = longest                      # text

    def read(self, node: Node, reader: Reader) -> tuple[Range, ...] | Missing:
        text = self.scalar(node, reader)
        if text is MISSING:
            return MISSING
        if len(text) > self.longest:
            return reader.wrong(node, "VG0103", f"{len(text)} characters are more than the {self.longest} that are allowed")
        ranges: list[Range] = []
        for part in text.split(","):
            try:
                ranges.append(number_range(part.strip(), 1, 65535))
            except ValueError as error:
                return reader.wrong(node, "VG0110", f"{text!r} is not {self.words}: {error}")
        ordered = sorted(ranges, key=lambda r: r.first)
        for before, after in pairwise(ordered):
            if after.first <= before.last:
                return reader.wrong(node, "VG0113", f"{before} and {after} overlap")
        if sum(len(r) for r in ranges) > self.most:
            return reader.wrong(node, "VG0103", f"{sum(len(r) for r in ranges)} ports are more than {self.most}")
        return tuple(ranges)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"anyOf": [{"type": "string", "pattern": r"^[0-9]+(-[0-9]+)?(\s*,\s*[0-9]+(-[0-9]+)?)*$|\$\{"},
                          {"type": "integer", "minimum": 1, "maximum": 65535}]}

    def plain(self, value: tuple[Range, ...]) -> object:
        return ",".join(map(str, value))

    def limits(self) -> str:
        return f"at most {self.most} ports in {self.longest} characters"


class Between(Type[Range, None]):
    """One number or a range of numbers (``200`` or ``200-250``)."""

    default = None

    def __init__(self, least: int, most: int, words: str) -> None:
        self.least = least
        self.most = most
        self.words = words

    def read(self, node: Node, reader: Reader) -> Range | Missing:
        text = self.scalar(node, reader)
        if text is MISSING:
            return MISSING
        try:
            return number_range(text.strip(), self.least, self.most)
        except ValueError as error:
            return reader.wrong(node, "VG0110", f"{text!r} is not {self.words}: {error}")

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"anyOf": [{"type": "string", "pattern": r"^[0-9]+(-[0-9]+)?$|\$\{"},
                          {"type": "integer", "minimum": self.least, "maximum": self.most}]}

    def plain(self, value: Range) -> object:
        return str(value)

    def limits(self) -> str:
        return f"{self.least} to {self.most}"


def number_range(text: str, least: int, most: int) -> Range:
    """``200`` or ``200-250`` as a `Range`; raises ValueError with the reason."""
    first, dash, last = text.partition("-")
    try:
        result = Range(int(first), int(last) if dash else int(first))
    except ValueError:
        raise ValueError(f"{text!r} is neither a number nor a range") from None
    if result.first < least or result.last > most:
        raise ValueError(f"{text} is outside {least} to {most}")
    if result.last < result.first:
        raise ValueError(f"{text} ends before it begins")
    return result
