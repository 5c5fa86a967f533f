"""Names of endpoints where there is no DNS: those that a scenario or a test gives addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address


class KnownNames:
    """An IHostnameResolver that knows these names and no other."""

    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self._names = names

    def resolveHostName(self, receiver: Any, name: str, *more: object) -> object:
        """Part of IHostnameResolver."""
        receiver.resolutionBegan(self)
        for address in self._names.get(name, ()):
            receiver.addressResolved((IPv6Address if ":" in address else IPv4Address)("TCP", address, 0))
        receiver.resolutionComplete()
        return receiver

    def cancel(self) -> None:
        """It is over already."""
