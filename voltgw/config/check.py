"""The rules between objects; pure, opens no file unless a problem wants its place.

`check` returns every problem there is, `checking` does the same in small steps for those who must not hold up a reactor. With a
`Memory` it only looks at objects that are other than the last time, or that lead to such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from voltgw.config.allocation import check_allocation
from voltgw.config.model import Config, Object
from voltgw.config.networks import check_capture, check_names, check_networks
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.config.references import Names, check_references
from voltgw.config.registries import check_registry
from voltgw.config.rollouts import check_rollout
from voltgw.config.sharing import check_inside, check_network, check_offered, check_sharing, shares_alike
from voltgw.config.show import arranged
from voltgw.config.watch import Touched, Watch, Watching, touched
from voltgw.errors import ConfigError, Severity

if TYPE_CHECKING:
    from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
    from voltgw.config.objects.cluster import ClusterSpec
    from voltgw.config.objects.endpoint import EndpointSpec
    from voltgw.config.objects.healthcheck import HealthcheckSpec
    from voltgw.config.objects.route import RouteDestinationList, RouteSpec, RouteType
    from voltgw.config.objects.virtual_host import VirtualHostSpec

#: Kinds of proxy that relay connections.
_RELAYS: Final = frozenset((
    ProxyType.TCP_PROXY, ProxyType.TCP_PROXY_WITH_SNI, ProxyType.TLS_TCP_PROXY, ProxyType.TLS_TCP_PROXY_WITH_SNI,
    ProxyType.UDP_PROXY, ProxyType.SMA_PROXY,
))
#: Objects in one step of which nothing but their sameness is looked at.
_KNOWN: Final = 256


@dataclass(slots=True)
class Memory:
    """What `checking` knows of the configuration that it looked at last: which objects it had nothing to say of, and why."""

    config: Config | None = None                # None: nothing is known
    good: dict[int, Watch] = field(default_factory=dict)    # by the object's id
    shared: bool = False                        # nor of who listens where

    def recall(self, changed: Touched | None) -> None:
        """Forget what `changed` (None = all) touches, and, until it is finished, which configuration it was."""
        self.config = None
        if changed is None:
            self.good.clear()
        else:
            for gone in changed.gone:
                self.good.pop(gone, None)


def check(config: Config) -> tuple[ConfigError, ...]:
    """Errors and warnings of the rules between objects, errors first, in the order of files."""
    problems = tuple(problem for problem in checking(config) if problem is not None)
    return arranged(problems, list(config.files), config.line)


def checking(config: Config, memory: Memory | None = None) -> Iterator[ConfigError | None]:
    """The problems one by one, unordered and without their source lines; None after each object that was looked at.

    Run it to its end, or `memory` is worth nothing afterwards. Objects with problems are always looked at again: the places
    that the problems name may have moved.
    """
    memory = memory if memory is not None else Memory()
    changed = None if memory.config is None else (yield from touched(memory.config, config))
    memory.recall(changed)
    good, names, looked = memory.good, Names(config), Watching.over(config)
    count = 0
    for kind in config.objects:
        rule = _RULES.get(kind)
        for one in config.of(kind).values():
            known = good.get(id(one))
            if known is not None and changed is not None and known.holds(changed):
                count += 1
                if count % _KNOWN == 0:
                    yield None
                continue
            fine = True
            for problem in chain(check_references(looked, one, names), () if rule is None else rule(looked, one)):
                fine = False
                yield problem
            watch = looked.watch()
            if fine:
                good[id(one)] = watch
            else:
                good.pop(id(one), None)
            yield None
    if not (memory.shared and changed is not None and shares_alike(changed)):
        memory.shared = True
        for found in check_sharing(config):
            memory.shared = memory.shared and found is None
            yield found
    memory.config = config


def _warning(code: str, one: Object[object], path: tuple[str | int, ...], message: str, hint: str = "") -> ConfigError:
    return ConfigError(code, one.place(*path), message, hint, Severity.WARNING)


def _host(config: Config, host: Object[VirtualHostSpec]) -> Iterator[ConfigError]:
    """Whether a virtual host is offered, has routes, and such as its kind of proxy can use."""
    yield from check_offered(config, host)
    yield from _not_relayed(config, host)
    spec = host.spec
    if spec.proxy.http:
        if not spec.routes and not (spec.dynamic_reverse_proxy and spec.dynamic_reverse_proxy.resolve_endpoint_dynamically):
            yield _warning("VG0211", host, ("routes",), f"{host.title} has no routes, so every request is answered 404")
        return
    if spec.dynamic_reverse_proxy is not None and spec.dynamic_reverse_proxy.resolve_endpoint_dynamically:
        yield ConfigError("VG0116", host.place("dynamic_reverse_proxy"),
                          f"dynamic_reverse_proxy of a {spec.proxy.value} is not supported yet; of HTTP_PROXY and "
                          "HTTPS_PROXY it is")
    if spec.proxy not in _RELAYS:
        return
    yield from _other_transport(config, host)
    yield from _unannounced(config, host)
    if spec.proxy is ProxyType.SMA_PROXY:
        yield from check_inside(config, host)
    if not spec.routes:
        yield ConfigError(
            "VG0203", host.place("routes"), f"{host.title} ({spec.proxy.value}) has no route, so it does not know where "
            "connections go", "give it a route object whose rule has only destinations")
    for ref in spec.routes:
        route = config.find("route", ref, host.namespace)
        for index, rule in enumerate(route.spec.routes if route is not None else ()):
            if rule.route_destination is None and route is not None:
                yield ConfigError(
                    "VG0203", route.place("routes", index), f"{route.title} redirects or answers here, which {host.title} "
                    f"({spec.proxy.value}) cannot do", "it relays connections; give it a rule with only destinations",
                    related=(("the virtual host", ref.place),))


def _route(config: Config, route: Object[RouteSpec]) -> Iterator[ConfigError]:
    """Rules that mean something else than they seem to."""
    unsafe: list[tuple[int, int, str]] = []
    for index, rule in enumerate(route.spec.routes):
        if not route.spec.segment_prefix(rule):
            unsafe += [(index, number, prefix) for number, prefix in _unsafe(rule)]
        destination = rule.route_destination
        if destination is None:
            continue
        weights = [one.weight for one in destination.destinations]
        if len(weights) > 1 and any(weight is not None for weight in weights) and not any(weights):
            yield ConfigError("VG0209", route.place("routes", index, "route_destination"),
                              "all destinations of this rule have the weight 0, so none gets a request")
        yield from _labels(config, route, index, destination)
        policy = destination.retry_policy
        if policy is not None and policy.per_try_timeout_s is not None and destination.timeout_s is not None \
                and policy.per_try_timeout_s >= destination.timeout_s:
            yield _warning(
                "VG0208", route, ("routes", index, "route_destination", "retry_policy"),
                f"one try may take {policy.per_try_timeout_s:g} s, but all together only {destination.timeout_s:g} s")
    if unsafe:
        index, number, prefix = unsafe[0]
        more = f" (so do {len(unsafe) - 1} more prefixes of {route.title})" if len(unsafe) > 1 else ""
        yield _warning("VG0207", route, ("routes", index, "match", number, "path"),
                       f"prefix {prefix} also takes {prefix}x{more}",
                       "write `voltgw: {segment_prefix: true}` in the rule if whole segments are meant")


def _labels(
    config: Config, route: Object[RouteSpec], index: int, destination: RouteDestinationList,
) -> Iterator[ConfigError]:
    """Labels by which no endpoint is chosen: the cluster has no such key set, or a key set that nobody would think of."""
    for number, one in enumerate(destination.destinations):
        wanted = {**destination.endpoint_subsets, **one.endpoint_subsets}
        if not wanted or (one.voltgw is not None and one.voltgw.subset):
            continue
        cluster = config.find("cluster", one.cluster[0], route.namespace)
        if cluster is None or any(set(each.keys) == set(wanted) for each in cluster.spec.endpoint_subsets):
            continue
        way: tuple[str | int, ...] = ("routes", index, "route_destination")
        way += ("destinations", number, "endpoint_subsets") if one.endpoint_subsets else ("endpoint_subsets",)
        keys = ", ".join(sorted(wanted))
        what = ("its fallback_policy decides" if cluster.spec.endpoint_subsets else "so all its endpoints are used")
        yield _warning("VG0217", route, way, f"{cluster.title} has no key set [{keys}] in endpoint_subsets, {what}")


def _unsafe(rule: RouteType) -> Iterator[tuple[int, str]]:
    for number, match in enumerate(rule.match):
        prefix = match.path.prefix if match.path is not None else None
        if prefix is not None and not prefix.endswith("/"):
            yield number, prefix


def _reached(config: Config, host: Object[VirtualHostSpec]) -> Iterator[Object[ClusterSpec]]:
    """The clusters to which the routes of a host lead, each as often as they do."""
    for ref in host.spec.routes:
        route = config.find("route", ref, host.namespace)
        for rule in route.spec.routes if route is not None else ():
            for destination in rule.route_destination.destinations if rule.route_destination is not None else ():
                for to in destination.cluster:
                    cluster = config.find("cluster", to, host.namespace if route is None else route.namespace)
                    if cluster is not None:
                        yield cluster


def _unannounced(config: Config, host: Object[VirtualHostSpec]) -> Iterator[ConfigError]:
    """Clusters of a UDP host that ask for PROXY headers which know nothing of UDP."""
    for cluster in _reached(config, host) if host.spec.proxy.transport == "UDP" else ():
        if cluster.spec.proxy_protocol_v1:
            yield _warning("VG0216", cluster, ("proxy_protocol_v1",),
                           f"{host.title} is a {host.spec.proxy.value}; version 1 has no header for datagrams, so none is sent")


def _not_relayed(config: Config, host: Object[VirtualHostSpec]) -> Iterator[ConfigError]:
    """Byte rates of a host whose bytes are not relayed: nobody would keep them."""
    for ref in host.spec.advertise_policies if host.spec.proxy not in _RELAYS else ():
        policy = config.find("advertise_policy", ref, host.namespace)
        extension = None if policy is None else policy.spec.voltgw
        for name in ("upload_bytes_per_second", "download_bytes_per_second"):
            if policy is not None and extension is not None and getattr(extension, name) is not None:
                yield ConfigError(
                    "VG0224", policy.place("voltgw", name), f"{policy.title} limits the bytes of connections, which only "
                    f"relays can keep; {host.title} is a {host.spec.proxy.value}", "limit requests by a rate_limiter instead",
                    related=(("the virtual host", ref.place),))


def _other_transport(config: Config, host: Object[VirtualHostSpec]) -> Iterator[ConfigError]:
    """Endpoints of a relay that say the other transport: they get what the host speaks, which nobody may hear there."""
    speaks = host.spec.proxy.transport
    for cluster in _reached(config, host):
        for ref in cluster.spec.endpoints:
            endpoint = config.find("endpoint", ref, cluster.namespace)
            # An origin pool has no such field; what it is lowered to says TCP whoever uses it.
            if endpoint is not None and endpoint.owner is None and endpoint.spec.protocol.value != speaks:
                yield _warning(
                    "VG0218", endpoint, ("protocol",), f"{host.title} is a {host.spec.proxy.value} and speaks {speaks} to "
                    f"{endpoint.title}, which is for {endpoint.spec.protocol.value}")


def _cluster(config: Config, cluster: Object[ClusterSpec]) -> Iterator[ConfigError]:
    """Members that are missing or stand there twice."""
    if not cluster.spec.endpoints:
        yield _warning("VG0213", cluster, ("endpoints",),
                       f"{cluster.title} has no endpoints, so requests for it are answered 503")
    seen: dict[tuple[object, ...], str] = {}
    for ref in cluster.spec.endpoints:
        endpoint = config.find("endpoint", ref, cluster.namespace)
        if endpoint is None or endpoint.spec.service_info is not None:
            continue
        spec = endpoint.spec
        key = (spec.protocol, spec.where, spec.unix or spec.ip or spec.name, spec.port)
        if key in seen:
            what = "stands here twice" if seen[key] == endpoint.title else f"has the same address and port as {seen[key]}"
            yield ConfigError("VG0206", ref.place, f"{endpoint.title} {what}; the first one counts", severity=Severity.WARNING,
                              related=((f"members of {cluster.title}", cluster.place()),))
        seen.setdefault(key, endpoint.title)


def _healthcheck(config: Config, healthcheck: Object[HealthcheckSpec]) -> Iterator[ConfigError]:
    """Probes that may not be over when the next one is due."""
    spec = healthcheck.spec
    if spec.timeout_s > spec.interval_s:
        yield _warning("VG0208", healthcheck, ("timeout",), f"{healthcheck.title} waits up to {spec.timeout_s:g} s for an "
                       f"answer, but probes every {spec.interval_s:g} s")


def _advertise_policy(config: Config, policy: Object[AdvertisePolicySpec]) -> Iterator[ConfigError]:
    yield from check_network(config, policy)
    yield from check_allocation(config, policy)


def _endpoint(config: Config, endpoint: Object[EndpointSpec]) -> Iterator[ConfigError]:
    yield from check_names(config, endpoint)
    yield from check_registry(config, endpoint)


#: What there is to say of an object of a kind beside its references. A rule finds other objects through the configuration that
#: it is given, and in no other way.
_RULES: Final[Mapping[str, Callable[[Config, Object[Any]], Iterator[ConfigError]]]] = {
    "advertise_policy": _advertise_policy, "virtual_host": _host, "route": _route, "cluster": _cluster,
    "healthcheck": _healthcheck,
    "virtual_network": check_networks, "endpoint": _endpoint, "network_connector": check_capture,
    "rollout": check_rollout,
}
