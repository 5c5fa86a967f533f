"""One UDP socket of the gateway and what it serves; beside `voltgw.app.listening.Bound`, which is TCP's."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from voltgw.app.bound import BoundSocket
from voltgw.net.datagrams import DatagramPort
from voltgw.net.pacing import paced
from voltgw.proxy.announced_udp import Announcements
from voltgw.proxy.quic import ConnectionIds
from voltgw.proxy.udp import UdpFactory

if TYPE_CHECKING:
    from voltgw.app.build import ListenerPlan
    from voltgw.net.loop import Loop
    from voltgw.proxy.plane import Plane
    from voltgw.proxy.sessions import SessionRoom
    from voltgw.values.counters import ListenerCounters


class UdpBound(BoundSocket):
    """A bound UDP socket and its sessions; an `interfaces.ListenerView`. It owns `sock`."""

    protocol = "UDP"

    def __init__(self, plan: ListenerPlan, sock: socket.socket, plane: Plane, loop: Loop, room: SessionRoom,
                 counters: ListenerCounters | None = None) -> None:
        super().__init__(plan, counters)
        self.certificates: list[dict[str, Any]] = []
        address = plan.key.address or ("::" if sock.family == socket.AF_INET6 else "0.0.0.0")
        self.factory = UdpFactory(plane, room, self.name, address, plan.port, plan.hosts[0].routes[0], self.counters)
        self.factory.netns = plan.key.netns
        self.listener = DatagramPort(loop, sock, self.factory.received, self.factory.batch)
        self.serve(plan)

    def _listen(self) -> None:
        """Read; until then datagrams wait in the kernel, as far as there is room."""
        self.factory.serve_on(self.listener)
        self.listener.startListening()

    def serve(self, plan: ListenerPlan) -> None:
        """Begin sessions by `plan` (of the same key) from now on; those that there are stay with their endpoints."""
        self.plan = plan
        host = plan.hosts[0]
        factory = self.factory
        factory.local_port = plan.port      # `gateway.port_map` may lead another port here now
        factory.route = host.routes[0]
        factory.set_idle_timeout(host.idle_timeout_s)
        factory.per_packet = host.per_packet
        if host.quic is not (factory.quic is not None):
            factory.quic = ConnectionIds() if host.quic else None       # for sessions that begin from now on
        terms = plan.terms
        factory.pace = paced(factory.pace, terms.pace)
        factory.upload, factory.download = plan.rates_of(host)
        factory.announcements = None if terms.proxies is None else Announcements(
            tuple(map(ip_network, terms.proxies)), terms.first_datagram_only)

    def give_way(self) -> None:
        """Another process reads; what endpoints still answer in our sessions goes out."""
        if self.serving:
            self.listener.stopReading()
        else:
            self.listener.stopListening()

    def stop(self) -> None:
        """Begin no more sessions; those that there are go on, and the socket closes with the last one."""
        if self.serving:
            self.factory.drain()
        else:
            self.listener.stopListening()
