"""One client connection of an HTTP_PROXY listener: requests in, answers out, in order.

`Downstream.dataReceived` and `Downstream._forward` are the first half of the hot path (`voltgw.proxy.upstream` is the
second): a small request on a warm connection passes through them without a Deferred, a timer or a log event. They are
written flat on purpose; see docs/life-of-a-request.rst for the walk.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from voltgw.cluster.attempts import Attempts
from voltgw.errors import (
    BadRequest,
    ClientGone,
    ClientTimeout,
    ConnectFailed,
    NoCluster,
    NoEndpoint,
    NoRoute,
    Overflow,
    ProxyError,
    Source,
    UpstreamTimeout,
)
from voltgw.net.deadlines import NO_SLOT, TICK_S
from voltgw.proxy.phases import ASKING, BODY, CLOSED, DIALING, HEAD, IDLE, LINGER, READY, SENT
from voltgw.proxy.replies import edited, render
from voltgw.proxy.upstream import Upstream
from voltgw.values.counters import LATENCY_BOUNDS_US
from voltgw.values.defaults import (
    BODY_IDLE_TIMEOUT_S,
    KEEP_ALIVE_TIMEOUT_S,
    LINGER_BYTES,
    LINGER_TIMEOUT_S,
    MAX_PIPELINED_BYTES,
    MAX_REQUEST_HEAD_BYTES,
    REQUEST_HEAD_TIMEOUT_S,
    RESPONSE_HEAD_TIMEOUT_S,
)
from voltgw.values.exchange import Exchange
from voltgw.values.head import CHUNKED, RequestHead
from voltgw.values.reply import Reply
from voltgw.wire.http1 import ChunkScanner, RequestParser, bad_start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.interfaces import RequestFilter, StreamTransport
    from voltgw.net.connector import Dial
    from voltgw.proxy.plane import Plane
    from voltgw.routing.hosts import HostTable
    from voltgw.routing.table import Route, VirtualHost
    from voltgw.values.counters import ListenerCounters
    from voltgw.values.head import Field

_TICKS: Final = 1 / TICK_S
_COUNT_MASK: Final = (1 << 48) - 1
#: `Histogram.observe`, in line.
_FIRST_BOUND: Final = LATENCY_BOUNDS_US[0].bit_length() - 1
_LAST_BUCKET: Final = len(LATENCY_BOUNDS_US)
_field: Final = b": ".join
_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)+")
#: Methods whose requests say that they have no body (RFC 9110 8.6).
_SAY_EMPTY: Final = frozenset((b"POST", b"PUT", b"PATCH"))


@implementer(IProtocol, IPushProducer)
class Downstream:
    """A client's connection. It is its own `ClientSide` for records and its own `Deadline`."""

    __slots__ = (
        "_asked", "_attempts", "_begun", "_cluster", "_counters", "_dial", "_endpoint", "_factory", "_forwarded", "_held",
        "_left", "_limit", "_limit_at", "_parse", "_paused", "_plane", "_producing", "_replayable", "_scanner", "_seen",
        "_served", "_stalled", "_upstream", "_wire",
        "answering", "body_timeout_s", "choked", "connected_wall", "deadline", "deadline_slot", "exchange", "host", "listener",
        "local_address", "local_port", "monotonic", "must_close", "peer_address", "peer_port", "phase", "route", "scheme",
        "sni", "tls_cipher", "tls_version", "transport", "wall",
    )

    _log = Logger()
    transport: StreamTransport

    def __init__(self, factory: HttpFactory, peer_address: str, peer_port: int) -> None:
        plane = factory.plane
        self.peer_address = peer_address
        self.peer_port = peer_port
        self.local_address = factory.local_address
        self.local_port = factory.local_port
        self.listener = factory.name
        self.scheme = b"http"
        self.sni = self.tls_version = self.tls_cipher = ""
        self.exchange: Exchange | None = None
        self.route: Route | None = None
        self.host: VirtualHost | None = None
        self.must_close = False             # the present answer is the last one on this connection
        self.choked = False                 # the client does not read what we write
        self.answering: Upstream | None = None      # whose answer's body is on its way to the client
        self.body_timeout_s = BODY_IDLE_TIMEOUT_S
        self.deadline = 0.0
        self.deadline_slot = NO_SLOT
        self.monotonic = plane.monotonic
        self.wall = plane.wall
        self.connected_wall = plane.wall()
        self._factory = factory
        self._plane = plane
        self._counters = factory.counters
        self.phase = READY
        self._held = b""                    # bytes that cannot be looked at yet
        self._parse = RequestParser().parse
        self._begun = False                 # the first bytes of a head are here, and its deadline runs
        self._seen = 0                      # how many of them were looked at
        self._asked: Deferred[Reply | None] | None = None   # what a filter waits for
        self._paused = False                # we stopped reading because of `_held`
        self._left = 0                      # request body bytes still to come (`CHUNKED`: ask the scanner)
        self._scanner: ChunkScanner | None = None
        self._producing = False             # registered as the producer of the upstream's transport
        self._stalled = False               # the endpoint does not take what we produce
        self._upstream: Upstream | None = None
        self._dial: Dial | None = None
        self._cluster: Any = None
        self._endpoint: Any = None          # the endpoint whose `active` we have raised
        self._attempts: Attempts | None = None
        self._wire = b""                    # what was sent first: head, and the body's beginning
        self._replayable = False            # `_wire` is the whole request so far
        self._limit_at = 0.0                # when the exchange must be over (route timeout), 0.0 = never
        self._limit = 0.0                   # when the request must be complete, 0.0 = never
        self._served = 0
        self._forwarded = self._forwarding([])

    # -- IProtocol -----------------------------------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """The client is connected: it has a head's time to say something."""
        self.transport = transport
        transport.registerProducer(_Backlog(self), True)
        self._factory.connections.add(self)
        self.deadline = self.monotonic() + self._factory.head_timeout_s
        self._plane.deadlines.schedule(self)

    def connectionMade(self) -> None:
        """Part of IProtocol; `makeConnection` does it all."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the client."""
        if self.phase != READY:
            self._more(data)
            return
        if self._held:
            data = self._held + data
            self._held = b""
        end = data.find(b"\r\n\r\n")
        factory = self._factory
        if end <= 0 or end > factory.max_head_bytes:
            self._incomplete(data, end)
            return
        now = self.monotonic()
        try:
            head = self._parse(data, end)
        except BadRequest as error:
            if data.startswith(b"\r\n"):
                self._incomplete(data, 0)
            else:
                self._refuse(error, now)
            return
        start = end + 4
        plane = self._plane
        plane.requests = count = plane.requests + 1 & _COUNT_MASK
        self.exchange = exchange = Exchange(self, head, b"%b%012x" % (plane.request_id_prefix, count), now, start)
        table = factory.table
        self.host = host = table.exact.get(head.host) or table.choose(head.host, head.port, self.local_port)
        self._served += 1
        self._begun = False
        self.must_close = not head.keep_alive or factory.draining
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
            if self.exchange is None:
                return                      # the body was refused
        exchange.bytes_in += len(body)
        if host is None:
            self._fail(NoRoute("no virtual host for this name"), now)
            return
        route = host.only or host.choose(head, self.local_port)
        if route is None:
            self._fail(NoRoute("no route of this virtual host takes it"), now)
            return
        self.route = route
        exchange.route = route
        if host.max_requests_per_connection and self._served >= host.max_requests_per_connection:
            self.must_close = True
        filters = iter(route.request_filters)
        for request_filter in filters:
            reply = request_filter(exchange)
            if reply is not None:
                if isinstance(reply, Deferred):
                    self._wait(reply, filters, body)
                else:
                    self._answer(reply, now)
                return
        self._forward(route, head, exchange, body, now)

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone, or we have closed."""
        self.deadline = 0.0
        self.phase = CLOSED
        self._held = b""
        self._factory.connections.discard(self)
        exchange = self.exchange
        if exchange is not None:
            self._drop_upstream()
            error = ClientGone("the client closed its connection")
            exchange.flag = exchange.flag or error.flag
            exchange.detail = exchange.detail or error.detail
            self._record(exchange, self.monotonic())
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()

    # -- choosing and sending ------------------------------------------------------------------------------------------

    def _forward(self, route: Route, head: RequestHead, exchange: Exchange, body: bytes, now: float) -> None:
        """Pick an endpoint and send it the request; or answer ourselves if the route says so."""
        if route.answer is not None:
            reply = route.answer(head, self)
            if route.response_filters and not reply.flag:   # a flag marks an error, and error pages are not edited
                reply = edited(reply, exchange, route)
            self._answer(reply, now)
            return
        cluster: Any = route.cluster        # a `Cluster`; routes know it as an `UpstreamCluster`
        if cluster is None:
            split = route.split
            destination = split(self._plane.random()) if split is not None else None
            if destination is None or destination.cluster is None:
                self._fail(NoCluster("the route's cluster does not exist") if destination is not None
                           else NoEndpoint("no destination of the route may be used"), now)
                return
            cluster = destination.cluster
        self._cluster = cluster
        cluster.counters.requests += 1
        if cluster.active >= cluster.max_requests:
            cluster.counters.overflow += 1
            self._fail(Overflow("the cluster has its most requests under way"), now)
            return
        endpoint = cluster.pick(exchange.hash_key)
        if endpoint is None:
            cluster.counters.no_endpoint += 1
            self._fail(NoEndpoint("the cluster has no endpoint that may be used"), now)
            return
        self._endpoint = exchange.endpoint = endpoint
        exchange.attempts = 1
        endpoint.active += 1
        endpoint.requests += 1
        cluster.active += 1

        rewrite = route.rewrite
        if rewrite is None:
            target = head.forward
        else:
            try:
                target = rewrite(head)
            except ValueError as error:
                self._fail(BadRequest(f"the rewritten path {error}"), now)
                return
        authority = (route.host_rewrite or (endpoint.authority if route.auto_host_rewrite else head.authority)
                     or endpoint.authority)         # HTTP/1.0 need not name a host
        pieces = [b"%b %b HTTP/1.1\r\nhost: %b" % (head.method, target, authority)]
        pieces.extend(map(_field, head.fields))
        pieces.append(self._forwarded if head.forwarding is None else self._forwarding(head.forwarding))
        pieces.append(b"x-request-id: " + exchange.request_id)
        length = head.length
        if length:
            pieces.append(b"content-length: %d" % length if length > 0 else b"transfer-encoding: chunked")
            if head.expect_continue:
                pieces.append(b"expect: 100-continue")
        elif head.method in _SAY_EMPTY:
            pieces.append(b"content-length: 0")
        pieces.append(b"")
        pieces.append(body)
        self._wire = wire = b"\r\n".join(pieces)
        self._replayable = self.phase == SENT
        host = self.host
        assert host is not None             # a route belongs to one
        idle_timeout_s = host.idle_timeout_s
        self.body_timeout_s = idle_timeout_s or BODY_IDLE_TIMEOUT_S
        self._limit_at = limit = now + route.timeout_s if route.timeout_s else 0.0
        self.deadline = 0.0

        idle = endpoint.pool.idle
        if idle:
            # Upstream.begin, in line
            self._upstream = upstream = idle.pop()
            upstream.downstream = self
            upstream.phase = HEAD
            upstream.limit = limit
            deadline = now + (idle_timeout_s or RESPONSE_HEAD_TIMEOUT_S)
            upstream.deadline = deadline = limit if limit and limit < deadline else deadline
            if upstream.deadline_slot > deadline * _TICKS + 1:
                self._plane.deadlines.schedule(upstream)
            exchange.t_upstream_first_tx = exchange.t_upstream_last_tx = now
            upstream.transport.write(wire)
            if self.phase == BODY:
                self._stream_body(now)
        else:
            self._connect(cluster, endpoint, now)

    def _connect(self, cluster: Any, endpoint: Endpoint, now: float) -> None:
        """No idle connection: make one; the client's bytes wait meanwhile."""
        if cluster.pending >= cluster.max_pending or cluster.connections >= cluster.max_connections:
            cluster.counters.overflow += 1
            self._fail(Overflow("the cluster has its most connections, or requests that wait for one"), now)
            return
        cluster.pending += 1
        cluster.counters.connects += 1
        upstream = Upstream(endpoint, cluster, self, self._plane)
        self._upstream = upstream
        timeout_s: float = cluster.connect_timeout_s
        limit = self._limit_at
        if limit and limit - now < timeout_s:
            timeout_s = max(limit - now, 0.0)
        if self.phase == BODY:
            self.phase = DIALING
        self._dial = self._plane.dial(endpoint, upstream, timeout_s, self._connect_failed)

    def connected(self, upstream: Upstream) -> None:
        """The endpoint accepted: send what waits."""
        self._dial = None
        self._cluster.pending -= 1
        self._endpoint.failed_in_a_row = 0
        exchange = self.exchange
        assert exchange is not None         # a dial is cancelled when its exchange ends
        now = self.monotonic()
        host = self.host
        assert host is not None
        exchange.t_upstream_first_tx = exchange.t_upstream_last_tx = now
        upstream.begin(self._wire, now, host.idle_timeout_s or RESPONSE_HEAD_TIMEOUT_S, self._limit_at)
        if self.phase == DIALING:
            self.phase = BODY
            self._stream_body(now)

    def _connect_failed(self, error: ConnectFailed) -> None:
        self._dial = None
        cluster = self._cluster
        cluster.pending -= 1
        cluster.connect_failed(self._endpoint)
        self._upstream = None
        self._try_again(error, reused=False)

    def upstream_failed(self, error: ProxyError, reused: bool) -> None:
        """The endpoint's side ended badly; `reused`: a pooled connection that closed before a byte of the answer.

        The connection to it is gone already.
        """
        self._upstream = None
        self._producing = False             # its transport is gone, and we with it as its producer
        if not self._paused:
            self.transport.resumeProducing()
        exchange = self.exchange
        if exchange is None:
            return
        counters = self._cluster.counters
        if error.flag == "UT":
            counters.timeouts += 1
        elif error.source is Source.UPSTREAM:
            counters.resets += 1
        if not exchange.t_downstream_first:
            self._try_again(error, reused)
            return
        # The answer has begun: nothing but cutting the connection tells the client that it is not whole.
        exchange.flag, exchange.detail = error.flag, error.detail
        self._finish(exchange, self.monotonic())
        self._cut()

    def _try_again(self, error: ProxyError, reused: bool) -> None:
        """Send the request once more if that is safe (DECISIONS: connect failures; stale pooled connections)."""
        exchange = self.exchange
        assert exchange is not None
        now = self.monotonic()
        attempts = self._attempts
        if attempts is None:
            self._attempts = attempts = Attempts(self._cluster, exchange.request.method, exchange.hash_key)
        endpoint = attempts.after(error, self._endpoint, reused, self._replayable or self.phase == DIALING)
        if endpoint is None or (self._limit_at and now >= self._limit_at):
            self._fail(error, now)
            return
        self._cluster.counters.retries += 1
        self._endpoint.active -= 1
        endpoint.active += 1
        endpoint.requests += 1
        self._endpoint = exchange.endpoint = endpoint
        exchange.attempts += 1
        self._connect(self._cluster, endpoint, now)

    # -- the request body ----------------------------------------------------------------------------------------------

    def _first_of_body(self, head: RequestHead, data: bytes) -> bytes:
        """What came of the body behind its head; sets what is left."""
        if head.length == CHUNKED:
            self._scanner = ChunkScanner(BadRequest)
            self._left = CHUNKED
            return self._scan(data)
        left = head.length - len(data)
        if left < 0:                        # pipelined behind its body
            self._hold(data[left:])
            data = data[:left]
            left = 0
        self._left = left
        if not left:
            self.phase = SENT
        return data

    def _scan(self, data: bytes) -> bytes:
        scanner = self._scanner
        assert scanner is not None
        try:
            passed, over = scanner.feed(data)
        except BadRequest as error:
            self._refuse(error, self.monotonic())
            return b""
        if scanner.done:
            self._scanner = None
            self._left = 0
            self.phase = SENT
            if over:
                self._hold(over)
        return passed

    def _stream_body(self, now: float) -> None:
        """The head is sent, the body is not complete: let it flow, at the endpoint's pace."""
        upstream = self._upstream
        assert upstream is not None
        host = self.host
        if host is not None and host.request_timeout_s and self.exchange is not None:
            self._limit = self.exchange.t_start + host.request_timeout_s
        self._set_deadline(now + self.body_timeout_s)
        upstream.deadline = self._limit_at          # the time for the answer begins when the request is complete
        self._producing = True
        self._stalled = False
        upstream.transport.registerProducer(self, True)
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        held, self._held = self._held, b""
        if held:
            self._body(held)

    def _body(self, data: bytes) -> None:
        """More of the body, on its way to the endpoint."""
        if self._left == CHUNKED:
            data = self._scan(data)
            if self.phase != BODY and self.phase != SENT:
                return                      # refused
        else:
            left = self._left - len(data)
            if left < 0:
                self._hold(data[left:])
                data = data[:left]
                left = 0
            self._left = left
            if not left:
                self.phase = SENT
        upstream = self._upstream
        exchange = self.exchange
        if upstream is None or exchange is None:
            return
        self._replayable = False
        self._wire = b""
        if data:
            exchange.bytes_in += len(data)
            exchange.t_upstream_last_tx = now = self.monotonic()
            upstream.transport.write(data)
            if self.phase == BODY:
                self._set_deadline(now + self.body_timeout_s)
        if self.phase == SENT:
            self.deadline = self._limit = 0.0
            self._stop_producing()
            host = self.host
            upstream.request_sent(host and host.idle_timeout_s or RESPONSE_HEAD_TIMEOUT_S)

    def _more(self, data: bytes) -> None:
        """Bytes while a request is under way."""
        phase = self.phase
        if phase == BODY:
            self._body(data)
        elif phase == LINGER:
            self._left -= len(data)
            if self._left < 0:
                self._cut()
        elif phase != CLOSED:
            self._hold(data)

    def _hold(self, data: bytes) -> None:
        """Keep bytes that may not be looked at yet, and stop reading when they are many."""
        self._held += data
        if len(self._held) > MAX_PIPELINED_BYTES and not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def _stop_producing(self) -> None:
        if self._producing:
            self._producing = False
            upstream = self._upstream
            if upstream is not None:
                upstream.transport.unregisterProducer()
            self.resumeProducing()

    # -- IPushProducer, for the endpoint's transport: we produce the request body --------------------------------------

    def pauseProducing(self) -> None:
        """The endpoint does not keep up."""
        self._stalled = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The endpoint keeps up again."""
        self._stalled = False
        if not self._paused:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The endpoint is gone; `upstream_failed` says so in a moment."""

    # -- what the client has not read yet ------------------------------------------------------------------------------

    def backed_up(self) -> None:
        """More than the high-water mark waits for the client: the answer on its way stops, the next one does not begin."""
        self.choked = True
        if self.answering is not None:
            self.answering.pause()

    def caught_up(self) -> None:
        """The client has read most of it."""
        self.choked = False
        if self.answering is not None:
            self.answering.resume()
        elif self.phase == READY:
            if not self._paused:
                self.transport.resumeProducing()
            if self._held:
                self._plane.soon(self._next)

    # -- the answer ----------------------------------------------------------------------------------------------------

    def answered(self, upstream: Upstream, now: float) -> None:
        """The endpoint's answer has gone to the client, whole."""
        exchange = self.exchange
        assert exchange is not None
        self._upstream = None
        exchange.t_upstream_last_rx = exchange.t_downstream_last = now
        complete = self.phase == SENT
        self._cluster.counters.status[exchange.response_code // 100] += 1
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
        self._wire = b""
        self._endpoint.active -= 1
        self._endpoint = None
        self._cluster.active -= 1
        route = self.route
        assert route is not None
        counters = route.counters
        counters.status[exchange.response_code // 100] += 1
        counters.bytes_in += exchange.bytes_in
        counters.bytes_out += exchange.bytes_out
        took = now - exchange.t_start
        latency = counters.latency
        bucket = (int(took * 1e6) >> _FIRST_BOUND).bit_length()
        latency.buckets[bucket if bucket < _LAST_BUCKET else _LAST_BUCKET] += 1
        latency.sum_s += took
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

    def interim(self, status: int, wire: bytes) -> None:
        """Pass a 1xx answer on (RFC 9110 15.2) to a client that understands it; a 100 only to one that asked."""
        exchange = self.exchange
        if exchange is None or not exchange.request.minor:
            return
        if status != 100 or exchange.request.expect_continue:
            exchange.bytes_out += len(wire)
            self.transport.write(wire)

    def _next(self) -> None:
        """Look at what the client sent ahead, one request a turn, so that it cannot starve the others."""
        if self.phase != READY or not self._held or self.choked:
            return
        data, self._held = self._held, b""
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        self.dataReceived(data)

    def _answer(self, reply: Reply, now: float) -> None:
        """Answer ourselves."""
        exchange = self.exchange
        assert exchange is not None
        complete = self.phase == SENT
        close = reply.close or self.must_close or not complete
        host = self.host
        wire = render(reply, exchange.request, host, exchange.request_id, self.wall(), close)
        exchange.flag, exchange.detail = reply.flag, reply.detail
        exchange.response_code = reply.status
        exchange.bytes_out += len(wire)
        exchange.t_downstream_first = exchange.t_downstream_last = now
        self.transport.write(wire)
        self._finish(exchange, now)
        if close:
            self._close_after_answer(exchange, now)
            return
        self.phase = READY
        self._set_deadline(now + self._factory.keep_alive_timeout_s)
        if self.choked:
            self.transport.pauseProducing()         # `caught_up` goes on
        elif self._held:
            self._plane.soon(self._next)

    def _fail(self, error: ProxyError, now: float) -> None:
        """Answer with an error, if nothing was answered yet."""
        self._drop_upstream()
        status = error.answer if isinstance(error, BadRequest) else error.status
        self._answer(Reply(status, flag=error.flag, detail=error.detail, negotiate=True), now)

    def _refuse(self, error: BadRequest, now: float) -> None:
        """The client's bytes are not HTTP: say so, and never look at the rest of them."""
        self._counters.bad_requests += 1
        exchange = self.exchange
        self.must_close = True
        self._held = b""
        if exchange is None:
            head = RequestHead(b"", b"", b"", None, 1, b"", b"", None, [], 0, False)
            self.exchange = exchange = Exchange(self, head, self._plane.request_id(), now, 0)
            self.route = None
            self.host = None
        elif exchange.t_downstream_first:
            self._drop_upstream()
            exchange.flag, exchange.detail = error.flag, error.detail
            self._finish(exchange, now)
            self._cut()
            return
        self.phase = BODY                  # whatever comes is not a request
        self._fail(error, now)

    # -- the end of an exchange ----------------------------------------------------------------------------------------

    def _finish(self, exchange: Exchange, now: float) -> None:
        """The exchange is over, however: give back what it held and write it down."""
        self._wire = b""
        self._scanner = None
        self._limit = 0.0
        self._drop_upstream()
        self._record(exchange, now)

    def _record(self, exchange: Exchange, now: float) -> None:
        self.exchange = None
        attempts, self._attempts = self._attempts, None
        if attempts is not None:
            attempts.close()
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.active -= 1
            self._cluster.active -= 1
        route = exchange.route
        counters = self._plane.unrouted if route is None else route.counters
        counters.status[exchange.response_code // 100] += 1
        counters.bytes_in += exchange.bytes_in
        counters.bytes_out += exchange.bytes_out
        counters.latency.observe(now - exchange.t_start)
        if exchange.flag:
            counters.local_replies[exchange.flag] = counters.local_replies.get(exchange.flag, 0) + 1
        exchange.t_downstream_last = exchange.t_downstream_last or now
        self._plane.access.http(exchange)

    def _drop_upstream(self) -> None:
        """The exchange needs no endpoint any more: stop dialing, or cut the connection so that the endpoint notices."""
        dialing, self._dial = self._dial, None
        upstream, self._upstream = self._upstream, None
        producing, self._producing = self._producing, False
        if dialing is not None:
            dialing.cancel()
            self._cluster.pending -= 1
        elif upstream is not None:
            if producing:
                upstream.transport.unregisterProducer()
            upstream.abort()

    def _close_after_answer(self, exchange: Exchange, now: float) -> None:
        """Close; but a client that may still send must be able to read the answer first (RFC 9112 9.6)."""
        self._limit = 0.0
        if self.phase == SENT and not exchange.request.keep_alive and not self._held:
            self._leave(now)                # it has said that it will send no more, and has not
            return
        self.phase = LINGER
        self.choked = False
        self.transport.unregisterProducer()
        self._scanner = None
        self._held = b""
        self._left = LINGER_BYTES
        if self._paused:
            self._paused = False
        self.transport.resumeProducing()
        self._set_deadline(now + LINGER_TIMEOUT_S)
        shut = getattr(self.transport, "loseWriteConnection", None)
        if shut is not None:
            shut()
        else:
            self.transport.loseConnection()

    def _leave(self, now: float) -> None:
        """Close when everything written has gone; a client that does not read it is not waited for without end."""
        if self.phase != LINGER:
            self.transport.unregisterProducer()
        self.phase = CLOSED
        self._set_deadline(now + self.body_timeout_s)
        self.transport.loseConnection()

    def _cut(self) -> None:
        self.phase = CLOSED
        self.deadline = 0.0
        self.transport.abortConnection()

    # -- deadlines, drains, bugs ---------------------------------------------------------------------------------------

    def _set_deadline(self, deadline: float) -> None:
        self.deadline = deadline = self._limit if self._limit and self._limit < deadline else deadline
        if self.deadline_slot > deadline * _TICKS + 1:
            self._plane.deadlines.schedule(self)

    def expired(self, now: float) -> None:
        """The deadline of the present phase has passed."""
        phase = self.phase
        if phase == READY and (not self._held or self.choked):
            self._leave(now)                            # an idle connection: closing is answer enough
            return
        if phase == LINGER:
            self._leave(now)                            # what it has not read yet, it may still read
            return
        if phase == CLOSED:
            self._cut()
            return
        exchange = self.exchange
        error: ProxyError
        if phase == BODY and self._stalled:
            self._cluster.counters.timeouts += 1
            error = UpstreamTimeout("the endpoint stopped reading the request")
        else:
            self._counters.timeouts += 1
            error = ClientTimeout("the request did not arrive in time")
        if exchange is None:
            head = RequestHead(b"", b"", b"", None, 1, b"", b"", None, [], 0, False)
            self.exchange = exchange = Exchange(self, head, self._plane.request_id(), now, len(self._held))
            self.route = None
            self.host = None
            self._held = b""
            self.phase = BODY
        if exchange.t_downstream_first:
            exchange.flag, exchange.detail = error.flag, error.detail
            self._finish(exchange, now)
            self._cut()
            return
        self._fail(error, now)

    def drain(self) -> None:
        """The listener drains: an idle connection closes now, a busy one after its answer."""
        self.must_close = True
        if self.phase == READY and not self._held:
            self._leave(self.monotonic())

    def close(self) -> None:
        """The drain's time is up."""
        if self.exchange is not None:
            self.exchange.detail = "drained"
        self._cut()

    def crashed(self) -> None:
        """A bug of ours on this connection: the guard has logged it; the client hears of it if it still can."""
        exchange = self.exchange
        if exchange is None or exchange.t_downstream_first or self.phase in (CLOSED, LINGER):
            if exchange is not None:
                exchange.flag, exchange.detail = "IE", "internal_error"
            self._drop_upstream()
            self._cut()
            return
        self.must_close = True
        self._drop_upstream()
        reply = Reply(500, flag="IE", detail="internal_error", close=True, negotiate=True)
        self._answer(reply, self.monotonic())

    # -- heads that are not complete; filters that wait; forwarding fields ---------------------------------------------

    def _incomplete(self, data: bytes, end: int) -> None:
        """No head yet, none at all, or too large a one."""
        empty = _EMPTY_LINES.match(data)
        if empty is not None:               # RFC 9112 2.2: skipped; the deadline does not move for them
            data = data[empty.end():]
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

    def _wait(self, decision: Deferred[Reply | None], filters: Iterator[RequestFilter], body: bytes) -> None:
        """The slow lane: a filter has to ask somebody; `filters` are those behind it. What the client sends is held."""
        exchange, route, phase = self.exchange, self.route, self.phase
        assert exchange is not None and route is not None
        self.phase = ASKING
        self.deadline = 0.0
        self._asked = decision

        def decided(reply: Reply | None) -> None:
            self._asked = None
            if self.exchange is not exchange:
                return                      # the client did not wait
            self.phase = phase
            now = self.monotonic()
            if reply is None:
                for request_filter in filters:
                    result = request_filter(exchange)
                    if isinstance(result, Deferred):
                        self._wait(result, filters, body)
                        return
                    if result is not None:
                        reply = result
                        break
            if reply is not None:
                self._answer(reply, now)
            else:
                self._forward(route, exchange.request, exchange, body, now)

        def failed(failure: Failure) -> None:
            self._asked = None
            if self.exchange is exchange:
                self._log.failure("a filter failed", failure=failure)
                self.phase = phase
                self.crashed()
            elif failure.check(CancelledError) is None:     # we cancel it when the client leaves
                self._log.failure("a filter failed, but its client has left", failure=failure)

        decision.addCallback(decided).addErrback(failed)

    def _forwarding(self, theirs: list[Field]) -> bytes:
        """The forwarding fields, of which only X-Forwarded-For survives from the client's own, with its address behind it."""
        chain = [value for name, value in theirs if name == b"x-forwarded-for" and value]
        peer = self.peer_address.encode("ascii")
        if not self._factory.skip_xff_append:
            chain.append(peer)
        lines = [b"x-forwarded-for: " + b", ".join(chain)] if chain else []
        return b"\r\n".join([*lines, b"x-forwarded-proto: " + self.scheme, b"x-real-ip: " + peer])


@implementer(IPushProducer)
class _Backlog:
    """The producer of all that is written to a client, from its first answer to its last.

    An answer that streams is bounded by pausing its endpoint. Whole answers need a bound as well: a client that asks on and on
    without reading would have us keep them all.
    """

    __slots__ = ("_downstream",)

    def __init__(self, downstream: Downstream) -> None:
        self._downstream = downstream

    def pauseProducing(self) -> None:
        """The client does not keep up."""
        self._downstream.backed_up()

    def resumeProducing(self) -> None:
        """The client keeps up again."""
        self._downstream.caught_up()

    def stopProducing(self) -> None:
        """The client is gone; `Downstream.connectionLost` says so in a moment."""


@implementer(IProtocolFactory)
class HttpFactory:
    """Makes a `Downstream` for every connection of one HTTP_PROXY listener.

    `table` is swapped at a reload; a request takes it once, when its head is complete. `max_head_bytes`, `head_timeout_s`
    and `keep_alive_timeout_s` are the largest that any virtual host of the listener asks for, because they act before the
    virtual host is known.
    """

    def __init__(
        self, plane: Plane, name: str, local_address: str, local_port: int, table: HostTable, counters: ListenerCounters,
    ) -> None:
        self.plane = plane
        self.name = name
        self.local_address = local_address
        self.local_port = local_port
        self.table = table
        self.counters = counters
        self.max_head_bytes = MAX_REQUEST_HEAD_BYTES
        self.head_timeout_s = REQUEST_HEAD_TIMEOUT_S
        self.keep_alive_timeout_s = KEEP_ALIVE_TIMEOUT_S
        self.skip_xff_append = False
        self.draining = False
        self.connections: set[Downstream] = set()

    def buildProtocol(self, addr: IAddress | None) -> Downstream:
        """A protocol for the client at `addr` (IPv4Address or IPv6Address)."""
        return Downstream(self, getattr(addr, "host", "0.0.0.0"), getattr(addr, "port", 0))

    def doStart(self) -> None:
        """Nothing to start: the plane is shared."""

    def doStop(self) -> None:
        """Nothing to stop: connections go on after their listener."""

    def drain(self) -> None:
        """Answer what is under way with ``Connection: close``; close what is idle."""
        self.draining = True
        for connection in list(self.connections):
            connection.drain()

    def close(self) -> None:
        """Cut what is still open."""
        for connection in list(self.connections):
            connection.close()
