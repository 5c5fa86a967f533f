"""``where``: on which sites and in which network something is offered, reached or discovered (objects.md 3.1)."""

from __future__ import annotations

from enum import Enum

from voltgw.config.compound import refs
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Presence
from voltgw.config.values import Ref


class VirtualNetworkType(Enum):
    """A network of a site, by its role."""

    SITE_LOCAL = "VIRTUAL_NETWORK_SITE_LOCAL"
    SITE_LOCAL_INSIDE = "VIRTUAL_NETWORK_SITE_LOCAL_INSIDE"
    PER_SITE = "VIRTUAL_NETWORK_PER_SITE"
    PUBLIC = "VIRTUAL_NETWORK_PUBLIC"
    GLOBAL = "VIRTUAL_NETWORK_GLOBAL"
    SITE_SERVICE = "VIRTUAL_NETWORK_SITE_SERVICE"
    VER_INTERNAL = "VIRTUAL_NETWORK_VER_INTERNAL"
    SITE_LOCAL_INSIDE_OUTSIDE = "VIRTUAL_NETWORK_SITE_LOCAL_INSIDE_OUTSIDE"
    IP_AUTO = "VIRTUAL_NETWORK_IP_AUTO"
    VOLTADN_PRIVATE_NETWORK = "VIRTUAL_NETWORK_VOLTADN_PRIVATE_NETWORK"
    SRV6_NETWORK = "VIRTUAL_NETWORK_SRV6_NETWORK"
    IP_FABRIC = "VIRTUAL_NETWORK_IP_FABRIC"
    SEGMENT = "VIRTUAL_NETWORK_SEGMENT"
    MANAGEMENT = "VIRTUAL_NETWORK_MANAGEMENT"


@message
class NetworkRefType:
    """A network itself: every site where it is present."""

    ref: tuple[Ref, ...] = field(refs("virtual_network", most=1, least=1), "Exactly one virtual_network.", required=True)


@message
class SiteRefType:
    """One site, and the network there."""

    ref: tuple[Ref, ...] = field(refs("site", most=1, least=1), "Exactly one site.", required=True)
    network_type: VirtualNetworkType = field(
        Choice(VirtualNetworkType), "Which network of that site.", absent="the outside network")
    disable_internet_vip: bool = field(Presence(), "No internet-facing VIP.", since="+2022-12", group="internet_vip_choice")
    enable_internet_vip: bool = field(Presence(), "Ask the cloud for an internet VIP (cloud sites only).", since="+2022-12",
                                      group="internet_vip_choice", state=WARNS)
    refs: tuple[Ref, ...] = field(refs("virtual_network", most=1),
                                  "A concrete network, with network types that need one.", since="†", state=WARNS,
                                  internal=True)


@message
class VSiteRefType:
    """All sites of a virtual site, and the network there."""

    ref: tuple[Ref, ...] = field(refs("virtual_site", most=1, least=1), "Exactly one virtual_site.", required=True)
    network_type: VirtualNetworkType = field(
        Choice(VirtualNetworkType), "Which network of those sites.", absent="the outside network")
    disable_internet_vip: bool = field(Presence(), "No internet-facing VIP.", since="+2022-12", group="internet_vip_choice")
    enable_internet_vip: bool = field(Presence(), "Ask the cloud for an internet VIP (cloud sites only).", since="+2022-12",
                                      group="internet_vip_choice", state=WARNS)
    refs: tuple[Ref, ...] = field(refs("virtual_network", most=1),
                                  "A concrete network, with network types that need one.", since="†", state=WARNS,
                                  internal=True)


@message
class NetworkSiteRefSelector:
    """Where something is: one site, the sites of a virtual site, or the sites of a network."""

    virtual_network: NetworkRefType | None = field(
        Nested(NetworkRefType), "Every site where this network is present.", group="ref_or_selector")
    site: SiteRefType | None = field(Nested(SiteRefType), "One site.", group="ref_or_selector")
    virtual_site: VSiteRefType | None = field(
        Nested(VSiteRefType), "All sites that the virtual site selects.", group="ref_or_selector")
