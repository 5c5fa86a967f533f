"""A gateway on loopback with all parts real but the access log; client and endpoint are plain sockets of the test."""

from __future__ import annotations

import select
import socket
import sys
from random import Random
from types import FrameType
from typing import Any

from tests.proxy.rig import GET, Records
from tests.support import SteppedLoopCase, compiled
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.schedulers.round_robin import FACTORY
from voltgw.cluster.snapshot import EndpointKey, EndpointSet, EndpointState
from voltgw.proxy.factory import HttpFactory
from voltgw.proxy.plane import Plane
from voltgw.proxy.pool import Pool
from voltgw.proxy.tcp import TcpFactory
from voltgw.routing.hosts import HostTable
from voltgw.routing.split import Destination
from voltgw.routing.table import Route, VirtualHost
from voltgw.values.counters import ListenerCounters


class SocketCase(SteppedLoopCase):
    """`connect` gives a client's socket; `accept` lets the endpoint accept, whose socket is then `origin`."""

    origin: socket.socket

    def setUp(self) -> None:
        """Make the gateway and the endpoint's listening socket."""
        super().setUp()
        self.records = Records()
        self.plane = Plane(self.loop, self.records, lambda: 784111777.0, Random(0).random)
        self.origin_listening = socket.create_server(("127.0.0.1", 0))
        self.origin_listening.setblocking(False)
        self._sockets.append(self.origin_listening)
        key = EndpointKey("default/shop", "TCP", "", "127.0.0.1", self.origin_listening.getsockname()[1])
        self.cluster = Cluster("default/shop", FACTORY, lambda key: Pool(), Random(0))
        self.cluster.install(EndpointSet(1, (EndpointState(key),)))
        self.addCleanup(self.cluster.retire)
        self.host = VirtualHost("shop", domains=["*"])
        self.route = Route(self.host, "shop/0")
        self.route.forward_to([Destination(self.cluster, self.cluster.name)])
        self.host.only = self.route

    def http(self) -> HttpFactory:
        """An HTTP listener's factory."""
        return HttpFactory(self.plane, "http", "127.0.0.1", 8080, HostTable([(["*"], self.host)]), ListenerCounters())

    def tcp(self) -> TcpFactory:
        """A TCP listener's factory."""
        return TcpFactory(self.plane, "tcp", "127.0.0.1", 8080, self.route, ListenerCounters())

    def connect(self, factory: Any) -> socket.socket:
        """A client, connected to a new listener with this factory."""
        client = self.socket(self.listen(factory))
        client.settimeout(5)
        return client

    def accept(self) -> None:
        """The endpoint accepts the connection that the gateway makes, and the gateway knows of it."""
        self.spin(self._accepted)
        self.spin(lambda: not self.cluster.pending)

    def _accepted(self) -> bool:
        try:
            self.origin, _ = self.origin_listening.accept()
        except BlockingIOError:
            return False
        self._sockets.append(self.origin)
        self.origin.settimeout(5)
        return True

    def heard(self, sock: socket.socket, size: int = 65536) -> bytes:
        """What has come to `sock`, once something has: bytes, or b"" for FIN; raises for RST."""
        self.spin(lambda: select.select([sock], [], [], 0)[0])
        return sock.recv(size)

    def calls_of_a_turn(self) -> list[str]:
        """Our own calls in one turn of the loop, which has something to do. Skips the test where they cannot be counted."""
        if compiled():
            self.skipTest("calls within compiled modules cannot be counted")
        calls: list[str] = []

        def note(frame: FrameType, event: str, argument: object) -> None:
            module = frame.f_globals.get("__name__", "")
            if event == "call" and module.startswith("voltgw."):
                calls.append(f"{module}.{frame.f_code.co_qualname}")

        self.assertTrue(self.wait(5.0))
        sys.setprofile(note)
        try:
            self.loop.turn(0.0)
        finally:
            sys.setprofile(None)
        return calls


class BodyCase(SocketCase):
    """One client of an HTTP listener, for long bodies."""

    def setUp(self) -> None:
        """A client."""
        super().setUp()
        self.factory = self.http()
        self.listener = self.listen(self.factory)
        self.come()

    def come(self) -> None:
        """A new client."""
        self.client = self.socket(self.listener)
        self.client.settimeout(5)

    def stream(self, protocol: str) -> Any:
        """The one stream with a protocol of this name."""
        found, = (owner for owner in self.loop._owners() if protocol in repr(owner))
        return found

    def ask(self, request: bytes = GET) -> None:
        """A request on a new connection to the endpoint."""
        self.client.sendall(request)
        self.accept()
        self.heard(self.origin)

    def pump(self, source: socket.socket, sink: socket.socket, data: bytes, wanted: int) -> bytes:
        """Send `data` while reading at the other end, until `wanted` bytes have come."""
        for sock in (source, sink):
            sock.setblocking(False)
        view, pieces, come = memoryview(data), [], 0
        for _ in range(100_000):
            if view:
                try:
                    view = view[source.send(view):]
                except BlockingIOError:
                    pass
            self.turn()
            try:
                pieces.append(sink.recv(1 << 20))
                come += len(pieces[-1])
            except BlockingIOError:
                pass
            if come >= wanted:
                break
        for sock in (source, sink):
            sock.settimeout(5)
        return b"".join(pieces)
