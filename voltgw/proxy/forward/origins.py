"""Destinations that clients have named: a small cluster for each, made when it is first asked for and forgotten when it idles.

A destination is a name with the addresses that were judged for it, so what a connection of its pool reaches is what was let
through; a name that resolves otherwise later, or a policy that lets other addresses through, is another destination.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.cluster.cluster import NO_LIMIT, Cluster, Limits
from voltgw.cluster.snapshot import EndpointKey, EndpointSet, EndpointState
from voltgw.proxy.pool import Pool
from voltgw.routing.split import Destination
from voltgw.values.retry import RetryPlan

if TYPE_CHECKING:
    from voltgw.cluster.cluster import ClientContextLike
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.values.network import Network

#: Destinations that are kept; the one that was asked for longest ago and serves nobody goes first.
MAX_ORIGINS: Final = 4096
#: Tries to connect of one request at most: all addresses, as often as the connector says.
MAX_TRIES: Final = 64
#: Connections to destinations wait at most so long for another request.
IDLE_S: Final = 60.0
#: Nothing was sent yet: the next address is tried at once.
RETRY: Final = RetryPlan(retries=MAX_TRIES, base_s=0.0, max_s=0.0)
#: Requests that wait for a connection to one destination.
_LIMITS: Final = Limits(pending=1024, retries=NO_LIMIT)


class Asked(NamedTuple):
    """A destination. `scheme` is ``http``, ``https`` (we speak TLS to it) or ``tunnel`` (nothing is pooled)."""

    owner: str                              # the connector or virtual host
    scheme: str
    name: bytes
    port: int
    addresses: tuple[str, ...]
    rounds: int
    timeout_s: float
    network: Network
    tls: ClientContextLike | None = None


class _InOrder:
    """The first endpoint that has failed least, so that the addresses are tried in the order of the answer."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """The one; None when there is none."""
        best: Endpoint | None = None
        for endpoint in self._endpoints:
            if endpoint.ready and (best is None or endpoint.failed_in_a_row < best.failed_in_a_row):
                best = endpoint
                if not best.failed_in_a_row:
                    break
        return best


class _Factory:
    def build(self, endpoints: Sequence[Endpoint], random: Random, /) -> _InOrder:
        """A scheduler for exactly these."""
        return _InOrder(endpoints)


class Origins:
    """All destinations of a process. `number` stands for one in an exchange (`Exchange.hash_key`), where routes find it."""

    def __init__(self, random: Random, monotonic: Callable[[], float]) -> None:
        self._random = random
        self._monotonic = monotonic
        self._by_asked: dict[Asked, int] = {}                   # asked for last stands last
        self._by_number: dict[int, Destination] = {}
        self._last = 0
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._by_asked)

    def number(self, asked: Asked) -> int:
        """The number of a destination; it is made if it is not there."""
        number = self._by_asked.pop(asked, None)
        if number is None:
            if len(self._by_asked) >= MAX_ORIGINS:
                self._make_room()
            self._last = number = self._last + 1
            self._by_number[number] = Destination(_cluster(asked, self._random), asked.owner)
        self._by_asked[asked] = number
        return number

    def destination(self, number: float) -> Destination | None:
        """The destination of that number, None if it was forgotten."""
        return self._by_number.get(int(number))

    def cluster(self, number: int) -> Cluster | None:
        """Its cluster."""
        found = self._by_number.get(number)
        return None if found is None else found.cluster      # type: ignore[return-value]  # it is one of ours

    def close(self) -> None:
        """Let go of all of them; what is under way may finish."""
        for asked in list(self._by_asked):
            self._forget(asked)

    def _make_room(self) -> None:
        """Forget the oldest one that serves nobody; all are in use only if thousands are asked for at a time."""
        for asked, number in self._by_asked.items():
            cluster = self.cluster(number)
            if cluster is None or not (cluster.active or cluster.pending):
                self._forget(asked)
                return
        self._forget(next(iter(self._by_asked)))

    def _forget(self, asked: Asked) -> None:
        number = self._by_asked.pop(asked)
        cluster = self.cluster(number)
        del self._by_number[number]
        self.forgotten += 1
        if cluster is not None:
            cluster.retire()


def _cluster(asked: Asked, random: Random) -> Cluster:
    cluster = Cluster(
        asked.owner, _Factory(), lambda key: Pool(), random, connect_timeout_s=asked.timeout_s, idle_timeout_s=IDLE_S,
        limits=_LIMITS, http2=asked.tls is not None, by_alpn=asked.tls is not None)
    if asked.tls is not None:
        cluster.secure(asked.tls)
    # An address that is to be tried several times stands there several times: a try never takes the same one again.
    states = [
        EndpointState(EndpointKey(asked.owner, "TCP" if not turn else f"TCP/{turn + 1}", "", address, asked.port))
        for turn in range(asked.rounds) for address in asked.addresses]
    cluster.install(EndpointSet(1, tuple(states[:MAX_TRIES])))
    for endpoint in cluster.endpoints:
        endpoint.network = asked.network
    cluster.any_ready = False               # no other try once every one of them has failed (`Attempts`)
    return cluster
