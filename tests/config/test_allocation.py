"""VIPs that sites give out of a range."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import codes, judged, loaded
from voltgw.config.allocation import own_vips, usable, vips_at
from voltgw.config.check import check
from voltgw.config.model import Config

INSIDE = "where: {virtual_site: {ref: [shared/all], network_type: VIRTUAL_NETWORK_SITE_LOCAL_INSIDE}}"
BOTH = INSIDE.replace("INSIDE}", "INSIDE_OUTSIDE}")
EVERYWHERE = "where: {virtual_site: {ref: [shared/all]}}"


def text(policies: Iterable[tuple[str, str]], site: str = "outside_vip_range: 192.0.2.0/26, inside_vip_range: 10.1.0.0/24", more: str = "") -> str:
    """A site with ranges, another one, and policies by name."""
    return (
        "gateway: {site: lab}\nobjects:\n"
        f"- {{kind: site, metadata: {{name: lab, namespace: system}}, spec: {{site_type: CUSTOMER_EDGE, voltgw: {{{site}}}{more}}}}}\n"
        "- {kind: site, metadata: {name: lyon, namespace: system}, spec: {site_type: CUSTOMER_EDGE, voltgw: {outside_vip_range: "
        "198.51.100.0/28}}}\n"
        "- {kind: virtual_site, metadata: {name: all, namespace: shared}, spec: {site_type: CUSTOMER_EDGE, site_selector: "
        "{expressions: ['ves.io/siteName in (lab, lyon)']}}}\n"
        + "".join(f"- {{kind: advertise_policy, metadata: {{name: {name}}}, spec: {{{spec}}}}}\n" for name, spec in policies))


def made(policies: Iterable[tuple[str, str]], **more: str) -> Config:
    """The configuration."""
    return loaded(text(policies, **more))


MANY = [(f"p{number}", "port: 80") for number in range(40)]


class AllocationTests(SynchronousTestCase):
    """`own_vips` and `vips_at`."""

    def test_each_has_its_own(self) -> None:
        """All are within the range, none is a host's that cannot be, none is given twice."""
        found = own_vips(made(MANY))
        self.assertEqual(len(set(found.values())), 40)
        for address in found.values():
            self.assertIn(ip_address(address), ip_network("192.0.2.0/26"))
        self.assertTrue({"192.0.2.0", "192.0.2.63"}.isdisjoint(found.values()))

    def test_always_the_same(self) -> None:
        """In another order of files, and in another process, to the address."""
        found = own_vips(made(MANY))
        self.assertEqual(found, own_vips(made(reversed(MANY))))
        self.assertEqual(found["default/p0", False], "192.0.2.14")

    def test_one_that_goes(self) -> None:
        """Few others move: only those that had wanted its place."""
        before = own_vips(made(MANY))
        moved = []
        for number in range(40):
            after = own_vips(made([each for each in MANY if each[0] != f"p{number}"]))
            moved.append(sum(before[key] != address for key, address in after.items()))
        self.assertLess(sum(moved) / len(moved), 2)
        self.assertIn(0, moved)

    def test_what_is_taken(self) -> None:
        """Addresses that policies name and the site's own VIPs are left alone."""
        found = own_vips(made([("a", "port: 80"), ("b", "address: 192.0.2.1, port: 80"), ("c", "port: 81")],
                              site="outside_vip_range: 192.0.2.0/29", more=", outside_vip: 192.0.2.2"))
        self.assertEqual(set(found), {("default/a", False), ("default/c", False)})
        self.assertTrue({"192.0.2.1", "192.0.2.2"}.isdisjoint(found.values()))

    def test_who_gets_one(self) -> None:
        """By network; none for who names an address, wants all of them, or is for a site elsewhere."""
        found = made([("in", f"{INSIDE}, port: 80"), ("both", f"{BOTH}, port: 80"), ("all", "port: 80, voltgw: {any_address: true}"),
                      ("named", "address: 203.0.113.1, port: 80"), ("unix", "port: 0, voltgw: {unix: /tmp/x}"),
                      ("else", "where: {site: {ref: [system/lyon]}}, port: 80")])
        own = own_vips(found)
        self.assertEqual(sorted(own), [("default/both", False), ("default/both", True), ("default/in", True)])
        self.assertIn(ip_address(own["default/in", True]), ip_network("10.1.0.0/24"))
        lyon = next(each for each in found.of("site").values() if each.name == "lyon")
        self.assertEqual(set(vips_at(found, lyon)), {("default/else", False), ("default/both", False)})

    def test_six(self) -> None:
        """A /64 is a range like another one; its first address is all routers'."""
        (address,) = own_vips(made([("a", "port: 80")], site="outside_vip_range: '2001:db8::/64'")).values()
        self.assertIn(ip_address(address), ip_network("2001:db8::/64"))
        self.assertEqual(usable(ip_network("2001:db8::/64"))[0], 1)
        self.assertEqual([usable(ip_network(text)) for text in ("10.0.0.0/31", "10.0.0.0/32", "10.0.0.0/30")], [(0, 2), (0, 1), (1, 2)])

    def test_none_left(self) -> None:
        """An error at the policy that comes away with nothing; a range that is none is one, too."""
        problems = [each for each in check(made([(f"p{number}", "port: 80") for number in range(3)], site="outside_vip_range: 192.0.2.0/30"))
                    if each.code == "VG0223"]
        self.assertEqual(len(problems), 1)
        self.assertIn("2 can be given out", problems[0].message)
        self.assertIn("VG0110", codes(judged(text([], site="outside_vip_range: 192.0.2.0/40"))))

    def test_hosts_do_not_meet(self) -> None:
        """Two hosts that could not share an address have one each."""
        hosts = "".join(f"- {{kind: virtual_host, metadata: {{name: {name}}}, spec: {{proxy: TCP_PROXY, routes: [r], advertise_policies: [{name}]}}}}\n"
                        for name in ("a", "b"))
        route = "- {kind: route, metadata: {name: r}, spec: {routes: [{route_destination: {destinations: [{cluster: c}]}}]}}\n- {kind: cluster, metadata: {name: c}, spec: {endpoints: []}}\n"
        policies = [("a", "port: 80"), ("b", "port: 80")]
        self.assertNotIn("VG0201", [each.code for each in check(loaded(text(policies) + hosts + route))])
        self.assertIn("VG0201", [each.code for each in check(loaded(text(policies, site="", more=", outside_vip: 192.0.2.1") + hosts + route))])
