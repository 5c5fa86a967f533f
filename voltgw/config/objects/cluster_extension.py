"""What voltgw adds to a cluster, under ``voltgw:``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import ClassVar, Final

from voltgw.config.compound import Anything, ListOf, MapOf
from voltgw.config.formats import OBJECT_NAME, Format
from voltgw.config.labels import SELECTOR
from voltgw.config.objects.cluster_outlier import OutlierExtension
from voltgw.config.objects.conditions import COOKIE_NAME
from voltgw.config.objects.secrets import SecretType
from voltgw.config.quantities import Duration, Size
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Decimal, Flag, Number, Text
from voltgw.config.values import FrozenMap
from voltgw.values.proxyheader import TLV_NAMES


@message
class ClusterTcp:
    """TCP towards endpoints; what is absent is the host's own setting. A reload changes it for new connections."""

    SINCE: ClassVar = "voltgw"

    congestion_control: str | None = field(
        Text(least=1, most=15), "Algorithm, of those that the host has loaded.", since="voltgw", example="bbr")
    send_buffer_bytes: int | None = field(Size("B", 4096, 1 << 30), "What may wait to be acknowledged.", since="voltgw")
    receive_buffer_bytes: int | None = field(Size("B", 4096, 1 << 30), "What may wait to be read.", since="voltgw")
    user_timeout_s: float | None = field(
        Duration("s", 1, 3600), "Longest time that sent bytes may stay unacknowledged.", since="voltgw")
    keep_alive_s: float | None = field(
        Duration("s", 1, 32767), "Silence after which the peer is asked for a sign of life.", since="voltgw")


def _tlv_type(text: str) -> str:
    if re.fullmatch(_TLV_TYPE, text) is None:
        raise ValueError(f"{text!r} is no type of a TLV: ALL, NONE, {', '.join(TLV_NAMES)} or a number such as 0xea")
    return text


_TLV_TYPE: Final = f"ALL|NONE|{'|'.join(TLV_NAMES)}|0x[0-9a-f]{{2}}"
#: What a TLV is called, or its number.
TLV_TYPE: Final = Format("type of a TLV", _tlv_type, f"^({_TLV_TYPE})$")


@message
class ClusterProxyProtocol:
    """Details of the PROXY header towards endpoints (`proxy_protocol_v2`)."""

    SINCE: ClassVar = "voltgw"

    tell: tuple[str, ...] = field(
        ListOf(Text(TLV_TYPE), most=8), "What we know of the client ourselves: ``ALPN``, ``AUTHORITY`` (the server name) and "
        "``SSL`` (version, cipher, whether a certificate was verified), or ``NONE``.", absent="all three",
        example="[AUTHORITY, SSL]")
    pass_on: tuple[str, ...] = field(
        ListOf(Text(TLV_TYPE), most=64), "TLVs that are passed on as the proxy before us has sent them: names, numbers "
        "(``0xea``), ``ALL`` or ``NONE``. What we tell ourselves takes their place.", absent="ALL",
        example="[UNIQUE_ID, \"0xea\"]")
    first_datagram_only: bool = field(
        Flag(), "UDP: only the first datagram of a session begins with a header. Otherwise each one does, which DNS "
        "servers want.")


@message
class ClusterSlowStart:
    """An endpoint that comes, or comes back, gets its share bit by bit."""

    SINCE: ClassVar = "voltgw"

    window_s: float = field(
        Duration("s", 0.1, 86400), "After this it has its whole share.", required=True, example="60s")
    aggression: float | None = field(
        Decimal(0.01, 100), "Above 1 its share grows faster in the beginning, below 1 in the end.", absent="1, evenly")
    min_weight_percent: float | None = field(Decimal(0.1, 100), "Percent of its share that it begins with.", absent="10")


@message
class ClusterRetryBudget:
    """How many retries may be under way where the circuit breaker says no number."""

    SINCE: ClassVar = "voltgw"

    percent: float | None = field(Decimal(0, 100), "Of what is under way; 0 leaves only `least`.", absent="20")
    least: int | None = field(Number(0, 32768), "So many in any case.", absent="3")


class AffinityKind(Enum):
    """How clients are pinned to endpoints."""

    NONE = "none"
    ENDPOINT_COOKIE = "endpoint_cookie"


@message
class ClusterAffinityCookie:
    """The cookie of ``affinity: endpoint_cookie``."""

    SINCE: ClassVar = "voltgw"

    name: str | None = field(Text(COOKIE_NAME, least=1, most=256), "Its name.", absent="voltgw-endpoint")
    key: SecretType | None = field(
        Nested(SecretType), "What it is signed with, at most 64 bytes: the same at all gateways that share clients.",
        absent="one that is made when the process starts: after a restart clients are given endpoints anew")
    max_age_s: float | None = field(
        Duration("s", 1, 315360000), "How long clients keep it.", absent="until the browser is closed")
    secure: bool = field(Flag(), "Only over TLS.")


