"""``voltgw clusters``: every endpoint of the running gateway, and why it does or does not receive traffic."""

from __future__ import annotations

import json
import sys

from voltgw.cli.remote import REFUSED_STATUS, parser, question


def run(arguments: list[str]) -> int:
    """Print them; exit status 0, 1 when there is no such cluster (or no gateway), 3 when nobody answers."""
    made = parser("clusters", "Show every endpoint of the running gateway, and why it does or does not receive traffic.")
    made.add_argument("name", nargs="?", metavar="CLUSTER", help="only this one: namespace/name, or its name alone")
    options = made.parse_args(arguments)
    failed, facts = question(options.admin, "/clusters", "clusters")
    if failed:
        return failed
    clusters = [each for each in facts["clusters"]
                if options.name is None or options.name in (each["cluster"], each["cluster"].partition("/")[2])]
    if not clusters and options.name is not None:
        print(f"voltgw: there is no cluster {options.name!r}", file=sys.stderr)
        return REFUSED_STATUS
    if options.json:
        print(json.dumps(clusters, indent=2))
        return 0
    for each in clusters:
        print(f"{each['cluster']}: {each['ready']} of {len(each['endpoints'])} endpoints receive traffic, "
              f"{each['active']} requests under way")
        for endpoint in each["endpoints"]:
            print(f"  {endpoint['endpoint']:<22} {endpoint['health']:<10} {endpoint['why']}")
    return 0
