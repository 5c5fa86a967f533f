"""How many requests one client address may have under way at a time, whatever they wait for (``max_requests_per_source``).

A rate says how often somebody may ask; a slow endpoint is filled by few requests that all stay. Connections alone do not bound
them, since one of HTTP/2 has many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from voltgw.errors import Place
from voltgw.security.users import User, address_of
from voltgw.values.reason import Reason
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from voltgw.config.objects.route import RouteSpec, RouteType
    from voltgw.interfaces import AccessSink
    from voltgw.values.exchange import Exchange
    from voltgw.values.record import ConnectionRecord

#: Access-log detail of a request that was one too many.
DETAIL: Final = "too_many_at_once"


class InFlight:
    """Requests under way by client; one per process. `limit` is what one may have that is not `trusted`.

    Once there was a limit, `wanted` says that requests must be written down by `watching` when they are over: that gives back
    what they hold. Memory is bounded by the requests that are under way.
    """

    __slots__ = ("held", "limit", "trusted", "wanted")

    def __init__(self, trusted: Callable[[str], bool] = lambda address: False) -> None:
        self.limit = 1 << 30
        self.trusted = trusted
        self.held: dict[User, int] = {}
        self.wanted = False

    def follow(self, limit: int | None) -> None:
        """Let each client have so many from now on; None = any number."""
        self.limit = limit or 1 << 30
        self.wanted = self.wanted or limit is not None

    def full(self, exchange: Exchange) -> bool:
        """Whether its client has as many under way as it may have."""
        return self.held.get(address_of(exchange), 0) >= self.limit and not self.trusted(exchange.client_address)

    def enter(self, exchange: Exchange) -> None:
        """It is under way."""
        exchange.held = user = address_of(exchange)
        self.held[user] = self.held.get(user, 0) + 1

    def leave(self, user: User) -> None:
        """It is over."""
        left = self.held[user] - 1
        if left:
            self.held[user] = left
        else:
            del self.held[user]

    def watching(self, sink: AccessSink) -> AccessSink:
        """`sink`, which gives back on the way what requests hold."""
        return _Watching(self, sink)


class _Watching:
    def __init__(self, in_flight: InFlight, sink: AccessSink) -> None:
        self._leave = in_flight.leave
        self._http = sink.http
        self.connection: Callable[[ConnectionRecord], None] = sink.connection

    def http(self, exchange: Exchange, /) -> None:
        """One finished exchange."""
        user = getattr(exchange, "held", None)
        if user is not None:
            self._leave(user)
            del exchange.held
        self._http(exchange)


class AtOnce:
    """A gate of one virtual host: see `voltgw.routing.route.Guard`."""

    name: Final = "requests at once"
    text: Final = "refuses clients that have too many requests under way"
    answer_filter = None
    place: Place | None = None

    def __init__(self, in_flight: InFlight) -> None:
        self.refused = 0
        self._in_flight = in_flight

    def for_rule(self, rule: RouteType, namespace: str, spec: RouteSpec) -> AtOnce:
        """Of every route."""
        return self

    def verdicts(self) -> Iterable[tuple[str, str, int]]:
        """How many were refused."""
        if self.refused:
            yield "gateway.max_requests_per_source", "refused", self.refused

    def judge(self, exchange: Exchange) -> Reply | None:
        """The request filter."""
        if self._in_flight.full(exchange):
            self.refused += 1
            return _refusal()
        self._in_flight.enter(exchange)
        return None

    def rehearse(self, exchange: Exchange) -> tuple[Reply | None, Reason]:
        """The verdict and why."""
        in_flight = self._in_flight
        if in_flight.full(exchange):
            return _refusal(), Reason(self.name, "refused with 429", f"this client has {in_flight.limit} requests under way")
        return None, Reason(self.name, "let pass", f"this client has {in_flight.held.get(address_of(exchange), 0)} requests "
                            f"under way, of {in_flight.limit}")


def _refusal() -> Reply:
    return Reply(429, [(b"retry-after", b"1")], flag="RL", detail=DETAIL, negotiate=True)
