"""``voltgw status``: whether the running gateway is ready, and what it serves."""

from __future__ import annotations

import json

from voltgw.cli.remote import parser, question


def run(arguments: list[str]) -> int:
    """Print it; exit status 0 when it is ready, 1 when it is not (or is no gateway), 3 when nobody answers."""
    options = parser("status", "Say whether the running gateway is ready, and what it serves.").parse_args(arguments)
    failed, facts = question(options.admin, "/", "version", "ready")
    if failed:
        return failed
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        print(f"voltgw {facts['version']}, generation {facts['generation']}, "
              f"{'draining' if facts['draining'] else 'ready' if facts['ready'] else 'not ready'}")
        for missing in facts["missing"]:
            print(f"  waits for {missing}")
        for stage in facts.get("overload", {}).get("now", ()):
            print(f"  overload: {stage}")
        if facts["last_reload_error"]:
            print(f"  the last reload was refused: {facts['last_reload_error']}")
        print(f"  listeners: {facts['listeners']['bound']} of {facts['listeners']['all']} bound")
        print(f"  clusters: {facts['clusters']['with_ready_endpoints']} of {facts['clusters']['all']} have an endpoint to use")
        for each in facts.get("workers", ()):
            again = f", started again {each['respawns']} times" if each["respawns"] else ""
            print(f"  worker {each['worker']}: {each['state']}{again}")
        for each in facts.get("registries", ()):
            print(f"  {each['by']} {each['registry']}: {each['state']}"
                  f"{': ' + each['last_error'] if each['last_error'] else ''}")
    return 0 if facts["ready"] else 1
