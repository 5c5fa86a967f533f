"""docs/http2-conformance.csv as the table of docs/http2-conformance.rst: a rule, what becomes of it here, and the tests that show it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final, NamedTuple

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "http2-conformance.csv"
#: Sections that have rows: those of RFC 9113, and those of others that are named.
SECTIONS: Final = (
    *(f"3.{part}" for part in range(1, 5)), *(f"4.{part}" for part in range(1, 4)), *(f"5.{part}" for part in range(1, 6)),
    *(f"6.{part}" for part in range(1, 11)), "7", *(f"8.{part}" for part in range(1, 8)), "9.1", "9.2", "10.3", "10.5", "10.6", "10.7",
    "RFC 7541", "RFC 8441", "RFC 9218",
)


class Row(NamedTuple):
    """One rule."""

    section: str
    rule: str
    here: str
    tests: tuple[str, ...]


def rows() -> list[Row]:
    """All of them, in order."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return [Row(line["section"], line["rule"], line["here"], tuple(f"tests.{test}" for test in line["tests"].split()))
                for line in csv.DictReader(file)]


def render() -> str:
    """The table, as reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 8 26 30 36", "", "   * - Section", "     - Rule", "     - Here",
             "     - Shown by"]
    for row in rows():
        lines += [f"   * - {row.section}", f"     - {row.rule}", f"     - {row.here}",
                  f"     - {' '.join(f'``{test}``' for test in row.tests)}"]
    return "\n".join(lines) + "\n"
