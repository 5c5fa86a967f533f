"""What is said about fields and kinds that are known but not (fully) acted on.

Their states stand in the declarations (`Decl.state`, `Choice.states`, `Kind.state`); `table` collects them into the one
table that later work shrinks.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from voltgw.config.kinds import KINDS
from voltgw.config.reader import Note, State
from voltgw.config.schema import Plan, plan_inside
from voltgw.config.suggest import did_you_mean
from voltgw.config.types import Choice
from voltgw.errors import ConfigError, Place, Severity

#: Problems, and the names of fields that are in use and may be ignored.
Judgement: TypeAlias = tuple[list[ConfigError], tuple[str, ...]]
#: Notes that are judged in one step, which is less than 1 ms.
_STEP: Final = 256


class Row(NamedTuple):
    """One field (or one value of a field) that is not acted on."""

    field: str                      # "cluster.tls_parameters"
    value: str                      # the enum's spelling, "" = the field as a whole
    state: State
    doc: str


def table() -> Iterator[Row]:
    """Every kind, field and value that is not acted on, in the order of declarations."""
    for kind in KINDS.values():
        if kind.state is not State.ACTS:
            yield Row(kind.name, "", kind.state, kind.doc)
        plan = kind.plan()
        if plan is not None:
            yield from _rows(plan, kind.name, frozenset((plan.cls,)))


def _rows(plan: Plan, path: str, inside: frozenset[type[Any]]) -> Iterator[Row]:
    for decl in plan.decls:
        name = f"{path}.{decl.name}"
        if decl.state is not State.ACTS:
            yield Row(name, "", decl.state, decl.doc)
            continue
        item = getattr(decl.type, "item", decl.type)
        if isinstance(item, Choice):
            for value, state in item.states.items():
                yield Row(name, str(value.value), state, decl.doc)
        inner = plan_inside(decl.type)
        if inner is not None and inner.cls not in inside:
            yield from _rows(inner, name, inside | {inner.cls})


def judging(notes: Iterable[Note], allowed: tuple[str, ...]) -> Generator[None, None, Judgement]:
    """The warnings and errors that notes amount to, and the names of fields that `allowed` lets us ignore.

    Warnings of one field are one warning with a count: ten thousand hosts may all use it.
    """
    problems: list[ConfigError] = []
    warned: dict[tuple[str, str], list[Note]] = {}
    unenforced: dict[str, None] = {}
    for count, note in enumerate(notes, 1):
        if count % _STEP == 0:
            yield
        if note.state is State.REFUSES:
            if allows(allowed, note.field):
                unenforced[note.field] = None
            else:
                problems.append(_refused(note))
        elif note.state is State.UNSUPPORTED:
            problems.append(ConfigError("VG0116", note.place, f"{_subject(note)} is not supported yet"))
        else:
            warned.setdefault((note.field, note.value), []).append(note)
    for group in warned.values():
        problems.append(_warned(group[0], len(group)))
    return problems, tuple(unenforced)


def allows(allowed: Iterable[str], field: str) -> bool:
    """Whether an entry of ``allow_unenforced`` names `field`, by its full path, the beginning of it, or one part."""
    parts = field.split(".")
    return any(entry == field or field.startswith(f"{entry}.") or entry in parts for entry in allowed)


def unknown_entries(allowed: tuple[str, ...], place: Place) -> Iterator[ConfigError]:
    """Entries of ``allow_unenforced`` that name no field which could be meant."""
    if not allowed:
        return
    fields = [row.field for row in table() if row.state is State.REFUSES]
    names = {name for field in fields for name in (field, *field.split("."))}
    for entry in allowed:
        if not any(allows((entry,), field) for field in fields):
            yield ConfigError("VG0104", place, f'"{entry}" in allow_unenforced names no field that exists to refuse someone',
                              did_you_mean(entry, names))


def _subject(note: Note) -> str:
    name = note.field.split(".", 1)[-1]
    return f"{name}: {note.value}" if note.value else f'"{name}"'


def _refused(note: Note) -> ConfigError:
    kind, _, name = note.field.partition(".")
    what = f'"{name}" of {kind}' if name else f'kind "{kind}"'
    return ConfigError(
        "VG0115", note.place, f"{what} is not acted on yet; it exists to refuse someone, whom ignoring it would admit",
        f"remove it, or accept that with `gateway: {{allow_unenforced: [{note.field}]}}`")


def _warned(note: Note, count: int) -> ConfigError:
    more = f" (here and at {count - 1} other place{'s' if count > 2 else ''})" if count > 1 else ""
    if "." not in note.field:
        return ConfigError("VG0117", note.place, f'kind "{note.field}" is not acted on yet{more}', severity=Severity.WARNING)
    instead = f"; {note.instead} instead" if note.instead else ""
    kind = note.field.partition(".")[0]
    return ConfigError("VG0114", note.place, f"{_subject(note)} of {kind} is not acted on yet{instead}{more}",
                       severity=Severity.WARNING)
