"""Rollouts at work: count what two destinations do, look at it, move the weights, remember.

    configuration -> `Rollouts.install` finds the routes -> `Counting` on each -> `Ramp.look` every interval -> `Route.reweigh`

A rollout that is the same in the next configuration goes on where it is, whatever else a reload brings; one whose spec is
another begins anew at its first step; one that is gone leaves the configured weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from voltgw.cluster.rollout import Analysis, Phase, Quantile, Ramp, Step, Terms, tally_view
from voltgw.config.objects import rollout as defaults
from voltgw.config.objects.rollout import IfBad
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.config.rollouts import moved
from voltgw.control.rollouts import Damaged, RolloutStore
from voltgw.values.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from voltgw.app.build import Runtime
    from voltgw.config.model import Object
    from voltgw.config.objects.rollout import RolloutSpec
    from voltgw.routing.route import Route
    from voltgw.routing.split import Destination

#: What an operator may say of one.
ACTS: Final = ("approve", "pause", "resume", "rollback", "promote", "restart")
#: Weights are whole numbers; a step may have a tenth of a percent, and a share is kept to a hundredth of that.
_WHOLE: Final = 100_000
#: What was counted is written down at least so often (seconds), changes at once.
_KEEP_S: Final = 60.0
#: Response flags of requests that failed at, or for want of, an endpoint.
_THEIRS: Final = frozenset(("UF", "UC", "UR", "UH", "UO", "UT", "UPE"))
#: Those of requests for which no endpoint was picked that are its cluster's fault all the same.
_UNPICKED: Final = frozenset(("UH", "UO"))


def terms_of(spec: RolloutSpec) -> Terms:
    """What a rollout is told to do."""
    analysis = spec.analysis
    quantiles = tuple(
        Quantile((defaults.QUANTILE_PERCENT if each.quantile_percent is None else each.quantile_percent) / 100.0,
                 None if each.max_increase_percent is None else each.max_increase_percent / 100.0,
                 defaults.SLACK_S if each.slack_s is None else each.slack_s, each.max_s)
        for each in (analysis.latency if analysis is not None else ()))
    errors = confidence = requests = None
    if analysis is not None:
        errors, confidence, requests = analysis.max_error_percent, analysis.confidence_percent, analysis.min_requests
    return Terms(
        tuple(Step(each.weight, defaults.PAUSE_S if each.pause_s is None else each.pause_s, each.approve)
              for each in spec.steps),
        Analysis((defaults.ERROR_PERCENT if errors is None else errors) / 100.0,
                 (defaults.CONFIDENCE_PERCENT if confidence is None else confidence) / 100.0,
                 defaults.REQUESTS if requests is None else requests, quantiles),
        spec.step_deadline_s, spec.if_bad is IfBad.PAUSE)


class Counting:
    """Counts what becomes of the requests of one route, by destination; satisfies `voltgw.routing.route.Tallying`."""

    __slots__ = ("_candidate", "_http", "_live")

    def __init__(self, live: Live, candidate: Destination, http: bool) -> None:
        self._live = live
        self._candidate = candidate.cluster
        self._http = http

    def __call__(self, exchange: Any, cluster: Any, now: float) -> None:
        """One request (or connection) is over. What its client has broken off says nothing, nor what we answered ourselves."""
        flag = exchange.flag
        if not exchange.attempts and flag not in _UNPICKED:
            return
        live = self._live
        ramp = live.ramp
        candidate = cluster is self._candidate
        tally = ramp.candidate if candidate else ramp.baseline
        if self._http:
            status = exchange.response_code
            failed = flag in _THEIRS or status >= 500
            if not failed and (flag or not status):
                return
            answered = exchange.t_upstream_first_rx
            retried = exchange.tries is not None
            tally.count(failed, retried, answered - exchange.t_start if answered else None)
        else:
            failed, retried = flag in _THEIRS, exchange.attempts > 1
            tally.count(failed, retried, None)
        totals = live.totals[candidate]
        totals[0] += 1
        totals[1] += failed or retried


class Live:
    """One rollout that is in force."""

    __slots__ = ("attached", "baseline", "candidate", "digest", "interval_s", "name", "place", "ramp", "totals")

    def __init__(self, name: str, ramp: Ramp, digest: str) -> None:
        self.name = name
        self.ramp = ramp
        self.digest = digest
        self.interval_s = defaults.INTERVAL_S
        self.baseline = self.candidate = ""                 # identities of destinations
        self.place: Callable[[], Any] | None = None
        self.attached: list[tuple[Route, tuple[Destination, ...]]] = []     # with the destinations as configured
        self.totals = ([0, 0], [0, 0])                      # requests and failures of the baseline, of the candidate

    def attach(self, routes: Iterable[Route]) -> None:
        """Count on these, and share their requests out as the rollout stands."""
        known = {id(route): destinations for route, destinations in self.attached}
        before, self.attached = self.attached, []
        for route in routes:
            self.attached.append((route, known.get(id(route), route.destinations)))
            candidate = next(each for each in route.destinations if each.identity == self.candidate)
            route.tally = Counting(self, candidate, ProxyType(route.host.proxy).http)
        now = {id(route) for route, _ in self.attached}
        for route, destinations in before:
            if id(route) not in now:
                _restore(route, destinations)
        self.share_out()

    def detach(self) -> None:
        """Leave the weights that are configured."""
        for route, destinations in self.attached:
            _restore(route, destinations)
        self.attached = []

    def share_out(self) -> None:
        """Give the candidate its share, and the baseline the rest."""
        if self.ramp.unknown:
            for route, destinations in self.attached:
                route.reweigh({each.identity: each.weight for each in destinations})
            return
        share = round(self.ramp.weight * _WHOLE / 100.0)
        for route, _ in self.attached:
            route.reweigh({self.candidate: share, self.baseline: _WHOLE - share})

    @property
    def baseline_ready(self) -> bool:
        """Whether the baseline has an endpoint that may be used, on every route."""
        return all(each.ready for route, _ in self.attached for each in route.destinations if each.identity == self.baseline)

    def plain(self) -> dict[str, Any]:
        """What is kept."""
        return {"digest": self.digest, **self.ramp.plain()}

    def view(self) -> dict[str, Any]:
        """JSON-ready, for people."""
        ramp = self.ramp
        confidence = ramp.terms.analysis.confidence
        return {
            "rollout": self.name, "phase": ramp.phase.value, "why": ramp.why,
            "step": ramp.index + 1, "steps": [each.weight for each in ramp.terms.steps],
            "weight_percent": None if ramp.unknown else ramp.weight,
            "baseline": self.baseline, "candidate": self.candidate,
            "routes": [f"{route.host.namespace}/{route.host.name}: {route.name}" for route, _ in self.attached],
            "step_lasted_s": round(ramp.elapsed_s, 1), "finding": ramp.verdict.finding.value, "found": ramp.verdict.why,
            "looks": ramp.looks,
            "counted": {"candidate": tally_view(ramp.candidate, confidence), "baseline": tally_view(ramp.baseline, confidence)},
            "totals": {"baseline": self.totals[0], "candidate": self.totals[1]},
            "events": [{"time": datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds"), "event": said}
                       for wall, said in ramp.events],
        }


class Rollouts:
    """All rollouts of one gateway. `install` puts those of a configuration in force; `start` begins to look."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._wall = wall
        self._live: dict[str, Live] = {}
        self._store: RolloutStore | None = None
        self._folder: str | None = None
        self._call: IDelayedCall | None = None
        self._running = False
        self._changed = False               # since the state was last written
        self._kept_at = monotonic()
        self._due: dict[str, float] = {}    # when each is looked at next
        self.problem = ""                   # why the state cannot be kept, "" = it can

    def __len__(self) -> int:
        return len(self._live)

    # -- configurations ------------------------------------------------------------------------------------------------

    def install(self, runtime: Runtime) -> None:
        """Have the rollouts of this configuration, and no others, in force; its routes are not served by yet."""
        objects: dict[str, Object[RolloutSpec]] = {
            f"{one.namespace}/{one.name}": one for one in runtime.config.of("rollout").values()}
        if not objects and not self._live:
            return
        states, damaged = self._states(runtime.config.gateway.data_dir)
        before, self._live = self._live, {}
        for name, one in objects.items():
            digest = _digest(one)
            live = before.get(name)
            if live is None or live.digest != digest:
                if live is not None:
                    live.detach()
                live = Live(name, self._ramp(name, one.spec, digest, states, damaged), digest)
            self._live[name] = live
            live.place = one.place
            live.interval_s = one.spec.interval_s or defaults.INTERVAL_S
            rules = moved(runtime.config, one)
            live.baseline, live.candidate = (str(rules[0].baseline), str(rules[0].candidate)) if rules else ("", "")
            route = runtime.config.find("route", one.spec.route[0], one.namespace)
            wanted = {f"{route.name}/{rule.rule}" for rule in rules} if route is not None else set()
            live.attach(_routes(runtime, wanted, live.baseline, live.candidate))
        for name, live in before.items():
            if name not in self._live:
                live.detach()
                self._log.info("rollout {name} is gone: the configured weights hold", name=name)
        self._due = {name: self._due.get(name, 0.0) for name in self._live}
        self._changed = True
        if self._running:
            self._keep()
            self._again()

    def _states(self, folder: str | None) -> tuple[dict[str, Any], str]:
        """What was kept in `folder`, if that has not been asked for yet, and why it cannot be read."""
        if folder is None or folder == self._folder:
            return {}, ""
        self._folder, self._store = folder, RolloutStore(folder)
        try:
            return dict(self._store.read()), ""
        except Damaged as error:
            return {}, str(error)

    def _ramp(self, name: str, spec: RolloutSpec, digest: str, states: dict[str, Any], damaged: str) -> Ramp:
        ramp = Ramp(terms_of(spec))
        state = states.get(name)
        if damaged:
            ramp.doubt(self._wall(), damaged)
        elif state is not None and state.get("digest") == digest:
            try:
                ramp.restore(state)
                self._log.info("rollout {name} goes on: {phase}, {why}", name=name, phase=ramp.phase.value, why=ramp.why)
                return ramp
            except ValueError as error:
                ramp.doubt(self._wall(), f"its state is damaged: {error}")
        else:
            ramp.begin(self._wall())
        self._log.info("rollout {name}: {why}", name=name, why=ramp.why)
        return ramp

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look."""
        self._running = True
        if self._live:
            self._keep()
        self._again()

    def stop(self) -> None:
        """Look no more; what was counted is written down."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._running and self._live:
            self._changed = True
            self._keep()
        self._running = False

    def _again(self) -> None:
        if self._call is None and self._live and self._running:
            least_s = min(live.interval_s for live in self._live.values())
            self._call = self._clock.callLater(min(least_s, 1.0), self._tick)

    def _tick(self) -> None:
        self._call = None
        now = self._monotonic()
        for name, live in self._live.items():
            if now < self._due.get(name, 0.0):
                continue
            self._due[name] = now + live.interval_s - 0.01      # ticks are no more exact than that
            if live.ramp.look(now, self._wall(), live.baseline_ready):
                self._moved(live)
        if self._changed or now - self._kept_at >= _KEEP_S:
            self._keep()
        self._again()

    def _moved(self, live: Live) -> None:
        live.share_out()
        self._changed = True
        log = self._log.warn if live.ramp.phase is Phase.ROLLED_BACK else self._log.info
        log("rollout {name}: {why}", name=live.name, why=live.ramp.why)

    def _keep(self) -> None:
        """Write the state down. Where that fails it is tried again with the next look."""
        if self._store is None:
            return
        try:
            self._store.write({name: live.plain() for name, live in self._live.items()})
        except OSError as error:
            problem = f"{self._store.path} cannot be written: {error.strerror}"
            if problem != self.problem:
                self._log.error("rollouts: {problem}; a restart would not know how far they are", problem=problem)
            self.problem, self._changed = problem, True
            return
        self.problem, self._changed, self._kept_at = "", False, self._monotonic()

    # -- operators -----------------------------------------------------------------------------------------------------

    def order(self, act: str, name: str) -> dict[str, Any]:
        """Do one of `ACTS` to the rollout ``namespace/name``, or of that name. Raises ValueError in words."""
        if act not in ACTS:
            raise ValueError(f"{act!r} is none of {', '.join(ACTS)}")
        found = [live for live in self._live.values() if name in (live.name, live.name.partition("/")[2])]
        if not found:
            raise ValueError(f"there is no rollout {name!r}; `voltgw rollouts` lists them")
        if len(found) > 1:
            raise ValueError(f"there are several: {', '.join(live.name for live in found)}")
        (live,) = found
        try:
            getattr(live.ramp, act)(self._wall())
        except ValueError as error:
            raise ValueError(f"rollout {live.name}: {error}") from error
        self._moved(live)
        self._keep()
        return {"act": act, **live.view()}

    # -- looking in ----------------------------------------------------------------------------------------------------

    def view(self) -> list[dict[str, Any]]:
        """Every rollout, JSON-ready."""
        return [{**live.view(), "not_kept": self.problem} for live in self._live.values()]

    def of_route(self, host: str, route: str) -> Reason | None:
        """What a rollout has to do with a route (``namespace/name`` of its host, its own name), for explain."""
        for live in self._live.values():
            for each, _ in live.attached:
                if each.name == route and f"{each.host.namespace}/{each.host.name}" == host:
                    ramp = live.ramp
                    share = "the configured weights" if ramp.unknown else f"{ramp.weight:g} % to {live.candidate}"
                    at = f", step {ramp.index + 1} of {len(ramp.terms.steps)}" if not ramp.over else ""
                    place = live.place() if live.place is not None else each.place
                    return Reason(f"rollout {live.name}", f"{share} ({ramp.phase.value}{at})", ramp.why, place)
        return None


def _digest(one: Object[RolloutSpec]) -> str:
    """What tells whether a rollout is another one now; how often it looks does not count."""
    spec = one.spec
    versions = [(each.cluster[0].namespace or one.namespace, each.cluster[0].name, sorted(each.endpoint_subsets.items()),
                 each.subset) for each in (spec.baseline, spec.candidate)]
    said = repr((terms_of(spec), spec.route[0].namespace or one.namespace, spec.route[0].name, versions))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _routes(runtime: Runtime, names: set[str], baseline: str, candidate: str) -> Iterator[Route]:
    """The routes, variants included, that have one of these names and these two destinations."""
    seen: set[int] = set()
    for host in runtime.hosts.values():
        for rule in host.rules:
            for route in (rule.route, *(route for _, route in rule.clauses)):
                if route.name in names and id(route) not in seen \
                        and {each.identity for each in route.destinations} == {baseline, candidate}:
                    seen.add(id(route))
                    yield route


def _restore(route: Route, destinations: tuple[Destination, ...]) -> None:
    route.tally = None
    route.reweigh({each.identity: each.weight for each in destinations})
