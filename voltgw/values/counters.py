"""Plain integers where things happen; `observe.metrics` reads them when Prometheus asks.

Nothing here is atomic or locked: one reactor thread writes, the same thread reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

#: Upper bounds of the latency buckets in microseconds: powers of two from 64 us to 67 s, then +Inf.
LATENCY_BOUNDS_US: Final = tuple(1 << n for n in range(6, 27))
#: What `status[n]` of all counters counts: n00; 0 is what is none of these (nothing was sent, or a relayed connection).
CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
_FIRST: Final = 6
_LAST: Final = len(LATENCY_BOUNDS_US)


class Exemplar(NamedTuple):
    """One value (seconds) of a bucket, and the trace that shows what was behind it."""

    trace_id: str
    value: float
    wall: float


class Histogram:
    """Latencies in log-2 buckets: bucket *i* counts values up to ``LATENCY_BOUNDS_US[i]``, the last one the rest.

    Values are cut to whole microseconds, and one of exactly a bound counts in the bucket above it. Of each bucket the latest
    value that belongs to a recorded trace is kept, as its exemplar.
    """

    __slots__ = ("_exemplars", "buckets", "sum_s")

    def __init__(self) -> None:
        self.buckets = [0] * (_LAST + 1)
        self.sum_s = 0.0
        self._exemplars: dict[int, Exemplar] | None = None

    def observe(self, seconds: float) -> None:
        """Count one value (seconds, not negative)."""
        index = (int(seconds * 1e6) >> _FIRST).bit_length()
        self.buckets[index if index < _LAST else _LAST] += 1
        self.sum_s += seconds

    def add(self, other: Histogram) -> None:
        """What another one has counted as well; exemplars are not taken over."""
        self.buckets = [one + more for one, more in zip(self.buckets, other.buckets, strict=True)]
        self.sum_s += other.sum_s

    def exemplify(self, seconds: float, trace_id: str, wall: float) -> None:
        """A value that was counted belongs to this trace; `wall` is when it was, seconds since the epoch."""
        index = (int(seconds * 1e6) >> _FIRST).bit_length()
        if self._exemplars is None:
            self._exemplars = {}
        self._exemplars[index if index < _LAST else _LAST] = Exemplar(trace_id, seconds, wall)

    @property
    def exemplars(self) -> Mapping[int, Exemplar]:
        """The exemplars by the index of their bucket."""
        return self._exemplars or {}


class RouteCounters:
    """What happened on one route of one virtual host; `status[n]` counts answers of class n00 (0: none was sent)."""

    __slots__ = ("bytes_in", "bytes_out", "latency", "local_replies", "status")

    def __init__(self) -> None:
        self.status = [0] * 6
        self.bytes_in = 0           # request bytes from the client, heads included
        self.bytes_out = 0          # response bytes to the client, heads included
        self.local_replies: dict[str, int] = {}     # by flag
        self.latency = Histogram()

    def add(self, other: RouteCounters) -> None:
        """What another route has counted as well."""
        self.status = [one + more for one, more in zip(self.status, other.status, strict=True)]
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        for flag, count in other.local_replies.items():
            self.local_replies[flag] = self.local_replies.get(flag, 0) + count
        self.latency.add(other.latency)


class ClusterCounters:
    """What one cluster was asked to do; `status[n]` counts the endpoints' answers, not ours.

    `probes` counts by health check what its probes have found: (passed, failed).
    """

    __slots__ = ("connect_failures", "connects", "latency", "no_endpoint", "overflow", "probes", "requests", "resets",
                 "retries", "status", "timeouts")

    def __init__(self) -> None:
        self.requests = 0           # exchanges (HTTP) or connections (TCP) that picked an endpoint
        self.status = [0] * 6
        self.connects = 0
        self.connect_failures = 0
        self.latency = Histogram()  # of HTTP answers: from the first byte to the endpoint to its last one
        self.no_endpoint = 0
        self.overflow = 0
        self.probes: dict[str, list[int]] = {}
        self.resets = 0             # connections that ended before the answer was complete
        self.retries = 0
        self.timeouts = 0


class ListenerCounters:
    """One listener; `paused_*` count how often accepting stopped. A connection's bytes are added when it ends."""

    __slots__ = (
        "accepted",
        "bad_requests",
        "bytes_in",
        "bytes_out",
        "datagrams_dropped",
        "datagrams_in",
        "datagrams_out",
        "open",
        "paced",
        "paused_fds",
        "paused_limit",
        "paused_overload",
        "paused_rate",
        "proxy_refused",
        "refused_source",
        "sessions_evicted",
        "sessions_moved",
        "timeouts",
        "tls_crowded",
        "tls_failures",
        "tls_handshakes",
        "tls_refused",
        "tls_resumed",
        "tls_timeouts",
        "tls_versions",
    )

    def __init__(self) -> None:
        self.accepted = 0
        self.open = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.bad_requests = 0
        self.proxy_refused = 0      # connections without the PROXY header that must come first, or from a proxy we do not trust
        self.datagrams_in = 0       # UDP alone, as these four; bytes_in and bytes_out of UDP count at once
        self.datagrams_out = 0
        self.datagrams_dropped: dict[str, int] = {}     # by reason
        self.sessions_evicted = 0   # sessions without an answer that made room for new ones
        self.sessions_moved = 0     # whose client has come from another address since
        self.refused_source = 0     # connections closed at once: their address held its share already
        self.paused_limit = 0       # at the connection limit
        self.paused_overload = 0    # because the process runs short of memory or descriptors
        self.paused_rate = 0        # for new connections that came faster than they may
        self.paced = 0              # times that a relayed connection was not read for its byte rate
        self.paused_fds = 0         # EMFILE, ENFILE, ENOBUFS or ENOMEM from accept
        self.timeouts = 0
        self.tls_handshakes = 0     # finished ones
        self.tls_resumed = 0        # those of them that resumed a session
        self.tls_failures = 0       # handshakes that began and came to nothing, those out of time apart
        self.tls_refused = 0        # connections without a hello that we accept, or that nobody here answers
        self.tls_timeouts = 0       # the hello, or the handshake, took too long
        self.tls_crowded = 0        # given up to make room: too many others were under way
        self.tls_versions: dict[str, int] = {}      # finished handshakes by protocol version
