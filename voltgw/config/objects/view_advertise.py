"""Where the views offer a load balancer (objects.md 18), and which pools they send it to."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from voltgw.config.compound import Anything, ListOf, MapOf, refs
from voltgw.config.formats import IPV4, IPV6
from voltgw.config.names import Reference
from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
from voltgw.config.objects.route import RouteDestination
from voltgw.config.objects.where import NetworkSiteRefSelector
from voltgw.config.ranges import Ports
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, field, message, state_of
from voltgw.config.types import Choice, Number, Presence, Text
from voltgw.config.values import FrozenMap, Range, Ref


class SiteNetwork(Enum):
    """Networks of a site."""

    INSIDE_AND_OUTSIDE = "SITE_NETWORK_INSIDE_AND_OUTSIDE"
    INSIDE = "SITE_NETWORK_INSIDE"
    OUTSIDE = "SITE_NETWORK_OUTSIDE"
    SERVICE = "SITE_NETWORK_SERVICE"
    OUTSIDE_WITH_INTERNET_VIP = "SITE_NETWORK_OUTSIDE_WITH_INTERNET_VIP"
    INSIDE_AND_OUTSIDE_WITH_INTERNET_VIP = "SITE_NETWORK_INSIDE_AND_OUTSIDE_WITH_INTERNET_VIP"
    IP_FABRIC = "SITE_NETWORK_IP_FABRIC"


def _networks() -> Choice[SiteNetwork]:
    """The choice of a network; of those that are not acted on, none is opened to others instead."""
    not_yet = (SiteNetwork.SERVICE, SiteNetwork.IP_FABRIC, SiteNetwork.OUTSIDE_WITH_INTERNET_VIP,
               SiteNetwork.INSIDE_AND_OUTSIDE_WITH_INTERNET_VIP)
    return Choice(SiteNetwork, dict.fromkeys(not_yet, WARNS), numbers=False,
                  instead="only the site's own inside and outside networks serve")


@message
class AdvertisePublic:
    """On a public address of one's own."""

    SINCE: ClassVar = ""

    public_ip: Ref | None = field(Reference("public_ip"), "The address.")


@message
class WhereSite:
    """On one site."""

    SINCE: ClassVar = ""

    network: SiteNetwork = field(_networks(), "On which of its networks.")
    site: Ref | None = field(Reference("site"), "The site.")
    ip: str | None = field(Text(IPV4), "The address.", absent="the site's VIP or its interface's address")
    ipv6: str | None = field(Text(IPV6), "The IPv6 address.")


@message
class WhereVirtualSite:
    """On all sites of a virtual site."""

    SINCE: ClassVar = ""

    network: SiteNetwork = field(_networks(), "On which of their networks.")
    virtual_site: Ref | None = field(Reference("virtual_site"), "The virtual site.")


@message
class WhereVirtualSiteSpecifiedVIP:
    """On all sites of a virtual site, with one address."""

    SINCE: ClassVar = ""

    network: SiteNetwork = field(_networks(), "On which of their networks.")
    virtual_site: Ref | None = field(Reference("virtual_site"), "The virtual site.")
    ip: str | None = field(Text(IPV4), "The address.")
    ipv6: str | None = field(Text(IPV6), "The IPv6 address.")


@message
class WhereVirtualNetwork:
    """On every site where a network is present."""

    SINCE: ClassVar = ""

    default_vip: bool = field(Presence(), "With the network's own address.", group="vip_choice", absent="this")
    specific_vip: str | None = field(Text(IPV4), "With this address.", group="vip_choice")
    default_v6_vip: bool = field(Presence(), "With the network's own IPv6 address.", group="v6_vip_choice")
    specific_v6_vip: str | None = field(Text(IPV6), "With this IPv6 address.", group="v6_vip_choice")
    virtual_network: Ref | None = field(Reference("virtual_network"), "The network.")


