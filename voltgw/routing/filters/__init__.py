"""Filters that a route runs over a request or a response, one kind a file."""
