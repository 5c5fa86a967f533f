"""Who may: service policies, compiled once per configuration. It knows nothing of sockets; a request only reads."""
