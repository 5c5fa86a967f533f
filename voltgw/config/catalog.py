"""Every kind and every field of the object model, since when it is there and what voltgw does with it, as one table.

`entries` is the table, `render_fields` its page (reStructuredText). Both are made from the declarations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from voltgw.config.compound import ListOf, MapOf
from voltgw.config.kinds import KINDS
from voltgw.config.reader import State
from voltgw.config.schema import Decl, Nested, Plan, plan_of
from voltgw.config.types import Choice, Type

#: What voltgw does with a field, in one word; UNSUPPORTED and REFUSES are both errors when the field is used.
WORDS: Final = {State.ACTS: "works", State.WARNS: "warned", State.REFUSES: "refused", State.UNSUPPORTED: "refused"}

_INTRODUCTION: Final = (
    "Every kind of object and every field that is read. *works*: voltgw acts on it; *warned*: it is read and checked, and a "
    "warning says that nothing else is done with it yet; *refused*: using it is an error, since ignoring it would admit "
    "someone, or since it could not be served at all (``gateway.allow_unenforced`` lets the former through). *Since* is the "
    "first release of the object model that had the field; ``→`` names the last one, ``†`` marks what was never published or "
    "is not any more. What the fields mean stands in :doc:`reference`.")


class Entry(NamedTuple):
    """One field."""

    kind: str                       # the first kind in which its message stands
    message: str                    # "" = it stands in the kind's spec itself
    field: str
    since: str                      # "" = not recorded
    state: str                      # works, warned or refused, and which values are treated otherwise


def entries() -> Iterator[Entry]:
    """Every field of every declared kind, the messages inside a kind after it; a message that several share stands once."""
    states = _states()
    shown = {plan.cls for kind in KINDS.values() if (plan := kind.plan()) is not None}
    for kind in KINDS.values():
        waiting = [plan] if (plan := kind.plan()) is not None else []
        spec = waiting[0].cls if waiting else None
        while waiting:
            plan = waiting.pop(0)
            for decl in plan.decls:
                yield Entry(kind.name, "" if plan.cls is spec else plan.cls.__name__, decl.name, decl.since,
                            _state(decl, states[plan.cls]))
                for inner in inner_plans(decl.type):
                    if inner.cls not in shown:
                        shown.add(inner.cls)
                        waiting.append(inner)


def render_fields() -> str:
    """The page: the kinds, then for each kind its fields."""
    lines = [
        *_title("Kinds and fields", "#"),
        _INTRODUCTION, "",
        ".. csv-table::", "   :header: kind, what it is, state", "   :widths: 25, 60, 15", "",
        *(f"   ``{kind.name}``, {_cell(kind.doc)}, {WORDS[kind.state]}" for kind in KINDS.values()), "",
    ]
    heading = ""
    for entry in entries():
        if entry.kind != heading:
            heading = entry.kind
            lines += ["", *_title(heading, "="), ".. csv-table::", "   :header: field, since, state",
                      "   :widths: 60, 20, 20", ""]
        name = f"{entry.message}.{entry.field}" if entry.message else entry.field
        lines.append(f"   ``{name}``, {_cell(_since(entry.since))}, {_cell(entry.state)}")
    return "\n".join(lines) + "\n"


def inner_plans(type_: Type[Any, Any]) -> Iterator[Plan]:
    """The messages that a field's value is, or is a list or map of."""
    for part in (type_, getattr(type_, "item", None) if isinstance(type_, ListOf) else None,
                 type_.value if isinstance(type_, MapOf) else None):
        if isinstance(part, Nested):
            yield plan_of(part.cls)


def _states() -> dict[type[Any], frozenset[State]]:
    """For every message, what voltgw does with the fields in which it stands; ACTS among them = at least one works."""
    found: dict[type[Any], frozenset[State]] = {}

    def visit(plan: Plan, state: State) -> None:
        if state in found.get(plan.cls, ()):
            return
        found[plan.cls] = found.get(plan.cls, frozenset()) | {state}
        for decl in plan.decls:
            for inner in inner_plans(decl.type):
                visit(inner, decl.state if state is State.ACTS else state)

    for kind in KINDS.values():
        plan = kind.plan()
        if plan is not None:
            visit(plan, kind.state)
    return found


def _state(decl: Decl, outer: frozenset[State]) -> str:
    """What is done with a field whose message stands in fields of the states `outer`."""
    if State.REFUSES in (decl.state, *(outer if len(outer) == 1 else ())):
        return WORDS[State.REFUSES]
    if State.ACTS not in outer:
        words = sorted({WORDS[state] for state in outer}, reverse=True)
        return " or ".join(words) + (", as what it stands in" if len(words) > 1 else "")
    if decl.state is not State.ACTS:
        return WORDS[decl.state]
    item = decl.type.item if isinstance(decl.type, ListOf) else decl.type
    if isinstance(item, Choice) and item.states:
        others = (f"{value.value} {WORDS[state]}" for value, state in item.states.items())
        return f"works; {', '.join(others)}"
    return WORDS[State.ACTS]


def _since(since: str) -> str:
    return {"voltgw": "voltgw's own", "": "not recorded"}.get(since, since)


def _title(text: str, underline: str) -> list[str]:
    return [text, underline * len(text), ""]


def _cell(text: str) -> str:
    """A text as one cell of a csv-table."""
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text
