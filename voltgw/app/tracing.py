"""Tracing as the configuration asks for it: the gate of each virtual host, what becomes spans, and who sends them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from voltgw import __version__
from voltgw.config.tracing import Callers, Unsampled
from voltgw.observe.exporter import Exporter
from voltgw.observe.relayed_spans import spans_of_relayed
from voltgw.observe.spans import SERVER_ERRORS, grpc_code, spans_of
from voltgw.routing.tracing import Terms, Tracing, in_sample
from voltgw.values.defaults import (
    MAX_TRACE_QUEUE,
    TRACE_DELAY_S,
    TRACE_ERRORS_PER_S,
    TRACE_FLUSH_S,
    TRACE_SHARE,
    TRACE_TIMEOUT_S,
    TRACES_PER_S,
)
from voltgw.values.trace import B3, B3_MULTI, W3C
from voltgw.wire.otlp import resource, scope

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from voltgw.app.collector import Collector
    from voltgw.app.deps import Deps
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.config.tracing import Tracing as TracingConfig
    from voltgw.interfaces import Journal
    from voltgw.observe.access import AccessLog
    from voltgw.observe.feed import JournalFeed
    from voltgw.routing.tracing import Bits
    from voltgw.values.counters import Histogram
    from voltgw.values.exchange import Exchange
    from voltgw.values.record import ConnectionRecord

#: Records that wait are looked at for so long (seconds) before other terms hold, and when the gateway stops; there are more
#: of them only when the access log has fallen far behind.
_RELOAD_S: Final = 0.015
_STOP_S: Final = 0.5


def tracing_of(config: Config, host: Object[VirtualHostSpec], bits: Bits) -> Tracing | None:
    """The gate that has the requests of a virtual host take part in traces; None: it takes none."""
    wanted = config.gateway.tracing
    if wanted is None or not host.spec.proxy.http:
        return None
    terms = Terms(
        wanted.read or (W3C, B3, B3_MULTI), wanted.write or (W3C,), TRACE_SHARE if wanted.sample is None else wanted.sample,
        wanted.callers is Callers.TRUSTED, wanted.callers is Callers.RESTART, wanted.ignore_decision)
    return Tracing(terms, bits, host.spec.voltgw.tracing if host.spec.voltgw is not None else None)


def share_of_relayed(config: Config, host: Object[VirtualHostSpec]) -> float | None:
    """The part of a host's connections or sessions that is recorded, which are traces of their own; None: none may be."""
    wanted = config.gateway.tracing
    if wanted is None or host.spec.proxy.http:
        return None
    said = host.spec.voltgw.tracing if host.spec.voltgw is not None else None
    if said is not None and said.disabled:
        return None
    share = said.sample if said is not None and said.sample is not None else wanted.sample
    return TRACE_SHARE if share is None else share


