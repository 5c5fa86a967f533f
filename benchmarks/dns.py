"""Answers of a zone with ten thousand names, beside Knot, BIND and dnsmasq: CPU microseconds for each query.

The client is dnsperf, with an EDNS cookie, names spread over the whole zone, and their letters in random case (0x20), so that
nobody can answer from a cache of raw messages. One query in ten is for a name that is not there. Limits of responses are off.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from harness import LOAD_CPU, PROXY_CPU, ROOT, BenchmarkError, Proc, free_ports, guard, work_directory

_TWISTD: Final = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
_ZONE: Final = "apps.example"
_NAMES: Final = 10_000
#: Queries before they repeat.
_QUERIES: Final = 100_000


def voltgw(folder: Path, port: int) -> Proc:
    """Ours: a virtual host for each name."""
    hosts = "".join(
        f"- kind: virtual_host\n  metadata: {{name: h{number}}}\n  spec: {{domains: [h{number}.{_ZONE}], advertise_policies: "
        "[p], routes: [r]}\n" for number in range(_NAMES))
    config = folder / "voltgw.yaml"
    config.write_text(f"""\
gateway: {{admin: {{port: 0}}, dns: [{{address: 127.0.0.1, port: {port}, responses_per_second: 0}}]}}
objects:
- kind: discovery
  metadata: {{name: names, namespace: system}}
  spec:
    where: {{}}
    voltgw: {{dns_delegation: {{zone: {_ZONE}, name_servers: [{{name: ns1.{_ZONE}, addresses: [127.0.0.1]}}]}}}}
- kind: advertise_policy
  metadata: {{name: p}}
  spec: {{address: 127.0.0.1, port: {free_ports(1)[0]}}}
- kind: route
  metadata: {{name: r}}
  spec: {{routes: [{{route_direct_response: {{response_code: 200}}}}]}}
{hosts}""", encoding="utf-8")
    return Proc("voltgw", [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "voltgw", "--config", str(config)], PROXY_CPU,
                folder / "voltgw.out", environment={**os.environ, "PYTHONPATH": str(ROOT)})


def _zone_file(folder: Path) -> Path:
    file = folder / "zone"
    file.write_text(f"$ORIGIN {_ZONE}.\n$TTL 30\n@ SOA ns1 hostmaster 1 3600 600 604800 30\n@ NS ns1\nns1 A 127.0.0.1\n"
                    + "".join(f"h{number} A 127.0.0.1\n" for number in range(_NAMES)), encoding="utf-8")
    return file


def knot(folder: Path, port: int) -> Proc:
    """Knot with one worker of each kind; without its module for cookies, which would ask every client to come again."""
    config = folder / "knot.conf"
    config.write_text(f"""\
server:
  rundir: "{folder}"
  listen: 127.0.0.1@{port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: "{folder}"
template:
  - id: default
    storage: "{folder}"
zone:
  - domain: {_ZONE}
    file: "{_zone_file(folder)}"
""", encoding="utf-8")
    return Proc("knot", ["/usr/sbin/knotd", "-c", str(config)], PROXY_CPU, folder / "knot.out")


def bind(folder: Path, port: int) -> Proc:
    """BIND with one thread; it has cookies by default."""
    config = folder / "named.conf"
    config.write_text(f"""\
options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none;
  session-keyfile none; recursion no; minimal-responses yes; dnssec-validation no; }};
controls {{}};
zone "{_ZONE}" {{ type primary; file "{_zone_file(folder)}"; }};
""", encoding="utf-8")
    return Proc("bind", ["/usr/sbin/named", "-g", "-n", "1", "-c", str(config)], PROXY_CPU, folder / "named.out")


def dnsmasq(folder: Path, port: int) -> Proc:
    """dnsmasq has no cookies: it answers without one."""
    hosts = folder / "hosts"
    hosts.write_text("".join(f"127.0.0.1 h{number}.{_ZONE}\n" for number in range(_NAMES)), encoding="utf-8")
    command = [
        "/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", f"--port={port}", "--listen-address=127.0.0.1",
        "--bind-interfaces", "--no-resolv", "--no-hosts", f"--addn-hosts={hosts}", f"--local=/{_ZONE}/", "--local-ttl=30",
        "--pid-file=", f"--user={os.environ.get('USER', 'root')}"]
    return Proc("dnsmasq", command, PROXY_CPU, folder / "dnsmasq.out")


def questions(folder: Path) -> Path:
    """dnsperf's file."""
    draw = random.Random(1)

    def cased(name: str) -> str:
        return "".join(draw.choice((letter.lower(), letter.upper())) for letter in name)

    file = folder / "questions"
    file.write_text("".join(
        f"{cased(f'h{draw.randrange(_NAMES)}' if draw.random() < 0.9 else f'no{draw.randrange(1 << 30)}')}.{cased(_ZONE)} A\n"
        for _ in range(_QUERIES)), encoding="utf-8")
    return file


def perf(port: int, file: Path, seconds: float) -> int:
    """Queries that were answered. Raises BenchmarkError when many were not."""
    done = subprocess.run(
        ["taskset", "-c", str(LOAD_CPU), "dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(file), "-l", str(seconds),
         "-c", "8", "-q", "64", "-e", "-E", "10:0123456789abcdef"], capture_output=True, text=True, check=False,
        timeout=seconds + 60)
    found = re.search(r"Queries completed:\s+(\d+) \(([\d.]+)%\)", done.stdout)
    if found is None or float(found[2]) < 99.5:
        raise BenchmarkError(f"dnsperf: {done.stdout[-600:]}{done.stderr[-300:]}")
    if (codes := re.search(r"Response codes:\s+(.*)", done.stdout)) is None or "NXDOMAIN" not in codes[1]:
        raise BenchmarkError(f"dnsperf: {done.stdout[-600:]}")
    return int(found[1])


def run() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    guard()
    servers: dict[str, Callable[[Path, int], Proc]] = {"voltgw": voltgw, "knot": knot, "bind": bind, "dnsmasq": dnsmasq}
    figures: dict[str, list[float]] = {name: [] for name in servers}
    with work_directory(False) as shared:
        file = questions(shared)
        for _ in range(options.rounds):
            for name, start in servers.items():
                with work_directory(False) as folder:
                    (port,) = free_ports(1)
                    server = start(folder, port)
                    try:
                        server.wait_for_port(port, 60)
                        time.sleep(1)           # background work of the start ends
                        perf(port, file, 0.5)
                        before = server.cpu()
                        count = perf(port, file, options.seconds)
                        figures[name].append((server.cpu() - before).total_s / count * 1e6)
                    finally:
                        server.stop()
                    print(f"{name}: {figures[name][-1]:.1f} us/query, {count / options.seconds:.0f} queries/s", flush=True)
    for name, found in figures.items():
        ratios = [ours / other for ours, other in zip(figures["voltgw"], found, strict=True)]
        print(f"{name}: {statistics.median(found):.1f} us/query [{min(found):.1f}-{max(found):.1f}], voltgw is "
              f"{statistics.median(ratios):.2f} x it")


if __name__ == "__main__":
    try:
        run()
    except BenchmarkError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        sys.exit(1)
