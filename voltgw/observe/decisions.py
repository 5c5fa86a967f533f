"""Decisions as plain data, and as text for people: indented by what led to what, aligned among neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from voltgw.values.reason import Reason

#: Columns are at most this wide; what is longer pushes the rest of its line to the right.
MOST_COLUMN: Final = 40
_INDENT: Final = "  "
#: Decisions that one record of the access log tells of, and how long each may be.
MOST_SENTENCES: Final = 24
MOST_SENTENCE: Final = 256


def plain_reason(reason: Reason) -> dict[str, Any]:
    """A decision and those that led to it, for JSON; what is not known is left out."""
    plain: dict[str, Any] = {"about": reason.about, "outcome": reason.outcome}
    if reason.why:
        plain["why"] = reason.why
    if reason.place is not None:
        plain["place"] = str(reason.place)
    if reason.steps:
        plain["steps"] = [plain_reason(step) for step in reason.steps]
    return plain


def text_of(decisions: Iterable[Mapping[str, Any]]) -> str:
    """Decisions as `plain_reason` gives them, one a line, those that led to one below it."""
    return "\n".join(_lines(list(decisions), 0))


def sentences(decisions: Iterable[Reason], most: int = MOST_SENTENCES) -> list[str]:
    """Decisions one by one in words, without places; at most `most`, what is left out is counted."""
    found: list[str] = []
    waiting = list(reversed(list(decisions)))
    while waiting:
        reason = waiting.pop()
        why = f": {reason.why}" if reason.why else ""
        found.append(f"{reason.about} {reason.outcome}{why}".strip()[:MOST_SENTENCE])
        waiting += reversed(reason.steps)
    return found if len(found) <= most else [*found[:most - 1], f"and {len(found) - most + 1} more"]


def _lines(decisions: Sequence[Mapping[str, Any]], depth: int) -> list[str]:
    abouts = [str(each.get("about", "")) for each in decisions]
    outcomes = [str(each.get("outcome", "")) for each in decisions]
    first = _width(abouts)
    second = _width(outcomes)
    lines: list[str] = []
    for each, about, outcome in zip(decisions, abouts, outcomes, strict=True):
        place = f"[{each['place']}]" if each.get("place") else ""
        why = "  ".join(part for part in (str(each.get("why", "")), place) if part)
        line = f"{about:<{first}}  {outcome:<{second}}  {why}" if about else f"{outcome:<{second}}  {why}"
        lines.append(_INDENT * depth + line.rstrip())
        lines += _lines(each.get("steps", ()), depth + 1)
    return lines


def _width(texts: Sequence[str]) -> int:
    return max((len(text) for text in texts if len(text) <= MOST_COLUMN), default=0)
