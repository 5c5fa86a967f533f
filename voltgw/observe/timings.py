"""How long endpoints take for their answers, counted when exchanges are over, beside the traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltgw.values.counters import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltgw.config.metrics import Metrics
    from voltgw.interfaces import Journal
    from voltgw.values.exchange import Exchange


class Timings:
    """An `interfaces.Journal` in front of another one; it counts each answer of an endpoint for that and for its cluster.

    With `each`, every endpoint has a histogram of its own, made when it answers for the first time.
    """

    def __init__(self, journal: Journal) -> None:
        self.each = False
        self._then: Callable[[Exchange], None] = journal.note

    def follow(self, wanted: Metrics | None) -> None:
        """What ``gateway.metrics`` says from now on. Histograms of endpoints that are there stay until these go."""
        self.each = wanted is not None and wanted.endpoint_durations

    def note(self, exchange: Exchange, /) -> None:
        """Count it, and hand it on. Never raises."""
        self._then(exchange)
        sent, over = exchange.t_upstream_first_tx, exchange.t_upstream_last_rx
        if not sent or not over or over < sent or exchange.response is None:
            return
        endpoint = exchange.endpoint
        shared: Histogram | None = getattr(endpoint, "shared_times", None)
        if shared is None:
            return
        shared.observe(over - sent)
        if self.each:
            times: Histogram | None = endpoint.times            # type: ignore[union-attr]  # records see its labels
            if times is None:
                endpoint.times = times = Histogram()            # type: ignore[union-attr]  # likewise
            times.observe(over - sent)
