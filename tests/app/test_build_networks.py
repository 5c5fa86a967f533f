"""From objects that name networks to listeners and clusters in them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import runtime
from voltgw.app.build import ListenerKey, Runtime
from voltgw.app.explain import Explainer
from voltgw.app.question import QuestionError, read_question
from voltgw.errors import ConfigErrors
from voltgw.registry import Registry
from voltgw.values.network import HOST, Network

BASE = """
gateway: {site: lab}
objects:
- {kind: site, metadata: {name: lab, namespace: system}, spec: {SITE}}
- {kind: virtual_network, metadata: {name: out, namespace: system}, spec: {site_local_network: {}, voltgw: {OUT}}}
- {kind: virtual_network, metadata: {name: in, namespace: system}, spec: {site_local_inside_network: {}, voltgw: {IN}}}
- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e]}}
- {kind: endpoint, metadata: {name: e}, spec: {where: {virtual_network: {ref: [system/in]}}, ip: 10.0.0.2, port: 80}}
- {kind: route, metadata: {name: r}, spec: {routes: [{route_destination: {destinations: [{cluster: c}]}}]}}
"""
HOST_OF = ("- {{kind: virtual_host, metadata: {{name: h{0}}}, spec: {{domains: ['*'], proxy: {2}, routes: [r], advertise_policies: [p{0}]}}}}\n"
           "- {{kind: advertise_policy, metadata: {{name: p{0}}}, spec: {{{1}}}}}\n")
INSIDE, OUTSIDE = "where: {virtual_network: {ref: [system/in]}}", "where: {virtual_network: {ref: [system/out]}}"
BOTH = "where: {site: {ref: [{namespace: system, name: lab}], network_type: VIRTUAL_NETWORK_SITE_LOCAL_INSIDE_OUTSIDE}}"


def made(*policies: str, site: str = "", out: str = "interface: eth0", into: str = "netns: red", proxy: str = "HTTP_PROXY",
         before: Runtime | None = None) -> Runtime:
    """What is built for virtual hosts with these policies."""
    text = BASE.replace("SITE", site).replace("OUT", out).replace("IN}", f"{into}}}")
    return runtime(text + "".join(HOST_OF.format(number, policy, proxy) for number, policy in enumerate(policies)), before)


class ListenerTests(SynchronousTestCase):
    def test_each_in_its_network(self) -> None:
        """The key of a socket says where it is made; its text, too."""
        built = made(f"{OUTSIDE}, address: 192.0.2.1, port: 80", f"{INSIDE}, address: 10.0.0.1, port: 80")
        outside, inside = built.listeners.values()
        self.assertEqual(outside.key, ListenerKey("192.0.2.1", 80, "TCP", "eth0"))
        self.assertEqual(inside.key, ListenerKey("10.0.0.1", 80, "TCP", "", "red"))
        self.assertEqual([str(plan.key) for plan in (outside, inside)], ["192.0.2.1:80%eth0", "10.0.0.1:80@red"])
        self.assertEqual((outside.network.name, inside.network), ("system/out", Network("system/in", "red")))

    def test_one_address_in_two_networks(self) -> None:
        """They are not in each other's way, whatever they speak; in one network they are."""
        policies = [f"{where}, address: 10.0.0.1, port: 80" for where in (INSIDE, OUTSIDE)]
        self.assertEqual(len(made(*policies, proxy="TCP_PROXY").listeners), 2)
        with self.assertRaises(ConfigErrors) as caught:
            made(policies[0], policies[0], proxy="TCP_PROXY")
        self.assertEqual([one.code for one in caught.exception.problems], ["VG0201"])

    def test_both_networks(self) -> None:
        """One policy for inside and outside listens in both, each with the site's VIP for it."""
        built = made(f"{BOTH}, port: 80", site="outside_vip: 192.0.2.9, inside_vip: 10.0.0.9")
        self.assertEqual([str(key) for key in built.listeners], ["192.0.2.9:80%eth0", "10.0.0.9:80@red"])
        self.assertEqual([len(plan.hosts) for plan in built.listeners.values()], [1, 1])

    def test_out_of_a_range(self) -> None:
        """Each policy has a VIP of its own, inside and outside; one that comes may move others, so all is built anew."""
        site = "voltgw: {outside_vip_range: 192.0.2.0/24, inside_vip_range: 10.0.0.0/24, manage_addresses: true}"
        built = made(f"{BOTH}, port: 80", "port: 80", site=site)
        self.assertEqual([str(key) for key in built.listeners], ["192.0.2.32:80%eth0", "10.0.0.32:80@red", "192.0.2.116:80%eth0"])
        self.assertEqual([plan.vip for plan in built.listeners.values()], [True] * 3)
        after = made(f"{BOTH}, port: 80", "port: 80", "address: 192.0.2.116, port: 80", site=site, before=built)
        self.assertEqual([str(key) for key in after.listeners], [
            "192.0.2.32:80%eth0", "10.0.0.32:80@red", "192.0.2.117:80%eth0", "192.0.2.116:80%eth0"])

    def test_nothing_said(self) -> None:
        """The outside network."""
        (plan,) = made("address: 192.0.2.1, port: 80").listeners.values()
        self.assertEqual(plan.key.device, "eth0")

    def test_vips(self) -> None:
        """Explicit addresses, the site's too, are ours to add when the site says so, and only those that can be."""
        policies = ("address: 192.0.2.1, port: 80", "address: 127.0.0.1, port: 81", "port: 82",
                    "port: 83, voltgw: {any_address: true}")
        said = "outside_vip: 192.0.2.9, voltgw: {manage_addresses: true}"
        self.assertEqual([plan.vip for plan in made(*policies, site=said).listeners.values()], [True, False, True, False])
        self.assertEqual([plan.vip for plan in made(*policies).listeners.values()], [False] * 4)

    def test_networks_in_use(self) -> None:
        """Those of listeners and endpoints."""
        built = made("address: 192.0.2.1, port: 80")
        self.assertEqual({network.name for network in built.networks()}, {"system/out", "system/in"})
        self.assertNotIn(HOST, built.networks())
        again = made("address: 192.0.2.1, port: 80", before=built)      # what was taken over counts, too
        self.assertIs(again.clusters["default/c"], built.clusters["default/c"])
        self.assertEqual(again.networks(), built.networks())


