"""Everything that counts in a gateway, by keys that mean the same in every process of it.

A worker reads its own objects by these and tells what has come on top; the control process has objects of the same shape, which
nothing but that touches, and adds it there. So whatever looks at them (metrics, admin pages, rollouts) sees all workers as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from voltgw.app.build import Runtime
    from voltgw.app.listening import AnyBound
    from voltgw.cluster.cluster import Cluster
    from voltgw.net.loop import Loop
    from voltgw.proxy.plane import Plane

#: What kind of object, and its names.
CountKey = tuple[str, ...]
#: An object with those of its attributes that count; None = all that are numbers.
Counted = tuple[CountKey, Any, tuple[str, ...] | None]

#: Attributes that go down as well as up, by the kind of object: what a worker has of them ends with it.
GAUGES: Final = {
    "listener": ("open",), "use": ("active", "connections", "pending", "retries"), "endpoint": ("connections", "active"),
    "plane": ("tunnels_open", "shadows_open"), "loop": ("open", "accepted"), "outside": ("open",), "pipes": ("made",),
    "overload": ("used", "budget", "now"),
}

_USE: Final = ("active", "connections", "pending", "retries")
_ENDPOINT: Final = ("connections", "active", "requests", "status", "connect_failures", "times")
_LOOP: Final = ("open", "accepted", "turns", "slow_turns", "failures", "turn_times")
_PIPES: Final = ("made", "carried_bytes", "refused")
_TRACES: Final = ("requests", "failures")
_EXPORTS: Final = ("sent", "dropped", "requests")
_LIMITER: Final = ("allowed", "refused", "reported", "exempted")
_OUTLIERS: Final = ("found_counts", "ejected_counts", "overflow")
_ACCESS: Final = ("dropped_queue", "reopen_failures")
_OUTPUT: Final = ("dropped_format", "left_out")
_SINK: Final = ("lines", "bytes", "dropped_blocked", "dropped_failed")


#: What counts of objects that have other numbers besides.
ONLY: Final[Mapping[str, tuple[str, ...]]] = {
    "use": _USE, "endpoint": _ENDPOINT, "loop": _LOOP, "pipes": _PIPES, "limiter": _LIMITER, "outliers": _OUTLIERS,
    "access": _ACCESS, "output": _OUTPUT, "sink": _SINK, "limited": ("evicted",), "refused": ("refused",), "waiting": ("used",)}



class Books:
    """The objects of one process; `runtime` and `bound` are looked at anew each time."""

    def __init__(self, owner: Any) -> None:
        """`owner` has `runtime`, `plane`, `loop`, `listening`, `overload`, `access_log` and `rollouts`, as a gateway does."""
        self._owner = owner
        self._known: Runtime | None = None  # of which `_endpoints` are
        self._endpoints: dict[str, tuple[int, dict[tuple[str, ...], Any]]] = {}     # by cluster, with its version

    @property
    def _runtime(self) -> Runtime:
        runtime: Runtime = self._owner.runtime
        return runtime

    def former(self) -> Books:
        """What stands now, to be found still when another `runtime` serves."""
        return Books(_Former(self._owner))

    def all(self) -> Iterator[Counted]:
        """Everything, in an order that says nothing."""
        owner = self._owner
        for kind in ("plane", "unrouted", "loop", "overload", "pipes", "waiting", "outside", "access",
                     "clock", "traces", "exports"):
            found = self._one(kind)
            if found is not None:
                yield (kind,), *found
        for output in () if owner.access_log is None else owner.access_log.outputs:
            yield ("output", output.name), output, _OUTPUT
            yield ("sink", output.name), output.sink, _SINK
        for key, bound in self._bound():
            yield ("listener", *key), bound.counters, None
        for name, host in self._hosts():
            yield from _of_host(name, host)
        for name, cluster in self._clusters():
            yield from _of_cluster(name, cluster)
        for live in owner.rollouts.all():
            yield ("rollout", live.name, "candidate"), live.ramp.candidate, None
            yield ("rollout", live.name, "baseline"), live.ramp.baseline, None
            yield ("rollout", live.name, "totals"), live, ("totals",)

    def find(self, key: CountKey) -> Any:
        """The object of a key, None = there is none (any more)."""
        kind, *names = key
        if not names:
            found = self._one(kind)
            return None if found is None else found[0]
        if kind == "listener":
            return next((bound.counters for each, bound in self._bound() if each == tuple(names)), None)
        if kind in ("cluster", "use", "outliers", "endpoint"):
            return self._of_cluster(kind, names)
        if kind in ("output", "sink"):
            outputs = () if self._owner.access_log is None else self._owner.access_log.outputs
            output = next((each for each in outputs if each.name == names[0]), None)
            return output if output is None or kind == "output" else output.sink
        if kind == "rollout":
            live = next((live for live in self._owner.rollouts.all() if live.name == names[0]), None)
            return None if live is None else live if names[1:] == ["totals"] else getattr(live.ramp, names[1], None)
        host = self._host(names[0])
        return None if host is None else next((thing for each, thing, _ in _of_host(names[0], host) if each == key), None)

    def _one(self, kind: str) -> tuple[Any, tuple[str, ...] | None] | None:
        """An object of which there is one, and what counts of it."""
        owner = self._owner
        plane: Plane = owner.plane
        loop: Loop = owner.loop
        access = owner.access_log
        found: dict[str, tuple[Any, tuple[str, ...] | None] | None] = {
            "plane": (plane.counters, None), "unrouted": (plane.unrouted, None), "loop": (loop, _LOOP),
            "overload": (owner.overload.counters, None), "pipes": (loop.pipes, _PIPES), "waiting": (plane.waiting, ("used",)),
            "outside": None if plane.outside is None else (plane.outside.counters, None),
            "clock": (loop.clock, ("lateness",)), "traces": (owner.tracer, _TRACES),
            "exports": None if owner.tracer.exporter is None else (owner.tracer.exporter, _EXPORTS),
            "access": None if access is None else (access, _ACCESS),
        }
        return found.get(kind)

    def _bound(self) -> Iterator[tuple[tuple[str, str], AnyBound]]:
        """Each listener once; of one that was replaced, what serves now."""
        listening = self._owner.listening
        seen: set[tuple[str, str]] = set()
        for bound in (*listening.bound.values(), *listening.leaving):
            key = (bound.protocol, bound.name)
            if key not in seen:
                seen.add(key)
                yield key, bound

    def _hosts(self) -> Iterator[tuple[str, Any]]:
        runtime = self._runtime
        yield from runtime.hosts.items()
        for name, forward in runtime.forwards.items():
            yield f"forward {name}", forward.host

    def _host(self, name: str) -> Any:
        runtime = self._runtime
        if name.startswith("forward "):
            forward = runtime.forwards.get(name[8:])
            return None if forward is None else forward.host
        return runtime.hosts.get(name)

    def _clusters(self) -> Iterator[tuple[str, Cluster]]:
        for name, cluster in self._runtime.clusters.items():
            yield name, cluster
            if cluster.high is not None:
                yield cluster.high.name, cluster.high

    def _of_cluster(self, kind: str, names: list[str]) -> Any:
        name = names[0].removesuffix(" (high)")
        runtime = self._runtime
        if runtime is not self._known:      # another cluster of that name may have got as far as the same version
            self._known = runtime
            self._endpoints.clear()
        cluster = runtime.clusters.get(name)
        if cluster is not None and name != names[0]:
            cluster = cluster.of_high_priority()
        if cluster is None or kind == "use":
            return cluster
        if kind == "cluster":
            return cluster.counters
        if kind == "outliers":
            return cluster.outliers
        version, endpoints = self._endpoints.get(names[0], (-1, {}))
        if version != cluster.version:
            endpoints = {_endpoint_key(endpoint): endpoint for endpoint in cluster.endpoints}
            self._endpoints[names[0]] = cluster.version, endpoints
        return endpoints.get(tuple(names[1:]))


class _Former:
    """An owner of `Books` as it is now, with what it serves."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self.runtime: Runtime = owner.runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(self._owner, name)


