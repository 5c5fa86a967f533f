"""The members of a cluster at one moment: plain values, so that they can cross a process or a site boundary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from voltgw.values.address import where
from voltgw.values.network import HOST, Network

Health = Literal["healthy", "unhealthy", "unknown"]

HEALTHY: Final = "healthy"
UNHEALTHY: Final = "unhealthy"
UNKNOWN: Final = "unknown"


class EndpointKey(NamedTuple):
    """What makes an endpoint the same one over time; connections and counts follow it, not its place in a list.

    `cluster` is ``namespace/name``, `protocol` ``TCP`` or ``UDP``, `site` "" for our own, `address` an IP literal
    or the path of a Unix socket (with port 0).
    """

    cluster: str
    protocol: str
    site: str
    address: str
    port: int
    network: Network = HOST                 # where the address means it: in another one it is somebody else's

    def __str__(self) -> str:
        return where(self.address, self.port) + (f"@{self.network}" if self.network.apart else "")


@dataclass(frozen=True, slots=True)
class EndpointState:
    """One member as discovery and health see it.

    `ready` is the decision (may it get traffic), `health` what the probes say, `reason` one sentence that explains the
    decision. `hostname` is the DNS name that led to the address, "" if none did. `health_port` is where probes go.
    `since` is when it came or came back (monotonic seconds), 0.0 = before anybody looked: such a one needs no slow start.
    `priority` 0 is the highest; `zone` "" = unknown; `local` tells that it is where the gateway is; `panic` that it may be used
    although it is not well.
    """

    key: EndpointKey
    weight: int = 1
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    hostname: str = ""
    health_port: int = 0
    ready: bool = True
    health: Health = UNKNOWN
    reason: str = ""
    since: float = 0.0
    priority: int = 0
    zone: str = ""
    local: bool = True
    panic: bool = False


@dataclass(frozen=True, slots=True)
class EndpointSet:
    """All members of a cluster, in the order of its feeds; `version` only grows."""

    version: int
    all: tuple[EndpointState, ...] = ()

    @property
    def ready(self) -> tuple[EndpointState, ...]:
        """Those that may get traffic."""
        return tuple(state for state in self.all if state.ready)
