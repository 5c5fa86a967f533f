"""Faults on purpose: a share of the requests is held back, a share is answered with an error (`voltgw: {fault: …}`).

Whether a request is hit follows from its id, which is as good as random: so no source of chance is needed, and what happened to
a request of the past can be told again. Delay and abort are two filters; the data plane waits between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voltgw.routing.hashing import fraction
from voltgw.routing.match import header_condition
from voltgw.routing.problems import at
from voltgw.values.reply import Delay, Reply

if TYPE_CHECKING:
    from voltgw.config.objects.extensions import FaultType
    from voltgw.interfaces import RequestFilter
    from voltgw.routing.conditions import Test
    from voltgw.values.exchange import Exchange

#: The flags in the access log (Envoy's).
DELAYED: Final = "DI"
ABORTED: Final = "FI"


def fault(*levels: FaultType | None) -> tuple[RequestFilter, ...]:
    """The filters of a route, the delay first; of the levels (rule, route object, virtual host) the first that says something.

    Raises ValueError.
    """
    spec = next((level for level in levels if level is not None), None)
    if spec is None or spec.disabled:
        return ()
    condition: Test | None = None
    if spec.header is not None:
        with at("header"):
            condition = header_condition(spec.header).test
    filters: list[RequestFilter] = []
    if spec.delay is not None and spec.delay.duration_s > 0:
        filters.append(_delay(spec.delay.duration_s, _share(spec.delay.percent), condition))
    if spec.abort is not None:
        filters.append(_abort(spec.abort.status, _share(spec.abort.percent), condition))
    return tuple(filters)


def _share(percent: float | None) -> float:
    return 1.0 if percent is None else percent / 100


def _delay(seconds: float, share: float, condition: Test | None) -> RequestFilter:
    delay = Delay(seconds)

    def hold(exchange: Exchange) -> Delay | None:
        if condition is not None and not condition.holds(exchange.request, exchange.client.local_port):
            return None
        if fraction(b"delay " + exchange.request_id) >= share:
            return None
        exchange.flag = DELAYED
        return delay

    return hold


def _abort(status: int, share: float, condition: Test | None) -> RequestFilter:
    def refuse(exchange: Exchange) -> Reply | None:
        if condition is not None and not condition.holds(exchange.request, exchange.client.local_port):
            return None
        if fraction(b"abort " + exchange.request_id) >= share:
            return None
        return Reply(status, flag=ABORTED, detail="fault_filter_abort", negotiate=True)

    return refuse
