"""Endpoints and clusters for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from voltgw.cluster.cluster import Cluster
from voltgw.cluster.endpoint import Endpoint
from voltgw.cluster.schedulers import round_robin
from voltgw.cluster.snapshot import EndpointKey, EndpointSet, EndpointState

CLUSTER = "default/shop"


class FakePool:
    """Counts how often it was drained."""

    def __init__(self) -> None:
        self.drained = 0

    def drain(self) -> None:
        """Count."""
        self.drained += 1

    def __len__(self) -> int:
        return 0


def key(number: int) -> EndpointKey:
    """The key of 192.0.2.<number>:80."""
    return EndpointKey(CLUSTER, "TCP", "", f"192.0.2.{number}", 80)


def state(number: int, **values: Any) -> EndpointState:
    """A ready member, unless `values` say otherwise."""
    return EndpointState(key(number), **values)


def endpoints(*weights: int) -> list[Endpoint]:
    """Ready endpoints 1, 2, 3… with these weights."""
    return [Endpoint(state(number, weight=weight), FakePool()) for number, weight in enumerate(weights, 1)]


def cluster(*states: EndpointState, **settings: Any) -> Cluster:
    """A round-robin cluster with these members installed as version 1, if there are any."""
    made = Cluster(CLUSTER, round_robin.FACTORY, lambda _: FakePool(), Random(0), **settings)
    if states:
        made.install(EndpointSet(1, states))
    return made


def numbers(picked: Sequence[Endpoint | None]) -> list[int]:
    """The last part of each address; 0 for None."""
    return [0 if endpoint is None else int(endpoint.address.rpartition(".")[2]) for endpoint in picked]
