"""From objects to what serves them: a pure step that opens no socket, starts no timer and reads no clock.

`build(config, previous)` takes over from `previous` every cluster and route counter that means the same as before, so that
pools, health and counts survive a reload.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from voltgw.app.sites import InterfaceAddress, vip
from voltgw.cluster.plan import build_cluster, plan_cluster
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.errors import ConfigError, ConfigErrors
from voltgw.routing.hosts import HostTable
from voltgw.routing.problems import BuildErrors
from voltgw.routing.table import VirtualHost, build_host
from voltgw.values.address import where
from voltgw.values.counters import RouteCounters
from voltgw.values.defaults import KEEP_ALIVE_TIMEOUT_S, MAX_REQUEST_HEAD_BYTES, REQUEST_HEAD_TIMEOUT_S

if TYPE_CHECKING:
    from random import Random

    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.plan import ClusterPlan
    from voltgw.cluster.snapshot import EndpointKey
    from voltgw.config.model import Config
    from voltgw.config.values import Ref
    from voltgw.interfaces import PoolLike
    from voltgw.registry import Registry


class ListenerKey(NamedTuple):
    """What one socket is bound to; `address` None = every address of the host."""

    address: str | None
    port: int

    def __str__(self) -> str:
        return where(self.address, self.port)


@dataclass(slots=True)
class ListenerPlan:
    """What one (address, port) serves. `port` is the port that objects name, before `gateway.port_map`."""

    key: ListenerKey
    kind: ProxyType
    port: int
    hosts: list[VirtualHost] = field(default_factory=list)
    table: HostTable | None = None          # HTTP kinds
    skip_xff_append: bool = False
    max_head_bytes: int = MAX_REQUEST_HEAD_BYTES
    head_timeout_s: float = REQUEST_HEAD_TIMEOUT_S
    keep_alive_timeout_s: float = KEEP_ALIVE_TIMEOUT_S


@dataclass(slots=True)
class Runtime:
    """One configuration, ready to serve."""

    config: Config
    clusters: dict[str, Cluster]            # by "namespace/name"
    plans: dict[str, ClusterPlan]
    hosts: dict[str, VirtualHost]           # by "namespace/name"
    listeners: dict[ListenerKey, ListenerPlan]


@dataclass(frozen=True, slots=True)
class Makings:
    """What `build` is given besides the configuration."""

    new_pool: Callable[[EndpointKey], PoolLike]
    random: Random
    registry: Registry
    interface_address: InterfaceAddress


def build(config: Config, previous: Runtime | None, makings: Makings) -> Runtime:
    """The runtime of a checked configuration.

    Raises `ConfigErrors` for what only building finds, and RegistryError for a scheduler or probe that does not exist.
    """
    clusters, plans = _clusters(config, previous, makings)
    hosts = _hosts(config, previous, clusters)
    return Runtime(config, clusters, plans, hosts, _listeners(config, hosts, makings))


def _clusters(
    config: Config, previous: Runtime | None, makings: Makings
) -> tuple[dict[str, Cluster], dict[str, ClusterPlan]]:
    clusters: dict[str, Cluster] = {}
    plans: dict[str, ClusterPlan] = {}
    for cluster in config.of("cluster").values():
        namespace = cluster.namespace
        endpoints = [config.find("endpoint", ref, namespace) for ref in cluster.spec.endpoints]
        here = [each for each in endpoints if each is not None and config.here(each.spec.where, each.namespace)]
        checks = [config.find("healthcheck", ref, namespace) for ref in cluster.spec.health_checks]
        plan = plan_cluster(cluster, here, [check for check in checks if check is not None])
        kept = previous.clusters.get(plan.name) if previous is not None else None
        if kept is None or kept.config != plan:
            kept = build_cluster(plan, makings.new_pool, makings.random, makings.registry)
        clusters[plan.name] = kept
        plans[plan.name] = plan
    return clusters, plans


def _hosts(config: Config, previous: Runtime | None, clusters: dict[str, Cluster]) -> dict[str, VirtualHost]:
    def find_cluster(ref: Ref, namespace: str) -> Cluster | None:
        found = config.find("cluster", ref, namespace)
        return clusters.get(found.full_name) if found is not None else None

    hosts: dict[str, VirtualHost] = {}
    problems: list[ConfigError] = []
    for host in config.of("virtual_host").values():
        routes = [config.find("route", ref, host.namespace) for ref in host.spec.routes]
        before = previous.hosts.get(host.full_name) if previous is not None else None
        known = {route.name: route.counters for route in before.routes} if before is not None else {}
        try:
            hosts[host.full_name] = build_host(
                host.name, host.spec, [route for route in routes if route is not None], find_cluster,
                namespace=host.namespace, labels=host.metadata.labels, place=host.place,
                counters=lambda name, known=known: known.get(name) or RouteCounters(),     # type: ignore[misc]
            )
        except BuildErrors as errors:
            problems += errors.problems
    if problems:
        raise ConfigErrors(tuple(problems))
    return hosts


def _listeners(config: Config, hosts: dict[str, VirtualHost], makings: Makings) -> dict[ListenerKey, ListenerPlan]:
    plans: dict[ListenerKey, ListenerPlan] = {}
    entries: dict[ListenerKey, list[tuple[tuple[str, ...], VirtualHost]]] = {}
    for host in config.of("virtual_host").values():
        made = hosts[host.full_name]
        spec = host.spec
        for ref in spec.advertise_policies:
            policy = config.find("advertise_policy", ref, host.namespace)
            if policy is None or not config.here(policy.spec.where, policy.namespace):
                continue
            for port in policy.spec.ports:
                address = (None if policy.spec.any_address
                           else policy.spec.address or vip(policy.spec.where, config, makings.interface_address))
                key = ListenerKey(address, config.gateway.bound_port(port))
                plan = plans.get(key)
                if plan is None:
                    plan = plans[key] = ListenerPlan(key, spec.proxy, port)
                    entries[key] = []
                plan.hosts.append(made)
                plan.skip_xff_append = plan.skip_xff_append or policy.spec.skip_xff_append
                plan.max_head_bytes = max(plan.max_head_bytes, made.max_request_head_bytes)
                plan.head_timeout_s = max(plan.head_timeout_s, made.request_head_timeout_s)
                plan.keep_alive_timeout_s = max(plan.keep_alive_timeout_s, made.keep_alive_timeout_s)
                entries[key].append((spec.domains, made))
    for key, plan in plans.items():
        if plan.kind.http:
            plan.table = HostTable(entries[key])
    return plans
