"""The short form, ``load_balancers:``, lowered to the primitive kinds. (Views are lowered by `voltgw.config.lowering`.)

One load balancer ``shop`` becomes the virtual host, route, advertise policy, cluster and health check ``shop`` and the
endpoints ``shop-1``, ``shop-2`` … in the default namespace. Each of them knows where in the short form it came from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

from voltgw.config.formats import IP
from voltgw.config.lowering.making import generated
from voltgw.config.model import DEFAULT_NAMESPACE, Key, Made, Metadata, Object
from voltgw.config.objects.advertise_policy import AdvertiseExtension, AdvertisePolicySpec
from voltgw.config.objects.cluster import ClusterSpec
from voltgw.config.objects.endpoint import EndpointExtension, EndpointSpec, TransportProtocol
from voltgw.config.objects.healthcheck import HealthcheckSpec, HttpHealthCheck, TcpHealthCheck
from voltgw.config.objects.route import (
    PathMatcherType,
    RouteDestination,
    RouteDestinationList,
    RouteExtension,
    RouteMatch,
    RouteRedirect,
    RouteSpec,
    RouteType,
)
from voltgw.config.objects.secrets import ClearSecretInfoType, SecretType
from voltgw.config.objects.tls import (
    DownstreamTlsExtension,
    DownstreamTlsParamsType,
    TlsCertificateType,
    TlsParamsType,
    TlsValidationParamsType,
    UpstreamTlsParamsType,
)
from voltgw.config.objects.virtual_host import ProxyType, VirtualHostSpec
from voltgw.config.short_form import (
    Listen,
    ShortHealthCheck,
    ShortLoadBalancer,
    ShortOrigin,
    ShortProtocol,
    ShortRoute,
    ShortTls,
)
from voltgw.config.values import Ref
from voltgw.errors import Place
from voltgw.values import defaults

#: What the protocols of the short form are in the object model. Those that are missing are refused where they are read.
PROXIES: Final = {ShortProtocol.HTTP: ProxyType.HTTP_PROXY, ShortProtocol.HTTPS: ProxyType.HTTPS_PROXY,
                  ShortProtocol.TCP: ProxyType.TCP_PROXY, ShortProtocol.UDP: ProxyType.UDP_PROXY,
                  ShortProtocol.SNI: ProxyType.TCP_PROXY_WITH_SNI}
#: Where an http or https load balancer listens when it does not say.
DEFAULT_LISTEN: Final = Listen(None, 80)
DEFAULT_TLS_LISTEN: Final = Listen(None, 443)


class Places:
    """Places of the parts of one load balancer: its own, and by field and position."""

    def __init__(self, whole: Place, parts: Mapping[tuple[str | int, ...], Place]) -> None:
        self.whole = whole
        self.parts = parts

    def of(self, *path: str | int) -> Place:
        """The place of a part, or of the nearest part around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.parts:
                return self.parts[path[:length]]
        return self.whole


