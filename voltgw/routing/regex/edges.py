"""Takes ``^`` and ``$`` out of a tree that will be matched against whole values.

Behind ``$`` nothing more is taken, before ``^`` nothing was: so ``a(/|$).*`` is ``a/.*|a``. What is left has no such
edges, and what is proved of it is proved of what runs.
"""

from __future__ import annotations

from voltgw.routing.regex.syntax import RegexError
from voltgw.routing.regex.tree import EMPTY, Alt, Cat, Edge, Group, Node, Repeat, Set, Where, has_edge

#: A tree split by whether the edge was passed: without it, and with it; None = no way to match so.
_Halves = tuple[Node | None, Node | None]


def without_edges(node: Node) -> Node:
    """`node` without START and END, for whole values. Raises `RegexError` if nothing could match, or inside a loop."""
    for where in (Where.START, Where.END):
        if has_edge(node):
            kept = _either(*_split(node, where))
            if kept is None:
                raise RegexError("it can match nothing: something must stand before ^ or behind $")
            node = kept
    return node


def _split(node: Node, where: Where) -> _Halves:
    if isinstance(node, Edge):
        return (None, EMPTY) if node.where is where else (node, None)
    if not has_edge(node):
        return node, None
    if isinstance(node, Group):
        without, with_edge = _split(node.item, where)
        return (None if without is None else Group(without)), (None if with_edge is None else Group(with_edge))
    if isinstance(node, Repeat):
        without, with_edge = _split(node.item, where)
        if with_edge is None:
            return node, None
        if (node.least, node.most) != (0, 1):
            raise RegexError("^ or $ stands inside a loop")
        return (EMPTY if without is None else Repeat(without, 0, 1, node.greedy)), with_edge
    if isinstance(node, Alt):
        halves = [_split(item, where) for item in node.items]
        return _either(*(without for without, _ in halves)), _either(*(with_edge for _, with_edge in halves))
    assert isinstance(node, Cat)                            # a Set has no edge inside
    parts = node.items if where is Where.END else node.items[::-1]
    result: _Halves = (EMPTY, None)
    for part in parts:                                      # the edge is passed in what came so far, or in this part
        without, with_edge = _split(part, where)
        so_far, passed = result
        empty = _either(*(_only_empty(half) for half in (without, with_edge) if half is not None))
        result = _join(so_far, without, where), _either(_join(so_far, with_edge, where), _join(passed, empty, where))
    return result


def _only_empty(node: Node) -> Node | None:
    """What of `node` matches the empty string: its edges, if any."""
    if isinstance(node, Set):
        return None
    if isinstance(node, Edge):
        return node
    if isinstance(node, Group):
        return _only_empty(node.item)
    if isinstance(node, Repeat):
        return _only_empty(node.item) if node.least else EMPTY
    parts = [_only_empty(item) for item in node.items]
    if isinstance(node, Alt):
        return _either(*parts)
    known = [part for part in parts if part is not None]
    return Cat(tuple(known)) if len(known) == len(parts) else None


def _join(so_far: Node | None, part: Node | None, where: Where) -> Node | None:
    if so_far is None or part is None:
        return None
    return Cat((so_far, part) if where is Where.END else (part, so_far))


def _either(*nodes: Node | None) -> Node | None:
    known = tuple(node for node in nodes if node is not None)
    if len(known) > 1:
        return Alt(known)
    return known[0] if known else None
