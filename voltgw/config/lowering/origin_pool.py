"""origin_pool: one cluster, and one endpoint for each of its origin servers (objects.md 18)."""

from __future__ import annotations

import json
from typing import Any, Final

from voltgw.config.lowering.making import Maker, Part, Report
from voltgw.config.lowering.tls import to_origins
from voltgw.config.model import Object, Path
from voltgw.config.objects.cluster import CircuitBreaker, ClusterSpec, SubsetFallbackPolicy
from voltgw.config.objects.endpoint import (
    DiscoveryType,
    DnsNameAdvancedType,
    EndpointSpec,
    ServiceInfoType,
    TransportProtocol,
)
from voltgw.config.objects.origin_pool import (
    OriginPoolAdvancedOptions,
    OriginPoolSpec,
    OriginPoolSubsets,
    OriginServerConsulService,
    OriginServerK8SService,
    OriginServerPrivateIP,
    OriginServerPrivateName,
    OriginServerType,
)
from voltgw.config.objects.where import (
    NetworkRefType,
    NetworkSiteRefSelector,
    SiteRefType,
    VirtualNetworkType,
    VSiteRefType,
)
from voltgw.config.schema import plain_message
from voltgw.config.values import FrozenMap, Ref
from voltgw.values import defaults

#: Fields of ``advanced_options`` that a cluster has as well.
_SAME: Final = (
    "connection_timeout", "http_idle_timeout", "outlier_detection", "panic_threshold", "no_panic_threshold", "http1_config",
    "http2_options", "auto_http_config", "disable_proxy_protocol", "proxy_protocol_v1", "proxy_protocol_v2",
    "header_transformation_type", "enable_lb_source_ip_persistance", "disable_lb_source_ip_persistance",
    "no_request_limit_per_connection", "max_requests_per_connection",
)
#: What ``disable_circuit_breaker`` becomes: the largest numbers that the object model has.
_NO_LIMITS: Final = 32768
#: Origin servers whose registry may know the port.
_SERVICES: Final = ("k8s_service", "consul_service", "cbip_service")
#: Those for which ``automatic_port`` means the port that is found there.
_PORT_IS_FOUND: Final = ("consul_service", "cbip_service")


def lower(view: Object[OriginPoolSpec], report: Report) -> list[Object[Any]]:
    """The cluster ``ves-io-origin-pool-<name>`` and its endpoints."""
    make = Maker(view, report)
    pool(make, view.spec, (), make.name())
    return make.objects


def pool(make: Maker[Any], spec: OriginPoolSpec, path: Path, name: str, *, serve: bool = True) -> Ref:
    """Make the cluster `name` of the pool at `path` (a load balancer may have one inside it), and its endpoints."""
    members = [
        ref for index, server in enumerate(spec.origin_servers)
        if (ref := _member(make, spec, server, (*path, "origin_servers", index), path, serve=serve)) is not None
    ]
    part = Part(ClusterSpec, path)
    part.set("endpoints", tuple(members), (*path, "origin_servers"))
    part.set("health_checks", spec.healthcheck, (*path, "healthcheck"))
    part.copy(spec, path, "loadbalancer_algorithm", "endpoint_selection", "upstream_conn_pool_reuse_type")
    if spec.use_tls is not None:
        part.put("tls_parameters", to_origins(spec.use_tls, (*path, "use_tls")))
    part.without("tls_parameters", spec.no_tls, (*path, "no_tls"))
    if spec.advanced_options is not None:
        here = (*path, "advanced_options")
        part.copy(spec.advanced_options, here, *_SAME)
        _limits(part, spec.advanced_options, here)
        part.without("outlier_detection", spec.advanced_options.disable_outlier_detection,
                     (*here, "disable_outlier_detection"))
        part.without("endpoint_subsets", spec.advanced_options.disable_subsets, (*here, "disable_subsets"))
        if spec.advanced_options.enable_subsets is not None:
            _subsets(part, spec.advanced_options.enable_subsets, (*here, "enable_subsets"))
    return make.add("cluster", name, part, labels=make.view.metadata.labels, serve=serve)


