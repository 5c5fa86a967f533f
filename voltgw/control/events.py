"""What changed lately in a cluster: into the log at once, and kept in a ring for the admin page."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

from twisted.logger import Logger, LogLevel

#: Events kept for each cluster.
KEPT_EVENTS: Final = 128
#: Events of one pass that are logged one by one; of the others only the number. All of them enter the ring.
LOGGED_EVENTS: Final = 20


class Event(NamedTuple):
    """One change. `at` is monotonic; `endpoint` is ``address:port``, a feed's name, or "" for the cluster itself."""

    at: float
    endpoint: str
    state: str
    reason: str


class Events:
    """The ring of one cluster.

    `flush` ends a pass: when ten thousand endpoints change at once, the log gets twenty lines and a number.
    """

    _log = Logger()

    def __init__(self, cluster: str) -> None:
        self.ring: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._cluster = cluster
        self._logged = 0
        self._left_out = 0

    def add(self, now: float, endpoint: str, state: str, reason: str, level: Any = LogLevel.info) -> None:
        """Keep and log one change."""
        self.ring.append(Event(now, endpoint, state, reason))
        if self._logged >= LOGGED_EVENTS and level is not LogLevel.error:
            self._left_out += 1
            return
        self._logged += 1
        self._log.emit(
            level, "{cluster} {endpoint} is {state}: {reason}" if endpoint else "{cluster} is {state}: {reason}",
            cluster=self._cluster, endpoint=endpoint, state=state, reason=reason,
        )

    def flush(self) -> None:
        """One pass is over."""
        if self._left_out:
            self._log.info("{cluster}: {count} further changes", cluster=self._cluster, count=self._left_out)
        self._logged = self._left_out = 0
