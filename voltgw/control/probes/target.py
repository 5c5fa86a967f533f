"""One endpoint under one check: when it is probed, what came of it, and whether that makes it healthy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from voltgw.cluster.health import HealthState
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
    """One health check of a cluster, ready to use; times in seconds."""

    name: str
    probe: Probe
    interval_s: float
    timeout_s: float
    rise: int
    fall: int
    jitter_percent: int = 0


class Observer(Protocol):
    """Who hears of results."""

    def probed(self, target: Target, changed: bool, /) -> None:
        """A probe of `target` is over; `changed` tells that its health is another one now."""


class Target:
    """What the prober keeps of one endpoint under one check."""

    __slots__ = (
        "_kept", "address", "check", "member", "new_run", "observer", "port", "removed", "run", "slow", "state", "tls",
    )

    def __init__(
        self, check: Check, hostname: str, address: str, port: int, observer: Observer, member: Any, tls: Any = None,
    ) -> None:
        self.check = check
        self.observer = observer
        self.member = member                # whatever the observer needs to find its own again
        self.address = address
        self.port = port
        self.tls = None if tls is None else (tls, probed_name(tls.config, check, hostname or address))
        self.new_run = check.probe.prepare(hostname, address, port)
        self.state = HealthState(check.rise, check.fall)
        # Plain tuples of plain values: unlike `Result`s, the garbage collector need not look at them again and again.
        self._kept: deque[tuple[float, float, bool, str]] = deque(maxlen=KEPT_RESULTS)
        self.run: ProbeRun | None = None    # the probe under way
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

    def prepare(self, hostname: str, address: str, port: int) -> None:
        """The endpoint is called otherwise now; what is known of it stays."""
        self.address = address
        self.port = port
        self.new_run = self.check.probe.prepare(hostname, address, port)

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
