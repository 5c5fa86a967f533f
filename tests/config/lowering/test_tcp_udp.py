"""tcp_loadbalancer and udp_loadbalancer: virtual hosts that relay."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.lowering.making import TCP, UDP, config, forward, host, policies, pool, rules, tcp, view
from tests.config.making import codes, judged, lines, problems
from voltgw.config.objects.endpoint import TransportProtocol
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.config.values import Ref

EVERYWHERE = "advertise_on_public_default_vip: {}"


class TcpTests(SynchronousTestCase):
    def test_a_whole_one_is_served(self) -> None:
        """With its pool it is a configuration without a word of complaint."""
        self.assertEqual(judged("objects:\n" + tcp(EVERYWHERE) + pool(name="p")), ())

    def test_what_it_becomes(self) -> None:
        """A relay with one rule and one policy."""
        spec = host(tcp(f"{EVERYWHERE}, domains: [db.example], idle_timeout: 60000"), TCP)
        self.assertEqual((spec.proxy, spec.domains, spec.idle_timeout_s), (ProxyType.TCP_PROXY, ("db.example",), 60.0))
        (policy,) = policies(tcp(EVERYWHERE))
        self.assertEqual((policy.port, policy.protocol), (5432, TransportProtocol.TCP))
        (rule,) = rules(tcp(), TCP)
        self.assertEqual(rule.match, ())
        self.assertIsNone(forward(tcp(), TCP).timeout_s)

    def test_pools(self) -> None:
        """With shares, or in the older form without."""
        source = view("tcp_loadbalancer", "listen_port: 1, origin_pools_weights: [{pool: p, weight: 2}, {cluster: c, weight: 1}], "
                      "retract_cluster: {}")
        self.assertEqual([(one.cluster[0], one.weight) for one in forward(source, TCP).destinations],
                         [(Ref(None, "ves-io-origin-pool-p"), 2), (Ref(None, "c"), 1)])
        self.assertTrue(forward(source, TCP).retract_cluster)
        source = view("tcp_loadbalancer", "listen_port: 1, origin_pools: [{name: p, namespace: n}]")
        self.assertEqual(forward(source, TCP).destinations[0].cluster, (Ref("n", "ves-io-origin-pool-p"),))

    def test_kinds(self) -> None:
        """By port, by server name, with TLS ended by a certificate of its own or one that is fetched."""
        certificates = "{tls_cert_params: {certificates: [c]}}"
        for fields, proxy in (
            ("tcp: {}", ProxyType.TCP_PROXY), ("no_sni: {}", ProxyType.TCP_PROXY), ("sni: {}", ProxyType.TCP_PROXY_WITH_SNI),
            ("with_sni: true", ProxyType.TCP_PROXY_WITH_SNI), ("default_lb_with_sni: {}", ProxyType.TCP_PROXY_WITH_SNI),
            (f"tls_tcp: {certificates}", ProxyType.TLS_TCP_PROXY), (f"tls_tcp: {certificates}, sni: {{}}", ProxyType.TLS_TCP_PROXY_WITH_SNI),
            ("tls_tcp_auto_cert: {}", ProxyType.TLS_TCP_PROXY),
        ):
            made = config(tcp(f"{fields}, domains: [a.example]"))
            one = made.objects["virtual_host"]["default", TCP]
            self.assertEqual((one.spec.proxy, one.metadata.disable), (proxy, False), fields)
            self.assertEqual(one.spec.tls_parameters is not None and one.spec.tls_parameters.voltgw is not None
                             and one.spec.tls_parameters.voltgw.auto_cert, "auto" in fields, fields)
            told = [warning.message for warning in made.warnings if "nothing is opened" in warning.message]
            if "tls_tcp:" not in fields:        # `sni` says so of itself wherever it stands
                self.assertEqual(bool(told), one.metadata.disable, fields)
        self.assertTrue(host(tcp("default_lb_with_sni: {}, domains: [a]"), TCP).default_loadbalancer)

    def test_stickiness(self) -> None:
        """The client's address is what the hash is made of."""
        (policy,) = forward(tcp("hash_policy_choice_source_ip_stickiness: {}"), TCP).hash_policy
        self.assertTrue(policy.source_ip)

    def test_what_is_missing(self) -> None:
        """Pools, and a port where it is offered without one."""
        found = problems("objects:\n" + view("tcp_loadbalancer", "listen_port: 1"))
        self.assertEqual(lines(found), ["2:3 VG0105 this load balancer has no pools, so it does not know where to go"])
        found = problems("objects:\n" + view("tcp_loadbalancer", f"origin_pools: [p], {EVERYWHERE}"))
        self.assertEqual(lines(found), ["2:128 VG0105 no port is said, neither here nor for the load balancer"])


class UdpTests(SynchronousTestCase):
    def test_what_it_becomes(self) -> None:
        """As for TCP, with datagrams."""
        source = view("udp_loadbalancer", f"listen_port: 53, origin_pools_weights: [{{pool: p}}], {EVERYWHERE}")
        made = config(source)
        one = made.objects["virtual_host"]["default", UDP]
        self.assertEqual((one.spec.proxy, one.metadata.disable), (ProxyType.UDP_PROXY, False))
        (policy,) = policies(source)
        self.assertEqual((policy.port, policy.protocol), (53, TransportProtocol.UDP))
        self.assertEqual(codes(made.warnings), [])
