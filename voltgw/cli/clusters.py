"""``voltgw clusters``: every endpoint of the running gateway, and why it does or does not receive traffic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from voltgw.cli.remote import chosen, parser


def run(arguments: list[str]) -> int:
    """Print them; exit status 0, 1 when there is no such cluster (or no gateway), 3 when nobody answers."""
    made = parser("clusters", "Show every endpoint of the running gateway, and why it does or does not receive traffic.")
    made.add_argument("name", nargs="?", metavar="CLUSTER", help="only this one: namespace/name, or its name alone")
    made.add_argument("-v", "--verbose", action="store_true", help="also what each one weighs, does and was found to do")
    options = made.parse_args(arguments)
    failed, clusters = chosen(options, "/clusters", "cluster")
    if failed:
        return failed
    if options.json:
        print(json.dumps(clusters, indent=2))
        return 0
    for each in clusters:
        print(f"{each['cluster']}: {each['ready']} of {len(each['endpoints'])} endpoints receive traffic, "
              f"{each['active']} requests under way")
        for endpoint in each["endpoints"]:
            print(f"  {endpoint['endpoint']:<22} {endpoint['health']:<10} {endpoint['why']}")
            if options.verbose:
                for line in details(endpoint):
                    print(f"    {line}")
    return 0


def details(endpoint: dict[str, Any]) -> Iterator[str]:
    """The rest of what the gateway says of one endpoint, a line for each matter."""
    share = "" if endpoint["share_percent"] is None else f", {endpoint['share_percent']:g} % of the picks"
    yield (f"weight {endpoint['weight']}, slow start {endpoint['slow_start_factor']:g}{share}, priority {endpoint['priority']}"
           + "".join(f", {what} {endpoint[what]}" for what in ("zone", "site") if endpoint[what]))
    yield (f"{endpoint['active']} under way, {endpoint['connections']} connections, {endpoint['idle_connections']} of them "
           f"idle, {endpoint['requests']} requests so far")
    if endpoint["labels"]:
        yield "labels: " + ", ".join(f"{key}={value}" for key, value in sorted(endpoint["labels"].items()))
    if endpoint["latency_ms"] is not None:
        yield f"takes {endpoint['latency_ms']:g} ms lately"
    ejection = endpoint["ejection"]
    if ejection is not None:
        now = f"ejected for another {ejection['for_another_s']:g} s" if ejection["ejected"] else "not ejected"
        yield f"{now}; {ejection['failures_in_a_row']} failures in a row, ejected {ejection['times']} times so far"
    for check in endpoint["checks"]:
        state = {True: "passes", False: "fails", None: "has no result yet"}[check["healthy"]]
        last = check["results"][0] if check["results"] else None
        said = f", last {last['ago_s']:g} s ago: {last['reason']} ({last['took_ms']:g} ms)" if last else ""
        yield f"check {check['check']} {state}, {check['against']} of {check['needed']} against that{said}"
