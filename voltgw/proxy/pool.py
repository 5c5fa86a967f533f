"""Idle connections to one endpoint, newest first: the warmest one is used, the oldest ones time out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voltgw.proxy.endpoint import EndpointConnection


class Pool:
    """The idle HTTP/1.1 connections of one endpoint. The data plane pops and appends `idle` itself."""

    __slots__ = ("draining", "idle")

    def __init__(self) -> None:
        self.idle: list[EndpointConnection] = []
        self.draining = False               # the endpoint is gone: connections close instead of coming back

    def drain(self) -> None:
        """Close every idle connection now and the busy ones as they come back."""
        self.draining = True
        idle, self.idle = self.idle, []
        for upstream in idle:
            upstream.close()

    def forget(self, upstream: EndpointConnection) -> None:
        """`upstream` closed while it was idle."""
        try:
            self.idle.remove(upstream)
        except ValueError:
            pass                            # it was popped in the same turn; its user learns of the end by itself

    def __len__(self) -> int:
        return len(self.idle)
