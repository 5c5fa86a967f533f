"""Plays a scenario: the runtime of a configuration as the gateway builds it, in a world of simulated clients and endpoints.

What is real: routing, filters, exchanges with their bytes, pools, tries, circuit breakers, schedulers, outlier detection,
the prober, membership. What is made up: time, chance (by the seed), the network, clients, endpoints, answers of DNS. TLS is
left out on both sides, and endpoints are spoken to in HTTP/1.1.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.authenticating import Surroundings
from voltgw.app.build import Makings, build
from voltgw.app.find import find_listener
from voltgw.app.listening import serve_http
from voltgw.app.simulation.clients import Source, question_of
from voltgw.app.simulation.names import KnownNames
from voltgw.app.simulation.origins import Now, Origin, meant
from voltgw.app.simulation.probing import is_real, playable, prober_dial
from voltgw.app.simulation.scenario import addresses_of
from voltgw.app.simulation.tally import Tally, TimeLine, Told
from voltgw.app.simulation.world import World
from voltgw.cluster.spread import ZONE_LABEL
from voltgw.config.collector import without_collector
from voltgw.config.one_document import place_of
from voltgw.config.suggest import did_you_mean
from voltgw.control.build import build_membership
from voltgw.control.discovery.sources import Sources
from voltgw.control.probes.prober import Prober
from voltgw.errors import ConfigError, ConfigErrors
from voltgw.proxy.factory import HttpFactory
from voltgw.proxy.plane import Plane
from voltgw.proxy.pool import Pool
from voltgw.registry import Registry
from voltgw.routing.hosts import HostTable
from voltgw.values.counters import ListenerCounters

if TYPE_CHECKING:
    from voltgw.app.build import Runtime
    from voltgw.app.simulation.scenario import Change, Scenario, Traffic
    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.cluster.plan import MemberPlan
    from voltgw.cluster.snapshot import EndpointKey
    from voltgw.config.model import Config
    from voltgw.control.membership import Membership
    from voltgw.errors import ConnectFailed

#: How long the gateway may take to find and probe its endpoints before the scenario begins; it begins all the same.
_WARM_S: Final = 120.0
#: How long what is under way at the end may take to finish.
FINISH_S: Final = 120.0
#: How often it is looked what is under way, and whether an overflow is over.
_LOOK_S: Final = 0.1
#: In so many parts a simulation is played when somebody wants to know how far it is.
_PARTS: Final = 100
#: Kinds of endpoints that can be played.
_KINDS: Final = ("static", "dns")
#: The wall clock at the beginning, so that rules that expire do the same in every run: 2026-01-01.
_WALL_S: Final = 1_767_225_600.0


class _Plane(Plane):
    """A plane that dials simulated endpoints."""

    origin_of: Callable[[Any], Origin]

    def dial(
        self, endpoint: Endpoint, protocol: Any, timeout_s: float, failed: Callable[[ConnectFailed], None], tls: Any = None,
        first: bytes = b"",
    ) -> Any:
        """Connect `protocol` to the endpoint of that key."""
        return self.origin_of(endpoint.key).dial(protocol, timeout_s, failed)


class Simulation:
    """One run. Raises `ConfigErrors` where configuration and scenario do not fit; `path` is the scenario's file."""

    def __init__(self, config: Config, scenario: Scenario, path: str) -> None:
        self.scenario = scenario
        self.world = World()
        self.line = TimeLine(self.world)
        self.notes: list[str] = []          # what is otherwise than in a gateway that runs
        self.unfinished = 0                 # requests that had no end when the simulation ended
        self._path = path
        self._clients: dict[Any, Callable[[], None]] = {}
        self.tally = Tally(self.world, self.line, self._clients)
        self._random = self._chance("gateway")
        self.runtime = self._build(config)
        names = {name: addresses_of(texts) for name, texts in scenario.names.items()}
        self.origins: dict[tuple[str, str, int], Origin] = {}
        self._active: list[Change] = []
        self._make_origins(names)
        self._changes = [(change, self._meant(change)) for change in scenario.events]
        self._base = [(one, self._meant(one)) for one in scenario.endpoints]
        self._behave(self.origins.values())
        self.plane = _Plane(self.world, self.tally, self._wall, self._random.random)
        self.plane.origin_of = self._origin
        self._prober = Prober(self.world, self._chance("prober"), prober_dial(self._origin))
        sources = Sources(self.world, self._chance("feeds"), KnownNames(names))
        self.memberships: dict[str, Membership] = {name: self._membership(name, sources) for name in self.runtime.clusters}
        self.sources = [self._source(index, traffic) for index, traffic in enumerate(scenario.traffic)]

    @property
    def sent(self) -> int:
        """Requests that clients have sent."""
        return sum(source.sent for source in self.sources)

    def clusters(self) -> list[Cluster]:
        """All of them, those of high priority behind the ones that they belong to."""
        found: list[Cluster] = []
        for cluster in self.runtime.clusters.values():
            found.append(cluster)
            if cluster.high is not None:
                found.append(cluster.high)
        return found

    def run(self, told: Callable[[float], None] | None = None) -> None:
        """Play it; `told` hears now and then which part of it is over. Raises RuntimeError with what a guard of the gateway has
        caught: a bug.
        """
        world = self.world
        with without_collector():
            self._prober.startService()
            for membership in self.memberships.values():
                membership.startService()
            world.run(world.now + _WARM_S, lambda: all(each.warm for each in self.memberships.values()))
            self._begin()
            begun, end = self.line.zero, self.line.zero + self.scenario.duration_s
            for part in range(1, _PARTS) if told is not None else ():
                world.run(begun + (end - begun) * part / _PARTS)
                if told is not None:
                    told(part / _PARTS)
            world.run(end)
            self.line.add("", "", "end", "no more requests come")
            world.run(end + FINISH_S, lambda: self.tally.ended >= self.sent)
        self.unfinished = self.sent - self.tally.ended
        if world.failures:
            owner, error = world.failures[0]
            raise RuntimeError(f"{owner} failed, and {len(world.failures) - 1} more: {error!r}") from error

    # -- before ------------------------------------------------------------------------------------------------------------

    def _chance(self, of: str) -> Random:
        return Random(f"{self.scenario.seed or 0} {of}")

    def _wall(self) -> float:
        return _WALL_S + self.world.now

    def _build(self, config: Config) -> Runtime:
        surroundings = Surroundings()
        surroundings.monotonic = self.world.monotonic
        secret = sha256(f"{self.scenario.seed or 0}".encode()).digest()     # of cookies that nobody else ever sees
        self._registry = Registry()
        with without_collector():
            runtime = build(config, None, Makings(
                lambda key: Pool(), self._random, self._registry, lambda kind, network: "192.0.2.2", wall=self._wall,
                affinity_key=secret, surroundings=surroundings))
        for name, cluster in runtime.clusters.items():
            if cluster.http2 or cluster.by_alpn:
                self.notes.append(f"{name}: its endpoints speak HTTP/2; in a simulation they are asked in HTTP/1.1")
            cluster.http2 = cluster.by_alpn = False
            for check in runtime.plans[name].checks:
                if not is_real(check):
                    self.notes.append(
                        f"{name}: health check {check.name} asks as a plain request does; its times and thresholds hold")
        return runtime

    def _make_origins(self, names: dict[str, tuple[str, ...]]) -> None:
        problems: list[ConfigError] = []
        asked: set[str] = set()
        for cluster, plan in self.runtime.plans.items():
            for member in plan.members:
                if member.kind not in _KINDS:
                    problems.append(ConfigError("VG0110", place_of(self._path, self.scenario),
                        f"endpoint {member.name} of {cluster} is found by {member.kind}, which a simulation does not play",
                        "give it an IP address or a DNS name in a copy of the configuration"))
                    continue
                addresses: tuple[str, ...] = (member.address,)
                if member.kind == "dns":
                    asked.add(member.address)
                    addresses = names.get(member.address, ())
                    if not addresses:
                        problems.append(ConfigError("VG0110", place_of(self._path, self.scenario),
                            f"endpoint {member.name} of {cluster} has the name {member.address}, whose addresses are not said",
                            f"say them: names: {{{member.address}: [10.0.0.1-10.0.0.9]}}"))
                for address in addresses:
                    self._make_origin(cluster, member, address)
        for name in names:
            if name not in asked:
                problems.append(ConfigError("VG0110", place_of(self._path, self.scenario), f"no endpoint has the name {name}",
                                            did_you_mean(name, sorted(asked))))
        if problems:
            raise ConfigErrors(tuple(problems))

    def _make_origin(self, cluster: str, member: MemberPlan, address: str) -> None:
        key = cluster, address, member.port
        if key not in self.origins:
            zone = member.zone or member.labels.get(ZONE_LABEL, "")
            self.origins[key] = Origin(self.world, self._chance(f"origin {key}"), *key, member.labels, zone)

    def _origin(self, key: EndpointKey) -> Origin:
        return self.origins[key.cluster, key.address, key.port]

    def _meant(self, one: Any) -> list[Origin]:
        found = meant(one.which, self.origins.values(), self._chance(f"which {one.at}"))
        if not found and self.origins:
            raise ConfigErrors((ConfigError("VG0110", place_of(self._path, one.which or one), "no endpoint is one of these"),))
        return found

    def _membership(self, name: str, sources: Sources) -> Membership:
        plan = self.runtime.plans[name]
        membership = build_membership(self.runtime.clusters[name], plan, self._prober, sources, self._registry)
        membership.checks = tuple(map(playable, membership.checks, plan.checks))
        membership.events = Told(name, self.line)
        return membership

    def _source(self, index: int, traffic: Traffic) -> Source:
        question = question_of(traffic, 0)
        plan, reason = find_listener(self.runtime, question, None)
        if plan is None or plan.table is None:
            why = f"no listener takes {traffic.request}: {reason.why}"
            raise ConfigErrors((ConfigError("VG0110", place_of(self._path, traffic), why),))
        table: HostTable = plan.table
        factory = HttpFactory(self.plane, str(plan.key), plan.key.address or "0.0.0.0", plan.port, table, ListenerCounters())
        serve_http(factory, plan, table)
        factory.only_2 = False
        return Source(self.world, self._chance(f"traffic {index}"), traffic, factory, self.scenario.duration_s, plan.tls,
                      self._clients)

    # -- meanwhile ---------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        world, zero = self.world, self.world.now
        self.line.begin()
        self.line.add("", "", "begin", "the clusters are warm" if all(each.warm for each in self.memberships.values())
                      else f"not every cluster is warm after {_WARM_S:g} s")
        for change, origins in self._changes:
            at_s: float | None = change.at_s
            while at_s is not None and at_s <= self.scenario.duration_s:
                world.at(zero + at_s, self._change, change, origins, True)
                if change.for_s is not None:
                    world.at(zero + at_s + change.for_s, self._change, change, origins, False)
                at_s = None if change.every_s is None else at_s + change.every_s
        for source in self.sources:
            source.begin()
        self._look()

    def _change(self, change: Change, origins: list[Origin], begins: bool) -> None:
        self._active = [each for each in self._active if each is not change]
        if begins:
            self._active.append(change)
        some = origins[0].name if len(origins) == 1 else f"{len(origins)} endpoints"
        self.line.add("", some, "scenario", (change.why or said(change)) + ("" if begins else ": over"))
        self._behave(origins)

    def _behave(self, origins: Any) -> None:
        """Have these behave as is said of them now."""
        hit = {id(change): set(map(id, meant)) for change, meant in self._changes}
        based = [(one, set(map(id, meant))) for one, meant in self._base]
        for origin in origins:
            now = Now()
            for one, which in based:
                if id(origin) in which:
                    now.take(one.behave)
            for change in self._active:
                if id(origin) in hit[id(change)]:
                    now.take(change.behave)
            origin.behave(now)

    def _look(self) -> None:
        """What is under way now."""
        for cluster in self.clusters():
            if cluster.active or cluster.pending:
                tally = self.tally.cluster(cluster.name)
                tally.most_active = max(tally.most_active, cluster.active)
                tally.most_pending = max(tally.most_pending, cluster.pending)
        self.tally.quiet()
        self.world.at(self.world.now + _LOOK_S, self._look)


def said(change: Change) -> str:
    """What a change says, in short."""
    manner = change.behave
    words = [] if manner.standing is None else [str(manner.standing.value)]
    for name, value, unit in (("latency", manner.latency_s, " s"), ("99th percentile", manner.p99_s, " s"),
                              ("slower", manner.slower, " times"), ("connecting takes", manner.connect_s, " s"),
                              ("errors", manner.errors, " %"), ("status", manner.status, ""), ("workers", manner.workers, "")):
        if value is not None:
            words.append(f"{name} {value:g}{unit}")
    if manner.probes is not None:
        words.append(f"probes: {manner.probes.value}")
    return ", ".join(words) or "nothing changes"
