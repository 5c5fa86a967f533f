"""Latency at 30 % and 70 % of each proxy's own capacity, from a generator that does not wait for answers.

Capacity is what one CPU could serve, 1e6 / (CPU us per request), from a short run at saturation before the rounds.
Latencies run from the time at which a request was *due* (see openloop.py), so coordinated omission cannot happen. The row
`direct` is the floor: origin and generator alone, at the highest of the rates. Where a rate had to be capped, the case is
less than the share it is named after, and the run says so.
"""

from __future__ import annotations

from functools import partial

from compare import FEATURES, Column, Comparison, arguments, bench, check_log, finish, main, measured
from load import client, wrk
from origin import SMALL

#: Requests leave this late at most (99 of 100) before the run is called doubtful.
_LATE_US = 500.0


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "", seconds=5, connections=256)
    parser.add_argument("--loads", default="30,70", help="per cent of each proxy's capacity")
    parser.add_argument("--arrivals", choices=("constant", "poisson"), default="constant", help="spacing of requests")
    parser.add_argument("--max-rate", type=float, default=30000, help="req/s that the generator is trusted with")
    options = parser.parse_args()
    comparison = Comparison(
        name=f"{'open_loop' if options.arrivals == 'constant' else 'open_loop_poisson'}{FEATURES[options.features]}",
        title=f"HTTP/1.1 latency, open loop, {options.arrivals} arrivals, {options.connections} connections, "
              f"ten header lines, features {options.features}",
        unit="request", main="p99_us", ratios_of=("p50_us", "p999_us", "cpu_us"),
        columns=(Column("rate", "req/s asked", 0), Column("rps", "req/s", 0), Column("p50_us", "p50 ms", 3, 1e-3),
                 Column("p99_us", "p99 ms", 2, 1e-3), Column("p999_us", "p99.9 ms", 2, 1e-3),
                 Column("cpu_us", "CPU us/req"), Column("late_p99_us", "sent late p99 ms", 2, 1e-3)),
        notes=("Latency from the intended time of each request; the row `direct` has no proxy.",))
    with bench(comparison, options) as running:
        capacity: dict[str, float] = {}
        for proxy in running.proxies:
            if proxy.process is not None:
                load = partial(wrk, proxy.port, max(1, options.warm_up), running.directory, nice=options.nice)
                load()
                capacity[proxy.name] = 1e6 / measured(proxy, load)["cpu_us"]
        loads = [float(load) for load in options.loads.split(",")]

        def rate(name: str, percent: float) -> float:
            wanted = (capacity[name] if name in capacity else max(capacity.values(), default=10000)) * percent / 100
            if wanted > options.max_rate and name in capacity:
                running.warn(f"{name} at {percent:g} %: asked for {options.max_rate:.0f} req/s instead of {wanted:.0f}, "
                             f"which is {options.max_rate / capacity[name]:.0%} of its capacity")
            return float(min(wanted, options.max_rate))

        for number in range(options.rounds):
            for percent in loads:
                for proxy in running.proxies:
                    asked = rate(proxy.name, percent)
                    proxy.take_log_lines()
                    figures = measured(proxy, partial(client, "openloop.py", [
                        str(proxy.port), f"{asked:.3f}", str(options.seconds), "0.5", str(options.connections),
                        str(len(SMALL)), options.arrivals], options.seconds, running.directory, options.nice))
                    figures |= check_log(running, proxy, figures["requests"])
                    if figures["waited_for_connection"]:
                        running.warn(f"{proxy.name} at {percent:g} %: all {options.connections} connections were busy at times")
                    elif figures["late_p99_us"] > _LATE_US:
                        running.warn(f"the generator itself was late with {proxy.name} at {percent:g} %")
                    running.record(proxy, number, figures, f"{percent:g} %")
        finish(running)


if __name__ == "__main__":
    main(run)
