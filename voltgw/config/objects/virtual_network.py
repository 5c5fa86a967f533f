"""virtual_network: an isolated network, on one site or on many, with its static routes (objects.md 11.3, 11.4)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import Anything, ListOf, refs
from voltgw.config.formats import IPV4, IPV4_PREFIX, IPV6, IPV6_PREFIX
from voltgw.config.names import Reference
from voltgw.config.objects.where import VirtualNetworkType
from voltgw.config.schema import Nested, field, message
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
class VirtualNetworkSpec:
    """An isolated network, on one site or on many."""

    global_network: bool = field(Presence(), "It spans sites.", group="network_choice")
    site_local_network: bool = field(Presence(), "The outside network of a site.", group="network_choice")
    site_local_inside_network: bool = field(Presence(), "The inside network of a site.", group="network_choice")
    legacy_type: str | None = field(
        Text(one_of=(*LEGACY, *(str(number) for number in (0, 1, 2, 3, 4, 7)))), "The type by name or number.",
        group="network_choice")
    srv6_network: object = field(
        Anything(), "A network of segment routing.", since="+2021-02†", group="network_choice", internal=True)
    static_routes: tuple[StaticRouteViewType, ...] = field(
        ListOf(Nested(StaticRouteViewType), most=165, unique=True), "Static routes.")
    static_v6_routes: tuple[StaticV6RouteViewType, ...] = field(
        ListOf(Nested(StaticV6RouteViewType), most=165), "Static routes for IPv6.", since="+2023-12")
