"""A cluster with its most connections: requests wait for one, in order, for a time, and not more of them than may."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address

from tests.proxy.rig import EMPTY, GET, BareProxyCase, ProxyCase, Wire, answer, requests
from tests.support import interpreted_only
from voltgw.cluster.cluster import Cluster, Limits
from voltgw.cluster.snapshot import EndpointKey, EndpointSet, EndpointState
from voltgw.cluster.subset import SubsetRules
from voltgw.errors import ConnectFailed
from voltgw.net.deadlines import TICK_S
from voltgw.proxy.factory import HttpFactory
from voltgw.proxy.tcp import TcpFactory
from voltgw.routing.hosts import HostTable
from voltgw.routing.split import Destination
from voltgw.routing.table import Route
from voltgw.values.counters import ListenerCounters
from voltgw.values.defaults import RESPONSE_HEAD_TIMEOUT_S
from voltgw.values.exchange import Exchange
from voltgw.values.retry import MirrorPlan, RetryPlan

LATE = 4 * TICK_S
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def get(number: int) -> bytes:
    """A request that can be told from others."""
    return b"GET /%d HTTP/1.1\r\nHost: shop\r\n\r\n" % number


class WaitingCase(ProxyCase):
    limits = Limits(connections=1, pending=3)

    def waiting(self, count: int = 1) -> tuple[Wire, Wire, list[Wire]]:
        """A client whose request is under way on the only connection, that connection, and clients that wait."""
        client = self.client()
        client.send(get(0))
        origin = self.accept()
        origin.clear()
        clients = []
        for number in range(1, count + 1):
            clients.append(self.client())
            clients[-1].send(get(number))
        self.turn()
        self.assertEqual((self.rig.dials, [each.written for each in clients]), ([], [b""] * count))
        return client, origin, clients

    def targets(self, origin: Wire) -> list[bytes]:
        """What has come on this connection since it was last asked."""
        return [message.target for message in requests(origin.got())]

    def check_nothing_left(self) -> None:
        """Nobody waits either."""
        super().check_nothing_left()
        self.assertEqual(self.rig.queues, {})


class TurnTests(WaitingCase):
    def test_a_connection_that_becomes_free(self) -> None:
        """Is given to the first who waits, then to the next; nobody is refused, and no connection is made."""
        first, origin, clients = self.waiting(3)
        for number, client in enumerate([first, *clients]):
            origin.send(EMPTY)
            self.turn()
            self.assertEqual(answer(client.got()).start, 200)
            self.assertEqual(self.targets(origin), [b"/%d" % (number + 1)] if number < 3 else [])
        self.assertEqual((self.rig.dials, len(self.endpoint.pool), self.cluster.counters.overflow), ([], 1, 0))
        self.assertEqual([record.request.target for record in self.records], [b"/0", b"/1", b"/2", b"/3"])

    def test_a_connection_that_ends(self) -> None:
        """Makes room for a new one: the first who waits dials."""
        first, origin, clients = self.waiting(2)
        origin.send(CLOSING)
        self.turn()
        second = self.accept()
        self.assertEqual(self.targets(second), [b"/1"])
        second.reset()
        self.turn()
        self.assertEqual(answer(clients[0].got()).start, 502)
        self.assertEqual(self.targets(self.accept()), [b"/2"])

    def test_a_dial_counts(self) -> None:
        """A connection that is being made is one: no second is begun beside it; if it fails the next one may try."""
        first, second = self.client(), self.client()
        first.send(get(0))
        second.send(get(1))
        self.assertEqual((len(self.rig.dials), self.cluster.pending), (1, 2))
        self.dialled.fail(ConnectFailed("refused"))
        self.turn()
        self.assertEqual(answer(first.got()).start, 502)
        self.assertEqual(self.targets(self.accept()), [b"/1"])

    def test_a_dial_that_is_given_up(self) -> None:
        """Its client has left: the same."""
        first, second = self.client(), self.client()
        first.send(get(0))
        second.send(get(1))
        first.reset()
        self.turn()
        self.assertEqual(self.targets(self.accept()), [b"/1"])

    def test_nobody_overtakes(self) -> None:
        """Who comes in the very turn in which room is made stands behind those who wait."""
        _, origin, clients = self.waiting(1)
        origin.reset()
        late = self.client()
        late.send(get(9))
        self.turn()
        second = self.accept()
        self.assertEqual(self.targets(second), [b"/1"])
        second.send(EMPTY)
        self.turn()
        self.assertEqual(self.targets(second), [b"/9"])

    def test_who_has_left_is_passed_over(self) -> None:
        """Cancelled with the client: its place is the next one's."""
        first, origin, clients = self.waiting(3)
        clients[0].reset()
        self.assertEqual((self.cluster.pending, self.cluster.active), (2, 3))
        origin.send(EMPTY)
        self.turn()
        self.assertEqual(self.targets(origin), [b"/2"])
        clients[2].reset()
        self.assertEqual(self.rig.queues, {})
        self.assertEqual([record.flag for record in self.records], ["DC", "", "DC"])

    def test_requests_on_one_connection(self) -> None:
        """What a client has sent ahead waits for its own turn."""
        client = self.client()
        client.send(get(0) + get(1))
        origin = self.accept()
        other = self.client()
        other.send(get(2))
        origin.clear()
        origin.send(EMPTY)
        self.turn()
        self.assertEqual(self.targets(origin), [b"/2"])
        origin.send(EMPTY)
        self.turn()
        self.assertEqual(self.targets(origin), [b"/1"])

    def test_a_body_waits_with_its_request(self) -> None:
        """It follows the head in order, and streams on."""
        first, origin, _ = self.waiting(0)
        client = self.client()
        client.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 6\r\n\r\n01")
        client.send(b"23")
        origin.send(EMPTY)
        self.turn()
        client.send(b"45")
        self.assertEqual(requests(origin.got())[0].body, b"012345")
        origin.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    @interpreted_only
    def test_a_bug_of_one_who_waits(self) -> None:
        """Costs that request alone: not the one whose connection it was given."""
        class Mistake(Exception):
            """A bug."""

        first, origin, clients = self.waiting(2)

        def mistake(*arguments: object) -> None:
            raise Mistake("no")

        patch = self.patch(type(origin.protocol), "begin", mistake)
        origin.send(EMPTY)
        patch.restore()
        self.turn()
        self.assertEqual((answer(first.got()).start, answer(clients[0].got()).start), (200, 500))
        self.assertEqual(len(self.failures(Mistake)), 1)
        self.assertEqual(self.targets(self.accept()), [b"/2"])


