"""Traefik's rules as alternatives of matches."""

from __future__ import annotations

import re

from voltgw.app.importing.model import Condition, Match
from voltgw.app.importing.narrowing import METHODS, all_of, none_of
from voltgw.app.importing.traefik_words import Term
from voltgw.app.importing.words import whole


def matches(term: Term) -> list[Match]:
    """How a rule can hold. Raises ValueError where that cannot be said."""
    if term.name == "and":
        return all_of([matches(each) for each in term.below])
    if term.name == "or":
        return [match for each in term.below for match in matches(each)]
    if term.name == "not":
        below = term.below[0]
        if below.name == "and":
            return [match for each in below.below for match in matches(Term("not", (), (each,)))]
        if below.name == "not":
            return matches(below.below[0])
        return none_of(matches(below))
    name, args = term.name.lower(), term.args
    if name in ("host", "hostheader"):
        return [Match(headers=(_host(re.escape(each.lower())),)) for each in args]
    if name == "hostregexp":
        return [Match(headers=(_host(_pattern(each, "[^.]+", host=True)),)) for each in args]
    if name == "path":
        return [_path(each, "exact") for each in args]
    if name == "pathprefix":
        return [_path(each, "prefix") for each in args]
    if name == "pathregexp":
        return [Match("regex", whole(each)) for each in args]
    if name == "method":
        chosen = tuple(sorted(METHODS.intersection(each.upper() for each in args)))
        return [Match(methods=chosen)] if chosen else []
    if name in ("headers", "header"):
        return [Match(headers=(Condition(args[0], "exact", args[1]),))]
    if name in ("headersregexp", "headerregexp"):
        return [Match(headers=(Condition(args[0], "regex", whole(args[1])),))]
    if name in ("query", "queryregexp"):
        pairs = [args] if len(args) == 2 and not any("=" in each for each in args) else [tuple(each.split("=",
                                                                                                          1)) for each in args]
        return [Match(query=tuple(_parameter(pair, name) for pair in pairs))]
    if name == "clientip":
        raise ValueError("routes are not chosen by the client's address: write a `service_policy`")
    raise ValueError(f"there is no matcher {term.name}")


def names(term: Term) -> list[str]:
    """The names that a rule asks for by Host or HostSNI, without those that it excludes."""
    if term.name in ("and", "or"):
        return [name for each in term.below for name in names(each)]
    return list(term.args) if term.name.lower() in ("host", "hostheader", "hostsni") else []


def _parameter(pair: tuple[str, ...], name: str) -> Condition:
    if len(pair) == 1 or pair[1] == "":
        return Condition(pair[0])
    return Condition(pair[0], "regex", whole(pair[1])) if name == "queryregexp" else Condition(pair[0], "exact", pair[1])


def _host(pattern: str) -> Condition:
    return Condition("host", "regex", f"{pattern}(?::[0-9]+)?")


def _path(text: str, how: str) -> Match:
    if "{" not in text:
        return Match(how, text)
    pattern = _pattern(text, "[^/]+", host=False)
    return Match("regex", whole(f"^{pattern}" + ("$" if how == "exact" else "")))


def _pattern(text: str, default: str, *, host: bool) -> str:
    """A text with ``{name:regex}`` in it, or (for hosts) a whole regular expression. Raises ValueError."""
    if host and "{" not in text or re.search(r"\{\d+(,\d*)?\}", text):
        inner = whole(text, ignore_case=False)
        return f"(?:{inner})"
    made, end = [], 0
    for found in re.finditer(r"\{(\w*)(?::([^{}]+(?:\{[^{}]*\}[^{}]*)*))?\}", text):
        made += [re.escape(text[end:found.start()]), f"(?:{found[2] or default})"]
        end = found.end()
    return "".join(made) + re.escape(text[end:])
