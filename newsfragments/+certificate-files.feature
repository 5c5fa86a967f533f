Certificates, keys and revocation lists behind ``file:`` URLs are taken when they are replaced; bad ones are refused and the old ones serve on. Expiry stands in metrics and ``/listeners``.
