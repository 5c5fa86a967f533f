"""What a configuration costs in one process: reading, checking, building, and the same again after one change.

Run by scale.py with voltgw's interpreter: FILE. Prints one JSON line. "Again" begins when a line comes on standard input.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from voltgw.app.build import building
from voltgw.app.dry import dry_makings
from voltgw.config.load import Cache, checked_in_steps, loading


def drive(steps: Generator[None, None, Any]) -> tuple[Any, float, float, int]:
    """The value of `steps`, the seconds that they took altogether and the longest, and their number."""
    began = last = time.perf_counter()
    longest, count = 0.0, 1
    while True:
        try:
            next(steps)
        except StopIteration as done:
            now = time.perf_counter()
            return done.value, now - began, max(longest, now - last), count
        now = time.perf_counter()
        longest, last, count = max(longest, now - last), now, count + 1


def memory_mib() -> float:
    """Anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    """The command."""
    cache, makings, runtime = Cache(), dry_makings(), None
    gc.disable()
    while True:
        figures: dict[str, float] = {}
        config, figures["load_s"], figures["load_step_s"], _ = drive(loading(sys.argv[1], environ={}, cache=cache, lines=False))
        config, figures["check_s"], figures["check_step_s"], _ = drive(checked_in_steps(config, cache, lines=False))
        runtime, figures["build_s"], figures["build_step_s"], _ = drive(building(config, runtime, makings))
        runtime.settle()
        gc.collect()
        gc.freeze()
        figures["memory_mib"] = memory_mib()
        figures["objects"] = sum(map(len, config.objects.values()))
        print(json.dumps(figures), flush=True)
        if not sys.stdin.readline():
            return


if __name__ == "__main__":
    main()
