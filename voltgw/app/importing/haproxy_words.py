"""HAProxy's language: sections of lines, words with quotes, conditions at the end of a line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from voltgw.app.importing.model import Place, UnreadableError
from voltgw.app.importing.words import Files

SECTIONS: Final = frozenset((
    "global", "defaults", "frontend", "backend", "listen", "userlist", "peers", "resolvers", "mailers", "cache", "program",
    "http-errors", "ring", "log-forward", "fcgi-app", "crt-store", "traces"))
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}|\$(\w+)")


@dataclass(slots=True)
class Line:
    """One line: its words behind the keyword."""

    name: str
    args: list[str]
    place: Place

    def text(self) -> str:
        """It, as it might have been written."""
        return " ".join([self.name, *self.args])[:120]

    def split(self) -> tuple[list[str], list[str] | None, bool]:
        """Its words without its condition; the condition (None = there is none); whether it must not hold (``unless``)."""
        for index, word in enumerate(self.args):
            if word in ("if", "unless"):
                return self.args[:index], self.args[index + 1:], word == "unless"
        return self.args, None, False


@dataclass(slots=True)
class Section:
    """A section with the ``defaults`` before it."""

    kind: str
    name: str
    place: Place
    lines: list[Line] = field(default_factory=list)
    defaults: Section | None = None

    def all(self, *names: str) -> list[Line]:
        """Its own lines of these names, in order."""
        return [each for each in self.lines if each.name in names]

    def last(self, *names: str) -> Line | None:
        """The last line that begins with these words, else that of its defaults."""
        wanted = list(names[1:])
        for each in reversed(self.lines):
            if each.name == names[0] and each.args[:len(wanted)] == wanted:
                return each
        return self.defaults.last(*names) if self.defaults is not None else None

    def word(self, *names: str) -> str:
        """The word behind these in such a line, "" = there is none."""
        found = self.last(*names)
        index = len(names) - 1
        return found.args[index] if found is not None and len(found.args) > index else ""


def read(names: list[str]) -> tuple[list[Section], Files]:
    """The sections of some files, in order. Raises UnreadableError."""
    files = Files()
    sections: list[Section] = []
    defaults: dict[str, Section] = {}
    current_defaults: Section | None = None
    for name in names:
        text = files.read(name)
        for words, place in _lines(text, name, files):
            kind = words[0]
            if kind in SECTIONS:
                title = words[1] if len(words) > 1 else ""
                section = Section(kind, title, place)
                if "from" in words[1:]:
                    wanted = words[words.index("from") + 1:][:1]
                    if not wanted or wanted[0] not in defaults:
                        raise UnreadableError(place, "no defaults of this name stand before it")
                    section.defaults = defaults[wanted[0]]
                elif kind != "defaults":
                    section.defaults = current_defaults
                if kind == "defaults":
                    current_defaults = defaults[title] = section
                if kind in ("frontend", "listen") and len(words) > 2 and words[2] != "from":
                    section.lines.append(Line("bind", words[2:], place))       # the old way
                sections.append(section)
            elif not sections:
                raise UnreadableError(place, f"{kind!r} stands in no section")
            else:
                sections[-1].lines.append(Line(kind, words[1:], place))
        files.done()
    return sections, files


def _lines(text: str, name: str, files: Files) -> Iterator[tuple[list[str], Place]]:
    for number, line in enumerate(text.split("\n"), 1):
        place = Place(name, number, len(line) - len(line.lstrip()) + 1)
        words = _words(line, place)
        files.count(place, len(words))
        if words:
            if words[0] == "no" and len(words) > 1:
                words = [f"no {words[1]}", *words[2:]]
            yield words, place


def _words(line: str, place: Place) -> list[str]:
    words: list[str] = []
    made: list[str] | None = None
    index, quote = 0, ""
    while index < len(line):
        one = line[index]
        if quote != "'" and one == "\\" and index + 1 < len(line):
            index += 1
            made = [*(made or []), {"n": "\n", "r": "\r", "t": "\t"}.get(line[index], line[index])
                    if line[index] in "nrt \\\"'#" else "\\" + line[index]]
        elif quote == "'" and one != "'":
            made = [*(made or []), one]
        elif quote == '"' and one == "$" and (found := _VARIABLE.match(line, index)):
            made = [*(made or []), os.environ.get(found[1] or found[2], "")]
            index = found.end() - 1
        elif one == quote:
            quote = ""
        elif quote:
            made = [*(made or []), one]
        elif one in "\"'":
            quote, made = one, made or []
        elif one == "#":
            break
        elif one in " \t\r":
            if made is not None:
                words.append("".join(made))
                made = None
        else:
            made = made if made is not None else []
            made.append(one)
        index += 1
    if quote:
        raise UnreadableError(place, "a quote is never closed")
    if made is not None:
        words.append("".join(made))
    return words
