"""network_connector: how two networks of a site are joined, perhaps by a forward proxy (objects.md 12.1 to 12.4)."""

from __future__ import annotations

from voltgw.config.compound import ListOf
from voltgw.config.contents import Content
from voltgw.config.formats import IPV4_PREFIX, PREFIX
from voltgw.config.names import Reference
from voltgw.config.objects.parts import DomainType
from voltgw.config.objects.tls import MAX_URL, TlsCertificateType
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Number, Presence, Text
from voltgw.config.values import Ref


@message
class SnatConnectorType:
    """From inside to outside with a translated source address."""

    default_gw_snat: bool = field(
        Presence(), "The inside network's default route leads here.", group="routing_choice")
    dynamic_routing: bool = field(
        Presence(), "Outside routes are imported; it never worked.", since="2020†", group="routing_choice")
    interface_ip: bool = field(Presence(), "The source is the outgoing interface's address.", group="pool_choice")
    snat_pool: str | None = field(Text(PREFIX), "The source is of this prefix.", since="2020†", group="pool_choice")
    snat_pool_allocator: Ref | None = field(
        Reference("address_allocator"), "The source is given out per site.", since="2020†", group="pool_choice")


@message
class GlobalConnectorType:
    """To and from a network that spans sites."""

    global_vn: Ref | None = field(Reference("virtual_network"), "That network.")


@message
class GlobalSnatConnectorType:
    """To a network that spans sites, with a translated source address."""

    global_vn: Ref | None = field(Reference("virtual_network"), "That network.", since="2020†")
    snat_config: SnatConnectorType | None = field(Nested(SnatConnectorType), "The translation.", since="2020†")


@message
class TlsInterceptionRule:
    """Whether TLS to some names is opened."""

    domain_match: DomainType | None = field(Nested(DomainType), "Which names.")
    enable_interception: bool = field(Presence(), "It is opened.", group="interception_choice")
    disable_interception: bool = field(Presence(), "It is passed on untouched.", group="interception_choice")


@message
class TlsInterceptionPolicy:
    """Which TLS connections are opened."""

    interception_rules: tuple[TlsInterceptionRule, ...] = field(
        ListOf(Nested(TlsInterceptionRule)), "Rules in order; the first that matches decides.")


@message
class TlsInterceptionType:
    """TLS connections are opened, looked at and closed again."""

    enable_for_all_domains: bool = field(
        Presence(), "All of them.", since="+2020-11", group="interception_policy_choice")
    policy: TlsInterceptionPolicy | None = field(
        Nested(TlsInterceptionPolicy), "Some of them.", group="interception_policy_choice")
    custom_certificate: TlsCertificateType | None = field(
        Nested(TlsCertificateType), "The certificate that signs those which clients see.", group="signing_cert_choice")
    volterra_certificate: bool = field(Presence(), "The system's certificate signs.", group="signing_cert_choice")
    trusted_ca_url: bytes | None = field(
        Content(MAX_URL, pem=True), "PEM trust store for origin servers.", group="trusted_ca_choice")
    volterra_trusted_ca: bool = field(Presence(), "The system's roots for origin servers.", group="trusted_ca_choice")


@message
class ForwardProxyConfigType:
    """A forward proxy between the two networks."""

    white_listed_prefixes: tuple[str, ...] = field(
        ListOf(Text(IPV4_PREFIX), most=64, unique=True), "Destinations whose traffic is not looked into.")
    white_listed_ports: tuple[int, ...] = field(
        ListOf(Number(0, 65535), most=64), "Ports whose traffic is not looked into.", example="[25]")
    max_connect_attempts: int | None = field(Number(most=8), "Tries to connect.", absent="1")
    connection_timeout_s: float | None = field(Duration("ms", 0, 600000), "Connect in this time.", absent="2 s")
    no_interception: bool = field(
        Presence(), "TLS is passed on untouched.", since="+2020-12", group="tls_interception_choice")
    tls_intercept: TlsInterceptionType | None = field(
        Nested(TlsInterceptionType), "TLS is opened.", since="+2020-12", group="tls_interception_choice")


@message
class NetworkConnectorSpec:
    """How two networks of a site are joined."""

    sli_to_slo_snat: SnatConnectorType | None = field(
        Nested(SnatConnectorType), "Inside to outside, with a translated source.", group="connector_choice")
    sli_to_slo_dr: bool = field(Presence(), "Inside to outside, routed.", since="2020†", group="connector_choice")
    sli_to_global_dr: GlobalConnectorType | None = field(
        Nested(GlobalConnectorType), "Inside to a network that spans sites, routed.", group="connector_choice")
    sli_to_global_snat: GlobalSnatConnectorType | None = field(
        Nested(GlobalSnatConnectorType), "The same with a translated source.", since="2020†", group="connector_choice")
    slo_to_global_dr: GlobalConnectorType | None = field(
        Nested(GlobalConnectorType), "Outside to a network that spans sites, routed.", group="connector_choice")
    slo_to_global_snat: GlobalSnatConnectorType | None = field(
        Nested(GlobalSnatConnectorType), "The same with a translated source.", since="2020†", group="connector_choice")
    disable_forward_proxy: bool = field(
        Presence(), "Packets are only routed.", group="forward_proxy_choice", absent="this")
    enable_forward_proxy: ForwardProxyConfigType | None = field(
        Nested(ForwardProxyConfigType), "A forward proxy looks at connections.", group="forward_proxy_choice")
