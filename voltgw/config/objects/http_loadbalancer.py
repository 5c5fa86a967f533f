"""http_loadbalancer: an HTTP load balancer in one object (objects.md 18)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import Anything, ListOf, MapOf, refs
from voltgw.config.contents import Content
from voltgw.config.formats import DOMAIN, FIELD_TEXT
from voltgw.config.names import Reference
from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
from voltgw.config.objects.challenges import CaptchaChallengeType, JavascriptChallengeType
from voltgw.config.objects.extensions import HostExtension
from voltgw.config.objects.headers import (
    CookieManipulationOptionType,
    CookieValueOption,
    HeaderManipulationOptionType,
    HeaderTransformationType,
    SetCookieValueOption,
)
from voltgw.config.objects.jwt import JwtValidation
from voltgw.config.objects.origin_pool import OriginPoolSpec
from voltgw.config.objects.parts import IPThreatCategoryListType
from voltgw.config.objects.policies import BufferConfigType, CorsPolicy, CsrfPolicy, DomainNameList, WafType
from voltgw.config.objects.route import CookieForHashing, RouteDestinationList
from voltgw.config.objects.tls import DownstreamTlsParamsType, TLSCoalescingOptions
from voltgw.config.objects.view_advertise import (
    AdvertiseCustom,
    AdvertisePublic,
    OriginPoolList,
    OriginPoolWithWeight,
    ServicePolicyList,
)
from voltgw.config.objects.view_clients import DDoSMitigationRule, RateLimitConfigType, SimpleClientSrcRule
from voltgw.config.objects.view_routes import (
    HashPolicyListType,
    ViewRouteType,
    cookie_names,
    header_edits,
    header_names,
)
from voltgw.config.objects.view_tls import (
    DownstreamTlsValidationContext,
    TlsConfig,
    ViewDownstreamTlsCertParams,
    ViewDownstreamTlsParams,
)
from voltgw.config.objects.virtual_host import (
    CompressionType,
    HttpProtocolOptions,
    ProxyType,
    SlowDDoSMitigation,
    VirtualHostSpec,
    served,
)
from voltgw.config.quantities import Duration, Size
from voltgw.config.ranges import Ports
from voltgw.config.reader import REFUSES, WARNS
from voltgw.config.schema import Nested, field, message, state_of
from voltgw.config.types import Flag, Number, Presence, Text
from voltgw.config.values import FrozenMap, Range, Ref


@message
class ProxyTypeHttp:
    """Plain HTTP."""

    SINCE: ClassVar = ""

    port: int | None = field(Number(1, 65535), "Port to listen on.", group="port_choice", absent="80")
    port_ranges: tuple[Range, ...] = field(Ports(), "Ports to listen on.", group="port_choice")
    dns_volterra_managed: bool = field(Flag(), "Its names are published in a delegated domain.", state=WARNS)


@message
class ProxyTypeHttps:
    """HTTP over TLS."""

    SINCE: ClassVar = ""

    http_redirect: bool = field(Flag(), "Plain HTTP is answered with a redirect to here.")
    add_hsts: bool = field(Flag(), "Responses carry Strict-Transport-Security.")
    port: int | None = field(Number(1, 65535), "Port to listen on.", group="port_choice", absent="443")
    port_ranges: tuple[Range, ...] = field(Ports(), "Ports to listen on.", group="port_choice")
    tls_parameters: ViewDownstreamTlsParams | None = field(
        Nested(ViewDownstreamTlsParams), "With certificates inline.", group="tls_certificates_choice")
    tls_cert_params: ViewDownstreamTlsCertParams | None = field(
        Nested(ViewDownstreamTlsCertParams), "With certificates by reference.", group="tls_certificates_choice")
    default_header: bool = field(Presence(), "Our own Server header.", group="server_header_choice", absent="this")
    server_name: str | None = field(Text(FIELD_TEXT, most=8096), "Replace Server by this.", group="server_header_choice")
    append_server_name: str | None = field(
        Text(FIELD_TEXT, most=8096), "Set Server to this where the origin sent none.", group="server_header_choice")
    pass_through: bool = field(Presence(), "Leave Server alone.", group="server_header_choice")
    enable_path_normalize: bool = field(
        Presence(), "Bring paths into their normal form before they are matched.", group="path_normalize_choice",
        absent="this")
    disable_path_normalize: bool = field(Presence(), "Take paths as they come.", group="path_normalize_choice")
    default_loadbalancer: bool = field(
        Presence(), "It takes connections without or with an unknown server name.", group="default_lb_choice",
        state=state_of(VirtualHostSpec, "default_loadbalancer"))
    non_default_loadbalancer: bool = field(Presence(), "It takes only its own names.", group="default_lb_choice")
    connection_idle_timeout_s: float | None = field(
        Duration("ms", 0, 600000), "A client connection without a request is closed after this.", absent="2 min")
    http_protocol_options: HttpProtocolOptions | None = field(
        Nested(HttpProtocolOptions), "Versions of HTTP that clients may speak.")
    coalescing_options: TLSCoalescingOptions | None = field(
        Nested(TLSCoalescingOptions), "Whether TLS listeners are shared with hosts of other settings.",
        state=state_of(VirtualHostSpec, "coalescing_options"))
    header_transformation_type: HeaderTransformationType | None = field(
        Nested(HeaderTransformationType), "Case of header names in responses.")


@message
class ProxyTypeHttpsAutoCerts:
    """HTTP over TLS with a certificate that is fetched and renewed."""

    SINCE: ClassVar = ""

    http_redirect: bool = field(Flag(), "Plain HTTP is answered with a redirect to here.")
    add_hsts: bool = field(Flag(), "Responses carry Strict-Transport-Security.")
    port: int | None = field(Number(1, 65535), "Port to listen on.", group="port_choice", absent="443")
    port_ranges: tuple[Range, ...] = field(Ports(), "Ports to listen on.", group="port_choice")
    tls_config: TlsConfig | None = field(Nested(TlsConfig), "How strict TLS is.")
    no_mtls: bool = field(Presence(), "Clients show no certificate.", group="mtls_choice", absent="this")
    use_mtls: DownstreamTlsValidationContext | None = field(
        Nested(DownstreamTlsValidationContext), "Clients show a certificate.", group="mtls_choice",
        state=state_of(DownstreamTlsParamsType, "client_certificate_required"))
    default_header: bool = field(Presence(), "Our own Server header.", group="server_header_choice", absent="this")
    server_name: str | None = field(Text(FIELD_TEXT, most=8096), "Replace Server by this.", group="server_header_choice")
    append_server_name: str | None = field(
        Text(FIELD_TEXT, most=8096), "Set Server to this where the origin sent none.", group="server_header_choice")
    pass_through: bool = field(Presence(), "Leave Server alone.", group="server_header_choice")
    enable_path_normalize: bool = field(
        Presence(), "Bring paths into their normal form before they are matched.", group="path_normalize_choice",
        absent="this")
    disable_path_normalize: bool = field(Presence(), "Take paths as they come.", group="path_normalize_choice")
    default_loadbalancer: bool = field(
        Presence(), "It takes connections without or with an unknown server name.", group="default_lb_choice",
        state=state_of(VirtualHostSpec, "default_loadbalancer"))
    non_default_loadbalancer: bool = field(Presence(), "It takes only its own names.", group="default_lb_choice")
    connection_idle_timeout_s: float | None = field(
        Duration("ms", 0, 600000), "A client connection without a request is closed after this.", absent="2 min")
    http_protocol_options: HttpProtocolOptions | None = field(
        Nested(HttpProtocolOptions), "Versions of HTTP that clients may speak.")
    coalescing_options: TLSCoalescingOptions | None = field(
        Nested(TLSCoalescingOptions), "Whether TLS listeners are shared with hosts of other settings.",
        state=state_of(VirtualHostSpec, "coalescing_options"))
    header_transformation_type: HeaderTransformationType | None = field(
        Nested(HeaderTransformationType), "Case of header names in responses.")


@message
class EnableChallenge:
    """Users who attack are challenged."""

    SINCE: ClassVar = ""

    default_js_challenge_parameters: bool = field(
        Presence(), "The usual challenge for browsers.", group="js_challenge_parameters_choice")
    js_challenge_parameters: JavascriptChallengeType | None = field(
        Nested(JavascriptChallengeType), "The challenge for browsers.", group="js_challenge_parameters_choice")
    default_captcha_challenge_parameters: bool = field(
        Presence(), "The usual challenge for users.", group="captcha_challenge_parameters_choice")
    captcha_challenge_parameters: CaptchaChallengeType | None = field(
        Nested(CaptchaChallengeType), "The challenge for users.", group="captcha_challenge_parameters_choice")
    default_mitigation_settings: bool = field(
        Presence(), "The usual about users who attack.", group="malicious_user_mitigation_choice")
    malicious_user_mitigation: Ref | None = field(
        Reference("malicious_user_mitigation"), "What is done about them.", group="malicious_user_mitigation_choice")


@message
class MoreOptionType:
    """What else is said about the load balancer."""

    SINCE: ClassVar = ""

    buffer_policy: BufferConfigType | None = field(
        Nested(BufferConfigType), "Read whole requests before they are sent on.",
        state=state_of(VirtualHostSpec, "buffer_policy"))
    compression_params: CompressionType | None = field(
        Nested(CompressionType), "Compress responses.", state=state_of(VirtualHostSpec, "compression_params"))
    custom_errors: FrozenMap[int, bytes] = field(
        MapOf(Number(3, 599), Content(65536), most=16),
        "Bodies for errors that the gateway makes: key 3, 4, 5 = a class, 300 to 599 = one status, which wins.")
    disable_default_error_pages: bool = field(Flag(), "Send our own errors without a body.")
    idle_timeout_s: float | None = field(Duration("ms"), "Longest silence of a stream.")
    max_request_header_size_bytes: int | None = field(
        Size("KiB", 0, 96), "Largest request head; larger is answered 431.", absent="60 KiB")
    request_headers_to_add: tuple[HeaderManipulationOptionType, ...] = field(
        header_edits(), "Applied after the route's own.")
    request_headers_to_remove: tuple[str, ...] = field(header_names(), "Names; applied after the route's own.")
    response_headers_to_add: tuple[HeaderManipulationOptionType, ...] = field(
        header_edits(), "Applied after the route's own.")
    response_headers_to_remove: tuple[str, ...] = field(header_names(), "Names; applied after the route's own.")
    request_cookies_to_add: tuple[CookieValueOption, ...] = field(
        ListOf(Nested(CookieValueOption), most=32, unique=True), "Applied after the route's own.",
        state=state_of(VirtualHostSpec, "request_cookies_to_add"))
    request_cookies_to_remove: tuple[str, ...] = field(
        cookie_names(), "Names.", state=state_of(VirtualHostSpec, "request_cookies_to_remove"))
    response_cookies_to_add: tuple[SetCookieValueOption, ...] = field(
        ListOf(Nested(SetCookieValueOption), most=32, unique=True), "Applied after the route's own.",
        state=state_of(VirtualHostSpec, "response_cookies_to_add"))
    response_cookies_to_remove: tuple[str, ...] = field(
        cookie_names(), "Names.", state=state_of(VirtualHostSpec, "response_cookies_to_remove"))
    cookies_to_modify: tuple[CookieManipulationOptionType, ...] = field(
        ListOf(Nested(CookieManipulationOptionType)), "Attributes to put on the origin's cookies.",
        state=state_of(VirtualHostSpec, "cookies_to_modify"))
    enable_path_normalize: bool = field(
        Presence(), "Bring paths into their normal form before they are matched.", group="path_normalize_choice")
    disable_path_normalize: bool = field(Presence(), "Take paths as they come.", group="path_normalize_choice")
    enable_strict_sni_host_header_check: bool = field(
        Presence(), "Host must equal the TLS server name.", group="strict_sni_host_header_check_choice",
        state=state_of(VirtualHostSpec, "enable_strict_sni_host_header_check"))
    additional_domains: DomainNameList | None = field(
        Nested(DomainNameList), "Host names allowed beside the TLS server name.",
        group="strict_sni_host_header_check_choice", state=state_of(VirtualHostSpec, "additional_domains"))
    no_request_limit_per_connection: bool = field(
        Presence(), "Any number of requests on a client connection.", group="max_requests_per_connection_choice",
        absent="this")
    max_requests_per_connection: int | None = field(
        Number(1), "A client connection is closed after so many requests.", group="max_requests_per_connection_choice")
    javascript_info: object = field(Anything(), "Scripts that run at the gateway (2020).", state=WARNS)
    jwt: tuple[Ref, ...] = field(refs(), "Tokens that requests need (2020).", state=REFUSES)


@message
class HttpLoadbalancerSpec:
    """An HTTP load balancer."""

    READ_ONLY: ClassVar = ("host_name", "dns_info", "state", "auto_cert_info", "auto_cert_state", "cert_state",
                           "downstream_tls_certificate_expiration_timestamps", "internet_vip_info")
    SINCE: ClassVar = ""

    domains: tuple[str, ...] = field(
        ListOf(Text(DOMAIN), most=33, unique=True), "Its names: ``host``, ``*.host``, each with an optional ``:port``.")
    http: ProxyTypeHttp | None = field(Nested(ProxyTypeHttp), "Plain HTTP.", group="loadbalancer_type", absent="this")
    https: ProxyTypeHttps | None = field(
        Nested(ProxyTypeHttps), "HTTP over TLS.", group="loadbalancer_type",
        state=served(ProxyType.HTTPS_PROXY), instead="nothing is opened for it")
    https_auto_cert: ProxyTypeHttpsAutoCerts | None = field(
        Nested(ProxyTypeHttpsAutoCerts), "The same with a certificate that is fetched, as ``gateway.acme`` says.",
        group="loadbalancer_type", state=served(ProxyType.HTTPS_PROXY), instead="nothing is opened for it")
    advertise_on_public_default_vip: bool = field(
        Presence(), "Offered on the public address of regional edges.", group="advertise_choice")
    advertise_on_public: AdvertisePublic | None = field(
        Nested(AdvertisePublic), "Offered on a public address of one's own.", group="advertise_choice",
        state=state_of(AdvertisePolicySpec, "public_ip"))
    advertise_custom: AdvertiseCustom | None = field(
        Nested(AdvertiseCustom), "Offered in some places.", group="advertise_choice")
    do_not_advertise: bool = field(Presence(), "Offered nowhere.", group="advertise_choice")
    default_route_pools: tuple[OriginPoolWithWeight, ...] = field(
        ListOf(Nested(OriginPoolWithWeight)), "Pools for what no route matches, with their shares.")
    default_pool: OriginPoolSpec | None = field(Nested(OriginPoolSpec), "The same, one pool inline.")
    default_pool_list: OriginPoolList | None = field(Nested(OriginPoolList), "The same in another form.")
    routes: tuple[ViewRouteType, ...] = field(
        ListOf(Nested(ViewRouteType), most=256), "Routes in order; the first that matches wins.")
    round_robin: bool = field(Presence(), "Origin servers take turns.", group="hash_policy_choice", absent="this")
    least_active: bool = field(
        Presence(), "The one with the fewest requests.", group="hash_policy_choice")
    random: bool = field(
        Presence(), "Any origin server.", group="hash_policy_choice")
    source_ip_stickiness: bool = field(
        Presence(), "The same one for the same client address.", group="hash_policy_choice",
        state=state_of(RouteDestinationList, "hash_policy"))
    cookie_stickiness: CookieForHashing | None = field(
        Nested(CookieForHashing), "The same one for the same cookie.", group="hash_policy_choice",
        state=state_of(RouteDestinationList, "hash_policy"))
    ring_hash: HashPolicyListType | None = field(
        Nested(HashPolicyListType), "The same one for the same hash.", group="hash_policy_choice",
        state=state_of(RouteDestinationList, "hash_policy"))
    more_option: MoreOptionType | None = field(Nested(MoreOptionType), "What else is said about it.")
    jwt_validation: JwtValidation | None = field(Nested(JwtValidation), "Requests need a token.")
    # -- beyond what objects.md spells out ----------------------------------------------------------------------------
    add_location: bool = field(
        Flag(), "Add the response header x-volterra-location with the site's name.",
        state=state_of(VirtualHostSpec, "add_location"))
    active_service_policies: ServicePolicyList | None = field(
        Nested(ServicePolicyList), "These service policies say which requests may pass.", group="service_policy_choice")
    no_service_policies: bool = field(Presence(), "All requests may pass.", group="service_policy_choice")
    service_policies_from_namespace: bool = field(
        Presence(), "The namespace's service policies say so.", group="service_policy_choice", absent="this")
    app_firewall: Ref | None = field(
        Reference("app_firewall"), "This web application firewall looks.", group="waf_choice",
        state=state_of(WafType, "app_firewall"))
    disable_waf: bool = field(Presence(), "None looks.", group="waf_choice", absent="this")
    waf: Ref | None = field(
        Reference("waf"), "This one looks (2020).", group="waf_choice", state=state_of(WafType, "waf"))
    waf_rule: Ref | None = field(
        Reference("waf_rules"), "This one looks (2020).", group="waf_choice", state=state_of(WafType, "waf_rules"))
    waf_exclusion_rules: object = field(Anything(), "What the firewall lets pass.", state=WARNS)
    waf_exclusion: object = field(Anything(), "What the firewall lets pass (newer).", state=WARNS)
    data_guard_rules: object = field(Anything(), "Where data in responses is masked.", state=WARNS)
    graphql_rules: object = field(Anything(), "Which GraphQL queries may pass.", state=REFUSES)
    no_challenge: bool = field(Presence(), "No browser challenge.", group="challenge_type", absent="this")
    js_challenge: JavascriptChallengeType | None = field(
        Nested(JavascriptChallengeType), "Challenge browsers by script.", group="challenge_type",
        state=state_of(VirtualHostSpec, "js_challenge"))
    captcha_challenge: CaptchaChallengeType | None = field(
        Nested(CaptchaChallengeType), "Challenge users by CAPTCHA.", group="challenge_type",
        state=state_of(VirtualHostSpec, "captcha_challenge"))
    enable_challenge: EnableChallenge | None = field(
        Nested(EnableChallenge), "Challenge users who attack.", group="challenge_type", state=REFUSES)
    policy_based_challenge: object = field(
        Anything(), "Challenges chosen per request.", group="challenge_type", state=REFUSES)
    malicious_user_mitigation: Ref | None = field(
        Reference("malicious_user_mitigation"), "What is done about users who attack (2021).", state=REFUSES)
    enable_malicious_user_detection: bool = field(
        Presence(), "Users are watched.", group="malicious_user_detection_choice", state=WARNS)
    disable_malicious_user_detection: bool = field(
        Presence(), "They are not.", group="malicious_user_detection_choice", absent="this")
    single_lb_app: object = field(Anything(), "What is learnt about it alone.", group="ml_config_choice", state=WARNS)
    multi_lb_app: bool = field(Presence(), "It is part of an application.", group="ml_config_choice")
    rate_limit: RateLimitConfigType | None = field(
        Nested(RateLimitConfigType), "How many requests a user may send.", group="rate_limit_choice")
    api_rate_limit: object = field(
        Anything(), "How many per operation of an API.", group="rate_limit_choice", state=REFUSES)
    disable_rate_limit: bool = field(Presence(), "Any number.", group="rate_limit_choice", absent="this")
    api_rate_limit_legacy: object = field(Anything(), "An older form of api_rate_limit.", state=REFUSES)
    user_id_client_ip: bool = field(
        Presence(), "The address tells users apart.", group="user_id_choice", absent="this")
    user_identification: Ref | None = field(
        Reference("user_identification"), "What tells users apart.", group="user_id_choice",
        state=state_of(VirtualHostSpec, "user_identification"))
    blocked_clients: tuple[SimpleClientSrcRule, ...] = field(
        ListOf(Nested(SimpleClientSrcRule)), "Clients that are refused, whatever the service policies say.")
    trusted_clients: object = field(Anything(), "Clients that are not looked at closely.", state=WARNS)
    ddos_mitigation_rules: tuple[DDoSMitigationRule, ...] = field(
        ListOf(Nested(DDoSMitigationRule)), "Clients that are refused as attackers, likewise.")
    enable_ddos_detection: object = field(
        Anything(), "Attacks are recognised.", group="ddos_detection_choice", state=WARNS)
    disable_ddos_detection: bool = field(Presence(), "They are not.", group="ddos_detection_choice")
    l7_ddos_protection: object = field(Anything(), "What is done about attacks by sheer number.", state=REFUSES)
    l7_ddos_action_default: bool = field(
        Presence(), "The usual is done about them.", group="l7_ddos_auto_mitigation_action", state=WARNS)
    l7_ddos_action_block: bool = field(
        Presence(), "They are refused.", group="l7_ddos_auto_mitigation_action", state=REFUSES)
    l7_ddos_action_js_challenge: JavascriptChallengeType | None = field(
        Nested(JavascriptChallengeType), "They are challenged.", group="l7_ddos_auto_mitigation_action", state=REFUSES)
    l7_ddos_action_none: bool = field(Presence(), "Nothing is done about them.", group="l7_ddos_auto_mitigation_action")
    api_specification: object = field(
        Anything(), "An API against which requests are validated.", group="api_definition_choice", state=REFUSES)
    api_definition: Ref | None = field(
        Reference("api_definition"), "An API whose operations are told apart.", group="api_definition_choice", state=WARNS)
    api_definitions: object = field(
        Anything(), "APIs whose operations are told apart.", group="api_definition_choice", state=WARNS)
    disable_api_definition: bool = field(Presence(), "No API is known.", group="api_definition_choice", absent="this")
    enable_api_discovery: object = field(
        Anything(), "The API is learnt from traffic.", group="api_discovery_choice", state=WARNS)
    disable_api_discovery: bool = field(Presence(), "It is not.", group="api_discovery_choice", absent="this")
    api_testing: object = field(Anything(), "The API is tried out.", group="api_testing_choice", state=WARNS)
    disable_api_testing: bool = field(Presence(), "It is not.", group="api_testing_choice", absent="this")
    api_protection_rules: object = field(Anything(), "Who may call which operations.", state=REFUSES)
    bot_defense: object = field(Anything(), "Bots are refused.", group="bot_defense_choice", state=REFUSES)
    bot_defense_advanced: object = field(
        Anything(), "Bots are refused (newer).", group="bot_defense_choice", state=REFUSES)
    disable_bot_defense: bool = field(Presence(), "They are not.", group="bot_defense_choice", absent="this")
    client_side_defense: object = field(
        Anything(), "Scripts in pages are watched.", group="client_side_defense_choice", state=WARNS)
    disable_client_side_defense: bool = field(
        Presence(), "They are not.", group="client_side_defense_choice", absent="this")
    enable_ip_reputation: IPThreatCategoryListType | None = field(
        Nested(IPThreatCategoryListType), "Addresses known for these things are refused.", group="ip_reputation_choice",
        state=REFUSES)
    disable_ip_reputation: bool = field(Presence(), "They are not.", group="ip_reputation_choice", absent="this")
    enable_threat_mesh: bool = field(
        Presence(), "Users who attack others are refused.", group="threat_mesh_choice", state=REFUSES)
    disable_threat_mesh: bool = field(Presence(), "They are not.", group="threat_mesh_choice", absent="this")
    malware_protection_settings: object = field(
        Anything(), "Uploads are searched.", group="malware_protection", state=REFUSES)
    disable_malware_protection: bool = field(Presence(), "They are not.", group="malware_protection", absent="this")
    cors_policy: CorsPolicy | None = field(
        Nested(CorsPolicy), "CORS; for all routes.", state=state_of(VirtualHostSpec, "cors_policy"))
    csrf_policy: CsrfPolicy | None = field(Nested(CsrfPolicy), "Where requests that change state may come from.")
    protected_cookies: tuple[CookieManipulationOptionType, ...] = field(
        ListOf(Nested(CookieManipulationOptionType)), "Attributes to put on the origin's cookies.",
        state=state_of(VirtualHostSpec, "cookies_to_modify"))
    sensitive_data_policy: object = field(
        Anything(), "What API discovery calls sensitive.", group="sensitive_data_policy_choice", state=WARNS)
    default_sensitive_data_policy: bool = field(
        Presence(), "The usual.", group="sensitive_data_policy_choice", absent="this")
    sensitive_data_disclosure_rules: object = field(Anything(), "What is masked in responses of APIs.", state=WARNS)
    slow_ddos_mitigation: SlowDDoSMitigation | None = field(
        Nested(SlowDDoSMitigation), "Limits for clients that send slowly.", group="slow_ddos_mitigation_choice")
    system_default_timeouts: bool = field(
        Presence(), "The usual limits.", group="slow_ddos_mitigation_choice", absent="this")
    enable_trust_client_ip_headers: object = field(
        Anything(), "These headers say who the client is.", group="trust_client_ip_headers_choice", state=WARNS)
    disable_trust_client_ip_headers: bool = field(
        Presence(), "None does.", group="trust_client_ip_headers_choice", absent="this")
    disable_caching: bool = field(Presence(), "Responses are not kept.", group="caching_choice", absent="this")
    caching_policy: object = field(Anything(), "Responses are kept.", group="caching_choice", state=WARNS)
    origin_server_subset_rule_list: object = field(
        Anything(), "Which requests go to origin servers with which labels.", state=WARNS)
    voltgw: HostExtension | None = field(Nested(HostExtension), "What voltgw adds to it.", since="voltgw")
