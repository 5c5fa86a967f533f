"""What ``voltgw top`` shows: two readings of ``/metrics``, and what lies between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

_LINE: Final = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? ([^ #]+)')
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPED: Final = {"n": "\n", '"': '"', "\\": "\\"}

#: Values by the labels that say of what, for each metric.
Metrics: TypeAlias = "dict[str, dict[tuple[tuple[str, str], ...], float]]"
#: What a table has a line for.
VIEWS: Final = ("hosts", "clusters", "endpoints")


class Sample(NamedTuple):
    """One reading: monotonic seconds, every metric, what ``/clusters`` says, the latest events, what ``/`` says."""

    at: float
    metrics: Metrics
    clusters: list[dict[str, Any]]
    events: list[dict[str, Any]]
    gateway: dict[str, Any]


class Row(NamedTuple):
    """One line of a table; rates are of the time between two readings, None where nothing is known."""

    name: str
    requests_per_s: float
    errors_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    active: int
    ready: int                  # endpoints, of `endpoints`; an endpoint is one or none
    endpoints: int
    note: str

    @property
    def error_percent(self) -> float:
        """Of its requests."""
        return 100.0 * self.errors_per_s / self.requests_per_s if self.requests_per_s > 0 else 100.0 * (self.errors_per_s > 0)


def parsed(text: str) -> Metrics:
    """The metrics of Prometheus' text format; lines that are none are passed over."""
    found: Metrics = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or line.startswith("#"):
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        labels = tuple(sorted(
            (name, re.sub(r"\\(.)", lambda one: _ESCAPED.get(one[1], one[0]), text)) for name,
            text in _LABEL.findall(match[2] or "")))
        found.setdefault(match[1], {})[labels] = value
    return found


def rows(view: str, before: Sample, now: Sample) -> list[Row]:
    """The lines of a view, by name. Counters that went back belong to another process, and count from nothing."""
    between = _Between(before, now)
    if view == "hosts":
        return between.hosts()
    return between.clusters() if view == "clusters" else between.endpoints()


