``voltgw: {affinity: endpoint_cookie}`` of a cluster keeps a client at the endpoint that it was given first, by a signed cookie.
``max_connection_age`` ends pooled connections by their age, and ``retry_budget`` says how many retries may be under way.
