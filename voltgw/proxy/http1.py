"""One HTTP/1.1 client connection of an HTTP_PROXY listener: requests in, answers out, in order.

`Downstream.dataReceived` and `Sender._forward` are the first half of the hot path (`voltgw.proxy.upstream` is the
second): a small request on a warm connection passes through them without a Deferred, a timer or a log event. They are
written flat on purpose; see docs/life-of-a-request.rst for the walk.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IProtocol
from zope.interface import classImplements

from voltgw.errors import BadRequest, NoRoute
from voltgw.net.deadlines import TICK_S
from voltgw.proxy.casing import names_in
from voltgw.proxy.fields import line
from voltgw.proxy.http2 import Client2
from voltgw.proxy.identity import identify
from voltgw.proxy.phases import BODY, CLOSED, IDLE, READY, SENT
from voltgw.proxy.plane import COUNT_MASK, LOW_DIGITS, LOW_MASK
from voltgw.proxy.replies import REASONS
from voltgw.proxy.upload import Uploading
from voltgw.values.counters import LATENCY_BOUNDS_US
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Reply
from voltgw.wire.http1 import RequestParser, bad_start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.terms import HttpTerms
    from voltgw.values.head import ResponseHead

_TICKS: Final = 1 / TICK_S
#: `Histogram.observe`, in line.
_FIRST_BOUND: Final = LATENCY_BOUNDS_US[0].bit_length() - 1
_LAST_BUCKET: Final = len(LATENCY_BOUNDS_US)
#: How HTTP/2 begins, up to where a head of HTTP/1.1 would end (RFC 9113 3.4).
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\n"
_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)+")


class Downstream(Uploading):
    """A client's connection, its requests one after another."""

    __slots__ = ("_begun", "_names", "_parser", "_seen", "_served")

    def __init__(self, factory: HttpTerms, peer_address: str, peer_port: int) -> None:
        super().__init__(factory, peer_address, peer_port)
        self._parser = RequestParser()
        self._begun = False                 # the first bytes of a head are here, and its deadline runs
        self._seen = 0                      # how many of them were looked at
        self._served = 0
        self._names: Mapping[bytes, bytes] | None = None    # how the client has written the names of its fields

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the client."""
        if self.phase != READY:
            self._more(data)
            return
        if self._held:
            data = self._held + data
            self._held = b""
        factory = self._factory
        end = len(data) - 4
        head = self._parser.repeated(data, end) if end > 0 and data[end:] == b"\r\n\r\n" else None
        if head is None:
            end = data.find(b"\r\n\r\n")
        if end <= 0 or end > factory.max_head_bytes:
            self._incomplete(data, end)
            return
        now = self.monotonic()
        if head is None:
            try:
                head = self._parser.anew(data, end)
            except BadRequest as error:
                if factory.prior_knowledge and not self._served and data.startswith(_PREFACE):
                    self._begin_version_2(data)
                elif data.startswith(b"\r\n"):
                    self._incomplete(data, 0)
                else:
                    self._refuse(error, now)
                return
        start = end + 4
        plane = self._plane
        # Plane.request_id, in line
        plane.requests = count = plane.requests + 1 & COUNT_MASK
        low = count & LOW_MASK
        if not low:
            plane.count_on()
        self.exchange = exchange = Exchange(self, head, plane.counted + LOW_DIGITS[low], now, start)
        table = factory.table
        self.host = host = table.exact.get(head.host) or table.choose(head.host, head.port, self.local_port)
        self._served += 1
        self._begun = False
        self.must_close = not head.keep_alive or factory.closes
        length = head.length
        come = len(data) - start
        if come == length:                  # no body, or all of it is here: by far the most
            self._left = 0
            self.phase = SENT
            body = data[start:]
        elif length == 0:                   # the client is ahead of us (pipelining)
            self._left = 0
            self.phase = SENT
            body = b""
            self._hold(data[start:])
        else:
            self.phase = BODY
            body = self._first_of_body(head, data[start:])
            if self.is_over:
                return                      # the body was refused
        exchange.bytes_in += len(body)
        if head.forwarding is not None and host is not None and host.identity is not None:
            identify(exchange, host.identity)
        if factory.keeps_names:
            self._names = names_in(data, end)
        if host is None:
            self._fail(NoRoute("no virtual host for this name"), now)
            return
        if not host.version_1:
            self._fail(BadRequest("this virtual host speaks only HTTP/2", 505), now)
            return
        route = host.only or host.chooser.choose(head, self.local_port)
        if route is None:
            host.hide(head)
            self._fail(NoRoute("no route of this virtual host takes it"), now)
            return
        self.route = route
        exchange.route = route
        if host.max_requests_per_connection and self._served >= host.max_requests_per_connection:
            self.must_close = True
        filters = route.request_filters
        for number, request_filter in enumerate(filters):
            reply = request_filter(exchange)
            if reply is not None:
                if isinstance(reply, Reply):
                    self._answer(reply, now)
                else:
                    self._wait(reply, iter(filters[number + 1:]), body)
                return
        self._forward(route, head, exchange, body, now)

    def ease(self) -> bool:
        """There is too much of everything: end, as in a drain, unless the client has just come and has not asked yet.

        Whether it was not to end anyway.
        """
        if not self._served or self.must_close:
            return False
        self.drain()
        return True

    # -- HTTP/2 ------------------------------------------------------------------------------------------------------------

    def become_version_2(self, transport: Any) -> None:
        """Give the transport to a connection of HTTP/2; nothing was read from it yet."""
        following = Client2(self._factory, self.peer_address, self.peer_port)
        transport.protocol = following
        following.makeConnection(transport)

    def _begin_version_2(self, data: bytes) -> None:
        """The client knew that HTTP/2 is spoken here (RFC 9113 3.3)."""
        self.deadline = 0.0
        self._plane.deadlines.forget(self)
        self._factory.connections.discard(self)
        self.phase = CLOSED
        transport = self.transport
        transport.unregisterProducer()
        self.become_version_2(transport)
        transport.protocol.dataReceived(data)       # type: ignore[attr-defined]  # it was set right now

    def _own_names(self) -> Mapping[bytes, bytes]:
        self._factory.keeps_names = True    # from the next request on
        return self._names or {}

    # -- the answer --------------------------------------------------------------------------------------------------------

    def answered(self, upstream: EndpointConnection, now: float) -> None:
        """The endpoint's answer has gone to the client, whole."""
        exchange = self.exchange
        assert exchange is not None
        self._upstream = None
        exchange.t_upstream_last_rx = exchange.t_downstream_last = now
        complete = self.phase == SENT
        cluster = self._whole
        assert cluster is not None          # what was sent has one
        status_class = exchange.response_code // 100
        cluster.counters.status[status_class] += 1
        if upstream.reusable and complete:
            # Upstream.rest, in line
            upstream.downstream = None
            upstream.reused = True
            pool = upstream.pool
            if pool.draining:
                upstream.close()
            else:
                upstream.phase = IDLE
                deadline = now + upstream.idle_timeout_s
                upstream.deadline = deadline
                if upstream.deadline_slot > deadline * _TICKS + 1:
                    self._plane.deadlines.schedule(upstream)
                pool.idle.append(upstream)
                if self._plane.queues:
                    self._plane.offer(self._cluster, upstream)
        else:
            if self._producing:
                self._producing = False
                upstream.transport.unregisterProducer()
            upstream.close()
        # _finish and _record, in line
        self.exchange = None
        if self._attempts is not None:
            self._attempts.close()
            self._attempts = None
            self.tried = False
        self._wire = b""
        if self._kept:
            self._kept = []
        if self._ask is not None:
            self._ask = self.trailers = None
        endpoint, self._endpoint = self._endpoint, None
        assert endpoint is not None         # it has answered
        endpoint.active -= 1
        cluster.active -= 1
        route = self.route
        assert route is not None
        counters = route.counters
        counters.status[status_class] += 1
        flag = exchange.flag
        if flag:                            # it was held back on purpose
            counters.local_replies[flag] = counters.local_replies.get(flag, 0) + 1
        counters.bytes_in += exchange.bytes_in
        counters.bytes_out += exchange.bytes_out
        took = now - exchange.t_start
        latency = counters.latency
        bucket = (int(took * 1e6) >> _FIRST_BOUND).bit_length()
        latency.buckets[bucket if bucket < _LAST_BUCKET else _LAST_BUCKET] += 1
        latency.sum_s += took
        if route.tally is not None:
            route.tally(exchange, self._cluster, now)
        self._plane.access.http(exchange)
        if self.must_close or not complete:
            self._close_after_answer(exchange, now)
            return
        self.phase = READY
        self.deadline = deadline = now + self._factory.keep_alive_timeout_s
        if self.deadline_slot > deadline * _TICKS + 1:
            self._plane.deadlines.schedule(self)
        if self.choked:
            self.transport.pauseProducing()         # `caught_up` goes on
        elif self._held:
            self._plane.soon(self._next)

    def interim(self, response: ResponseHead) -> None:
        """Pass a 1xx answer on (RFC 9110 15.2) to a client that understands it; a 100 only to one that asked."""
        exchange = self.exchange
        if exchange is None or not exchange.request.minor:
            return
        status = response.status
        if status != 100 or exchange.request.expect_continue:
            self._forget()                  # the client has heard of this try: there is no other
            reason = response.reason or REASONS.get(status, b"")
            wire = b"\r\n".join([b"HTTP/1.1 %d %b" % (status, reason), *map(line, response.fields), b"", b""])
            exchange.bytes_out += len(wire)
            self.transport.write(wire)

    # -- heads that are not complete, or none ------------------------------------------------------------------------------

    def _incomplete(self, data: bytes, end: int) -> None:
        """No head yet, none at all, or too large a one."""
        empty = _EMPTY_LINES.match(data)
        if empty is not None:               # RFC 9112 2.2: skipped; the deadline does not move for them
            behind = empty.end()
            data = data[behind:]
            if data:
                self.dataReceived(data)
            return
        now = self.monotonic()
        if end > 0 or len(data) > self._factory.max_head_bytes:
            self._refuse(BadRequest("the request head is larger than allowed", 431), now)
            return
        error = bad_start(data, self._seen if self._begun else 0) if data != b"\r" else None
        if error is not None:
            self._refuse(error, now)
            return
        if not self._begun:
            self._begun = True              # from now on the deadline stands, however slowly the rest drips in
            self._set_deadline(now + self._factory.head_timeout_s)
        self._held = data
        self._seen = len(data) if data != b"\r" else 0


classImplements(Downstream, IProtocol)
