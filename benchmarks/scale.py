"""What many virtual hosts cost: reading, checking, building, memory, requests, and a reload that changes one of them.

Every host has a route object and a cluster of its own, with as many rules and endpoints as the shape says (estate.py), in one
file or in one file per host. The gateway is alone on CPU 0; origin and load generator share CPU 1. Requests come in an open
loop to hosts spread over the estate, in rounds: each first without and then with a reload in between, and to a small gateway
of the same shape. Ratios are taken in each round, and the median of the rounds is shown.
A turn is what the reactor does between two waits for events, a pause is one run of Python's cycle collector (turns.py).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from changes import effects
from estate import LAYOUTS, Estate
from harness import ROOT, BenchmarkError, free_ports, guard, work_directory
from machine import describe, in_words
from origin import Origin
from scale_parts import ASKED, Figures, Gateway, Reload, Steps, Traffic
from scale_table import placed, section, shown_rows, verdicts

#: What is done without traffic after the reloads, seconds.
_IDLE_S: Final = 5.0
#: Times that an endpoint goes and comes, without reload and beside reloads.
_CHANGES: Final = 10
#: Reloads beside the latter.
_RELOADS_MEANWHILE: Final = 3


def measure(estate: Estate, small: Estate, options: argparse.Namespace) -> Figures:
    """All figures of one estate; `small` is the one of the same shape that requests are compared with."""
    estate.write()
    steps = Steps(estate, options.python)
    figures = steps.figures()
    estate.change(1, timeout=5001)
    figures |= {f"again_{name}": value for name, value in steps.again().items() if name.endswith("_s")}
    estate.restore(1, timeout=5001)
    steps.stop()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run([options.python, "-m", "voltgw.cli.main", "check", str(estate.file)], text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    figures["check_command_s"] = time.perf_counter() - began
    figures["check_command_cpu_s"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before.ru_utime
    if done.returncode:
        raise BenchmarkError(f"voltgw check: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    small.write()
    gateway = Gateway(estate, options.python, options.nice)
    try:
        figures["start_s"] = gateway.start_s
        figures["memory_mib"] = gateway.process.anonymous_kib() / 1024
        peer = Gateway(small, options.python, options.nice)
        try:
            figures |= served(gateway, peer, options)
        finally:
            peer.process.stop()
    finally:
        gateway.process.stop()
    return figures


def served(gateway: Gateway, peer: Gateway, options: argparse.Namespace) -> Figures:
    """What a running gateway does: reloads in peace, changed endpoints, and traffic without and with reloads."""
    estate = gateway.estate
    numbers = iter(range(2, estate.hosts))

    def changed(**change: int) -> Reload:
        estate.change(next(numbers), **change)
        return gateway.reload()

    routes = [changed(timeout=5001) for _ in range(options.reloads)]
    clusters = [changed(connect=2001) for _ in range(3)]
    estate.add()
    added = [gateway.reload()]
    memory = gateway.process.anonymous_kib() / 1024
    idle = gateway.idle(_IDLE_S)
    gateway.record(forget=True)
    calm = effects(gateway, estate.hosts // 2, _CHANGES)
    longest = [gateway.record()]
    meanwhile: list[Reload] = []
    hurried = effects(gateway, estate.hosts // 2, _CHANGES, lambda: meanwhile.extend(
        changed(timeout=5001) for _ in range(_RELOADS_MEANWHILE)))
    spans: list[tuple[float, float]] = []
    busy: list[Reload] = []

    def beside() -> None:
        """Reloads, spread over the run."""
        for _ in range(options.reloads_beside):
            time.sleep(options.seconds / (options.reloads_beside + 1))
            began = time.perf_counter()
            busy.append(changed(timeout=5001))
            spans.append((began, began + busy[-1].took))

    for each in (gateway, peer):                    # every endpoint that is asked gets its connections
        Traffic(each, options, seconds=3.0)
    # Pairs, one after the other: what else the machine does meanwhile falls on both halves of a pair alike.
    quiet: list[Traffic] = []
    loud: list[Traffic] = []
    during: list[float] = []
    alone: list[Traffic] = []
    before = gateway.record()
    for _ in range(options.rounds):
        alone.append(Traffic(peer, options))
        gateway.record(forget=True)
        quiet.append(Traffic(gateway, options))
        longest.append(gateway.record())
        spans.clear()
        loud.append(Traffic(gateway, options, beside))
        during.append(loud[-1].during(spans))
    ratios = [after.p99_s() / before.p99_s() for before, after in zip(quiet, loud, strict=True)]
    every = routes + clusters + added + meanwhile + busy
    longest += [one.longest for one in every]
    return {
        "reload_s": statistics.median(one.took for one in routes + busy),
        "reload_max_s": max(one.took for one in routes + busy),
        "reload_cpu_s": statistics.median(one.cpu for one in routes),
        "reload_cluster_s": statistics.median(one.took for one in clusters), "reload_added_s": added[0].took,
        "reload_busy_s": max((one.took for one in busy), default=0.0),
        "turn_ms": max(one.turn for one in longest) * 1e3, "turn_cpu_ms": max(one.work for one in longest) * 1e3,
        "turn_median_ms": statistics.median(one.longest.turn for one in every) * 1e3,
        "pause_ms": max(one.pause for one in longest) * 1e3, "pause_cpu_ms": max(one.pause_work for one in longest) * 1e3,
        "full_collections": gateway.record().full - before.full,
        "effect_ms": max(calm) * 1e3, "effect_reload_ms": max(hurried) * 1e3,
        "effect_median_ms": statistics.median(calm) * 1e3,
        "idle_percent": idle * 100, "memory_reloads_mib": memory,
        "memory_after_mib": gateway.process.anonymous_kib() / 1024,
        "request_us": statistics.median(one.cpu_us for one in quiet),
        "small_us": statistics.median(one.cpu_us for one in alone),
        "request_ratio": statistics.median(one.cpu_us / other.cpu_us for one, other in zip(quiet, alone, strict=True)),
        "p99_ms": statistics.median(one.p99_s() for one in quiet) * 1e3,
        "p99_small_ms": statistics.median(one.p99_s() for one in alone) * 1e3,
        "p99_reload_ms": statistics.median(one.p99_s() for one in loud) * 1e3, "p99_ratio": statistics.median(ratios),
        "p99_ratio_least": min(ratios), "p99_ratio_most": max(ratios), "p99_during_ms": statistics.median(during) * 1e3,
        "max_ms": max(one.measured[-1] for one in quiet) * 1e3, "max_reload_ms": max(one.measured[-1] for one in loud) * 1e3,
    }


def main() -> int:
    """The command; status 1 when a target is missed at the largest size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", default="1000,3000,10000", help="sizes")
    parser.add_argument("--shapes", default="3x1,5x10", help="rules in each route object x endpoints in each cluster")
    parser.add_argument("--layouts", default="one", help="one = all in one file, many = a file per host; " + ",".join(LAYOUTS))
    parser.add_argument("--seconds", type=float, default=10, help="of traffic, without and then with reloads")
    parser.add_argument("--rounds", type=int, default=3, help="of traffic, each without and then with reloads")
    parser.add_argument("--rate", type=float, default=1500, help="requests a second")
    parser.add_argument("--reloads", type=int, default=20, help="without traffic")
    parser.add_argument("--reloads-beside", type=int, default=1, help="while there is traffic")
    parser.add_argument("--python", default=sys.executable, help="that runs voltgw")
    parser.add_argument("--nice", type=int, default=0, help="autogroup priority of all processes; needs root below 0")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--into", type=Path, help="the file between whose markers the table goes")
    parser.add_argument("--from-json", type=Path, help="measure nothing: show what was written with --json")
    parser.add_argument("--keep", action="store_true", help="keep configurations and logs")
    options = parser.parse_args()
    if options.from_json is not None:
        result = json.loads(options.from_json.read_text())
        return shown(result["machine"], result["rows"], result["command"], options.into)
    guard()
    if options.nice:
        with contextlib.suppress(OSError):          # of this session, in which the steps and the command run
            Path("/proc/self/autogroup").write_text(str(options.nice))
    rows: list[dict[str, Any]] = []
    for layout in options.layouts.split(","):
        for shape in options.shapes.split(","):
            for hosts in map(int, options.hosts.split(",")):
                rows.append({"hosts": hosts, "layout": layout, "shape": shape,
                             "figures": row(hosts, layout, shape, options)})
                print(f"measured: {hosts} hosts, {shape}, {layout}", file=sys.stderr, flush=True)
    machine = describe(options.python, options.nice)
    command = "benchmarks/scale.py " + " ".join(
        f"--{name} {getattr(options, name)}"
        for name in ("hosts", "shapes", "layouts", "seconds", "rate", "rounds", "reloads", "nice"))
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine, "command": command, "rows": rows}, indent=1))
    return shown(machine, rows, command, options.into)


