"""Of what all share and few can have at a time, nobody gets everything: so much for one network of clients.

Hashes of passwords are worked out by few threads, behind a queue that is short. Whoever fills it with guesses from one place
keeps out only others of that place; as long as half of it is free, a place may have more. A network is what rate limits take
for one client: an IPv4 address, the /64 of an IPv6 one.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from voltgw.security.users import network_of

#: Passwords of one network that are checked, or wait for that, at a time: a quarter of all that may.
MAX_FROM_ONE: Final = 16

#: A network of clients; None: nobody knows from where it is.
Source: TypeAlias = "str | bytes | None"


def source_of(address: str) -> Source:
    """The network of a client's address; of a client that has none (it came by a Unix socket) nobody knows."""
    return network_of(address) if ":" in address else address or None


class Shares:
    """Who has how much at present; as large as what there is to share."""

    __slots__ = ("_most", "_taken")

    def __init__(self, most: int = MAX_FROM_ONE) -> None:
        self._most = most
        self._taken: dict[Source, int] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, source: Source, *, crowded: bool) -> bool:
        """One more; False: that network has its share already, and with `crowded` there is no more for anybody."""
        taken = self._taken.get(source, 0)
        if crowded and taken >= self._most and source is not None:
            return False
        self._taken[source] = taken + 1
        return True

    def give_back(self, source: Source) -> None:
        """One less."""
        left = self._taken[source] - 1
        if left:
            self._taken[source] = left
        else:
            del self._taken[source]
