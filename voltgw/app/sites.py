"""Which address stands for a network of this gateway's own site."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.config.allocation import vip_of
from voltgw.config.networks import Networks, role
from voltgw.config.objects.where import VirtualNetworkType
from voltgw.net.interfaces import interface_address
from voltgw.values.network import HOST, Network

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.advertise_policy import AdvertisePolicySpec

#: What stands for an interface where there is no route.
NO_ROUTE: Final = "127.0.0.1"
#: The address of this host's interface that stands for a network of the site: of a role where the network is the host as it is.
InterfaceAddress = Callable[[VirtualNetworkType, Network], str]


class Spot(NamedTuple):
    """One address on which a policy offers its hosts; None = every one. `vip` tells that configuration names it."""

    address: str | None
    network: Network
    vip: bool = False


def spots(
    source: Object[AdvertisePolicySpec], config: Config, networks: Networks, look_up: InterfaceAddress,
) -> tuple[Spot, ...]:
    """Where a policy offers: one spot, or one inside and one outside if it is for both networks."""
    policy, namespace = source.spec, source.namespace
    if policy.unix is not None:
        return (Spot(policy.unix, HOST),)
    kind = role(policy.where)
    if kind is VirtualNetworkType.SITE_LOCAL_INSIDE_OUTSIDE:
        both = ((VirtualNetworkType.SITE_LOCAL, networks.outside), (VirtualNetworkType.SITE_LOCAL_INSIDE, networks.inside))
        return tuple(dict.fromkeys(_spot(source, config, kind, network, look_up) for kind, network in both))
    network = networks.of(policy.where, namespace)
    if kind is None:                        # a network by its name: the VIPs of the site are for its roles
        kind = VirtualNetworkType.PER_SITE
        if network is not HOST:
            kind = (VirtualNetworkType.SITE_LOCAL if network == networks.outside else
                    VirtualNetworkType.SITE_LOCAL_INSIDE if network == networks.inside else kind)
    return (_spot(source, config, kind, network, look_up),)


def _spot(
    source: Object[AdvertisePolicySpec], config: Config, kind: VirtualNetworkType, network: Network, look_up: InterfaceAddress,
) -> Spot:
    """The VIP (objects.md 22.15): the policy's, else one of the site's range, else the site's, else the interface's own."""
    policy = source.spec
    if policy.any_address:
        return Spot(None, network)
    if policy.address is not None:
        return Spot(policy.address, network, True)
    site = config.site
    if site is not None and kind is not VirtualNetworkType.PER_SITE:
        allocated = vip_of(config, site, source.full_name, kind is VirtualNetworkType.SITE_LOCAL_INSIDE)
        if allocated is not None:
            return Spot(allocated, network, True)
        configured = site.spec.inside_vip if kind is VirtualNetworkType.SITE_LOCAL_INSIDE else site.spec.outside_vip
        if configured is not None:
            return Spot(configured, network, True)
    return Spot(look_up(kind, network), network)


def can_be_added(address: str) -> bool:
    """Whether an address is one that an interface could be given as a VIP."""
    one = ip_address(address)
    return not (one.is_loopback or one.is_unspecified or one.is_multicast or one.is_link_local)


def default_interface_address(network: VirtualNetworkType) -> str:
    """The address that the default route's interface has; loopback where there is no route. Sends nothing.

    A made-up site has one interface, so every network of it has this address.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))     # connecting a datagram socket only asks the routing table
            address: str = probe.getsockname()[0]
            return address
    except OSError:
        return NO_ROUTE                         # or no descriptor is left to ask with


class Addresses:
    """Looks interface addresses up and remembers what it has said, so that one can ask whether that is still true."""

    def __init__(self, look_up: Callable[[VirtualNetworkType], str]) -> None:
        self._of_host = look_up
        self._said: dict[tuple[VirtualNetworkType, Network], str] = {}

    def __call__(self, kind: VirtualNetworkType, network: Network) -> str:
        """The address for a network, as of now."""
        address = self._said[kind, network] = self._look_up(kind, network)
        return address

    def _look_up(self, kind: VirtualNetworkType, network: Network) -> str:
        if network.netns or network.device:
            return interface_address(network) or NO_ROUTE
        return self._of_host(kind)

    @property
    def in_use(self) -> dict[tuple[VirtualNetworkType, Network], str]:
        """What was said last, by network."""
        return dict(self._said)

    def put_back(self, said: Mapping[tuple[VirtualNetworkType, Network], str]) -> None:
        """What was said since has not come into use."""
        self._said = dict(said)

    def changes(self) -> list[str]:
        """Which addresses in use are other ones by now, in words.

        A host that has lost its route is not followed to loopback: its sockets serve on as soon as the address is back.
        """
        return [f"{old} is {new} now" for (kind, network), old in self._said.items()
                if (new := self._look_up(kind, network)) != old and new != NO_ROUTE]
