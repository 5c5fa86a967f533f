"""Keys that programs send, in a header, a cookie or the query.

Only their SHA-256 is kept, and they are found by it: how long a look-up takes says nothing of a key. A key must be random and
long, as it is hashed once and without salt; a password belongs into `voltgw.security.basic`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from voltgw.security.proofs import Accepted, Denied, realm_text
from voltgw.security.tokens import MALFORMED, MISSING, OVERSIZED, Refused
from voltgw.values.identity import User

if TYPE_CHECKING:
    from voltgw.security.places import CredentialPlace
    from voltgw.security.proofs import Verdict
    from voltgw.values.exchange import Exchange

#: Longest key, and most of them.
MAX_KEY_BYTES: Final = 4096
MAX_KEYS: Final = 100_000
UNKNOWN: Final = "unknown_key"


def read_keys(data: bytes) -> dict[bytes, str]:
    """The keys of a file, names by digest: one ``name:sha256`` a line, in hexadecimal digits; ``#`` begins a comment.

    Raises ValueError, which names the line but shows nothing of it.
    """
    found: dict[bytes, str] = {}
    for number, line in enumerate(data.splitlines(), 1):
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        name, colon, digits = text.partition(b":")
        try:
            digest = bytes.fromhex(digits.decode("ascii"))
        except ValueError:
            digest = b""
        if not colon or not name or len(digest) != 32:
            raise ValueError(f"line {number} is not <name>:<64 hexadecimal digits>")
        if digest in found:
            raise ValueError(f"line {number} has a key that is there already")
        if len(found) >= MAX_KEYS:
            raise ValueError(f"there are more than {MAX_KEYS} keys")
        found[digest] = name.decode("utf-8", "backslashreplace")
    return found


def joined(parts: Iterable[Mapping[bytes, str]]) -> dict[bytes, str]:
    """Keys from several places. Raises ValueError when two names have one key: whose request it is would not be known."""
    found: dict[bytes, str] = {}
    for part in parts:
        for digest, name in part.items():
            if found.setdefault(digest, name) != name:
                raise ValueError(f"{found[digest]} and {name} have the same key")
    return found


class ApiKey:
    """The method ``api_key``."""

    by: Final = "api_key"

    def __init__(self, keys: Mapping[bytes, str], place: CredentialPlace, realm: str, *, forward: bool = False) -> None:
        self._accepted = {digest: Accepted(User(name, self.by)) for digest, name in keys.items()}
        self._place = place
        self.take_out = None if forward and not place.hidden else place.take_out
        self.hide = place.take_out if place.hidden else None
        self.challenge = challenge = b'ApiKey realm="%b"' % realm_text(realm)
        self._missing = Denied(self.by, MISSING, "there is no key", challenge=challenge)
        self._unknown = Denied(self.by, UNKNOWN, "nobody has this key", challenge=challenge)
        self._oversized = Denied(self.by, OVERSIZED, "the key is too long", challenge=challenge)

    @property
    def text(self) -> str:
        """What it asks for, in words."""
        return f"asks for one of {len(self._accepted)} keys in {self._place.text}"

    def check(self, exchange: Exchange) -> Verdict:
        """What a request's key proves."""
        try:
            key = self._place.find(exchange.request)
        except Refused as refused:
            return Denied(self.by, MALFORMED, refused.detail, 400)
        if not key:
            return self._missing
        if len(key) > MAX_KEY_BYTES:
            return self._oversized
        return self._accepted.get(sha256(key).digest()) or self._unknown

    def rehearse(self, exchange: Exchange) -> tuple[Verdict, str]:
        """The same for explain."""
        return self.check(exchange), ""
