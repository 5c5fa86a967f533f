"""Copies to another cluster: what the copy is, and that the original never notices it (promise: fire and forget)."""

from __future__ import annotations

from tests.proxy.rig import EMPTY, GET, ProxyCase, Wire, answer, requests
from voltgw.cluster.cluster import Cluster, Limits
from voltgw.net.deadlines import TICK_S
from voltgw.proxy.mirror import chosen
from voltgw.values.defaults import MAX_SHADOW_ANSWER_BYTES, MAX_SHADOW_BYTES, MAX_SHADOWS, SHADOW_TIMEOUT_S
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Reply
from voltgw.values.retry import MirrorPlan, RetryPlan

LATE = 4 * TICK_S


class MirrorCase(ProxyCase):
    mirror_limits = Limits()

    def setUp(self) -> None:
        """A second cluster that gets copies of everything."""
        super().setUp()
        self.other = self.make_cluster("default/shadow", limits=self.mirror_limits)
        self.route.mirror = MirrorPlan(self.other, 1, 1)

    def check_nothing_left(self) -> None:
        """Nothing of the copies either."""
        super().check_nothing_left()
        self.assertEqual((self.other.active, self.other.pending, self.other.connections, self.other.retries), (0, 0, 0, 0))
        self.assertEqual([(endpoint.active, len(endpoint.pool)) for endpoint in self.other.endpoints], [(0, 0)])
        self.assertEqual(self.rig.counters.shadows_open, 0)

    def to(self, cluster: Cluster) -> Wire:
        """Where a request to this cluster has arrived; a dial is accepted."""
        for dial in self.rig.dials:
            if dial.endpoint.cluster == cluster.name:
                return dial.accept()
        found, = (wire for wire in self.rig.origins if wire.written and not wire.gone
                  and wire.protocol.endpoint.cluster == cluster.name)
        return found

    def both(self, request: bytes = GET) -> tuple[Wire, Wire, Wire]:
        """A client has asked: it, the original's connection and the copy's."""
        client = self.client()
        client.send(request)
        self.turn()
        return client, self.to(self.cluster), self.to(self.other)


