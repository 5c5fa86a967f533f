"""What a request costs against the number of routes, of endpoints of one virtual host, or of clients' connections (``--by``).

HTTP/1.1 on kept connections, ten header lines, distinct paths, features on. Routes are prefixes, in each proxy as trees, and
requests take turns among them. Endpoints are addresses of 127/8 with one origin behind all of them; voltgw has them in
clusters of 32, and no more than sixteen clusters stand in one rule, the peers have one cluster of all. Each number has proxies
of its own, of which rounds are interleaved. Connections are made within the measured time, which is longer for thousands. With
more endpoints than requests in a while, connections to them would be all that is measured: picks.py has picks among 100,000.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from compare import Bench, Column, Comparison, arguments, bench, finish, main, measured, spread
from load import wrk
from proxies import Proxy

COUNTS: Final = {"routes": (1, 100, 1_000, 10_000), "endpoints": (1, 32, 512), "connections": (1, 64, 500, 5_000)}
#: With this many connections and more, making them is not to be a part of what is measured.
_MANY: Final = 1_000
_LONG_S: Final = 4.0
COLUMNS: Final = (Column("cpu_us", "CPU us/req"), Column("system_pct", "of it system %", 0), Column("rps", "req/s", 0))


def addresses(count: int) -> Callable[[int], tuple[tuple[str, int], ...]]:
    """So many endpoints, which an origin that listens on all of 127/8 stands for."""
    return lambda port: tuple((f"127.1.{number >> 8}.{number & 255}", port) for number in range(1, count + 1))


def measure(running: Bench, options: argparse.Namespace, case: str) -> None:
    """All rounds of one number."""
    least = _LONG_S if options.connections >= _MANY else 0.0
    seconds, warm_up = max(options.seconds, least), max(options.warm_up, least)

    def load(proxy: Proxy, how_long: float) -> dict[str, float]:
        return wrk(proxy.port, how_long, running.directory, connections=options.connections, spread=spread(options),
                   nice=options.nice)

    for proxy in running.proxies:
        load(proxy, warm_up)
    for number, proxy in running.each_round():
        figures = measured(proxy, lambda proxy=proxy: load(proxy, seconds))     # type: ignore[misc]  # a default
        figures["rps"] = figures["requests"] / figures["seconds"]
        running.record(proxy, number, figures, case)


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "", seconds=1, rounds=3, proxies="voltgw,haproxy,nginx,envoy")
    parser.add_argument("--by", choices=tuple(COUNTS), default="routes", help="what grows")
    options = parser.parse_args()
    comparison = Comparison(
        name=f"growth_{options.by}", unit="request", main="cpu_us", columns=COLUMNS,
        title=f"HTTP/1.1 keep-alive against the number of {options.by}, ten header lines, distinct paths, features "
              f"{options.features}")
    rounds: list[dict[str, object]] = []
    counts = COUNTS[options.by]
    for count in counts:
        if options.by != "endpoints":
            setattr(options, options.by, count)
        with bench(comparison, options, everywhere=addresses(count) if options.by == "endpoints" else None) as running:
            running.rounds = rounds
            measure(running, options, f"{count:,} {options.by}")
            if count == counts[-1]:
                finish(running)


if __name__ == "__main__":
    main(run)
