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
from collections.abc import Sequence
from heapq import merge
from typing import TYPE_CHECKING, Final

from voltgw.routing.match import Clause, PathKind
from voltgw.values.compiling import mypyc_attr

if TYPE_CHECKING:
    from voltgw.routing.conditions import Test
    from voltgw.routing.route import Route
    from voltgw.values.head import RequestHead

#: Most candidates that all nodes of one host may hold together (8 bytes each); with more, rules are tried one by one.
MAX_CANDIDATES: Final = 1_000_000
#: As many prefixes that begin alike are bisected; more get a dict of their own (a look-up costs as much as 3 or 4 steps).
FEW: Final = 8


class Candidate:
    """A clause that may hold, the place of its rule in the order, and what it leads to."""

    __slots__ = ("order", "route", "test")

    def __init__(self, order: int, test: Test | None, route: Route) -> None:
        self.order = order
        self.test = test
        self.route = route


class Node:
    """What is possible for the paths that share a literal.

    `route` is set when the first candidate asks for nothing more; else `tried` are asked in order, and `otherwise` is taken
    when none of them holds. `below` is set where longer prefixes go on from here: it finds the longest of them for a path, or
    comes back to a node like this one.
    """

    __slots__ = ("below", "candidates", "otherwise", "parent", "prefix", "route", "tried")

    def __init__(
        self, prefix: bytes, parent: Node | None, candidates: Sequence[Candidate], below: Search | None = None,
    ) -> None:
        """`candidates` up to the first that asks for nothing more: see `reached`."""
        self.below = below
        last = candidates[-1] if candidates else None
        otherwise = last.route if last is not None and last.test is None else None
        self.route = otherwise if len(candidates) == 1 else None
        self.otherwise = otherwise
        self.tried = tuple([(each.test, each.route) for each in candidates if each.test is not None])
        self.candidates = candidates
        self.parent = parent
        self.prefix = prefix


def reached(parent: Node | None, own: Sequence[Candidate]) -> list[Candidate]:
    """The candidates of a node, in the order of the rules; nothing behind one that asks for nothing more is ever reached."""
    candidates: list[Candidate] = []
    for candidate in merge(() if parent is None else parent.candidates, own, key=_order):
        candidates.append(candidate)
        if candidate.test is None:
            break
    return candidates


def _order(candidate: Candidate) -> int:
    return candidate.order


@mypyc_attr(allow_interpreted_subclasses=True)
class Chooser:
    """Chooses among the routes of a virtual host."""

    __slots__ = ()

    def choose(self, head: RequestHead, port: int) -> Route | None:
        """The first route that takes a request which came in on `port`; this one has none."""
        return None


class Index(Chooser):
    """The nodes of one list of clauses; `only` is what it chooses for every request, if that is always the same."""

    __slots__ = ("_doors", "_exact", "_start", "_stray", "only")

    def __init__(
        self, clauses: Sequence[tuple[Clause, Route]], most_candidates: int = MAX_CANDIDATES, few: int = FEW,
    ) -> None:
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
            parent = _deepest(nodes[-1], prefix) if nodes else None
            nodes.append(Node(prefix, parent, reached(parent, prefixes[prefix])))
            size += len(nodes[-1].candidates)
            if size > most_candidates:
                break
        exact_nodes: dict[bytes, Node] = {}
        if size <= most_candidates:
            sorted_prefixes = [node.prefix for node in nodes]
            for path, own in exact.items():
                parent = _deepest(nodes[bisect_right(sorted_prefixes, path) - 1], path)
                exact_nodes[path] = Node(path, parent, reached(parent, own))
                size += len(exact_nodes[path].candidates)
                if size > most_candidates:
                    break
        self.only: Route | None = None
        if size > most_candidates:
            exact_nodes = {}
            nodes = [Node(b"", None, [Candidate(order, clause.whole, route) for order, (clause, route) in enumerate(clauses)])]
        elif len(nodes) == 1 and not exact_nodes:
            self.only = nodes[0].route
        level = _Level(nodes, few)
        self._exact = exact_nodes
        self._doors = level.doors
        self._start = level.start
        self._stray = level.stray

    def choose(self, head: RequestHead, port: int) -> Route | None:
        """The route of the first clause that holds."""
        path = head.path
        node = self._exact.get(path) if self._exact else None      # without the hash of the path, where there are none
        if node is None:
            # `_Level.find`, without the call
            end = path.find(b"/", self._start) + 1
            node = self._doors.get(path[:end] if end else path)
            if node is None:
                node = self._stray.find(path)
            elif node.below is not None:
                node = node.below.find(path)
        route = node.route
        if route is not None:
            return route
        for test, route in node.tried:
            if test.holds(head, port):
                return route
        return node.otherwise


