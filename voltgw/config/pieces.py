"""Large files in pieces, so that a changed object costs that object and a parse holds some objects at a time, not all.

A file is cut by its lines alone: at ``---`` between documents, and in a document of our own form at the dashes of the block
list ``objects:``. That is safe because a cut is only believed when the parser finds exactly the values that were cut, each
on the line where it was cut; otherwise the file is read as a whole, which also gives the right error for what is wrong in it.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from voltgw.config.origin import has_anchor

#: Files below this many characters are read as a whole: it takes some 3 ms, and nothing can be gained.
SMALL: Final = 12 * 1024
#: Objects that are parsed together: about 2 ms, and one parser for all of them.
BATCH: Final = 16
#: Characters that are searched in one step, which is less than 1 ms.
WINDOW: Final = 128 * 1024
#: Lines of a list, or documents, in one step, likewise.
_ITEMS: Final = 256

# All patterns begin with the line end before a line: `re` finds a first character ten times faster than it finds a ``^``.
# They are matched against the text with a line end in front, in which a match begins where the line begins in the text.
_MARKER: Final = re.compile(r"\n---[ \t]*(?:#[^\n]*)?\r?(?=\n)")
#: Directives, an explicit end of a document, content on a marker's line: rare, and not worth cutting.
_UNUSUAL: Final = re.compile(r"\n(?:%|\.\.\.|---[ \t]+[^#\s])")
_OBJECTS: Final = re.compile(r"\nobjects:[ \t]*(?:#[^\n]*)?\r?(?=\n)")
_OWN: Final = re.compile(r"\n(?:gateway|defaults|include|objects|load_balancers):")
_FIRST: Final = re.compile(r"(?:\n[ \t]*(?:#[^\n]*)?\r?(?=\n))*\n( *)-(?=[ \r\n])")
_CONTENT: Final = re.compile(r"\n[ \t]*[^\s#]")


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
    steps = cutting(text)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: Cut | None = done.value
            return found


def cutting(text: str) -> Generator[None, None, Cut | None]:
    """`cut`, in steps."""
    if len(text) < SMALL:
        return None
    yield
    if "\r" in text and "\r" in text.replace("\r\n", "") or has_anchor(text):
        return None                             # an anchor is one for the whole of a document
    yield
    lead = f"\n{text}"
    yield
    if (yield from _matches(_UNUSUAL, lead, 0, len(lead))):
        return None
    markers = yield from _matches(_MARKER, lead, 0, len(lead))
    starts = [0, *(match.end() for match in markers)]
    ends = [*(match.start() for match in markers), len(text)]
    pieces: list[Piece] = []
    rests: list[str] = []
    line = 0
    for count, (start, end, before) in enumerate(zip(starts, ends, [0, *starts], strict=False)):
        if count % _ITEMS == _ITEMS - 1:
            yield
        line += text.count("\n", before, start)
        if not _CONTENT.search(lead, start, end + 1):
            continue
        heads = yield from _matches(_OBJECTS, lead, start, end + 1)
        if not heads:
            if _OWN.search(lead, start, end + 1):
                return None                     # a part of our own form that stands alone
            pieces.append(Piece(start, end, line, item=False))
            continue
        bounds = (yield from _items(lead, heads[0].end(), end)) if len(heads) == 1 else None
        if bounds is None:
            return None
        yield
        rest = "\n" * line + text[start:bounds[0]]
        if _CONTENT.search(lead, bounds[-1], end + 1):
            rest += "\n" * text.count("\n", bounds[0], bounds[-1]) + text[bounds[-1]:end]
        rests.append(rest)
        yield
        number = line + text.count("\n", start, bounds[0])
        for items, (begin, stop) in enumerate(pairwise(bounds)):
            if items % _ITEMS == _ITEMS - 1:
                yield
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


def _matches(pattern: re.Pattern[str], text: str, start: int, end: int) -> Generator[None, None, list[re.Match[str]]]:
    """All matches of a pattern that matches within one line and the line end before it."""
    found: list[re.Match[str]] = []
    while True:
        stop = text.rfind("\n", start + 1, start + WINDOW) if end - start > WINDOW else -1
        if stop < 0:
            found += pattern.finditer(text, start, end)
            return found
        found += pattern.finditer(text, start, stop + 1)
        start = stop
        yield


def _items(lead: str, start: int, end: int) -> Generator[None, None, list[int] | None]:
    """Where the items of a block list begin, and where the last one ends; None when what follows is no such list.

    `start` is where the line behind ``objects:`` begins.
    """
    first = _FIRST.match(lead, start, end + 1)
    if first is None:
        return None
    indent = len(first[1])
    begin = first.start(1) - 1                  # in `lead` the line end before the first dash
    dash = re.compile(rf"\n {{{indent}}}-(?=[ \r\n])")
    # The list ends at the first line that is indented less, or as much and is no item.
    outer = re.compile(rf"\n(?: {{0,{indent - 1}}}[^\s#]| {{{indent}}}[^\s#-])" if indent else r"\n[^\s#-]")
    over = yield from _matches(outer, lead, begin, end + 1)
    stop = over[0].start() if over else end
    found = yield from _matches(dash, lead, begin, stop + 1)
    return [*(match.start() for match in found), stop]
