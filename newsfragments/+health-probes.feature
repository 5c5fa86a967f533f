Health checks by gRPC (``grpc.health.v1.Health/Check``), by UDP (an answer, silence, or word by ICMP that nobody is there) and by DNS questions: ``voltgw:
{grpc_health_check: …}``, ``udp_health_check`` and ``dns_query_health_check`` in a ``healthcheck``; ``udp_icmp_health_check`` acts, too. Other intervals
while results disagree with the health or an endpoint is out (``edge_interval``, ``unhealthy_interval``), and connections that probes by HTTP and gRPC keep for the next one
(``keep_connection``). A page tells of every field and of the words of results.
