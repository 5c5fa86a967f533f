"""Kubernetes: services of a cluster, found by lists and watches of its API."""
