"""How the names of header fields are written in HTTP/1.1; inside the gateway they are lower case."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from voltgw.values.preserve_case import preserve_case

_letter_after_none = re.compile(rb"(?<![0-9A-Za-z])[a-z]").sub


@lru_cache(maxsize=4096)        # names are few, but a client may think of any
def proper_case(name: bytes) -> bytes:
    """``content-type`` as ``Content-Type``: the first letter, and each that stands behind neither letter nor digit."""
    return _letter_after_none(lambda match: match[0].upper(), name)


class Transformation(Protocol):
    """A `HeaderTransformationType` of the configuration."""

    @property
    def proper_case_header_transformation(self) -> bool:
        """Whether it asks for `proper_case`."""

    @property
    def preserve_case_header_transformation(self) -> bool:
        """Whether it asks for names as they came."""


def header_case(wanted: Transformation | None) -> Callable[[bytes], bytes] | None:
    """How to write names for a transformation; None = as they are, in lower case."""
    if wanted is None:
        return None
    if wanted.preserve_case_header_transformation:
        return preserve_case
    return proper_case if wanted.proper_case_header_transformation else None
