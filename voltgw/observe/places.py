"""Where this gateway can be asked: the addresses of the admin interface and the monitor, for people and for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, NamedTuple


class Served(NamedTuple):
    """One address: `site` is ``admin`` or ``monitor``; a Unix socket has a `path` and neither host nor port."""

    site: str
    scheme: str
    host: str
    port: int
    path: str = ""


def addresses(served: Iterable[Served]) -> list[dict[str, Any]]:
    """Every address with what is served there, JSON-ready."""
    return [{
        "site": each.site, **({"unix": each.path} if each.path else {"url": _url(each)}),
        "pages": "/ready /live /metrics /sd" if each.site == "monitor" else "all"} for each in served]


def targets(served: Iterable[Served], here: str) -> list[dict[str, Any]]:
    """What Prometheus scrapes, as its ``http_sd_configs`` want it: the monitor, or without one the admin interface.

    `here` is the address that the question came to; it is named where every address of this host is listened on. Prometheus
    cannot ask a Unix socket.
    """
    found = [each for each in served if not each.path]
    chosen = [each for each in found if each.site == "monitor"] or found
    return [{
        "targets": [_authority(here if here and ip_address(each.host).is_unspecified else each.host, each.port)],
        "labels": {"__scheme__": each.scheme, "__metrics_path__": "/metrics", "site": each.site}} for each in chosen]


def _url(served: Served) -> str:
    return f"{served.scheme}://{_authority(served.host, served.port)}/"


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
