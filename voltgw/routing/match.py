"""Conditions of routes, compiled: one `Clause` per entry of a rule's `match`.

A clause is made of parts that must all hold; each is a test of the request head and the port on which the request came in
(`voltgw.routing.conditions`), and a sentence for explain. Conditions on a literal path, or on the literal that a regex begins
with, are set apart: `voltgw.routing.index` decides them by table and leaves `Clause.test`, what remains to be asked.

Semantics beyond objects.md 5.2:

* Header names compare without case, values exactly (Host without case). Of several values one that fits is enough;
  `invert_match` turns the result around, so it holds where the header is absent. A name alone asks for presence.
* Query keys and values are compared decoded (``%xx``, and ``+`` as space); of a repeated key one value that fits is enough.
  A key alone asks for presence.
* A regex covers the whole value: the path without its query, a field value, a decoded query value.
* Cookie names and values compare exactly, values without the white space around them; of several cookies of one name one that
  fits is enough. They are asked for under `voltgw:`; the object model knows them only as a regex over the Cookie header.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.routing.conditions import (
    Begins,
    Below,
    Every,
    FieldFits,
    Fits,
    HasField,
    HasPair,
    HasParameter,
    HasValue,
    IsMethod,
    IsPath,
    IsPort,
    Not,
    PathFits,
    Test,
)
from voltgw.routing.cookies import cookie_values
from voltgw.routing.problems import at
from voltgw.routing.regex.pattern import ANY, FIELD, PATH, Pattern, Shape
from voltgw.values.head import CHUNKED
from voltgw.wire.path import BadTarget, has_dot_segments, literal_path

if TYPE_CHECKING:
    from voltgw.config.objects.conditions import CookieMatcherType, HeaderMatcherType
    from voltgw.config.objects.route import (
        PathMatcherType,
        PortMatcherType,
        QueryParameterMatcherType,
        RouteMatch,
    )
    from voltgw.values.head import RequestHead

#: Fields that belong to one connection (RFC 9110 7.6.1): the codec sets them aside, routes may still ask for them.
_HOP_BY_HOP: Final = frozenset((
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "http2-settings", "proxy-authorization",
    "proxy-authenticate",
))
#: Headers whose wanted value explain does not show.
_SECRET: Final = frozenset(("authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token"))


#: What a regex of such a shape asks for.
_SHAPES: Final = {Shape.LITERAL: "exact", Shape.PREFIX: "prefix", Shape.GENERAL: "regex"}


class PathKind(Enum):
    """What a clause asks of the path before anything else."""

    ANY = "any"
    EXACT = "exact"                     # the path is `literal`
    PREFIX = "prefix"                   # the path begins with `literal`
    SEGMENTS = "segments"               # the same, but only where a segment ends


class Ask(NamedTuple):
    """What a condition asks for, so that two of them can be compared (`voltgw.routing.lint`).

    `how` is "exact", "prefix", "segments", "regex", "there" or "one of"; `fits` says of a value whether it would do, None where
    that is not known.
    """

    about: str                          # "path", "method", "port", "header", "cookie", "query"
    name: str
    how: str
    wanted: str
    inverted: bool = False
    fits: Callable[[bytes], object] | None = None


class Part(NamedTuple):
    """One condition: in words, as a test, and as what it asks for."""

    text: str
    test: Test
    ask: Ask


class Clause:
    """One entry of a rule's `match`.

    `parts` are all conditions. `kind` and `literal` are what of them a table can decide, `test` the rest (None = nothing):
    the clause holds when both do. `replaced` is how many bytes of a path that it matches `prefix_rewrite` puts something
    else for, None = all of them; `segments` whether these are whole segments.
    """

    __slots__ = ("kind", "literal", "parts", "replaced", "segments", "test")

    def __init__(
        self, kind: PathKind, literal: bytes, parts: Sequence[Part], test: Test | None, replaced: int | None,
        segments: bool = False,
    ) -> None:
        self.segments = segments
        self.kind = kind
        self.literal = literal
        self.parts = tuple(parts)
        self.test = test
        self.replaced = replaced

    @property
    def whole(self) -> Test:
        """Every part; what the tables find, found the slow way."""
        return Every([part.test for part in self.parts])


#: The clause of a rule without `match`. A prefix rewrite replaces the first slash, as for the prefix ``/``.
EVERYTHING: Final = Clause(PathKind.ANY, b"", (), None, 1)


def compile_match(spec: RouteMatch, *, segments: bool = False, normalised: bool = True) -> Clause:
    """The clause of one entry.

    With `segments` a prefix ends where a path segment does. `normalised` false means that paths come as they were written.
    Raises ValueError.
    """
    kind, literal, whole_path = PathKind.ANY, b"", False
    parts: list[Part] = []
    rest: list[Part] = []
    if spec.http_method.value != "ANY":
        rest.append(_method(spec.http_method.value.encode("ascii")))
    if spec.incoming_port is not None and not spec.incoming_port.no_port_match:
        port = _port(spec.incoming_port)
        if port is not None:
            rest.append(port)
    if spec.path is not None:
        with at("path"):
            kind, literal, whole_path, part, left = _path(spec.path, segments, normalised)
        if part is not None:
            parts.append(part)
        if left is not None:
            rest.append(left)
    for number, header in enumerate(spec.headers):
        with at("headers", number):
            rest.append(header_condition(header))
    for number, parameter in enumerate(spec.query_params):
        with at("query_params", number):
            rest.append(_parameter(parameter))
    for number, cookie in enumerate(spec.voltgw.cookies if spec.voltgw is not None else ()):
        with at("voltgw", "cookies", number):
            rest.append(_cookie(cookie))
    tests = [part.test for part in rest]
    parts += [part for part in rest if part not in parts]
    replaced = None if whole_path else len(literal) or 1
    test = Every(tests) if len(tests) > 1 else tests[0] if tests else None
    return Clause(kind, literal, parts, test, replaced, segments)


def _method(method: bytes) -> Part:
    text = method.decode("ascii")
    return Part(f"the method is {text}", IsMethod(method), Ask("method", "", "exact", text))


def _port(spec: PortMatcherType) -> Part | None:
    ranges = spec.port_ranges
    if spec.port is not None:
        wanted = spec.port
        return Part(f"the port is {wanted}", IsPort([(wanted,)]), Ask(
            "port", "", "exact", str(wanted), fits=lambda value: value == b"%d" % wanted))
    if not ranges:
        return None
    text = ", ".join(map(str, ranges))
    return Part(f"the port is in {text}", IsPort([range(each.first, each.last + 1) for each in ranges]), Ask(
        "port", "", "one of", text, fits=lambda value: any(int(value) in span for span in ranges)))


# -- the path ----------------------------------------------------------------------------------------------------------

def _path(
    spec: PathMatcherType, segments: bool, normalised: bool,
) -> tuple[PathKind, bytes, bool, Part | None, Part | None]:
    """Kind and literal for the tables, whether a rewrite replaces the whole path, the condition, what the tables leave."""
    if spec.regex is not None:
        with at("regex"):
            pattern = Pattern(spec.regex, PATH)
        part = Part(f"the path matches the regex {spec.regex}", PathFits(pattern.matches), Ask(
            "path", "", _SHAPES[pattern.shape],
            spec.regex if pattern.shape is Shape.GENERAL else pattern.prefix.decode("latin-1"), fits=pattern.matches))
        if pattern.shape is Shape.LITERAL:
            return PathKind.EXACT, pattern.prefix, True, part, None
        kind = PathKind.PREFIX if pattern.prefix else PathKind.ANY
        return kind, pattern.prefix, True, part, None if pattern.shape is Shape.PREFIX else part
    if spec.path is not None:
        with at("path"):
            literal = _literal(spec.path, normalised, whole=True)
        shown = literal.decode("ascii")
        return PathKind.EXACT, literal, True, Part(
            f"the path is {shown}", IsPath(literal), Ask("path", "", "exact", shown)), None
    if spec.prefix is None:
        return PathKind.ANY, b"", False, None, None
    with at("prefix"):
        literal = _literal(spec.prefix, normalised, whole=False)
    shown = literal.decode("ascii")
    if not segments or literal.endswith(b"/"):
        return (PathKind.PREFIX, literal, False, Part(
            f"the path begins with {shown}", Begins(literal), Ask("path", "", "prefix", shown)), None)
    return (PathKind.SEGMENTS, literal, False, Part(
        f"the path is {shown} or stands below it", Below(literal), Ask("path", "", "segments", shown)), None)


def _literal(text: str, normalised: bool, *, whole: bool) -> bytes:
    """What an operator wrote, as it stands in requests; refused when no path ever looks like that."""
    if text == "*":
        return b"*"                     # the target of OPTIONS *
    if not text.startswith("/"):
        raise BadTarget("can never be matched: every path begins with /")
    literal = literal_path(text, normalised=normalised)
    if normalised and has_dot_segments(literal if whole else literal.rpartition(b"/")[0] + b"/"):
        raise BadTarget("can never be matched: dot segments are resolved before paths are matched")
    return literal


# -- headers -----------------------------------------------------------------------------------------------------------

def header_condition(spec: HeaderMatcherType) -> Part:
    """One condition on a header. Raises ValueError."""
    name = spec.name.lower()
    values = set_aside(name)
    without_case = name in ("host", ":authority")
    key = name.encode("ascii")
    test: Test
    if spec.exact is not None:
        exact = (spec.exact.lower() if without_case else spec.exact).encode("utf-8")
        test = HasPair((key, exact)) if values is None else HasValue(values, exact.__eq__)
        text = f"header {name} is {'the wanted one' if name in _SECRET else repr(spec.exact)}"
        ask = Ask("header", name, "exact", spec.exact.lower() if without_case else spec.exact)
    elif spec.regex is not None:
        with at("regex"):
            pattern = Pattern(f"(?i){spec.regex}" if without_case else spec.regex, FIELD)
        test = FieldFits(key, pattern.matches) if values is None else HasValue(values, pattern.matches)
        text = f"header {name} matches {'the regex' if name in _SECRET else spec.regex}"
        ask = Ask("header", name, "regex", spec.regex, fits=pattern.matches)
    else:
        test = HasField(key) if values is None else HasValue(values, bool)
        text = f"header {name} is there"
        ask = Ask("header", name, "there", "")
    return _inverted(text, test, ask) if spec.invert_match else Part(text, test, ask)


def _inverted(text: str, test: Test, ask: Ask) -> Part:
    return Part(f"not: {text}", Not(test), ask._replace(inverted=True))


def set_aside(name: str) -> Callable[[RequestHead], list[bytes]] | None:
    """How to get the values of what does not stand in `RequestHead.fields`; None for every other header."""
    if name in ("host", ":authority"):
        return lambda head: [head.authority.lower()]
    if name == ":method":
        return lambda head: [head.method]
    if name == ":path":
        return lambda head: [head.path if head.query is None else head.path + b"?" + head.query]
    if name == "upgrade":
        return lambda head: [] if head.upgrade is None else [head.upgrade]
    if name == "expect":
        return lambda head: [b"100-continue"] if head.expect_continue else []
    if name == "content-length":
        return lambda head: [b"%d" % head.length] if head.length > 0 else []
    if name == "transfer-encoding":
        return lambda head: [b"chunked"] if head.length == CHUNKED else []
    if name in _HOP_BY_HOP:
        key = name.encode("ascii")
        return lambda head: [value for field, value in head.connection if field == key]
    if name.startswith(":"):
        raise ValueError(f"{name} cannot be matched; :authority, :method and :path can")
    return None


# -- cookies -----------------------------------------------------------------------------------------------------------

def _cookie(spec: CookieMatcherType) -> Part:
    """Values of cookies may be secrets, so explain does not show them."""
    values = cookie_values(spec.name)
    test: Test
    if spec.exact is not None:
        exact = spec.exact.encode("utf-8")
        test, text = HasValue(values, exact.__eq__), f"cookie {spec.name} is the wanted one"
        ask = Ask("cookie", spec.name, "exact", spec.exact)
    elif spec.regex is not None:
        with at("regex"):
            pattern = Pattern(spec.regex, FIELD)
        test, text = HasValue(values, pattern.matches), f"cookie {spec.name} matches the regex"
        ask = Ask("cookie", spec.name, "regex", spec.regex, fits=pattern.matches)
    else:
        test, text = HasValue(values), f"cookie {spec.name} is there"
        ask = Ask("cookie", spec.name, "there", "")
    return _inverted(text, test, ask) if spec.invert_match else Part(text, test, ask)


# -- the query ---------------------------------------------------------------------------------------------------------

def _parameter(spec: QueryParameterMatcherType) -> Part:
    key = spec.key.encode("utf-8")
    fits: Fits | None = None
    if spec.exact is not None:
        exact = spec.exact.encode("utf-8")
        fits, text = exact.__eq__, f"is {spec.exact!r}"
        ask = Ask("query", spec.key, "exact", spec.exact)
    elif spec.regex is not None:
        with at("regex"):
            fits, text = Pattern(spec.regex, ANY).matches, f"matches {spec.regex}"
        ask = Ask("query", spec.key, "regex", spec.regex, fits=fits)
    else:
        text = "is there"
        ask = Ask("query", spec.key, "there", "")

    # Only parameters whose name could be the key, if it were decoded, are looked at: the rest is passed over in one go.
    find = re.compile(rb"(?:\A|&)([^=&]{%d,%d})(?:=([^&]*))?(?=&|\Z)" % (len(key), 3 * len(key))).findall
    return Part(f"query parameter {spec.key} {text}", HasParameter(key, find, fits), ask)
