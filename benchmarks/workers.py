"""Two workers against one: requests in a second, CPU for each request, and how evenly connections are spread.

The load is wrk on kept connections (and, for balance, a connection for each request), the origin is nginx. All of it shares the
machine's cores with the workers, so what two workers can bring is bounded by what the others leave (``cores_used`` says how
much that was): the figure that does not depend on it is CPU per request over all processes of the gateway.
``ratio_with_a_core_each`` is what follows for workers that have a core each. ``--share 40`` gives each worker (or the one
process) no more than 40 % of a core (cgroups, as root), so that the others have enough and workers are what is short: then
``ratio`` says what a second worker brings.

    python benchmarks/workers.py --seconds 5
    python benchmarks/workers.py --seconds 5 --share 40
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
_TWISTD = "from twisted.scripts.twistd import run; run()"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_READY_S = 20.0
#: Short, so that a bounded process pauses often and not for long.
_PERIOD_US = 5000


def free_port() -> int:
    """One that nobody has, below those that the kernel gives out."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


class Quota:
    """Control groups of our own in which a process gets no more than a share of a core."""

    def __init__(self, percent: int) -> None:
        self.percent = percent
        self.made: list[Path] = []

    def bound(self, pid: int) -> None:
        """Bound one process from now on."""
        first = Path("/sys/fs/cgroup/cpu")
        group = (first if first.is_dir() else Path("/sys/fs/cgroup")) / f"voltgw-bench-{pid}"
        group.mkdir()
        self.made.append(group)
        if first.is_dir():
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(_PERIOD_US * self.percent // 100))
        else:
            (group / "cpu.max").write_text(f"{_PERIOD_US * self.percent // 100} {_PERIOD_US}")
        (group / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """Their processes have ended."""
        for group in self.made:
            group.rmdir()
        self.made.clear()


class Run:
    """An origin and a gateway of so many workers (0: one process)."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        self.workers = workers
        self.port, self.admin, origin = free_port(), free_port(), free_port()
        (folder / "nginx.conf").write_text(
            f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr;\n"
            "events { worker_connections 1024; }\n"
            "http { access_log off; keepalive_requests 1000000;\n"
            f"server {{ listen 127.0.0.1:{origin}; location / {{ return 200 \"{'x' * 128}\"; }} }} }}\n", encoding="utf-8")
        (folder / "voltgw.yaml").write_text(
            f"gateway: {{workers: {workers}, admin: {{port: {self.admin}}}, max_connections_per_source: 10000}}\n"
            f"load_balancers:\n- {{name: shop, listen: \"127.0.0.1:{self.port}\", origins: [\"127.0.0.1:{origin}\"]}}\n",
            encoding="utf-8")
        self.origin = subprocess.Popen([shutil.which("nginx") or "nginx", "-e", "stderr", "-p", str(folder), "-c",
                                        str(folder / "nginx.conf")], stderr=subprocess.DEVNULL)
        with (folder / "log").open("wb") as log:
            self.gateway = subprocess.Popen(
                [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "voltgw", "--config", "voltgw.yaml"], cwd=folder,
                stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(HERE.parent)})
        self._wait()

    def ask(self, path: str) -> Any:
        """The admin interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as answer:
            return json.load(answer)

    def _wait(self) -> None:
        end = time.monotonic() + _READY_S
        while time.monotonic() < end:
            try:
                if self.ask("/ready")["ready"]:
                    time.sleep(1.5)         # the process that waits for a death has been loaded by then
                    return
            except OSError:
                pass                        # not there yet
            time.sleep(0.05)
        raise SystemExit("the gateway did not become ready:\n" + (self.folder / "log").read_text())

    def processes(self) -> list[int]:
        """Those of the gateway that serve, the control process first."""
        return [self.gateway.pid, *(each["pid"] for each in self.ask("/workers")["workers"])]

    def load(self, seconds: int, connections: int, close: bool) -> dict[str, Any]:
        """Requests for so long, and what they cost."""
        pids = self.processes()
        accepted = [each["connections_accepted"] for each in self.ask("/workers")["workers"]]
        before = [cpu_s(pid) for pid in pids]
        command = [os.environ.get("WRK", "wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s"]
        done = subprocess.run([*command, *(["-H", "Connection: close"] if close else []), f"http://127.0.0.1:{self.port}/"],
                              capture_output=True, text=True, check=True)
        used = [cpu_s(pid) - each for pid, each in zip(pids, before, strict=True)]
        time.sleep(1.2)                     # counts come once a second
        found = re.search(r"(\d+) requests in ([\d.]+)s", done.stdout)
        if found is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout and not close:
            raise SystemExit(f"wrk met errors:\n{done.stdout}")
        requests = int(found[1])
        now = [each["connections_accepted"] for each in self.ask("/workers")["workers"]]
        spread = [each - was for each, was in zip(now, accepted, strict=True)]
        return {"requests_per_s": round(requests / float(found[2])), "cpu_us_per_request": round(sum(used) / requests * 1e6, 1),
                "cores_used": round(sum(used) / float(found[2]), 2), "connections_by_worker": spread,
                "uneven_percent": round((max(spread) / (sum(spread) / len(spread)) - 1) * 100, 1) if spread else 0.0}

    def stop(self) -> None:
        """End both."""
        for process in (self.gateway, self.origin):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--share", type=int, default=0, help="percent of a core that each worker gets; 0 = all that there is")
    options = parser.parse_args()
    report: dict[str, Any] = {"cores": len(os.sched_getaffinity(0))}
    for workers in (0, 1, 2):
        with tempfile.TemporaryDirectory() as folder:
            running = Run(Path(folder), workers)
            quota = Quota(options.share)
            try:
                for pid in running.processes()[1 if workers else 0:] if options.share else ():
                    quota.bound(pid)
                name = f"{workers} workers" if workers else "one process"
                report[name] = {"kept": running.load(options.seconds, options.connections, False),
                                "new": running.load(options.seconds, options.connections, True)}
            finally:
                running.stop()
                time.sleep(0.2)             # a group can go once the kernel has counted its last process out
                quota.remove()
    one, two = report["1 workers"]["kept"], report["2 workers"]["kept"]
    report["ratio"] = round(two["requests_per_s"] / one["requests_per_s"], 2)
    report["ratio_with_a_core_each"] = round(2 * one["cpu_us_per_request"] / two["cpu_us_per_request"], 2)
    report["cpu_ratio"] = round(two["cpu_us_per_request"] / one["cpu_us_per_request"], 3)
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
