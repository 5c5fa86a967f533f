UDP load balancers (``UDP_PROXY``, ``udp_loadbalancer``, ``protocol: udp``): sessions that keep their endpoint, with bounds against
invented sources, a line in the access log for each, and metrics.
