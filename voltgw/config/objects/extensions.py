"""What voltgw adds to virtual hosts, rules and their destinations, under ``voltgw:``."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import ClassVar

from voltgw.config.compound import Anything, ListOf, refs
from voltgw.config.formats import HEADER_NAME, OBJECT_NAME, PREFIX
from voltgw.config.objects.conditions import COOKIE_NAME, CookieMatcherType, HeaderMatcherType
from voltgw.config.objects.credentials import AuthenticationType
from voltgw.config.objects.tracing import TracingType
from voltgw.config.quantities import Duration, Size
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Decimal, Flag, Number, Text
from voltgw.config.values import Ref
from voltgw.values.retry import GRPC_CONDITIONS


@message
class FaultDelay:
    """Hold requests back."""

    SINCE: ClassVar = "voltgw"

    percent: float | None = field(Decimal(0, 100), "Share of the requests.", absent="100")
    duration_s: float = field(Duration("ms", 0, 600000), "For how long.", required=True, example="500ms")


@message
class FaultAbort:
    """Answer requests with an error instead of forwarding them."""

    SINCE: ClassVar = "voltgw"

    percent: float | None = field(Decimal(0, 100), "Share of the requests.", absent="100")
    status: int = field(Number(200, 599), "Status of the answer.", required=True, example="503")


@message
class FaultType:
    """Faults on purpose, to see what clients make of them."""

    SINCE: ClassVar = "voltgw"

    disabled: bool = field(Flag(), "On a rule: switch off what the route object or virtual host asked for.")
    delay: FaultDelay | None = field(Nested(FaultDelay), "Hold requests back.")
    abort: FaultAbort | None = field(Nested(FaultAbort), "Answer with an error; after the delay, where both hit.")
    header: HeaderMatcherType | None = field(
        Nested(HeaderMatcherType), "Only requests with this header.", absent="all requests",
        example="{name: x-fault, exact: please}")

    def rules(self) -> Iterable[Rule]:
        """It does something, or says that nothing is done."""
        if not self.disabled and self.delay is None and self.abort is None:
            yield Rule("", "VG0105", "a fault needs `delay` or `abort`")


@message
class FilterUse:
    """One filter of an installed package, or of voltgw's own that has no field."""

    SINCE: ClassVar = "voltgw"

    name: str = field(Text(OBJECT_NAME, least=1, most=256), "The name that the package declares.", required=True)
    options: object = field(Anything(), "What the filter's documentation says.", absent="none")


@message
class StickyType:
    """What tells users apart, so that each keeps their destination while weights move."""

    SINCE: ClassVar = "voltgw"

    cookie: str | None = field(Text(COOKIE_NAME, least=1, most=256), "The value of this cookie.", group="identity")
    header: str | None = field(Text(HEADER_NAME, least=1, most=256), "The value of this header.", group="identity")

    def rules(self) -> Iterable[Rule]:
        """There is something to tell users apart by."""
        if self.cookie is None and self.header is None:
            yield Rule("", "VG0105", "sticky needs `cookie` or `header`")


@message
class SubsetExtension:
    """What voltgw adds to one destination."""

    SINCE: ClassVar = "voltgw"

    subset: str | None = field(
        Text(OBJECT_NAME, least=1, most=64), "The subset of this name among the cluster's ``subset_expressions``.",
        absent="chosen by `endpoint_subsets`", example="version-11")


class Balance(Enum):
    """How an endpoint is picked, where a route says it."""

    CLUSTER = "CLUSTER"
    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_REQUEST = "LEAST_REQUEST"
    RANDOM = "RANDOM"


@message
class DestinationExtension:
    """What voltgw adds to a list of destinations."""

    SINCE: ClassVar = "voltgw"

    sticky: StickyType | None = field(
        Nested(StickyType), "Whoever has been sent to a destination stays there while its weight does not fall.",
        absent="every request is drawn anew", example="{cookie: user}")
    balance: Balance = field(
        Choice(Balance), "How an endpoint is picked for these requests; CLUSTER: by the algorithm of the cluster.")


