"""UDP_PROXY on real sockets: sessions, their bounds, and who may answer (promises 3.7; DECISIONS: Layer 4)."""

from __future__ import annotations

import socket
from functools import partial
from random import Random
from typing import Any

from tests.support import SteppedLoopCase
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.schedulers.round_robin import FACTORY
from voltgw.cluster.snapshot import EndpointKey, EndpointSet, EndpointState
from voltgw.net.datagrams import DatagramPort, datagram_socket
from voltgw.net.pacing import Pace, Rate
from voltgw.proxy.plane import Plane
from voltgw.proxy.pool import Pool
from voltgw.proxy.sessions import MAX_PREFIXES, SessionRoom, prefix_of
from voltgw.proxy.udp import UdpFactory
from voltgw.routing.route import VirtualHost
from voltgw.routing.table import Route
from voltgw.values.counters import ListenerCounters
from voltgw.values.defaults import UDP_IDLE_TIMEOUT_S, UDP_NEW_SESSIONS_PER_S


class Records(list[Any]):
    """An access log that keeps what it is given."""

    def http(self, exchange: Any) -> None:
        """Not here."""

    def connection(self, record: Any) -> None:
        """One more."""
        self.append(record)


class UdpCase(SteppedLoopCase):
    def setUp(self) -> None:
        super().setUp()
        self.records = Records()
        self.plane = Plane(self.loop, self.records, lambda: 0.0, Random(0).random)
        self.room = SessionRoom(self.loop)
        self.loop.sources.trust(["127.0.0.0/8"])
        self.cluster = Cluster("default/c", FACTORY, lambda key: Pool(), Random(0))
        self.route = Route(VirtualHost("dns"), "r/0")
        self.route.cluster = self.cluster
        self.endpoints = [self.far(), self.far()]
        self.version = 0
        self.members(*self.endpoints)
        turns = [self.cluster.pick(None), self.cluster.pick(None)]      # the first one is drawn by lot
        ports = [each.port for each in turns if each is not None]
        self.endpoints.sort(key=lambda server: ports.index(server.getsockname()[1]))
        self.factory, self.port = self.serve()

    def far(self) -> socket.socket:
        """A server, which a test lets answer by hand."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        self.addCleanup(sock.close)
        return sock

    def members(self, *servers: socket.socket) -> None:
        """Make these the cluster's endpoints."""
        self.version += 1
        self.cluster.install(EndpointSet(self.version, tuple(EndpointState(
            EndpointKey("default/c", "UDP", "", *server.getsockname()), 1, {}, "", 0, True, "unknown", "") for server in servers)))

    def serve(self, address: str | None = "127.0.0.1") -> tuple[UdpFactory, DatagramPort]:
        """A listener of the proxy's."""
        counters = ListenerCounters()
        factory = UdpFactory(self.plane, self.room, "udp", address or "::", 53, self.route, counters)
        port = DatagramPort(self.loop, datagram_socket(address, 0), factory.received, factory.batch)
        factory.serve_on(port)
        port.startListening()
        self.addCleanup(factory.close)
        return factory, port

    def client(self, address: str = "127.0.0.1") -> socket.socket:
        """A client, connected to the listener."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, 0))
        sock.connect(("127.0.0.1", self.port.address[1]))
        sock.settimeout(5)
        self.addCleanup(sock.close)
        return sock

    def say(self, client: socket.socket, data: bytes = b"?") -> None:
        """Send, and let the proxy have it."""
        before = self.factory.counters.datagrams_in
        client.send(data)
        self.spin(lambda: self.factory.counters.datagrams_in > before)

    def answer(self, server: socket.socket, data: bytes = b"!") -> tuple[bytes, Any]:
        """The server hears a datagram and answers; returns what it heard, and from whom."""
        heard, who = server.recvfrom(65536)
        before = self.factory.counters.datagrams_out
        server.sendto(data, who)
        self.spin(lambda: self.factory.counters.datagrams_out > before)
        return heard, who

    def more_than(self, before: int) -> bool:
        """Whether datagrams have come since."""
        return self.factory.counters.datagrams_in > before

    def sessions(self) -> int:
        """How many there are; the accounts agree."""
        count = len(self.factory.connections)
        self.assertEqual((self.room.open, self.factory.counters.open, self.cluster.active, self.cluster.connections,
                          sum(self.room.held.values()), sum(each.active for each in self.cluster.endpoints if not each.gone)
                          if self.version == 1 else count), (count,) * 6)
        self.assertEqual(self.loop.accepted, (count + 1) // 2)
        return count

    def dropped(self) -> dict[str, int]:
        """By reason."""
        return self.factory.counters.datagrams_dropped


class PacedTests(UdpCase):
    """Rates of sessions and of bytes."""

    def test_sessions(self) -> None:
        """One too many is dropped, and begins when it is due; sessions that there are go on."""
        self.factory.pace = Pace(Rate(2, 1))
        first, second = self.client(), self.client()
        self.say(first)
        self.say(second)
        self.assertEqual((self.sessions(), self.dropped()), (1, {"session_rate": 1}))
        self.say(first)
        self.advance(0.5)
        self.say(second)
        self.assertEqual((self.sessions(), self.dropped()), (2, {"session_rate": 1}))

    def test_bytes(self) -> None:
        """Each session has its own count, and each direction; a datagram is whole or not there."""
        self.factory.upload, self.factory.download = Rate(1000, 1500), Rate(100, 1)
        client, other = self.client(), self.client()
        for _ in range(3):
            self.say(client, b"x" * 1000)
        self.say(other, b"y" * 1000)
        self.assertEqual(self.dropped(), {"byte_rate": 1})
        heard, who = self.endpoints[0].recvfrom(4000)
        self.assertEqual(heard, b"x" * 1000)
        for _ in range(2):
            self.endpoints[0].sendto(b"z" * 100, who)
        self.spin(lambda: self.dropped()["byte_rate"] == 2)
        self.assertEqual(client.recv(1000), b"z" * 100)
        self.advance(1)
        self.endpoints[0].sendto(b"again", who)
        self.spin(lambda: self.factory.counters.datagrams_out == 2)
        self.assertEqual(client.recv(1000), b"again")


class PerPacketTests(UdpCase):
    def test_each_datagram_chooses(self) -> None:
        """They take turns; the client hears every endpoint, and has one session with each of them."""
        self.factory.per_packet = True
        client = self.client()
        for number in range(6):
            self.say(client, b"%d" % number)
            self.assertEqual(self.answer(self.endpoints[number % 2], b"to %d" % number)[0], b"%d" % number)
            self.assertEqual(client.recv(100), b"to %d" % number)
        self.assertEqual(self.sessions(), 2)

    def test_one_that_is_not_ready(self) -> None:
        """It has no more datagrams, whatever sessions there are."""
        self.factory.per_packet = True
        client = self.client()
        for _ in range(2):
            self.say(client)
        for server in self.endpoints:
            server.recv(100)
        self.members(self.endpoints[0])
        for _ in range(4):
            self.say(client, b"more")
        self.assertEqual([self.endpoints[0].recv(100) for _ in range(4)], [b"more"] * 4)
        self.endpoints[1].setblocking(False)
        self.assertRaises(BlockingIOError, self.endpoints[1].recv, 100)


class SessionTests(UdpCase):
    def test_there_and_back(self) -> None:
        """Bytes as they are, also none and as many as a datagram can hold."""
        client = self.client()
        for data in (b"ask", b"", b"x" * 65507):
            self.say(client, data)
            heard, _ = self.answer(self.endpoints[0], data[::-1])
            self.assertEqual((heard, client.recv(65536)), (data, data[::-1]))
        self.assertEqual(self.sessions(), 1)
        self.assertEqual((self.factory.counters.datagrams_in, self.factory.counters.datagrams_out), (3, 3))

    def test_the_session_keeps_its_endpoint(self) -> None:
        """The same one for each of its datagrams, from the same address; another client gets the next."""
        one, other = self.client(), self.client()
        ports = set()
        for _ in range(3):
            self.say(one)
            ports.add(self.answer(self.endpoints[0])[1])
        self.assertEqual(len(ports), 1)
        self.say(other)
        self.answer(self.endpoints[1])
        self.assertEqual(self.sessions(), 2)

    def test_it_stays_when_the_members_change(self) -> None:
        """What is under way ends where it began; new sessions go to the new members."""
        client = self.client()
        self.say(client)
        self.answer(self.endpoints[0])
        self.members(self.endpoints[1])
        self.say(client)
        self.answer(self.endpoints[0])
        new = self.client()
        self.say(new)
        self.answer(self.endpoints[1])

    def test_it_stays_when_the_route_changes(self) -> None:
        """A reload swaps the route under the listener."""
        client = self.client()
        self.say(client)
        self.answer(self.endpoints[0])
        self.factory.route = Route(VirtualHost("other"), "r/1")
        self.say(client)
        self.assertEqual(self.answer(self.endpoints[0])[0], b"?")

    def test_a_stranger_does_not_answer(self) -> None:
        """Only the endpoint is heard, though a stranger knows the port."""
        client, stranger = self.client(), self.far()
        self.say(client)
        _, ours = self.endpoints[0].recvfrom(100)
        stranger.sendto(b"forged", ours)
        self.endpoints[0].sendto(b"true", ours)
        self.spin(lambda: self.factory.counters.datagrams_out)
        self.assertEqual(client.recv(100), b"true")
        self.assert_quiet()
        self.assertEqual(self.factory.counters.datagrams_out, 1)

    def test_the_record(self) -> None:
        """One for a session, when silence has ended it."""
        client = self.client()
        self.say(client, b"12345")
        self.answer(self.endpoints[0], b"123")
        self.advance(UDP_IDLE_TIMEOUT_S - 1)
        self.assertEqual(self.sessions(), 1)
        self.advance(3)
        self.assertEqual(self.sessions(), 0)
        (record,) = self.records
        self.assertEqual((record.bytes_in, record.bytes_out, record.flag, record.client.peer_port, record.client.local_port),
                         (5, 3, "", client.getsockname()[1], 53))
        counters = self.route.counters
        self.assertEqual((counters.bytes_in, counters.bytes_out, counters.status[0]), (5, 3, 1))

    def test_nobody_answers(self) -> None:
        """The record says so."""
        self.say(self.client())
        self.advance(UDP_IDLE_TIMEOUT_S + 1)
        self.assertEqual([(record.flag, record.detail) for record in self.records], [("UR", "no_answer")])

    def test_traffic_keeps_it(self) -> None:
        """Each datagram begins the silence anew."""
        client = self.client()
        for _ in range(3):
            self.say(client)
            self.advance(UDP_IDLE_TIMEOUT_S - 2)
        self.assertEqual(self.sessions(), 1)

    def test_all_addresses(self) -> None:
        """Two addresses of ours are two sessions for one client, and each answers from its own."""
        self.factory, self.port = self.serve(None)
        client = self.far()
        for host in ("127.0.0.1", "127.0.0.2"):
            before = self.factory.counters.datagrams_in
            client.sendto(host.encode(), (host, self.port.address[1]))
            self.spin(partial(self.more_than, before))
        for server, host in zip(self.endpoints, ("127.0.0.1", "127.0.0.2"), strict=True):
            self.assertEqual(self.answer(server)[0], host.encode())
            self.assertEqual(client.recvfrom(100)[1], (host, self.port.address[1]))
        self.assertEqual({each.local_address for each in self.factory.connections.values()}, {"127.0.0.1", "127.0.0.2"})


class UnreachableTests(UdpCase):
    def test_nobody_is_there(self) -> None:
        """The kernel says so (ICMP): a failure of the endpoint, and the client's next datagram goes to another."""
        failed: list[Any] = []
        self.cluster.on_connect_failed = failed.append
        client = self.client()
        self.endpoints[0].close()
        self.say(client, b"lost")
        self.spin(lambda: failed)
        self.assertEqual((self.sessions(), self.dropped(), self.cluster.counters.connect_failures),
                         (0, {"unreachable": 1}, 1))
        self.assertEqual([record.flag for record in self.records], ["UF"])
        self.say(client, b"again")
        self.assertEqual(self.answer(self.endpoints[1])[0], b"again")

    def test_no_endpoint(self) -> None:
        """Nothing is made, and it is counted."""
        self.members()
        self.say(self.client())
        self.assertEqual((self.sessions(), self.dropped(), self.cluster.counters.no_endpoint), (0, {"no_endpoint": 1}, 1))

    def test_the_cluster_has_its_most(self) -> None:
        """The circuit breaker's connections bound sessions."""
        self.cluster.max_connections = 1
        self.say(self.client())
        self.say(self.client())
        self.assertEqual((self.sessions(), self.dropped()), (1, {"overflow": 1}))


