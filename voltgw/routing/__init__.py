"""Which virtual host, which route, which answer: pure decisions over a request head."""
