Endpoints have priorities and zones (``voltgw: {priority: 1, zone: a}``): lower priorities take what higher ones cannot, zones have
weights, and ``endpoint_selection`` keeps traffic local (LOCAL_ONLY) or prefers that (LOCAL_PREFERRED).
