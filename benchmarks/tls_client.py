"""A TLS client for the comparisons; prints one JSON line.

Run by tls_handshake.py: ``handshake PORT SECONDS CLIENTS``: connect, full handshake, one small request, close; again and again.
Run by tls_bulk.py: ``bulk PORT SECONDS PATH BODY_BYTES 1``: download a large body on one connection, again and again.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

HOST: Final = "shop.example.com"


def connect(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    """One more connection; no session is offered, so its handshake is a full one."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wrapped = context.wrap_socket(sock, server_hostname=HOST)
    if wrapped.version() != "TLSv1.3" or wrapped.session_reused:
        raise ValueError(f"not a full handshake of TLS 1.3: {wrapped.version()}")
    return wrapped


def ask(sock: ssl.SSLSocket, path: str, room: bytearray) -> int:
    """Ask and read the whole answer; its body's size. Raises ValueError on anything but 200 with a length."""
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = sock.recv(16384)
        if not piece or len(head) > 65536:
            raise ValueError(f"no answer: {head!r}")
        head += piece
    head, _, body = head.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), -1)
    if b" 200" not in lines[0] or length < 0:
        raise ValueError(f"not the expected answer: {head!r}")
    left = length - len(body)
    while left:
        count = sock.recv_into(room, min(left, len(room)))
        if not count:
            raise ValueError("the answer was cut short")
        left -= count
    return length


def main() -> None:
    """The command."""
    kind, port, seconds, *rest = sys.argv[1:]
    context = ssl.create_default_context()
    clients = int(rest[-1])
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    room = bytearray(1 << 20)
    began = time.monotonic()
    end = began + float(seconds)
    done = total = 0
    if kind == "handshake":
        def again_and_again(number: int) -> int:
            count = 0
            while time.monotonic() < end:
                with connect(int(port), context) as sock:
                    ask(sock, "/", bytearray(65536))
                count += 1
            return count

        with ThreadPoolExecutor(clients) as pool:       # handshakes happen outside the interpreter's lock
            done = sum(pool.map(again_and_again, range(clients)))
    else:
        path, size, _ = rest
        with connect(int(port), context) as sock:
            while time.monotonic() < end:
                got = ask(sock, path, room)
                if got != int(size):
                    raise ValueError(f"{got} bytes instead of {size}")
                total += got
                done += 1
    print(json.dumps({"requests": done, "gigabytes": total / 1e9, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
