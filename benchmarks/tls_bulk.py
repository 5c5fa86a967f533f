"""A large download over HTTPS (TLS 1.3): CPU seconds of the proxy for one gigabyte (1e9 bytes), with equal buffers."""

from __future__ import annotations

from functools import partial

from compare import FEATURES, Column, Comparison, arguments, bench, finish, main, measured
from load import client
from origin import FILES


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "", connections=1, proxies="voltgw,haproxy,nginx,envoy")
    parser.set_defaults(buffers="big")
    options = parser.parse_args()
    comparison = Comparison(
        name=f"tls_bulk{FEATURES[options.features]}",
        title=f"HTTPS bulk, one connection downloading 10 MiB bodies, {options.buffers} buffers, features {options.features}",
        unit="GB", main="cpu_s_per_gb", files=("10m",), tls=True,
        columns=(Column("cpu_s_per_gb", "CPU s/GB", 3), Column("system_pct", "of it system %", 0),
                 Column("gb_per_s", "GB/s", 2)))
    with bench(comparison, options) as running:
        def load(port: int, seconds: float) -> dict[str, float]:
            return client("tls_client.py", ["bulk", str(port), str(seconds), "/10m/x", str(FILES["10m"]), "1"], seconds,
                          running.directory, options.nice)

        for proxy in running.proxies:
            load(proxy.port, options.warm_up)
        for number, proxy in running.each_round():
            proxy.take_log_lines()
            figures = measured(proxy, partial(load, proxy.port, options.seconds), "gigabytes")
            figures["gb_per_s"] = figures["gigabytes"] / figures["seconds"]
            if "cpu_s" in figures:
                figures["cpu_s_per_gb"] = figures["cpu_s"] / figures["gigabytes"]
            running.record(proxy, number, figures)
        finish(running)


if __name__ == "__main__":
    main(run)