class BoundTests(UdpCase):
    def setUp(self) -> None:
        super().setUp()
        self.loop.open_limit = 4

    def test_sessions_that_live_are_not_pushed_out(self) -> None:
        """At the bound the new one is dropped, when all others have been answered."""
        clients = [self.client() for _ in range(4)]
        for number, client in enumerate(clients):
            self.say(client)
            self.answer(self.endpoints[number % 2])
        self.say(self.client())
        self.assertEqual((self.sessions(), self.dropped(), self.factory.counters.sessions_evicted), (4, {"full": 1}, 0))

    def test_a_flood_pushes_out_the_flood(self) -> None:
        """Of sessions that nobody answered the oldest makes room; the one that lives stays through a thousand."""
        living = self.client()
        self.say(living)
        self.answer(self.endpoints[0])
        for _ in range(100):
            self.say(self.client())
        self.assertEqual((self.sessions(), self.factory.counters.sessions_evicted, self.dropped()), (4, 97, {}))
        self.say(living, b"still here")
        while True:
            heard, who = self.endpoints[0].recvfrom(100)
            if heard == b"still here":
                break
        self.endpoints[0].sendto(b"yes", who)
        living.recv(100)
        before = self.factory.counters.datagrams_out
        self.spin(lambda: self.factory.counters.datagrams_out > before)
        self.assertEqual(living.recv(100), b"yes")

    def test_one_source_has_a_share(self) -> None:
        """A quarter, unless it is trusted."""
        self.loop.sources.trust(["192.0.2.0/24"])
        first, second = self.client(), self.client()
        self.say(first)
        self.say(second)
        self.assertEqual((self.sessions(), self.dropped()), (1, {"source": 1}))
        self.say(self.client("127.0.0.2"))
        self.assertEqual(self.sessions(), 2)

    def test_connections_have_the_room(self) -> None:
        """Sessions and accepted connections share the descriptors."""
        self.loop.accepted = 4
        self.say(self.client())
        self.loop.accepted = 0
        self.assertEqual(self.dropped(), {"full": 1})


