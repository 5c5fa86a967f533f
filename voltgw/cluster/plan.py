"""What configuration says of one cluster, as one plain value: equal plans mean that nothing has to change at a reload.

`plan_cluster` reads the objects, `build_cluster` makes the live thing without opening anything. Membership, feeds and
probes are built from the same plan by `voltgw.control.build`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from voltgw.cluster.affinity import COOKIE, Affinity, AffinityRules
from voltgw.cluster.cluster import DEFAULT_LIMITS, NO_LIMIT, RETRY_BUDGET_DIVISOR, RETRY_BUDGET_FLOOR, Cluster, Limits
from voltgw.cluster.gradient import Gradient, GradientRules
from voltgw.cluster.outlier import OutlierDetector, OutlierRules
from voltgw.cluster.slowstart import SlowStart
from voltgw.cluster.spread import NOWHERE_KNOWN, ZONE_LABEL, Home, SpreadRules
from voltgw.cluster.subset import SubsetRules
from voltgw.config.objects.cluster import ClusterSpec, EndpointSelectionPolicy, LoadbalancerAlgorithm
from voltgw.config.objects.cluster_extension import AffinityKind
from voltgw.config.objects.endpoint import EndpointSpec
from voltgw.config.objects.healthcheck import HealthcheckSpec
from voltgw.config.objects.healthcheck_extension import UdpHealthCheck
from voltgw.config.objects.route import RoutingPriority
from voltgw.config.values import EMPTY
from voltgw.errors import NOWHERE, Place
from voltgw.registry import SCHEDULERS, Registry
from voltgw.values.defaults import CONNECT_TIMEOUT_S, DNS_REFRESH_S, MAX_PENDING_REQUESTS, UPSTREAM_IDLE_TIMEOUT_S
from voltgw.values.header_case import header_case
from voltgw.values.network import HOST, Network
from voltgw.values.proxyheader import ALL_TLVS, OWN_TLVS, ProxyOut, tlv_types

if TYPE_CHECKING:
    from random import Random

    from voltgw.cluster.snapshot import EndpointKey
    from voltgw.config.objects.cluster_extension import ClusterTcp
    from voltgw.interfaces import PoolLike
    from voltgw.values.discovery import ServiceQuery
    from voltgw.values.tls import ClientTls

S = TypeVar("S", covariant=True)

#: Nobody has said anything of priorities and localities.
NO_RULES: Final = SpreadRules()
#: Sweeps of outlier detection are not more frequent than this, whatever `interval` says.
LEAST_SWEEP_S: Final = 0.1

#: Which scheduler serves an algorithm.
SCHEDULER_OF: Final[Mapping[LoadbalancerAlgorithm, str]] = {
    LoadbalancerAlgorithm.ROUND_ROBIN: "round_robin",
    LoadbalancerAlgorithm.LEAST_REQUEST: "least_request",
    LoadbalancerAlgorithm.RING_HASH: "ring_hash",
    LoadbalancerAlgorithm.RANDOM: "random",
    LoadbalancerAlgorithm.LB_OVERRIDE: "lb_override",
}
#: Which probe serves a field of ``voltgw:`` in a health check.
_PROBE_OF: Final[Mapping[str, str]] = {
    "grpc_health_check": "grpc", "udp_health_check": "udp", "dns_query_health_check": "dns",
}


class MetadataLike(Protocol):
    """The part of an object's metadata that matters here."""

    @property
    def labels(self) -> Mapping[str, str]:
        """What selectors look at."""

    @property
    def disable(self) -> bool:
        """Whether it is out of service."""


