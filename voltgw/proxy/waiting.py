"""Requests that wait because their cluster has its most connections (circuit_breaker.connection_limit).

First come, first served, whoever made room: a connection that has ended lets the first one dial, one that has become free is
given to the first one. What waits counts as pending, and that has a limit of its own.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from voltgw.net.deadlines import NO_SLOT

if TYPE_CHECKING:
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.outbound import Outbound
    from voltgw.proxy.plane import Plane


class Waiter:
    """One request that waits until `deadline`. One that is `bound` needs the endpoint that it was given."""

    __slots__ = ("bound", "deadline", "deadline_slot", "queue", "sender")

    def __init__(self, queue: Queue, sender: Outbound, bound: bool, until: float) -> None:
        self.queue = queue
        self.sender = sender
        self.bound = bound
        self.deadline = until
        self.deadline_slot = NO_SLOT

    def expired(self, now: float) -> None:
        """It has waited long enough."""
        self.queue.leave(self)
        self.sender.waited(now)

    def crashed(self) -> None:
        """A bug of ours; the guard has logged it."""
        self.sender.crashed()


class Queue:
    """The requests of one cluster that wait; it stands in `Plane.queues` while there are any."""

    __slots__ = ("_cluster", "_plane", "_serving", "_waiters", "dry")

    def __init__(self, plane: Plane, cluster: Any) -> None:
        self._plane = plane
        self._cluster = cluster
        self._waiters: deque[Waiter] = deque()
        self._serving = False
        self.dry = False                    # no connection is idle, nor will be: what becomes free is offered

    def __len__(self) -> int:
        return len(self._waiters)

    def join(self, sender: Outbound, bound: bool, until: float) -> Waiter:
        """Wait behind the others; `Outbound.dial_now`, `given` or `waited` ends it."""
        waiter = Waiter(self, sender, bound, until)
        self._plane.queues[self._cluster] = self
        self._waiters.append(waiter)
        self._cluster.pending += 1
        self._plane.deadlines.schedule(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """It waits no longer, for whatever reason."""
        waiter.deadline = 0.0
        self._waiters.remove(waiter)
        self._cluster.pending -= 1
        if not self._waiters:
            del self._plane.queues[self._cluster]

    def idle(self) -> EndpointConnection | None:
        """An idle connection to any of the cluster's endpoints, rather to one that is ready; it stays where it is."""
        found: EndpointConnection | None = None
        for endpoint in self._cluster.endpoints:
            if endpoint.pool.idle:
                found = endpoint.pool.idle[0]
                if endpoint.ready:
                    break
        self.dry = found is None
        return found

    def room(self) -> None:
        """A connection has ended, or will not be made: somebody may dial, in a moment."""
        if not self._serving:
            self._serving = True
            self._plane.soon(self._serve)

    def _serve(self) -> None:
        self._serving = False
        cluster, waiters = self._cluster, self._waiters
        while waiters and cluster.connections + cluster.pending - len(waiters) < cluster.max_connections:
            self._let_go(waiters[0], None)

    def offer(self, upstream: EndpointConnection) -> None:
        """A connection is free. If the first one who waits cannot use it, its place is worth more than the connection."""
        waiter = self._waiters[0]
        endpoint = upstream.endpoint
        upstream.pool.forget(upstream)
        if endpoint.ready and (not waiter.bound or waiter.sender.bound_for is endpoint):
            self._let_go(waiter, upstream)
        else:
            upstream.close()

    def _let_go(self, waiter: Waiter, upstream: EndpointConnection | None) -> None:
        self.leave(waiter)
        sender = waiter.sender
        try:
            if upstream is None:
                sender.dial_now()
            else:
                sender.given(upstream)
        except BaseException:               # it is that one's alone; we are in somebody else's turn
            self._plane.loop.failed(sender)
