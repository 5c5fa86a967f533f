"""The key by which a relayed connection or session keeps its endpoint: what `hash_policy` can say without a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from voltgw.values.exchange import Exchange
from voltgw.values.head import RequestHead

if TYPE_CHECKING:
    from voltgw.routing.table import Route

#: A request without any field: entries that ask for a header or a cookie find none, and have no part in the key.
_NOTHING: Final = RequestHead(b"", b"", b"", None, 1, b"", b"", None, [], 0, True)


class _Client:
    """What a policy looks at of an exchange's client."""

    __slots__ = ("local_address", "local_port", "peer_address", "peer_port")

    def __init__(self, peer: tuple[str, int], local: tuple[str, int]) -> None:
        self.peer_address, self.peer_port = peer
        self.local_address, self.local_port = local


def connection_key(route: Route, peer: tuple[str, int], local: tuple[str, int]) -> int | None:
    """The key for a client at `peer` that came to `local`; None when the route has no policy that says one."""
    if route.hash_key is None:
        return None
    client: Any = _Client(peer, local)              # a ClientSide, as far as a policy looks
    return route.hash_key(Exchange(client, _NOTHING, b"", 0.0, 0))
