"""What voltgw adds to a cluster, under ``voltgw:``."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import Anything, MapOf
from voltgw.config.formats import OBJECT_NAME
from voltgw.config.labels import SELECTOR
from voltgw.config.quantities import Duration, Size
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Number, Text
from voltgw.config.values import FrozenMap


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


@message
class ClusterExtension:
    """What voltgw adds to a cluster."""

    SINCE: ClassVar = "voltgw"

    scheduler: str | None = field(
        Text(least=1, most=256), "How an endpoint is chosen, by name: by one that no `loadbalancer_algorithm` stands for "
        "(``maglev``, ``rendezvous``), or one of an installed package.", absent="by `loadbalancer_algorithm`",
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
