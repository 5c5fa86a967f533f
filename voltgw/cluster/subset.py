"""Subsets: the endpoints of a cluster that carry the labels a destination asks for (objects.md 22.5).

Which ones they are is worked out when members change, never for a request. The rules are Envoy's: labels are looked for if
their keys are one of the declared key sets; where they are not, or no member carries them, the fallback policy decides, and
it decides for destinations that ask for nothing, too. Whether a subset *exists* does not depend on health: when all members
of one are down, its requests fail, and are not sent to another version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from voltgw.cluster.chooser import Chooser
from voltgw.cluster.schedulers import least_request, random, round_robin
from voltgw.config.labels import selector
from voltgw.config.objects.cluster import SubsetFallbackPolicy
from voltgw.config.values import EMPTY

if TYPE_CHECKING:
    from voltgw.cluster.cluster import Cluster, SchedulerFactory
    from voltgw.cluster.endpoint import Endpoint


class Wanted(NamedTuple):
    """What a destination asks for: labels, or a subset by its name, or nothing."""

    labels: tuple[tuple[str, str], ...] = ()    # sorted
    name: str = ""
    scheduler: str = ""                         # by which it is balanced, "" = as the cluster

    def labels_on(self, labels: Mapping[str, str]) -> bool:
        """Whether somebody with `labels` carries all that is asked for."""
        return all(labels.get(key) == value for key, value in self.labels)

    def __str__(self) -> str:
        said = self.name or ",".join(f"{key}={value}" for key, value in self.labels)
        return f"{said or 'all'}, by {self.scheduler}" if self.scheduler else said or "none asked for"


@dataclass(frozen=True, slots=True)
class SubsetRules:
    """What a cluster says of subsets: key sets, named label expressions, and what serves when a subset has no member."""

    keys: tuple[tuple[str, ...], ...] = ()
    fallback: SubsetFallbackPolicy = SubsetFallbackPolicy.NO_FALLBACK
    default: Mapping[str, str] = EMPTY
    expressions: Mapping[str, str] = EMPTY

    def apply_to(self, wanted: Wanted) -> bool:
        """Whether a destination that asks for this gets less than the whole cluster, whoever its members are."""
        return bool(wanted.name or self.keys)

    def members(self, endpoints: Sequence[Endpoint], wanted: Wanted) -> tuple[tuple[Endpoint, ...], str]:
        """Those of `endpoints` that serve who asks for `wanted`, and in words why these."""
        found: tuple[Endpoint, ...] = ()
        if wanted.name:
            expression = selector((self.expressions[wanted.name],))
            found = tuple(each for each in endpoints if expression.matches(each.labels))
            why = f"no member fulfils {wanted.name}"
        elif not wanted.labels:
            why = "no labels are asked for"
        elif not any(set(keys) == {key for key, _ in wanted.labels} for keys in self.keys):
            why = f"{wanted} is none of the key sets of the cluster"
        else:
            found = tuple(each for each in endpoints if wanted.labels_on(each.labels))
            why = f"no member carries {wanted}"
        if found:
            return found, f"{len(found)} of {len(endpoints)} members are in it"
        if self.fallback is SubsetFallbackPolicy.ANY_ENDPOINT:
            return tuple(endpoints), f"{why}: any endpoint"
        if self.fallback is SubsetFallbackPolicy.DEFAULT_SUBSET:
            default = Wanted(tuple(sorted(self.default.items())))
            return (tuple(each for each in endpoints if default.labels_on(each.labels)),
                    f"{why}: the default subset {default}")
        return (), f"{why}, and there is no fallback"


#: By what the destinations of a route may be balanced instead of the cluster's own algorithm.
_FACTORIES: Final[Mapping[str, SchedulerFactory]] = {
    each.name: each for each in (least_request.FACTORY, random.FACTORY, round_robin.FACTORY)}


def _of_the_cluster(name: str) -> Any:
    """An attribute that is the cluster's own."""

    def put(self: Subset, value: object) -> None:
        setattr(self.cluster, name, value)

    return property(attrgetter(f"cluster.{name}"), put)


