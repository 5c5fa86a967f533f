"""Reads docs/features.rst and docs/attacks.rst: what works, what works in part or not yet, and the test that shows it."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FEATURES: Final = ROOT / "docs" / "features.rst"
ATTACKS: Final = ROOT / "docs" / "attacks.rst"
IDS: Final = Path(__file__).with_name("feature_ids.txt")

WORKS: Final = "works"
PARTLY: Final = "partly"
NOT_YET: Final = "not yet"
#: Columns of every table of the page.
COLUMNS: Final = ["id", "feature", "state", "shown by", "missing"]

_TABLE: Final = re.compile(r"^\.\. csv-table::.*\n(?:   :.*\n)*\n((?:   .*\n|\n)+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Row:
    """One feature: `tests` are dotted names; `missing` says what a feature that works in part still lacks."""

    id: str
    feature: str
    state: str
    tests: tuple[str, ...]
    missing: str


def rows(text: str) -> list[Row]:
    """Every row of every table of the page, in order; ValueError for one that has not got the five columns."""
    found = []
    for table in _TABLE.findall(text):
        lines = io.StringIO("\n".join(line.strip() for line in table.splitlines() if line.strip()))
        for cells in csv.reader(lines, skipinitialspace=True):
            if len(cells) != len(COLUMNS):
                raise ValueError(f"{len(cells)} columns, not {len(COLUMNS)}: {cells}")
            key, feature, state, tests, missing = (cell.strip() for cell in cells)
            found.append(Row(key, feature, state, tuple(tests.replace("`", "").split()), missing))
    return found


def read() -> list[Row]:
    """The rows of the page as it stands."""
    return rows(FEATURES.read_text(encoding="utf-8"))


def attacks() -> list[Row]:
    """The rows of the page of attacks, which has the same tables."""
    return rows(ATTACKS.read_text(encoding="utf-8"))


def known_ids() -> list[str]:
    """Every id that the page must have, in order."""
    return IDS.read_text(encoding="utf-8").split()