class RateTests(UdpCase):
    def test_a_prefix_begins_only_so_many(self) -> None:
        """In a second; the next one is another, and so is another prefix."""
        self.loop.sources.trust(["192.0.2.0/24"])
        self.loop.open_limit = 1 << 20
        for number in range(UDP_NEW_SESSIONS_PER_S):
            self.assertEqual(self.room.refusal(f"10.0.0.{number % 250}", 1, 7.0), "")
        self.assertEqual(self.room.refusal("10.0.0.9", 1, 7.9), "rate")
        self.assertEqual((self.room.refusal("10.0.1.9", 1, 7.9), self.room.refusal("10.0.0.9", 1, 8.0)), ("", ""))

    def test_memory_is_bounded(self) -> None:
        """Prefixes above the bound share one count."""
        self.loop.open_limit = 1 << 20
        self.loop.sources.trust([])
        refused = sum(bool(self.room.refusal(f"10.{n >> 8 & 255}.{n & 255}.1", 1, 7.0)) for n in range(
            MAX_PREFIXES + UDP_NEW_SESSIONS_PER_S + 5))
        self.assertEqual((refused, len(self.room._begun)), (5, MAX_PREFIXES + 1))

    def test_prefixes(self) -> None:
        """/24 and /56."""
        self.assertEqual(prefix_of("10.1.2.3"), prefix_of("10.1.2.200"))
        self.assertNotEqual(prefix_of("10.1.2.3"), prefix_of("10.1.3.3"))
        self.assertEqual(prefix_of("2001:db8:0:12::1"), prefix_of("2001:db8:0:13::2"))
        self.assertNotEqual(prefix_of("2001:db8:0:100::1"), prefix_of("2001:db8::1"))


