"""What configuration says of one cluster, as one plain value: equal plans mean that nothing has to change at a reload.

`plan_cluster` reads the objects, `build_cluster` makes the live thing without opening anything. Membership, feeds and
probes are built from the same plan by `voltgw.control.build`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from voltgw.cluster.cluster import DEFAULT_LIMITS, NO_LIMIT, Cluster, Limits
from voltgw.config.objects.cluster import ClusterSpec, LoadbalancerAlgorithm
from voltgw.config.objects.endpoint import EndpointSpec
from voltgw.config.objects.healthcheck import HealthcheckSpec
from voltgw.config.objects.route import RoutingPriority
from voltgw.config.values import EMPTY
from voltgw.registry import SCHEDULERS, Registry
from voltgw.values.defaults import CONNECT_TIMEOUT_S, DNS_REFRESH_S, MAX_PENDING_REQUESTS, UPSTREAM_IDLE_TIMEOUT_S
from voltgw.values.header_case import header_case

if TYPE_CHECKING:
    from random import Random

    from voltgw.cluster.snapshot import EndpointKey
    from voltgw.interfaces import PoolLike

S = TypeVar("S", covariant=True)

#: Which scheduler serves an algorithm; the others are served by round robin, and reading the configuration warns of it.
SCHEDULER_OF: Final[Mapping[LoadbalancerAlgorithm, str]] = {LoadbalancerAlgorithm.RANDOM: "random"}


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


def plan_cluster(
    cluster: ObjectLike[ClusterSpec], endpoints: Iterable[ObjectLike[EndpointSpec]],
    healthchecks: Iterable[ObjectLike[HealthcheckSpec]],
) -> ClusterPlan:
    """The plan of one cluster object with the endpoints and health checks it refers to, in that order.

    Disabled objects take no part. An endpoint that names a service in a registry has no feed here.
    """
    spec = cluster.spec
    members = (plan_member(endpoint) for endpoint in endpoints if not endpoint.metadata.disable)
    checks = (plan_check(check) for check in healthchecks if not check.metadata.disable)
    return ClusterPlan(
        name=f"{cluster.namespace}/{cluster.name}",
        scheduler=SCHEDULER_OF.get(spec.loadbalancer_algorithm, "round_robin"),
        connect_timeout_s=spec.connection_timeout_s or CONNECT_TIMEOUT_S,
        idle_timeout_s=spec.http_idle_timeout_s or UPSTREAM_IDLE_TIMEOUT_S,
        limits=_limits(spec),
        max_requests_per_connection=spec.max_requests_per_connection or NO_LIMIT,
        header_case=header_case(
            spec.http1_config.header_transformation if spec.http1_config is not None else spec.header_transformation_type),
        members=tuple(member for member in members if member is not None),
        checks=tuple(check for check in checks if check is not None),
    )


def plan_member(endpoint: ObjectLike[EndpointSpec]) -> MemberPlan | None:
    """How the addresses of one endpoint object are found; None when it is not by address or name."""
    spec = endpoint.spec
    if spec.ip is not None:
        kind, address, refresh_s = "static", spec.ip, None
    elif spec.dns_name_advanced is not None:
        kind, address, refresh_s = "dns", spec.dns_name_advanced.name, spec.dns_name_advanced.refresh_interval_s
    elif spec.dns_name is not None:
        kind, address, refresh_s = "dns", spec.dns_name, None
    else:
        return None
    weight = spec.voltgw.weight if spec.voltgw is not None else None
    return MemberPlan(
        name=f"{endpoint.namespace}/{endpoint.name}", kind=kind, address=address, port=spec.port or 0,
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


def _limits(spec: ClusterSpec) -> Limits:
    breaker = spec.circuit_breaker
    if breaker is None or breaker.priority is RoutingPriority.HIGH:     # that one is for routes of high priority alone
        return DEFAULT_LIMITS
    return Limits(
        connections=breaker.connection_limit or NO_LIMIT,
        pending=breaker.pending_requests or MAX_PENDING_REQUESTS,
        requests=breaker.max_requests or NO_LIMIT,
        retries=breaker.retries,
    )


def build_cluster(
    plan: ClusterPlan, new_pool: Callable[[EndpointKey], PoolLike], random: Random, registry: Registry
) -> Cluster:
    """The live cluster, without endpoints yet. Raises RegistryError when there is no such scheduler."""
    factory = registry.find(SCHEDULERS, plan.scheduler)
    return Cluster(
        plan.name, factory, new_pool, random, connect_timeout_s=plan.connect_timeout_s,
        idle_timeout_s=plan.idle_timeout_s, limits=plan.limits,
        max_requests_per_connection=plan.max_requests_per_connection, config=plan, header_case=plan.header_case,
    )
