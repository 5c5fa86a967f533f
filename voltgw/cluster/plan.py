"""What configuration says of one cluster, as one plain value: equal plans mean that nothing has to change at a reload.

`plan_cluster` reads the objects, `build_cluster` makes the live thing without opening anything. Membership, feeds and
probes are built from the same plan by `voltgw.control.build`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from voltgw.cluster.cluster import DEFAULT_LIMITS, NO_LIMIT, Cluster, Limits
from voltgw.cluster.subset import SubsetRules
from voltgw.config.objects.cluster import ClusterSpec, LoadbalancerAlgorithm
from voltgw.config.objects.endpoint import EndpointSpec
from voltgw.config.objects.healthcheck import HealthcheckSpec
from voltgw.config.objects.route import RoutingPriority
from voltgw.config.values import EMPTY
from voltgw.errors import NOWHERE, Place
from voltgw.registry import SCHEDULERS, Registry
from voltgw.values.defaults import CONNECT_TIMEOUT_S, DNS_REFRESH_S, MAX_PENDING_REQUESTS, UPSTREAM_IDLE_TIMEOUT_S
from voltgw.values.header_case import header_case

if TYPE_CHECKING:
    from random import Random

    from voltgw.cluster.snapshot import EndpointKey
    from voltgw.config.objects.cluster_extension import ClusterTcp
    from voltgw.interfaces import PoolLike
    from voltgw.values.tls import ClientTls

S = TypeVar("S", covariant=True)

#: Which scheduler serves an algorithm.
SCHEDULER_OF: Final[Mapping[LoadbalancerAlgorithm, str]] = {
    LoadbalancerAlgorithm.ROUND_ROBIN: "round_robin",
    LoadbalancerAlgorithm.LEAST_REQUEST: "least_request",
    LoadbalancerAlgorithm.RING_HASH: "ring_hash",
    LoadbalancerAlgorithm.RANDOM: "random",
    LoadbalancerAlgorithm.LB_OVERRIDE: "lb_override",
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
    weight: int = 1
    labels: Mapping[str, str] = field(default=EMPTY)


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
    proxy_protocol: int = 0                 # version of the PROXY header with which relayed connections begin, 0 = none
    tcp: ClusterTcp | None = None           # options towards endpoints, None = the host's own settings
    pre_open: int = 0
    scheduler_options: Any = None           # as they were written; the scheduler reads them
    subsets: SubsetRules | None = None      # None = there are none
    panic_threshold: int = 0                # percent, 0 = none


def plan_cluster(
    cluster: ObjectLike[ClusterSpec], endpoints: Iterable[ObjectLike[EndpointSpec]],
    healthchecks: Iterable[ObjectLike[HealthcheckSpec]], tls: ClientTls | None = None,
) -> ClusterPlan:
    """The plan of one cluster object with the endpoints and health checks it refers to, in that order.

    `tls` is how its endpoints are reached, None = in plain text. Disabled objects take no part.
    An endpoint that names a service in a registry has no feed here.
    """
    spec = cluster.spec
    ours = spec.voltgw
    members = (plan_member(endpoint) for endpoint in endpoints if not endpoint.metadata.disable)
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
        connect_timeout_s=spec.connection_timeout_s or CONNECT_TIMEOUT_S,
        idle_timeout_s=spec.http_idle_timeout_s or UPSTREAM_IDLE_TIMEOUT_S,
        limits=_limits(spec, RoutingPriority.DEFAULT),
        high_limits=_limits(spec, RoutingPriority.HIGH),
        max_requests_per_connection=spec.max_requests_per_connection or NO_LIMIT,
        header_case=header_case(
            spec.http1_config.header_transformation if spec.http1_config is not None else spec.header_transformation_type),
        http2=by_alpn or (spec.http2_options is not None and spec.http2_options.enabled),
        by_alpn=by_alpn,
        members=tuple(member for member in members if member is not None),
        checks=tuple(check for check in checks if check is not None), tls=tls,
        proxy_protocol=1 if spec.proxy_protocol_v1 else 2 if spec.proxy_protocol_v2 else 0,
    )


def plan_member(endpoint: ObjectLike[EndpointSpec]) -> MemberPlan | None:
    """How the addresses of one endpoint object are found; None when it is not by address or name."""
    spec = endpoint.spec
    if spec.unix is not None:
        kind, address, refresh_s = "static", spec.unix, None
    elif spec.ip is not None:
        kind, address, refresh_s = "static", spec.ip, None
    elif spec.dns_name_advanced is not None:
        kind, address, refresh_s = "dns", spec.dns_name_advanced.name, spec.dns_name_advanced.refresh_interval_s
    elif spec.dns_name is not None:
        kind, address, refresh_s = "dns", spec.dns_name, None
    else:
        return None
    weight = spec.voltgw.weight if spec.voltgw is not None else None
    return MemberPlan(
        name=f"{endpoint.namespace}/{endpoint.name}", kind=kind, address=address,
        port=0 if spec.unix is not None else spec.port or 0,
        protocol=spec.protocol.value, health_port=spec.health_check_port or 0, refresh_s=refresh_s or DNS_REFRESH_S,
        weight=1 if weight is None else weight, labels=endpoint.metadata.labels,
    )


def plan_check(check: ObjectLike[HealthcheckSpec]) -> CheckPlan | None:
    """How one healthcheck object probes; None when it is of a kind that is not probed (its own error says so)."""
    spec = check.spec
    options: Any
    if spec.http_health_check is not None:
        kind, options = "http", spec.http_health_check
    elif spec.tcp_health_check is not None:
        kind, options = "tcp", spec.tcp_health_check
    else:
        return None
    return CheckPlan(
        name=f"{check.namespace}/{check.name}", kind=kind, options=options, interval_s=spec.interval_s,
        timeout_s=spec.timeout_s, rise=spec.healthy_threshold, fall=spec.unhealthy_threshold,
        jitter_percent=spec.jitter_percent or 0,
    )


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
) -> Cluster:
    """The live cluster, without endpoints yet. Raises RegistryError when there is no such scheduler.

    Raises `ConfigErrors`, at `place`, when the scheduler cannot do with its options.
    """
    factory = registry.find(SCHEDULERS, plan.scheduler)
    options = factory.options(plan.scheduler_options, place)
    if options and hasattr(factory, "configured"):
        factory = factory.configured(options)
    return Cluster(
        plan.name, factory, new_pool, random, connect_timeout_s=plan.connect_timeout_s,
        idle_timeout_s=plan.idle_timeout_s, limits=plan.limits,
        max_requests_per_connection=plan.max_requests_per_connection, config=plan, header_case=plan.header_case,
        http2=plan.http2, by_alpn=plan.by_alpn, proxy_protocol=plan.proxy_protocol, high_limits=plan.high_limits,
        subsets=plan.subsets,
    )
