"""endpoint: where servers of one service are found (objects.md 7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from voltgw.config.compound import ListOf
from voltgw.config.formats import HOSTNAME, IP, PREFIX
from voltgw.config.labels import SELECTOR
from voltgw.config.objects.where import NetworkSiteRefSelector
from voltgw.config.quantities import Duration
from voltgw.config.reader import WARNS, State
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, FilePath, Number, Presence, Text
from voltgw.config.units import show_seconds
from voltgw.values import defaults


class TransportProtocol(Enum):
    """The transport of a port."""

    TCP = "TCP"
    UDP = "UDP"


class DiscoveryType(Enum):
    """Which kind of registry knows the service."""

    INVALID_DISCOVERY = "INVALID_DISCOVERY"
    K8S = "K8S"
    CONSUL = "CONSUL"
    CLASSIC_BIGIP = "CLASSIC_BIGIP"
    THIRD_PARTY = "THIRD_PARTY"
    NGINX_ONE = "NGINX_ONE"


@message
class LabelSelectorType:
    """Objects by their labels; no expression matches everything (objects.md 3.2)."""

    expressions: tuple[str, ...] = field(
        ListOf(Text(SELECTOR, most=4096)), "Label expressions; one that matches is enough.",
        example='["app in (reviews), version"]')


@message
class DnsNameAdvancedType:
    """A DNS name and how often it is looked up."""

    name: str = field(Text(HOSTNAME, least=1, most=256), "DNS name.", since="+2021-01", required=True)
    refresh_interval_s: float | None = field(
        Duration("s", 10, 604800), "It is looked up this often.", since="+2021-01",
        absent=show_seconds(defaults.DNS_REFRESH_S))
    strict_ttl: bool = field(
        Presence(), "Look it up when the time to live of its answer is over, as far as that is "
        "known: where its network has DNS servers. Else every minute.", since="+2021-01")


#: Registries that are not asked yet.
_UNASKED: Final[Mapping[DiscoveryType, State]] = {
    each: WARNS for each in DiscoveryType if each not in (DiscoveryType.CONSUL, DiscoveryType.K8S)}


@message
class ServiceInfoType:
    """A service in a registry."""

    discovery_type: DiscoveryType = field(
        Choice(DiscoveryType, _UNASKED), "Kind of registry.", required=True)
    service_name: str | None = field(
        Text(least=1, most=256), "K8s ``service.namespace[:cluster_id]``; Consul ``service[:cluster_id]``.",
        group="service_info")
    service_selector: LabelSelectorType | None = field(
        Nested(LabelSelectorType), "Services by their labels or tags.", group="service_info")


@message
class SnatPoolList:
    """Prefixes of source addresses."""

    prefixes: tuple[str, ...] = field(ListOf(Text(PREFIX), most=32), "Prefixes.", since="+2025-06")


@message
class SnatPoolConfiguration:
    """From which addresses we connect to it."""

    no_snat_pool: bool = field(Presence(), "From our own.", since="+2025-06", group="snat_pool_choice")
    snat_pool: SnatPoolList | None = field(
        Nested(SnatPoolList), "From these.", since="+2025-06", group="snat_pool_choice", state=WARNS)


@message
class EndpointExtension:
    """What voltgw adds to an endpoint."""

    weight: int | None = field(
        Number(0, 65535), "Its share among the endpoints of its cluster; 0 gets nothing.", since="voltgw", absent="1")
    priority: int | None = field(
        Number(0, 127), "0 is the highest; those of a lower one get what the higher ones cannot take.", since="voltgw",
        absent="0")
    zone: str | None = field(
        Text(least=1, most=253), "Zone in which it is.", since="voltgw", absent="its label `topology.kubernetes.io/zone`",
        example="zone-a")
    unix: str | None = field(
        FilePath(107), "The path of a Unix socket, instead of an address and a port.", since="voltgw",
        example="/run/app/http.sock")


@message
class EndpointSpec:
    """Where servers of one service are found: an address, a name or a service in a registry."""

    where: NetworkSiteRefSelector | None = field(
        Nested(NetworkSiteRefSelector), "From which site and network it is reached.", absent="this gateway's own site")
    protocol: TransportProtocol = field(
        Choice(TransportProtocol), "Transport of the port; UDP for endpoints of a UDP_PROXY.")
    port: int | None = field(Number(most=65535, zero_is_absent=True), "Service port.")
    health_check_port: int | None = field(
        Number(most=65535, zero_is_absent=True), "Port for health checks.", since="+2020-11", absent="the service port")
    ip: str | None = field(Text(IP), "IPv4 or IPv6 address.", group="endpoint_address", example="192.0.2.7")
    dns_name: str | None = field(
        Text(HOSTNAME, least=1, most=256), "DNS name; every address of it is a member.", group="endpoint_address",
        example="app.internal")
    dns_name_advanced: DnsNameAdvancedType | None = field(
        Nested(DnsNameAdvancedType), "DNS name with its own refresh interval.", since="+2021-01", group="endpoint_address",
        aliases=("dns_name_advance",))
    service_info: ServiceInfoType | None = field(
        Nested(ServiceInfoType), "A service in a registry.", group="endpoint_address")
    snat_pool: SnatPoolConfiguration | None = field(
        Nested(SnatPoolConfiguration), "From which addresses we connect to it.", since="+2025-06")
    voltgw: EndpointExtension | None = field(Nested(EndpointExtension), "What voltgw adds.", since="voltgw")

    @property
    def unix(self) -> str | None:
        """The path of its Unix socket."""
        return self.voltgw.unix if self.voltgw is not None else None

    @property
    def name(self) -> str | None:
        """The DNS name, however it was written."""
        return self.dns_name_advanced.name if self.dns_name_advanced is not None else self.dns_name

    def rules(self) -> Iterable[Rule]:
        """An address or name needs a port, a Unix socket has none."""
        if self.unix is not None:
            if self.ip is not None or self.name is not None or self.service_info is not None:
                yield Rule("voltgw", "VG0106", "`unix` excludes an address, a name and `service_info`")
            if self.port is not None or self.health_check_port is not None:
                yield Rule("voltgw", "VG0106", "a Unix socket has no port")
            if self.protocol is TransportProtocol.UDP:
                yield Rule("voltgw", "VG0106", "`unix` is for TCP and HTTP clusters")
            return
        if self.port is None and self.service_info is None:
            yield Rule("", "VG0105", '"port" is missing here: only a service in a registry brings its own')


