"""Counters between processes: what an object has counted since it was last looked at, and that added to another of its kind.

An object is read as the numbers in its slots or attributes: integers, floats, lists of them, mappings from text to them, and
objects of such ones, to any depth. What a difference holds is plain and JSON-ready. Gauges, which go down as well as up, are
differences like any other; whoever adds them keeps the sums, so that they can be taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from voltgw.values.compiling import slots_of

#: How deep objects stand in each other: a route's counters hold a histogram, which holds a list.
_DEPTH: Final = 4
#: Most names that a difference may bring into a mapping: flags, reasons and protocol versions are a few dozen.
MOST_NAMES: Final = 1024

#: A number, or a mapping of names (of attributes, keys or places in a list) to such.
Difference = Any

_names: dict[type, tuple[str, ...]] = {}


def numbers_of(thing: Any, only: Iterable[str] | None = None) -> dict[str, Any]:
    """All numbers of an object as they are now, of the attributes `only` where that is given; plain values, by their names."""
    return {name: read for name in (_attributes(thing) if only is None else only)
            if (read := _read(getattr(thing, name, None), _DEPTH)) is not None}


def difference(now: Any, before: Any) -> Difference:
    """What has come on top of `before`, as `numbers_of` gives both; None = nothing. `before` None = nothing was there."""
    if isinstance(now, dict):
        known: Mapping[str, Any] = before if isinstance(before, dict) else {}
        found = {name: more for name, value in now.items() if (more := difference(value, known.get(name))) is not None}
        return found or None
    if isinstance(now, list):
        old: list[Any] = before if isinstance(before, list) else []
        places = {str(place): more for place, value in enumerate(now)
                  if (more := difference(value, old[place] if place < len(old) else None)) is not None}
        return places or None
    more = now - (before if isinstance(before, (int, float)) else 0)
    return more or None


def add(thing: Any, more: Difference) -> None:
    """Add a difference to an object. What the object does not have is left out: it came from another process."""
    if not isinstance(more, dict):
        return
    for name, value in more.items():
        if name.startswith("_"):
            continue
        present = getattr(thing, name, None)
        if isinstance(present, (int, float)) and not isinstance(present, bool):
            if _is_number(value):
                setattr(thing, name, present + value)
        elif isinstance(present, (list, dict, tuple)):
            _add_inside(present, value)
        elif present is not None and name in _attributes(thing):
            add(present, value)


def _add_inside(into: Any, more: Difference) -> None:
    if not isinstance(more, dict):
        return
    for name, value in more.items():
        if isinstance(into, (list, tuple)):
            place: Any = int(name) if name.isdecimal() else -1
            if not 0 <= place < len(into):
                continue
            present = into[place]
        else:
            place = _key(name, into)
            present = into.get(place)
            if present is None:
                if len(into) >= MOST_NAMES:
                    continue
                if _is_number(value):
                    present = 0
                elif isinstance(value, dict) and all(key.isdecimal() for key in value):
                    present = into[place] = [0] * (1 + max((min(int(key), MOST_NAMES) for key in value), default=0))
                else:
                    continue
        if isinstance(present, (list, dict)):
            _add_inside(present, value)
        elif _is_number(present) and _is_number(value):
            into[place] = present + value
        elif not _is_number(present):
            add(present, value)


def negative(more: Difference) -> Difference:
    """The difference that takes this one back."""
    return {name: negative(value) for name, value in more.items()} if isinstance(more, dict) else -more


def summed(one: Difference, other: Difference) -> Difference:
    """Both together; None = nothing is left."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return (one or 0) + (other or 0) or None if not isinstance(one, dict) and not isinstance(other, dict) else one or other
    found = {name: both for name in {**one, **other} if (both := summed(one.get(name), other.get(name))) is not None}
    return found or None


def _attributes(thing: Any) -> tuple[str, ...]:
    """The public names of what an object holds; its class is looked at once."""
    if hasattr(thing, "__dict__"):
        return tuple(name for name in vars(thing) if not name.startswith("_"))
    kind = type(thing)
    found = _names.get(kind)
    if found is None:
        found = _names[kind] = tuple(name for name in slots_of(kind) if not name.startswith("_"))
    return found


def _read(value: Any, depth: int) -> Any:
    """Plain numbers of a value, None = it has none."""
    if _is_number(value):
        return value
    if not depth or value is None or isinstance(value, (str, bytes, bool)) or callable(value):
        return None
    if isinstance(value, (list, tuple)):
        read = [_read(each, depth - 1) for each in value]
        return None if any(each is None for each in read) else read
    if isinstance(value, dict):
        return {_text(key): one for key, each in value.items() if (one := _read(each, depth - 1)) is not None}
    found = {name: one for name in _attributes(value) if (one := _read(getattr(value, name, None), depth - 1)) is not None}
    return found or None


def _text(key: Any) -> str:
    """A key of a mapping as text; of a tuple of texts, or an enumeration, too."""
    if isinstance(key, Enum):
        return f"\1{key.value}"
    return "\0".join(key) + "\0" if isinstance(key, tuple) else str(key)


def _key(text: str, into: dict[Any, Any]) -> Any:
    """It again, for that mapping."""
    if text.startswith("\1"):
        return next((key for key in into if isinstance(key, Enum) and str(key.value) == text[1:]), text)
    return tuple(text.split("\0")[:-1]) if text.endswith("\0") else text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
