"""The Caddyfile: tokens, quotes, blocks, environment variables, snippets and imports."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import Final

from voltgw.app.importing.model import MAX_DEPTH, Place, UnreadableError
from voltgw.app.importing.words import Files

#: Imports that may be under way, and that there may be in all: a snippet may import itself.
_MOST_IMPORTS: Final = 1000
_ENVIRONMENT: Final = re.compile(r"\{\$([^:}]+)(?::([^}]*))?\}")
_ARGUMENT: Final = re.compile(r"\{args(?:\.(\d+)|\[(\d+)\])\}")


@dataclass(frozen=True, slots=True)
class Token:
    """A word with its place; `first` of a line or not, `quoted` or not."""

    text: str
    place: Place
    first: bool
    quoted: bool = False


@dataclass(slots=True)
class Directive:
    """A directive: its words and what stands in its block (None = it has none)."""

    name: str
    args: list[str]
    place: Place
    block: list[Directive] | None = None
    inner: list[str] = field(default_factory=list)

    def text(self) -> str:
        """It, as it might have been written."""
        return " ".join([self.name, *self.args])[:120]

    def last(self, name: str) -> Directive | None:
        """The last of that name in its block."""
        return next((each for each in reversed(self.block or []) if each.name == name), None)


class _Reader:
    """One Caddyfile with what it imports."""

    def __init__(self) -> None:
        self.files = Files()
        self.snippets: dict[str, list[Directive]] = {}
        self.imports = 0

    def file(self, name: str, place: Place | None) -> list[Directive]:
        """The directives at the top of a file; a site's keys are the name and words of one."""
        text = self.files.read(name, place)
        tokens = _tokens(_ENVIRONMENT.sub(lambda found: os.environ.get(found[1], found[2] or ""), text), name, self.files)
        directives, end = self._block(tokens, 0, 0)
        if end < len(tokens):
            raise UnreadableError(tokens[end].place, "unexpected }")
        self.files.done()
        return directives

    def _block(self, tokens: list[Token], index: int, depth: int) -> tuple[list[Directive], int]:
        if depth > MAX_DEPTH:
            raise UnreadableError(tokens[index - 1].place, f"blocks stand more than {MAX_DEPTH} deep")
        found: list[Directive] = []
        while index < len(tokens):
            token = tokens[index]
            if token.text == "}" and not token.quoted:
                return found, index
            words = []
            block: list[Directive] | None = None
            start = index
            if token.text == "{" and not token.quoted:
                words = [Token("", token.place, True)]                  # the global options
                index -= 1
            else:
                words = [token]
            index += 1
            while index < len(tokens):
                other = tokens[index]
                if other.text == "{" and not other.quoted:
                    block, index = self._block(tokens, index + 1, depth + 1)
                    if index >= len(tokens):
                        raise UnreadableError(other.place, "the block that begins here is never closed")
                    index += 1
                    break
                goes_on = depth == 0 and words[-1].text.endswith(",")   # keys of a site, one a line
                if other.first and not goes_on or other.text == "}" and not other.quoted:
                    break
                words.append(other)
                index += 1
            assert index > start
            found.append(Directive(words[0].text, [each.text for each in words[1:]], token.place, block))
        return found, index

    def expanded(self, directives: list[Directive], depth: int = 0) -> list[Directive]:
        """Directives with snippets and files in the place of ``import``. Raises UnreadableError."""
        made: list[Directive] = []
        for each in directives:
            if each.name != "import" or not each.args:
                made.append(replace(each, block=self.expanded(each.block, depth)) if each.block is not None else each)
                continue
            self.imports += 1
            if depth >= MAX_DEPTH or self.imports > _MOST_IMPORTS:
                raise UnreadableError(each.place, "imports are too many or too deep: a snippet imports itself")
            name = each.args[0]
            if name in self.snippets:
                body = _filled(self.snippets[name], each.args[1:])
                self.files.count(each.place, _size(body))
            else:
                body = [one for path in self.files.found(name, each.place) for one in self.file(path, each.place)]
                self._snippets(body)
                body = _filled([one for one in body if not _is_snippet(one)], each.args[1:])
            made += self.expanded(body, depth + 1)
        return made

    def _snippets(self, directives: list[Directive]) -> None:
        for each in directives:
            if _is_snippet(each):
                self.snippets[each.name[1:-1]] = each.block or []

    def top(self, name: str) -> list[Directive]:
        """Everything at the top of a Caddyfile but its snippets."""
        directives = self.file(name, None)
        self._snippets(directives)
        return self.expanded([each for each in directives if not _is_snippet(each)])


def read(name: str) -> tuple[list[Directive], Files]:
    """The sites (and global options, whose name is empty) of a Caddyfile. Raises UnreadableError.

    Of a file that is one site without braces, the first directive has the site's keys and the others follow it.
    """
    reader = _Reader()
    return reader.top(name), reader.files


def _is_snippet(directive: Directive) -> bool:
    return directive.name.startswith("(") and directive.name.endswith(")") and directive.block is not None


def _size(directives: list[Directive]) -> int:
    return sum(1 + len(each.args) + _size(each.block or []) for each in directives)


def _filled(directives: list[Directive], args: list[str]) -> list[Directive]:
    def put(text: str) -> str:
        return _ARGUMENT.sub(lambda found: args[int(found[1] or found[2])] if int(found[1] or found[2]) < len(args) else "",
                             text)

    return [Directive(put(each.name), [put(arg) for arg in each.args], each.place,
                      None if each.block is None else _filled(each.block, args)) for each in directives]


def _tokens(text: str, name: str, files: Files) -> list[Token]:
    made: list[Token] = []
    index, line, start_of_line, first = 0, 1, 0, True
    while index < len(text):
        one = text[index]
        if one == "\n":
            index, line, start_of_line, first = index + 1, line + 1, index + 1, True
            continue
        if one in " \t\r":
            index += 1
            continue
        if one == "\\" and text[index + 1:index + 2] == "\n":           # the line goes on
            index, line, start_of_line = index + 2, line + 1, index + 2
            continue
        if one == "#":
            end = text.find("\n", index)
            index = len(text) if end < 0 else end
            continue
        place = Place(name, line, index - start_of_line + 1)
        files.count(place)
        start = index
        if one in "\"`":
            index += 1
            letters = []
            while index < len(text) and text[index] != one:
                if one == '"' and text[index] == "\\" and text[index + 1:index + 2] in ('"', "\\"):
                    index += 1
                letters.append(text[index])
                index += 1
            if index >= len(text):
                raise UnreadableError(place, "the quote that begins here is never closed")
            index += 1
            made.append(Token("".join(letters), place, first, True))
        else:
            while index < len(text) and text[index] not in " \t\r\n":
                index += 1
            made.append(Token(text[start:index], place, first))
        line += text.count("\n", start, index)
        if "\n" in text[start:index]:
            start_of_line = text.rindex("\n", start, index) + 1
        first = False
    return made
