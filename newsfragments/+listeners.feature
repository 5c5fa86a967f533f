Listeners on addresses that the host does not have yet (``freebind``), on one network interface (``device``), and with a limit of
connections (``max_connections``) and with TCP options of their own (``tcp``), all in ``voltgw`` of an advertise policy; ``hash_policy: source_ip`` counts for TCP.
