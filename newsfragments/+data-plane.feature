``web_socket_config.idle_timeout`` and ``max_connect_attempts``, ``cookies_to_modify``, ``priority: HIGH`` of routes and circuit
breakers, and ``header_transformation_type`` that preserves names act now. Clients of a TCP proxy wait for a connection when its
cluster has its most (``connection_limit``), for as long as an endpoint may take to accept, instead of being reset at once.
