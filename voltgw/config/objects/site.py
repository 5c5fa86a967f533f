"""site: one place with one gateway (objects.md 11.1)."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from voltgw.config.compound import Anything, MapOf
from voltgw.config.formats import IP, PREFIX
from voltgw.config.names import Reference
from voltgw.config.quantities import Duration
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Decimal, Flag, Text
from voltgw.config.values import FrozenMap, Ref


class SiteType(Enum):
    """A customer's own site, or one of the operator's at the edge of the Internet."""

    INVALID = "INVALID"
    REGIONAL_EDGE = "REGIONAL_EDGE"
    CUSTOMER_EDGE = "CUSTOMER_EDGE"
    NGINX_ONE = "NGINX_ONE"


class VipVrrpMode(Enum):
    """Whether one node of the site answers for its VIPs by VRRP."""

    INVALID = "VIP_VRRP_INVALID"
    ENABLE = "VIP_VRRP_ENABLE"
    DISABLE = "VIP_VRRP_DISABLE"


class TunnelType(Enum):
    """How traffic between sites is wrapped."""

    IPSEC_OR_SSL = "SITE_TO_SITE_TUNNEL_IPSEC_OR_SSL"
    IPSEC = "SITE_TO_SITE_TUNNEL_IPSEC"
    SSL = "SITE_TO_SITE_TUNNEL_SSL"
    CLEAR = "SITE_TO_SITE_CLEAR"


class CeSiteMode(Enum):
    """The role of a customer's site."""

    INGRESS_EGRESS_GW = "CE_SITE_MODE_INGRESS_EGRESS_GW"
    INGRESS_GW = "CE_SITE_MODE_INGRESS_GW"
    EGRESS_GW = "CE_SITE_MODE_EGRESS_GW"
    DC_CLOUD_GW = "CE_SITE_MODE_DC_CLOUD_GW"
    CPE = "CE_SITE_MODE_CPE"


@message
class Coordinates:
    """Where on earth."""

    latitude: float | None = field(Decimal(-90, 90), "Degrees north.")
    longitude: float | None = field(Decimal(-180, 180), "Degrees east.")


@message
class SiteExtension:
    """What voltgw adds to a site."""

    outside_network: Ref | None = field(
        Reference("virtual_network"), "Its outside network.", since="voltgw",
        absent="its fleet's, else the only virtual_network with `site_local_network` and `voltgw`")
    inside_network: Ref | None = field(
        Reference("virtual_network"), "Its inside network.", since="voltgw",
        absent="its fleet's, else the only virtual_network with `site_local_inside_network` and `voltgw`")
    outside_vip_range: str | None = field(
        Text(PREFIX), "Range out of which policies on the outside network get a VIP each, where they name no address.",
        since="voltgw", absent="they share `outside_vip`", example="192.0.2.64/26")
    inside_vip_range: str | None = field(
        Text(PREFIX), "Likewise on the inside network.", since="voltgw", absent="they share `inside_vip`",
        example="10.1.64.0/24")
    manage_addresses: bool = field(
        Flag(), "Add explicit VIPs to the interface of their network while they are served, and announce them to the "
        "neighbours. An address that is there already is left alone.", since="voltgw")


@message
class SiteSpec:
    """One place with one gateway."""

    #: Life-cycle of the vendor's sites; nothing of it touches the data path.
    READ_ONLY: ClassVar = (
        "site_state", "connected_re", "connected_re_for_config", "site_subtype", "desired_pool_count",
        "volterra_software_version", "operating_system_version", "volterra_software_overide",
    )

    site_type: SiteType = field(Choice(SiteType), "What kind of site.", absent="regional edge for the own site")
    address: str | None = field(Text(), "Postal address.")
    coordinates: Coordinates | None = field(Nested(Coordinates), "Where on earth.")
    region: str | None = field(Text(), "Region.")
    outside_vip: str | None = field(
        Text(IP), "VIP for the outside network where a policy names no address and there is no range.",
        absent="the interface's address")
    inside_vip: str | None = field(
        Text(IP), "VIP for the inside network where a policy names no address and there is no range.",
        absent="the interface's address")
    vip_vrrp_mode: VipVrrpMode = field(
        Choice(VipVrrpMode, {VipVrrpMode.ENABLE: WARNS}), "Whether VIPs move between nodes by VRRP.")
    outside_nameserver: str | None = field(Text(IP), "Resolver of the outside network.")
    inside_nameserver: str | None = field(Text(IP), "Resolver of the inside network.")
    bgp_peer_address: str | None = field(Text(IP), "BGP peer to which VIPs are announced.", state=WARNS)
    bgp_router_id: str | None = field(Text(IP), "Our BGP identity.", state=WARNS)
    tunnel_type: TunnelType = field(
        Choice(TunnelType, {TunnelType.IPSEC: WARNS, TunnelType.SSL: WARNS, TunnelType.CLEAR: WARNS}),
        "How traffic between sites is wrapped.")
    tunnel_dead_timeout_s: float | None = field(
        Duration("ms"), "A tunnel without life is down after this.", absent="10 s", state=WARNS)
    site_to_site_network_type: str | None = field(Text(), "Network of the tunnels.", state=WARNS)
    site_to_site_tunnel_ip: str | None = field(Text(IP), "Our end of the tunnels.", state=WARNS)
    public_ip: str | None = field(Text(IP), "Our public end of the tunnels.", state=WARNS)
    cluster_ip: str | None = field(Text(IP), "Our end of the tunnels inside the cluster.", state=WARNS)
    ce_site_mode: CeSiteMode = field(Choice(CeSiteMode), "Role of the site.")
    template_parameters: FrozenMap[str, object] = field(
        MapOf(Text(), Anything()), "Values for the fleet's objects.", state=WARNS)
    voltgw: SiteExtension | None = field(Nested(SiteExtension), "What voltgw adds.", since="voltgw")
