"""What workers have counted, added up in the control process's own objects."""

from __future__ import annotations

from typing import Any

from voltgw.app.counted import GAUGES, ONLY, Books, CountKey
from voltgw.control.workers.deltas import add, negative, summed


class Ledger:
    """`owner` is the gateway whose objects they are. What workers have of gauges is remembered, to be taken back."""

    def __init__(self, owner: Any) -> None:
        self.books = Books(owner)
        self.former: Books | None = None    # of before the last reload, for workers that have not followed yet
        self.lost = 0                       # differences of objects that are no longer there
        self._held: dict[int, dict[CountKey, tuple[Any, Any]]] = {}    # by worker: objects, and what it has of their gauges

    def enter(self, worker: int, counts: Any, *, behind: bool = False) -> int:
        """Add the differences of one report; how many connections of listeners were accepted. Raises ValueError for rubbish.

        `behind` tells that the worker serves what was served before the last reload: it means objects of that time.
        """
        held = self._held.setdefault(worker, {})
        books = self.books if self.former is None or not behind else self.former
        accepted = 0
        for names, more in counts:
            if not isinstance(more, dict) or not names:
                raise ValueError("a count is not a mapping")
            key = tuple(map(str, names))
            thing = books.find(key)
            if thing is None:
                self.lost += 1
                held.pop(key, None)
                continue
            only = ONLY.get(key[0])
            add(thing, more if only is None else {name: more[name] for name in only if name in more})
            if key[0] == "listener":
                accepted += int(more.get("accepted", 0))
            gauges = {name: more[name] for name in GAUGES.get(key[0], ()) if name in more}
            if gauges:
                before, sums = held.get(key, (None, None))
                left = summed(sums if before is thing else None, gauges)
                if left is None:
                    held.pop(key, None)
                else:
                    held[key] = thing, left
        return accepted

    def take_back(self, worker: int) -> None:
        """It has ended: nothing of it is open any more."""
        for key, (thing, sums) in self._held.pop(worker, {}).items():
            if self.books.find(key) is thing:
                add(thing, negative(sums))

    def open_of(self, worker: int) -> int:
        """Client connections that it has."""
        return sum(int(sums.get("open", 0)) for key, (_, sums) in self._held.get(worker, {}).items() if key[0] == "listener")
