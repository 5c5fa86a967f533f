"""The access record of one relayed connection (TCP kinds); HTTP's is `voltgw.values.exchange.Exchange` itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voltgw.values.exchange import ClientSide, EndpointLabels, RouteLabels


class ConnectionRecord:
    """What one relayed connection was; written to the access log once, when both sides have ended.

    All `t_*` are monotonic seconds, 0.0 = has not happened. `bytes_in` is client to endpoint, `bytes_out` the other way.
    `rollout` says which rollout shares the connections out (see `Exchange`; "" = none), `slowed_s` for how long a rate has kept
    the connection waiting, both ways together.
    """

    __slots__ = ("attempts", "bytes_in", "bytes_out", "client", "detail", "endpoint", "flag", "policy", "rollout", "route",
                 "slowed_s", "t_end", "t_start", "t_upstream_connected")

    def __init__(self, client: ClientSide, route: RouteLabels | None, t_start: float) -> None:
        self.client = client
        self.route = route
        self.endpoint: EndpointLabels | None = None
        self.attempts = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.flag = ""
        self.detail = ""
        self.rollout = ""
        self.slowed_s = 0.0
        self.policy = ""                    # the rule of a service policy, or the limit, that decided; "" = none was asked
        self.t_start = t_start
        self.t_upstream_connected = 0.0
        self.t_end = 0.0
