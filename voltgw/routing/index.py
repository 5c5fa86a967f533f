"""Finds the first rule that matches without trying the others: cost does not grow with rules that literal paths tell apart.

The path picks a *node*: by dict if some clause asks for exactly this path, else the longest literal prefix, found by
bisection in the sorted prefixes, or by dict where most of many prefixes have one or two lengths. A node knows, in the order
of the rules, every clause that this path leaves possible, up to the first that asks for nothing more; only those are tried.
Regexes stand under the literal that they begin with.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from heapq import merge
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from voltgw.routing.match import Clause, PathKind, Test

if TYPE_CHECKING:
    from voltgw.routing.table import Route
    from voltgw.values.head import RequestHead

Chooser: TypeAlias = "Callable[[RequestHead, int], Route | None]"

#: Most candidates that all nodes of one host may hold together (8 bytes each); with more, rules are tried one by one.
MAX_CANDIDATES: Final = 1_000_000
#: Prefixes are looked up by length, longest first, when there are at least `MANY` of them, of at most `MOST_LENGTHS` lengths,
#: and a request for any one of them is found in `MEAN_LOOKUPS` on average: that is when it beats bisection.
MANY: Final = 32
MOST_LENGTHS: Final = 8
MEAN_LOOKUPS: Final = 1.5


class Candidate(NamedTuple):
    """A clause that may hold, the place of its rule in the order, and what it leads to."""

    order: int
    test: Test | None
    route: Route


class Node:
    """What is possible for the paths that share a literal.

    `route` is set when the first candidate asks for nothing more; else `tried` are asked in order, and `otherwise` is taken
    when none of them holds.
    """

    __slots__ = ("candidates", "otherwise", "parent", "prefix", "route", "tried")

    def __init__(self, prefix: bytes, parent: Node | None, own: Iterable[Candidate]) -> None:
        self.prefix = prefix
        self.parent = parent
        inherited: tuple[Candidate, ...] = () if parent is None else parent.candidates
        candidates: list[Candidate] = []
        for candidate in merge(inherited, own, key=_order):
            candidates.append(candidate)
            if candidate.test is None:
                break                       # nothing behind it is ever reached
        self.candidates: Final[tuple[Candidate, ...]] = tuple(candidates)
        last = candidates[-1] if candidates else None
        self.otherwise: Final = last.route if last is not None and last.test is None else None
        self.route: Final = self.otherwise if len(candidates) == 1 else None
        self.tried: Final = tuple((c.test, c.route) for c in candidates if c.test is not None)


def _order(candidate: Candidate) -> int:
    return candidate.order


class Index:
    """The nodes of one list of clauses; `choose` is the function to call, `only` its answer if it has but one."""

    __slots__ = ("choose", "only")

    def __init__(self, clauses: Sequence[tuple[Clause, Route]]) -> None:
        exact: dict[bytes, list[Candidate]] = {}
        prefixes: dict[bytes, list[Candidate]] = {b"": []}
        for order, (clause, route) in enumerate(clauses):
            candidate = Candidate(order, clause.test, route)
            if clause.kind in (PathKind.EXACT, PathKind.SEGMENTS):
                exact.setdefault(clause.literal, []).append(candidate)
            if clause.kind is PathKind.SEGMENTS:
                prefixes.setdefault(clause.literal + b"/", []).append(candidate)
            elif clause.kind is not PathKind.EXACT:
                prefixes.setdefault(clause.literal, []).append(candidate)

        nodes: list[Node] = []
        size = 0
        for prefix in sorted(prefixes):
            nodes.append(Node(prefix, _deepest(nodes[-1], prefix) if nodes else None, prefixes[prefix]))
            size += len(nodes[-1].candidates)
            if size > MAX_CANDIDATES:
                break
        self.only: Route | None = None
        self.choose: Chooser
        sorted_prefixes = [node.prefix for node in nodes]
        exact_nodes: dict[bytes, Node] = {}
        if size <= MAX_CANDIDATES:
            for path, own in exact.items():
                parent = _deepest(nodes[bisect_right(sorted_prefixes, path) - 1], path)
                exact_nodes[path] = Node(path, parent, own)
                size += len(exact_nodes[path].candidates)
                if size > MAX_CANDIDATES:
                    break
        if size > MAX_CANDIDATES:
            self.choose = _one_by_one(clauses)
        elif len(nodes) == 1 and not exact_nodes and nodes[0].route is not None:
            self.only = only = nodes[0].route
            self.choose = lambda head, port: only
        else:
            lengths = sorted({len(prefix) for prefix in sorted_prefixes[1:]}, reverse=True)
            lookups = sum(lengths.index(len(prefix)) + 1 for prefix in sorted_prefixes[1:]) if lengths else 0
            if len(nodes) > MANY and len(lengths) <= MOST_LENGTHS and lookups <= MEAN_LOOKUPS * (len(nodes) - 1):
                self.choose = _by_length(exact_nodes, lengths, nodes)
            else:
                self.choose = _by_bisection(exact_nodes, sorted_prefixes, nodes)


def _deepest(node: Node, path: bytes) -> Node:
    """The node among `node` and its parents whose prefix `path` begins with, the longest one."""
    while not path.startswith(node.prefix):
        assert node.parent is not None      # the root's prefix is empty
        node = node.parent
    return node


def _by_bisection(exact: dict[bytes, Node], prefixes: list[bytes], nodes: list[Node]) -> Chooser:
    find = exact.get
    root = nodes[0]

    def choose(head: RequestHead, port: int) -> Route | None:
        path = head.path
        node = find(path)
        if node is None:
            # What sorts last before the path shares the longest beginning with it: the longest prefix is it or above it.
            node = nodes[bisect_right(prefixes, path) - 1]
            while not path.startswith(node.prefix):
                node = node.parent or root
        route = node.route
        if route is not None:
            return route
        for test, route in node.tried:
            if test(head, port):
                return route
        return node.otherwise

    return choose


def _by_length(exact: dict[bytes, Node], lengths: list[int], nodes: list[Node]) -> Chooser:
    find = exact.get
    find_prefix = {node.prefix: node for node in nodes}.get
    root = nodes[0]

    def choose(head: RequestHead, port: int) -> Route | None:
        path = head.path
        node = find(path)
        if node is None:
            for length in lengths:          # a path shorter than that is asked for whole, and found if it is a prefix itself
                node = find_prefix(path[:length])
                if node is not None:
                    break
            else:
                node = root
        route = node.route
        if route is not None:
            return route
        for test, route in node.tried:
            if test(head, port):
                return route
        return node.otherwise

    return choose


def _one_by_one(clauses: Sequence[tuple[Clause, Route]]) -> Chooser:
    def choose(head: RequestHead, port: int) -> Route | None:
        for clause, route in clauses:
            if clause.holds(head, port):
                return route
        return None

    return choose
