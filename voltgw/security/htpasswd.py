"""Files of users and password hashes, as ``htpasswd`` writes them: one ``name:hash`` a line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from voltgw.security.hashes import MAX_PASSWORD_BYTES, Check, checker

#: Users in one file, and bytes of one name.
MAX_USERS: Final = 100_000
MAX_NAME_BYTES: Final = 256
#: Tells users who do not exist apart; nobody outside can say which decoy is whose.
_DECOY_KEY: Final = os.urandom(32)
#: Verdicts that `Verified` remembers.
MAX_VERIFIED: Final = 4096


class Htpasswd:
    """The users of one file. Nothing of it is ever shown but the number of users."""

    __slots__ = ("_checks", "_decoys")

    def __init__(self, checks: Mapping[bytes, Check]) -> None:
        self._checks = dict(checks)
        self._decoys = tuple(self._checks.values())

    @classmethod
    def parse(cls, data: bytes) -> Htpasswd:
        """The users of a file; empty lines and those that begin with ``#`` are none.

        Raises ValueError, which names the line but shows nothing of it.
        """
        checks: dict[bytes, Check] = {}
        for number, line in enumerate(data.splitlines(), 1):
            line = line.strip()
            if not line or line.startswith(b"#"):
                continue
            name, colon, stored = line.partition(b":")
            if not colon or not name or len(name) > MAX_NAME_BYTES:
                raise ValueError(f"line {number} is not <user>:<hash>")
            if name in checks:
                raise ValueError(f"line {number} has a user who is there already")
            if len(checks) >= MAX_USERS:
                raise ValueError(f"there are more than {MAX_USERS} users")
            try:
                checks[name] = checker(stored.partition(b":")[0])       # Apache allows a comment behind another colon
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
        return cls(checks)

    def __len__(self) -> int:
        return len(self._checks)

    def check(self, user: bytes, password: bytes) -> bool:
        """Whether this is a user's password. It may take seconds, as the hash wants it, so never ask on the reactor's thread.

        Both are octets as the client sent them (RFC 7617 2.1 asks for UTF-8).
        """
        check = self._checks.get(user)
        known = check or self._decoy(user)
        # libcrypt would see a password only up to a NUL, and htpasswd never wrote a longer one
        if known is None or len(password) > MAX_PASSWORD_BYTES or b"\0" in password:
            return False
        return known(password) and check is not None

    def _decoy(self, user: bytes) -> Check | None:
        """For a user who does not exist: whoever asks for one waits as long as for one who does, and always equally long."""
        decoys = self._decoys
        if not decoys:
            return None
        return decoys[int.from_bytes(blake2b(user, key=_DECOY_KEY, digest_size=8).digest(), "big") % len(decoys)]


class Verified:
    """Remembers for a while which credentials were good or bad, so that bcrypt is not asked at every request.

    What is kept is a keyed hash of user and password. `now` is monotonic seconds. Bad ones are kept shorter; the table is
    bounded, and forgets the oldest.
    """

    __slots__ = ("_bad_s", "_good_s", "_key", "_table")

    def __init__(self, key: bytes, good_s: float, bad_s: float) -> None:
        self._key = key
        self._good_s = good_s
        self._bad_s = bad_s
        self._table: dict[bytes, tuple[bool, float]] = {}

    def mark(self, user: bytes, password: bytes) -> bytes:
        """What stands for these credentials in here."""
        return blake2b(b"%d:%b%b" % (len(user), user, password), key=self._key, digest_size=32).digest()

    def find(self, mark: bytes, now: float) -> bool | None:
        """The verdict on credentials, None: it is not known any more."""
        found = self._table.get(mark)
        if found is None or now >= found[1]:
            return None
        return found[0]

    def note(self, mark: bytes, good: bool, now: float) -> None:
        """Remember a verdict."""
        self._table.pop(mark, None)
        if len(self._table) >= MAX_VERIFIED:
            del self._table[next(iter(self._table))]
        self._table[mark] = good, now + (self._good_s if good else self._bad_s)
