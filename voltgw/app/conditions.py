"""The conditions of rules as propositions, so that one can reason about all requests at once.

A condition on a header, a query parameter or a cookie is an `Atom`: true or false for a given request. A rule's entry is a
set of atoms with the truth that it wants. Which of them can be true together is said by `implications`; `solve` finds an
assignment, or tells that there is none. Paths, methods, ports and names are not atoms: they are gone through one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from voltgw.routing.regex.pattern import ANY, FIELD, PATH, Pattern
from voltgw.routing.regex.syntax import parse
from voltgw.routing.regex.tree import Alt, Cat, Edge, Group, Node, Repeat, Set, members

if TYPE_CHECKING:
    from voltgw.config.objects.conditions import CookieMatcherType, HeaderMatcherType
    from voltgw.config.objects.route import QueryParameterMatcherType, RouteMatch

#: Steps that `solve` takes before it gives up; real rules need a handful.
MOST_STEPS: Final = 20_000
#: Strings that are made up for one regex.
MOST_SAMPLES: Final = 8
#: A byte that stands for "any other": first of those that a set has of these.
_USUAL: Final = b"aA0-_~x"


@dataclass(frozen=True, slots=True)
class Atom:
    """One proposition: `where` is ``header``, ``query``, ``cookie`` or ``path``; `op` ``is``, ``matches`` or ``there``."""

    where: str
    name: str
    op: str
    value: str = ""


#: An atom and the truth that is wanted of it.
Literal = tuple[Atom, bool]


class TooHardError(Exception):
    """No answer within the steps that are allowed."""


def literals(entry: RouteMatch) -> list[Literal]:
    """What one entry of a rule's `match` wants besides path, method and port."""
    wanted = [_header(each) for each in entry.headers]
    wanted += [_parameter(each) for each in entry.query_params]
    if entry.voltgw is not None:
        wanted += [_cookie(each) for each in entry.voltgw.cookies]
    return wanted


def _header(spec: HeaderMatcherType) -> Literal:
    return _of("header", spec.name.lower(), spec.exact, spec.regex), not spec.invert_match


def _cookie(spec: CookieMatcherType) -> Literal:
    return _of("cookie", spec.name, spec.exact, spec.regex), not spec.invert_match


def _parameter(spec: QueryParameterMatcherType) -> Literal:
    return _of("query", spec.key, spec.exact, spec.regex), True


def _of(where: str, name: str, exact: str | None, regex: str | None) -> Atom:
    if exact is not None:
        return Atom(where, name, "is", exact)
    return Atom(where, name, "there") if regex is None else Atom(where, name, "matches", regex)


def implications(atoms: Iterable[Atom]) -> list[list[Literal]]:
    """What holds between atoms of one name, as clauses (one of the literals of each is true)."""
    by_name: dict[tuple[str, str], list[Atom]] = {}
    for atom in atoms:
        by_name.setdefault((atom.where, atom.name), []).append(atom)
    clauses: list[list[Literal]] = []
    for group in by_name.values():
        there = next((atom for atom in group if atom.op == "there"), None)
        for atom in group:
            if there is not None and atom is not there:
                clauses.append([(atom, False), (there, True)])
            if atom.op == "is":
                clauses += [[(atom, False), (other, True)] for other in group
                            if other.op == "matches" and pattern(other).matches(atom.value.encode("utf-8"))]
    return clauses


def pattern(atom: Atom) -> Pattern:
    """The compiled regex of an atom that has one."""
    return _pattern(atom.value, PATH if atom.where == "path" else FIELD if atom.where == "header" else ANY)


@lru_cache(maxsize=1024)
def _pattern(text: str, domain: int) -> Pattern:
    return Pattern(text, domain)


# -- solving -----------------------------------------------------------------------------------------------------------

def solve(wanted: Iterable[Literal], clauses: Sequence[Sequence[Literal]]) -> dict[Atom, bool] | None:
    """Truth for the atoms such that all of `wanted` hold and one literal of each clause does; None = there is none.

    Atoms that nothing is said of are left out: a request in which they are false will do. Raises `TooHardError`.
    """
    known: dict[Atom, bool] = {}
    for atom, truth in wanted:
        if known.setdefault(atom, truth) is not truth:
            return None
    steps = [MOST_STEPS]
    return _solve(known, clauses, steps)


def _solve(known: dict[Atom, bool], clauses: Sequence[Sequence[Literal]], steps: list[int]) -> dict[Atom, bool] | None:
    while True:
        undecided: list[Sequence[Literal]] = []
        forced: Literal | None = None
        for clause in clauses:
            steps[0] -= 1
            open_literals = []
            for atom, truth in clause:
                value = known.get(atom)
                if value is None:
                    open_literals.append((atom, truth))
                elif value is truth:
                    break
            else:
                if not open_literals:
                    return None
                undecided.append(clause)
                if len(open_literals) == 1 and forced is None:
                    forced = open_literals[0]
        if steps[0] < 0:
            raise TooHardError
        if not undecided:
            return known
        clauses = undecided
        if forced is None:
            break
        known[forced[0]] = forced[1]
    # A literal that is wanted false first: what is absent needs no value to be made up for it.
    choice = sorted(((atom, truth) for atom, truth in clauses[0] if atom not in known), key=lambda each: each[1])
    for number, (atom, truth) in enumerate(choice):
        trial = {**known, atom: truth, **{other: not value for other, value in choice[:number]}}
        found = _solve(trial, clauses, steps)
        if found is not None:
            return found
    return None


# -- strings that a regex matches --------------------------------------------------------------------------------------

def samples(text: str) -> list[bytes]:
    """Some strings that a regex matches, short ones; none where it has edges in its middle that nothing fits."""
    node = parse(text)[0]
    return list(dict.fromkeys(_strings(node)))[:MOST_SAMPLES]


def _strings(node: Node) -> list[bytes]:
    if isinstance(node, Set):
        usual = [byte for byte in _USUAL if node.mask >> byte & 1]
        return [bytes((byte,)) for byte in (usual or list(members(node.mask)))[:2]]
    if isinstance(node, Edge):
        return [b""]
    if isinstance(node, Group):
        return _strings(node.item)
    if isinstance(node, Alt):
        return [text for item in node.items for text in _strings(item)[:2]][:MOST_SAMPLES]
    if isinstance(node, Repeat):
        one = _strings(node.item)[:2]
        times = [node.least] if node.most == node.least else [node.least, node.least + 1]
        return [text * count for count in times for text in one]
    found = [b""]
    assert isinstance(node, Cat)            # it is the last kind of node
    for item in node.items:
        found = [head + tail for head in found for tail in _strings(item)][:MOST_SAMPLES]
    return found
