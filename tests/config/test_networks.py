"""Which network a ``where`` means, and what that is on this host."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import judged, loaded
from voltgw.config.model import Config
from voltgw.config.networks import Networks
from voltgw.values.network import HOST, Network

SITE = "- {kind: site, metadata: {name: lab, namespace: system, labels: {LABELS}}, spec: {SPEC}}\n"
IN = "- {kind: virtual_network, metadata: {name: red, namespace: system}, spec: {site_local_inside_network: {}, voltgw: {netns: red, interface: eth1}}}\n"
OUT = "- {kind: virtual_network, metadata: {name: wan, namespace: system}, spec: {site_local_network: {}, voltgw: {interface: eth0, source: 192.0.2.5}}}\n"
RED = Network("system/red", "red", "eth1", "eth1")
WAN = Network("system/wan", "", "eth0", "eth0", ("192.0.2.5",))


def config(objects: str, labels: str = "", site: str = "site_type: CUSTOMER_EDGE") -> Config:
    """A configuration of the site `lab`."""
    return loaded("gateway: {site: lab}\nobjects:\n" + SITE.replace("LABELS", labels).replace("SPEC", site) + objects)


def endpoint(where: str, ip: str = "10.0.0.2") -> str:
    """An endpoint object."""
    return f"- {{kind: endpoint, metadata: {{name: e}}, spec: {{where: {{{where}}}, ip: {ip}, port: 80}}}}\n"


def at(where: str, objects: str = IN + OUT, *, ip: str = "10.0.0.2", **given: str) -> Network | None:
    """The network of an endpoint; None = it is not on this site."""
    made = config(objects + endpoint(where, ip), **given)
    (found,) = made.of("endpoint").values()
    if not made.here(found.spec.where, found.namespace):
        return None
    return Networks(made).of(found.spec.where, found.namespace, found.spec.ip)


def of_site(network: str = "", site: str = "lab") -> str:
    """``where`` by the site."""
    kind = f", network_type: VIRTUAL_NETWORK_{network}" if network else ""
    return f"site: {{ref: [{{namespace: system, name: {site}}}]{kind}}}"


class ReadingsTests(SynchronousTestCase):
    """The four readings of ``where``."""

    def test_a_site(self) -> None:
        """The own one, by the role of its network; no other one."""
        self.assertEqual(at(of_site()), WAN)
        self.assertEqual(at(of_site("PUBLIC")), WAN)
        self.assertEqual(at(of_site("SITE_LOCAL_INSIDE")), RED)
        other = "- {kind: site, metadata: {name: paris, namespace: system}, spec: {}}\n"
        self.assertIsNone(at(of_site(site="paris"), IN + other))

    def test_a_virtual_network(self) -> None:
        """By its name, when it is on this site; one that spans sites is where its voltgw part says so."""
        self.assertEqual(at("virtual_network: {ref: [system/red]}"), RED)
        span = "- {kind: virtual_network, metadata: {name: span, namespace: system}, spec: {global_network: {}WHAT}}\n"
        where = "virtual_network: {ref: [system/span]}"
        self.assertIsNone(at(where, span.replace("WHAT", "")))
        self.assertEqual(at(where, span.replace("WHAT", ", voltgw: {vrf: blue, interface: eth2}")),
                         Network("system/span", "", "blue", "eth2"))

    def test_the_external_network(self) -> None:
        """The built-in public one is the outside network."""
        where = "virtual_network: {ref: [{tenant: ves-io, namespace: shared, name: public}]}"
        self.assertEqual(at(where), WAN)

    def test_a_virtual_site(self) -> None:
        """The sites that it selects, by labels and type."""
        select = ("- {kind: virtual_site, metadata: {name: v, namespace: shared}, spec: {site_type: TYPE, site_selector: "
                  "{expressions: ['place in (lab)']}}}\n")
        where = "virtual_site: {ref: [shared/v], network_type: VIRTUAL_NETWORK_SITE_LOCAL_INSIDE}"
        edge = select.replace("TYPE", "CUSTOMER_EDGE")
        self.assertEqual(at(where, IN + edge, labels="place: lab"), RED)
        self.assertIsNone(at(where, IN + edge, labels="place: field"))
        self.assertIsNone(at(where, IN + select.replace("TYPE", "REGIONAL_EDGE"), labels="place: lab"))
        every = "virtual_site: {ref: [{tenant: ves-io, namespace: shared, name: ves-io-all-res}]}"
        self.assertIsNone(at(every))
        self.assertEqual(at(every, site="site_type: REGIONAL_EDGE"), WAN)

    def test_by_the_endpoints_address(self) -> None:
        """IP_AUTO: private addresses are inside, where there is an inside."""
        self.assertEqual(at(of_site("IP_AUTO"), ip="10.0.0.2"), RED)
        self.assertEqual(at(of_site("IP_AUTO"), ip="8.8.8.8"), WAN)
        self.assertEqual(at(of_site("IP_AUTO"), OUT, ip="10.0.0.2"), WAN)

    def test_nothing_said(self) -> None:
        """The outside network; without any object for it, the host as it is."""
        self.assertEqual(Networks(config(OUT)).of(None, "default"), WAN)
        self.assertIs(Networks(config("")).of(None, "default"), HOST)


class RoleTests(SynchronousTestCase):
    """Which network is the site's inside or outside one."""

    SECOND = "- {kind: virtual_network, metadata: {name: two, namespace: system}, spec: {site_local_inside_network: {}, voltgw: {netns: two}}}\n"

    def test_two_candidates(self) -> None:
        """That is an error, unless somebody chooses."""
        text = "gateway: {site: lab}\nobjects:\n" + SITE.replace("LABELS", "").replace("SPEC", "EXTRA")
        self.assertEqual([one.code for one in judged(text.replace("EXTRA", "") + IN + self.SECOND)], ["VG0219"])
        self.assertEqual(judged(text.replace("EXTRA", "voltgw: {inside_network: system/two}") + IN + self.SECOND), ())

    def test_the_sites_choice(self) -> None:
        """It goes before its fleet's."""
        fleet = ("- {kind: fleet, metadata: {name: f, namespace: system}, spec: {fleet_label: f, inside_virtual_network: "
                 "[{namespace: system, name: two}]}}\n")
        made = Networks(config(IN + self.SECOND + fleet, "ves.io/fleet: f"))
        self.assertEqual(made.inside.name, "system/two")
        made = Networks(config(IN + self.SECOND + fleet, "ves.io/fleet: f", "voltgw: {inside_network: system/red}"))
        self.assertEqual(made.inside, RED)

    def test_servers_of_names(self) -> None:
        """The network's own, else the site's for that role."""
        servers = "outside_nameserver: 192.0.2.53, inside_nameserver: 10.0.0.53"
        made = Networks(config(IN + OUT.replace("interface: eth0", "interface: eth0, dns_servers: [192.0.2.54]"), site=servers))
        self.assertEqual((made.inside.dns_servers, made.outside.dns_servers), (("10.0.0.53",), ("192.0.2.54",)))
        bare = Networks(config("", site=servers))
        self.assertEqual((bare.inside.dns_servers, bare.inside.apart), (("10.0.0.53",), False))

    def test_names_that_cannot_be(self) -> None:
        """A slash in an interface, a blank in a namespace."""
        for wrong in ("interface: a/b", 'netns: "a b"', "netns: a/b", "vrf: '.', interface: eth1"):
            found = judged("objects:\n" + IN.replace("netns: red, interface: eth1", wrong))
            self.assertEqual([one.code for one in found], ["VG0104"], wrong)
        self.assertEqual(judged("objects:\n" + IN.replace("netns: red", "netns: /run/netns/red")), ())

    def test_a_vrf_has_an_interface(self) -> None:
        """The addresses of the network are those of a member, not of the VRF device."""
        found = judged("objects:\n" + IN.replace("netns: red, interface: eth1", "vrf: red"))
        self.assertEqual([one.code for one in found], ["VG0106"])
