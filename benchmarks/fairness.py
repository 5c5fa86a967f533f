"""What one greedy client costs the others: latency of a hundred polite connections, alone and beside it.

The polite clients send a fixed number of requests a second, whether answered or not (openloop.py). The greedy one is a
single connection: of HTTP/1.1 that always has 100 requests under way, of HTTP/2 with 100 streams, or one that downloads 10 MB
again and again. It takes all that the proxy gives it; the question is who waits for that. Origin and load generators share
the other CPU: its own waiting is part of every figure, and the same for every proxy.
"""

from __future__ import annotations

from functools import partial

from compare import Bench, Column, Comparison, arguments, bench, finish, main, measured
from harness import HERE, LOAD_CPU, Proc
from http2 import paths
from load import WRK, client
from origin import SMALL
from proxies import HOST, Proxy

KINDS = ("alone", "pipeline", "bulk")
#: Longer than any round: the greedy client is stopped.
_LONG_S = 600


def greedy(running: Bench, proxy: Proxy, kind: str) -> Proc | None:
    """Start the greedy client; None where there is none."""
    port, directory = proxy.port, running.directory
    if kind == "pipeline":
        command = [WRK, "-t1", "-c1", f"-d{_LONG_S}s", "-s", str(HERE / "pipeline.lua"), "-H", f"Host: {HOST}",
                   f"http://127.0.0.1:{port}/", "--", "100"]
    elif kind == "streams":
        command = ["h2load", "-t1", "-c1", "-m100", f"-D{_LONG_S}", f"--connect-to=127.0.0.1:{port}",
                   "-i", str(paths(directory, "http", same=False))]
    elif kind == "bulk":
        command = [WRK, "-t1", "-c1", f"-d{_LONG_S}s", "-H", f"Host: {HOST}", f"http://127.0.0.1:{port}/10m"]
    else:
        return None
    return Proc(f"greedy {kind}", command, LOAD_CPU, directory / f"{kind}.log", nice=running.options.nice)


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "", seconds=4, rounds=3, connections=100, proxies="voltgw,haproxy,nginx,envoy")
    parser.add_argument("--rate", type=float, default=500, help="requests of the polite clients, in a second")
    parser.add_argument("--kinds", default=",".join(KINDS), help="greedy clients, comma-separated; there is `streams`, too")
    options = parser.parse_args()
    version_2 = "streams" in options.kinds.split(",")       # then the peers take nothing else: leave them out
    comparison = Comparison(
        name="fairness_streams" if version_2 else "fairness",
        title=f"Latency of {options.rate:g} requests a second beside one greedy connection", unit="request",
        main="p99_us", ratios_of=("p50_us",), version_2=version_2,
        columns=(Column("p50_us", "p50 ms", 3, 1e-3), Column("p99_us", "p99 ms", 2, 1e-3),
                 Column("p999_us", "p99.9 ms", 2, 1e-3), Column("rps", "req/s", 0), Column("cpu_us", "CPU us/req", 0)),
        notes=("CPU us/req is all that the proxy did in that time, divided by the polite requests.",))
    with bench(comparison, options) as running:
        for number in range(options.rounds):
            for kind in options.kinds.split(","):
                for proxy in running.proxies:
                    if proxy.process is None:
                        continue
                    other = greedy(running, proxy, kind)
                    try:
                        figures = measured(proxy, partial(client, "openloop.py", [
                            str(proxy.port), f"{options.rate:.3f}", str(options.seconds), "0.5", str(options.connections),
                            str(len(SMALL)), "poisson"], options.seconds, running.directory, options.nice))
                        if other is not None:
                            other.check()
                    finally:
                        if other is not None:
                            other.stop()
                    proxy.take_log_lines()
                    running.record(proxy, number, figures, kind)
        finish(running)


if __name__ == "__main__":
    main(run)