def lower(form: ShortLoadBalancer, places: Places) -> list[Object[Any]]:
    """The primitive objects that a load balancer stands for."""
    name = form.name
    title = f'load_balancer "{name}"'
    here = Ref(None, name, places.of("name"))
    cluster_ref = Ref(None, name, places.of("origins"))

    def made(kind: str, spec: Any, place: Place, parts: Mapping[tuple[str | int, ...], Place], *, called: str = name,
             metadata: Metadata | None = None, built_in: Iterable[str] = ()) -> Object[Any]:
        known = {("metadata",): places.of("name"), **parts}
        return Object(kind, metadata or Metadata(name=called, namespace=DEFAULT_NAMESPACE), spec, Made(
            place, known, title, frozenset((attribute,) for attribute in built_in)))

    objects = [
        made("virtual_host", VirtualHostSpec(
            domains=form.domains or (("*",) if form.protocol.http else ()),
            proxy=PROXIES[form.protocol], routes=(here,), advertise_policies=(here,), tls_parameters=_towards_clients(form.tls),
        ), places.whole, {
            **{("domains", i): places.of("domains", i) for i in range(len(form.domains))},
            ("domains",): places.of("domains"), ("proxy",): places.of("protocol"),
            ("routes",): places.of("routes"), ("advertise_policies",): places.of("listen"),
            ("tls_parameters",): places.of("tls"),
        }, built_in=() if form.domains else ("domains",)),
        made("advertise_policy", _policy(form), places.of("listen"), {}),
        made("route", _routes(form, cluster_ref), places.of("routes"),
             {**{("routes", i): places.of("routes", i) for i in range(len(form.routes))},
              ("routes", len(form.routes)): places.of("origins")}),
    ]
    if form.origins:
        endpoints = tuple(Ref(None, f"{name}-{i}", places.of("origins", i - 1)) for i in range(1, len(form.origins) + 1))
        objects.append(made("cluster", ClusterSpec(endpoints=endpoints, health_checks=(here,) if form.health_check else (),
                                                 tls_parameters=_to_origins(form)),
                            places.of("origins"), {("health_checks",): places.of("health_check")}))
        for ref, origin in zip(endpoints, form.origins, strict=True):
            objects.append(made("endpoint", _endpoint(form, origin), ref.place, {}, metadata=Metadata(
                name=ref.name, namespace=DEFAULT_NAMESPACE, labels=origin.labels)))
        if form.health_check is not None:
            check = _check(form.health_check, form.protocol is ShortProtocol.UDP)
            objects.append(made("healthcheck", check, places.of("health_check"), {}, built_in=[
                name for name in ("interval", "timeout", "healthy_threshold", "unhealthy_threshold")
                if not getattr(form.health_check, name if "threshold" in name else f"{name}_s")]))
    return objects


def resolve_pools(objects: Mapping[str, dict[Key, Object[Any]]]) -> None:
    """Lead the routes of short forms whose `to` names an origin_pool to the cluster that the pool becomes.

    Only when all objects are known can that be told from the name of a cluster, which comes first. `objects` is changed.
    """
    pools, clusters, routes = (objects.get(kind, {}) for kind in ("origin_pool", "cluster", "route"))
    for key, route in routes.items() if pools else ():
        if isinstance(route.origin, Made):
            rules = tuple(_to_cluster(rule, pools, clusters) for rule in route.spec.routes)
            if rules != route.spec.routes:
                routes[key] = Object("route", route.metadata, dataclasses.replace(route.spec, routes=rules), route.origin)


def _to_cluster(rule: RouteType, pools: Mapping[Key, object], clusters: Mapping[Key, object]) -> RouteType:
    """A rule of a short form, leading to a cluster."""
    if rule.route_destination is None:
        return rule
    (destination,) = rule.route_destination.destinations
    ref = destination.cluster[0]
    spaces = (DEFAULT_NAMESPACE, "shared") if ref.namespace is None else (ref.namespace,)
    if any((space, ref.name) in clusters for space in spaces) or not any((space, ref.name) in pools for space in spaces):
        return rule
    there = dataclasses.replace(destination, cluster=(ref.renamed(generated("origin_pool", ref.name)),))
    return dataclasses.replace(
        rule, route_destination=dataclasses.replace(rule.route_destination, destinations=(there,)))


def _usual(form: ShortLoadBalancer) -> Listen:
    return DEFAULT_TLS_LISTEN if form.protocol in (ShortProtocol.HTTPS, ShortProtocol.SNI) else DEFAULT_LISTEN


