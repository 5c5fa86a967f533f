"""Every default of the gateway in one place, with its unit in its name; the docs page of defaults is made from here.

Each constant is followed by one string that says what it bounds and why it is what it is; `voltgw.cli` and the docs read them.
"""

from __future__ import annotations

from typing import Final

# -- downstream: the client's side ------------------------------------------------------------------------------------
REQUEST_HEAD_TIMEOUT_S: Final = 10.0
"""The client must finish a request head this long after its first byte (slow-loris, promises 3.5)."""
KEEP_ALIVE_TIMEOUT_S: Final = 120.0
"""A client connection without a request is closed after this (virtual_host.connection_idle_timeout)."""
BODY_IDLE_TIMEOUT_S: Final = 300.0
"""Longest pause between two body bytes, either way."""
TUNNEL_IDLE_TIMEOUT_S: Final = 3600.0
"""A relayed (TCP) or upgraded connection without a byte either way is closed after this."""
LINGER_TIMEOUT_S: Final = 5.0
"""How long what a peer still sends is read and thrown away before its connection closes, so that it can read the answer."""
LINGER_BYTES: Final = 16 * 1024 * 1024
"""How much of such a rest is read before the connection is cut; many clients read no answer before they have sent all."""
MAX_REQUEST_HEAD_BYTES: Final = 60 * 1024
"""Largest request head (virtual_host.max_request_header_size raises it to at most 96 KiB); larger is answered 431."""
MAX_REQUEST_FIELDS: Final = 128
"""Most field lines in one request head; more is answered 431."""
MAX_PIPELINED_BYTES: Final = 64 * 1024
"""What a client may send ahead of its answers before we stop reading from it."""

CLOSE_TIMEOUT_S: Final = 30.0
"""A connection that is closing with bytes unsent, and whose peer takes none of them for this long, is cut."""

# -- upstream: the endpoint's side ------------------------------------------------------------------------------------
CONNECT_TIMEOUT_S: Final = 2.0
"""An endpoint must accept a connection in this time (cluster.connection_timeout)."""
RESPONSE_HEAD_TIMEOUT_S: Final = 30.0
"""An endpoint must begin its answer this long after the request was sent (virtual_host.idle_timeout replaces it)."""
UPSTREAM_IDLE_TIMEOUT_S: Final = 300.0
"""A pooled connection without a request is closed after this (cluster.http_idle_timeout)."""
MAX_RESPONSE_HEAD_BYTES: Final = 96 * 1024
"""Largest response head; a larger one is answered 502."""
MAX_RESPONSE_FIELDS: Final = 256
"""Most field lines in one response head."""
MAX_INTERIM_RESPONSES: Final = 16
"""Most 1xx answers to one request; more is answered 502."""
MAX_PENDING_REQUESTS: Final = 1024
"""Requests of one cluster that may wait for a connection (circuit_breaker.pending_requests)."""
CIRCUIT_BREAKER_LIMIT: Final = 1024
"""Connections, requests and waiting requests each that default_circuit_breaker of an origin_pool allows."""
CIRCUIT_BREAKER_RETRIES: Final = 3
"""Retries at a time that it allows."""
VIEW_ROUTE_TIMEOUT_S: Final = 30.0
"""Longest time for the whole answer on a route of an http_loadbalancer that says none; a route object's is not limited."""
CONNECT_RETRIES: Final = 1
"""Further endpoints tried after a connection failure when no retry policy says otherwise."""

# -- buffers ----------------------------------------------------------------------------------------------------------
BUFFER_HIGH_WATER_BYTES: Final = 64 * 1024
"""A producer is paused when more than this waits to be sent on a stream, either direction."""
MAX_CHUNK_EXTENSION_BYTES: Final = 16 * 1024
"""Chunk extensions of one message altogether; they are dropped, not forwarded (RFC 9112 7.1.1)."""
MAX_TRAILER_BYTES: Final = 8 * 1024
"""Trailer section of one message; trailers are dropped."""

# -- process ----------------------------------------------------------------------------------------------------------
RESERVED_FDS: Final = 512
"""Descriptors kept for everything that is not a proxied connection; connections = (nofile - this) / 2."""
DRAIN_TIMEOUT_S: Final = 30.0
"""SIGTERM: connections that are not done by then are closed."""
HEALTH_INTERVAL_S: Final = 5.0
"""Between two probes, for a short-form health check."""
HEALTH_TIMEOUT_S: Final = 2.0
"""For one probe, for a short-form health check."""
HEALTHY_THRESHOLD: Final = 2
"""Successes in a row that bring an endpoint back, for a short-form health check."""
UNHEALTHY_THRESHOLD: Final = 3
"""Failures in a row that take an endpoint out, for a short-form health check."""
DNS_REFRESH_S: Final = 60.0
"""How often the name of an endpoint is looked up when nothing else is said."""
MAX_JOURNAL_RECORDS: Final = 4096
"""Records of past requests that ``voltgw why`` can tell of, errors and samples each; the oldest are forgotten first."""
MAX_JOURNAL_BYTES: Final = 4 * 1024 * 1024
"""Memory that those records may take, errors and samples each."""
ADMIN_ADDRESS: Final = "127.0.0.1"
"""Where the admin interface listens."""
ADMIN_PORT: Final = 9901
"""Its port."""
