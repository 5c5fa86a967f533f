"""A warm request passes through few calls of ours: the hot path is flat and stays so."""

from __future__ import annotations

import select
import socket
import sys
from random import Random
from types import FrameType
from typing import Final

from tests.proxy.rig import Records
from tests.support import SteppedLoopCase
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.schedulers.round_robin import FACTORY
from voltgw.cluster.snapshot import EndpointKey, EndpointSet, EndpointState
from voltgw.proxy.http1 import HttpFactory
from voltgw.proxy.plane import Plane
from voltgw.proxy.pool import Pool
from voltgw.routing.hosts import HostTable
from voltgw.routing.split import Destination
from voltgw.routing.table import Route, VirtualHost
from voltgw.values.counters import ListenerCounters
from voltgw.values.exchange import Exchange

#: Calls into our own code for one warm GET with a filter each way. Fewer than the lower bound would mean that nothing was
#: counted; the upper one is the promise of the architecture (about thirteen) with room for a filter's own calls.
MOST: Final = 20
LEAST: Final = 5

REQUEST: Final = (b"GET /index.html?x=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test/1.0\r\nAccept: */*\r\n"
                  b"Accept-Encoding: gzip\r\nCookie: session=1\r\n\r\n")
ANSWER: Final = (b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
                 b"Content-Length: 5\r\n\r\nhello")


def request_filter(exchange: Exchange) -> None:
    """Adds a field, as a header edit does."""
    exchange.request.fields.append((b"x-added", b"1"))


def response_filter(exchange: Exchange) -> None:
    """Adds a field, as a header edit does."""
    assert exchange.response is not None
    exchange.response.fields.append((b"x-added", b"1"))


class CallCountTests(SteppedLoopCase):
    def setUp(self) -> None:
        """A gateway on loopback, all parts real but the access log, and an origin that the test plays."""
        super().setUp()
        self.records = Records()
        plane = Plane(self.loop, self.records, lambda: 784111777.0, Random(0).random)
        listening = socket.create_server(("127.0.0.1", 0))
        self._sockets.append(listening)
        self.origin_listening = listening
        key = EndpointKey("default/shop", "TCP", "", "127.0.0.1", listening.getsockname()[1])
        cluster = Cluster("default/shop", FACTORY, lambda key: Pool(), Random(0))
        cluster.install(EndpointSet(1, (EndpointState(key),)))
        self.addCleanup(cluster.retire)
        host = VirtualHost("shop", domains=["shop.example"])
        route = Route(host, "shop/0")
        route.forward_to([Destination(cluster, cluster.name)])
        route.request_filters = (request_filter,)
        route.response_filters = (response_filter,)
        host.only = route
        factory = HttpFactory(plane, "http", "127.0.0.1", 8080, HostTable([(["shop.example"], host)]), ListenerCounters())
        self.client = self.socket(self.listen(factory))
        self.client.settimeout(5)

    def accepted(self) -> bool:
        """Whether the gateway has connected to the origin; `origin` is then the origin's end."""
        self.origin_listening.setblocking(False)
        try:
            self.origin, _ = self.origin_listening.accept()
        except BlockingIOError:
            return False
        self._sockets.append(self.origin)
        self.origin.settimeout(5)
        return True

    def serve(self) -> None:
        """One request through the gateway."""
        before = len(self.records.exchanges)
        self.client.sendall(REQUEST)
        if not hasattr(self, "origin"):
            self.spin(self.accepted)
        self.spin(lambda: select.select([self.origin], [], [], 0)[0])
        self.assertIn(b"x-added: 1\r\n", self.origin.recv(65536))
        self.origin.sendall(ANSWER)
        self.spin(lambda: len(self.records.exchanges) > before)
        self.assertIn(b"x-added: 1\r\n", self.client.recv(65536))

    def calls_of_a_turn(self) -> list[str]:
        """Our own calls in one turn of the loop, which has something to do."""
        calls: list[str] = []

        def note(frame: FrameType, event: str, argument: object) -> None:
            module = frame.f_globals.get("__name__", "")
            if event == "call" and module.startswith("voltgw."):
                calls.append(f"{module}.{frame.f_code.co_qualname}")

        self.assertTrue(self.wait(5.0))
        sys.setprofile(note)
        try:
            self.loop.doRead()
        finally:
            sys.setprofile(None)
        return calls

    def test_a_warm_get_stays_within_its_calls(self) -> None:
        """From the readable socket to the answer's write: at most `MOST` calls of ours, and at least `LEAST`."""
        for _ in range(3):                  # the connection is pooled, and everything that is remembered is
            self.serve()
        before = len(self.records.exchanges)
        self.client.sendall(REQUEST)
        calls = self.calls_of_a_turn()
        self.assertTrue(self.origin.recv(65536).startswith(b"GET /index.html?x=1 HTTP/1.1\r\n"))
        self.origin.sendall(ANSWER)
        calls += self.calls_of_a_turn()
        self.assertEqual(len(self.records.exchanges), before + 1)
        self.assertTrue(self.client.recv(65536).endswith(b"\r\n\r\nhello"))
        self.assertLessEqual(len(calls), MOST, calls)
        self.assertGreaterEqual(len(calls), LEAST, calls)
