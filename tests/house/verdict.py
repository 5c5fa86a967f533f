"""The verdict on a full run: what failed, what was skipped and why, whether docs/features.rst and docs/attacks.rst
told the truth.

`tools/test` calls it with the names of the checks that failed and the reporters' files. It prints a closing line that
any CI system can read, and its exit status is that of the whole run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.docs import features
from tests.house.outcomes import FAILED, PASSED, SKIPPED, Outcome, load
from tests.namespaces import NOT_ALLOWED

#: How `tools/test` names a run of trial; its file has the name that follows.
_TRIAL: Final = "trial: "
#: Its run with compiled modules, of tests that run without as well.
COMPILED: Final = "compiled"


def untrue(
    rows: Sequence[features.Row], outcomes: Mapping[str, Outcome], strict: bool, page: str = "docs/features.rst",
) -> list[str]:
    """What a page of the docs claims and this run did not show, one line each.

    A named test that was skipped shows nothing; only where `strict` (in CI, where nothing may be skipped for want of a
    program) is that a fault, and not even there for want of a right that the kernel does not give.
    """
    faults = []
    for row in rows:
        for name in row.tests:
            outcome = outcomes.get(name)
            if outcome is None:
                faults.append(f"{page}: {row.id}: {name} did not run")
            elif outcome.state == FAILED:
                faults.append(f"{page}: {row.id}: {name} failed")
            elif outcome.state == SKIPPED and strict and NOT_ALLOWED not in outcome.reason:
                faults.append(f"{page}: {row.id}: {name} was skipped: {outcome.reason}")
    return faults


def skips(outcomes: Mapping[str, Outcome]) -> list[str]:
    """The skipped tests by reason, one line each."""
    by_reason: dict[str, list[str]] = {}
    for name, outcome in sorted(outcomes.items()):
        if outcome.state == SKIPPED:
            by_reason.setdefault(outcome.reason, []).append(name)
    return [f"skipped: {name}: {reason}" for reason, names in sorted(by_reason.items()) for name in names]


def closing_line(outcomes: Mapping[str, Outcome], faults: int) -> str:
    """``N passed, N failed, N skipped``; every fault found outside of trial counts as one failure."""
    count = {state: sum(outcome.state == state for outcome in outcomes.values()) for state in (PASSED, FAILED, SKIPPED)}
    return f"{count[PASSED]} passed, {count[FAILED] + faults} failed, {count[SKIPPED]} skipped"


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """`arguments`: a file with the checks that failed, a line each, then the reporters' files; 0 only if nothing is wrong."""
    failed = Path(arguments[0]).read_text(encoding="utf-8").splitlines()
    outcomes: dict[str, Outcome] = {}
    faults = []
    for path in map(Path, arguments[1:]):
        here = load(path)
        if not here or (f"{_TRIAL}{path.name}" in failed and all(outcome.state != FAILED for outcome in here.values())):
            faults.append(f"trial did not finish its run of {path.name}")
        # What was tested twice is counted twice.
        outcomes.update({f"{name} (compiled)": one for name, one in here.items()} if path.name == COMPILED else here)
    failed_checks = [name for name in failed if not name.startswith(_TRIAL)]    # trial's own failures are in its file
    strict = environ.get("CI") == "true"
    faults += untrue(features.read(), outcomes, strict)
    faults += untrue(features.attacks(), outcomes, strict, "docs/attacks.rst")
    print("\n".join(skips(outcomes) + faults + [f"check failed: {name}" for name in failed_checks]))
    print(closing_line(outcomes, len(faults) + len(failed_checks)))
    return 1 if faults or failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
