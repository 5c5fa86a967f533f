The PROXY protocol, versions 1 and 2: required from trusted proxies (``voltgw: {proxy_protocol: ...}`` of an advertise policy), and
sent to endpoints (``proxy_protocol_v1``, ``proxy_protocol_v2`` of clusters and origin pools), of HTTP and of relayed connections alike. TLVs are passed on, and
stand in the access log (``proxy_tlvs``). HTTP connections that tell of a client serve it alone.
UDP listeners read headers of version 2 in datagrams, and UDP endpoints are told in the same way (``first_datagram_only`` for those that want only one a session).
Health checks of clusters with ``proxy_protocol_v1`` or ``proxy_protocol_v2`` begin with a header, too.
