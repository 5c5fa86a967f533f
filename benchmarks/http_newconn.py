"""HTTP/1.1 with a new client connection for every request (Connection: close); connections to the origin are kept.

HAProxy is told to reuse connections for first requests too (http-reuse always), as the others do.
"""

from __future__ import annotations

from compare import FEATURES, REQUEST_COLUMNS, Comparison, arguments, main
from http_keepalive import measure


def run() -> None:
    """The command."""
    options = arguments(__doc__ or "").parse_args()
    measure(
        Comparison(
            name=f"http_newconn{FEATURES[options.features]}",
            title=f"HTTP/1.1, new connection for every request, {options.connections} at a time, ten header lines, "
                  f"features {options.features}",
            unit="request", main="cpu_us", columns=REQUEST_COLUMNS),
        options, close=True)


if __name__ == "__main__":
    main(run)
