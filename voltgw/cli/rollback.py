"""``voltgw rollback [NUMBER]``: have the running gateway serve a configuration that it has kept."""

from __future__ import annotations

import json
import sys

from voltgw.cli.reload import CONFIG_STATUS, TIMEOUT_S
from voltgw.cli.remote import REFUSED_STATUS, UNREACHABLE_STATUS, answer, parser


def run(arguments: list[str]) -> int:
    """Exit status 0 when it serves, 2 when it was refused, 1 when we may not ask, 3 when nobody answers."""
    made = parser("rollback", "Have the running gateway serve a configuration that it has kept, until the files are edited and "
                  "reloaded. Over the unix socket of the admin interface only.")
    made.add_argument("number", metavar="NUMBER", nargs="?", type=int, default=0,
                      help="as `voltgw generations` shows it (default: the last one before the one that serves)")
    options = made.parse_args(arguments)
    got = answer(options.admin, "POST", f"/rollback?number={options.number}" if options.number else "/rollback", TIMEOUT_S)
    if got is None:
        return UNREACHABLE_STATUS
    status, result = got
    if not isinstance(result, dict):
        result = {}
    done = status == 200 and "number" in result
    if options.json:
        print(json.dumps(result, indent=2))
    elif done:
        print(f"number {result['number']} serves, as generation {result['generation']} of this process")
        for change in result["changes"]:
            print(f"  {change}")
        for path in result["differs"]:
            print(f"  the file on disk says something else: {path}")
    else:
        for problem in result.get("problems", [result.get("error", f"status {status}")]):
            print(f"voltgw rollback: {problem}", file=sys.stderr)
    return 0 if done else CONFIG_STATUS if status == 422 else REFUSED_STATUS
