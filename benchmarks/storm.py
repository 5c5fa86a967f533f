"""Failed requests while the gateway is reloaded, its workers are killed and it is started anew, under constant load.

Clients of HTTP/1.1, HTTP/2, WebSocket, TCP, UDP and DNS do one thing after another on connections that they renew, all
the time. Meanwhile, evenly over the time: ``--reloads`` changes of the configuration with a reload, ``--kills`` workers that
are killed (SIGKILL), ``--control-kills`` control processes that are killed and started again, ``--restarts`` hot restarts.
A failure is *excused* when a
worker was killed and it was on a connection from before, noticed within `EXCUSED_S`; of datagrams, when they were under way
then; of DNS also while there was no control process, which answers it. Any other failure ends the run with status 1.

    python benchmarks/storm.py --seconds 60 --reloads 100 --kills 20
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from storm_clients import KINDS, PATIENCE_S, Failed, Ledger, Origin, client

ROOT = Path(__file__).resolve().parents[1]
#: A connection of a killed worker may be noticed to have failed so long after the kill.
EXCUSED_S = 1.5
READY_S = 20.0
_TWISTD = "from twisted.scripts.twistd import run; run()"


def free_port() -> int:
    """One that nobody has, below those that the kernel gives out."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            try:
                probe.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Storm:
    """One gateway and what is done to it."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        self.workers = workers
        self.ports = {name: free_port() for name in (*KINDS, "admin")}
        self.ports["websocket"] = self.ports["http1"]
        self.origin = Origin()
        self.ledger = Ledger()
        self.kills: list[float] = []
        self.without_control: list[tuple[float, float]] = []    # from when to when
        self.reloads = self.restarts = self.hot_restarts = 0
        self._before: list[subprocess.Popen[bytes]] = []        # those that may still drain
        self._number = 0
        self._seen: set[int] = set()        # processes of workers
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = asyncio.Event()

    def config(self) -> str:
        """Another one each time: a route more, or the other timeout of the cluster, which makes it another cluster."""
        self._number += 1
        odd = self._number % 2
        origin, ports = self.origin.ports, self.ports
        more = ("    - match: [{path: {prefix: /never}}]\n      route_direct_response: {response_code: 418}\n" if odd else "")
        return f"""
gateway:
  workers: {self.workers}
  admin: {{port: {ports['admin']}}}
  drain_timeout: 5s
  restart_socket: {self.folder}/restart
  max_connections_per_source: 10000
  dns: [{{address: 127.0.0.1, port: {ports['dns']}}}]
load_balancers:
- {{name: bytes, protocol: tcp, listen: "127.0.0.1:{ports['tcp']}", origins: ["127.0.0.1:{origin['tcp']}"]}}
- {{name: datagrams, protocol: udp, listen: "127.0.0.1:{ports['udp']}", origins: ["127.0.0.1:{origin['udp']}"]}}
objects:
- kind: virtual_host
  metadata: {{name: storm}}
  spec:
    domains: [storm.example, storm.apps.example.com]
    advertise_policies: [one, two]
    routes: [storm]
    http_protocol_options: {{http_protocol_enable_v1_v2: {{}}}}
- {{kind: advertise_policy, metadata: {{name: one}}, spec: {{address: 127.0.0.1, protocol: TCP, port: {ports['http1']}}}}}
- {{kind: advertise_policy, metadata: {{name: two}}, spec: {{address: 127.0.0.1, protocol: TCP, port: {ports['http2']}}}}}
- kind: route
  metadata: {{name: storm}}
  spec:
    routes:
{more}    - match: [{{path: {{prefix: /}}}}]
      route_destination: {{destinations: [{{cluster: [storm]}}], web_socket_config: {{use_websocket: true}}}}
- {{kind: cluster, metadata: {{name: storm}}, spec: {{endpoints: [storm], connection_timeout: {2000 + odd}}}}}
- {{kind: endpoint, metadata: {{name: storm}}, spec: {{ip: 127.0.0.1, port: {origin['http']}}}}}
- kind: discovery
  metadata: {{name: names, namespace: system}}
  spec:
    where: {{}}
    voltgw:
      dns_delegation:
        {{zone: apps.example.com, ttl: 30, name_servers: [{{name: ns1.apps.example.com, addresses: [127.0.0.1]}}]}}
