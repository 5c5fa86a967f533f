"""``voltgw log-level [LOGGER] [LEVEL|reset]``: show more or less in the process log of the running gateway."""

from __future__ import annotations

import json
import sys
from typing import Final
from urllib.parse import urlencode

from voltgw.cli.remote import REFUSED_STATUS, UNREACHABLE_STATUS, answer, parser, question
from voltgw.config.logs import LogLevel
from voltgw.observe.log_pages import summary

_WORDS: Final = (*(level.value for level in LogLevel), "reset")


def run(arguments: list[str]) -> int:
    """Exit status 0 when it is done, 1 when it was refused, 2 for a wrong command line, 3 when nobody answers."""
    made = parser("log-level", "Show from which level on the process log of the running gateway is written, or change that "
                  "until the gateway ends or its configuration says another level. Changes need who may: the unix "
                  "socket, a token, or a certificate.")
    made.add_argument("words", nargs="*", metavar="[LOGGER] [LEVEL]",
                      help=f"{', '.join(_WORDS)}; LOGGER is the beginning of a logger's name: voltgw.control")
    options = made.parse_args(arguments)
    words: list[str] = options.words
    if len(words) > 2 or (words and words[-1] not in _WORDS) or words[1:] == ["reset"]:
        made.error("expected [LOGGER] LEVEL, or reset alone")
    if not words:
        failed, facts = question(options.admin, "/logs", "level", "levels", "ordered")
        if failed:
            return failed
    else:
        asked = {"level": words[-1], **({"logger": words[0]} if len(words) == 2 else {})}
        got = answer(options.admin, "POST", f"/logs/level?{urlencode(asked)}")
        if got is None:
            return UNREACHABLE_STATUS
        status, facts = got
        if status != 200 or not isinstance(facts, dict) or "level" not in facts:
            why = facts.get("error") if isinstance(facts, dict) else None
            print(f"voltgw log-level: {why or f'status {status}'}", file=sys.stderr)
            return REFUSED_STATUS
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        print("\n".join(summary(facts)))
    return 0
