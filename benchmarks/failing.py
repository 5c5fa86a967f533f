"""One of three origins dies, answers 500, flaps, or becomes slow, under load: what clients see, beside HAProxy and Envoy.

All gateways probe every second (one success brings an origin in, two failures take it out), take an origin out after five
failed answers in a row, for two seconds at first, and try a refused connection once more elsewhere. The load comes over kept
connections at a fixed rate. What is told is the number of answers that are none, 5xx, or later than a second, and for how long
after the fault began there were any. Needs voltgw's interpreter, HAProxy and Envoy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import free_ports, work_directory
from tests.servers import envoy

FAULTS: Final = ("dies", "answers 500", "flaps", "is slow")
#: What is later than this is as good as none, in seconds; who is slow takes three times as long.
LATE_S: Final = 1.0
MODES: Final = {"answers 500": "500", "flaps": "flap", "is slow": "slow"}
ORIGINS: Final = 3
CONNECTIONS: Final = 16
#: Seconds of good weather, of the fault, and afterwards.
BEFORE_S, DURING_S, AFTER_S = 2.0, 5.0, 4.0
HOST: Final = "127.0.0.1"

_ORIGIN: Final = """
import asyncio, os, sys, time
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            mode = open(sys.argv[2]).read()
            if mode == "slow":
                await asyncio.sleep(3.0)
            bad = mode == "500" or (mode == "flap" and int(time.monotonic() * 20) % 2)
            status = b"500 Bad" if bad else b"200 OK"
            writer.write(b"HTTP/1.1 " + status + b"\\r\\nContent-Length: 2\\r\\n\\r\\nok")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), reuse_address=True)
    await server.serve_forever()
asyncio.run(main())
"""


class Origins:
    """Three of them; the first one is told what is wrong with it."""

    def __init__(self, folder: Path, ports: list[int]) -> None:
        self.ports = ports
        self._script = folder / "origin.py"
        self._script.write_text(_ORIGIN, encoding="utf-8")
        self._modes = [folder / f"mode{number}" for number in range(len(ports))]
        for mode in self._modes:
            mode.write_text("ok", encoding="utf-8")
        self._running = [self._start(number) for number in range(len(ports))]

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(self._script), str(self.ports[number]), str(self._modes[number])])

    def fail(self, fault: str) -> None:
        """The fault begins."""
        if fault == "dies":
            self._running[0].kill()
            self._running[0].wait()
        else:
            self._modes[0].write_text(MODES[fault], encoding="utf-8")

    def mend(self, fault: str) -> None:
        """It is over."""
        if fault == "dies":
            self._running[0] = self._start(0)
        self._modes[0].write_text("ok", encoding="utf-8")

    def stop(self) -> None:
        """End all."""
        for process in self._running:
            process.kill()
            process.wait()


def voltgw(folder: Path, port: int, origins: list[int]) -> list[str]:
    """The command that serves, after its file was written."""
    def thing(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        return {"kind": kind, "metadata": {"name": name}, "spec": spec}

    objects = [
        thing("virtual_host", "v", {"domains": ["*"], "proxy": "HTTP_PROXY", "routes": ["r"], "advertise_policies": ["p"]}),
        thing("advertise_policy", "p", {"address": HOST, "protocol": "TCP", "port": port}),
        thing("route", "r", {"routes": [{"match": [{"path": {"prefix": "/"}}],
                                         "route_destination": {"destinations": [{"cluster": ["c"]}]}}]}),
        thing("cluster", "c", {
            "endpoints": [f"e{each}" for each in origins], "health_checks": ["h"],
            "outlier_detection": {
                "consecutive_5xx": 5, "interval": 1000, "base_ejection_time": 2000, "max_ejection_percent": 50},
            "voltgw": {"outlier": {"time_only": True}}}),
        thing("healthcheck", "h", {"http_health_check": {"path": "/"}, "interval": 1, "timeout": 1, "healthy_threshold": 1,
                                   "unhealthy_threshold": 2}),
        *(thing("endpoint", f"e{each}", {"ip": HOST, "port": each}) for each in origins)]
    file = folder / "voltgw.yaml"
    file.write_text(json.dumps({"gateway": {}, "objects": objects}), encoding="utf-8")
    return [sys.executable, "-m", "voltgw.cli.main", "run", str(file)]


def haproxy(folder: Path, port: int, origins: list[int]) -> list[str]:
    """Likewise."""
    servers = "\n".join(
        f"  server s{each} {HOST}:{each} check inter 1s rise 1 fall 2 observe layer7 error-limit 5 on-error mark-down"
        for each in origins)
    file = folder / "haproxy.cfg"
    file.write_text(f"""defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 30s
  retries 1
  option redispatch 1
frontend f
  bind {HOST}:{port}
  default_backend b
