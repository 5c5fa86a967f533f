"""How long a process that has died is left alone before it is started again."""

from __future__ import annotations

from typing import Final

#: One that lived so long died for a reason of its own, not of its start: the next one begins at once.
LIVED_S: Final = 2.0
#: The first wait of one that dies at once again; it doubles…
FIRST_S: Final = 0.25
#: …up to this.
MOST_S: Final = 30.0


class Backoff:
    """Counts deaths in a row that came early. The first one does not wait either: one may be killed right after its start."""

    __slots__ = ("early",)

    def __init__(self) -> None:
        self.early = 0

    def next(self, now: float, since: float) -> float:
        """Seconds to wait for a process that began at `since` and has just ended."""
        if now - since >= LIVED_S:
            self.early = 0
            return 0.0
        self.early += 1
        return 0.0 if self.early <= 2 else min(FIRST_S * 2.0 ** (self.early - 3), MOST_S)
