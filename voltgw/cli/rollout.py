"""``voltgw rollout approve|pause|resume|rollback|promote|restart NAME``: decide for a rollout."""

from __future__ import annotations

import json
import sys
from typing import Final
from urllib.parse import urlencode

from voltgw.cli.remote import REFUSED_STATUS, UNREACHABLE_STATUS, answer, parser
from voltgw.cli.rollouts import shown

_ACTS: Final = ("approve", "pause", "resume", "rollback", "promote", "restart")


def run(arguments: list[str]) -> int:
    """Exit status 0 when it is done, 1 when it was refused, 3 when nobody answers."""
    made = parser("rollout", "Decide for a rollout of the running gateway. Needs who may: the unix socket, a token, "
                  "or a certificate.")
    made.add_argument("act", choices=_ACTS, metavar="ACT", help=", ".join(_ACTS))
    made.add_argument("name", metavar="ROLLOUT", help="namespace/name, or its name alone")
    options = made.parse_args(arguments)
    got = answer(options.admin, "POST", f"/rollouts/{options.act}?{urlencode({'name': options.name})}")
    if got is None:
        return UNREACHABLE_STATUS
    status, facts = got
    if status != 200 or not isinstance(facts, dict) or "rollout" not in facts:
        why = facts.get("error") if isinstance(facts, dict) else None
        print(f"voltgw rollout: {why or f'status {status}'}", file=sys.stderr)
        return REFUSED_STATUS
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        for line in shown({"not_kept": "", **facts}):
            print(line)
    return 0
