"""Delegated zones as the gateway fills them: VIPs by policy and site, names that follow health, addresses and reloads."""

from __future__ import annotations

import base64
from ipaddress import ip_address
from typing import Any
from unittest.mock import Mock

import dns.message
import dns.query
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import runtime
from tests.app.running import GatewayCase
from tests.dns.test_signing import pem
from tests.integration.gateway import free_port
from voltgw.app import service
from voltgw.app.build import Runtime
from voltgw.app.dns import DnsSide
from voltgw.app.service import GatewayService
from voltgw.app.zones import Name, Offer
from voltgw.config.where import selected_sites
from voltgw.errors import ConfigErrors
from voltgw.wire.dnsmsg import DNSKEY

KEYED = "{{address: {}, tsig: {{name: k, secret: 'string:///{}'}}}}"
KEY = pem(ec.generate_private_key(ec.SECP256R1()))
ZONE = """
objects:
- kind: discovery
  metadata: {name: names, namespace: system}
  spec: {where: {}, voltgw: {dns_delegation: {zone: apps.example, MORE}}}
- {kind: route, metadata: {name: r}, spec: {routes: [{route_direct_response: {response_code: 200}}]}}
"""


def host(name: str, policies: str, domains: str = "", more: str = "") -> str:
    """A virtual host."""
    return (f"- {{kind: virtual_host, metadata: {{name: {name}}}, spec: {{domains: [{domains or name + '.apps.example'}], "
            f"advertise_policies: [{policies}], routes: [r]{more}}}}}\n")


def policy(name: str, spec: str) -> str:
    """An advertise policy on a port of its own."""
    return f"- {{kind: advertise_policy, metadata: {{name: {name}}}, spec: {{{spec}}}}}\n"


def zone(*objects: str, more: str = "ttl: 30") -> Runtime:
    """What serves them beside the zone."""
    return runtime(ZONE.replace("MORE", more) + "".join(objects))


def given(made: Runtime, name: str) -> list[str]:
    """The addresses that a name is answered with, for one without any an empty list."""
    assert made.delegations is not None
    (delegated,) = made.delegations.all
    found = [each for each in delegated.names.values() if each.text == name]
    return [str(target.address) for each in found for target in delegated.zone.hosts[each.wire].given]


