"""What active health checks cost: CPU of the proxy for one HTTP probe, with thousands of endpoints and no traffic.

All endpoints are addresses of 127/8 behind one origin, which counts what reaches it. nginx has no active checks. How far
the probes of a proxy spread over the interval is not measured here.
"""

from __future__ import annotations

import math
import re
import time
from functools import partial

from compare import Column, Comparison, arguments, bench, finish, main, measured
from harness import BenchmarkError
from proxies import fetch


def endpoints(count: int, port: int) -> tuple[tuple[str, int], ...]:
    """`count` addresses of 127.1.0.0/16, from the second on."""
    return tuple((f"127.1.{number // 250}.{number % 250 + 1}", port) for number in range(count))


def counted(origin_port: int) -> int:
    """Requests that the origin has had so far, this one included."""
    numbers = re.search(r"^ *\d+ +\d+ +(\d+) *$", fetch(origin_port, "/_count").body.decode(), re.MULTILINE)
    if numbers is None:
        raise BenchmarkError("the origin does not count")
    return int(numbers[1])


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "", seconds=10, rounds=3, proxies="voltgw,haproxy,envoy")
    parser.add_argument("--endpoints", type=int, default=2000)
    parser.add_argument("--interval", type=int, default=2, help="seconds between two probes of one endpoint")
    options = parser.parse_args()
    if {"nginx", "direct"} & set(options.proxies.split(",")):
        raise BenchmarkError("nginx has no active health checks, and without a proxy there are none")
    # Some proxies probe everything at once: only whole intervals can be compared.
    options.seconds = options.interval * max(2, math.ceil(options.seconds / options.interval))
    comparison = Comparison(
        name="probes", title=f"Health checks: {options.endpoints} endpoints probed over HTTP every {options.interval} s",
        unit="probe", main="cpu_us",
        columns=(Column("cpu_us", "CPU us/probe"), Column("cpu_pct", "% of a CPU"), Column("probes_per_s", "probes/s", 0)))
    with bench(comparison, options, everywhere=partial(endpoints, options.endpoints),
               probe_interval_s=options.interval) as running:
        # One proxy at a time may probe, or their probes could not be told apart.
        for proxy in running.proxies:
            proxy.stop()
        for number, proxy in running.each_round():
            proxy.start()
            proxy.prove()
            time.sleep(options.interval + 2)

            def probe() -> dict[str, float]:
                assert running.origin is not None
                before, began = counted(running.origin.port), time.monotonic()
                time.sleep(options.seconds)
                return {"probes": counted(running.origin.port) - before - 1, "seconds": time.monotonic() - began}

            figures = measured(proxy, probe, "probes")
            figures["probes_per_s"] = figures["probes"] / figures["seconds"]
            figures["cpu_pct"] = figures["cpu_s"] / figures["load_s"] * 100
            expected = options.endpoints / options.interval
            if not 0.5 * expected < figures["probes_per_s"] < 2 * expected:
                running.warn(f"{proxy.name} made {figures['probes_per_s']:.0f} probes/s where {expected:.0f} were configured")
            running.record(proxy, number, figures)
            proxy.stop()
        finish(running)


if __name__ == "__main__":
    main(run)
