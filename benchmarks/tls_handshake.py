"""TLS 1.3 handshakes through each proxy, one small request on each connection: ECDSA (P-256), ``--key rsa`` (2048 bits).

The figure is CPU microseconds of the proxy for one connection: accept, handshake, one request, close. Much of it is OpenSSL's
or BoringSSL's own work. With ``--resumed`` each connection but the first few brings a ticket: no certificate is shown, and the
generator is wrk, which keeps the proxies busier than our own can.
"""

from __future__ import annotations

from compare import FEATURES, KEYS, Column, Comparison, arguments, bench, main, request_rounds
from load import client, wrk
from proxies import Proxy

COLUMNS = (Column("cpu_us", "CPU us/connection"), Column("system_pct", "of it system %", 0), Column("rps", "connection/s", 0))
_NAMES = {"ec": "P-256", "rsa": "RSA, 2048 bits"}


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "", connections=8, proxies="voltgw,haproxy,nginx,envoy")
    parser.add_argument("--key", choices=tuple(KEYS), default="ec", help="of the certificate")
    parser.add_argument("--resumed", action="store_true", help="resume sessions by their tickets")
    options = parser.parse_args()
    key = "" if options.key == "ec" else f"_{options.key}"
    comparison = Comparison(
        name=f"{'tls_resumed' if options.resumed else 'tls_handshake'}{key}{FEATURES[options.features]}",
        title=f"{'resumed' if options.resumed else 'full'} TLS 1.3 handshakes ({_NAMES[options.key]}), one request each, "
              f"{options.connections} at a time, features {options.features}",
        unit="connection", main="cpu_us", columns=COLUMNS, tls=True, key=options.key)
    with bench(comparison, options) as running:
        def load(proxy: Proxy, seconds: float) -> dict[str, float]:
            if options.resumed:
                return wrk(proxy.port, seconds, running.directory, connections=options.connections, close=True, tls=True,
                           nice=options.nice)
            return client("tls_client.py", ["handshake", str(proxy.port), str(seconds), str(options.connections)], seconds,
                          running.directory, options.nice)

        request_rounds(running, load, options.seconds, options.warm_up)


if __name__ == "__main__":
    main(run)
