"""How a path may be read behind us: rules refuse by any of these readings, and let pass only what fits in all of them.

The normal form that endpoints get keeps ``%2F``, ``%5C`` and ``;`` as they are, because origins differ on them: for one
``/x/..%2Fadmin`` is ``/admin``, for another it lies below ``/x``. So do parameters, which servlet containers take off before
they look (``/..;/admin``, ``/users;.css``), and ``\\``, which is ``/`` to some. Such a path has several readings, any other has
one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from voltgw.wire.path import without_dot_segments

if TYPE_CHECKING:
    from voltgw.values.head import RequestHead

#: Longest path whose several readings are looked at: each costs as much as the path does, and nobody writes such paths.
MAX_READ_BYTES: Final = 2048
_parameters: Final = re.compile(rb";[^/]*").sub
_slashes: Final = re.compile(rb"//+").sub


def merged(path: bytes) -> bytes:
    """A decoded path without empty segments."""
    return _slashes(b"/", path)


def readings(head: RequestHead, *, parameters: bool = False) -> tuple[bytes, ...]:
    """All readings: the usual one, then as it came, then those of `folded`. With `parameters` nobody takes those off.

    The usual one is the normal form with its escapes decoded, and the dot segments resolved that only this made.

    Of a path that has several and is longer than `MAX_READ_BYTES` there is none: it fits where it is refused, and nowhere else.
    """
    path = unquote_to_bytes(head.path) if b"%" in head.path else head.path
    if (b"/." not in path and b"\\" not in path and b";" not in path) or not path.startswith(b"/"):
        return (path,)
    if len(head.path) > MAX_READ_BYTES:
        return ()
    return tuple(dict.fromkeys((without_dot_segments(path), path, *folded(head.path, parameters=parameters))))


def folded(path: bytes, *, parameters: bool = False) -> tuple[bytes, ...]:
    """A path, not decoded, as those read it who pass over empty segments: backslashes as slashes or not, parameters or not.

    Some take parameters off before they decode the rest, some behind that.
    """
    texts = {unquote_to_bytes(path): None}
    if not parameters:
        texts |= {_parameters(b"", unquote_to_bytes(path)): None, unquote_to_bytes(_parameters(b"", path)): None}
    texts |= {text.replace(b"\\", b"/"): None for text in texts}
    return tuple(dict.fromkeys(without_dot_segments(merged(text)) for text in texts))


def every_way(
    found: tuple[bytes, ...], transform: Callable[[bytes], bytes] | None, undotted: Callable[[bytes], bytes] | None,
) -> Sequence[bytes]:
    """Readings as a condition with transformers looks at them; where there are several, also with their dot segments left."""
    if transform is None:
        return found
    if len(found) < 2:
        return tuple(map(transform, found))
    assert undotted is not None             # it is made of the same transformers
    return (*map(transform, found), *map(undotted, found))
