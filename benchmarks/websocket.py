"""Messages over WebSocket connections that are kept: CPU microseconds of the proxy for one message there and its echo back.

Generator and echo server are Python on the other CPU, so they, not the proxy, set the pace: the figure is CPU time per round
trip, not how many there were. The connections are upgraded over HTTP/1.1 in all (RFC 6455); after that HAProxy, nginx and Envoy
relay bytes, and whatever voltgw does with its defaults it does here too. The access log has a line for each connection.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from typing import Final

from compare import FEATURES, Column, Comparison, arguments, bench, main, request_rounds
from harness import HERE, LOAD_CPU, Proc, free_ports, work_directory
from load import client
from origin import SEEN_PATH, SMALL
from proxies import HOST, Proxy

_TEXT: Final = b"a message of thirty-two octets.."
#: From a client every frame is masked (RFC 6455 5.3); this mask changes nothing, so that both ends are cheap.
_ASKED: Final = bytes((0x82, 0x80 | len(_TEXT))) + bytes(4) + _TEXT
_ECHOED: Final = bytes((0x82, len(_TEXT))) + _TEXT
_UPGRADE: Final = (f"GET /shop/socket HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n").encode()
#: The key that this nonce asks for (RFC 6455 1.3).
_SWITCHED: Final = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
COLUMNS: Final = (Column("cpu_us", "CPU us/message and echo", 2), Column("system_pct", "of it system %", 0),
                  Column("rps", "round trips/s", 0))


def plain(request: bytes) -> bytes:
    """The answer to a request that wants no upgrade: as the origin of other comparisons, what it was sent or a small text."""
    first, *lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    _, path, protocol = first.split(" ")
    body = SMALL
    if path == SEEN_PATH:
        seen = {"host": "host", "connection": "connection", "id": "x-request-id", "xff": "x-forwarded-for",
                "edit": "x-bench-request"}
        body = json.dumps({key: fields.get(name, "") for key, name in seen.items()} | {"protocol": protocol})
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def echo(port: int) -> None:
    """The endpoint: answers plain requests, takes upgrades, sends messages back without their masks."""
    listening = socket.create_server(("127.0.0.1", port), backlog=1024)
    poll = select.epoll()
    poll.register(listening, select.EPOLLIN)
    socks: dict[int, socket.socket] = {}
    held: dict[int, bytes] = {}
    upgraded: set[int] = set()
    while True:
        for fd, _ in poll.poll():
            if fd == listening.fileno():
                sock, _address = listening.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                socks[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
                continue
            try:
                data = socks[fd].recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                poll.unregister(fd)
                upgraded.discard(fd)
                held.pop(fd, None)
                socks.pop(fd).close()
                continue
            data = held.pop(fd, b"") + data
            if fd in upgraded:
                count, rest = divmod(len(data), len(_ASKED))
                if data[:2] != _ASKED[:2] and len(data) >= 2:
                    raise ValueError(f"not the message that was sent: {data[:60]!r}")
                socks[fd].sendall(_ECHOED * count)
            elif b"\r\n\r\n" not in data:
                rest = len(data)
            elif b"upgrade: websocket" in data.lower():
                upgraded.add(fd)
                socks[fd].sendall(_SWITCHED)
                rest = 0
            else:
                socks[fd].sendall(plain(data))
                rest = 0
            if rest:
                held[fd] = data[-rest:]


def generate(port: int, count: int, seconds: float) -> None:
    """The load, as a process of its own: one message under way on each connection; prints one JSON line."""
    poll = select.epoll()
    socks = {}
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port), 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(_UPGRADE)
        head = sock.recv(4096)
        if not head.startswith(b"HTTP/1.1 101 ") or not head.endswith(b"\r\n\r\n"):
            raise ValueError(f"not upgraded: {head!r}")
        socks[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
    for sock in socks.values():
        sock.send(_ASKED)
    done = 0
    began = time.monotonic()
    end = began + seconds
    while time.monotonic() < end:
        ready = poll.poll(5)
        if not ready:
            raise ValueError("no message came for 5 s")
        for fd, _ in ready:
            sock = socks[fd]
            if sock.recv(4096) != _ECHOED:
                raise ValueError("not the message that was sent")
            sock.send(_ASKED)
            done += 1
    print(json.dumps({"requests": done, "seconds": time.monotonic() - began}))


def run() -> None:
    """The command."""
    options = arguments(__doc__ or "", proxies="voltgw,haproxy,nginx,envoy", connections=32).parse_args()
    comparison = Comparison(
        name=f"websocket{FEATURES[options.features]}", websocket=True,
        title=f"WebSocket, a 32-byte message and its echo, {options.connections} connections, features {options.features}",
        unit="round trip", main="cpu_us", columns=COLUMNS)
    with work_directory(False) as folder:
        (port,) = free_ports(1)
        endpoint = Proc("echo", [sys.executable, str(HERE / "websocket.py"), "echo", str(port)], LOAD_CPU, folder / "echo.log")
        endpoint.wait_for_port(port)
        with bench(comparison, options, endpoints=(("127.0.0.1", port),)) as running:
            def load(proxy: Proxy, seconds: float) -> dict[str, float]:
                return client("websocket.py", ["generate", str(proxy.port), str(options.connections), str(seconds)], seconds,
                              running.directory, options.nice)

            request_rounds(running, load, options.seconds, options.warm_up, logged=False)


if __name__ == "__main__":
    if sys.argv[1:2] == ["echo"]:
        echo(int(sys.argv[2]))
    elif sys.argv[1:2] == ["generate"]:
        generate(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    else:
        main(run)
