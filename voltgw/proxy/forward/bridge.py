"""A plain socket for the far side of a stream that has none to give: TLS inside the TLS between a client and its proxy."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from voltgw.net.stream import Stream
from voltgw.proxy.relay import Relay, Side
from voltgw.values.defaults import TUNNEL_IDLE_TIMEOUT_S

if TYPE_CHECKING:
    from voltgw.proxy.plane import Plane


class Bridge(Relay):
    """Joins a stream with one end of a socket pair; whoever gets the other end speaks to the stream's peer."""

    __slots__ = ()

    def __init__(self, plane: Plane, transport: Any) -> None:
        super().__init__(plane)
        self._client.makeConnection(transport)
        transport.protocol = self._client

    def build(self) -> socket.socket:
        """The other end, non-blocking. Raises OSError when there is no room for it."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        transport: Any = self._client.transport
        server = Side(self)
        try:
            Stream(self._plane.loop, ours, transport.peer, transport.local).open(server)
        except OSError:
            theirs.close()
            raise
        self._join(server, self._plane.monotonic())
        transport.resumeProducing()
        return theirs

    @property
    def idle_timeout_s(self) -> float:
        """That of any tunnel."""
        return TUNNEL_IDLE_TIMEOUT_S

    def hold(self, data: bytes) -> None:
        """Both sides stand from the beginning."""

    def _server_lost(self) -> None:
        """Nobody counts it."""

    def _left_alone(self) -> None:
        """The other end was never made: there is nothing to tell."""

    def _finish(self, flag: str, detail: str) -> None:
        """What went over it has records of its own."""
