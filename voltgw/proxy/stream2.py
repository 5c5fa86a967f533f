"""One request of a client that speaks HTTP/2: it lives on a stream of its connection, and what it needs is there.

`Stream2.begin` is what `Downstream.dataReceived` is for HTTP/1.1; from there on the way is the same
(`voltgw.proxy.sending`). Its `transport` is the stream's `Pipe`: what an endpoint's connection writes to it become DATA frames.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IPushProducer
from zope.interface import classImplements

from voltgw.errors import BadRequest, NoRoute
from voltgw.net.deadlines import NO_SLOT, TICK_S
from voltgw.proxy.answering import answer_fields, last_chunk
from voltgw.proxy.fields import own_left
from voltgw.proxy.identity import identify
from voltgw.proxy.phases import BODY, BUFFERING, CLOSED, IDLE, SENT
from voltgw.proxy.plane import COUNT_MASK, LOW_DIGITS, LOW_MASK
from voltgw.proxy.replies import marked, version_2
from voltgw.proxy.rpc import GRPC_STATUS
from voltgw.proxy.stream2_end import EndingStream
from voltgw.values.exchange import Exchange
from voltgw.values.head import CHUNKED
from voltgw.values.reply import Reply
from voltgw.wire.chunks import chunk
from voltgw.wire.h2heads import response_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.values.head import Field, RequestHead, ResponseHead
    from voltgw.values.identity import Identity

_TICKS: Final = 1 / TICK_S
#: Objects of requests that are over, kept for the next ones of their connection: making one costs as much as finding its route.
_MAX_SPARE: Final = 16
_KEY: Final = b"sec-websocket-key"


class Stream2(EndingStream):
    """The exchange on `stream` of `connection`; for the endpoint's transport it is the producer of the request's body."""

    __slots__ = ()

    # -- the request -------------------------------------------------------------------------------------------------------

    def begin(self, head: RequestHead, ended: bool) -> None:
        """The request's head is here; `ended`: it has no body."""
        connection, plane = self._connection, self._plane
        now = self.monotonic()
        # Plane.request_id, in line
        plane.requests = count = plane.requests + 1 & COUNT_MASK
        low = count & LOW_MASK
        if not low:
            plane.count_on()
        self.exchange = exchange = Exchange(connection, head, plane.counted + LOW_DIGITS[low], now, self._stream.head_bytes)
        port = connection.local_port
        table = connection.factory.table
        self.host = host = table.exact.get(head.host) or table.choose(head.host, head.port, port)
        if head.length:
            self.phase = BODY
            self.pipe.pauseProducing()
        else:
            self.phase = SENT
        if head.forwarding is not None and host is not None and host.identity is not None:
            identify(exchange, host.identity)
        if host is None:
            self._fail(NoRoute("no virtual host for this name"), now)
            return
        if not connection.serves(host):
            self._fail(BadRequest("this virtual host does not speak HTTP/2 here", 421), now)
            return
        route = host.only or host.chooser.choose(head, port)
        if route is None:
            host.hide(head)
            self._fail(NoRoute("no route of this virtual host takes it"), now)
            return
        self.route = route
        exchange.route = route
        if self._stream.protocol is not None and not self._may_tunnel(head):
            self._fail(BadRequest("no protocol to which this route switches (RFC 8441)", 501), now)
            return
        if host.max_requests_per_connection:
            connection.count(host.max_requests_per_connection)
        filters = route.request_filters
        for number, request_filter in enumerate(filters):
            reply = request_filter(exchange)
            if reply is not None:
                if isinstance(reply, Reply):
                    self._answer(reply, now)
                else:
                    self._wait(reply, iter(filters[number + 1:]), b"")
                return
        self._forward(route, head, exchange, b"", now)

    def refuse(self, error: BadRequest) -> None:
        """The client's fields are no request that may be forwarded."""
        now = self.monotonic()
        self.exchange = exchange = self._connection.misunderstood(now, self._stream.head_bytes)
        exchange.request.method = error.method
        self.phase = SENT                   # its body is thrown away
        self._fail(error, now)

    def _may_tunnel(self, head: RequestHead) -> bool:
        """Whether an extended CONNECT may go on; then what comes is held until the endpoint has switched."""
        route = self.route
        if route is None or (route.answer is None and head.upgrade not in route.upgrades):
            return False
        self.pipe.pauseProducing()
        self.tried = True                   # its answer must be looked at: a 2xx would say that there is a tunnel
        if all(name != _KEY for name, _ in head.fields):
            chance = b"".join(int(self._plane.random() * (1 << 32)).to_bytes(4, "big") for _ in range(4))
            self._key = b64encode(chance)
            head.fields.append((_KEY, self._key))
        return True

    @property
    def never(self) -> Sequence[bytes]:
        """As the client has said."""
        return self._stream.never

    def _about_client(self, exchange: Exchange, identity: Identity | None) -> bytes:
        return self._connection.about(exchange, identity)

    def _own_names(self) -> Mapping[bytes, bytes]:
        return {}                           # HTTP/2 has only one spelling

    # -- its body ----------------------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Part of the body."""
        exchange = self.exchange
        if exchange is None:
            return
        if self.phase == BODY:
            upstream = self._upstream
            if upstream is None:
                return
            now = self.monotonic()
            exchange.bytes_in += len(data)
            if self.route.max_body_bytes and self._exceeds(len(data), exchange, now):   # type: ignore[union-attr]  # it has one
                return
            if self._replayable:
                self._keep(data)
            exchange.t_upstream_last_tx = now
            upstream.send(chunk(data) if upstream.plain and exchange.request.length == CHUNKED else data)
            self._set_deadline(now + self.body_timeout_s)
        elif self.phase == BUFFERING:
            exchange.bytes_in += len(data)
            self._add(data, exchange)

    def trailersReceived(self, fields: list[Field]) -> None:
        """What stands behind the body; `readConnectionLost` follows."""
        self.behind = own_left(fields, self.route)

    def readConnectionLost(self) -> None:
        """The request is complete."""
        exchange = self.exchange
        if exchange is None:
            return
        if self.phase == BODY:
            self.phase = SENT
            upstream = self._upstream
            if upstream is None:
                return
            if upstream.plain and exchange.request.length == CHUNKED:
                upstream.send(last_chunk(self.behind))
            self._passed_whole(upstream, exchange, self.monotonic())
        elif self.phase == BUFFERING:
            self.phase = SENT
            self._add(b"", exchange)

    def _flow(self) -> None:
        self.pipe.resumeProducing()

    def _let_flow(self) -> None:
        self.pipe.pauseProducing()     # what comes is for the next try, or for nobody

    def _chunked(self, head: RequestHead) -> bool:
        return False

    def _so_far(self) -> bytes:
        wire = super()._so_far()
        exchange = self.exchange
        if exchange is not None and exchange.request.length == CHUNKED and self.phase == SENT:
            return wire + last_chunk(self.behind)
        return wire

    def _framed(self, kept: list[bytes]) -> list[bytes]:
        exchange = self.exchange
        if exchange is not None and exchange.request.length == CHUNKED:
            return [chunk(data) for data in kept if data]
        return kept

    def _stop_producing(self) -> None:
        if self._producing:
            self._producing = self._stalled = False
            upstream = self._upstream
            if upstream is not None:
                upstream.transport.unregisterProducer()

    def _continue(self, exchange: Exchange) -> None:
        exchange.bytes_out += self._connection.codec.send_head(self._stream, response_fields(100, []), False)
        self._connection.flush_soon()

    # -- IPushProducer, for the endpoint's transport: we produce the request body --------------------------------------------

    def pauseProducing(self) -> None:
        """The endpoint does not keep up."""
        self._stalled = True
        self.pipe.pauseProducing()

    def resumeProducing(self) -> None:
        """The endpoint keeps up again."""
        self._stalled = False
        self.pipe.resumeProducing()

    def stopProducing(self) -> None:
        """The endpoint is gone; `upstream_failed` says so in a moment."""

    # -- the answer --------------------------------------------------------------------------------------------------------

    def answer_head(self, response: ResponseHead, length: int, body: bytes, ended: bool) -> bool:
        """HEADERS, and what there is of the body."""
        exchange, connection, stream = self.exchange, self._connection, self._stream
        assert exchange is not None
        codec = connection.codec
        fields = answer_fields(self, response, length)
        if ended:
            exchange.bytes_out += codec.send_answer(stream, fields, body)
            if not connection.flushing:
                connection.flush_soon()
            return False
        exchange.bytes_out += codec.send_head(stream, fields, False)
        if body:
            codec.send_data(stream, body, False)
        elif length > 0:
            self.pipe.left = length
        connection.flush_soon()
        return False

    def answered(self, upstream: EndpointConnection, now: float) -> None:
        """The endpoint's answer has gone to the client, whole."""
        exchange = self.exchange
        assert exchange is not None
        self._upstream = None
        exchange.t_upstream_last_rx = exchange.t_downstream_last = now
        cluster, stream = self._whole, self._stream
        assert cluster is not None          # what was sent has one
        cluster.counters.status[exchange.response_code // 100] += 1
        if self._producing:
            self._producing = False
            upstream.transport.unregisterProducer()
        if self.phase != SENT:
            upstream.close()
        elif not upstream.reusable or upstream.pool.draining or self.answering is not None:
            upstream.rest(now)
        else:
            # Upstream.rest, in line
            upstream.downstream = None
            upstream.reused = True
            upstream.phase = IDLE
            upstream.limit = 0.0
            upstream.deadline = deadline = now + upstream.idle_timeout_s
            if upstream.deadline_slot > deadline * _TICKS + 1:
                self._plane.deadlines.schedule(upstream)
            upstream.pool.idle.append(upstream)
            if self._plane.queues:
                self._plane.offer(cluster, upstream)
        if not stream.local_ended:
            self.pipe.end(self.trailers)
        if self._attempts is not None or not stream.closed:
            self._finish(exchange, now)
            self._over(now)
            return
        # _finish, _record and _over, in line
        self.exchange = self._ask = None
        self._wire = b""
        self._kept = []
        self.phase = CLOSED
        self.deadline = 0.0
        stream.owner = None
        endpoint, self._endpoint = self._endpoint, None
        assert endpoint is not None         # it has answered
        endpoint.active -= 1
        cluster.active -= 1
        route = self.route
        assert route is not None
        counters = route.counters
        counters.status[exchange.response_code // 100] += 1
        flag = exchange.flag
        if flag:                            # it was held back on purpose
            counters.local_replies[flag] = counters.local_replies.get(flag, 0) + 1
        counters.bytes_in += exchange.bytes_in
        counters.bytes_out += exchange.bytes_out
        counters.latency.observe(now - exchange.t_start)
        if route.tally is not None:
            route.tally(exchange, self._cluster, now)
        plane = self._plane
        plane.access.http(exchange)
        if self.deadline_slot != NO_SLOT:
            plane.deadlines.forget(self)
        connection = self._connection
        if not connection.codec.streams:
            connection.stream_over()
        spare = connection.spare
        if not exchange.request.length and self.trailers is None and self.upgrade is None and len(spare) < _MAX_SPARE:
            spare.append(self)              # nothing but what `again` sets has changed

    def rejects(self, upstream: EndpointConnection, response: ResponseHead, now: float) -> bool:
        """As for any answer; and one that takes no part in the tunnel that was asked for must not look as if it did."""
        if super().rejects(upstream, response, now):
            return True
        if self._stream.protocol is None or not 200 <= response.status < 300:
            return False
        self._broken_tunnel(upstream, "the endpoint has answered, and not switched")
        return True

    def interim(self, response: ResponseHead) -> None:
        """Pass a 1xx answer on; a 100 only to a client that asked."""
        exchange = self.exchange
        if exchange is None or (response.status == 100 and not exchange.request.expect_continue):
            return
        self._forget()                      # the client has heard of this try: there is no other
        exchange.bytes_out += self._connection.codec.send_head(
            self._stream, response_fields(response.status, response.fields), False)
        self._connection.flush_soon()

    def _answer(self, reply: Reply, now: float) -> None:
        exchange, codec = self.exchange, self._connection.codec
        assert exchange is not None
        if reply.flag:
            reply = marked(reply, exchange)
        status, fields, body = version_2(reply, exchange.request, self.host, exchange.request_id, self.wall())
        if status == 200 and reply.status != 200:           # an error, as gRPC has it
            exchange.grpc_status = next((value for name, value in fields if name == GRPC_STATUS), b"")
            self._plane.counters.count_grpc(exchange.grpc_status)
        exchange.flag, exchange.detail = reply.flag, reply.detail
        exchange.response_code = status
        exchange.t_downstream_first = exchange.t_downstream_last = now
        exchange.bytes_out += len(body) + codec.send_head(self._stream, response_fields(status, fields), not body)
        if body:
            codec.send_data(self._stream, body, True)
        self._connection.flush_soon()
        self._finish(exchange, now)
        self._over(now)


classImplements(Stream2, IPushProducer)
