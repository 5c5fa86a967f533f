"""Answers that nobody hears: they are read to their end, so that their connection can be used again, or cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltgw.proxy.phases import SENT
from voltgw.proxy.sending import Sender
from voltgw.values.defaults import LINGER_TIMEOUT_S, MAX_UNHEARD_BYTES
from voltgw.values.exchange import Exchange
from voltgw.values.head import CHUNKED

if TYPE_CHECKING:
    from voltgw.errors import ConnectFailed, ProxyError
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.plane import Plane
    from voltgw.values.head import ResponseHead


class _Nowhere:
    """Where an answer is written that nobody hears. `enough` is called once, when it has become too long."""

    __slots__ = ("_enough", "_left")

    def __init__(self, most: int, enough: Any) -> None:
        self._left = most
        self._enough = enough

    def write(self, data: bytes) -> None:
        """Forget it."""
        left, self._left = self._left, self._left - len(data)
        if self._left < 0 <= left:
            self._enough()


class Unheard(Sender):
    """Takes the client's place for the rest of an answer of at most `most` bytes, head included."""

    __slots__ = ()

    def __init__(self, plane: Plane, cluster: Any, exchange: Exchange, most: int) -> None:
        super().__init__(plane)
        self._cluster = cluster
        self.exchange = Exchange(exchange.client, exchange.request, exchange.request_id, exchange.t_start, 0)
        self.route = plane.nobody
        self.host = plane.nobody.host
        self.phase = SENT                   # the request was
        self.body_timeout_s = LINGER_TIMEOUT_S
        self.transport = _Nowhere(most, self._too_much)     # type: ignore[assignment]  # `Upstream` only writes to it

    @staticmethod
    def takes(response: ResponseHead) -> bool:
        """Whether it is worth while to read an answer with this head to its end."""
        return CHUNKED <= response.length <= MAX_UNHEARD_BYTES

    def _too_much(self) -> None:
        self._plane.soon(self._cut_short)   # we are called from inside the upstream

    def _cut_short(self) -> None:
        upstream = self.answering
        if upstream is not None and upstream.downstream is self:
            upstream.abort()
            self._over()

    def _over(self) -> None:
        """Nothing more comes."""

    def answered(self, upstream: EndpointConnection, now: float) -> None:
        """It ended as it should."""
        exchange = self.exchange
        assert exchange is not None
        self._cluster.counters.status[exchange.response_code // 100] += 1
        if upstream.tie.client is None:
            upstream.rest(now)
        else:
            upstream.close()                # its client may have left
        self._over()

    def switched(self, upstream: EndpointConnection, response: ResponseHead, rest: bytes, now: float) -> None:
        """It was not asked to."""

    def interim(self, response: ResponseHead) -> None:
        """Nobody hears it."""

    def connect_failed(self, upstream: EndpointConnection, error: ConnectFailed) -> None:
        """There is a connection already."""

    def upstream_failed(self, upstream: EndpointConnection, error: ProxyError, reused: bool) -> None:
        """It did not end as it should, and its connection is gone."""

    def late(self, upstream: EndpointConnection, now: float) -> bool:
        """It has begun."""
        return False

    def rejects(self, upstream: EndpointConnection, response: ResponseHead, now: float) -> bool:
        """It was rejected already."""
        return False

    def crashed(self) -> None:
        """Nobody is to be told."""
