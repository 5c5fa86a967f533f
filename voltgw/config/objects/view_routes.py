"""Routes as the http_loadbalancer view spells them (objects.md 18)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import ListOf, MapOf
from voltgw.config.formats import EDITED_HEADER, HOSTPORT, HTTP_PATH
from voltgw.config.names import Reference
from voltgw.config.objects.headers import CookieValueOption, HeaderManipulationOptionType, SetCookieValueOption
from voltgw.config.objects.policies import BufferConfigType, CorsPolicy, CsrfPolicy, RetryPolicyType, WafType
from voltgw.config.objects.route import (
    BotDefenseJavascriptInjectionType,
    FractionalPercent,
    HashPolicyType,
    HeaderMatcherType,
    HttpMethod,
    PathMatcherType,
    PortMatcherType,
    QueryParamsSimpleRoute,
    RegexMatchRewrite,
    RouteDestinationList,
    RouteDirectResponse,
    RouteExtension,
    RouteRedirect,
    RouteType,
    RoutingPriority,
    SpdyConfigType,
    WebsocketConfigType,
)
from voltgw.config.objects.view_advertise import OriginPoolWithWeight
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, field, message, state_of, states_of
from voltgw.config.types import Choice, Flag, Presence, Text
from voltgw.config.values import FrozenMap, Ref


def header_edits() -> ListOf[HeaderManipulationOptionType]:
    """A list of headers to add or replace."""
    return ListOf(Nested(HeaderManipulationOptionType), most=32)


def header_names() -> ListOf[str]:
    """A list of names of headers."""
    return ListOf(Text(EDITED_HEADER, least=1, most=256), most=32)


def cookie_names() -> ListOf[str]:
    """A list of names of cookies."""
    return ListOf(Text(least=1, most=256), most=32, unique=True)


def header_conditions() -> ListOf[HeaderMatcherType]:
    """A list of conditions on headers."""
    return ListOf(Nested(HeaderMatcherType), most=16, unique=True)


@message
class HashPolicyListType:
    """Inputs of a hash."""

    SINCE: ClassVar = ""

    hash_policy: tuple[HashPolicyType, ...] = field(ListOf(Nested(HashPolicyType), most=8), "The inputs.")


@message
class ViewMirrorPolicyType:
    """Send copies of requests to another pool and forget the answers."""

    SINCE: ClassVar = ""

    origin_pool: Ref | None = field(Reference("origin_pool"), "The pool.")
    percent: FractionalPercent | None = field(Nested(FractionalPercent), "Share of requests.", absent="all")


@message
class RouteSimpleAdvancedOptions:
    """What else is said about a route."""

    SINCE: ClassVar = ""

    prefix_rewrite: str | None = field(
        Text(HTTP_PATH, most=256), "Replace the matched prefix or path by this.", group="rewrite_choice")
    regex_rewrite: RegexMatchRewrite | None = field(
        Nested(RegexMatchRewrite), "Replace by pattern.", group="rewrite_choice",
        state=state_of(RouteDestinationList, "regex_rewrite"))
    disable_prefix_rewrite: bool = field(Presence(), "Leave the path.", group="rewrite_choice", absent="this")
    timeout_s: float | None = field(
        Duration("ms", 0, 1800000), "Longest time for the whole answer, retries included.", absent="none")
    retry_policy: RetryPolicyType | None = field(
        Nested(RetryPolicyType), "Retries.", group="retry_policy_choice",
        state=state_of(RouteDestinationList, "retry_policy"))
    default_retry_policy: bool = field(Presence(), "The usual retries.", group="retry_policy_choice", absent="this")
    no_retry_policy: bool = field(Presence(), "No retries.", group="retry_policy_choice")
    mirror_policy: ViewMirrorPolicyType | None = field(
        Nested(ViewMirrorPolicyType), "Copies to another pool.", group="mirroring_choice",
        state=state_of(RouteDestinationList, "mirror_policy"))
    disable_mirroring: bool = field(Presence(), "No copies.", group="mirroring_choice", absent="this")
    web_socket_config: WebsocketConfigType | None = field(
        Nested(WebsocketConfigType), "WebSocket upgrades.", group="websocket_choice")
    disable_web_socket_config: bool = field(Presence(), "No WebSocket upgrades.", group="websocket_choice", absent="this")
    enable_spdy: bool = field(
        Presence(), "SPDY/3.1 upgrades.", group="spdy_choice", state=state_of(SpdyConfigType, "use_spdy"))
    disable_spdy: bool = field(Presence(), "No SPDY/3.1 upgrades.", group="spdy_choice", absent="this")
    specific_hash_policy: HashPolicyListType | None = field(
        Nested(HashPolicyListType), "Inputs of the hash for this route.", group="hash_policy_choice",
        state=state_of(RouteDestinationList, "hash_policy"))
    common_hash_policy: bool = field(
        Presence(), "The load balancer's inputs of the hash.", group="hash_policy_choice", absent="this")
    buffer_policy: BufferConfigType | None = field(
        Nested(BufferConfigType), "Read whole requests first.", group="buffer_choice",
        state=state_of(RouteDestinationList, "buffer_policy"))
    common_buffering: bool = field(Presence(), "As the load balancer says.", group="buffer_choice", absent="this")
    retract_cluster: bool = field(
        Presence(), "A pool without a healthy origin server leaves the weighted choice.", group="cluster_retract_choice")
    do_not_retract_cluster: bool = field(
        Presence(), "It stays, and its share of the requests fails.", group="cluster_retract_choice", absent="this")
    priority: RoutingPriority = field(
        Choice(RoutingPriority, states_of(RouteDestinationList, "priority")), "Which connections and circuit breaker it uses.")
    endpoint_subsets: FrozenMap[str, str] = field(
        MapOf(Text(), Text(), most=16), "Labels that every chosen origin server must carry.",
        state=state_of(RouteDestinationList, "endpoint_subsets"))
    request_headers_to_add: tuple[HeaderManipulationOptionType, ...] = field(
        header_edits(), "Applied before the load balancer's.")
    request_headers_to_remove: tuple[str, ...] = field(header_names(), "Names; applied before the load balancer's.")
    response_headers_to_add: tuple[HeaderManipulationOptionType, ...] = field(
        header_edits(), "Applied before the load balancer's.")
    response_headers_to_remove: tuple[str, ...] = field(header_names(), "Names; applied before the load balancer's.")
    request_cookies_to_add: tuple[CookieValueOption, ...] = field(
        ListOf(Nested(CookieValueOption), most=32, unique=True), "Cookies to add.",
        state=state_of(RouteType, "request_cookies_to_add"))
    request_cookies_to_remove: tuple[str, ...] = field(
        cookie_names(), "Names.", state=state_of(RouteType, "request_cookies_to_remove"))
    response_cookies_to_add: tuple[SetCookieValueOption, ...] = field(
        ListOf(Nested(SetCookieValueOption), most=32, unique=True), "Cookies to add.",
        state=state_of(RouteType, "response_cookies_to_add"))
    response_cookies_to_remove: tuple[str, ...] = field(
        cookie_names(), "Names.", state=state_of(RouteType, "response_cookies_to_remove"))
    cors_policy: CorsPolicy | None = field(
        Nested(CorsPolicy), "CORS of this route.", state=state_of(RouteDestinationList, "cors_policy"))
    csrf_policy: CsrfPolicy | None = field(Nested(CsrfPolicy), "CSRF of this route.")
    app_firewall: Ref | None = field(
        Reference("app_firewall"), "This web application firewall looks.", group="waf_choice",
        state=state_of(WafType, "app_firewall"))
    disable_waf: bool = field(Presence(), "None looks.", group="waf_choice")
    inherited_waf: bool = field(Presence(), "The load balancer's looks.", group="waf_choice", absent="this")
    waf: Ref | None = field(
        Reference("waf"), "This one looks (2020).", group="waf_choice", state=state_of(WafType, "waf"))
    waf_rule: Ref | None = field(
        Reference("waf_rules"), "This one looks (2020).", group="waf_choice", state=state_of(WafType, "waf_rules"))
    inherited_waf_exclusion: bool = field(
        Presence(), "The load balancer's WAF exclusions.", group="waf_exclusion_choice", absent="this")
    waf_exclusion_policy: Ref | None = field(
        Reference("waf_exclusion_policy"), "WAF exclusions of this route.", group="waf_exclusion_choice",
        state=state_of(RouteType, "waf_exclusion_policy"))
    disable_location_add: bool = field(Flag(), "No x-volterra-location here.")
    inherited_bot_defense_javascript_injection: bool = field(
        Presence(), "The load balancer's bot defence.", group="bot_defense_javascript_injection_choice", absent="this")
    bot_defense_javascript_injection: BotDefenseJavascriptInjectionType | None = field(
        Nested(BotDefenseJavascriptInjectionType), "Bot defence of this route.",
        group="bot_defense_javascript_injection_choice",
        state=state_of(RouteType, "bot_defense_javascript_injection"))


@message
class SimpleRouteType:
    """Requests that are sent to some pools."""

    SINCE: ClassVar = ""

    http_method: HttpMethod = field(Choice(HttpMethod), "The method.", absent="any method")
    path: PathMatcherType | None = field(Nested(PathMatcherType), "Condition on the path.", absent="any path")
    headers: tuple[HeaderMatcherType, ...] = field(header_conditions(), "Conditions on headers; all must hold.")
    query_params: QueryParamsSimpleRoute | None = field(Nested(QueryParamsSimpleRoute), "What becomes of the query.")
    incoming_port: PortMatcherType | None = field(Nested(PortMatcherType), "Condition on the port.", absent="any port")
    origin_pools: tuple[OriginPoolWithWeight, ...] = field(
        ListOf(Nested(OriginPoolWithWeight)), "Pools with their shares.", absent="default_route_pools")
    auto_host_rewrite: bool = field(
        Presence(), "Send the DNS name of the chosen origin server as Host.", group="host_rewrite_params")
    host_rewrite: str | None = field(
        Text(HOSTPORT, least=1, most=256), "Send this Host.", group="host_rewrite_params")
    disable_host_rewrite: bool = field(Presence(), "Leave Host.", group="host_rewrite_params", absent="this")
    advanced_options: RouteSimpleAdvancedOptions | None = field(
        Nested(RouteSimpleAdvancedOptions), "What else is said about it.")


@message
class RedirectRouteType:
    """Requests that are redirected."""

    SINCE: ClassVar = ""

    http_method: HttpMethod = field(Choice(HttpMethod), "The method.", absent="any method")
    path: PathMatcherType | None = field(Nested(PathMatcherType), "Condition on the path.", absent="any path")
    headers: tuple[HeaderMatcherType, ...] = field(header_conditions(), "Conditions on headers; all must hold.")
    incoming_port: PortMatcherType | None = field(Nested(PortMatcherType), "Condition on the port.", absent="any port")
    route_redirect: RouteRedirect | None = field(Nested(RouteRedirect), "Where to.")


@message
class DirectResponseRouteType:
    """Requests that are answered at once."""

    SINCE: ClassVar = ""

    http_method: HttpMethod = field(Choice(HttpMethod), "The method.", absent="any method")
    path: PathMatcherType | None = field(Nested(PathMatcherType), "Condition on the path.", absent="any path")
    headers: tuple[HeaderMatcherType, ...] = field(header_conditions(), "Conditions on headers; all must hold.")
    incoming_port: PortMatcherType | None = field(Nested(PortMatcherType), "Condition on the port.", absent="any port")
    route_direct_response: RouteDirectResponse | None = field(Nested(RouteDirectResponse), "The answer.")


@message
class CustomRouteObjectType:
    """The rules of a route object."""

    SINCE: ClassVar = ""

    route_ref: Ref | None = field(Reference("route"), "The route object.")


@message
class ViewRouteType:
    """One route."""

    SINCE: ClassVar = ""

    simple_route: SimpleRouteType | None = field(Nested(SimpleRouteType), "Send to some pools.", group="choice")
    redirect_route: RedirectRouteType | None = field(Nested(RedirectRouteType), "Redirect.", group="choice")
    direct_response_route: DirectResponseRouteType | None = field(
        Nested(DirectResponseRouteType), "Answer at once.", group="choice")
    custom_route_object: CustomRouteObjectType | None = field(
        Nested(CustomRouteObjectType), "The rules of a route object.", group="choice")
    voltgw: RouteExtension | None = field(
        Nested(RouteExtension), "What voltgw adds to it; not to the rules of a route object.", since="voltgw")
