"""Sending a request: from its route to a cluster, an endpoint, a connection.

`Sender._forward` is part of the hot path and written flat on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from voltgw.errors import BadRequest, NoCluster, NoEndpoint, Overflow, ProxyError
from voltgw.net.deadlines import NO_SLOT, TICK_S
from voltgw.proxy.casing import as_in, recased
from voltgw.proxy.fields import SAY_EMPTY, VIA, asked_upgrade, line, with_host
from voltgw.proxy.final import BOUNDED, final
from voltgw.proxy.late import FINE_S
from voltgw.proxy.phases import BODY, DIALING, HEAD, READY, SENT
from voltgw.proxy.replies import edited
from voltgw.proxy.upstream import Upstream
from voltgw.values.defaults import BODY_IDLE_TIMEOUT_S, RESPONSE_HEAD_TIMEOUT_S
from voltgw.values.preserve_case import preserve_case
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.errors import ConnectFailed
    from voltgw.interfaces import StreamTransport
    from voltgw.proxy.casing import Case
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.plane import Plane
    from voltgw.routing.table import Route, VirtualHost
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead, ResponseHead
    from voltgw.values.identity import Identity
    from voltgw.values.retry import MirrorPlan

_TICKS: Final = 1 / TICK_S


class Sender:
    """One exchange at a time on its way to an endpoint.

    A subclass makes the `Exchange`, calls `_forward` once the request's head is there, streams the body (`_stream_body`) and
    takes the end (`answered` or `_answer`). `phase` says where the request's bytes stand. The answer is written to
    `transport` by the `Upstream` itself.
    """

    __slots__ = (
        "_cluster", "_endpoint", "_forwarded", "_kept", "_limit_at", "_plane", "_producing", "_replayable", "_try_at",
        "_upstream", "_wire", "answering", "aside", "body_timeout_s", "choked", "deadline", "deadline_slot", "exchange",
        "host", "monotonic", "must_close", "phase", "route", "shadow", "transport", "tried", "upgrade", "wall",
    )

    transport: StreamTransport

    def __init__(self, plane: Plane) -> None:
        self.exchange: Exchange | None = None
        self.route: Route | None = None
        self.host: VirtualHost | None = None
        self.must_close = False             # the present answer is the last one on this connection
        self.choked = False                 # the client does not read what we write
        self.answering: EndpointConnection | None = None      # whose answer's body is on its way to the client
        self.aside: list[EndpointConnection] | None = None    # earlier tries that may still be answered, see `Outbound.late`
        self.shadow: MirrorPlan | None = None       # where the request is copied once its body is complete
        self.tried = False                  # an answer must be looked at before it is passed on: there was another try
        self.upgrade: bytes | None = None   # the protocol that the endpoint was asked to switch to
        self.body_timeout_s = BODY_IDLE_TIMEOUT_S
        self.phase = READY
        self.deadline = 0.0
        self.deadline_slot = NO_SLOT
        self.monotonic = plane.monotonic
        self.wall = plane.wall
        self._plane = plane
        self._forwarded = b""               # what endpoints are told of a client that says nothing of itself
        self._upstream: EndpointConnection | None = None      # the present try
        self._cluster: Any = None           # a `Cluster`; routes know it as an `UpstreamCluster`
        self._endpoint: Any = None          # the endpoint of the present try, whose `active` we have raised
        self._producing = False             # registered as the producer of the upstream's transport
        self._wire = b""                    # what is sent first: head, and the body's beginning
        self._kept: list[bytes] = []        # what was sent of the body behind that, as far as it is kept
        self._replayable = False            # `_wire` and `_kept` are the whole request so far
        self._limit_at = 0.0                # when the exchange must be over (route timeout), 0.0 = never
        self._try_at = 0.0                  # when the present try must have an answer (per-try timeout), 0.0 = never

    # -- what the subclasses do --------------------------------------------------------------------------------------------

    def answered(self, upstream: EndpointConnection, now: float) -> None:
        """The endpoint's answer has gone to the client, whole."""
        raise NotImplementedError

    def switched(self, upstream: EndpointConnection, response: ResponseHead, rest: bytes, now: float) -> None:
        """The endpoint has switched to the protocol in `upgrade`; `rest` is what came behind its 101."""
        raise NotImplementedError

    def interim(self, status: int, wire: bytes) -> None:
        """A 1xx answer (RFC 9110 15.2) to pass on."""
        raise NotImplementedError

    def connect_failed(self, upstream: EndpointConnection, error: ConnectFailed) -> None:
        """The endpoint did not accept."""
        raise NotImplementedError

    def upstream_failed(self, upstream: EndpointConnection, error: ProxyError, reused: bool) -> None:
        """The endpoint's side ended badly; `reused`: a pooled connection that closed before a byte of the answer.

        The connection to it is gone already.
        """
        raise NotImplementedError

    def late(self, upstream: EndpointConnection, now: float) -> bool:
        """The answer has not begun in time; whether it may go on all the same."""
        raise NotImplementedError

    def rejects(self, upstream: EndpointConnection, response: ResponseHead, now: float) -> bool:
        """An answer's head is here that may not be the one to pass on; True: it is not, and `upstream` has left us."""
        raise NotImplementedError

    def crashed(self) -> None:
        """A bug of ours in this exchange: the guard has logged it."""
        raise NotImplementedError

    def _answer(self, reply: Reply, now: float) -> None:
        """Answer ourselves; the exchange ends."""
        raise NotImplementedError

    def _stream_body(self, now: float) -> None:
        """The head is sent, the body is not complete: let it flow, at the endpoint's pace."""
        raise NotImplementedError

    def _buffer(self, route: Route, head: RequestHead, exchange: Exchange, body: bytes, now: float) -> bool:
        """The body shall be whole before an endpoint is chosen. True: it is seen to, and `_forward` called again then."""
        raise NotImplementedError

    def _drop(self) -> None:
        """The exchange needs no endpoint any more: give up every try, so that the endpoints notice."""
        raise NotImplementedError

    def _mirror(self, plan: MirrorPlan, exchange: Exchange) -> None:
        """The route asks for copies of some requests."""
        raise NotImplementedError

    def _about_client(self, exchange: Exchange, identity: Identity | None) -> bytes:
        """`_forwarded` for a client that says something of itself, or for a host that asks for more."""
        raise NotImplementedError

    def _own_names(self) -> Mapping[bytes, bytes]:
        """How the client has written the names of its fields, by their lower-case form; nothing where that is not known."""
        raise NotImplementedError

    # -- choosing and sending ----------------------------------------------------------------------------------------------

    def _forward(self, route: Route, head: RequestHead, exchange: Exchange, body: bytes, now: float) -> None:
        """Pick an endpoint and send it the request; or answer ourselves if the route says so."""
        if route.answer is not None:
            reply = route.answer(head, exchange.client)
            if route.response_filters and not reply.flag:   # a flag marks an error, and error pages are not edited
                reply = edited(reply, exchange, route)
            self._answer(reply, now)
            return
        if route.buffer_bytes and head.length and self._buffer(route, head, exchange, body, now):
            return
        if head.method in BOUNDED:
            try:
                last = final(head)
            except BadRequest as error:
                self._fail(error, now)
                return
            if last is not None:
                self._answer(last, now)
                return
        hash_key = route.hash_key
        if hash_key is not None:
            exchange.hash_key = hash_key(exchange)
        cluster: Any = route.cluster
        if cluster is None:
            split, share = route.split, route.share
            number = self._plane.random() if share is None else share(exchange)
            destination = split(number) if split is not None else None
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
        pieces.extend(map(line, head.fields))
        host = self.host
        assert host is not None             # a route belongs to one
        identity = host.identity
        about = self._forwarded if head.forwarding is None and identity is None else self._about_client(exchange, identity)
        pieces.append(about)
        if authority is not head.authority and head.authority and b"x-forwarded-host: " not in about:
            pieces.append(b"x-forwarded-host: " + head.authority)
        pieces.append(b"x-request-id: " + exchange.request_id)
        if host.via:
            pieces.append(VIA[head.minor])
        if head.upgrade is not None or self.upgrade is not None:
            self.upgrade = asked_upgrade(head, route.upgrades)
            if self.upgrade is not None:
                pieces.append(b"connection: upgrade\r\nupgrade: " + self.upgrade)
        length = head.length
        if length:
            pieces.append(b"content-length: %d" % length if length > 0 else b"transfer-encoding: chunked")
            if head.expect_continue:
                pieces.append(b"expect: 100-continue")
        elif head.method in SAY_EMPTY:
            pieces.append(b"content-length: 0")
        case: Case | None = cluster.header_case
        if case is not None:
            pieces = recased(pieces, case if case is not preserve_case else as_in(self._own_names()))
        pieces.append(b"")
        pieces.append(body)
        self._wire = wire = b"\r\n".join(pieces)
        self._replayable = True
        plan = route.mirror
        if plan is not None:
            self._mirror(plan, exchange)
        idle_timeout_s = host.idle_timeout_s
        self.body_timeout_s = idle_timeout_s or BODY_IDLE_TIMEOUT_S
        self._limit_at = limit = now + route.timeout_s if route.timeout_s else 0.0
        self._try_at = 0.0
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
            if route.retry is not None and route.retry.per_try_timeout_s:
                self._begin_try(upstream, now)
            if self.phase == BODY:
                self._stream_body(now)
        else:
            self._connect(cluster, endpoint, now)

    def _connect(self, cluster: Any, endpoint: Endpoint, now: float) -> None:
        """No idle connection: make one; the client's bytes wait meanwhile."""
        if cluster.pending >= cluster.max_pending:
            self._overflow("the cluster has its most requests that wait for a connection", now)
            return
        queue = self._plane.queues.get(cluster)
        if queue is not None or cluster.connections + cluster.pending >= cluster.max_connections:
            self._no_room(cluster, endpoint, now)
            return
        self._dial(cluster, endpoint, now)

    def _dial(self, cluster: Any, endpoint: Endpoint, now: float) -> None:
        self._upstream = upstream = Upstream(endpoint, cluster, self, self._plane)
        if self.phase == BODY:
            self.phase = DIALING
        self._begin_try(upstream, now)
        timeout_s: float = cluster.connect_timeout_s
        for limit in (self._limit_at, self._try_at):
            if limit and limit - now < timeout_s:
                timeout_s = max(limit - now, 0.0)
        upstream.connect(timeout_s)

    def connected(self, upstream: EndpointConnection) -> None:
        """The endpoint accepted: send what waits."""
        upstream.endpoint.failed_in_a_row = 0
        self._begin(upstream, self.monotonic())

    def _begin(self, upstream: EndpointConnection, now: float) -> None:
        """Send on `upstream` what there is of the request; what comes of it from now on follows."""
        exchange = self.exchange
        assert exchange is not None
        exchange.t_upstream_first_tx = exchange.t_upstream_last_tx = now
        upstream.begin(self._wire_for(upstream.endpoint), now, self._answer_timeout_s(now), self._limit_at)
        if self.phase == DIALING:
            self.phase = BODY
            self._stream_body(now)

    def _wire_for(self, endpoint: Endpoint) -> bytes:
        """What `endpoint` gets of the request, as far as that is here."""
        route, exchange = self.route, self.exchange
        assert route is not None and exchange is not None
        wire = self._wire if not self._kept else b"".join([self._wire, *self._kept])
        if (route.auto_host_rewrite or not exchange.request.authority) and not route.host_rewrite:
            return with_host(wire, endpoint.authority)
        return wire

    # -- how long a try may take -------------------------------------------------------------------------------------------

    def _begin_try(self, upstream: EndpointConnection, now: float) -> None:
        """The per-try timeout runs from here if the request is complete, else from its completion."""
        route, exchange = self.route, self.exchange
        assert route is not None and exchange is not None
        timeout_s = route.retry.per_try_timeout_s if route.retry is not None else 0.0
        if not timeout_s or self.phase != SENT:
            self._try_at = 0.0
            return
        self._try_at = at = now + timeout_s
        if timeout_s < FINE_S:
            self._plane.late(timeout_s).add(upstream, exchange, now)
        elif upstream.deadline > at:
            upstream.deadline = at
            if upstream.deadline_slot > at * _TICKS + 1:
                self._plane.deadlines.schedule(upstream)

    def _answer_timeout_s(self, now: float) -> float:
        """How long an endpoint has to begin its answer to a request that is complete, the route's timeout aside."""
        host = self.host
        timeout_s = host and host.idle_timeout_s or RESPONSE_HEAD_TIMEOUT_S
        return min(timeout_s, max(self._try_at - now, 0.0)) if self._try_at else timeout_s

    # -- the end -----------------------------------------------------------------------------------------------------------

    def _no_room(self, cluster: Any, endpoint: Endpoint, now: float) -> None:
        """The cluster has its most connections, or others wait for one."""
        self._overflow("the cluster has its most connections", now)

    def _overflow(self, why: str, now: float) -> None:
        self._cluster.counters.overflow += 1
        self._give_up(Overflow(why), now)

    def _give_up(self, error: ProxyError, now: float) -> None:
        """The present try cannot even begin."""
        self._fail(error, now)

    def _fail(self, error: ProxyError, now: float) -> None:
        """Answer with an error; nothing was answered yet."""
        self._drop()
        status = error.answer if isinstance(error, BadRequest) else error.status
        self._answer(Reply(status, flag=error.flag, detail=error.detail, negotiate=True), now)

    def _finish(self, exchange: Exchange, now: float) -> None:
        """The exchange is over, however: give back what it held and write it down."""
        self._wire = b""
        self._kept = []
        self._drop()
        self._record(exchange, now)

    def _record(self, exchange: Exchange, now: float) -> None:
        self.exchange = self.shadow = None
        exchange.transform = None
        if exchange.attempts:
            self._cluster.active -= 1
            endpoint, self._endpoint = self._endpoint, None
            if endpoint is not None:
                endpoint.active -= 1
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
