``gateway.max_connections_per_source`` bounds the connections of one client address; it was a quarter of all before, and is without it.