def _limits(part: Part[ClusterSpec], options: OriginPoolAdvancedOptions, path: Path) -> None:
    if options.circuit_breaker is not None:
        part.copy(options, path, "circuit_breaker")
    elif options.default_circuit_breaker:
        part.set("circuit_breaker", CircuitBreaker(
            connection_limit=defaults.CIRCUIT_BREAKER_LIMIT, pending_requests=defaults.CIRCUIT_BREAKER_LIMIT,
            max_requests=defaults.CIRCUIT_BREAKER_LIMIT, retries=defaults.CIRCUIT_BREAKER_RETRIES,
        ), (*path, "default_circuit_breaker"))
    elif options.disable_circuit_breaker:
        part.set("circuit_breaker", CircuitBreaker(pending_requests=_NO_LIMITS, retries=_NO_LIMITS),
                 (*path, "disable_circuit_breaker"))


def _subsets(part: Part[ClusterSpec], subsets: OriginPoolSubsets, path: Path) -> None:
    part.copy(subsets, path, "endpoint_subsets")
    if subsets.any_endpoint:
        part.set("fallback_policy", SubsetFallbackPolicy.ANY_ENDPOINT, (*path, "any_endpoint"))
    elif subsets.default_subset is not None:
        part.set("fallback_policy", SubsetFallbackPolicy.DEFAULT_SUBSET, (*path, "default_subset"))
        part.copy(subsets.default_subset, (*path, "default_subset"), "default_subset")


# -- origin servers ---------------------------------------------------------------------------------------------------
def _member(
    make: Maker[Any], spec: OriginPoolSpec, server: OriginServerType, path: Path, of_pool: Path, *, serve: bool,
) -> Ref | None:
    """The endpoint of one origin server; None when there is none, of which a warning or error has told."""
    custom = server.custom_endpoint_object
    if custom is not None:
        if custom.endpoint is None:
            make.wrong("VG0105", '"endpoint" is missing here: the endpoint object', *path)
        return custom.endpoint
    choice = next((name for name in _ADDRESSES if getattr(server, name) is not None), None)
    if choice is None:
        make.wrong("VG0105", "this origin server has no address", *path,
                   hint=f"give it one of {', '.join(_ADDRESSES)} or custom_endpoint_object")
        return None
    port = _port(spec)
    if port is None and choice not in _SERVICES:
        if not spec.lb_port:                # of which a warning tells: it is not known here which port that will be
            make.wrong("VG0105", "the port of the origin servers is missing here", *of_pool,
                       hint="give the pool `port` or `automatic_port`")
        return None
    part = Part(EndpointSpec, path)
    if not _ADDRESSES[choice](part, getattr(server, choice), (*path, choice)):
        make.wrong("VG0105", f"this {choice} does not say which", *path, choice)
        return None
    if not (spec.automatic_port and choice in _PORT_IS_FOUND):
        part.set("port", port, (*of_pool, "port" if spec.port is not None else "automatic_port"))
    part.set("health_check_port", spec.health_check_port, (*of_pool, "health_check_port"))
    part.copy(server, path, "voltgw")
    return _endpoint(make, server, part, path, serve=serve)


def _endpoint(make: Maker[Any], server: OriginServerType, part: Part[EndpointSpec], path: Path, *, serve: bool) -> Ref:
    """The endpoint object. Its name is made from what it says, so that it keeps it when other servers come and go."""
    said = json.dumps([plain_message(part.made()), dict(server.labels)], sort_keys=True)
    name = make.name("endpoint", said)
    if any(made.kind == "endpoint" and made.name == name for made in make.objects):
        return make.ref(name, path)         # it stands there twice, which the rules between objects tell
    return make.add("endpoint", name, part, labels=server.labels, serve=serve)


def _port(spec: OriginPoolSpec) -> int | None:
    """The port of origin servers that do not come from a registry; None when it is not known."""
    if spec.port is not None:
        return spec.port
    if spec.automatic_port:
        return 443 if spec.use_tls is not None else 80
    return None


def _ip(part: Part[EndpointSpec], choice: Any, path: Path) -> bool:
    """An address, on the public internet or on a network of a site."""
    name = "ip" if choice.ip is not None else "ipv6"
    part.set("ip", getattr(choice, name), (*path, name))
    if isinstance(choice, OriginServerPrivateIP):
        part.copy(choice, path, "snat_pool")
        _where(part, choice, path)
    return choice.ip is not None or choice.ipv6 is not None


