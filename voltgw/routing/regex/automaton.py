"""A regex as a table: one look-up a byte, whatever the pattern; for those that backtracking might take long over.

The whole table is made when the configuration is built. A pattern whose table would be large (``.*a.{20}``) is refused
then, so that nothing a client sends can make it grow.
"""

from __future__ import annotations

from typing import Final

from voltgw.routing.regex.positions import Positions, TooManyError, bits
from voltgw.routing.regex.syntax import RegexError
from voltgw.routing.regex.tree import Node

MAX_STATES: Final = 256


class Automaton:
    """Matches whole values; a state is where its row begins in `table`, and a row has one cell per class of bytes."""

    __slots__ = ("accepting", "classes", "table")

    def __init__(self, node: Node) -> None:
        """`node` must have no edges. Raises `RegexError` when the table would be too large."""
        try:
            positions = Positions(node)
        except TooManyError:
            raise RegexError("it is too large once its counted repeats are written out") from None
        classes, width = _classes(positions.masks)
        self.classes: Final = bytes(classes)
        takes = [0] * width                 # for each class, the positions that take its bytes
        for position, mask in enumerate(positions.masks):
            for byte in range(256):
                if mask >> byte & 1:
                    takes[classes[byte]] |= 1 << position

        # A state is a set of positions that were just passed; the start, where none was, is told apart by None.
        numbers: dict[int | None, int] = {None: 0}
        queue: list[int | None] = [None]
        table: list[int] = []
        accepting: set[int] = set()
        for passed in queue:
            if passed is None:
                following, ends = positions.first, positions.nullable
            else:
                following, ends = 0, bool(passed & positions.last)
                for position in bits(passed):
                    following |= positions.follow[position]
            if ends:
                accepting.add(len(table))
            for taken in takes:
                target = following & taken
                if target not in numbers:
                    if len(numbers) >= MAX_STATES:
                        raise RegexError("it cannot be matched in linear time with little memory; say more exactly "
                                         "what may stand where, for example [^/]* instead of .*")
                    numbers[target] = len(queue) * width
                    queue.append(target)
                table.append(numbers[target])
        self.table: Final = table
        self.accepting: Final = frozenset(accepting)

    def matches(self, value: bytes) -> bool:
        """Whether the whole value matches."""
        table = self.table
        state = 0
        for kind in value.translate(self.classes):
            state = table[state + kind]
        return state in self.accepting


def _classes(masks: list[int]) -> tuple[list[int], int]:
    """For each byte the number of its class, and how many there are: bytes of a class are in the same sets."""
    distinct = list(dict.fromkeys(masks))
    numbers: dict[tuple[int, ...], int] = {}
    classes = [numbers.setdefault(tuple(mask >> byte & 1 for mask in distinct), len(numbers)) for byte in range(256)]
    return classes, len(numbers)
