"""The positions of a regex (Glushkov's construction): every place where it takes a byte, and which ones may follow.

From them comes the proof that a backtracking matcher does no harm (`proof`), and the automaton that needs no such proof
(`automaton`). `strict` asks for the first: it refuses a tree in which one string can be matched in more than one way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from voltgw.routing.regex.tree import Alt, Cat, Edge, Group, Node, Repeat, Set, sequence

MAX_POSITIONS: Final = 512

#: Whether a piece may be empty, the positions where it may begin, and those where it may end.
_Piece = tuple[bool, int, int]


class TooManyError(Exception):
    """More than `MAX_POSITIONS`, once counted repeats are written out."""


class AmbiguousError(Exception):
    """Some string can be matched in more than one way, or that could not be excluded."""


class Positions:
    """The positions of one tree; edges are taken as empty.

    Sets of positions are ints, bit *p* for position *p*. `masks[p]` is the set of bytes that *p* takes; `first`, `last` and
    `follow[p]` say where a match may begin, end, and go on; `nullable` whether it may be empty.

    With `strict`, whoever reads a string byte by byte knows at each byte which position takes it, and by which way through
    the tree it was reached: `AmbiguousError` otherwise. (That is the strong form of determinism: ``(a*)*`` has it not,
    although its single position leaves no choice.) Raises `TooManyError`.
    """

    __slots__ = ("_strict", "first", "follow", "last", "masks", "nullable")

    def __init__(self, node: Node, *, strict: bool = False) -> None:
        self.masks: list[int] = []
        self.follow: list[int] = []
        self._strict = strict
        self.nullable, self.first, self.last = self._add(node)
        if strict:
            self._disjoint(self.first)
            for positions in self.follow:
                self._disjoint(positions)

    def _add(self, node: Node) -> _Piece:
        if isinstance(node, Set):
            number = len(self.masks)
            if number >= MAX_POSITIONS:
                raise TooManyError
            self.masks.append(node.mask)
            self.follow.append(0)
            return False, 1 << number, 1 << number
        if isinstance(node, Edge):
            return True, 0, 0
        if isinstance(node, Group):
            return self._add(node.item)
        if isinstance(node, Repeat):
            return self._repeat(node)
        if isinstance(node, Cat):
            whole: _Piece = (True, 0, 0)
            for item in node.items:
                whole = self._then(whole, self._add(item))
            return whole
        nullable, first, last = False, 0, 0
        for item in (factored(node) if self._strict else node).items:
            empty, begin, end = self._add(item)
            if empty and nullable and self._strict:
                raise AmbiguousError
            nullable, first, last = nullable or empty, first | begin, last | end
        return nullable, first, last

    def _repeat(self, node: Repeat) -> _Piece:
        """``x{2,4}`` is read as ``xx(x(x)?)?``, and ``x{2,}`` as ``xx+``."""
        rest: _Piece = (True, 0, 0)
        must = node.least
        if node.most is None:
            rest = self._some(node.item)
            self._link(rest[2], rest[1])
            if must:
                must -= 1
            else:
                rest = True, rest[1], rest[2]
        else:
            for _ in range(node.most - node.least):
                _, first, last = self._then(self._some(node.item), rest)
                rest = True, first, last
        whole: _Piece = (True, 0, 0)
        for _ in range(must):
            whole = self._then(whole, self._add(node.item))
        return self._then(whole, rest)

    def _some(self, item: Node) -> _Piece:
        """`item` where it may also be left out; were it itself empty, nobody could tell the two apart."""
        piece = self._add(item)
        if piece[0] and self._strict:
            raise AmbiguousError
        return piece

    def _then(self, left: _Piece, right: _Piece) -> _Piece:
        self._link(left[2], right[1])
        return (
            left[0] and right[0],
            left[1] | right[1] if left[0] else left[1],
            left[2] | right[2] if right[0] else right[2],
        )

    def _link(self, ends: int, begins: int) -> None:
        for position in bits(ends):
            if self._strict and self.follow[position] & begins:
                raise AmbiguousError        # two ways lead from here to there
            self.follow[position] |= begins

    def _disjoint(self, positions: int) -> None:
        seen = 0
        for position in bits(positions):
            if self.masks[position] & seen:
                raise AmbiguousError
            seen |= self.masks[position]


def bits(number: int) -> Iterator[int]:
    """The numbers of the bits that are set."""
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low


def factored(node: Alt) -> Alt:
    """The same alternatives with common first bytes pulled out: ``users|uploads`` -> ``u(sers|ploads)``.

    Only single bytes are pulled out: a backtracking matcher, which does not factor, reads them once per alternative, and
    the pattern bounds how many those are. Equal alternatives stay two: trying both is what must be found out.
    """
    alone: list[Node] = []
    begun: dict[Set, list[Node]] = {}
    for item in node.items:
        parts = sequence(item)
        if parts and isinstance(parts[0], Set):
            begun.setdefault(parts[0], []).append(Cat(parts[1:]))
        else:
            alone.append(item)
    for first, rests in begun.items():
        alone.append(Cat((first, rests[0] if len(rests) == 1 else Alt(tuple(rests)))))
    return Alt(tuple(alone))
