"""Write the manual pages: ``python tools/manpages.py FOLDER``.

voltgw.1 and one page per command are made from what the commands say of themselves (``--help``), voltgw.yaml.5 from the
declarations by which the file is read. So no page can tell something else than the program does.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import voltgw  # the path is set above
from voltgw.cli.exits import EXITS, exits_of
from voltgw.cli.main import COMMANDS, main
from voltgw.config.compound import ListOf, MapOf
from voltgw.config.document import IncludeEntry
from voltgw.config.gateway import Gateway
from voltgw.config.kinds import KINDS
from voltgw.config.model import Metadata
from voltgw.config.reader import State
from voltgw.config.schema import Decl, Nested, Plan, plan_inside, plan_of
from voltgw.config.short_form import ShortLoadBalancer

#: Actions of commands that have some; each has a help of its own.
ACTIONS: Final = {"config": ("show",), "pki": ("init", "issue", "renew", "revoke")}
#: So wide that argparse breaks no line.
_WIDTH: Final = "1000"
_ENTRY: Final = re.compile(r"( {2}| {4})(\S.*?)(?: {2,}(\S.*))?")
_STATES: Final = {
    State.WARNS: "It is not acted on yet: a warning says so.",
    State.REFUSES: "It is not acted on yet, and since it exists to refuse someone, using it is an error.",
    State.UNSUPPORTED: "It is not supported yet: using it is an error.",
}
_UNITS: Final = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "B": "bytes", "KiB": "KiB"}


def pages() -> dict[str, str]:
    """Every page by the name of its file."""
    found = {"voltgw.1": _main_page(), "voltgw.yaml.5": _file_page()}
    for name, command in COMMANDS.items():
        found[f"voltgw-{name}.1"] = _command_page(name, command.doc)
    return found


# -- roff -------------------------------------------------------------------------------------------------------------
def _text(text: str) -> str:
    """Text as roff shows it: hyphens are those that one types, and no line is taken for a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"``([^`]+)``|`([^`]+)`", lambda match: f"\\fB{match[1] or match[2]}\\fR", text)
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


def _head(name: str, section: int, doc: str) -> list[str]:
    return [f'.TH "{_text(name)}" {section} "" "voltgw {voltgw.__version__}" "voltgw"', ".ad l", ".SH NAME",
            f"{_text(name)} \\- {_text(doc)}"]


def _see(*pages: str) -> list[str]:
    names = (page.rsplit(".", 1) for page in pages)
    return [".SH SEE ALSO", ", ".join(f"\\fB{_text(name)}\\fR({section})" for name, section in names)]


# -- commands ---------------------------------------------------------------------------------------------------------
def _main_page() -> str:
    lines = [*_head("voltgw", 1, "a gateway that balances, routes and explains"), ".SH SYNOPSIS",
             "\\fBvoltgw\\fR \\fICOMMAND\\fR ...", ".br", "\\fBvoltgw\\fR \\-\\-help | \\-\\-version", ".SH DESCRIPTION",
             _text("voltgw checks configurations, serves them in the foreground and asks a running gateway. As a service "
                   "the gateway runs under twistd: ``twistd [-n] voltgw --config FILE``."),
             ".SH COMMANDS"]
    for name, command in COMMANDS.items():
        lines += [".TP", f"\\fB{_text(f'voltgw-{name}')}\\fR(1)", _text(command.doc)]
    lines.append(".SH EXIT STATUS")
    for each in EXITS:
        lines += [".TP", f"\\fB{each.status}\\fR ({_text(', '.join(each.commands) or 'all commands')})", _text(each.meaning)]
    lines += _see("twistd.1", "voltgw.yaml.5")
    return "\n".join(lines) + "\n"


def _command_page(name: str, doc: str) -> str:
    title = f"voltgw-{name}"
    lines = [*_head(title, 1, doc), *_from_help(_help(name))]
    for action in ACTIONS.get(name, ()):
        lines += [f".SH THE ACTION {_text(action.upper())}", *_from_help(_help(name, action), inside=True)]
    lines.append(".SH EXIT STATUS")
    for each in exits_of(name):
        lines += [".TP", f"\\fB{each.status}\\fR", _text(each.meaning)]
    return "\n".join([*lines, *_see("voltgw.1", "voltgw.yaml.5")]) + "\n"


def _help(*command: str) -> str:
    """What ``voltgw COMMAND --help`` prints."""
    out = io.StringIO()
    with mock.patch.dict(os.environ, {"COLUMNS": _WIDTH, "NO_COLOR": "1"}), contextlib.redirect_stdout(out):
        try:
            main([*command, "--help"])
        except SystemExit as done:
            if done.code:
                raise RuntimeError(f"{' '.join(command)} --help failed") from done
    return out.getvalue()