class BoundTests(WaitingCase):
    def test_so_many_may_wait(self) -> None:
        """circuit_breaker.pending_requests: one more is told 503 at once."""
        _, origin, clients = self.waiting(3)
        fourth = self.client()
        fourth.send(GET)
        self.assertEqual((answer(fourth.got()).start, self.records[-1].flag, self.cluster.counters.overflow), (503, "UO", 1))
        clients[1].reset()
        fourth.send(GET)
        self.assertEqual((fourth.written, self.cluster.pending), (b"", 3))

    def test_time(self) -> None:
        """As long as an answer may take to begin, then 503: no endpoint has heard of it."""
        for idle_s in (0.0, 2.0):
            self.host.idle_timeout_s = idle_s
            first, origin, (client,) = self.waiting()
            self.host.idle_timeout_s = 0.0
            origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
            self.advance((idle_s or RESPONSE_HEAD_TIMEOUT_S) - 1)
            self.assertEqual(client.written, b"")
            self.advance(1 + LATE)
            self.assertEqual((answer(client.got()).start, self.records[-1].flag, client.gone), (503, "UO", False))
            first.reset()
            self.turn()

    def test_the_route_s_time(self) -> None:
        """Waiting counts: 504 when it is over; what is left of it holds for the rest."""
        self.route.timeout_s = 5.0
        first, origin, (client, other) = self.waiting(2)
        self.advance(3)
        self.route.timeout_s = 0.0
        origin.send(EMPTY)
        self.turn()
        self.assertEqual(self.targets(origin), [b"/1"])
        self.advance(2 + LATE)
        self.assertEqual((answer(client.got()).start, answer(other.got()).start, origin.aborted), (504, 504, True))
        self.assertEqual([record.flag for record in self.records], ["", "UT", "UT"])

    def test_the_try_s_time_begins_with_the_connection(self) -> None:
        """Waiting is not the endpoint's fault."""
        self.route.retry = RetryPlan(frozenset(("5xx",)), per_try_timeout_s=0.1)
        first, origin, _ = self.waiting(0)
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        client = self.client()
        client.send(get(1))
        self.advance(5)
        self.assertEqual(client.written, b"")
        origin.send(b"k")
        self.turn()
        self.assertEqual(self.targets(origin), [b"/1"])
        self.advance(0.11)
        self.assertTrue(origin.aborted)

    def test_a_drain_s_end(self) -> None:
        """Who waits is cut like everybody."""
        _, _, clients = self.waiting(2)
        self.http.close()
        self.turn()
        self.assertEqual(([client.aborted for client in clients], self.cluster.pending, self.rig.queues), ([True, True], 0, {}))


