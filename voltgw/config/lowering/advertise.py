"""Where the views offer a load balancer: each choice becomes advertise policies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Protocol

from voltgw.config.lowering.making import Maker, Part
from voltgw.config.model import Path
from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
from voltgw.config.objects.endpoint import TransportProtocol
from voltgw.config.objects.view_advertise import (
    AdvertiseCustom,
    AdvertisePublic,
    SiteNetwork,
    WhereType,
)
from voltgw.config.objects.where import (
    NetworkRefType,
    NetworkSiteRefSelector,
    SiteRefType,
    VirtualNetworkType,
    VSiteRefType,
)
from voltgw.config.values import Range, Ref

#: Networks of a site as `where` knows them; without an address of its own, a policy is for one of them.
_NETWORKS: Final = {
    SiteNetwork.INSIDE_AND_OUTSIDE: (VirtualNetworkType.SITE_LOCAL, VirtualNetworkType.SITE_LOCAL_INSIDE),
    SiteNetwork.INSIDE_AND_OUTSIDE_WITH_INTERNET_VIP: (
        VirtualNetworkType.SITE_LOCAL, VirtualNetworkType.SITE_LOCAL_INSIDE),
    SiteNetwork.INSIDE: (VirtualNetworkType.SITE_LOCAL_INSIDE,),
    SiteNetwork.OUTSIDE: (VirtualNetworkType.SITE_LOCAL,),
    SiteNetwork.OUTSIDE_WITH_INTERNET_VIP: (VirtualNetworkType.SITE_LOCAL,),
    # Nothing of ours is on these: opening a port on another network instead would show it to strangers.
    SiteNetwork.SERVICE: (),
    SiteNetwork.IP_FABRIC: (),
}
_CHOICES: Final = ("advertise_on_public_default_vip", "advertise_on_public", "advertise_custom", "do_not_advertise")
#: All regional edges, a virtual site that is built in; `Config.here` knows it.
ALL_REGIONAL_EDGES: Final = Ref("shared", "ves-io-all-res", tenant="ves-io")


class Advertised(Protocol):
    """The part that all load balancers have."""

    @property
    def advertise_on_public_default_vip(self) -> bool:
        """Offered on the public address of regional edges."""

    @property
    def advertise_on_public(self) -> AdvertisePublic | None:
        """Offered on a public address of one's own."""

    @property
    def advertise_custom(self) -> AdvertiseCustom | None:
        """Offered in some places."""


def chosen(spec: Advertised) -> Path:
    """The field that says where a load balancer is offered."""
    return tuple(name for name in _CHOICES if getattr(spec, name))


class Ports(NamedTuple):
    """The ports of a load balancer and the field that says them: one, or ranges; neither = it does not say."""

    port: int | None
    ranges: tuple[Range, ...]
    source: Path


class _Place(NamedTuple):
    """Where one policy offers: site and network, address, public address; and the ports that are said there."""

    path: Path
    where: Part[NetworkSiteRefSelector] | None = None
    address: str | None = None
    public_ip: Ref | None = None
    ports: Ports | None = None


def policies(
    make: Maker[Any], spec: Advertised, ports: Ports, transport: TransportProtocol, *, role: str = "", serve: bool = True,
) -> tuple[Ref, ...]:
    """Make the policies of a load balancer. `ports` stand where a place does not say its own.

    With a `role` it is for a second virtual host, whose `ports` are meant everywhere.
    """
    refs = []
    places = list(_places(make, spec))
    for index, place in enumerate(places):
        used = ports if role or place.ports is None else place.ports
        if used.port is None and not used.ranges:
            make.wrong("VG0105", "no port is said, neither here nor for the load balancer", *place.path)
            continue
        part = Part(AdvertisePolicySpec, place.path)
        if place.where is not None:
            part.put("where", place.where)
        part.set("address", place.address, place.path)
        part.set("public_ip", () if place.public_ip is None else (place.public_ip,), place.path)
        part.set("protocol", transport)
        part.set("port", used.port, used.source)
        part.set("port_ranges", used.ranges, used.source)
        name = make.name() if len(places) == 1 and not role else make.name("advertise_policy", role, index)
        refs.append(make.add("advertise_policy", name, part, serve=serve))
    return tuple(refs)


