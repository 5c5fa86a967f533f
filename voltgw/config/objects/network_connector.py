"""network_connector: how two networks of a site are joined, perhaps by a forward proxy (objects.md 12.1 to 12.4)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from voltgw.config.compound import ListOf
from voltgw.config.contents import Content, SecretContent
from voltgw.config.formats import FIELD_TEXT, IP, IPV4_PREFIX, PREFIX
from voltgw.config.names import Reference
from voltgw.config.objects.parts import DomainType
from voltgw.config.objects.tls import MAX_URL, DownstreamTlsParamsType, TlsCertificateType
from voltgw.config.quantities import Duration
from voltgw.config.ranges import Ports
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Flag, Number, Presence, Text
from voltgw.config.values import Range, Ref, Secret
from voltgw.values import defaults


@message
class SnatConnectorType:
    """From inside to outside with a translated source address."""

    default_gw_snat: bool = field(
        Presence(), "The inside network's default route leads here.", group="routing_choice")
    dynamic_routing: bool = field(
        Presence(), "Outside routes are imported; it never worked.", since="2020†", group="routing_choice", state=WARNS)
    interface_ip: bool = field(Presence(), "The source is the outgoing interface's address.", group="pool_choice")
    snat_pool: str | None = field(
        Text(PREFIX), "The source is of this prefix.", since="2020†", group="pool_choice", state=WARNS,
        instead="connections come from the outside network's own address")
    snat_pool_allocator: Ref | None = field(
        Reference("address_allocator"), "The source is given out per site.", since="2020†",
        group="pool_choice", state=WARNS, instead="connections come from the outside network's own address")


@message
class GlobalConnectorType:
    """To and from a network that spans sites."""

    global_vn: Ref | None = field(Reference("virtual_network"), "That network.")


@message
class GlobalSnatConnectorType:
    """To a network that spans sites, with a translated source address."""

    global_vn: Ref | None = field(Reference("virtual_network"), "That network.", since="2020†")
    snat_config: SnatConnectorType | None = field(Nested(SnatConnectorType), "The translation.", since="2020†")


class OriginFailure(Enum):
    """What a client is shown where an origin's certificate is refused."""

    ALERT = "alert"
    ERROR_PAGE = "error_page"


@message
class InterceptionExtension:
    """What voltgw adds to the interception of TLS."""

    on_origin_failure: OriginFailure = field(
        Choice(OriginFailure, numbers=False), "What a client is shown where the origin's certificate is refused: a failed "
        "handshake, or (under a certificate of ours) a page that says so.", since="voltgw")
    splice_failing: bool = field(
        Flag(), "A client whose handshake failed with our certificate (it pins the origin's) is spliced to that name from then "
        "on, for an hour.", since="voltgw")
    certificates: int | None = field(
        Number(1, 100_000), "Minted certificates that are kept.", since="voltgw", absent="1024")


@message
class InterceptionRuleExtension:
    """What voltgw adds to a rule of interception."""

    peek: bool = field(
        Flag(), "Look at the origin's certificate before passing TLS on: its name must be there and its chain good.",
        since="voltgw")


@message
class TlsInterceptionRule:
    """Whether TLS to some names is opened."""

    domain_match: DomainType | None = field(Nested(DomainType), "Which names.")
    enable_interception: bool = field(Presence(), "It is opened.", group="interception_choice")
    disable_interception: bool = field(Presence(), "It is passed on untouched.", group="interception_choice")
    voltgw: InterceptionRuleExtension | None = field(
        Nested(InterceptionRuleExtension), "What voltgw adds.", since="voltgw")

    def rules(self) -> Iterable[Rule]:
        """What is opened is looked at anyway."""
        if self.enable_interception and self.voltgw is not None and self.voltgw.peek:
            yield Rule("voltgw", "VG0106", "`peek` is for what is passed on; what is opened is verified in any case")


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
    voltgw: InterceptionExtension | None = field(Nested(InterceptionExtension), "What voltgw adds.", since="voltgw")


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
class ExplicitProxyType:
    """Clients that are told of a proxy ask it here: requests with a whole URL, and CONNECT."""

    address: str | None = field(Text(IP), "Address to listen on.", since="voltgw", absent="every address", example="10.0.0.1")
    port: int = field(Number(1, 65535), "Port to listen on.", since="voltgw", required=True, example="3128")
    htpasswd: Secret | None = field(
        SecretContent(MAX_URL), "Users and password hashes, as ``htpasswd`` writes them; whoever asks must be one of them "
        "(Basic, RFC 7617). The text, or a URL.", since="voltgw", example="file:proxy-users")
    realm: str | None = field(
        Text(FIELD_TEXT, most=128), "What users are asked to log in to.", since="voltgw", absent="proxy")
    tls_parameters: DownstreamTlsParamsType | None = field(
        Nested(DownstreamTlsParamsType), "TLS between clients and the proxy; with `client_certificate_required` only clients "
        "with a certificate are served.", since="voltgw", absent="plain text")

    def rules(self) -> Iterable[Rule]:
        """A realm is for those who log in."""
        if self.realm is not None and self.htpasswd is None:
            yield Rule("realm", "VG0106", "`realm` is for `htpasswd`")


