"""``voltgw generations``: the configurations that the running gateway has kept, and which of them serves."""

from __future__ import annotations

import json

from voltgw.cli.remote import parser, question


def run(arguments: list[str]) -> int:
    """Print them, the newest first; exit status 0, 1 when there is no gateway, 3 when nobody answers."""
    options = parser("generations", "Show the configurations that the running gateway has kept in its data_dir.").parse_args(
        arguments)
    failed, facts = question(options.admin, "/generations", "generations", "current")
    if failed:
        return failed
    if options.json:
        print(json.dumps(facts, indent=2))
        return 0
    for each in facts["generations"]:
        serves = each["number"] == facts["current"]
        note = "  serves, rolled back to" if serves and facts["rolled_back"] else "  serves" if serves else ""
        files = "1 file" if each["files"] == 1 else f"{each['files']} files"
        print(f"{each['number']:>6}  {each['time']}  {each['digest'][:12]}  {each['main']} ({files}){note}")
    if not facts["generations"]:
        print("none is kept; `gateway: {data_dir: /var/lib/voltgw}` has them kept")
    if facts["problem"]:
        print(f"NOT KEPT: {facts['problem']}")
    for path in facts["differs"]:
        print(f"the file on disk says something else: {path}")
    return 0
