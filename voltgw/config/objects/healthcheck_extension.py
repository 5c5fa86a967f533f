"""What voltgw adds to a health check, under ``voltgw:``: kinds of probes for which the object model has no field."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import ClassVar

from voltgw.config.contents import Hex
from voltgw.config.formats import HOSTNAME, HOSTPORT, IP
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Flag, Text


class Silence(enum.Enum):
    """What it means that nothing comes back of a datagram."""

    BY_EXPECTATION = "by_expectation"
    FAILURE = "failure"
    SUCCESS = "success"


class DnsType(enum.Enum):
    """What a DNS probe asks for."""

    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"
    MX = "MX"
    NS = "NS"
    PTR = "PTR"
    SOA = "SOA"
    SRV = "SRV"
    TXT = "TXT"


class DnsCode(enum.Enum):
    """What a DNS server may answer."""

    NOERROR = "NOERROR"
    NXDOMAIN = "NXDOMAIN"
    REFUSED = "REFUSED"
    NOTIMP = "NOTIMP"


@message
class GrpcHealthCheck:
    """A call of ``grpc.health.v1.Health/Check``, which must say SERVING."""

    SINCE: ClassVar = "voltgw"

    service: str | None = field(
        Text(most=256), "Service that is asked after.", absent="the server as a whole", example="shop.Orders")
    authority: str | None = field(Text(HOSTPORT, most=262), "What ``:authority`` says.", absent="the endpoint's name")


@message
class UdpHealthCheck:
    """A datagram, and perhaps an answer. Where the host says that nobody is there (ICMP), the probe fails at once."""

    SINCE: ClassVar = "voltgw"

    send_payload: bytes | None = field(Hex(2048), "Bytes to send.", absent="an empty datagram")
    expected_response: bytes | None = field(Hex(2048), "Bytes that the answer must contain.", absent="any answer will do")
    silence: Silence = field(
        Choice(Silence, numbers=False), "What no answer within the timeout means: ``failure``, ``success``, or "
        "``by_expectation``: a failure if there is an `expected_response`, else a success.")


@message
class DnsHealthCheck:
    """A DNS question, and what must be answered."""

    SINCE: ClassVar = "voltgw"

    query_name: str = field(Text(HOSTNAME, least=1, most=253), "Name to ask for.", required=True, example="health.example")
    query_type: DnsType = field(Choice(DnsType, numbers=False), "Type of the records.")
    expected_rcode: DnsCode = field(Choice(DnsCode, numbers=False), "Code that the answer must have.")
    expected_address: str | None = field(
        Text(IP, most=64), "Address that must be among the answers of types A and AAAA.", absent="none need be there",
        example="192.0.2.1")
    over_tcp: bool = field(Flag(), "Ask over TCP instead of UDP; with the cluster's TLS, if it has that.")

    def rules(self) -> Iterable[Rule]:
        """An address is of the type that is asked for."""
        address = self.expected_address
        if address is None:
            return
        if self.query_type is not (DnsType.AAAA if ":" in address else DnsType.A):
            kind = self.query_type.value
            yield Rule("expected_address", "VG0104", f"{address} cannot be the answer to a question of {kind}",
                       "A is answered with IPv4 addresses, AAAA with IPv6 ones")
        elif self.expected_rcode is not DnsCode.NOERROR:
            yield Rule("expected_address", "VG0104", f"an answer of {self.expected_rcode.value} has no address")


@message
class HealthcheckExtension:
    """What voltgw adds to a health check."""

    SINCE: ClassVar = "voltgw"

    grpc_health_check: GrpcHealthCheck | None = field(
        Nested(GrpcHealthCheck), "By gRPC.", group="health_check", example="{service: shop.Orders}")
    udp_health_check: UdpHealthCheck | None = field(
        Nested(UdpHealthCheck), "By UDP.", group="health_check", example="{send_payload: \"0a\", expected_response: \"0b\"}")
    dns_query_health_check: DnsHealthCheck | None = field(
        Nested(DnsHealthCheck), "By a DNS question.", group="health_check", example="{query_name: health.example}")

    edge_interval_s: float | None = field(
        Duration("s", 0.1, 600), "Between two probes while results disagree with the present health, so that a change is seen "
        "soon.", absent="`interval`", example="500ms")
    unhealthy_interval_s: float | None = field(
        Duration("s", 0.1, 600), "Between two probes of an endpoint that is out.", absent="`interval`", example="30s")

    keep_connection: bool = field(
        Flag(), "Ask on the connection of the last probe while it lasts: HTTP and gRPC. That saves a TLS handshake each time, "
        "and does not see that an endpoint takes no new connections.")

    @property
    def kind(self) -> str:
        """The name of the field that is set, "" = none is."""
        for name in ("grpc_health_check", "udp_health_check", "dns_query_health_check"):
            if getattr(self, name) is not None:
                return name
        return ""
