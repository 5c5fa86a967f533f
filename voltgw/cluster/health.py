"""From probe results to who may get traffic: thresholds of one check, the checks of an endpoint, the endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from voltgw.cluster.snapshot import HEALTHY, UNHEALTHY, UNKNOWN, Health


@dataclass(slots=True)
class HealthState:
    """Turns the results of one check of one endpoint into a health that does not flap.

    The first result decides at once; later ones need `rise` successes or `fall` failures in a row, as HAProxy counts
    them. A failure may be told to count `at_once` (an HTTP 503 says that the endpoint wants no traffic).
    """

    rise: int
    fall: int
    healthy: bool | None = None     # None: no result yet
    streak: int = 0                 # results in a row that disagree with `healthy`

    def observe(self, ok: bool, *, at_once: bool = False) -> bool:
        """Record one result; True when `healthy` changed, and only then does membership need rebuilding."""
        if self.healthy is None:
            self.healthy = ok
            return True
        if ok is self.healthy:
            self.streak = 0
            return False
        self.streak += 1
        if not at_once and self.streak < (self.rise if ok else self.fall):
            return False
        self.healthy, self.streak = ok, 0
        return True


def combined(checks: Iterable[bool | None]) -> Health:
    """The health of an endpoint that must pass all its checks; without any it is unknown.

    One failing check decides, whatever the others say; one that has no result yet leaves the rest undecided.
    """
    results = set(checks)
    if False in results:
        return UNHEALTHY
    return HEALTHY if results == {True} else UNKNOWN


def may_serve(health: Health, *, checked: bool, any_healthy: bool) -> bool:
    """Whether an endpoint may get traffic.

    In a cluster without checks everyone may. With checks the healthy ones may; one that was never probed only while
    nobody is healthy, so that a start without any result yet still serves, and a new endpoint waits for its first probe
    otherwise. Unhealthy ones never may, unless the cluster panics (`voltgw.cluster.priorities`).
    """
    if not checked or health == HEALTHY:
        return True
    return health == UNKNOWN and not any_healthy
