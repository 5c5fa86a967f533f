"""Memory over minutes of load: anonymous RSS at minute 2 and at the end, and what the gateway counted of its own turns.

The load is wrk at saturation, five seconds on kept connections and five with a connection for each request, by turns.
Proxies are soaked one after another; `--proxies voltgw` is the default. The whole series stands in the JSON result.
"""

from __future__ import annotations

import time
from typing import Final

from compare import Bench, Column, Comparison, Figures, arguments, bench, finish, main, measured
from gateway import Voltgw
from harness import BenchmarkError
from load import wrk
from proxies import Proxy

_SEGMENT_S: Final = 5

#: A maximum since the start; the others are totals.
_LONGEST: Final = "longest_turn_s"
_TURNS: Final = {
    "turns": "voltgw_loop_turns_total", "slow_turns": "voltgw_loop_slow_turns_total",
    _LONGEST: "voltgw_loop_longest_turn_seconds",
}


def soak(running: Bench, proxy: Proxy, marks_min: list[float]) -> tuple[Figures, list[list[float]]]:
    """Load until the last mark; figures, and the series of [minutes, KiB, requests so far]."""
    process = proxy.process
    assert process is not None
    turns_before = _turns(proxy)
    series: list[list[float]] = []
    at_mark: dict[float, float] = {}
    requests = 0
    began = time.monotonic()

    def segments() -> dict[str, float]:
        nonlocal requests
        close = False
        while len(at_mark) < len(marks_min):
            requests += int(wrk(proxy.port, _SEGMENT_S, running.directory, connections=running.options.connections, close=close,
                                nice=running.options.nice)["requests"])
            proxy.take_log_lines()
            close = not close
            minutes, kib = (time.monotonic() - began) / 60, float(process.anonymous_kib())
            series.append([round(minutes, 3), kib, requests])
            for mark in marks_min:
                if minutes >= mark:
                    at_mark.setdefault(mark, kib)
        return {"requests": float(requests), "seconds": time.monotonic() - began}

    figures = measured(proxy, segments)
    first, last = (at_mark[mark] for mark in (min(marks_min), max(marks_min)))
    figures |= {"first_mib": first / 1024, "last_mib": last / 1024, "growth_kib": last - first,
                "rps": figures["requests"] / figures["seconds"]}
    for figure, value in _turns(proxy).items():
        figures[figure] = value - (0 if figure == _LONGEST else turns_before[figure])
    return figures, series


def _turns(proxy: Proxy) -> Figures:
    """What voltgw's /metrics says of the turns of its loop; nothing for other proxies."""
    if not isinstance(proxy, Voltgw):
        return {}
    metrics = proxy.metrics()
    missing = [name for name in _TURNS.values() if name not in metrics]
    if missing:
        raise BenchmarkError(f"voltgw's /metrics has no {', '.join(missing)}")
    return {figure: metrics[name] for figure, name in _TURNS.items()}


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "", seconds=0, rounds=1, proxies="voltgw")
    parser.add_argument("--at", default="2,10", help="minutes at which memory is compared; the last one ends the run")
    options = parser.parse_args()
    marks_min = sorted(float(mark) for mark in options.at.split(","))
    if len(marks_min) < 2:
        raise BenchmarkError("--at needs two times at least")
    options.seconds = marks_min[-1] * 60
    comparison = Comparison(
        name="soak", title=f"Memory under load, minute {marks_min[0]:g} and minute {marks_min[-1]:g}", unit="request", main="",
        columns=(Column("first_mib", f"MiB at {marks_min[0]:g} min", 2), Column("last_mib", f"MiB at {marks_min[-1]:g} min", 2),
                 Column("growth_kib", "growth KiB", 0), Column("requests", "requests", 0), Column("cpu_us", "CPU us/req"),
                 Column("slow_turns", "turns > 20 ms", 0), Column(_LONGEST, "longest turn ms", 1, 1e3)))
    with bench(comparison, options) as running:
        for number, proxy in running.each_round():
            if proxy.process is not None:
                figures, series = soak(running, proxy, marks_min)
                running.record(proxy, number, figures)
                running.rounds[-1]["series"] = series
        finish(running)


if __name__ == "__main__":
    main(run)
