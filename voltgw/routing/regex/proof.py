"""Proves of a pattern that a backtracking matcher, such as Python's `re`, takes time linear in the length of the value.

Two shapes are accepted, and alternatives of them at the end of a pattern:

* *Determined*: at every byte only one way through the pattern can take it (`Positions` with ``strict``). Whatever else the
  matcher tries dies at the next byte.
* *Determined, one loop over a set of bytes, bounded*: ``head[set]*tail`` where the head with the loop is determined, and
  so is the tail, which takes at most `MAX_TAIL` bytes. The loop may end at any of *n* bytes; each end costs one tail. The tail
  may be followed by a loop over every byte that the value can hold, if the pattern ends there: such a loop never fails.

Nothing else is said to be linear: ``(a*)*``, ``.*a.*b`` and the like run on the automaton, which needs no proof.
"""

from __future__ import annotations

from typing import Final

from voltgw.routing.regex.positions import AmbiguousError, Positions, TooManyError
from voltgw.routing.regex.tree import Alt, Cat, Edge, Node, Repeat, Set, Where, longest, sequence

MAX_TAIL: Final = 64         # each of n places may cost this much
MAX_FOUND: Final = 256      # the same, where a pattern is searched for


def linear(node: Node, domain: int) -> bool:
    """Whether matching `node` from the start of a value takes linear time; `domain` is the set of bytes values consist of."""
    items = sequence(node)
    if items and isinstance(items[-1], Alt):
        # Determined up to here, so each alternative is begun once: their costs add up.
        head = items[:-1]
        return all(linear(Cat((*head, item)), domain) for item in items[-1].items)
    if _determined(items):
        return True
    for index, item in enumerate(items):
        if not (isinstance(item, Repeat) and item.most is None and isinstance(item.item, Set)):
            continue
        tail = items[index + 1:]
        if tail and endless(tail[-1], domain):
            tail = tail[:-1]
        most = longest(Cat(tail))
        if most is not None and most <= MAX_TAIL and _determined(items[:index + 1]) and _determined(tail):
            return True
    return False


def linear_anywhere(node: Node, domain: int) -> bool:
    """Whether *searching* for `node` takes linear time: then every try, at whatever byte it begins, must be cheap.

    It is where a match is bounded, or where all that is not bounded stands at the end and cannot fail.
    """
    items = sequence(node)
    if items and isinstance(items[-1], Edge) and items[-1].where is Where.END:
        items = items[:-1]
        if items and endless(items[-1], domain):
            items = items[:-1]
    elif items and isinstance(items[-1], Repeat) and isinstance(items[-1].item, Set) and items[-1].most is None:
        last = items[-1]                    # once it has its least it takes what it can get, and nothing follows
        items = (*items[:-1], Repeat(last.item, last.least, last.least, last.greedy))
    most = longest(Cat(items))
    return most is not None and most <= MAX_FOUND and _determined(items)


def endless(node: Node, domain: int) -> bool:
    """Whether `node` is a loop that takes all that is left of any value, so that nothing behind it can fail."""
    return (isinstance(node, Repeat) and node.most is None and not node.least and isinstance(node.item, Set)
            and node.item.mask & domain == domain)


def anchored(node: Node) -> bool:
    """Whether every match of `node` begins at the start of the value."""
    items = sequence(node)
    if not items:
        return False
    if isinstance(items[0], Alt):
        return all(map(anchored, items[0].items))
    return isinstance(items[0], Edge) and items[0].where is Where.START


def _determined(items: tuple[Node, ...]) -> bool:
    try:
        Positions(Cat(items), strict=True)
    except (AmbiguousError, TooManyError):
        return False
    return True
