"""Deadlines of connections, kept by a sweep instead of one timer each.

Moving a deadline is one attribute write (`thing.deadline = now + 30`). Only a deadline that moves to before the slot in
which its thing already waits needs `schedule`. A sweep opens the slots that have passed; a thing whose deadline has
moved on in the meantime is put back, so the cost is per *slot passed*, not per move.

A thing that ends sets its deadline to 0.0 and may say so with `forget`: connections do, or ten thousand short ones a second
would leave as many dead ones in memory as there are in `LOOK_AHEAD`. Nothing waits in a slot further away than that, so a
thing that does not say so is let go of within seconds, whatever deadline it had.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final

from twisted.logger import Logger

if TYPE_CHECKING:
    from voltgw.interfaces import Deadline

#: Seconds per slot, and how often the loop sweeps: a deadline is noticed at most this much late.
TICK_S: Final = 0.25
#: Slots; 16 are 4 s. An idle connection costs one look in this time (about 0.2 us of CPU).
LOOK_AHEAD: Final = 16
#: `deadline_slot` of a thing that waits nowhere.
NO_SLOT: Final = 1 << 62


class Deadlines:
    """Things with a `deadline`, found again when it has passed.

    `now` is monotonic seconds in every call. A thing forgets its deadline by setting it to 0.0. `failed(thing)` is
    called while handling what `thing.expired` has raised; without it such a failure is logged.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, now: float, failed: Callable[[object], None] | None = None) -> None:
        self._slots: dict[int, dict[Deadline, None]] = {}
        self._swept = int(now / TICK_S)
        self._failed = failed

    def schedule(self, thing: Deadline) -> None:
        """Make sure that `thing.deadline` (not 0.0) is looked at in time; cheap when it already is."""
        slot = int(thing.deadline / TICK_S) + 1
        swept = self._swept
        if slot > swept + LOOK_AHEAD:
            slot = swept + LOOK_AHEAD
        elif slot <= swept:
            slot = swept + 1
        if slot >= thing.deadline_slot:
            return                          # it is looked at earlier than that, and put back then
        if thing.deadline_slot != NO_SLOT:
            self.forget(thing)              # it waits in a later one
        thing.deadline_slot = slot
        waiting = self._slots.get(slot)
        if waiting is None:
            self._slots[slot] = {thing: None}
        else:
            waiting[thing] = None

    def forget(self, thing: Deadline) -> None:
        """Keep no reference to a thing that has ended; nothing happens if it does not wait."""
        waiting = self._slots.get(thing.deadline_slot)
        if waiting is not None:
            waiting.pop(thing, None)
        thing.deadline_slot = NO_SLOT

    def sweep(self, now: float) -> None:
        """Expire what is due. A thing that raises does not stop the others."""
        current = int(now / TICK_S)
        slots = self._slots
        due = sorted(slot for slot in slots if slot <= current)
        self._swept = max(current, self._swept)
        for slot in due:
            for thing in slots.pop(slot):
                if thing.deadline_slot != slot:
                    continue                # forgotten, or moved, by one that came before it
                thing.deadline_slot = NO_SLOT
                deadline = thing.deadline
                if deadline == 0.0:
                    continue
                if deadline > now:
                    self.schedule(thing)
                    continue
                thing.deadline = 0.0
                try:
                    thing.expired(now)
                except BaseException:       # whatever it is, it is that connection's alone
                    if self._failed is not None:
                        self._failed(thing)
                    else:
                        self._log.failure("{thing!r} failed at its deadline", thing=thing)

    def __len__(self) -> int:
        """How many things wait; for tests and the memory page."""
        return sum(map(len, self._slots.values()))
