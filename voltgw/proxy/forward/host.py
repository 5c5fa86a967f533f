"""The virtual host that stands for a forward proxy in tables, records and metrics: any name, one route, no cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltgw.proxy.forward.origins import RETRY
from voltgw.routing.match import EVERYTHING
from voltgw.routing.problems import nowhere
from voltgw.routing.route import Route, Rule, VirtualHost

if TYPE_CHECKING:
    from voltgw.proxy.forward.outside import Outside
    from voltgw.routing.problems import Placer
    from voltgw.values.counters import RouteCounters
    from voltgw.values.exchange import Exchange
    from voltgw.values.reply import Reply

#: What records call it.
PROXY_TYPE = "FORWARD_PROXY"


def forward_host(
    name: str, namespace: str, place: Placer = nowhere, counters: RouteCounters | None = None,
) -> VirtualHost:
    """The virtual host of a connector of that name."""
    host = VirtualHost(name, namespace, ("*",), proxy=PROXY_TYPE)
    host.find_place = place
    host.server_line, host.keep_server = None, True
    route = Route(host, f"{name}/forward", 0, place, counters)
    route.retry = RETRY
    route.upgrades = frozenset((b"websocket",))
    route.request_filters = (_judge,)
    route.response_filters = (_add_via,)
    route.share = _number
    host.install((Rule(route, [(EVERYTHING, route)]),))
    return host


def lead_out(host: VirtualHost, outside: Outside) -> None:
    """Have its route find the destinations of `outside`."""
    for route in host.routes:
        route.split = outside.origins.destination   # type: ignore[assignment]  # None, where it was forgotten, is looked for


def _judge(exchange: Exchange) -> Reply | None | Any:
    client: Any = exchange.client
    return client.gate.judge(exchange)


def _number(exchange: Exchange) -> float:
    """The number of the destination that the gate has found."""
    return float(exchange.hash_key or 0)


def _add_via(exchange: Exchange) -> None:
    response = exchange.response
    if response is not None:
        client: Any = exchange.client
        response.fields.append((b"via", client.gate.via(response.minor)))