class Tracer:
    """Makes spans of the exchanges that shall be recorded, and has them sent. An `interfaces.Journal` in front of another one.

    `note` is the other one's while nothing is recorded. `relayed` takes connections that were relayed, None = nobody wants
    them. Counters: `requests` recorded, by reason (``sampled``, ``error``, ``slow``), or not, because there were too many
    (``skipped``), and `failures`, each of them a bug.
    """

    _log = Logger()

    def __init__(self, deps: Deps, journal: Journal) -> None:
        self.note: Callable[[Exchange], None] = journal.note
        self.relayed: Callable[[ConnectionRecord], None] | None = None
        self.requests = {"sampled": 0, "error": 0, "slow": 0, "skipped": 0}
        self.failures = 0
        self.exporter: Exporter | None = None
        self._deps = deps
        self._then = journal.note
        self._clock: IReactorTime | None = None
        self._waiting: Callable[[], AccessLog | JournalFeed] | None = None
        self._config: TracingConfig | None = None
        self._collector: Collector | None = None
        self._name = ("", "")
        self._errors = False
        self._most = {True: TRACES_PER_S, False: TRACE_ERRORS_PER_S}    # in a second, of the sample and beside it
        self._left = self._most
        self._second = -1
        self._slow_s = 0.0

    def start(self, clock: IReactorTime, config: Config, waiting: Callable[[], AccessLog | JournalFeed]) -> None:
        """Do what `config` says from now on; `clock` is the loop's, `waiting` gives what hands exchanges over."""
        self._clock = clock
        self._waiting = waiting
        self.follow(config)

    def follow(self, config: Config) -> None:
        """The same after a reload. What waits to be sent to another collector is sent there still."""
        wanted, name = config.gateway.tracing, (config.gateway.site_name, __version__)
        if wanted == self._config and name == self._name:
            return
        self._catch_up(_RELOAD_S)
        self._config, self._name = wanted, name
        before, self.exporter = self.exporter, None
        if before is not None:
            before.stop().addCallback(self._closer())
        self.note, self.relayed = self._then, None
        if wanted is None:
            return
        self._errors = wanted.unsampled is Unsampled.ERRORS
        self._slow_s = wanted.slower_than_s or 0.0
        most = wanted.max_per_second or TRACES_PER_S
        self._most = {True: most, False: -(-most // 10)}
        self.note, self.relayed = self._both, self._relayed
        if wanted.endpoint is not None:
            self.exporter = self._exporter(wanted)

    def _exporter(self, wanted: TracingConfig) -> Exporter:
        assert self._clock is not None and wanted.endpoint is not None
        self._collector = post = import_module("voltgw.app.collector").Collector(
            self._deps.reactor, wanted.endpoint, {name: value.data for name, value in wanted.headers.items()},
            wanted.trusted_ca)
        described = resource({
            "service.name": wanted.service_name or "voltgw", "service.version": __version__, "service.namespace": self._name[0],
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}", "host.name": socket.gethostname(),
            "process.pid": os.getpid(), "telemetry.sdk.name": "voltgw",
            "telemetry.sdk.language": "python", "telemetry.sdk.version": __version__})
        return Exporter(
            post, described, scope("voltgw", __version__), self._clock, self._deps.wall, self._deps.random.random,
            compress=not wanted.uncompressed, delay_s=wanted.delay_s or TRACE_DELAY_S,
            timeout_s=wanted.timeout_s or TRACE_TIMEOUT_S, most=wanted.max_queue or MAX_TRACE_QUEUE)

    # -- exchanges ---------------------------------------------------------------------------------------------------------

    def _both(self, exchange: Exchange) -> None:
        self._then(exchange)
        trace = exchange.trace
        if trace is None:
            return
        if trace.sampled:
            why = "sampled"
        elif self._errors and (exchange.flag or exchange.response_code >= 500 or not exchange.response_code
                               or grpc_code(exchange) in SERVER_ERRORS):
            why = "error"
        elif self._slow_s and exchange.t_downstream_last - exchange.t_start > self._slow_s:
            why = "slow"
        else:
            return
        if not self._may(why == "sampled"):
            return
        self.requests[why] += 1
        try:
            offset = self._deps.wall() - self._deps.monotonic()     # anew each time: the wall clock may be set
            _exemplify(exchange, offset)
            if self.exporter is not None:
                self.exporter.offer(spans_of(exchange, offset))
        except Exception:                   # a trace less harms nobody, an exception here would cost a batch of log lines
            if not self.failures:
                self._log.failure("a request could not be traced; others will only be counted")
            self.failures += 1

    def _may(self, sampled: bool) -> bool:
        """Whether one more may be recorded in this second."""
        second = int(self._deps.monotonic())
        if second != self._second:
            self._second, self._left = second, dict(self._most)
        if not self._left[sampled]:
            self.requests["skipped"] += 1
            return False
        self._left[sampled] -= 1
        return True

    def _relayed(self, record: ConnectionRecord) -> None:
        """A connection or session has no caller's trace: it is one of its own."""
        route = record.route
        share: float | None = None if route is None else getattr(route.host, "trace_share", None)
        if share is None:
            return
        bits = self._deps.random.getrandbits
        trace_id = b"%032x" % bits(128)
        sampled = in_sample(trace_id, share)
        if not sampled and not (self._errors and record.flag):
            return
        if self.exporter is None or not self._may(sampled):
            return
        self.requests["sampled" if sampled else "error"] += 1
        try:
            offset = self._deps.wall() - self._deps.monotonic()
            octets = bytes.fromhex(trace_id.decode("ascii"))
            self.exporter.offer(spans_of_relayed(record, octets, bits(63) + 1, sampled, offset))
        except Exception:                   # as for a request
            if not self.failures:
                self._log.failure("a connection could not be traced; others will only be counted")
            self.failures += 1

    def _catch_up(self, limit_s: float) -> None:
        """Make spans of what has ended by now, as it was decided for them, as long as there is time."""
        if self.exporter is not None and self._waiting is not None:
            waiting, until = self._waiting(), self._deps.monotonic() + limit_s
            while len(waiting.pending) and self._deps.monotonic() < until:
                waiting.relieve()

    def stop(self, at_once: bool) -> Deferred[None]:
        """Make spans of the records that wait, and send them, within bounds; `at_once`: nobody is waited for."""
        exporter = self.exporter
        if exporter is None:
            return succeed(None)
        self._catch_up(0.0 if at_once else _STOP_S)
        return exporter.stop(0.0 if at_once else TRACE_FLUSH_S).addCallback(self._closer())

    def _closer(self) -> Callable[[None], Deferred[None]]:
        """What closes the present connection to the collector."""
        collector = self._collector
        return lambda _: succeed(None) if collector is None else collector.close()

    def numbers(self) -> dict[str, Any] | None:
        """For the metrics and the admin page; None = no traces."""
        if self._config is None:
            return None
        found: dict[str, Any] = {"requests": dict(self.requests), "failures": self.failures}
        return found if self.exporter is None else {**found, **self.exporter.numbers()}


def _exemplify(exchange: Exchange, offset: float) -> None:
    """Have the histograms in which the exchange was counted name its trace."""
    over = exchange.t_downstream_last
    trace_id = exchange.trace.trace_id.decode("ascii")
    if exchange.route is not None and over:
        exchange.route.counters.latency.exemplify(over - exchange.t_start, trace_id, over + offset)
    sent, answered = exchange.t_upstream_first_tx, exchange.t_upstream_last_rx
    shared: Histogram | None = getattr(exchange.endpoint, "shared_times", None)
    if shared is not None and exchange.response is not None and sent and answered >= sent:
        shared.exemplify(answered - sent, trace_id, answered + offset)
