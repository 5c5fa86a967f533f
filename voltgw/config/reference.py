"""The reference pages (reStructuredText), rendered from the declarations: configuration, defaults, error codes, states."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from voltgw.config.codes import CODES
from voltgw.config.document import IncludeEntry
from voltgw.config.gateway import Gateway
from voltgw.config.kinds import KINDS
from voltgw.config.mistake import called, mistake, said
from voltgw.config.model import Metadata
from voltgw.config.reader import State
from voltgw.config.schema import Decl, Plan, plan_inside, plan_of
from voltgw.config.short_form import ShortLoadBalancer
from voltgw.config.states import table
from voltgw.config.types import Choice
from voltgw.values import defaults

_STATE_WORDS: Final = {
    State.ACTS: "", State.WARNS: "not acted on yet (warning)", State.REFUSES: "not acted on yet (error, see VG0115)",
    State.UNSUPPORTED: "not supported yet (error)",
}
_UNITS: Final = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "B": "bytes", "KiB": "KiB"}


def render_reference() -> str:
    """The configuration reference: each part of a file, each kind, each field with meaning, unit, limits, absence, example."""
    return "\n".join(_reference()) + "\n"


def render_defaults() -> str:
    """The page of defaults: every constant of `voltgw.values.defaults`, its value and its sentence."""
    lines = [*_title("Defaults", "="), "Every default of the gateway.", "", ".. list-table::",
             "   :header-rows: 1", "   :widths: 30 15 55", "",
             "   * - Name", "     - Value", "     - Meaning"]
    for name, text in _documented(Path(defaults.__file__).read_text(encoding="utf-8")):
        value = getattr(defaults, name)
        lines += [f"   * - ``{name}``", f"     - {_default_value(name, value)}", f"     - {_prose(text)}"]
    return "\n".join(lines) + "\n"


def render_codes() -> str:
    """The page of error codes: a table of all, each with a link to its own page."""
    lines = [*_title("Error codes", "="),
             "Every error and warning has a code that never changes its meaning. Each has a page with an example, the message",
             "that it gets, and what to do; ``voltgw check --explain CODE`` says the same.", "",
             ".. list-table::", "   :header-rows: 1", "   :widths: 15 85", "", "   * - Code", "     - Meaning"]
    for name, code in CODES.items():
        lines += [f"   * - :doc:`{name} <codes/{name}>`", f"     - {code.title}"]
    lines += ["", ".. toctree::", "   :hidden:", "", *(f"   codes/{name}" for name in CODES)]
    return "\n".join(lines) + "\n"


def render_code(name: str) -> str:
    """The page of one code: what ``voltgw check --explain`` says, with a label to link to."""
    code, example = CODES[name], mistake(name)
    lines = [f".. _{name.lower()}:", "", *_title(f"{name}: {code.title}", "="), _prose(code.text), "",
             *_title("What to do", "-"), _prose(example.remedy), "", *_title("An example", "-")]
    for file in example.files:
        more = called(file).removeprefix(file.name).replace("*", "\\*")
        lines += [f"``{file.name}``{more}{':' if file.text else '.'}", ""]
        if file.text:
            lines += _shown(file.text)
    lines += [f"{_prose(said(example))}:", "", *_shown(example.says)]
    return "\n".join(lines) + "\n"


def _shown(text: str) -> list[str]:
    return [".. code-block:: text", "", *(f"   {line}".rstrip() for line in text.rstrip("\n").split("\n")), ""]


def render_states() -> str:
    """The page of what is known but not acted on yet, from the declarations."""
    lines = [*_title("Known but not acted on", "="),
             "Fields and kinds of the object model that voltgw reads and checks, but does nothing with yet.", "",
             ".. list-table::", "   :header-rows: 1", "   :widths: 45 20 35", "",
             "   * - Field", "     - Value", "     - State"]
    for row in table():
        lines += [f"   * - ``{row.field}``", f"     - {f'``{row.value}``' if row.value else 'any'}",
                  f"     - {_STATE_WORDS[row.state]}"]
    return "\n".join(lines) + "\n"


def _reference() -> Iterator[str]:
    yield from _title("Configuration reference", "=")
    yield ("A file is YAML 1.2 or JSON. Names are read in snake_case and in lowerCamelCase; ``null`` means absent. A duration "
           "is a plain number in the field's unit, or a number with a unit (``250ms``, ``30s``, ``5m``); a size likewise "
           "(``64KiB``). A reference is ``name``, ``namespace/name`` or ``{namespace: …, name: …}``. Of the fields of one "
           "*group* at most one may be set.")
    yield ""
    shown: dict[type[Any], str] = {}
    for heading, key, plan, words in (
        ("gateway", "gateway", plan_of(Gateway), "This process; stands in the main file only."),
        ("include", "include", plan_of(IncludeEntry), "Other files whose objects are read: a list of paths or of these."),
        ("load_balancers", "load_balancers", plan_of(ShortLoadBalancer), "The short form: a list of load balancers."),
        ("metadata", "metadata", plan_of(Metadata), "What every object has beside its spec."),
    ):
        yield from _part(heading, key, plan, words, shown)
    for kind in KINDS.values():
        declared = kind.plan()
        if declared is None:
            continue
        yield from _part(kind.name, kind.name, declared, declared.doc, shown)
    others = [kind for kind in KINDS.values() if not kind.spec]
    if others:
        yield from _title("Other kinds", "-")
        yield "Objects of these kinds are read and kept, and a warning says that nothing acts on them yet."
        yield ""
        for kind in others:
            error = " (an error, since it exists to refuse someone)" if kind.state is State.REFUSES else ""
            yield f"``{kind.name}``"
            yield f"   {_prose(kind.doc)}{error}"
        yield ""


def _part(heading: str, label: str, plan: Plan, words: str, shown: dict[type[Any], str]) -> Iterator[str]:
    """One part with the messages inside it that were not shown before."""
    yield f".. _config-{label.replace('_', '-')}:"
    yield ""
    yield from _title(heading, "-")
    yield _prose(words)
    yield ""
    yield from _fields(plan, shown, heading)
    waiting = _inner(plan)
    while waiting:
        inner = waiting.pop(0)
        if inner.cls in shown:
            continue
        shown[inner.cls] = heading
        yield f".. _config-{_slug(inner.cls)}:"
        yield ""
        yield from _title(inner.cls.__name__, "~")
        yield _prose(inner.doc)
        yield ""
        yield from _fields(inner, shown, heading)
        waiting += _inner(inner)


def _inner(plan: Plan) -> list[Plan]:
    return [inner for decl in plan.decls if (inner := plan_inside(decl.type)) is not None]


def _fields(plan: Plan, shown: dict[type[Any], str], heading: str) -> Iterator[str]:
    for decl in plan.decls:
        yield f"``{decl.name}``"
        for line in _field(decl):
            yield f"   {line}"
        yield ""
    if not plan.decls:
        yield "*(nothing inside)*"
        yield ""


def _field(decl: Decl) -> Iterator[str]:
    yield _prose(decl.doc)
    yield ""
    facts = [("Type", _type(decl))]
    unit = getattr(decl.type, "unit", "")
    if unit:
        facts.append(("Unit of a plain number", _UNITS[unit]))
    if limits := decl.type.limits():
        facts.append(("Limits", _prose(limits)))
    if decl.required:
        facts.append(("Required", "yes"))
    elif decl.absent:
        facts.append(("Absent", _prose(decl.absent)))
    if decl.group:
        facts.append(("Group", f"``{decl.group}``"))
    if decl.aliases:
        facts.append(("Also", ", ".join(f"``{alias}``" for alias in decl.aliases)))
    if decl.example:
        facts.append(("Example", f"``{decl.name}: {decl.example}``"))
    facts.append(("Since", "voltgw's own" if decl.since == "voltgw" else decl.since or "not recorded"))
    if decl.state is not State.ACTS:
        facts.append(("State", _STATE_WORDS[decl.state]))
    item = getattr(decl.type, "item", decl.type)
    if isinstance(item, Choice) and item.states:
        for state in dict.fromkeys(item.states.values()):
            values = ", ".join(f"``{value.value}``" for value, one in item.states.items() if one is state)
            facts.append(("State", f"{values}: {_STATE_WORDS[state]}" + (f"; {item.instead} instead" if item.instead else "")))
    for name, text in facts:
        yield f"- {name}: {text}"


def _type(decl: Decl) -> str:
    inner = plan_inside(decl.type)
    if inner is None:
        words = decl.type.words
        item = getattr(decl.type, "item", decl.type)
        if isinstance(item, Choice):
            return "a list of words" if item is not decl.type else "a word"
        return _prose(words).replace("{}", "``{}``")
    link = f":ref:`config-{_slug(inner.cls)}`"
    return f"a list of {link}" if hasattr(decl.type, "item") else link


def _slug(cls: type[Any]) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()


def _title(text: str, underline: str) -> list[str]:
    return [text, underline * len(text), ""]


def _prose(text: str) -> str:
    """Text of a declaration as reStructuredText: single backquotes are meant literally, bars and stars too."""
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text)
    parts = re.split(r"(``[^`]+``)", text)
    return "".join(part if part.startswith("``") else re.sub(r"([*|])", r"\\\1", part) for part in parts)


def _documented(source: str) -> Iterator[tuple[str, str]]:
    """Constants that are followed by a string, and that string."""
    body = ast.parse(source).body
    for statement, following in pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) \
                and isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            yield statement.target.id, " ".join(str(following.value.value).split())


def _default_value(name: str, value: object) -> str:
    if name.endswith("_S") and isinstance(value, float):
        return f"{value:g} s"
    if name.endswith("_BYTES") and isinstance(value, int):
        return f"{value // 1024} KiB" if value % 1024 == 0 else f"{value} bytes"
    return f"``{value}``"
