"""The normal form of a request target: the one that routes match, policies judge and the upstream gets.

Dot segments go (RFC 3986 5.2.4), escapes of unreserved octets are decoded (6.2.2.2), all other escapes stay, with
upper-case digits (6.2.2.1); so ``%2F`` and ``%5C`` never turn into something that separates. ``//`` is kept. ``%00`` in
the path, an escape that is none, a fragment, and any byte outside the URI set (RFC 3986 2.2, 2.3) are refused. Brackets are
in that set but not in a path's grammar: there they are escaped. The query is checked but never changed. Normalising twice
changes nothing, and no escape is ever decoded twice.

The codec has the same normal form in `voltgw.wire.path`, which also takes, and escapes, what browsers send from outside the
URI set; on every target that is not refused here the two agree.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

#: Reserved and unreserved characters without ``? # /`` and brackets.
_CHARS: Final = rb"A-Za-z0-9\-._~!$&'()*+,;=:@"
#: Two digits of an escape that is its own normal form: upper case, neither NUL nor an unreserved octet.
_KEPT: Final = rb"0[1-9A-F]|1[0-9A-F]|2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[B-DF]|[89A-F][0-9A-F]"

_normal_target: Final = re.compile(
    rb"(/[" + _CHARS + rb"/]*(?:%(?:" + _KEPT + rb")[" + _CHARS + rb"/]*)*)"
    rb"(?:\?([" + _CHARS + rb"\[\]/?]*(?:%[0-9A-Fa-f]{2}[" + _CHARS + rb"\[\]/?]*)*))?"
).fullmatch
_valid_path: Final = re.compile(rb"[" + _CHARS + rb"\[\]/]*(?:%[0-9A-Fa-f]{2}[" + _CHARS + rb"\[\]/]*)*").fullmatch
_valid_query: Final = re.compile(rb"[" + _CHARS + rb"\[\]/?]*(?:%[0-9A-Fa-f]{2}[" + _CHARS + rb"\[\]/?]*)*").fullmatch
#: What an operator may write in a path although it stands escaped in requests.
_unescaped: Final = re.compile(rb"[^" + _CHARS + rb"/%]").sub
_unescaped_in_query: Final = re.compile(rb"[^" + _CHARS + rb"\[\]/?%#]").sub
_before_path: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*").match
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_escapes: Final = re.compile(rb"%[0-9A-Fa-f]{2}").sub

_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: Every spelling of every escape -> its normal form.
_NORMAL_ESCAPES: Final[dict[bytes, bytes]] = {
    b"%" + digits: bytes((octet,)) if octet in _UNRESERVED else b"%%%02X" % octet
    for octet in range(256)
    for high in (b"%x" % (octet >> 4), b"%X" % (octet >> 4))
    for low in (b"%x" % (octet & 15), b"%X" % (octet & 15))
    for digits in (high + low,)
}

#: Every byte that a path in normal form, or one that was only validated, can hold.
PATH_BYTES: Final = frozenset(_UNRESERVED | frozenset(b"!$&'()*+,;=:@/[]%"))


class BadTarget(ValueError):
    """A target that may be neither matched nor forwarded; the message completes a sentence: "the target …"."""


def normalise(target: bytes, normalised: bool = True) -> tuple[bytes, bytes | None]:
    """Path and query (None = there was no ``?``) of an origin-form, absolute-form or ``*`` target.

    `..` above the root stays at the root, as RFC 3986 says. With `normalised` false (``disable_path_normalize``) the
    same targets are refused, but the path is handed back as written. Raises `BadTarget`.
    """
    match = _normal_target(target)
    if match is not None and b"/." not in target:
        return match.group(1, 2)  # type: ignore[return-value]  # exactly two, and the first always takes part
    return _unusual(target, normalised)


def validate(target: bytes) -> tuple[bytes, bytes | None]:
    """`normalise` for hosts with ``disable_path_normalize``: refuses the same, changes nothing."""
    return normalise(target, False)


def normal_path(path: bytes, *, above_root: bool = True) -> bytes:
    """The normal form of a path without query, such as a rewrite or an operator has made it.

    With `above_root` false a ``..`` that leads above the root is refused instead of ignored. Raises `BadTarget`.
    """
    if not path.startswith(b"/"):
        raise BadTarget("does not begin with a slash")
    _check(path, _valid_path)
    path = _with_normal_escapes(path)
    if b"%00" in path:
        raise BadTarget("has a NUL in its path")
    return _without_dots(path, above_root) if b"/." in path else path


def literal_path(text: str, *, normalised: bool = True) -> bytes:
    """A path, or the beginning of one, that an operator wrote, as it stands in requests: what must be escaped is escaped.

    Dot segments are left alone: ``/.`` is a fine prefix. Raises `BadTarget`.
    """
    path = text.encode("utf-8")
    if b"?" in path or b"#" in path:
        raise BadTarget("has a query or fragment where only a path may stand")
    path = _unescaped(_escape, path)
    _check(path, _valid_path)
    return _with_normal_escapes(path) if normalised else path


def literal_query(text: str) -> bytes:
    """A query that an operator wrote, as it stands in requests. Raises `BadTarget`."""
    query = _unescaped_in_query(_escape, text.encode("utf-8"))
    _check(query, _valid_query)
    return query


def has_dot_segments(path: bytes) -> bool:
    """Whether a path has segments that its normal form has not."""
    return not {b".", b".."}.isdisjoint(path.split(b"/"))


def _unusual(target: bytes, normalised: bool) -> tuple[bytes, bytes | None]:
    """Every target that is not its own normal form; what is refused is found here."""
    if not target.startswith(b"/"):
        if target == b"*":
            return target, None
        before = _before_path(target)
        if before is None:
            raise BadTarget("is neither a path nor an absolute URL")
        target = target[before.end():]
        if not target.startswith(b"/"):
            target = b"/" + target          # RFC 9112 3.2.2: an empty path is sent as "/"
    path, mark, query = target.partition(b"?")
    normal = normal_path(path)
    if mark:
        _check(query, _valid_query)
    return normal if normalised else path, query if mark else None


def _check(text: bytes, valid: Callable[[bytes], object]) -> None:
    """Say what is wrong with `text` unless `valid` (a fullmatch) takes it."""
    if valid(text) is not None:
        return
    if b"#" in text:
        raise BadTarget("has a fragment")
    if _BAD_ESCAPE.search(text) is not None:
        raise BadTarget("has an escape that is not % and two hexadecimal digits")
    raise BadTarget("has a byte outside the URI set")


def _with_normal_escapes(path: bytes) -> bytes:
    if b"%" in path:
        path = _escapes(_normal_escape, path)
    if b"[" in path or b"]" in path:
        path = path.replace(b"[", b"%5B").replace(b"]", b"%5D")
    return path


def _escape(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


def _normal_escape(match: re.Match[bytes]) -> bytes:
    return _NORMAL_ESCAPES[match[0]]


def _without_dots(path: bytes, above_root: bool) -> bytes:
    """RFC 3986 5.2.4 on whole segments; an empty segment is a segment like any other."""
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments[1:]:
        if segment == b"..":
            if kept:
                kept.pop()
            elif not above_root:
                raise BadTarget("leads above the root")
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)
