"""How the names of header fields are written in HTTP/1.1; inside the gateway they are lower case."""

from __future__ import annotations

import re
from functools import lru_cache

_letter_after_none = re.compile(rb"(?<![0-9A-Za-z])[a-z]").sub


@lru_cache(maxsize=4096)        # names are few, but a client may think of any
def proper_case(name: bytes) -> bytes:
    """``content-type`` as ``Content-Type``: the first letter, and each that stands behind neither letter nor digit."""
    return _letter_after_none(lambda match: match[0].upper(), name)
