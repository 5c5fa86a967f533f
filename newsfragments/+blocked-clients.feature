``blocked_clients`` and ``ddos_mitigation_rules`` of an ``http_loadbalancer``, and ``voltgw: {blocking_policies: [...]}`` of a virtual host: whom they name is refused before anything else is asked.
