"""The plots of docs/performance.rst, from the results of one run: which figure of which comparison stands in which panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from charts import Bars, Lines, bars, lines

#: Result without the suffix of its features, title of its panel, unit.
PATHS: Final = (
    ("http_keepalive", "HTTP/1.1, kept", "us per request"), ("http_newconn", "HTTP/1.1, new connections", "us per request"),
    ("http_keepalive_64k", "HTTP/1.1, 64 KiB", "us per request"), ("https_keepalive", "HTTPS, kept", "us per request"),
    ("http2_tls", "HTTP/2 over TLS", "us per request"), ("tls_handshake", "TLS handshakes", "us per connection"),
    ("tcp_echo", "TCP, round trips", "us per round trip"), ("tcp_newconn", "TCP, new connections", "us per connection"),
    ("sni", "TLS by server name", "us per connection"), ("udp", "UDP, round trips", "us per round trip"),
    ("websocket", "WebSocket", "us per message and echo"), ("dns", "DNS", "us per answer"),
    ("http_bulk", "HTTP/1.1, 10 MiB", "s per GB"), ("tls_bulk", "HTTPS, 10 MiB", "s per GB"),
    ("tcp_bulk", "TCP, bulk", "s per GB"),
)
#: Result, title of its panel, what is on its axis.
GROWTH: Final = (("growth_routes", "by routes", "routes"), ("growth_endpoints", "by endpoints", "endpoints"),
                 ("growth_connections", "by connections", "connections of clients"))


class Plot(NamedTuple):
    """A file of the docs, what it shows in words, and its text."""

    file: str
    caption: str
    svg: str


def plots(results: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """Those for which the results have something."""
    by_name = {result["comparison"]: result for result in results}
    made = [_paths(by_name), _load(by_name), _growth(by_name)]
    return [plot for plot in made if plot is not None]


def write(made: Sequence[Plot], folder: Path) -> None:
    """The files."""
    for plot in made:
        (folder / plot.file).write_text(plot.svg, encoding="utf-8")


def _paths(by_name: Mapping[str, Mapping[str, Any]]) -> Plot | None:
    panels = []
    for name, title, unit in PATHS:
        result = by_name.get(f"{name}_full") or by_name.get(name)
        if result is not None:
            panels.append(Bars(title, unit, {
                row["proxy"]: row["figures"][result["main"]]["median"] for row in result["summary"]
                if result["main"] in row["figures"]}))
    return Plot("performance-cpu.svg", "CPU time of the proxy for each path, everything on", bars(panels)) if panels else None


def _load(by_name: Mapping[str, Mapping[str, Any]]) -> Plot | None:
    result = by_name.get("open_loop_full") or by_name.get("open_loop")
    if result is None:
        return None
    panels = [Lines(title, "load, % of each proxy's own capacity", "ms", _series(result, figure, 1e-3), log_y=True)
              for figure, title in (("p50_us", "median"), ("p99_us", "99th percentile"))]
    return Plot("performance-latency.svg", "latency of requests that come at a steady rate, against load", lines(panels))


def _growth(by_name: Mapping[str, Mapping[str, Any]]) -> Plot | None:
    panels = [Lines(title, label, "CPU us per request", _series(by_name[name], "cpu_us", 1.0), log_x=True)
              for name, title, label in GROWTH if name in by_name]
    return Plot("performance-growth.svg", "CPU time for a request against the number of routes, endpoints and connections",
                lines(panels)) if panels else None


def _series(result: Mapping[str, Any], figure: str, scale: float) -> dict[str, list[tuple[float, float]]]:
    """By proxy: the number at the beginning of each case, and the median of a figure."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in result["summary"]:
        if row["proxy"] != "direct" and figure in row["figures"]:
            point = (float(row["case"].split()[0].replace(",", "")), row["figures"][figure]["median"] * scale)
            series.setdefault(row["proxy"], []).append(point)
    return {name: sorted(points) for name, points in series.items()}
