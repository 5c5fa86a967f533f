"""Caddy's matchers, as what must hold and what must not."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from voltgw.app.importing.caddy_words import Directive
from voltgw.app.importing.model import Condition, Match
from voltgw.app.importing.narrowing import METHODS, all_of
from voltgw.app.importing.words import whole

_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fd00::/8", "::1/128")


@dataclass(slots=True)
class Matcher:
    """One of `holds` must hold and none of `fails`; the client is in `sources` (or outside, None = anywhere)."""

    holds: list[Match] = field(default_factory=lambda: [Match()])
    fails: list[Match] = field(default_factory=list)
    sources: tuple[str, ...] | None = None
    outside: bool = False
    path: str | None = None             # the one path that it asks for, by which directives are sorted
    anything: bool = False              # it is no matcher at all


ANYTHING = Matcher(anything=True)


def by_path(text: str, stripped: str) -> Matcher:
    """The matcher that a path in the place of a name is; `stripped` is what has been taken from the front of paths."""
    return Matcher([path(text, stripped)], path=text)


def path(text: str, stripped: str = "") -> Match:
    """A path with ``*``. Case counts, which it does not for Caddy."""
    if text == "*":
        return Match("prefix", f"{stripped}/") if stripped else Match()
    inner = text.rstrip("*") if text.endswith("*") and not text.endswith("**") else text
    if text.startswith("/") and "*" not in inner and "?" not in inner and "[" not in inner:
        return Match("prefix" if inner != text else "exact", stripped + inner)
    if text.startswith("*") and "*" not in text[1:]:
        return Match("regex",
                     whole(f"^{re.escape(stripped)}.*{re.escape(text[1:])}$" if stripped else f"{re.escape(text[1:])}$"))
    if text.startswith("*") and text.endswith("*") and "*" not in text[1:-1]:
        return Match("regex", whole(f"^{re.escape(stripped)}.*{re.escape(text[1:-1])}" if stripped else re.escape(text[1:-1])))
    if "[" in text or "**" in text:
        raise ValueError(f"the path {text!r}")
    pattern = "".join("[^/]*" if one == "*" else "[^/]" if one == "?" else re.escape(one) for one in text)
    return Match("regex", whole(f"^{re.escape(stripped)}{pattern}$"))


def named(directive: Directive, stripped: str) -> Matcher:
    """The matcher ``@name ...`` or ``@name { ... }``. Raises ValueError."""
    if directive.block is not None:
        inner = directive.block
    elif directive.args:
        inner = [Directive(directive.args[0], directive.args[1:], directive.place)]
    else:
        inner = []
    return _all(inner, stripped)


def _all(inner: list[Directive], stripped: str) -> Matcher:
    made = Matcher()
    by_kind: dict[str, list[Directive]] = {}
    for each in inner:
        by_kind.setdefault(each.name, []).append(each)
    parts: list[list[Match]] = []
    for kind, lines in by_kind.items():
        if kind == "not":
            for line in lines:
                other = _all(line.block if line.block is not None else [Directive(line.args[0], line.args[1:], line.place)],
                             stripped)
                if other.fails:
                    raise ValueError("`not` inside `not`")
                if other.sources is not None:
                    if other.holds != [Match()] or made.sources is not None:
                        raise ValueError("an address and something else inside `not`")
                    made.sources, made.outside = other.sources, not other.outside
                elif made.fails:
                    raise ValueError("more than one `not`")
                else:
                    made.fails = other.holds
        elif kind in ("remote_ip", "client_ip"):
            sources = [arg for line in lines for arg in line.args if arg not in ("forwarded",)]
            listed = [one for arg in sources for one in (_PRIVATE if arg == "private_ranges" else (arg,))]
            made.sources = tuple(str(ipaddress.ip_network(one, strict=False)) for one in listed)
        else:
            if kind == "path":
                words = [arg for line in lines for arg in line.args]
                made.path = words[0] if len(words) == 1 else None
            parts.append(_kind(kind, lines, stripped))
    made.holds = all_of(parts)
    return made


def _kind(kind: str, lines: list[Directive], stripped: str) -> list[Match]:
    words = [arg for line in lines for arg in line.args]
    if kind == "path":
        return [path(word, stripped) for word in words]
    if kind == "path_regexp":
        pattern = lines[0].args[-1]
        if stripped:
            if not pattern.startswith("^"):
                raise ValueError("a pattern inside handle_path begins with ^")
            pattern = f"^{re.escape(stripped)}{pattern[1:]}"
        return [Match("regex", whole(pattern))]
    if kind == "method":
        chosen = tuple(sorted(METHODS.intersection(word.upper() for word in words)))
        return [Match(methods=chosen)] if chosen else []
    if kind == "host":
        return [Match(headers=(_host(word),)) for word in words]
    if kind == "protocol":
        raise ValueError("write the sites of http and https apart")
    if kind in ("header", "header_regexp"):
        fields: dict[str, list[Match]] = {}
        for line in lines:
            name, *rest = line.args
            if kind == "header_regexp":
                name, *rest = line.args[-2:]
                fields.setdefault(name.lower(), []).append(Match(headers=(Condition(name, "regex", whole(rest[0])),)))
            elif name.startswith("!"):
                fields.setdefault(name.lower(), []).append(Match(headers=(Condition(name[1:], "there", "", True),)))
            else:
                fields.setdefault(name.lower(), []).append(Match(headers=(_wild(name, rest[0] if rest else "*"),)))
        return all_of(list(fields.values()))
    if kind == "query":
        found = []
        for word in words:
            name, _, text = word.partition("=")
            found.append(Match(query=(Condition(name) if text in ("", "*") else Condition(name, "exact", text),)))
        return found
    raise ValueError(f"the matcher {kind}")


def _host(word: str) -> Condition:
    pattern = re.escape(word.lower()).replace(r"\*", "[^.]*")
    return Condition("host", "regex", f"{pattern}(?::[0-9]+)?")


def _wild(name: str, text: str) -> Condition:
    if text == "*":
        return Condition(name)
    if "*" not in text:
        return Condition(name, "exact", text)
    return Condition(name, "regex", whole("^" + re.escape(text).replace(r"\*", ".*") + "$"))


