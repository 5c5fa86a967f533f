"""Spans of a request that is over, made of what its record says (`voltgw.values.exchange`, `voltgw.values.trace`).

One span of kind SERVER for the request as the client saw it, one of kind CLIENT for each try at an endpoint, and below these
what a try or a request had to wait for: a connection, its TLS handshake, the look-up of a name. Names and attributes are those
of OpenTelemetry's semantic conventions for HTTP (stable since 1.23); what those do not have begins with ``voltgw.``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voltgw.observe.lines import ended, text_of
from voltgw.observe.redact import redact_path, redact_query
from voltgw.wire.otlp import CLIENT, INTERNAL, SERVER, Value, event, span

if TYPE_CHECKING:
    from voltgw.values.exchange import EndpointLabels, Exchange
    from voltgw.values.trace import Trace, Try

#: Methods that conventions know; others are ``_OTHER``, so that nobody makes names of spans up.
_METHODS: Final = frozenset((b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT", b"TRACE", b"QUERY"))
_OTHER: Final = "_OTHER"
#: By `RequestHead.minor`.
_VERSIONS: Final = ("1.0", "1.1", "2")
#: A handshake is shown with the first recorded request of its connection, if that came so soon (seconds) after it.
_SOON_S: Final = 5.0
#: Spans below the tries have numbers from here on, above those of all tries.
_BELOW: Final = 1 << 12


#: Codes of gRPC that are an error of a server (semantic conventions for gRPC): UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED,
#: INTERNAL, UNAVAILABLE, DATA_LOSS. All but OK are one of a client.
SERVER_ERRORS: Final = frozenset((2, 4, 12, 13, 14, 15))


def grpc_code(exchange: Exchange) -> int:
    """With which code a call of gRPC ended; 0 = well, or it was none, or said nothing that is a code."""
    said = exchange.grpc_status
    return int(said) if said.isdigit() and len(said) < 4 else 0


def _grpc(exchange: Exchange, values: dict[str, Value]) -> int:
    """The code, which goes into `values` where it was a call."""
    code = grpc_code(exchange)
    if exchange.grpc_status:
        values["rpc.system"], values["rpc.grpc.status_code"] = "grpc", code
    return code


def spans_of(exchange: Exchange, offset: float) -> list[bytes]:
    """The spans of an exchange that is over and has a trace; `offset` is wall clock minus monotonic clock, in seconds."""
    return _Spans(exchange, exchange.trace, offset).all()


class _Spans:
    """Those of one exchange."""

    def __init__(self, exchange: Exchange, trace: Trace, offset: float) -> None:
        self.exchange = exchange
        self.trace = trace
        self.offset = offset
        self.offset_ns = int(offset * 1e9)  # apart from the moment: a float has no room for both
        self.trace_id = bytes.fromhex(trace.trace_id.decode("ascii"))
        self.flags = 1 if trace.sampled else 0
        self.over = ended(exchange)
        self.below = _BELOW
        method = exchange.request.method
        self.method = method.decode("ascii") if method in _METHODS else _OTHER
        self.made: list[bytes] = []

    def all(self) -> list[bytes]:
        """The request's own span first."""
        self.server()
        trace, exchange = self.trace, self.exchange
        for name, began, over in trace.looked_up or ():
            self.inner(trace.base, "DNS lookup", began, over, {"dns.question.name": name})
        tries = trace.tries
        if tries is not None:
            reason = ""
            for number, one in enumerate(tries, 1):
                until = tries[number].began if number < len(tries) else self.over
                self.one_of_several(number, one, reason, until)
                reason = one.outcome
        elif exchange.endpoint is not None and exchange.attempts:
            first = trace.connected[0][0] if trace.connected else 0.0
            began = min(filter(None, (first, exchange.t_upstream_first_tx)), default=exchange.t_start)
            error = None if exchange.response is not None else exchange.flag or exchange.detail or "cancelled"
            self.client(1, exchange.endpoint, began, exchange.t_upstream_last_rx or self.over, self.over, error, {})
        return self.made

    # -- the request -------------------------------------------------------------------------------------------------------

    def server(self) -> None:
        exchange, trace, head = self.exchange, self.trace, self.exchange.request
        client, route = exchange.client, exchange.route
        values: dict[str, Value] = {"http.request.method": self.method}
        if self.method == _OTHER:
            values["http.request.method_original"] = text_of(head.method)
        values["url.scheme"] = text_of(exchange.scheme)
        values["url.path"] = redact_path(text_of(head.path))
        if head.query is not None:
            values["url.query"] = redact_query(text_of(head.query))
        values["server.address"] = text_of(head.host)
        if head.port is not None:
            values["server.port"] = head.port
        values["network.protocol.version"] = _VERSIONS[head.minor]
        values["client.address"] = exchange.client_address
        values["network.peer.address"] = client.peer_address
        values["network.peer.port"] = client.peer_port
        agent = head.get(b"user-agent")
        if agent is not None:
            values["user_agent.original"] = text_of(agent)
        if client.tls_version:
            values["tls.protocol.version"] = client.tls_version.removeprefix("TLSv")
            values["tls.cipher"] = client.tls_cipher
        if route is not None:
            values["voltgw.virtual_host"] = f"{route.host.namespace}/{route.host.name}"
            values["voltgw.route"] = route.name
        values["voltgw.listener"] = client.listener
        values["voltgw.request_id"] = text_of(exchange.request_id)
        error = self.outcome(values)
        values["http.request.size"] = exchange.bytes_in
        values["http.response.size"] = exchange.bytes_out
        if exchange.attempts:
            values["voltgw.attempts"] = exchange.attempts
        if exchange.policy:
            values["voltgw.policy"] = exchange.policy
        if exchange.rollout:
            values["voltgw.rollout"] = exchange.rollout
        if exchange.limit:
            values["voltgw.rate_limit"] = exchange.limit
        name = "HTTP" if self.method == _OTHER else self.method
        if route is not None:
            name = f"{name} {route.name}"
        parent = bytes.fromhex(trace.parent_id.decode("ascii"))
        self.made.append(span(
            self.trace_id, trace.base.to_bytes(8, "big"), parent, name, SERVER, self.at(exchange.t_start), self.at(self.over),
            values, state=trace.state, error=error, events=self.events(), trace_flags=self.flags, remote=bool(parent)))
        self.handshake()

    def outcome(self, values: dict[str, Value]) -> str | None:
        """What the client was answered goes into `values`; the words of an error, None = there was none."""
        exchange = self.exchange
        status = exchange.response_code
        if status:
            values["http.response.status_code"] = status
        if exchange.flag:
            values["voltgw.response_flags"] = exchange.flag
        if exchange.detail:
            values["voltgw.details"] = exchange.detail
        code = _grpc(exchange, values)
        if code in SERVER_ERRORS:
            values["error.type"] = str(code)
            return exchange.detail
        if status and status < 500:
            return None                     # 4xx is the client's error, and none of the server's span
        values["error.type"] = exchange.flag or (str(status) if status else _OTHER)
        return exchange.detail

    def events(self) -> list[bytes]:
        """When bytes went where, as far as they did."""
        exchange = self.exchange
        moments = (("first byte to the endpoint", exchange.t_upstream_first_tx),
                   ("first byte of the endpoint", exchange.t_upstream_first_rx),
                   ("first byte to the client", exchange.t_downstream_first))
        return [event(self.at(moment), name, {}) for name, moment in moments if moment]

    def handshake(self) -> None:
        """The client's TLS handshake, with the first recorded request of its connection."""
        client = self.exchange.client
        transport = getattr(client, "transport", None)
        took_s: float = getattr(transport, "handshake_s", 0.0)
        if not took_s or transport is None:
            return
        transport.handshake_s = 0.0         # it is told once
        stood = client.connected_wall - self.offset
        if 0 <= self.exchange.t_start - stood <= _SOON_S:
            self.inner(self.trace.base, "TLS handshake", stood - took_s, stood, {
                "tls.protocol.version": client.tls_version.removeprefix("TLSv"), "tls.client.server_name": client.sni})

    # -- tries -------------------------------------------------------------------------------------------------------------

    def one_of_several(self, number: int, one: Try, reason: str, until: float) -> None:
        exchange = self.exchange
        answered = exchange.response is not None and one.endpoint is exchange.endpoint and not one.ended
        more: dict[str, Value] = {}
        if number > 1:
            more["http.request.resend_count"] = number - 1
            more["voltgw.retry.reason"] = reason
        if answered:
            self.client(number, one.endpoint, one.began, exchange.t_upstream_last_rx or self.over, until, None, more)
        else:
            self.client(number, one.endpoint, one.began, one.ended or self.over, until, one.outcome or "cancelled", more)

    def client(
        self, number: int, endpoint: EndpointLabels, began: float, over: float, until: float, error: str | None,
        more: dict[str, Value],
    ) -> None:
        """One try; `until` is when the next one began. `error` None: this one was answered."""
        exchange, head = self.exchange, self.exchange.request
        values: dict[str, Value] = {
            "http.request.method": self.method, "server.address": endpoint.address, "server.port": endpoint.port,
            "network.peer.address": endpoint.address, "network.peer.port": endpoint.port,
            "url.path": redact_path(text_of(head.path)), "voltgw.cluster": endpoint.cluster, **more}
        if endpoint.site:
            values["voltgw.site"] = endpoint.site
        words: str | None = None
        if error is None:
            assert exchange.response is not None
            status = exchange.response.status
            values["http.response.status_code"] = status
            values["network.protocol.version"] = _VERSIONS[exchange.response.minor]
            code = _grpc(exchange, values)
            if status >= 400 or code:
                values["error.type"], words = str(code or status), ""
        elif error.isdigit():               # an answer that was not passed on
            values["http.response.status_code"] = int(error)
            values["error.type"], words = error, ""
        else:
            values["error.type"] = words = error
        watch = getattr(endpoint, "watch", None)
        if error is not None and watch is not None and watch.ejected:
            values["voltgw.endpoint.ejected"] = True
        span_id = self.trace.base + number
        self.made.append(span(
            self.trace_id, span_id.to_bytes(8, "big"), self.trace.base.to_bytes(8, "big"), self.method, CLIENT, self.at(began),
            self.at(max(over, began)), values, error=words, trace_flags=self.flags))
        for dialled, stood, done in self.trace.connected or ():
            if began <= dialled + 1e-6 and (dialled < until or until == self.over):
                self.inner(span_id, "connect", dialled, stood or done, {"network.transport": "tcp"})
                if stood:
                    self.inner(span_id, "TLS handshake", stood, done, {})

    def inner(self, parent: int, name: str, began: float, over: float, values: dict[str, Value]) -> None:
        """A span below another one of ours."""
        self.below += 1
        self.made.append(span(
            self.trace_id, (self.trace.base + self.below).to_bytes(8, "big"), parent.to_bytes(8, "big"), name, INTERNAL,
            self.at(began), self.at(over), values, trace_flags=self.flags))

    def at(self, moment: float) -> int:
        """Nanoseconds since the epoch."""
        return self.offset_ns + int(moment * 1e9)
