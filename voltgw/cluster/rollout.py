"""A canary that ramps itself: steps of weight, and at each step a decision from what the two versions' requests came to.

Nothing here knows a clock or a network: `Ramp.look` is told how late it is and what was counted, and decides. A verdict is

* *good*, when the share of failures that the candidate has more than the baseline is, at the confidence asked for, at most the
  allowed one (the upper bound of the difference, `voltgw.cluster.evidence`), and no quantile of latency is over its limit;
* *bad*, when the lower bound of that difference, or of a quantile, is above its limit;
* *unsure* otherwise, and then the step lasts.

Who looks again and again finds by chance, in the end, whatever they look for. So there is a look only when the requests have
grown by a quarter since the last one, and look number *k* of a step may be wrong with the probability a/(k(k+1)) only; all
looks of a step together then are wrong about a faultless version with at most a = 1 - confidence (Bonferroni's inequality).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import ceil, isinf
from typing import Any, Final

from voltgw.cluster.evidence import Tally, difference, percent, wilson, z_of

#: Requests of the candidate before the first look of a step.
FIRST_LOOK: Final = 10
#: By how much they must have grown for another one.
_GROWTH: Final = 1.25
#: Fewer failures never make a version bad: normal approximations are poor there.
FEWEST_FAILURES: Final = 3
#: Events that are remembered.
_MOST_EVENTS: Final = 20


class Phase(Enum):
    """How a rollout stands."""

    RAMPING = "ramping"
    APPROVAL = "waits for approval"
    PAUSED = "paused"
    ROLLED_BACK = "rolled back"
    PROMOTED = "promoted"


class Finding(Enum):
    """What was found of the candidate."""

    GOOD = "good"
    UNSURE = "unsure"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A finding, with its reason in words."""

    finding: Finding
    why: str


@dataclass(frozen=True, slots=True)
class Step:
    """`weight` percent for the candidate, for at least `pause_s`; then on, by itself or when an operator has said so."""

    weight: float
    pause_s: float = 60.0
    approve: bool = False


