"""``voltgw undrain``: let an endpoint serve again that was drained or ejected by hand."""

from __future__ import annotations

from voltgw.cli.ordering import command, send


def run(arguments: list[str]) -> int:
    """Exit status 0 when it is done, 1 when it was refused, 3 when nobody answers."""
    made = command("undrain", "Let an endpoint serve again that was drained or ejected by hand.")
    return send("undrain", made.parse_args(arguments))
