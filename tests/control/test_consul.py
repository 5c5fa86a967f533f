"""Consul as the control side asks it: blocking queries, indexes, empty answers, failures; and registries that several ask."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from types import MappingProxyType, SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from voltgw.cluster.plan import MemberPlan
from voltgw.control.discovery.consul import MOST_PAUSE_S, MOST_WAITING, ConsulClient, instance_of
from voltgw.control.discovery.registered import RegisteredFeed
from voltgw.control.discovery.registries import Allowed, Instance, Registries, Standing
from voltgw.control.feed import Failed, FeedState, Reset
from voltgw.control.publish.api import Reply
from voltgw.control.publish.registrar import RegistryError
from voltgw.values.discovery import RegistryAccess, ServiceQuery

ACCESS = RegistryAccess("system/consul", "consul", "http://consul:8500", token="t0p", allowed=("10.0.0.0/8",))


def entry(address: str, port: int = 80, *, tags: tuple[str, ...] = (), meta: Mapping[str, str] = MappingProxyType({}), weight: int = 1,
          node: str = "10.9.9.9") -> dict[str, Any]:
    """One of ``/v1/health/service``."""
    return {"Node": {"Node": "n1", "Address": node, "Datacenter": "dc1"}, "Checks": [],
            "Service": {"Address": address, "Port": port, "Tags": list(tags), "Meta": dict(meta), "Weights": {"Passing": weight, "Warning": 1}}}


class Case(SynchronousTestCase):
    """A client whose requests a test answers."""

    def setUp(self) -> None:
        """Nobody has asked yet."""
        self.clock = Clock()
        self.loop: Any = SimpleNamespace(clock=self.clock, monotonic=self.clock.seconds)
        self.asked: list[tuple[str, str, Deferred[Reply]]] = []
        self.standing = Standing(ACCESS)
        self.client = ConsulClient(ACCESS, self.standing, self.loop, Random(1), self.request)
        self.heard: list[tuple[tuple[Instance, ...] | None, str]] = []

    async def request(self, method: str, path: str, body: bytes) -> Reply:
        """Wait for the test."""
        answer: Deferred[Reply] = Deferred()
        self.asked.append((method, path, answer))
        return await answer

    def hear(self, instances: tuple[Instance, ...] | None, why: str) -> None:
        """What somebody is told."""
        self.heard.append((instances, why))

    def say(self, data: Any, index: int | str = 1, status: int = 200, **fields: str) -> None:
        """Answer the request that waits."""
        _, _, answer = self.asked.pop(0)
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        answer.callback(Reply(status, {"x-consul-index": str(index), **{name.replace("_", "-"): value for name, value in fields.items()}}, body))

    def fail(self, why: str = "it cannot be reached") -> None:      # type: ignore[override]  # of the request
        """No answer comes."""
        self.asked.pop(0)[2].errback(RegistryError(why))

    def addresses(self) -> list[str]:
        """Of the last that was heard."""
        instances, _ = self.heard[-1]
        assert instances is not None
        return [one.address for one in instances]


class ServiceTests(Case):
    """A service by its name."""

    def setUp(self) -> None:
        """Somebody asks for it."""
        super().setUp()
        self.stop = self.client.watch(ServiceQuery((ACCESS,), "web"), self.hear)

    def test_blocking(self) -> None:
        """The first question asks at once, each further one waits for something newer; nothing new is nothing heard."""
        self.assertEqual(self.asked[0][:2], ("GET", "/v1/health/service/web?passing=1"))
        self.say([entry("10.0.0.2", 81, weight=5), entry("", 80, node="10.0.0.1")], 9)
        self.assertEqual(self.addresses(), ["10.0.0.1", "10.0.0.2"])
        self.assertEqual([one.weight for one in self.heard[-1][0] or ()], [1, 5])
        self.assertEqual(self.asked, [])
        self.clock.advance(0.1)
        self.assertEqual(self.asked[0][1], "/v1/health/service/web?passing=1&index=9&wait=20000ms")
        self.clock.advance(20)
        self.say([entry("10.0.0.2", 81, weight=5), entry("", 80, node="10.0.0.1")], 9)
        self.assertEqual((len(self.heard), len(self.asked)), (1, 1))
        self.clock.advance(1)
        self.say([entry("10.0.0.3")], 10)
        self.assertEqual(self.addresses(), ["10.0.0.3"])
        self.assertEqual((self.standing.state, self.standing.services, self.standing.requests), (FeedState.BOUND, {"web": 1}, 4))

    def test_an_index_that_goes_backwards(self) -> None:
        """Or is none: all is asked anew, and without one now and then."""
        self.say([entry("10.0.0.1")], 9)
        self.clock.advance(1)
        self.say([entry("10.0.0.1")], 3)
        self.clock.advance(1)
        self.assertNotIn("index", self.asked[0][1])
        for index in ("", "0", "-4", "9" * 40, "x"):
            self.say([entry("10.0.0.1")], index)
            self.assertEqual(self.asked, [])
            self.clock.advance(1)
            self.assertNotIn("index", self.asked[0][1])

    def test_failures(self) -> None:
        """What was known stays; the pauses grow, and the next good answer ends them."""
        self.say([entry("10.0.0.1")], 9)
        self.clock.advance(1)
        waited = []
        for _ in range(12):
            self.fail()
            self.assertEqual(self.heard[-1], (None, "it cannot be reached"))
            before = self.clock.seconds()
            while not self.asked:
                self.clock.advance(0.25)
            waited.append(self.clock.seconds() - before)
        self.assertTrue(0.5 <= waited[0] <= 1.75 and max(waited) <= MOST_PAUSE_S * 1.5 + 1 and waited[8] > 25, waited)
        self.assertEqual(len(self.heard), 2)
        self.assertEqual((self.standing.state, self.standing.failures), (FeedState.FAILED, 12))
        self.say([entry("10.0.0.1")], 9)
        self.assertEqual((self.addresses(), self.standing.state), (["10.0.0.1"], FeedState.BOUND))

    def test_an_empty_answer_that_is_true(self) -> None:
        """Where we may read, or everybody may, nobody is there."""
        for said in ((200, [{"Allow": True}, {"Allow": True}]), (401, b"ACL support disabled")):
            self.heard.clear()
            self.say([], 9)
            method, path, _ = self.asked[0]
            self.assertEqual((method, path, self.heard), ("POST", "/v1/internal/acl/authorize", []))
            self.say(said[1], status=said[0])
            self.assertEqual(self.heard, [((), "")])
            self.clock.advance(1)
            self.say([entry("10.0.0.1")], 10)
            self.clock.advance(1)

    def test_an_empty_answer_that_is_none(self) -> None:
        """A token without rights, one that is not known, or nobody who says: never taken for a service without instances."""
        self.say([entry("10.0.0.1")], 9)
        for answers, why in (
            ([([], 200, {"x_consul_results_filtered_by_acls": "true"})], "left out"),
            ([([], 200, {}), ([{"Allow": False}, {"Allow": True}], 200, {})], "may not read service web"),
            ([([], 200, {}), ([{"Allow": True}, {"Allow": False}], 200, {})], "may not read nodes"),
            ([([], 200, {}), ([], 200, {})], "cannot be understood"), ([([], 200, {}), ([1, 2], 200, {})], "may not read service web"),
            ([([], 200, {}), (b"ACL not found", 403, {})], "does not say"), ([([], 200, {}), (b"what?", 404, {})], "does not say"),
        ):
            while not self.asked:
                self.clock.advance(0.5)
            for data, status, fields in answers:
                self.say(data, 12, status, **fields)
            self.assertIsNone(self.heard[-1][0])
            self.assertIn(why, self.heard[-1][1])

    def test_answers_that_are_none(self) -> None:
        """No JSON, something else, an instance without a port, errors with words: what was known stays, and it is said why."""
        self.say([entry("10.0.0.1")], 9)
        for data, status, why in ((b"<html>", 200, "no JSON"), ({}, 200, "no list"), ([{"Service": {}}], 200, "cannot be understood"),
                                  ([entry("10.0.0.1", -1)], 200, "cannot be understood"), ([entry("10.0.0.1", True)], 200, "cannot be understood"),
                                  ([{"Service": {"Address": "10.0.0.1", "Port": 80, "Meta": ["x"]}, "Node": {}}], 200, "cannot be understood"),
                                  ([{"Service": {"Address": "10.0.0.1", "Port": 80, "Tags": 5}, "Node": {}}], 200, "cannot be understood"), (b"No cluster leader\n", 500, "500: No cluster leader"),
                                  (b"rpc error \x1b[31m", 400, "400: rpc error  [31m")):
            while not self.asked:
                self.clock.advance(0.5)
            self.say(data, 12, status)
            self.assertIsNone(self.heard[-1][0])
            self.assertIn(why, self.heard[-1][1])

    def test_addresses_that_it_may_not_name(self) -> None:
        """They are turned away and counted; the others serve."""
        self.say([entry("10.0.0.1"), entry("169.254.169.254"), entry("127.0.0.1"), entry("not an address")], 9)
        self.assertEqual((self.addresses(), self.standing.turned_away), (["10.0.0.1"], 3))

    def test_several_who_ask(self) -> None:
        """One question serves all; whoever comes later is told at once; the last one who leaves ends it."""
        self.say([entry("10.0.0.1")], 9)
        later: list[Any] = []
        stop = self.client.watch(ServiceQuery((ACCESS,), "web"), lambda instances, why: later.append(instances))
        self.assertEqual(len(later), 1)
        self.clock.advance(1)
        self.assertEqual(len(self.asked), 1)
        self.stop()
        self.say([], 10, x_consul_results_filtered_by_acls="true")
        self.assertEqual((len(self.heard), later[-1]), (1, None))
        stop()
        self.clock.advance(200)
        self.assertEqual((self.asked, self.clock.getDelayedCalls(), self.standing.services), ([], [], {}))

    def test_two_services_of_which_one_fails(self) -> None:
        """The registry has failed as long as it does not answer to everything, whatever it says of the other one."""
        self.client.watch(ServiceQuery((ACCESS,), "api"), lambda instances, why: None)
        self.clock.advance(1)
        self.say(b"no right", status=500)
        self.say([entry("10.0.0.1")], 9)
        self.assertEqual((self.standing.state, self.standing.last_error), (FeedState.FAILED, "it answers 500: no right"))
        self.stop()
        self.assertEqual((self.standing.state, self.standing.last_error), (FeedState.BOUND, ""))

    def test_a_bug_of_whoever_hears_it(self) -> None:
        """It is logged, and the watch goes on."""
        def broken(instances: tuple[Instance, ...] | None, why: str) -> None:
            if instances is not None:
                raise ZeroDivisionError("ours")
        self.client.watch(ServiceQuery((ACCESS,), "web"), broken)
        self.say([entry("10.0.0.1")], 9)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(2)
        self.assertEqual(len(self.asked), 1)
        self.assertEqual((self.standing.state, self.standing.last_error), (FeedState.FAILED, "ours"))

    def test_more_watches_than_an_agent_lets_wait(self) -> None:
        """They take turns, which are short, and each has one; whoever leaves the row gives up its place."""
        stops = [self.client.watch(ServiceQuery((ACCESS,), f"s{number}"), lambda instances, why: None) for number in range(MOST_WAITING + 20)]
        self.assertEqual(len(self.asked), MOST_WAITING)
        seen = set()
        for _ in range(6):
            for _ in range(min(len(self.asked), MOST_WAITING)):
                seen.add(self.asked[0][1].partition("?")[0])
                self.say([entry("10.0.0.1")], 9)
            self.clock.advance(0.1)
            self.assertLessEqual(len(self.asked), MOST_WAITING)
        self.assertEqual(len(seen), MOST_WAITING + 21)
        self.assertIn("wait=2000ms", self.asked[0][1])
        for stop in (self.stop, *stops):
            stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_where_rights_are_asked_for(self) -> None:
        """In the data centre, namespace and partition that are asked for instances."""
        self.client.access = replace(ACCESS, datacenter="lyon", namespace="shops", partition="p")
        self.say([], 9)
        self.assertEqual(self.asked[0][:2], ("POST", "/v1/internal/acl/authorize?dc=lyon&ns=shops&partition=p"))

    def test_an_end_while_it_is_asked(self) -> None:
        """An answer that comes afterwards goes nowhere."""
        self.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.heard, [])


class ChosenTests(Case):
    """Services by an expression over their tags."""

    def test_tags_and_meta(self) -> None:
        """Instances of every service that have the labels; before all have answered, nobody says anything."""
        self.client.watch(ServiceQuery((ACCESS,), "", "", ("tier in (web), !old",)), self.hear)
        self.assertEqual(self.asked[0][1], "/v1/catalog/services?")
        self.say({"a": ["tier=web"], "b": ["x"]}, 5)
        self.assertEqual([path.partition("?")[0] for _, path, _ in self.asked], ["/v1/health/service/a", "/v1/health/service/b"])
        self.say([entry("10.0.0.1", tags=("tier=web",)), entry("10.0.0.2", tags=("tier=web", "old"))], 6)
        self.assertEqual(self.heard, [])
        self.say([entry("10.0.0.3", meta={"tier": "web"}), entry("10.0.0.4")], 6)
        self.assertEqual(self.addresses(), ["10.0.0.1", "10.0.0.3"])
        self.clock.advance(1)
        catalog = next(number for number, (_, path, _) in enumerate(self.asked) if "catalog" in path)
        self.asked.insert(0, self.asked.pop(catalog))
        self.say({"a": ["tier=web"]}, 7)
        self.assertEqual(self.addresses(), ["10.0.0.1"])


    def test_services_that_are_watched_already(self) -> None:
        """They answer at once; nobody is told half of what there is."""
        self.client.watch(ServiceQuery((ACCESS,), "a"), lambda instances, why: None)
        self.say([entry("10.0.0.1", tags=("tier=web",))], 6)
        self.client.watch(ServiceQuery((ACCESS,), "", "", ("tier in (web)",)), self.hear)
        self.say({"a": ["tier=web"], "b": ["tier=web"]}, 5)
        self.assertEqual(self.heard, [])
        self.say([entry("10.0.0.2", tags=("tier=web",))], 6)
        self.assertEqual(self.addresses(), ["10.0.0.1", "10.0.0.2"])


class LabelTests(SynchronousTestCase):
    """`instance_of` and `Allowed`."""

    def test_labels(self) -> None:
        """Tags with and without a value, Meta above them, the node and its data centre."""
        one = instance_of(entry("10.0.0.1", tags=("version=v1", "primary", "a=b=c"), meta={"version": "v2"}))
        assert one is not None
        self.assertEqual(dict(one.labels), {
            "version": "v2", "primary": "", "a": "b=c", "consul.node": "n1", "consul.datacenter": "dc1"})

    def test_weights_that_are_none(self) -> None:
        """Count as one."""
        for weight in (0, -1, 70_000, "x", None, True):
            data = entry("10.0.0.1")
            data["Service"]["Weights"]["Passing"] = weight
            one = instance_of(data)
            assert one is not None
            self.assertEqual(one.weight, 1)

    def test_allowed(self) -> None:
        """By default what another host can have; else what is listed and nothing more."""
        every = Allowed(())
        self.assertEqual([every(text) for text in ("10.0.0.1", "2001:db8::1", "127.0.0.1", "::1", "169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0",
                                                   "::ffff:169.254.169.254", "x")], [True] * 2 + [False] * 8)
        some = Allowed(("127.0.0.0/8", "fd00::/8"))
        self.assertEqual([some(text) for text in ("127.0.0.1", "::ffff:127.0.0.1", "fd00::1", "10.0.0.1")], [True, True, True, False])


class FeedTests(Case):
    """`RegisteredFeed` on `Registries`."""

    def setUp(self) -> None:
        """Two registries."""
        super().setUp()
        self.made: list[ConsulClient] = []
        self.closed = 0
        self.registries = Registries(self.loop, Random(1), {"consul": self.make})
        self.other = replace(ACCESS, name="system/other", url="http://other:8500")
        self.member = MemberPlan("default/e", "registered", "web", 0, labels={"from": "object"}, weight=3,
                                 query=ServiceQuery((ACCESS, self.other), "web"))
        self.told: list[Any] = []

    def make(self, access: RegistryAccess, standing: Standing, loop: Any, random: Random) -> ConsulClient:
        """A client whose requests wait."""
        def closed() -> None:
            self.closed += 1
        self.made.append(ConsulClient(access, standing, loop, random, self.request, closed))
        return self.made[-1]

    def feed(self) -> RegisteredFeed:
        """One for the member."""
        assert self.member.query is not None
        made = RegisteredFeed(self.member, self.member.query, self.registries, self.loop)
        made.start(self.told.append)
        return made

    def test_members_of_both(self) -> None:
        """The one that fails leaves the other's, and what it said itself; weights and labels of object and registry count."""
        feed = self.feed()
        self.say([entry("10.0.0.1", 80, weight=2, tags=("v=1",))], 5)
        self.assertEqual([(one.address, one.port, one.weight, one.labels["from"], one.labels["v"]) for one in self.told[-1].found],
                         [("10.0.0.1", 80, 6, "object", "1")])
        self.say([entry("10.0.0.2", 81)], 5)
        self.assertEqual([one.address for one in self.told[-1].found], ["10.0.0.1", "10.0.0.2"])
        self.clock.advance(1)
        self.fail("gone")
        self.assertIsInstance(self.told[-1], Failed)
        self.assertEqual((feed.state, feed.last_error), (FeedState.FAILED, "system/consul: gone"))
        self.say([entry("10.0.0.3", 81)], 6)
        self.assertEqual([one.address for one in self.told[-1].found], ["10.0.0.1", "10.0.0.3"])
        self.assertEqual(feed.last_error, "system/consul: gone")
        while len(self.asked) < 2:
            self.clock.advance(0.5)
        self.asked.sort(key=lambda each: "index" in each[1])
        self.say([entry("10.0.0.1", 80, weight=2, tags=("v=1",))], 5)
        self.assertEqual((feed.state, feed.last_error), (FeedState.BOUND, ""))
        feed.stop()
        self.assertEqual((self.closed, self.registries.standings(), self.clock.getDelayedCalls()), (2, [], []))

    def test_instances_without_a_port(self) -> None:
        """The others serve, and it is said; with a port of the endpoint's own all do."""
        self.member = replace(self.member, query=ServiceQuery((ACCESS,), "web"))
        feed = self.feed()
        self.say([entry("10.0.0.1", 0), entry("10.0.0.2", 80)], 5)
        self.assertEqual([one.address for one in self.told[-1].found], ["10.0.0.2"])
        self.assertEqual((feed.state, feed.last_error), (FeedState.BOUND, "1 instances have no port, and the endpoint says none"))
        feed.stop()
        self.asked.clear()
        self.member = replace(self.member, port=8080)
        feed = self.feed()
        self.say([entry("10.0.0.1", 0), entry("10.0.0.2", 80)], 5)
        self.assertEqual([(one.address, one.port) for one in self.told[-1].found], [("10.0.0.1", 8080), ("10.0.0.2", 8080)])
        self.assertEqual(feed.last_error, "")

    def test_clients_are_shared(self) -> None:
        """Two endpoints that ask the same are one client each; it ends with the last of them."""
        first, second = self.feed(), self.feed()
        self.assertEqual((len(self.made), len(self.asked)), (2, 2))
        first.stop()
        self.assertEqual(self.closed, 0)
        second.stop()
        self.assertEqual(self.closed, 2)

    def test_it_was_failing_and_nothing_has_changed(self) -> None:
        """Whoever was told of the failure is told that it is over."""
        self.member = replace(self.member, query=ServiceQuery((ACCESS,), "web"))
        self.feed()
        self.say([entry("10.0.0.1")], 5)
        self.clock.advance(1)
        self.fail()
        while not self.asked:
            self.clock.advance(0.5)
        self.say([entry("10.0.0.1")], 5)
        self.assertEqual([type(each) for each in self.told], [Reset, Failed, Reset])

    def test_secrets(self) -> None:
        """Nothing that is shown has the token."""
        self.feed()
        self.assertNotIn("t0p", repr(ACCESS) + repr(self.registries.view()) + repr(self.member))
