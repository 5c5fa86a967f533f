"""``voltgw weight``: give an endpoint another weight."""

from __future__ import annotations

from voltgw.cli.ordering import command, send


def run(arguments: list[str]) -> int:
    """Exit status 0 when it is done, 1 when it was refused, 3 when nobody answers."""
    made = command("weight", "Give an endpoint another weight.")
    made.add_argument("weight", metavar="N", help="0 to 65535; `reset` = its own one again")
    options = made.parse_args(arguments)
    return send("weight", options, options.weight)
