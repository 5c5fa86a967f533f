"""What many virtual hosts cost: reading, checking, building, memory, and a reload that changes one of them under traffic.

Every host has four objects and a cluster of its own (estate.py), in one file or in one file per host. The gateway is alone on
CPU 0; origin and load generator share CPU 1. Requests come in an open loop, in rounds: each first without and then with a
reload in between; the ratio of the two is taken in each round, and the median of the rounds is shown. p99 is that of all
requests of such a run, in milliseconds.
A turn is what the reactor does between two waits for events (turns.py).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from estate import LAYOUTS, Estate
from harness import HERE, LOAD_CPU, PROXY_CPU, ROOT, BenchmarkError, Proc, free_ports, guard, tail, work_directory
from machine import describe, in_words
from openloop import quantile
from origin import SMALL, Origin
from turns import FIELDS

Figures = dict[str, float]

#: What the documentation says of the table.
_WORDS: Final = """\
Each virtual host has a route, a cluster and an endpoint of its own (``benchmarks/estate.py``), all in one file or in a file
for each host. *load*, *check* and *build* are steps of one process, *voltgw check* is the whole command. *reload* and *max*
are the median and the longest of the reloads after one changed route, *cluster* of those after one changed cluster, *added*
is one with a host more; *turn* is the longest turn of the reactor in all of these. The *CPU* columns behind say how much of
it was work: the rest was waiting for a processor that this machine shares with other programs. The p99 is that of requests in
an open loop, in rounds: each first without and then with a reload in between. The ratio of the two is taken in each round;
shown is the median."""

#: Between these lines of a file its section stands.
BEGIN: Final = ".. scale: begin"
END: Final = ".. scale: end"
LAYOUTS_IN_WORDS: Final = {"one": "all in one file", "many": "a file for each"}

#: What shall be true of ten thousand hosts: figure, limit, what it is.
TARGETS: Final = (
    ("check_command_s", 10.0, "voltgw check, s"), ("build_s", 5.0, "build, s"),
    ("reload_max_s", 0.5, "one changed host reloads, s"), ("turn_ms", 20.0, "longest turn of a reload, ms"),
    ("p99_ratio", 1.2, "p99 with reloads to p99 without"),
)
#: Heading, figure, decimals.
COLUMNS: Final = (
    ("load s", "load_s", 2), ("check s", "check_s", 2), ("build s", "build_s", 2),
    ("voltgw check s", "check_command_s", 2), ("start s", "start_s", 1), ("MiB", "memory_mib", 0),
    ("reload s", "reload_s", 3), ("max", "reload_max_s", 3), ("CPU s", "reload_cpu_s", 2),
    ("cluster s", "reload_cluster_s", 3), ("added s", "reload_added_s", 3), ("turn ms", "turn_ms", 1),
    ("CPU ms", "turn_cpu_ms", 1), ("p99 ms", "p99_ms", 2), ("with reloads", "p99_reload_ms", 2),
    ("ratio", "p99_ratio", 2), ("in a reload", "p99_during_ms", 2),
)


class Reload(NamedTuple):
    """What one cost, in seconds: until its answer, the longest turn, the turn with most CPU time, and CPU time of the process.

    On a machine that has other work the first two count waiting for the processor, too. CPU time includes that of traffic.
    """

    took: float
    turn: float
    turn_cpu: float
    cpu: float


class Gateway:
    """The gateway of an estate, on its own CPU."""

    def __init__(self, estate: Estate, python: str, nice: int) -> None:
        self.estate = estate
        self.turns = estate.directory / "turns"
        self.turns.write_bytes(bytes(FIELDS.size))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= {"PYTHONPATH": str(ROOT), "VOLTGW_TURNS": str(self.turns)}
        began = time.perf_counter()
        self.process = Proc(
            "voltgw", [python, str(HERE / "turns.py"), "-n", "--pidfile=", "voltgw", "--config", str(estate.file)], PROXY_CPU,
            estate.directory / "gateway.log", environment=environment, directory=estate.directory,
            nice=nice)
        give_up = began + 120
        while self._ready() != 200:
            self.process.check()
            if time.perf_counter() > give_up:
                raise BenchmarkError(f"the gateway is not ready after two minutes:\n{tail(self.process.log)}")
            time.sleep(0.05)
        self.start_s = time.perf_counter() - began

    def ask(self, method: str, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer of the admin interface."""
        connection = http.client.HTTPConnection("localhost", timeout=120)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(120)
        connection.sock.connect(str(self.estate.admin))
        connection.request(method, path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, json.loads(body)

    def _ready(self) -> int:
        try:
            return self.ask("GET", "/ready")[0]
        except OSError:
            return 0

    def reload(self) -> Reload:
        """Make one, and see what it costs."""
        with self.turns.open("r+b") as file:
            file.write(bytes(16))                   # forget the longest turns
        began, before = time.perf_counter(), self.process.cpu()
        status, answer = self.ask("POST", "/reload")
        took = time.perf_counter() - began
        if status != 200 or not answer["ok"]:
            raise BenchmarkError(f"the reload was refused: {answer}")
        time.sleep(0.1)                             # what comes after the answer is part of it
        turn, worked = FIELDS.unpack(self.turns.read_bytes())[:2]
        return Reload(took, turn, worked, (self.process.cpu() - before).total_s)


class Traffic:
    """One run of openloop.py, and the latency of every request."""

    def __init__(self, gateway: Gateway, options: argparse.Namespace, meanwhile: Callable[[], None] | None = None) -> None:
        directory = gateway.estate.directory
        raw, log = directory / "latencies", directory / "load.log"
        process = Proc("load", [sys.executable, str(HERE / "openloop.py"), str(gateway.estate.port), str(options.rate),
                                str(options.seconds), "0.5", "64", str(len(SMALL)), "constant", str(raw)],
                       LOAD_CPU, log, stdout=directory / "load.out", nice=options.nice)
        thread = threading.Thread(target=meanwhile) if meanwhile is not None else None
        if thread is not None:
            thread.start()
        status = process.wait(options.seconds + 60)
        if thread is not None:
            thread.join()
        process.stop()
        if status:
            raise BenchmarkError(f"the load generator ended with status {status}:\n{tail(log)}")
        data = raw.read_bytes()
        self.began, skip, count = struct.unpack_from("dqq", data)
        self.due, self.latency = array("d"), array("d")
        self.due.frombytes(data[24:24 + 8 * count])
        self.latency.frombytes(data[24 + 8 * count:])
        self.measured = sorted(self.latency[skip:])

    def p99_s(self) -> float:
        """Of the whole run without its beginning."""
        return quantile(self.measured, 0.99)

    def during(self, spans: list[tuple[float, float]]) -> float:
        """The p99 of the requests that were due in these spans of `time.perf_counter`."""
        found = sorted(latency for due, latency in zip(self.due, self.latency, strict=True)
                       if any(start <= self.began + due <= end for start, end in spans))
        return quantile(found, 0.99) if found else 0.0


class Steps:
    """scale_steps.py, running."""

    def __init__(self, estate: Estate, python: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen([python, str(HERE / "scale_steps.py"), str(estate.file)], env=environment, text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def figures(self) -> Figures:
        """Those of the round that is under way."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(f"scale_steps.py ended with status {self._process.wait()}")
        found: Figures = json.loads(line)
        return found

    def again(self) -> Figures:
        """Those of one more round."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.figures()

    def stop(self) -> None:
        """End it."""
        self._process.communicate("")


def measure(estate: Estate, options: argparse.Namespace) -> Figures:
    """All figures of one estate."""
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
    gateway = Gateway(estate, options.python, options.nice)
    try:
        figures["start_s"] = gateway.start_s
        figures["memory_mib"] = gateway.process.anonymous_kib() / 1024
        figures |= reloads(gateway, estate, options)
        figures["memory_after_mib"] = gateway.process.anonymous_kib() / 1024
    finally:
        gateway.process.stop()
    return figures


def reloads(gateway: Gateway, estate: Estate, options: argparse.Namespace) -> Figures:
    """A changed route, cluster, an added host, first in peace, and then changed routes beside traffic."""
    numbers = iter(range(2, estate.hosts))

    def changed(**change: int) -> Reload:
        estate.change(next(numbers), **change)
        return gateway.reload()

    routes = [changed(timeout=5001) for _ in range(options.reloads)]
    clusters = [changed(connect=2001) for _ in range(3)]
    estate.add()
    added = [gateway.reload()]
    spans: list[tuple[float, float]] = []
    busy: list[Reload] = []

    def beside() -> None:
        """Reloads, spread over the run."""
        for _ in range(options.reloads_beside):
            time.sleep(options.seconds / (options.reloads_beside + 1))
            began = time.perf_counter()
            busy.append(changed(timeout=5001))
            spans.append((began, began + busy[-1].took))

    # Pairs, one after the other: what else the machine does meanwhile falls on both halves of a pair alike.
    quiet: list[Traffic] = []
    loud: list[Traffic] = []
    during: list[float] = []
    for _ in range(options.rounds):
        quiet.append(Traffic(gateway, options))
        spans.clear()
        loud.append(Traffic(gateway, options, beside))
        during.append(loud[-1].during(spans))
    ratios = [after.p99_s() / before.p99_s() for before, after in zip(quiet, loud, strict=True)]
    every = routes + clusters + added + busy
    return {
        "reload_s": statistics.median(one.took for one in routes + busy),
        "reload_max_s": max(one.took for one in routes + busy),
        "reload_cpu_s": statistics.median(one.cpu for one in routes),
        "reload_cluster_s": statistics.median(one.took for one in clusters), "reload_added_s": added[0].took,
        "reload_busy_s": max((one.took for one in busy), default=0.0),
        "turn_ms": max(one.turn for one in every) * 1e3, "turn_cpu_ms": max(one.turn_cpu for one in every) * 1e3,
        "turn_median_ms": statistics.median(one.turn for one in every) * 1e3,
        "p99_ms": statistics.median(one.p99_s() for one in quiet) * 1e3,
        "p99_reload_ms": statistics.median(one.p99_s() for one in loud) * 1e3, "p99_ratio": statistics.median(ratios),
        "p99_ratio_least": min(ratios), "p99_ratio_most": max(ratios), "p99_during_ms": statistics.median(during) * 1e3,
        "max_ms": max(one.measured[-1] for one in quiet) * 1e3, "max_reload_ms": max(one.measured[-1] for one in loud) * 1e3,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """One line for each estate."""
    lines = [" ".join((f"{'hosts':>6} {'files':>5}", *(f"{heading:>{max(len(heading), 6)}}" for heading, _, _ in COLUMNS)))]
    for row in rows:
        lines.append(" ".join((f"{row['hosts']:>6} {row['layout']:>5}", *(
            f"{row['figures'][name]:>{max(len(heading), 6)}.{decimals}f}" for heading, name, decimals in COLUMNS))))
    return "\n".join(lines)


def verdicts(row: dict[str, Any]) -> list[str]:
    """Which targets are met."""
    return [f"{'met' if row['figures'][name] <= limit else 'MISSED'}: {what}: {row['figures'][name]:.3g}, at most {limit:g}"
            for name, limit, what in TARGETS]


def page(machine: str, rows: list[dict[str, Any]], command: str) -> str:
    """The section of the documentation: what was measured, by which command, and which targets were met."""
    paragraphs = [
        "Many virtual hosts\n==================",
        _WORDS,
        f"Made by ``{command} --into docs/performance.rst``. {machine}",
        ".. code-block:: text\n\n" + "\n".join(f"   {line}".rstrip() for line in table(rows).split("\n")),
    ]
    for row in rows:
        if row["hosts"] == rows[-1]["hosts"]:
            paragraphs += [f"{row['hosts']:,} hosts, {LAYOUTS_IN_WORDS[row['layout']]}:",
                           "\n".join(f"* {line}" for line in verdicts(row))]
    return "\n\n".join(paragraphs) + "\n"


def placed(text: str, section: str) -> str:
    """`text` with `section` between the markers; raises ValueError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the file must have the line {BEGIN!r}, and {END!r} after it")
    return f"{before}{BEGIN}\n\n{section}\n{END}{after}"


def main() -> int:
    """The command; status 1 when a target is missed at the largest size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", default="1000,10000", help="sizes")
    parser.add_argument("--layouts", default=",".join(LAYOUTS), help="one = all in one file, many = a file per host")
    parser.add_argument("--seconds", type=float, default=10, help="of traffic, without and then with reloads")
    parser.add_argument("--rounds", type=int, default=3, help="of traffic, each without and then with reloads")
    parser.add_argument("--rate", type=float, default=1500, help="requests a second")
    parser.add_argument("--reloads", type=int, default=5, help="without traffic")
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
    for hosts in map(int, options.hosts.split(",")):
        for layout in options.layouts.split(","):
            with work_directory(options.keep) as directory:
                origin = Origin(directory, everywhere=True, nice=options.nice)
                [port] = free_ports(1)
                estate = Estate(directory / "estate", hosts, layout, port=port, origin=origin.everywhere_port)
                rows.append({"hosts": hosts, "layout": layout, "figures": measure(estate, options)})
                print(f"measured: {hosts} hosts, {layout}", file=sys.stderr, flush=True)
    machine = describe(options.python, options.nice)
    command = "benchmarks/scale.py " + " ".join(
        f"--{name} {getattr(options, name)}" for name in ("hosts", "layouts", "seconds", "rate", "rounds", "nice"))
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine, "command": command, "rows": rows}, indent=1))
    return shown(machine, rows, command, options.into)


def shown(machine: dict[str, Any], rows: list[dict[str, Any]], command: str, into: Path | None) -> int:
    """Print the table and the verdicts, or write them `into` a file; 1 when a target is missed at the largest size."""
    if into is not None:
        into.write_text(placed(into.read_text(), page(in_words(machine), rows, command)))
    print(f"{in_words(machine)}\n\n{table(rows)}\n")
    missed = False
    for row in rows:
        if row["hosts"] == rows[-1]["hosts"]:
            found = verdicts(row)
            missed = missed or any(line.startswith("MISSED") for line in found)
            print(f"{row['hosts']} hosts, {row['layout']}: " + "; ".join(found))
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(f"FAILED: {error}")
