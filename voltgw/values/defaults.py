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
PROXY_HEADER_TIMEOUT_S: Final = 5.0
"""A PROXY header must have come this long after its connection, where an advertise policy requires one."""
UDP_IDLE_TIMEOUT_S: Final = 60.0
"""A UDP session without a datagram either way ends after this (virtual_host.idle_timeout)."""
UDP_NEW_SESSIONS_PER_S: Final = 2000
"""UDP sessions that the clients of one /24 (IPv6: /56) may begin in a second; their other datagrams are dropped."""
UDP_SOURCE_SHARE: Final = 4
"""One address may hold one in so many of the UDP sessions that there may be, unless it is in `gateway.trusted_sources`."""
MAX_RATE_LIMIT_USERS: Final = 100_000
"""Users that a rate limit remembers, some 200 bytes each; beyond it, whoever owes least of some is forgotten."""
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
HTTP2_PING_S: Final = 30.0
"""An HTTP/2 connection to an endpoint on which requests are under way, but nothing came for so long, is sent a PING."""
HTTP2_PING_TIMEOUT_S: Final = 10.0
"""The sign of life must come this long after it was asked for."""
CIRCUIT_BREAKER_LIMIT: Final = 1024
"""Connections, requests and waiting requests each that default_circuit_breaker of an origin_pool allows."""
CIRCUIT_BREAKER_RETRIES: Final = 3
"""Retries at a time that it allows."""
VIEW_ROUTE_TIMEOUT_S: Final = 30.0
"""Longest time for the whole answer on a route of an http_loadbalancer that says none; a route object's is not limited."""
CONNECT_RETRIES: Final = 1
"""Further endpoints tried after a connection failure when no retry policy says otherwise."""
RETRIES: Final = 1
"""Further tries of a retry_policy that names no number (num_retries)."""
RETRY_BASE_S: Final = 0.025
"""Longest first pause before another try; a random part of it is waited, and each next one is twice as long."""
RETRY_MAX_FACTOR: Final = 10
"""The longest such pause is this many times the first one, where a policy names none (back_off.max_interval)."""
MAX_RETRY_AFTER_S: Final = 300.0
"""An endpoint that says Retry-After with more than this is not waited for: its answer is passed on."""
MAX_SHADOWS: Final = 256
"""Copies under way at a time for mirror_policy, over all routes; beside it the other cluster's own limits hold."""
SHADOW_TIMEOUT_S: Final = 30.0
"""Such a copy is given up after this, wherever it stands."""

# -- TLS --------------------------------------------------------------------------------------------------------------
TLS_HELLO_TIMEOUT_S: Final = 5.0
"""A client must have sent its whole ClientHello this long after it connected (promises 3.6)."""
TLS_HANDSHAKE_TIMEOUT_S: Final = 10.0
"""A TLS handshake must be over this long after the connection was made, the hello included."""
MAX_TLS_HELLO_BYTES: Final = 16 * 1024
"""Largest ClientHello; a larger one is refused."""
MAX_TLS_HANDSHAKES: Final = 1024
"""Handshakes under way on one listener; at more, the one that has kept us waiting longest is given up."""
TLS_TICKET_KEY_LIFETIME_S: Final = 12 * 3600.0
"""How long one key encrypts session tickets; for as long again its tickets are still taken."""
TLS_SESSION_LIFETIME_S: Final = 2 * 3600.0
"""A TLS session is resumed at most this long after the full handshake that began it."""

# -- authentication ---------------------------------------------------------------------------------------------------
JWKS_REFRESH_S: Final = 300.0
"""Keys of tokens that stand at a URL are fetched so often (jwt_validation, refresh_interval)."""
JWKS_REFETCH_PAUSE_S: Final = 30.0
"""For a token whose key is not known they are fetched at once, but not more often than this (refetch_pause)."""
JWKS_TIMEOUT_S: Final = 5.0
"""They must be here in this time; until they are, or when they are not, the last good ones serve."""
JWT_LEEWAY_S: Final = 60.0
"""By so much the clocks of those who issue tokens may be wrong (leeway)."""
FORWARD_AUTH_TIMEOUT_S: Final = 1.0
"""Who is asked about a request must have answered in this time; then it is refused, or let pass with ``fail_open``."""

