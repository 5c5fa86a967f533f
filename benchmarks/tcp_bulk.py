"""A large download through a TCP relay: CPU seconds of the proxy for one gigabyte (1e9 bytes).

Buffer sizes decide much of this, so the default here is ``--buffers big``: 1 MiB for nginx and Envoy, 256 KiB for HAProxy,
which is the most that its buffers gain from. ``--http`` sends the same bytes through the HTTP proxies instead.
"""

from __future__ import annotations

from functools import partial

from compare import FEATURES, Column, Comparison, arguments, bench, check_log, finish, main, measured
from load import client
from origin import FILES


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "", connections=4)
    parser.set_defaults(buffers="big")
    parser.add_argument("--body", choices=("10m", "256m"), default="256m", help="size of each download")
    parser.add_argument("--http", action="store_true", help="through the HTTP proxies")
    options = parser.parse_args()
    mode = "http" if options.http else "tcp"
    comparison = Comparison(
        name=f"{mode}_bulk{'' if options.buffers == 'big' else '_default_buffers'}{FEATURES[options.features]}",
        title=f"{mode.upper()} bulk, {options.connections} connections downloading {options.body}iB, {options.buffers} "
              f"buffers, features {options.features}",
        unit="GB", main="cpu_s_per_gb", mode=mode, files=(options.body,),
        columns=(Column("cpu_s_per_gb", "CPU s/GB", 3), Column("system_pct", "of it system %", 0),
                 Column("gb_per_s", "GB/s", 2)))
    with bench(comparison, options) as running:
        def load(port: int, seconds: float) -> dict[str, float]:
            return client("download.py", [str(port), f"/{options.body}/x", str(FILES[options.body]), str(options.connections),
                                          str(seconds)], seconds, running.directory, options.nice)

        for proxy in running.proxies:
            load(proxy.port, options.warm_up)
        for number, proxy in running.each_round():
            proxy.take_log_lines()
            figures = measured(proxy, partial(load, proxy.port, options.seconds), "gigabytes")
            figures["gb_per_s"] = figures["gigabytes"] / figures["seconds"]
            if "cpu_s" in figures:
                figures["cpu_s_per_gb"] = figures["cpu_s"] / figures["gigabytes"]
            if mode == "tcp":
                # Every connection ends with its line.
                figures |= check_log(running, proxy, options.connections)
            running.record(proxy, number, figures)
        finish(running)


if __name__ == "__main__":
    main(run)
