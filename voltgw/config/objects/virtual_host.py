"""virtual_host: a set of names served by one proxy (objects.md 4)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import ClassVar

from voltgw.config.compound import Anything, ListOf, MapOf, refs
from voltgw.config.contents import Content
from voltgw.config.formats import DOMAIN, EDITED_HEADER, FIELD_TEXT
from voltgw.config.objects.authentication import CookieParams
from voltgw.config.objects.challenges import (
    CaptchaChallengeType,
    JavascriptChallengeType,
    PolicyBasedChallenge,
    TemporaryUserBlockingType,
)
from voltgw.config.objects.credentials import Satisfy
from voltgw.config.objects.extensions import CompressionExtension, HostExtension
from voltgw.config.objects.headers import (
    CookieManipulationOptionType,
    CookieValueOption,
    HeaderManipulationOptionType,
    HeaderTransformationType,
    SetCookieValueOption,
)
from voltgw.config.objects.jwt import JwtValidation
from voltgw.config.objects.policies import (
    BufferConfigType,
    CorsPolicy,
    CsrfPolicy,
    DomainNameList,
    RetryPolicyType,
    WafType,
)
from voltgw.config.objects.tls import CertificateParamsType, DownstreamTlsParamsType, TLSCoalescingOptions
from voltgw.config.objects.view_advertise import ServicePolicyList
from voltgw.config.objects.where import VirtualNetworkType
from voltgw.config.quantities import Duration, Size
from voltgw.config.reader import REFUSES, UNSUPPORTED, WARNS, State
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Flag, Number, Presence, Text
from voltgw.config.units import show_seconds
from voltgw.config.values import FrozenMap, Ref
from voltgw.values import defaults


class ProxyType(Enum):
    """How the traffic of a virtual host is treated."""

    HTTP_PROXY = "HTTP_PROXY"
    TCP_PROXY = "TCP_PROXY"
    TCP_PROXY_WITH_SNI = "TCP_PROXY_WITH_SNI"
    HTTPS_PROXY = "HTTPS_PROXY"
    UDP_PROXY = "UDP_PROXY"
    SMA_PROXY = "SMA_PROXY"
    TLS_TCP_PROXY = "TLS_TCP_PROXY"
    TLS_TCP_PROXY_WITH_SNI = "TLS_TCP_PROXY_WITH_SNI"
    DNS_PROXY = "DNS_PROXY"
    ZTNA_PROXY = "ZTNA_PROXY"
    UZTNA_PROXY = "UZTNA_PROXY"

    @property
    def http(self) -> bool:
        """Whether requests are parsed and chosen by Host."""
        return self in (ProxyType.HTTP_PROXY, ProxyType.HTTPS_PROXY)

    @property
    def tls(self) -> bool:
        """Whether it ends its clients' TLS."""
        return self in (ProxyType.HTTPS_PROXY, ProxyType.TLS_TCP_PROXY, ProxyType.TLS_TCP_PROXY_WITH_SNI)

    @property
    def named(self) -> bool:
        """Whether the server name in a client's TLS hello chooses it, so that several may share an address and port."""
        return self in (ProxyType.HTTPS_PROXY, ProxyType.TLS_TCP_PROXY_WITH_SNI, ProxyType.TCP_PROXY_WITH_SNI)

    @property
    def transport(self) -> str:
        """The transport it listens on: TCP or UDP."""
        return "UDP" if self is ProxyType.UDP_PROXY else "TCP"


#: Kinds of proxy that serve today; every other one is an error where it is asked for.
SERVED = (ProxyType.HTTP_PROXY, ProxyType.HTTPS_PROXY, ProxyType.TCP_PROXY, ProxyType.TLS_TCP_PROXY,
          ProxyType.TLS_TCP_PROXY_WITH_SNI, ProxyType.TCP_PROXY_WITH_SNI, ProxyType.UDP_PROXY, ProxyType.SMA_PROXY)


def served(proxy: ProxyType) -> State:
    """What voltgw does with what would be a virtual host of that kind."""
    return State.ACTS if proxy in SERVED else State.WARNS


