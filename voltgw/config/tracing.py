"""``gateway.tracing``: whose traces requests are part of, which of them are recorded, and where that is sent."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from voltgw.config.compound import ListOf, MapOf
from voltgw.config.contents import Content, SecretContent
from voltgw.config.formats import EDITED_HEADER, URL
from voltgw.config.quantities import Duration
from voltgw.config.schema import Rule, field, message
from voltgw.config.types import Choice, Decimal, Flag, Number, Text
from voltgw.config.units import show_seconds
from voltgw.config.values import FrozenMap, Secret
from voltgw.values import defaults
from voltgw.values.trace import B3, B3_MULTI, W3C

#: Fields of the export's own requests, which no operator sets.
_OURS: Final = frozenset((
    "content-type", "content-length", "content-encoding", "host", "connection", "transfer-encoding", "accept-encoding"))
_CONTROL: Final = frozenset(range(32)) - {9} | {127}


class Callers(Enum):
    """Whose traces go on."""

    CONTINUE = "continue"
    TRUSTED = "trusted"
    RESTART = "restart"


class Unsampled(Enum):
    """Which requests are recorded although the sample does not have them."""

    ERRORS = "errors"
    NOTHING = "nothing"


_FORMAT = Text(one_of=(W3C, B3, B3_MULTI))


@message
class Tracing:
    """Traces: requests of all HTTP virtual hosts take part, unless one says otherwise under ``voltgw.tracing``."""

    endpoint: str | None = field(
        Text(URL, most=1024), "Where spans are sent by OTLP/HTTP, with its path.",
        absent="none is sent: traces are only passed on, and named in the access log",
        example="http://127.0.0.1:4318/v1/traces")
    headers: FrozenMap[str, Secret] = field(
        MapOf(Text(EDITED_HEADER, least=1, most=256), SecretContent(8192), most=16),
        "Fields that go with each request to it, such as a token.", absent="none",
        example="{authorization: env:OTLP_AUTHORIZATION}")
    trusted_ca: bytes | None = field(
        Content(131072, pem=True), "PEM certificates by which its own certificate is judged.", absent="the system's roots")
    uncompressed: bool = field(Flag(), "Do not compress what is sent (gzip).")
    service_name: str | None = field(
        Text(least=1, most=256), "What the gateway is called in traces (``service.name``).", absent="voltgw")
    sample: float | None = field(
        Decimal(0, 1), "Part of the traces that begin here which is recorded, chosen by their ids.",
        absent=f"{defaults.TRACE_SHARE:g}", example="0.1")
    ignore_decision: bool = field(
        Flag(), "What a caller has decided on recording its trace is not followed: `sample` decides for all.")
    unsampled: Unsampled = field(
        Choice(Unsampled, numbers=False), "Whether requests with an error (status 5xx, a response flag, no answer) are "
        "recorded all the same; endpoints do not hear of that.")
    slower_than_s: float | None = field(
        Duration("s", 0), "Requests that took longer are recorded all the same, as those with an error.", absent="no time",
        example="2s")
    max_per_second: int | None = field(
        Number(1, 1_000_000), "Requests of the sample that are recorded in a second (by each worker); of further ones no spans "
        "are made. A tenth as many are recorded that are not in the sample, for an error or for their time.",
        absent=str(defaults.TRACES_PER_S))
    read: tuple[str, ...] = field(
        ListOf(_FORMAT, most=3, unique=True), "Formats in which callers may name their trace, the first that does holds.",
        absent="[w3c, b3, b3_multi]")
    write: tuple[str, ...] = field(
        ListOf(_FORMAT, most=3, unique=True), "Formats in which endpoints are told of it.", absent="[w3c]")
    callers: Callers = field(
        Choice(Callers, numbers=False), "Whose traces go on: every caller's; only those of peers that the virtual host "
        "believes (``trusted_hops``, ``trusted_prefixes``); or nobody's.")
    delay_s: float | None = field(
        Duration("s", 0.1, 60), "Spans wait so long at most until they are sent.",
        absent=show_seconds(defaults.TRACE_DELAY_S))
    timeout_s: float | None = field(
        Duration("s", 0.1, 60), "What is sent must be answered in this time.", absent=show_seconds(defaults.TRACE_TIMEOUT_S))
    max_queue: int | None = field(
        Number(512, 1_000_000), "Spans that may wait to be sent; further ones are dropped, and counted.",
        absent=str(defaults.MAX_TRACE_QUEUE))

    def rules(self) -> Iterable[Rule]:
        """What says how spans are sent needs somewhere to send them."""
        if self.endpoint is None:
            for name in ("headers", "trusted_ca", "delay_s", "timeout_s", "max_queue"):
                if getattr(self, name):
                    yield Rule(name, "VG0106", "without `endpoint` no span is sent")
        if self.trusted_ca is not None and b"-----BEGIN CERTIFICATE-----" not in self.trusted_ca:
            yield Rule("trusted_ca", "VG0110", "no PEM certificate stands in it")
        for name, value in self.headers.items():
            if name.lower() in _OURS:
                yield Rule("headers", "VG0103", f"`{name}` is for the gateway to say")
            if not _CONTROL.isdisjoint(value.data.strip()):
                yield Rule("headers", "VG0110", f"the value of `{name}` is no value of a header")
