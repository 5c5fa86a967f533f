"""Certificates that are fetched and renewed by ACME (RFC 8555): client, state on disk, schedule, challenges."""