def _places(make: Maker[Any], spec: Advertised) -> Iterator[_Place]:
    if spec.advertise_on_public_default_vip:
        path: Path = ("advertise_on_public_default_vip",)
        inner = Part(VSiteRefType, path)
        inner.set("ref", (ALL_REGIONAL_EDGES,))
        inner.set("network_type", VirtualNetworkType.PUBLIC)
        yield _Place(path, _selector("virtual_site", inner, path))
    elif spec.advertise_on_public is not None:
        yield from _public(make, spec.advertise_on_public, ("advertise_on_public",), None)
    elif spec.advertise_custom is not None:
        for index, where in enumerate(spec.advertise_custom.advertise_where):
            yield from _custom(make, where, ("advertise_custom", "advertise_where", index))


def _public(make: Maker[Any], public: AdvertisePublic, path: Path, ports: Ports | None) -> Iterator[_Place]:
    if public.public_ip is None:
        make.wrong("VG0105", '"public_ip" is missing here: the address on which it is offered', *path)
    else:
        yield _Place(path, public_ip=public.public_ip, ports=ports)


def _custom(make: Maker[Any], where: WhereType, path: Path) -> Iterator[_Place]:
    """The policies of one entry of ``advertise_where``. Segments have no primitive, so there is nothing to make of them."""
    ports = _own_ports(where, path)
    if where.site is not None:
        here = (*path, "site")
        if where.site.site is None:
            make.wrong("VG0105", '"site" is missing here: the site on which it is offered', *here)
            return
        yield from _on_networks(SiteRefType, "site", where.site.site, where.site.network,
                                (where.site.ip, where.site.ipv6), here, ports)
    elif where.virtual_site is not None or where.virtual_site_with_vip is not None:
        name = "virtual_site" if where.virtual_site is not None else "virtual_site_with_vip"
        here = (*path, name)
        choice = where.virtual_site if where.virtual_site is not None else where.virtual_site_with_vip
        assert choice is not None           # one of the two, see above
        if choice.virtual_site is None:
            make.wrong("VG0105", '"virtual_site" is missing here: the sites on which it is offered', *here)
            return
        vips = (None, None) if where.virtual_site_with_vip is None else (
            where.virtual_site_with_vip.ip, where.virtual_site_with_vip.ipv6)
        yield from _on_networks(VSiteRefType, "virtual_site", choice.virtual_site, choice.network, vips, here, ports)
    elif where.virtual_network is not None:
        here, network = (*path, "virtual_network"), where.virtual_network
        if network.virtual_network is None:
            make.wrong("VG0105", '"virtual_network" is missing here: the network on which it is offered', *here)
            return
        inner = Part(NetworkRefType, here)
        inner.set("ref", (network.virtual_network,), (*here, "virtual_network"))
        for address in _addresses(network.specific_vip, network.specific_v6_vip):
            yield _Place(here, _selector("virtual_network", inner, here), address, ports=ports)
    elif where.advertise_on_public is not None:
        yield from _public(make, where.advertise_on_public, (*path, "advertise_on_public"), ports)


def _own_ports(where: WhereType, path: Path) -> Ports | None:
    if where.port is None and not where.port_ranges:
        return None
    return Ports(where.port, where.port_ranges, (*path, "port" if where.port is not None else "port_ranges"))


def _addresses(*vips: str | None) -> list[str | None]:
    """The addresses that are said; None alone = the one that the network has anyway."""
    return [vip for vip in vips if vip is not None] or [None]


def _on_networks(
    kind: type[SiteRefType] | type[VSiteRefType], name: str, ref: Ref, network: SiteNetwork,
    vips: tuple[str | None, str | None], path: Path, ports: Ports | None,
) -> Iterator[_Place]:
    """One policy for each address that is said; without any, one for each network."""
    addresses = _addresses(*vips)
    types = _NETWORKS[network]
    if addresses != [None]:
        # An address is on one network or the other; which, the kernel knows.
        types = (VirtualNetworkType.SITE_LOCAL_INSIDE_OUTSIDE,) if len(types) > 1 else types
    for type_ in types:
        inner: Part[Any] = Part(kind, path)
        inner.set("ref", (ref,), (*path, name))
        inner.set("network_type", type_, (*path, "network"))
        if network in (SiteNetwork.OUTSIDE_WITH_INTERNET_VIP, SiteNetwork.INSIDE_AND_OUTSIDE_WITH_INTERNET_VIP):
            inner.set("enable_internet_vip", type_ is not VirtualNetworkType.SITE_LOCAL_INSIDE, (*path, "network"))
        for address in addresses:
            yield _Place(path, _selector(name, inner, path), address, ports=ports)


def _selector(name: str, inner: Part[Any], path: Path) -> Part[NetworkSiteRefSelector]:
    part = Part(NetworkSiteRefSelector, path)
    part.put(name, inner)
    return part
