The admin interface takes tokens and certificates of clients, each with a role, and other users over its Unix socket; with TLS it
may stand on any address. Every change is an event that says who has asked for it.
