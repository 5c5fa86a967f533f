"""What the gateway tells of itself beside the counters of its objects (`voltgw.values.telemetry`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltgw.values.defaults import MAX_METRIC_ENDPOINTS, MAX_METRIC_ROUTES
from voltgw.values.telemetry import Telemetry

if TYPE_CHECKING:
    from voltgw.app.garbage import Garbage
    from voltgw.app.tracing import Tracer
    from voltgw.config.model import Config
    from voltgw.net.loop import Loop


def telemetry(config: Config, loop: Loop, tracer: Tracer, garbage: Garbage | None) -> Telemetry:
    """It, as it is now; `garbage` None = nobody looks after the cycle collector of this process."""
    said = config.gateway.metrics
    return Telemetry(
        loop.turn_times, loop.clock.lateness, tracer.numbers(), (said and said.max_routes) or MAX_METRIC_ROUTES,
        (said and said.max_endpoints) or MAX_METRIC_ENDPOINTS,
        () if garbage is None else garbage.pauses, 0 if garbage is None else garbage.found)
