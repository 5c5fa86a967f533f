"""Cookies that pin clients to endpoints, on the side of a route: what a request asks for, and what its client is told.

Which endpoint a value stands for is the cluster's business (`voltgw.cluster.affinity`); here a cookie is read as the key by
which an endpoint is picked, and set where the client was given another endpoint than it asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from voltgw.routing.cookies import cookie_reader

if TYPE_CHECKING:
    from voltgw.routing.route import HashKey
    from voltgw.values.exchange import Exchange


class AffinityLike(Protocol):
    """The cookies of one cluster."""

    cookie: str

    def number(self, value: bytes, /) -> int | None:
        """The key that a value stands for, None = for none."""

    def set_cookie(self, value: bytes, /) -> bytes:
        """The value of a Set-Cookie field."""


def pinned_key(affinities: Mapping[str, AffinityLike], otherwise: HashKey | None) -> HashKey:
    """The key of a request: that of the cookie if it has one, else what `otherwise` makes.

    `affinities` are those of the route's clusters, by their names; cookies of one name are one.
    """
    readers = {each.cookie: (cookie_reader(each.cookie), each.number) for each in affinities.values()}

    def key(exchange: Exchange) -> int | None:
        for read, number in readers.values():
            value = read(exchange.request)
            if value is not None:
                pinned = number(value)
                if pinned is not None:
                    return pinned
        return None if otherwise is None else otherwise(exchange)

    return key


def tell_of(affinities: Mapping[str, AffinityLike]) -> Callable[[Exchange], None]:
    """A response filter that tells the client which endpoint it was given, unless it knows."""
    readers = {name: cookie_reader(each.cookie) for name, each in affinities.items()}

    def tell(exchange: Exchange) -> None:
        endpoint = exchange.endpoint
        affinity = None if endpoint is None else affinities.get(endpoint.cluster)
        if endpoint is None or affinity is None:
            return
        token: bytes = getattr(endpoint, "token", b"")
        if token and readers[endpoint.cluster](exchange.request) != token:
            line = affinity.set_cookie(token)
            if exchange.cookies_to_set is None:
                exchange.cookies_to_set = [line]
            else:
                exchange.cookies_to_set.append(line)

    return tell
