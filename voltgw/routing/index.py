"""Finds the first rule that matches without trying the others: cost does not grow with rules that literal paths tell apart.

The path picks a *node*: by dict if some clause asks for exactly this path, else the longest literal prefix. That is found by
dict, too, with the path up to the end of the first segment in which the prefixes differ; prefixes that go on behind it are
looked for in the same way among themselves. Only what no such key finds, a prefix that ends inside a longer segment, or one of
a few that begin alike, is searched for by bisection. A node knows, in the order of the rules, every clause that this path
leaves possible, up to the first that asks for nothing more; only those are tried. Regexes stand under the literal that they
begin with.
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
#: As many prefixes that begin alike are bisected; more get a dict of their own (a look-up costs as much as 3 or 4 steps).
FEW: Final = 8


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

    #: See `_Door`.
    below: Final = None

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
            self.choose = _chooser(exact_nodes, _Level(nodes))


def _deepest(node: Node, path: bytes) -> Node:
    """The node among `node` and its parents whose prefix `path` begins with, the longest one."""
    while not path.startswith(node.prefix):
        assert node.parent is not None      # the root's prefix is empty
        node = node.parent
    return node


class _Door:
    """A node from which longer prefixes go on: `below` finds the longest of them for a path, or comes back to `node`."""

    __slots__ = ("below", "node")

    def __init__(self, node: Node, below: Callable[[bytes], Node]) -> None:
        self.node = node
        self.below = below


class _Level:
    """Finds the longest prefix of a path by the segment that stands at `start`: ``doors.get(path[:end of it])``.

    A key ends with the slash behind that segment, or is a whole path without one. `stray` is for paths that have no key: these
    begin with none of the prefixes that reach beyond the segment.
    """

    __slots__ = ("doors", "start", "stray")

    def __init__(self, nodes: Sequence[Node]) -> None:
        """`nodes` are in the order of their prefixes; all but the first go on from it."""
        self.start = start = _stem(nodes[1:])
        within: list[Node] = []                                 # those that end in this segment, or before it
        beyond: dict[bytes, list[Node]] = {}                    # those that reach the slash behind it, by key
        for node in nodes:
            slash = node.prefix.find(b"/", start) + 1
            if slash:
                beyond.setdefault(node.prefix[:slash], []).append(node)
            else:
                within.append(node)
        self.stray = stray = _bisection(within)
        keys = [key for node in within for key in (node.prefix, node.prefix + b"/")]
        self.doors: dict[bytes, Node | _Door] = {key: stray(key) for key in keys}
        for key, found in beyond.items():
            if found[0].prefix == key:
                self.doors[key] = found[0]
                longer = found
            else:
                longer = [stray(key), *found]
            if len(longer) > 1:
                search = _bisection(longer) if len(longer) <= FEW or len(longer) == len(nodes) else _Level(longer).find
                self.doors[key] = _Door(longer[0], search)

    def find(self, path: bytes) -> Node:
        """The node of the longest prefix of `path`, which begins with the first one."""
        door = self.doors.get(path[:path.find(b"/", self.start) + 1 or None])
        if door is None:
            return self.stray(path)
        return door if door.below is None else door.below(path)


def _stem(nodes: Sequence[Node]) -> int:
    """Where the segment begins in which prefixes first differ, apart from those that end before it."""
    deep = [node.prefix for node in nodes if node.prefix.find(b"/", 1) >= 0]
    if not deep:
        return 1
    first, last = min(deep), max(deep)                          # what these two share all do
    same = len(first)
    while not last.startswith(first[:same]):
        same -= 1
    end = min(same, len(first) - 1)                             # if all begin with the first, then that ends in the segment
    return max(first.rfind(b"/", 0, end) + 1, 1)


def _bisection(nodes: Sequence[Node]) -> Callable[[bytes], Node]:
    """The deepest of `nodes`, which are in the order of their prefixes, for paths that begin with the first one's."""
    first = nodes[0]
    if len(nodes) == 1:
        return lambda path: first
    if len(nodes) == 2:
        last, prefix = nodes[1], nodes[1].prefix
        return lambda path: last if path.startswith(prefix) else first
    prefixes = [node.prefix for node in nodes]

    def find(path: bytes) -> Node:
        # What sorts last before the path shares the longest beginning with it: the longest prefix is it or above it.
        node = nodes[bisect_right(prefixes, path) - 1]
        while not path.startswith(node.prefix):
            node = node.parent or first
        return node

    return find


def _chooser(exact: dict[bytes, Node], level: _Level) -> Chooser:
    find, find_door = exact.get, level.doors.get
    start, stray = level.start, level.stray

    def choose(head: RequestHead, port: int) -> Route | None:
        path = head.path
        node = find(path)
        if node is None:
            # `_Level.find`, without the call
            door = find_door(path[:path.find(b"/", start) + 1 or None])
            node = stray(path) if door is None else door if door.below is None else door.below(path)
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
