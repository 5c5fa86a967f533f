Clusters with ``tls_parameters`` are reached by TLS, health checks included: verified by CA and name, with a certificate of our own if there is one; short-form origins may be ``https://``.
