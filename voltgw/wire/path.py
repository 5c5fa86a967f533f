"""The one form of a path that routes match, policies judge and endpoints get (RFC 3986 6.2.2).

Dot segments are resolved and percent-encoded unreserved octets decoded, so that `/a/%2e%2e/admin` and `/admin` are one path;
`%2F` and `%5C` stay encoded, because origins differ on what they mean; empty segments (`//`) are kept, because objects
have such names; `%00` and broken escapes are refused. The normal form of a normal form is itself.
"""

from __future__ import annotations

import re
from typing import Final

_ILLEGAL: Final = re.compile(rb"[\x00-\x20\x7f]")
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
#: What may not stand in a path as it is but is sent by clients all the same: it is encoded.
_TO_ENCODE: Final = re.compile(rb"[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]")
_TO_ENCODE_IN_QUERY: Final = re.compile(rb"[^\x21-\x7e]|[\"<>\\^`{|}]")
_DOTS: Final = re.compile(rb"/\.{1,2}(?:/|\Z)")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class BadTarget(ValueError):
    """A request target that has no normal form; the text completes a sentence that begins with "the target"."""


def normalise(target: bytes, normalised: bool = True) -> tuple[bytes, bytes | None]:
    """Path and query (None: no ``?``) of an origin-form target, which begins with ``/``. Raises `BadTarget`.

    With `normalised` false the path is only checked and stays as it was written.
    """
    if _ILLEGAL.search(target) is not None:
        raise BadTarget("holds a space or a control character")
    if b"#" in target:
        raise BadTarget("holds a fragment (RFC 9112 3.2)")
    path, mark, rest = target.partition(b"?")
    query = _TO_ENCODE_IN_QUERY.sub(_encode, rest) if mark else None
    if b"%" in path:
        if _BROKEN_ESCAPE.search(path) is not None:
            raise BadTarget("holds a % that is not followed by two hexadecimal digits")
        if b"%00" in path:
            raise BadTarget("holds an encoded NUL")
    if not normalised:
        return _TO_ENCODE.sub(_encode, path), query
    path = _TO_ENCODE.sub(_encode, path)
    if b"%" in path:
        path = _ESCAPE.sub(_decode_unreserved, path)
    if _DOTS.search(path) is not None:
        path = without_dot_segments(path)
    return path, query


def without_dot_segments(path: bytes) -> bytes:
    """RFC 3986 5.2.4 for an absolute path; what would climb above the root stays at the root."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")                    # "/a/.." is the folder "/", not a file
    return b"/" + b"/".join(kept)


def _encode(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


def _decode_unreserved(match: re.Match[bytes]) -> bytes:
    octet = int(match[1], 16)
    return bytes((octet,)) if octet in _UNRESERVED else match[0].upper()
