"""HTTP/1.1 keep-alive over TLS 1.3 through each proxy: a browser's ten header lines, distinct paths, small answers.

The origin is asked without TLS by all. The figure is CPU microseconds of the proxy for one request; handshakes are a few dozen
in a round, and count for nothing.
"""

from __future__ import annotations

from compare import FEATURES, Column, Comparison, arguments, bench, main, request_rounds, spread
from http2 import paths
from load import h2load
from proxies import Proxy

COLUMNS = (Column("cpu_us", "CPU us/req"), Column("system_pct", "of it system %", 0), Column("rps", "req/s", 0))


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "", proxies="voltgw,haproxy,nginx,envoy")
    parser.add_argument("--requests", type=int, default=40_000, help="in each round, in place of --seconds")
    options = parser.parse_args()
    comparison = Comparison(
        name=f"https_keepalive{FEATURES[options.features]}",
        title=f"HTTPS keep-alive (TLS 1.3, P-256), {options.connections} connections, ten header lines, distinct paths, "
              f"128 B answers, features {options.features}",
        unit="request", main="cpu_us", columns=COLUMNS, tls=True)
    with bench(comparison, options) as running:
        uris = paths(running.directory, "https", False, spread(options))

        def load(proxy: Proxy, count: int) -> dict[str, float]:
            return h2load(proxy.port, uris, running.directory, count=count, connections=options.connections, streams=1,
                          nice=options.nice, version_1=True)

        request_rounds(running, load, options.requests, options.requests // 4)


if __name__ == "__main__":
    main(run)