class SeveralEndpointsTests(WaitingCase):
    endpoint_count = 3

    def test_whatever_is_free_is_used(self) -> None:
        """A request without a key goes to the endpoint whose connection is free, although another one was picked for it."""
        for endpoint in self.cluster.endpoints:
            endpoint.authority = b"host-" + endpoint.address.encode()
        self.route.auto_host_rewrite = True
        first, origin, clients = self.waiting(2)
        busy = origin.protocol.endpoint
        for client in (first, *clients):
            origin.send(EMPTY)
            self.turn()
            self.assertEqual(answer(client.got()).start, 200)
            message = requests(origin.got())
            if message:
                self.assertEqual(message[0].get(b"host"), busy.authority)
        self.assertEqual([record.endpoint for record in self.records], [busy] * 3)
        self.assertEqual((busy.requests, sum(endpoint.requests for endpoint in self.cluster.endpoints)), (3, 3))

    def test_an_idle_connection_elsewhere(self) -> None:
        """Nobody waits while one is there."""
        first, origin, _ = self.waiting(0)
        origin.send(EMPTY)
        for number in range(3):
            client = self.client()
            client.send(get(number))
            self.assertEqual(self.targets(origin), [b"/%d" % number])
            origin.send(EMPTY)
            self.assertEqual(answer(client.got()).start, 200)
        self.assertEqual((self.rig.dials, self.cluster.counters.connects), ([], 1))

    def test_a_request_with_a_key_wants_its_own(self) -> None:
        """An idle connection to somebody else is closed to make room, and so is one that becomes free."""
        first, origin, _ = self.waiting(0)
        busy = origin.protocol.endpoint
        self.route.hash_key = lambda exchange: 1
        wanted = next(endpoint for endpoint in self.cluster.endpoints if endpoint is not busy)
        pick, self.cluster.pick = self.cluster.pick, lambda key: wanted
        client = self.client()
        client.send(get(1))
        self.assertEqual(origin.written, b"")
        origin.send(EMPTY)
        self.turn()
        self.assertTrue(origin.gone)
        second = self.accept()
        self.assertIs(second.protocol.endpoint, wanted)
        second.send(EMPTY)
        self.turn()
        self.cluster.pick = lambda key: busy
        client.clear()
        client.send(get(2))
        self.turn()
        self.assertEqual((second.gone, second.aborted), (True, False))
        self.assertIs(self.dialled.endpoint, busy)
        self.accept()
        self.cluster.pick = pick

    def test_an_endpoint_that_is_no_longer_ready(self) -> None:
        """Who waits for it is given another one; when there is none, 503."""
        first, origin, (client, other) = self.waiting(2)
        ready = self.cluster.endpoints[2]
        for endpoint in self.cluster.endpoints:
            endpoint.ready = endpoint is ready
        origin.send(CLOSING)
        self.turn()
        self.assertIs(self.dialled.endpoint, ready)
        second = self.accept()
        ready.ready = False
        second.reset()
        self.turn()
        self.assertEqual((answer(client.got()).start, answer(other.got()).start, self.records[-1].flag), (502, 503, "UH"))

    def test_a_free_connection_to_one_that_is_not_ready(self) -> None:
        """Is closed, and its place is the first one's."""
        first, origin, (client,) = self.waiting()
        origin.protocol.endpoint.ready = False
        origin.send(EMPTY)
        self.turn()
        self.assertTrue(origin.gone)
        self.assertIsNot(self.dialled.endpoint, origin.protocol.endpoint)
        self.accept()


class SubsetTests(WaitingCase):
    limits = Limits(connections=1, pending=3)

    def make_cluster(self, name: str = "default/shop", **options: Any) -> Cluster:
        """One endpoint in each of two subsets."""
        cluster = super().make_cluster(name, subsets=SubsetRules((("v",),)), **options)
        keys = [EndpointKey(name, "TCP", "", f"203.0.113.{number}", 9001) for number in (1, 2)]
        cluster.install(EndpointSet(2, tuple(
            EndpointState(key, labels={"v": str(number)}) for number, key in enumerate(keys, 1))))
        return cluster

    def to(self, version: str) -> None:
        """Requests go to this subset from now on."""
        self.host.only = route = Route(self.host, "shop/0")
        route.forward_to([Destination(self.cluster.subset({"v": version}), self.cluster.name)])

    def test_the_limit_is_one_for_all(self) -> None:
        """An idle connection of another subset makes room, but is not used; one that becomes free there ends for who waits here."""
        self.to("1")
        client, origin = self.asked()
        origin.send(EMPTY)
        self.turn()
        self.to("2")
        other = self.client()
        other.send(get(1))
        self.turn()
        self.assertTrue(origin.gone)
        second = self.accept()
        self.assertEqual((self.targets(second), self.rig.origins[-1].protocol.endpoint.labels["v"]), ([b"/1"], "2"))
        self.to("1")
        client.send(get(2))
        self.turn()
        self.assertEqual(self.rig.dials, [])
        second.send(EMPTY)
        self.turn()
        self.assertTrue(second.gone)
        self.assertEqual(self.targets(self.accept()), [b"/2"])