backend b
  balance roundrobin
  option httpchk GET /
{servers}
""", encoding="utf-8")
    return [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-q", "-f", str(file)]


def envoy_(folder: Path, port: int, origins: list[int]) -> list[str]:
    """Likewise."""
    def address(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": HOST, "port_value": number}}

    prefix = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{prefix}.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x",
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{prefix}.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{"name": "x", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {
            "cluster": "x", "retry_policy": {"retry_on": "connect-failure,refused-stream", "num_retries": 1}}}]}]}}
    cluster = {
        "name": "x", "type": "STATIC", "connect_timeout": "2s",
        "load_assignment": {"cluster_name": "x", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(each)}} for each in origins]}]},
        "health_checks": [{"interval": "1s", "timeout": "1s", "healthy_threshold": 1, "unhealthy_threshold": 2,
                           "http_health_check": {"path": "/"}}],
        "outlier_detection": {"consecutive_5xx": 5, "interval": "1s", "base_ejection_time": "2s", "max_ejection_percent": 50,
                              "successful_active_health_check_uneject_host": False},
        "common_lb_config": {"update_merge_window": "0s"}}
    file = folder / "envoy.json"
    file.write_text(json.dumps({"static_resources": {"listeners": [{"address": address(port), "filter_chains": [
        {"filters": [{"name": "http", "typed_config": manager}]}]}], "clusters": [cluster]}}), encoding="utf-8")
    return [envoy(), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]


GATEWAYS: Final[dict[str, Callable[[Path, int, list[int]], list[str]]]] = {
    "voltgw": voltgw, "haproxy": haproxy, "envoy": envoy_}


class Load:
    """Requests at a fixed rate over kept connections; `bad` are the times of answers that were none, 5xx or late."""

    def __init__(self, port: int, rate: float) -> None:
        self.done = 0
        self.bad: list[float] = []
        self._port = port
        self._pause_s = CONNECTIONS / rate

    async def run(self, until: float) -> None:
        """Go on until then (monotonic)."""
        await asyncio.gather(*(self._client(number, until) for number in range(CONNECTIONS)))

    async def _client(self, number: int, until: float) -> None:
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        turn = time.monotonic() + number * self._pause_s / CONNECTIONS
        while turn < until:
            await asyncio.sleep(max(turn - time.monotonic(), 0.0))
            turn += self._pause_s
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection(HOST, self._port)
                asked = time.monotonic()
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5.0)
                length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await asyncio.wait_for(reader.readexactly(length), 5.0)
                ok = head.startswith(b"HTTP/1.1 2") and time.monotonic() - asked < LATE_S
                if b"connection: close" in head.lower():
                    writer.close()
                    reader = writer = None
            except (TimeoutError, OSError, asyncio.IncompleteReadError, StopIteration):
                ok = False
                if writer is not None:
                    writer.close()
                reader = writer = None
            self.done += 1
            if not ok:
                self.bad.append(time.monotonic())
        if writer is not None:
            writer.close()


async def ready(port: int) -> None:
    """Until the gateway answers 200."""
    for _ in range(400):
        try:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2.0)
            writer.close()
            if b" 200 " in head:
                return
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass
        await asyncio.sleep(0.05)
    raise SystemExit("the gateway does not come up")


async def trial(port: int, origins: Origins, fault: str, rate: float) -> tuple[int, int, float]:
    """Requests, those that went wrong, and how long after the fault began the last of them was (seconds)."""
    await ready(port)
    await asyncio.sleep(1.5)                # everybody has been probed
    load = Load(port, rate)
    began = time.monotonic()
    running: Awaitable[None] = asyncio.ensure_future(load.run(began + BEFORE_S + DURING_S + AFTER_S))
    await asyncio.sleep(BEFORE_S)
    failed_at = time.monotonic()
    origins.fail(fault)
    await asyncio.sleep(DURING_S)
    origins.mend(fault)
    await running
    return load.done, len(load.bad), max((at - failed_at for at in load.bad), default=0.0)


def main() -> None:
    """Run and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rate", type=float, default=1000.0, help="requests a second")
    options.add_argument("--gateways", nargs="*", default=list(GATEWAYS))
    given = options.parse_args()
    print(f"{'an origin':14}{'gateway':10}{'requests':>10}{'wrong':>8}{'last after s':>14}")
    for fault in FAULTS:
        for name in given.gateways:
            with work_directory(keep=False) as folder:
                port, *ports = free_ports(ORIGINS + 1)
                origins = Origins(folder, ports)
                command = GATEWAYS[name](folder, port, ports)
                with (folder / "log").open("wb") as log:
                    gateway = subprocess.Popen(
                        command, stdout=log, stderr=log,
                        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)})
                try:
                    done, bad, last = asyncio.run(trial(port, origins, fault, given.rate))
                finally:
                    gateway.send_signal(signal.SIGKILL)
                    gateway.wait()
                    origins.stop()
            print(f"{fault:14}{name:10}{done:>10}{bad:>8}{last:>14.2f}", flush=True)


if __name__ == "__main__":
    main()
