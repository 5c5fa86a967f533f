"""What is done when memory or descriptors run short: actions that begin at a share of a budget, and end below it.

Each action has a share of its own, so that the mildest may come first; which one that is, the operator decides. Several
resources ask for the same actions, and one is taken as long as any of them asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

#: An action ends when the use has stayed so far below the share at which it began, in parts of the budget…
RELIEF: Final = 0.05
#: …for so long (seconds). What is given back comes back at once otherwise, and with it the pressure.
RELIEF_S: Final = 5.0


class Action(Enum):
    """What is done; the values are the names that the configuration, metrics and events have for it."""

    KEEP_ALIVE = "keep_alive"   # answers end their connections, and idle ones are closed
    REFUSE = "refuse"           # new requests are answered 503
    ACCEPT = "accept"           # new connections wait in the backlog
    RESET = "reset"             # connections that hold most memory are cut


@dataclass(frozen=True, slots=True)
class Budget:
    """How much there is of a resource, in its own unit, and from which share of it on each action is taken.

    An action that stands in no share is never taken. `amount` is positive.
    """

    amount: int
    shares: Mapping[Action, float]


class Pressure:
    """How one resource stands. `taken` are the actions that it asks for, `used` is what was seen last."""

    __slots__ = ("_low_since", "budget", "name", "taken", "used")

    def __init__(self, name: str, budget: Budget) -> None:
        self.name = name
        self.budget = budget
        self.used = 0
        self.taken: frozenset[Action] = frozenset()
        self._low_since: dict[Action, float] = {}       # when the use came down enough for an action that is taken

    @property
    def share(self) -> float:
        """The part of the budget that is in use; more than 1.0 is possible."""
        return self.used / self.budget.amount

    def follow(self, budget: Budget) -> None:
        """Go by another budget from the next look on; actions that it does not know end now."""
        self.budget = budget
        self.taken = frozenset(action for action in self.taken if action in budget.shares)
        self._low_since = {action: since for action, since in self._low_since.items() if action in self.taken}

    def look(self, used: int, now: float) -> bool:
        """So much is in use; True when that changes what is asked for."""
        self.used = used
        share = self.share
        taken = set()
        for action, at in self.budget.shares.items():
            if share >= at:
                self._low_since.pop(action, None)
                taken.add(action)
            elif action in self.taken:
                if share >= at - RELIEF:
                    self._low_since.pop(action, None)
                    taken.add(action)
                elif now - self._low_since.setdefault(action, now) < RELIEF_S:
                    taken.add(action)
                else:
                    del self._low_since[action]
        changed = taken != self.taken
        if changed:
            self.taken = frozenset(taken)
        return changed

    def excess(self) -> int:
        """How much must be given back until the resetting of connections is no longer asked for; 0 = nothing."""
        at = self.budget.shares.get(Action.RESET)
        return 0 if at is None or Action.RESET not in self.taken else max(self.used - int(at * self.budget.amount) + 1, 0)


def asked_for(pressures: Mapping[str, Pressure]) -> dict[Action, tuple[str, ...]]:
    """Every action that is to be taken, with the names of the resources that ask for it."""
    wanted: dict[Action, tuple[str, ...]] = {}
    for action in Action:
        names = tuple(name for name, pressure in pressures.items() if action in pressure.taken)
        if names:
            wanted[action] = names
    return wanted
