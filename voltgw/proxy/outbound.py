"""What becomes of a request that was sent: the answer to pass on, another try, a try beside it, or the end.

`Outbound` is the base of whoever serves a client's exchange: its connection in HTTP/1.1 (`voltgw.proxy.http1`). What follows
a failure is decided by `voltgw.cluster.attempts`; here it is carried out. None of it runs for a request that succeeds.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from voltgw.cluster.attempts import Attempts, is_bad
from voltgw.errors import NoEndpoint, ProxyError, Source, UpstreamTimeout
from voltgw.proxy.mirror import chosen, mirror
from voltgw.proxy.phases import BODY, DIALING, SENT
from voltgw.proxy.rpc import retry_conditions, retry_status
from voltgw.proxy.sending import Sender
from voltgw.proxy.ties import bring
from voltgw.proxy.tracing import try_begun, try_ended, try_moved
from voltgw.proxy.unheard import Unheard
from voltgw.proxy.waiting import Queue, Waiter
from voltgw.values.address import where
from voltgw.values.defaults import MAX_UNHEARD_BYTES, RESPONSE_HEAD_TIMEOUT_S

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.errors import ConnectFailed
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.plane import Plane
    from voltgw.proxy.pool import Pool
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import ResponseHead
    from voltgw.values.retry import MirrorPlan

#: What a Retry-After of more digits is taken for: longer than anybody waits.
_TOO_LONG_S: Final = 1e9
_NONE: Final[frozenset[str]] = frozenset()


class Outbound(Sender):
    """A sender that does not give up at once.

    Of its tries one is the present one; with hedging, earlier ones may go on `aside`. The first good answer wins, and the
    others are given up. A bad answer is passed on only when no other try is left or allowed. Each try counts as `active` at
    its endpoint while it is under way.
    """

    __slots__ = ("_attempts", "_pause", "_waiter")

    def __init__(self, plane: Plane) -> None:
        super().__init__(plane)
        self._attempts: Attempts | None = None
        self._pause: IDelayedCall | None = None     # the next try waits for its time
        self._waiter: Waiter | None = None          # the present try waits for a connection

    # -- what the client's side does ---------------------------------------------------------------------------------------

    def _let_flow(self) -> None:
        """The endpoint that held up the request's body is gone."""
        raise NotImplementedError

    def _broken_off(self, error: ProxyError, now: float) -> None:
        """The answer has begun and cannot go on: only a cut tells the client that it is not whole."""
        raise NotImplementedError

    # -- failures ----------------------------------------------------------------------------------------------------------

    def connect_failed(self, upstream: EndpointConnection, error: ConnectFailed) -> None:
        """The endpoint did not accept: count it, then as for any failure."""
        if upstream.leads:
            self._cluster.connect_failed(upstream.endpoint)
        self._failed(upstream, error, reused=False)

    def upstream_failed(self, upstream: EndpointConnection, error: ProxyError, reused: bool) -> None:
        """The endpoint's side ended badly: count it; once the answer has begun there is no other try."""
        if upstream is self._upstream:
            self._producing = False         # its transport is gone, and we with it as its producer
            self._let_flow()
        # A stale connection says nothing of its endpoint, nor does one that is ended in an orderly way (GOAWAY).
        if error.source is Source.UPSTREAM and not reused and not getattr(error, "again", False):
            upstream.endpoint.silent(error.detail, self.monotonic())
        exchange = self.exchange
        if exchange is None:
            self._upstream = None
            return
        counters = self._cluster.counters
        if error.flag == "UT":
            counters.timeouts += 1
        elif error.source is Source.UPSTREAM:
            counters.resets += 1
        if exchange.t_downstream_first:
            self._upstream = None
            self._broken_off(error, self.monotonic())
        else:
            self._failed(upstream, error, reused)

    def _failed(self, upstream: EndpointConnection, error: ProxyError, reused: bool) -> None:
        """A try is over without an answer: what now?"""
        now = self.monotonic()
        limit = self._limit_at
        pause: float | None = None
        if self._end_try(upstream, error.detail) and not (limit and now >= limit):
            pause = self._decider().after(error, upstream.endpoint, reused, self._replayable)
        if pause is not None and not (limit and now + pause >= limit):
            self._try_again(pause, now)
        elif not self._waiting:
            self._fail(error, now)

    def late(self, upstream: EndpointConnection, now: float) -> bool:
        """The answer has not begun in time. With hedging this try goes on beside another one, if there may be one."""
        route, exchange, limit = self.route, self.exchange, self._limit_at
        assert route is not None and exchange is not None
        plan = route.retry
        if (plan is None or not plan.hedge or upstream is not self._upstream or self.phase != SENT
                or not self._try_at or now < self._try_at or (limit and now >= limit)):
            return False
        error = UpstreamTimeout("no answer within the per-try timeout")
        upstream.endpoint.silent(error.detail, now)
        pause = self._decider().after(error, upstream.endpoint, False, self._replayable)
        upstream.wait_on(now, (self.host and self.host.idle_timeout_s) or RESPONSE_HEAD_TIMEOUT_S)
        self._try_at = 0.0
        if pause is not None:
            self._cluster.counters.timeouts += 1
            self._note(exchange, upstream.endpoint, "per_try_timeout")
            self.aside = [*(self.aside or ()), upstream]
            self._upstream = self._endpoint = None
            self.tried = True
            self._send_again()
        return True

    def replaced(self, lane: EndpointConnection, upstream: EndpointConnection) -> None:
        """The endpoint has chosen HTTP/1.1: the try on `lane` goes on with `upstream`."""
        if lane is self._upstream:
            self._upstream = upstream
            self._begin_try(upstream, self.monotonic())
        elif self.aside is not None:
            self.aside[self.aside.index(lane)] = upstream

    def own_connection(self, lane: EndpointConnection) -> None:
        """The same, but somebody else has that connection: the try needs its own."""
        if lane is self._upstream:
            self._upstream = None
            self._connect(self._cluster, lane.endpoint, self.monotonic())
        elif self.aside is not None:
            self.aside.remove(lane)
            self.aside = self.aside or None
            lane.endpoint.active -= 1

    def _give_up(self, error: ProxyError, now: float) -> None:
        self._release()
        if not self._waiting:
            self._fail(error, now)

    # -- answers that may not be the one -----------------------------------------------------------------------------------

    def rejects(self, upstream: EndpointConnection, response: ResponseHead, now: float) -> bool:
        """Called for answers that may be bad, where the route has a retry policy, and for all that are not the first try's."""
        route, exchange = self.route, self.exchange
        assert route is not None and exchange is not None
        status = retry_status(response, response.length == 0)
        grpc = retry_conditions(response, response.length == 0) if route.retry is not None and route.retry.grpc else _NONE
        if route.retry is not None and (is_bad(status, route.retry) or not route.retry.conditions.isdisjoint(grpc)):
            pause: float | None = None
            if upstream is self._upstream:
                hint_s = self._hint_s(response)
                pause = self._decider().after_answer(status, upstream.endpoint, self._replayable, hint_s, grpc)
                if pause is not None and hint_s and pause > self._answer_timeout_s(now):
                    pause = None            # longer than the client would be let wait for any endpoint
                if pause is not None and self._limit_at and now + pause >= self._limit_at:
                    pause = None
            if pause is not None or self._others(upstream):
                self._turn_away(upstream, response, exchange)
                if pause is not None:
                    self._try_again(pause, now)
                return True
        self._wins(upstream, exchange)
        return False

    def _hint_s(self, response: ResponseHead) -> float:
        """What Retry-After asks for (RFC 9110 10.2.3), in seconds from now; 0.0 = nothing, or nonsense."""
        value = response.get(b"retry-after")
        if value is None:
            return 0.0
        if value.isdigit():
            return float(value) if len(value) < 10 else _TOO_LONG_S
        try:
            return max(parsedate_to_datetime(value.decode("ascii")).timestamp() - self.wall(), 0.0)
        except (ValueError, OverflowError):
            return 0.0

    def _turn_away(self, upstream: EndpointConnection, response: ResponseHead, exchange: Exchange) -> None:
        """Do not pass this answer on. Its connection is used again only if the answer ends as it should, and soon."""
        if upstream is self._upstream and self._producing:
            self._producing = False
            upstream.transport.unregisterProducer()
            self._let_flow()
        exchange.t_upstream_first_rx = 0.0
        self._end_try(upstream, str(response.status))
        if self.phase == SENT and Unheard.takes(response):
            upstream.downstream = Unheard(self._plane, self._cluster, exchange, MAX_UNHEARD_BYTES)
        else:
            status = response.status
            upstream.endpoint.status[status // 100 if status < 600 else 0] += 1
            upstream.abort()                # it would still expect the rest of the request, or say too much

    def _wins(self, upstream: EndpointConnection, exchange: Exchange) -> None:
        """This answer is passed on: every other try is given up, and the retries under way are one less."""
        self.tried = False
        if self._attempts is not None:
            self._attempts.close()
        self._wait_no_more()
        aside, self.aside = self.aside, None
        if aside is None:
            return
        if upstream is not self._upstream:
            aside.remove(upstream)
            present, self._upstream = self._upstream, upstream
            self._release()
            self._endpoint = exchange.endpoint = upstream.endpoint
            if present is not None:
                present.abort()
        for each in aside:
            each.endpoint.active -= 1
            each.abort()

    # -- tries -------------------------------------------------------------------------------------------------------------

    def _decider(self) -> Attempts:
        attempts = self._attempts
        if attempts is None:
            route, exchange = self.route, self.exchange
            assert route is not None and exchange is not None
            plan = route.retry if self.upgrade is None or route.upgrade_retry is None else route.upgrade_retry
            self._attempts = attempts = Attempts(
                self._cluster, exchange.request.method, exchange.hash_key, plan, self._plane.random)
        return attempts

    def _try_again(self, pause: float, now: float) -> None:
        """The next try, after a pause in seconds; what comes of the request meanwhile is held."""
        if self.phase == BODY:
            self.phase = DIALING
            self.deadline = 0.0
        if pause > 0.0:
            self._pause = self._plane.later(pause, self, self._send_again)
        else:
            self._send_again()

    def _send_again(self) -> None:
        self._pause = None
        now = self.monotonic()
        attempts, exchange, cluster = self._attempts, self.exchange, self._cluster
        assert attempts is not None and exchange is not None
        endpoint = attempts.next()
        if endpoint is None:
            cluster.counters.no_endpoint += 1
            self._give_up(NoEndpoint("no endpoint is left for another try"), now)
            return
        self.tried = True
        cluster.counters.retries += 1
        endpoint.active += 1
        endpoint.requests += 1
        self._endpoint = exchange.endpoint = endpoint
        exchange.attempts += 1
        if exchange.trace is not None:
            try_begun(exchange, endpoint, now)
        idle = endpoint.pool.idle           # type: ignore[attr-defined]  # the cluster sees a PoolLike; we made it
        if attempts.afresh or not idle or (cluster.tied and not bring(idle, self.tie(cluster, endpoint))):
            if idle and attempts.afresh and not cluster.tied:
                idle.pop(0).close()         # the new one takes the place of the oldest: tries must not make pools grow
            self._connect(cluster, endpoint, now)
            return
        self._upstream = upstream = idle.pop()
        upstream.downstream = self
        self._begin_try(upstream, now)
        self._begin(upstream, now)

    def _end_try(self, upstream: EndpointConnection, outcome: str) -> bool:
        """`upstream` serves this exchange no more; whether it was the present try."""
        exchange = self.exchange
        assert exchange is not None
        self._note(exchange, upstream.endpoint, outcome)
        if upstream is self._upstream:
            self._upstream = None
            self._release()
            return True
        aside = self.aside
        assert aside is not None
        aside.remove(upstream)
        self.aside = aside or None
        upstream.endpoint.active -= 1
        return False

    def _release(self) -> None:
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.active -= 1

    def _note(self, exchange: Exchange, endpoint: Endpoint, outcome: str) -> None:
        if exchange.tries is None:
            exchange.tries = []
        exchange.tries.append((where(endpoint.address, endpoint.port), outcome))
        if exchange.trace is not None:
            try_ended(exchange, endpoint, outcome, self.monotonic())

    @property
    def _waiting(self) -> bool:
        """Whether a try is under way, or about to be."""
        return self._present or self.aside is not None

    def _others(self, upstream: EndpointConnection) -> bool:
        """Whether a try other than this one is under way, or about to be."""
        if upstream is self._upstream:
            return self.aside is not None
        return self._present or len(self.aside or ()) > 1

    @property
    def _present(self) -> bool:
        """Whether there is a present try, or will be."""
        return self._upstream is not None or self._pause is not None or self._waiter is not None

    # -- waiting for a connection ------------------------------------------------------------------------------------------

    @property
    def bound_for(self) -> Endpoint | None:
        """The endpoint of the present try."""
        endpoint: Endpoint | None = self._endpoint
        return endpoint

    def _no_room(self, cluster: Any, endpoint: Endpoint, now: float) -> None:
        """Take a connection that is free somewhere, or wait for one; a request with a key wants its own endpoint's."""
        exchange = self.exchange
        assert exchange is not None
        bound = exchange.hash_key is not None or self._attempts is not None
        queue = self._plane.queues.get(cluster.counters)
        if queue is None:
            queue = Queue(self._plane, cluster)
            idle = queue.idle()
            if idle is not None:
                idle.pool.forget(idle)
                if not bound and idle.endpoint.ready and self.may_use(idle):
                    self.given(idle)
                    return
                idle.close()                # its place is worth more
            trunk = queue.idle_trunk() if cluster.http2 else None
            if trunk is not None:
                trunk.drain()
        elif not queue.dry:                 # there is one that was of no use so far: the first who waits shall have it
            idle = queue.idle()
            if idle is not None:
                queue.offer(idle)
        if self.phase == BODY:
            self.phase = DIALING
        self._try_at = 0.0
        until = now + self._answer_timeout_s(now)
        self._waiter = queue.join(self, bound, min(until, self._limit_at) if self._limit_at else until)

    def dial_now(self) -> None:
        """There is room for one more connection."""
        self._waiter = None
        now, cluster, exchange = self.monotonic(), self._cluster, self.exchange
        assert exchange is not None
        endpoint = self._endpoint
        assert endpoint is not None         # it was picked when the wait began
        if not endpoint.ready:
            endpoint = cluster.pick(exchange.hash_key)
            if endpoint is None:
                cluster.counters.no_endpoint += 1
                self._give_up(NoEndpoint("no endpoint is left that may be used"), now)
                return
            self._change_to(endpoint, exchange)
        if not cluster.http2 or not self._share(endpoint, now):
            self._dial(cluster, endpoint, now)

    def may_share(self) -> bool:
        """Whether there is a connection of HTTP/2 to the present try's endpoint that takes one more request."""
        endpoint, cluster = self._endpoint, self._cluster
        if endpoint is None:
            return False
        pool: Pool = endpoint.pool          # type: ignore[assignment]  # the cluster sees a PoolLike; we made it
        trunk = pool.with_room(self.tie(cluster, endpoint) if cluster.tied else None)
        return trunk is not None and trunk.open

    def given(self, upstream: EndpointConnection) -> None:
        """A connection that has become free is ours."""
        self._waiter = None
        now, exchange = self.monotonic(), self.exchange
        assert exchange is not None
        if upstream.endpoint is not self._endpoint:
            self._change_to(upstream.endpoint, exchange)
        if self.phase == BODY:
            self.phase = DIALING            # as far as `_begin` is concerned
        self._upstream = upstream
        upstream.downstream = self
        self._begin_try(upstream, now)
        self._begin(upstream, now)

    def waited(self, now: float) -> None:
        """No connection came in time."""
        self._waiter = None
        if self._limit_at and now >= self._limit_at:
            self._cluster.counters.timeouts += 1
            self._give_up(UpstreamTimeout("no connection to an endpoint was free in time"), now)
        else:
            self._overflow("no connection to an endpoint was free in time", now)

    def _change_to(self, endpoint: Endpoint, exchange: Exchange) -> None:
        before = self._endpoint
        if before is not None:
            before.active -= 1
            before.requests -= 1
        endpoint.active += 1
        endpoint.requests += 1
        self._endpoint = exchange.endpoint = endpoint
        if exchange.trace is not None:
            try_moved(exchange, endpoint)

    def _wait_no_more(self) -> None:
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.cancel()
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.queue.leave(waiter)

    # -- copies ------------------------------------------------------------------------------------------------------------

    def _mirror(self, plan: MirrorPlan, exchange: Exchange) -> None:
        if self.upgrade is not None or not chosen(plan, self._plane.random()):
            return
        self.shadow = plan
        if self.phase == SENT:
            self._cast_shadow(exchange)

    def _cast_shadow(self, exchange: Exchange) -> None:
        """The request is complete: copy it, if all of it is still here."""
        plan, self.shadow = self.shadow, None
        if plan is None:
            return
        if self._replayable:
            mirror(self._plane, plan, exchange, self._so_far())
        else:
            self._plane.counters.shadows_too_large += 1

    # -- the end -----------------------------------------------------------------------------------------------------------

    def _drop(self) -> None:
        upstream, self._upstream = self._upstream, None
        producing, self._producing = self._producing, False
        if upstream is not None:
            if producing:
                upstream.transport.unregisterProducer()
            upstream.abort()
        self._wait_no_more()
        aside, self.aside = self.aside, None
        for each in aside or ():
            each.endpoint.active -= 1
            each.abort()

    def _record(self, exchange: Exchange, now: float) -> None:
        self.tried = False
        attempts, self._attempts = self._attempts, None
        if attempts is not None:
            attempts.close()
        super()._record(exchange, now)
