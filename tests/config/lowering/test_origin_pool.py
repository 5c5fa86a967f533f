"""origin_pool: a cluster and its endpoints."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.config.lowering.making import POOL, cluster, config, endpoints, pool
from tests.config.making import codes, judged, lines, problems
from voltgw.config.objects.cluster import (
    CircuitBreaker,
    ClusterSpec,
    EndpointSelectionPolicy,
    LoadbalancerAlgorithm,
    SubsetFallbackPolicy,
)
from voltgw.config.objects.endpoint import EndpointSpec, TransportProtocol
from voltgw.config.objects.where import VirtualNetworkType
from voltgw.config.values import Ref


def server(choice: str, pool_fields: str = "") -> EndpointSpec:
    """The endpoint of a pool with one server."""
    (found,) = endpoints(pool(pool_fields, servers=f"[{{{choice}}}]"))
    return found


class ClusterTests(SynchronousTestCase):
    def test_the_names_that_real_routes_refer_to(self) -> None:
        """``ves-io-origin-pool-<pool>``, and the same with ten digits of a hash for its servers; all in its namespace."""
        made = config(pool(servers="[{public_ip: {ip: 192.0.2.7}}, {public_ip: {ip: 192.0.2.8}}]", namespace="shop"))
        self.assertEqual(list(made.of("cluster")), [("shop", POOL)])
        for namespace, name in made.of("endpoint"):
            self.assertEqual(namespace, "shop")
            self.assertTrue(re.fullmatch(r"ves-io-origin-pool-x-[0-9a-f]{10}", name), name)
        members = made.of("cluster")["shop", POOL].spec.endpoints
        self.assertEqual([made.find("endpoint", ref, "shop") for ref in members], list(made.of("endpoint").values()))

    def test_a_server_keeps_its_name_when_others_come_and_go(self) -> None:
        """The hash is one of what the server says, not of its position."""
        one = "{public_ip: {ip: 192.0.2.7}}"
        alone = set(config(pool(servers=f"[{one}]")).of("endpoint"))
        self.assertLess(alone, set(config(pool(servers=f"[{{public_ip: {{ip: 192.0.2.1}}}}, {one}]")).of("endpoint")))

    def test_a_server_that_stands_there_twice(self) -> None:
        """One endpoint; the rules between objects tell of the second one, in its place."""
        source = pool(servers="[{public_ip: {ip: 192.0.2.7}}, {public_ip: {ip: 192.0.2.7}}]")
        self.assertEqual(len(endpoints(source)), 1)
        (found,) = judged("objects:\n" + source)
        self.assertEqual((found.code, found.place.line, found.place.column), ("VG0206", 2, 118))

    def test_what_it_shares_with_a_cluster(self) -> None:
        """Checks, algorithm, selection, time limits, protocol, limits of connections."""
        spec = cluster(pool(
            "healthcheck: [{name: a}, b], loadbalancer_algorithm: LB_OVERRIDE, endpoint_selection: LOCAL_PREFERRED, advanced_options: {"
            "connection_timeout: 500, http_idle_timeout: 1000, no_panic_threshold: {}, http1_config: {}, max_requests_per_connection: 9}"))
        self.assertEqual(spec.health_checks, (Ref(None, "a"), Ref(None, "b")))
        self.assertIs(spec.loadbalancer_algorithm, LoadbalancerAlgorithm.LB_OVERRIDE)
        self.assertIs(spec.endpoint_selection, EndpointSelectionPolicy.LOCAL_PREFERRED)
        self.assertEqual((spec.connection_timeout_s, spec.http_idle_timeout_s, spec.max_requests_per_connection), (0.5, 1.0, 9))
        self.assertTrue(spec.no_panic_threshold)
        self.assertIsNotNone(spec.http1_config)

    def test_what_is_not_said_stays_absent(self) -> None:
        """The cluster's own meaning of that counts."""
        spec = cluster(pool())
        self.assertEqual(spec, ClusterSpec(endpoints=spec.endpoints))

    def test_circuit_breakers(self) -> None:
        """The default one, none, and one of its own."""
        for choice, expected in (
            ("default_circuit_breaker: {}",
             CircuitBreaker(connection_limit=1024, pending_requests=1024, max_requests=1024, retries=3)),
            ("disable_circuit_breaker: {}", CircuitBreaker(pending_requests=32768, retries=32768)),
            ("circuit_breaker: {connection_limit: 5}", CircuitBreaker(connection_limit=5)), ("", None),
        ):
            self.assertEqual(cluster(pool(f"advanced_options: {{{choice}}}")).circuit_breaker, expected, choice)

    def test_subsets(self) -> None:
        """The fallback is a policy in the cluster, and a oneof in the view."""
        for choice, policy, labels in (
            ("any_endpoint: {}", SubsetFallbackPolicy.ANY_ENDPOINT, {}), ("fail_request: {}", SubsetFallbackPolicy.NO_FALLBACK, {}),
            ("default_subset: {default_subset: {a: b}}", SubsetFallbackPolicy.DEFAULT_SUBSET, {"a": "b"}),
        ):
            spec = cluster(pool(f"advanced_options: {{enable_subsets: {{endpoint_subsets: [{{keys: [a]}}], {choice}}}}}"))
            self.assertEqual([subset.keys for subset in spec.endpoint_subsets], [("a",)])
            self.assertEqual((spec.fallback_policy, spec.default_subset), (policy, labels), choice)

    def test_a_disabled_pool(self) -> None:
        """What it stands for is out of service with it, and a reference to it is told so where it stands."""
        made = config(pool(more=", disable: true"))
        self.assertEqual(len(made.of("cluster")), 0)
        self.assertTrue(made.objects["cluster"]["default", POOL].metadata.disable)


