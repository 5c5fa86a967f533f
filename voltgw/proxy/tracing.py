"""What is noted of tries and connections for the spans of a request (`voltgw.values.trace`), all of it off the warm path.

A request that succeeds at once on a connection that was there has nothing noted: its record says it all. Each further try gets
a span of its own, and its endpoint is told that it is called by this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltgw.values.trace import MAX_TRIES, Try

if TYPE_CHECKING:
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.proxy.ask import Ask
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.values.exchange import Exchange
    from voltgw.values.trace import Trace

#: Connections made for one request that are written down.
_MAX_CONNECTIONS = 8


def retold(wire: bytes, trace: Trace, endpoint: Endpoint) -> bytes:
    """A request as HTTP/1.1 that says it is called by the span of the present try at `endpoint`.

    The first try's span is in it, in whatever format: a number of 64 bits that nobody else knows, so that nothing else in the
    head can be it.
    """
    head, end, body = wire.partition(b"\r\n\r\n")
    return head.replace(trace.try_id(1), trace.try_id(_number(trace, endpoint))) + end + body


def asked_again(ask: Ask, trace: Trace, endpoint: Endpoint) -> Ask:
    """The same for a request in no version's form; another one, as earlier tries may not be over."""
    first, other = trace.try_id(1), trace.try_id(_number(trace, endpoint))
    if first == other:
        return ask
    return ask.saying([(name, value.replace(first, other)) for name, value in ask.fields])


def try_begun(exchange: Exchange, endpoint: Endpoint, now: float) -> None:
    """Another try begins; the one before it was noted by `try_ended`, whatever became of it."""
    tries = exchange.trace.tries
    if tries is not None and len(tries) < MAX_TRIES:
        tries.append(Try(endpoint, now))


def try_ended(exchange: Exchange, endpoint: Endpoint, outcome: str, now: float) -> None:
    """A try is over without the answer; or it is late, goes on beside the next one, and may still end well or badly."""
    trace = exchange.trace
    if trace.tries is None:
        dialled = trace.connected[0][0] if trace.connected else 0.0
        trace.tries = [Try(endpoint, dialled or exchange.t_upstream_first_tx or exchange.t_start)]
    for one in reversed(trace.tries):
        if one.endpoint is endpoint and not one.ended:
            one.outcome = outcome
            if outcome != LATE:
                one.ended = now
            return


def try_moved(exchange: Exchange, endpoint: Endpoint) -> None:
    """The present try has waited for a connection, and got one to another endpoint."""
    tries = exchange.trace.tries
    if tries:
        tries[-1].endpoint = endpoint


def stands(exchange: Exchange, upstream: EndpointConnection, now: float) -> None:
    """A connection that was made for this exchange stands."""
    trace = exchange.trace
    transport: object = getattr(getattr(upstream, "trunk", upstream), "transport", None)     # of a lane, that of its connection
    took_s: float = getattr(transport, "handshake_s", 0.0)
    if trace.connected is None:
        trace.connected = []
    if len(trace.connected) < _MAX_CONNECTIONS:
        trace.connected.append((upstream.dialled, now - took_s if took_s else 0.0, now))


#: The outcome of a try that has not answered in its time and goes on (hedging).
LATE = "per_try_timeout"


def _number(trace: Trace, endpoint: Endpoint) -> int:
    """Which try, from 1, is the one at `endpoint` that is not over: the latest one, where several are."""
    tries = trace.tries
    if tries is None:
        return 1
    return next((number for number in range(len(tries), 0, -1)
                 if tries[number - 1].endpoint is endpoint and not tries[number - 1].ended), len(tries))
