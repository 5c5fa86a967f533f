"""The configuration as text: what was said (``voltgw config show``) or all that acts, with the origin of every value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from voltgw.config.compound import Anything, ListOf
from voltgw.config.model import Config, Object, Said
from voltgw.config.schema import Decl, Message, Nested, plain_message, plan_of

#: Text that needs no quotes in YAML, whoever reads it.
_SAFE: Final = re.compile(
    r"[A-Za-z/_][A-Za-z0-9/_.-]*|[0-9]+(?:\.[0-9]+){3}|[0-9]+(?:ms|s|m|h|d|B|KiB|MiB|GiB)")
_WORDS: Final = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))
#: Column in which origins stand, where the line leaves room.
_COLUMN: Final = 56


class _Line(NamedTuple):
    text: str
    origin: str = ""


def text_of(config: Config, *, everything: bool) -> str:
    """The configuration as YAML.

    With `everything` (``--effective``) defaults are laid under, absent fields that mean something are shown as comments, and
    each line says where its value came from; otherwise only what files say. A view stands there as the objects that were
    made from it, or else as itself. Secrets are ``***``.
    """
    lines = [_Line("gateway:", str(config.gateway_place) if config.gateway_place.line else "")]
    gateway = _plain(plain_message(config.gateway), 1)
    if everything:
        gateway += [_absent(decl, "  ") for decl in plan_of(type(config.gateway)).decls
                    if decl.absent and getattr(config.gateway, decl.attribute) == decl.type.default]
    lines += gateway or [_Line("  {}")]
    lines.append(_Line("objects:"))
    for objects in config.objects.values():
        for one in objects.values():
            if not (one.lowered if everything else one.owner is not None):
                lines += _object(one, everything)
    return "\n".join(_joined(line, everything) for line in lines) + "\n"


def _joined(line: _Line, everything: bool) -> str:
    return f"{line.text:<{_COLUMN}}  # {line.origin}" if line.origin and everything else line.text


def _object(one: Object[Any], everything: bool) -> Iterator[_Line]:
    made = f"made from {one.form}, " if one.form else ""
    yield _Line(f"- kind: {one.kind}", f"{made}{one.place()}")
    yield _Line("  metadata:")
    yield from _plain(plain_message(one.metadata), 2)
    spec = one.spec
    if not isinstance(spec, Message):
        yield _Line("  spec:")
        yield from _plain(Anything().plain(spec), 2)
        return
    inside = list(_message(one, spec, (), 2, everything))
    yield _Line("  spec:" if _says(inside) else "  spec: {}")
    yield from inside


def _message(one: Object[Any], value: Any, path: tuple[str | int, ...], depth: int, everything: bool) -> Iterator[_Line]:
    """The fields of a message, in the order of their declaration."""
    indent = "  " * depth
    for decl in plan_of(type(value)).decls:
        item = getattr(value, decl.attribute)
        here = (*path, decl.name)
        if item == decl.type.default:
            if everything and decl.absent and not decl.internal:
                yield _absent(decl, indent)
            continue
        whence = one.whence(*here)
        if whence.said in (Said.DEFAULTS, Said.NOBODY) and not everything:
            continue
        origin = f"{whence.place}" if whence.said in (Said.FILE, Said.FORM) else f"{whence.said.value}, {whence.place}"
        if isinstance(decl.type, Nested):
            inside = list(_message(one, item, here, depth + 1, everything))
            yield _Line(f"{indent}{decl.name}:" + ("" if _says(inside) else " {}"), origin)
            yield from inside
        elif isinstance(decl.type, ListOf) and isinstance(decl.type.item, Nested):
            yield _Line(f"{indent}{decl.name}:", origin)
            for index, part in enumerate(item):
                yield from _dashed(list(_message(one, part, (*here, index), depth + 1, everything)), depth)
        else:
            yield from _field(decl, item, depth, origin)


def _says(lines: list[_Line]) -> bool:
    """Whether there is more than comments, which YAML would take for null."""
    return any(not line.text.lstrip().startswith("#") for line in lines)


def _field(decl: Decl, value: Any, depth: int, origin: str) -> Iterator[_Line]:
    plain = decl.type.plain(value)
    indent = "  " * depth
    if isinstance(plain, (dict, list)) and plain and not _flat(plain):
        yield _Line(f"{indent}{decl.name}:", origin)
        yield from _plain(plain, depth + 1)
    else:
        yield _Line(f"{indent}{decl.name}: {_flow(plain)}", origin)


def _dashed(lines: list[_Line], depth: int) -> Iterator[_Line]:
    """An item of a list: the first line that is no comment begins with a dash and comes first."""
    indent = "  " * depth
    first = next((index for index, line in enumerate(lines) if not line.text.lstrip().startswith("#")), None)
    if first is None:
        yield _Line(f"{indent}- {{}}")
        yield from lines
        return
    yield lines[first]._replace(text=f"{indent}- {lines[first].text.lstrip()}")
    # The line may be the head of what follows it; comments about absent neighbours come after that.
    inner = first + 1
    while inner < len(lines) and _indent(lines[inner]) > _indent(lines[first]):
        inner += 1
    yield from lines[first + 1:inner]
    yield from lines[:first]
    yield from lines[inner:]


def _indent(line: _Line) -> int:
    return len(line.text) - len(line.text.lstrip())


def _absent(decl: Decl, indent: str) -> _Line:
    """A comment about a field that nobody set."""
    meaning = "{}" if decl.absent == "this" else decl.absent
    return _Line(f"{indent}# {decl.name}: {meaning}", Said.NOBODY.value)


def _plain(value: object, depth: int) -> list[_Line]:
    """Plain data without origins."""
    indent = "  " * depth
    lines: list[_Line] = []
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, (Mapping, list)) and item and not _flat(item):
                lines.append(_Line(f"{indent}{_flow(key)}:"))
                lines += _plain(item, depth + 1)
            else:
                lines.append(_Line(f"{indent}{_flow(key)}: {_flow(item)}"))
    elif isinstance(value, list):
        for item in value:
            lines += _dashed(_plain(item, depth + 1), depth) if isinstance(item, Mapping) and item else [
                _Line(f"{indent}- {_flow(item)}")]
    return lines


def _flat(value: object) -> bool:
    """Whether plain data reads well on one line."""
    items = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []
    return not any(isinstance(item, (Mapping, list)) and item for item in items) and len(_flow(value)) <= 72


def _flow(value: object) -> str:
    """Plain data on one line, as YAML that JSON-minded readers understand too."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return value if _SAFE.fullmatch(value) and value.lower() not in _WORDS else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
