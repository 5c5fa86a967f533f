"""route: an ordered list of rules, each a match and an action (objects.md 5)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from voltgw.config.compound import Anything, ListOf, MapOf, refs
from voltgw.config.contents import Content
from voltgw.config.formats import EDITED_HEADER, HEADER_NAME, HOSTPORT, HTTP_PATH, UUID
from voltgw.config.names import Reference
from voltgw.config.objects.conditions import HeaderMatcherType as HeaderMatcherType
from voltgw.config.objects.extensions import DestinationExtension, MatchExtension, SubsetExtension
from voltgw.config.objects.extensions import RouteExtension as RouteExtension
from voltgw.config.objects.headers import CookieValueOption, HeaderManipulationOptionType, SetCookieValueOption
from voltgw.config.objects.policies import BufferConfigType, CorsPolicy, CsrfPolicy, RetryPolicyType, WafType
from voltgw.config.quantities import Duration
from voltgw.config.ranges import Ports
from voltgw.config.reader import REFUSES, WARNS
from voltgw.config.regexes import REGEX
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Flag, Number, Presence, Text
from voltgw.config.units import show_seconds
from voltgw.config.values import FrozenMap, Range, Ref
from voltgw.values import defaults


class HttpMethod(Enum):
    """A request method; ANY matches all."""

    ANY = "ANY"
    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"
    CONNECT = "CONNECT"
    OPTIONS = "OPTIONS"
    TRACE = "TRACE"
    PATCH = "PATCH"
    COPY = "COPY"


class RoutingPriority(Enum):
    """Which connection pool and circuit breaker a route uses."""

    DEFAULT = "DEFAULT"
    HIGH = "HIGH"


class Denominator(Enum):
    """Of how many a fraction's numerator is a part."""

    HUNDRED = "HUNDRED"
    TEN_THOUSAND = "TEN_THOUSAND"
    MILLION = "MILLION"


@message
class PathMatcherType:
    """One way to match the path (without the query)."""

    prefix: str | None = field(
        Text(least=1, most=256), "Byte prefix; ``/`` matches all.", group="path_match", example="/api")
    path: str | None = field(Text(least=1), "The whole path.", group="path_match")
    regex: str | None = field(Text(REGEX, least=1), "Pattern (RE2) over the whole path.", group="path_match")

    def rules(self) -> Iterable[Rule]:
        """A path begins with a slash (``*`` is the one request target that does not)."""
        for name, text in (("prefix", self.prefix), ("path", self.path)):
            if text is not None and not text.startswith("/") and text != "*":
                yield Rule(name, "VG0110", f"{text!r} can never match: every path begins with /")


@message
class QueryParameterMatcherType:
    """A condition on one query parameter."""

    key: str = field(Text(least=1, most=256), "Name of the parameter.", required=True)
    exact: str | None = field(Text(), "The whole value.", group="value_match")
    regex: str | None = field(Text(REGEX), "Pattern (RE2) over the whole value.", group="value_match")


@message
class PortMatcherType:
    """A condition on the port on which the request came in."""

    port: int | None = field(Number(1, 65535), "This port.", since="+2023-06", group="port_match")
    port_ranges: tuple[Range, ...] = field(Ports(), "One of these ports.", since="+2023-06", group="port_match")
    no_port_match: bool = field(Presence(), "Any port.", since="+2023-06", group="port_match")


@message
class RouteMatch:
    """Conditions that must all hold."""

    path: PathMatcherType | None = field(Nested(PathMatcherType), "Condition on the path.", absent="any path")
    headers: tuple[HeaderMatcherType, ...] = field(
        ListOf(Nested(HeaderMatcherType), most=16, unique=True), "Conditions on headers; all must hold.")
    query_params: tuple[QueryParameterMatcherType, ...] = field(
        ListOf(Nested(QueryParameterMatcherType), most=16, unique=True), "Conditions on the query; all must hold.")
    http_method: HttpMethod = field(Choice(HttpMethod), "The method.", absent="any method")
    incoming_port: PortMatcherType | None = field(
        Nested(PortMatcherType), "Condition on the port.", since="+2023-06", absent="any port")
    voltgw: MatchExtension | None = field(Nested(MatchExtension), "What voltgw adds to the conditions.", since="voltgw")


