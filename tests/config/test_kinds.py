"""Every kind of the object model is known."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import loaded
from voltgw.config.kinds import KINDS, kind_of, plan_named, spec_class
from voltgw.config.objects.cluster import ClusterSpec
from voltgw.config.reader import State

NAMES = (
    "virtual_host", "route", "cluster", "endpoint", "advertise_policy", "healthcheck", "discovery", "site",
    "virtual_site", "virtual_network", "network_interface", "network_connector", "network_firewall", "network_policy",
    "forward_proxy_policy", "fleet", "service_policy", "service_policy_rule", "service_policy_set", "rate_limiter",
    "user_identification", "authentication", "app_firewall", "waf", "waf_rules", "app_type", "app_setting",
    "certificate", "trusted_ca_list", "crl", "secret_management_access", "ip_prefix_set", "public_ip", "known_label",
    "known_label_key", "dns_zone", "dns_load_balancer", "dns_lb_pool", "http_loadbalancer", "tcp_loadbalancer",
    "udp_loadbalancer", "origin_pool",
)


class KindTests(SynchronousTestCase):
    def test_none_is_unknown(self) -> None:
        """Those of the object model, in the API's plural too."""
        for name in NAMES:
            kind = kind_of(name)
            assert kind is not None, name
            self.assertIs(kind_of(f"{name}s"), kind)
            self.assertTrue(kind.doc.endswith("."), name)
        self.assertIsNone(kind_of("nope"))

    def test_no_spelling_means_two_kinds(self) -> None:
        """Singular, plural and folder names."""
        for kind in KINDS.values():
            for spelling in (kind.name, kind.plural, kind.name.replace("_", "-")):
                self.assertIs(kind_of(spelling), kind, spelling)

    def test_declarations_are_found_by_name(self) -> None:
        """And imported when they are asked for."""
        self.assertIs(spec_class("cluster"), ClusterSpec)
        self.assertIsNone(plan_named("nope"))
        for kind in KINDS.values():
            plan = kind.plan()
            self.assertEqual(plan is None, not kind.spec, kind.name)
            if plan is not None:
                self.assertTrue(plan.doc, kind.name)

    def test_kinds_that_act_are_declared(self) -> None:
        """Nothing could act on plain data."""
        for kind in KINDS.values():
            if kind.state is State.ACTS:
                self.assertTrue(kind.spec, kind.name)

    def test_infrastructure_lives_in_system(self) -> None:
        """So it is found from every namespace."""
        for name in ("site", "discovery", "fleet", "network_connector", "network_firewall", "forward_proxy_policy"):
            self.assertIn("system", KINDS[name].homes, name)
        for name in ("virtual_site", "app_type", "known_label"):
            self.assertIn("shared", KINDS[name].homes, name)

    def test_objects_by_the_class_of_their_spec(self) -> None:
        """The type checker then knows what it gets."""
        config = loaded("kind: cluster\nmetadata: {name: a}\n")
        self.assertEqual(config.of(ClusterSpec), config.of("cluster"))
