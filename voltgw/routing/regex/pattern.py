"""User regexes as routes use them: matched against whole values, or used to rewrite a path."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Final

from voltgw.routing.regex.automaton import Automaton
from voltgw.routing.regex.edges import without_edges
from voltgw.routing.regex.proof import anchored, endless, linear, linear_anywhere
from voltgw.routing.regex.syntax import RegexError, parse
from voltgw.routing.regex.tree import (
    ALL_BYTES,
    Alt,
    Cat,
    Edge,
    Node,
    Set,
    Where,
    has_edge,
    sequence,
    shortest,
    source,
)
from voltgw.wire.path import PATH_BYTES

#: The bytes that values consist of, by kind of value: what the codec lets through.
PATH: Final = sum(1 << byte for byte in PATH_BYTES)
FIELD: Final = sum(1 << byte for byte in (9, *range(32, 127), *range(128, 256)))
ANY: Final = ALL_BYTES


class Shape(Enum):
    """Whether a pattern is more than a literal."""

    LITERAL = "literal"                 # it matches `Pattern.prefix` and nothing else
    PREFIX = "prefix"                   # it matches whatever begins with `Pattern.prefix`
    GENERAL = "general"


class Pattern:
    """One compiled regex. `matches` takes a value and says (by truth) whether all of it matches.

    Every match begins with `prefix` and contains `within`. `engine` says what runs it: ``re`` where that is proved to be
    linear, else ``table``.
    """

    __slots__ = ("engine", "matches", "prefix", "shape", "text", "within")

    def __init__(self, text: str, domain: int) -> None:
        """Compile for values that consist of the bytes in `domain`. Raises `RegexError`."""
        if not text:
            raise RegexError("the regex is empty")
        node = without_edges(parse(text)[0])
        self.text = text
        self.prefix, rest = _literal(node)
        self.within = _longest(node)
        self.engine = "re"
        if not rest:
            self.shape = Shape.LITERAL
        elif len(rest) == 1 and endless(rest[0], domain):
            self.shape = Shape.PREFIX
        else:
            self.shape = Shape.GENERAL
        self.matches: Callable[[bytes], object]
        if linear(node, domain):
            self.matches = re.compile(source(node)).fullmatch
        else:
            if has_edge(node):
                raise RegexError("\\b and \\B are understood only in patterns without overlapping loops")
            self.engine = "table"
            self.matches = Automaton(node).matches

    def __repr__(self) -> str:
        return f"<Pattern {self.text!r} {self.engine}>"


class Rewrite:
    """Replaces every match of a regex in a path, or the one that ``^`` anchors. ``\\1`` is the first group, ``\\0`` all."""

    __slots__ = ("_once", "_parts", "_pattern")

    def __init__(self, text: str, substitution: str) -> None:
        """Raises `RegexError` when either is wrong, or when the regex could take long."""
        node, groups = parse(text)
        items = sequence(node)
        if anchored(node):
            while items and isinstance(items[0], Edge):
                items = items[1:]
            closed = bool(items) and isinstance(items[-1], Edge) and items[-1].where is Where.END
            harmless = linear(Cat(items[:-1] if closed else items), PATH)
            self._once = 1
        else:
            if not shortest(node):
                raise RegexError("it matches the empty string, so it would match everywhere; begin it with ^")
            harmless = linear_anywhere(node, PATH)
            self._once = 0
        if not harmless:
            raise RegexError("it might take long on some paths; begin it with ^ and say exactly what may stand where, "
                             "for example [^/]* instead of .*")
        self._pattern = re.compile(source(node))
        self._parts = _substitution(substitution, groups)

    def __call__(self, path: bytes) -> bytes:
        """The path after it; not normalised."""
        return self._pattern.sub(self._replace, path, self._once)

    def _replace(self, match: re.Match[bytes]) -> bytes:
        return b"".join([part if isinstance(part, bytes) else match[part] or b"" for part in self._parts])


def _substitution(text: str, groups: int) -> tuple[bytes | int, ...]:
    """The pieces of a substitution: bytes as they are, numbers for groups."""
    parts: list[bytes | int] = []
    for literal, escaped in re.findall(r"([^\\]+)|\\(.?)", text, re.DOTALL):
        if literal:
            parts.append(literal.encode("utf-8"))
        elif escaped == "\\":
            parts.append(b"\\")
        elif escaped.isascii() and escaped.isdigit():
            if int(escaped) > groups:
                raise RegexError(f"the substitution speaks of group {escaped}, and the pattern has {groups}")
            parts.append(int(escaped))
        else:
            raise RegexError("behind a \\ in a substitution stands a digit or another \\")
    return tuple(parts)


def _literal(node: Node) -> tuple[bytes, tuple[Node, ...]]:
    """The bytes with which every match begins, and the items behind them."""
    items = sequence(node)
    if len(items) == 1 and isinstance(items[0], Alt):
        return _common([_literal(item)[0] for item in items[0].items]), items
    prefix = bytearray()
    for index, item in enumerate(items):
        if not isinstance(item, Set) or item.mask.bit_count() != 1:
            if isinstance(item, Alt):
                prefix += _common([_literal(part)[0] for part in item.items])
            return bytes(prefix), items[index:]
        prefix.append(item.mask.bit_length() - 1)
    return bytes(prefix), ()


def _longest(node: Node) -> bytes:
    """The longest run of fixed bytes that stands in every match."""
    best, run = b"", bytearray()
    for item in (*sequence(node), None):
        if isinstance(item, Set) and item.mask.bit_count() == 1:
            run.append(item.mask.bit_length() - 1)
            continue
        best = max(best, bytes(run), key=len)
        run.clear()
    return best


def _common(words: list[bytes]) -> bytes:
    """The longest beginning that all of them share; the least and the greatest share no more than the others."""
    least, greatest = min(words), max(words)
    for index, byte in enumerate(least):
        if byte != greatest[index]:
            return least[:index]
    return least
