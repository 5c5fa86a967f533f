"""A decision and why: what `explain`, the admin page, the log and the metrics all tell the same way."""

from __future__ import annotations

from dataclasses import dataclass, field

from voltgw.errors import Place


@dataclass(frozen=True, slots=True)
class Reason:
    """One step of a decision: `about` names what was looked at, `outcome` what was decided, `why` in a few words.

    `steps` are the smaller decisions that led to it, in the order in which they were taken.
    """

    about: str
    outcome: str
    why: str = ""
    place: Place | None = None
    steps: tuple[Reason, ...] = field(default=())
