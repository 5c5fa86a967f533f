"""``voltgw rollouts``: how far each rollout of the running gateway is, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from voltgw.cli.remote import chosen, parser


def run(arguments: list[str]) -> int:
    """Print them; exit status 0, 1 when there is no such rollout (or no gateway), 3 when nobody answers."""
    made = parser("rollouts", "Show how far each rollout of the running gateway is, and why.")
    made.add_argument("name", nargs="?", metavar="ROLLOUT", help="only this one: namespace/name, or its name alone")
    options = made.parse_args(arguments)
    failed, rollouts = chosen(options, "/rollouts", "rollout")
    if failed:
        return failed
    if options.json:
        print(json.dumps(rollouts, indent=2))
        return 0
    for each in rollouts:
        for line in shown(each):
            print(line)
    return 0


def shown(rollout: dict[str, Any]) -> Iterator[str]:
    """What there is to say of one, a line for each matter."""
    weight = rollout["weight_percent"]
    share = "the configured weights" if weight is None else f"{weight:g} % for {rollout['candidate']}"
    steps = ", ".join(f"[{each:g}]" if number == rollout["step"] else f"{each:g}"
                      for number, each in enumerate(rollout["steps"], 1))
    yield f"{rollout['rollout']}: {rollout['phase']}, {share}; steps {steps}"
    yield f"  why: {rollout['why']}"
    for version in ("candidate", "baseline"):
        counted = rollout["counted"][version]
        low, high = counted["error_percent_bounds"]
        times = ", ".join(f"{name} {value:g} ms" for name, value in counted["latency_ms"].items())
        between = f", surely between {low:.3g} and {high:.3g} %" if counted["requests"] else ""
        yield (f"  {version:<9} {counted['requests']} requests in this step, {counted['failures']} failed "
               f"({counted['error_percent']:.3g} %{between}); {times}")
    for event in rollout["events"][-5:]:
        yield f"  {event['time']} {event['event']}"
    if rollout["not_kept"]:
        yield f"  NOT KEPT: {rollout['not_kept']}"
