"""Connections to endpoints that have become too old: they serve what they serve now, and nothing more.

So connections move to endpoints that came later (behind a name with several addresses, or a load balancer of layer 4), and the
endpoint's side can count on their end. Nothing of it stands in the way of a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from voltgw.net.deadlines import NO_SLOT

if TYPE_CHECKING:
    from voltgw.proxy.plane import Plane


class Age:
    """The moment at which a connection is old enough; `ended` is called then, unless `stop` was before."""

    __slots__ = ("_ended", "_plane", "deadline", "deadline_slot")

    def __init__(self, plane: Plane, age_s: float, ended: Callable[[], None]) -> None:
        self._plane = plane
        self._ended = ended
        self.deadline = plane.monotonic() + age_s
        self.deadline_slot = NO_SLOT
        plane.deadlines.schedule(self)

    def expired(self, now: float) -> None:
        """It is."""
        self.deadline = 0.0
        self._ended()

    def stop(self) -> None:
        """The connection has ended."""
        self.deadline = 0.0
        self._plane.deadlines.forget(self)
