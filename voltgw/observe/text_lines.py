"""Access records as lines for reading."""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING

from voltgw.observe.anonymous import network_of
from voltgw.observe.lines import MAX_LINE, USER_AGENT, VERSIONS, Stamps, clip, ended, text_of
from voltgw.observe.redact import redact_path, redact_query
from voltgw.values.address import where

if TYPE_CHECKING:
    from voltgw.values.exchange import EndpointLabels, Exchange, RouteLabels
    from voltgw.values.record import ConnectionRecord


class TextLines:
    """One line for reading, in the order of Envoy's default format; the host and the route stand behind it.

    ``[time] "METHOD path HTTP/1.1" status flags bytes-in bytes-out duration upstream-duration "client" "user agent"
    "request id" "authority" "endpoint" "namespace/host" "route"``: durations in milliseconds, ``-`` for nothing.
    """

    __slots__ = ("_shown", "_stamps")

    def __init__(self, anonymous: bool = False) -> None:
        """With `anonymous`, only the networks of client addresses are written."""
        self._stamps = Stamps()
        self._shown: Callable[[str], str] = network_of if anonymous else str

    def http(self, exchange: Exchange, offset: float, clipped: bool = False) -> str:
        """The line of one finished exchange; `clipped` says that its values were shortened already."""
        request = exchange.request
        path = redact_path(text_of(request.path))
        if request.query is not None:
            path = f"{path}?{redact_query(text_of(request.query))}"
        first = f"{text_of(request.method) or '-'} {path or '-'} {VERSIONS[request.minor]}"
        start = exchange.t_start
        sent, answered = exchange.t_upstream_first_tx, exchange.t_upstream_first_rx
        line = (
            f"[{self._stamps.at(int((start + offset) * 1000))}] "
            f"{quoted(first)} {exchange.response_code} "
            f"{exchange.flag or '-'} {exchange.bytes_in} {exchange.bytes_out} {(ended(exchange) - start) * 1e3:.0f} "
            f"{f'{(answered - sent) * 1e3:.0f}' if sent and answered else '-'} {quoted(self._shown(exchange.client_address))} "
            f"{quoted(text_of(request.get(USER_AGENT) or b'-'))} {quoted(text_of(exchange.request_id))} "
            f"{quoted(text_of(request.authority))} {_who(exchange.endpoint, exchange.route)}\n"
        )
        return line if len(line) < MAX_LINE or clipped else self.http(clip(exchange), offset, True)

    def connection(self, record: ConnectionRecord, offset: float) -> str:
        """The line of one ended connection."""
        start, connected = record.t_start, record.t_upstream_connected
        return (
            f'[{self._stamps.at(int((start + offset) * 1000))}] "- - -" 0 {record.flag or "-"} {record.bytes_in} '
            f"{record.bytes_out} {((record.t_end or start) - start) * 1e3:.0f} "
            f"{f'{(connected - start) * 1e3:.0f}' if connected else '-'} {quoted(self._shown(record.client.peer_address))} "
            f'"-" "-" {quoted(record.client.sni or "-")} {_who(record.endpoint, record.route)}\n'
        )

    def forget(self) -> None:
        """Nothing is kept."""


def _who(endpoint: EndpointLabels | None, route: RouteLabels | None) -> str:
    host = "-"
    if endpoint is not None:
        host = where(endpoint.address, endpoint.port)
    if route is None:
        return f'{quoted(host)} "-" "-"'
    return f"{quoted(host)} {quoted(f'{route.host.namespace}/{route.host.name}')} {quoted(route.name)}"
