"""What the data plane counts for itself, over all listeners and clusters of the process."""

from __future__ import annotations


class PlaneCounters:
    """Plain integers, as in `voltgw.values.counters`; those that end in ``_open`` go up and down."""

    __slots__ = ("tunnels", "tunnels_open")

    def __init__(self) -> None:
        self.tunnels = 0                    # connections that have switched protocols
        self.tunnels_open = 0
