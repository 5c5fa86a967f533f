"""Label selector expressions (objects.md 3.2): ``app in (a, b), !legacy, tier != dev``.

Requirements of one expression are joined by "and", expressions of a selector by "or". A selector with no expression
matches everything; a missing selector matches nothing, which is the caller's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from voltgw.config.formats import Format

#: Longest value of a label.
MAX_VALUE: Final = 63
_KEY: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?")
_VALUE: Final = re.compile(r"[A-Za-z0-9_.-]*")
_TOKEN: Final = re.compile(r"\s*(==|!=|=|!|,|\(|\)|[A-Za-z0-9_./-]+)")


class Operator(Enum):
    """How a requirement looks at one label."""

    EXISTS = "exists"
    ABSENT = "!"
    IN = "in"
    NOT_IN = "notin"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label; ``=`` and ``!=`` are `IN` and `NOT_IN` with one value."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with `labels` fulfils it; `NOT_IN` is fulfilled by an object without the label too."""
        value = labels.get(self.key)
        if self.operator is Operator.EXISTS:
            return value is not None
        if self.operator is Operator.ABSENT:
            return value is None
        if self.operator is Operator.IN:
            return value is not None and value in self.values
        return value is None or value not in self.values


@dataclass(frozen=True, slots=True)
class Selector:
    """Alternatives, each a tuple of requirements that must all hold."""

    alternatives: tuple[tuple[Requirement, ...], ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with `labels` is selected."""
        if not self.alternatives:
            return True
        return any(all(need.matches(labels) for need in needs) for needs in self.alternatives)


def selector(expressions: Iterable[str]) -> Selector:
    """The selector of a list of expressions; raises ValueError with the reason. An empty expression matches everything."""
    return Selector(tuple(parse(text) for text in expressions))


def parse(text: str) -> tuple[Requirement, ...]:
    """The requirements of one expression; raises ValueError with the reason and the column (from 1)."""
    tokens: list[tuple[str, int]] = []
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            at = len(text) - len(text[position:].lstrip())
            raise ValueError(f"{text[at]!r} at column {at + 1} has no meaning in a label expression")
        tokens.append((match[1], match.start(1) + 1))
        position = match.end()
    if not tokens:
        return ()
    return _Parser(tokens, len(text) + 1).requirements()


class _Parser:
    """Walks over the tokens of one expression."""

    def __init__(self, tokens: list[tuple[str, int]], end: int) -> None:
        self.tokens = tokens
        self.index = 0
        self.end = end

    def peek(self) -> str:
        """The next token, "" at the end."""
        return self.tokens[self.index][0] if self.index < len(self.tokens) else ""

    def take(self) -> str:
        """The next token, taken."""
        token = self.peek()
        self.index += 1
        return token

    def fail(self, wanted: str) -> ValueError:
        """The error at the next token."""
        token, column = self.tokens[self.index] if self.index < len(self.tokens) else ("the end", self.end)
        return ValueError(f"expected {wanted} at column {column}, found {token}")

    def requirements(self) -> tuple[Requirement, ...]:
        """req ("," req)*"""
        found = [self.requirement()]
        while self.peek() == ",":
            self.take()
            found.append(self.requirement())
        if self.peek():
            raise self.fail("a comma or the end")
        return tuple(found)

    def requirement(self) -> Requirement:
        """["!"] KEY [in (…) | notin (…) | = v | == v | != v]"""
        absent = self.peek() == "!"
        if absent:
            self.take()
        if not _KEY.fullmatch(self.peek()):
            raise self.fail("a label key")
        key = self.take()
        if absent:
            return Requirement(key, Operator.ABSENT)
        word = self.peek()
        if word in ("in", "notin"):
            self.take()
            return Requirement(key, Operator(word), self.values())
        if word in ("=", "==", "!="):
            self.take()
            value = self.value()
            return Requirement(key, Operator.NOT_IN if word == "!=" else Operator.IN, frozenset((value,)))
        return Requirement(key, Operator.EXISTS)

    def values(self) -> frozenset[str]:
        """"(" v ("," v)* ")" """
        if self.peek() != "(":
            raise self.fail("(")
        self.take()
        found = [self.value()]
        while self.peek() == ",":
            self.take()
            found.append(self.value())
        if self.peek() != ")":
            raise self.fail("a comma or )")
        self.take()
        return frozenset(found)

    def value(self) -> str:
        """A label's value, which may be empty."""
        if self.peek() in ("", ",", ")"):
            return ""
        if not _VALUE.fullmatch(self.peek()) or len(self.peek()) > MAX_VALUE:
            raise self.fail(f"a value (letters, digits, _ . -, at most {MAX_VALUE})")
        return self.take()


def _read(text: str) -> str:
    parse(text)
    return text


SELECTOR: Final = Format("label expression", _read)
