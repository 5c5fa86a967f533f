"""Metrics of the process beside its counters: how its turns and timers fare, and what became of spans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from voltgw.observe.families import Family, family, histograms

if TYPE_CHECKING:
    from voltgw.values.telemetry import Telemetry


def process_families(said: Telemetry) -> Iterator[Family]:
    """How long turns and collections take, and how late timers are: all say how long whoever asks has to wait for us."""
    yield histograms("voltgw_loop_turn_duration_seconds", [((), [said.turns])])
    yield histograms("voltgw_timer_lateness_seconds", [((), [said.timers])])
    if said.pauses:
        yield histograms("voltgw_gc_pause_seconds", [((str(age),), [pauses]) for age, pauses in enumerate(said.pauses)])
        yield family("voltgw_gc_freed_objects_total", [((), said.freed)])


def trace_families(said: Telemetry) -> Iterator[Family]:
    """What was recorded, and how sending it goes."""
    traces = said.traces
    if traces is None:
        return
    yield family("voltgw_trace_requests_total", [((reason,), count) for reason, count in traces["requests"].items()])
    yield family("voltgw_trace_failures_total", [((), traces["failures"])])
    if "sent" in traces:
        yield family("voltgw_trace_spans_sent_total", [((), traces["sent"])])
        yield family("voltgw_trace_spans_dropped_total", [((reason,), count) for reason, count in traces["dropped"].items()])
        yield family("voltgw_trace_exports_total", [((outcome,), count) for outcome, count in traces["exports"].items()])
        yield family("voltgw_trace_spans_queued", [((), traces["queued"])])
