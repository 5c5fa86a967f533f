"""Asking a cluster a question of our own, and reading the whole answer: for `voltgw.security.forward_auth`.

A question goes the way of every request: the cluster's scheduler picks, its pools, limits and TLS serve, an endpoint that does
not accept counts against it. What is bounded besides: its time, connection included, and the size of the answer.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred

from voltgw.errors import Source
from voltgw.proxy.fields import SAY_EMPTY, line
from voltgw.proxy.ties import bring
from voltgw.proxy.unheard import Unheard
from voltgw.security.forward_auth import MAX_ANSWER_BYTES, Answer
from voltgw.values.exchange import Exchange

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from voltgw.errors import ConnectFailed, ProxyError
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.plane import Plane
    from voltgw.values.head import Field, RequestHead, ResponseHead

_TOO_LONG: Final = f"its answer has more than {MAX_ANSWER_BYTES} bytes"
#: What a question must not be: it would open a tunnel.
_CONNECT: Final = b"CONNECT"


def ask(plane: Plane) -> Any:
    """The `voltgw.security.forward_auth.Asker` of a plane."""
    return partial(_asked, plane)


def _asked(
    plane: Plane, cluster: Any, exchange: Exchange, head: RequestHead, body: bytes, timeout_s: float,
) -> Deferred[Answer | str]:
    return Asking(plane, cluster, exchange, head, body).begin(timeout_s)


class Asking(Unheard):
    """One question. It takes the client's place for the answer, and keeps it instead of passing it on."""

    __slots__ = ("_again", "_body", "_done", "_fields", "_size", "_status", "_timer")

    def __init__(self, plane: Plane, cluster: Any, exchange: Exchange, head: RequestHead, body: bytes) -> None:
        asked = Exchange(exchange.client, head, exchange.request_id, plane.monotonic(), 0)
        super().__init__(plane, cluster, asked, MAX_ANSWER_BYTES)
        self.plain = False                  # heads and bodies come to us apart, without framing
        self.transport = _Collecting(self)  # type: ignore[assignment]  # the endpoint's side only writes to it
        method = head.method if head.method != _CONNECT else b"GET"
        lines = [b"%b %b HTTP/1.1\r\nhost: %b" % (method, head.target, head.authority), *map(line, head.fields),
                 b"x-request-id: " + exchange.request_id]
        if body or method in SAY_EMPTY:
            lines.append(b"content-length: %d" % len(body))
        self._wire = b"\r\n".join([*lines, b"", body])
        self._replayable = True
        self._again = False                 # it was sent a second time
        self._status = 0
        self._fields: list[Field] = []
        self._body: list[bytes] = []
        self._size = 0
        self._timer: IDelayedCall | None = None
        self._done: Deferred[Answer | str] | None = None

    def begin(self, timeout_s: float) -> Deferred[Answer | str]:
        """Send it. The Deferred has the answer, or why there is none; cancelling it gives it up."""
        plane, cluster, exchange = self._plane, self._cluster, self.exchange
        assert exchange is not None
        done: Deferred[Answer | str] = Deferred(lambda _: self._abandon())
        self._done = done
        now = self.monotonic()
        cluster.counters.requests += 1
        if cluster.active >= cluster.max_requests:
            cluster.counters.overflow += 1
            self._tell("the cluster has its most requests under way")
            return done
        endpoint = cluster.pick(None)
        if endpoint is None:
            cluster.counters.no_endpoint += 1
            self._tell("the cluster has no endpoint that may be used")
            return done
        cluster.active += 1
        endpoint.active += 1
        endpoint.requests += 1
        exchange.attempts = 1
        self._endpoint = exchange.endpoint = endpoint
        self._timer = plane.later(timeout_s, self, self._late)
        idle = endpoint.pool.idle
        if idle and (not cluster.tied or bring(idle, self.tie(cluster, endpoint))):
            self._upstream = upstream = idle.pop()
            upstream.downstream = self
            self._begin(upstream, now)
        else:
            self._connect(cluster, endpoint, now)
        return done

    # -- the answer --------------------------------------------------------------------------------------------------------

    def answer_head(self, response: ResponseHead, length: int, body: bytes, ended: bool) -> bool:
        """The head of the answer, with what came of its body."""
        self._status = response.status
        self._fields = response.fields
        self.transport.write(body)
        return False

    def take(self, data: bytes) -> None:
        """Part of the body."""
        before, self._size = self._size, self._size + len(data)
        if self._size <= MAX_ANSWER_BYTES:
            self._body.append(data)
        elif before <= MAX_ANSWER_BYTES:
            self._too_much()

    def _cut_short(self) -> None:
        upstream = self._upstream
        if upstream is not None and upstream.downstream is self:
            upstream.abort()
            self._end(_TOO_LONG)

    def answered(self, upstream: EndpointConnection, now: float) -> None:
        """It is here, whole."""
        self._cluster.counters.status[self._status // 100 if self._status < 600 else 0] += 1
        if upstream.tie.client is None:
            upstream.rest(now)
        else:
            upstream.close()                # its client may have left
        if self._size > MAX_ANSWER_BYTES:
            self._end(_TOO_LONG)
        else:
            self._end(Answer(self._status, self._fields, b"".join(self._body), self.trailers or ()))

    def connect_failed(self, upstream: EndpointConnection, error: ConnectFailed) -> None:
        """The endpoint does not accept."""
        if upstream.leads:
            self._cluster.connect_failed(upstream.endpoint)
        self._end(str(error))

    def upstream_failed(self, upstream: EndpointConnection, error: ProxyError, reused: bool) -> None:
        """It failed; on a connection that had closed meanwhile it is asked once more."""
        if error.flag == "UT":
            self._cluster.counters.timeouts += 1
        elif error.source is Source.UPSTREAM:
            self._cluster.counters.resets += 1
        if reused and not self._again and not self._status:
            self._again = True
            self._connect(self._cluster, upstream.endpoint, self.monotonic())
            return
        self._end(str(error))

    def crashed(self) -> None:
        """A bug of ours; the guard has logged it."""
        self._give_back()
        self._end("the gateway failed on it")

    def _give_up(self, error: ProxyError, now: float) -> None:
        self._end(str(error))

    def _late(self) -> None:
        self._timer = None
        self._cluster.counters.timeouts += 1
        self._give_back()
        self._end("it has not answered in time")

    def _abandon(self) -> None:
        """The client has left."""
        self._done = None
        self._give_back()
        self._over()

    # -- the end -----------------------------------------------------------------------------------------------------------

    def _give_back(self) -> None:
        upstream = self._upstream
        if upstream is not None and upstream.downstream is self:
            upstream.abort()

    def _end(self, result: Answer | str) -> None:
        self._over()
        self._tell(result)

    def _tell(self, result: Answer | str) -> None:
        done, self._done = self._done, None
        if done is not None:
            done.callback(result)

    def _over(self) -> None:
        self._upstream = None
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        exchange, self.exchange = self.exchange, None
        if exchange is not None and exchange.attempts:
            self._cluster.active -= 1
            endpoint, self._endpoint = self._endpoint, None
            if endpoint is not None:
                endpoint.active -= 1


class _Collecting:
    """Where the answer's body is written."""

    __slots__ = ("_asking",)

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def write(self, data: bytes) -> None:
        """Part of it."""
        if data:
            self._asking.take(data)