class ObjectLike(Protocol[S]):
    """A configured object."""

    @property
    def name(self) -> str:
        """Its name within its namespace and kind."""

    @property
    def namespace(self) -> str:
        """Its namespace."""

    @property
    def metadata(self) -> MetadataLike:
        """What is said about it."""

    @property
    def spec(self) -> S:
        """What it says."""


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """One endpoint object: `kind` names the discovery method, `address` is what that asks for (an IP, a name)."""

    name: str
    kind: str
    address: str
    port: int
    protocol: str = "TCP"
    health_port: int = 0
    refresh_s: float = DNS_REFRESH_S
    by_ttl: bool = False                    # it is looked up when its answer's time to live is over, where that is known
    weight: int = 1
    labels: Mapping[str, str] = field(default=EMPTY)
    network: Network = HOST                 # from which it is looked up and reached
    priority: int = 0
    zone: str = ""
    query: ServiceQuery | None = None       # of a service in registries


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """One healthcheck object: `kind` names the probe, `options` is that probe's own value."""

    name: str
    kind: str
    options: Any
    interval_s: float
    timeout_s: float
    rise: int
    fall: int
    jitter_percent: int = 0
    edge_interval_s: float = 0.0            # 0.0: as `interval_s`
    unhealthy_interval_s: float = 0.0
    keep: bool = False                      # the connection, for the next probe


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """One cluster object with all that it refers to; `name` is ``namespace/name``."""

    name: str
    scheduler: str = "round_robin"
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    idle_timeout_s: float = UPSTREAM_IDLE_TIMEOUT_S
    limits: Limits = DEFAULT_LIMITS
    max_requests_per_connection: int = NO_LIMIT
    members: tuple[MemberPlan, ...] = ()
    checks: tuple[CheckPlan, ...] = ()
    header_case: Callable[[bytes], bytes] | None = None
    http2: bool = False                     # see `Cluster`
    by_alpn: bool = False
    tls: ClientTls | None = None            # None = plain text
    high_limits: Limits = DEFAULT_LIMITS    # of routes of high priority
    proxy_protocol: ProxyOut | None = None  # the PROXY header with which connections begin; None = none
    unshared: bool = False                  # no two clients share a connection
    tcp: ClusterTcp | None = None           # options towards endpoints, None = the host's own settings
    pre_open: int = 0
    scheduler_options: Any = None           # as they were written; the scheduler reads them
    subsets: SubsetRules | None = None      # None = there are none
    panic_threshold: int = 0                # percent, 0 = none
    outlier: OutlierRules | None = None     # None = nobody is ejected
    slow_start: SlowStart | None = None     # None = whoever comes has its whole share at once
    weight_label: str = ""                  # the label that says the weights of endpoints, "" = none does
    spread: SpreadRules = NO_RULES          # priorities and localities
    max_age_s: float = 0.0                  # of a connection to an endpoint, 0.0 = none
    retry_budget: tuple[float, int] | None = None   # percent and floor, None = the usual ones
    affinity: AffinityRules | None = None   # None = no cookie pins clients to endpoints
    gradient: GradientRules | None = None   # None = the limit of requests under way stands
    local_only: bool = False                # only endpoints where the gateway is
    home: Home = NOWHERE_KNOWN              # where that is
    networks: tuple[Network, ...] = ()      # that its members are in, the host's own aside


