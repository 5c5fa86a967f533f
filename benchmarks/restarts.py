"""Failed requests while nginx, HAProxy and voltgw hand over to their next process, by their own ways, under the same load.

Clients of HTTP/1.1, WebSocket and TCP (those of ``storm.py``) do one thing after another on connections that they renew.
Meanwhile each proxy is told so many times, evenly over the time, to hand over: nginx by SIGHUP (new workers; the old ones
drain), HAProxy in master-worker mode by SIGUSR2, voltgw by ``--takeover``. A client that finds its idle connection closed
counts that as a failure: it does not try again, as most libraries do not for what they cannot repeat.

    python benchmarks/restarts.py --seconds 20 --restarts 5
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from storm import Storm, free_port
from storm_clients import Ledger, Origin, client

#: The protocols that all three have without further means.
PROTOCOLS = ("http1", "websocket", "tcp")
_NGINX = """
worker_processes 2;
pid {folder}/pid;
error_log {folder}/log;
daemon off;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
events {{ worker_connections 1000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  map $http_upgrade $joined {{ default upgrade; '' ''; }}
  upstream o {{ server 127.0.0.1:{http}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $joined;
    }}
  }}
}}
stream {{ server {{ listen 127.0.0.1:{stream}; proxy_pass 127.0.0.1:{tcp}; }} }}
"""
_HAPROXY = """
global
  hard-stop-after 5s
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen web
  bind 127.0.0.1:{port}
  server o 127.0.0.1:{http}
listen bytes
  mode tcp
  bind 127.0.0.1:{stream}
  server o 127.0.0.1:{tcp}
"""


class Peer:
    """A proxy that is a process to which signals say what to do."""

    def __init__(self, folder: Path, name: str, origin: Origin) -> None:
        self.folder, self.name = folder, name
        self.ports = {"http1": free_port(), "tcp": free_port()}
        self.ports["websocket"] = self.ports["http1"]
        text = (_NGINX if name == "nginx" else _HAPROXY).format(
            folder=folder, port=self.ports["http1"], stream=self.ports["tcp"], **origin.ports)
        (folder / "conf").write_text(text, encoding="utf-8")
        program = shutil.which(name) or shutil.which(name, path="/usr/sbin") or name
        command = [program, "-p", str(folder), "-c", str(folder / "conf")] if name == "nginx" else [
            program, "-W", "-f", str(folder / "conf")]
        with (folder / "out").open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    async def ready(self) -> None:
        """Until it answers."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.ports["http1"])
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
        raise SystemExit(f"{self.name} does not start:\n" + (self.folder / "out").read_text())

    async def restart(self) -> None:
        """Hand over."""
        self.process.send_signal(signal.SIGHUP if self.name == "nginx" else signal.SIGUSR2)

    async def end(self) -> None:
        """End it."""
        self.process.terminate()
        await asyncio.to_thread(self.process.wait, 15)


async def measured(proxy: Any, seconds: float, restarts: int, clients: int) -> dict[str, Any]:
    """What fails with one of them."""
    await proxy.ready()
    ledger, stop = Ledger(), asyncio.Event()
    tasks = [asyncio.create_task(client(protocol, proxy.ports[protocol], ledger, stop))
             for protocol in PROTOCOLS for _ in range(clients)]
    began = time.monotonic()
    for number in range(restarts):
        await asyncio.sleep(max(began + seconds * (number + 0.5) / restarts - time.monotonic(), 0.0))
        await proxy.restart()
    await asyncio.sleep(max(began + seconds - time.monotonic(), 0.5))
    stop.set()
    await asyncio.gather(*tasks)
    await proxy.end()
    return {protocol: {"done": ledger.done.get(protocol, 0), "failed": sum(each.protocol == protocol for each in ledger.failed),
                       "slowest_ms": round(ledger.slowest_s.get(protocol, 0.0) * 1000)} for protocol in PROTOCOLS}


async def run(seconds: float, restarts: int, clients: int) -> dict[str, Any]:
    """One after the other."""
    found: dict[str, Any] = {}
    origin = Origin()
    await origin.start()
    for name in ("nginx", "haproxy"):
        with tempfile.TemporaryDirectory() as folder:
            found[name] = await measured(Peer(Path(folder), name, origin), seconds, restarts, clients)
    with tempfile.TemporaryDirectory() as folder:
        storm = Storm(Path(folder), 2)
        await storm.origin.start()
        storm.write()
        storm.start()
        found["voltgw"] = await measured(storm, seconds, restarts, clients)
    origin.stop()
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--clients", type=int, default=4, help="of each protocol")
    options = parser.parse_args()
    print(json.dumps(asyncio.run(run(options.seconds, options.restarts, options.clients)), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
