"""What several filters do with the fields of a message."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voltgw.values.head import Field, RequestHead

#: What no field value may hold (RFC 9110 5.5).
CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def field_value(text: str) -> bytes:
    """The value of a field as an operator wrote it. Raises ValueError where it could not be sent as one."""
    value = text.encode("utf-8").strip(b" \t")
    if CONTROL.search(value) is not None:
        raise ValueError("a header value may not hold line ends or other control characters")
    return value


def kept_field(name: bytes, dropped: frozenset[bytes]) -> Callable[[RequestHead], bytes | None]:
    """How to get a field as the client sent it when its answer is there; edits set those in `dropped` aside."""
    return _Field(name).kept if name in dropped else _Field(name).sent


class _Field:
    """A field of requests."""

    __slots__ = ("_name",)

    def __init__(self, name: bytes) -> None:
        self._name = name

    def sent(self, head: RequestHead) -> bytes | None:
        """It, where it stands."""
        wanted = self._name
        for name, value in head.fields:
            if name == wanted:
                return value
        return None

    def kept(self, head: RequestHead) -> bytes | None:
        """It, where it was set aside."""
        wanted = self._name
        for name, value in head.connection:
            if name == wanted:
                return value
        return None


def add_vary(fields: list[Field], name: bytes) -> None:
    """Say in Vary that the answer depends on the request field `name` (lower case), unless it says so already."""
    for index, (key, value) in enumerate(fields):
        if key == b"vary":
            listed = {part.strip(b" \t") for part in value.lower().split(b",")}
            if name not in listed and b"*" not in listed:
                fields[index] = (key, b"%b, %b" % (value, name) if value.strip(b" \t") else name)
            return
    fields.append((b"vary", name))
