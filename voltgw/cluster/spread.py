"""Priorities and localities: which part of a cluster's ready endpoints a request is picked from.

First the priority, by the loads of `voltgw.cluster.priorities`; then, where localities have weights, the locality, by its
weight times what it can take (min(1, 1.4 x healthy / total), Envoy's locality-weighted balancing). Where local endpoints are
preferred the others of a priority serve only while it has no local one that is ready (objects.md 6.1, LOCAL_PREFERRED). Each
part has a scheduler of its own. With a hash key everything is decided by the key, so that affinity holds as long as the parts
stay.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.cluster.priorities import OVERPROVISIONING, availability, loads_by_count, priority_loads
from voltgw.config.values import FrozenMap

if TYPE_CHECKING:
    from voltgw.cluster.chooser import Chooser
    from voltgw.cluster.endpoint import Endpoint

#: Labels that say where an endpoint is (objects.md 11.1; Kubernetes' well-known labels).
SITE_LABEL: Final = "ves.io/siteName"
ZONE_LABEL: Final = "topology.kubernetes.io/zone"

NO_WEIGHTS: Final[FrozenMap[str, int]] = FrozenMap({})


class Home(NamedTuple):
    """Where this gateway is: its site's name and its zone, "" = nobody has said."""

    site: str = ""
    zone: str = ""

    def has(self, site: str, labels: Mapping[str, str], zone: str) -> bool:
        """Whether an endpoint is local: at this site, and in this zone unless one of both zones is unknown."""
        if site or (self.site and labels.get(SITE_LABEL, self.site) != self.site):
            return False
        return not self.zone or not zone or zone == self.zone


#: A gateway that does not know where it is.
NOWHERE_KNOWN: Final = Home()


@dataclass(frozen=True, slots=True)
class SpreadRules:
    """What a cluster says of it; `localities` are weights by zone, a zone that is not named has 1."""

    prefer_local: bool = False
    overprovisioning: int = OVERPROVISIONING
    localities: Mapping[str, int] = NO_WEIGHTS

    def apply_to(self, members: Iterable[Endpoint]) -> bool:
        """Whether these are to be told apart at all."""
        return self.prefer_local or bool(self.localities) or any(member.state.priority for member in members)


class Part(NamedTuple):
    """Endpoints of one priority and locality that are picked from now; `load` is in percent of everything, unrounded."""

    priority: int
    zone: str
    load: float
    members: tuple[Endpoint, ...]


def parts_of(members: Sequence[Endpoint], rules: SpreadRules) -> list[Part]:
    """The parts that get traffic, in the order of priorities; none where nobody is ready."""
    tiers: dict[int, list[Endpoint]] = {}
    for member in members:
        if member.weight > 0:
            tiers.setdefault(member.state.priority, []).append(member)
    order = sorted(tiers)
    well = [sum(member.ready and not member.state.panic for member in tiers[each]) for each in order]
    loads = priority_loads([availability(count, len(tiers[each]), rules.overprovisioning)
                            for count, each in zip(well, order, strict=True)])
    if not any(loads):                      # all that are ready are so because of panic
        loads = loads_by_count([sum(member.ready for member in tiers[each]) for each in order])
    found: list[Part] = []
    for each, load in zip(order, loads, strict=True):
        if load:
            found += _localities(each, load, tiers[each], rules)
    return found


def _localities(priority: int, load: int, members: list[Endpoint], rules: SpreadRules) -> list[Part]:
    ready = [member for member in members if member.ready]
    if rules.prefer_local:
        local = [member for member in ready if member.state.local]
        if local:
            ready = local
            members = [member for member in members if member.state.local]
    if not rules.localities:
        return [Part(priority, "", float(load), tuple(ready))] if ready else []
    zones: dict[str, list[Endpoint]] = {}
    for member in ready:
        zones.setdefault(member.state.zone, []).append(member)
    totals: dict[str, int] = {}
    for member in members:
        totals[member.state.zone] = totals.get(member.state.zone, 0) + 1
    weights = {zone: rules.localities.get(zone, 1) * min(1.0, rules.overprovisioning / 100 * len(here) / totals[zone])
               for zone, here in zones.items()}
    total = sum(weights.values())
    if not total:                           # only localities of weight 0 are left: better than nobody
        return [Part(priority, "", float(load), tuple(ready))]
    return [Part(priority, zone, load * weights[zone] / total, tuple(here)) for zone, here in zones.items() if weights[zone]]


class Spread:
    """Picks a part and asks its scheduler. `parts` and `choosers` belong together."""

    __slots__ = ("_choosers", "_draw", "_sums", "parts")

    def __init__(self, parts: Sequence[Part], choosers: Sequence[Chooser], draw: Callable[[], float]) -> None:
        self.parts = tuple(parts)
        self._choosers = tuple(choosers)
        self._draw = draw
        self._sums = list(accumulate(part.load for part in parts))

    def _part(self, hash_key: int | None) -> int:
        # By the low digits of the key: its place on a ring goes by the high ones, its entry in a Maglev table by a prime.
        share = self._draw() * 100 if hash_key is None else hash_key % 10_000 / 100
        return min(bisect_right(self._sums, share), len(self._choosers) - 1)

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """One of the part that chance (or the key) gives; if nobody there is ready any more, of another part."""
        first = self._part(hash_key)
        endpoint = self._choosers[first].pick(hash_key)
        if endpoint is not None:
            return endpoint
        for number, chooser in enumerate(self._choosers):
            if number != first:
                endpoint = chooser.pick(hash_key)
                if endpoint is not None:
                    return endpoint
        return None

    def pick_next(self, hash_key: int, attempt: int, /) -> Endpoint | None:
        """For try `attempt` (1, 2…) after the first: the next one of the same part."""
        chooser = self._choosers[self._part(hash_key)]
        return chooser.pick(hash_key) if chooser.pick_next is None else chooser.pick_next(hash_key, attempt)

    def keep_pace(self) -> None:
        """Some who start slowly count for more now."""
        for chooser in self._choosers:
            again = getattr(chooser.scheduler, "keep_pace", None)
            if again is not None:
                again()
