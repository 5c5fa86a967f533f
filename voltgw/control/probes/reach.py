"""How probes reach an endpoint: by a connection, or by datagrams."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from voltgw.net.connector import dial
from voltgw.net.correspondence import write_to

if TYPE_CHECKING:
    from voltgw.control.seams import Dialing
    from voltgw.errors import ConnectFailed
    from voltgw.net.loop import Loop


def reach(
    loop: Loop, address: str, port: int, protocol: Any, timeout_s: float, failed: Callable[[ConnectFailed], None], *,
    datagrams: bool = False, **more: Any,
) -> Dialing:
    """`voltgw.net.connector.dial`, or with `datagrams` `voltgw.net.correspondence.write_to`, which needs no time."""
    if datagrams:
        return write_to(loop, address, port, protocol, failed, **more)
    return dial(loop, address, port, protocol, timeout_s, failed, **more)
