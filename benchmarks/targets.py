"""What voltgw's cost beside the C proxies is to be, as data, and whether the results of a run say so.

A target is a bound for a ratio to a peer's figure in the same run, taken round by round (or, without a peer, for the figure
itself), one for the compiled build and one for the interpreted one. `render.py` writes the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: The builds that bounds are for, by their names as proxies.
COMPILED: Final = "voltgw-compiled"
INTERPRETED: Final = "voltgw"


@dataclass(frozen=True, slots=True)
class Target:
    """One bound. `result` names the comparison, without what its set of features adds to the name; `figure` is empty for the
    comparison's main one. Without `reference` the bounds are in `unit`. `always`: the figure does not depend on features, so
    it stands in the first table only, and its result has no suffix.
    """

    path: str
    result: str
    reference: str
    compiled: float | None
    interpreted: float | None
    goal: float | None = None
    figure: str = ""
    case: str = ""
    unit: str = ""
    always: bool = False


TARGETS: Final = (
    Target("HTTP/1.1, small answers, kept connections", "http_keepalive", "nginx", 1.5, 2.0, goal=1.0),
    Target("the same", "http_keepalive", "envoy", 0.4, 0.6),
    Target("HTTP/1.1, 64 KiB", "http_keepalive_64k", "haproxy", 1.1, 1.3),
    Target("HTTP/1.1, 10 MiB, for each GB", "http_bulk", "nginx", 1.0, 1.05),
    Target("HTTP/1.1, a new connection for each request", "http_newconn", "nginx", 1.4, 1.6, goal=1.1),
    Target("TCP, round trips", "tcp_echo", "nginx", 1.2, 1.25),
    Target("TCP, a new connection for each round trip", "tcp_newconn", "nginx", 1.3, 1.3),
    Target("TCP, for each GB", "tcp_bulk", "nginx", 1.0, 1.0, goal=0.75),
    Target("HTTPS, small answers, kept connections", "https_keepalive", "nginx", 1.4, 1.6),
    Target("TLS, full handshakes", "tls_handshake", "nginx", 1.05, 1.05),
    Target("HTTPS, for each GB", "tls_bulk", "nginx", 1.0, 1.0),
    Target("HTTP/2 over TLS, 10 streams", "http2_tls", "nginx", 1.5, 2.0, goal=1.0),
    Target("the same", "http2_tls", "envoy", None, 1.0),
    Target("TLS passed through by server name", "sni", "nginx", 1.2, 1.3),
    Target("UDP, round trips", "udp", "nginx", 1.0, 1.1),
    Target("DNS, answers", "dns", "knot", 1.3, 2.0, goal=1.0, always=True),
    *(Target(f"latency at {case}, {name}", "open_loop", "haproxy", 1.5, 2.0, figure=figure, case=case)
      for case in ("30 %", "70 %") for figure, name in (("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9"))),
    Target("memory of an idle process", "idle_http", "", 60, 60, figure="started_mib", unit="MiB", always=True),
    Target("memory of an idle connection, of 5,000", "idle_http", "", 4, 6, figure="kib_per_connection", unit="KiB",
           always=True),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bound and what was measured: `spread` has the median, the least and the most; None = not measured."""

    bound: float | None
    goal: float | None
    spread: Mapping[str, float] | None

    @property
    def word(self) -> str:
        """In the last column."""
        if self.bound is None or self.spread is None:
            return ""
        beyond = self.spread["median"] / self.bound - 1
        if beyond > 0:
            return f"missed by {beyond:.0%}" if beyond >= 0.01 else "just missed"
        return "goal met" if self.goal is not None and self.spread["median"] <= self.goal else "met"

    @property
    def met(self) -> bool:
        """Whether it was measured and is within its bound."""
        return self.word.endswith("met")


def verdicts(target: Target, result: Mapping[str, Any] | None) -> dict[str, Verdict]:
    """For each build."""
    return {
        build: Verdict(bound, target.goal, _spread(target, result, build))
        for build, bound in ((COMPILED, target.compiled), (INTERPRETED, target.interpreted))}


def _spread(target: Target, result: Mapping[str, Any] | None, build: str) -> Mapping[str, float] | None:
    if result is None:
        return None
    figure = target.figure or result["main"]
    for row in result["summary"]:
        if row["proxy"] == build and row.get("case", "") == target.case:
            found = row["ratios"].get(figure, {}).get(target.reference) if target.reference else row["figures"].get(figure)
            return found                                            # type: ignore[no-any-return]  # from JSON
    return None


def judge(results: Sequence[Mapping[str, Any]], suffix: str) -> list[tuple[Target, dict[str, Verdict]]]:
    """Every target of which something was measured with that set of features (`compare.FEATURES` has the suffixes)."""
    by_name = {result["comparison"]: result for result in results}
    judged = []
    for target in TARGETS:
        if target.always and suffix != "_full":
            continue
        found = verdicts(target, by_name.get(target.result if target.always else target.result + suffix))
        if any(verdict.spread is not None for verdict in found.values()):
            judged.append((target, found))
    return judged


def table(judged: Sequence[tuple[Target, dict[str, Verdict]]]) -> str:
    """A list-table: path, peer, and for each build what was measured, the bound and whether it is met."""
    rows = [["", "beside", "compiled", "at most", "", "interpreted", "at most", ""]]
    for target, found in judged:
        cells = [target.path, target.reference or target.unit]
        for build in (COMPILED, INTERPRETED):
            verdict = found[build]
            bound = "" if verdict.bound is None else f"{verdict.bound:g}"
            if target.goal is not None and build == COMPILED:
                bound += f" (goal {target.goal:g})"
            cells += [_told(verdict.spread), bound, verdict.word]
        rows.append(cells)
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for cells in rows:
        lines += [f"   {'* -' if number == 0 else '  -'} {cell}".rstrip() for number, cell in enumerate(cells)]
    return "\n".join(lines)


def in_lines(judged: Sequence[tuple[Target, dict[str, Verdict]]]) -> list[str]:
    """The same for a terminal."""
    lines = [f"{'':46} {'beside':8} {'compiled':>9} {'<=':>5} {'':16} {'interpreted':>11} {'<=':>5}"]
    for target, found in judged:
        line = f"{target.path[:46]:46} {target.reference or target.unit:8}"
        for build, width in ((COMPILED, 9), (INTERPRETED, 11)):
            verdict = found[build]
            figure = "" if verdict.spread is None else f"{verdict.spread['median']:.2f}"
            bound = "" if verdict.bound is None else f"{verdict.bound:g}"
            line += f" {figure:>{width}} {bound:>5} {verdict.word:16}"
        lines.append(line.rstrip())
    return lines


def _told(spread: Mapping[str, float] | None) -> str:
    if spread is None:
        return ""
    middle, least, most = (f"{spread[key]:.2f}" for key in ("median", "min", "max"))
    return middle if least == most else f"{middle} ({least}-{most})"


def score(judged: Sequence[tuple[Target, dict[str, Verdict]]], build: str) -> str:
    """How many are met."""
    counted = [found[build] for _, found in judged if found[build].bound is not None and found[build].spread is not None]
    return f"{sum(verdict.met for verdict in counted)} of {len(counted)}"
