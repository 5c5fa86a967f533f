"""The table of the fields of virtual hosts and routes: docs/http-fields.csv says by which tests they are shown, declarations say
the rest. docs/http-fields.rst shows it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from voltgw.config.kinds import KINDS
from voltgw.config.reader import State
from voltgw.config.schema import Decl, Plan, plan_inside

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "http-fields.csv"
#: How far below a kind fields have rows of their own: ``route.routes.match.path.prefix``.
DEPTH: Final = 5
WORKS: Final = "works"
NOTHING: Final = "not applicable"
#: What declarations call states, in the words of the page.
_WORDS: Final = {State.ACTS: WORKS, State.WARNS: "warned", State.REFUSES: "refused", State.UNSUPPORTED: "refused"}
#: Where it is shown that a field in such a state is warned of, or refused.
_SHOWN: Final = {
    State.WARNS: "config.test_states.StateTests.test_a_warning_where_ignoring_harms_nobody",
    State.REFUSES: "config.test_states.StateTests.test_an_error_where_ignoring_would_admit_someone",
    State.UNSUPPORTED: "config.test_states.StateTests.test_a_kind_of_proxy_that_is_not_served_yet",
}


class Row(NamedTuple):
    """One field: what becomes of it, the test that shows it ("" = there is nothing to show), and what else is to be said."""

    field: str
    state: str
    test: str
    remark: str


def declared() -> dict[str, Decl]:
    """The fields by their full names, in the order of declarations."""
    found: dict[str, Decl] = {}
    for name in ("virtual_host", "route"):
        plan = KINDS[name].plan()
        assert plan is not None                 # both have fields
        found.update(_declared(plan, name))
    del found["route.routes"]                   # a list, and nothing more
    return found


def _declared(plan: Plan, path: str) -> Iterator[tuple[str, Decl]]:
    for decl in plan.decls:
        name = f"{path}.{decl.name}"
        yield name, decl
        inner = plan_inside(decl.type)
        own = inner is not None and inner.cls.__module__.endswith(".route")
        if inner is not None and own and decl.state is State.ACTS and name.count(".") < DEPTH - 1:
            yield from _declared(inner, name)


def written(path: Path = FILE) -> dict[str, tuple[str, str]]:
    """What a file says of each field: its test and its remark. Raises ValueError for a field that stands in it twice."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    found = {line["field"]: (line["test"], line["remark"] or "") for line in lines}
    if len(found) != len(lines):
        raise ValueError(f"a field stands twice in {path.name}")
    return found


def rows() -> list[Row]:
    """All of it."""
    return joined(declared(), written())


def joined(fields: Mapping[str, Decl], said: Mapping[str, tuple[str, str]]) -> list[Row]:
    """Declarations and what a file says of them."""
    made: list[Row] = []
    for name, decl in fields.items():
        test, remark = said.get(name, ("", ""))
        if decl.state is not State.ACTS:
            test = _SHOWN[decl.state]
        state = WORKS if test else NOTHING
        made.append(Row(name, _WORDS[decl.state] if decl.state is not State.ACTS else state, f"tests.{test}" if test else "", remark))
    return made


def render() -> str:
    """The table, as reStructuredText."""
    return table(rows())


def table(listed: Sequence[Row]) -> str:
    """These rows, as reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 35 12 53", "", "   * - Field", "     - State", "     - Shown by"]
    for row in listed:
        shown = f"``{row.test}``" if row.test else ""
        lines += [f"   * - ``{row.field}``", f"     - {row.state}",
                  f"     - {'; '.join(part for part in (shown, row.remark) if part)}"]
    return "\n".join(lines) + "\n"
