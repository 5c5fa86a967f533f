"""http_loadbalancer: a virtual host, its routes and policies, and perhaps one that redirects to it (objects.md 18)."""

from __future__ import annotations

from typing import Any, Final

from voltgw.config.lowering.advertise import Ports, chosen, policies
from voltgw.config.lowering.clients import rate_limit, refused
from voltgw.config.lowering.http_routes import Hash, Pools, routes, waf
from voltgw.config.lowering.making import Maker, Part, Report
from voltgw.config.lowering.origin_pool import pool
from voltgw.config.lowering.tls import fetched_certificates, towards_clients
from voltgw.config.model import Object, Path
from voltgw.config.objects.endpoint import TransportProtocol
from voltgw.config.objects.extensions import Balance
from voltgw.config.objects.headers import HeaderManipulationOptionType
from voltgw.config.objects.http_loadbalancer import HttpLoadbalancerSpec, ProxyTypeHttps, ProxyTypeHttpsAutoCerts
from voltgw.config.objects.route import HashPolicyType, RouteRedirect, RouteSpec, RouteType
from voltgw.config.objects.virtual_host import SERVED, HttpProtocolOptions, ProxyType, VirtualHostSpec

#: Fields of the load balancer itself that are those of a virtual host.
_SAME: Final = (
    "add_location", "no_challenge", "js_challenge", "captcha_challenge", "cors_policy", "csrf_policy",
    "slow_ddos_mitigation", "active_service_policies", "no_service_policies", "service_policies_from_namespace",
    "jwt_validation", "voltgw",
)
#: Those of ``https`` and ``https_auto_cert``.
_LISTENER: Final = (
    "default_header", "server_name", "append_server_name", "pass_through", "enable_path_normalize",
    "disable_path_normalize", "default_loadbalancer", "non_default_loadbalancer", "connection_idle_timeout",
    "http_protocol_options", "coalescing_options", "header_transformation_type",
)
#: Those of ``more_option``.
_MORE: Final = (
    "buffer_policy", "compression_params", "custom_errors", "disable_default_error_pages", "idle_timeout",
    "max_request_header_size", "request_headers_to_add", "request_headers_to_remove", "response_headers_to_add",
    "response_headers_to_remove", "request_cookies_to_add", "request_cookies_to_remove", "response_cookies_to_add",
    "response_cookies_to_remove", "cookies_to_modify", "enable_strict_sni_host_header_check", "additional_domains",
    "no_request_limit_per_connection", "max_requests_per_connection",
)
#: What ``add_hsts`` adds: a year, as is usual; subdomains are left out, since they may be other people's.
_HSTS: Final = HeaderManipulationOptionType(name="strict-transport-security", value="max-age=31536000")
_HTTP_PORT: Final = 80
_HTTPS_PORT: Final = 443


def lower(view: Object[HttpLoadbalancerSpec], report: Report) -> list[Object[Any]]:
    """The virtual host ``ves-io-http-loadbalancer-<name>`` and what belongs to it."""
    make = Maker(view, report)
    spec = view.spec
    secure = spec.https if spec.https is not None else spec.https_auto_cert
    name = "https" if spec.https is not None else "https_auto_cert" if secure is not None else "http"
    proxy = ProxyType.HTTP_PROXY if secure is None else ProxyType.HTTPS_PROXY
    serve = proxy in SERVED
    listener = secure if secure is not None else spec.http
    ports = _ports(listener, (name,), _HTTP_PORT if secure is None else _HTTPS_PORT)

    host = Part(VirtualHostSpec, ())
    host.copy(spec, (), "domains", *_SAME)
    host.set("proxy", proxy, (name,))
    host.copy(listener, (name,), *_LISTENER)
    _more(host, spec)
    if secure is not None:
        _tls(make, host, secure, name)
    firewall = waf(spec, ())
    if firewall is not None:
        host.put("waf_type", firewall)
    if spec.user_identification is not None:
        host.set("user_identification", (spec.user_identification,), ("user_identification",))
    rate_limit(make, host)
    refused(make, host)
    host.set("routes", routes(make, _pools(make, serve=serve), _hash(spec)), ("routes",))
    host.set("advertise_policies", policies(make, spec, ports, TransportProtocol.TCP, serve=serve), chosen(spec))
    make.add("virtual_host", make.name(), host, labels=view.metadata.labels, serve=serve)
    if secure is not None and secure.http_redirect and spec.domains:
        _redirect(make, secure, name, serve=serve)
    return make.objects


