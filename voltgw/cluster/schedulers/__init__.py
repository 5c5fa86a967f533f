"""The algorithms that pick an endpoint: one file each, each with a `FACTORY`."""