@message
class RouteDestination:
    """One of the clusters among which requests are shared out."""

    cluster: tuple[Ref, ...] = field(refs("cluster", most=1, least=1), "Exactly one cluster.", required=True)
    weight: int | None = field(
        Number(most=65535), "Share: weight / sum of weights; 0 gets nothing. One destination alone gets all.",
        absent="an equal share if no destination has a weight, else 0")
    priority: int | None = field(
        Number(most=32), "1 is active, higher numbers stand by in order, 0 comes last.", since="+2021-12")
    endpoint_subsets: FrozenMap[str, str] = field(
        MapOf(Text(), Text(), most=16), "Labels that the endpoint must carry; laid over the route's.")
    voltgw: SubsetExtension | None = field(Nested(SubsetExtension), "What voltgw adds.", since="voltgw")


@message
class RegexMatchRewrite:
    """Replace what a pattern finds in the path."""

    pattern: str = field(Text(REGEX, least=1), "Pattern (RE2).", since="+2024-06", required=True)
    substitution: str | None = field(Text(most=256), "Replacement; ``\\1`` is the first group.", since="+2024-06",
                                     absent="nothing")


@message
class FractionalPercent:
    """A share of requests."""

    numerator: int | None = field(Number(most=1000000), "Parts.")
    denominator: Denominator = field(Choice(Denominator), "Of how many.")


@message
class MirrorPolicyType:
    """Send copies of requests to another cluster and forget the answers."""

    cluster: tuple[Ref, ...] = field(refs("cluster", most=1, least=1), "Exactly one cluster.", required=True)
    percent: FractionalPercent | None = field(Nested(FractionalPercent), "Share of requests.", absent="all")


@message
class WebsocketConfigType:
    """Whether WebSocket upgrades pass."""

    use_websocket: bool = field(Flag(), "They do.")
    idle_timeout_s: float | None = field(
        Duration("ms"), "Longest silence of a connection that has switched.", since="2020→2021",
        absent=show_seconds(defaults.TUNNEL_IDLE_TIMEOUT_S))
    max_connect_attempts: int | None = field(
        Number(zero_is_absent=True), "Tries of a request that asks to switch, the first one included.", since="2020→2021",
        absent="those of the retry policy")


@message
class SpdyConfigType:
    """Whether SPDY/3.1 upgrades pass."""

    use_spdy: bool = field(Flag(), "They do.")


@message
class CookieForHashing:
    """A cookie whose value is hashed, and that is set if it is not there."""

    name: str = field(Text(least=1, most=256), "Cookie name.", required=True)
    path: str | None = field(Text(most=256), "Path attribute of a cookie that we set.")
    ttl_s: float | None = field(
        Duration("ms", zero="value"), "Life of a cookie that we set; 0 = until the browser closes.", absent="set no cookie")
    add_httponly: bool = field(Presence(), "HttpOnly.", since="+2023-01", group="httponly")
    ignore_httponly: bool = field(Presence(), "No HttpOnly.", since="+2023-01", group="httponly")
    add_secure: bool = field(Presence(), "Secure.", since="+2023-01", group="secure")
    ignore_secure: bool = field(Presence(), "No Secure.", since="+2023-01", group="secure")
    samesite_strict: bool = field(Presence(), "SameSite=Strict.", since="+2023-01", group="samesite")
    samesite_lax: bool = field(Presence(), "SameSite=Lax.", since="+2023-01", group="samesite")
    samesite_none: bool = field(Presence(), "SameSite=None.", since="+2023-01", group="samesite")
    ignore_samesite: bool = field(Presence(), "No SameSite.", since="+2023-01", group="samesite")


