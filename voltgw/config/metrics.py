"""``gateway.metrics``: how much ``/metrics`` says."""

from __future__ import annotations

from voltgw.config.schema import field, message
from voltgw.config.types import Flag, Number
from voltgw.values import defaults


@message
class Metrics:
    """How much ``/metrics`` says, so that its size has a bound however large the configuration is."""

    endpoint_durations: bool = field(
        Flag(), "The duration of answers for each endpoint, too, and not only for its cluster: 24 more time series each.")
    max_routes: int | None = field(
        Number(1), "Routes that have time series of their own, in the order in which they stand; the others are one, "
        "``_other``.", absent=str(defaults.MAX_METRIC_ROUTES))
    max_endpoints: int | None = field(
        Number(1), "Endpoints that have time series of their own; the others of each cluster are one, ``_other``.",
        absent=str(defaults.MAX_METRIC_ENDPOINTS))
