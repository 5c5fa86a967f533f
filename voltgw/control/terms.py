"""What a cluster says of its members besides probes: what they weigh, where they must be, when health is ignored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from voltgw.cluster.spread import NOWHERE_KNOWN, ZONE_LABEL, Home
from voltgw.cluster.weights import read_weight

if TYPE_CHECKING:
    from voltgw.control.feed import Found


class Standing(NamedTuple):
    """What follows from what a feed says of one endpoint."""

    weight: int
    zone: str
    local: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """`panic_threshold` is in percent, 0 = never; `weight_label` names a label that says weights, "" = none does."""

    panic_threshold: int = 0
    weight_label: str = ""
    home: Home = NOWHERE_KNOWN
    local_only: bool = False                # only local endpoints are used

    def standing(self, found: Found, refused: Callable[[str], object]) -> Standing:
        """What an endpoint weighs and where it is; `refused` hears of each weight that is none, in words."""
        zone = found.zone or found.labels.get(ZONE_LABEL, "")
        return Standing(self._weight(found, refused), zone, self.home.has(found.site, found.labels, zone))

    def _weight(self, found: Found, refused: Callable[[str], object]) -> int:
        """What its label says, if it is a weight, else what its feed says; one that cannot be does not count, and is 1."""
        said: list[object] = [found.weight]
        if self.weight_label and self.weight_label in found.labels:
            said.insert(0, found.labels[self.weight_label])
        for weight in said:
            try:
                return read_weight(weight)
            except ValueError as error:
                refused(str(error))
        return 1
