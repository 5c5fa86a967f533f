``voltgw: {adaptive_concurrency: {}}`` of a cluster lets the limit of requests under way follow what answers take (gradient2).
``least_request`` takes ``choice_count``, and ``least_active`` and ``random`` of load balancers act.
