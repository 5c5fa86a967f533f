"""Round trips of 64-byte datagrams through a UDP relay: CPU microseconds of the relay for each.

Generator and echo server are Python on the other CPU, so they, not the relay, set the pace: the figure is the relay's CPU time
per round trip, not how many there were. Each relay logs a line per session, of which there are few here. HAProxy has no UDP.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from typing import Final

from compare import FEATURES, Column, Comparison, arguments, bench, main, request_rounds
from harness import LOAD_CPU, Proc, free_ports, work_directory
from load import client
from proxies import Proxy
from sessions import ECHO

_PAYLOAD: Final = b"x" * 64
#: Nobody answers for so long: a datagram was lost, and is sent again.
_LOST_S: Final = 0.5
COLUMNS: Final = (Column("cpu_us", "CPU us/round trip", 2), Column("system_pct", "of it system %", 0),
                  Column("rps", "round trips/s", 0))


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


def round_trips(socks: list[socket.socket], seconds: float) -> int:
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
    options = arguments(__doc__ or "", proxies="voltgw,nginx,envoy", connections=16).parse_args()
    comparison = Comparison(
        name=f"udp{FEATURES[options.features]}", mode="udp",
        title=f"UDP relay, round trips of 64-byte datagrams, {options.connections} clients, features {options.features}",
        unit="round trip", main="cpu_us", columns=COLUMNS, references=("nginx", "envoy"))
    with work_directory(False) as folder:
        (port,) = free_ports(1)
        Proc("echo", [sys.executable, "-c", ECHO, str(port)], LOAD_CPU, folder / "echo.log")
        with bench(comparison, options, endpoints=(("127.0.0.1", port),)) as running:
            def load(proxy: Proxy, seconds: float) -> dict[str, float]:
                return client("udp_echo.py", ["generate", str(proxy.port), str(options.connections), str(seconds)], seconds,
                              running.directory, options.nice)

            request_rounds(running, load, options.seconds, options.warm_up, logged=False)


def generate(port: int, count: int, seconds: float) -> None:
    """The load, as a process of its own; prints one JSON line."""
    began = time.monotonic()
    done = round_trips(clients(count, port), seconds)
    print(json.dumps({"requests": done, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["generate"]:
        generate(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    else:
        main(run)
