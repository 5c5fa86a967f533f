"""Listening sockets, and how one plan becomes the next."""

from __future__ import annotations

import random
import select
import socket
import time
from typing import Final

from tests.app.making import balancer, balancers, host, objects, policy, runtime
from tests.integration.gateway import free_port
from tests.support import TIMEOUT_S, SteppedLoopCase, interpreted_only
from voltgw.app.build import ListenerKey, ListenerPlan
from voltgw.app.listening import AnyBound, Listening
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.snapshot import EndpointKey, EndpointSet, EndpointState
from voltgw.net.sockets import CannotListen, listening_socket
from voltgw.proxy.plane import Plane

#: A route that answers by itself, with the port that it was asked on.
ANSWERS: Final = (
    "- {kind: route, metadata: {name: r}, spec: {routes: ["
    "{match: [{incoming_port: {port: 80}}], route_direct_response: {response_code: 203}}, "
    "{route_direct_response: {response_code: 200}}]}}\n"
)
DRAIN_S: Final = 30.0


class NoAccessLog:
    """Where finished exchanges go when nobody wants their lines."""

    def http(self, exchange: object, /) -> None:
        """Let it go."""

    def connection(self, record: object, /) -> None:
        """Let it go."""


class ListeningCase(SteppedLoopCase):
    """Listeners of a real loop that the test turns."""

    def setUp(self) -> None:
        super().setUp()
        self.listening = Listening(Plane(self.loop, NoAccessLog(), time.time, random.Random(0).random), self.loop)
        self.addCleanup(self.close)
        self.port = free_port()

    def close(self) -> None:
        """Nothing is left."""
        self.listening.drain()
        self.listening.close()

    def plans(self, *ports: int, kind: str = "HTTP_PROXY", gateway: str = "") -> dict[ListenerKey, ListenerPlan]:
        """Listeners on 127.0.0.1 that answer by themselves; TCP_PROXY ones relay to where nobody is."""
        if kind == "TCP_PROXY":
            return runtime(balancers(*(
                balancer(f"n{port}", f"127.0.0.1:{port}", "127.0.0.1:1", more=", protocol: tcp") for port in ports))).listeners
        return runtime(objects(
            host("a", policies=str([f"p{port}" for port in ports])),
            *(policy(f"p{port}", f"address: 127.0.0.1, port: {port}") for port in ports), ANSWERS, gateway=gateway)).listeners

    def everywhere(self, port: int) -> dict[ListenerKey, ListenerPlan]:
        """A listener on all addresses."""
        return runtime(objects(host("a"), policy("p", f"port: {port}, voltgw: {{any_address: true}}"), ANSWERS)).listeners

    def serve(self, plans: dict[ListenerKey, ListenerPlan]) -> None:
        """As a reload does it."""
        opened = self.listening.open_new(plans)
        self.listening.install(plans, opened, DRAIN_S)
        self.listening.start()

    def connect(self, port: int) -> socket.socket:
        """A client."""
        sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._sockets.append(sock)
        return sock

    def hear(self, sock: socket.socket) -> bytes:
        """What comes next; b"" = the end. Raises ConnectionResetError."""
        self.spin(lambda: select.select([sock], [], [], 0)[0])
        return sock.recv(65536)

    def ask(self, sock: socket.socket) -> bytes:
        """The status line of an answer."""
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return self.hear(sock).partition(b"\r\n")[0]

    def refused(self, port: int) -> bool:
        """Whether nobody listens there."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0


class OpenTests(ListeningCase):
    def test_bound_before_it_accepts(self) -> None:
        """Clients that come between binding and the swap wait in the backlog, and are served after it."""
        plans = self.plans(self.port)
        opened = self.listening.open_new(plans)
        client = self.connect(self.port)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assert_quiet()
        self.listening.install(plans, opened, DRAIN_S)
        self.listening.start()
        self.assertTrue(self.hear(client).startswith(b"HTTP/1.1 200 OK\r\n"))

    def test_one_port_is_taken(self) -> None:
        """Then none of the others stays open, the error says which, and what served goes on."""
        self.serve(self.plans(self.port))
        free = free_port()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            error = self.assertRaises(CannotListen, self.listening.open_new, self.plans(self.port, free, port))
        self.assertIn(f"127.0.0.1:{port}", str(error))
        self.assertTrue(self.refused(free))
        self.assertEqual(self.ask(self.connect(self.port)), b"HTTP/1.1 200 OK")

    def test_making_it_fails(self) -> None:
        """A bug in what stands behind a socket closes that socket, too."""
        plans = self.plans(self.port, kind="TCP_PROXY")
        [plan] = plans.values()
        plan.hosts.clear()
        self.assertRaises(IndexError, self.listening.open_new, plans)
        self.assertTrue(self.refused(self.port))

    @interpreted_only
    def test_no_room_in_the_epoll_set(self) -> None:
        """A listener that cannot be watched says so; the others serve."""
        plans = self.plans(self.port, free_port())
        opened = self.listening.open_new(plans)
        first, second = opened.values()

        def full() -> None:
            raise OSError(28, "No space left on device")

        self.patch(first.listener, "startListening", full)
        self.listening.install(plans, opened, DRAIN_S)
        self.listening.start()
        self.assertEqual((first.bound, second.bound), (False, True))
        self.assertIn("No space left", first.problem)
        self.assertEqual(self.ask(self.connect(second.plan.key.port)), b"HTTP/1.1 200 OK")


class ChangeTests(ListeningCase):
    def test_other_routes(self) -> None:
        """A listener that stays takes over the new table without being touched: its counters count on."""
        self.serve(self.plans(self.port))
        client = self.connect(self.port)
        self.ask(client)
        [before] = self.listening.bound.values()
        other = runtime(objects(host("a", domains="[other.example]"), policy("p", f"address: 127.0.0.1, port: {self.port}"),
                                ANSWERS)).listeners
        self.serve(other)
        self.assertEqual(self.ask(client), b"HTTP/1.1 404 Not Found")
        [after] = self.listening.bound.values()
        self.assertIs(after, before)
        self.assertEqual(after.counters.accepted, 1)

    def test_another_port_is_mapped_here(self) -> None:
        """Rules about ports go by the new one from then on."""
        self.serve(self.plans(self.port))
        self.assertEqual(self.ask(self.connect(self.port)), b"HTTP/1.1 200 OK")
        self.serve(self.plans(80, gateway=f"port_map: {{80: {self.port}}}"))
        self.assertEqual(self.ask(self.connect(self.port)), b"HTTP/1.1 203 Non-Authoritative Information")

    def test_another_kind_of_proxy(self) -> None:
        """The port never stands closed: a client that connected before the swap is served by the new kind."""
        self.serve(self.plans(self.port))
        plans = self.plans(self.port, kind="TCP_PROXY")
        opened = self.listening.open_new(plans)
        client = self.connect(self.port)
        self.listening.install(plans, opened, DRAIN_S)
        self.listening.start()
        [bound] = self.listening.bound.values()
        self.assertEqual(bound.kind, "TCP_PROXY")
        self.spin(lambda: bound.counters.accepted)
        self.assertRaises(ConnectionResetError, self.hear, client)      # it relays to where nobody is

    def test_another_kind_gives_up(self) -> None:
        """When the swap does not come after all, the old kind serves on."""
        self.serve(self.plans(self.port))
        self.listening.close_unused(self.listening.open_new(self.plans(self.port, kind="TCP_PROXY")))
        self.assertEqual(self.ask(self.connect(self.port)), b"HTTP/1.1 200 OK")

    def test_from_one_address_to_all(self) -> None:
        """A port moves from an address to all of them in one step; both stand open until the swap."""
        self.serve(self.plans(self.port))
        plans = self.everywhere(self.port)
        opened = self.listening.open_new(plans)
        self.assertEqual(self.ask(self.connect(self.port)), b"HTTP/1.1 200 OK")
        self.listening.install(plans, opened, DRAIN_S)
        self.listening.start()
        self.assertEqual([str(key) for key in self.listening.bound], [f"*:{self.port}"])
        self.assertEqual(self.ask(self.connect(self.port)), b"HTTP/1.1 200 OK")
        self.assert_alone()

    def test_from_all_addresses_to_one(self) -> None:
        """And back."""
        self.serve(self.everywhere(self.port))
        self.serve(self.plans(self.port))
        self.assertEqual([str(key) for key in self.listening.bound], [f"127.0.0.1:{self.port}"])
        self.assertEqual(self.ask(self.connect(self.port)), b"HTTP/1.1 200 OK")
        self.assert_alone()

    def test_to_all_addresses_gives_up(self) -> None:
        """When the swap does not come, the one address is served on, and nobody may share it."""
        self.serve(self.plans(self.port))
        self.listening.close_unused(self.listening.open_new(self.everywhere(self.port)))
        self.assertEqual(self.ask(self.connect(self.port)), b"HTTP/1.1 200 OK")
        self.assert_alone()

    def test_all_addresses_beside_one_that_stays(self) -> None:
        """That cannot be: the port is taken, by ourselves."""
        self.serve(self.plans(self.port))
        self.assertRaises(CannotListen, self.listening.open_new, {**self.plans(self.port), **self.everywhere(self.port)})
        self.assert_alone()

    def assert_alone(self) -> None:
        """Another gateway of the same user is told that the port is taken."""
        self.assertRaises(CannotListen, listening_socket, "127.0.0.1", self.port)
        self.assertRaises(CannotListen, listening_socket, None, self.port)


class LeavingTests(ListeningCase):
    """Listeners that are given up."""

    def busy(self) -> tuple[AnyBound, socket.socket]:
        """A listener with a client in the middle of a request's head; then it is given up."""
        self.serve(self.plans(self.port))
        client = self.connect(self.port)
        client.sendall(b"GET / HTTP/1.1\r\nHo")
        [bound] = self.listening.bound.values()
        self.spin(lambda: bound.factory.connections)
        self.turn()
        self.serve({})
        return bound, client

    def test_nobody_is_connected(self) -> None:
        """It is gone at once, and nothing waits for it."""
        self.serve(self.plans(self.port))
        self.serve({})
        self.assertTrue(self.refused(self.port))
        self.assertEqual((self.listening.leaving, self.listening.connections), ({}, 0))
        self.assertEqual(self._left(), [])

    def test_an_idle_client(self) -> None:
        """Its connection is closed at once, in order."""
        self.serve(self.plans(self.port))
        client = self.connect(self.port)
        self.ask(client)
        self.serve({})
        self.assertEqual(self.hear(client), b"")

    def test_a_request_under_way(self) -> None:
        """It is answered, as the last one on its connection; nobody new is let in."""
        bound, client = self.busy()
        self.assertTrue(self.refused(self.port))
        self.assertEqual((list(self.listening.leaving), self.listening.connections), ([bound], 1))
        client.sendall(b"st: x\r\n\r\n")
        answer = self.hear(client)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
        self.assertIn(b"connection: close\r\n", answer)
        client.close()
        self.spin(lambda: not self.listening.connections)

    def test_one_that_does_not_end(self) -> None:
        """After the drain's time it is cut, and the former listener is forgotten."""
        self.serve(self.plans(self.port, kind="TCP_PROXY"))
        [bound] = self.listening.bound.values()
        origin = socket.create_server(("127.0.0.1", 0))
        self._sockets.append(origin)
        client = self.relayed(bound, origin)
        self.serve({})
        self.advance(DRAIN_S - 1)
        self.assertEqual(list(self.listening.leaving), [bound])
        self.assertEqual(select.select([client], [], [], 0)[0], [])
        self.advance(1.1)
        self.assertEqual((self.listening.leaving, self.listening.connections), ({}, 0))
        self.assertEqual(self.hear(client), b"")

    def relayed(self, bound: AnyBound, origin: socket.socket) -> socket.socket:
        """A client whose connection is relayed to `origin`."""
        factory = bound.factory
        cluster = bound.plan.hosts[0].routes[0].cluster
        assert isinstance(cluster, Cluster)
        key = EndpointKey(cluster.name, "TCP", "", "127.0.0.1", origin.getsockname()[1])
        cluster.install(EndpointSet(1, (EndpointState(key, ready=True),)))
        client = self.connect(self.port)
        self.spin(lambda: factory.connections)
        far, _ = origin.accept()
        self._sockets.append(far)
        far.sendall(b"hello")
        self.assertEqual(self.hear(client), b"hello")
        return client

    def test_it_comes_back(self) -> None:
        """A listener that is wanted again, while its predecessor still has a client, is another one on the same port."""
        former, client = self.busy()
        self.serve(self.plans(self.port))
        [bound] = self.listening.bound.values()
        self.assertIsNot(bound, former)
        self.assertEqual(self.ask(self.connect(self.port)), b"HTTP/1.1 200 OK")
        client.sendall(b"st: x\r\n\r\n")
        self.assertTrue(self.hear(client).startswith(b"HTTP/1.1 200 OK\r\n"))