def _deepest(node: Node, path: bytes) -> Node:
    """The node among `node` and its parents whose prefix `path` begins with, the longest one."""
    while not path.startswith(node.prefix):
        assert node.parent is not None      # the root's prefix is empty
        node = node.parent
    return node


class Search:
    """Finds the node of the longest prefix of a path among those that go on from `first`, whose prefix the path has."""

    __slots__ = ("first",)

    def __init__(self, first: Node) -> None:
        self.first = first

    def find(self, path: bytes) -> Node:
        """It; here there is but one."""
        return self.first


class _Either(Search):
    """One goes on from the first."""

    __slots__ = ("_last", "_prefix")

    def __init__(self, first: Node, last: Node) -> None:
        super().__init__(first)
        self._last = last
        self._prefix = last.prefix

    def find(self, path: bytes) -> Node:
        return self._last if path.startswith(self._prefix) else self.first


class _Bisection(Search):
    """Some go on from the first; `nodes` are in the order of their prefixes."""

    __slots__ = ("_nodes", "_prefixes")

    def __init__(self, nodes: Sequence[Node]) -> None:
        super().__init__(nodes[0])
        self._nodes = list(nodes)
        self._prefixes = [node.prefix for node in nodes]

    def find(self, path: bytes) -> Node:
        # What sorts last before the path shares the longest beginning with it: the longest prefix is it or above it.
        node = self._nodes[bisect_right(self._prefixes, path) - 1]
        while not path.startswith(node.prefix):
            node = node.parent or self.first
        return node


class _Level(Search):
    """Finds the longest prefix of a path by the segment that stands at `start`: ``doors.get(path[:end of it])``.

    A key ends with the slash behind that segment, or is a whole path without one. `stray` is for paths that have no key: these
    begin with none of the prefixes that reach beyond the segment.
    """

    __slots__ = ("doors", "start", "stray")

    def __init__(self, nodes: Sequence[Node], few: int) -> None:
        """`nodes` are in the order of their prefixes; all but the first go on from it."""
        super().__init__(nodes[0])
        self.start = start = _stem(nodes[1:])
        within: list[Node] = []                                 # those that end in this segment, or before it
        beyond: dict[bytes, list[Node]] = {}                    # those that reach the slash behind it, by key
        for node in nodes:
            slash = node.prefix.find(b"/", start) + 1
            if slash:
                beyond.setdefault(node.prefix[:slash], []).append(node)
            else:
                within.append(node)
        self.stray = stray = _search(within)
        keys = [key for node in within for key in (node.prefix, node.prefix + b"/")]
        self.doors = {key: stray.find(key) for key in keys}
        for key, found in beyond.items():
            if found[0].prefix == key:
                self.doors[key] = found[0]
                longer = found
            else:
                longer = [stray.find(key), *found]
            if len(longer) > 1:
                below = _search(longer) if len(longer) <= few or len(longer) == len(nodes) else _Level(longer, few)
                first = longer[0]
                self.doors[key] = Node(first.prefix, first.parent, first.candidates, below)

    def find(self, path: bytes) -> Node:
        end = path.find(b"/", self.start) + 1
        door = self.doors.get(path[:end] if end else path)
        if door is None:
            return self.stray.find(path)
        return door if door.below is None else door.below.find(path)


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


def _search(nodes: Sequence[Node]) -> Search:
    """How the deepest of `nodes`, which are in the order of their prefixes, is found for paths that begin with the first's."""
    if len(nodes) == 1:
        return Search(nodes[0])
    return _Either(nodes[0], nodes[1]) if len(nodes) == 2 else _Bisection(nodes)