class Subset(Chooser):
    """Some endpoints of a cluster, with a scheduler over them; whatever else there is to it is the cluster's.

    So limits, counts and pools are one for all subsets. Made by `Cluster.subset`, which keeps it up to date while it is used.
    """

    __slots__ = ("__weakref__", "any_ready", "cluster", "counters", "how", "name", "wanted")

    active = _of_the_cluster("active")
    by_alpn = _of_the_cluster("by_alpn")
    config = _of_the_cluster("config")
    connect_timeout_s = _of_the_cluster("connect_timeout_s")
    connections = _of_the_cluster("connections")
    header_case = _of_the_cluster("header_case")
    http2 = _of_the_cluster("http2")
    idle_timeout_s = _of_the_cluster("idle_timeout_s")
    max_age_s = _of_the_cluster("max_age_s")
    max_connections = _of_the_cluster("max_connections")
    max_pending = _of_the_cluster("max_pending")
    max_requests = _of_the_cluster("max_requests")
    max_requests_per_connection = _of_the_cluster("max_requests_per_connection")
    max_retries = _of_the_cluster("max_retries")
    options = _of_the_cluster("options")
    pre_open = _of_the_cluster("pre_open")
    pending = _of_the_cluster("pending")
    probe_tls = _of_the_cluster("probe_tls")
    proxy_protocol = _of_the_cluster("proxy_protocol")
    retries = _of_the_cluster("retries")
    tied = _of_the_cluster("tied")
    tls = _of_the_cluster("tls")
    unshared = _of_the_cluster("unshared")
    version = _of_the_cluster("version")

    def __init__(self, cluster: Cluster, wanted: Wanted) -> None:
        own = _FACTORIES.get(wanted.scheduler)
        super().__init__(cluster.factory if own is None else own, cluster.random, cluster.soon, cluster.spread)
        self.affinity = cluster.affinity
        self.cluster = cluster
        self.wanted = wanted
        self.name = cluster.name
        self.counters = cluster.counters
        self.any_ready = False
        self.how = ""                       # why these, in words
        self.install()

    def __repr__(self) -> str:
        return f"<Subset {self.wanted} of {self.name}, {len(self.endpoints)} endpoints>"

    def install(self) -> None:
        """The members of the cluster are others now."""
        cluster = self.cluster
        if cluster.subsets is None or not cluster.subsets.apply_to(self.wanted):
            self.endpoints, self.how = cluster.endpoints, f"all members, balanced by {self.wanted.scheduler}"
        else:
            self.endpoints, self.how = cluster.subsets.members(cluster.endpoints, self.wanted)
        self.choose(self.endpoints)
        self.any_ready = bool(self.in_use)

    def notice(self) -> None:
        """A member is no longer ready, and no new set has been installed yet."""
        self.any_ready = any(endpoint.ready and endpoint.weight > 0 for endpoint in self.endpoints)

    def subset(self, labels: Mapping[str, str], name: str = "") -> Any:
        """Of the whole cluster: a subset of a subset is not meant by anybody."""
        return self.cluster.subset(labels, name)

    def of_high_priority(self) -> Any:
        """The same subset for routes of high priority."""
        return self.cluster.of_high_priority().part(self.wanted)

    def balanced_by(self, scheduler: str) -> Any:
        """The same members, picked from in another way."""
        return self.cluster.part(self.wanted._replace(scheduler=scheduler))

    def __getattr__(self, name: str) -> Any:
        """Whatever else the cluster has; what is read for each request stands above."""
        if name == "cluster":               # not made yet: there is nobody to ask
            raise AttributeError(name)
        return getattr(self.cluster, name)

    def connect_failed(self, endpoint: Endpoint) -> None:
        """As told to the cluster."""
        self.cluster.connect_failed(endpoint)

    def get(self, key: Any) -> Endpoint | None:
        """The cluster's live endpoint with this key."""
        return self.cluster.get(key)

    def holds(self, endpoint: Endpoint) -> bool:
        """Whether the subset has this member."""
        return endpoint in self.endpoints

    def may_retry(self) -> bool:
        """Whether one more retry may be under way in the cluster."""
        return self.cluster.may_retry()

