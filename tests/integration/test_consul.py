"""Services of Consul behind a whole gateway: members follow the registry, which may fail as it likes; the fake agent held to a
client that others have written; and, where `CONSUL_HTTP_ADDR` names one, a real agent."""

from __future__ import annotations

import os
import ssl
import threading
import time
from typing import Any
from unittest import SkipTest

import consul  # type: ignore[import-untyped]  # it has no types
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import authority, client, inline, server
from tests.consul_agent import Agent
from tests.integration.discovered import DiscoveredCase, Load
from tests.integration.gateway import Gateway, free_port, until


class FakeTests(SynchronousTestCase):
    """What the agent of these tests answers, as py-consul understands it."""

    def agent(self, **more: Any) -> Agent:
        """One that ends with the test."""
        made = Agent(**more).start()
        self.addCleanup(made.stop)
        return made

    def test_health(self) -> None:
        """Instances with tags, meta and weights; blocking until something changes, or until the time is up."""
        agent = self.agent()
        asking = consul.Consul("127.0.0.1", agent.port)
        self.assertTrue(asking.agent.service.register("web", "web1", address="10.0.0.1", port=80, tags=["v=1"], meta={"a": "b"}))
        index, found = asking.health.service("web", passing=True)
        self.assertEqual([(one["Service"]["Address"], one["Service"]["Port"], one["Service"]["Tags"], one["Service"]["Meta"]) for one in found],
                         [("10.0.0.1", 80, ["v=1"], {"a": "b"})])
        begun = time.monotonic()
        again, _ = asking.health.service("web", index=index, wait="300ms", passing=True)
        self.assertTrue(int(again) == int(index) and time.monotonic() - begun >= 0.29)
        threading.Timer(0.1, agent.mark, ("web1", "critical")).start()
        later, found = asking.health.service("web", index=index, wait="10s", passing=True)
        self.assertTrue(int(later) > int(index) and found == [] and time.monotonic() - begun < 5)
        self.assertEqual(len(asking.health.service("web")[1]), 1)

    def test_checks_and_the_catalog(self) -> None:
        """A service with a TTL check is critical until it says that it lives; it can be taken out."""
        agent = self.agent()
        asking = consul.Consul("127.0.0.1", agent.port)
        asking.agent.service.register("web", "web1", port=80, tags=["x"], check=consul.Check.ttl("10s"))
        self.assertEqual(asking.health.service("web", passing=True)[1], [])
        asking.agent.check.ttl_pass("service:web1")
        self.assertEqual(len(asking.health.service("web", passing=True)[1]), 1)
        self.assertEqual(asking.catalog.services()[1], {"consul": [], "web": ["x"]})
        asking.agent.service.deregister("web1")
        self.assertEqual(asking.catalog.services()[1], {"consul": []})

    def test_rights(self) -> None:
        """Who has no token reads nothing, and is not told so by the status; he may not write."""
        agent = self.agent(token="secret")
        agent.register("web", 80)
        self.assertEqual(consul.Consul("127.0.0.1", agent.port).health.service("web")[1], [])
        self.assertEqual(len(consul.Consul("127.0.0.1", agent.port, token="secret").health.service("web")[1]), 1)
        self.assertRaises(consul.ACLPermissionDenied, consul.Consul("127.0.0.1", agent.port).agent.service.register, "x", port=1)


