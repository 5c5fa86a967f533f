"""A listener whose network is not there: what it would serve, and why it does not. It comes back with its network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltgw.app.bound import BoundSocket

if TYPE_CHECKING:
    from voltgw.app.build import ListenerPlan
    from voltgw.values.counters import ListenerCounters


class _Nothing:
    """Stands where a listener and its factory stand otherwise: no socket, no connections."""

    connections: tuple[Any, ...] = ()

    def stopListening(self) -> None:
        """Nothing is open."""

    def fileno(self) -> int:
        """No descriptor."""
        return -1

    def drain(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Likewise."""


class Absent(BoundSocket):
    """An `interfaces.ListenerView` without a socket. `serving` tells whether it is to accept when it is back."""

    def __init__(self, plan: ListenerPlan, problem: str, counters: ListenerCounters | None = None) -> None:
        super().__init__(plan, counters)
        self.protocol = plan.key.transport
        self.problem = problem
        self.certificates: list[dict[str, Any]] = []
        self.listener = self.factory = _Nothing()

    def serve(self, plan: ListenerPlan) -> None:
        """It would serve by `plan` from now on."""
        self.plan = plan

    def stop(self) -> None:
        """It will not come back."""
        self.serving = False

    def _listen(self) -> None:
        """Nobody can come."""
