"""What became of each test of one run, as the reporter writes it down and the verdict reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PASSED = "passed"
FAILED = "failed"
SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test: its `state`, for a skipped one the `reason`, and how long it took in seconds."""

    state: str
    reason: str = ""
    took_s: float = 0.0


def save(path: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Write outcomes, by the tests' dotted names."""
    rows = {name: [outcome.state, outcome.reason, outcome.took_s] for name, outcome in outcomes.items()}
    path.write_text(json.dumps(rows, indent=0), encoding="utf-8")


def load(path: Path) -> dict[str, Outcome]:
    """Read what `save` wrote; an empty or missing file is a run that did not finish, and gives no outcomes."""
    if not path.exists() or not (text := path.read_text(encoding="utf-8")):
        return {}
    return {name: Outcome(state, reason, took_s) for name, (state, reason, took_s) in json.loads(text).items()}
