"""``voltgw rollback [NUMBER]``: have the running gateway serve a configuration that it has kept."""

from __future__ import annotations

from voltgw.cli.remote import changed, parser


def run(arguments: list[str]) -> int:
    """Exit status 0 when it serves, 2 when it was refused, 1 when we may not ask, 3 when nobody answers."""
    made = parser("rollback", "Have the running gateway serve a configuration that it has kept, until the files are edited and "
                  "reloaded. Needs who may: the unix socket, a token, or a certificate.")
    made.add_argument("number", metavar="NUMBER", nargs="?", type=int, default=0,
                      help="as `voltgw generations` shows it (default: the last one before the one that serves)")
    options = made.parse_args(arguments)
    query = f"?number={options.number}" if options.number else ""
    status, result = changed("rollback", options, f"/rollback{query}", "number")
    if result is not None:
        print(f"number {result['number']} serves, as generation {result['generation']} of this process")
        for change in result["changes"]:
            print(f"  {change}")
        for path in result["differs"]:
            print(f"  the file on disk says something else: {path}")
    return status
