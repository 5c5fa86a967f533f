"""What is counted while a simulation runs: exchanges, and a time line of what happened and why."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from voltgw.control.events import Events
from voltgw.values.address import where

if TYPE_CHECKING:
    from voltgw.app.simulation.world import World
    from voltgw.values.exchange import Exchange

#: Events that are kept; of the others only the number.
MOST_EVENTS: Final = 100_000
#: An overflow is over when nothing was refused for so long, in seconds.
_QUIET_S: Final = 1.0
#: Who is asked when no cluster is.
NO_CLUSTER: Final = "-"


class Moment(NamedTuple):
    """One event: `at_s` is since the scenario's beginning, negative before it; `cluster` and `endpoint` may be ""."""

    at_s: float
    cluster: str
    endpoint: str
    state: str
    reason: str


class TimeLine:
    """Every event, in order."""

    def __init__(self, world: World) -> None:
        self.moments: list[Moment] = []
        self.left_out = 0
        self.zero = world.now
        self._world = world

    def add(self, cluster: str, endpoint: str, state: str, reason: str) -> None:
        """Something happens now."""
        if len(self.moments) >= MOST_EVENTS:
            self.left_out += 1
            return
        self.moments.append(Moment(round(self._world.now - self.zero, 6), cluster, endpoint, state, reason))

    def begin(self) -> None:
        """The scenario begins now; what was before has a negative time."""
        shift, self.zero = self._world.now - self.zero, self._world.now
        self.moments = [moment._replace(at_s=round(moment.at_s - shift, 6)) for moment in self.moments]


class Told(Events):
    """The events of one cluster, which go on the time line, too."""

    def __init__(self, cluster: str, line: TimeLine) -> None:
        super().__init__(cluster)
        self._line = line
        self._of = cluster

    def add(self, now: float, endpoint: str, state: str, reason: str, level: Any = None) -> None:
        """Keep one change; nothing is logged."""
        self._line.add(self._of, endpoint, state, reason)


@dataclass(slots=True)
class ClusterTally:
    """What clients got of one cluster. `took_s` are times from a request to the end of its answer."""

    requests: int = 0
    errors: int = 0                         # of these: 5xx, or no answer
    statuses: Counter[int] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    took_s: array[float] = field(default_factory=lambda: array("d"))
    most_active: int = 0
    most_pending: int = 0
    overflows: int = 0
    last_overflow: float = -1.0             # when the last was refused, -1.0: none is at present

    def quantiles_s(self, shares: Sequence[float]) -> list[float]:
        """The values of the nearest rank; 0.0 where there are none."""
        ordered = sorted(self.took_s)
        return [ordered[max(ceil(share * len(ordered)) - 1, 0)] if ordered else 0.0 for share in shares]


@dataclass(slots=True)
class EndpointTally:
    """What became of the tries at one endpoint, beside what it counts itself."""

    retries: int = 0                        # tries that came here after another one had failed
    failed: int = 0                         # tries that ended without an answer, or with one that was not passed on
    errors: int = 0                         # answers of 5xx that were passed on


class Tally:
    """The access log of a simulation. `clients` has what is to be called when an exchange of a connection has ended."""

    def __init__(self, world: World, line: TimeLine, clients: dict[Any, Any]) -> None:
        self.line = line
        self.ended = 0
        self.clusters: dict[str, ClusterTally] = {}
        self.endpoints: dict[tuple[str, str], EndpointTally] = {}
        self._world = world
        self._clients = clients

    def cluster(self, name: str) -> ClusterTally:
        """What is counted of a cluster."""
        found = self.clusters.get(name)
        if found is None:
            found = self.clusters[name] = ClusterTally()
        return found

    def endpoint(self, cluster: str, name: str) -> EndpointTally:
        """What is counted of an endpoint."""
        found = self.endpoints.get((cluster, name))
        if found is None:
            found = self.endpoints[cluster, name] = EndpointTally()
        return found

    def http(self, exchange: Exchange, /) -> None:
        """An exchange is over."""
        self.ended += 1
        now = self._world.now
        cluster = _cluster_of(exchange)
        tally = self.cluster(cluster)
        status = exchange.response_code
        tally.requests += 1
        tally.statuses[status] += 1
        tally.errors += status >= 500 or not status
        tally.took_s.append(now - exchange.t_start)
        if exchange.flag:
            tally.flags[exchange.flag] += 1
        if exchange.flag == "UO":
            self._overflow(tally, cluster, exchange.detail)
        self._tries(exchange, cluster, status)
        over = self._clients.get(exchange.client)
        if over is not None:
            over()

    def connection(self, record: object, /) -> None:
        """Connections are not what is looked at."""

    def quiet(self) -> None:
        """Look which overflows are over."""
        for name, tally in self.clusters.items():
            if tally.last_overflow >= 0.0 and self._world.now - tally.last_overflow >= _QUIET_S:
                tally.last_overflow = -1.0
                why = f"nothing was refused for {_QUIET_S:g} s; {tally.overflows} refused so far"
                self.line.add(name, "", "breaker closes", why)

    def _overflow(self, tally: ClusterTally, cluster: str, detail: str) -> None:
        tally.overflows += 1
        if tally.last_overflow < 0.0:
            self.line.add(cluster, "", "breaker opens", f"a request is refused: {detail}")
        tally.last_overflow = self._world.now

    def _tries(self, exchange: Exchange, cluster: str, status: int) -> None:
        endpoint, tries = exchange.endpoint, exchange.tries
        if tries is None:
            if endpoint is not None and status >= 500:
                self.endpoint(cluster, where(endpoint.address, endpoint.port)).errors += 1
            return
        for index, (name, _) in enumerate(tries):
            tally = self.endpoint(cluster, name)
            tally.failed += 1
            tally.retries += index > 0
        if endpoint is not None and exchange.attempts > len(tries):
            tally = self.endpoint(cluster, where(endpoint.address, endpoint.port))
            tally.retries += 1
            tally.errors += status >= 500


def _cluster_of(exchange: Exchange) -> str:
    if exchange.endpoint is not None:
        return exchange.endpoint.cluster
    cluster = getattr(exchange.route, "cluster", None)
    return getattr(cluster, "name", NO_CLUSTER)
