"""What one HTTP/2 connection may ask of us, each limit by name (RFC 9113 10.5).

Frames that cost us work and bring nobody forward draw on a budget of their kind. A budget has so many to begin with, gains
some each second and some for each useful thing that the peer does, and never holds more than at the beginning; who has spent
one is told ENHANCE_YOUR_CALM. Honest peers stay far below: browsers that give up a page, gRPC clients whose deadlines pass,
pings that measure a link.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

#: The kinds of frames that have a budget, as they are named in records and metrics.
KINDS: Final = ("resets", "settings", "pings", "priorities", "window_updates", "empty_data", "strays")


@dataclass(frozen=True, slots=True)
class Budget:
    """`burst` at once, `per_s` more each second."""

    burst: int
    per_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one connection, and what we announce of them.

    `resets` counts streams that the peer resets before they are answered (rapid reset, CVE-2023-44487), those that we reset
    because of what it sent (MadeYouReset, CVE-2025-8671) or because there are too many, and heads that are too large; each
    answered stream gives one back. `strays` are frames on streams that are over, and frames of unknown types.
    `window_updates` gains from what we send, as in Envoy: 2 for each stream and 20 for each DATA frame of some size.
    """

    max_streams: int = 100                      # SETTINGS_MAX_CONCURRENT_STREAMS: what the peer may have open
    max_list_bytes: int = 60 * 1024             # SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113 10.5.1); above it: 431
    max_fields: int = 128
    max_block_bytes: int = 128 * 1024           # a compressed block that is larger is not read on
    max_continuations: int = 32                 # CONTINUATION frames of one block
    stream_window_bytes: int = 64 * 1024        # what one stream may send before it is read
    window_bytes: int = 1024 * 1024             # the same for all streams of the connection together
    max_frame_bytes: int = 16 * 1024            # SETTINGS_MAX_FRAME_SIZE
    max_queued_control: int = 1000              # acknowledgements and resets that wait because the peer does not read
    extended_connect: bool = False              # RFC 8441
    resets: Budget = Budget(200, 20.0)
    settings: Budget = Budget(50, 1.0)
    pings: Budget = Budget(100, 10.0)
    priorities: Budget = Budget(500, 50.0)
    window_updates: Budget = Budget(1000, 100.0)
    empty_data: Budget = Budget(100, 10.0)
    strays: Budget = Budget(500, 50.0)


@dataclass(slots=True)
class Http2Counters:
    """What connections of one listener or cluster did; plain numbers, for the metrics.

    `spent` counts connections ended because a budget of that kind was spent; `floods` those ended by another limit.
    """

    connections: int = 0
    streams: int = 0
    malformed: int = 0                          # requests or answers that were none
    refused_streams: int = 0                    # above the limit
    resets_received: int = 0
    resets_sent: int = 0
    goaways_received: int = 0
    goaways_sent: int = 0
    faults: int = 0                             # connections that we ended for a fault of the peer
    floods: int = 0                             # those of them that sent too much of something
    spent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))


class Account:
    """What is left of one `Budget`."""

    __slots__ = ("_at", "_burst", "_per_s", "left")

    def __init__(self, budget: Budget, now: float) -> None:
        self.left = float(budget.burst)
        self._burst = float(budget.burst)
        self._per_s = budget.per_s
        self._at = now

    def spend(self, now: float) -> bool:
        """Take one; False when there is none."""
        left = self.left + (now - self._at) * self._per_s
        if left > self._burst:
            left = self._burst
        self._at = now
        if left < 1.0:
            self.left = left
            return False
        self.left = left - 1.0
        return True

    def earn(self, count: int) -> None:
        """Give `count` back."""
        left = self.left + count
        self.left = left if left < self._burst else self._burst