def _ports(listener: Any, path: Path, usual: int) -> Ports:
    if listener is not None and listener.port_ranges:
        return Ports(None, listener.port_ranges, (*path, "port_ranges"))
    if listener is not None and listener.port is not None:
        return Ports(listener.port, (), (*path, "port"))
    return Ports(usual, (), path)



def _more(host: Part[VirtualHostSpec], spec: HttpLoadbalancerSpec) -> None:
    path: Path = ("more_option",)
    host.copy(spec.more_option, path, *_MORE)
    if spec.more_option is not None and not {"enable_path_normalize", "disable_path_normalize"} & set(host.values):
        host.copy(spec.more_option, path, "enable_path_normalize", "disable_path_normalize")
    host.set("cookies_to_modify", spec.protected_cookies, ("protected_cookies",))


def _tls(
    make: Maker[Any], host: Part[VirtualHostSpec], secure: ProxyTypeHttps | ProxyTypeHttpsAutoCerts, name: str,
) -> None:
    path: Path = (name,)
    if isinstance(secure, ProxyTypeHttpsAutoCerts):
        host.put("tls_parameters", fetched_certificates(secure.tls_config, secure.use_mtls, path))
    else:
        towards_clients(make, host, secure.tls_parameters, secure.tls_cert_params, path)
    if secure.http_protocol_options is None:
        host.set("http_protocol_options", HttpProtocolOptions(http_protocol_enable_v1_v2=True), path)
    if secure.add_hsts:
        said: tuple[HeaderManipulationOptionType, ...] = host.values.get("response_headers_to_add", ())
        if all(edit.name.lower() != _HSTS.name for edit in said):
            host.set("response_headers_to_add", (*said, _HSTS))
            host.ways["response_headers_to_add", len(said)] = (*path, "add_hsts")


def _pools(make: Maker[HttpLoadbalancerSpec], *, serve: bool) -> Pools:
    """The pools for what names none itself; one that stands inside the load balancer becomes a cluster of its name."""
    spec = make.spec
    if spec.default_pool is not None:
        path: Path = ("default_pool",)
        return Pools((), path, pool(make, spec.default_pool, path, make.name(), serve=serve))
    if spec.default_pool_list is not None:
        return Pools(spec.default_pool_list.pools, ("default_pool_list", "pools"))
    return Pools(spec.default_route_pools, ("default_route_pools",))


def _hash(spec: HttpLoadbalancerSpec) -> Hash:
    """What a hash is made of, where the load balancer chooses by one."""
    if spec.ring_hash is not None:
        return Hash(spec.ring_hash.hash_policy, ("ring_hash", "hash_policy"))
    if spec.cookie_stickiness is not None:
        return Hash((HashPolicyType(cookie=spec.cookie_stickiness),), ("cookie_stickiness",))
    if spec.source_ip_stickiness:
        return Hash((HashPolicyType(source_ip=True),), ("source_ip_stickiness",))
    if spec.least_active:
        return Hash((), ("least_active",), Balance.LEAST_REQUEST)
    return Hash((), ("random",), Balance.RANDOM) if spec.random else Hash((), ())


def _redirect(
    make: Maker[HttpLoadbalancerSpec], secure: ProxyTypeHttps | ProxyTypeHttpsAutoCerts, name: str, *, serve: bool,
) -> None:
    """The virtual host on port 80 that sends everybody to the other one, in the same places."""
    path: Path = (name,)
    target = Part(RouteRedirect, path)
    target.set("proto_redirect", "https", (*path, "http_redirect"))
    port = secure.port if not secure.port_ranges else secure.port_ranges[0].first
    target.set("port_redirect", None if port == _HTTPS_PORT else port, (*path, "port"))
    target.set("response_code", 301)
    rule = Part(RouteType, path)
    rule.put("route_redirect", target)
    route = Part(RouteSpec, path)
    route.put_all("routes", [rule])
    host = Part(VirtualHostSpec, path)
    host.copy(make.spec, (), "domains")
    host.set("proxy", ProxyType.HTTP_PROXY, path)
    host.set("routes", (make.add("route", make.name("redirect"), route),), path)
    ports = Ports(_HTTP_PORT, (), path)
    host.set("advertise_policies", policies(make, make.spec, ports, TransportProtocol.TCP, role="redirect", serve=serve),
             chosen(make.spec))
    make.add("virtual_host", make.name("redirect"), host, serve=serve)
