"""origin_pool: origin servers, one cluster and its endpoints in one object (objects.md 18)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import ListOf, MapOf, refs
from voltgw.config.formats import HOSTNAME, IPV4, IPV6
from voltgw.config.names import Reference
from voltgw.config.objects.cluster import (
    CircuitBreaker,
    ClusterSpec,
    EndpointSelectionPolicy,
    EndpointSubsetSelectorType,
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    LoadbalancerAlgorithm,
    OutlierDetectionType,
    UpstreamConnPoolReuseType,
)
from voltgw.config.objects.endpoint import EndpointExtension, EndpointSpec, LabelSelectorType, SnatPoolConfiguration
from voltgw.config.objects.headers import HeaderTransformationType
from voltgw.config.objects.view_tls import ViewUpstreamTlsParameters
from voltgw.config.objects.where import NetworkSiteRefSelector
from voltgw.config.quantities import Duration
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, field, message, state_of, states_of
from voltgw.config.types import Choice, Number, Presence, Text
from voltgw.config.values import FrozenMap, Ref


@message
class SiteLocator:
    """Where an origin server is."""

    SINCE: ClassVar = ""

    site: Ref | None = field(Reference("site"), "On one site.", group="choice")
    virtual_site: Ref | None = field(
        Reference("virtual_site"), "On all sites of a virtual site.", group="choice",
        state=state_of(NetworkSiteRefSelector, "virtual_site"))


@message
class OriginServerPublicIP:
    """A public address."""

    SINCE: ClassVar = ""

    ip: str | None = field(Text(IPV4), "IPv4 address.", group="public_ip_choice")
    ipv6: str | None = field(Text(IPV6), "IPv6 address.", group="public_ip_choice")


@message
class OriginServerPublicName:
    """A public DNS name."""

    SINCE: ClassVar = ""

    dns_name: str | None = field(Text(HOSTNAME, most=256), "The name; every address of it is a member.")
    refresh_interval_s: float | None = field(Duration("s"), "It is looked up this often.")


@message
class OriginServerPrivateIP:
    """An address on a site's network."""

    SINCE: ClassVar = ""

    ip: str | None = field(Text(IPV4), "IPv4 address.", group="private_ip_choice")
    ipv6: str | None = field(Text(IPV6), "IPv6 address.", group="private_ip_choice")
    inside_network: bool = field(Presence(), "On the inside network.", group="network_choice")
    outside_network: bool = field(Presence(), "On the outside network.", group="network_choice")
    segment: Ref | None = field(Reference("segment"), "On a segment.", group="network_choice", state=WARNS)
    site_locator: SiteLocator | None = field(Nested(SiteLocator), "Where it is.", absent="on the own site")
    snat_pool: SnatPoolConfiguration | None = field(
        Nested(SnatPoolConfiguration), "From which addresses we connect to it.")


@message
class OriginServerPrivateName:
    """A DNS name on a site's network."""

    SINCE: ClassVar = ""

    dns_name: str | None = field(Text(HOSTNAME, most=256), "The name; every address of it is a member.")
    refresh_interval_s: float | None = field(Duration("s"), "It is looked up this often.")
    inside_network: bool = field(Presence(), "On the inside network.", group="network_choice")
    outside_network: bool = field(Presence(), "On the outside network.", group="network_choice")
    segment: Ref | None = field(Reference("segment"), "On a segment.", group="network_choice", state=WARNS)
    site_locator: SiteLocator | None = field(Nested(SiteLocator), "Where it is.", absent="on the own site")
    snat_pool: SnatPoolConfiguration | None = field(
        Nested(SnatPoolConfiguration), "From which addresses we connect to it.")


@message
class OriginServerK8SService:
    """A service in Kubernetes."""

    SINCE: ClassVar = ""

    service_name: str | None = field(
        Text(least=1), "``service.namespace[:cluster_id]``.", group="service_info", example="frontend.speedtest")
    service_selector: LabelSelectorType | None = field(
        Nested(LabelSelectorType), "Services by their labels.", group="service_info")
    protocol: str | None = field(Text(one_of=("", "PROTOCOL_TCP", "PROTOCOL_UDP")), "Transport of its ports.")
    site_locator: SiteLocator | None = field(Nested(SiteLocator), "Where it is.", absent="on the own site")
    inside_network: bool = field(Presence(), "On the inside network.", group="network_choice")
    outside_network: bool = field(Presence(), "On the outside network.", group="network_choice")
    vk8s_networks: bool = field(
        Presence(), "On the network of virtual Kubernetes services.", group="network_choice", state=WARNS)
    snat_pool: SnatPoolConfiguration | None = field(
        Nested(SnatPoolConfiguration), "From which addresses we connect to it.")


@message
class OriginServerConsulService:
    """A service in Consul."""

    SINCE: ClassVar = ""

    service_name: str | None = field(Text(least=1), "``service[:cluster_id]``.")
    site_locator: SiteLocator | None = field(Nested(SiteLocator), "Where it is.", absent="on the own site")
    inside_network: bool = field(Presence(), "On the inside network.", group="network_choice")
    outside_network: bool = field(Presence(), "On the outside network.", group="network_choice")
    snat_pool: SnatPoolConfiguration | None = field(
        Nested(SnatPoolConfiguration), "From which addresses we connect to it.")


