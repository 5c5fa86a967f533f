"""``voltgw drain``: give an endpoint nothing new; what is under way may finish."""

from __future__ import annotations

from voltgw.cli.ordering import command, send


def run(arguments: list[str]) -> int:
    """Exit status 0 when it is done, 1 when it was refused, 3 when nobody answers."""
    return send("drain", command("drain", "Give an endpoint nothing new; what is under way may finish.").parse_args(arguments))
