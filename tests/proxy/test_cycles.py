"""What a relayed connection or session leaves behind: nothing that only the cycle collector would find, which hardly runs."""

from __future__ import annotations

import gc
import socket
import struct
from collections import Counter
from random import Random

from tests.proxy.rig import GET
from tests.proxy.sockets import SocketCase
from tests.proxy.test_udp import Records, UdpCase
from tests.support import SteppedLoopCase
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.schedulers.round_robin import FACTORY
from voltgw.cluster.snapshot import EndpointKey, EndpointSet, EndpointState
from voltgw.proxy.plane import Plane
from voltgw.proxy.pool import Pool
from voltgw.proxy.tcp import TcpFactory
from voltgw.routing.route import VirtualHost
from voltgw.routing.table import Route
from voltgw.values.counters import ListenerCounters
from voltgw.values.proxyheader import ProxyOut

_OURS = ("voltgw.proxy", "voltgw.net", "voltgw.values")


def alive() -> Counter[str]:
    """Objects of the data plane, by type, that the collector knows of."""
    return Counter(f"{type(one).__module__}.{type(one).__name__}" for one in gc.get_objects()
                   if str(type(one).__module__).startswith(_OURS))


class SessionTests(UdpCase):
    def test_sessions(self) -> None:
        """Whether they were answered or not."""
        self.talk()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        before = alive()
        for _ in range(20):
            self.talk()
        self.assertEqual(alive() - before, Counter())

    def talk(self) -> None:
        """Two sessions from beginning to end."""
        clients = [self.client(), self.client()]
        for client in clients:
            self.say(client)
        self.answer(self.endpoints[0])
        self.endpoints[1].recv(100)
        for session in list(self.factory.connections.values()):
            session.close()
        self.records.clear()
        for client in clients:
            client.close()


class RelayTests(SteppedLoopCase):
    def setUp(self) -> None:
        super().setUp()
        self.records = Records()
        plane = Plane(self.loop, self.records, lambda: 0.0, Random(0).random)
        self.origin = socket.create_server(("127.0.0.1", 0))
        self.origin.settimeout(5)
        self.addCleanup(self.origin.close)
        cluster = Cluster("default/c", FACTORY, lambda key: Pool(), Random(0))
        cluster.install(EndpointSet(1, (EndpointState(
            EndpointKey("default/c", "TCP", "", *self.origin.getsockname()), 1, {}, "", 0, True, "unknown", ""),)))
        self.route = Route(VirtualHost("tcp"), "r/0")
        self.route.cluster = self.cluster = cluster
        self.factory = TcpFactory(plane, "tcp", "127.0.0.1", 5432, self.route, ListenerCounters())
        self.listener = self.listen(self.factory)

    def relayed(self, how: str) -> None:
        """A connection from beginning to end."""
        client = self.socket(self.listener)
        server = None
        if how != "nobody":
            self.spin(lambda: self.cluster.connections)
            server, _ = self.origin.accept()
            server.settimeout(5)
            client.sendall(b"question")
            self.spin(lambda: any(relay._client.moved for relay in self.factory.connections))
            self.assertEqual(server.recv(100), b"question")
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        if server is not None:
            if how == "fin":
                self.spin(lambda: any(relay._client.half_closed for relay in self.factory.connections))
            server.close()
        self.spin(lambda: not self.factory.connections and not self.loop.open)
        self.records.clear()

    def test_relays(self) -> None:
        """However they end: by both sides, by a reset, or because there is no endpoint."""
        for how in ("fin", "reset", "nobody"):
            if how == "nobody":
                self.cluster.install(EndpointSet(2, ()))
            self.relayed(how)
            gc.collect()
            gc.disable()
            try:
                before = alive()
                for _ in range(10):
                    self.relayed(how)
                self.assertEqual(alive() - before, Counter(), how)
            finally:
                gc.enable()


class HttpTests(SocketCase):
    def setUp(self) -> None:
        super().setUp()
        self.route.upgrades = frozenset((b"websocket",))
        self.factory = self.http()
        self.listener = self.listen(self.factory)

    def one(self, upgrade: bool) -> None:
        """A connection with a request, or a tunnel, from beginning to end."""
        client = self.socket(self.listener)
        client.settimeout(5)
        client.sendall(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" if upgrade else GET)
        self.accept()
        self.heard(self.origin)
        if upgrade:
            self.origin.sendall(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
            self.spin(lambda: self.plane.counters.tunnels_open)
        else:
            self.origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.heard(client)
        client.close()
        self.origin.close()
        self.spin(lambda: not self.loop.open and not self.cluster.connections)
        self.records.exchanges.clear()

    def judge(self, upgrade: bool) -> None:
        """Nothing is left of ten of them."""
        self.one(upgrade)
        gc.collect()
        gc.disable()
        try:
            before = alive()
            for _ in range(10):
                self.one(upgrade)
            self.assertEqual(alive() - before, Counter())
        finally:
            gc.enable()

    def test_requests(self) -> None:
        """As a connection that any client may share leaves."""
        self.judge(False)

    def test_requests_of_one_client(self) -> None:
        """And one that is bound to a client by a PROXY header."""
        self.cluster.proxy_protocol, self.cluster.tied = ProxyOut(2), True
        self.judge(False)
        self.assertEqual(len(self.plane.tied), 0)

    def test_tunnels(self) -> None:
        """And one that became a tunnel, bound to a client or not."""
        self.judge(True)
        self.cluster.proxy_protocol, self.cluster.tied = ProxyOut(2), True
        self.judge(True)
        self.assertEqual(len(self.plane.tied), 0)
