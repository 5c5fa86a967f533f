"""A cluster at run time: the endpoints that stand in it now, who is next, and how much may be under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from weakref import WeakValueDictionary

from voltgw.cluster.affinity import Affinity
from voltgw.cluster.chooser import Chooser
from voltgw.cluster.endpoint import Endpoint
from voltgw.cluster.outlier import ALL_ANSWERS
from voltgw.cluster.subset import Subset, Wanted
from voltgw.values.counters import ClusterCounters
from voltgw.values.defaults import CONNECT_TIMEOUT_S, MAX_PENDING_REQUESTS, UPSTREAM_IDLE_TIMEOUT_S
from voltgw.values.tls import SniSource

if TYPE_CHECKING:
    from random import Random

    from voltgw.cluster.chooser import Soon
    from voltgw.cluster.gradient import Gradient
    from voltgw.cluster.outlier import OutlierDetector
    from voltgw.cluster.slowstart import SlowStart
    from voltgw.cluster.snapshot import EndpointKey, EndpointSet
    from voltgw.cluster.spread import SpreadRules
    from voltgw.cluster.subset import SubsetRules
    from voltgw.interfaces import PoolLike, UpstreamCluster
    from voltgw.values.proxyheader import ProxyOut
    from voltgw.values.tls import ClientTls

#: A limit that is none: larger than any count of descriptors.
NO_LIMIT: Final = 1 << 30
#: The retry budget, in Envoy's form: one in so many of what is under way may be retries, and so many in any case.
RETRY_BUDGET_DIVISOR: Final = 5
RETRY_BUDGET_FLOOR: Final = 3
#: The budget is never below so many times one endpoint's share: what one endpoint drops when it dies, the others take
#: over without a client noticing, also in a cluster of three. From ten endpoints on, the 20 % rule alone decides.
RETRY_BUDGET_SHARES: Final = 2


def _no_time() -> float:
    """Until somebody says what the time is."""
    return 0.0


class Scheduler(Protocol):
    """Who is next among the endpoints it was built for."""

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """A ready endpoint, or None when none is ready; `hash_key` is for those that keep affinity."""


class ClientContextLike(Protocol):
    """What makes TLS connections to endpoints (`voltgw.net.tls.engine.ClientContext`)."""

    config: ClientTls


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


class Cluster(Chooser):
    """The live endpoints of one cluster and the scheduler over the ready ones.

    `config` is the value it was built from; a reload carries an equal cluster over as it is. The data plane keeps
    `connections`, `active`, `pending` and `retries` and holds them against the `max_*` values.
    """

    __slots__ = (
        "_by_key", "_installed", "_most_requests", "_new_pool", "_subsets", "active", "any_ready", "by_alpn", "config",
        "connect_timeout_s", "connections", "counters", "gradient", "header_case", "high", "high_limits", "http2",
        "idle_timeout_s", "max_age_s", "max_connections", "max_pending", "max_requests", "max_requests_per_connection",
        "max_retries", "monotonic", "name", "on_connect_failed", "options", "outliers", "pending", "pre_open", "probe_tls",
        "probe_tls_2", "proxy_protocol", "retries", "retry_floor", "retry_share", "slow_start", "slow_starters", "subsets",
        "tied", "tls", "unshared", "version",
    )

    def __init__(
        self, name: str, factory: SchedulerFactory, new_pool: Callable[[EndpointKey], PoolLike], random: Random, *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S, idle_timeout_s: float = UPSTREAM_IDLE_TIMEOUT_S,
        limits: Limits = DEFAULT_LIMITS, max_requests_per_connection: int = NO_LIMIT, config: Any = None,
        header_case: Callable[[bytes], bytes] | None = None, http2: bool = False, by_alpn: bool = False,
        proxy_protocol: ProxyOut | None = None, unshared: bool = False, high_limits: Limits = DEFAULT_LIMITS,
        subsets: SubsetRules | None = None,
        outliers: OutlierDetector | None = None, slow_start: SlowStart | None = None,
        spread: SpreadRules | None = None, gradient: Gradient | None = None, affinity: Affinity | None = None,
    ) -> None:
        super().__init__(factory, random, spread=spread)
        self.affinity = affinity
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
        self.proxy_protocol = proxy_protocol    # the header that tells endpoints of clients, None = none
        self.unshared = unshared            # no two clients share a connection to an endpoint
        self.tied = unshared or proxy_protocol is not None  # a connection serves only requests of its own `proxy.ties.Tie`
        self.http2 = http2                  # its endpoints speak HTTP/2,
        self.by_alpn = by_alpn              # or HTTP/1.1 if they choose that when TLS begins (RFC 7301)
        self.tls: ClientContextLike | None = None       # how its endpoints are reached; None = in plain text
        self.probe_tls: ClientContextLike | None = None
        self.probe_tls_2: ClientContextLike | None = None       # of probes in HTTP/2
        self.options: tuple[tuple[int, int, int | bytes], ...] = ()     # of sockets to its endpoints; set before `install`
        self.pre_open = 0                   # connections that stand ready at each endpoint, for relays
        self.counters = ClusterCounters()
        self.connections = 0
        self.active = 0
        self.pending = 0
        self.retries = 0                    # retries under way now
        self.version = 0                    # of the endpoint set installed last; 0: none yet
        self.any_ready = False
        self.subsets = subsets              # None: destinations get the whole cluster whatever labels they ask for
        self.on_connect_failed: Callable[[Endpoint], None] | None = None    # membership's, if it judges by this
        self.outliers = outliers            # None: nobody is ejected for its answers
        self.monotonic: Callable[[], float] = _no_time
        self.max_age_s = 0.0                # of a connection to an endpoint, 0.0 = it may become as old as it likes
        self.retry_share, self.retry_floor = 1.0 / RETRY_BUDGET_DIVISOR, RETRY_BUDGET_FLOOR
        self.slow_start = slow_start        # None: whoever comes has its whole share at once
        self.slow_starters: set[Endpoint] = set()
        self.gradient = gradient            # None: the limit of requests under way stands
        self._most_requests = self.max_requests
        if gradient is not None:
            self.max_requests = min(self.max_requests, int(gradient.limit))
        self.high: Cluster | None = None    # see `of_high_priority`
        self.high_limits = high_limits
        self._installed: EndpointSet | None = None
        self._new_pool = new_pool
        # Those that routes have; one that no route has any longer goes by itself.
        self._subsets: WeakValueDictionary[Wanted, Subset] = WeakValueDictionary()
        self._by_key: dict[EndpointKey, Endpoint] = {}

    def __repr__(self) -> str:
        return f"<Cluster {self.name} v{self.version} {len(self.endpoints)} endpoints>"

    def secure(
        self, context: ClientContextLike, for_probes: ClientContextLike | None = None,
        for_probes_2: ClientContextLike | None = None,
    ) -> None:
        """Reach the endpoints by TLS.

        `for_probes` is one that leaves the choice of HTTP/2 out, `for_probes_2` one that leaves no other; None = the same.
        """
        self.tls = context
        self.probe_tls = for_probes or context
        self.probe_tls_2 = for_probes_2 or context
        self.tied = self.unshared or self.proxy_protocol is not None or context.config.sni is SniSource.HOST
        if self.high is not None:
            self.high.secure(context, for_probes, for_probes_2)

    def tls_of(self, probe: object) -> ClientContextLike | None:
        """The context of a probe's connections, None in plain text; the probe may say that it is `version_2`."""
        return self.probe_tls_2 if getattr(probe, "version_2", False) else self.probe_tls

    def of_high_priority(self) -> Cluster:
        """The same cluster for routes of high priority: the same endpoints, but connections, limits and counts of its own.

        It is made when it is first asked for, and follows this one from then on.
        """
        high = self.high
        if high is None:
            self.high = high = Cluster(
                f"{self.name} (high)", self.factory, self._new_pool, self.random, connect_timeout_s=self.connect_timeout_s,
                idle_timeout_s=self.idle_timeout_s, limits=self.high_limits,
                max_requests_per_connection=self.max_requests_per_connection, config=self.config, header_case=self.header_case,
                http2=self.http2, by_alpn=self.by_alpn, proxy_protocol=self.proxy_protocol, unshared=self.unshared,
                subsets=self.subsets, outliers=self.outliers, slow_start=self.slow_start, spread=self.spread,
                affinity=self.affinity)
            high.soon, high.monotonic = self.soon, self.monotonic
            high.options, high.pre_open = self.options, self.pre_open
            high.max_age_s, high.retry_share, high.retry_floor = self.max_age_s, self.retry_share, self.retry_floor
            high.tls, high.probe_tls, high.tied = self.tls, self.probe_tls, self.tied
            high.on_connect_failed = self._high_connect_failed
            if self._installed is not None:
                high.install(self._installed)
                for endpoint in self.endpoints:
                    if not endpoint.ready:
                        high.mark_unready(endpoint.key, endpoint.reason)
        return high

    def _high_connect_failed(self, endpoint: Endpoint) -> None:
        """Membership judges the endpoints that it knows, which are ours."""
        own = self._by_key.get(endpoint.key)
        if own is not None and self.on_connect_failed is not None:
            own.failed_in_a_row = max(own.failed_in_a_row, endpoint.failed_in_a_row)
            self.on_connect_failed(own)

    def subset(self, labels: Mapping[str, str], name: str = "") -> UpstreamCluster:
        """What serves a destination that asks for `labels`, or for the subset called `name`: some of the endpoints, or all.

        Raises ValueError when there is no subset of that name.
        """
        rules = self.subsets
        wanted = Wanted((), name) if name else Wanted(tuple(sorted(labels.items())))
        if name and (rules is None or name not in rules.expressions):
            raise ValueError(f"cluster {self.name} has no subset {name!r} among its subset_expressions")
        return self.part(wanted)

    def balanced_by(self, scheduler: str) -> UpstreamCluster:
        """The same members, picked from by ``round_robin``, ``least_request`` or ``random``."""
        return self.part(Wanted(scheduler=scheduler))

    def part(self, wanted: Wanted) -> UpstreamCluster:
        """The members that are wanted, or all of them, and by the scheduler that is wanted."""
        if wanted.scheduler == getattr(self.factory, "name", ""):
            wanted = wanted._replace(scheduler="")
        if not wanted.scheduler and (self.subsets is None or not self.subsets.apply_to(wanted)):
            return self
        subset = self._subsets.get(wanted)
        if subset is None:
            subset = self._subsets[wanted] = Subset(self, wanted)
        return subset

    @property
    def subsets_in_use(self) -> list[Subset]:
        """Those that routes have now."""
        return list(self._subsets.values())

    # -- membership's side -----------------------------------------------------------------------------------------

    def take_turns(self, soon: Soon | None) -> None:
        """Build schedulers whose tables take long in steps, each in a turn of its own that `soon` gives; None = at once."""
        self.soon = soon
        for subset in self.subsets_in_use:
            subset.soon = soon
        if self.high is not None:
            self.high.take_turns(soon)

    def keep_time(self, monotonic: Callable[[], float]) -> None:
        """What the time is (seconds), for schedulers that go by it."""
        self.monotonic = monotonic
        timed = getattr(self.factory, "timed", None)
        if timed is not None:
            self.factory = timed(monotonic)
            for subset in self.subsets_in_use:
                if not subset.wanted.scheduler:
                    subset.factory = self.factory
            if self._installed is not None:
                self._choose_anew()
        if self.high is not None:
            self.high.keep_time(monotonic)

    def keep_pace(self) -> bool:
        """Give those who start slowly what they are due now; whether there is still somebody to do it for."""
        if self.high is not None:
            self.high.keep_pace()
        before = len(self.slow_starters)
        self._set_pace()
        if len(self.slow_starters) < before:
            self._choose_anew()             # those who have arrived may serve in a cheaper way
        else:
            for chooser in (self, *self.subsets_in_use):
                again = getattr(chooser.scheduler, "keep_pace", None)
                if again is not None:
                    again()
        return bool(self.slow_starters)

    def _set_pace(self) -> None:
        rules = self.slow_start
        if rules is None:
            return
        now = self.monotonic()
        for endpoint in list(self.slow_starters):
            age_s = now - endpoint.state.since
            endpoint.pace = rules.factor(age_s)
            if age_s >= rules.window_s or not endpoint.ready or endpoint.gone:
                endpoint.pace = 1.0
                self.slow_starters.discard(endpoint)

    def _choose_anew(self) -> None:
        self.choose(self.endpoints)
        for subset in self.subsets_in_use:
            subset.install()

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
                endpoint.options = self.options
                endpoint.shared_times = self.counters.latency
                if self.affinity is not None:
                    endpoint.token = self.affinity.value(key)
                if self.gradient is not None:
                    endpoint.adapts = self._adapt
                    endpoint.heed(ALL_ANSWERS)
                if self.outliers is not None:
                    self.outliers.watch(endpoint)
            elif endpoint.state is not state or endpoint.ready is not state.ready:
                endpoint.update(state)
            after[key] = endpoint
        self._by_key = after
        self.endpoints = tuple(after.values())
        self.version = endpoints.version
        for key, endpoint in before.items():
            if key not in after:
                self._retire(endpoint, "it is no longer a member of the cluster")
        if self.slow_start is not None:
            self.slow_starters = {endpoint for endpoint in self.endpoints if endpoint.ready and endpoint.state.since}
            self._set_pace()
        self.choose(self.endpoints)
        self.any_ready = bool(self.in_use)
        for subset in self.subsets_in_use:
            subset.install()
        self._installed = endpoints
        if self.high is not None:
            self.high.install(endpoints)

    def mark_unready(self, key: EndpointKey, reason: str) -> None:
        """Stop picking an endpoint at once, before the set that says so is installed; unknown keys are ignored."""
        endpoint = self._by_key.get(key)
        if endpoint is not None and endpoint.ready:
            endpoint.ready = False
            endpoint.reason = reason
            self.any_ready = any(other.ready and other.weight > 0 for other in self.endpoints)
            for subset in self.subsets_in_use:
                subset.notice()
            if self.high is not None:
                self.high.mark_unready(key, reason)

    def retire(self) -> None:
        """The cluster is no longer configured: every endpoint leaves; what is under way may finish."""
        for endpoint in self.endpoints:
            self._retire(endpoint, "its cluster is no longer configured")
        self._by_key = {}
        self.endpoints = ()
        self.any_ready = False
        self.choose(())
        for subset in self.subsets_in_use:
            subset.install()
        if self.high is not None:
            self.high.retire()

    def _adapt(self, took_s: float) -> None:
        """An answer took so long: the limit may be another one."""
        assert self.gradient is not None    # else nobody calls this
        self.max_requests = min(self._most_requests, self.gradient.observe(took_s, self.active))

    def _retire(self, endpoint: Endpoint, why: str) -> None:
        if self.outliers is not None:
            self.outliers.forget(endpoint)
        endpoint.retire(why)

    # -- the data plane's side -------------------------------------------------------------------------------------

    def get(self, key: EndpointKey) -> Endpoint | None:
        """The live endpoint with this key."""
        return self._by_key.get(key)

    def connect_failed(self, endpoint: Endpoint) -> None:
        """A connection to `endpoint` could not be made: count it, and tell whoever judges by that."""
        self.counters.connect_failures += 1
        endpoint.connect_failures += 1
        endpoint.failed_in_a_row += 1
        endpoint.silent("did not accept a connection", self.monotonic())
        if self.on_connect_failed is not None:
            self.on_connect_failed(endpoint)

    def may_retry(self) -> bool:
        """Whether one more retry may be under way now."""
        limit = self.max_retries
        if limit is None:
            under_way = self.active + self.pending
            share = RETRY_BUDGET_SHARES * under_way // max(len(self.endpoints), RETRY_BUDGET_SHARES)
            limit = max(self.retry_floor, int(under_way * self.retry_share), share if self.retry_share else 0)
        return self.retries < limit


def whole_of(cluster: Any) -> Cluster:
    """The cluster whose counts and limits hold for `cluster`: itself, or the one of which it is a `Subset`."""
    whole: Cluster = cluster if isinstance(cluster, Cluster) else cluster.cluster
    return whole