class ServerTests(SynchronousTestCase):
    def test_addresses_and_names(self) -> None:
        """Public ones, with the pool's port."""
        for choice, expected in (
            ("public_ip: {ip: 192.0.2.7}", EndpointSpec(ip="192.0.2.7", port=8000)),
            ("public_ip: {ipv6: '2001:db8::1'}", EndpointSpec(ip="2001:db8::1", port=8000)),
            ("public_name: {dns_name: app.example}", EndpointSpec(dns_name="app.example", port=8000)),
        ):
            self.assertEqual(server(choice), expected, choice)
        named = server("public_name: {dns_name: app.example, refresh_interval: 20}").dns_name_advanced
        assert named is not None
        self.assertEqual((named.name, named.refresh_interval_s), ("app.example", 20.0))

    def test_ports(self) -> None:
        """Said, or by the protocol; for health checks another one."""
        for fields, port in (("port: 81", 81), ("automatic_port: {}", 80)):
            self.assertEqual(server("public_ip: {ip: 192.0.2.7}", fields).port, port)
        self.assertEqual(server("public_ip: {ip: 192.0.2.7}", "health_check_port: 9").health_check_port, 9)
        secure = pool("automatic_port: {}, use_tls: {}")
        (spec,) = (one.spec for one in config(secure).of("endpoint").values())
        self.assertEqual(spec.port, 443)

    def test_servers_on_a_site(self) -> None:
        """Where it is, and on which of the site's networks; not said = on the own site."""
        for network, expected in (
            ("inside_network: {}", VirtualNetworkType.SITE_LOCAL_INSIDE), ("outside_network: {}", VirtualNetworkType.SITE_LOCAL),
            ("", VirtualNetworkType.SITE_LOCAL),
        ):
            for choice in ("private_ip: {ip: 10.0.0.1, %s}", "private_name: {dns_name: a.b, %s}", "k8s_service: {service_name: a.b, %s}",
                           "consul_service: {service_name: a, %s}"):
                where = server(choice % f"site_locator: {{site: paris}}, {network}".rstrip(", ")).where
                assert where is not None and where.site is not None
                self.assertEqual((where.site.ref, where.site.network_type), ((Ref(None, "paris"),), expected))
        self.assertIsNone(server("private_ip: {ip: 10.0.0.1, inside_network: {}}").where)
        where = server("private_ip: {ip: 10.0.0.1, site_locator: {virtual_site: shared/all}}").where
        assert where is not None and where.virtual_site is not None
        self.assertEqual(where.virtual_site.ref, (Ref("shared", "all"),))

    def test_services_in_registries(self) -> None:
        """By name or selector; the registry may bring the port."""
        for choice, registry in (("k8s_service", "K8S"), ("consul_service", "CONSUL"), ("cbip_service", "CLASSIC_BIGIP")):
            info = server(f"{choice}: {{service_name: a.b}}").service_info
            assert info is not None
            self.assertEqual((info.discovery_type.value, info.service_name), (registry, "a.b"))
        info = server("k8s_service: {service_selector: {expressions: ['app in (a)']}}").service_info
        assert info is not None and info.service_selector is not None
        self.assertEqual(info.service_selector.expressions, ("app in (a)",))
        self.assertIs(server("k8s_service: {service_name: a, protocol: PROTOCOL_UDP}").protocol, TransportProtocol.UDP)
        self.assertIsNone(server("consul_service: {service_name: a}", "automatic_port: {}").port)
        self.assertEqual(server("k8s_service: {service_name: a}", "automatic_port: {}").port, 80)

    def test_servers_on_a_virtual_network(self) -> None:
        """The network is their `where`."""
        for choice in ("vn_private_ip: {ip: 10.0.0.1, virtual_network: n}", "vn_private_name: {dns_name: a.b, private_network: n}"):
            where = server(choice).where
            assert where is not None and where.virtual_network is not None
            self.assertEqual(where.virtual_network.ref, (Ref(None, "n"),))

    def test_labels_and_weights(self) -> None:
        """Labels make subsets; a weight is ours."""
        made = config(pool(servers="[{public_ip: {ip: 192.0.2.7}, labels: {version: '2'}, voltgw: {weight: 3}}]"))
        (one,) = made.of("endpoint").values()
        assert one.spec.voltgw is not None
        self.assertEqual((one.metadata.labels, one.spec.voltgw.weight), ({"version": "2"}, 3))

    def test_an_endpoint_object(self) -> None:
        """It is a member as it is, and needs no port of the pool."""
        made = config(pool("port: null", servers="[{custom_endpoint_object: {endpoint: {name: e}}}]"))
        self.assertEqual(made.of("cluster")["default", POOL].spec.endpoints, (Ref(None, "e"),))
        self.assertEqual(len(made.of("endpoint")), 0)

    def test_what_is_missing(self) -> None:
        """At the part where it is missing, and all of it."""
        for fields, servers, code, words in (
            ("port: null", "[{public_ip: {ip: 192.0.2.7}}]", "VG0105", "the port of the origin servers"),
            ("", "[{labels: {a: b}}]", "VG0105", "no address"), ("", "[{public_ip: {}}]", "VG0105", "does not say which"),
            ("", "[{public_name: {}}]", "VG0105", "does not say which"), ("", "[{k8s_service: {}}]", "VG0105", "does not say which"),
            ("", "[{custom_endpoint_object: {}}]", "VG0105", "endpoint"),
        ):
            found = [one for one in problems("objects:\n" + pool(fields, servers)) if one.severity.value == "error"]
            self.assertEqual([one.code for one in found], [code], servers)
            self.assertIn(words, found[0].message)
            self.assertEqual(found[0].place.line, 2)

    def test_the_port_of_the_request(self) -> None:
        """It is not known here: the pool has no servers, and a warning says so."""
        source = pool("lb_port: {}, port: null")
        self.assertEqual(endpoints(source), [])
        self.assertIn('W 2:119 VG0114 "lb_port" of origin_pool is not acted on yet; the pool has no servers instead',
                      lines(problems("objects:\n" + source)))


class RefusedTests(SynchronousTestCase):
    def test_tls_to_servers_is_acted_on(self) -> None:
        """As for a cluster: nobody need allow plain text instead."""
        self.assertEqual(codes(problems("objects:\n" + pool("use_tls: {}"))), [])
