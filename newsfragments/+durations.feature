Metrics say how long the endpoints of a cluster take (``voltgw_cluster_request_duration_seconds``, and with ``gateway: {metrics:
{endpoint_durations: true}}`` each endpoint), how long turns of the event loop are and how late timers run. Buckets have exemplars
with trace ids in OpenMetrics. ``max_routes`` and ``max_endpoints`` bound how many time series there are.
