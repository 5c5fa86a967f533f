"""The one form of a path that routes match, policies judge and endpoints get (RFC 3986 6.2.2).

Dot segments are resolved (5.2.4) and escapes of unreserved octets decoded, so that `/a/%2e%2e/admin` and `/admin` are one
path. Every other escape stays, with upper-case digits: origins differ on what `%2F` and `%5C` mean, so these never become
something that separates. Empty segments (`//`) are kept, because objects have such names.

What browsers send from outside the URI set (RFC 3986 2.2, 2.3) is escaped; so are brackets in a path, whose grammar lacks
them. Spaces, controls and fragments are refused, and in a path also broken escapes and `%00`. A query is not normalised. The
normal form of a normal form is itself, and nothing is decoded twice.
"""

from __future__ import annotations

import re
from typing import Final

#: Unreserved and reserved characters (RFC 3986 2.2, 2.3) without ``# / ?`` and brackets, for use in a set of a regex.
_CHARS: Final = rb"A-Za-z0-9\-._~!$&'()*+,;=:@"
_IN_PATH: Final = _CHARS + rb"/"
_IN_QUERY: Final = _CHARS + rb"\[\]/?"
#: Two digits of an escape that is its own normal form: upper case, neither NUL nor an unreserved octet.
_KEPT: Final = rb"0[1-9A-F]|1[0-9A-F]|2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[B-DF]|[89A-F][0-9A-F]"

#: Path and query of a target that may be its own normal form: it is if, besides, ``/.`` does not stand in it. (`*+` gives
#: nothing back, so that a long target that does not match is done with at once.)
NORMAL_TARGET: Final = (
    rb"(/[" + _IN_PATH + rb"]*+(?:%(?:" + _KEPT + rb")[" + _IN_PATH + rb"]*+)*)(?:\?([" + _IN_QUERY + rb"%]*+))?")
normal_target: Final = re.compile(NORMAL_TARGET).fullmatch
_not_in_path: Final = re.compile(rb"[^" + _IN_PATH + rb"%]").sub
_not_in_query: Final = re.compile(rb"[^" + _IN_QUERY + rb"%]").sub
_never: Final = re.compile(rb"[\x00-\x20\x7f#]").search
_broken_escape: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})").search
_escapes: Final = re.compile(rb"%[0-9A-Fa-f]{2}").sub

_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: Every byte that a path can hold, in normal form or as written.
PATH_BYTES: Final = _UNRESERVED | frozenset(b"!$&'()*+,;=:@/%")
#: For `translate`: octets of a path without escapes become letters, all others blanks. Such a path is its own normal form if
#: ``/.`` does not stand in it. Two such calls are cheaper than one pattern.
IN_PLAIN: Final = bytes(ord("a") if octet in PATH_BYTES and octet != ord("%") else ord(" ") for octet in range(256))


class BadTarget(ValueError):
    """A target or path that may be neither matched nor forwarded; the text completes "the target …"."""


def normalise(target: bytes, normalised: bool = True) -> tuple[bytes, bytes | None]:
    """Path and query (None: no ``?``) of an origin-form target, which begins with ``/``. Raises `BadTarget`.

    With `normalised` false (``disable_path_normalize``) the path comes as `written_path` leaves it; the same targets are
    refused.
    """
    match = normal_target(target)
    if match is not None and target.find(b"/.") < 0:     # `in` would raise within, and catch
        return match.group(1, 2)  # type: ignore[return-value]  # exactly two, and the first always takes part
    path, mark, query = target.partition(b"?")
    path = normal_path(path) if normalised else written_path(path)
    if not mark:
        return path, None
    _refuse_octets(query)
    return path, _not_in_query(_escape, query)


def normal_path(path: bytes, *, above_root: bool = True) -> bytes:
    """The normal form of a path without query, of a client or as a rewrite made it. Raises `BadTarget`.

    ``..`` above the root stays at the root, as RFC 3986 says; with `above_root` false it is refused.
    """
    path = _with_normal_escapes(written_path(path))
    return without_dot_segments(path, above_root=above_root) if b"/." in path else path


def written_path(path: bytes) -> bytes:
    """A path as it was written, but fit to be sent: checked, and what may not stand in it escaped. Raises `BadTarget`."""
    if not path.startswith(b"/"):
        raise BadTarget("does not begin with a slash")
    if b"?" in path:
        raise BadTarget("holds a query where only a path may stand")
    _refuse_octets(path)
    return _escaped_path(path)


def literal_path(text: str, *, normalised: bool = True) -> bytes:
    """A path, or the beginning of one, that an operator wrote, as it stands in requests; spaces and controls are escaped too.

    Dot segments are left alone: ``/.`` is a fine prefix. Raises `BadTarget`.
    """
    if "?" in text or "#" in text:
        raise BadTarget("holds a query or fragment where only a path may stand")
    path = _escaped_path(text.encode("utf-8"))
    return _with_normal_escapes(path) if normalised else path


def literal_query(text: str) -> bytes:
    """A query that an operator wrote, as it stands in requests. A stray ``%``, which clients may send, is a mistake here.

    Raises `BadTarget`.
    """
    query = text.encode("utf-8")
    if b"#" in query:
        raise BadTarget("holds a fragment")
    _refuse_broken_escapes(query)
    return _not_in_query(_escape, query)


def has_dot_segments(path: bytes) -> bool:
    """Whether a path has segments that its normal form has not."""
    return not {b".", b".."}.isdisjoint(path.split(b"/"))


def without_dot_segments(path: bytes, *, above_root: bool = True) -> bytes:
    """RFC 3986 5.2.4 for an absolute path, on whole segments; an empty one is a segment like any other.

    What would climb above the root stays there, or is refused when `above_root` is false.
    """
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
            elif not above_root:
                raise BadTarget("leads above the root")
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")                    # "/a/.." is the folder "/", not a file
    return b"/" + b"/".join(kept)


# -- what all of them are made of --------------------------------------------------------------------------------------

def _refuse_octets(text: bytes) -> None:
    """Refuse what no part of a target may hold."""
    found = _never(text)
    if found is not None:
        raise BadTarget("holds a fragment (RFC 9112 3.2)" if found[0] == b"#" else "holds a space or a control character")


def _refuse_broken_escapes(text: bytes) -> None:
    if _broken_escape(text) is not None:
        raise BadTarget("holds a % that is not followed by two hexadecimal digits")


def _escaped_path(path: bytes) -> bytes:
    """`path` with everything escaped that may not stand in it; its own escapes are checked."""
    path = _not_in_path(_escape, path)
    if b"%" in path:
        _refuse_broken_escapes(path)
        if b"%00" in path:
            raise BadTarget("holds a NUL, encoded or not")
    return path


def _with_normal_escapes(path: bytes) -> bytes:
    """`path` with unreserved octets decoded and upper-case digits in all other escapes."""
    return _escapes(_normal_escape, path) if b"%" in path else path


def _escape(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


def _normal_escape(match: re.Match[bytes]) -> bytes:
    octet = int(match[0][1:], 16)
    return bytes((octet,)) if octet in _UNRESERVED else match[0].upper()
