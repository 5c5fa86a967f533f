"""The members of a cluster in a worker: what control says, with what the worker has found laid over it."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import FakePool
from tests.control.fakes import FakeLoop
from voltgw.app.worker_members import Followed
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.outlier import OutlierDetector, OutlierRules
from voltgw.cluster.schedulers import round_robin
from voltgw.cluster.slowstart import SlowStart
from voltgw.cluster.snapshot import EndpointKey, EndpointState
from voltgw.control.connects import FAILURES, HOLD_S


def state(number: int, **more: Any) -> EndpointState:
    """Member 192.0.2.`number`."""
    return EndpointState(EndpointKey("default/c", "TCP", "", f"192.0.2.{number}", 80), **more)


class FollowedCase(SynchronousTestCase):
    def followed(self, *, checks: tuple[Any, ...] = (), threshold: int = 0, **settings: Any) -> Followed:
        """One that runs, with members 1 to 3."""
        self.loop = FakeLoop()
        self.cluster = Cluster("default/c", round_robin.FACTORY, lambda _: FakePool(), Random(0), **settings)
        plan: Any = SimpleNamespace(panic_threshold=threshold, checks=checks)
        made = Followed(self.cluster, plan, self.loop)
        made.install(tuple(map(state, (1, 2, 3))))
        made.startService()
        self.addCleanup(made.stopService)
        return made

    def ready(self) -> list[str]:
        """Who may serve, by the last digit."""
        return [each.address[-1] for each in self.cluster.endpoints if each.ready]

    def refuse(self, number: int, times: int = FAILURES) -> None:
        """It takes no connection, so often."""
        endpoint = self.cluster.endpoints[number - 1]
        for _ in range(times):
            self.cluster.connect_failed(endpoint)


class ToldTests(FollowedCase):
    def test_what_control_says(self) -> None:
        """Sets are installed as they are; a member that is marked gets nothing at once, until a set says otherwise."""
        followed = self.followed()
        self.assertEqual(self.ready(), ["1", "2", "3"])
        followed.mark(state(2).key, "it fails")
        self.assertEqual((self.ready(), self.cluster.endpoints[1].reason), (["1", "3"], "it fails"))
        followed.install((state(1), state(2, ready=False, reason="a check fails"), state(4)))
        self.assertEqual(self.ready(), ["1", "4"])
        followed.install(tuple(map(state, (1, 2))))
        self.assertEqual(self.ready(), ["1", "2"])

    def test_one_that_refuses(self) -> None:
        """It is out for a while, over sets of control that know nothing of that; then it is back by itself."""
        followed = self.followed()
        self.refuse(2)
        self.assertEqual(self.ready(), ["1", "3"])          # at once
        self.loop.advance(0)
        followed.install(tuple(map(state, (1, 2, 3))))
        self.assertEqual(self.ready(), ["1", "3"])
        self.assertEqual([key.address for key in followed.out()], ["192.0.2.2"])
        self.loop.advance(HOLD_S + 0.1, 0.1)
        self.assertEqual((self.ready(), followed.out()), (["1", "2", "3"], {}))

    def test_one_that_leaves(self) -> None:
        """Should it come back it is as good as a new one."""
        followed = self.followed()
        self.refuse(2)
        followed.install(tuple(map(state, (1, 3))))
        followed.install(tuple(map(state, (1, 2, 3))))
        self.assertEqual(self.ready(), ["1", "2", "3"])

    def test_checks_judge(self) -> None:
        """Where control probes, connections that fail take nobody out."""
        self.followed(checks=(object(),))
        self.refuse(2)
        self.loop.advance(0)
        self.assertEqual(self.ready(), ["1", "2", "3"])


class EjectedTests(FollowedCase):
    def rules(self, **more: Any) -> OutlierDetector:
        """Those by which this worker judges."""
        return OutlierDetector(OutlierRules(max_ejection_percent=100, **more), Random(0))

    def break_down(self, number: int) -> None:
        """It answers 500 five times."""
        endpoint = self.cluster.endpoints[number - 1]
        for _ in range(5):
            endpoint.status[5] += 1
            endpoint.heard(500, 0.01, self.loop.monotonic())

    def test_out_and_back(self) -> None:
        """This worker ejects it by itself, for its time."""
        followed = self.followed(outliers=self.rules())
        self.break_down(1)
        self.assertEqual(self.ready(), ["2", "3"])
        self.loop.advance(0)
        self.assertIn("is ejected for 30 s", followed.out()[state(1).key])
        self.loop.advance(41, 0.5)
        self.assertEqual(self.ready(), ["1", "2", "3"])

    def test_a_check_passes(self) -> None:
        """Control says so, and it is back before its time."""
        followed = self.followed(outliers=self.rules())
        self.break_down(1)
        self.loop.advance(0)
        followed.passed(state(1).key)
        self.loop.advance(0)
        self.assertEqual(self.ready(), ["1", "2", "3"])

    def test_panic(self) -> None:
        """Where too few would be left, those that control lets serve do so."""
        followed = self.followed(outliers=self.rules(), threshold=50)
        self.break_down(1)
        self.loop.advance(0)
        self.assertEqual(self.ready(), ["2", "3"])
        self.break_down(2)
        self.loop.advance(0)
        self.assertEqual(self.ready(), ["1", "2", "3"])
        self.assertEqual(len(followed.out()), 2)

    def test_slow_start(self) -> None:
        """Who is back begins slowly, and grows."""
        self.followed(outliers=self.rules(), slow_start=SlowStart(20.0))
        self.break_down(1)
        self.loop.advance(41, 0.5)
        endpoint = self.cluster.endpoints[0]
        self.assertTrue(endpoint.ready)
        early = endpoint.pace
        self.assertLess(early, 1.0)
        self.loop.advance(5, 0.1)
        self.assertGreater(endpoint.pace, early)
        self.loop.advance(20, 0.1)
        self.assertEqual(endpoint.pace, 1.0)