# -- buffers ----------------------------------------------------------------------------------------------------------
BUFFER_HIGH_WATER_BYTES: Final = 64 * 1024
"""A producer is paused when more than this waits to be sent on a stream, either direction."""
SPLICE_PIPE_BYTES: Final = 1024 * 1024
"""A pipe through which the kernel carries the bytes of large TCP flows and long HTTP/1.1 bodies."""
MAX_PIPES: Final = 48
"""So many of them there may be, as a user has only so many from Linux; with none left, bytes are read and written."""
BURST_BYTES: Final = 16 * 1024
"""A relayed connection with a byte rate may send so many bytes at once after a silence, or more (the next row)."""
BURST_SHARE: Final = 0.1
"""This part of what it may send in a second, if that is more."""
MAX_REPLAY_BYTES: Final = 64 * 1024
"""So much of a request is kept while its body streams, to be sent again; beyond it there is no other try."""
MAX_SHADOW_BYTES: Final = 64 * 1024
"""A request of which more than this would have to be kept is not copied (mirror_policy)."""
MAX_SHADOW_ANSWER_BYTES: Final = 1024 * 1024
"""So much of the answer to a copy is read, so that its connection can be used again; a longer one is cut."""
MAX_UNHEARD_BYTES: Final = 64 * 1024
"""An answer that is not passed on, since the request is tried again, is read this far; a longer one is cut."""
MAX_CHUNK_EXTENSION_BYTES: Final = 16 * 1024
"""Chunk extensions of one message altogether; they are dropped, not forwarded (RFC 9112 7.1.1)."""
MAX_TRAILER_BYTES: Final = 8 * 1024
"""Trailer section of one message; trailers are dropped."""

# -- networks ---------------------------------------------------------------------------------------------------------
NETWORK_LOOK_S: Final = 1.0
"""How often it is looked whether a network, its namespace or its interface, is there still and the same."""
VIP_LIFETIME_S: Final = 30.0
"""How long a VIP that was added to an interface stays there when the gateway dies."""
VIP_RENEWAL_S: Final = 10.0
"""How often that life is renewed, and a VIP put back that somebody has removed."""
PACKET_RULES_LOOK_S: Final = 10.0
"""How often it is looked whether packet rules of ours are there still; flushed ones are put back."""
CAPTURE_PORT: Final = 15001
"""The port of ours to which packet rules bring connections for a forward proxy, where the connector names none."""
DNS_SERVER_TIMEOUT_S: Final = 1.5
"""A DNS server of a network that does not answer by then gives way to the next one; all are asked twice."""

# -- metrics ----------------------------------------------------------------------------------------------------------
MAX_METRIC_ROUTES: Final = 5000
"""Routes with time series of their own in ``/metrics``; the others are counted together (gateway.metrics.max_routes)."""
MAX_METRIC_ENDPOINTS: Final = 10_000
"""Endpoints with time series of their own, likewise (gateway.metrics.max_endpoints)."""

