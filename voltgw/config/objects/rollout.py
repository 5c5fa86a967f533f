"""rollout: a new version gets its traffic step by step, as long as it does well. A kind of voltgw's own."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from itertools import pairwise
from typing import ClassVar

from voltgw.config.compound import ListOf, MapOf, refs
from voltgw.config.formats import OBJECT_NAME
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Decimal, Flag, Number, Text
from voltgw.config.values import FrozenMap, Ref

#: What holds where nobody says anything.
INTERVAL_S = 5.0
PAUSE_S = 60.0
ERROR_PERCENT = 1.0
CONFIDENCE_PERCENT = 95.0
REQUESTS = 100
SLACK_S = 0.005
QUANTILE_PERCENT = 99.0
_MONTH_S = 30 * 86400


class IfBad(Enum):
    """What becomes of a rollout whose candidate does badly."""

    ROLL_BACK = "ROLL_BACK"
    PAUSE = "PAUSE"


@message
class RolloutVersion:
    """A destination of the route, named as the route names it."""

    SINCE: ClassVar = "voltgw"

    cluster: tuple[Ref, ...] = field(refs("cluster", most=1, least=1), "Its cluster.", required=True)
    endpoint_subsets: FrozenMap[str, str] = field(
        MapOf(Text(), Text(), most=16), "The labels that its endpoints carry; those that the rule asks for everywhere may be "
        "left out.")
    subset: str | None = field(
        Text(OBJECT_NAME, least=1, most=64), "The named subset, where the destination has one under `voltgw`.")


@message
class RolloutStep:
    """A share of the requests for the candidate."""

    SINCE: ClassVar = "voltgw"

    weight: float = field(Decimal(0.1, 100), "Percent of the requests.", required=True, example="5")
    pause_s: float | None = field(
        Duration("s", 0, _MONTH_S, zero="value"), "The least time of the step.", absent="1 minute")
    approve: bool = field(Flag(), "Once it is passed, wait until an operator says `voltgw rollout approve`.")


@message
class RolloutLatency:
    """A limit of one quantile of the time to the first byte of an answer."""

    SINCE: ClassVar = "voltgw"

    quantile_percent: float | None = field(Decimal(1, 99.9), "Which one; 99 is p99.", absent="99")
    max_increase_percent: float | None = field(
        Decimal(10, 10000), "How much longer than the baseline's it may be; latencies are told apart to within 6.25 %.",
        absent="it is not compared")
    slack_s: float | None = field(
        Duration("ms", 0, 60000, zero="value"), "Beyond that, so much more.", absent="5 ms")
    max_s: float | None = field(Duration("ms", 0, 60000), "The longest that it may be, whatever the baseline's is.",
                                absent="any")

    def rules(self) -> Iterable[Rule]:
        """There is something to hold it against."""
        if self.max_increase_percent is None and self.max_s is None:
            yield Rule("", "VG0105", "a limit of latency needs `max_increase_percent` or `max`")


@message
class RolloutAnalysis:
    """What is asked of the candidate at each step, from what the gateway itself has seen of it."""

    SINCE: ClassVar = "voltgw"

    max_error_percent: float | None = field(
        Decimal(0.01, 50), "How much of its requests may fail, beyond the share of the baseline's that do.", absent="1")
    confidence_percent: float | None = field(
        Decimal(80, 99.99), "How sure to be before anything is decided; all looks of a step together.", absent="95")
    min_requests: int | None = field(
        Number(10, 10_000_000), "Requests of the candidate without which no step is passed.", absent="100")
    latency: tuple[RolloutLatency, ...] = field(
        ListOf(Nested(RolloutLatency), most=4), "Limits of latency.", absent="none")


@message
class RolloutSpec:
    """A new version gets its traffic step by step, as long as it does well."""

    SINCE: ClassVar = "voltgw"

    route: tuple[Ref, ...] = field(
        refs("route", most=1, least=1), "The route whose rules share requests out among the two versions.", required=True)
    baseline: RolloutVersion = field(Nested(RolloutVersion), "The version that serves now.", required=True)
    candidate: RolloutVersion = field(Nested(RolloutVersion), "The new version.", required=True)
    steps: tuple[RolloutStep, ...] = field(
        ListOf(Nested(RolloutStep), least=1, most=32), "Shares, each greater than the last; after the last one the candidate "
        "gets everything.", required=True)
    interval_s: float | None = field(Duration("s", 1, 3600), "Time between looks.", absent="5 s")
    analysis: RolloutAnalysis | None = field(Nested(RolloutAnalysis), "What is asked of the candidate.")
    step_deadline_s: float | None = field(
        Duration("s", 1, _MONTH_S), "A step that is not passed within this is rolled back.", absent="it holds as long as it "
        "takes")
    if_bad: IfBad = field(Choice(IfBad), "What becomes of a rollout whose candidate does badly.")

    def rules(self) -> Iterable[Rule]:
        """Steps lead upwards, and fit the deadline."""
        for before, after in pairwise(self.steps):
            if after.weight <= before.weight:
                yield Rule("steps", "VG0105",
                           f"a step of {after.weight:g} % after one of {before.weight:g} % leads nowhere: each step is "
                           "greater than the last")
        if self.step_deadline_s is not None:
            longest_s = max(PAUSE_S if step.pause_s is None else step.pause_s for step in self.steps)
            if longest_s >= self.step_deadline_s:
                yield Rule("step_deadline", "VG0105", f"a step pauses for {longest_s:g} s, so none could be passed within "
                           f"{self.step_deadline_s:g} s")