"""

    # -- the gateway -----------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Put another configuration in its file."""
        (self.folder / "storm.yaml").write_text(self.config(), encoding="utf-8")

    def start(self, *arguments: str) -> None:
        """Its process."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "voltgw", "--config", "storm.yaml", *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"})

    async def ask(self, path: str) -> Any:
        """The admin interface."""
        def get() -> Any:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}{path}", timeout=5) as answer:
                return json.load(answer)

        answer = await asyncio.to_thread(get)
        self._seen.update(each["pid"] for each in answer.get("workers", ()) if each["pid"])
        return answer

    async def until(self, what: str, true: Callable[[], Awaitable[bool]]) -> None:
        """Wait until it is."""
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            try:
                if await true():
                    return
            except OSError:
                pass                        # not there yet
            await asyncio.sleep(0.02)
        raise SystemExit(f"after {READY_S:g} s still not: {what}\n" + (self.folder / "log").read_text()[-4000:])

    async def ready(self) -> None:
        """Until it serves."""
        async def is_ready() -> bool:
            return bool((await self.ask("/ready"))["ready"])

        await self.until("the gateway is ready", is_ready)

    # -- what happens to it ----------------------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Change it, SIGHUP, and wait until the change serves."""
        before = await self.ask("/")
        self.write()
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

        async def other() -> bool:
            now = await self.ask("/")
            if now["reloads_rejected"] != before["reloads_rejected"]:
                raise SystemExit(f"a reload was refused: {now['last_reload_error']}")
            return bool(now["generation"] > before["generation"])

        await self.until("the reload serves", other)
        self.reloads += 1

    async def kill(self) -> None:
        """Kill a worker, and wait until another one is there."""
        found = (await self.ask("/workers"))["workers"]
        victim = random.choice(found)
        os.kill(victim["pid"], signal.SIGKILL)
        self.kills.append(time.monotonic())

        async def another() -> bool:
            now = (await self.ask("/workers"))["workers"][victim["worker"] - 1]
            return now["state"] == "ready" and now["pid"] != victim["pid"]

        await self.until("the killed worker is replaced", another)

    async def kill_control(self) -> None:
        """Kill the control process and start another one; the workers are none of its business."""
        assert self._process is not None
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        began = time.monotonic()
        self.start()
        await self.ready()
        self.without_control.append((began, time.monotonic()))
        self.restarts += 1

    async def restart(self) -> None:
        """Start another process, which takes the place of the one that serves."""
        assert self._process is not None
        before = (await self.ask("/"))["process"]["pid"]
        self._before.append(self._process)
        self.write()
        self.start("--takeover")

        async def other() -> bool:
            return bool((await self.ask("/"))["process"]["pid"] != before) and bool((await self.ask("/ready"))["ready"])

        await self.until("the next process serves", other)
        self.hot_restarts += 1

    # -- the run ---------------------------------------------------------------------------------------------------------

    async def run(self, seconds: float, events: list[Callable[[], Awaitable[None]]], clients: dict[str, int]) -> None:
        """Load, and the events in their order, evenly over the time; one that is late is not left out."""
        await self.origin.start()
        self.write()
        self.start()
        await self.ready()
        tasks = [asyncio.create_task(client(protocol, self.ports[protocol], self.ledger, self._stop))
                 for protocol, count in clients.items() for _ in range(count)]
        began = time.monotonic()
        try:
            for number, event in enumerate(events, 1):
                await asyncio.sleep(max(began + seconds * number / (len(events) + 1) - time.monotonic(), 0.0))
                await event()
            await asyncio.sleep(max(began + seconds - time.monotonic(), 0.5))
        finally:
            self._stop.set()
            await asyncio.gather(*tasks, return_exceptions=False)
            self.seconds = time.monotonic() - began
            await self.end()

    async def end(self) -> None:
        """Drain it."""
        assert self._process is not None
        for process in (self._process, *self._before):
            if process.poll() is None:
                process.terminate()
                try:
                    await asyncio.to_thread(process.wait, 10)
                except subprocess.TimeoutExpired:
                    process.kill()
        for pid in self._seen:              # a run that was cut short may leave some that nobody controls
            command = Path(f"/proc/{pid}/cmdline")
            if command.exists() and b"voltgw.worker" in command.read_bytes():
                os.kill(pid, signal.SIGKILL)
        self.origin.stop()

    def excused(self, failed: Failed) -> bool:
        """Whether it was on a killed worker; or a question of DNS, which the control process answers, when that was killed."""
        if failed.protocol == "dns" and any(
                began - 0.1 <= failed.at + PATIENCE_S and failed.at <= over for began, over in self.without_control):
            return True
        if failed.protocol in ("udp", "dns"):
            return any(failed.at - 0.1 <= kill <= failed.at + EXCUSED_S for kill in self.kills)
        return any(failed.opened <= kill and kill - 0.1 <= failed.at + 0.1 <= kill + EXCUSED_S for kill in self.kills)

    def report(self) -> dict[str, Any]:
        """What came of it."""
        counts = {protocol: {"done": self.ledger.done.get(protocol, 0), "failed": 0, "excused": 0,
                             "slowest_ms": round(self.ledger.slowest_s.get(protocol, 0.0) * 1000, 1)} for protocol in KINDS}
        wrong = []
        for failed in self.ledger.failed:
            excused = self.excused(failed)
            counts[failed.protocol]["excused" if excused else "failed"] += 1
            if not excused:
                wrong.append(f"{failed.protocol} {failed.what}; {self._beside(failed)}")
        return {"seconds": round(self.seconds, 1), "reloads": self.reloads, "kills": len(self.kills),
                "control_kills": self.restarts, "hot_restarts": self.hot_restarts, "protocols": counts, "unexcused": wrong[:20]}

    def _beside(self, failed: Failed) -> str:
        near = min((failed.at - kill for kill in self.kills), key=abs, default=float("inf"))
        return f"connection {failed.at - failed.opened:.3f} s old, {near:.3f} s after the nearest kill"


def mixed(storm: Storm, reloads: int, kills: int, control_kills: int, restarts: int) -> list[Callable[[], Awaitable[None]]]:
    """The events, each kind spread evenly among the others."""
    kinds = ((reloads, storm.reload), (kills, storm.kill), (control_kills, storm.kill_control), (restarts, storm.restart))
    timed = [((number + 0.5) / count, event) for count, event in kinds for number in range(count)]
    return [event for _, event in sorted(timed, key=lambda each: each[0])]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--control-kills", type=int, default=0)
    parser.add_argument("--restarts", type=int, default=0, help="hot restarts")
    parser.add_argument("--clients", type=int, default=4, help="of each protocol")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        storm = Storm(Path(folder), options.workers)

        async def run() -> None:
            events = mixed(storm, options.reloads, options.kills, options.control_kills, options.restarts)
            await storm.run(options.seconds, events, dict.fromkeys(KINDS, options.clients))

        asyncio.run(run())
        report = storm.report()
    print(json.dumps(report, indent=2))
    return 1 if report["unexcused"] or not all(each["done"] for each in report["protocols"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
