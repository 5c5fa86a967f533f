"""What follows for each member of a cluster from everything that is known of it: whether it may serve, and in words why (not).

In this order: an operator's order, where it is (LOCAL_ONLY), panic, outlier detection, health.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from voltgw.cluster.health import may_serve
from voltgw.cluster.priorities import panicking
from voltgw.cluster.snapshot import UNHEALTHY, UNKNOWN, EndpointKey, EndpointState, Health
from voltgw.control.connects import FAILURES, HOLD_S

if TYPE_CHECKING:
    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.outlier import Watch
    from voltgw.control.feed import Found
    from voltgw.control.orders import Orders
    from voltgw.control.probes.target import Target
    from voltgw.control.terms import Standing, Terms


class Member:
    """One endpoint of the cluster, as membership keeps it."""

    __slots__ = ("dirty", "found", "health", "key", "standing", "state", "targets")

    def __init__(self, key: EndpointKey, found: Found, standing: Standing) -> None:
        self.key = key
        self.found = found
        self.standing = standing
        self.health: Health = UNKNOWN
        self.targets: tuple[Target, ...] = ()
        self.state: EndpointState | None = None     # as installed; None: not yet
        self.dirty = True                           # `state` may no longer be true


def ejection(watch: Watch) -> str:
    """Why outlier detection keeps one out."""
    return f"it is ejected for {watch.out_s:g} s: {watch.why}"


class Verdicts:
    """Decides for the members of one cluster; `panicking` are the priorities whose health is ignored now."""

    def __init__(self, cluster: Cluster, checked: bool, terms: Terms, orders: Orders) -> None:
        self.panicking: frozenset[int] = frozenset()
        self.terms = terms
        self._cluster = cluster
        self._checked = checked
        self._orders = orders

    def out(self, member: Member) -> Watch | None:
        """Whether outlier detection keeps it out."""
        outliers = self._cluster.outliers
        return outliers.ejected(member.key) if outliers is not None and outliers.out else None

    def panics(self, members: Collection[Member], any_healthy: bool) -> frozenset[int]:
        """The priorities whose health is to be ignored now."""
        threshold = self.terms.panic_threshold
        if not threshold:
            return self.panicking
        serving: dict[int, int] = {}
        judged: dict[int, int] = {}
        for member in members:
            priority = member.found.priority
            out = self.out(member) is not None
            serves = not out and self._may_serve(member, any_healthy)
            if serves or out or member.health == UNHEALTHY:
                judged[priority] = judged.get(priority, 0) + 1
                serving[priority] = serving.get(priority, 0) + serves
        return panicking(serving, judged, threshold)

    def state_of(self, member: Member, any_healthy: bool, now: float) -> EndpointState:
        """All of it; `now` is when one that may serve from now on begins to (monotonic), 0.0 = it was there before."""
        found, before, standing = member.found, member.state, member.standing
        panic = found.priority in self.panicking
        well = self.out(member) is None and self._may_serve(member, any_healthy)
        order = self._orders.of(member.key)
        weight = standing.weight if order is None or order.weight is None else order.weight
        ready = ((panic or well) and (standing.local or not self.terms.local_only)
                 and not (order is not None and self._orders.keeps_out(member.key)))
        since = 0.0
        if ready and before is not None and before.ready:
            since = before.since
        elif ready and not panic and self._cluster.slow_start is not None:
            since = now
        return EndpointState(
            member.key, weight, found.labels, found.hostname, found.health_port or found.port, ready, member.health,
            ("panic, health is ignored: " if panic and ready else "") + self.reason(member, any_healthy), since,
            found.priority, standing.zone, standing.local, panic and not well,
        )

    def reason(self, member: Member, any_healthy: bool) -> str:
        """Why the member is (not) given traffic; it follows "receives (no) traffic:"."""
        ordered = self._orders.keeps_out(member.key)
        if ordered:
            return ordered
        if self.terms.local_only and not member.standing.local:
            return "endpoint_selection is LOCAL_ONLY, and it is not local"
        watch = self.out(member)
        if watch is not None:
            return ejection(watch)
        targets = member.targets
        if not targets:
            if member.health == UNHEALTHY:
                return f"{FAILURES} connections in a row failed; it is tried again after {HOLD_S:g} s"
            return "the cluster has no health checks"
        for target in targets:
            if target.state.healthy is False:
                return f"health check {target.check.name} fails: {target.last_reason}"
        for target in targets:
            if target.state.healthy is None:
                waits = f"health check {target.check.name} has no result yet"
                return waits if any_healthy else f"{waits}, and no endpoint is healthy"
        if len(targets) == 1:
            return f"health check {targets[0].check.name} passes"
        return f"all {len(targets)} health checks pass"

    def _may_serve(self, member: Member, any_healthy: bool) -> bool:
        checked = self._checked or member.health == UNHEALTHY
        return may_serve(member.health, checked=checked, any_healthy=any_healthy)
