"""tcp_loadbalancer: a virtual host that relays connections, its one route and its advertise policies (objects.md 18)."""

from __future__ import annotations

from typing import Any

from voltgw.config.lowering.advertise import Ports, chosen, policies
from voltgw.config.lowering.making import Maker, Part, Report
from voltgw.config.lowering.pools import destinations, pool_cluster
from voltgw.config.lowering.tls import fetched_certificates, towards_clients
from voltgw.config.model import Object
from voltgw.config.objects.endpoint import TransportProtocol
from voltgw.config.objects.extensions import Balance, DestinationExtension
from voltgw.config.objects.route import HashPolicyType, RouteDestination, RouteDestinationList, RouteSpec, RouteType
from voltgw.config.objects.tcp_loadbalancer import TcpLoadbalancerSpec
from voltgw.config.objects.udp_loadbalancer import UdpLoadbalancerSpec
from voltgw.config.objects.virtual_host import SERVED, ProxyType, VirtualHostSpec


def lower(view: Object[TcpLoadbalancerSpec], report: Report) -> list[Object[Any]]:
    """The virtual host ``ves-io-tcp-loadbalancer-<name>`` and what belongs to it."""
    make = Maker(view, report)
    spec = view.spec
    by_name = spec.sni or spec.default_lb_with_sni or spec.with_sni
    if spec.tls_tcp is not None or spec.tls_tcp_auto_cert is not None:
        proxy = ProxyType.TLS_TCP_PROXY_WITH_SNI if by_name else ProxyType.TLS_TCP_PROXY
    else:
        proxy = ProxyType.TCP_PROXY_WITH_SNI if by_name else ProxyType.TCP_PROXY
    host = Part(VirtualHostSpec, ())
    if spec.tls_tcp is not None:
        towards_clients(make, host, spec.tls_tcp.tls_parameters, spec.tls_tcp.tls_cert_params, ("tls_tcp",))
    elif spec.tls_tcp_auto_cert is not None:
        fetched = spec.tls_tcp_auto_cert
        host.put("tls_parameters", fetched_certificates(fetched.tls_config, fetched.use_mtls, ("tls_tcp_auto_cert",)))
    if spec.default_lb_with_sni:
        host.set("default_loadbalancer", True, ("default_lb_with_sni",))
    relay(make, host, proxy, [
        *destinations(make, spec.origin_pools_weights, ("origin_pools_weights",)), *_unweighted(spec)], TransportProtocol.TCP)
    return make.objects


def relay(
    make: Maker[TcpLoadbalancerSpec] | Maker[UdpLoadbalancerSpec], host: Part[VirtualHostSpec], proxy: ProxyType,
    pools: list[Part[RouteDestination]], transport: TransportProtocol,
) -> None:
    """Make what TCP and UDP have in common: `host` is what is known of the virtual host so far."""
    spec = make.spec
    serve = proxy in SERVED
    if pools:
        forward = Part(RouteDestinationList, ())
        forward.put_all("destinations", pools)
        forward.copy(spec, (), "retract_cluster", "do_not_retract_cluster")
        if spec.hash_policy_choice_source_ip_stickiness:
            forward.set("hash_policy", (HashPolicyType(source_ip=True),), ("hash_policy_choice_source_ip_stickiness",))
        for balance, said in ((Balance.LEAST_REQUEST, "least_active"), (Balance.RANDOM, "random")):
            if getattr(spec, f"hash_policy_choice_{said}"):
                forward.set("voltgw", DestinationExtension(balance=balance), (f"hash_policy_choice_{said}",))
        rule = Part(RouteType, pools[0].ways[()])
        rule.put("route_destination", forward)
        route = Part(RouteSpec, ())
        route.put_all("routes", [rule])
        host.set("routes", (make.add("route", make.name(), route),), ("origin_pools_weights",))
    else:
        make.wrong("VG0105", "this load balancer has no pools, so it does not know where to go",
                   hint="give it `origin_pools_weights`")
    host.copy(spec, (), "domains", "idle_timeout", "active_service_policies", "no_service_policies",
              "service_policies_from_namespace")
    host.set("proxy", proxy)
    ports = Ports(spec.listen_port, spec.port_ranges, ("listen_port" if spec.listen_port is not None else "port_ranges",))
    host.set("advertise_policies", policies(make, spec, ports, transport, serve=serve), chosen(spec))
    make.add("virtual_host", make.name(), host, labels=make.view.metadata.labels, serve=serve)



def _unweighted(spec: TcpLoadbalancerSpec) -> list[Part[RouteDestination]]:
    """The older form: pools without shares."""
    parts = []
    for index, ref in enumerate(spec.origin_pools):
        part = Part(RouteDestination, ("origin_pools", index))
        part.set("cluster", (pool_cluster(ref),), ("origin_pools", index))
        parts.append(part)
    return parts
