"""Tests for `voltgw.control.build`."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import FakePool
from tests.control.fakes import FakeLoop, FakeNet, FakeResolver
from voltgw.cluster.plan import CheckPlan, ClusterPlan, MemberPlan, build_cluster
from voltgw.config.objects.healthcheck import HttpHealthCheck, TcpHealthCheck
from voltgw.control.build import build_membership
from voltgw.control.discovery.sources import Sources
from voltgw.control.probes.prober import Prober
from voltgw.registry import Registry, RegistryError

PLAN = ClusterPlan(
    "default/shop",
    members=(MemberPlan("default/a", "static", "192.0.2.1", 80), MemberPlan("default/b", "dns", "b.internal", 80)),
    checks=(CheckPlan("default/http", "http", HttpHealthCheck(path="/h"), 5.0, 2.0, 1, 1),
            CheckPlan("default/tcp", "tcp", TcpHealthCheck(), 5.0, 2.0, 1, 1)),
)


class BuildMembershipTests(SynchronousTestCase):
    def setUp(self) -> None:
        """What it is built with."""
        self.loop = FakeLoop()
        self.net = FakeNet()
        self.resolver = FakeResolver()
        self.prober = Prober(self.loop, Random(0), self.net.dial)
        self.sources = Sources(self.loop, Random(0), self.resolver)
        self.registry = Registry()
        self.cluster = build_cluster(PLAN, lambda _: FakePool(), Random(0), self.registry)

    def test_from_plan_to_traffic(self) -> None:
        """Building asks nobody; once started, addresses and names become endpoints that every check probes."""
        membership = build_membership(self.cluster, PLAN, self.prober, self.sources, self.registry)
        self.loop.advance(10)
        self.assertEqual((self.resolver.asked, self.net.dials), ([], []))
        self.prober.startService()
        membership.startService()
        self.resolver.one().answer(["192.0.2.7", "192.0.2.8"])
        self.loop.advance(0)
        self.loop.advance(0.011)
        dials = self.net.take()
        self.assertEqual(sorted(dial.address for dial in dials), sorted(["192.0.2.1", "192.0.2.7", "192.0.2.8"] * 2))
        for dial in dials:
            dial.answer(b"HTTP/1.1 200 OK\r\n\r\n")
        self.loop.advance(0)
        self.assertEqual(
            [(endpoint.address, endpoint.hostname, endpoint.health) for endpoint in self.cluster.endpoints],
            [("192.0.2.1", "", "healthy"), ("192.0.2.7", "b.internal", "healthy"), ("192.0.2.8", "b.internal", "healthy")])
        self.assertTrue(membership.warm)
        membership.stopService()
        self.prober.stopService()
        self.assertEqual(self.loop.clock.getDelayedCalls(), [])

    def test_kinds_that_do_not_exist(self) -> None:
        """An unknown discovery method or probe is an error with its name."""
        for plan in (ClusterPlan("default/shop", members=(MemberPlan("default/a", "carrier-pigeon", "x", 1),)),
                     ClusterPlan("default/shop", checks=(CheckPlan("default/a", "carrier-pigeon", None, 1, 1, 1, 1),))):
            with self.assertRaisesRegex(RegistryError, "carrier-pigeon"):
                build_membership(self.cluster, plan, self.prober, self.sources, self.registry)