class GatewayTests(DiscoveredCase):
    """Its endpoints stand in Consul."""

    def agent(self, **more: Any) -> Agent:
        """One that ends with the test."""
        made = Agent(**more).start()
        self.addCleanup(made.stop)
        return made

    def discovery(self, name: str, agent: Agent, voltgw: dict[str, Any] | None = None, **access: Any) -> dict[str, Any]:
        """A discovery object."""
        return {"kind": "discovery", "metadata": {"name": name, "namespace": "system"}, "spec": {
            "where": {}, "discovery_consul": {"access_info": {"connection_info": {"api_server": agent.address}, **access}},
            "voltgw": {"allowed_addresses": ["127.0.0.0/8"], **(voltgw or {})}}}

    def start(self, *discoveries: dict[str, Any], info: dict[str, Any] | None = None, routes: list[Any] | None = None,
              **cluster: Any) -> Gateway:
        """Serve; `info` is what the endpoint asks for."""
        endpoint = {"service_info": {"discovery_type": "CONSUL", **(info or {"service_name": "shop"})}}
        return self.serve([endpoint], discoveries, routes, **cluster)

    def register(self, agent: Agent, name: str, **more: Any) -> None:
        """One of the shops comes."""
        agent.register("shop", self.shops[name].port, id=name, **more)

    def test_members_follow(self) -> None:
        """They come, weigh otherwise, fail their check and leave with the configuration frozen; no request fails for it."""
        agent = self.agent()
        self.register(agent, "one")
        gateway = self.start(self.discovery("consul", agent))
        until("the first serves", lambda: self.answers(3) == {"one": 3})
        with Load(self.port) as load:
            self.register(agent, "two")
            until("both serve", lambda: set(self.answers(10)) == {"one", "two"})
            self.register(agent, "two", weight=9)
            until("the share is another", lambda: self.answers(40)["two"] > 30)
            agent.mark("two", "critical")
            until("one alone serves", lambda: set(self.answers(10)) == {"one"})
            agent.mark("two", "passing")
            until("both serve again", lambda: set(self.answers(30)) == {"one", "two"})
            agent.deregister("one")
            until("two alone serves", lambda: set(self.answers(60)) == {"two"})
            port = agent.port
            agent.stop()
            until("it is known", lambda: gateway.admin("/names").json["discoveries"][0]["state"] == "failed", 40.0)
            self.assertEqual(set(self.answers(10)), {"two"})
            agent.start(port)
            until("it is asked again", lambda: gateway.admin("/names").json["discoveries"][0]["state"] == "bound", 40.0)
            self.register(agent, "one")
            until("both serve", lambda: set(self.answers(30)) == {"one", "two"})
        self.assertEqual(set(load.answers) - set(self.names), set())
        shown = gateway.admin("/names").json["discoveries"][0]
        self.assertEqual((shown["discovery"], shown["kind"], shown["services"]), ("system/consul", "consul", {"shop": 2}))
        metrics = gateway.admin("/metrics").body.decode()
        self.assertIn('voltgw_discovery_state{discovery="system/consul",state="bound"} 1', metrics)
        self.assertIn('voltgw_discovery_instances{discovery="system/consul",service="shop"} 2', metrics)

    def test_rights_that_are_lost(self) -> None:
        """A token that may not read any more gets an empty answer, which is not believed: the members serve on."""
        for tells in (True, False):
            agent = self.agent(token="t0p-s3cret", tells=tells)
            self.register(agent, "one")
            gateway = self.start(self.discovery("consul", agent, {"consul": {"token": inline(b"t0p-s3cret")}}))
            until("it serves", lambda: self.answers(3) == {"one": 3})
            agent.token = "another"
            self.register(agent, "one", weight=2)
            until("it is known", lambda gateway=gateway: gateway.admin("/names").json["discoveries"][0]["state"] == "failed")   # type: ignore[misc]
            self.assertEqual(self.answers(5), {"one": 5})
            self.assertRegex(gateway.admin("/names").json["discoveries"][0]["last_error"], "left out|may not read")
            self.assertNotIn("t0p-s3cret", gateway.output + gateway.admin("/config").body.decode() + gateway.admin("/names").body.decode())
            self.port = free_port()

    def test_two_agents_and_a_cluster_id(self) -> None:
        """A service that both know has the members of both; the failure of one leaves the other's. A cluster_id names one."""
        first, second = self.agent(), self.agent()
        self.register(first, "one")
        self.register(second, "two")
        own = self.discovery("second", second)
        gateway = self.start(self.discovery("first", first), own)
        until("both serve", lambda: set(self.answers(10)) == {"one", "two"})
        first.stop()
        until("it is known", lambda: "failed" in {each["state"] for each in gateway.admin("/names").json["discoveries"]}, 40.0)
        self.assertEqual(set(self.answers(20)), {"one", "two"})
        own["spec"]["cluster_id"] = "east"
        self.port = free_port()
        self.start(self.discovery("first", first), own, info={"service_name": "shop:east"})
        until("only the one that is named is asked", lambda: self.answers(5) == {"two": 5})

    def test_subsets_by_tags(self) -> None:
        """A canary by labels that come from tags: a service whose tags change is in the other subset, nothing else is told."""
        agent = self.agent()
        self.register(agent, "one", tags=["version=v1"])
        self.register(agent, "two", tags=["version=v2"])
        gateway = self.start(
            self.discovery("consul", agent), routes=[{"route_destination": {"destinations": [
                {"cluster": ["shop"], "endpoint_subsets": {"version": "v1"}}]}}], endpoint_subsets=[{"keys": ["version"]}], fallback_policy="NO_FALLBACK")
        until("v1 serves", lambda: self.answers(5) == {"one": 5})
        self.register(agent, "one", tags=["version=v2"])
        self.register(agent, "two", tags=["version=v1"])
        until("the other one is v1 now", lambda: self.answers(5) == {"two": 5})
        self.assertEqual(gateway.admin("/").json["generation"], 1)

    def test_chosen_by_labels(self) -> None:
        """Instances of all services that have the labels."""
        agent = self.agent()
        agent.register("a", self.shops["one"].port, tags=["tier=web"])
        agent.register("b", self.shops["two"].port, meta={"tier": "db"})
        self.start(self.discovery("consul", agent), info={"service_selector": {"expressions": ["tier in (web)"]}})
        until("a serves", lambda: self.answers(5) == {"one": 5})
        agent.register("b", self.shops["two"].port, meta={"tier": "web"})
        until("both serve", lambda: set(self.answers(10)) == {"one", "two"})

    def test_tls_on_both_sides(self) -> None:
        """The agent's certificate is verified, and it verifies ours; with another CA it is not asked, which is said."""
        agent = Agent()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        own = server("consul.example")
        for name, data in (("cert", own.certificate), ("key", own.key), ("ca", authority("lab").certificate)):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)
        context.load_cert_chain(os.path.join(folder, "cert"), os.path.join(folder, "key"))
        context.load_verify_locations(os.path.join(folder, "ca"))
        context.verify_mode = ssl.CERT_REQUIRED
        agent.start(context=context)
        self.addCleanup(agent.stop)
        self.register(agent, "one")
        us = client("gateway")

        def tls(ca: str) -> dict[str, Any]:
            return {"api_server": agent.address, "tls_info": {
                "server_name": "consul.example", "trusted_ca_url": inline(authority(ca).certificate), "certificate": inline(us.certificate),
                "key_url": {"clear_secret_info": {"url": inline(us.key)}}}}

        self.start(self.discovery("consul", agent, connection_info=tls("lab")))
        until("it serves", lambda: self.answers(5) == {"one": 5})
        self.port = free_port()
        gateway = self.start(self.discovery("consul", agent, connection_info=tls("elsewhere")))
        until("it is not believed", lambda: "TLS" in gateway.admin("/names").json["discoveries"][0]["last_error"])


