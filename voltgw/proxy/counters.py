"""What the data plane counts for itself, over all listeners and clusters of the process."""

from __future__ import annotations


class PlaneCounters:
    """Plain integers, as in `voltgw.values.counters`; those that end in ``_open`` go up and down."""

    __slots__ = ("shadows", "shadows_open", "shadows_refused", "shadows_too_large", "tunnels", "tunnels_open")

    def __init__(self) -> None:
        self.tunnels = 0                    # connections that have switched protocols
        self.tunnels_open = 0
        self.shadows = 0                    # copies of requests that were sent to another cluster
        self.shadows_open = 0
        self.shadows_refused = 0            # not sent: a limit, or no endpoint
        self.shadows_too_large = 0          # not sent: more of the request would have had to be kept
