"""Outlier detection: who answers worse than the others, or not at all, is ejected for a while.

The maths are those of Envoy's ``outlier_detection_impl.cc``, constant by constant, with one rule of the object model beside
them: one endpoint may be ejected whatever `max_ejection_percent` says. No timer and no clock is in here: the owner gives
`monotonic` and calls `sweeping` every `interval_s`; whoever forwards requests reports what became of them.

What costs nothing is done for every answer (counts that are there anyway are looked at by the sweep); a call is made only for
a failure, and for the first success after one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from random import Random

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.cluster.snapshot import EndpointKey

#: Members that one step of a sweep looks at: at most 1 ms of a turn.
SWEEP_STEP: Final = 256
#: `Endpoint.heeds`: every answer is told, those that failed, none (no status is as high).
ALL_ANSWERS: Final = 0
FAILED_ANSWERS: Final = 500
NO_ANSWERS: Final = 1000


class Ejection(Enum):
    """Why an endpoint was found to be one; the values are those of metrics."""

    CONSECUTIVE_5XX = "consecutive_5xx"
    GATEWAY_FAILURE = "consecutive_gateway_failure"
    LOCAL_ORIGIN = "consecutive_local_origin_failure"
    SUCCESS_RATE = "success_rate"
    LOCAL_SUCCESS_RATE = "success_rate_local_origin"
    FAILURE_PERCENTAGE = "failure_percentage"
    LOCAL_FAILURE_PERCENTAGE = "failure_percentage_local_origin"


@dataclass(frozen=True, slots=True)
class OutlierRules:
    """What makes an outlier, under Envoy's names and with its defaults; times in seconds, shares in percent.

    `enforcing` values say how many of those that are found are ejected; 0 only counts them. `success_rate_stdev_factor` is in
    thousandths. Without `split_external_local_origin_errors` an endpoint that does not answer counts as one that answers 502
    or 504.
    """

    consecutive_5xx: int = 5
    enforcing_consecutive_5xx: int = 100
    consecutive_gateway_failure: int = 5
    enforcing_consecutive_gateway_failure: int = 0
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failure: int = 5
    enforcing_consecutive_local_origin_failure: int = 100
    enforcing_success_rate: int = 100
    enforcing_local_origin_success_rate: int = 100
    success_rate_minimum_hosts: int = 5
    success_rate_request_volume: int = 100
    success_rate_stdev_factor: int = 1900
    enforcing_failure_percentage: int = 0
    enforcing_failure_percentage_local_origin: int = 0
    failure_percentage_threshold: int = 85
    failure_percentage_minimum_hosts: int = 5
    failure_percentage_request_volume: int = 50
    interval_s: float = 10.0
    base_ejection_time_s: float = 30.0
    max_ejection_time_s: float = 300.0
    max_ejection_time_jitter_s: float = 0.0
    max_ejection_percent: int = 10
    successful_active_health_check_uneject_host: bool = True

    def enforcing(self, kind: Ejection) -> int:
        """How many percent of those that are found for this reason are ejected."""
        return _ENFORCING[kind](self)


_ENFORCING: Final[dict[Ejection, Callable[[OutlierRules], int]]] = {
    Ejection.CONSECUTIVE_5XX: lambda rules: rules.enforcing_consecutive_5xx,
    Ejection.GATEWAY_FAILURE: lambda rules: rules.enforcing_consecutive_gateway_failure,
    Ejection.LOCAL_ORIGIN: lambda rules: rules.enforcing_consecutive_local_origin_failure,
    Ejection.SUCCESS_RATE: lambda rules: rules.enforcing_success_rate,
    Ejection.LOCAL_SUCCESS_RATE: lambda rules: rules.enforcing_local_origin_success_rate,
    Ejection.FAILURE_PERCENTAGE: lambda rules: rules.enforcing_failure_percentage,
    Ejection.LOCAL_FAILURE_PERCENTAGE: lambda rules: rules.enforcing_failure_percentage_local_origin,
}


class Rate(NamedTuple):
    """What a member did in the last interval."""

    watch: Watch
    success: float                          # percent
    volume: int


class Watch:
    """One member as outlier detection sees it; the data plane reaches it by `Endpoint.watch`.

    `endpoints` are its live ones: one, or two where routes of high priority have connections of their own.
    """

    __slots__ = (
        "alert", "back_at", "backoff", "detector", "ejected", "ejected_at", "ejections", "endpoints", "failures", "gateway",
        "in_a_row", "key", "last", "local_failures", "local_in_a_row", "local_total", "out_s", "seen", "success_rate",
        "unanswered", "why",
    )

    def __init__(self, key: EndpointKey, detector: OutlierDetector) -> None:
        self.key = key
        self.detector = detector
        self.endpoints: list[Endpoint] = []
        self.alert = False                  # something failed last: the next success ends it
        self.in_a_row = 0                   # failures since the last success
        self.gateway = 0                    # of these 502, 503 and 504 in a row
        self.local_in_a_row = 0             # times in a row that there was no answer; only where that is told apart
        self.failures = 0                   # since ever, as the following three
        self.unanswered = 0                 # tries that count although no answer came; successful connects of relays, too
        self.local_failures = 0
        self.local_total = 0
        self.seen = (0, 0, 0, 0)            # total, failures and the local ones, when the sweep looked last
        self.success_rate = -1.0            # percent, of the last interval; -1.0: too little traffic to tell
        self.last = ""                      # the last failure, in words
        self.ejected = False
        self.ejected_at = 0.0
        self.out_s = 0.0                    # how long it is out for
        self.back_at = 0.0                  # when it was let back last
        self.backoff = 0                    # the multiplier of the ejection time
        self.ejections = 0                  # since ever
        self.why = ""                       # of the last ejection

    @property
    def until(self) -> float:
        """When its time is over (monotonic); a sweep lets it back after that."""
        return self.ejected_at + self.out_s

    @property
    def total(self) -> int:
        """Everything that counts so far."""
        return self.unanswered + sum(sum(endpoint.status) for endpoint in self.endpoints)

    # -- what the data plane reports ---------------------------------------------------------------------------------------

    def answered(self, status: int) -> None:
        """An answer came; the status of a gRPC answer is the one it stands for."""
        if not 500 <= status <= 599:
            if self.alert:
                self.reset()
            return
        self.local_in_a_row = 0
        self.last = f"answered {status}"
        self._failed(502 <= status <= 504)

    def no_answer(self, why: str) -> None:
        """A connection could not be made, was lost, or nothing came in time; `why` in a few words."""
        self.last = why
        if self.detector.rules.split_external_local_origin_errors:
            self.local_total += 1
            self.local_failures += 1
            self.local_in_a_row += 1
            self._heed(ALL_ANSWERS)
            if self.local_in_a_row == self.detector.rules.consecutive_local_origin_failure:
                evidence = f"{self.local_in_a_row} times in a row without an answer: {why}"
                self.detector.found(self, Ejection.LOCAL_ORIGIN, evidence)
                self.local_in_a_row = 0
            return
        self.unanswered += 1
        self._failed(True)

    def accepted(self, final: bool) -> None:
        """It took a connection; `final`: that is all that can be said of it (relays), so that it counts as a success."""
        if self.detector.rules.split_external_local_origin_errors:
            self.local_total += 1
            self.local_in_a_row = 0
        elif final:
            self.unanswered += 1
            self.in_a_row = self.gateway = 0
            self._heed(FAILED_ANSWERS)

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _failed(self, gateway: bool) -> None:
        rules = self.detector.rules
        self.failures += 1
        self.in_a_row += 1
        self._heed(ALL_ANSWERS)
        if not gateway:
            self.gateway = 0
        else:
            self.gateway += 1
            if self.gateway == rules.consecutive_gateway_failure:
                self.detector.found(self, Ejection.GATEWAY_FAILURE, f"{self.gateway} gateway failures in a row, it {self.last}")
                self.gateway = 0
        if self.in_a_row == rules.consecutive_5xx:
            self.detector.found(self, Ejection.CONSECUTIVE_5XX, f"{self.in_a_row} failures in a row, it {self.last}")
            self.in_a_row = 0

    def _heed(self, status: int) -> None:
        self.alert = status == ALL_ANSWERS
        for endpoint in self.endpoints:
            endpoint.heed(status)

    def reset(self) -> None:
        """Count anew."""
        self.in_a_row = self.gateway = self.local_in_a_row = 0
        self._heed(FAILED_ANSWERS)


def _nobody(watch: Watch) -> None:
    """Nobody is told."""


class OutlierDetector:
    """Judges the members of one cluster.

    `start` says what the time is and who is told of each ejection, at once and possibly from inside the data plane;
    whom a sweep or `passed` lets back is their result. Members are taken in by `watch` and left out by `forget`.
    """

    def __init__(self, rules: OutlierRules, random: Random) -> None:
        self.rules = rules
        self.watches: dict[EndpointKey, Watch] = {}
        self.out = 0                        # ejected now
        self.found_counts = dict.fromkeys(Ejection, 0)
        self.ejected_counts = dict.fromkeys(Ejection, 0)
        self.overflow = 0                   # not ejected because enough others were
        self._random = random
        self._monotonic: Callable[[], float] = lambda: 0.0
        self._told: Callable[[Watch], None] = _nobody

    def start(self, monotonic: Callable[[], float], told: Callable[[Watch], None]) -> None:
        """Judge from now on, by this clock (seconds), and tell of ejections."""
        self._monotonic, self._told = monotonic, told

    def stop(self) -> None:
        """Tell nobody any more; counts go on."""
        self._told = _nobody

    def watch(self, endpoint: Endpoint) -> None:
        """A live endpoint; several of one key are one member."""
        watch = self.watches.get(endpoint.key)
        if watch is None:
            watch = self.watches[endpoint.key] = Watch(endpoint.key, self)
        watch.endpoints.append(endpoint)
        endpoint.watch = watch
        endpoint.heed(ALL_ANSWERS if watch.alert else FAILED_ANSWERS)

    def forget(self, endpoint: Endpoint) -> None:
        """It left the cluster; should its member come back, that is as good as a new one."""
        watch = self.watches.get(endpoint.key)
        endpoint.watch = None
        endpoint.heed(NO_ANSWERS)
        if watch is None or endpoint not in watch.endpoints:
            return
        watch.endpoints.remove(endpoint)
        if not watch.endpoints:
            del self.watches[endpoint.key]
            self.out -= watch.ejected

    def passed(self, key: EndpointKey) -> bool:
        """A health check of the member has passed, and all others pass; whether that lets it back."""
        watch = self.watches.get(key)
        if watch is None or not watch.ejected or not self.rules.successful_active_health_check_uneject_host:
            return False
        self._let_back(watch, self._monotonic())
        return True

    def ejected(self, key: EndpointKey) -> Watch | None:
        """The member if it is ejected now."""
        watch = self.watches.get(key)
        return watch if watch is not None and watch.ejected else None

    def found(self, watch: Watch, kind: Ejection, evidence: str) -> None:
        """A member is an outlier: eject it, unless enough are out or this reason is not enforced."""
        if watch.ejected:
            return
        rules = self.rules
        self.found_counts[kind] += 1
        if self.out and 100 * (self.out + 1) > rules.max_ejection_percent * len(self.watches):
            self.overflow += 1
            return
        if self._random.random() * 100 >= rules.enforcing(kind):
            return
        most = max(rules.max_ejection_time_s, rules.base_ejection_time_s)
        if watch.backoff * rules.base_ejection_time_s < most + rules.base_ejection_time_s:
            watch.backoff += 1
        watch.ejected = True
        watch.ejected_at = self._monotonic()
        watch.ejections += 1
        watch.out_s = (min(watch.backoff * rules.base_ejection_time_s, most)
                       + self._random.random() * rules.max_ejection_time_jitter_s)
        watch.why = evidence
        self.ejected_counts[kind] += 1
        self.out += 1
        self._told(watch)

    def sweeping(self, now: float) -> Generator[None, None, list[Watch]]:
        """What is done every `interval_s`: let back whose time is over, judge by rates, forgive those who behave.

        In steps of less than 1 ms; its value are those who were let back.
        """
        back: list[Watch] = []
        answers: list[Rate] = []
        locals_: list[Rate] = []
        everyone = list(self.watches.values())
        for number, watch in enumerate(everyone, 1):
            if watch.ejected and now >= watch.until:
                self._let_back(watch, now)
                back.append(watch)
            self._rates(watch, answers, locals_)
            if number % SWEEP_STEP == 0:
                yield
        self._by_rate(answers, Ejection.SUCCESS_RATE, Ejection.FAILURE_PERCENTAGE)
        self._by_rate(locals_, Ejection.LOCAL_SUCCESS_RATE, Ejection.LOCAL_FAILURE_PERCENTAGE)
        for watch in everyone:
            if not watch.ejected and watch.backoff and now - watch.back_at >= self.rules.interval_s:
                watch.backoff -= 1
        return back

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _let_back(self, watch: Watch, now: float) -> None:
        watch.ejected = False
        watch.back_at = now
        watch.reset()
        self.out -= 1

    def _rates(self, watch: Watch, answers: list[Rate], locals_: list[Rate]) -> None:
        """What the member did since the last sweep."""
        now = watch.total, watch.failures, watch.local_total, watch.local_failures
        total, failures, local_total, local_failures = (new - old for new, old in zip(now, watch.seen, strict=True))
        watch.seen = now
        watch.success_rate = -1.0
        if watch.ejected:
            return
        least = min(self.rules.success_rate_request_volume, self.rules.failure_percentage_request_volume)
        if total >= max(least, 1):
            watch.success_rate = 100.0 * max(total - failures, 0) / total
            answers.append(Rate(watch, watch.success_rate, total))
        if local_total >= max(least, 1):
            locals_.append(Rate(watch, 100.0 * (local_total - local_failures) / local_total, local_total))

    def _by_rate(self, rates: list[Rate], by_rate: Ejection, by_failures: Ejection) -> None:
        rules = self.rules
        valid = [rate for rate in rates if rate.volume >= rules.success_rate_request_volume]
        if valid and len(valid) >= rules.success_rate_minimum_hosts:
            mean, threshold = success_threshold([rate.success for rate in valid], rules.success_rate_stdev_factor / 1000)
            for rate in valid:
                if rate.success < threshold:
                    self.found(rate.watch, by_rate, f"{rate.success:.1f} % of {rate.volume} succeeded, below {threshold:.1f} % "
                                                    f"(the mean is {mean:.1f} %)")
        valid = [rate for rate in rates if rate.volume >= rules.failure_percentage_request_volume]
        if len(valid) >= rules.failure_percentage_minimum_hosts:
            for rate in valid:
                if 100.0 - rate.success >= rules.failure_percentage_threshold:
                    self.found(rate.watch, by_failures, f"{100.0 - rate.success:.1f} % of {rate.volume} failed, at least "
                                                        f"{rules.failure_percentage_threshold} %")


def success_threshold(rates: Sequence[float], factor: float) -> tuple[float, float]:
    """The mean of some success rates, and the rate below which one is an outlier: mean - factor x standard deviation.

    The deviation is that of the whole population (divided by n), as Envoy has it.
    """
    mean = sum(rates) / len(rates)
    deviation = sqrt(sum((rate - mean) ** 2 for rate in rates) / len(rates))
    return mean, mean - factor * deviation
