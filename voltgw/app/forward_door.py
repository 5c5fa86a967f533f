"""What stands behind the listener of a forward proxy, in plain text or inside TLS."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from voltgw.app.tls_table import record_of
from voltgw.net.sniff import Refuse, Terminate

if TYPE_CHECKING:
    from voltgw.app.build import ListenerPlan
    from voltgw.net.sniff import Turned
    from voltgw.net.tls.engine import ServerContext
    from voltgw.proxy.forward.factory import ForwardFactory
    from voltgw.proxy.plane import Plane
    from voltgw.values.counters import ListenerCounters
    from voltgw.wire.clienthello import ClientHello

#: Alert for what is no hello (RFC 8446 6.2).
_UNEXPECTED_MESSAGE = 10


class OneDoor:
    """The sniffer of a listener whose clients all get the same context, whatever name they ask for."""

    def __init__(self, context: ServerContext, factory: Any, turned_away: Any) -> None:
        self.context = context
        self._factory = factory
        self.turned = turned_away

    def choose(self, hello: ClientHello | None, peer: tuple[str, int]) -> Terminate | Refuse:
        """End TLS here."""
        if hello is None:
            return Refuse(_UNEXPECTED_MESSAGE, "the client does not speak TLS")
        return Terminate(self.context, self._factory)


def forward_factory(
    plan: ListenerPlan, plane: Plane, name: str, address: str, counters: ListenerCounters,
) -> tuple[ForwardFactory, OneDoor | None]:
    """The factory of a forward proxy's clients, and the sniffer where they speak TLS with us."""
    forward, outside = plan.forward, plane.outside
    assert forward is not None and plan.table is not None and outside is not None
    # imported here since few gateways have a forward proxy, and starting shall not take longer for the others
    made = (import_module("voltgw.proxy.forward.factory").ForwardFactory if forward.listens is not None
            else import_module("voltgw.proxy.forward.capturing").CaptureFactory)
    factory: ForwardFactory = made(plane, name, address, plan.port, plan.table, counters, outside, forward.egress)
    if plan.forward_tls is None:
        return factory, None

    def turned(turned: Turned) -> None:
        plane.access.connection(record_of(turned, name, plane))

    return factory, OneDoor(plan.forward_tls, factory, turned)


def serve_forward(factory: Any, sniffer: Any, plan: ListenerPlan) -> None:
    """Have them serve by `plan` from the next request, or the next connection, on."""
    forward = plan.forward
    assert forward is not None
    factory.egress = forward.egress
    import_module("voltgw.proxy.forward.host").lead_out(forward.host, factory.outside)
    if sniffer is not None:
        sniffer.context = plan.forward_tls