@message
class ClusterConcurrency:
    """The limit of requests under way follows the time that answers take (Netflix's gradient2)."""

    SINCE: ClassVar = "voltgw"

    min_limit: int | None = field(Number(1, 32768), "It is never lower.", absent="20")
    max_limit: int | None = field(Number(1, 32768), "It is never higher.", absent="200")
    initial_limit: int | None = field(Number(1, 32768), "Where it begins.", absent="`min_limit`")
    tolerance: float | None = field(
        Decimal(1, 10), "Answers may take so many times as long as in the long run before it shrinks.", absent="1.5")

    def rules(self) -> Iterable[Rule]:
        """The least is not above the most."""
        if (self.min_limit or 20) > (self.max_limit or max(200, self.min_limit or 20)):
            yield Rule("", "VG0105", "`min_limit` is higher than `max_limit`")


@message
class ClusterExtension:
    """What voltgw adds to a cluster."""

    SINCE: ClassVar = "voltgw"

    scheduler: str | None = field(
        Text(least=1, most=256), "How an endpoint is chosen, by name: by one that no `loadbalancer_algorithm` stands for "
        "(``maglev``, ``rendezvous``, ``peak_ewma``), or one of an installed package.", absent="by `loadbalancer_algorithm`",
        example="maglev")
    scheduler_options: object = field(
        Anything(), "What the documentation of the scheduler says.", absent="none", example="{bounded_load: 150}")
    subset_expressions: FrozenMap[str, str] = field(
        MapOf(Text(OBJECT_NAME, least=1, most=64), Text(SELECTOR, least=1, most=4096), most=32),
        "Subsets by name: a label expression says whose endpoints they are. Destinations ask for one by "
        "``voltgw: {subset: NAME}``.", example='{version-10: "version in (10)"}')
    tcp: ClusterTcp | None = field(
        Nested(ClusterTcp), "TCP options towards the endpoints. Fast open is not among them: it would hide a refused "
        "connection until bytes are lost with it.", since="voltgw")
    pre_open: int | None = field(
        Number(1, 64), "Connections that stand ready at each endpoint before a client comes, for TCP_PROXY; a used one is "
        "replaced.", since="voltgw", absent="none")
    proxy_protocol: ClusterProxyProtocol | None = field(
        Nested(ClusterProxyProtocol), "Details of the PROXY header that `proxy_protocol_v1` or `proxy_protocol_v2` asks for.",
        absent="everything is told and passed on", example="{pass_on: [UNIQUE_ID]}")
    outlier: OutlierExtension | None = field(
        Nested(OutlierExtension), "Finer rules of `outlier_detection`, which must be there.", absent="Envoy's defaults",
        example="{success_rate_minimum_hosts: 3}")
    slow_start: ClusterSlowStart | None = field(
        Nested(ClusterSlowStart), "An endpoint that comes, or comes back, gets its share bit by bit; with schedulers that keep "
        "no affinity.", absent="its whole share at once", example="{window: 60s}")
    weight_label: str | None = field(
        Text(least=1, most=253), "A label of endpoints whose value is their weight (0 to 65535), before what `voltgw: "
        "{weight: N}` says; a value that is no such number is refused with an event, and does not count.", absent="none",
        example="weight")
    overprovisioning_percent: int | None = field(
        Number(100, 10000), "A priority takes all traffic while its healthy share times this reaches 100 %; what is missing "
        "spills to the next one.", absent="140")
    locality_weights: FrozenMap[str, int] = field(
        MapOf(Text(least=1, most=253), Number(0, 65535), most=64),
        "Weights of zones inside a priority, times what each can take; a zone that is not named has 1.",
        absent="zones are not told apart", example="{zone-a: 3, zone-b: 1}")
    adaptive_concurrency: ClusterConcurrency | None = field(
        Nested(ClusterConcurrency), "The limit of requests under way follows the time that answers take; over it requests are "
        "answered 503. `max_requests` of the circuit breaker bounds it. For routes of DEFAULT priority.",
        absent="the circuit breaker's limit stands", example="{}")
    affinity: AffinityKind = field(
        Choice(AffinityKind), "Pin clients to the endpoint that they were given first, by a signed cookie; another one is "
        "given when that is not ready. For HTTP.", example="endpoint_cookie")
    affinity_cookie: ClusterAffinityCookie | None = field(
        Nested(ClusterAffinityCookie), "That cookie.", absent="a session cookie", example="{name: node, max_age: 1h}")
    max_connection_age_s: float | None = field(
        Duration("s", 1, 31536000), "A pooled connection that is older serves nothing new.",
        absent="it may become as old as it likes",
        example="10m")
    retry_budget: ClusterRetryBudget | None = field(
        Nested(ClusterRetryBudget), "How many retries may be under way; `retries` of the circuit breaker goes before it.",
        absent="20 %, at least 3", example="{percent: 10}")

    def rules(self) -> Iterable[Rule]:
        """What only makes sense together."""
        if self.affinity_cookie is not None and self.affinity is AffinityKind.NONE:
            yield Rule("affinity_cookie", "VG0105", "it refines `affinity`, which is missing here")