class CaptureMode(Enum):
    """How connections of inside hosts come to a forward proxy that they know nothing of."""

    REDIRECT = "redirect"
    TPROXY = "tproxy"
    NONE = "none"


@message
class ConnectorExtension:
    """What voltgw adds to a network connector."""

    capture: CaptureMode = field(
        Choice(CaptureMode, numbers=False),
        "How connections of hosts whose default route leads here are captured: by rewriting their destination (redirect), by "
        "routing them to us as they are (tproxy), or not at all.", since="voltgw")
    capture_port: int | None = field(
        Number(1, 65535), "Port of our own that takes captured connections.", since="voltgw",
        absent=str(defaults.CAPTURE_PORT))
    captured_ports: tuple[Range, ...] = field(
        Ports(65535), "Destination ports that are captured; others go nowhere, since packets are not forwarded.",
        since="voltgw", absent="all of TCP", example='"80,443"')

    explicit_proxy: ExplicitProxyType | None = field(
        Nested(ExplicitProxyType), "A listener for clients that are told of a proxy.", since="voltgw",
        absent="there is none")
    connect_ports: tuple[Range, ...] = field(
        Ports(65535), "Ports to which CONNECT may lead.", since="voltgw", absent="443 and `white_listed_ports`",
        example='"443,8443"')
    allowed_prefixes: tuple[str, ...] = field(
        ListOf(Text(PREFIX), most=256, unique=True), "Destinations that are let through although they are loopback, private, "
        "link-local or the like.", since="voltgw", absent="none of these is", example="[10.20.0.0/16]")


@message
class NetworkConnectorSpec:
    """How two networks of a site are joined."""

    sli_to_slo_snat: SnatConnectorType | None = field(
        Nested(SnatConnectorType), "Inside to outside, with a translated source.", group="connector_choice")
    sli_to_slo_dr: bool = field(
        Presence(), "Inside to outside, routed.", since="2020†", group="connector_choice", state=WARNS)
    sli_to_global_dr: GlobalConnectorType | None = field(
        Nested(GlobalConnectorType), "Inside to a network that spans sites, routed.", group="connector_choice", state=WARNS)
    sli_to_global_snat: GlobalSnatConnectorType | None = field(
        Nested(GlobalSnatConnectorType), "The same with a translated source.", since="2020†", group="connector_choice",
        state=WARNS)
    slo_to_global_dr: GlobalConnectorType | None = field(
        Nested(GlobalConnectorType), "Outside to a network that spans sites, routed.", group="connector_choice", state=WARNS)
    slo_to_global_snat: GlobalSnatConnectorType | None = field(
        Nested(GlobalSnatConnectorType), "The same with a translated source.", since="2020†", group="connector_choice",
        state=WARNS)
    disable_forward_proxy: bool = field(
        Presence(), "Packets are only routed.", group="forward_proxy_choice", absent="this")
    enable_forward_proxy: ForwardProxyConfigType | None = field(
        Nested(ForwardProxyConfigType), "A forward proxy looks at connections.", group="forward_proxy_choice")
    voltgw: ConnectorExtension | None = field(Nested(ConnectorExtension), "What voltgw adds.", since="voltgw")

    def rules(self) -> Iterable[Rule]:
        """Whoever is asked must be a forward proxy."""
        ours = self.voltgw
        if ours is not None and ours.explicit_proxy is not None and self.enable_forward_proxy is None:
            yield Rule("voltgw", "VG0106", "`explicit_proxy` is for a connector with `enable_forward_proxy`")
