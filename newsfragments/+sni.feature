TLS that passes through by server name (``TCP_PROXY_WITH_SNI``, ``protocol: sni``), also beside HTTPS hosts on one port.
