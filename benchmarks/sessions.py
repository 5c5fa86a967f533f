"""Many UDP sessions, or relayed TCP connections (``--tcp``), held for a while: memory for each, and whether it grows.

Every session asks again and again, and in each pass one in twenty is given up for a new one, so that most of them have been
replaced in the end. Memory is anonymous RSS of the process tree: before, with all of them, when it has come to rest, and at the
end. Kernel memory of sockets is not in it. Sessions come from sixteen addresses of 127/8. Each round begins with a new process.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import sys
import time
from typing import Final

from compare import Bench, Column, Comparison, Figures, arguments, bench, finish, main
from harness import LOAD_CPU, BenchmarkError, Proc, free_ports, work_directory
from proxies import HOST, UDP_IDLE_S, Proxy

_SOURCES: Final = 16
#: One in so many is replaced in each pass.
_REPLACED: Final = 20
#: From the beginning of one pass to that of the next one.
_PASS_S: Final = 2.0
_REST_S: Final = 2.0
_REQUEST: Final = f"GET /shop/held HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
_DATAGRAM: Final = b"?" * 64
#: Answers that are waited for at a time; the relay's and the echo's buffers hold that many.
_AT_ONCE: Final = 100

#: A server that sends each datagram back.
ECHO: Final = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
sock.bind(("127.0.0.1", int(sys.argv[1])))
while True:
    data, who = sock.recvfrom(2048)
    sock.sendto(data, who)
"""


class Held:
    """The clients of one proxy."""

    def __init__(self, proxy: Proxy, count: int, udp: bool) -> None:
        self.proxy = proxy
        self.udp = udp
        self.lost = 0
        self._made = 0
        self.socks = [self._client() for _ in range(count)]

    def _client(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if self.udp else socket.SOCK_STREAM)
        sock.settimeout(5)
        sock.bind((f"127.0.0.{1 + self._made % _SOURCES}", 0))
        sock.connect(("127.0.0.1", self.proxy.port))
        self._made += 1
        return sock

    def replace(self, number: int) -> None:
        """Give every twentieth up, others in each pass, for a new one."""
        for at in range(number % _REPLACED, len(self.socks), _REPLACED):
            self.socks[at].close()
            self.socks[at] = self._client()

    def ask(self) -> None:
        """Each of them asks and is answered. A datagram may be lost, and is sent again; but not many."""
        data = _DATAGRAM if self.udp else _REQUEST
        for first in range(0, len(self.socks), _AT_ONCE):
            batch = self.socks[first:first + _AT_ONCE]
            for sock in batch:
                sock.send(data)
            for sock in batch:
                self._answered(sock)
        if self.lost > len(self.socks):
            raise BenchmarkError(f"{self.proxy.name} has lost {self.lost} datagrams")

    def _answered(self, sock: socket.socket) -> None:
        try:
            answer = sock.recv(4096)
        except TimeoutError:
            if not self.udp:
                raise BenchmarkError(f"{self.proxy.name}: a held connection is not answered") from None
            self.lost += 1
            sock.send(_DATAGRAM)
            answer = sock.recv(4096)
        except OSError as error:
            raise BenchmarkError(f"{self.proxy.name}: a held one failed: {error}") from error
        if answer != _DATAGRAM if self.udp else not answer.startswith(b"HTTP/1.1 200 "):
            raise BenchmarkError(f"{self.proxy.name}: a held one gave {answer[:100]!r}")

    def close(self) -> None:
        """End them all."""
        for sock in self.socks:
            sock.close()


def hold(proxy: Proxy, count: int, udp: bool, seconds: float) -> Figures:
    """Hold `count` of them for so long."""
    process = proxy.process
    assert process is not None
    time.sleep(_REST_S)
    before_kib, before_files = process.anonymous_kib(), process.open_files()
    with contextlib.closing(Held(proxy, count, udp)) as held:
        held.ask()
        time.sleep(_REST_S)
        with_kib, files = process.anonymous_kib(), process.open_files()
        if files - before_files < count * (1 if udp else 2):
            raise BenchmarkError(f"{proxy.name} holds {files - before_files} more descriptors with {count}")
        began = time.monotonic()
        # those that were given up go after the idle time; from then on there are as many as there will be
        settled_at = began + min(UDP_IDLE_S + 5, seconds / 2)
        settled_kib = 0
        number = 0
        while time.monotonic() < began + seconds:
            pass_began = time.monotonic()
            held.replace(number)
            held.ask()
            number += 1
            if not settled_kib and time.monotonic() >= settled_at:
                settled_kib = process.anonymous_kib()
            time.sleep(max(0.0, pass_began + _PASS_S - time.monotonic()))
        end_kib = process.anonymous_kib()
    return {"before_mib": before_kib / 1024, "with_mib": with_kib / 1024, "settled_mib": settled_kib / 1024,
            "end_mib": end_kib / 1024, "kib_each": (with_kib - before_kib) / count, "growth_kib": float(end_kib - settled_kib),
            "replaced": float(number * count // _REPLACED), "lost": float(held.lost)}


def rounds(running: Bench, count: int, udp: bool) -> None:
    """All of them, each with a fresh process."""
    for number, proxy in running.each_round():
        if number:
            proxy.stop()
            proxy.start()
            proxy.prove()
        running.record(proxy, number, hold(proxy, count, udp, running.options.seconds))
    finish(running)


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "", seconds=60, rounds=1, proxies="voltgw,nginx,envoy", connections=0)
    parser.add_argument("--tcp", action="store_true", help="relayed TCP connections instead of UDP sessions")
    options = parser.parse_args()
    count = options.connections or (2000 if options.tcp else 6000)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < count * 2 + 1000:
        raise BenchmarkError(f"{count} of them need more than {hard} open files")
    what = "relayed TCP connections" if options.tcp else "UDP sessions"
    comparison = Comparison(
        name="sessions_tcp" if options.tcp else "sessions_udp", mode="tcp" if options.tcp else "udp",
        title=f"{count} {what}, one in {_REPLACED} replaced every {_PASS_S:g} s for {options.seconds:g} s, anonymous RSS",
        unit="session", main="kib_each",
        columns=(Column("before_mib", "MiB before"), Column("with_mib", "MiB with them"), Column("kib_each", "KiB each", 2),
                 Column("settled_mib", "MiB settled"), Column("end_mib", "MiB at the end"),
                 Column("growth_kib", "growth KiB", 0),
                 Column("replaced", "replaced", 0), Column("lost", "lost", 0)),
        notes=("User space only; nginx allocates some of it at start. Settled: when those given up have begun to go.",))
    if options.tcp:
        with bench(comparison, options) as running:
            rounds(running, count, udp=False)
        return
    with work_directory(False) as folder:
        (port,) = free_ports(1)
        echo = Proc("echo", [sys.executable, "-c", ECHO, str(port)], LOAD_CPU, folder / "echo.log")
        with bench(comparison, options, endpoints=(("127.0.0.1", port),)) as running:
            rounds(running, count, udp=True)
        echo.stop()


if __name__ == "__main__":
    main(run)
