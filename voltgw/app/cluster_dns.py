"""The DNS server of a Kubernetes cluster as a registry of one zone, which it forwards to us; see `publications.Registry`."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from importlib import import_module
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar, Final

from voltgw.app.discovering import api_of, kubernetes_of
from voltgw.app.services import INTERVAL_S, fields_of, policy_of
from voltgw.config.objects.discovery import K8SDnsMode
from voltgw.control.publish.names import Vip
from voltgw.errors import ConfigError, ConfigErrors
from voltgw.routing.zone import is_below
from voltgw.wire.dnsmsg import name_of, text_of

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.delegation import DnsDelegation
    from voltgw.config.objects.discovery import DiscoverySpec
    from voltgw.control.publish.registrar import Registrar
    from voltgw.values.discovery import RegistryAccess

#: More than so many addresses no DNS server of a cluster takes (`forward` of CoreDNS).
_MOST: Final = 15


@dataclass(frozen=True, slots=True)
class ClusterDns:
    """The DNS server of a cluster. The one "name" that it has is `zone`; its VIPs are `delegates`, where we answer."""

    kind: ClassVar[str] = "cluster_dns"
    owner: str
    access: RegistryAccess
    zone: bytes
    delegates: tuple[Vip, ...]
    mode: K8SDnsMode
    interval_s: float = INTERVAL_S

    @property
    def identity(self) -> Hashable:
        """The cluster and the owner."""
        return self.kind, self.access.url, self.owner

    @property
    def server(self) -> Hashable:
        """The cluster's DNS server."""
        return self.kind, self.access.url

    def refuses(self, name: str) -> str:
        """No domain of a virtual host comes here."""
        return "only the zone itself stands there"

    def registrar(self, reactor: Any, clock: Any, wall: Callable[[], float]) -> Registrar:
        """See `Registry.registrar`."""
        access = self.access
        module: Any = import_module("voltgw.control.publish.cluster_dns")
        cluster = import_module("voltgw.control.publish.cluster_api").Cluster(
            api_of(access, reactor, clock), access.url, fields_of(access))
        form = module.KubeDns() if self.mode is K8SDnsMode.KUBE_DNS else module.CoreDns()
        made: Registrar = module.ClusterDnsRegistrar(cluster, form, self.owner)
        return made


def cluster_dns(one: Object[DiscoverySpec], config: Config) -> ClusterDns | None:
    """Of an object's ``discovery_k8s: {publish_info: {dns_delegation: ...}}``. Raises `ConfigErrors`."""
    spec = one.spec.discovery_k8s
    info = spec.publish_info if spec is not None else None
    if info is None or info.dns_delegation is None:
        return None
    delegation = info.dns_delegation
    try:
        if delegation.subdomain is None:
            raise ValueError("it does not say which `subdomain`")
        zone = name_of(delegation.subdomain)
        vips = _where_we_answer(config, zone)
    except ValueError as error:
        place = one.place("discovery_k8s", "publish_info", "dns_delegation")
        raise ConfigErrors((ConfigError("VG0231", place, f"{one.title}: dns_delegation: {error}"),)) from error
    owner, interval_s = policy_of(one)
    return ClusterDns(owner, kubernetes_of(config, one), zone, vips, delegation.dns_mode, interval_s)


def _where_we_answer(config: Config, zone: bytes) -> tuple[Vip, ...]:
    """Our addresses for DNS: those that listen; where one listens on all, those that the zone's name servers have."""
    above = _zone_above(config, zone)
    if above is None:
        raise ValueError(f"no zone of this gateway has {text_of(zone)}: declare one with "
                         "`voltgw: {dns_delegation: {zone: ...}}`")
    found: dict[Vip, None] = {}
    for listens in config.gateway.dns:
        if listens.port == 0:
            continue                            # nobody knows it before it listens
        if not ip_address(listens.address).is_unspecified:
            found[Vip(listens.address, listens.port)] = None
            continue
        for server in above.name_servers:
            for address in server.addresses:
                if ":" not in address or ":" in listens.address:
                    found[Vip(address, listens.port)] = None
    if not found:
        raise ValueError("nobody knows at which address clusters find this gateway's DNS server: give `gateway.dns` an address "
                         "and a port, or the zone's `name_servers` addresses")
    return tuple(found)[:_MOST]


def _zone_above(config: Config, zone: bytes) -> DnsDelegation | None:
    """The zone of ours that a name stands in, the deepest."""
    best: tuple[int, DnsDelegation] | None = None
    for one in config.of("discovery").values():
        spec = one.spec.voltgw.dns_delegation if one.spec.voltgw is not None else None
        if spec is None or one.metadata.disable or not config.here(one.spec.where, one.namespace):
            continue
        apex = name_of(spec.zone)
        if (zone == apex or is_below(zone, apex)) and (best is None or len(apex) > best[0]):
            best = len(apex), spec
    return None if best is None else best[1]