@message
class OriginServerVirtualNetworkIP:
    """An address on a virtual network."""

    SINCE: ClassVar = ""

    ip: str | None = field(Text(IPV4), "IPv4 address.", group="vn_ip_choice")
    ipv6: str | None = field(Text(IPV6), "IPv6 address.", group="vn_ip_choice")
    virtual_network: Ref | None = field(Reference("virtual_network"), "The network.")


@message
class OriginServerVirtualNetworkName:
    """A DNS name on a virtual network."""

    SINCE: ClassVar = ""

    dns_name: str | None = field(Text(HOSTNAME, most=256), "The name; every address of it is a member.")
    private_network: Ref | None = field(Reference("virtual_network"), "The network.")


@message
class OriginServerCustomEndpoint:
    """What an endpoint object says."""

    SINCE: ClassVar = ""

    endpoint: Ref | None = field(Reference("endpoint"), "The endpoint object.")


@message
class OriginServerCBIPService:
    """A virtual server of a BIG-IP of the classic kind."""

    SINCE: ClassVar = ""

    service_name: str | None = field(Text(least=1), "Its name.")


@message
class OriginServerType:
    """One origin server, or a name behind which there are some."""

    SINCE: ClassVar = ""

    public_ip: OriginServerPublicIP | None = field(Nested(OriginServerPublicIP), "A public address.", group="choice")
    public_name: OriginServerPublicName | None = field(
        Nested(OriginServerPublicName), "A public DNS name.", group="choice")
    private_ip: OriginServerPrivateIP | None = field(
        Nested(OriginServerPrivateIP), "An address on a site's network.", group="choice")
    private_name: OriginServerPrivateName | None = field(
        Nested(OriginServerPrivateName), "A DNS name on a site's network.", group="choice")
    k8s_service: OriginServerK8SService | None = field(
        Nested(OriginServerK8SService), "A service in Kubernetes.", group="choice",
        state=state_of(EndpointSpec, "service_info"))
    consul_service: OriginServerConsulService | None = field(
        Nested(OriginServerConsulService), "A service in Consul.", group="choice",
        state=state_of(EndpointSpec, "service_info"))
    vn_private_ip: OriginServerVirtualNetworkIP | None = field(
        Nested(OriginServerVirtualNetworkIP), "An address on a virtual network.", group="choice",
        state=state_of(NetworkSiteRefSelector, "virtual_network"))
    vn_private_name: OriginServerVirtualNetworkName | None = field(
        Nested(OriginServerVirtualNetworkName), "A DNS name on a virtual network.", group="choice",
        state=state_of(NetworkSiteRefSelector, "virtual_network"))
    custom_endpoint_object: OriginServerCustomEndpoint | None = field(
        Nested(OriginServerCustomEndpoint), "What an endpoint object says.", group="choice")
    cbip_service: OriginServerCBIPService | None = field(
        Nested(OriginServerCBIPService), "A virtual server of a BIG-IP.", group="choice",
        state=state_of(EndpointSpec, "service_info"))
    labels: FrozenMap[str, str] = field(MapOf(Text(), Text()), "Labels, by which subsets are made.")
    voltgw: EndpointExtension | None = field(Nested(EndpointExtension), "What voltgw adds.", since="voltgw")


@message
class OriginPoolDefaultSubset:
    """Labels of the origin servers that take what fits no subset."""

    SINCE: ClassVar = ""

    default_subset: FrozenMap[str, str] = field(MapOf(Text(), Text(), most=32), "The labels.")


@message
class OriginPoolSubsets:
    """Subsets by label."""

    SINCE: ClassVar = ""

    endpoint_subsets: tuple[EndpointSubsetSelectorType, ...] = field(
        ListOf(Nested(EndpointSubsetSelectorType), most=32), "Key sets that make subsets.")
    any_endpoint: bool = field(Presence(), "What fits none goes to any.", group="fallback_policy_choice")
    default_subset: OriginPoolDefaultSubset | None = field(
        Nested(OriginPoolDefaultSubset), "What fits none goes to these.", group="fallback_policy_choice")
    fail_request: bool = field(Presence(), "What fits none fails.", group="fallback_policy_choice", absent="this")


