"""Sends HTTP requests at times fixed beforehand, whether or not earlier ones were answered; prints one JSON line.

A latency runs from the *intended* time of a request to the last byte of its answer. If the generator, the proxy or a lack
of free connections delays the sending, that delay is part of the latency: nothing is omitted by coordination, and nothing
has to be corrected afterwards. How late requests really left is reported too (`late_p99_us`): where that is large although
connections were free, it is this program that was slow, and the run says little about the proxy.

Run by open_loop.py: PORT RATE SECONDS WARM_UP_SECONDS CONNECTIONS BODY_BYTES ARRIVALS (constant or poisson), and perhaps FILE
and the hosts that are asked in turn (with commas between them; else shop.example.com alone). FILE gets every latency: when it
began (perf_counter), how many requests were of the warm-up and how many there were, then as many times at which they were
due, and as many latencies (seconds; doubles and 64-bit numbers of this machine).
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import random
import select
import socket
import struct
import sys
from array import array
from collections import deque
from time import perf_counter
from typing import Final

_PR_SET_TIMERSLACK: Final = 29
#: Answers still missing this long after the last request was due are an error. (Where a load is too much, they are late.)
_GRACE_S: Final = 15.0
_READ: Final = 64 << 10
#: Requests to the one host take turns among so many prefixes, which are routes of proxies that have that many.
ROUTES: Final = 1000

_HEAD: Final = (
    b"GET /%b/item-%d HTTP/1.1\r\n"
    b"Host: %b\r\n"
    b"Connection: keep-alive\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    b"Accept-Language: en-GB,en;q=0.7,fr;q=0.3\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Referer: https://shop.example.com/catalogue?sort=price\r\n"
    b"Cookie: session=7f9c2ba4e88f827d616045507605853e; theme=dark; consent=1\r\n"
    b"Sec-Fetch-Mode: navigate\r\n"
    b"Upgrade-Insecure-Requests: 1\r\n\r\n")


class Wrong(Exception):
    """An answer that is not the expected one."""


class Client:
    """The connections, the schedule and what came of it."""

    def __init__(self, port: int, rate: float, seconds: float, warm_up_s: float, connections: int, body_bytes: int,
                 poisson: bool, hosts: tuple[bytes, ...] = ()) -> None:
        self.rate = rate
        self.hosts = hosts or (b"shop.example.com",)
        self.folders = (b"shop",) if hosts else tuple(b"service-%d" % number for number in range(ROUTES))
        self.body_bytes = body_bytes
        chance = random.Random(1)
        due, when = array("d"), 0.0
        while when < warm_up_s + seconds:
            due.append(when)
            when += chance.expovariate(rate) if poisson else 1 / rate
        self.due = due
        self.skip = sum(1 for when in due if when < warm_up_s)
        self.latency = array("d", bytes(8 * len(due)))
        self.late = array("d", bytes(8 * len(due)))
        self.poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        for _ in range(connections):
            sock = socket.create_connection(("127.0.0.1", port), 10)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets[sock.fileno()] = sock
            self.poll.register(sock, select.EPOLLIN)
        # First in, first out: all connections take part, as with many clients.
        self.free = deque(self.sockets)
        self.asked: dict[int, int] = {}             # connection -> number of its request
        self.held: dict[int, bytes] = {}            # connection -> beginning of an answer
        self.waited_for_connection = 0
        self.began = 0.0

    def run(self) -> float:
        """Send everything and read every answer; returns how long it took. Written flat: this is the hot path."""
        due, late, free, asked, sockets, poll = self.due, self.late, self.free, self.asked, self.sockets, self.poll
        hosts, several = self.hosts, len(self.hosts)
        folders, many = self.folders, len(self.folders)
        total, number, answered = len(due), 0, 0
        began = self.began = perf_counter() + 0.05
        give_up = began + due[-1] + _GRACE_S
        starved = False
        while answered < total:
            now = perf_counter() - began
            while number < total and due[number] <= now:
                if not free:
                    if not starved:
                        self.waited_for_connection += 1
                        starved = True
                    break
                starved = False
                fd = free.popleft()
                asked[fd] = number
                late[number] = now - due[number]
                sockets[fd].send(_HEAD % (folders[number % many], number, hosts[number % several]))
                number += 1
                now = perf_counter() - began
            ready = poll.poll(0)
            if not ready:
                if perf_counter() > give_up:
                    raise Wrong(f"{total - answered} of {total} answers did not come")
                # epoll_wait counts milliseconds, select microseconds; an epoll set can be selected upon.
                wait = due[number] - (perf_counter() - began) if number < total and free else 0.5
                if wait > 0:
                    select.select([poll], [], [], min(wait, 0.5))
                continue
            for fd, _events in ready:
                answered += self._read(fd, began)
        return perf_counter() - began

    def _read(self, fd: int, began: float) -> int:
        """Take bytes of one connection; 1 when they completed its answer."""
        data = self.sockets[fd].recv(_READ)
        if not data:
            raise Wrong(f"a connection was closed in request {self.asked.get(fd)}")
        if fd in self.held:
            data = self.held.pop(fd) + data
        end = data.find(b"\r\n\r\n")
        missing = self.body_bytes - (len(data) - end - 4)
        if end < 0 or missing > 0:
            self.held[fd] = data
            return 0
        if missing < 0 or not data.startswith(b"HTTP/1.1 200 "):
            raise Wrong(f"not the expected answer: {data[:300]!r}")
        number = self.asked.pop(fd)
        self.latency[number] = perf_counter() - began - self.due[number]
        self.free.append(fd)
        return 1

    def write(self, path: str) -> None:
        """Every latency, for those who want to know when it was."""
        with open(path, "wb") as file:
            file.write(struct.pack("dqq", self.began, self.skip, len(self.due)))
            self.due.tofile(file)
            self.latency.tofile(file)

    def result(self, took_s: float) -> dict[str, float]:
        """Figures of the requests after the warm-up."""
        latency = sorted(self.latency[self.skip:])
        late = sorted(self.late[self.skip:])
        span_s = self.due[-1] - self.due[self.skip]
        return {
            "requests": len(self.due), "measured_requests": len(latency), "rate": self.rate, "seconds": took_s,
            "rps": (len(latency) - 1) / (span_s + latency[-1]) if span_s else 0.0,
            **{f"{name}_us": quantile(latency, share) * 1e6
               for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0))},
            "late_p50_us": quantile(late, 0.5) * 1e6, "late_p99_us": quantile(late, 0.99) * 1e6,
            "late_max_us": late[-1] * 1e6, "waited_for_connection": self.waited_for_connection,
        }


def quantile(values: list[float], share: float) -> float:
    """Of sorted values: the least one that at least `share` of them do not exceed."""
    return values[max(0, math.ceil(len(values) * share - 1e-9) - 1)]


def main() -> None:
    """The command."""
    port, rate, seconds, warm_up_s, connections, body_bytes = (float(argument) for argument in sys.argv[1:7])
    # The kernel may otherwise wake a sleeper 50 us late.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    hosts = tuple(sys.argv[9].encode().split(b",")) if len(sys.argv) > 9 else ()
    client = Client(int(port), rate, seconds, warm_up_s, int(connections), int(body_bytes), sys.argv[7] == "poisson", hosts)
    gc.disable()
    try:
        print(json.dumps(client.result(client.run())))
        if len(sys.argv) > 8:
            client.write(sys.argv[8])
    except Wrong as error:
        sys.exit(f"openloop: {error}")


if __name__ == "__main__":
    main()
