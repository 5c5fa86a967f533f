"""``voltgw reload``: have the running gateway read its configuration again."""

from __future__ import annotations

from voltgw.cli.remote import changed, parser


def run(arguments: list[str]) -> int:
    """Exit status 0 when the new configuration serves, 2 when it was refused, 1 when we may not ask, 3 when nobody answers."""
    made = parser("reload", "Have the running gateway read its configuration again; SIGHUP does the same. Needs who may: the "
                  "unix socket, a token, or a certificate.")
    options = made.parse_args(arguments)
    status, result = changed("reload", options, "/reload", "generation")
    if result is not None:
        print(f"generation {result['generation']} serves")
        for change in result["changes"]:
            print(f"  {change}")
    return status
