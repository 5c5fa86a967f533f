"""How many connections each client address holds, so that one of them cannot take all the room there is."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


class Sources:
    """Open connections by client address. `limit` bounds what one address may hold; addresses in `trusted` are not bounded.

    Memory is bounded by the connections that are open: an address without one is forgotten.
    """

    __slots__ = ("_held", "_trusted", "limit")

    def __init__(self, limit: int = 1 << 30, trusted: Iterable[str] = ()) -> None:
        self.limit = limit
        self._held: dict[str, int] = {}
        self._trusted: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
        self.trust(trusted)

    def trust(self, prefixes: Iterable[str]) -> None:
        """Do not bound clients in these prefixes. Raises ValueError for what is none."""
        self._trusted = tuple(ipaddress.ip_network(prefix, strict=False) for prefix in prefixes)

    def enter(self, address: str) -> bool:
        """One more connection of `address`; False when it holds its share already, and then nothing is counted."""
        held = self._held.get(address, 0)
        if held >= self.limit and not self.is_trusted(address):
            return False
        self._held[address] = held + 1
        return True

    def leave(self, address: str) -> None:
        """One connection less."""
        held = self._held[address] - 1
        if held:
            self._held[address] = held
        else:
            del self._held[address]

    def __len__(self) -> int:
        """How many addresses hold a connection."""
        return len(self._held)

    def is_trusted(self, address: str) -> bool:
        """Whether clients of this address are not bounded."""
        client = ipaddress.ip_address(address.partition("%")[0])
        return any(client in prefix for prefix in self._trusted)
