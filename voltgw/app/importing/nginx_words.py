"""nginx's language: words, quotes, blocks, includes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from voltgw.app.importing.model import MAX_DEPTH, Place, UnreadableError
from voltgw.app.importing.words import Files

_SPACE: Final = " \t\r\n"
#: Escapes that mean something in any word; other backslashes stay.
_ESCAPE: Final = re.compile(r"\\(['\"\\ntr])")
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r"}


@dataclass(slots=True)
class Directive:
    """One directive with its words, and with what stands in its block (None = it has none)."""

    name: str
    args: list[str]
    place: Place
    block: list[Directive] | None = None
    inner: dict[str, list[Directive]] = field(default_factory=dict)

    def all(self, name: str) -> list[Directive]:
        """Those of that name in its block."""
        if not self.inner and self.block:
            for each in self.block:
                self.inner.setdefault(each.name, []).append(each)
        return self.inner.get(name, [])

    def last(self, name: str) -> Directive | None:
        """The last of that name in its block."""
        found = self.all(name)
        return found[-1] if found else None

    def text(self) -> str:
        """It, as it might have been written."""
        return " ".join([self.name, *self.args])[:120]


def read(name: str) -> tuple[list[Directive], Files]:
    """The directives of a file and of what it includes. Raises UnreadableError."""
    files = Files()
    return _file(name, files, None, 0), files


def _file(name: str, files: Files, place: Place | None, depth: int) -> list[Directive]:
    text = files.read(name, place)
    try:
        return _parse(_words(text, name, files), name, files, depth)
    finally:
        files.done()


def _words(text: str, name: str, files: Files) -> Iterator[tuple[str, bool, Place]]:
    """Words with whether they are text (and no ``;``, ``{`` or ``}``), and their places."""
    index, line, start_of_line = 0, 1, 0
    length = len(text)
    while index < length:
        one = text[index]
        if one in _SPACE:
            if one == "\n":
                line, start_of_line = line + 1, index + 1
            index += 1
            continue
        if one == "#":
            end = text.find("\n", index)
            index = length if end < 0 else end
            continue
        place = Place(name, line, index - start_of_line + 1)
        files.count(place)
        if one in ";{}":
            index += 1
            yield one, False, place
            continue
        start = index
        if one in "\"'":
            index += 1
            while index < length and text[index] != one:
                index += 1 + (text[index] == "\\")
            if index >= length:
                raise UnreadableError(place, "the quote that begins here is never closed")
            word = text[start + 1:index]
            index += 1
            if index < length and text[index] not in _SPACE + ";{)":
                raise UnreadableError(place, "a space must follow the closing quote")
        else:
            while index < length and text[index] not in _SPACE + ";{":
                if text.startswith("${", index):
                    index += 1                      # ``${name}`` is one word
                index += 1 + (text[index] == "\\")
            word = text[start:index]
        line += text.count("\n", start, index)
        if "\n" in text[start:index]:
            start_of_line = text.rindex("\n", start, index) + 1
        yield _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), word), True, place


def _parse(words: Iterator[tuple[str, bool, Place]], name: str, files: Files, depth: int) -> list[Directive]:
    top: list[Directive] = []
    stack: list[tuple[list[Directive], Place]] = [(top, Place(name, 1, 1))]
    current: Directive | None = None
    for word, is_text, place in words:
        if is_text:
            if current is None:
                current = Directive(word, [], place)
            else:
                current.args.append(word)
        elif word == ";":
            if current is None:
                raise UnreadableError(place, "unexpected ;")
            _close(current, stack[-1][0], files, depth + len(stack))
            current = None
        elif word == "{":
            if current is None:
                raise UnreadableError(place, "unexpected {")
            if depth + len(stack) > MAX_DEPTH:
                raise UnreadableError(place, f"blocks stand more than {MAX_DEPTH} deep")
            current.block = []
            stack[-1][0].append(current)
            stack.append((current.block, current.place))
            current = None
        else:
            if current is not None:
                raise UnreadableError(current.place, f"{current.name!r} is not ended by a ;")
            if len(stack) == 1:
                raise UnreadableError(place, "unexpected }")
            stack.pop()
    if current is not None:
        raise UnreadableError(current.place, f"{current.name!r} is not ended by a ;")
    if len(stack) > 1:
        raise UnreadableError(stack[-1][1], "the block that begins here is never closed")
    return top


def _close(directive: Directive, block: list[Directive], files: Files, depth: int) -> None:
    if directive.name != "include":
        block.append(directive)
        return
    if len(directive.args) != 1:
        raise UnreadableError(directive.place, "include names one file")
    if directive.args[0].rpartition("/")[2] in ("mime.types", "fastcgi_params", "uwsgi_params", "scgi_params", "fastcgi.conf"):
        return                                      # tables that have nothing to do with where requests go
    for each in files.found(directive.args[0], directive.place):
        block += _file(each, files, directive.place, depth)
