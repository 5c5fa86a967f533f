"""What the listener of a forward proxy makes of a new client."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from voltgw.proxy.factory import HttpFactory
from voltgw.proxy.forward.client import ForwardClient

if TYPE_CHECKING:
    from voltgw.proxy.forward.hearing import Hearing
    from voltgw.proxy.forward.interception import Action
    from voltgw.proxy.forward.outside import Outside
    from voltgw.proxy.forward.settings import Egress
    from voltgw.proxy.plane import Plane
    from voltgw.routing.hosts import HostTable
    from voltgw.values.counters import ListenerCounters


class ForwardFactory(HttpFactory):
    """Makes a `ForwardClient` for every connection of one explicit proxy; `egress` is swapped at a reload."""

    def __init__(
        self, plane: Plane, name: str, local_address: str, local_port: int, table: HostTable, counters: ListenerCounters,
        outside: Outside, egress: Egress,
    ) -> None:
        super().__init__(plane, name, local_address, local_port, table, counters)
        self.outside = outside
        self.egress = egress

    @property
    def under_way(self) -> set[Any]:
        """All connections, those among them that are no clients of HTTP yet: they can be drained and closed as well."""
        return self.connections

    def serve(self, peer: tuple[str, int]) -> ForwardClient:
        """A protocol for the client at `peer`."""
        return ForwardClient(self, *peer)

    def open_tls(self, hearing: Hearing, action: Action) -> None:
        """Have TLS opened, or its origin looked at."""
        opening = import_module("voltgw.proxy.forward.opening")     # few open TLS; and it needs the clients that we make
        opening.Opening(self, hearing, action).begin()
