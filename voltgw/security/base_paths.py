"""Paths and what is below them, read as generously as any origin might.

Whoever asks for a token below ``/api`` means every way to write that: ``//api``, ``/%61pi``, ``/API``, ``/x/../api``,
``/api;v=1``. All of them are below it here, for a path that is asked about in vain costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from voltgw.security.conditions import judged_path
from voltgw.wire.path import without_dot_segments

if TYPE_CHECKING:
    from voltgw.values.head import RequestHead

_PARAMETERS: Final = re.compile(rb";[^/]*")
_SLASHES: Final = re.compile(rb"/+")


def plainest(path: bytes) -> bytes:
    """A decoded path without case, parameters of segments, empty and dot segments."""
    path = path.replace(b"\\", b"/")
    if b";" in path:
        path = _PARAMETERS.sub(b"", path)
    if b"//" in path:
        path = _SLASHES.sub(b"/", path)
    if b"/." in path and path.startswith(b"/"):
        path = without_dot_segments(path)
    return path.lower()


def below(paths: Sequence[str]) -> Callable[[RequestHead], bool]:
    """Whether a request's path is one of these, or below one. Raises ValueError for what is no path."""
    found = []
    for path in paths:
        if not path.startswith("/"):
            raise ValueError(f"the base path {path!r} does not begin with /")
        found.append(plainest(path.encode("utf-8")).rstrip(b"/"))
    whole = frozenset(path or b"/" for path in found)
    prefixes = tuple(path + b"/" for path in found)

    def test(head: RequestHead) -> bool:
        path = judged_path(head)
        simple = plainest(path)
        return simple in whole or simple.startswith(prefixes)

    return test
