"""Round trips of 64-byte datagrams through a UDP relay, and the memory of many sessions.

Generator and echo server are Python on the other CPU, so they, not the relay, set the pace: the figure is the relay's CPU time
per round trip, not how many there were. nginx logs nothing, voltgw a line per session, of which there are few here.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from harness import ROOT, BenchmarkError, Proc, free_ports, guard, work_directory

_TWISTD: Final = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
_ECHO: Final = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
sock.bind(("127.0.0.1", int(sys.argv[1])))
while True:
    data, who = sock.recvfrom(2048)
    sock.sendto(data, who)
"""
_PAYLOAD: Final = b"x" * 64
#: Nobody answers for so long: a datagram was lost, and is sent again.
_LOST_S: Final = 0.5


def voltgw(folder: Path, port: int, origin: int, cpu: int) -> Proc:
    """Our relay, with its access log."""
    config = folder / "voltgw.yaml"
    config.write_text(
        f"gateway: {{admin: {{port: 0}}, access_log: {{path: {folder}/access.log}}}}\nload_balancers:\n- {{name: "
        f"echo, protocol: udp, listen: '127.0.0.1:{port}', origins: ['127.0.0.1:{origin}']}}\n", encoding="utf-8")
    return Proc("voltgw", [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "voltgw", "--config", str(config)], cpu,
                folder / "voltgw.out", environment={**os.environ, "PYTHONPATH": str(ROOT)})


def nginx(folder: Path, port: int, origin: int, cpu: int) -> Proc:
    """nginx's stream module."""
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    config = folder / "nginx.conf"
    config.write_text(
        (f"load_module {module};\n" if module.exists() else "")
        + f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err;\nworker_rlimit_nofile "
        "20000;\n"
        f"events {{ worker_connections 16000; }}\nstream {{ server {{ listen 127.0.0.1:{port} udp; proxy_pass "
        f"127.0.0.1:{origin}; proxy_timeout 60s; }} }}\n", encoding="utf-8")
    return Proc("nginx", ["nginx", "-p", str(folder), "-c", str(config)], cpu, folder / "nginx.out")


def clients(count: int, port: int) -> list[socket.socket]:
    """Sockets that send to the relay."""
    made = []
    for number in range(count):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((f"127.0.{number // 250 % 250}.{number % 250 + 1}", 0))
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
        made.append(sock)
    return made


def answered(sock: socket.socket, timeout_s: float = 30.0) -> None:
    """Send until an answer has come: the relay is up. Raises BenchmarkError."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            sock.send(_PAYLOAD)
            sock.settimeout(0.2)
            sock.recv(2048)
            sock.setblocking(False)
            return
        except TimeoutError:
            continue
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise BenchmarkError("the relay does not answer")


def rounds(socks: list[socket.socket], seconds: float) -> int:
    """Round trips in this time, one under way for each client."""
    poll = select.epoll()
    by_fd = {sock.fileno(): sock for sock in socks}
    for sock in socks:
        poll.register(sock.fileno(), select.EPOLLIN)
        sock.send(_PAYLOAD)
    done = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ready = poll.poll(_LOST_S)
        for fd, _ in ready:
            sock = by_fd[fd]
            sock.recv(2048)
            sock.send(_PAYLOAD)
            done += 1
        if not ready:
            for sock in socks:
                sock.send(_PAYLOAD)
    poll.close()
    return done


def run() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--sessions", type=int, default=0, help="measure the memory of so many sessions instead")
    options = parser.parse_args()
    guard()
    relays = {"voltgw": voltgw, "nginx": nginx}
    figures: dict[str, list[float]] = {name: [] for name in relays}
    for _ in range(options.rounds):
        for name, start in relays.items():
            with work_directory(False) as folder:
                port, origin = free_ports(2)
                echo = subprocess.Popen([sys.executable, "-c", _ECHO, str(origin)])
                relay = start(folder, port, origin, 0)
                try:
                    first, *socks = clients((options.sessions or options.clients) + 1, port)
                    answered(first)
                    if options.sessions:
                        before = relay.anonymous_kib()
                        for sock in socks:
                            answered(sock)
                        figures[name].append((relay.anonymous_kib() - before) / options.sessions)
                    else:
                        before_s = relay.cpu().total_s
                        done = rounds(socks, options.seconds)
                        figures[name].append((relay.cpu().total_s - before_s) / done * 1e6)
                    for sock in (first, *socks):
                        sock.close()
                finally:
                    relay.stop()
                    echo.terminate()
                    echo.wait()
    unit = "KiB per session" if options.sessions else "us of CPU per round trip"
    for name, values in figures.items():
        print(f"{name:10} {statistics.median(values):8.2f} {unit}   ({min(values):.2f} to {max(values):.2f})")
    print(f"voltgw / nginx: {statistics.median(figures['voltgw']) / statistics.median(figures['nginx']):.2f}")


if __name__ == "__main__":
    run()
