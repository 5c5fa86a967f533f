"""Round trips over kept connections through a TCP relay.

The other end is nginx answering 128 bytes from memory and the generator is wrk with a two-line head, because nothing
written in Python could make enough echo traffic beside it: for a relay a short request and its short answer are an echo.
`--new-connections` makes each round trip on a connection of its own, which a relay must match with one to the origin.
"""

from __future__ import annotations

from compare import FEATURES, REQUEST_COLUMNS, Comparison, arguments, main
from http_keepalive import measure


def run() -> None:
    """The command."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--new-connections", action="store_true", help="one connection each way for every round trip")
    options = parser.parse_args()
    fresh = options.new_connections
    measure(
        Comparison(
            name=f"{'tcp_newconn' if fresh else 'tcp_echo'}{FEATURES[options.features]}",
            title=f"TCP relay, {'new connection for every round trip' if fresh else 'round trips on kept connections'}, "
                  f"{options.connections} connections, features {options.features}",
            unit="connection" if fresh else "round trip", main="cpu_us", columns=REQUEST_COLUMNS, mode="tcp",
            notes=("An echo is a 70-byte HTTP request and its 128-byte answer; the relays see bytes only.",)),
        # A relay logs a line for each connection; on kept ones that is nothing.
        options, close=fresh, bare=True, prefix="/", logs_requests=fresh)


if __name__ == "__main__":
    main(run)
