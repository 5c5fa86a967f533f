"""Who waits because a cluster has its most connections (circuit_breaker.connection_limit): requests, clients of TCP proxies.

First come, first served, whoever made room: a connection that has ended lets the first one dial, one that has become free is
given to the first one. What waits counts as pending, and that has a limit of its own.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from voltgw.net.deadlines import NO_SLOT

if TYPE_CHECKING:
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.plane import Plane
    from voltgw.proxy.upstream2 import Trunk


class Waiting(Protocol):
    """Whoever needs a connection; exactly one of `dial_now`, `given` and `waited` ends its waiting, unless it leaves."""

    @property
    def bound_for(self) -> Endpoint | None:
        """The endpoint that it was given."""

    def dial_now(self) -> None:
        """There is room for one more connection."""

    def given(self, upstream: EndpointConnection) -> None:
        """This connection has become free, and `may_use` has said yes to it."""

    def waited(self, now: float) -> None:
        """Its time is up."""

    def may_share(self) -> bool:
        """Whether there is a connection that takes one more request."""

    def may_use(self, upstream: EndpointConnection) -> bool:
        """Whether a connection that somebody else had will do."""

    def crashed(self) -> None:
        """A bug of ours."""


class Waiter:
    """One that waits until `deadline`. One that is `bound` needs the endpoint that it was given."""

    __slots__ = ("bound", "deadline", "deadline_slot", "queue", "sender")

    def __init__(self, queue: Queue, sender: Waiting, bound: bool, until: float) -> None:
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
    """Those of one cluster that wait; it stands in `Plane.queues` while there are any."""

    __slots__ = ("_cluster", "_plane", "_serving", "_waiters", "dry")

    def __init__(self, plane: Plane, cluster: Any) -> None:
        self._plane = plane
        self._cluster = getattr(cluster, "cluster", cluster)        # the whole one of a subset, whose limits are at stake
        self._waiters: deque[Waiter] = deque()
        self._serving = False
        self.dry = False                    # no connection is idle, nor will be: what becomes free is offered

    def __len__(self) -> int:
        return len(self._waiters)

    def join(self, sender: Waiting, bound: bool, until: float) -> Waiter:
        """Wait behind the others."""
        waiter = Waiter(self, sender, bound, until)
        self._plane.queues[self._cluster.counters] = self
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
            del self._plane.queues[self._cluster.counters]

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

    def idle_trunk(self) -> Trunk | None:
        """The same for one of HTTP/2."""
        for endpoint in self._cluster.endpoints:
            for trunk in endpoint.pool.trunks:
                if trunk.idle:
                    return trunk            # type: ignore[no-any-return]  # the cluster is Any
        return None

    def room(self) -> None:
        """A connection has ended, or will not be made, or has room for one more: somebody may dial or join, in a moment."""
        if not self._serving:
            self._serving = True
            self._plane.soon(self._serve)

    def _serve(self) -> None:
        self._serving = False
        cluster, waiters = self._cluster, self._waiters
        while waiters and (cluster.connections + cluster.pending - len(waiters) < cluster.max_connections
                           or (cluster.http2 and waiters[0].sender.may_share())):
            self._let_go(waiters[0], None)

    def offer(self, upstream: EndpointConnection) -> None:
        """A connection is free. If the first one who waits cannot use it, its place is worth more than the connection."""
        waiter = self._waiters[0]
        endpoint = upstream.endpoint
        upstream.pool.forget(upstream)
        if endpoint.ready and (not waiter.bound or waiter.sender.bound_for is endpoint) and waiter.sender.may_use(upstream):
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
