"""What the gateway says of itself: access log, metrics, admin interface, process log."""
