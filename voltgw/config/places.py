"""Where objects stand: the file they were read from, and the origin that all places inside an object are counted from."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.config.origin import Source, Unreadable, contents
from voltgw.errors import Place

if TYPE_CHECKING:
    from voltgw.config.schema import Partial

#: Columns that fit beside a line in one int (`pack`).
_COLUMNS: Final = 1 << 12


def pack(line: int, column: int) -> int:
    """A line and a column (from 1) as one int; columns beyond 4,095 are shown as that."""
    return line * _COLUMNS + (column if column < _COLUMNS else _COLUMNS - 1)


def unpack(at: int) -> tuple[int, int]:
    """The line and column of a packed int."""
    return divmod(at, _COLUMNS)


class File:
    """Where objects came from: `name` as places show it, `path` to read it again ("" = `text` is all there is)."""

    __slots__ = ("digest", "name", "path", "text")

    def __init__(self, name: str, path: str, digest: str, text: str = "") -> None:
        self.name = name
        self.path = path
        self.digest = digest
        self.text = text

    def source(self) -> Source | None:
        """Its text as it was loaded; None when the file has changed or gone since."""
        if not self.path:
            return Source(self.name, self.text, self.digest)
        return _read_again(self.path, self.name, self.digest)


class Defaults(NamedTuple):
    """The defaults of one kind, and the file in which they stand."""

    file: File
    partial: Partial


class Origin:
    """Where one object stands: characters `start` to `end` of `file`, beginning at `line` and `column`.

    Everything inside the object remembers its place relative to this one. When text above an object that did not change is
    edited, its origin moves, and with it all places that belong to the object; that is why this, alone, may change.
    """

    __slots__ = ("column", "defaults", "end", "file", "line", "start")

    def __init__(self, file: File, start: int, end: int, line: int, column: int, defaults: Defaults | None = None) -> None:
        self.file = file
        self.start = start
        self.end = end
        self.line = line
        self.column = column
        self.defaults = defaults            # what was laid under the object's spec

    @property
    def place(self) -> Place:
        """Where the object begins."""
        return Place(self.file.name, self.line, self.column)

    def inside(self, at: int) -> Place:
        """The place of a part: `at` packs its line, counted from the object's; negative: one in the file of the defaults."""
        if at < 0 and self.defaults is not None:
            return Place(self.defaults.file.name, *unpack(-at))
        line, column = unpack(at)
        return Place(self.file.name, self.line + line, column)


@lru_cache(maxsize=2)
def _read_again(path: str, name: str, digest: str) -> Source | None:
    """The text of a file that was loaded before (the last two are kept, since places are asked for in bunches)."""
    try:
        data = contents(path)
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != digest:
        return None
    try:
        return Source.decode(name, data)
    except Unreadable:
        return None
