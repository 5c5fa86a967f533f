``http_loadbalancer``, ``tcp_loadbalancer``, ``udp_loadbalancer`` and ``origin_pool`` objects are lowered to the kinds that serve, under
the names that real route objects refer to; ``voltgw config show --effective`` prints the result with the line of each value.
