"""Cookies in requests (RFC 6265 4.2): found by name, without taking apart what nobody asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from voltgw.values.head import RequestHead

#: What one cookie, or one header, of a request says; None when it is not there.
Reader: TypeAlias = "Callable[[RequestHead], bytes | None]"

_SEMICOLON: Final = ord(";")
_SPACES: Final = frozenset(b" \t")


def cookie_reader(name: str) -> Reader:
    """The first value of the cookie in a request. Quotes are part of a value, white space around it is not."""
    return _Cookie(name).first


def cookie_values(name: str) -> Callable[[RequestHead], list[bytes]]:
    """All values of the cookie in a request, in its order."""
    return _Cookie(name).all


def header_reader(name: str) -> Reader:
    """The first value of the header in a request."""
    return _Header(name).first


class _Cookie:
    """One cookie, by its name."""

    __slots__ = ("_wanted",)

    def __init__(self, name: str) -> None:
        self._wanted = name.encode("utf-8") + b"="

    def first(self, head: RequestHead) -> bytes | None:
        """See `cookie_reader`."""
        wanted = self._wanted
        for key, line in head.fields:
            if key == b"cookie":
                # bytes.find, because it is quick on the long lines that browsers send, and linear on any
                start = line.find(wanted)
                while start >= 0:
                    if not start or (start > 1 and line[start - 2:start] == b"; ") or _begins(line, start):
                        begin = start + len(wanted)
                        end = line.find(b";", start)
                        return (line[begin:] if end < 0 else line[begin:max(begin, end)]).strip(b" \t")
                    start = line.find(wanted, start + 1)
        return None

    def all(self, head: RequestHead) -> list[bytes]:
        """See `cookie_values`."""
        wanted = self._wanted
        found: list[bytes] = []
        for key, line in head.fields:
            if key == b"cookie":
                start = line.find(wanted)
                while start >= 0:
                    end = start
                    if _begins(line, start):
                        begin = start + len(wanted)
                        end = line.find(b";", start)
                        end = len(line) if end < 0 else end
                        found.append(line[begin:max(begin, end)].strip(b" \t"))
                    start = line.find(wanted, end + 1)
        return found


class _Header:
    """One header, by its name."""

    __slots__ = ("_key",)

    def __init__(self, name: str) -> None:
        self._key = name.lower().encode("ascii")

    def first(self, head: RequestHead) -> bytes | None:
        """See `header_reader`."""
        return head.get(self._key)


def _begins(line: bytes, start: int) -> bool:
    """Whether a cookie begins at `start`: nothing but white space stands before it, back to a semicolon."""
    start -= 1
    while start >= 0 and line[start] in _SPACES:
        start -= 1
    return start < 0 or line[start] == _SEMICOLON