class CopyTests(MirrorCase):
    def test_the_copy(self) -> None:
        """The same request but for Host, which has ``-shadow`` behind its name; the answer is nobody's."""
        client, origin, shadow = self.both()
        original, copy = origin.got(), shadow.got()
        self.assertEqual(copy, original.replace(b"host: shop\r\n", b"host: shop-shadow\r\n"))
        shadow.send(b"HTTP/1.1 500 Broken\r\nContent-Length: 4\r\n\r\nevil")
        self.assertEqual(client.written, b"")
        origin.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)
        self.assertEqual((len(self.records), self.records[0].attempts, self.route.counters.status), (1, 1, [0, 0, 1, 0, 0, 0]))
        self.assertEqual((self.other.counters.requests, self.other.counters.status[5], self.rig.counters.shadows), (1, 1, 1))
        self.assertEqual(len(self.other.endpoints[0].pool), 1)

    def test_every_form_of_host(self) -> None:
        """Before a port; an IPv6 address stays; what the route writes counts, not what the client did."""
        for host, rewrite, expected in ((b"shop.example:8080", None, b"shop.example-shadow:8080"), (b"10.0.0.1", None, b"10.0.0.1-shadow"),
                                        (b"[::1]:80", None, b"[::1]:80"), (b"shop", b"inner.example", b"inner.example-shadow")):
            self.route.host_rewrite = rewrite
            client, origin, shadow = self.both(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
            self.assertEqual(requests(shadow.got())[0].get(b"host"), expected)
            for wire in (origin, shadow):
                wire.clear()
                wire.send(EMPTY)

    def test_pooled_connections(self) -> None:
        """The copy's connection serves the next copy, like any."""
        client, origin, shadow = self.both()
        for wire in (origin, shadow):
            wire.send(EMPTY)
            wire.clear()
        client.clear()
        client.send(GET)
        self.turn()
        self.assertEqual((len(requests(origin.got())), len(requests(shadow.got())), self.rig.dials), (1, 1, []))
        for wire in (shadow, origin):
            wire.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_a_share_of_them(self) -> None:
        """By one random number for each request; the bounds are none and all."""
        self.assertEqual([chosen(MirrorPlan(self.other, 25, 100), number) for number in (0.0, 0.2499, 0.25, 0.9999)],
                         [True, True, False, False])
        self.assertEqual([chosen(MirrorPlan(self.other, *share), 0.9999999) for share in ((100, 100), (5, 1), (0, 100))],
                         [True, True, False])
        self.route.mirror = MirrorPlan(self.other, 1, 2)
        self.rig.number = 0.6
        self.client().send(GET)
        self.turn()
        self.assertEqual([dial.endpoint.cluster for dial in self.rig.dials], ["default/shop"])
        self.rig.number = 0.4
        self.client().send(GET)
        self.turn()
        self.assertEqual([dial.endpoint.cluster for dial in self.rig.dials], ["default/shop", "default/shop", "default/shadow"])
        for dial in list(self.rig.dials):
            dial.accept()

    def test_answers_of_the_route_are_not_copied(self) -> None:
        """Nothing was forwarded; nor is a request without an endpoint, nor one that asks to switch protocols."""
        self.route.answer = lambda head, client: Reply(302)
        client = self.client()
        client.send(GET)
        self.route.answer = None
        self.endpoint.ready = False
        client.send(GET)
        self.endpoint.ready = True
        self.route.upgrades = frozenset((b"websocket",))
        client.send(GET[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.turn()
        self.assertEqual(([dial.endpoint.cluster for dial in self.rig.dials], self.rig.counters.shadows_open), (["default/shop"], 0))
        self.accept()

    def test_tries_are_not_copied_again(self) -> None:
        """One request, one copy, however often the original is tried."""
        self.route.retry = RetryPlan(frozenset(("5xx",)))
        client, origin, shadow = self.both()
        origin.send(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
        origin.clear()
        self.advance(0.1)
        self.to(self.cluster).send(EMPTY)
        self.assertEqual((answer(client.got()).start, self.other.counters.requests), (200, 1))

    def test_filters_do_not_see_it(self) -> None:
        """Response filters run for the original alone."""
        seen: list[Exchange] = []
        self.route.response_filters = (seen.append,)
        client, origin, shadow = self.both()
        shadow.send(EMPTY)
        self.assertEqual(seen, [])
        origin.send(EMPTY)
        self.assertEqual(len(seen), 1)


class BodyTests(MirrorCase):
    def test_a_body_that_streams(self) -> None:
        """The original gets it as it comes, the copy when it is whole: the same bytes, in either framing."""
        for pieces in ([b"Content-Length: 6\r\n\r\nab", b"cd", b"ef"],
                       [b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", b"2\r\ncd\r\n", b"2;x\r\nef\r\n0\r\n\r\n"]):
            client = self.client()
            client.send(b"POST / HTTP/1.1\r\nHost: shop\r\n" + pieces[0])
            origin = self.to(self.cluster)
            for piece in pieces[1:]:
                self.assertEqual((self.rig.dials, self.rig.counters.shadows_open), ([], 0))
                client.send(piece)
            self.turn()
            original, copy = origin.got(), self.to(self.other).got()
            self.assertEqual((requests(copy)[0].body, requests(copy)[0].whole), (b"abcdef", True))
            self.assertEqual(copy, original.replace(b"host: shop\r\n", b"host: shop-shadow\r\n"))
            for wire in self.rig.origins:
                if not wire.gone:
                    wire.clear()
                    wire.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.turn()

    def test_a_large_one(self) -> None:
        """Is not copied, and that is counted; nothing of it is kept, and the original does not notice."""
        size = MAX_SHADOW_BYTES * 3
        client = self.client()
        client.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n" % size)
        origin = self.to(self.cluster)
        for _ in range(6):
            client.send(b"x" * (size // 6))
        self.turn()
        self.assertEqual((client.protocol._kept, self.rig.dials, self.rig.counters.shadows_too_large), ([], [], 1))
        self.assertEqual(len(requests(origin.got())[0].body), size)
        origin.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_a_large_one_that_was_read_whole(self) -> None:
        """The same bound, whatever buffer policy the route has."""
        self.route.buffer_bytes = 1_000_000
        client = self.client()
        client.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
        client.send(b"x" * 50_000)
        self.turn()
        self.assertEqual([dial.endpoint.cluster for dial in self.rig.dials], ["default/shop"])
        self.assertEqual(self.rig.counters.shadows_too_large, 1)
        self.accept()

    def test_a_request_that_never_ends(self) -> None:
        """The client leaves in the middle of its body: there is no copy of half a request."""
        client = self.client()
        client.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 6\r\n\r\nab")
        self.to(self.cluster)
        client.send(b"cd")
        client.reset()
        self.turn()
        self.assertEqual((self.rig.dials, self.rig.counters.shadows), ([], 0))


class NeverNoticedTests(MirrorCase):
    mirror_limits = Limits(connections=2, pending=2, requests=3)

    def served(self) -> None:
        """The original is answered, at once and as always."""
        client = self.client()
        client.send(GET)
        self.turn()
        origin = self.to(self.cluster)
        origin.clear()
        origin.send(EMPTY)
        self.assertEqual((answer(client.got()).start, self.records[-1].flag), (200, ""))

    def test_the_other_cluster_is_down(self) -> None:
        """No endpoint, a refused connection, one that never answers, garbage, a reset: counted there, and nowhere else."""
        self.other.endpoints[0].ready = False
        self.served()
        self.other.endpoints[0].ready = True
        self.assertEqual((self.rig.counters.shadows_refused, self.rig.counters.shadows_open), (1, 0))
        self.served()
        self.dialled.fail()
        self.assertEqual((self.other.counters.connect_failures, self.rig.dials), (1, []))
        for act in (lambda wire: wire.send(b"garbage\r\n\r\n"), Wire.reset, Wire.fin):
            self.served()
            act(self.to(self.other))
            self.turn()
        self.assertEqual((self.other.counters.resets, self.rig.counters.shadows_open, self.other.active), (3, 0, 0))
        self.served()
        silent = self.to(self.other)
        self.advance(SHADOW_TIMEOUT_S + LATE)
        self.assertEqual((silent.aborted, self.other.counters.timeouts, self.rig.counters.shadows_open), (True, 1, 0))
        self.assertEqual({record.flag for record in self.records}, {""})

    def test_it_never_ends(self) -> None:
        """A copy's answer has its time, however it drips; and its bound, however fast it comes."""
        self.served()
        shadow = self.to(self.other)
        shadow.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(40):
            if not shadow.gone:
                shadow.send(b"x")
                self.advance(1)
        self.assertTrue(shadow.aborted)
        self.served()
        shadow = self.to(self.other)
        shadow.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        while not shadow.gone and sent <= MAX_SHADOW_ANSWER_BYTES:
            shadow.send(b"2000\r\n" + b"x" * 8192 + b"\r\n")
            sent += 8192
            self.turn()
        self.assertTrue(shadow.gone)
        self.assertEqual(self.rig.counters.shadows_open, 0)

    def test_the_other_cluster_s_limits(self) -> None:
        """Connections, waiting requests, requests under way: beyond them copies are dropped, never queued."""
        for _ in range(4):
            self.served()
        self.assertEqual((len(self.rig.dials), self.rig.counters.shadows_refused), (2, 2))
        for dial in list(self.rig.dials):
            dial.accept()
        self.served()
        self.assertEqual((self.rig.dials, self.rig.counters.shadows_refused), ([], 3))

    def test_our_own_limit(self) -> None:
        """So many copies at a time over all routes."""
        self.other.max_pending = self.other.max_connections = self.other.max_requests = 1 << 30
        self.rig.counters.shadows_open = MAX_SHADOWS
        self.served()
        self.assertEqual((self.rig.counters.shadows_refused, self.rig.counters.shadows), (1, 0))
        self.rig.counters.shadows_open = 0

    def test_a_bug_in_it(self) -> None:
        """A scheduler of the other cluster that fails is logged by the guard, and ends that copy alone."""
        class Mistake(Exception):
            """A bug."""

        def pick(hash_key: int | None) -> None:
            raise Mistake("no")

        self.other.pick = pick
        client = self.client()
        client.send(GET)
        calls, self.hand._soon = self.hand._soon, []
        for call in calls:
            try:
                call()
            except Mistake:
                self.hand.failed(call.__self__)     # type: ignore[attr-defined]  # as `Loop.soon` does
        self.assertEqual((len(self.failures(Mistake)), self.rig.counters.shadows_open), (1, 0))
        self.to(self.cluster).send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_the_client_leaves(self) -> None:
        """The copy goes on: the other cluster shall see whole requests."""
        client, origin, shadow = self.both()
        client.reset()
        self.assertEqual((origin.aborted, shadow.gone), (True, False))
        shadow.send(EMPTY)
        self.assertEqual((len(self.other.endpoints[0].pool), self.rig.counters.shadows_open), (1, 0))

    def test_a_client_that_does_not_read(self) -> None:
        """Holds up neither."""
        client, origin, shadow = self.both()
        client.stall()
        shadow.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000)
        self.assertEqual((shadow.reading, len(self.other.endpoints[0].pool), client.waiting), (True, 1, 0))
