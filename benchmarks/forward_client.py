"""A client of forward proxies for forward.py; prints one JSON line: how many were done in how many seconds.

``connect PROXY ORIGIN SECONDS CLIENTS CA``: CONNECT, handshake with the origin, one small request, close; again and again.
``inspected PROXY ORIGIN SECONDS CLIENTS CA``: one tunnel for each client, many small requests in it.
``plain PROXY ORIGIN SECONDS CLIENTS -``: requests with a whole URL on one connection for each client.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from typing import Final

HOST: Final = "localhost"


def read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """A head, and what came behind it."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = sock.recv(16384)
        if not piece or len(got) > 65536:
            raise ValueError(f"no answer: {got!r}")
        got += piece
    head, _, rest = got.partition(b"\r\n\r\n")
    return head, rest


def ask(sock: socket.socket, request: bytes) -> None:
    """Ask, and read the whole answer. Raises ValueError on anything but 200 with a length."""
    sock.sendall(request)
    head, body = read_head(sock)
    lines = head.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), -1)
    if b" 200" not in lines[0] or length < 0:
        raise ValueError(f"not the expected answer: {head!r}")
    left = length - len(body)
    while left:
        piece = sock.recv(left)
        if not piece:
            raise ValueError("the answer was cut short")
        left -= len(piece)


class Client(threading.Thread):
    """One client; `done` counts what it has done."""

    def __init__(self, kind: str, proxy: int, origin: int, until: float, ca: str) -> None:
        super().__init__()
        self.done = 0
        self.failed = ""
        self._kind = kind
        self._proxy = proxy
        self._origin = origin
        self._until = until
        self._context = ssl.create_default_context(cafile=ca) if ca != "-" else None

    def run(self) -> None:
        """Until its time is up."""
        try:
            while time.monotonic() < self._until:
                if self._kind == "connect":
                    with self.tunnel() as sock:
                        ask(sock, self.request("/"))
                    self.done += 1
                else:
                    self.many()
        except (OSError, ValueError) as error:
            self.failed = str(error)

    def many(self) -> None:
        """Requests on one connection."""
        sock = self.tunnel() if self._kind == "inspected" else self.connection()
        request = self.request("/" if self._kind == "inspected" else f"http://{HOST}:{self._origin}/")
        with sock:
            while time.monotonic() < self._until:
                ask(sock, request)
                self.done += 1

    def request(self, target: str) -> bytes:
        """A small one."""
        return f"GET {target} HTTP/1.1\r\nHost: {HOST}:{self._origin}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n".encode()

    def connection(self) -> socket.socket:
        """To the proxy."""
        sock = socket.create_connection(("127.0.0.1", self._proxy), 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def tunnel(self) -> ssl.SSLSocket:
        """TLS with the origin, or with whoever opens it."""
        sock = self.connection()
        sock.sendall(f"CONNECT {HOST}:{self._origin} HTTP/1.1\r\nHost: {HOST}:{self._origin}\r\n\r\n".encode())
        head, _ = read_head(sock)
        if b" 200" not in head.split(b"\r\n")[0]:
            raise ValueError(f"no tunnel: {head!r}")
        assert self._context is not None
        return self._context.wrap_socket(sock, server_hostname=HOST)


def main() -> None:
    """The command."""
    kind, proxy, origin, seconds, clients, ca = sys.argv[1:]
    began = time.monotonic()
    running = [Client(kind, int(proxy), int(origin), began + float(seconds), ca) for _ in range(int(clients))]
    for each in running:
        each.start()
    for each in running:
        each.join()
    failed = [each.failed for each in running if each.failed]
    if failed:
        raise SystemExit(f"{len(failed)} clients failed: {failed[0]}")
    print(json.dumps({"done": sum(each.done for each in running), "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
