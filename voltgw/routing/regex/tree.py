"""What a regex is once it is read: a tree of byte sets, sequences, alternatives, repeats, groups and edges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

#: A set of bytes is an int with bit *n* set for byte *n*.
ALL_BYTES: Final = (1 << 256) - 1


class Where(Enum):
    """The kinds of `Edge`."""

    START = rb"\A"
    END = rb"\Z"
    WORD = rb"\b"
    NOT_WORD = rb"\B"


@dataclass(frozen=True, slots=True)
class Set:
    """One byte out of `mask`, which is never empty."""

    mask: int


@dataclass(frozen=True, slots=True)
class Cat:
    """All of `items`, one after the other; no items = the empty string."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """One of `items`, the first that leads to a match."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`item`, at least `least` times and at most `most` (None = without end)."""

    item: Node
    least: int
    most: int | None
    greedy: bool


@dataclass(frozen=True, slots=True)
class Group:
    """`item`, whose match can be referred to by its number in a substitution."""

    item: Node


@dataclass(frozen=True, slots=True)
class Edge:
    """A place between two bytes; it matches nothing itself."""

    where: Where


Node = Set | Cat | Alt | Repeat | Group | Edge
EMPTY: Final = Cat(())


def members(mask: int) -> Iterator[int]:
    """The bytes of a set, in order."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def longest(node: Node) -> int | None:
    """The most bytes that `node` can match, None = no bound."""
    if isinstance(node, Set):
        return 1
    if isinstance(node, Edge):
        return 0
    if isinstance(node, Group):
        return longest(node.item)
    if isinstance(node, Repeat):
        one = longest(node.item)
        if one == 0:
            return 0
        return None if one is None or node.most is None else one * node.most
    lengths = [longest(item) for item in node.items]
    known = [length for length in lengths if length is not None]
    if len(known) < len(lengths):
        return None
    return sum(known) if isinstance(node, Cat) else max(known, default=0)


def shortest(node: Node) -> int:
    """The fewest bytes that `node` can match."""
    if isinstance(node, Set):
        return 1
    if isinstance(node, Edge):
        return 0
    if isinstance(node, Group):
        return shortest(node.item)
    if isinstance(node, Repeat):
        return node.least * shortest(node.item)
    lengths = [shortest(item) for item in node.items]
    return sum(lengths) if isinstance(node, Cat) else min(lengths, default=0)


def has_edge(node: Node) -> bool:
    """Whether an `Edge` stands anywhere in it."""
    if isinstance(node, Edge):
        return True
    if isinstance(node, (Group, Repeat)):
        return has_edge(node.item)
    return isinstance(node, (Cat, Alt)) and any(map(has_edge, node.items))


def sequence(node: Node) -> tuple[Node, ...]:
    """The items that `node` is a sequence of, groups around sequences opened."""
    if isinstance(node, Group):
        return sequence(node.item)
    if isinstance(node, Cat):
        return tuple(part for item in node.items for part in sequence(item))
    return (node,)


def source(node: Node) -> bytes:
    """The same regex for Python's `re`, without any flag."""
    if isinstance(node, Set):
        return _set_source(node.mask)
    if isinstance(node, Edge):
        return node.where.value
    if isinstance(node, Cat):
        return b"".join(b"(?:%b)" % source(item) if isinstance(item, Alt) else source(item) for item in node.items)
    if isinstance(node, Alt):
        return b"|".join(map(source, node.items))
    if isinstance(node, Group):
        return b"(%b)" % source(node.item)
    body = source(node.item)
    if not isinstance(node.item, (Set, Group)):
        body = b"(?:%b)" % body
    if node.most is None:
        times = {0: b"*", 1: b"+"}.get(node.least, b"{%d,}" % node.least)
    elif (node.least, node.most) == (0, 1):
        times = b"?"
    else:
        times = b"{%d,%d}" % (node.least, node.most)
    return body + times + (b"" if node.greedy else b"?")


def _set_source(mask: int) -> bytes:
    listed = list(members(mask))
    if len(listed) == 1:
        return re.escape(bytes(listed))
    ranges: list[list[int]] = []
    for byte in listed:
        if ranges and ranges[-1][1] == byte - 1:
            ranges[-1][1] = byte
        else:
            ranges.append([byte, byte])
    return b"[%b]" % b"".join(b"\\x%02x-\\x%02x" % (first, last) for first, last in ranges)
