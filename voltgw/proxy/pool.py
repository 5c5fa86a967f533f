"""Connections to one endpoint that may be used again, newest first: the warmest one is used, the oldest ones time out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.ties import Tie
    from voltgw.proxy.upstream2 import Trunk


class Pool:
    """The idle HTTP/1.1 connections of one endpoint, which the data plane pops and appends itself, and those of HTTP/2.

    With `version_1` the endpoint has chosen HTTP/1.1 where it could choose (ALPN): requests do not wait for one connection.
    """

    __slots__ = ("draining", "idle", "trunks", "version_1")

    def __init__(self) -> None:
        self.idle: list[EndpointConnection] = []
        self.trunks: list[Trunk] = []
        self.version_1 = False
        self.draining = False               # the endpoint is gone: connections close instead of coming back

    def with_room(self, tie: Tie | None = None) -> Trunk | None:
        """The newest HTTP/2 connection that takes one more request, made or about to be; `tie` None = of any tie."""
        for trunk in reversed(self.trunks):
            if trunk.has_room and (trunk.open or not self.version_1) and (tie is None or trunk.tie == tie):
                return trunk
        return None

    def drain(self) -> None:
        """Close every idle connection now and the busy ones as they come back."""
        self.draining = True
        idle, self.idle = self.idle, []
        for upstream in idle:
            upstream.close()
        for trunk in list(self.trunks):
            trunk.drain()

    def flush(self) -> None:
        """Close what is idle now; new connections are pooled as before. The network has become another one."""
        self.drain()
        self.draining = False

    def forget(self, upstream: EndpointConnection) -> None:
        """`upstream` closed while it was idle."""
        try:
            self.idle.remove(upstream)
        except ValueError:
            pass                            # it was popped in the same turn; its user learns of the end by itself

    def forget_trunk(self, trunk: Trunk) -> None:
        """`trunk` takes no more requests."""
        if trunk in self.trunks:
            self.trunks.remove(trunk)

    def __len__(self) -> int:
        return len(self.idle) + sum(trunk.idle for trunk in self.trunks)