@message
class DynamicReverseProxyType:
    """Resolve the destination from the request itself instead of a cluster."""

    resolve_endpoint_dynamically: bool = field(Flag(), "Connect to what Host (or the server name) resolves to.")
    resolution_network_type: VirtualNetworkType = field(Choice(VirtualNetworkType), "In which network.")
    resolution_network: tuple[Ref, ...] = field(refs("virtual_network"), "The network object, where the type needs one.")
    connection_timeout_s: float | None = field(
        Duration("ms", 0, 600000), "Connect in this time.", since="+2021-06", absent="2 s")


@message
class CompressionType:
    """Compress responses with gzip; presence turns it on."""

    content_length_bytes: int | None = field(Size("B", 30), "Smallest response that is compressed.", absent="30")
    content_type: tuple[str, ...] = field(
        ListOf(Text(least=1, most=256), most=50, unique=True), "Media types that are compressed.",
        absent="application/javascript, application/json, application/xhtml+xml, image/svg+xml, text/css, text/html, "
        "text/plain, text/xml")
    disable_on_etag_header: bool = field(Flag(), "Leave responses with an ETag alone.")
    remove_accept_encoding_header: bool = field(Flag(), "Do not forward Accept-Encoding.")
    voltgw: CompressionExtension | None = field(
        Nested(CompressionExtension), "What voltgw adds to compression.", since="voltgw")


@message
class AuthenticationDetails:
    """An OIDC login in front of the virtual host."""

    auth_config: tuple[Ref, ...] = field(refs("authentication", most=1), "One authentication object.", since="+2020-11")
    use_auth_object_config: bool = field(
        Presence(), "Cookie parameters of that object.", since="+2020-11", group="cookie_params_choice")
    cookie_params: CookieParams | None = field(
        Nested(CookieParams), "Cookie parameters of this host.", since="+2020-11", group="cookie_params_choice")
    redirect_url: str | None = field(Text(), "Where the login sends the user back to.", since="+2020-11",
                                     group="redirect_url_choice")
    redirect_dynamic: bool = field(Presence(), "Back to where it came from.", since="+2020-11", group="redirect_url_choice")


@message
class HttpV1Options:
    """HTTP/1.1 alone."""

    header_transformation: HeaderTransformationType | None = field(
        Nested(HeaderTransformationType), "Case of header names in responses.", since="+2023-05")


@message
class HttpProtocolOptions:
    """Versions of HTTP that clients may speak."""

    http_protocol_enable_v1_only: HttpV1Options | None = field(
        Nested(HttpV1Options), "HTTP/1.1.", since="+2023-05", group="http_protocol_choice")
    http_protocol_enable_v2_only: bool = field(
        Presence(), "HTTP/2, without TLS by prior knowledge.", since="+2023-05", group="http_protocol_choice")
    http_protocol_enable_v1_v2: bool = field(
        Presence(), "Both, by ALPN; without TLS HTTP/2 by prior knowledge.", since="+2023-05",
        group="http_protocol_choice")


@message
class SlowDDoSMitigation:
    """Limits for clients that send slowly."""

    request_headers_timeout_s: float | None = field(
        Duration("ms", 2000, 30000), "The head must be complete in this time.", since="+2023-02",
        absent=show_seconds(defaults.REQUEST_HEAD_TIMEOUT_S))
    request_timeout_s: float | None = field(
        Duration("ms", 2000, 300000), "The whole request must be.", since="+2023-02", group="request_timeout_choice")
    disable_request_timeout: bool = field(
        Presence(), "The body may take any time.", since="+2023-12", group="request_timeout_choice")


def _edits() -> ListOf[HeaderManipulationOptionType]:
    return ListOf(Nested(HeaderManipulationOptionType), most=32, unique=True)


def _names() -> ListOf[str]:
    return ListOf(Text(EDITED_HEADER, least=1, most=256), most=32, unique=True)


