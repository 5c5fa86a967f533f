"""Which rules and destinations a rollout means, and whether there are such; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from voltgw.config.model import Config, Object
from voltgw.config.values import EMPTY, Ref
from voltgw.errors import ConfigError

if TYPE_CHECKING:
    from voltgw.config.objects.rollout import RolloutSpec, RolloutVersion
    from voltgw.config.objects.route import RouteDestinationList, RouteSpec


class Version(NamedTuple):
    """A destination as the data plane knows it; its text is `voltgw.routing.split.Destination.identity`."""

    cluster: str                            # "namespace/name"
    labels: tuple[tuple[str, str], ...]     # sorted
    subset: str

    def __str__(self) -> str:
        labels = self.subset or ",".join(f"{key}={value}" for key, value in self.labels)
        return f"{self.cluster}?{labels}" if labels else self.cluster


class Moved(NamedTuple):
    """A rule whose requests a rollout moves: its number in the route, and the two destinations."""

    rule: int
    baseline: Version
    candidate: Version


def moved(config: Config, rollout: Object[RolloutSpec]) -> list[Moved]:
    """The rules that the rollout moves, in order; empty where there are none, or no such route."""
    spec = rollout.spec
    route = config.find("route", spec.route[0], rollout.namespace)
    found = []
    for number, rule in enumerate(route.spec.routes if route is not None else ()):
        if route is None or rule.route_destination is None:
            continue
        shared = rule.route_destination.endpoint_subsets
        there = _destinations(config, route, rule.route_destination)
        baseline, candidate = (_version(config, each, rollout.namespace, shared) for each in (spec.baseline, spec.candidate))
        if baseline != candidate and sorted(there) == sorted((baseline, candidate)):
            found.append(Moved(number, baseline, candidate))
    return found


def _destinations(config: Config, route: Object[RouteSpec], said: RouteDestinationList) -> list[Version]:
    """What a rule shares its requests out among."""
    return [
        _named(config, each.cluster[0], route.namespace, {**said.endpoint_subsets, **each.endpoint_subsets},
               each.voltgw.subset if each.voltgw is not None else None)
        for each in said.destinations]


def _version(config: Config, said: RolloutVersion, namespace: str, shared: Mapping[str, str] = EMPTY) -> Version:
    return _named(config, said.cluster[0], namespace, {**shared, **said.endpoint_subsets}, said.subset)


def _named(config: Config, ref: Ref, namespace: str, labels: Mapping[str, str], subset: str | None) -> Version:
    cluster = config.find("cluster", ref, namespace)
    name = f"{ref.namespace or namespace}/{ref.name}" if cluster is None else f"{cluster.namespace}/{cluster.name}"
    return Version(name, () if subset else tuple(sorted(labels.items())), subset or "")


def check_rollout(config: Config, rollout: Object[RolloutSpec]) -> Iterator[ConfigError]:
    """Whether there is something to move, it can be told apart, and nobody forgets how far it has come."""
    spec = rollout.spec
    if config.gateway.data_dir is None:
        yield ConfigError("VG0236", rollout.place(), f"{rollout.title} has no folder in which its state outlives a restart",
                          "say `gateway: {data_dir: /var/lib/voltgw}`")
    baseline, candidate = (_version(config, each, rollout.namespace) for each in (spec.baseline, spec.candidate))
    if baseline == candidate:
        yield ConfigError("VG0235", rollout.place("candidate"), f"baseline and candidate of {rollout.title} are the same: "
                          f"{baseline}", "say by `endpoint_subsets` (or `cluster`) which version is which")
        return
    route = config.find("route", spec.route[0], rollout.namespace)
    if route is None or any(config.find("cluster", each.cluster[0], rollout.namespace) is None
                            for each in (spec.baseline, spec.candidate)):
        return                              # that the reference leads nowhere is said of it
    rules = moved(config, rollout)
    if not rules:
        yield ConfigError(
            "VG0235", rollout.place("route"), f"no rule of {route.title} has exactly the two destinations {baseline} and "
            f"{candidate}", "give a rule these two, with the weights that hold without the rollout")
    for host in config.of("virtual_host").values():
        if host.spec.proxy.transport == "UDP" and any(
                config.find("route", ref, host.namespace) is route for ref in host.spec.routes):
            yield ConfigError("VG0235", rollout.place("route"), f"{host.title} is a {host.spec.proxy.value}; whether a "
                              "datagram was of use is not known, so nothing can be said of a version", related=(
                                  ("the virtual host", host.place("routes")),))
    for rule in rules:
        yield from _told_apart(config, rollout, route, rule)
    for key, other in config.of("rollout").items():
        if key < (rollout.namespace, rollout.name) and _overlap(config, other, route, rules):
            yield ConfigError("VG0235", rollout.place("route"), f"{rollout.title} and {other.title} move the same requests",
                              "keep one of them", related=(("the other", other.place()),))


def _told_apart(
    config: Config, rollout: Object[RolloutSpec], route: Object[RouteSpec], rule: Moved,
) -> Iterator[ConfigError]:
    """Whether both destinations of a rule get requests, and different endpoints."""
    there = route.spec.routes[rule.rule].route_destination
    assert there is not None                # `moved` has looked
    at = route.place("routes", rule.rule, "route_destination")
    if len({each.priority or 0 for each in there.destinations}) > 1:
        yield ConfigError("VG0235", at, f"{rollout.title} moves the requests of this rule, but its destinations have "
                          "different priorities, so one of them only stands by", "give both the same priority")
    if rule.baseline.cluster != rule.candidate.cluster:
        return
    cluster = config.find("cluster", there.destinations[0].cluster[0], route.namespace)
    declared = [set(each.keys) for each in cluster.spec.endpoint_subsets] if cluster is not None else []
    for version in (rule.baseline, rule.candidate):
        keys = {key for key, _ in version.labels}
        if cluster is not None and keys and keys not in declared:
            said = ", ".join(sorted(keys))
            yield ConfigError("VG0235", at, f"{version} is not told apart: [{said}] is no key set of {cluster.title}",
                              f"add `endpoint_subsets: [{{keys: [{said}]}}]` to the cluster")


def _overlap(config: Config, other: Object[RolloutSpec], route: Object[RouteSpec], rules: list[Moved]) -> bool:
    if config.find("route", other.spec.route[0], other.namespace) is not route:
        return False
    theirs = {each.rule for each in moved(config, other)}
    return any(each.rule in theirs for each in rules)