def plan_cluster(
    cluster: ObjectLike[ClusterSpec], endpoints: Iterable[ObjectLike[EndpointSpec]],
    healthchecks: Iterable[ObjectLike[HealthcheckSpec]], tls: ClientTls | None = None,
    networks: Iterable[Network] = (), home: Home = NOWHERE_KNOWN, queries: Iterable[ServiceQuery | None] = (),
) -> ClusterPlan:
    """The plan of one cluster object with the endpoints and health checks it refers to, in that order.

    `tls` is how its endpoints are reached, None = in plain text; `networks` where, endpoint by endpoint (none: all by the
    host's own). Disabled objects take no part.
    `queries` says what those ask registries for that name a service there (None: nothing).
    """
    spec = cluster.spec
    ours = spec.voltgw
    placed = zip(endpoints, chain(networks, repeat(HOST)), chain(queries, repeat(None)), strict=False)
    found = (plan_member(endpoint, network, query) for endpoint, network, query in placed if not endpoint.metadata.disable)
    members = tuple(member for member in found if member is not None)
    checks = (plan_check(check) for check in healthchecks if not check.metadata.disable)
    by_alpn = spec.auto_http_config and spec.tls_parameters is not None     # without TLS nobody is asked: HTTP/1.1
    return ClusterPlan(
        name=f"{cluster.namespace}/{cluster.name}",
        scheduler=ours.scheduler if ours is not None and ours.scheduler else SCHEDULER_OF[spec.loadbalancer_algorithm],
        scheduler_options=None if ours is None else ours.scheduler_options,
        tcp=None if ours is None else ours.tcp,
        pre_open=0 if ours is None else ours.pre_open or 0,
        subsets=_subsets(spec),
        panic_threshold=spec.panic_threshold or 0,
        outlier=plan_outlier(spec),
        slow_start=plan_slow_start(spec),
        spread=plan_spread(spec),
        gradient=plan_gradient(spec),
        affinity=plan_affinity(spec),
        max_age_s=0.0 if ours is None else ours.max_connection_age_s or 0.0,
        retry_budget=plan_retry_budget(spec),
        local_only=spec.endpoint_selection is EndpointSelectionPolicy.LOCAL_ONLY,
        home=home,
        weight_label="" if ours is None else ours.weight_label or "",
        connect_timeout_s=spec.connection_timeout_s or CONNECT_TIMEOUT_S,
        idle_timeout_s=spec.http_idle_timeout_s or UPSTREAM_IDLE_TIMEOUT_S,
        limits=_limits(spec, RoutingPriority.DEFAULT),
        high_limits=_limits(spec, RoutingPriority.HIGH),
        max_requests_per_connection=spec.max_requests_per_connection or NO_LIMIT,
        header_case=header_case(
            spec.http1_config.header_transformation if spec.http1_config is not None else spec.header_transformation_type),
        http2=by_alpn or (spec.http2_options is not None and spec.http2_options.enabled),
        by_alpn=by_alpn,
        members=members, networks=tuple(dict.fromkeys(each.network for each in members if each.network != HOST)),
        checks=tuple(check for check in checks if check is not None), tls=tls,
        proxy_protocol=_proxy_protocol(spec), unshared=spec.unshared,
    )


def _proxy_protocol(spec: ClusterSpec) -> ProxyOut | None:
    """How its endpoints are told of clients."""
    if not spec.proxy_protocol_v1 and not spec.proxy_protocol_v2:
        return None
    version = 1 if spec.proxy_protocol_v1 else 2
    more = spec.voltgw.proxy_protocol if spec.voltgw is not None else None
    if more is None:
        return ProxyOut(version)
    return ProxyOut(version, OWN_TLVS if not more.tell else tlv_types(more.tell) & OWN_TLVS,
                    ALL_TLVS if not more.pass_on else tlv_types(more.pass_on), more.first_datagram_only)


def plan_member(
    endpoint: ObjectLike[EndpointSpec], network: Network = HOST, query: ServiceQuery | None = None,
) -> MemberPlan | None:
    """How the addresses of one endpoint object in `network` are found; None when it is not known how."""
    spec = endpoint.spec
    if spec.unix is not None:
        kind, address, refresh_s = "static", spec.unix, None
    elif spec.ip is not None:
        kind, address, refresh_s = "static", spec.ip, None
    elif spec.dns_name_advanced is not None:
        kind, address, refresh_s = "dns", spec.dns_name_advanced.name, spec.dns_name_advanced.refresh_interval_s
    elif spec.dns_name is not None:
        kind, address, refresh_s = "dns", spec.dns_name, None
    elif query is not None:
        kind, address, refresh_s = "registered", query.text, None
    else:
        return None
    ours = spec.voltgw
    weight = ours.weight if ours is not None else None
    return MemberPlan(
        name=f"{endpoint.namespace}/{endpoint.name}", kind=kind, address=address,
        port=0 if spec.unix is not None or query is not None and query.port else spec.port or 0,
        by_ttl=spec.dns_name_advanced is not None and spec.dns_name_advanced.strict_ttl,
        protocol=spec.protocol.value, health_port=spec.health_check_port or 0, refresh_s=refresh_s or DNS_REFRESH_S,
        weight=1 if weight is None else weight, labels=endpoint.metadata.labels,
        network=HOST if spec.unix is not None else network,
        priority=ours.priority or 0 if ours is not None else 0, zone=ours.zone or "" if ours is not None else "",
        query=query,
    )