@message
class VirtualHostSpec:
    """A set of names (or, for TCP, a port) served by one proxy with one list of routes."""

    READ_ONLY: ClassVar = ("host_name", "dns_info", "state", "type", "auto_cert_info", "auto_cert_state")

    domains: tuple[str, ...] = field(
        ListOf(Text(DOMAIN), most=33, unique=True),
        "Names matched against Host (and later SNI): ``host``, ``*.host``, ``*``, each with an optional ``:port``.",
        example="[shop.example.com, '*.shop.example.com']")
    routes: tuple[Ref, ...] = field(refs("route", most=256), "Route objects in order; the first rule that matches wins.")
    advertise_policies: tuple[Ref, ...] = field(refs("advertise_policy"), "Where it is offered.", absent="nowhere")
    request_headers_to_add: tuple[HeaderManipulationOptionType, ...] = field(_edits(), "Applied after the route's own.")
    response_headers_to_add: tuple[HeaderManipulationOptionType, ...] = field(_edits(), "Applied after the route's own.")
    request_headers_to_remove: tuple[str, ...] = field(_names(), "Names; applied after the route's own.")
    response_headers_to_remove: tuple[str, ...] = field(_names(), "Names; applied after the route's own.")
    request_cookies_to_add: tuple[CookieValueOption, ...] = field(
        ListOf(Nested(CookieValueOption), most=32, unique=True), "Applied after the route's own.", since="+2025-06")
    request_cookies_to_remove: tuple[str, ...] = field(
        ListOf(Text(least=1, most=256), most=32, unique=True), "Names.", since="+2025-06")
    response_cookies_to_add: tuple[SetCookieValueOption, ...] = field(
        ListOf(Nested(SetCookieValueOption), most=32, unique=True), "Applied after the route's own.", since="+2025-06")
    response_cookies_to_remove: tuple[str, ...] = field(
        ListOf(Text(least=1, most=256), most=32, unique=True), "Names; the whole Set-Cookie goes.", since="+2025-06")
    tls_parameters: DownstreamTlsParamsType | None = field(
        Nested(DownstreamTlsParamsType), "TLS towards clients, where the advertise policy has none.",
        group="tls_certificates_choice")
    tls_cert_params: CertificateParamsType | None = field(
        Nested(CertificateParamsType), "The same, with certificates by reference.", since="+2023-03",
        group="tls_certificates_choice")
    buffer_policy: BufferConfigType | None = field(
        Nested(BufferConfigType), "Read whole requests before they are sent on; for all routes.")
    cors_policy: CorsPolicy | None = field(Nested(CorsPolicy), "CORS; for all routes.")
    proxy: ProxyType = field(
        Choice(ProxyType, {kind: UNSUPPORTED for kind in ProxyType if kind not in SERVED}), "What kind of proxy serves it.",
        absent="HTTP_PROXY")
    waf_type: WafType | None = field(Nested(WafType), "Web application firewall; for all routes.")
    dynamic_reverse_proxy: DynamicReverseProxyType | None = field(
        Nested(DynamicReverseProxyType), "Resolve the destination from the request: what no route takes goes to the address of "
        "its Host, for HTTP and HTTPS.")
    add_location: bool = field(Flag(), "Add the response header x-volterra-location with the site's name.", state=WARNS)
    compression_params: CompressionType | None = field(Nested(CompressionType), "Compress responses.")
    custom_errors: FrozenMap[int, bytes] = field(
        MapOf(Number(3, 599), Content(65536), most=16),
        "Bodies for errors that the gateway makes: key 3, 4, 5 = a class, 300 to 599 = one status, which wins.")
    disable_default_error_pages: bool = field(Flag(), "Send our own errors without a body.")
    max_request_header_size_bytes: int | None = field(
        Size("KiB", 0, 96), "Largest request head; larger is answered 431. Hosts on one listener all get the largest.",
        absent="60 KiB")
    no_challenge: bool = field(Presence(), "No browser challenge.", group="challenge_type")
    js_challenge: JavascriptChallengeType | None = field(
        Nested(JavascriptChallengeType), "Challenge browsers by script.", group="challenge_type", state=REFUSES)
    captcha_challenge: CaptchaChallengeType | None = field(
        Nested(CaptchaChallengeType), "Challenge users by CAPTCHA.", group="challenge_type", state=REFUSES)
    user_identification: tuple[Ref, ...] = field(
        refs("user_identification", most=1), "What tells users apart when they are counted.")
    rate_limiter_allowed_prefixes: tuple[Ref, ...] = field(
        refs("ip_prefix_set", most=4), "Clients that are not counted.")
    retry_policy: RetryPolicyType | None = field(Nested(RetryPolicyType), "Retries; for all routes.")
    idle_timeout_s: float | None = field(
        Duration("ms"), "HTTP: longest silence of a stream, then 504 or a reset. TCP and UDP: of a connection or session.",
        absent=f"{show_seconds(defaults.RESPONSE_HEAD_TIMEOUT_S)} for the response head (HTTP), "
        f"{show_seconds(defaults.TUNNEL_IDLE_TIMEOUT_S)} (TCP), {show_seconds(defaults.UDP_IDLE_TIMEOUT_S)} (UDP)")
    disable_dns_resolve: bool = field(Flag(), "Do not publish or resolve the domains.")
    temporary_user_blocking: TemporaryUserBlockingType | None = field(
        Nested(TemporaryUserBlockingType), "Page for users that are refused for a while: by a rate limit's ``action_block``.",
        since="2020†")
    no_authentication: bool = field(Presence(), "No login.", since="+2020-11", group="authentication_choice")
    authentication: AuthenticationDetails | None = field(
        Nested(AuthenticationDetails), "An OIDC login in front.", since="+2020-11", group="authentication_choice",
        state=REFUSES)
    default_header: bool = field(
        Presence(), "Our own Server header.", since="+2021-02", group="server_header_choice", absent="this")
    server_name: str | None = field(
        Text(FIELD_TEXT, most=8096), "Replace Server by this.", since="+2021-02", group="server_header_choice")
    append_server_name: str | None = field(
        Text(FIELD_TEXT, most=8096), "Set Server to this where the origin sent none.", since="+2021-02",
        group="server_header_choice")
    pass_through: bool = field(Presence(), "Leave Server alone.", since="+2021-02", group="server_header_choice")
    enable_path_normalize: bool = field(
        Presence(), "Bring paths into their normal form before they are matched.", since="+2021-08",
        group="path_normalize_choice", absent="this")
    disable_path_normalize: bool = field(
        Presence(), "Take paths as they come.", since="+2021-08", group="path_normalize_choice")
    enable_strict_sni_host_header_check: bool = field(
        Presence(), "Host must equal the TLS server name, or is answered 421.", since="+2021-12†",
        group="strict_sni_host_header_check_choice")
    additional_domains: DomainNameList | None = field(
        Nested(DomainNameList), "Host names allowed beside the TLS server name; any other is answered 421.",
        since="+2021-12†", group="strict_sni_host_header_check_choice")
    non_default_loadbalancer: bool = field(Presence(), "Takes only its own names.", since="+2022-08", group="default_lb_choice")
    default_loadbalancer: bool = field(
        Presence(), "Takes TLS connections without or with an unknown server name.", since="+2022-08",
        group="default_lb_choice")
    header_transformation_type: HeaderTransformationType | None = field(
        Nested(HeaderTransformationType), "Case of header names in responses.", since="+2022-09†")
    csrf_policy: CsrfPolicy | None = field(
        Nested(CsrfPolicy), "Where requests that change state may come from.", since="+2022-12")
    cookies_to_modify: tuple[CookieManipulationOptionType, ...] = field(
        ListOf(Nested(CookieManipulationOptionType)), "Attributes to put on the origin's cookies.", since="†", internal=True)
    connection_idle_timeout_s: float | None = field(
        Duration("ms", 0, 600000), "A client connection without a request is closed after this.", since="+2023-01",
        absent=show_seconds(defaults.KEEP_ALIVE_TIMEOUT_S))
    http_protocol_options: HttpProtocolOptions | None = field(
        Nested(HttpProtocolOptions), "Versions of HTTP that clients may speak.", since="+2024-06")
    dns_proxy_configuration: object = field(
        Anything(), "For DNS_PROXY; made by the vendor's system.", since="†", state=WARNS, internal=True)
    bigip_application_profiles: tuple[Ref, ...] = field(
        refs(most=1), "Made by the vendor's system.", since="†", state=WARNS, internal=True)
    slow_ddos_mitigation: SlowDDoSMitigation | None = field(
        Nested(SlowDDoSMitigation), "Limits for clients that send slowly.", since="+2023-02")
    api_spec: object = field(
        Anything(), "API definition against which requests are validated.", since="†", state=REFUSES, internal=True)
    domain_cert_map: FrozenMap[str, object] = field(
        MapOf(Text(), Anything()), "Certificates by domain; made by the vendor's system.", since="†", state=WARNS,
        internal=True)
    ztna_proxy_configurations: object = field(
        Anything(), "For ZTNA_PROXY; made by the vendor's system.", since="†", state=WARNS, internal=True)
    max_direct_response_body_size_bytes: int | None = field(
        Size("B", 0, 65536), "Largest body of a direct response.", since="†", absent="4096 bytes", internal=True)
    masking_config: object = field(
        Anything(), "What is masked in logs; made by the vendor's system.", since="†", state=WARNS, internal=True)
    sensitive_data_policy: tuple[Ref, ...] = field(
        refs("sensitive_data_policy"), "What API discovery calls sensitive.", since="+2024-10", state=WARNS)
    coalescing_options: TLSCoalescingOptions | None = field(
        Nested(TLSCoalescingOptions), "Whether TLS connections are shared with hosts of other settings; they never are with "
        "hosts of other client certificates.", since="+2024-12")
    no_request_limit_per_connection: bool = field(
        Presence(), "Any number of requests on a client connection.", since="+2026-03",
        group="max_requests_per_connection_choice", absent="this")
    max_requests_per_connection: int | None = field(
        Number(1), "A client connection is closed after so many requests.", since="+2026-03",
        group="max_requests_per_connection_choice")
    rate_limiter: tuple[Ref, ...] = field(
        refs("rate_limiter", most=1), "Applied to every request of this host.", since="2020→2024-06")
    policy_based_challenge: PolicyBasedChallenge | None = field(
        Nested(PolicyBasedChallenge), "Challenges chosen by service policies.", since="†", state=REFUSES,
        group="challenge_type", internal=True)
    active_service_policies: ServicePolicyList | None = field(
        Nested(ServicePolicyList), "These service policies say which requests may pass, in this order.", since="voltgw",
        group="service_policy_choice")
    no_service_policies: bool = field(
        Presence(), "All requests may pass.", since="voltgw", group="service_policy_choice")
    service_policies_from_namespace: bool = field(
        Presence(), "The namespace's ``service_policy_set`` says so, if there is one.", since="voltgw",
        group="service_policy_choice", absent="this")
    jwt_validation: JwtValidation | None = field(
        Nested(JwtValidation), "Requests need a token.", since="voltgw")
    voltgw: HostExtension | None = field(Nested(HostExtension), "What voltgw adds to this host.", since="voltgw")

    def rules(self) -> Iterable[Rule]:
        """Keys of custom_errors; names for the kinds that choose by name."""
        for code in self.custom_errors:
            if 5 < code < 300:
                yield Rule("custom_errors", "VG0103", f"{code} is neither a class (3, 4, 5) nor a status from 300 to 599")
        if self.voltgw is not None and self.voltgw.quic_connection_ids and self.proxy is not ProxyType.UDP_PROXY:
            yield Rule("voltgw", "VG0106", "`quic_connection_ids` is for UDP_PROXY, which passes QUIC through")
        if self.voltgw is not None and self.voltgw.per_packet_load_balancing:
            if self.proxy is not ProxyType.UDP_PROXY:
                yield Rule("voltgw", "VG0106", "`per_packet_load_balancing` is for UDP_PROXY")
            if self.voltgw.quic_connection_ids:
                yield Rule("voltgw", "VG0106", "`per_packet_load_balancing` and `quic_connection_ids` exclude each other")
        asked = self.voltgw.authentication if self.voltgw is not None else None
        if self.jwt_validation is not None and asked is not None and asked.jwt is not None:
            yield Rule("jwt_validation", "VG0103", "tokens are asked for here and in voltgw.authentication.jwt; once is enough")
        if self.jwt_validation is not None and asked is not None and asked.basic is not None \
                and asked.satisfy is Satisfy.ALL and self.jwt_validation.in_authorization:
            yield Rule("jwt_validation", "VG0103", "a token and a password cannot both stand in Authorization",
                       "say `satisfy: ANY` in voltgw.authentication, or where else the token stands")
        if self.proxy.http and not self.domains:
            yield Rule("", "VG0105", f'a virtual host with {self.proxy.value} needs "domains"',
                       'write domains: ["*"] to take requests for any host')


