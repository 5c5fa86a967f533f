"""VIPs out of a site's range, for advertise policies that name no address.

Each policy has a place in the range that follows from its name; where several want the same one, the policy whose name has the
smaller hash gets it, and the other takes the next that is free. So every gateway that reads the same objects gives the same
VIPs, after every restart, with nothing kept anywhere. A policy that comes or goes can move another one only where their places
met.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from ipaddress import IPv4Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from voltgw.config.networks import role
from voltgw.config.objects.where import VirtualNetworkType
from voltgw.config.where import selected_sites
from voltgw.errors import ConfigError

if TYPE_CHECKING:
    from ipaddress import IPv6Network

    from voltgw.config.model import Config, Object
    from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
    from voltgw.config.objects.site import SiteSpec

_INSIDE: Final = VirtualNetworkType.SITE_LOCAL_INSIDE
_BOTH: Final = VirtualNetworkType.SITE_LOCAL_INSIDE_OUTSIDE
_OUTSIDE: Final = frozenset((VirtualNetworkType.SITE_LOCAL, VirtualNetworkType.PUBLIC, _BOTH))
#: Of a larger range only so many addresses are given out; nobody has as many policies.
_MOST: Final = 1 << 20

#: A policy's full name, and whether it is about the inside network.
Wanted = tuple[str, bool]


def own_vips(config: Config) -> Mapping[Wanted, str]:
    """Those of the own site."""
    site = config.site
    return {} if site is None else vips_at(config, site)


def vip_of(config: Config, site: Object[SiteSpec] | None, policy: str, inside: bool) -> str | None:
    """The VIP that a policy, by its full name, has at a site; None: the site has no range, or none that is free."""
    return None if site is None else vips_at(config, site).get((policy, inside))


def vips_at(config: Config, site: Object[SiteSpec]) -> Mapping[Wanted, str]:
    """All that are given out at a site; a configuration remembers them."""
    found = config.vips.get(site.name)
    if found is None:
        found = config.vips[site.name] = _allocate(config, site)
    return found


def _allocate(config: Config, site: Object[SiteSpec]) -> dict[Wanted, str]:
    ranges = {inside: text for inside in (False, True) if (text := range_of(site.spec, inside)) is not None}
    if not ranges:
        return {}
    found: dict[Wanted, str] = {}
    policies = list(_policies(config, site))
    taken = {ip_address(policy.spec.address) for policy in config.of("advertise_policy").values()
             if policy.spec.address is not None}
    taken |= {ip_address(vip) for vip in (site.spec.outside_vip, site.spec.inside_vip) if vip is not None}
    for inside, text in ranges.items():
        network = ip_network(text, strict=False)
        first, size = usable(network)
        wanted = sorted((_hash(policy.full_name), policy.full_name) for policy in policies if wants(policy.spec, inside))
        for number, name in wanted:
            for step in range(size):
                address = network[first + (number + step) % size]
                if address not in taken:
                    taken.add(address)
                    found[name, inside] = str(address)
                    break
    return found


def _policies(config: Config, site: Object[SiteSpec]) -> Iterator[Object[AdvertisePolicySpec]]:
    for policy in config.of("advertise_policy").values():
        selected = selected_sites(config, policy.spec.where, policy.namespace)
        if any(each.taken and each.name == site.name for each in selected):
            yield policy


def range_of(spec: SiteSpec, inside: bool) -> str | None:
    """The range of a site's inside or outside network."""
    extension = spec.voltgw
    return None if extension is None else extension.inside_vip_range if inside else extension.outside_vip_range


def wants(policy: AdvertisePolicySpec, inside: bool) -> bool:
    """Whether a policy needs an address of that network and names none."""
    if policy.address is not None or policy.any_address or policy.unix is not None:
        return False
    kind = role(policy.where)
    return kind in (_INSIDE, _BOTH) if inside else kind in _OUTSIDE


def usable(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    """Where in a range the addresses begin that a host can have, and how many there are: neither the network's own address nor
    the one for all (RFC 1122 3.2.1.3), nor that of all routers (RFC 4291 2.6.1)."""
    size = network.num_addresses
    if isinstance(network, IPv4Network):
        return (0, size) if size <= 2 else (1, size - 2)
    return (0, size) if size <= 2 else (1, min(size - 1, _MOST))


def _hash(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big")


def check_allocation(config: Config, policy: Object[AdvertisePolicySpec]) -> Iterator[ConfigError]:
    """Whether the range of the own site has an address for a policy that needs one."""
    site = config.site
    if site is None or not config.here(policy.spec.where, policy.namespace):
        return
    for inside in (False, True):
        text = range_of(site.spec, inside)
        if text is not None and wants(policy.spec, inside) and vip_of(config, site, policy.full_name, inside) is None:
            field = "inside_vip_range" if inside else "outside_vip_range"
            yield ConfigError(
                "VG0223", policy.place(), f"{policy.title} names no address, and {text} has none left for it: "
                f"{usable(ip_network(text, strict=False))[1]} can be given out", "widen the range, or name addresses",
                related=(("the range", site.place("voltgw", field)),))

