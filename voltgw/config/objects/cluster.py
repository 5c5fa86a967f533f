"""cluster: endpoints that serve the same thing, and how they are chosen and watched (objects.md 6)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from voltgw.config.compound import ListOf, MapOf, refs
from voltgw.config.objects.cluster_extension import ClusterExtension
from voltgw.config.objects.headers import HeaderTransformationType
from voltgw.config.objects.route import RoutingPriority
from voltgw.config.objects.tls import UpstreamTlsParamsType
from voltgw.config.quantities import Duration
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Flag, Number, Presence, Text
from voltgw.config.units import show_seconds
from voltgw.config.values import FrozenMap, Ref
from voltgw.values import defaults


class LoadbalancerAlgorithm(Enum):
    """How an endpoint is chosen among the usable ones."""

    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_REQUEST = "LEAST_REQUEST"
    RING_HASH = "RING_HASH"
    RANDOM = "RANDOM"
    LB_OVERRIDE = "LB_OVERRIDE"


#: Schedulers by name for whom every endpoint has keys of its own.
AFFINE: Final = frozenset(("ring_hash", "maglev", "rendezvous"))


class SubsetFallbackPolicy(Enum):
    """What happens when no endpoint carries the labels that are asked for."""

    NO_FALLBACK = "NO_FALLBACK"
    ANY_ENDPOINT = "ANY_ENDPOINT"
    DEFAULT_SUBSET = "DEFAULT_SUBSET"


class EndpointSelectionPolicy(Enum):
    """Whether endpoints of other sites are used."""

    DISTRIBUTED = "DISTRIBUTED"
    LOCAL_ONLY = "LOCAL_ONLY"
    LOCAL_PREFERRED = "LOCAL_PREFERRED"


class DnsLookupFamily(Enum):
    """Which addresses of a name are used."""

    AUTO = "AUTO"
    V4_ONLY = "V4_ONLY"
    V6_ONLY = "V6_ONLY"


class DnsDiscoveryType(Enum):
    """Whether all addresses of a name are members, or one at a time."""

    STRICT_DNS = "STRICT_DNS"
    LOGICAL_DNS = "LOGICAL_DNS"


@message
class CircuitBreaker:
    """Limits of one cluster; over them requests fail at once with 503."""

    priority: RoutingPriority = field(
        Choice(RoutingPriority), "Routes of this priority are limited; those of the other one have the defaults.")
    connection_limit: int | None = field(
        Number(most=32768, zero_is_absent=True), "Most connections to all endpoints together.", absent="no limit")
    pending_requests: int | None = field(
        Number(most=32768, zero_is_absent=True), "Most requests that wait for a connection.",
        absent=str(defaults.MAX_PENDING_REQUESTS))
    retries: int | None = field(
        Number(most=32768, zero_is_absent=True), "Most retries at a time.", absent="20 % of the active requests, at least 3")
    max_requests: int | None = field(
        Number(most=32768, zero_is_absent=True), "Most requests at a time.", absent="no limit")


@message
class EndpointSubsetSelectorType:
    """A set of label keys that makes subsets of the endpoints that have all of them."""

    keys: tuple[str, ...] = field(ListOf(Text(least=1), least=1, most=16, unique=True), "Label keys.", required=True)


@message
class OutlierDetectionType:
    """When an endpoint is taken out because of its answers."""

    consecutive_5xx: int | None = field(
        Number(most=1024, zero_is_absent=True), "5xx (or no answer) in a row before it is taken out.", absent="5")
    interval_s: float | None = field(Duration("ms", 0, 600000), "Between two sweeps.", absent="10 s")
    base_ejection_time_s: float | None = field(
        Duration("ms", 0, 1800000), "Times the number of ejections so far: how long it is out.", absent="30 s")
    max_ejection_percent: int | None = field(
        Number(most=100, zero_is_absent=True), "Share of the cluster that may be out, but always one endpoint.", absent="10")
    consecutive_gateway_failure: int | None = field(
        Number(most=1024, zero_is_absent=True), "502, 503 and 504 in a row before it is taken out.", absent="5, only counted")


@message
class Http1ProtocolOptions:
    """HTTP/1.1 to the endpoints."""

    header_transformation: HeaderTransformationType | None = field(
        Nested(HeaderTransformationType), "Case of header names in requests.", since="+2023-01")


@message
class Http2ProtocolOptions:
    """HTTP/2 to the endpoints."""

    enabled: bool = field(Flag(), "Speak HTTP/2; without TLS by prior knowledge.")


@message
class UpstreamConnPoolReuseType:
    """Whether clients share upstream connections."""

    enable_conn_pool_reuse: bool = field(Presence(), "They do.", since="+2025-06", group="reuse_choice")
    disable_conn_pool_reuse: bool = field(
        Presence(), "Every client connection has its own.", since="+2025-06", group="reuse_choice")


@message
class ClusterSpec:
    """Endpoints that serve the same thing, and how they are chosen and watched."""

    endpoints: tuple[Ref, ...] = field(refs("endpoint", most=32), "Members.")
    health_checks: tuple[Ref, ...] = field(
        refs("healthcheck", most=4), "Health checks; an endpoint must pass all of them.", absent="judged by connect results")
    loadbalancer_algorithm: LoadbalancerAlgorithm = field(
        Choice(LoadbalancerAlgorithm),
        "How an endpoint is chosen. LB_OVERRIDE: by the route's `hash_policy`, in turn without one.")
    circuit_breaker: CircuitBreaker | None = field(
        Nested(CircuitBreaker), "Limits.", absent=f"{defaults.MAX_PENDING_REQUESTS} waiting requests, nothing else")
    endpoint_subsets: tuple[EndpointSubsetSelectorType, ...] = field(
        ListOf(Nested(EndpointSubsetSelectorType), most=32),
        "Key sets that make subsets. Where there are some, who asks for no labels gets what `fallback_policy` says.")
    default_subset: FrozenMap[str, str] = field(
        MapOf(Text(), Text(), most=32), "Labels for the fallback DEFAULT_SUBSET.")
    fallback_policy: SubsetFallbackPolicy = field(
        Choice(SubsetFallbackPolicy), "What happens when no endpoint carries the labels.")
    tls_parameters: UpstreamTlsParamsType | None = field(
        Nested(UpstreamTlsParamsType), "TLS to the endpoints; presence turns it on.", absent="plain text")
    connection_timeout_s: float | None = field(
        Duration("ms", 0, 600000), "An endpoint must accept a connection in this time.",
        absent=show_seconds(defaults.CONNECT_TIMEOUT_S), example="500ms")
    http_idle_timeout_s: float | None = field(
        Duration("ms", 0, 600000), "A pooled connection without a request is closed after this.",
        absent=show_seconds(defaults.UPSTREAM_IDLE_TIMEOUT_S))
    outlier_detection: OutlierDetectionType | None = field(
        Nested(OutlierDetectionType), "When an endpoint is taken out because of its answers.", absent="never by its answers")
    endpoint_selection: EndpointSelectionPolicy = field(
        Choice(EndpointSelectionPolicy), "Whether endpoints of other sites or zones are used: by their site, their label "
        "`ves.io/siteName` and their zone, held against those of the own site.")
    http1_config: Http1ProtocolOptions | None = field(
        Nested(Http1ProtocolOptions), "HTTP/1.1 to the endpoints.", since="+2023-01", group="http_protocol_type", absent="this")
    http2_options: Http2ProtocolOptions | None = field(
        Nested(Http2ProtocolOptions), "HTTP/2 to the endpoints.", group="http_protocol_type")
    auto_http_config: bool = field(
        Presence(), "The endpoint chooses the version when TLS begins (ALPN); without TLS it is HTTP/1.1.", since="+2023-01",
        group="http_protocol_type")
    no_panic_threshold: bool = field(
        Presence(), "Only healthy endpoints, ever.", since="+2020-11", group="panic_threshold_type", absent="this")
    panic_threshold: int | None = field(
        Number(most=100), "Percent: below this healthy share all endpoints are used.", since="+2020-11",
        group="panic_threshold_type")
    header_transformation_type: HeaderTransformationType | None = field(
        Nested(HeaderTransformationType), "Case of header names in requests.", since="+2022-09†")
    disable_proxy_protocol: bool = field(
        Presence(), "No PROXY header.", since="+2024-06", group="proxy_protocol_type", absent="this")
    proxy_protocol_v1: bool = field(
        Presence(), "Begin connections with a PROXY v1 header.", since="+2024-06",
        group="proxy_protocol_type")
    proxy_protocol_v2: bool = field(
        Presence(), "Begin connections with a PROXY v2 header, with the server name, ALPN and TLS as TLVs.", since="+2024-06",
        group="proxy_protocol_type")
    upstream_conn_pool_reuse_type: UpstreamConnPoolReuseType | None = field(
        Nested(UpstreamConnPoolReuseType), "Whether clients share upstream connections.", since="+2025-06")
    no_request_limit_per_connection: bool = field(
        Presence(), "Any number of requests on a connection.", since="+2026-03", group="max_requests_per_connection_choice",
        absent="this")
    max_requests_per_connection: int | None = field(
        Number(1), "A connection is closed after so many requests.", since="+2026-03",
        group="max_requests_per_connection_choice")
    dns_lookup_family: DnsLookupFamily = field(
        Choice(DnsLookupFamily, {DnsLookupFamily.V4_ONLY: WARNS, DnsLookupFamily.V6_ONLY: WARNS}),
        "Which addresses of a name are used.", since="†", internal=True)
    dns_discovery_type: DnsDiscoveryType = field(
        Choice(DnsDiscoveryType, {DnsDiscoveryType.LOGICAL_DNS: WARNS}),
        "Whether all addresses of a name are members.", since="†", internal=True)
    enable_lb_source_ip_persistance: bool = field(
        Presence(), "Keep a client on its endpoint.", since="†", group="lb_source_ip_persistance_choice", state=WARNS,
        internal=True)
    disable_lb_source_ip_persistance: bool = field(
        Presence(), "Do not.", since="†", group="lb_source_ip_persistance_choice", internal=True)
    voltgw: ClusterExtension | None = field(Nested(ClusterExtension), "What voltgw adds.", since="voltgw")

    @property
    def unshared(self) -> bool:
        """Whether no two client connections share one to an endpoint."""
        reuse = self.upstream_conn_pool_reuse_type
        return reuse is not None and reuse.disable_conn_pool_reuse

    @property
    def _affine(self) -> bool:
        """Whether its scheduler gives every endpoint keys of its own."""
        named = self.voltgw.scheduler if self.voltgw is not None else None
        return named in AFFINE if named else self.loadbalancer_algorithm is LoadbalancerAlgorithm.RING_HASH

    def rules(self) -> Iterable[Rule]:
        """What only makes sense together."""
        extension = self.voltgw
        if (extension is not None and extension.proxy_protocol is not None
                and not self.proxy_protocol_v1 and not self.proxy_protocol_v2):
            yield Rule("voltgw", "VG0105", "`proxy_protocol` refines `proxy_protocol_v1` or "
                       "`proxy_protocol_v2`, which is missing")
        if extension is not None and extension.slow_start is not None and self._affine:
            yield Rule("voltgw", "VG0105", "`slow_start` is for schedulers that keep no affinity: keys would move all the time")
        outlier = extension.outlier if extension is not None else None
        if outlier is None:
            return
        if self.outlier_detection is None:
            yield Rule("voltgw", "VG0105", "`outlier` refines `outlier_detection`, which is missing here")
            return
        base_s = self.outlier_detection.base_ejection_time_s or 30.0
        if outlier.max_ejection_time_s is not None and outlier.max_ejection_time_s < base_s:
            yield Rule("voltgw", "VG0105", f"`max_ejection_time` is shorter than `base_ejection_time`, {show_seconds(base_s)}")
