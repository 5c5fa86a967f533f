"""Record sets as DNS APIs of clouds have them: what is seen of a zone's, and how marks and addresses stand in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from voltgw.control.publish.marks import Seen, mark_of, marker_of, name_behind
from voltgw.control.publish.names import Held, Wanted

_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_LEADING: Final = ("A", "AAAA", "CNAME")


class RecordSet(NamedTuple):
    """All records of one name and type.

    `values` are as zone files have them. `special` says what it is made of where that is not these values ("" = it is), `own`
    what else the API has of it.
    """

    name: str
    type: str
    ttl: int
    values: tuple[str, ...]
    special: str = ""
    own: object = None


def plain_name(text: str) -> str:
    """A name as the publisher has it: in lower case, without its last dot, ``\\052`` read as ``*``."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text).lower().removesuffix(".")


def content(addresses: Collection[str], ttls: Collection[int], alias: str) -> object:
    """What a name leads to, to be compared."""
    return tuple(sorted(addresses)), tuple(sorted(ttls)), alias


def _special(each: RecordSet) -> str:
    return each.special


def seen(
    sets: Iterable[RecordSet], names: Collection[str], strange: Callable[[RecordSet], str] = _special,
) -> dict[str, Held]:
    """What there is of `names`, and of all others that have a mark.

    `strange` says why a record set is not ours although its name has our mark, "" = it is. The token of a name is the tuple of
    its record sets that are not strange, as they were found.
    """
    markers = {marker_of(name): name for name in names}
    marks: dict[str, RecordSet] = {}
    leading: dict[str, list[RecordSet]] = {}
    for each in sets:
        if each.type == "TXT":
            name = markers.get(each.name) or name_behind(each.name)
            if name is not None:
                marks[name] = each
        elif each.type in _LEADING:
            leading.setdefault(each.name, []).append(each)
    found: dict[str, Held] = {}
    for name in dict.fromkeys((*names, *marks)):
        there = Seen()
        mark = marks.get(name)
        if mark is not None:
            there.note([("TXT", unquoted(value), mark.ttl) for value in mark.values], marker=True)
        parts = leading.get(name, [])
        for each in parts:
            there.note([(each.type, value, each.ttl) for value in each.values], marker=False)
        strangers = "; ".join(f"its {each.type} is {why}" for each in parts if (why := strange(each)))
        held = there.held(content, token=tuple(each for each in (mark, *parts) if each is not None and not strange(each)))
        if strangers and (mark is not None or not held.occupied):
            held = replace(held, occupied=strangers)
        found[name] = held
    return found


def made_of(wanted: Wanted, owner: str, ttl: int) -> list[RecordSet]:
    """The record sets of a name that is held as `wanted`."""
    sets = [RecordSet(marker_of(wanted.name), "TXT", ttl, (f'"{mark_of(owner)}"',))]
    for kind, six in (("A", False), ("AAAA", True)):
        addresses = tuple(each for each in wanted.addresses if (":" in each) is six)
        if addresses:
            sets.append(RecordSet(wanted.name, kind, ttl, addresses))
    return sets


def unquoted(text: str) -> str:
    """The text of a TXT record whose strings stand between quotes."""
    if not text.startswith('"'):
        return text
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text))
