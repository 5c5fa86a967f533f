"""Conditions joined with "and": two matches as one, where one match can say it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from voltgw.app.importing.model import Condition, Match, Rule
from voltgw.app.importing.words import whole

#: Alternatives that one condition may have.
MAX_ALTERNATIVES: Final = 256
#: Methods that a rule can ask for.
METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "COPY"))


class NeverError(ValueError):
    """Both can never hold."""


def both(one: Match, other: Match) -> Match:
    """The match that holds when both do. Raises NeverError, and ValueError where no match can say it."""
    how, path = _path((one.how, one.path), (other.how, other.path))
    methods = one.methods or other.methods
    if one.methods and other.methods:
        methods = tuple(each for each in one.methods if each in other.methods)
        if not methods:
            raise NeverError("no method is both")
    return Match(how, path, methods, _joined(one.headers, other.headers), _joined(one.query, other.query),
                 _joined(one.cookies, other.cookies))


def _joined(one: tuple[Condition, ...], other: tuple[Condition, ...]) -> tuple[Condition, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def _path(one: tuple[str, str], other: tuple[str, str]) -> tuple[str, str]:
    if one == other or other[0] == "any":
        return one
    if one[0] == "any":
        return other
    for (how, path), (other_how, other_path) in ((one, other), (other, one)):
        if how == "exact":
            if _holds(other_how, other_path, path):
                return how, path
            raise NeverError("no path is both")
        if how in ("prefix", "segments") and other_how == "prefix":
            if path.startswith(other_path):
                return how, path
            if not other_path.startswith(path):
                raise NeverError("no path is both")
        if how == "segments" and other_how == "segments" and _holds(other_how, other_path, path):
            return how, path
    if one[0] == "prefix" and other[0] == "segments" or one[0] == "segments" and other[0] == "prefix":
        wide, narrow = (one, other) if one[0] == "segments" else (other, one)
        if narrow[1].startswith(wide[1].rstrip("/") + "/"):
            return narrow
    for (how, path), (other_how, other_path) in ((one, other), (other, one)):
        if how == "prefix" and other_how == "regex":
            head = _head(other_path)
            if head.startswith(path):
                return "regex", other_path
            if head and not path.startswith(head):
                raise NeverError("no path is both")
            tail = re.fullmatch(r"\.\*(\\?[^\\()\[\].*+?|^$]).*", other_path)
            if tail is not None and tail[1].removeprefix("\\") not in path and "|" not in other_path:
                return "regex", whole(f"^{re.escape(path)}{other_path}$")     # what it ends with does not begin in the prefix
    raise ValueError("a rule has one condition on its path")


def _head(pattern: str) -> str:
    """The literal with which all paths begin that such a regex matches; "" = not known."""
    found = re.match(r"(?:[A-Za-z0-9_/~-]|\\[^A-Za-z0-9])*", pattern)
    literal = found[0] if found is not None else ""
    if re.match(r"[*+?{]", pattern[len(literal):]):
        literal = re.sub(r"\\?.$", "", literal)
    return "" if "|" in pattern else literal.replace("\\", "")


def _holds(how: str, path: str, wanted: str) -> bool:
    """Whether the path `wanted` fits such a condition."""
    if how == "exact":
        return wanted == path
    if how == "prefix":
        return wanted.startswith(path)
    if how == "segments":
        return wanted == path.rstrip("/") or wanted.startswith(path.rstrip("/") + "/")
    return re.fullmatch(path, wanted) is not None


def all_of(parts: Sequence[list[Match]]) -> list[Match]:
    """Alternatives of which each part gives one: their product, without what can never hold. Raises ValueError."""
    made = [Match()]
    for part in parts:
        found: list[Match] = []
        for one in made:
            for other in part:
                try:
                    found.append(both(one, other))
                except NeverError:
                    continue
        if len(found) > MAX_ALTERNATIVES:
            raise ValueError(f"it has more than {MAX_ALTERNATIVES} alternatives")
        made = found
    return made


def narrowed(rule: Rule, matches: list[Match]) -> Rule | None:
    """The rule where one of `matches` holds as well; None where both never do. Raises ValueError."""
    found = all_of([rule.matches or [Match()], matches])
    if not found:
        return None
    return replace(rule, matches=[] if Match() in found else found, request=list(rule.request), response=list(rule.response),
                   action=replace(rule.action))


def none_of(matches: list[Match]) -> list[Match]:
    """The matches that hold when none of some does, which each ask for one thing. Raises ValueError."""
    made = Match()
    if not matches:
        return [made]
    for match in matches:
        if match == Match():
            return []
        asked = len(match.headers) + len(match.cookies) + len(match.query) + bool(match.methods) + (match.how != "any")
        if asked > 1:
            raise ValueError("a rule cannot ask that not all of some conditions hold")
        if match.methods:
            left = set(made.methods or METHODS).difference(match.methods)
            made.methods = tuple(sorted(left))
        elif match.how != "any" or match.query:
            raise ValueError("a rule cannot ask that a path or a parameter is another one")
        else:
            made.headers += tuple(each._replace(inverted=not each.inverted) for each in match.headers)
            made.cookies += tuple(each._replace(inverted=not each.inverted) for each in match.cookies)
    return [made]
