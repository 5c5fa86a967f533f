Certificates fetch and renew themselves by ACME (RFC 8555): ``tls: {auto_cert: true}``, ``https_auto_cert``, ``tls_tcp_auto_cert``, with
``gateway.acme`` for the account; challenges http-01 and tls-alpn-01. ``/certificates`` shows how each one stands.
