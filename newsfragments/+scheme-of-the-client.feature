Redirects and ``%SCHEME%`` go by ``X-Forwarded-Proto`` where a trusted proxy in front ends TLS.
