"""A bounded memory for verdicts on credentials: two generations, of which the older one is forgotten when the younger is full.

What is asked for again moves to the younger one. So nothing is sorted, a look-up is a dictionary's, and a flood of credentials
that come once costs those that come again at most one new verification each.
"""

from __future__ import annotations

from typing import Generic, TypeVar

V = TypeVar("V")


class Verdicts(Generic[V]):
    """Verdicts by a hash of what they are on; at most twice `most`."""

    __slots__ = ("_most", "old", "young")

    def __init__(self, most: int) -> None:
        self._most = most
        self.young: dict[bytes, V] = {}
        self.old: dict[bytes, V] = {}

    def find(self, mark: bytes) -> V | None:
        """What is known."""
        found = self.young.get(mark)
        if found is None and self.old:
            found = self.old.get(mark)
            if found is not None:
                self.note(mark, found)
        return found

    def note(self, mark: bytes, verdict: V) -> None:
        """Remember it."""
        if len(self.young) >= self._most:
            self.old, self.young = self.young, {}
        self.young[mark] = verdict

    def clear(self) -> None:
        """Nothing holds any more."""
        self.young, self.old = {}, {}

    def __len__(self) -> int:
        return len(self.young) + len(self.old)
