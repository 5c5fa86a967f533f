``gateway: {tracing: http://127.0.0.1:4318/v1/traces}`` has requests take part in traces: W3C Trace Context and B3 are read and
written, a share of the traces that begin here and every request with an error become spans (one of the request, one of each try
at an endpoint, those of connections and TLS handshakes below them), and these are sent to a collector by OTLP/HTTP, in batches
beside the traffic. Relayed connections and UDP sessions are traces of their own. Virtual hosts, route objects and rules have
their own terms under ``voltgw: {tracing: ...}``; ``voltgw
explain`` says what would be decided.
