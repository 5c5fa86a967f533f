"""HTTP/1.1 keep-alive through each proxy: a browser's ten header lines, distinct paths, a small or a large answer.

The figure is CPU microseconds of the proxy for one request. req/s is often limited by origin and generator, which share a
CPU; the latencies are at saturation, so they are queueing, not service time (see open_loop.py for that).
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Final

from compare import REQUEST_COLUMNS, Comparison, arguments, bench, check_log, finish, main, measured
from load import wrk
from origin import FILES, SMALL


def measure(comparison: Comparison, options: argparse.Namespace, *, close: bool = False, bare: bool = False,
            prefix: str = "/shop/item-", body_bytes: int = len(SMALL), logs_requests: bool = True) -> None:
    """wrk against each proxy in turn; shared by every comparison that counts requests."""
    with bench(comparison, options) as running:
        def load(port: int, seconds: float) -> dict[str, float]:
            return wrk(port, seconds, running.directory, connections=options.connections, prefix=prefix, close=close, bare=bare,
                       body_bytes=body_bytes, nice=options.nice)

        for proxy in running.proxies:
            load(proxy.port, options.warm_up)
        for number, proxy in running.each_round():
            proxy.take_log_lines()
            figures = measured(proxy, partial(load, proxy.port, options.seconds))
            figures["rps"] = figures["requests"] / figures["seconds"]
            if logs_requests:
                figures |= check_log(running, proxy, figures["requests"])
            running.record(proxy, number, figures)
        finish(running)


#: How a result is called.
FEATURES: Final = {"on": "", "off": "_bare", "ten": "_ten"}


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
        prefix="/shop/item-" if small else f"/{options.body}/",
        body_bytes=len(SMALL) if small else FILES[options.body])


if __name__ == "__main__":
    main(run)
