"""The ``healthcheck`` object: one kind of probe in each, and what belongs to which."""

from __future__ import annotations

from tests.config.making import loaded
from tests.config.test_types import FieldCase, spec
from voltgw.config.objects.healthcheck_extension import (
    DnsHealthCheck,
    DnsType,
    GrpcHealthCheck,
    Silence,
    UdpHealthCheck,
)

_TIMES = "timeout: 1, interval: 2, healthy_threshold: 1, unhealthy_threshold: 1"


class HealthcheckTests(FieldCase):
    def refused(self, fields: str) -> tuple[str, str]:
        """Code and message."""
        code, message, _ = self.wrong("healthcheck", f"{fields}{', ' if fields else ''}{_TIMES}")
        return code, message

    def test_ours(self) -> None:
        """Kinds that the object model has no field for."""
        read = {}
        for name, said in (("grpc", "grpc_health_check: {service: a.B}"), ("udp", "udp_health_check: {send_payload: '0a', silence: failure}"),
                           ("dns", "dns_query_health_check: {query_name: A.example, query_type: MX}"),
                           ("tcp", "edge_interval: 250ms, unhealthy_interval: 30")):
            more = "tcp_health_check: {}, " if name == "tcp" else ""
            config = loaded(spec("healthcheck", f"{more}voltgw: {{{said}}}, {_TIMES}"))
            read[name] = config.of("healthcheck")["default", "x"].spec.voltgw
        ours = read["grpc"], read["udp"], read["dns"], read["tcp"]
        assert all(each is not None for each in ours)
        self.assertEqual([each.kind for each in ours if each is not None],
                         ["grpc_health_check", "udp_health_check", "dns_query_health_check", ""])
        grpc, udp, dns, tcp = (each for each in ours if each is not None)
        self.assertEqual(grpc.grpc_health_check, GrpcHealthCheck(service="a.B"))
        self.assertEqual(udp.udp_health_check, UdpHealthCheck(send_payload=b"\n", silence=Silence.FAILURE))
        self.assertEqual(dns.dns_query_health_check, DnsHealthCheck(query_name="a.example", query_type=DnsType.MX))
        self.assertEqual((tcp.edge_interval_s, tcp.unhealthy_interval_s), (0.25, 30.0))

    def test_one_kind_in_each(self) -> None:
        """Neither none nor two, whoever has the field."""
        self.assertEqual(self.refused(""), ("VG0105", "this health check checks nothing"))
        self.assertEqual(self.refused("voltgw: {edge_interval: 1}")[0], "VG0105")
        code, message = self.refused("tcp_health_check: {}, voltgw: {grpc_health_check: {}}")
        self.assertEqual((code, message), ("VG0106", "`grpc_health_check` and another kind of check exclude each other"))
        self.assertEqual(self.refused("voltgw: {grpc_health_check: {}, udp_health_check: {}}")[0], "VG0106")
        self.assertEqual(self.refused("udp_icmp_health_check: {}, tcp_health_check: {}")[0], "VG0106")

    def test_what_does_not_go_together(self) -> None:
        """An address is of the type that is asked for; connections are kept where HTTP is spoken."""
        dns = "voltgw: {dns_query_health_check: {query_name: a.example, %s}}"
        for said in ("expected_address: '::1'", "query_type: AAAA, expected_address: 192.0.2.1", "query_type: MX, expected_address: 192.0.2.1",
                     "expected_rcode: NXDOMAIN, expected_address: 192.0.2.1", "query_type: ANY", "expected_rcode: BADVERS"):
            self.assertEqual(self.refused(dns % said)[0], "VG0104", said)
        self.assertEqual(self.refused(dns % "expected_address: here")[0], "VG0110")
        self.assertEqual(self.refused("voltgw: {dns_query_health_check: {}}")[0], "VG0105")
        for said in ("tcp_health_check: {}", "udp_icmp_health_check: {}"):
            self.assertEqual(self.refused(f"{said}, voltgw: {{keep_connection: true}}")[0], "VG0106", said)
        for said in ("http_health_check: {path: /, use_http2: true}, voltgw: {keep_connection: true}",
                     "http_health_check: {path: /}, voltgw: {keep_connection: true}",
                     "voltgw: {keep_connection: true, grpc_health_check: {}}"):
            loaded(spec("healthcheck", f"{said}, {_TIMES}"))
