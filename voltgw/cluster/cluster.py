"""A cluster at run time: the endpoints that stand in it now, who is next, and how much may be under way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from voltgw.cluster.endpoint import Endpoint
from voltgw.values.counters import ClusterCounters
from voltgw.values.defaults import CONNECT_TIMEOUT_S, MAX_PENDING_REQUESTS, UPSTREAM_IDLE_TIMEOUT_S

if TYPE_CHECKING:
    from random import Random

    from voltgw.cluster.snapshot import EndpointKey, EndpointSet
    from voltgw.interfaces import PoolLike

#: A limit that is none: larger than any count of descriptors.
NO_LIMIT: Final = 1 << 30
#: The retry budget, in Envoy's form: one in so many of what is under way may be retries, and so many in any case.
RETRY_BUDGET_DIVISOR: Final = 5
RETRY_BUDGET_FLOOR: Final = 3
#: The budget is never below so many times one endpoint's share: what one endpoint drops when it dies, the others take
#: over without a client noticing, also in a cluster of three. From ten endpoints on, the 20 % rule alone decides.
RETRY_BUDGET_SHARES: Final = 2

Pick = Callable[["int | None"], "Endpoint | None"]


class Scheduler(Protocol):
    """Who is next among the endpoints it was built for."""

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """A ready endpoint, or None when none is ready; `hash_key` is for those that keep affinity."""


class SchedulerFactory(Protocol):
    """The runtime half of a scheduler's `IFactory`; the options were already given to it."""

    def build(self, endpoints: Sequence[Endpoint], random: Random, /) -> Scheduler:
        """A scheduler for exactly these, whose weights are at least 1; the caller does not change the sequence."""


class Limits(NamedTuple):
    """How much of a cluster may be under way at once; `retries` None = the budget of 20 % with a floor of 3."""

    connections: int = NO_LIMIT
    pending: int = MAX_PENDING_REQUESTS
    requests: int = NO_LIMIT
    retries: int | None = None


#: Those of a cluster that says nothing of circuit breakers.
DEFAULT_LIMITS: Final = Limits()