# -- traces -----------------------------------------------------------------------------------------------------------
TRACE_SHARE: Final = 0.01
"""Part of the traces that begin here which is recorded (gateway.tracing.sample)."""
TRACES_PER_S: Final = 2000
"""So many requests of the sample are recorded in a second at most, whoever asks for it (gateway.tracing.max_per_second)."""
TRACE_ERRORS_PER_S: Final = 200
"""So many that are not in the sample, for an error or for their time: an outage must not cost what is left."""
TRACE_DELAY_S: Final = 2.0
"""Spans wait so long at most until they are sent (delay_s)."""
MAX_TRACE_BATCH: Final = 512
"""So many spans go in one request; when more wait, it is sent at once."""
MAX_TRACE_QUEUE: Final = 8192
"""Spans that may wait to be sent, some 600 bytes each; further ones are dropped and counted (max_queue)."""
MAX_TRACE_BYTES: Final = 16 * 1024 * 1024
"""Bytes that waiting spans may take, however many they are."""
TRACE_TIMEOUT_S: Final = 10.0
"""A request with spans must be answered in this time (timeout_s)."""
TRACE_RETRY_S: Final = 1.0
"""First pause before such a request is repeated; a random part of it is waited, and each next one is twice as long."""
TRACE_RETRY_MAX_S: Final = 30.0
"""The longest such pause, also where the collector asks for more (Retry-After)."""
TRACE_GIVE_UP_S: Final = 120.0
"""Spans that could not be sent for so long are dropped and counted."""
TRACE_FLUSH_S: Final = 3.0
"""When the gateway stops, spans that wait have this time to be sent."""

# -- process ----------------------------------------------------------------------------------------------------------
RESERVED_FDS: Final = 512
"""Descriptors kept for everything that is not a proxied connection; connections = (nofile - this) / 2."""
OVERLOAD_LOOK_S: Final = 0.5
"""How often it is looked how much memory and how many descriptors are in use (gateway.overload)."""
OVERLOAD_MEMORY_KEEP_ALIVE_SHARE: Final = 0.85
"""From this share of the memory budget on, answers end their connections, and idle ones are closed."""
OVERLOAD_MEMORY_REFUSE_SHARE: Final = 0.92
"""From this share on, new requests are answered 503."""
OVERLOAD_MEMORY_ACCEPT_SHARE: Final = 0.95
"""From this share on, new connections wait in the backlog."""
OVERLOAD_MEMORY_RESET_SHARE: Final = 0.98
"""From this share on, the connections that hold most bytes are cut."""
OVERLOAD_FILES_KEEP_ALIVE_SHARE: Final = 0.9
"""The same for descriptors. A client may need two: at their usual limit clients use 95 % of 10,000, 99 % of 50,000."""
OVERLOAD_FILES_ACCEPT_SHARE: Final = 0.98
"""From this share of the descriptors on, new connections wait in the backlog."""
OVERLOAD_FILES_REFUSE_SHARE: Final = 0.99
"""From this share of the descriptors on, requests of connections that are open are answered 503."""
OVERLOAD_RETRY_AFTER_S: Final = 2.0
"""When clients that are refused for overload are told to come again."""
ADMIN_FDS: Final = 16
"""Descriptors that only the admin interface may take, so that it answers when the others are gone."""
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
DNS_TTL_S: Final = 30.0
"""How long answers of a delegated zone may be remembered."""
PUBLISH_INTERVAL_S: Final = 60.0
"""How often registries in which names are published are looked at, and repaired."""
PUBLISH_CLOUD_INTERVAL_S: Final = 300.0
"""The same for the APIs of clouds, which count requests."""
PUBLISH_HOLD_DOWN_S: Final = 30.0
"""A published name changes at most so often with the health of its service."""
DNS_RESPONSES_PER_SECOND: Final = 200
"""Answers over UDP to one network of clients (/24, /56) that show no cookie."""
DNS_SLIP: Final = 2
"""Of the answers beyond that, every so many is truncated, and the rest is not sent."""
MAX_JOURNAL_RECORDS: Final = 4096
"""Records of past requests that ``voltgw why`` can tell of, errors and samples each; the oldest are forgotten first."""
MAX_JOURNAL_BYTES: Final = 4 * 1024 * 1024
"""Memory that those records may take, errors and samples each."""
ADMIN_ADDRESS: Final = "127.0.0.1"
"""Where the admin interface listens."""
ADMIN_PORT: Final = 9901
"""Its port."""
