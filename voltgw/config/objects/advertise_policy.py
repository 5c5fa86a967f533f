"""advertise_policy: where, on which address and port a virtual host is offered (objects.md 8)."""

from __future__ import annotations

from collections.abc import Iterable

from voltgw.config.compound import refs
from voltgw.config.formats import IP
from voltgw.config.objects.endpoint import TransportProtocol
from voltgw.config.objects.tls import DownstreamTlsParamsType
from voltgw.config.objects.where import NetworkSiteRefSelector
from voltgw.config.ranges import Ports
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Flag, Number, Text
from voltgw.config.values import Range, Ref

#: The port of a policy that names none (objects.md 22.16).
DEFAULT_PORT = 80


@message
class AdvertiseExtension:
    """What voltgw adds to an advertise policy."""

    any_address: bool = field(
        Flag(), "Listen on all addresses, IPv4 and IPv6 on one socket; not together with `address`.", since="voltgw")


@message
class AdvertisePolicySpec:
    """Where, on which address and port a virtual host is offered."""

    where: NetworkSiteRefSelector | None = field(
        Nested(NetworkSiteRefSelector), "On which site and network.", absent="this gateway's own site, outside network")
    address: str | None = field(
        Text(IP), "The address (VIP).", absent="the site's outside_vip or inside_vip, else its interface's address",
        example="192.0.2.10")
    public_ip: tuple[Ref, ...] = field(
        refs("public_ip"), "public_ip objects instead of where and address.", state=WARNS)
    protocol: TransportProtocol = field(Choice(TransportProtocol), "Transport of the port.")
    port: int | None = field(
        Number(most=65535, zero_is_absent=True), "Port to listen on.", group="port_choice", absent=str(DEFAULT_PORT))
    port_ranges: tuple[Range, ...] = field(
        Ports(), "Ports to listen on.", since="+2023-06", group="port_choice", example='"80,443,8080-8191"')
    tls_parameters: DownstreamTlsParamsType | None = field(
        Nested(DownstreamTlsParamsType), "TLS towards clients; wins over the virtual host's.")
    skip_xff_append: bool = field(Flag(), "Do not append the client's address to X-Forwarded-For.")
    voltgw: AdvertiseExtension | None = field(Nested(AdvertiseExtension), "What voltgw adds.", since="voltgw")

    @property
    def any_address(self) -> bool:
        """Whether it listens on every address of the host, IPv4 and IPv6."""
        return self.voltgw is not None and self.voltgw.any_address

    @property
    def ports(self) -> tuple[int, ...]:
        """All ports it listens on, in the order written."""
        if self.port_ranges:
            return tuple(port for one in self.port_ranges for port in one)
        return (self.port or DEFAULT_PORT,)

    def rules(self) -> Iterable[Rule]:
        """What excludes each other."""
        if self.address is not None and self.any_address:
            yield Rule("voltgw", "VG0106", "`address` and `voltgw: {any_address: true}` exclude each other")
        if self.public_ip and (self.address is not None or self.where is not None):
            yield Rule("public_ip", "VG0106", "`public_ip` excludes `where` and `address`")
