``kill -USR2`` starts the gateway anew (a new version, another interpreter) and hands all its sockets over: no client is refused or
reset (``gateway.restart_socket``, ``--takeover``). ``gateway.drain_lead`` has load balancers notice a drain before it begins.
