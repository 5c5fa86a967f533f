"""HTTP/2 through each proxy, with TLS or without: 10 streams on each of 8 connections, distinct paths, a browser's headers.

Distinct paths matter: who remembers whole header blocks looks twice as fast when every request is the same. The origin is asked
in HTTP/1.1 by all. The figure is CPU microseconds of the proxy for one request.
"""

from __future__ import annotations

from pathlib import Path

from compare import FEATURES, Column, Comparison, arguments, bench, main, request_rounds, spread
from load import h2load
from proxies import HOST, Proxy

#: Paths before they repeat.
DISTINCT = 20_000
COLUMNS = (Column("cpu_us", "CPU us/req"), Column("system_pct", "of it system %", 0), Column("rps", "req/s", 0))


def paths(directory: Path, scheme: str, same: bool, among: int = 0) -> Path:
    """A file of the URIs that are asked for; they take turns `among` so many routes, if there are several."""
    file = directory / "uris"
    file.write_text("".join(
        f"{scheme}://{HOST}/{f'service-{number % among}' if among else 'shop'}/item-{0 if same else number}\n"
        for number in range(DISTINCT)))
    return file


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "", connections=8, proxies="voltgw,haproxy,nginx,envoy")
    parser.add_argument("--streams", type=int, default=10, help="requests at a time on each connection")
    parser.add_argument("--requests", type=int, default=40_000, help="in each round, in place of --seconds")
    parser.add_argument("--tls", action="store_true", help="clients speak TLS 1.3, to a certificate with a P-256 key")
    parser.add_argument("--same", action="store_true", help="one path for all requests")
    options = parser.parse_args()
    comparison = Comparison(
        name=f"http2{'_tls' if options.tls else ''}{'_same' if options.same else ''}{FEATURES[options.features]}",
        title=f"HTTP/2 {'over' if options.tls else 'without'} TLS, {options.connections} connections of "
              f"{options.streams} streams, ten header lines, "
              f"{'one path' if options.same else 'distinct paths'}, 128 B answers, features {options.features}",
        unit="request", main="cpu_us", columns=COLUMNS, version_2=True, tls=options.tls)
    with bench(comparison, options) as running:
        uris = paths(running.directory, "https" if options.tls else "http", options.same, spread(options))

        def load(proxy: Proxy, count: int) -> dict[str, float]:
            return h2load(proxy.port, uris, running.directory, count=count, connections=options.connections,
                          streams=options.streams, nice=options.nice)

        request_rounds(running, load, options.requests, options.requests // 4)


if __name__ == "__main__":
    main(run)