class FillTests(SynchronousTestCase):
    """`delegations`."""

    def test_vips(self) -> None:
        """A policy's address; that of the interface where it has none, or all; of several policies all."""
        made = zone(
            host("a", "one"), host("b", "two"), host("c", "every"), host("d", "one, other"), host("e", "unix"),
            policy("one", "address: 192.0.2.1, port: 80"), policy("two", "port: 81"), policy("every", "port: 82, voltgw: {any_address: true}"),
            policy("other", "address: '2001:db8::1', port: 83"), policy("unix", "port: 0, voltgw: {unix: /tmp/x}"))
        self.assertEqual(given(made, "a.apps.example"), ["192.0.2.1"])
        self.assertEqual(given(made, "b.apps.example"), ["192.0.2.10"])
        self.assertEqual(given(made, "c.apps.example")[:1], ["192.0.2.10"])
        self.assertEqual(given(made, "d.apps.example"), ["192.0.2.1", "2001:db8::1"])
        assert made.delegations is not None
        self.assertEqual(made.delegations.all[0].left_out, [
            ("e.apps.example", 'virtual_host "e" has no address that is known here')])

    def test_sites(self) -> None:
        """At other sites that the policy selects: its address, else the site's VIP, inside or outside."""
        sites = "".join(
            f"- {{kind: site, metadata: {{name: {name}, namespace: system, labels: {{zone: eu}}}}, "
            f"spec: {{site_type: CUSTOMER_EDGE, outside_vip: {outside}, inside_vip: 10.0.{number}.1}}}}\n"
            for number, (name, outside) in enumerate((("local", "192.0.2.1"), ("lyon", "192.0.2.2"))))
        everywhere = ("- {kind: virtual_site, metadata: {name: eu, namespace: shared}, spec: {site_type: CUSTOMER_EDGE, "
                      "site_selector: {expressions: ['zone in (eu)']}}}\n")
        made = zone(
            sites, everywhere, host("a", "eu"), host("b", "lyon"), host("c", "inside"), host("d", "anycast"),
            policy("eu", "where: {virtual_site: {ref: [shared/eu]}}, port: 80, voltgw: {dns: {weight: 3, priority: 1, client_prefixes: [10.0.0.0/8]}}"),
            policy("lyon", "where: {site: {ref: [system/lyon]}}, port: 81"),
            policy("inside", "where: {virtual_site: {ref: [shared/eu], network_type: VIRTUAL_NETWORK_SITE_LOCAL_INSIDE}}, port: 82"),
            policy("anycast", "where: {virtual_site: {ref: [shared/eu]}}, address: 198.51.100.1, port: 83"))
        for name, addresses in (("a", ["192.0.2.1", "192.0.2.2"]), ("b", ["192.0.2.2"]), ("c", ["10.0.0.1", "10.0.1.1"]),
                                ("d", ["198.51.100.1"])):
            self.assertEqual(given(made, f"{name}.apps.example"), addresses)
        assert made.delegations is not None
        delegated = made.delegations.all[0]
        target = delegated.zone.hosts[delegated.names[next(iter(delegated.names))].wire].given[0]
        self.assertEqual((target.weight, target.priority, str(target.clients[0])), (3, 1, "10.0.0.0/8"))

    def test_domains(self) -> None:
        """Ports are no part of a name, whole labels may be wildcards; what has no name, or is elsewhere, is left out."""
        made = zone(
            host("a", "one", "'a.apps.example:8080', '*.w.apps.example', '*-x.apps.example', elsewhere.example, apps.example"),
            host("b", "one", more=", disable_dns_resolve: true"), policy("one", "address: 192.0.2.1, port: 80"))
        for name, addresses in (("a.apps.example", ["192.0.2.1"]), ("*.w.apps.example", ["192.0.2.1"]), ("apps.example", ["192.0.2.1"]),
                                ("b.apps.example", []), ("elsewhere.example", [])):
            self.assertEqual(given(made, name), addresses, name)
        assert made.delegations is not None
        self.assertEqual([domain for domain, _ in made.delegations.all[0].left_out], ["*-x.apps.example"])

    def test_vips_out_of_ranges(self) -> None:
        """The own site's and another site's, which every gateway computes alike."""
        sites = "".join(
            f"- {{kind: site, metadata: {{name: {name}, namespace: system}}, spec: {{site_type: CUSTOMER_EDGE, voltgw: {{outside_vip_range: {text}}}}}}}\n"
            for name, text in (("local", "192.0.2.0/24"), ("lyon", "198.51.100.0/24")))
        made = zone(sites, "- {kind: virtual_site, metadata: {name: all, namespace: shared}, spec: {site_type: CUSTOMER_EDGE, "
                           "site_selector: {expressions: ['ves.io/siteName']}}}\n",
                    host("a", "p"), policy("p", "where: {virtual_site: {ref: [shared/all]}}, port: 80"))
        first, second = given(made, "a.apps.example")
        self.assertEqual((first.rpartition(".")[0], second.rpartition(".")[0]), ("192.0.2", "198.51.100"))
        self.assertEqual(first.rpartition(".")[2], second.rpartition(".")[2])

    def test_where_the_discovery_is(self) -> None:
        """A zone that is delegated to another site is none of ours."""
        made = runtime(ZONE.replace("MORE", "ttl: 30").replace("where: {}", "where: {site: {ref: [system/lyon]}}")
                       + "- {kind: site, metadata: {name: lyon, namespace: system}, spec: {site_type: CUSTOMER_EDGE}}\n")
        assert made.delegations is not None
        self.assertEqual(made.delegations.all, [])

    def test_one_conflict_of_keys(self) -> None:
        """It is told of the zone that has it, and of no other one behind it."""
        keyed = f"secondaries: [{KEYED.format('192.0.2.1', 'AAAA')}, {KEYED.format('192.0.2.2', 'AAAB')}]"
        good = "- {kind: discovery, metadata: {name: good, namespace: system}, spec: {where: {}, voltgw: {dns_delegation: {zone: other.example}}}}\n"
        problems = self.assertRaises(ConfigErrors, zone, good, more=keyed).problems
        self.assertEqual(len(problems), 1, problems)

    def test_zones_that_cannot_be(self) -> None:
        """Each is an error at its place."""
        for more, reason in (
            ("records: [{name: a, type: A, data: nowhere}]", "'nowhere' is no A record"),
            ("records: [{name: a, type: SOA, data: x}]", "records of type SOA cannot be given"),
            ("records: [{name: a, type: ODD, data: x}]", "records of type ODD cannot be given"),
            ("records: [{name: '@', type: NS, data: ns}]", "stand in `name_servers`"),
            ("records: [{name: a, type: CNAME, data: b}, {name: a, type: TXT, data: x}]", "beside other records"),
            ("records: [{name: a, type: DNSKEY, data: x}]", "records of type DNSKEY cannot be given"),
            ("dnssec: {private_key: 'string:///AAAA'}", "no private key in PEM"),
            (f"secondaries: [{KEYED.format('192.0.2.1', 'AAAA')}, {KEYED.format('192.0.2.2', 'AAAB')}]", "two keys are named"),
        ):
            caught = self.assertRaises(ConfigErrors, zone, more=more)
            self.assertEqual(caught.problems[0].code, "VG0230")
            self.assertIn(reason, caught.problems[0].message)
        twice = "- {kind: discovery, metadata: {name: b, namespace: system}, spec: {where: {}, voltgw: {dns_delegation: {zone: apps.example}}}}\n"
        self.assertIn("already", self.assertRaises(ConfigErrors, zone, twice).problems[0].message)
        inner = twice.replace("zone: apps", "zone: inner.apps")
        signed = f"dnssec: {{private_key: 'string:///{base64.b64encode(KEY).decode()}'}}"
        self.assertIn("within apps.example, which is signed", self.assertRaises(ConfigErrors, zone, inner, more=signed).problems[0].message)
        secondary = "secondaries: [{address: 192.0.2.1}]"
        self.assertIn("handed to secondaries", self.assertRaises(ConfigErrors, zone, more=f"{signed}, {secondary}").problems[0].message)

    def test_signed_and_copied_zones(self) -> None:
        """The apex has the key, and what the parent's DS should be; a secondary is one by default port and without a key."""
        made = zone(more=f"dnssec: {{private_key: 'string:///{base64.b64encode(KEY).decode()}'}}")
        assert made.delegations is not None
        (signer,) = made.delegations.signers.values()
        self.assertEqual(made.delegations.all[0].zone.nodes[signer.apex].rrsets[DNSKEY].rdatas, (signer.dnskey,))
        made = zone(more="secondaries: [{address: 192.0.2.1, disable_notify: true}]")
        assert made.delegations is not None
        (secondary,) = made.delegations.all[0].secondaries
        self.assertEqual((secondary.name, secondary.notify, secondary.key), ("192.0.2.1:53", False, None))

    def test_https_records(self) -> None:
        """They are there for hosts with TLS, unless they are not wanted."""
        offer = Offer(ip_address("192.0.2.1"), Mock(version_1=True, version_2=True), "p", "s", True, 443, True)
        name = Name("a", b"\1a\0", [offer])
        for more, there in (("ttl: 30", True), ("disable_https_records: true", False)):
            made = zone(more=more)
            assert made.delegations is not None
            self.assertEqual(name.host(lambda host: True, made.delegations.all[0].spec).https is not None, there)

    def test_static_records_win(self) -> None:
        """A virtual host's name that has static addresses is left out, with the reason."""
        made = zone(host("a", "one"), policy("one", "address: 192.0.2.1, port: 80"), more="records: [{name: a, type: A, data: 192.0.2.9}]")
        assert made.delegations is not None
        self.assertIn("static addresses", made.delegations.all[0].left_out[0][1])

    def test_selected_sites(self) -> None:
        """Each known site with the reason why it is selected or not."""
        made = runtime(
            "objects:\n- {kind: site, metadata: {name: lyon, namespace: system, labels: {zone: eu}}, spec: {site_type: CUSTOMER_EDGE}}\n"
            "- {kind: virtual_site, metadata: {name: eu, namespace: shared}, spec: {site_type: CUSTOMER_EDGE, "
            "site_selector: {expressions: [zone]}}}\n"
            + policy("p", "where: {virtual_site: {ref: [shared/eu]}}, port: 80") + policy("q", "where: {site: {ref: [system/lyon]}}, port: 80")
            + policy("r", "port: 80"))
        for name, taken in (("p", [False, True]), ("q", [False, True]), ("r", [True, False])):
            one: Any = made.config.of("advertise_policy")["default", name]
            found = selected_sites(made.config, one.spec.where, one.namespace)
            self.assertEqual(([each.name for each in found], [each.taken for each in found]), (["local", "lyon"], taken))
            self.assertTrue(all(each.reason for each in found))


