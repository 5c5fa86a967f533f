"""Pools with their shares, as all load balancers name them: the destinations of a rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voltgw.config.lowering.making import Maker, Part, generated
from voltgw.config.model import Path
from voltgw.config.objects.route import RouteDestination
from voltgw.config.objects.view_advertise import OriginPoolWithWeight
from voltgw.config.values import Ref


def pool_cluster(pool: Ref) -> Ref:
    """The cluster that an origin_pool becomes."""
    return pool.renamed(generated("origin_pool", pool.name))


def destinations(make: Maker[Any], pools: Sequence[OriginPoolWithWeight], path: Path) -> list[Part[RouteDestination]]:
    """The destinations that the pools at `path` are; one that names neither pool nor cluster is an error."""
    found = []
    for index, pool in enumerate(pools):
        here = (*path, index)
        cluster = pool.cluster if pool.pool is None else pool_cluster(pool.pool)
        if cluster is None:
            make.wrong("VG0105", "this names neither a `pool` nor a `cluster`", *here)
            continue
        part = Part(RouteDestination, here)
        part.set("cluster", (cluster,), (*here, "cluster" if pool.pool is None else "pool"))
        part.copy(pool, here, "weight", "priority", "endpoint_subsets")
        found.append(part)
    return found
