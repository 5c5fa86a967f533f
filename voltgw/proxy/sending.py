"""Sending a request: from its route to a cluster, an endpoint, a connection.

`Sender._forward` is part of the hot path and written flat on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from voltgw.cluster.cluster import Cluster, whole_of
from voltgw.errors import BadRequest, NoCluster, NoEndpoint, Overflow, ProxyError
from voltgw.net.deadlines import TICK_S
from voltgw.proxy.announcing import announcement
from voltgw.proxy.ask import Ask, as_fields, takes_trailers
from voltgw.proxy.casing import as_in, recased
from voltgw.proxy.exchanging import Exchanging
from voltgw.proxy.fields import SAY_EMPTY, VIA, asked_upgrade, with_host
from voltgw.proxy.final import BOUNDED, final
from voltgw.proxy.identity import about_less
from voltgw.proxy.late import FINE_S
from voltgw.proxy.named import server_name
from voltgw.proxy.phases import BODY, DIALING, HEAD, SENT
from voltgw.proxy.replies import edited
from voltgw.proxy.rpc import grpc_timeout_s, is_grpc
from voltgw.proxy.ties import FREE, Tie, bring
from voltgw.proxy.tracing import asked_again, retold, stands
from voltgw.proxy.upstream import Upstream
from voltgw.proxy.upstream2 import Trunk
from voltgw.values.defaults import BODY_IDLE_TIMEOUT_S, RESPONSE_HEAD_TIMEOUT_S
from voltgw.values.head import CHUNKED
from voltgw.values.preserve_case import preserve_case
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.proxy.casing import Case
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.pool import Pool
    from voltgw.routing.table import Route
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead

_TICKS: Final = 1 / TICK_S


class Sender(Exchanging):
    """The way of an exchange to an endpoint; `Exchanging` says what a subclass adds."""

    __slots__ = ()

    # -- choosing and sending ----------------------------------------------------------------------------------------------

    def _forward(self, route: Route, head: RequestHead, exchange: Exchange, body: bytes, now: float) -> None:
        """Pick an endpoint and send it the request; or answer ourselves if the route says so."""
        if route.answer is not None:
            reply = route.answer(head, exchange)
            if route.response_filters and not reply.flag:   # a flag marks an error, and error pages are not edited
                reply = edited(reply, exchange, route, route.response_filters)
            self._answer(reply, now)
            return
        if head.length and (route.buffer_bytes or route.max_body_bytes) and self._buffer(route, head, exchange, body, now):
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
        chosen = route.cluster
        if chosen is None:
            split, share = route.split, route.share
            number = self._plane.random() if share is None else share(exchange)
            destination = split(number) if split is not None else None
            if destination is None or destination.cluster is None:
                self._cluster = None        # what is left there is the last request's
                self._fail(NoCluster("the route's cluster does not exist") if destination is not None
                           else NoEndpoint("no destination of the route may be used"), now)
                return
            chosen = destination.cluster
        cluster = chosen if isinstance(chosen, Cluster) else whole_of(chosen)
        self._cluster = chosen
        self._whole = cluster
        cluster.counters.requests += 1
        if cluster.active >= cluster.max_requests:
            cluster.counters.overflow += 1
            self._fail(Overflow("the cluster has its most requests under way"), now)
            return
        endpoint: Endpoint | None = cluster.pick(exchange.hash_key) if chosen is cluster else chosen.pick(exchange.hash_key)
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
            except ValueError as wrong:
                self._fail(BadRequest(f"the rewritten path {wrong}"), now)
                return
        authority = (route.host_rewrite or (endpoint.authority if route.auto_host_rewrite else head.authority)
                     or endpoint.authority)         # HTTP/1.0 need not name a host
        if cluster.http2:
            self._forward_either(route, head, exchange, target, authority, body, now)
            return
        pieces = [b"%b %b HTTP/1.1\r\nhost: %b" % (head.method, target, authority)]
        fields, shared = head.fields, head.shared
        if shared is not None and fields[:shared.count] == shared.fields:   # edits have at most added some behind
            pieces.append(shared.text)
            for index in range(shared.count, len(fields)):
                name, value = fields[index]
                pieces.append(name + b": " + value)
        else:
            for name, value in fields:
                pieces.append(name + b": " + value)
        host = self.host
        assert host is not None             # a route belongs to one
        identity = host.identity
        about = self._forwarded if head.forwarding is None and identity is None else self._about_client(exchange, identity)
        if authority is not head.authority and head.authority and about.find(b"x-forwarded-host: ") < 0:
            about = b"%b\r\nx-forwarded-host: %b" % (about, head.authority)
        about = b"%b\r\nx-request-id: %b" % (about, exchange.request_id)
        if route.told:
            about = about_less(about, route.told)
        if about:
            pieces.append(about)
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

        pool: Pool = endpoint.pool          # type: ignore[assignment]  # the cluster sees a PoolLike; we made it
        idle = pool.idle
        if idle and (not cluster.tied or bring(idle, self.tie(cluster, endpoint))):
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
            self._connect(chosen, endpoint, now)

    def _forward_either(
        self, route: Route, head: RequestHead, exchange: Exchange, target: bytes, authority: bytes, body: bytes, now: float,
    ) -> None:
        """The rest of `_forward` where the endpoints speak HTTP/2, or may."""
        host, cluster = self.host, self._cluster
        assert host is not None
        identity = host.identity
        about = self._forwarded if head.forwarding is None and identity is None else self._about_client(exchange, identity)
        if authority is not head.authority and head.authority and about.find(b"x-forwarded-host: ") < 0:
            about = b"%b\r\nx-forwarded-host: %b" % (about, head.authority)
        about = b"%b\r\nx-request-id: %b" % (about, exchange.request_id)
        if route.told:
            about = about_less(about, route.told)
        fields = [*head.fields, *(as_fields(about) if about else ())]
        if host.via:
            fields += as_fields(VIA[head.minor])
        self._ask = ask = Ask(head.method, target, authority, fields, head.length, body)
        ask.framed = self.plain and head.length == CHUNKED
        ask.expect = head.expect_continue
        ask.trailers = bool(head.connection) and takes_trailers(head)
        if head.upgrade is not None or self.upgrade is not None:
            ask.upgrade = self.upgrade = asked_upgrade(head, route.upgrades)
        self._wire = b""
        self._replayable = True
        if route.mirror is not None:
            self._mirror(route.mirror, exchange)
        self.body_timeout_s = host.idle_timeout_s or BODY_IDLE_TIMEOUT_S
        self._limit_at = now + route.timeout_s if route.timeout_s else 0.0
        if is_grpc(head):
            timeout_s = grpc_timeout_s(head)
            if timeout_s is not None and not (self._limit_at and self._limit_at < now + timeout_s):
                self._limit_at = now + timeout_s
        self._try_at = 0.0
        self.deadline = 0.0
        self._connect(cluster, exchange.endpoint, now)      # type: ignore[arg-type]  # what was picked is live

    def _connect(self, cluster: Any, endpoint: Endpoint, now: float) -> None:
        """No idle connection: make one; the client's bytes wait meanwhile."""
        if cluster.http2 and self._share(endpoint, now):
            return
        if cluster.pending >= cluster.max_pending:
            self._overflow("the cluster has its most requests that wait for a connection", now)
            return
        queue = self._plane.queues.get(cluster.counters)
        if queue is not None or cluster.connections + cluster.pending >= cluster.max_connections:
            self._no_room(cluster, endpoint, now)
            return
        self._dial(cluster, endpoint, now)

    def _share(self, endpoint: Endpoint, now: float) -> bool:
        """Send on a connection of HTTP/2 that has room, or will be there in a moment; or on an idle one of HTTP/1.1."""
        pool: Pool = endpoint.pool          # type: ignore[assignment]  # the cluster sees a PoolLike; we made it
        tie = self.tie(self._cluster, endpoint) if self._cluster.tied else None
        trunk = pool.with_room(tie)
        upstream: EndpointConnection
        if trunk is not None:
            if not trunk.open and self._cluster.pending >= self._cluster.max_pending:
                return False                # which is what the caller finds, too
            upstream = trunk.lane(self)
        elif pool.idle and (tie is None or bring(pool.idle, tie)):
            upstream = pool.idle.pop()
            upstream.downstream = self
        else:
            return False
        self._upstream = upstream
        if self.phase == BODY:
            self.phase = DIALING            # as far as `_begin` is concerned
        self._begin_try(upstream, now)
        if trunk is None or trunk.open:
            self._begin(upstream, now)
        else:
            upstream.connect(self._connect_timeout_s(now))
        return True

    def _dial(self, cluster: Any, endpoint: Endpoint, now: float) -> None:
        upstream: EndpointConnection
        if cluster.http2:
            upstream = Trunk(endpoint, cluster, self._plane, self.tie(cluster, endpoint)).lane(self)
        else:
            upstream = Upstream(endpoint, cluster, self, self._plane)
        self._upstream = upstream
        if self.phase == BODY:
            self.phase = DIALING
        self._begin_try(upstream, now)
        upstream.connect(self._connect_timeout_s(now))

    def _connect_timeout_s(self, now: float) -> float:
        timeout_s: float = self._cluster.connect_timeout_s
        for limit in (self._limit_at, self._try_at):
            if limit and limit - now < timeout_s:
                timeout_s = max(limit - now, 0.0)
        return timeout_s

    def server_name(self, cluster: Any, endpoint: Endpoint) -> str:
        """The name that a TLS connection to `endpoint` asks for; "" in plain text."""
        if cluster.tls is None:
            return ""
        route, exchange = self.route, self.exchange
        assert exchange is not None
        asked = exchange.request.authority
        if route is not None:
            asked = route.host_rewrite or (endpoint.authority if route.auto_host_rewrite else asked)
        return server_name(cluster, endpoint, asked or endpoint.authority)

    def tie(self, cluster: Any, endpoint: Endpoint) -> Tie:
        """What ties a connection to `endpoint` to this request."""
        name = self.server_name(cluster, endpoint)
        out = cluster.proxy_protocol
        if out is None and not cluster.unshared:
            return Tie(name) if name else FREE
        exchange = self.exchange
        assert exchange is not None
        client = exchange.client
        return Tie(name, announcement(client, out) if out is not None else b"", client)

    def may_use(self, upstream: EndpointConnection) -> bool:
        """Whether a connection that somebody else had serves this request as well."""
        cluster, endpoint = self._cluster, upstream.endpoint
        return cluster.holds(endpoint) and (
            not cluster.tied or upstream.tie == self.tie(cluster, endpoint))

    def own_connection(self, lane: EndpointConnection) -> None:
        """See `Exchanging`."""
        self._upstream = None
        self._connect(self._cluster, lane.endpoint, self.monotonic())

    def connected(self, upstream: EndpointConnection) -> None:
        """The endpoint accepted: send what waits."""
        upstream.endpoint.accepted()
        now, exchange = self.monotonic(), self.exchange
        if exchange is not None and exchange.trace is not None:
            stands(exchange, upstream, now)
        self._begin(upstream, now)

    def _begin(self, upstream: EndpointConnection, now: float) -> None:
        """Send on `upstream` what there is of the request; what comes of it from now on follows."""
        exchange = self.exchange
        assert exchange is not None
        exchange.t_upstream_first_tx = exchange.t_upstream_last_tx = now
        timeout_s, limit = self._answer_timeout_s(now), self._limit_at
        if upstream.plain:
            upstream.begin(self._wire_for(upstream.endpoint), now, timeout_s, limit)
        else:
            upstream.ask(self, now, timeout_s, limit)
        if self.phase == DIALING:
            self.phase = BODY
            self._stream_body(now)

    def _wire_for(self, endpoint: Endpoint) -> bytes:
        """What `endpoint` gets of the request, as far as that is here."""
        route, exchange = self.route, self.exchange
        assert route is not None and exchange is not None
        wire = self._so_far()
        if exchange.attempts > 1 and exchange.trace is not None:
            wire = retold(wire, exchange.trace, endpoint)
        if (route.auto_host_rewrite or not exchange.request.authority) and not route.host_rewrite:
            return with_host(wire, endpoint.authority)
        return wire

    def _so_far(self) -> bytes:
        """The request as far as it is here, as HTTP/1.1."""
        wire = self._wire
        if self._ask is not None:
            case: Case | None = self._cluster.header_case
            if case is preserve_case:
                case = as_in(self._own_names())
            wire = self._ask.wire(self._ask.authority, case)
        return wire if not self._kept else b"".join([wire, *self._framed(self._kept)])

    def _framed(self, kept: list[bytes]) -> list[bytes]:
        """What is kept of the body, as HTTP/1.1."""
        return kept

    def ask_of(self, endpoint: Endpoint) -> tuple[Ask, list[bytes]]:
        """What `endpoint` gets by HTTP/2: the request, and the pieces of its body behind those that it has itself."""
        ask = self._ask
        route, exchange = self.route, self.exchange
        assert route is not None and exchange is not None
        if ask is None:
            ask = Ask.of_wire(self._wire)
        elif (route.auto_host_rewrite or not exchange.request.authority) and not route.host_rewrite:
            ask.authority = endpoint.authority
        if exchange.attempts > 1 and exchange.trace is not None:
            ask = asked_again(ask, exchange.trace, endpoint)
        return ask, self._kept

    @property
    def never(self) -> Sequence[bytes]:
        """Names of fields that no table of HTTP/2 may remember, because the client has said so (RFC 7541 7.1.3)."""
        return ()

    @property
    def replayable(self) -> bool:
        """Whether all that was sent of the request could be sent again."""
        return self._replayable

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
        self._ask = None
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
        if route is not None and route.tally is not None:   # type: ignore[attr-defined]  # a `Route`; records see its labels
            route.tally(exchange, self._cluster, now)       # type: ignore[attr-defined]
        self._plane.access.http(exchange)
