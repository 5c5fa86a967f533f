"""``voltgw why REQUEST_ID``: why a request of the past was answered as it was, by the running gateway's memory."""

from __future__ import annotations

import json
import sys
from urllib.parse import urlencode

from voltgw.cli.remote import REFUSED_STATUS, UNREACHABLE_STATUS, answer, parser
from voltgw.cli.top_screen import printable
from voltgw.observe.decisions import text_of


def run(arguments: list[str]) -> int:
    """Print what is known; exit status 0, 1 when the gateway knows nothing of the request, 3 when nobody answers."""
    made = parser("why", "Say why a request of the past was answered as it was. All errors are remembered for a while, and one "
                  "in a hundred of the rest. The id stands in the access log, in error pages and in X-Request-Id; "
                  "that of its trace will do as well.")
    made.add_argument("id", metavar="REQUEST_ID", help="such as f282cd42-4c86-4fd8-8d57-f90e43e1c9a5")
    options = made.parse_args(arguments)
    got = answer(options.admin, "GET", f"/why?{urlencode({'id': options.id})}")
    if got is None:
        return UNREACHABLE_STATUS
    status, facts = got
    if status != 200 or not isinstance(facts, dict) or "decisions" not in facts:
        why = facts.get("error") if isinstance(facts, dict) else None
        print(f"voltgw why: {why or f'{options.admin} answers {status}'}", file=sys.stderr)
        return REFUSED_STATUS
    if options.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return 0
    said = "an error" if facts["kind"] == "error" else "of the sample"
    print(printable(f"{facts['request_id']}  {facts['time']}  {said}, generation {facts['generation']}"))
    print(printable(f"{facts['method']} {facts['authority']}{facts['target']} {facts['http_version']}"))
    if facts.get("trace_id"):
        print(f"trace {facts['trace_id']}")
    print()
    for line in text_of(facts["decisions"]).split("\n"):
        print(printable(line))              # clients have chosen some of it
    return 0