def _of_host(name: str, host: Any) -> Iterator[Counted]:
    times: dict[str, int] = {}
    for route in host.routes:               # a host may name a route twice, or two of one name
        times[route.name] = nth = times.get(route.name, 0) + 1
        yield ("route", name, route.name, str(nth)), route.counters, None
    policies = getattr(host.egress, "egress", host.egress)
    for hits in (getattr(policies, "policies", policies), host.guard):
        for label, hit in getattr(hits, "hits", {}).items():
            yield ("hits", name, label), hit, None
    for place, gate in enumerate(host.gates):
        for limiter in getattr(gate, "all", ()):
            yield ("limiter", name, limiter.name), limiter, _LIMITER
            yield ("limited", name, limiter.name), limiter.store, ("evicted",)
        if hasattr(gate, "results"):
            yield ("results", name, str(place)), gate.results, None
        elif hasattr(gate, "refused"):
            yield ("refused", name, str(place)), gate, ("refused",)


def _of_cluster(name: str, cluster: Cluster) -> Iterator[Counted]:
    yield ("cluster", name), cluster.counters, None
    yield ("use", name), cluster, _USE
    if cluster.outliers is not None and not name.endswith(" (high)"):
        yield ("outliers", name), cluster.outliers, _OUTLIERS
    for endpoint in cluster.endpoints:
        yield ("endpoint", name, *_endpoint_key(endpoint)), endpoint, _ENDPOINT


def _endpoint_key(endpoint: Any) -> tuple[str, str, str]:
    key = endpoint.key
    return key.protocol, key.site, str(key)
