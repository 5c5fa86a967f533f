"""dns_lb_health_check: how members of DNS pools are probed (objects.md 19)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.contents import Hex
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Number, Presence, Text


@message
class DnsLbTextHealthCheck:
    """A question and its answer as text."""

    SINCE: ClassVar = ""

    health_check_port: int | None = field(Number(most=65535), "Port.")
    send: str | None = field(Text(), "What is sent.")
    receive: str | None = field(Text(), "Pattern (RE2) that the answer must hold.")


@message
class DnsLbHexHealthCheck:
    """A question and its answer as bytes."""

    SINCE: ClassVar = ""

    health_check_port: int | None = field(Number(most=65535), "Port.")
    send: bytes | None = field(Hex(2048), "What is sent.")
    receive: bytes | None = field(Hex(2048), "Bytes that the answer must hold.")


@message
class DnsLbHealthCheckSpec:
    """How members of DNS pools are probed."""

    SINCE: ClassVar = ""

    http_health_check: DnsLbTextHealthCheck | None = field(Nested(DnsLbTextHealthCheck), "By HTTP.", group="health_check")
    https_health_check: DnsLbTextHealthCheck | None = field(
        Nested(DnsLbTextHealthCheck), "By HTTPS.", group="health_check")
    tcp_health_check: DnsLbTextHealthCheck | None = field(Nested(DnsLbTextHealthCheck), "By TCP.", group="health_check")
    tcp_hex_health_check: DnsLbHexHealthCheck | None = field(
        Nested(DnsLbHexHealthCheck), "By TCP, in bytes.", group="health_check")
    udp_health_check: DnsLbTextHealthCheck | None = field(Nested(DnsLbTextHealthCheck), "By UDP.", group="health_check")
    icmp_health_check: bool = field(Presence(), "By ICMP.", group="health_check")
