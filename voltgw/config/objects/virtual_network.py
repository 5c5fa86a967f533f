"""virtual_network: an isolated network, on one site or on many, with its static routes (objects.md 11.3, 11.4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from voltgw.config.compound import Anything, ListOf, refs
from voltgw.config.formats import IP, IPV4, IPV4_PREFIX, IPV6, IPV6_PREFIX
from voltgw.config.names import Reference
from voltgw.config.objects.where import VirtualNetworkType
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Presence, Text
from voltgw.config.values import Ref

ATTRIBUTES = ("ROUTE_ATTR_NO_OP", "ROUTE_ATTR_ADVERTISE", "ROUTE_ATTR_INSTALL_HOST", "ROUTE_ATTR_INSTALL_FORWARDING",
              "ROUTE_ATTR_MERGE_ONLY")
#: Networks that the old form may name: those with the numbers 0 to 4 and 7.
LEGACY = tuple(kind.value for number, kind in enumerate(VirtualNetworkType) if number in (0, 1, 2, 3, 4, 7))


def _attributes() -> ListOf[str]:
    return ListOf(Text(one_of=ATTRIBUTES), most=4, unique=True)


@message
class NodeInterfaceInfo:
    """An interface of one node."""

    SINCE: ClassVar = "+2025-11"

    node: str | None = field(Text(), "The node.")
    interface: tuple[Ref, ...] = field(refs("network_interface"), "Its interface.")


@message
class NodeInterfaceType:
    """An interface on each node."""

    SINCE: ClassVar = "+2025-11"

    list: tuple[NodeInterfaceInfo, ...] = field(ListOf(Nested(NodeInterfaceInfo)), "One entry per node.")


@message
class StaticRouteViewType:
    """Where packets for some prefixes go."""

    ip_prefixes: tuple[str, ...] = field(
        ListOf(Text(IPV4_PREFIX), least=1, most=256, unique=True), "Destinations.", required=True)
    ip_address: str | None = field(Text(IPV4), "To this address.", group="next_hop_choice")
    interface: Ref | None = field(
        Reference("network_interface"), "Out of this interface.", since="2020†", group="next_hop_choice")
    node_interface: NodeInterfaceType | None = field(
        Nested(NodeInterfaceType), "Out of an interface of each node.", since="+2025-11", group="next_hop_choice")
    default_gateway: bool = field(Presence(), "To the default gateway.", group="next_hop_choice")
    attrs: tuple[str, ...] = field(_attributes(), "Where the route is installed and announced.")


@message
class StaticV6RouteViewType:
    """Where packets for some IPv6 prefixes go."""

    SINCE: ClassVar = "+2023-12"

    ip_prefixes: tuple[str, ...] = field(
        ListOf(Text(IPV6_PREFIX), least=1, most=256, unique=True), "Destinations.", required=True)
    ip_address: str | None = field(Text(IPV6), "To this address.", group="next_hop_choice")
    node_interface: NodeInterfaceType | None = field(
        Nested(NodeInterfaceType), "Out of an interface of each node.", since="+2025-11", group="next_hop_choice")
    default_gateway: bool = field(Presence(), "To the default gateway.", group="next_hop_choice")
    attrs: tuple[str, ...] = field(_attributes(), "Where the route is installed and announced.")


@message
class NetworkExtension:
    """What the network is on this gateway's host: where sockets for it are made."""

    netns: str | None = field(
        Text(least=1, most=255), "Linux network namespace: the name that `ip netns` shows, or the absolute path of its file.",
        since="voltgw", absent="the one that the gateway runs in", example="inside")
    interface: str | None = field(
        Text(least=1, most=15), "Network interface (in that namespace). Sockets are bound to it, VIPs are added to it.",
        since="voltgw", absent="any", example="eth1")
    vrf: str | None = field(
        Text(least=1, most=15), "VRF device that sockets are bound to instead of the interface.", since="voltgw", example="red")
    source: str | None = field(
        Text(IPV4), "Local address of connections to IPv4 endpoints.", since="voltgw", absent="the kernel's choice",
        example="10.0.0.5")
    source_v6: str | None = field(
        Text(IPV6), "Local address of connections to IPv6 endpoints.", since="voltgw", absent="the kernel's choice",
        example='"2001:db8::5"')
    dns_servers: tuple[str, ...] = field(
        ListOf(Text(IP), most=8, unique=True), "Servers, in this network, that names of its endpoints are looked up with.",
        since="voltgw", absent="the site's `outside_nameserver` or `inside_nameserver`, else the host's resolver",
        example="[10.0.0.53]")

    def rules(self) -> Iterable[Rule]:
        """Names as the kernel has them; a VRF has its addresses on a member."""
        if self.vrf is not None and self.interface is None:
            yield Rule("vrf", "VG0106", "`vrf` needs `interface`, the member that has the network's addresses")
        for name in ("netns", "interface", "vrf"):
            value = getattr(self, name)
            if value is not None and (value in (".", "..") or any(letter.isspace() for letter in value)
                                      or "/" in value and not (name == "netns" and value.startswith("/"))):
                yield Rule(name, "VG0104", f"{value!r} is no name that the kernel could have")


@message
class VirtualNetworkSpec:
    """An isolated network, on one site or on many."""

    global_network: bool = field(Presence(), "It spans sites.", group="network_choice", state=WARNS)
    site_local_network: bool = field(Presence(), "The outside network of a site.", group="network_choice")
    site_local_inside_network: bool = field(Presence(), "The inside network of a site.", group="network_choice")
    legacy_type: str | None = field(
        Text(one_of=(*LEGACY, *(str(number) for number in (0, 1, 2, 3, 4, 7)))), "The type by name or number.",
        group="network_choice")
    srv6_network: object = field(
        Anything(), "A network of segment routing.", since="+2021-02†", group="network_choice", internal=True, state=WARNS)
    static_routes: tuple[StaticRouteViewType, ...] = field(
        ListOf(Nested(StaticRouteViewType), most=165, unique=True), "Static routes.", state=WARNS)
    static_v6_routes: tuple[StaticV6RouteViewType, ...] = field(
        ListOf(Nested(StaticV6RouteViewType), most=165), "Static routes for IPv6.", since="+2023-12", state=WARNS)
    voltgw: NetworkExtension | None = field(
        Nested(NetworkExtension), "What the network is on this host.", since="voltgw")

    @property
    def inside(self) -> bool:
        """Whether it is the inside network of a site."""
        return self.site_local_inside_network or self.legacy_type in ("1", VirtualNetworkType.SITE_LOCAL_INSIDE.value)

    @property
    def outside(self) -> bool:
        """Whether it is the outside network of a site, or the Internet."""
        return self.site_local_network or self.legacy_type in (
            "0", "3", VirtualNetworkType.SITE_LOCAL.value, VirtualNetworkType.PUBLIC.value)
