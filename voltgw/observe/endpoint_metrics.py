"""Metrics of endpoints, as many as may have time series of their own; the rest of each cluster is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from voltgw.observe.families import OTHER, Family, Row, Times, family, histograms
from voltgw.values.counters import CLASSES

#: Endpoints that are looked at in one piece, which is less than 1 ms.
LOOKED_AT: Final = 500

#: Metric, and what it says of an endpoint; None = nothing.
_SAID: Final[tuple[tuple[str, Callable[[Any], float | None]], ...]] = (
    ("voltgw_endpoint_ready", lambda each: each.ready),
    ("voltgw_endpoint_healthy", lambda each: None if each.health == "unknown" else each.health == "healthy"),
    ("voltgw_endpoint_ejected", lambda each: None if each.watch is None else each.watch.ejected),
    ("voltgw_endpoint_requests_total", lambda each: each.requests),
    ("voltgw_endpoint_connect_failures_total", lambda each: each.connect_failures),
    ("voltgw_endpoint_active_requests", lambda each: each.active),
    ("voltgw_endpoint_open_connections", lambda each: each.connections),
    ("voltgw_endpoint_idle_connections", lambda each: len(each.pool)),
)


def endpoint_families(clusters: Sequence[Any], most: int) -> Iterator[Family]:
    """The families of all endpoints; the first `most` of them have samples of their own."""
    for name, said in _SAID:
        yield family(name, _rows(clusters, most, said))
    yield family("voltgw_endpoint_responses_total", _responses(clusters, most))
    yield histograms("voltgw_endpoint_request_duration_seconds", _times(clusters, most))


def _rows(clusters: Sequence[Any], most: int, said: Callable[[Any], float | None]) -> Iterator[Row | None]:
    for shown in _shown(clusters, most):
        if shown is None:
            yield None
            continue
        key, endpoints = shown
        values = [value for each in endpoints if (value := said(each)) is not None]
        if values:
            yield key, sum(values)


def _responses(clusters: Sequence[Any], most: int) -> Iterator[Row | None]:
    for shown in _shown(clusters, most):
        if shown is None:
            yield None
            continue
        key, endpoints = shown
        if any(each.requests for each in endpoints):
            for index, name in enumerate(CLASSES):
                yield (*key, name), sum(each.status[index] for each in endpoints)


def _times(clusters: Sequence[Any], most: int) -> Iterator[Times | None]:
    for shown in _shown(clusters, most):
        if shown is None:
            yield None
            continue
        key, endpoints = shown
        times = [each.times for each in endpoints if each.times is not None]
        if times:
            yield key, times


def _shown(clusters: Sequence[Any], most: int) -> Iterator[tuple[tuple[str, str], Sequence[Any]] | None]:
    """Endpoints with their labels; made anew for each family, since ten thousand at once would be a long turn. None = a
    pause: whoever looks at them may find nothing to say.
    """
    left = most
    seen = 0
    for cluster in clusters:
        seen += len(cluster.endpoints)
        if seen >= LOOKED_AT:
            seen = 0
            yield None
        for endpoint in cluster.endpoints[:left]:
            key = endpoint.key
            label = str(key)
            if key.protocol != "TCP":
                label += f"/{key.protocol.lower()}"
            if key.site:
                label += f"@{key.site}"
            yield (cluster.name, label), (endpoint,)
        rest = cluster.endpoints[left:]
        if rest:
            yield (cluster.name, OTHER), rest
        left = max(left - len(cluster.endpoints), 0)
