"""One UDP socket of the gateway and what it serves; beside `voltgw.app.listening.Bound`, which is TCP's."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from voltgw.net.datagrams import DatagramPort
from voltgw.proxy.udp import UdpFactory
from voltgw.values.counters import ListenerCounters

if TYPE_CHECKING:
    from voltgw.app.build import ListenerPlan
    from voltgw.net.loop import Loop
    from voltgw.proxy.plane import Plane
    from voltgw.proxy.sessions import SessionRoom


class UdpBound:
    """A bound UDP socket and its sessions; an `interfaces.ListenerView`. It owns `sock`."""

    protocol = "UDP"
    _log = Logger()

    def __init__(self, plan: ListenerPlan, sock: socket.socket, plane: Plane, loop: Loop, room: SessionRoom) -> None:
        self.plan = plan
        self.name = str(plan.key)
        self.kind = plan.kind.value
        self.counters = ListenerCounters()
        self.certificates: list[dict[str, Any]] = []
        address = plan.key.address or ("::" if sock.family == socket.AF_INET6 else "0.0.0.0")
        self.factory = UdpFactory(plane, room, self.name, address, plan.port, plan.hosts[0].routes[0], self.counters)
        self.listener = DatagramPort(loop, sock, self.factory.received, self.factory.batch)
        self.serving = False
        self.problem = ""                   # why it cannot read
        self.serve(plan)

    @property
    def bound(self) -> bool:
        """Whether datagrams are read, or will be in a moment."""
        return not self.problem

    @property
    def hosts(self) -> list[str]:
        """The name of the virtual host behind it."""
        return [f"{host.namespace}/{host.name}" for host in self.plan.hosts]

    def start(self) -> None:
        """Read from now on; until then datagrams wait in the kernel, as far as there is room."""
        if not self.serving:
            self.serving = True
            self.factory.serve_on(self.listener)
            try:
                self.listener.startListening()
            except OSError as error:        # no room in our epoll set (max_user_watches); others shall serve all the same
                self.problem = f"cannot be watched: {error.strerror}"
                self._log.error("{name} {problem}", name=self.name, problem=self.problem)

    def serve(self, plan: ListenerPlan) -> None:
        """Begin sessions by `plan` (of the same key) from now on; those that there are stay with their endpoints."""
        self.plan = plan
        host = plan.hosts[0]
        factory = self.factory
        factory.local_port = plan.port      # `gateway.port_map` may lead another port here now
        factory.route = host.routes[0]
        factory.set_idle_timeout(host.idle_timeout_s)

    def stop(self) -> None:
        """Begin no more sessions; those that there are go on, and the socket closes with the last one."""
        if self.serving:
            self.factory.drain()
        else:
            self.listener.stopListening()
