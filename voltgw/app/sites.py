"""Which address stands for a network of this gateway's own site."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from voltgw.config.objects.where import VirtualNetworkType

if TYPE_CHECKING:
    from voltgw.config.model import Config
    from voltgw.config.objects.where import NetworkSiteRefSelector

#: What stands for an interface where there is no route.
NO_ROUTE: Final = "127.0.0.1"
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
            return NO_ROUTE
        address: str = probe.getsockname()[0]
        return address


class Addresses:
    """Looks interface addresses up and remembers what it has said, so that one can ask whether that is still true."""

    def __init__(self, look_up: InterfaceAddress) -> None:
        self._look_up = look_up
        self._said: dict[VirtualNetworkType, str] = {}

    def __call__(self, network: VirtualNetworkType) -> str:
        """The address for a network, as of now."""
        address = self._said[network] = self._look_up(network)
        return address

    @property
    def in_use(self) -> dict[VirtualNetworkType, str]:
        """What was said last, by network."""
        return dict(self._said)

    def put_back(self, said: Mapping[VirtualNetworkType, str]) -> None:
        """What was said since has not come into use."""
        self._said = dict(said)

    def changes(self) -> list[str]:
        """Which addresses in use are other ones by now, in words.

        A host that has lost its route is not followed to loopback: its sockets serve on as soon as the address is back.
        """
        return [f"{old} is {new} now" for network, old in self._said.items()
                if (new := self._look_up(network)) != old and new != NO_ROUTE]
