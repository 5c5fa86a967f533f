"""TLS connections that pass through by the name in their hello, one small request on each; TLS ends at the origin.

The figure is CPU microseconds of the proxy for one connection: accept, read the hello, connect, relay both ways, close. wrk
resumes its sessions, so that neither it nor the origin spends its time on handshakes; the proxies see a hello all the same.
"""

from __future__ import annotations

from compare import FEATURES, Column, Comparison, arguments, bench, main, request_rounds
from load import wrk
from proxies import Proxy

COLUMNS = (Column("cpu_us", "CPU us/connection"), Column("system_pct", "of it system %", 0), Column("rps", "connection/s", 0))


def run() -> None:
    """The command."""
    options = arguments(__doc__ or "", connections=16, proxies="voltgw,haproxy,nginx,envoy").parse_args()
    comparison = Comparison(
        name=f"sni{FEATURES[options.features]}",
        title=f"TLS passed through by server name, a connection for each request, {options.connections} at a time, features "
              f"{options.features}",
        unit="connection", main="cpu_us", columns=COLUMNS, mode="sni",
        notes=("nginx uses ssl_preread, HAProxy req_ssl_sni, Envoy its TLS inspector.",))
    with bench(comparison, options) as running:
        def load(proxy: Proxy, seconds: float) -> dict[str, float]:
            return wrk(proxy.port, seconds, running.directory, connections=options.connections, close=True, tls=True,
                       nice=options.nice)

        request_rounds(running, load, options.seconds, options.warm_up)


if __name__ == "__main__":
    main(run)
