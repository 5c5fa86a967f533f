"""Keys that encrypt TLS session tickets (RFC 5077): short-lived, so that a stolen one opens little of what was recorded.

One `TicketKeys` serves all contexts of a gateway. Workers share it by value: `export` in the process that rotates, `install`
in the others. Only where contexts agree on the session id context does a ticket of one resume at the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from voltgw.values.defaults import TLS_TICKET_KEY_LIFETIME_S

#: Names, HMAC-SHA-256 and AES-256-CBC keys (RFC 5077 4).
NAME_BYTES: Final = 16
SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class TicketKey:
    """One key. `name` stands in clear in every ticket that it encrypts."""

    name: bytes
    mac: bytes = field(repr=False)
    cipher: bytes = field(repr=False)

    @classmethod
    def fresh(cls) -> TicketKey:
        """A new one, from the system's randomness."""
        return cls(os.urandom(NAME_BYTES), os.urandom(SECRET_BYTES), os.urandom(SECRET_BYTES))


class TicketKeys:
    """The present key and the one before it; rotated by `rotate_if_due`, which the owner calls now and then.

    A ticket of the previous key is taken and replaced by one of the present key.
    """

    __slots__ = ("_keys", "_monotonic", "_since", "lifetime_s")

    def __init__(
        self, monotonic: Callable[[], float], lifetime_s: float = TLS_TICKET_KEY_LIFETIME_S,
        keys: tuple[TicketKey, ...] = (),
    ) -> None:
        self.lifetime_s = lifetime_s
        self._monotonic = monotonic
        self._since = monotonic()
        self._keys = keys or (TicketKey.fresh(),)

    @property
    def current(self) -> TicketKey:
        """The key that encrypts; the time to rotate is looked at here."""
        self.rotate_if_due()
        return self._keys[0]

    def find(self, name: bytes) -> TicketKey | None:
        """The key of that name, if its tickets are still taken."""
        self.rotate_if_due()
        for key in self._keys:
            if key.name == name:
                return key
        return None

    def rotate_if_due(self) -> bool:
        """Whether a new key was made: the present one has served its time."""
        late_s = self._monotonic() - self._since
        if late_s < self.lifetime_s:
            return False
        fresh = TicketKey.fresh()
        # after a sleep of two lifetimes the last key is as old as one that was forgotten
        self._keys = (fresh, self._keys[0]) if late_s < 2 * self.lifetime_s else (fresh,)
        self._since = self._monotonic()
        return True

    def export(self) -> tuple[TicketKey, ...]:
        """The keys, the present one first, for the other workers; a secret."""
        return self._keys

    def install(self, keys: tuple[TicketKey, ...]) -> None:
        """Take over another worker's keys; its rotation counts from now."""
        if not keys:
            raise ValueError("no ticket keys")
        self._keys = keys
        self._since = self._monotonic()
