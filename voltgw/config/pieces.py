"""Large files in pieces, so that a changed object costs that object and a parse holds some objects at a time, not all.

A file is cut by its lines alone: at ``---`` between documents, and in a document of our own form at the dashes of the block
list ``objects:``. That is safe because a cut is only believed when the parser finds exactly the values that were cut, each
on the line where it was cut; otherwise the file is read as a whole, which also gives the right error for what is wrong in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from voltgw.config.origin import ANCHOR

#: Files below this many characters are read as a whole: it takes less than 20 ms, and nothing can be gained.
SMALL: Final = 48 * 1024
#: Objects that are parsed together: about 10 ms, and one parser for all of them.
BATCH: Final = 128

_MARKER: Final = re.compile(r"^---[ \t]*(?:#[^\n]*)?\r?\n", re.MULTILINE)
#: Directives, an explicit end of a document, content on a marker's line: rare, and not worth cutting.
_UNUSUAL: Final = re.compile(r"^(?:%|\.\.\.|---[ \t]+[^#\s])", re.MULTILINE)
_OBJECTS: Final = re.compile(r"^objects:[ \t]*(?:#[^\n]*)?\r?\n", re.MULTILINE)
_OWN: Final = re.compile(r"^(?:gateway|defaults|include|objects|load_balancers):", re.MULTILINE)
_FIRST: Final = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)*( *)-(?=[ \r\n])")
_CONTENT: Final = re.compile(r"^[ \t]*[^\s#]", re.MULTILINE)


class Piece(NamedTuple):
    """A part of a file: characters `start` to `end`, which begin on `line` (from 0).

    `item` tells an item of ``objects:`` (parsed with its dash) from a whole document.
    """

    start: int
    end: int
    line: int
    item: bool


class Cut(NamedTuple):
    """A file in pieces, and per document of our own form the text that is left, with its lines where they were."""

    pieces: tuple[Piece, ...]
    rests: tuple[str, ...]


def cut(text: str) -> Cut | None:
    """The pieces of a file; None when it is small or cannot be cut into at least two."""
    if len(text) < SMALL or "\r" in text.replace("\r\n", "") or _UNUSUAL.search(text) or ANCHOR.search(text):
        return None                             # an anchor is one for the whole of a document
    pieces: list[Piece] = []
    rests: list[str] = []
    for start, end in _documents(text):
        if not _CONTENT.search(text, start, end):
            continue
        line = text.count("\n", 0, start)
        heads = [match.end() for match in _OBJECTS.finditer(text, start, end)]
        if not heads:
            if _OWN.search(text, start, end):
                return None                         # a part of our own form that stands alone
            pieces.append(Piece(start, end, line, item=False))
            continue
        bounds = _items(text, heads[0], end) if len(heads) == 1 else None
        if bounds is None:
            return None
        rests.append("\n" * line + text[start:bounds[0]] + "\n" * text.count("\n", bounds[0], bounds[-1])
                     + text[bounds[-1]:end])
        number = text.count("\n", 0, bounds[0])
        for begin, stop in pairwise(bounds):
            pieces.append(Piece(begin, stop, number, item=True))
            number += text.count("\n", begin, stop)
    return Cut(tuple(pieces), tuple(rests)) if len(pieces) > 1 else None


def batches(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """Runs of pieces that follow each other and are of one sort, at most `BATCH` in each."""
    run: list[Piece] = []
    for piece in pieces:
        if run and (len(run) >= BATCH or piece.start != run[-1].end or piece.item != run[-1].item or not piece.item):
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _documents(text: str) -> Iterator[tuple[int, int]]:
    """Where documents begin and end, markers left out."""
    start = 0
    for match in _MARKER.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def _items(text: str, start: int, end: int) -> list[int] | None:
    """Where the items of a block list begin, and where the last one ends; None when what follows is no such list."""
    first = _FIRST.match(text, start, end)
    if first is None:
        return None
    indent = len(first[1])
    dash = re.compile(rf"^ {{{indent}}}-(?=[ \r\n])", re.MULTILINE)
    # The list ends at the first line that is indented less, or as much and is no item.
    outer = re.compile(rf"^(?: {{0,{indent - 1}}}[^\s#]| {{{indent}}}[^\s#-])" if indent else r"^[^\s#-]", re.MULTILINE)
    over = outer.search(text, first.start(1), end)
    stop = over.start() if over is not None else end
    return [*(match.start() for match in dash.finditer(text, first.start(1), stop)), stop]