def row(hosts: int, layout: str, shape: str, options: argparse.Namespace) -> Figures:
    """The figures of one estate. Raises BenchmarkError for a shape that is none."""
    try:
        routes, endpoints = map(int, shape.split("x"))
    except ValueError as error:
        raise BenchmarkError(f"{shape!r} is no shape such as 5x10") from error
    with work_directory(options.keep) as directory:
        origin = Origin(directory, everywhere=True, nice=options.nice)
        estate, small = (
            Estate(directory / name, count, kind, port=port, origin=origin.everywhere_port, routes=routes, endpoints=endpoints)
            for name, count, kind, port in zip(
                ("estate", "small"), (hosts, ASKED), (layout, "one"), free_ports(2), strict=True))
        return measure(estate, small, options)


def shown(machine: dict[str, Any], rows: list[dict[str, Any]], command: str, into: Path | None) -> int:
    """Print the tables and the verdicts, or write them `into` a file, too; 1 when a target is missed at the largest size."""
    if into is not None:
        into.write_text(placed(into.read_text(), section(in_words(machine), rows, command)))
    print(f"{in_words(machine)}\n\n{shown_rows(rows)}\n")
    found = verdicts(rows)
    for what, lines in found.items():
        print(f"{what}: " + "; ".join(lines))
    return 1 if any(line.startswith("MISSED") for lines in found.values() for line in lines) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(f"FAILED: {error}")
