"""The last rule of a virtual host whose requests go to whatever their Host resolves to: it takes all that no route takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from voltgw.config.objects.route import RouteDirectResponse, RouteSpec, RouteType

if TYPE_CHECKING:
    from voltgw.interfaces import RequestFilter
    from voltgw.routing.problems import Placer
    from voltgw.routing.route import Route
    from voltgw.routing.split import Destination
    from voltgw.values.exchange import Exchange
    from voltgw.values.retry import RetryPlan

#: A rule that takes everything; its answer is replaced.
EVERYTHING_OUT: Final = RouteType(route_direct_response=RouteDirectResponse())

_ALONE: Final = RouteSpec(routes=(EVERYTHING_OUT,))


class Outward(Protocol):
    """Finds where a request goes."""

    retry: RetryPlan

    @property
    def judge(self) -> RequestFilter:
        """Looks the destination up; the last of the request filters."""

    def number(self, exchange: Exchange, /) -> float:
        """What stands for the destination that was found."""

    def destination(self, number: float, /) -> Destination | None:
        """The destination of that number."""


@dataclass(frozen=True)
class OutwardObject:
    """A `RouteObject` that stands in no file."""

    name: str
    namespace: str
    place: Placer
    spec: RouteSpec = _ALONE


def lead_out(route: Route, outward: Outward) -> None:
    """Have `route`, which has all filters of its host, go where `outward` says."""
    route.answer = None
    route.request_filters = (*route.request_filters, outward.judge)
    route.share = outward.number
    route.split = outward.destination       # type: ignore[assignment]  # None, where it was forgotten, is looked for
    route.retry = outward.retry