def _towards_clients(tls: ShortTls | None) -> DownstreamTlsParamsType | None:
    if tls is None:
        return None
    certificates: tuple[TlsCertificateType, ...] = ()
    if tls.cert is not None and tls.key is not None:
        certificates = (TlsCertificateType(
            certificate_url=tls.cert, private_key=SecretType(clear_secret_info=ClearSecretInfoType(url=tls.key))),)
    trust = TlsValidationParamsType(trusted_ca_url=tls.client_ca) if tls.client_ca is not None else None
    return DownstreamTlsParamsType(
        common_params=TlsParamsType(tls_certificates=certificates, validation_params=trust),
        client_certificate_required=trust is not None,
        voltgw=DownstreamTlsExtension(auto_cert=True) if tls.auto_cert else None)


def _to_origins(form: ShortLoadBalancer) -> UpstreamTlsParamsType | None:
    """TLS to origins that are reached by ``https://``: the names by which they are written are asked for and verified."""
    return UpstreamTlsParamsType() if any(origin.address.scheme == "https" for origin in form.origins) else None


def _policy(form: ShortLoadBalancer) -> AdvertisePolicySpec:
    listen = form.listen or _usual(form)
    protocol = TransportProtocol(PROXIES[form.protocol].transport)
    if listen.address is None:
        return AdvertisePolicySpec(port=listen.port, protocol=protocol, voltgw=AdvertiseExtension(any_address=True))
    return AdvertisePolicySpec(port=listen.port, address=listen.address, protocol=protocol)


def _routes(form: ShortLoadBalancer, cluster: Ref) -> RouteSpec:
    rules = [_rule(route) for route in form.routes]
    if form.origins:
        rules.append(RouteType(route_destination=RouteDestinationList(destinations=(RouteDestination(cluster=(cluster,)),))))
    return RouteSpec(routes=tuple(rules))


def _rule(route: ShortRoute) -> RouteType:
    match = (RouteMatch(path=PathMatcherType(prefix=route.path)),)
    whole_segments = RouteExtension(segment_prefix=True)
    if route.to is not None:
        return RouteType(match=match, voltgw=whole_segments, route_destination=RouteDestinationList(
            destinations=(RouteDestination(cluster=(route.to,)),)))
    return RouteType(match=match, voltgw=whole_segments, route_redirect=_redirect(route.redirect or "/"))


def _redirect(target: str) -> RouteRedirect:
    scheme, slashes, rest = target.partition("://")
    if not slashes:
        return RouteRedirect(prefix_rewrite=target)
    host, slash, path = rest.partition("/")
    return RouteRedirect(proto_redirect=scheme, host_redirect=host, prefix_rewrite=slash + path if slash else None)


def _endpoint(form: ShortLoadBalancer, origin: ShortOrigin) -> EndpointSpec:
    address = origin.address
    port = address.port if address.port is not None else 80
    transport = TransportProtocol(PROXIES[form.protocol].transport)
    extension = EndpointExtension(weight=origin.weight) if origin.weight is not None else None
    try:
        return EndpointSpec(ip=IP.read(address.host), port=port, protocol=transport, voltgw=extension)
    except ValueError:
        return EndpointSpec(dns_name=address.host, port=port, protocol=transport, voltgw=extension)


def _check(form: ShortHealthCheck, datagrams: bool) -> HealthcheckSpec:
    http = None
    if form.path is not None:
        http = HttpHealthCheck(path=form.path, host_header=form.host_header, use_origin_server_name=form.host_header is None,
                               expected_status_codes=form.expected_status_codes)
    interval_s = form.interval_s or defaults.HEALTH_INTERVAL_S
    return HealthcheckSpec(
        http_health_check=http, tcp_health_check=TcpHealthCheck() if http is None and not datagrams else None,
        udp_icmp_health_check=http is None and datagrams, interval_s=interval_s,
        timeout_s=form.timeout_s or min(defaults.HEALTH_TIMEOUT_S, interval_s),     # one probe at a time
        healthy_threshold=form.healthy_threshold or defaults.HEALTHY_THRESHOLD,
        unhealthy_threshold=form.unhealthy_threshold or defaults.UNHEALTHY_THRESHOLD,
    )