class OthersTests(WaitingCase):
    limits = Limits(connections=2, pending=10)

    def test_copies_do_not_wait(self) -> None:
        """A mirrored request is dropped instead; the original may wait."""
        other = self.make_cluster("default/shadow", limits=Limits(connections=1))
        self.route.mirror = MirrorPlan(other, 1, 1)
        for number in range(2):
            self.client().send(get(number))
        self.turn()
        self.assertEqual((self.rig.counters.shadows_refused, self.rig.counters.shadows_open), (1, 1))
        for dial in list(self.rig.dials):
            dial.accept()

    def test_a_tunnel_that_ends(self) -> None:
        """Makes room like any connection."""
        self.route.upgrades = frozenset((b"websocket",))
        self.cluster.max_connections = 1
        client, origin = self.asked(GET[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        origin.send(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        waiting = self.client()
        waiting.send(get(1))
        self.assertEqual(self.rig.dials, [])
        client.fin()
        origin.fin()
        self.turn()
        self.assertEqual(self.targets(self.accept()), [b"/1"])

    def test_an_answer_that_nobody_hears(self) -> None:
        """Its connection counts until it has ended, and is given on then."""
        self.cluster.max_connections = 1
        self.route.retry = RetryPlan(frozenset(("5xx",)))
        self.rig.number = 0.5
        client, origin = self.asked()
        origin.clear()
        origin.send(b"HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nbu")
        self.advance(0.1)
        self.assertEqual((self.rig.dials, self.cluster.pending), ([], 1))
        origin.send(b"sy")
        self.turn()
        self.assertEqual(len(requests(origin.got())), 1)
        origin.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_limits_hold(self) -> None:
        """However requests and connections come and go, there are never more connections than may be."""
        seen = 0
        clients = [self.client() for _ in range(12)]
        for number, client in enumerate(clients):
            client.send(get(number))
            if number % 3 == 2 and self.rig.dials:
                self.rig.dials[0].accept()
            for origin in self.rig.origins:
                if origin.written and not origin.gone:
                    origin.clear()
                    origin.send(EMPTY if number % 2 else CLOSING)
            self.turn()
            seen = max(seen, self.cluster.connections + len(self.rig.dials))
        self.assertEqual(seen, 2)


class RelayTests(BareProxyCase):
    """A cluster that serves HTTP and TCP."""

    limits = Limits(connections=1)

    def test_a_relay_that_ends(self) -> None:
        """Makes room for an HTTP request, however it ends: connected, refused, or given up."""
        self.tcp = TcpFactory(self.rig, "tcp", "198.51.100.1", 9000, self.route, ListenerCounters())
        self.http = HttpFactory(self.rig, "http", "198.51.100.1", 8080, HostTable([(["*"], self.host)]), self.counters)
        for end in ("connected", "refused", "left"):
            relay = self.tcp.buildProtocol(None)
            wire = Wire(self.hand, self.client_address(), relay)
            self.rig.clients.append(wire)
            relay.makeConnection(wire)
            dial = self.dialled
            if end == "connected":
                dial.accept()
            client = self.client()
            client.send(GET)
            self.assertEqual(len(self.rig.dials), 0 if end == "connected" else 1)
            if end == "refused":
                dial.fail()
            else:
                wire.reset()
            self.turn()
            origin = self.accept()
            self.assertEqual(len(requests(origin.got())), 1, end)
            origin.send(CLOSING)
            self.turn()
            self.assertEqual(answer(client.got()).start, 200)

    def client_address(self) -> IPv4Address:
        """A client's."""
        return IPv4Address("TCP", "192.0.2.9", 1)

    @property
    def factory(self) -> object:
        """The HTTP listener's."""
        return self.http


class KeepTests(WaitingCase):
    def test_filters_have_run_before(self) -> None:
        """They run once, however long the request waits."""
        seen: list[Exchange] = []
        self.route.request_filters = (seen.append,)
        first, origin, (client,) = self.waiting()
        origin.send(EMPTY)
        self.turn()
        origin.send(EMPTY)
        self.assertEqual(len(seen), 2)