class Cluster:
    """The live endpoints of one cluster and the scheduler over the ready ones.

    `pick(hash_key)` is the scheduler's own bound method, replaced at every `install`, so that a pick costs one frame:
    do not keep it over a turn. `config` is the value it was built from; a reload carries an equal cluster over as it
    is. The data plane keeps `connections`, `active`, `pending` and `retries` and holds them against the `max_*` values.
    """

    __slots__ = (
        "_by_key", "_factory", "_new_pool", "_random", "active", "any_ready", "config", "connect_timeout_s",
        "connections", "counters", "endpoints", "header_case", "idle_timeout_s", "max_connections", "max_pending",
        "max_requests", "max_requests_per_connection", "max_retries", "name", "on_connect_failed", "pending", "pick", "retries",
        "scheduler", "version",
    )

    def __init__(
        self, name: str, factory: SchedulerFactory, new_pool: Callable[[EndpointKey], PoolLike], random: Random, *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S, idle_timeout_s: float = UPSTREAM_IDLE_TIMEOUT_S,
        limits: Limits = DEFAULT_LIMITS, max_requests_per_connection: int = NO_LIMIT, config: Any = None,
        header_case: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.name = name                    # "namespace/name"
        self.config = config
        self.connect_timeout_s = connect_timeout_s
        self.idle_timeout_s = idle_timeout_s
        self.max_connections = limits.connections
        self.max_pending = limits.pending
        self.max_requests = limits.requests
        self.max_retries = limits.retries
        self.max_requests_per_connection = max_requests_per_connection
        self.header_case = header_case      # how its endpoints want the names of request fields; None = lower case
        self.counters = ClusterCounters()
        self.connections = 0
        self.active = 0
        self.pending = 0
        self.retries = 0                    # retries under way now
        self.version = 0                    # of the endpoint set installed last; 0: none yet
        self.endpoints: tuple[Endpoint, ...] = ()
        self.any_ready = False
        self.on_connect_failed: Callable[[Endpoint], None] | None = None    # membership's, if it judges by this
        self._factory = factory
        self._new_pool = new_pool
        self._random = random
        self._by_key: dict[EndpointKey, Endpoint] = {}
        self.scheduler: Scheduler = factory.build((), random)
        self.pick: Pick = self.scheduler.pick

    def __repr__(self) -> str:
        return f"<Cluster {self.name} v{self.version} {len(self.endpoints)} endpoints>"

    # -- membership's side -----------------------------------------------------------------------------------------

    def install(self, endpoints: EndpointSet) -> None:
        """Make `endpoints` the members: keep those we have, make the new ones, retire the rest.

        A set that is not newer than the installed one is ignored. Of two with one key the first wins. A member of
        weight 0 is one that gets nothing.
        """
        if endpoints.version <= self.version:
            return
        before = self._by_key
        after: dict[EndpointKey, Endpoint] = {}
        for state in endpoints.all:
            key = state.key
            if key in after:
                continue
            endpoint = before.get(key)
            if endpoint is None:
                endpoint = Endpoint(state, self._new_pool(key))
            elif endpoint.state is not state or endpoint.ready is not state.ready:
                endpoint.update(state)
            after[key] = endpoint
        self._by_key = after
        self.endpoints = tuple(after.values())
        self.version = endpoints.version
        ready = [endpoint for endpoint in self.endpoints if endpoint.ready and endpoint.weight > 0]
        self.scheduler = self._factory.build(ready, self._random)
        self.pick = self.scheduler.pick
        self.any_ready = bool(ready)
        for key, endpoint in before.items():
            if key not in after:
                endpoint.retire("it is no longer a member of the cluster")

    def mark_unready(self, key: EndpointKey, reason: str) -> None:
        """Stop picking an endpoint at once, before the set that says so is installed; unknown keys are ignored."""
        endpoint = self._by_key.get(key)
        if endpoint is not None and endpoint.ready:
            endpoint.ready = False
            endpoint.reason = reason
            self.any_ready = any(other.ready and other.weight > 0 for other in self.endpoints)

    def retire(self) -> None:
        """The cluster is no longer configured: every endpoint leaves; what is under way may finish."""
        for endpoint in self.endpoints:
            endpoint.retire("its cluster is no longer configured")
        self._by_key = {}
        self.endpoints = ()
        self.scheduler = self._factory.build((), self._random)
        self.pick = self.scheduler.pick
        self.any_ready = False

    # -- the data plane's side -------------------------------------------------------------------------------------

    def get(self, key: EndpointKey) -> Endpoint | None:
        """The live endpoint with this key."""
        return self._by_key.get(key)

    def connect_failed(self, endpoint: Endpoint) -> None:
        """A connection to `endpoint` could not be made: count it, and tell whoever judges by that."""
        self.counters.connect_failures += 1
        endpoint.connect_failures += 1
        endpoint.failed_in_a_row += 1
        if self.on_connect_failed is not None:
            self.on_connect_failed(endpoint)

    def pick_other(self, tried: Collection[Endpoint], hash_key: int | None) -> Endpoint | None:
        """A ready endpoint that is not among `tried`, or None; asked only after a failure."""
        for _ in range(len(tried) + 1):     # in a round, so many picks in a row pass every tried one at least once
            endpoint = self.pick(hash_key)
            if endpoint is None or endpoint not in tried:
                return endpoint
        for endpoint in self.endpoints:     # weights or chance gave the tried ones again
            if endpoint.ready and endpoint.weight > 0 and endpoint not in tried:
                return endpoint
        return None

    def may_retry(self) -> bool:
        """Whether one more retry may be under way now."""
        limit = self.max_retries
        if limit is None:
            under_way = self.active + self.pending
            share = RETRY_BUDGET_SHARES * under_way // max(len(self.endpoints), RETRY_BUDGET_SHARES)
            limit = max(RETRY_BUDGET_FLOOR, under_way // RETRY_BUDGET_DIVISOR, share)
        return self.retries < limit
