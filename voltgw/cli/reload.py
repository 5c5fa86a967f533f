"""``voltgw reload``: have the running gateway read its configuration again."""

from __future__ import annotations

import json
import sys
from typing import Final

from voltgw.cli.remote import REFUSED_STATUS, UNREACHABLE_STATUS, answer, parser

#: A reload waits for the first probes of new clusters, and for other reloads before it.
TIMEOUT_S: Final = 300.0
#: Exit status when the new configuration was refused.
CONFIG_STATUS: Final = 2


def run(arguments: list[str]) -> int:
    """Exit status 0 when the new configuration serves, 2 when it was refused, 1 when we may not ask, 3 when nobody answers."""
    made = parser("reload", "Have the running gateway read its configuration again; over a unix socket only (else: SIGHUP).")
    options = made.parse_args(arguments)
    got = answer(options.admin, "POST", "/reload", TIMEOUT_S)
    if got is None:
        return UNREACHABLE_STATUS
    status, result = got
    if not isinstance(result, dict):
        result = {}
    done = status == 200 and "generation" in result
    if options.json:
        print(json.dumps(result, indent=2))
    elif done:
        print(f"generation {result['generation']} serves")
        for change in result["changes"]:
            print(f"  {change}")
    else:
        for problem in result.get("problems", [result.get("error", f"status {status}")]):
            print(f"voltgw reload: {problem}", file=sys.stderr)
    return 0 if done else CONFIG_STATUS if status == 422 else REFUSED_STATUS
