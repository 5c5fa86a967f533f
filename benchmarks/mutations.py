"""How many random single mistakes in valid files are told on the right line: a typo in a key, an enum or a reference, a type,
an indent. Needs voltgw's interpreter; the files are those of tests/config/objects and etc.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.config.mutations import SORTS, mistakes
from tests.config.test_object_mutations import all_estates


def main() -> int:
    """The command; status 1 when fewer than 95 in 100 are told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="those that were not told")
    options = parser.parse_args()
    began = time.perf_counter()
    told: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    none = 0
    with tempfile.TemporaryDirectory() as directory:
        for estate, mistake in mistakes(all_estates(Path(directory)), options.seed, options.count):
            found = estate.told(mistake)
            if found is None:
                none += 1
            elif found:
                told[mistake.sort] += 1
            else:
                missed[mistake.sort] += 1
                if options.show:
                    print(mistake.shown)
    for sort in SORTS:
        print(f"{sort:<10} {told[sort]:>5} of {told[sort] + missed[sort]:>5}")
    every = told.total() + missed.total()
    print(f"{'all':<10} {told.total():>5} of {every:>5}: {told.total() / every:.1%} on the right line "
          f"({none} changed nothing, {time.perf_counter() - began:.0f} s)")
    return int(told.total() < 0.95 * every)


if __name__ == "__main__":
    sys.exit(main())
