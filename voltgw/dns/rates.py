"""How many answers one network of clients gets over UDP: a forged source must not turn us on somebody (RRL).

Each network has a bucket that runs full at its rate (GCRA, a virtual time for each). Of the answers beyond it every second one
says "ask over TCP", which a real resolver does and a victim cannot; the others are not sent.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Final

#: Networks that are remembered. For a new one, one is forgotten that owes nothing, else of so many the one that owes least: a
#: flood from forged networks must not give a victim a new burst.
MAX_NETWORKS: Final = 100_000
_LOOKS: Final = 8
_V6_BYTES: Final = 7                        # /56
_ROUNDING: Final = 1e-9


class Verdict(Enum):
    """What becomes of an answer."""

    SEND = "send"
    SLIP = "slip"                           # say TC and nothing else
    DROP = "drop"


class ResponseRates:
    """A limit of `per_second` answers for each /24 and /56; every `slip`-th beyond it is truncated, the rest is dropped.

    A burst of one second's worth is let through. `slip` 0 drops all.
    """

    def __init__(self, per_second: int, slip: int, monotonic: Callable[[], float]) -> None:
        self._step = 1.0 / per_second
        self._slip = slip
        self._monotonic = monotonic
        self._full: OrderedDict[bytes, float] = OrderedDict()     # not a dict: its front is far away when much was deleted
        self._beyond = 0

    def __len__(self) -> int:
        return len(self._full)

    def take(self, address: bytes) -> Verdict:
        """Decide about one answer to `address` (packed)."""
        key = address[:3] if len(address) == 4 else address[:_V6_BYTES]
        now = self._monotonic()
        full = self._full.get(key)
        if full is None:
            if len(self._full) >= MAX_NETWORKS:
                self._forget_one(now)
            self._full[key] = now + self._step
            return Verdict.SEND
        if full < now:
            full = now
        if full - now + self._step <= 1.0 + _ROUNDING:
            self._full[key] = full + self._step
            return Verdict.SEND
        if self._slip:
            self._beyond += 1
            if self._beyond % self._slip == 0:
                return Verdict.SLIP
        return Verdict.DROP

    def _forget_one(self, now: float) -> None:
        table = self._full
        least: tuple[float, bytes] | None = None
        for _ in range(_LOOKS):
            key, full = table.popitem(last=False)
            if full <= now:
                return
            table[key] = full               # behind all others
            if least is None or full < least[0]:
                least = full, key
        assert least is not None
        del table[least[1]]


def packed(host: str) -> bytes:
    """An address in bytes; one that is IPv4 in IPv6's clothes is IPv4. Zones of link-local addresses are left out."""
    if ":" not in host:
        return socket.inet_aton(host)
    address = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return address[12:] if address.startswith(b"\0" * 10 + b"\xff\xff") else address
