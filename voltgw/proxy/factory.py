"""What an HTTP_PROXY listener makes of a new client, and what it knows of all its clients."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IProtocolFactory
from zope.interface import implementer

from voltgw.proxy.http1 import Downstream
from voltgw.proxy.http2 import Client2
from voltgw.proxy.terms import HttpTerms
from voltgw.routing.refusing import RefusingTable

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

    from voltgw.proxy.plane import Plane
    from voltgw.routing.hosts import HostTable
    from voltgw.values.counters import ListenerCounters
    from voltgw.values.tls import Handshake


@implementer(IProtocolFactory)
class HttpFactory(HttpTerms):
    """Makes a `Downstream` for every connection of one HTTP_PROXY listener; `HttpTerms` says what they read of it."""

    def __init__(
        self, plane: Plane, name: str, local_address: str, local_port: int, table: HostTable, counters: ListenerCounters,
    ) -> None:
        super().__init__(plane, name, local_address, local_port, table, counters)
        plane.factories.add(self)
        self.press()

    def serve_by(self, table: HostTable) -> None:
        """Serve the virtual hosts of `table` from the next request on; while requests are refused, refuse theirs."""
        retry_after_s = self.plane.refusing
        self.table = table if retry_after_s is None else RefusingTable(table, self.plane.unrouted, retry_after_s)

    def press(self) -> None:
        """Do as `Plane.refusing` and `Plane.closing` say now."""
        table = self.table
        self.serve_by(table.whole if isinstance(table, RefusingTable) else table)
        self.closes = self.draining or self.leaving or self.plane.closing

    def buildProtocol(self, addr: IAddress | None) -> Downstream | Client2:
        """A protocol for the client at `addr` (IPv4Address or IPv6Address); what TLS has agreed on may change it."""
        return self.serve((getattr(addr, "host", "0.0.0.0"), getattr(addr, "port", 0)))

    def serve(self, peer: tuple[str, int]) -> Downstream | Client2:
        """The same for those that have the plain address: our own listeners."""
        return Client2(self, *peer) if self.only_2 else Downstream(self, *peer)

    def certified(self, handshake: Handshake) -> bytes:
        """The lines that tell endpoints of a client's certificate; b"" where they are not told, or it has none."""
        if not self.tells or not handshake.peer:
            return b""
        lines: bytes = import_module("voltgw.proxy.certified").certificate_lines(handshake.peer, self.tells)
        return lines

    def doStart(self) -> None:
        """Nothing to start: the plane is shared."""

    def doStop(self) -> None:
        """Nothing to stop: connections go on after their listener."""

    def leave(self) -> None:
        """A drain is about to come: answers end their connections from now on, HTTP/2 connections say GOAWAY; those that are
        idle stay, for a request that is on its way may be the next thing that is heard of them.
        """
        self.leaving = self.closes = True
        for connection in list(self.connections):
            connection.leave()

    def drain(self) -> None:
        """Answer what is under way with ``Connection: close``; close what is idle."""
        self.draining = self.closes = True
        for connection in list(self.connections):
            connection.drain()

    def close(self) -> None:
        """Cut what is still open."""
        for connection in list(self.connections):
            connection.close()
