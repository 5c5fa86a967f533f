"""Copies of requests to another cluster, whose answers nobody hears (mirror_policy).

A copy begins when the request is complete, in a turn of its own, and shares nothing with the original: it can neither slow it
nor fail it, whatever the other cluster does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from voltgw.errors import Source
from voltgw.proxy.fields import with_host_suffix
from voltgw.proxy.ties import bring
from voltgw.proxy.unheard import Unheard
from voltgw.values.defaults import MAX_SHADOW_ANSWER_BYTES, MAX_SHADOW_BYTES, MAX_SHADOWS, SHADOW_TIMEOUT_S

if TYPE_CHECKING:
    from voltgw.errors import ConnectFailed, ProxyError
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.plane import Plane
    from voltgw.values.exchange import Exchange
    from voltgw.values.retry import MirrorPlan

#: What Host gets, as Envoy has it.
_SUFFIX: Final = b"-shadow"


def chosen(plan: MirrorPlan, random: float) -> bool:
    """Whether a request is to be copied; `random` is a number in [0, 1)."""
    return plan.numerator >= plan.denominator or random * plan.denominator < plan.numerator


def mirror(plane: Plane, plan: MirrorPlan, exchange: Exchange, wire: bytes) -> None:
    """Copy the request `wire`, which is complete."""
    counters = plane.counters
    if len(wire) > MAX_SHADOW_BYTES:
        counters.shadows_too_large += 1
    elif counters.shadows_open >= MAX_SHADOWS:
        counters.shadows_refused += 1
    else:
        plane.soon(Shadow(plane, plan.cluster, exchange, with_host_suffix(wire, _SUFFIX)).start)


class Shadow(Unheard):
    """One copy on its way."""

    __slots__ = ()

    def __init__(self, plane: Plane, cluster: Any, exchange: Exchange, wire: bytes) -> None:
        super().__init__(plane, cluster, exchange, MAX_SHADOW_ANSWER_BYTES)
        self._wire = wire
        plane.counters.shadows_open += 1

    def start(self) -> None:
        """Send it, if the cluster lets us."""
        cluster, exchange = self._cluster, self.exchange
        assert exchange is not None
        now = self.monotonic()
        endpoint = cluster.pick(None) if cluster.active < cluster.max_requests else None
        if endpoint is None:
            self._give_up(None, now)
            return
        cluster.counters.requests += 1
        cluster.active += 1
        endpoint.active += 1
        endpoint.requests += 1
        exchange.attempts = 1
        self._endpoint = endpoint
        self._limit_at = now + SHADOW_TIMEOUT_S
        self._plane.counters.shadows += 1
        idle = endpoint.pool.idle
        if idle and (not cluster.tied or bring(idle, self.tie(cluster, endpoint))):
            self._upstream = upstream = idle.pop()
            upstream.downstream = self
            self._begin(upstream, now)
        else:
            self._connect(cluster, endpoint, now)

    def connect_failed(self, upstream: EndpointConnection, error: ConnectFailed) -> None:
        """It is not tried again."""
        if upstream.leads:
            self._cluster.connect_failed(upstream.endpoint)
        self._over()

    def upstream_failed(self, upstream: EndpointConnection, error: ProxyError, reused: bool) -> None:
        """It is not tried again."""
        if error.flag == "UT":
            self._cluster.counters.timeouts += 1
        elif error.source is Source.UPSTREAM:
            self._cluster.counters.resets += 1
        self._over()

    def crashed(self) -> None:
        """A bug of ours; the guard has logged it."""
        upstream = self._upstream
        self._over()
        if upstream is not None and upstream.downstream is self:
            upstream.abort()

    def _give_up(self, error: ProxyError | None, now: float) -> None:
        self._plane.counters.shadows_refused += 1
        self._over()

    def _over(self) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        self._upstream = None
        self._plane.counters.shadows_open -= 1
        if exchange.attempts:
            self._cluster.active -= 1
            endpoint, self._endpoint = self._endpoint, None
            if endpoint is not None:
                endpoint.active -= 1
