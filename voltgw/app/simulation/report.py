"""What came of a simulation: as plain data for JSON, and as a text with tables."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from voltgw.values.address import where

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voltgw.app.simulation.play import Simulation
    from voltgw.app.simulation.tally import ClusterTally, Moment
    from voltgw.cluster.cluster import Cluster

#: Endpoints, and lines of the time line, that the text shows; JSON has all.
MOST_SHOWN: Final = 40
#: Events of one kind in one cluster within so many seconds are one line of the text.
_TOGETHER_S: Final = 1.0
_QUANTILES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))


def plain(simulation: Simulation) -> dict[str, Any]:
    """Everything, JSON-ready; times in seconds."""
    tally, scenario = simulation.tally, simulation.scenario
    clusters = {cluster.name: cluster for cluster in simulation.clusters()}
    names = list(dict.fromkeys((*clusters, *tally.clusters)))
    moments = simulation.line.moments
    return {
        "seed": scenario.seed or 0, "duration_s": scenario.duration_s, "requests": simulation.sent,
        "unfinished": simulation.unfinished, "notes": simulation.notes,
        "clusters": [_cluster(name, clusters.get(name), tally.cluster(name)) for name in names],
        "endpoints": [row for cluster in clusters.values() for row in _endpoints(simulation, cluster, moments)],
        "time_line": [moment._asdict() for moment in moments], "events_left_out": simulation.line.left_out,
    }


def _cluster(name: str, cluster: Cluster | None, tally: ClusterTally) -> dict[str, Any]:
    row: dict[str, Any] = {
        "cluster": name, "requests": tally.requests, "errors": tally.errors,
        "error_ratio": round(tally.errors / tally.requests, 6) if tally.requests else 0.0,
        "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
        "flags": dict(sorted(tally.flags.items())), "overflow": tally.overflows,
        "latency_s": {quantile: round(value, 6) for (quantile, _), value in zip(
            _QUANTILES, tally.quantiles_s([share for _, share in _QUANTILES]), strict=True)},
        "most_active": tally.most_active, "most_pending": tally.most_pending,
    }
    if cluster is not None:
        counters = cluster.counters
        row |= {"retries": counters.retries, "connects": counters.connects, "connect_failures": counters.connect_failures,
                "resets": counters.resets, "timeouts": counters.timeouts, "no_endpoint": counters.no_endpoint,
                "probes": {check: {"passed": passed, "failed": failed} for check, (passed, failed) in counters.probes.items()}}
    return row


def _endpoints(simulation: Simulation, cluster: Cluster, moments: Sequence[Moment]) -> Iterable[dict[str, Any]]:
    states = Counter((moment.endpoint, moment.state) for moment in moments if moment.cluster == cluster.name)
    total = sum(endpoint.requests for endpoint in cluster.endpoints)
    for endpoint in cluster.endpoints:
        name = where(endpoint.address, endpoint.port)
        tally = simulation.tally.endpoint(endpoint.cluster, name)
        yield {
            "cluster": cluster.name, "endpoint": name, "weight": endpoint.weight, "labels": dict(endpoint.labels),
            "requests": endpoint.requests, "share": round(endpoint.requests / total, 6) if total else 0.0,
            "errors": tally.errors + tally.failed, "answers_5xx": endpoint.status[5],
            "connect_failures": endpoint.connect_failures, "retries": tally.retries,
            "ejections": states[name, "ejected"], "unhealthy": states[name, "unhealthy"], "ready": endpoint.ready,
            "why": endpoint.reason,
        }


def text(facts: dict[str, Any]) -> str:
    """The same as somebody reads it."""
    parts = [f"{facts['requests']} requests in {facts['duration_s']:g} s, seed {facts['seed']}"
             + (f"; {facts['unfinished']} had no end" if facts["unfinished"] else "")]
    parts += [f"note: {note}" for note in facts["notes"]]
    clusters = [one for one in facts["clusters"] if one["requests"] or one["cluster"] != "-"]
    parts += ["", *_table(
        ("cluster", "requests", "errors", "ratio", *(name for name, _ in _QUANTILES), "retries", "refused", "active",
         "pending"),
        [(one["cluster"], one["requests"], one["errors"], f"{one['error_ratio']:.3%}",
          *(_ms(one["latency_s"][name]) for name, _ in _QUANTILES), one.get("retries", 0), one["overflow"],
          one["most_active"], one["most_pending"]) for one in clusters])]
    for one in clusters:
        said = [f"{count} x {status if status != '0' else 'no answer'}" for status, count in one["statuses"].items()]
        said += [f"flag {flag}: {count}" for flag, count in one["flags"].items()]
        if said:
            parts.append(f"{one['cluster']}: {', '.join(said)}")
    endpoints = facts["endpoints"]
    # the ones that somebody looks for come first where not all are shown
    shown = endpoints if len(endpoints) <= MOST_SHOWN else sorted(
        endpoints, key=lambda one: (-one["ejections"] - one["unhealthy"], -one["errors"]))[:MOST_SHOWN]
    parts += ["", *_table(
        ("endpoint", "weight", "share", "requests", "errors", "retries", "ejected", "unhealthy", "at the end"),
        [(f"{one['cluster']} {one['endpoint']}", one["weight"], f"{one['share']:.2%}", one["requests"], one["errors"],
          one["retries"], one["ejections"], one["unhealthy"], "ready" if one["ready"] else one["why"]) for one in shown])]
    if len(shown) < len(endpoints):
        parts.append(f"... and {len(endpoints) - len(shown)} more (--json has all)")
    return "\n".join([*parts, "", *_time_line(facts["time_line"], facts["events_left_out"])])


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    last = len(head) - 1
    return ["  ".join(cell.ljust(width) if column in (0, last) else cell.rjust(width)
                      for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in cells]


def _time_line(moments: Sequence[dict[str, Any]], left_out: int) -> list[str]:
    """Those of one kind that come together are one line."""
    lines: list[str] = []
    groups: list[tuple[dict[str, Any], int]] = []
    latest: dict[tuple[str, str], int] = {}
    for moment in moments:
        kind = moment["cluster"], moment["state"]
        index = latest.get(kind)
        if index is not None and moment["endpoint"] and moment["at_s"] - groups[index][0]["at_s"] < _TOGETHER_S:
            groups[index] = groups[index][0], groups[index][1] + 1
            continue
        latest[kind] = len(groups)
        groups.append((moment, 1))
    for moment, count in groups[:MOST_SHOWN * 2]:
        who = " ".join(part for part in (moment["cluster"], moment["endpoint"]) if part)
        others = f" and {count - 1} more" if count > 1 else ""
        lines.append(f"{moment['at_s']:>10.3f} s  {who}{others}{' ' if who else ''}{moment['state']}: {moment['reason']}")
    more = len(groups) - len(lines) + left_out
    return [*lines, f"... and {more} more"] if more else lines
