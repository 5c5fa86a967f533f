"""One rollout in force: what it is told to do, what it counts on its routes, and how it shares their requests out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from voltgw.cluster.rollout import Analysis, Quantile, Ramp, Step, Terms, tally_view
from voltgw.config.objects import rollout as defaults
from voltgw.config.objects.rollout import IfBad
from voltgw.config.objects.virtual_host import ProxyType

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltgw.config.objects.rollout import RolloutSpec
    from voltgw.routing.route import Route
    from voltgw.routing.split import Destination

#: Weights are whole numbers; a step may have a tenth of a percent, and a share is kept to a hundredth of that.
_WHOLE: Final = 100_000
#: Response flags of requests that failed at, or for want of, an endpoint.
_THEIRS: Final = frozenset(("UF", "UC", "UR", "UH", "UO", "UT", "UPE"))
#: Those of requests that their clients broke off, or got wrong.
_CLIENTS: Final = frozenset(("DC", "DT", "DPE"))
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
        if cluster is None or not exchange.attempts and flag not in _UNPICKED:
            return                          # without a cluster, neither destination could be used: that is no fault of one
        live = self._live
        ramp = live.ramp
        candidate = cluster is self._candidate
        exchange.rollout = live.marks[candidate]
        tally = ramp.candidate if candidate else ramp.baseline
        if self._http:
            status = exchange.response_code
            failed = flag in _THEIRS or status >= 500
            if not failed and (flag in _CLIENTS or not status):
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

    __slots__ = ("attached", "baseline", "candidate", "digest", "interval_s", "marks", "name", "place", "ramp", "totals")

    def __init__(self, name: str, ramp: Ramp, digest: str) -> None:
        self.name = name
        self.marks = (f"{name} baseline", f"{name} candidate")  # what the access log says of a request
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


def _restore(route: Route, destinations: tuple[Destination, ...]) -> None:
    route.tally = None
    route.reweigh({each.identity: each.weight for each in destinations})