@dataclass(frozen=True, slots=True)
class Quantile:
    """A limit of one quantile of latency: `increase` over the baseline's plus `slack_s`, and `most_s` whatever that has."""

    q: float
    increase: float | None = None           # 0.25 = a quarter longer than the baseline
    slack_s: float = 0.005
    most_s: float | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is asked of a candidate. `allowed` is the share of failures that it may have more than the baseline."""

    allowed: float = 0.01
    confidence: float = 0.95
    least_requests: int = 100
    quantiles: tuple[Quantile, ...] = ()

    def judge(self, candidate: Tally, baseline: Tally, look: int) -> Verdict:
        """The verdict of look number `look` (1, 2, ...) of a step."""
        alpha = 1.0 - self.confidence
        strict, plain = z_of(alpha / (look * (look + 1))), z_of(alpha)
        # A baseline of a few requests would make every difference possible: it is left out, and the candidate stands alone.
        against = baseline if baseline.requests >= self.least_requests else Tally()
        numbers = candidate.failures, candidate.requests, against.failures, against.requests
        low, high = difference(*numbers, strict)[0], difference(*numbers, plain)[1]
        said = f"{candidate.failures} of {candidate.requests} requests failed"
        if against.requests:
            said += f", of the baseline's {against.failures} of {against.requests}"
        more = "more than the baseline" if against.requests else "in all"
        if low > self.allowed and candidate.failures >= FEWEST_FAILURES:
            return Verdict(Finding.BAD, f"{said}: at least {percent(low)} {more}, {percent(self.allowed)} may")
        slow = self._slow(candidate, against, strict)
        if slow is not None and slow.finding is Finding.BAD:
            return slow
        if candidate.requests < self.least_requests:
            return Verdict(Finding.UNSURE, f"{candidate.requests} of at least {self.least_requests} requests so far")
        if high > self.allowed:
            return Verdict(Finding.UNSURE, f"{said}: may be {percent(high)} {more}, {percent(self.allowed)} may"
                           + self._needed(candidate, plain))
        return slow or Verdict(Finding.GOOD, f"{said}: at most {percent(high)} {more}, {percent(self.allowed)} may")

    def _needed(self, candidate: Tally, z: float) -> str:
        """How many requests it takes where nothing fails."""
        if candidate.failures or not self.allowed:
            return ""
        needed = ceil(z * z * (1.0 - self.allowed) / self.allowed)
        return f"; without a failure it takes {needed} requests" if needed > candidate.requests else ""

    def _slow(self, candidate: Tally, baseline: Tally, z: float) -> Verdict | None:
        """The first limit of latency that is, or may be, overstepped."""
        unsure = None
        for limit in self.quantiles:
            for most_s, least_s, what in self._limits(limit, baseline, z):
                name = f"p{limit.q * 100:g} of {candidate.latencies.count} answers"
                surely = candidate.latencies.quantile(limit.q, -z)
                if surely > most_s:
                    return Verdict(
                        Finding.BAD, f"{name} is at least {surely * 1e3:.4g} ms, over {most_s * 1e3:.4g} ms ({what})")
                found = candidate.latencies.quantile(limit.q)
                if unsure is None and found > least_s:
                    unsure = Verdict(Finding.UNSURE, f"{name} is {found * 1e3:.4g} ms, over {least_s * 1e3:.4g} ms ({what})")
        return unsure

    def _limits(self, limit: Quantile, baseline: Tally, z: float) -> list[tuple[float, float, str]]:
        """Limits (seconds): over which it is surely bad, over which it is not good, and in words which one it is."""
        found = []
        if limit.most_s is not None:
            found.append((limit.most_s, limit.most_s, "the most it may be"))
        if limit.increase is not None and baseline.latencies.count >= self.least_requests:
            theirs, surely = baseline.latencies.quantile(limit.q), baseline.latencies.quantile(limit.q, z)
            most, least = (value * (1.0 + limit.increase) + limit.slack_s for value in (surely, theirs))
            if not isinf(most):
                found.append((most, least, f"the baseline's {theirs * 1e3:.4g} ms and {percent(limit.increase)} more"))
        return found


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rollout is told to do. `deadline_s` is the longest time of a step, None = any."""

    steps: tuple[Step, ...]
    analysis: Analysis = field(default_factory=Analysis)
    deadline_s: float | None = None
    pause_if_bad: bool = False


