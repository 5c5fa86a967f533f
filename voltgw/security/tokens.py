"""JSON web tokens as they stand in a request (RFC 7519, in the compact form of RFC 7515), read strictly.

Nothing of a token is believed here. Fields of its header that name keys (``jku``, ``jwk``, ``x5u``, ``x5c``) are never looked
at: keys come from the configuration alone.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Final, NamedTuple

#: Largest token that is looked at, in bytes, where nothing else is said.
MAX_TOKEN_BYTES: Final = 8 * 1024
#: Longest key id.
MAX_KID: Final = 256
#: Objects and lists in one part of a token, so that none is nested too deeply.
_MOST_BRACKETS: Final = 500

_PART: Final = re.compile(rb"[A-Za-z0-9_-]+")
_TO_BASE64: Final = bytes.maketrans(b"-_", b"+/")

# Why a token is refused: words for metrics, logs and explain. What a client is told is less.
MISSING: Final = "missing"
MALFORMED: Final = "malformed"
OVERSIZED: Final = "oversized"
ALGORITHM: Final = "algorithm"
CRITICAL: Final = "critical_header"
UNKNOWN_KEY: Final = "unknown_key"
SIGNATURE: Final = "signature"
EXPIRED: Final = "expired"
NOT_YET: Final = "not_yet_valid"
ISSUER: Final = "issuer"
AUDIENCE: Final = "audience"
CLAIMS: Final = "missing_claim"
NO_KEYS: Final = "no_keys"


class Refused(Exception):
    """A credential that is not accepted; `reason` is one of the words above, `detail` tells operators more, without secrets."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class Token(NamedTuple):
    """A token, taken apart. `signed` is what the signature is of."""

    alg: str
    kid: str | None
    claims: Mapping[str, object]
    signed: bytes
    signature: bytes


def read_token(data: bytes, most: int = MAX_TOKEN_BYTES) -> Token:
    """Take a token apart. Raises `Refused`."""
    if len(data) > most:
        raise Refused(OVERSIZED, f"{len(data)} bytes are more than {most}")
    parts = data.split(b".")
    if len(parts) != 3:
        raise Refused(MALFORMED, "it has not three parts")
    header = _object(parts[0], "header")
    # RFC 7515 4.1.11: what is critical and not understood must be refused. We understand no extension; `b64` is one (RFC 7797).
    if "crit" in header or "b64" in header:
        raise Refused(CRITICAL, "its header asks for an extension")
    alg, kid = header.get("alg"), header.get("kid")
    if not isinstance(alg, str):
        raise Refused(MALFORMED, "its header names no algorithm")
    if kid is not None and (not isinstance(kid, str) or len(kid) > MAX_KID):
        raise Refused(MALFORMED, "its key id is no text, or a very long one")
    # An unsigned token has an empty third part; it is refused for its algorithm, which says more.
    signature = _decode(parts[2], "signature") if parts[2] else b""
    return Token(alg, kid, _object(parts[1], "payload"), data[:len(parts[0]) + 1 + len(parts[1])], signature)


def _decode(part: bytes, what: str) -> bytes:
    """base64url without padding (RFC 7515 2), in the one spelling that it has."""
    if not _PART.fullmatch(part):
        raise Refused(MALFORMED, f"its {what} is not base64url")
    text = part.translate(_TO_BASE64) + b"=" * (-len(part) % 4)
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        raise Refused(MALFORMED, f"its {what} is not base64url") from None
    if b64encode(data) != text:
        raise Refused(MALFORMED, f"its {what} is not base64url in its one spelling")
    return data


def _object(part: bytes, what: str) -> dict[str, object]:
    data = _decode(part, what)
    if data.count(b"{") + data.count(b"[") > _MOST_BRACKETS:
        raise Refused(MALFORMED, f"its {what} has too many parts")
    try:
        value = read_json(data)
    except ValueError as error:
        raise Refused(MALFORMED, f"its {what} {error}") from None
    if not isinstance(value, dict):
        raise Refused(MALFORMED, f"its {what} is no JSON object")
    return value


def read_json(data: bytes) -> object:
    """JSON whose objects have each name once, and whose numbers are numbers. Raises ValueError without its text."""
    try:
        value: object = _DECODER.decode(data.decode("utf-8"))
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode("utf-8")       # half of a surrogate pair is no text
        return value
    except UnicodeError:
        raise ValueError("is not UTF-8") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except _NotJson as error:
        raise ValueError(str(error)) from None
    except ValueError:                      # its message would quote the text
        raise ValueError("is not JSON") from None


class _NotJson(ValueError):
    """Something that Python's JSON would take."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):            # RFC 7519 4 lets readers refuse it, and others might see the other one
        raise _NotJson("has a name twice")
    return found


def _no_constant(text: str) -> object:
    raise _NotJson("has a number that is none")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