@message
class WhereVK8SService:
    """On the network of virtual Kubernetes services."""

    SINCE: ClassVar = ""

    site: Ref | None = field(Reference("site"), "Of one site.", group="choice")
    virtual_site: Ref | None = field(Reference("virtual_site"), "Of all sites of a virtual site.", group="choice")


@message
class WhereType:
    """One place where a load balancer is offered, and its port there."""

    SINCE: ClassVar = ""

    site: WhereSite | None = field(Nested(WhereSite), "One site.", group="choice")
    virtual_site: WhereVirtualSite | None = field(
        Nested(WhereVirtualSite), "All sites of a virtual site.", group="choice",
        state=state_of(NetworkSiteRefSelector, "virtual_site"))
    virtual_site_with_vip: WhereVirtualSiteSpecifiedVIP | None = field(
        Nested(WhereVirtualSiteSpecifiedVIP), "The same, with one address.", group="choice",
        state=state_of(NetworkSiteRefSelector, "virtual_site"))
    virtual_network: WhereVirtualNetwork | None = field(
        Nested(WhereVirtualNetwork), "Every site where a network is present.", group="choice",
        state=state_of(NetworkSiteRefSelector, "virtual_network"))
    vk8s_service: WhereVK8SService | None = field(
        Nested(WhereVK8SService), "The network of virtual Kubernetes services.", group="choice",
        state=WARNS, instead="it is not offered there")
    advertise_on_public: AdvertisePublic | None = field(
        Nested(AdvertisePublic), "A public address of one's own.", group="choice",
        state=state_of(AdvertisePolicySpec, "public_ip"))
    site_segment: object = field(
        Anything(), "A segment on a site.", group="choice", state=WARNS, instead="it is not offered there")
    virtual_site_segment: object = field(
        Anything(), "A segment on a virtual site.", group="choice", state=WARNS, instead="it is not offered there")
    cloud_edge_segment: object = field(
        Anything(), "A segment at a cloud's edge.", group="choice", state=WARNS, instead="it is not offered there")
    segment: object = field(Anything(), "A segment.", group="choice", state=WARNS, instead="it is not offered there")
    port: int | None = field(Number(1, 65535), "The port there.", group="port_choice")
    use_default_port: bool = field(Presence(), "The load balancer's own port.", group="port_choice", absent="this")
    port_ranges: tuple[Range, ...] = field(Ports(), "The ports there.", group="port_choice")


@message
class AdvertiseCustom:
    """In some places."""

    SINCE: ClassVar = ""

    advertise_where: tuple[WhereType, ...] = field(ListOf(Nested(WhereType)), "The places.")


@message
class OriginPoolWithWeight:
    """One of the pools among which requests are shared out."""

    SINCE: ClassVar = ""

    pool: Ref | None = field(Reference("origin_pool"), "An origin_pool.", group="pool_choice")
    cluster: Ref | None = field(Reference("cluster"), "A cluster.", group="pool_choice")
    weight: int | None = field(Number(most=65535), "Its share: weight / sum of weights; 0 gets nothing.")
    priority: int | None = field(
        Number(most=32), "1 is active, higher numbers stand by in order, 0 comes last.",
        state=state_of(RouteDestination, "priority"))
    endpoint_subsets: FrozenMap[str, str] = field(
        MapOf(Text(), Text(), most=16), "Labels that the origin server must carry.",
        state=state_of(RouteDestination, "endpoint_subsets"))


@message
class OriginPoolList:
    """Pools with their shares."""

    SINCE: ClassVar = ""

    pools: tuple[OriginPoolWithWeight, ...] = field(ListOf(Nested(OriginPoolWithWeight)), "The pools.")


@message
class ServicePolicyList:
    """Service policies in order."""

    SINCE: ClassVar = ""

    policies: tuple[Ref, ...] = field(refs("service_policy"), "The policies; a request that none of them allows is refused.")
