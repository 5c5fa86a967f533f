"""What the data plane counts for itself, over all listeners and clusters of the process."""

from __future__ import annotations

from typing import Final

from voltgw.wire.h2limits import Http2Counters

#: What is told of HTTP/2, each way: attributes of `Http2Counters`.
HTTP2_NUMBERS: Final = ("connections", "streams", "malformed", "refused_streams", "resets_received", "resets_sent",
                        "goaways_received", "goaways_sent")
#: Statuses of gRPC (0 to 16), and one more place for what is none.
GRPC_STATUSES: Final = 18
#: Flag and detail in the access log of what was cut because memory is short.
SHED: Final = ("OM", "overload_reset")


class PlaneCounters:
    """Plain integers, as in `voltgw.values.counters`; those that end in ``_open`` go up and down."""

    __slots__ = ("grpc", "http2_downstream", "http2_upstream", "shadows", "shadows_open", "shadows_refused",
                 "shadows_too_large", "tunnels", "tunnels_open")

    def __init__(self) -> None:
        self.http2_downstream = Http2Counters()     # connections of clients
        self.http2_upstream = Http2Counters()       # connections to endpoints
        self.grpc = [0] * GRPC_STATUSES             # answers of gRPC by their status; the last place is for any other
        self.tunnels = 0                    # connections that have switched protocols
        self.tunnels_open = 0
        self.shadows = 0                    # copies of requests that were sent to another cluster
        self.shadows_open = 0
        self.shadows_refused = 0            # not sent: a limit, or no endpoint
        self.shadows_too_large = 0          # not sent: more of the request would have had to be kept

    def numbers(self) -> dict[str, float]:
        """All of them, as `interfaces.GatewayView.process` has them."""
        numbers: dict[str, float] = {
            "tunnels": self.tunnels, "tunnels_open": self.tunnels_open,
            "shadows": self.shadows, "shadows_open": self.shadows_open,
            "shadows_refused": self.shadows_refused, "shadows_too_large": self.shadows_too_large,
        }
        for side, counted in (("downstream", self.http2_downstream), ("upstream", self.http2_upstream)):
            for name in HTTP2_NUMBERS:
                numbers[f"http2_{side}_{name}"] = getattr(counted, name)
            numbers[f"http2_{side}_fault_protocol"] = counted.faults - counted.floods
            numbers[f"http2_{side}_fault_other"] = counted.floods - sum(counted.spent.values())
            for kind, count in counted.spent.items():
                numbers[f"http2_{side}_fault_{kind}"] = count
        for status, count in enumerate(self.grpc):
            numbers[f"grpc_{status if status < GRPC_STATUSES - 1 else 'other'}"] = count
        return numbers

    def count_grpc(self, status: bytes) -> None:
        """One more answer with this ``grpc-status``."""
        number = int(status) if status.isdigit() and len(status) < 3 else GRPC_STATUSES
        self.grpc[min(number, GRPC_STATUSES - 1)] += 1