class Ramp:
    """One rollout. `candidate` and `baseline` are the counts of the present step; their owner adds to them."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.phase = Phase.RAMPING
        self.index = 0                      # of the present step
        self.elapsed_s = 0.0                # that the step has lasted while ramping
        self.candidate = Tally()
        self.baseline = Tally()
        self.looks = 0
        self.looked_at = 0                  # requests of the candidate at the last look
        self.verdict = Verdict(Finding.UNSURE, "nothing was looked at yet")
        self.why = "it begins"              # why it stands as it stands
        self.events: deque[tuple[float, str]] = deque(maxlen=_MOST_EVENTS)
        self.unknown = False                # how far it has come is not known: the configured weights hold
        self._last: float | None = None     # when `look` was last told the time

    @property
    def step(self) -> Step:
        """The present step."""
        return self.terms.steps[self.index]

    @property
    def weight(self) -> float:
        """What the candidate gets now, in percent."""
        if self.phase is Phase.PROMOTED:
            return 100.0
        return 0.0 if self.phase is Phase.ROLLED_BACK else self.step.weight

    @property
    def over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.phase in (Phase.PROMOTED, Phase.ROLLED_BACK)

    # -- by itself -------------------------------------------------------------------------------------------------------

    def look(self, now: float, wall: float, baseline_ready: bool = True) -> bool:
        """Decide; True if the phase or the step is another one now. `now` is monotonic, `wall` since the epoch, seconds.

        While the baseline has no endpoint that may be used nothing is passed but a step of 100 %: there is nothing to compare
        with, and its requests may be on the candidate.
        """
        passed_s = 0.0 if self._last is None else max(now - self._last, 0.0)
        self._last = now
        if self.phase not in (Phase.RAMPING, Phase.APPROVAL):
            return False
        self.elapsed_s += passed_s if self.phase is Phase.RAMPING else 0.0
        self._judge()
        if self.verdict.finding is Finding.BAD:
            if self.terms.pause_if_bad:
                self._enter(Phase.PAUSED, wall, f"paused at {self.step.weight:g} %: {self.verdict.why}")
            else:
                self._enter(Phase.ROLLED_BACK, wall, f"rolled back from {self.step.weight:g} %: {self.verdict.why}")
            return True
        if self.phase is Phase.APPROVAL:
            return False
        if self.terms.deadline_s is not None and self.elapsed_s >= self.terms.deadline_s:
            self._enter(Phase.ROLLED_BACK, wall, f"rolled back from {self.step.weight:g} %: the step was not passed within "
                        f"{self.terms.deadline_s:g} s ({self.verdict.why})")
            return True
        if self.elapsed_s < self.step.pause_s:
            self.why = f"{self.step.pause_s - self.elapsed_s:.0f} s of the pause are left; {self.verdict.why}"
            return False
        if self.verdict.finding is Finding.UNSURE:
            self.why = f"holds: {self.verdict.why}"
            return False
        if not baseline_ready and self.step.weight < 100.0:
            self.why = "holds: the baseline has no endpoint that may be used, so there is nothing to compare with"
            return False
        if self.step.approve:
            self._enter(Phase.APPROVAL, wall, f"the step of {self.step.weight:g} % is passed ({self.verdict.why}) and waits "
                        "for an operator's approval")
            return True
        self._advance(wall, self.verdict.why)
        return True

    def _judge(self) -> None:
        """Look, if it is time for another look."""
        requests, analysis = self.candidate.requests, self.terms.analysis
        due = requests >= FIRST_LOOK and requests >= self.looked_at * _GROWTH
        due = due or self.looked_at < analysis.least_requests <= requests
        # What was good a while ago is asked once more before it counts.
        due = due or (self.verdict.finding is Finding.GOOD and self.elapsed_s >= self.step.pause_s
                      and self.phase is Phase.RAMPING and requests > self.looked_at)
        if due:
            self.looks += 1
            self.looked_at = requests
            self.verdict = analysis.judge(self.candidate, self.baseline, self.looks)
        elif not self.looks:
            self.verdict = Verdict(Finding.UNSURE, f"{requests} of at least {analysis.least_requests} requests so far")

    # -- by an operator --------------------------------------------------------------------------------------------------

    def approve(self, wall: float) -> None:
        """Leave a step that waits for it. Raises ValueError, as all of these, where it makes no sense."""
        if self.phase is not Phase.APPROVAL:
            raise ValueError(f"it does not wait for approval, it is {self.phase.value}")
        self._advance(wall, "an operator has approved")

    def pause(self, wall: float) -> None:
        """Leave the weights as they are, whatever is found, until `resume`."""
        if self.over or self.phase is Phase.PAUSED:
            raise ValueError(f"it is {self.phase.value}")
        self._enter(Phase.PAUSED, wall, f"paused at {self.step.weight:g} % by an operator")

    def resume(self, wall: float) -> None:
        """Go on with the present step; what was counted of it is forgotten, and its pause begins anew."""
        if self.phase is not Phase.PAUSED:
            raise ValueError(f"it is not paused, it is {self.phase.value}")
        self._enter(Phase.RAMPING, wall, f"resumed at {self.step.weight:g} % by an operator")
        self._begin_step()

    def rollback(self, wall: float) -> None:
        """Nothing for the candidate any more."""
        if self.phase is Phase.ROLLED_BACK:
            raise ValueError("it is rolled back")
        self._enter(Phase.ROLLED_BACK, wall, f"rolled back from {self.weight:g} % by an operator")

    def promote(self, wall: float) -> None:
        """All for the candidate, whatever was or was not found."""
        if self.phase is Phase.PROMOTED:
            raise ValueError("it is promoted")
        self._enter(Phase.PROMOTED, wall, f"promoted from {self.weight:g} % by an operator")

    def restart(self, wall: float) -> None:
        """Begin again at the first step."""
        self.index = 0
        self._begin_step()
        self._enter(Phase.RAMPING, wall, f"begins at {self.step.weight:g} %, as an operator has said")

    # -- parts -----------------------------------------------------------------------------------------------------------

    def begin(self, wall: float) -> None:
        """The first time that it is seen."""
        self._enter(Phase.RAMPING, wall, f"begins at {self.step.weight:g} %")

    def doubt(self, wall: float, why: str) -> None:
        """Nobody knows how far it has come: it waits, with the configured weights, until an operator says something."""
        self._enter(Phase.PAUSED, wall, f"waits with the configured weights: {why}")
        self.unknown = True

    def _advance(self, wall: float, why: str) -> None:
        before = self.step.weight
        if self.index + 1 == len(self.terms.steps):
            self._enter(Phase.PROMOTED, wall, f"promoted from {before:g} % to 100 %: {why}")
            return
        self.index += 1
        self._begin_step()
        self._enter(Phase.RAMPING, wall, f"from {before:g} % to {self.step.weight:g} %: {why}")

    def _begin_step(self) -> None:
        self.elapsed_s = 0.0
        self.candidate, self.baseline = Tally(), Tally()
        self.looks = self.looked_at = 0
        self.verdict = Verdict(Finding.UNSURE, "nothing was looked at yet")

    def _enter(self, phase: Phase, wall: float, why: str) -> None:
        self.phase, self.why, self.unknown = phase, why, False
        self.events.append((wall, why))

    # -- outliving the process -------------------------------------------------------------------------------------------

    def plain(self) -> dict[str, Any]:
        """JSON-ready: all that `restore` needs."""
        return {
            "phase": self.phase.name, "step": self.index, "elapsed_s": round(self.elapsed_s, 3), "looks": self.looks,
            "looked_at": self.looked_at, "finding": self.verdict.finding.name, "found": self.verdict.why, "why": self.why,
            "candidate": self.candidate.plain(), "baseline": self.baseline.plain(),
            "unknown": self.unknown, "events": [[round(wall, 3), said] for wall, said in self.events],
        }

    def restore(self, said: Mapping[str, Any]) -> None:
        """Stand as `plain` has said. Raises ValueError for anything else, and then nothing has changed."""
        try:
            phase, finding = Phase[said["phase"]], Finding[said["finding"]]
            index, elapsed_s, looks = int(said["step"]), float(said["elapsed_s"]), int(said["looks"])
            unknown = bool(said["unknown"])
            looked_at, found, why = int(said["looked_at"]), str(said["found"]), str(said["why"])
            candidate, baseline = Tally.of_plain(said["candidate"]), Tally.of_plain(said["baseline"])
            events = [(float(wall), str(text)) for wall, text in said["events"]]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise ValueError(f"it cannot be read: {error}") from error
        if not 0 <= index < len(self.terms.steps) or not 0.0 <= elapsed_s < 1e12 or looks < 0 or looked_at < 0:
            raise ValueError("it is of other steps")
        self.phase, self.index, self.elapsed_s, self.looks, self.looked_at = phase, index, elapsed_s, looks, looked_at
        self.verdict, self.why, self.candidate, self.baseline = Verdict(finding, found), why, candidate, baseline
        self.unknown = unknown
        self.events.clear()
        self.events.extend(events)


def tally_view(tally: Tally, confidence: float, quantiles: Sequence[float] = (0.5, 0.95, 0.99)) -> dict[str, Any]:
    """What was counted, for people."""
    low, high = wilson(tally.failures, tally.requests, z_of((1.0 - confidence) / 2.0))
    return {
        "requests": tally.requests, "failures": tally.failures, "retried": tally.retried,
        "error_percent": round(tally.ratio * 100, 4), "error_percent_bounds": [round(low * 100, 4), round(high * 100, 4)],
        "latency_ms": {f"p{q * 100:g}": round(tally.latencies.quantile(q) * 1e3, 3) for q in quantiles},
    }
