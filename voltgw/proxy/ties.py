"""What ties a connection to an endpoint to some requests, so that it serves no others.

Most connections serve any request for their endpoint. Where the handshake names the Host of the request, a connection serves
only requests for that Host; where it begins with a PROXY header, only those of the client that the header tells of (HAProxy and
Envoy keep such connections apart in the same way); and a cluster can ask that no two clients share one.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from voltgw.values.exchange import ClientSide


class Tie(NamedTuple):
    """Two connections to one endpoint serve the same requests when their ties are equal."""

    server_name: str = ""                   # what the TLS handshake names
    first: bytes = b""                      # the PROXY header, which goes out before it
    client: ClientSide | None = None        # the only client that it may serve; None = any


FREE: Final = Tie()


def bring(idle: MutableSequence[Any], tie: Tie) -> bool:
    """Put the newest idle connection with an equal tie last, where it is taken from; False: there is none."""
    for at in range(len(idle) - 1, -1, -1):
        if idle[at].tie == tie:
            if at + 1 < len(idle):
                idle.append(idle.pop(at))
            return True
    return False


class Tied:
    """The connections that serve one client alone, by client: when it goes, nobody can use them any more."""

    __slots__ = ("_by_client",)

    def __init__(self) -> None:
        self._by_client: dict[ClientSide, dict[Any, None]] = {}

    def __len__(self) -> int:
        """How many clients have such connections."""
        return len(self._by_client)

    def add(self, connection: Any) -> None:
        """`connection` (`EndpointConnection` or `Trunk`) has begun; its tie names a client."""
        self._by_client.setdefault(connection.tie.client, {})[connection] = None

    def forget(self, connection: Any) -> None:
        """It has ended."""
        own = self._by_client.get(connection.tie.client)
        if own is not None and connection in own:
            del own[connection]
            if not own:
                del self._by_client[connection.tie.client]

    def gone(self, client: ClientSide) -> None:
        """The client has left: what waits for its next request is closed."""
        for connection in self._by_client.pop(client, ()):
            connection.left_by_client()