@message
class RouteExtension:
    """What voltgw adds to a rule, or to all rules of a route object."""

    SINCE: ClassVar = "voltgw"

    segment_prefix: bool = field(
        Flag(), "A path prefix matches whole segments only: ``/api`` takes ``/api`` and ``/api/x``, not ``/apix``.")
    retry_non_idempotent: bool = field(
        Flag(), "Retry ``5xx`` and ``reset`` for methods that are not idempotent (POST), too.")
    retry_grpc: tuple[str, ...] = field(
        ListOf(Text(one_of=tuple(GRPC_CONDITIONS.values())), most=5, unique=True), "Codes of gRPC after which a call is tried "
        "again, where nothing but the code was answered. All calls are POST: to name a code says that a call may be made twice "
        "after it.",
        absent="none", example="[unavailable, resource-exhausted]")
    hedge_on_per_try_timeout: bool = field(
        Flag(), "A try that reaches its ``per_try_timeout`` goes on beside the next one; the first answer wins.")
    max_request_body_bytes: int | None = field(
        Size("B", 1), "Largest request body; beyond it 413. A rule's wins over its route object's, that over the virtual "
        "host's. Of a chunked body the chunks' own lines count.", absent="any size", example="10MiB")
    fault: FaultType | None = field(
        Nested(FaultType), "Faults on purpose; a rule's wins over its route object's, that over the virtual host's.")
    filters: tuple[FilterUse, ...] = field(
        ListOf(Nested(FilterUse), most=16),
        "Filters of installed packages, in order; the virtual host's come first, then the route object's, then the rule's.")
    rate_limiter: tuple[Ref, ...] = field(
        refs("rate_limiter", most=2),
        "These limits hold beside the virtual host's; a rule's take the place of its route object's.")
    no_rate_limit: bool = field(Flag(), "No limit holds, the virtual host's neither.")
    authentication: AuthenticationType | None = field(
        Nested(AuthenticationType), "Which credentials requests need, in place of what the virtual host asks for; a rule's "
        "takes the place of its route object's.")
    tracing: TracingType | None = field(
        Nested(TracingType), "Which requests are recorded in traces; a rule's wins over its route object's, that over the "
        "virtual host's.")


@message
class CompressionExtension:
    """What voltgw adds to the compression of responses."""

    SINCE: ClassVar = "voltgw"

    encodings: tuple[str, ...] = field(
        ListOf(Text(one_of=("gzip", "br", "zstd")), most=3, unique=True),
        "Content codings, best first; ``br`` and ``zstd`` need the extra ``compress``.", absent="gzip",
        example="[zstd, br, gzip]")


@message
class MatchExtension:
    """What voltgw adds to the conditions of a rule."""

    SINCE: ClassVar = "voltgw"

    cookies: tuple[CookieMatcherType, ...] = field(
        ListOf(Nested(CookieMatcherType), most=16, unique=True), "Conditions on cookies; all must hold.")


@message
class HostExtension:
    """What voltgw adds to a virtual host."""

    SINCE: ClassVar = "voltgw"

    retry_non_idempotent: bool = field(
        Flag(), "Retry ``5xx`` and ``reset`` for methods that are not idempotent (POST), too; for all routes.")
    retry_grpc: tuple[str, ...] = field(
        ListOf(Text(one_of=tuple(GRPC_CONDITIONS.values())), most=5, unique=True),
        "Codes of gRPC after which a call is tried again; for all routes.", absent="none", example="[unavailable]")
    hedge_on_per_try_timeout: bool = field(
        Flag(), "A try that reaches its ``per_try_timeout`` goes on beside the next one; for all routes.")
    max_request_body_bytes: int | None = field(
        Size("B", 1), "Largest request body; beyond it 413. For all routes.", absent="any size", example="10MiB")
    via: bool = field(Flag(), "Add Via to requests and responses (many origins stop compressing when they see it).")
    proxy_status: bool = field(Flag(), "Add Proxy-Status (RFC 9209) to responses.")
    trusted_hops: int | None = field(
        Number(most=16), "So many proxies of ours stand before the gateway: the client is the address that the first of them "
        "has seen, by X-Forwarded-For or Forwarded.", absent="none: the client is whoever connects")
    trusted_prefixes: tuple[str, ...] = field(
        ListOf(Text(PREFIX), most=64, unique=True), "Only peers in these prefixes are believed; without trusted_hops the "
        "client is the nearest address that does not stand in them.", absent="any peer, if trusted_hops says so",
        example="[10.0.0.0/8]")
    forwarded: bool = field(Flag(), "Send Forwarded (RFC 7239) to endpoints.")
    allowed_prefixes: tuple[str, ...] = field(
        ListOf(Text(PREFIX), most=256, unique=True), "With `dynamic_reverse_proxy`: destinations that are let through although "
        "they are loopback, private, link-local or the like.", absent="none of these is", example="[10.20.0.0/16]")
    fault: FaultType | None = field(Nested(FaultType), "Faults on purpose; for all routes.")
    blocking_policies: tuple[Ref, ...] = field(
        refs("service_policy", most=8), "These are asked before anything else, for all routes, and only refuse: what none of "
        "them refuses is judged as if they were not there.")
    filters: tuple[FilterUse, ...] = field(
        ListOf(Nested(FilterUse), most=16), "Filters of installed packages, in order; for all routes, before their own.")
    per_packet_load_balancing: bool = field(
        Flag(), "UDP_PROXY: each datagram has its own choice of an endpoint, instead of one for the session. For protocols "
        "whose datagrams stand alone, as those of syslog and statsd.")
    quic_connection_ids: bool = field(
        Flag(), "UDP_PROXY: a QUIC connection keeps its session, and so its endpoint, when its client's address changes.")
    authentication: AuthenticationType | None = field(
        Nested(AuthenticationType), "Which credentials requests need; for all routes that say nothing else.")
    tracing: TracingType | None = field(
        Nested(TracingType), "Which requests are recorded in traces; for all routes that say nothing else.")
    no_access_log: bool = field(Flag(), "Its requests and connections stand in no access log.")
