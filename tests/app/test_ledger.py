"""What workers have counted, in the objects of the control process: over reloads that put others in the place of some."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import FakePool
from voltgw.app.ledger import Ledger
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.schedulers import round_robin
from voltgw.cluster.snapshot import EndpointKey, EndpointSet, EndpointState

NAME = "default/c"


def cluster(*numbers: int) -> Cluster:
    """One with members 192.0.2.`numbers`."""
    made = Cluster(NAME, round_robin.FACTORY, lambda _: FakePool(), Random(0))
    made.install(EndpointSet(1, tuple(EndpointState(EndpointKey(NAME, "TCP", "", f"192.0.2.{each}", 80)) for each in numbers)))
    return made


def key(endpoint: Any) -> list[str]:
    """As a worker names it."""
    return ["endpoint", NAME, endpoint.key.protocol, endpoint.key.site, str(endpoint.key)]


class ReloadTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A gateway with one cluster, which a worker has used."""
        self.first = cluster(1, 2)
        self.owner: Any = SimpleNamespace(runtime=SimpleNamespace(clusters={NAME: self.first}))
        self.ledger = Ledger(self.owner)
        self.enter(self.first.endpoints[0], requests=3, active=2)
        self.assertEqual((self.first.endpoints[0].requests, self.first.endpoints[0].active), (3, 2))

    def enter(self, endpoint: Any, *, behind: bool = False, **numbers: int) -> None:
        """A report of worker 0."""
        self.ledger.enter(0, [[key(endpoint), numbers]], behind=behind)

    def reload(self) -> Cluster:
        """Another cluster of the same name, which is as far as the first one."""
        self.ledger.former = self.ledger.books.former()
        second = cluster(2, 1, 3)
        self.assertEqual(second.version, self.first.version)
        self.owner.runtime = SimpleNamespace(clusters={NAME: second})
        return second

    def test_another_cluster(self) -> None:
        """Its endpoints count what is said of them, those that the name had before no more."""
        second = self.reload()
        self.enter(second.endpoints[1], requests=5)
        self.enter(second.endpoints[2], requests=1)
        self.assertEqual([each.requests for each in second.endpoints], [0, 5, 1])
        self.assertEqual(self.first.endpoints[0].requests, 3)
        self.assertEqual(self.ledger.lost, 0)

    def test_a_report_of_before(self) -> None:
        """What a worker says that has not followed yet is of objects of before: no gauge of a new one goes below nothing."""
        second = self.reload()
        self.enter(self.first.endpoints[0], behind=True, requests=1, active=-1)
        self.assertEqual((self.first.endpoints[0].requests, self.first.endpoints[0].active), (4, 1))
        self.assertEqual((second.endpoints[1].requests, second.endpoints[1].active), (0, 0))
        self.enter(second.endpoints[1], requests=1, active=1)
        self.ledger.take_back(0)
        self.assertEqual((second.endpoints[1].requests, second.endpoints[1].active), (1, 0))
