"""How much of what waits at a descriptor is taken in one turn: about as much as came last time.

To learn that nothing more is there costs a system call and an exception, a good part of what the work itself costs. The epoll
set is level-triggered: what was not taken is told of in the next turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voltgw.net.loop import Loop


class Portion:
    """For one descriptor of `loop`, of which at most `limit` are taken in a turn, and so many in the first one.

    It grows where the next turn brings more at once, and where so many descriptors are ready that its turn comes seldom.
    """

    __slots__ = ("_full", "_limit", "_loop", "_most", "_turn")

    def __init__(self, loop: Loop, limit: int) -> None:
        self._loop = loop
        self._limit = limit
        self._most = limit
        self._full = False                  # the last one may have been too little…
        self._turn = -1                     # …in this turn

    def take(self) -> int:
        """How many to take in this turn."""
        loop = self._loop
        if self._full and (self._turn == loop.turns - 1 or loop.crowded):
            self._most = min(self._most << 1, self._limit)
        self._full = True
        self._turn = loop.turns
        return self._most

    def ended(self, number: int) -> None:
        """There were only so many."""
        self._most = number or 1
        self._full = False
