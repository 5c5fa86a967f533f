"""The options of a scheduler, as they stand in a cluster's ``voltgw: {scheduler_options: …}``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final, NamedTuple

from voltgw.errors import NOWHERE, ConfigError, ConfigErrors, Place

_CODE: Final = "VG0105"


class Whole(NamedTuple):
    """An option that is a whole number, limits included."""

    least: int
    most: int


def read_options(raw: object, place: object, known: Mapping[str, Whole | None]) -> dict[str, int | bool]:
    """The options that are set; `known` names all there are, None = true or false.

    Raises `ConfigErrors` for one that is unknown or has a value it cannot have.
    """
    where = place if isinstance(place, Place) else NOWHERE
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise ConfigErrors((ConfigError(_CODE, where, "scheduler_options is a map of options to values"),))
    problems: list[ConfigError] = []
    read: dict[str, int | bool] = {}
    for name, value in raw.items():
        said = _problem(str(name), value, known)
        if said:
            problems.append(ConfigError(_CODE, where, said))
        else:
            read[str(name)] = value
    if problems:
        raise ConfigErrors(tuple(problems))
    return read


def _problem(name: str, value: object, known: Mapping[str, Whole | None]) -> str:
    """What is wrong with an option, "" if nothing is."""
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        there = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known)) or 'none'}"
        return f"the scheduler has no option {name!r}; {there}"
    limits = known[name]
    if limits is None:
        return "" if isinstance(value, bool) else f"{name} is true or false, not {value!r}"
    if isinstance(value, bool) or not isinstance(value, int) or not limits.least <= value <= limits.most:
        return f"{name} is a whole number from {limits.least} to {limits.most}, not {value!r}"
    return ""
