"""A live endpoint: what the data plane counts on and takes its connections from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from voltgw.cluster.outlier import ALL_ANSWERS, NO_ANSWERS

if TYPE_CHECKING:
    from voltgw.cluster.ewma import PeakEwma
    from voltgw.cluster.outlier import Watch
    from voltgw.cluster.snapshot import EndpointKey, EndpointState, Health
    from voltgw.interfaces import PoolLike
    from voltgw.values.counters import Histogram


def host_field(hostname: str, address: str, port: int) -> bytes:
    """What Host says when it shall name the endpoint: the DNS name alone, as the object model has it.

    Without a name it is the address, in brackets if it is IPv6, with the port unless that is 80 (RFC 9110 7.2).
    """
    if hostname:
        return hostname.encode("idna" if not hostname.isascii() else "ascii")
    if address.startswith("/"):
        return b"localhost"                 # a Unix socket has no name that a Host field could hold
    host = f"[{address}]" if ":" in address else address
    return (host if port == 80 else f"{host}:{port}").encode("ascii")


class Endpoint:
    """One member of a cluster while it lives; `Cluster.install` makes, updates and retires it.

    `ready` may turn False at any moment and a scheduler then passes over it. `gone` means that it has left the cluster:
    what is under way on it may finish. `status[n]` counts its answers of class n00 (0: none of these). Whoever has an answer of
    it whose status is at least `heeds` calls `heard`; where nobody judges by answers that is never the case.
    """

    __slots__ = (
        "active", "adapts", "address", "authority", "cluster", "connect_failures", "connections", "failed_in_a_row", "gone",
        "health", "heeds", "hostname", "key", "labels", "latency", "network", "options", "pace", "pool", "port",
        "ready", "reason", "requests", "shared_times", "site", "state", "status", "times", "token", "watch", "weight",
    )

    def __init__(self, state: EndpointState, pool: PoolLike) -> None:
        key = state.key
        self.key: EndpointKey = key
        self.cluster = key.cluster
        self.site = key.site
        self.address = key.address
        self.port = key.port
        self.network = key.network          # in which it is reached
        self.pool = pool
        self.options: tuple[tuple[int, int, int | bytes], ...] = ()     # of sockets to it (level, name, value)
        self.connections = 0                # open now, idle ones included
        self.active = 0                     # exchanges or relayed connections under way
        self.requests = 0
        self.status = [0] * 6
        self.times: Histogram | None = None         # of its answers, where somebody wants them apart
        self.shared_times: Histogram | None = None  # the same of its whole cluster
        self.connect_failures = 0
        self.token = b""                    # what a cookie of affinity says for it; b"" = the cluster has none
        self.failed_in_a_row = 0            # connect failures since the last connection; whoever connects sets it to 0
        self.heeds = NO_ANSWERS
        self.watch: Watch | None = None     # outlier detection's, where the cluster has that
        self.latency: PeakEwma | None = None    # the scheduler's, if it picks by latency
        self.adapts: Callable[[float], None] | None = None      # the cluster's, if its limit follows the time of answers
        self.gone = False
        self.pace = 1.0                     # what its weight counts for while it starts slowly
        self.update(state)

    def __repr__(self) -> str:
        return f"<Endpoint {self.cluster} {self.key}{'' if self.ready else ' not ready'}>"

    def update(self, state: EndpointState) -> None:
        """Take over what membership says now; the key is the same."""
        self.state = state
        self.weight: int = state.weight
        self.labels: Mapping[str, str] = state.labels
        self.hostname: str = state.hostname
        self.authority: bytes = host_field(state.hostname, self.address, self.port)
        self.health: Health = state.health
        self.ready: bool = state.ready
        self.reason: str = state.reason

    # -- what became of tries ----------------------------------------------------------------------------------------------

    def heed(self, status: int) -> None:
        """Outlier detection wants to hear of answers from this status on; who picks by latency, of all."""
        self.heeds = status if self.latency is None and self.adapts is None else ALL_ANSWERS

    def heard(self, status: int, took_s: float, now: float) -> None:
        """The head of an answer came, `took_s` after the request was sent."""
        if self.watch is not None:
            self.watch.answered(status)
        if self.latency is not None:
            self.latency.observe(took_s, status, now)
        if self.adapts is not None and status < 500:
            self.adapts(took_s)

    def accepted(self, final: bool = False) -> None:
        """It took a connection; `final`: of a relay, of which nothing else will be heard."""
        self.failed_in_a_row = 0
        if self.watch is not None:
            self.watch.accepted(final)

    def silent(self, why: str, now: float) -> None:
        """A try ended without an answer, in words why: not connected, connection lost, too late."""
        if self.watch is not None:
            self.watch.no_answer(why)
        if self.latency is not None:
            self.latency.failed(now)

    def retire(self, reason: str) -> None:
        """It has left the cluster: no more picks; its idle connections close now, the busy ones as they come back."""
        self.ready = False
        self.gone = True
        self.reason = reason
        self.pool.drain()
