"""One endpoint under one check: when it is probed, what came of it, and whether that makes it healthy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from voltgw.cluster.health import HealthState
from voltgw.values.network import HOST, Network
from voltgw.values.tls import SniSource

if TYPE_CHECKING:
    from voltgw.control.probes.run import ProbeRun
    from voltgw.values.tls import ClientTls

#: Results that are kept of each target, for the admin page.
KEPT_RESULTS: Final = 8


class Result(NamedTuple):
    """One finished probe: when it ended (monotonic), how long it took, whether it passed, and why (not)."""

    at: float
    took_s: float
    ok: bool
    reason: str


class Probe(Protocol):
    """A kind of probe with its options."""

    def prepare(self, hostname: str, address: str, port: int, /) -> Callable[[], ProbeRun]:
        """Do once for an endpoint what need not be done for every probe; the result starts a fresh run."""


@dataclass(frozen=True, slots=True)
class Check:
    """One health check of a cluster, ready to use; times in seconds.

    `edge_interval_s` holds while results disagree with the present health, `unhealthy_interval_s` for endpoints that are out;
    0.0 = as `interval_s`. With `keep` a probe that can leaves its connection to the next one.
    """

    name: str
    probe: Probe
    interval_s: float
    timeout_s: float
    rise: int
    fall: int
    jitter_percent: int = 0
    edge_interval_s: float = 0.0
    unhealthy_interval_s: float = 0.0
    keep: bool = False

    def pause_s(self, state: HealthState) -> float:
        """The interval that follows a result of an endpoint in this state."""
        if state.streak:
            return self.edge_interval_s or self.interval_s
        if state.healthy is False:
            return self.unhealthy_interval_s or self.interval_s
        return self.interval_s


class Kept(Protocol):
    """A connection that waits for the next probe."""

    def close(self) -> None:
        """There is none."""


class Observer(Protocol):
    """Who hears of results."""

    def probed(self, target: Target, changed: bool, /) -> None:
        """A probe of `target` is over; `changed` tells that its health is another one now."""


class Target:
    """What the prober keeps of one endpoint under one check."""

    __slots__ = (
        "_kept", "address", "check", "connection", "first", "member", "network", "new_run", "observer", "port", "removed",
        "run", "slow", "state", "tls",
    )

    def __init__(
        self, check: Check, hostname: str, address: str, port: int, observer: Observer, member: Any, tls: Any = None,
        network: Network = HOST, first: bytes = b"",
    ) -> None:
        self.first = first                  # what every connection begins with, and every datagram: a PROXY header of our own
        self.check = check
        self.observer = observer
        self.member = member                # whatever the observer needs to find its own again
        self.address = address
        self.network = network              # in which it is probed
        self.port = port
        self.tls = None if tls is None else (tls, probed_name(tls.config, check, hostname or address))
        self.new_run = check.probe.prepare(hostname, address, port)
        self.state = HealthState(check.rise, check.fall)
        # Plain tuples of plain values: unlike `Result`s, the garbage collector need not look at them again and again.
        self._kept: deque[tuple[float, float, bool, str]] = deque(maxlen=KEPT_RESULTS)
        self.run: ProbeRun | None = None    # the probe under way
        self.connection: Kept | None = None # of the last one, for the next
        self.slow = False                   # the last probe ran into its timeout
        self.removed = False

    def __repr__(self) -> str:
        return f"<Target {self.address}:{self.port} {self.check.name}>"

    @property
    def results(self) -> list[Result]:
        """The last results, oldest first."""
        return [Result(*kept) for kept in self._kept]

    @property
    def unprobed(self) -> bool:
        """Whether there was no result yet."""
        return not self._kept

    @property
    def last_reason(self) -> str:
        """What the last probe said, "" before the first one."""
        return self._kept[-1][3] if self._kept else ""

    @property
    def passed(self) -> bool:
        """Whether the last probe passed; not before the first one."""
        return self._kept[-1][2]

    def prepare(self, hostname: str, address: str, port: int) -> None:
        """The endpoint is called otherwise now; what is known of it stays."""
        self.let_go()
        self.address = address
        self.port = port
        self.new_run = self.check.probe.prepare(hostname, address, port)

    def let_go(self) -> None:
        """Keep no connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def record(self, now: float, took_s: float, ok: bool, reason: str, at_once: bool) -> bool:
        """Take in one result; True when the health is another one now."""
        self._kept.append((now, took_s, ok, reason))
        return self.state.observe(ok, at_once=at_once)


def probed_name(config: ClientTls, check: Check, own: str) -> str:
    """The server name of probes: the cluster's, or their Host where it is that of requests; else the endpoint's `own`."""
    if config.sni is SniSource.FIXED:
        return config.server_name
    host: str = getattr(check.probe, "host_header", None) or ""
    if config.sni is SniSource.HOST and host:
        return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0].lower()
    return own
