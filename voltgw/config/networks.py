"""Which network of this gateway's site a ``where`` means, and what that network is on this host (objects.md 3.1, 11.3, 22.15).

A site has an outside and an inside network by role, and any number of others by name. What they are here is said by the
``voltgw`` part of virtual_network objects; without it a network is the host as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from voltgw.config.labels import selector
from voltgw.config.objects.where import VirtualNetworkType
from voltgw.config.values import Ref
from voltgw.errors import ConfigError, Severity
from voltgw.values.network import HOST, Network

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.endpoint import EndpointSpec
    from voltgw.config.objects.network_connector import NetworkConnectorSpec
    from voltgw.config.objects.site import SiteSpec
    from voltgw.config.objects.virtual_network import VirtualNetworkSpec
    from voltgw.config.objects.where import NetworkSiteRefSelector

#: The label by which a site joins a fleet (objects.md 11.6).
FLEET_LABEL: Final = "ves.io/fleet"
#: The label that every site has: its name.
SITE_LABEL: Final = "ves.io/siteName"
#: The built-in virtual site of all regional edges, and the built-in network that is the Internet.
ALL_EDGES: Final = "ves-io-all-res"
PUBLIC: Final = "public"
_INSIDE: Final = VirtualNetworkType.SITE_LOCAL_INSIDE
#: Kinds of objects that say what networks are, and how endpoints are found: when one of these changes, anything may be
#: elsewhere.
KINDS: Final = ("site", "virtual_site", "virtual_network", "fleet", "discovery")


def present(config: Config, where: Any, namespace: str) -> bool:
    """Whether a ``where`` (None = the own site) of an object of `namespace` names this gateway's site, or a network on it.

    A virtual site is here when its selector and its type take the own site, which counts as a regional edge unless its object
    says otherwise. A network is here when it is one that every site has (outside, inside), or when its ``voltgw`` part says
    what it is on this host.
    """
    if where is None or (where.site is None and where.virtual_site is None and where.virtual_network is None):
        return True
    if where.site is not None:
        return all(ref.name == config.gateway.site_name for ref in where.site.ref)
    if where.virtual_site is not None:
        return any(_selected(config, ref, namespace) for ref in where.virtual_site.ref)
    return any(_on_site(config, ref, namespace) for ref in where.virtual_network.ref)


def _selected(config: Config, ref: Ref, namespace: str) -> bool:
    site = config.site
    kind = "INVALID" if site is None else site.spec.site_type.value
    if ref.built_in and ref.name == ALL_EDGES:
        return kind in ("REGIONAL_EDGE", "INVALID")
    found = config.find("virtual_site", ref, namespace)
    if found is None:
        return False
    labels = {SITE_LABEL: config.gateway.site_name, **({} if site is None else site.metadata.labels)}
    wanted = found.spec.site_type.value
    try:
        taken = selector(found.spec.site_selector.expressions).matches(labels)
    except ValueError:
        return False                        # an error of its own says why it cannot be read
    return taken and wanted == (kind if kind != "INVALID" else "REGIONAL_EDGE")


def _on_site(config: Config, ref: Ref, namespace: str) -> bool:
    if ref.built_in and ref.name == PUBLIC:
        return True
    found = config.find("virtual_network", ref, namespace)
    return found is not None and (found.spec.voltgw is not None or found.spec.inside or found.spec.outside)


class Networks:
    """The networks of one configuration, for those who ask often."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._made: dict[int, Network] = {}
        self._roles: dict[bool, Network] = {}

    @property
    def outside(self) -> Network:
        """The outside network of the own site."""
        return self._role(False)

    @property
    def inside(self) -> Network:
        """The inside network of the own site."""
        return self._role(True)

    def of(self, where: NetworkSiteRefSelector | None, namespace: str, address: str | None = None) -> Network:
        """The network in which a ``where`` of an object of `namespace` says that something is; it must be `present`.

        ``VIRTUAL_NETWORK_IP_AUTO`` goes by `address`: private ones (RFC 1918, RFC 4193) are inside, where there is an inside.
        """
        if where is None:
            return self._role(False)
        if where.virtual_network is not None:
            for ref in where.virtual_network.ref:
                found = self._config.find("virtual_network", ref, namespace)
                if found is not None:
                    return self._of_object(found)
            return self._role(False)        # the built-in one
        kind = role(where)
        if kind is VirtualNetworkType.IP_AUTO:
            return self._role(address is not None and ip_address(address).is_private and self.inside is not HOST)
        return self._role(kind is _INSIDE)

    def named(self, ref: Ref, namespace: str) -> Network | None:
        """The network that a reference in an object of `namespace` means; None if there is none."""
        found = self._config.find("virtual_network", ref, namespace)
        return None if found is None else self._of_object(found)

    def _role(self, inside: bool) -> Network:
        made = self._roles.get(inside)
        if made is None:
            found = site_network(self._config, inside)
            if found is not None:
                made = self._of_object(found)
            else:
                servers = _name_server(self._config.site, inside)
                made = Network("inside" if inside else "outside", dns_servers=servers) if servers else HOST
            self._roles[inside] = made
        return made

    def _of_object(self, found: Object[VirtualNetworkSpec]) -> Network:
        made = self._made.get(id(found))
        if made is None:
            made = self._made[id(found)] = self._make(found)
        return made

    def _make(self, found: Object[VirtualNetworkSpec]) -> Network:
        ours, config = found.spec.voltgw, self._config
        servers: tuple[str, ...] = () if ours is None else ours.dns_servers
        if not servers:
            for inside in (False, True):
                if site_network(config, inside) is found:
                    servers = _name_server(config.site, inside)
        if ours is None:
            return Network(found.full_name, dns_servers=servers) if servers else HOST
        sources = tuple(one for one in (ours.source, ours.source_v6) if one is not None)
        return Network(
            found.full_name, ours.netns or "", ours.vrf or ours.interface or "", ours.interface or "", sources, servers)


