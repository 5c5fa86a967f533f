Where requests take part in tracing, the access log has ``trace_id``, ``span_id`` and ``sampled``; ``voltgw why`` names the trace,
and finds a request by it.
