The PROXY protocol, versions 1 and 2: required from trusted proxies (``voltgw: {proxy_protocol: ...}`` of an advertise policy), and
sent to endpoints of relayed connections (``proxy_protocol_v1``, ``proxy_protocol_v2`` of clusters and origin pools).