class ExplainTests(SynchronousTestCase):
    def listener(self, built: Runtime, at: str) -> str:
        """Where a request comes in that is asked for at a listener."""
        question = read_question("GET", "http://10.0.0.1/", (), "", at)
        return Explainer(built, live=False, registry=Registry()).explain(question).listener

    def test_one_address_in_two_networks(self) -> None:
        """The interface or namespace behind the port says which is meant, as listeners are shown."""
        built = made(*(f"{where}, address: 10.0.0.1, port: 80" for where in (OUTSIDE, INSIDE)))
        for name in map(str, built.listeners):
            self.assertEqual(self.listener(built, name), name)
        self.assertEqual(self.listener(built, "10.0.0.1:80"), "10.0.0.1:80%eth0")
        self.assertEqual(self.listener(built, "80@red"), "10.0.0.1:80@red")
        self.assertEqual(self.listener(built, "10.0.0.1:80@blue"), "")
        for wrong in ("10.0.0.1:80red", "10.0.0.1:@red"):
            with self.assertRaises(QuestionError):
                read_question("GET", "http://10.0.0.1/", (), "", wrong)


class ClusterTests(SynchronousTestCase):
    POLICY = "address: 192.0.2.1, port: 80"

    def test_endpoints(self) -> None:
        """Their plan says from where they are reached."""
        (member,) = made(self.POLICY).plans["default/c"].members
        self.assertEqual(member.network, Network("system/in", "red"))

    def test_another_network(self) -> None:
        """When the network is something else on this host, the cluster is another one; an equal network carries it over."""
        first = made(self.POLICY)
        same = made(self.POLICY, before=first)
        self.assertIs(same.clusters["default/c"], first.clusters["default/c"])
        other = made(self.POLICY, into="netns: blue", before=first)
        self.assertIsNot(other.clusters["default/c"], first.clusters["default/c"])
