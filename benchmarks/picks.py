"""What one pick costs with each scheduler, against the number of endpoints, and what building its table does.

Every endpoint is ready and has a few requests under way; keys are random. Needs voltgw's interpreter; the machine should have
nothing else to do. (A request costs tens of microseconds altogether.)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from time import perf_counter, thread_time
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from voltgw.cluster.cluster import Scheduler, SchedulerFactory
from voltgw.cluster.endpoint import Endpoint
from voltgw.cluster.schedulers import (
    lb_override,
    least_request,
    maglev,
    peak_ewma,
    random,
    rendezvous,
    ring_hash,
    round_robin,
)
from voltgw.cluster.schedulers.building import StepwiseFactory
from voltgw.cluster.snapshot import EndpointKey, EndpointState

COUNTS: Final = (10, 1_000, 100_000)
#: Name, factory, whether the weights differ, and the most endpoints it is measured with (a pick that looks at all of them).
SCHEDULERS: Final[Sequence[tuple[str, SchedulerFactory, bool, int]]] = (
    ("round_robin", round_robin.FACTORY, False, 100_000),
    ("round_robin, weights", round_robin.FACTORY, True, 100_000),
    ("random", random.FACTORY, False, 100_000),
    ("random, weights", random.FACTORY, True, 100_000),
    ("least_request", least_request.FACTORY, False, 100_000),
    ("least_request, weights", least_request.FACTORY, True, 100_000),
    ("least_request, 8 choices", least_request.LeastRequest(choice_count=8), False, 100_000),
    ("least_request, full scan", least_request.LeastRequest(full_scan=True), False, 1_000),
    ("ring_hash", ring_hash.FACTORY, False, 100_000),
    ("ring_hash, bounded load", ring_hash.RingHash(bounded_load=150), False, 100_000),
    ("maglev", maglev.FACTORY, False, 10_000),
    ("rendezvous", rendezvous.FACTORY, False, 1_000),
    ("peak_ewma", peak_ewma.FACTORY, False, 100_000),
    ("lb_override, with a key", lb_override.FACTORY, False, 100_000),
)


class NoPool:
    """Nobody connects."""

    def drain(self) -> None:
        """Nothing is open."""

    def __len__(self) -> int:
        return 0


def endpoints(count: int, weighted: bool) -> list[Endpoint]:
    """So many, with loads, and with weights from 1 to 7 or none."""
    chance = Random(1)
    made = []
    for number in range(count):
        key = EndpointKey("default/c", "TCP", "", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 80)
        made.append(Endpoint(EndpointState(key, chance.randint(1, 7) if weighted else 1), NoPool()))
        made[-1].active = chance.randint(0, 9)
    return made


def cost_us(scheduler: Scheduler, seconds: float) -> float:
    """Microseconds for one pick: the best of many rounds, the loop around it included (0.05 or so)."""
    chance = Random(2)
    keys = [chance.getrandbits(64) for _ in range(500)]
    pick = scheduler.pick
    best, end = float("inf"), perf_counter() + seconds
    while perf_counter() < end:
        began = perf_counter()
        for key in keys:
            pick(key)
        best = min(best, (perf_counter() - began) / len(keys))
    return best * 1e6


def building(factory: SchedulerFactory, members: Sequence[Endpoint]) -> tuple[Scheduler, float, float]:
    """The scheduler, the milliseconds of CPU time that it took, and those of its longest step."""
    if not isinstance(factory, StepwiseFactory):
        began = thread_time()
        made = factory.build(members, Random(0))
        return made, (thread_time() - began) * 1e3, (thread_time() - began) * 1e3
    steps = factory.building(members, Random(0), None)
    total = longest = 0.0
    while True:
        began = thread_time()
        try:
            next(steps)
        except StopIteration as done:
            took = thread_time() - began
            scheduler: Scheduler = done.value
            return scheduler, (total + took) * 1e3, max(longest, took) * 1e3
        took = thread_time() - began
        total += took
        longest = max(longest, took)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=0.3, help="for each cell")
    options.add_argument("--json", type=Path, help="write the figures there, too")
    options.add_argument("--only", help="schedulers whose names contain this")
    given = options.parse_args()
    rows = []
    print(f"{'us per pick':26}" + "".join(f"{count:>12,}" for count in COUNTS) + f"{'building ms':>14}{'longest step ms':>17}")
    for name, factory, weighted, most in SCHEDULERS:
        if given.only and given.only not in name:
            continue
        cells: list[float | None] = []
        built = step = 0.0
        for count in COUNTS:
            if count > most:
                cells.append(None)
                continue
            scheduler, built, step = building(factory, endpoints(count, weighted))
            cells.append(cost_us(scheduler, given.seconds))
        rows.append({"scheduler": name, "us": dict(zip(map(str, COUNTS), cells, strict=True)), "building_ms": built,
                     "longest_step_ms": step})
        print(f"{name:26}" + "".join(f"{'-' if cell is None else f'{cell:.2f}':>12}" for cell in cells)
              + f"{built:>14.1f}{step:>17.2f}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
