"""``voltgw events [--follow] [--kind KIND] [--since ID]``: what has changed lately in the running gateway."""

from __future__ import annotations

import json
import time
from typing import Any, Final
from urllib.parse import urlencode

from voltgw.cli.remote import parser, question
from voltgw.cli.top_screen import printable

#: How often it is asked for more.
_FOLLOW_S: Final = 1.0


def run(arguments: list[str]) -> int:
    """Print one line an event, the oldest first; exit status 0, 1 when it was refused, 3 when nobody answers."""
    made = parser("events", "Show what has changed lately in the running gateway: reloads, health, ejections, certificates.")
    made.add_argument("--kind", action="append", default=[], metavar="KIND",
                      help="only these: a kind (reload.refused) or a family (reload); may be given again")
    made.add_argument("--since", type=int, default=0, metavar="ID", help="only those after this event's id")
    made.add_argument("--follow", "-f", action="store_true", help="go on with those that come, until interrupted")
    options = made.parse_args(arguments)
    since, process = max(options.since, 0), None
    while True:
        asked = urlencode([("since", since), *(("kind", kind) for kind in options.kind)])
        failed, facts = question(options.admin, f"/events?{asked}", "events", "next", "started")
        if failed:
            return failed
        if process is not None and facts["started"] != process:
            since, process = 0, None        # another process is there now: everything it has is new
            continue
        process = facts["started"]
        for event in facts["events"]:
            print(json.dumps(event) if options.json else shown(event), flush=True)
        more = facts["next"] > since and bool(facts["events"])
        since = max(since, facts["next"])
        if not options.follow:
            return 0
        if not more:
            time.sleep(_FOLLOW_S)


def shown(event: dict[str, Any]) -> str:
    """One line for reading; what others have said stands in messages, and shall not do anything to a terminal."""
    return printable(f"{event['id']:>6} {event['time']} {event['level']:<8} {event['kind']:<20} {event['message']}")
