"""From objects to what serves them: a pure step that opens no socket, starts no timer and reads no clock.

`build(config, previous)` takes over from `previous` every cluster and virtual host that means the same as before, so that
pools, health and counts survive a reload. What leads to no object that is another one now is not even looked into: one changed
host among ten thousand costs one host. `building` does the same in small steps for those who must not hold up a reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from voltgw.app.sites import InterfaceAddress, vip
from voltgw.app.standing import Standing
from voltgw.cluster.plan import build_cluster, plan_cluster
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.config.watch import Touched, Watch, Watching, touched
from voltgw.errors import ConfigError, ConfigErrors
from voltgw.routing.hosts import HostTable
from voltgw.routing.problems import BuildErrors
from voltgw.routing.route import VirtualHost
from voltgw.routing.table import build_host
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
    from voltgw.config.objects.cluster import ClusterSpec
    from voltgw.config.objects.route import RouteSpec
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.config.values import Ref
    from voltgw.interfaces import PoolLike
    from voltgw.registry import Registry

#: Clusters or virtual hosts in one step that are taken over without a look into them; each of the others has its own step.
SAME: Final = 128


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

    def add(self, host: VirtualHost) -> None:
        """One more virtual host; what acts before the host is known is the most that any of them asks for."""
        self.hosts.append(host)
        self.max_head_bytes = max(self.max_head_bytes, host.max_request_head_bytes)
        self.head_timeout_s = max(self.head_timeout_s, host.request_head_timeout_s)
        self.keep_alive_timeout_s = max(self.keep_alive_timeout_s, host.keep_alive_timeout_s)


#: A reference, the namespace of the object in which it stands, and the cluster to which it led.
Led = tuple["Ref", str, "Cluster | None"]


class HostSource(NamedTuple):
    """What a virtual host was built from."""

    watch: Watch                            # while it holds, nothing is another
    objects: tuple[Standing[Any], ...]      # the virtual host and its routes
    clusters: tuple[Led, ...]
    offers: tuple[tuple[Object[AdvertisePolicySpec], int], ...]     # where it is offered at this site: policies, their ports


@dataclass(slots=True)
class Runtime:
    """One configuration, ready to serve."""

    config: Config
    clusters: dict[str, Cluster] = field(default_factory=dict)      # by "namespace/name", as all of these
    plans: dict[str, ClusterPlan] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)         # of the clusters
    hosts: dict[str, VirtualHost] = field(default_factory=dict)
    sources: dict[str, HostSource] = field(default_factory=dict)    # of the hosts
    listeners: dict[ListenerKey, ListenerPlan] = field(default_factory=dict)
    moved: list[tuple[Standing[Any], Object[Any]]] = field(default_factory=list)   # see `settle`

    def settle(self) -> None:
        """This serves from now on: the virtual hosts that were taken over stand where the files of today have them."""
        for standing, one in self.moved:
            standing.object = one
        self.moved.clear()

    def retiring(self, following: Runtime) -> Generator[None, None, None]:
        """`following` serves now: take apart what it has not taken over, in steps.

        Hosts and routes refer to each other, and what stood here when the process began is frozen out of the garbage
        collector's sight: nothing but this lets them go. A request under way has its route already.
        """
        for count, (name, host) in enumerate(self.hosts.items()):
            if following.hosts.get(name) is not host:
                host.install(())
                yield
            elif count % SAME == 0:
                yield


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
    """`build`, a few objects at a time; run it to its end, whose value is the `Runtime`. `previous` does not change."""
    changed = None if previous is None else (yield from touched(previous.config, config))
    work = _Building(Watching.over(config), Runtime(config), previous or Runtime(config), makings)
    changed = yield from work.build_clusters(changed)
    yield from work.build_hosts(changed)
    yield from work.build_listeners()
    return work.made


@dataclass(slots=True)
class _Building:
    """One build: `made` grows, `before` is what serves (or an empty one). `changed` None = nothing is known to be the same."""

    config: Watching
    made: Runtime
    before: Runtime
    makings: Makings

    # -- clusters ------------------------------------------------------------------------------------------------------

    def build_clusters(self, changed: Touched | None) -> Generator[None, None, Touched | None]:
        """Every cluster; returns `changed` with the clusters that were not taken over."""
        made, before = self.made, self.before
        gone: list[int] = []
        for count, ((namespace, short), cluster) in enumerate(self.config.of("cluster").items()):
            name = f"{namespace}/{short}"
            watch = before.watches.get(name)
            if changed is not None and watch is not None and watch.holds(changed):
                made.clusters[name], made.plans[name], made.watches[name] = before.clusters[name], before.plans[name], watch
                if count % SAME == 0:
                    yield
                continue
            plan = self.plan(cluster)
            kept = before.clusters.get(name)
            if kept is None or kept.config != plan:
                gone.append(id(kept))
                kept = build_cluster(plan, self.makings.new_pool, self.makings.random, self.makings.registry)
            made.clusters[name], made.plans[name], made.watches[name] = kept, plan, self.config.watch(cluster)
            yield
        if changed is None:
            return None
        gone += [id(before.clusters[name]) for name in before.clusters.keys() - made.clusters.keys()]
        return changed._replace(gone=changed.gone.union(gone))

    def plan(self, cluster: Object[ClusterSpec]) -> ClusterPlan:
        """The plan of a cluster with the endpoints of this site and the health checks that it refers to."""
        config, namespace = self.config, cluster.namespace
        endpoints = [config.find("endpoint", ref, namespace) for ref in cluster.spec.endpoints]
        here = [each for each in endpoints if each is not None and config.here(each.spec.where, each.namespace)]
        checks = [config.find("healthcheck", ref, namespace) for ref in cluster.spec.health_checks]
        return plan_cluster(cluster, here, [check for check in checks if check is not None])

    # -- virtual hosts -------------------------------------------------------------------------------------------------

    def build_hosts(self, changed: Touched | None) -> Generator[None, None, None]:
        """Every virtual host; raises `ConfigErrors` with the problems of all of them."""
        made, before = self.made, self.before
        problems: list[ConfigError] = []
        for count, ((namespace, short), host) in enumerate(self.config.of("virtual_host").items()):
            name = f"{namespace}/{short}"
            source = before.sources.get(name)
            if changed is not None and source is not None and source.watch.holds(changed):
                made.hosts[name], made.sources[name] = before.hosts[name], source
                if count % SAME == 0:
                    yield
                continue
            try:
                made.hosts[name], made.sources[name] = self.host(host, before.hosts.get(name), source)
            except BuildErrors as errors:
                problems += errors.problems
                self.config.watch()
            yield
        if problems:
            raise ConfigErrors(tuple(problems))

    def host(
        self, host: Object[VirtualHostSpec], before: VirtualHost | None, source: HostSource | None,
    ) -> tuple[VirtualHost, HostSource]:
        """A virtual host: the same if all that it was built from says what it said, else a new one. Raises `BuildErrors`."""
        found = (self.config.find("route", ref, host.namespace) for ref in host.spec.routes)
        objects: tuple[Object[Any], ...] = (host, *(route for route in found if route is not None))
        offers = tuple(self.offers(host))
        if before is not None and source is not None and self.says_the_same(source, objects):
            standing, clusters = source.objects, source.clusters
            self.made.moved += zip(standing, objects, strict=True)
        else:
            standing = tuple(map(Standing, objects))
            before, clusters = self.new_host(standing, before)
        return before, HostSource(
            self.config.watch(*objects, *(cluster for _, _, cluster in clusters)), standing, clusters, offers)

    def says_the_same(self, source: HostSource, objects: tuple[Object[Any], ...]) -> bool:
        """Whether building a host from `objects` would give what `source` gave."""
        return (len(objects) == len(source.objects)
                and all(one == other.object for one, other in zip(objects, source.objects, strict=True))
                and all(self.cluster(ref, namespace) is cluster for ref, namespace, cluster in source.clusters))

    def new_host(
        self, objects: tuple[Standing[Any], ...], before: VirtualHost | None,
    ) -> tuple[VirtualHost, tuple[Led, ...]]:
        """A virtual host built anew, counting on where `before` stopped, and where its references led. Raises `BuildErrors`."""
        known: dict[str, list[RouteCounters]] = {}      # a host may name a route twice, or two of one name
        for route in before.routes if before is not None else ():
            known.setdefault(route.name, []).append(route.counters)
        led: list[Led] = []

        def find(ref: Ref, namespace: str) -> Cluster | None:
            cluster = self.cluster(ref, namespace)
            led.append((ref, namespace, cluster))
            return cluster

        def counters(name: str) -> RouteCounters:
            return known[name].pop(0) if known.get(name) else RouteCounters()

        host: Standing[VirtualHostSpec] = objects[0]
        routes: tuple[Standing[RouteSpec], ...] = objects[1:]
        made = build_host(
            host.name, host.spec, routes, find, namespace=host.namespace, labels=host.object.metadata.labels, place=host.place,
            counters=counters, registry=self.makings.registry)
        return made, tuple(led)

    def cluster(self, ref: Ref, namespace: str) -> Cluster | None:
        """The cluster to which a reference in an object of a namespace leads."""
        found = self.config.find("cluster", ref, namespace)
        return self.made.clusters.get(found.full_name) if found is not None else None

    def offers(self, host: Object[VirtualHostSpec]) -> Generator[tuple[Object[AdvertisePolicySpec], int], None, None]:
        """What a host's policies offer at this site: each with each of its ports."""
        for ref in host.spec.advertise_policies:
            policy = self.config.find("advertise_policy", ref, host.namespace)
            if policy is not None and self.config.here(policy.spec.where, policy.namespace):
                for port in policy.spec.ports:
                    yield policy, port

    # -- listeners -----------------------------------------------------------------------------------------------------

    def build_listeners(self) -> Generator[None, None, None]:
        """Who listens where; raises `ConfigErrors` for what cannot share."""
        plans = self.made.listeners
        keys: dict[tuple[int, int], ListenerKey] = {}       # by the policy's id, and port
        problems: list[ConfigError] = []
        for count, (name, made) in enumerate(self.made.hosts.items()):
            source = self.made.sources[name]
            for policy, port in source.offers:
                key = keys.get((id(policy), port))
                if key is None:
                    key = keys[id(policy), port] = self.key(policy.spec, port)
                plan = plans.get(key)
                if plan is not None and plan.hosts[-1] is made:     # by another policy with the same address and port
                    plan.skip_xff_append = plan.skip_xff_append or policy.spec.skip_xff_append
                    continue
                host: Object[VirtualHostSpec] = source.objects[0].object
                problem = _cannot_serve(host, made) if plan is None else _in_the_way(host, plan)
                if problem is not None:
                    problems.append(problem)
                    continue
                if plan is None:
                    plan = plans[key] = ListenerPlan(key, host.spec.proxy, port)
                plan.add(made)
                plan.skip_xff_append = plan.skip_xff_append or policy.spec.skip_xff_append
            if count % SAME == 0:
                yield
        for key, plan in plans.items():
            if plan.kind.http:
                served = self.before.listeners.get(key)
                table = served.table if served is not None and served.table is not None else HostTable(())
                pairs = [(host.domains, host) for host in plan.hosts]
                yield
                try:
                    plan.table = yield from table.following(pairs)
                except ValueError as error:
                    problems.append(ConfigError("VG0202", plan.hosts[-1].place, f"on {key}: {error}"))
                yield
        if problems:
            raise ConfigErrors(tuple(problems))

    def key(self, policy: AdvertisePolicySpec, port: int) -> ListenerKey:
        """The address and port that a policy means."""
        address = (None if policy.any_address
                   else policy.address or vip(policy.where, self.config, self.makings.interface_address))
        return ListenerKey(address, self.config.gateway.bound_port(port))


def _cannot_serve(host: Object[VirtualHostSpec], made: VirtualHost) -> ConfigError | None:
    """A relay without a route that is in service: a connection to it could only be dropped."""
    if host.spec.proxy.http or made.routes:
        return None
    return ConfigError("VG0203", host.place("routes"), f"{host.title} ({host.spec.proxy.value}) has no route in service, so it "
                       "does not know where connections go")


def _in_the_way(host: Object[VirtualHostSpec], plan: ListenerPlan) -> ConfigError | None:
    """Two hosts on one address, which is only known now: the one that a policy means without naming it (its interface's)."""
    if plan.kind.http and plan.kind is host.spec.proxy:
        return None
    first = plan.hosts[0]
    return ConfigError(
        "VG0201", host.place("advertise_policies"), f"{host.title} ({host.spec.proxy.value}) wants {plan.key}, which "
        f"{first.namespace}/{first.name} ({first.proxy}) has; the two cannot share it",
        related=(("the other virtual host", first.place),))
