"""Paths and what is below them, read as generously as any origin might.

Whoever asks for a token below ``/api`` means every way to write that: ``//api``, ``/%61pi``, ``/API``, ``/x/../api``,
``/api;v=1``. All of them are below it here, for a path that is asked about in vain costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from voltgw.security.readings import folded, merged, readings

if TYPE_CHECKING:
    from voltgw.values.head import RequestHead


def below(paths: Sequence[str]) -> Callable[[RequestHead], bool]:
    """Whether a request's path is one of these, or below one. Raises ValueError for what is no path."""
    found = []
    for path in paths:
        if not path.startswith("/"):
            raise ValueError(f"the base path {path!r} does not begin with /")
        found.append(folded(path.encode("utf-8"))[-1].lower().rstrip(b"/"))
    whole = frozenset(path or b"/" for path in found)
    prefixes = tuple(path + b"/" for path in found)

    def test(head: RequestHead) -> bool:
        found = readings(head)
        if not found:
            return True                     # a token that is asked for in vain costs nothing
        for path in found:
            simple = (merged(path) if b"//" in path else path).lower()
            if simple in whole or simple.startswith(prefixes):
                return True
        return False

    return test
