HTTP/2 on either side of the gateway: clients by ALPN, or without TLS where ``http_protocol_options`` enables it; endpoints with
``http2_options`` or, by their own choice, ``auto_http_config``. gRPC passes with trailers, deadlines and retries by status, WebSocket
by extended CONNECT; floods of any kind of frame end their connection, and ``voltgw_http2_*`` count it all.
