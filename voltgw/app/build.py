"""From objects to what serves them: a pure step that opens no socket, starts no timer and reads no clock.

`build(config, previous)` takes over from `previous` every cluster, virtual host and route counter that means the same as
before, so that pools, health and counts survive a reload, and one changed host among many costs one host. `building` does
the same in small steps for those who must not hold up a reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from voltgw.app.sites import InterfaceAddress, vip
from voltgw.cluster.plan import build_cluster, plan_cluster
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.errors import ConfigError, ConfigErrors, Place
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
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
    from voltgw.config.objects.route import RouteSpec
    from voltgw.config.objects.virtual_host import VirtualHostSpec
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


#: The cluster to which a reference in an object of a namespace leads.
FindCluster = Callable[["Ref", str], "Cluster | None"]
#: A reference, the namespace of the object in which it stands, and the cluster to which it led.
Led = tuple["Ref", str, "Cluster | None"]


class HostSource(NamedTuple):
    """What a virtual host was built from; while all of it is the same there is no need to build it anew."""

    objects: tuple[Object[Any], ...]        # the virtual host and its routes
    places: tuple[Place, ...]               # where they stand
    clusters: tuple[Led, ...]


@dataclass(slots=True)
class Runtime:
    """One configuration, ready to serve."""

    config: Config
    clusters: dict[str, Cluster]            # by "namespace/name"
    plans: dict[str, ClusterPlan]
    hosts: dict[str, VirtualHost]           # by "namespace/name"
    sources: dict[str, HostSource]
    listeners: dict[ListenerKey, ListenerPlan]

    def retire(self, following: Runtime) -> None:
        """`following` serves now: take apart what it has not taken over.

        Hosts and routes refer to each other, and what stood here when the process began is frozen out of the garbage
        collector's sight: nothing but this lets them go. A request under way has its route already.
        """
        for name, host in self.hosts.items():
            if following.hosts.get(name) is not host:
                host.install(())


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
    steps = building(config, previous, makings)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            runtime: Runtime = done.value
            return runtime


def building(config: Config, previous: Runtime | None, makings: Makings) -> Generator[None, None, Runtime]:
    """`build`, a few objects at a time; run it to its end, whose value is the `Runtime`."""
    runtime = Runtime(config, {}, {}, {}, {}, {})
    yield from _clusters(runtime, previous, makings)
    yield from _hosts(runtime, previous)
    yield from _listeners(runtime, makings)
    return runtime


def _clusters(runtime: Runtime, previous: Runtime | None, makings: Makings) -> Generator[None, None, None]:
    config = runtime.config
    for cluster in config.of("cluster").values():
        namespace = cluster.namespace
        endpoints = [config.find("endpoint", ref, namespace) for ref in cluster.spec.endpoints]
        here = [each for each in endpoints if each is not None and config.here(each.spec.where, each.namespace)]
        checks = [config.find("healthcheck", ref, namespace) for ref in cluster.spec.health_checks]
        plan = plan_cluster(cluster, here, [check for check in checks if check is not None])
        kept = previous.clusters.get(plan.name) if previous is not None else None
        if kept is None or kept.config != plan:
            kept = build_cluster(plan, makings.new_pool, makings.random, makings.registry)
        runtime.clusters[plan.name] = kept
        runtime.plans[plan.name] = plan
        yield


def _hosts(runtime: Runtime, previous: Runtime | None) -> Generator[None, None, None]:
    config = runtime.config

    def find_cluster(ref: Ref, namespace: str) -> Cluster | None:
        found = config.find("cluster", ref, namespace)
        return runtime.clusters.get(found.full_name) if found is not None else None

    problems: list[ConfigError] = []
    for host in config.of("virtual_host").values():
        name = host.full_name
        found = [config.find("route", ref, host.namespace) for ref in host.spec.routes]
        routes = [route for route in found if route is not None]
        objects = (host, *routes)
        places = tuple(one.place() for one in objects)
        before = previous.hosts.get(name) if previous is not None else None
        source = previous.sources.get(name) if previous is not None else None
        if before is not None and source is not None and _same(source, objects, places, find_cluster):
            runtime.hosts[name], runtime.sources[name] = before, source
        else:
            try:
                runtime.hosts[name], clusters = _host(host, routes, before, find_cluster)
            except BuildErrors as errors:
                problems += errors.problems
            else:
                runtime.sources[name] = HostSource(objects, places, clusters)
        yield
    if problems:
        raise ConfigErrors(tuple(problems))


def _host(
    host: Object[VirtualHostSpec], routes: list[Object[RouteSpec]], before: VirtualHost | None, find_cluster: FindCluster,
) -> tuple[VirtualHost, tuple[Led, ...]]:
    """A virtual host built anew, and where its references led. Raises `BuildErrors`."""
    known: dict[str, list[RouteCounters]] = {}      # a host may name a route twice, or two of one name
    for route in before.routes if before is not None else ():
        known.setdefault(route.name, []).append(route.counters)
    led: list[Led] = []

    def find(ref: Ref, namespace: str) -> Cluster | None:
        cluster = find_cluster(ref, namespace)
        led.append((ref, namespace, cluster))
        return cluster

    def counters(name: str) -> RouteCounters:
        return known[name].pop(0) if known.get(name) else RouteCounters()

    made = build_host(
        host.name, host.spec, routes, find, namespace=host.namespace, labels=host.metadata.labels, place=host.place,
        counters=counters,
    )
    return made, tuple(led)


def _same(
    source: HostSource, objects: tuple[Object[Any], ...], places: tuple[Place, ...], find_cluster: FindCluster,
) -> bool:
    """Whether building a host would give what `source` gave."""
    if len(objects) != len(source.objects) or places != source.places:
        return False
    if any(one is not other for one, other in zip(objects, source.objects, strict=True)):
        return False
    return all(find_cluster(ref, namespace) is cluster for ref, namespace, cluster in source.clusters)


def _listeners(runtime: Runtime, makings: Makings) -> Generator[None, None, None]:
    config = runtime.config
    plans = runtime.listeners
    entries: dict[ListenerKey, list[tuple[tuple[str, ...], VirtualHost]]] = {}
    problems: list[ConfigError] = []
    for host in config.of("virtual_host").values():
        made = runtime.hosts[host.full_name]
        for policy, port in _offers(config, host):
            address = (None if policy.any_address
                       else policy.address or vip(policy.where, config, makings.interface_address))
            key = ListenerKey(address, config.gateway.bound_port(port))
            plan = plans.get(key)
            if plan is None:
                problem = _cannot_serve(host, made)
                if problem is not None:
                    problems.append(problem)
                    continue
                plan = plans[key] = ListenerPlan(key, host.spec.proxy, port)
                entries[key] = []
            elif plan.hosts[-1] is made:    # by another policy with the same address and port
                plan.skip_xff_append = plan.skip_xff_append or policy.skip_xff_append
                continue
            elif not plan.kind.http or plan.kind is not host.spec.proxy:
                problems.append(_in_the_way(host, key, plan))
                continue
            plan.hosts.append(made)
            plan.skip_xff_append = plan.skip_xff_append or policy.skip_xff_append
            plan.max_head_bytes = max(plan.max_head_bytes, made.max_request_head_bytes)
            plan.head_timeout_s = max(plan.head_timeout_s, made.request_head_timeout_s)
            plan.keep_alive_timeout_s = max(plan.keep_alive_timeout_s, made.keep_alive_timeout_s)
            entries[key].append((host.spec.domains, made))
        yield
    for key, plan in plans.items():
        if plan.kind.http:
            try:
                plan.table = HostTable(entries[key])
            except ValueError as error:
                problems.append(ConfigError("VG0202", plan.hosts[-1].place, f"on {key}: {error}"))
            yield
    if problems:
        raise ConfigErrors(tuple(problems))


def _offers(config: Config, host: Object[VirtualHostSpec]) -> Generator[tuple[AdvertisePolicySpec, int], None, None]:
    """What a host's policies offer at this site: each with each of its ports."""
    for ref in host.spec.advertise_policies:
        policy = config.find("advertise_policy", ref, host.namespace)
        if policy is not None and config.here(policy.spec.where, policy.namespace):
            for port in policy.spec.ports:
                yield policy.spec, port


def _cannot_serve(host: Object[VirtualHostSpec], made: VirtualHost) -> ConfigError | None:
    """A relay without a route that is in service: a connection to it could only be dropped."""
    if host.spec.proxy.http or made.routes:
        return None
    return ConfigError("VG0203", host.place("routes"), f"{host.title} ({host.spec.proxy.value}) has no route in service, so it "
                       "does not know where connections go")


def _in_the_way(host: Object[VirtualHostSpec], key: ListenerKey, plan: ListenerPlan) -> ConfigError:
    """Two hosts on one address, which is only known now: the one that a policy means without naming it (its interface's)."""
    first = plan.hosts[0]
    return ConfigError(
        "VG0201", host.place("advertise_policies"), f"{host.title} ({host.spec.proxy.value}) wants {key}, which "
        f"{first.namespace}/{first.name} ({first.proxy}) has; the two cannot share it",
        related=(("the other virtual host", first.place),))
