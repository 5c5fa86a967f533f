"""TLS on our streams: contexts from values, handshakes under bounds, and a stream that encrypts on the socket itself."""