def plan_check(check: ObjectLike[HealthcheckSpec]) -> CheckPlan | None:
    """How one healthcheck object probes; None when it is of a kind that is not probed (its own error says so)."""
    spec = check.spec
    options: Any
    if spec.http_health_check is not None:
        kind, options = "http", spec.http_health_check
    elif spec.tcp_health_check is not None:
        kind, options = "tcp", spec.tcp_health_check
    elif spec.udp_icmp_health_check:
        kind, options = "udp", UdpHealthCheck()
    elif spec.voltgw is not None and spec.voltgw.kind:
        kind, options = _PROBE_OF[spec.voltgw.kind], getattr(spec.voltgw, spec.voltgw.kind)
    else:
        return None
    return CheckPlan(
        name=f"{check.namespace}/{check.name}", kind=kind, options=options, interval_s=spec.interval_s,
        timeout_s=spec.timeout_s, rise=spec.healthy_threshold, fall=spec.unhealthy_threshold,
        jitter_percent=spec.jitter_percent or 0,
        edge_interval_s=0.0 if spec.voltgw is None else spec.voltgw.edge_interval_s or 0.0,
        unhealthy_interval_s=0.0 if spec.voltgw is None else spec.voltgw.unhealthy_interval_s or 0.0,
        keep=spec.voltgw is not None and spec.voltgw.keep_connection,
    )


def plan_outlier(spec: ClusterSpec) -> OutlierRules | None:
    """The rules of outlier detection; None where the cluster has none.

    A `consecutive_gateway_failure` that is written ejects, although Envoy's default for that is to count only.
    """
    said = spec.outlier_detection
    if said is None:
        return None
    more = spec.voltgw.outlier if spec.voltgw is not None else None
    given = {name: getattr(said, name) for name in (
        "consecutive_5xx", "consecutive_gateway_failure", "interval_s", "base_ejection_time_s", "max_ejection_percent")}
    if more is not None:
        given.update((each.name, getattr(more, each.name)) for each in fields(OutlierRules) if hasattr(more, each.name))
        given["successful_active_health_check_uneject_host"] = not more.time_only
    if said.consecutive_gateway_failure is not None and given.get("enforcing_consecutive_gateway_failure") is None:
        given["enforcing_consecutive_gateway_failure"] = 100
    rules = OutlierRules(**{name: value for name, value in given.items() if value is not None})
    return replace(rules, interval_s=max(rules.interval_s, LEAST_SWEEP_S))


def plan_slow_start(spec: ClusterSpec) -> SlowStart | None:
    """How endpoints begin; None where they have their whole share at once."""
    said = spec.voltgw.slow_start if spec.voltgw is not None else None
    if said is None:
        return None
    rules = SlowStart(said.window_s)
    if said.aggression is not None:
        rules = replace(rules, aggression=said.aggression)
    return rules if said.min_weight_percent is None else replace(rules, min_weight_percent=said.min_weight_percent)


def plan_retry_budget(spec: ClusterSpec) -> tuple[float, int] | None:
    """How many percent of what is under way may be retries, and how many in any case; None = the usual ones."""
    said = spec.voltgw.retry_budget if spec.voltgw is not None else None
    if said is None:
        return None
    return (100.0 / RETRY_BUDGET_DIVISOR if said.percent is None else said.percent,
            RETRY_BUDGET_FLOOR if said.least is None else said.least)


def plan_affinity(spec: ClusterSpec) -> AffinityRules | None:
    """The cookie that pins clients to endpoints; None where there is none."""
    ours = spec.voltgw
    if ours is None or ours.affinity is AffinityKind.NONE:
        return None
    said = ours.affinity_cookie
    if said is None:
        return AffinityRules()
    clear = said.key.clear_secret_info if said.key is not None else None
    return AffinityRules(said.name or COOKIE, clear.url.data if clear is not None else b"",
                         None if said.max_age_s is None else max(1, round(said.max_age_s)), said.secure)


