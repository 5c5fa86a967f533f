"""``voltgw names``: every name that the running gateway answers for, with what, and why."""

from __future__ import annotations

import json

from voltgw.cli.remote import parser, question


def run(arguments: list[str]) -> int:
    """Print them; exit status 0, 1 when it is no gateway, 3 when nobody answers."""
    options = parser("names", "Show which names are answered for virtual hosts, with what addresses, and why.").parse_args(
        arguments)
    failed, facts = question(options.admin, "/names", "names", "zones")
    if failed:
        return failed
    if options.json:
        print(json.dumps(facts, indent=2))
        return 0
    for each in facts["listens"]:
        print(f"DNS on {each['address']} (UDP and TCP, {each['tcp_connections']} TCP connections)")
    for each in facts["zones"]:
        print(f"zone {each['zone']}: serial {each['serial']}, {each['virtual_host_names']} names of virtual hosts "
              f"({each['object']})")
        if each["ds"] is not None:
            print(f"  signed; its parent zone needs: {each['ds']}")
        for secondary in each["secondaries"]:
            print(f"  secondary {secondary['address']}: {secondary['why']}")
    for each in facts["registries"]:
        print(f"{each['by']} {each['registry']}: {each['state']}, {each['names']} names as owner {each['owner']}"
              f"{', dry run' if each['dry_run'] else ''}"
              f"{'' if each['finds_all'] else ', what a former life has left there is not found'} ({each['object']})"
              f"{': ' + each['last_error'] if each['last_error'] else ''}")
    for each in facts["discoveries"]:
        age = "never" if each["age_s"] is None else f"{each['age_s']:g} s ago"
        print(f"{each['kind']} {each['url']} ({each['discovery']}): {each['state']}, last answer {age}"
              + (f": {each['last_error']}" if each["last_error"] else ""))
        for name, count in each["services"].items():
            print(f"  service {name}: {count} instances")
    for each in facts["names"]:
        print(f"  {each['name']:<36} {', '.join(each['addresses']) or '-':<24} {each['why']}")
    return 0
