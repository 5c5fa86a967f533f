"""What rules ask of a request beside its path: one small object each, which `voltgw.routing.match` makes of the configuration.

They are objects and not functions within functions because this module is compiled (ADR 0023). `Test.holds` is what the tables
call for a request; a test may be called itself as well.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from voltgw.values.head import Field, RequestHead

#: Whether a value is one that is wanted, by truth.
Fits: TypeAlias = "Callable[[bytes], object]"
#: The values of something in a request that does not stand in `RequestHead.fields` as it is.
Values: TypeAlias = "Callable[[RequestHead], list[bytes]]"


class Test:
    """One condition, or several that must all hold."""

    __slots__ = ()

    def holds(self, head: RequestHead, port: int) -> bool:
        """Whether it does, for a request that came in on `port`."""
        raise NotImplementedError

    def __call__(self, head: RequestHead, port: int) -> bool:
        """The same."""
        return self.holds(head, port)


class Every(Test):
    """All of several; without any it holds."""

    __slots__ = ("_tests",)

    def __init__(self, tests: Sequence[Test]) -> None:
        self._tests = tuple(tests)

    def holds(self, head: RequestHead, port: int) -> bool:
        """See `Test`."""
        for test in self._tests:        # noqa: SIM110  # a generator would cost a frame per request
            if not test.holds(head, port):
                return False
        return True


class Not(Test):
    """The opposite of another."""

    __slots__ = ("_test",)

    def __init__(self, test: Test) -> None:
        self._test = test

    def holds(self, head: RequestHead, port: int) -> bool:
        """See `Test`."""
        return not self._test.holds(head, port)


class IsMethod(Test):
    """The request's method."""

    __slots__ = ("_method",)

    def __init__(self, method: bytes) -> None:
        self._method = method

    def holds(self, head: RequestHead, port: int) -> bool:
        """See `Test`."""
        return head.method == self._method


class IsPort(Test):
    """The port that it came in on, which is in one of several ranges."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Sequence[Container[int]]) -> None:
        self._ranges = tuple(ranges)

    def holds(self, head: RequestHead, port: int) -> bool:
        """See `Test`."""
        for span in self._ranges:       # noqa: SIM110  # as above
            if port in span:
                return True
        return False


# -- the path ----------------------------------------------------------------------------------------------------------

class IsPath(Test):
    """The path is this one, exactly."""

    __slots__ = ("_path",)

    def __init__(self, path: bytes) -> None:
        self._path = path

    def holds(self, head: RequestHead, port: int) -> bool:
        """See `Test`."""
        return head.path == self._path


class Begins(Test):
    """The path begins with a prefix."""

    __slots__ = ("_prefix",)

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix

    def holds(self, head: RequestHead, port: int) -> bool:
        """See `Test`."""
        return head.path.startswith(self._prefix)


class Below(Test):
    """The path is a prefix or goes on behind it with a slash."""

    __slots__ = ("_below", "_path")

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._below = path + b"/"

    def holds(self, head: RequestHead, port: int) -> bool:
        """See `Test`."""
        return head.path == self._path or head.path.startswith(self._below)


class PathFits(Test):
    """The path does, whole."""

    __slots__ = ("_fits",)

    def __init__(self, fits: Fits) -> None:
        self._fits = fits

    def holds(self, head: RequestHead, port: int) -> bool:
        """See `Test`."""
        return bool(self._fits(head.path))


# -- fields ------------------------------------------------------------------------------------------------------------

class HasField(Test):
    """A field is there, whatever its value."""

    __slots__ = ("_name",)

    def __init__(self, name: bytes) -> None:
        self._name = name

    def holds(self, head: RequestHead, port: int) -> bool:
        """See `Test`."""
        wanted = self._name
        for name, _ in head.fields:     # noqa: SIM110  # as above
            if name == wanted:
                return True
        return False


class HasPair(Test):
    """A field is there with this value."""

    __slots__ = ("_pair",)

    def __init__(self, pair: Field) -> None:
        self._pair = pair

    def holds(self, head: RequestHead, port: int) -> bool:
        """See `Test`."""
        return self._pair in head.fields


class FieldFits(Test):
    """One of the values of a field does."""

    __slots__ = ("_fits", "_name")

    def __init__(self, name: bytes, fits: Fits) -> None:
        self._name = name
        self._fits = fits

    def holds(self, head: RequestHead, port: int) -> bool:
        """See `Test`."""
        wanted = self._name
        for name, value in head.fields: # noqa: SIM110  # as above
            if name == wanted and self._fits(value):
                return True
        return False


# -- what has to be looked for -----------------------------------------------------------------------------------------

class HasValue(Test):
    """One of some values does; without `fits`, a value is there."""

    __slots__ = ("_fits", "_values")

    def __init__(self, values: Values, fits: Fits | None = None) -> None:
        self._values = values
        self._fits = fits

    def holds(self, head: RequestHead, port: int) -> bool:
        """See `Test`."""
        values = self._values(head)
        fits = self._fits
        if fits is None:
            return bool(values)
        for value in values:            # noqa: SIM110  # as above
            if fits(value):
                return True
        return False


class HasParameter(Test):
    """One of the values of a query parameter does, decoded. `find` gives the parameters whose name could be `key`."""

    __slots__ = ("_find", "_fits", "_key")

    def __init__(self, key: bytes, find: Callable[[bytes], list[tuple[bytes, bytes]]], fits: Fits | None = None) -> None:
        self._key = key
        self._find = find
        self._fits = fits

    def holds(self, head: RequestHead, port: int) -> bool:
        """See `Test`."""
        query = head.query
        key = self._key
        if not query or (key not in query and b"%" not in query and b"+" not in query):
            return False
        fits = self._fits
        for name, value in self._find(query):
            if (name == key or decoded(name) == key) and (fits is None or fits(decoded(value))):
                return True
        return False


def decoded(text: bytes) -> bytes:
    """A name or a value of a query, as it was meant."""
    return unquote_to_bytes(text.replace(b"+", b" ")) if b"%" in text or b"+" in text else text
