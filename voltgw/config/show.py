"""How problems and configurations are shown to people: the error format, and the effective configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from voltgw.config.compound import Anything
from voltgw.config.hiding import hidden
from voltgw.config.model import Config, Metadata, Object
from voltgw.config.schema import Message, plain_message
from voltgw.errors import ConfigError, Place, Severity

#: Problems that are shown; more of them help nobody.
LIMIT: Final = 20
#: Problems whose source line is looked up when they are put in order.
MAX_LINES: Final = 200
#: Widest source line that is shown; JSON files may have all in one line.
MAX_WIDTH: Final = 160


def arranged(problems: Sequence[ConfigError], files: Sequence[str], line: Callable[[Place], str]) -> tuple[ConfigError, ...]:
    """Problems in the order in which they are shown: errors first, then by file and line; with their source lines."""
    if not problems:
        return ()
    rank = {name: number for number, name in enumerate(files)}
    ordered = sorted(problems, key=lambda p: (p.severity is not Severity.ERROR, rank.get(p.place.file, len(rank)),
                                              p.place.line, p.place.column, p.code))
    for index, problem in enumerate(ordered[:MAX_LINES]):
        if not problem.source and problem.place.line:
            ordered[index] = dataclasses.replace(problem, source=line(problem.place))
    return tuple(ordered)


def no_line(place: Place) -> str:
    """For `arranged`, where nobody will look at source lines: they would be looked for in files that are read again."""
    return ""


def report(problems: Iterable[ConfigError], *, limit: int | None = LIMIT) -> str:
    """All problems as text, errors before warnings, at most `limit` of them (None = all), and a last line that counts them.

    ``voltgw.yaml:42:7: error[VG0107]: cluster "web-v2" not found (referred to by route "api" at voltgw.yaml:40:5); did you
    mean "web_v2"?``, then the source line and a caret.
    """
    ordered = sorted(problems, key=lambda p: p.severity is not Severity.ERROR)
    lines: list[str] = []
    for problem in ordered if limit is None else ordered[:limit]:
        lines += render(problem)
    lines.append(summary(ordered, 0 if limit is None else max(0, len(ordered) - limit)))
    return "\n".join(line for line in lines if line)


def render(problem: ConfigError) -> list[str]:
    """One problem: its line, and where the source is known the line of the file with a caret below."""
    related = ", ".join(f"{words} at {place}" for words, place in problem.related)
    text = f"{problem.place}: {problem.severity.value}[{problem.code}]: {problem.message}"
    text += (f" ({related})" if related else "") + (f"; {problem.hint}" if problem.hint else "")
    lines = [text]
    if problem.source.strip() and problem.place.column:
        source, column = _window(*hidden(problem.source, problem.place.column))
        # Tabs before the caret stay tabs, so that it stands below its character.
        lead = "".join("\t" if character == "\t" else " " for character in source[:column - 1])
        lines += [f"    {source}", f"    {lead}^"]
    return lines


def summary(problems: Sequence[ConfigError], hidden: int = 0) -> str:
    """The last line: how many errors and warnings there are; "" when there is nothing to say."""
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    counts = [f"{count} {word}{'s' * (count != 1)}" for count, word in ((errors, "error"), (len(problems) - errors, "warning"))
              if count]
    if not counts:
        return ""
    return ", ".join(counts) + (f" ({hidden} not shown)" if hidden else "")


def _window(source: str, column: int) -> tuple[str, int]:
    """The part of a long line around `column`, and the column in it."""
    if len(source) <= MAX_WIDTH:
        return source.rstrip(), column
    start = max(0, min(column - MAX_WIDTH // 2, len(source) - MAX_WIDTH))
    part = source[start:start + MAX_WIDTH]
    return ("…" + part[1:] if start else part).rstrip(), column - start


def plain(problem: ConfigError) -> dict[str, Any]:
    """A problem as plain data, for ``--json``."""
    return {
        "code": problem.code, "severity": problem.severity.value, "file": problem.place.file, "line": problem.place.line,
        "column": problem.place.column, "message": problem.message, "hint": problem.hint,
        "source": hidden(problem.source, 1)[0],
        "related": [{"words": words, "file": place.file, "line": place.line, "column": place.column}
                    for words, place in problem.related],
    }


def effective(config: Config) -> dict[str, Any]:
    """The configuration that runs as plain data: short forms and views lowered, defaults laid under; secrets are ``***``."""
    return {
        "gateway": plain_message(config.gateway),
        "objects": [plain_object(one) for objects in config.objects.values() for one in objects.values() if not one.lowered],
    }


def plain_object(one: Object[Any]) -> dict[str, Any]:
    """An object as plain data: kind, metadata, spec."""
    return {"kind": one.kind, "metadata": plain_metadata(one.metadata), "spec": plain_spec(one.spec)}


def plain_metadata(metadata: Metadata) -> Mapping[str, Any]:
    """Metadata as plain data."""
    return plain_message(metadata)


def plain_spec(spec: object) -> Any:
    """A spec as plain data, also one of a kind that is kept as it is."""
    return plain_message(spec) if isinstance(spec, Message) else Anything().plain(spec)
