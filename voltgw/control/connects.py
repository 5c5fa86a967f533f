"""Judging endpoints by their connect results, where no health check does.

An endpoint to which several connections in a row could not be made gets no traffic for a while and is then tried again,
as nginx does with ``max_fails`` and ``fail_timeout``. The last one that may serve is never taken out: there would be
nobody left to learn from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.cluster.snapshot import EndpointKey
    from voltgw.control.seams import ControlLoop, Timer

#: Connect failures in a row that take an endpoint out…
FAILURES: Final = 3
#: …for so long. The count stands until a connection is made, so when it is tried again one more failure is enough.
HOLD_S: Final = 10.0


def _nobody(key: EndpointKey) -> None:
    """Nobody is told."""


class ConnectJudge:
    """Takes endpoints of one cluster out and brings them back; `start(changed)` says who is told of each by its key."""

    def __init__(self, cluster: Cluster, loop: ControlLoop) -> None:
        self._cluster = cluster
        self._loop = loop
        self._changed: Callable[[EndpointKey], None] = _nobody
        self._held: dict[EndpointKey, Timer] = {}

    def start(self, changed: Callable[[EndpointKey], None]) -> None:
        """Judge from now on, and tell `changed`."""
        self._changed = changed

    def holds(self, key: EndpointKey) -> bool:
        """Whether the endpoint is out now."""
        return key in self._held

    def failed(self, endpoint: Endpoint) -> None:
        """One more connection could not be made."""
        key = endpoint.key
        if endpoint.failed_in_a_row < FAILURES or endpoint.gone or key in self._held:
            return
        if not any(other.ready for other in self._cluster.endpoints if other is not endpoint):
            return
        self._held[key] = self._loop.clock.callLater(HOLD_S, self._back, key)
        self._changed(key)

    def forget(self, key: EndpointKey) -> None:
        """The endpoint left the cluster; should it come back, it is as good as a new one."""
        timer = self._held.pop(key, None)
        if timer is not None:
            timer.cancel()

    def stop(self) -> None:
        """Judge no more; who is out stays as it is."""
        for timer in self._held.values():
            timer.cancel()
        self._held.clear()
        self._changed = _nobody             # whoever was told holds us, and nothing more is to be told

    def _back(self, key: EndpointKey) -> None:
        del self._held[key]
        self._changed(key)
