"""What changed lately in a cluster: into the log at once, and kept in a ring for the admin page."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from twisted.logger import Logger, LogLevel

#: Events kept for each cluster.
KEPT_EVENTS: Final = 128
#: Events of one pass that are logged one by one; of the others only the number. All of them enter the ring.
LOGGED_EVENTS: Final = 20


#: The kind of each state that `control.membership` tells of an endpoint, a feed or the cluster itself, in structured events.
KINDS: Final = {
    "added": "endpoint.added", "removed": "endpoint.removed", "healthy": "endpoint.health", "unhealthy": "endpoint.health",
    "ready": "endpoint.ready", "not ready": "endpoint.ready", "ejected": "endpoint.ejected", "returned": "endpoint.returned",
    "ordered": "endpoint.ordered", "refused": "endpoint.refused", "weight refused": "endpoint.refused",
    "answering again": "discovery.answers", "failing": "discovery.failed", "gone": "discovery.gone",
    "panic": "cluster.panic", "no panic": "cluster.panic_over", "serving again": "cluster.up", "down": "cluster.down",
    "warm": "cluster.not_warm",
}


class Event(NamedTuple):
    """One change. `at` is monotonic; `endpoint` is ``address:port``, a feed's name, or "" for the cluster itself."""

    at: float
    endpoint: str
    state: str
    reason: str


class Events:
    """The ring of one cluster.

    `flush` ends a pass: when ten thousand endpoints change at once, the log gets twenty lines and a number. What is logged is
    a structured event (`voltgw.observe.events`), of the kind that `kinds` has for its state, else `otherwise`.
    """

    _log = Logger()

    def __init__(self, cluster: str, kinds: Mapping[str, str] = KINDS, otherwise: str = "endpoint.health") -> None:
        self.ring: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._cluster = cluster
        self._kinds = kinds
        self._otherwise = otherwise
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
            event=self._kinds.get(state, self._otherwise),
        )

    def flush(self) -> None:
        """One pass is over."""
        if self._left_out:
            self._log.info("{cluster}: {count} further changes", cluster=self._cluster, count=self._left_out,
                           event="cluster.changes")
        self._logged = self._left_out = 0
