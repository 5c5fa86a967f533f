"""Where load balancers are offered."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.lowering.making import HTTP, balancer, config, host, policies, pool, tcp, view
from tests.config.making import codes, judged, lines, problems
from voltgw.config.objects.where import VirtualNetworkType
from voltgw.config.values import Range, Ref

OUTSIDE, INSIDE = VirtualNetworkType.SITE_LOCAL, VirtualNetworkType.SITE_LOCAL_INSIDE


def custom(*entries: str) -> str:
    """A load balancer that is offered in these places."""
    return balancer(f"advertise_custom: {{advertise_where: [{', '.join(entries)}]}}")


class ChoiceTests(SynchronousTestCase):
    def test_the_public_default_vip(self) -> None:
        """All regional edges, and the own site is one unless its object says otherwise."""
        source = balancer("advertise_on_public_default_vip: {}")
        (policy,) = policies(source)
        assert policy.where is not None and policy.where.virtual_site is not None
        self.assertEqual(policy.where.virtual_site.ref, (Ref("shared", "ves-io-all-res", tenant="ves-io"),))
        self.assertIs(policy.where.virtual_site.network_type, VirtualNetworkType.PUBLIC)
        for site, here in (("", True), ("site_type: REGIONAL_EDGE", True), ("site_type: CUSTOMER_EDGE", False)):
            made = config(source, f"- {{kind: site, metadata: {{name: local, namespace: system}}, spec: {{{site}}}}}\n")
            self.assertEqual(made.here(policy.where, "default"), here, site)
        self.assertTrue(config(source).here(policy.where, "default"))

    def test_nowhere(self) -> None:
        """Said, it is what is wanted; not said, it is worth a word."""
        self.assertEqual(policies(balancer("do_not_advertise: {}")), [])
        self.assertEqual(judged("objects:\n" + balancer("do_not_advertise: {}") + pool(name="p")), ())
        (found,) = judged("objects:\n" + balancer() + pool(name="p"))
        self.assertEqual((found.code, found.place.line), ("VG0204", 2))
        self.assertIn("advertise_on_public_default_vip", found.hint)

    def test_a_public_address(self) -> None:
        """As the policy has it."""
        (policy,) = policies(balancer("advertise_on_public: {public_ip: {name: a}}"))
        self.assertEqual((policy.public_ip, policy.where), ((Ref(None, "a"),), None))
        self.assertEqual(codes(problems("objects:\n" + balancer("advertise_on_public: {}")))[:1], ["VG0105"])

    def test_sites(self) -> None:
        """Both networks of a site are two policies; with an address it is one."""
        for network, expected in (
            ("", [OUTSIDE, INSIDE]), (", network: SITE_NETWORK_INSIDE_AND_OUTSIDE", [OUTSIDE, INSIDE]),
            (", network: SITE_NETWORK_INSIDE", [INSIDE]), (", network: SITE_NETWORK_OUTSIDE", [OUTSIDE]),
            (", network: SITE_NETWORK_OUTSIDE_WITH_INTERNET_VIP", [OUTSIDE]), (", network: SITE_NETWORK_SERVICE", []),
            (", network: SITE_NETWORK_IP_FABRIC", []),
            (", ip: 192.0.2.1", [VirtualNetworkType.SITE_LOCAL_INSIDE_OUTSIDE]),
            (", ip: 192.0.2.1, network: SITE_NETWORK_INSIDE", [INSIDE]),
        ):
            wheres = [policy.where.site if policy.where else None for policy in policies(custom(f"{{site: {{site: paris{network}}}}}"))]
            self.assertEqual([where and where.network_type for where in wheres], expected, network)
            self.assertTrue(all(where is not None and where.ref == (Ref(None, "paris"),) for where in wheres))

    def test_addresses(self) -> None:
        """One policy for each."""
        self.assertEqual([policy.address for policy in policies(custom("{site: {site: s, ip: 192.0.2.1, ipv6: '2001:db8::1'}}"))],
                         ["192.0.2.1", "2001:db8::1"])
        self.assertEqual([policy.address for policy in policies(custom("{virtual_network: {virtual_network: n, specific_vip: 192.0.2.2}}"))],
                         ["192.0.2.2"])
        self.assertEqual([policy.address for policy in policies(custom("{virtual_network: {virtual_network: n, default_vip: {}}}"))],
                         [None])

    def test_virtual_sites(self) -> None:
        """All their sites."""
        for choice, address in (("virtual_site: {virtual_site: shared/v, network: SITE_NETWORK_OUTSIDE}", None),
                                ("virtual_site_with_vip: {virtual_site: shared/v, ip: 192.0.2.1, network: SITE_NETWORK_OUTSIDE}", "192.0.2.1")):
            (policy,) = policies(custom(f"{{{choice}}}"))
            assert policy.where is not None and policy.where.virtual_site is not None
            self.assertEqual((policy.where.virtual_site.ref, policy.where.virtual_site.network_type, policy.address),
                             ((Ref("shared", "v"),), OUTSIDE, address))

    def test_places_that_have_nothing_of_ours(self) -> None:
        """No port is opened elsewhere instead: what is meant for a cluster's own network is not for the public."""
        for choice in ("vk8s_service: {site: s}", "segment: {}", "site_segment: {}", "site: {site: s, network: SITE_NETWORK_SERVICE}"):
            self.assertEqual(policies(custom(f"{{{choice}}}")), [], choice)
            self.assertIn("VG0114", codes(problems("objects:\n" + custom(f"{{{choice}}}"))))

    def test_ports(self) -> None:
        """A place's own, or the load balancer's."""
        found = policies(custom("{site: {site: a, ip: 192.0.2.1}, port: 81}", "{site: {site: b, ip: 192.0.2.2}, use_default_port: {}}",
                                "{site: {site: c, ip: 192.0.2.3}, port_ranges: '82-83'}"))
        self.assertEqual([(policy.port, policy.port_ranges) for policy in found], [(81, ()), (80, ()), (None, (Range(82, 83),))])

    def test_each_place_has_a_policy_of_its_own_name(self) -> None:
        """A single one has the load balancer's."""
        one = host(custom("{site: {site: a, network: SITE_NETWORK_INSIDE}}")).advertise_policies
        self.assertEqual(one, (Ref("default", HTTP),))
        two = host(custom("{site: {site: a}}")).advertise_policies
        self.assertEqual(len({ref.name for ref in two}), 2)
        self.assertTrue(all(ref.name.startswith(f"{HTTP}-") for ref in two))

    def test_a_port_for_every_place_is_enough(self) -> None:
        """The load balancer then needs none."""
        source = view("tcp_loadbalancer", "origin_pools: [p], advertise_custom: {advertise_where: [{site: {site: s, ip: 192.0.2.1}, port: 1}]}")
        self.assertEqual([policy.port for policy in policies(source)], [1])

    def test_what_is_missing(self) -> None:
        """The site, the virtual site, the network."""
        for choice, name in (("site: {}", "site"), ("virtual_site: {}", "virtual_site"), ("virtual_network: {}", "virtual_network")):
            found = [one for one in problems("objects:\n" + custom(f"{{{choice}}}")) if one.severity.value == "error"]
            self.assertEqual([one.code for one in found], ["VG0105"], choice)
            self.assertIn(f'"{name}" is missing', found[0].message)

    def test_two_owners_of_a_port(self) -> None:
        """The rules between objects hold for what was made, and their places are those of the views."""
        both = "objects:\n" + balancer("advertise_on_public_default_vip: {}, http: {port: 5432}") + tcp("advertise_on_public_default_vip: {}") \
            + pool(name="p")
        found = lines(tuple(one for one in judged(both) if one.severity.value == "error"))
        self.assertEqual([line.partition(" ")[0][:2] for line in found], ["3:"])
        self.assertIn('VG0201 virtual_host "ves-io-tcp-loadbalancer-x" (TCP_PROXY) wants', found[0])
