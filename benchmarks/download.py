"""Fetches a large body again and again on a few connections and throws the bytes away; prints one JSON line.

The kernel is told to drop what arrives (MSG_TRUNC) instead of copying it, so that one process keeps up with any proxy.
Run by tcp_bulk.py: PORT PATH BODY_BYTES CONNECTIONS SECONDS.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from typing import Final

_CHUNK: Final = 4 << 20
_HEAD_LIMIT: Final = 16 << 10


class Download:
    """One connection: asks, reads the head, lets the kernel drop `body_bytes`, asks again."""

    def __init__(self, port: int, path: str, body_bytes: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 10)
        self.sock.setblocking(False)
        self.request = f"GET {path} HTTP/1.1\r\nHost: shop.example.com\r\n\r\n".encode()
        self.body_bytes = body_bytes
        self.left = 0                               # of this body
        self.head = b""
        self.bytes = 0                              # of bodies, in total
        self.ask()

    def ask(self) -> None:
        """Send the next request."""
        self.sock.sendall(self.request)

    def readable(self) -> None:
        """Take what is there. Raises ValueError on anything but the expected answer."""
        if not self.left:
            self._read_head()
            return
        # For TCP, MSG_TRUNC counts and drops (tcp(7)); the buffer is not written to.
        count = self.sock.recv_into(_NOWHERE, min(_CHUNK, self.left), socket.MSG_TRUNC)
        if not count:
            raise ValueError(f"closed with {self.left} bytes to come")
        self._count(count)

    def _count(self, count: int) -> None:
        self.left -= count
        self.bytes += count
        if not self.left:
            self.ask()

    def _read_head(self) -> None:
        data = self.sock.recv(_HEAD_LIMIT - len(self.head))
        self.head += data
        head, end, body = self.head.partition(b"\r\n\r\n")
        if not data or (not end and len(self.head) >= _HEAD_LIMIT):
            raise ValueError(f"no answer: {self.head[:200]!r}")
        if end:
            if not head.startswith(b"HTTP/1.1 200 ") or b"\r\ncontent-length: %d" % self.body_bytes not in head.lower():
                raise ValueError(f"not the expected answer: {head!r}")
            self.head = b""
            self.left = self.body_bytes
            self._count(len(body))


_NOWHERE: Final = bytearray(_CHUNK)


def main() -> None:
    """The command."""
    port, body_bytes, connections = int(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])
    poll = select.epoll()
    downloads = {}
    for _ in range(connections):
        download = Download(port, sys.argv[2], body_bytes)
        downloads[download.sock.fileno()] = download
        poll.register(download.sock, select.EPOLLIN)
    began = now = time.monotonic()
    end = began + float(sys.argv[5])
    heard = began
    while now < end:
        for fd, _events in poll.poll(1.0):
            downloads[fd].readable()
            heard = now
        now = time.monotonic()
        if now - heard > 5:
            raise ValueError("nothing came for 5 s")
    total = sum(download.bytes for download in downloads.values())
    print(json.dumps({"bytes": total, "gigabytes": total / 1e9, "seconds": now - began}))


if __name__ == "__main__":
    main()