class LoopTests(UdpCase):
    def test_our_own_address_as_source(self) -> None:
        """A forged datagram that seems to come from one of our listeners would go in circles; it is dropped."""
        self.factory.received(memoryview(b"x"), ("127.0.0.1", self.port.address[1]), b"")
        self.assertEqual((self.sessions(), self.dropped()), (0, {"own": 1}))

    def test_our_own_address_of_a_listener_on_all(self) -> None:
        """Whatever address of the host it names."""
        self.factory, self.port = self.serve(None)
        self.factory.received(memoryview(b"x"), ("::ffff:127.0.0.5", self.port.address[1], 0, 0), b"")
        self.assertEqual(self.dropped(), {"own": 1})

    def test_an_endpoint_that_is_our_listener(self) -> None:
        """Each datagram would come back as a new client's."""
        self.version += 1
        self.cluster.install(EndpointSet(self.version, (EndpointState(
            EndpointKey("default/c", "UDP", "", *self.port.address), 1, {}, "", 0, True, "unknown", ""),)))
        self.say(self.client())
        self.assertEqual(self.dropped(), {"own": 1})


class EndTests(UdpCase):
    def test_drain(self) -> None:
        """Sessions go on, no new one begins, and the socket closes with the last one."""
        client = self.client()
        self.say(client)
        self.answer(self.endpoints[0])
        self.factory.drain()
        self.say(client)
        self.answer(self.endpoints[0])
        self.say(self.client())
        self.assertEqual((self.sessions(), self.dropped(), self.port.stopped), (1, {"draining": 1}, False))
        self.advance(UDP_IDLE_TIMEOUT_S + 1)
        self.assertEqual((self.port.stopped, self.room.own), (True, set()))

    def test_close(self) -> None:
        """All at once, and each is written down."""
        self.say(self.client())
        self.say(self.client())
        self.factory.close()
        self.assertEqual((self.sessions(), self.port.stopped, [record.detail for record in self.records]),
                         (0, True, ["drained"] * 2))

    def test_the_loop_stops(self) -> None:
        """Sessions end with it."""
        self.say(self.client())
        self.loop.stop()
        self.assertEqual(len(self.records), 1)