@message
class HashPolicyType:
    """One input of the hash by which ring hash chooses."""

    header_name: str | None = field(Text(HEADER_NAME, least=1, most=256), "A request header.", group="policy_specifier")
    cookie: CookieForHashing | None = field(Nested(CookieForHashing), "A cookie.", group="policy_specifier")
    source_ip: bool = field(Flag(), "The client's address.", group="policy_specifier")
    terminal: bool = field(Flag(), "Stop here if this one gave a value.")


@message
class QueryParamsSimpleRoute:
    """What becomes of the query when a request is forwarded."""

    retain_all_params: bool = field(Presence(), "Keep it.", since="+2024-12", group="query_params", absent="this")
    remove_all_params: bool = field(Presence(), "Drop it.", since="+2024-12", group="query_params")
    replace_params: str | None = field(
        Text(least=1, most=256), "Put this instead.", since="+2024-12", group="query_params", example="a=b")


@message
class RouteDestinationList:
    """Forward to one of some clusters."""

    destinations: tuple[RouteDestination, ...] = field(
        ListOf(Nested(RouteDestination), least=1, most=16), "Clusters with their shares.", required=True)
    prefix_rewrite: str | None = field(
        Text(HTTP_PATH, most=256), "Replace the matched prefix or path (with a regex: the whole path) by this.",
        group="route_destination_rewrite")
    regex_rewrite: RegexMatchRewrite | None = field(
        Nested(RegexMatchRewrite), "Replace by pattern.", since="+2024-06", group="route_destination_rewrite")
    host_rewrite: str | None = field(Text(HOSTPORT, least=1, most=256), "Send this Host.", group="host_rewrite_params")
    auto_host_rewrite: bool = field(
        Flag(), "Send the DNS name of the chosen endpoint as Host.", group="host_rewrite_params")
    timeout_s: float | None = field(
        Duration("ms", 0, 1800000), "Longest time for the whole answer, retries included.", absent="none")
    retry_policy: RetryPolicyType | None = field(
        Nested(RetryPolicyType), "Retries, instead of the virtual host's.")
    endpoint_subsets: FrozenMap[str, str] = field(
        MapOf(Text(), Text(), most=16), "Labels that every chosen endpoint must carry.")
    mirror_policy: MirrorPolicyType | None = field(Nested(MirrorPolicyType), "Copies to another cluster.")
    web_socket_config: WebsocketConfigType | None = field(Nested(WebsocketConfigType), "WebSocket upgrades.")
    buffer_policy: BufferConfigType | None = field(
        Nested(BufferConfigType), "Read whole requests first, instead of the virtual host's.")
    cors_policy: CorsPolicy | None = field(Nested(CorsPolicy), "CORS, instead of the virtual host's.")
    csrf_policy: CsrfPolicy | None = field(
        Nested(CsrfPolicy), "CSRF, instead of the virtual host's.", since="+2024-01")
    hash_policy: tuple[HashPolicyType, ...] = field(
        ListOf(Nested(HashPolicyType), most=8), "Inputs of the hash by which ring hash and its like choose.")
    priority: RoutingPriority = field(
        Choice(RoutingPriority), "Which pool and circuit breaker it uses: those of HIGH are its own.")
    spdy_config: SpdyConfigType | None = field(Nested(SpdyConfigType), "SPDY/3.1 upgrades.")
    retract_cluster: bool = field(
        Presence(), "A cluster without a healthy endpoint leaves the weighted choice.", since="+2021-03",
        group="cluster_retract_choice")
    do_not_retract_cluster: bool = field(
        Presence(), "It stays, and its share of the requests fails.", since="+2021-03", group="cluster_retract_choice",
        absent="this")
    query_params: QueryParamsSimpleRoute | None = field(
        Nested(QueryParamsSimpleRoute), "What becomes of the query.", since="+2024-12")
    voltgw: DestinationExtension | None = field(
        Nested(DestinationExtension), "What voltgw adds to the choice of a destination.", since="voltgw")


