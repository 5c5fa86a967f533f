"""``voltgw clusters``: every endpoint of the running gateway, and why it does or does not receive traffic."""

from __future__ import annotations

import json

from voltgw.cli.remote import UNREACHABLE_STATUS, answer, parser


def run(arguments: list[str]) -> int:
    """Print them; exit status 0, or 3 when no gateway answers."""
    made = parser("clusters", "Show every endpoint of the running gateway, and why it does or does not receive traffic.")
    made.add_argument("name", nargs="?", metavar="CLUSTER", help="only this one: namespace/name, or its name alone")
    options = made.parse_args(arguments)
    got = answer(options.admin, "GET", "/clusters")
    if got is None:
        return UNREACHABLE_STATUS
    clusters = [each for each in got[1]["clusters"]
                if options.name is None or options.name in (each["cluster"], each["cluster"].partition("/")[2])]
    if options.json:
        print(json.dumps(clusters, indent=2))
        return 0
    for each in clusters:
        print(f"{each['cluster']}: {each['ready']} of {len(each['endpoints'])} endpoints receive traffic, "
              f"{each['active']} requests under way")
        for endpoint in each["endpoints"]:
            print(f"  {endpoint['endpoint']:<22} {endpoint['health']:<10} {endpoint['why']}")
    return 0
