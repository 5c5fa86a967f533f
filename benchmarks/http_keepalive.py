"""HTTP/1.1 keep-alive through each proxy: a browser's ten header lines, distinct paths, a small or a large answer.

The figure is CPU microseconds of the proxy for one request. req/s is often limited by origin and generator, which share a
CPU; the latencies are at saturation, so they are queueing, not service time (see open_loop.py for that).
"""

from __future__ import annotations

import argparse

from compare import FEATURES, REQUEST_COLUMNS, Comparison, arguments, bench, main, request_rounds, spread
from load import wrk
from origin import FILES, SMALL
from proxies import Proxy


def measure(comparison: Comparison, options: argparse.Namespace, *, close: bool = False, bare: bool = False,
            prefix: str = "", body_bytes: int = len(SMALL), logs_requests: bool = True) -> None:
    """wrk against each proxy in turn; shared by every comparison that counts requests.

    Without `prefix` requests take turns among the routes that there are.
    """
    with bench(comparison, options) as running:
        def load(proxy: Proxy, seconds: float) -> dict[str, float]:
            return wrk(proxy.port, seconds, running.directory, connections=options.connections, close=close, bare=bare,
                       prefix=prefix or "/shop/item-", spread=0 if prefix else spread(options), body_bytes=body_bytes,
                       nice=options.nice)

        request_rounds(running, load, options.seconds, options.warm_up, logged=logs_requests)


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--body", choices=("128", "64k", "1m", "10m"), default="128", help="bytes of each answer")
    options = parser.parse_args()
    small = options.body == "128"
    measure(
        Comparison(
            name=f"http_keepalive{'' if small else '_' + options.body}{FEATURES[options.features]}",
            title=f"HTTP/1.1 keep-alive, {options.connections} connections, ten header lines, distinct paths, "
                  f"{'128 B' if small else options.body + 'iB'} answers, features {options.features}",
            unit="request", main="cpu_us", columns=REQUEST_COLUMNS, files=() if small else (options.body,)),
        options,
        prefix="" if small else f"/{options.body}/",
        body_bytes=len(SMALL) if small else FILES[options.body])


if __name__ == "__main__":
    main(run)
