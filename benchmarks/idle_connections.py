"""Memory of idle client connections: anonymous RSS of the process tree before and after, for each connection.

HTTP: every connection has had one request answered and waits for the next; ``--tls``: over TLS 1.3. ``--tcp``: every
connection stands open through the relay, so the proxy holds two. Proxies are warm, and each round begins with a fresh process.
Kernel memory of sockets is not in the figure. Clients come from sixteen addresses of 127/8, because a gateway may bound what
one source holds.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import socket
import ssl
import time
from typing import Final

from compare import FEATURES, Bench, Column, Comparison, Figures, arguments, bench, finish, main
from harness import BenchmarkError
from load import wrk
from proxies import HOST, Proxy

_SOURCES: Final = 16
#: Allocators and log buffers come to rest.
_REST_S: Final = 2.0


def idle(running: Bench, proxy: Proxy, count: int) -> Figures:
    """Open `count` connections to a warm proxy, and see what they added."""
    process = proxy.process
    assert process is not None
    tls = running.comparison.tls
    time.sleep(_REST_S)
    started_kib = process.anonymous_kib()
    wrk(proxy.port, 1, running.directory, nice=running.options.nice, tls=tls)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    time.sleep(_REST_S)
    before_kib, before_files = process.anonymous_kib(), process.open_files()
    with contextlib.ExitStack() as stack:
        clients: list[socket.socket] = []
        for number in range(count):
            client = stack.enter_context(socket.socket())
            client.settimeout(10)
            client.bind((f"127.0.0.{1 + number % _SOURCES}", 0))
            client.connect(("127.0.0.1", proxy.port))
            if tls:
                client = stack.enter_context(context.wrap_socket(client, server_hostname=HOST))
            _ask(client, proxy.name)
            clients.append(client)
        time.sleep(_REST_S)
        kib, files = process.anonymous_kib(), process.open_files()
        expected = count * (2 if running.comparison.mode == "tcp" else 1) - 64
        if files - before_files < expected:
            raise BenchmarkError(f"{proxy.name} holds {files - before_files} more descriptors with {count} idle connections")
        for client in clients[:: max(1, count // 100)]:
            _ask(client, proxy.name)
    time.sleep(_REST_S)
    return {"started_mib": started_kib / 1024, "before_mib": before_kib / 1024, "after_mib": kib / 1024,
            "closed_mib": process.anonymous_kib() / 1024,
            "kib_per_connection": (kib - before_kib) / count, "descriptors": float(files - before_files)}


def _ask(client: socket.socket, name: str) -> None:
    try:
        client.sendall(f"GET /shop/idle HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        answer = client.recv(4096)
    except OSError as error:
        raise BenchmarkError(f"{name}: an idle connection failed: {error}") from error
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise BenchmarkError(f"{name}: an idle connection gave {answer[:100]!r}")


def _kind(options: argparse.Namespace) -> str:
    return "TCP relay" if options.tcp else "HTTPS keep-alive (TLS 1.3, P-256)" if options.tls else "HTTP keep-alive"


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "", seconds=0, rounds=1, proxies="voltgw,haproxy,nginx,envoy", connections=5000)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--tcp", action="store_true", help="through the TCP relays")
    kind.add_argument("--tls", action="store_true", help="HTTP over TLS 1.3")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < options.connections * 2 + 1000:
        raise BenchmarkError(f"{options.connections} connections need more than {hard} open files")
    comparison = Comparison(
        name=f"idle_{'tcp' if options.tcp else 'tls' if options.tls else 'http'}{FEATURES[options.features]}",
        mode="tcp" if options.tcp else "http",
        title=f"{options.connections} idle connections, {_kind(options)}, anonymous RSS", tls=options.tls,
        unit="connection", main="kib_per_connection",
        columns=(Column("started_mib", "MiB at first"), Column("before_mib", "MiB before"),
                 Column("after_mib", "MiB with them"), Column("closed_mib", "MiB after"),
                 Column("kib_per_connection", "KiB each", 2)),
        notes=("User space only; nginx and HAProxy allocate some of it at start.",))
    with bench(comparison, options) as running:
        for number, proxy in running.each_round():
            if proxy.process is None:
                continue
            if number:
                proxy.stop()
                proxy.start()
                proxy.prove()
            running.record(proxy, number, idle(running, proxy, options.connections))
        finish(running)


if __name__ == "__main__":
    main(run)