def _name(part: Part[EndpointSpec], choice: Any, path: Path) -> bool:
    """A DNS name, likewise."""
    interval_s = getattr(choice, "refresh_interval_s", None)
    if interval_s is None:
        part.set("dns_name", choice.dns_name, (*path, "dns_name"))
    elif choice.dns_name is not None:
        inner = Part(DnsNameAdvancedType, path)
        inner.set("name", choice.dns_name, (*path, "dns_name"))
        inner.set("refresh_interval", interval_s, (*path, "refresh_interval"))
        part.put("dns_name_advanced", inner)
    if isinstance(choice, OriginServerPrivateName):
        part.copy(choice, path, "snat_pool")
        _where(part, choice, path)
    return choice.dns_name is not None


def _service(kind: DiscoveryType, part: Part[EndpointSpec], choice: Any, path: Path) -> bool:
    """A service in a registry."""
    inner = Part(ServiceInfoType, path)
    inner.set("discovery_type", kind, path)
    inner.copy(choice, path, "service_name", "service_selector")
    part.put("service_info", inner)
    part.copy(choice, path, "snat_pool")
    if isinstance(choice, OriginServerK8SService) and choice.protocol == "PROTOCOL_UDP":
        part.set("protocol", TransportProtocol.UDP, (*path, "protocol"))
    if isinstance(choice, (OriginServerK8SService, OriginServerConsulService)):
        _where(part, choice, path)
    return choice.service_name is not None or getattr(choice, "service_selector", None) is not None


def _on_network(part: Part[EndpointSpec], network: Ref | None, path: Path, name: str) -> None:
    if network is not None:
        inner = Part(NetworkRefType, path)
        inner.set("ref", (network,), (*path, name))
        selector = Part(NetworkSiteRefSelector, path)
        selector.put("virtual_network", inner)
        part.put("where", selector)


def _network_ip(part: Part[EndpointSpec], choice: Any, path: Path) -> bool:
    """An address on a virtual network."""
    _on_network(part, choice.virtual_network, path, "virtual_network")
    return _ip(part, choice, path)


def _network_name(part: Part[EndpointSpec], choice: Any, path: Path) -> bool:
    """A DNS name on a virtual network."""
    _on_network(part, choice.private_network, path, "private_network")
    return _name(part, choice, path)


def _where(part: Part[EndpointSpec], choice: Any, path: Path) -> None:
    """The site and its network; neither said = the own site, as an endpoint without `where`."""
    locator = choice.site_locator
    if locator is None or (locator.site is None and locator.virtual_site is None):
        return
    name = "site" if locator.site is not None else "virtual_site"
    inner: Part[Any] = Part(SiteRefType if name == "site" else VSiteRefType, (*path, "site_locator"))
    inner.set("ref", (locator.site or locator.virtual_site,), (*path, "site_locator", name))
    for field, network in _NETWORKS.items():
        if getattr(choice, field, None):
            inner.set("network_type", network, (*path, field))
    selector = Part(NetworkSiteRefSelector, (*path, "site_locator"))
    selector.put(name, inner)
    part.put("where", selector)


_NETWORKS: Final = {
    "inside_network": VirtualNetworkType.SITE_LOCAL_INSIDE, "outside_network": VirtualNetworkType.SITE_LOCAL,
    "segment": VirtualNetworkType.SEGMENT, "vk8s_networks": VirtualNetworkType.SITE_SERVICE,
}
#: How each kind of origin server becomes the address of an endpoint; False when it says none.
_ADDRESSES: Final = FrozenMap({
    "public_ip": _ip,
    "public_name": _name,
    "private_ip": _ip,
    "private_name": _name,
    "k8s_service": lambda *given: _service(DiscoveryType.K8S, *given),
    "consul_service": lambda *given: _service(DiscoveryType.CONSUL, *given),
    "cbip_service": lambda *given: _service(DiscoveryType.CLASSIC_BIGIP, *given),
    "vn_private_ip": _network_ip,
    "vn_private_name": _network_name,
})
