"""healthcheck: how endpoints are probed (objects.md 9)."""

from __future__ import annotations

from collections.abc import Iterable

from voltgw.config.compound import Anything, ListOf, MapOf
from voltgw.config.contents import Hex
from voltgw.config.formats import FIELD_TEXT, HEADER_NAME, HOSTPORT, HTTP_PATH
from voltgw.config.objects.healthcheck_extension import HealthcheckExtension
from voltgw.config.quantities import Duration
from voltgw.config.ranges import Between
from voltgw.config.reader import UNSUPPORTED
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Flag, Number, Presence, Text
from voltgw.config.values import FrozenMap, Range


@message
class HttpHealthCheck:
    """A GET whose status decides."""

    use_origin_server_name: bool = field(
        Presence(), "Host is the endpoint's name.", group="host_header_choice", absent="this")
    host_header: str | None = field(Text(HOSTPORT, most=262), "Host is this.", group="host_header_choice")
    path: str = field(Text(HTTP_PATH, least=1, most=2048), "Path of the GET.", required=True, example="/healthz")
    headers: FrozenMap[str, str] = field(
        MapOf(Text(HEADER_NAME, least=1, most=256), Text(FIELD_TEXT, least=1, most=2048), most=16), "Headers to add.")
    request_headers_to_remove: tuple[str, ...] = field(
        ListOf(Text(HEADER_NAME, most=256), most=16), "Headers to leave out.")
    use_http2: bool = field(Flag(), "Probe with HTTP/2; an endpoint without TLS must speak it at once.")
    expected_status_codes: tuple[Range, ...] = field(
        ListOf(Between(100, 599, "a status or a range of them"), most=16, unique=True), "Statuses that are good.",
        since="+2022-11", absent="200", example='["200-204"]')
    expected_response: bytes | None = field(Hex(2048), "Bytes that the body must contain.", since="+2026-03")


@message
class TcpHealthCheck:
    """A connection, and perhaps a question and its answer."""

    send_payload: bytes | None = field(Hex(2048), "Bytes to send.", absent="connecting is enough")
    expected_response: bytes | None = field(Hex(2048), "Bytes that the answer must contain.")


@message
class HealthcheckSpec:
    """How endpoints are probed."""

    http_health_check: HttpHealthCheck | None = field(
        Nested(HttpHealthCheck), "By HTTP.", group="health_check")
    tcp_health_check: TcpHealthCheck | None = field(Nested(TcpHealthCheck), "By TCP.", group="health_check")
    dns_proxy_tcp_health_check: object = field(
        Anything(), "Made by the vendor's system.", since="†", group="health_check", state=UNSUPPORTED, internal=True)
    dns_proxy_udp_health_check: object = field(
        Anything(), "Made by the vendor's system.", since="†", group="health_check", state=UNSUPPORTED, internal=True)
    dns_health_check: object = field(
        Anything(), "Made by the vendor's system.", since="†", group="health_check", state=UNSUPPORTED, internal=True)
    dns_proxy_icmp_health_check: bool = field(
        Presence(), "Made by the vendor's system.", since="†", group="health_check", state=UNSUPPORTED, internal=True)
    udp_icmp_health_check: bool = field(
        Presence(), "By an empty datagram: fails where the host says that nobody is there (ICMP), else passes.",
        since="+2025-11", group="health_check")
    timeout_s: float = field(Duration("s", 1, 600), "A probe must be over in this time.", required=True)
    interval_s: float = field(Duration("s", 1, 600), "Between two probes.", required=True)
    unhealthy_threshold: int = field(
        Number(1, 16), "Failures in a row that take an endpoint out; an HTTP 503 does at once.", required=True)
    healthy_threshold: int = field(
        Number(1, 16), "Successes in a row that bring it back; the very first one is enough.", required=True)
    jitter_percent: int | None = field(
        Number(10, 50, also=(0,)), "Random part that is added to the interval.", absent="0")

    voltgw: HealthcheckExtension | None = field(
        Nested(HealthcheckExtension), "What voltgw adds: probes by gRPC, UDP and DNS, and other intervals.", since="voltgw",
        example="{grpc_health_check: {service: shop.Orders}}")

    def rules(self) -> Iterable[Rule]:
        """One thing must be probed."""
        checks = (self.http_health_check, self.tcp_health_check, self.udp_icmp_health_check or None, self.dns_health_check,
                  self.dns_proxy_tcp_health_check, self.dns_proxy_udp_health_check, self.dns_proxy_icmp_health_check or None)
        ours = self.voltgw.kind if self.voltgw is not None else ""
        if self.voltgw is not None and self.voltgw.keep_connection and ours != "grpc_health_check" and (
                self.http_health_check is None):
            yield Rule("voltgw", "VG0106", "`keep_connection` is for HTTP and gRPC")
        if all(check is None for check in checks):
            if not ours:
                yield Rule("", "VG0105", "this health check checks nothing", "give it http_health_check or tcp_health_check")
        elif ours:
            yield Rule("voltgw", "VG0106", f"`{ours}` and another kind of check exclude each other",
                       "a cluster may have several health checks; its endpoints must pass all of them")
