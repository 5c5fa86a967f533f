"""The sockets of a gateway: which stand open, what they serve, and how one plan becomes the next without losing any."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from voltgw.app.build import ListenerKey, ListenerPlan
from voltgw.net.listener import Listener
from voltgw.net.sockets import listening_socket
from voltgw.proxy.http1 import HttpFactory
from voltgw.proxy.tcp import TcpFactory
from voltgw.values.counters import ListenerCounters

if TYPE_CHECKING:
    from voltgw.net.loop import Loop
    from voltgw.proxy.plane import Plane

__all__ = ["Bound", "Listening"]


class Bound:
    """One listening socket and what it serves; an `interfaces.ListenerView`."""

    protocol = "TCP"
    problem = ""

    def __init__(self, plan: ListenerPlan, sock: socket.socket, plane: Plane, loop: Loop) -> None:
        self.plan = plan
        self.name = str(plan.key)
        self.kind = plan.kind.value
        self.counters = ListenerCounters()
        address = plan.key.address or ("::" if sock.family == socket.AF_INET6 else "0.0.0.0")
        self.factory: HttpFactory | TcpFactory
        if plan.table is not None:
            self.factory = HttpFactory(plane, self.name, address, plan.port, plan.table, self.counters)
        else:
            host = plan.hosts[0]
            self.factory = TcpFactory(plane, self.name, address, plan.port, host.routes[0], self.counters)
        self.listener = Listener(loop, sock, self.factory, counters=self.counters)
        self.serving = False
        self.serve(plan)

    @property
    def bound(self) -> bool:
        """Whether the socket stands open."""
        return True

    @property
    def hosts(self) -> list[str]:
        """Names of the virtual hosts behind it."""
        return [f"{host.namespace}/{host.name}" for host in self.plan.hosts]

    def start(self) -> None:
        """Accept from now on; until then clients wait in the backlog."""
        if not self.serving:
            self.serving = True
            self.listener.startListening()

    def serve(self, plan: ListenerPlan) -> None:
        """Serve by `plan` (of the same key and kind) from the next request or connection on."""
        self.plan = plan
        factory = self.factory
        if isinstance(factory, HttpFactory):
            assert plan.table is not None       # the kind is the same
            factory.table = plan.table
            factory.skip_xff_append = plan.skip_xff_append
            factory.max_head_bytes = plan.max_head_bytes
            factory.head_timeout_s = plan.head_timeout_s
            factory.keep_alive_timeout_s = plan.keep_alive_timeout_s
        else:
            host = plan.hosts[0]
            factory.route = host.routes[0]
            factory.set_idle_timeout(host.idle_timeout_s)

    def stop(self) -> None:
        """Accept no more; connections that are open finish what is under way."""
        self.listener.stopListening()
        self.factory.drain()


class Listening:
    """All sockets of the gateway, and those that were given up but still have connections."""

    def __init__(self, plane: Plane, loop: Loop) -> None:
        self._plane = plane
        self._loop = loop
        self.bound: dict[ListenerKey, Bound] = {}
        self.leaving: list[Bound] = []

    def open_new(self, plans: dict[ListenerKey, ListenerPlan]) -> dict[ListenerKey, Bound]:
        """Bind what `plans` needs and is not there yet; nothing is accepted yet.

        A key that is there but served another kind of proxy gets a new factory on a socket that shares the port. Raises
        `CannotListen`, and then everything that was opened here is closed again.
        """
        opened: dict[ListenerKey, Bound] = {}
        try:
            for key, plan in plans.items():
                present = self.bound.get(key)
                if present is not None and present.plan.kind is plan.kind:
                    continue
                sock = listening_socket(key.address, key.port) if present is None else _second(present)
                opened[key] = Bound(plan, sock, self._plane, self._loop)
        except BaseException:
            for bound in opened.values():
                bound.listener.stopListening()
            raise
        return opened

    def install(self, plans: dict[ListenerKey, ListenerPlan], opened: dict[ListenerKey, Bound]) -> None:
        """The swap: serve by `plans`. What `plans` does not name stops accepting and drains."""
        for key in [key for key in self.bound if key not in plans or key in opened]:
            gone = self.bound.pop(key)
            gone.stop()
            self.leaving.append(gone)
        for key, plan in plans.items():
            bound = opened.get(key)
            if bound is None:
                self.bound[key].serve(plan)
            else:
                self.bound[key] = bound
        self.forget_gone()

    def forget_gone(self) -> None:
        """Let go of former listeners whose last connection has ended."""
        self.leaving = [bound for bound in self.leaving if bound.factory.connections]

    def start(self) -> None:
        """Accept on all of them."""
        for bound in self.bound.values():
            bound.start()

    def drain(self) -> None:
        """Accept no more anywhere; finish what is under way."""
        for bound in self.bound.values():
            bound.stop()

    @property
    def connections(self) -> int:
        """Client connections that are open."""
        return sum(len(bound.factory.connections) for bound in (*self.bound.values(), *self.leaving))

    def close(self) -> None:
        """Close what is still open."""
        for bound in (*self.bound.values(), *self.leaving):
            bound.factory.close()


def _second(present: Bound) -> socket.socket:
    """Another descriptor of a socket that listens: the port is never given up while its kind of proxy changes."""
    return socket.socket(fileno=socket.dup(present.listener.fileno()))
