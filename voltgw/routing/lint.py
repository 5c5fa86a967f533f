"""Finds rules that no request ever reaches, and domains that are never chosen: asks the built tables, changes nothing.

A rule is said to be unreachable only where it is certain: for each of its entries one earlier entry takes every request that
it takes. Rules that only several others together leave nothing for are not found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.errors import ConfigError, Place, Severity
from voltgw.routing.match import PathKind

if TYPE_CHECKING:
    from voltgw.routing.hosts import Entry, HostTable, Rank
    from voltgw.routing.match import Ask, Clause
    from voltgw.routing.route import Rule, VirtualHost

NEVER_REACHED: Final = "VG0303"
NEVER_CHOSEN: Final = "VG0304"


# -- rules -------------------------------------------------------------------------------------------------------------

class _Seen(NamedTuple):
    """An entry of a rule: the clause, its rule, and its place among the rule's entries."""

    clause: Clause
    rule: Rule
    number: int

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.rule.find_place("match", self.number) if self.clause.parts else self.rule.route.place


class _Earlier:
    """The entries so far, found by what they ask of the path."""

    def __init__(self) -> None:
        self.anywhere: list[_Seen] = []                     # those that no literal tells apart
        self.by_literal: dict[bytes, list[_Seen]] = {}
        self.lengths: set[int] = set()

    def add(self, seen: _Seen) -> None:
        """One more."""
        clause = seen.clause
        if clause.kind is PathKind.ANY:
            self.anywhere.append(seen)
        else:
            self.by_literal.setdefault(clause.literal, []).append(seen)
            self.lengths.add(len(clause.literal))

    def covering(self, clause: Clause) -> _Seen | None:
        """An entry that takes all that `clause` takes."""
        candidates = list(self.anywhere)
        literal = clause.literal or b"/"
        for length in self.lengths:
            if length <= len(literal):
                candidates += self.by_literal.get(literal[:length], ())
        return next((seen for seen in candidates if _covers(seen.clause, clause)), None)


def lint_rules(host: VirtualHost) -> Iterator[ConfigError]:
    """Rules, and entries of rules, that can never match because an earlier rule takes all of their requests."""
    earlier = _Earlier()
    for rule in host.rules:
        entries = [_Seen(clause, rule, number) for number, (clause, _) in enumerate(rule.clauses)]
        found = [(entry, earlier.covering(entry.clause)) for entry in entries]
        hidden = [(entry, by) for entry, by in found if by is not None]
        if hidden and len(hidden) == len(entries):
            yield _never_reached(host, f"rule {rule.route.name}", rule.route.place, [by for _, by in hidden])
        else:
            for entry, by in hidden:
                yield _never_reached(
                    host, f"this alternative of rule {rule.route.name}", entry.place, [by])
        for entry in entries:
            earlier.add(entry)


def _never_reached(host: VirtualHost, what: str, place: Place, by: Sequence[_Seen]) -> ConfigError:
    others = list(dict.fromkeys(seen.rule for seen in by))
    first = others[0].route
    if len(others) > 1:
        why = "the rules " + ", ".join(f"{other.route.name} ({_line(other.route.place, place)})" for other in others) + " match"
    else:
        why = f"{_line(by[0].place, place)} (rule {first.name}) matches"
    return ConfigError(
        NEVER_REACHED, place, f"{what} of virtual_host {_label(host)} is never reached: {why} everything that it does",
        "the first rule that matches wins: put the narrower one first", Severity.WARNING,
        related=tuple((f"rule {other.route.name} takes its requests", other.route.place) for other in others))


def _line(place: Place, seen_from: Place) -> str:
    return f"line {place.line}" if place.file == seen_from.file and place.line else str(place)


def _covers(wide: Clause, narrow: Clause) -> bool:
    """Whether every request that `narrow` takes is one that `wide` takes. False where that is not certain."""
    asked = [part.ask for part in narrow.parts]
    for part in wide.parts:
        ask = part.ask
        if ask.about == "path":
            if not _covers_path(wide, ask, narrow, asked):
                return False
        elif not any(_follows(ask, given) for given in asked):
            return False
    return True


def _covers_path(wide: Clause, ask: Ask, narrow: Clause, asked: Sequence[Ask]) -> bool:
    if any(given[:4] == ask[:4] for given in asked):
        return True
    if ask.how == "regex":
        # beyond its literal beginning only a whole path can be tried
        return narrow.kind is PathKind.EXACT and ask.fits is not None and bool(ask.fits(narrow.literal))
    literal = narrow.literal
    if narrow.kind is PathKind.ANY:
        # Every path begins with a slash but that of OPTIONS *, which few mean by "any path".
        return wide.kind is PathKind.PREFIX and wide.literal == b"/" and not any(
            given.about == "method" and given.wanted == "OPTIONS" for given in asked)
    if wide.kind is PathKind.PREFIX:
        return literal.startswith(wide.literal)
    if wide.kind is PathKind.SEGMENTS:
        return literal.startswith(wide.literal + b"/") or literal == wide.literal and narrow.kind is not PathKind.PREFIX
    return wide.kind is PathKind.EXACT and narrow.kind is PathKind.EXACT and literal == wide.literal


def _follows(ask: Ask, given: Ask) -> bool:
    """Whether what `ask` wants is so wherever `given` holds."""
    if (ask.about, ask.name) != (given.about, given.name):
        return False
    if ask[:5] == given[:5]:
        return True
    if ask.inverted or given.inverted:
        return False
    if ask.how == "there":
        return True
    return given.how == "exact" and ask.fits is not None and bool(ask.fits(given.wanted.encode("utf-8")))


# -- domains -----------------------------------------------------------------------------------------------------------

def lint_domains(table: HostTable, port: int) -> Iterator[ConfigError]:
    """Domains on a listener of `port` that are never chosen, because another virtual host's come first for every name.

    That is so only of one name with and without the listener's port: other domains that come first take fewer names. A request
    that names a port of its own beside the listener's could still choose one that differs only by port; nobody means that, so
    it counts as never.
    """
    by_name: dict[tuple[Rank, bytes], dict[int | None, Entry]] = {}
    for entry in table.entries:
        by_name.setdefault((entry.domain.rank, entry.domain.key), {})[entry.domain.port] = entry
    for entry in table.entries:
        domain = entry.domain
        first = by_name[domain.rank, domain.key].get(port) if domain.port is None else None
        if first is not None and first.host is not entry.host:
            yield _never_chosen(entry, first)


def _never_chosen(entry: Entry, first: Entry) -> ConfigError:
    place, other = _place(entry), _place(first)
    return ConfigError(
        NEVER_CHOSEN, place, f"domain {entry.text} of virtual_host {_label(entry.host)} is never chosen: {first.text} of "
        f"virtual_host {_label(first.host)} comes before it for every name that it takes",
        "", Severity.WARNING, related=((f"{first.text} of {_label(first.host)}", other),))


def _place(entry: Entry) -> Place:
    domains = entry.host.domains
    return entry.host.find_place("domains", domains.index(entry.text)) if entry.text in domains else entry.host.place


def _label(host: VirtualHost) -> str:
    return f"{host.namespace}/{host.name}"
