"""tcp_loadbalancer: a TCP load balancer in one object (objects.md 18)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import ListOf, refs
from voltgw.config.formats import DOMAIN
from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
from voltgw.config.objects.route import RouteDestinationList
from voltgw.config.objects.tls import DownstreamTlsParamsType
from voltgw.config.objects.view_advertise import (
    AdvertiseCustom,
    AdvertisePublic,
    OriginPoolWithWeight,
    ServicePolicyList,
)
from voltgw.config.objects.view_tls import (
    DownstreamTlsValidationContext,
    TlsConfig,
    ViewDownstreamTlsCertParams,
    ViewDownstreamTlsParams,
)
from voltgw.config.objects.virtual_host import ProxyType, served
from voltgw.config.quantities import Duration
from voltgw.config.ranges import Ports
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, field, message, state_of
from voltgw.config.types import Flag, Number, Presence, Text
from voltgw.config.values import Range, Ref


@message
class ProxyTypeTLSTCP:
    """TLS is terminated, then as TCP."""

    SINCE: ClassVar = ""

    tls_parameters: ViewDownstreamTlsParams | None = field(
        Nested(ViewDownstreamTlsParams), "With certificates inline.", group="tls_certificates_choice")
    tls_cert_params: ViewDownstreamTlsCertParams | None = field(
        Nested(ViewDownstreamTlsCertParams), "With certificates by reference.", group="tls_certificates_choice")


@message
class ProxyTypeTLSTCPAutoCerts:
    """The same with a certificate that is fetched and renewed."""

    SINCE: ClassVar = ""

    no_mtls: bool = field(Presence(), "Clients show no certificate.", group="mtls_choice", absent="this")
    use_mtls: DownstreamTlsValidationContext | None = field(
        Nested(DownstreamTlsValidationContext), "Clients show a certificate.", group="mtls_choice",
        state=state_of(DownstreamTlsParamsType, "client_certificate_required"))
    tls_config: TlsConfig | None = field(Nested(TlsConfig), "How strict it is.")


@message
class TcpLoadbalancerSpec:
    """A TCP load balancer."""

    READ_ONLY: ClassVar = ("host_name", "dns_info", "auto_cert_info", "cert_state",
                           "downstream_tls_certificate_expiration_timestamps", "internet_vip_info")
    SINCE: ClassVar = ""

    tcp: bool = field(Presence(), "Plain TCP.", group="loadbalancer_type", absent="this")
    tls_tcp: ProxyTypeTLSTCP | None = field(
        Nested(ProxyTypeTLSTCP), "TLS is terminated.", group="loadbalancer_type",
        state=served(ProxyType.TLS_TCP_PROXY), instead="nothing is opened for it")
    tls_tcp_auto_cert: ProxyTypeTLSTCPAutoCerts | None = field(
        Nested(ProxyTypeTLSTCPAutoCerts), "The same with a certificate that is fetched, as ``gateway.acme`` says.",
        group="loadbalancer_type", state=served(ProxyType.TLS_TCP_PROXY), instead="nothing is opened for it")
    no_sni: bool = field(Presence(), "The port is its own.", group="sni_default_lb_choice", absent="this")
    sni: bool = field(
        Presence(), "The port is shared; the TLS server name decides.", group="sni_default_lb_choice",
        state=served(ProxyType.TCP_PROXY_WITH_SNI), instead="nothing is opened for it")
    default_lb_with_sni: bool = field(
        Presence(), "The same, and it takes connections without a server name.", group="sni_default_lb_choice",
        state=served(ProxyType.TCP_PROXY_WITH_SNI), instead="nothing is opened for it")
    with_sni: bool = field(
        Flag(), "Older spelling of sni.",
        state=served(ProxyType.TCP_PROXY_WITH_SNI), instead="nothing is opened for it")
    domains: tuple[str, ...] = field(ListOf(Text(DOMAIN), most=33, unique=True), "Its names.")
    listen_port: int | None = field(Number(1, 65535), "Port to listen on.", group="port_choice")
    port_ranges: tuple[Range, ...] = field(Ports(), "Ports to listen on.", group="port_choice")
    origin_pools_weights: tuple[OriginPoolWithWeight, ...] = field(
        ListOf(Nested(OriginPoolWithWeight)), "Pools with their shares.")
    origin_pools: tuple[Ref, ...] = field(refs("origin_pool"), "Pools (older form).")
    hash_policy_choice_round_robin: bool = field(
        Presence(), "Origin servers take turns.", group="hash_policy_choice", absent="this")
    hash_policy_choice_least_active: bool = field(
        Presence(), "The one with the fewest connections.", group="hash_policy_choice")
    hash_policy_choice_random: bool = field(
        Presence(), "Any.", group="hash_policy_choice")
    hash_policy_choice_source_ip_stickiness: bool = field(
        Presence(), "The same one for the same client address.", group="hash_policy_choice",
        state=state_of(RouteDestinationList, "hash_policy"))
    idle_timeout_s: float | None = field(Duration("ms"), "Longest silence of a connection.", absent="1 h")
    retract_cluster: bool = field(
        Presence(), "A pool without a healthy origin server leaves the weighted choice.", group="cluster_retract_choice")
    do_not_retract_cluster: bool = field(
        Presence(), "It stays, and its share of the connections fails.", group="cluster_retract_choice", absent="this")
    dns_volterra_managed: bool = field(Flag(), "Its names are published in a delegated domain.", state=WARNS)
    advertise_on_public_default_vip: bool = field(
        Presence(), "Offered on the public address of regional edges.", group="advertise_choice")
    advertise_on_public: AdvertisePublic | None = field(
        Nested(AdvertisePublic), "Offered on a public address of one's own.", group="advertise_choice",
        state=state_of(AdvertisePolicySpec, "public_ip"))
    advertise_custom: AdvertiseCustom | None = field(
        Nested(AdvertiseCustom), "Offered in some places.", group="advertise_choice")
    do_not_advertise: bool = field(Presence(), "Offered nowhere.", group="advertise_choice")
    active_service_policies: ServicePolicyList | None = field(
        Nested(ServicePolicyList), "These service policies say which clients may pass.", group="service_policy_choice")
    no_service_policies: bool = field(Presence(), "All clients may pass.", group="service_policy_choice")
    service_policies_from_namespace: bool = field(
        Presence(), "The namespace's service policies say so.", group="service_policy_choice", absent="this")