def plan_gradient(spec: ClusterSpec) -> GradientRules | None:
    """How the limit of requests under way follows the time of answers; None where it stands."""
    said = spec.voltgw.adaptive_concurrency if spec.voltgw is not None else None
    if said is None:
        return None
    usual = GradientRules()
    least = said.min_limit or usual.least
    return GradientRules(said.initial_limit or least, least, said.max_limit or max(usual.most, least),
                         said.tolerance or usual.tolerance)


def plan_spread(spec: ClusterSpec) -> SpreadRules:
    """How traffic is spread over priorities and localities."""
    ours = spec.voltgw
    rules = SpreadRules(prefer_local=spec.endpoint_selection is EndpointSelectionPolicy.LOCAL_PREFERRED)
    if ours is None:
        return rules
    if ours.overprovisioning_percent is not None:
        rules = replace(rules, overprovisioning=ours.overprovisioning_percent)
    return replace(rules, localities=ours.locality_weights) if ours.locality_weights else rules


def home_of(site: str, labels: Mapping[str, str]) -> Home:
    """Where a gateway of this site is, by the site object's labels."""
    return Home(site, labels.get(ZONE_LABEL, ""))


def _subsets(spec: ClusterSpec) -> SubsetRules | None:
    expressions = spec.voltgw.subset_expressions if spec.voltgw is not None else EMPTY
    if not spec.endpoint_subsets and not expressions:
        return None
    keys = tuple(each.keys for each in spec.endpoint_subsets)
    return SubsetRules(keys, spec.fallback_policy, spec.default_subset, expressions)


def _limits(spec: ClusterSpec, priority: RoutingPriority) -> Limits:
    """What routes of this priority may use; a breaker of another priority does not limit them."""
    breaker = spec.circuit_breaker
    if breaker is None or breaker.priority is not priority:
        return DEFAULT_LIMITS
    return Limits(
        connections=breaker.connection_limit or NO_LIMIT,
        pending=breaker.pending_requests or MAX_PENDING_REQUESTS,
        requests=breaker.max_requests or NO_LIMIT,
        retries=breaker.retries,
    )


def build_cluster(
    plan: ClusterPlan, new_pool: Callable[[EndpointKey], PoolLike], random: Random, registry: Registry, place: Place = NOWHERE,
    made_key: bytes = b"",
) -> Cluster:
    """The live cluster, without endpoints yet. Raises RegistryError when there is no such scheduler.

    `made_key` is what cookies of affinity are made with where the plan has no key.

    Raises `ConfigErrors`, at `place`, when the scheduler cannot do with its options.
    """
    factory = registry.find(SCHEDULERS, plan.scheduler)
    options = factory.options(plan.scheduler_options, place)
    if options and hasattr(factory, "configured"):
        factory = factory.configured(options)
    made = Cluster(
        plan.name, factory, new_pool, random, connect_timeout_s=plan.connect_timeout_s,
        idle_timeout_s=plan.idle_timeout_s, limits=plan.limits,
        max_requests_per_connection=plan.max_requests_per_connection, config=plan, header_case=plan.header_case,
        http2=plan.http2, by_alpn=plan.by_alpn, proxy_protocol=plan.proxy_protocol, unshared=plan.unshared,
        high_limits=plan.high_limits, subsets=plan.subsets, outliers=None if plan.outlier is None else
        OutlierDetector(plan.outlier, random), slow_start=plan.slow_start, spread=plan.spread,
        gradient=None if plan.gradient is None else Gradient(plan.gradient),
        affinity=None if plan.affinity is None else Affinity(plan.affinity, made_key),
    )
    made.max_age_s = plan.max_age_s
    if plan.retry_budget is not None:
        made.retry_share, made.retry_floor = plan.retry_budget[0] / 100, plan.retry_budget[1]
    return made
