Where requests take part in tracing, the access log has ``trace_id``, ``span_id`` and ``sampled``, and ``voltgw why`` names the
trace.