class _Between:
    """What lies between two readings."""

    def __init__(self, before: Sample, now: Sample) -> None:
        self._before = before
        self._now = now
        self._seconds = max(1e-6, now.at - before.at)

    def hosts(self) -> list[Row]:
        """One line for each virtual host, and one for what none took."""
        requests = self._grown("voltgw_requests_total", ("virtual_host",))
        errors = self._grown("voltgw_requests_total", ("virtual_host",), {"code_class": ("5xx", "none")})
        times = self._times("voltgw_request_duration_seconds", ("virtual_host",))
        return [self._row(key[0] or "(none)", requests[key], errors.get(key, 0.0), times.get(key)) for key in sorted(requests)]

    def clusters(self) -> list[Row]:
        """One line for each cluster; errors are answers 5xx, and requests that got none."""
        requests = self._grown("voltgw_cluster_requests_total", ("cluster",))
        errors = self._sum([self._grown("voltgw_cluster_responses_total", ("cluster",), {"code_class": ("5xx",)}), *(
            self._grown(f"voltgw_cluster_{what}_total", ("cluster",))
            for what in ("connect_failures", "timeouts", "resets", "no_endpoint", "overflows"))])
        times = self._times("voltgw_cluster_request_duration_seconds", ("cluster",))
        made = []
        for each in self._now.clusters:
            name = str(each["cluster"])
            members = each["endpoints"]
            ejected = sum(1 for member in members if _ejected(member))
            note = "panic: all endpoints are used" if each.get("panic") else f"{ejected} ejected" if ejected else ""
            made.append(self._row(name, requests.get((name,), 0.0), errors.get((name,), 0.0), times.get((name,)),
                                  int(each["active"]), int(each["ready"]), len(members), note))
        return sorted(made)

    def endpoints(self) -> list[Row]:
        """One line for each endpoint of each cluster."""
        labels = ("cluster", "endpoint")
        requests = self._grown("voltgw_endpoint_requests_total", labels)
        errors = self._sum([self._grown("voltgw_endpoint_responses_total", labels, {"code_class": ("5xx",)}),
                            self._grown("voltgw_endpoint_connect_failures_total", labels)])
        times = self._times("voltgw_endpoint_request_duration_seconds", labels)
        made = []
        for each in self._now.clusters:
            for member in each["endpoints"]:
                key = (str(each["cluster"]), str(member["endpoint"]))
                ready = bool(member["ready"])
                late = member.get("latency_ms")
                row = self._row(" ".join(key), requests.get(key, 0.0), errors.get(key, 0.0), times.get(key),
                                int(member["active"]),
                                int(ready), 1, "" if ready and member["health"] != "unhealthy" else str(member["why"]))
                made.append(row._replace(p50_ms=float(late)) if row.p50_ms is None and late is not None else row)
        return sorted(made)

    def _row(self, name: str, requests: float, errors: float, times: Mapping[float, float] | None, active: int = 0,
             ready: int = 0,
             endpoints: int = 0, note: str = "") -> Row:
        return Row(name, requests / self._seconds, errors / self._seconds, quantile(times or {}, 0.5),
                   quantile(times or {}, 0.99),
                   active, ready, endpoints, note)

    def _grown(self, metric: str, labels: tuple[str, ...],
               only: Mapping[str, tuple[str, ...]] | None = None) -> dict[tuple[str, ...], float]:
        """By how much a counter has grown, summed over all labels but some."""
        before = self._before.metrics.get(metric, {})
        made: dict[tuple[str, ...], float] = {}
        for key, value in self._now.metrics.get(metric, {}).items():
            named = dict(key)
            if only is not None and any(named.get(label) not in wanted for label, wanted in only.items()):
                continue
            old = before.get(key, 0.0)
            chosen = tuple(named.get(label, "") for label in labels)
            made[chosen] = made.get(chosen, 0.0) + (value - old if value >= old else value)
        return made

    def _times(self, metric: str, labels: tuple[str, ...]) -> dict[tuple[str, ...], dict[float, float]]:
        """The buckets of a histogram: how many lie at or below each bound."""
        grown = self._grown(f"{metric}_bucket", (*labels, "le"))
        made: dict[tuple[str, ...], dict[float, float]] = {}
        for (*key, bound), count in grown.items():
            try:
                made.setdefault(tuple(key), {})[float(bound)] = count
            except ValueError:
                continue                # no bound of a histogram
        return made

    @staticmethod
    def _sum(several: Iterable[Mapping[tuple[str, ...], float]]) -> dict[tuple[str, ...], float]:
        made: dict[tuple[str, ...], float] = {}
        for one in several:
            for key, value in one.items():
                made[key] = made.get(key, 0.0) + value
        return made


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Milliseconds within which `share` of the requests were over; inside a bucket they are taken to lie evenly.

    None where there were none. What lies beyond the last bound is as long as that.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    wanted, low, below = share * total, 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted:
            if bound == float("inf"):
                return low * 1000
            inside = buckets[bound] - below
            return (low + (bound - low) * ((wanted - below) / inside if inside > 0 else 1.0)) * 1000
        low, below = bound, buckets[bound]
    return low * 1000


def totals(before: Sample, now: Sample) -> Iterator[tuple[str, str]]:
    """What stands at the head: names and values."""
    hosts = rows("hosts", before, now)
    requests, errors = sum(row.requests_per_s for row in hosts), sum(row.errors_per_s for row in hosts)
    seconds = max(1e-6, now.at - before.at)

    def one(sample: Sample, metric: str) -> float | None:
        values = sample.metrics.get(metric)
        return sum(values.values()) if values else None

    yield "req/s", f"{requests:.1f}"
    yield "errors", f"{100 * errors / requests if requests else 0.0:.1f}%"
    opened = one(now, "voltgw_listener_open_connections")
    if opened is not None:
        yield "open", f"{opened:.0f}"
    used, used_before = (one(sample, "process_cpu_seconds_total") for sample in (now, before))
    if used is not None and used_before is not None and used >= used_before:
        yield "cpu", f"{100 * (used - used_before) / seconds:.0f}%"
    memory = one(now, "process_resident_memory_bytes")
    if memory is not None:
        yield "memory", f"{memory / (1 << 20):.0f} MiB"


def _ejected(member: Mapping[str, Any]) -> bool:
    ejection = member.get("ejection")
    return bool(ejection and ejection.get("ejected"))
