"""``voltgw eject``: give an endpoint nothing new for a while."""

from __future__ import annotations

from voltgw.cli.ordering import command, send


def run(arguments: list[str]) -> int:
    """Exit status 0 when it is done, 1 when it was refused, 3 when nobody answers."""
    made = command("eject", "Give an endpoint nothing new for a while; it comes back by itself.")
    made.add_argument("time", nargs="?", metavar="TIME", default="", help="30s, 5m (default: 30s)")
    options = made.parse_args(arguments)
    return send("eject", options, options.time)
