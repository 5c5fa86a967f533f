"""Where the work of a request goes: Python calls, lines that take the time, and system calls.

``calls``     counts every Python and C call of voltgw under load (sys.setprofile), divided by the requests;
``samples``   looks at the stack of voltgw every millisecond: which functions and lines the time goes to, waiting included;
``syscalls``  counts system calls of any proxy under load with ``strace -c``, divided by the requests.

Counting slows a proxy, so more requests wait whenever it looks, and work for one wake-up is shared by more of them than in
life: compare ``--connections 1`` (nothing shared) with the default.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compare import PROXIES, Bench, Comparison, arguments, bench, main
from counted import COUNT, SAMPLE, STOP
from gateway import Voltgw
from harness import HERE, ROOT, SETTLE_S, BenchmarkError, Proc
from load import client, wrk
from proxies import Proxy


def _counted(options: argparse.Namespace) -> Comparison:
    return Comparison(name="profile", title="profile", unit="request", main="", columns=(), mode=options.mode,
                      tls=options.tls and options.mode == "http")


def requests_of(running: Bench, proxy: Proxy, around: Callable[[Callable[[], float]], Any]) -> Any:
    """Warm the proxy, then call `around` with a function that makes load and returns the number of requests."""
    options = running.options

    def load(seconds: float = options.seconds) -> float:
        if options.tls and not options.close:       # full handshakes with one request each
            return float(client("tls_client.py", ["handshake", str(proxy.port), str(seconds), str(options.connections)],
                                seconds, running.directory)["requests"])
        return float(wrk(proxy.port, seconds, running.directory, connections=options.connections,
                         close=options.close, tls=options.tls or options.mode == "sni")["requests"])

    load(1)
    return around(load)


def inside(running: Bench, start: int) -> tuple[float, dict[str, Any]]:
    """Turn the recorder in voltgw on for the time of the load; requests and what it recorded."""
    (proxy,) = running.proxies
    process = proxy.process
    assert process is not None
    result = proxy.directory / "counted.json"

    def record(load: Callable[[], float]) -> float:
        os.kill(process.pid, start)
        time.sleep(0.1)
        count = load()
        time.sleep(SETTLE_S)
        os.kill(process.pid, STOP)
        return count

    count = requests_of(running, proxy, record)
    give_up = time.monotonic() + 10
    while not result.exists():
        process.check()
        if time.monotonic() > give_up:
            raise BenchmarkError("voltgw wrote no counts")
        time.sleep(0.05)
    recorded: dict[str, Any] = json.loads(result.read_text())
    return count, recorded


def show_calls(running: Bench) -> None:
    """Calls for each request, by owner and by function."""
    count, recorded = inside(running, COUNT)
    python: Mapping[str, int] = recorded["python"]
    c: Mapping[str, int] = recorded["c"]
    owners: dict[str, int] = {}
    for name, calls in python.items():
        owners[_owner(name)] = owners.get(_owner(name), 0) + calls
    print(f"{count:.0f} requests; calls for each:")
    for owner, calls in sorted(owners.items(), key=_by_count):
        print(f"  {calls / count:8.2f}  Python, {owner}")
    print(f"  {sum(c.values()) / count:8.2f}  C")
    for title, table in (("Python", python), ("C", c)):
        print(f"\n{title} calls a request:")
        for name, calls in sorted(table.items(), key=_by_count)[:running.options.top]:
            print(f"  {calls / count:8.3f}  {_short(name)}")


def show_samples(running: Bench) -> None:
    """Share of the time by function (with what it calls) and by line."""
    count, recorded = inside(running, SAMPLE)
    total = recorded["samples"]
    if total < 100:
        raise BenchmarkError(f"only {total} samples")
    print(f"{count:.0f} requests, {total} samples")
    for title, key in (("function, with what it calls", "within"), ("line, with the C code that it calls", "lines")):
        print(f"\n% of the time by {title}:")
        for name, samples in sorted(recorded[key].items(), key=_by_count)[:running.options.top]:
            print(f"  {samples / total * 100:6.2f}  {_short(name)}")


def show_syscalls(running: Bench) -> None:
    """System calls for each request, by proxy."""
    strace = shutil.which("strace")
    if strace is None:
        raise BenchmarkError("strace is needed (apt-get install strace)")
    tables: dict[str, dict[str, float]] = {}
    for proxy in running.proxies:
        process = proxy.process
        if process is None:
            continue
        report = running.directory / f"{proxy.name}.strace"

        def record(load: Callable[[], float], process: Proc = process, report: Path = report) -> float:
            pids = [argument for pid in process.pids() for argument in ("-p", str(pid))]
            tracer = subprocess.Popen([strace, "-c", "-f", "-qq", "-o", str(report), *pids], start_new_session=True,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                _wait_until_traced(process, tracer)
                return load()
            finally:
                tracer.send_signal(signal.SIGINT)
                tracer.wait(10)

        count = requests_of(running, proxy, record)
        table = {name: calls / count for name, calls in parse_strace(report.read_text()).items()}
        if not table:
            raise BenchmarkError(f"strace saw nothing of {proxy.name}")
        tables[proxy.name] = table
    names = sorted({name for table in tables.values() for name in table},
                   key=lambda name: -max(table.get(name, 0) for table in tables.values()))
    print("system calls for each request".ljust(32) + "".join(name.rjust(10) for name in tables))
    for name in names[:running.options.top]:
        if any(table.get(name, 0) >= 0.005 for table in tables.values()):
            print(name.ljust(32) + "".join(f"{table[name]:10.2f}" if name in table else " " * 10 for table in tables.values()))
    print("all".ljust(32) + "".join(f"{sum(table.values()):10.2f}" for table in tables.values()))


def parse_strace(text: str) -> dict[str, int]:
    """Calls by name from the table that ``strace -c`` prints."""
    calls = {}
    for line in text.splitlines():
        match = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$", line)
        if match and match[2] != "total":
            calls[match[2]] = int(match[1])
    return calls


def _wait_until_traced(process: Proc, tracer: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 5
    while True:
        traced = [f"TracerPid:\t{tracer.pid}\n" in Path(f"/proc/{pid}/status").read_text() for pid in process.pids()]
        if all(traced):
            return
        if tracer.poll() is not None or time.monotonic() > give_up:
            raise BenchmarkError("strace could not attach (is another tracer at work, or ptrace forbidden?)")
        time.sleep(0.02)


def _by_count(item: tuple[str, int]) -> int:
    return -item[1]


def _owner(name: str) -> str:
    path = name.split(":")[0]
    if path.startswith(str(ROOT / "voltgw")):
        return "voltgw." + path[len(str(ROOT / "voltgw")) + 1:].removesuffix(".py").replace("/", ".")
    for package in ("twisted", "zope", "prometheus_client"):
        if f"/{package}/" in path:
            return package
    return "the rest"


def _short(name: str) -> str:
    for prefix in (str(ROOT) + "/", sys.prefix + "/", sys.base_prefix + "/"):
        name = name.removeprefix(prefix)
    return name


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "", seconds=2, rounds=1, proxies="voltgw")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=("calls", "samples", "syscalls"))
    parser.add_argument("--close", action="store_true", help="a new connection for every request")
    parser.add_argument("--tls", action="store_true", help="a full TLS handshake for every request; with --close a resumed one")
    parser.add_argument("--mode", choices=("http", "tcp", "sni"), default="http", help="what is relayed; sni: with --close")
    parser.add_argument("--top", type=int, default=40, help="lines of each table")
    options = parser.parse_args()
    if options.what == "syscalls":
        with bench(_counted(options), options) as running:
            show_syscalls(running)
        return

    class Recorded(Voltgw):
        """voltgw with the recorder inside."""

        def command(self) -> list[str]:
            """Through `counted.py`."""
            self.launcher = (str(HERE / "counted.py"), str(self.directory / "counted.json"))
            return super().command()

    options.proxies = "voltgw"
    PROXIES["voltgw"] = Recorded
    with bench(_counted(options), options) as running:
        (show_calls if options.what == "calls" else show_samples)(running)


if __name__ == "__main__":
    main(run)