def role(where: NetworkSiteRefSelector | None) -> VirtualNetworkType | None:
    """The network of a site that a ``where`` means by its role; None when it names a virtual_network."""
    if where is None:
        return VirtualNetworkType.SITE_LOCAL
    place = where.site if where.site is not None else where.virtual_site
    if place is not None:
        return place.network_type
    return None if where.virtual_network is not None else VirtualNetworkType.SITE_LOCAL


def site_network(config: Config, inside: bool) -> Object[VirtualNetworkSpec] | None:
    """The object of the own site's inside or outside network: the site's choice, its fleet's, or the only one that can be."""
    site = config.site
    if site is not None and site.spec.voltgw is not None:
        ref = site.spec.voltgw.inside_network if inside else site.spec.voltgw.outside_network
        if ref is not None:
            found: Object[VirtualNetworkSpec] | None = config.find("virtual_network", ref, site.namespace)
            return found
    member = None if site is None else site.metadata.labels.get(FLEET_LABEL)
    if member is not None:
        for fleet in config.of("fleet").values():
            if fleet.spec.fleet_label == member:
                for ref in fleet.spec.inside_virtual_network if inside else fleet.spec.outside_virtual_network:
                    found = config.find("virtual_network", ref, fleet.namespace)
                    if found is not None:
                        return found
    candidates = _candidates(config, inside)
    return candidates[0] if len(candidates) == 1 else None


def _candidates(config: Config, inside: bool) -> list[Object[VirtualNetworkSpec]]:
    return [one for one in config.of("virtual_network").values()
            if one.spec.voltgw is not None and (one.spec.inside if inside else one.spec.outside)]


def check_networks(config: Config, network: Object[VirtualNetworkSpec]) -> Iterator[ConfigError]:
    """Whether it is clear which network is the site's inside or outside one: guessing could open the wrong side."""
    for inside in (False, True):
        candidates = _candidates(config, inside)
        if len(candidates) > 1 and candidates[0] is not network and network in candidates \
                and site_network(config, inside) is None:
            name = "inside" if inside else "outside"
            yield ConfigError(
                "VG0219", network.place("voltgw"), f"{network.title} and {candidates[0].title} could both be the {name} "
                "network of this site", f"say which: `voltgw: {{{name}_network: ...}}` in the site object",
                related=(("the other one", candidates[0].place("voltgw")),))


def check_names(config: Config, endpoint: Object[EndpointSpec]) -> Iterator[ConfigError]:
    """Whether a name is looked up in the network in which it means something."""
    spec = endpoint.spec
    if spec.name is None or not config.of("virtual_network") or not config.here(spec.where, endpoint.namespace):
        return
    network = Networks(config).of(spec.where, endpoint.namespace)
    if network.netns and not network.dns_servers:
        yield ConfigError(
            "VG0221", endpoint.place("dns_name" if spec.dns_name is not None else "dns_name_advanced"),
            f"{endpoint.title} is in network {network}, which has no DNS server: its name is looked up in the host's network",
            "give the network `voltgw: {dns_servers: [...]}`, or the site `inside_nameserver` or `outside_nameserver`",
            Severity.WARNING)


def check_capture(config: Config, connector: Object[NetworkConnectorSpec]) -> Iterator[ConfigError]:
    """Whether it is known where the clients are whose connections are to be captured."""
    spec = connector.spec
    if spec.enable_forward_proxy is None or spec.sli_to_slo_snat is None or not spec.sli_to_slo_snat.default_gw_snat:
        return
    if spec.voltgw is not None and spec.voltgw.capture.value == "none":
        return
    member = None if config.site is None else config.site.metadata.labels.get(FLEET_LABEL)
    acts = any(
        config.find("network_connector", ref, fleet.namespace) is connector
        for fleet in config.of("fleet").values() if fleet.spec.fleet_label == member is not None
        for ref in fleet.spec.network_connectors)
    inside = Networks(config).inside if acts else HOST
    if acts and not (inside.netns or inside.device):
        yield ConfigError(
            "VG0222", connector.place("sli_to_slo_snat", "default_gw_snat"), f"{connector.title} captures nothing: it is not "
            "known what the inside network is on this host, and by other interfaces strangers may come",
            "give its virtual_network `voltgw: {interface: ...}` or `voltgw: {netns: ...}`; or the connector `voltgw: "
            "{capture: none}`", Severity.WARNING)


def _name_server(site: Object[SiteSpec] | None, inside: bool) -> tuple[str, ...]:
    if site is None:
        return ()
    server = site.spec.inside_nameserver if inside else site.spec.outside_nameserver
    return () if server is None else (server,)