@message
class OriginPoolAdvancedOptions:
    """What else is said about a pool."""

    SINCE: ClassVar = ""

    connection_timeout_s: float | None = field(
        Duration("ms", 0, 600000), "An origin server must accept a connection in this time.", absent="2 s")
    http_idle_timeout_s: float | None = field(
        Duration("ms", 0, 600000), "A pooled connection without a request is closed after this.", absent="5 min")
    circuit_breaker: CircuitBreaker | None = field(Nested(CircuitBreaker), "Limits.", group="circuit_breaker_choice")
    default_circuit_breaker: bool = field(
        Presence(), "1024 connections, 1024 requests, 1024 waiting, 3 retries.", group="circuit_breaker_choice")
    disable_circuit_breaker: bool = field(Presence(), "No limits.", group="circuit_breaker_choice")
    outlier_detection: OutlierDetectionType | None = field(
        Nested(OutlierDetectionType), "When an origin server is taken out because of its answers.",
        group="outlier_detection_choice", state=state_of(ClusterSpec, "outlier_detection"))
    disable_outlier_detection: bool = field(Presence(), "Never.", group="outlier_detection_choice", absent="this")
    panic_threshold: int | None = field(
        Number(most=100), "Percent: below this healthy share all origin servers are used.", group="panic_threshold_type",
        state=state_of(ClusterSpec, "panic_threshold"))
    no_panic_threshold: bool = field(
        Presence(), "Only healthy origin servers, ever.", group="panic_threshold_type", absent="this")
    enable_subsets: OriginPoolSubsets | None = field(
        Nested(OriginPoolSubsets), "Subsets by label.", group="subset_choice",
        state=state_of(ClusterSpec, "endpoint_subsets"))
    disable_subsets: bool = field(Presence(), "No subsets.", group="subset_choice", absent="this")
    http1_config: Http1ProtocolOptions | None = field(
        Nested(Http1ProtocolOptions), "HTTP/1.1 to the origin servers.", group="http_protocol_type", absent="this")
    http2_options: Http2ProtocolOptions | None = field(
        Nested(Http2ProtocolOptions), "HTTP/2 to the origin servers.", group="http_protocol_type")
    auto_http_config: bool = field(
        Presence(), "ALPN decides.", group="http_protocol_type", state=state_of(ClusterSpec, "auto_http_config"))
    disable_proxy_protocol: bool = field(Presence(), "No PROXY header.", group="proxy_protocol_choice", absent="this")
    proxy_protocol_v1: bool = field(
        Presence(), "Begin connections with a PROXY v1 header.", group="proxy_protocol_choice",
        state=state_of(ClusterSpec, "proxy_protocol_v1"))
    proxy_protocol_v2: bool = field(
        Presence(), "Begin connections with a PROXY v2 header.", group="proxy_protocol_choice",
        state=state_of(ClusterSpec, "proxy_protocol_v2"))
    header_transformation_type: HeaderTransformationType | None = field(
        Nested(HeaderTransformationType), "Case of header names in requests.")
    enable_lb_source_ip_persistance: bool = field(
        Presence(), "Keep a client on its origin server.", group="lb_source_ip_persistance_choice",
        state=state_of(ClusterSpec, "enable_lb_source_ip_persistance"))
    disable_lb_source_ip_persistance: bool = field(Presence(), "Do not.", group="lb_source_ip_persistance_choice")
    no_request_limit_per_connection: bool = field(
        Presence(), "Any number of requests on a connection.", group="max_requests_per_connection_choice", absent="this")
    max_requests_per_connection: int | None = field(
        Number(1), "A connection is closed after so many requests.", group="max_requests_per_connection_choice")


@message
class OriginPoolSpec:
    """Origin servers, and how they are chosen, watched and spoken to."""

    SINCE: ClassVar = ""

    origin_servers: tuple[OriginServerType, ...] = field(ListOf(Nested(OriginServerType)), "The servers.")
    port: int | None = field(Number(1, 65535), "Their port.", group="port_choice")
    automatic_port: bool = field(
        Presence(), "The port that discovery finds; else 443 with TLS, 80 without.", group="port_choice")
    lb_port: bool = field(
        Presence(), "The port on which the request came in.", group="port_choice",
        state=WARNS, instead="the pool has no servers")
    health_check_port: int | None = field(
        Number(1, 65535), "Port for health checks.", group="health_check_port_choice")
    same_as_endpoint_port: bool = field(
        Presence(), "Their own port for health checks.", group="health_check_port_choice", absent="this")
    healthcheck: tuple[Ref, ...] = field(
        refs("healthcheck", most=4), "Health checks; an origin server must pass all of them.")
    no_tls: bool = field(Presence(), "Plain text to them.", group="tls_choice", absent="this")
    use_tls: ViewUpstreamTlsParameters | None = field(
        Nested(ViewUpstreamTlsParameters), "TLS to them.", group="tls_choice",
        state=state_of(ClusterSpec, "tls_parameters"))
    loadbalancer_algorithm: LoadbalancerAlgorithm = field(
        Choice(LoadbalancerAlgorithm, states_of(ClusterSpec, "loadbalancer_algorithm"),
               instead="round robin serves"), "How one is chosen.")
    endpoint_selection: EndpointSelectionPolicy = field(
        Choice(EndpointSelectionPolicy), "Whether those of other sites are used; with one site all are local.")
    advanced_options: OriginPoolAdvancedOptions | None = field(
        Nested(OriginPoolAdvancedOptions), "What else is said about it.")
    upstream_conn_pool_reuse_type: UpstreamConnPoolReuseType | None = field(
        Nested(UpstreamConnPoolReuseType), "Whether clients share upstream connections.")