class SideTests(GatewayCase):
    """`DnsSide` within a running gateway."""

    def begin(self, address: str) -> GatewayService:
        """A gateway with one relayed host; `address` is its policy's field."""
        self.dns_port = free_port()
        origin = self.ok_origin()
        self.file.write_text(ZONE.replace("MORE", "when_down: nodata").replace(
            "objects:", f"gateway: {{admin: {{port: 0}}, dns: [{{address: 127.0.0.1, port: {self.dns_port}}}]}}\nobjects:", 1) + (
            f"- {{kind: virtual_host, metadata: {{name: a}}, spec: {{domains: [a.apps.example], proxy: TCP_PROXY, advertise_policies: [p], "
            f"routes: [t]}}}}\n- {{kind: advertise_policy, metadata: {{name: p}}, spec: {{{address}port: {self.port}}}}}\n"
            "- {kind: route, metadata: {name: t}, spec: {routes: [{route_destination: {destinations: [{cluster: [c]}]}}]}}\n"
            "- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e], health_checks: [h]}}\n"
            "- {kind: healthcheck, metadata: {name: h}, spec: {tcp_health_check: {}, interval: 1, timeout: 1, healthy_threshold: 1, "
            "unhealthy_threshold: 1}}\n"
            f"- {{kind: endpoint, metadata: {{name: e}}, spec: {{ip: 127.0.0.1, port: {origin.port}}}}}\n"), encoding="utf-8")
        self.make().privilegedStartService()
        self.gateway.startService()
        return self.gateway

    async def answered(self) -> list[str]:
        """The addresses that a client gets."""
        query = dns.message.make_query("a.apps.example", "A")
        answer = await deferToThread(dns.query.udp, query, "127.0.0.1", 5.0, self.dns_port)
        return [rdata.to_text() for rrset in answer.answer for rdata in rrset]

    async def test_the_interface_gets_another_address(self) -> None:
        """The name moves with the listener."""
        self.address = "127.0.0.2"
        self.patch(service, "default_interface_address", lambda network: self.address)
        gateway = self.begin("")
        await self.warm()
        self.assertEqual(await self.answered(), ["127.0.0.2"])
        self.address = "127.0.0.3"
        self.advance(4)
        await self.until(lambda: gateway.generation == 2)
        self.assertEqual(await self.answered(), ["127.0.0.3"])

    async def test_health(self) -> None:
        """Answered before the first probe and while it is up, not when it is down; `/names` says why."""
        gateway = self.begin("address: 127.0.0.1, ")
        self.assertEqual(await self.answered(), ["127.0.0.1"])
        await self.warm()
        self.assertEqual(await self.answered(), ["127.0.0.1"])
        gateway.memberships["default/c"].cluster.any_ready = False
        self.advance(1.5)
        await self.until(lambda: "no endpoint of its service is up" in next(iter(gateway.names()["names"]))["why"])
        self.assertEqual(await self.answered(), [])
        gateway.memberships["default/c"].cluster.any_ready = True
        self.advance(1.5)
        await self.until(lambda: next(iter(gateway.names()["names"]))["answered"])
        self.assertEqual(await self.answered(), ["127.0.0.1"])
        counted = gateway.dns_counters()
        assert counted is not None
        self.assertEqual(counted.queries["udp", "A"], 4)
        put_together: list[str] = []
        host = Name.host

        def counting(name: Any, up: Any, spec: Any) -> Any:
            put_together.append(name.text)
            return host(name, up, spec)

        self.patch(Name, "host", counting)
        for ready, names in ((True, 0), (False, 1), (False, 1)):        # thousands of names cost nothing while nothing happens
            gateway.memberships["default/c"].cluster.any_ready = ready
            list(gateway.dns._look(gateway.dns._serving))
            self.assertEqual(len(put_together), names)

    async def test_no_zone(self) -> None:
        """A gateway without one has no DNS server, and no counters of it."""
        gateway = self.start()
        self.assertIsNone(gateway.dns_counters())
        self.assertEqual((gateway.names()["zones"], list(gateway.names()["names"])), ([], []))
        self.assertIsInstance(gateway.dns, DnsSide)