def _from_help(text: str, *, inside: bool = False) -> Iterator[str]:
    """argparse's help as roff; `inside` a section there are no further ones, only paragraphs."""
    section = ".SS" if inside else ".SH"
    usage, *blocks = re.split(r"\n{2,}", text.strip("\n"))
    yield f"{section} SYNOPSIS"
    forms = [line.removeprefix("usage:").strip() for line in usage.splitlines()]
    for index, form in enumerate(forms):
        yield from [".br"] * (index > 0)
        yield _text(form)
    described = False
    for block in blocks:
        lines = block.splitlines()
        if lines[0].endswith(":") and len(lines) > 1 and lines[1].startswith("  "):
            yield f"{section} {_text(lines[0].rstrip(':').upper())}"
            yield from _entries(lines[1:])
        elif not described:
            described = True
            yield f"{section} DESCRIPTION"
            yield _text(" ".join(lines))
        else:
            yield f"{section} NOTES"
            yield _text(" ".join(lines))


def _entries(lines: list[str]) -> Iterator[str]:
    """Arguments or options, each with its text, which may stand on the following lines."""
    for line in lines:
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            yield _text(line.strip())
        else:
            yield ".TP"
            yield f"\\fB{_text(entry[2])}\\fR"
            if entry[3]:
                yield _text(entry[3])


# -- the file ---------------------------------------------------------------------------------------------------------
def _file_page() -> str:
    lines = [
        *_head("voltgw.yaml", 5, "configuration of voltgw"), ".SH DESCRIPTION",
        _text("A configuration is a YAML file (or JSON, which YAML includes) with the keys ``gateway``, ``defaults``, "
              "``include``, ``objects`` and ``load_balancers``, all of which may be left out. An object has a ``kind``, "
              "``metadata`` and a ``spec``. An unknown key is an error; ``null`` counts as absent. Durations and sizes are "
              "plain numbers in the unit that stands here, or have a unit of their own, such as ``250ms`` or ``64KiB``. "
              "``${NAME}`` and ``${NAME:-default}`` stand for environment variables in files of this form."), ".PP",
        _text("The same declarations as JSON Schema, for editors: ``voltgw schema``. What is wrong with a file: ``voltgw "
              "check FILE``."),
    ]
    shown: set[type[Any]] = set()
    for heading, plan in (
        ("gateway: this process", plan_of(Gateway)), ("include: more files", plan_of(IncludeEntry)),
        ("load_balancers: the short form", plan_of(ShortLoadBalancer)), ("metadata of objects", plan_of(Metadata)),
    ):
        lines += _part(heading, plan, shown)
    for kind in KINDS.values():
        declared = kind.plan() if kind.state is State.ACTS else None
        if declared is not None:
            lines += _part(f"spec of the kind {kind.name}", declared, shown)
    lines += [".SH OTHER KINDS", _text("Objects of these kinds are read and checked too, but nothing acts on them yet.")]
    for kind in KINDS.values():
        if kind.state is not State.ACTS:
            lines += [".TP", f"\\fB{_text(kind.name)}\\fR", _text(kind.doc)]
    return "\n".join([*lines, *_see("voltgw.1", "voltgw-check.1", "voltgw-schema.1")]) + "\n"


def _part(heading: str, plan: Plan, shown: set[type[Any]]) -> Iterator[str]:
    """One part with the messages inside it, each where it comes first."""
    yield f".SH {_text(heading.upper())}"
    yield _text(plan.doc)
    yield from _fields(plan)
    waiting = list(_inner(plan))
    while waiting:
        inner = waiting.pop(0)
        if inner.cls in shown:
            continue
        shown.add(inner.cls)
        yield f".SS {_text(inner.cls.__name__)}"
        yield _text(inner.doc)
        yield from _fields(inner)
        waiting += _inner(inner)


def _inner(plan: Plan) -> Iterator[Plan]:
    for decl in plan.decls:
        inner = _message(decl)
        if inner is not None:
            yield inner


def _message(decl: Decl) -> Plan | None:
    if isinstance(decl.type, MapOf) and isinstance(decl.type.value, Nested):
        return plan_of(decl.type.value.cls)
    return plan_inside(decl.type)


def _type(decl: Decl) -> str:
    """What a field's value is, in words."""
    inner = _message(decl)
    if inner is None:
        return decl.type.words
    name = inner.cls.__name__
    if isinstance(decl.type, MapOf):
        return f"a mapping to {name}"
    return f"a list of {name}" if isinstance(decl.type, ListOf) else name


def _fields(plan: Plan) -> Iterator[str]:
    for decl in plan.decls:
        if decl.internal:
            continue
        yield ".TP"
        yield f"\\fB{_text(decl.name)}\\fR: {_text(_type(decl))}"
        yield _text(decl.doc)
        unit = getattr(decl.type, "unit", "")
        facts = [
            f"A plain number is in {_UNITS[unit]}." if unit else "",
            f"Limits: {limits}." if (limits := decl.type.limits()) and not limits.startswith("one of") else "",
            "It must be there." if decl.required else f"Absent: {decl.absent}." if decl.absent else "",
            f"At most one member of {decl.group} may be set." if decl.group else "",
            f"Example: ``{decl.example}``." if decl.example else "", _STATES.get(decl.state, ""),
        ]
        said = " ".join(fact for fact in facts if fact)
        if said:
            yield _text(said)


def write(folder: Path) -> None:
    """Write all pages into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__.partition("\n")[0] if __doc__ else "")
    write(Path(sys.argv[1]))
