"""Where a client has connected to, which its proxy may know better than we do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voltgw.values.exchange import ClientSide


def came_to(client: ClientSide, transport: Any) -> tuple[str, int]:
    """The (address, port): what a PROXY header says, else our own address, which a listener of every address has to ask for."""
    announced = client.announced
    if announced is not None and announced.destination is not None:
        return announced.destination
    local = getattr(transport, "local", None)
    return local if local is not None and local[0] else (client.local_address, client.local_port)
