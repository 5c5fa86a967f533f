``use_http2`` of a health check acts: endpoints are asked in HTTP/2, with ALPN where the cluster uses TLS.