@message
class RouteRedirect:
    """Answer with a redirect."""

    host_redirect: str | None = field(Text(HOSTPORT), "New host.", absent="keep it")
    path_redirect: str | None = field(Text(HTTP_PATH, most=256), "New path.", group="redirect_path_choice", absent="keep it")
    prefix_rewrite: str | None = field(
        Text(HTTP_PATH, most=256), "New prefix; the rest of the path stays.", since="+2022-02", group="redirect_path_choice")
    proto_redirect: str | None = field(
        Text(one_of=("", "incoming-proto", "http", "https")), "New scheme.", absent="incoming-proto")
    port_redirect: int | None = field(
        Number(most=65535, zero_is_absent=True), "New port.", since="†", absent="the scheme's", internal=True)
    strip_query_params: object = field(
        Anything(), "Of 2020; never did anything.", since="2020†", group="query_params", internal=True)
    all_params: bool = field(Flag(), "Drop the query (2020).", since="2020†", group="query_params")
    retain_all_params: bool = field(Presence(), "Keep the query.", group="query_params", absent="this")
    remove_all_params: bool = field(Presence(), "Drop the query.", group="query_params")
    replace_params: str | None = field(
        Text(least=1, most=256), "Put this query instead.", since="+2022-09", group="query_params")
    response_code: int | None = field(
        Number(most=599, zero_is_absent=True), "Status: 301, 302, 303, 307 or 308.", absent="301")

    def rules(self) -> Iterable[Rule]:
        """A redirect has a status that makes clients follow it."""
        if self.response_code is not None and self.response_code < 300:
            yield Rule("response_code", "VG0103", f"{self.response_code} is no redirect; use 301, 302, 303, 307 or 308")


@message
class RouteDirectResponse:
    """Answer without asking anybody."""

    response_code: int | None = field(Number(100, 599, also=(0,), zero_is_absent=True), "Status.", absent="200")
    response_body: str | None = field(Text(most=65536), "Body, literal.", since="2020†")
    response_body_encoded: bytes | None = field(
        Content(65536), "Body as ``string:///`` and base64; wins over response_body.", since="+2025-11")

    def rules(self) -> Iterable[Rule]:
        """An interim status is no answer."""
        if self.response_code is not None and self.response_code < 200:
            yield Rule("response_code", "VG0103", f"{self.response_code} is an interim status and ends no request")


@message
class ServicePolicyInfo:
    """Whether service policies look at this route."""

    disable: bool = field(Flag(), "They do not.")


@message
class BotDefenseJavascriptInjectionType:
    """Where the vendor's bot defence puts its script."""

    javascript_location: str | None = field(
        Text(one_of=("", "AFTER_HEAD", "AFTER_TITLE_END", "BEFORE_SCRIPT")), "Place in the page.", since="+2023-01")
    javascript_tags: object = field(Anything(), "Script tags.", since="+2023-01")


