"""Which address stands for a network of this gateway's own site."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from voltgw.config.objects.where import VirtualNetworkType

if TYPE_CHECKING:
    from voltgw.config.model import Config
    from voltgw.config.objects.where import NetworkSiteRefSelector

#: The address of this host's interface that stands for a network of the site.
InterfaceAddress = Callable[[VirtualNetworkType], str]


def vip(where: NetworkSiteRefSelector | None, config: Config, interface_address: InterfaceAddress) -> str:
    """The VIP for a policy that names none (objects.md 22.15): the site's, else the interface's own address."""
    network = VirtualNetworkType.SITE_LOCAL
    if where is not None and where.site is not None:
        network = where.site.network_type
    site = config.site
    if site is not None:
        configured = site.spec.inside_vip if network is VirtualNetworkType.SITE_LOCAL_INSIDE else site.spec.outside_vip
        if configured is not None:
            return configured
    return interface_address(network)


def default_interface_address(network: VirtualNetworkType) -> str:
    """The address that the default route's interface has; loopback where there is no route. Sends nothing.

    A made-up site has one interface, so every network of it has this address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))     # connecting a datagram socket only asks the routing table
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address
