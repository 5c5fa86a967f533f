``voltgw: {per_packet_load_balancing: true}`` and ``enable_per_packet_load_balancing``: each datagram has its own choice of an endpoint.