@message
class RouteType:
    """One rule: when it matches, what is done."""

    match: tuple[RouteMatch, ...] = field(
        ListOf(Nested(RouteMatch), most=16), "Alternatives; one that matches is enough.", absent="everything matches")
    route_destination: RouteDestinationList | None = field(
        Nested(RouteDestinationList), "Forward.", group="route_action")
    route_redirect: RouteRedirect | None = field(Nested(RouteRedirect), "Redirect.", group="route_action")
    route_direct_response: RouteDirectResponse | None = field(
        Nested(RouteDirectResponse), "Answer at once.", group="route_action")
    disable_custom_script: bool = field(Flag(), "Historic: no custom script here.", since="2020†")
    service_policy: ServicePolicyInfo | None = field(Nested(ServicePolicyInfo), "Whether service policies look here.")
    request_headers_to_add: tuple[HeaderManipulationOptionType, ...] = field(
        ListOf(Nested(HeaderManipulationOptionType), most=32), "Applied before the virtual host's.")
    response_headers_to_add: tuple[HeaderManipulationOptionType, ...] = field(
        ListOf(Nested(HeaderManipulationOptionType), most=32), "Applied before the virtual host's.")
    request_headers_to_remove: tuple[str, ...] = field(
        ListOf(Text(EDITED_HEADER, least=1, most=256), most=32), "Names; applied before the virtual host's.")
    response_headers_to_remove: tuple[str, ...] = field(
        ListOf(Text(EDITED_HEADER, least=1, most=256), most=32), "Names; applied before the virtual host's.")
    request_cookies_to_add: tuple[CookieValueOption, ...] = field(
        ListOf(Nested(CookieValueOption), most=32, unique=True), "Cookies to add.", since="+2025-06")
    request_cookies_to_remove: tuple[str, ...] = field(
        ListOf(Text(least=1, most=256), most=32, unique=True), "Names.", since="+2025-06")
    response_cookies_to_add: tuple[SetCookieValueOption, ...] = field(
        ListOf(Nested(SetCookieValueOption), most=32, unique=True), "Cookies to add.", since="+2025-06")
    response_cookies_to_remove: tuple[str, ...] = field(
        ListOf(Text(least=1, most=256), most=32, unique=True), "Names.", since="+2025-06")
    waf_type: WafType | None = field(Nested(WafType), "Web application firewall, instead of the virtual host's.")
    disable_location_add: bool = field(Flag(), "No x-volterra-location here.")
    skip_lb_override: bool = field(
        Flag(), "Use the cluster's algorithm, not the load balancer's.", since="†", internal=True)
    inherited_bot_defense_javascript_injection: bool = field(
        Presence(), "The virtual host's bot defence.", since="+2023-01", group="bot_defense_javascript_injection_choice")
    bot_defense_javascript_injection: BotDefenseJavascriptInjectionType | None = field(
        Nested(BotDefenseJavascriptInjectionType), "Bot defence of this route.", since="+2023-01",
        group="bot_defense_javascript_injection_choice", state=REFUSES)
    bot_defense_javascript_injection_inline_mode: object = field(
        Anything(), "Made by the vendor's system.", since="†", state=WARNS, internal=True)
    inherited_waf_exclusion: bool = field(
        Presence(), "The virtual host's WAF exclusions.", since="+2025-06", group="waf_exclusion_choice")
    waf_exclusion_policy: Ref | None = field(
        Reference("waf_exclusion_policy"), "WAF exclusions of this route.", since="+2025-06", group="waf_exclusion_choice",
        state=WARNS)
    waf_exclusion_service_policy: tuple[Ref, ...] = field(
        refs("service_policy", most=1), "Made by the vendor's system.", since="†", state=WARNS, internal=True)
    uuid: str | None = field(Text(UUID), "Made by the vendor's system.", since="†", internal=True)
    voltgw: RouteExtension | None = field(Nested(RouteExtension), "What voltgw adds to this rule.", since="voltgw")

    def rules(self) -> Iterable[Rule]:
        """A rule without an action does nothing."""
        if self.route_destination is None and self.route_redirect is None and self.route_direct_response is None:
            yield Rule("", "VG0105", "this rule has no action", "give it route_destination, route_redirect or "
                       "route_direct_response")


@message
class RouteSpec:
    """An ordered list of rules; virtual hosts use it by reference."""

    routes: tuple[RouteType, ...] = field(
        ListOf(Nested(RouteType), least=1, most=257), "Rules in order; the first that matches wins.", required=True)
    voltgw: RouteExtension | None = field(
        Nested(RouteExtension), "What voltgw adds to all rules of this object.", since="voltgw")

    def segment_prefix(self, rule: RouteType) -> bool:
        """Whether the prefixes of `rule`, one of `routes`, match whole path segments only."""
        return any(e is not None and e.segment_prefix for e in (self.voltgw, rule.voltgw))


