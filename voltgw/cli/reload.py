"""``voltgw reload``: have the running gateway read its configuration again."""

from __future__ import annotations

import json
import sys

from voltgw.cli.remote import UNREACHABLE_STATUS, answer, parser


def run(arguments: list[str]) -> int:
    """Exit status 0 when the new configuration serves, 2 when it was refused, 1 when we may not ask, 3 when nobody answers."""
    made = parser("reload", "Have the running gateway read its configuration again; over a unix socket only (else: SIGHUP).")
    options = made.parse_args(arguments)
    got = answer(options.admin, "POST", "/reload")
    if got is None:
        return UNREACHABLE_STATUS
    status, result = got
    if options.json:
        print(json.dumps(result, indent=2))
    elif status == 200:
        print(f"generation {result['generation']} serves")
        for change in result["changes"]:
            print(f"  {change}")
    else:
        for problem in result.get("problems", [result.get("error", f"status {status}")]):
            print(f"voltgw reload: {problem}", file=sys.stderr)
    return 0 if status == 200 else 2 if status == 422 else 1
