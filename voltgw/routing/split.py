"""Which of a route's destinations takes a request: weights, stand-by priorities, and clusters that drop out when down.

A pick is made from one number in [0, 1) and asks clusters only whether they are ready; it changes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final, TypeAlias

from voltgw.errors import NOWHERE, Place
from voltgw.interfaces import UpstreamCluster

Split: TypeAlias = "Callable[[float], Destination]"


class Destination:
    """One destination of a route. `cluster` None = it does not exist, and requests sent there are answered 503.

    `priority` 1 is used first, then 2 and so on, 0 last; `weight` counts among destinations of the same priority.
    `identity` says which destination it is among those of its route, wherever it stands in the list.
    """

    __slots__ = ("cluster", "cluster_name", "find_place", "identity", "priority", "weight")

    def __init__(
        self, cluster: UpstreamCluster | None, cluster_name: str, weight: int = 1, priority: int = 0,
        find_place: Callable[[], Place] | None = None, identity: str = "",
    ) -> None:
        self.cluster = cluster
        self.cluster_name = cluster_name
        self.weight = weight
        self.priority = priority
        self.find_place = find_place
        self.identity = identity or cluster_name

    @property
    def place(self) -> Place:
        """Where it stands now."""
        return self.find_place() if self.find_place is not None else NOWHERE

    @property
    def ready(self) -> bool:
        """Whether its cluster has an endpoint that may be used."""
        return self.cluster is not None and self.cluster.any_ready

    def weighing(self, weight: int) -> Destination:
        """The same destination with another weight."""
        return Destination(self.cluster, self.cluster_name, weight, self.priority, self.find_place, self.identity)

    def __repr__(self) -> str:
        return f"<Destination {self.cluster_name} weight {self.weight} priority {self.priority}>"


class _Group:
    """The destinations of one priority that can be picked at all."""

    __slots__ = ("bounds", "destinations", "total")

    def __init__(self, destinations: Sequence[Destination]) -> None:
        self.destinations: Final = tuple(destinations)
        self.bounds: Final = tuple(accumulate(destination.weight for destination in destinations))
        self.total: Final = self.bounds[-1]

    def pick(self, number: float) -> Destination:
        """By weight."""
        return self.destinations[bisect_right(self.bounds, number * self.total, 0, len(self.bounds) - 1)]

    def pick_ready(self, number: float) -> Destination:
        """By weight among those that are ready; among all when none is, so that the request fails as it should."""
        point = number * self.total
        index = bisect_right(self.bounds, point, 0, len(self.bounds) - 1)
        destination = self.destinations[index]
        if destination.ready:
            return destination
        ready = [other for other in self.destinations if other.ready]
        if not ready:
            return destination
        # Where `point` fell inside the share that has dropped out is as random as it was: it spreads that share by weight.
        within = (point - (self.bounds[index] - destination.weight)) / destination.weight
        return _Group(ready).pick(min(max(within, 0.0), 1.0))

    @property
    def any_ready(self) -> bool:
        """Whether any of them is ready."""
        return any(destination.ready for destination in self.destinations)


def groups(destinations: Sequence[Destination]) -> list[list[Destination]]:
    """Destinations by priority, the ones to use first standing first; those of weight 0 are in none.

    Raises ValueError when nothing is left.
    """
    by_priority: dict[int, list[Destination]] = {}
    for destination in destinations:
        if destination.weight:
            by_priority.setdefault(destination.priority, []).append(destination)
    if not by_priority:
        raise ValueError("every destination has weight 0, so none would ever be used")
    return [by_priority[priority] for priority in sorted(by_priority, key=_rank)]


def _rank(priority: int) -> int:
    return priority or 1 << 32


def make_split(destinations: Sequence[Destination], retract: bool) -> Split:
    """The choice among `destinations` by a number in [0, 1). Raises ValueError when none could ever be chosen.

    With `retract`, a cluster without a ready endpoint drops out and its share goes to the others by weight; without, its
    requests fail. Either way a priority is passed over only when none of its clusters is ready.
    """
    if len(destinations) == 1:
        return _Only(destinations[0]).pick
    ranked = [_Group(group) for group in groups(destinations)]
    if len(ranked) == 1:
        return ranked[0].pick_ready if retract else ranked[0].pick
    return _Ranked(ranked, retract).pick


class _Only:
    """One destination, whatever its weight and whether it is ready."""

    __slots__ = ("_destination",)

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    def pick(self, number: float) -> Destination:
        """That one."""
        return self._destination


class _Ranked:
    """Destinations of several priorities."""

    __slots__ = ("_groups", "_retract")

    def __init__(self, ranked: Sequence[_Group], retract: bool) -> None:
        self._groups = list(ranked)
        self._retract = retract

    def pick(self, number: float) -> Destination:
        """Of the first priority that has one that is ready; of the first of all when none has."""
        for group in self._groups:
            if group.any_ready:
                return group.pick_ready(number) if self._retract else group.pick(number)
        return self._groups[0].pick(number)


def shares(destinations: Sequence[Destination], retract: bool) -> list[tuple[Destination, float]]:
    """What part of the requests each destination gets at this moment, in the order given."""
    if len(destinations) == 1:
        return [(destinations[0], 1.0)]
    ranked = groups(destinations)
    active = next((group for group in ranked if any(destination.ready for destination in group)), ranked[0])
    if retract:
        active = [destination for destination in active if destination.ready] or active
    total = sum(destination.weight for destination in active)
    return [(destination, destination.weight / total if destination in active else 0.0)
            for destination in destinations]
