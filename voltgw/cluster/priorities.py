"""How much each priority of a cluster gets, and when its health is ignored; integers throughout, as in Envoy.

``load_balancer_impl.cc``: a priority whose healthy share times the overprovisioning factor (1.4) reaches 100 % takes all that
is left; what it cannot take spills to the next one. There is no state between healthy and not here ("degraded" in Envoy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

#: Percent: with so much capacity to spare a priority still takes everything (72 healthy of 100 do).
OVERPROVISIONING: Final = 140


def availability(healthy: int, total: int, overprovisioning: int = OVERPROVISIONING) -> int:
    """What a priority could take, in percent; nobody takes nothing."""
    return min(100, overprovisioning * healthy // total) if total else 0


def priority_loads(available: Sequence[int]) -> list[int]:
    """The percentage of traffic for each priority, highest first; they sum to 100, or are all 0 where nobody is available.

    Where all together cannot take everything they share it in proportion, and what rounding leaves goes to the first that has
    any.
    """
    normal = min(100, sum(available))
    if not normal:
        return [0] * len(available)
    left = 100
    loads = []
    for percent in available:
        load = min(left, percent * 100 // normal)
        loads.append(load)
        left -= load
    if left:
        first = next(number for number, percent in enumerate(available) if percent)
        loads[first] += left
    return loads


def loads_by_count(counts: Sequence[int]) -> list[int]:
    """The same where health is ignored everywhere: in proportion to how many there are."""
    total = sum(counts)
    if not total:
        return [0] * len(counts)
    loads = [100 * count // total for count in counts]
    first = next(number for number, count in enumerate(counts) if count)
    loads[first] += 100 - sum(loads)
    return loads


def panicking(serving: Mapping[int, int], judged: Mapping[int, int], threshold: int) -> frozenset[int]:
    """The priorities whose health is ignored: those below `threshold` percent, if the others cannot take all of it.

    `serving` says how many of each priority may serve, `judged` of how many that is known. A cluster with one priority goes by
    the threshold alone, as the object model says it (objects.md 6.1); with several none panics while they can take everything
    together, as in Envoy. A threshold of 0 is none.
    """
    if not threshold:
        return frozenset()
    if len(judged) > 1 and sum(availability(serving.get(each, 0), count) for each, count in judged.items()) >= 100:
        return frozenset()
    return frozenset(each for each, count in judged.items() if serving.get(each, 0) * 100 < threshold * count)