class RealTests(SynchronousTestCase):
    """A real agent, where there is one."""

    def test_the_same_service(self) -> None:
        """Registered by py-consul, found by a gateway, and gone again."""
        where = os.environ.get("CONSUL_HTTP_ADDR", "")
        if not where:
            raise SkipTest("CONSUL_HTTP_ADDR names no agent")
        tests = GatewayTests()
        tests.setUp()
        self.addCleanup(tests.doCleanups)
        host, _, port = where.removeprefix("http://").partition(":")
        asking = consul.Consul(host, int(port or 8500), token=os.environ.get("CONSUL_HTTP_TOKEN"))
        asking.agent.service.register("voltgw-test", "voltgw-test-1", address="127.0.0.1", port=tests.shops["one"].port)
        self.addCleanup(asking.agent.service.deregister, "voltgw-test-1")
        fake = Agent()
        fake.port = int(port or 8500)
        token = os.environ.get("CONSUL_HTTP_TOKEN", "")
        discovery = tests.discovery("consul", fake, {"consul": {"token": inline(token.encode())}} if token else None)
        discovery["spec"]["discovery_consul"]["access_info"]["connection_info"]["api_server"] = f"{host}:{port or 8500}"
        tests.start(discovery, info={"service_name": "voltgw-test"})
        until("it serves", lambda: tests.answers(3) == {"one": 3})
