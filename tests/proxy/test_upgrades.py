"""Switching protocols: a tunnel only where the route allows it and the endpoint agrees; everything else stays HTTP."""

from __future__ import annotations

from tests.proxy.rig import EMPTY, GET, ProxyCase, Wire, answer, requests
from voltgw.net.deadlines import TICK_S
from voltgw.values.defaults import (
    BUFFER_HIGH_WATER_BYTES,
    LINGER_TIMEOUT_S,
    MAX_PIPELINED_BYTES,
    RESPONSE_HEAD_TIMEOUT_S,
    TUNNEL_IDLE_TIMEOUT_S,
)
from voltgw.values.exchange import Exchange
from voltgw.values.retry import RetryPlan

LATE = 4 * TICK_S


def ask(protocol: bytes = b"websocket", connection: bytes = b"Upgrade", start: bytes = b"GET /chat HTTP/1.1", more: bytes = b"") -> bytes:
    """A request to switch."""
    return (start + b"\r\nHost: shop\r\nConnection: " + connection + b"\r\nUpgrade: " + protocol
            + b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + more + b"\r\n")


AGREED = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")


class UpgradeCase(ProxyCase):
    endpoint_count = 2

    def setUp(self) -> None:
        """A route that allows WebSocket."""
        super().setUp()
        self.route.upgrades = frozenset((b"websocket",))

    def tunnel(self, request: bytes | None = None, agreed: bytes = AGREED) -> tuple[Wire, Wire]:
        """Both ends of a tunnel; the heads are out of the way."""
        client, origin = self.asked(request or ask())
        origin.clear()
        origin.send(agreed)
        self.assertTrue(client.got().startswith(b"HTTP/1.1 101 "))
        return client, origin


class AgreementTests(UpgradeCase):
    def test_the_endpoint_is_asked(self) -> None:
        """Upgrade and Connection go on, and nothing else of the hop; the 101 comes back with both, and its fields."""
        for protocol, connection in ((b"websocket", b"Upgrade"), (b"WebSocket", b"keep-alive, UPGRADE")):
            client, origin = self.asked(ask(protocol, connection, more=b"Keep-Alive: 5\r\nSec-WebSocket-Version: 13\r\n"))
            message, = requests(origin.got())
            self.assertEqual((message.get(b"connection"), message.get(b"upgrade"), message.get(b"keep-alive")),
                             (b"upgrade", b"websocket", None))
            self.assertEqual((message.get(b"sec-websocket-key"), message.get(b"sec-websocket-version")),
                             (b"dGhlIHNhbXBsZSBub25jZQ==", b"13"))
            origin.send(AGREED)
            self.assertEqual(client.got(), b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
                                           b"\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")

    def test_who_is_not_asked(self) -> None:
        """Another protocol, h2c even if it were allowed, a list, HTTP/1.0, a body, no Connection: just a request (promise 14)."""
        self.route.upgrades = frozenset((b"websocket", b"h2c", b"h2"))
        body = b"Content-Length: 2\r\n"
        for request in (ask(b"spdy/3.1"), ask(b"h2c", b"Upgrade, HTTP2-Settings", more=b"HTTP2-Settings: AAMA\r\n"), ask(b"h2"),
                        ask(b"websocket, h2c"), ask(b"h2c, websocket"), ask(start=b"GET / HTTP/1.0"), ask(more=body) + b"hi",
                        ask(connection=b"keep-alive"), ask(more=b"Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
                        ask(b"websocket\r\nUpgrade: h2c")):
            client, origin = self.asked(request)
            message, = requests(origin.got())
            self.assertEqual((message.get(b"connection"), message.get(b"upgrade"), message.get(b"http2-settings")), (None,) * 3, request)
            origin.send(AGREED)
            self.turn()
            self.assertEqual((answer(client.got()).start, origin.aborted, self.records[-1].flag), (502, True, "UPE"), request)

    def test_a_route_that_does_not_allow_it(self) -> None:
        """Just a request; the endpoint may answer it."""
        self.route.upgrades = frozenset()
        client, origin = self.asked(ask())
        self.assertNotIn(b"upgrade:", origin.got())
        origin.send(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(answer(client.got()).start, 426)

    def test_an_endpoint_that_agrees_to_something_else(self) -> None:
        """Another protocol, none, or one that Connection does not name: 502, no tunnel, no byte of it."""
        for agreed in (AGREED.replace(b"websocket", b"h2c"), AGREED.replace(b"Upgrade: websocket\r\n", b""),
                       AGREED.replace(b"Connection: Upgrade\r\n", b""), AGREED.replace(b"websocket", b"websocket, h2c")):
            client, origin = self.asked(ask())
            origin.send(agreed + b"evil")
            self.turn()
            self.assertEqual((answer(client.got()).start, origin.aborted), (502, True), agreed)
            self.assertEqual(self.rig.counters.tunnels, 0)

    def test_a_request_that_did_not_ask_after_one_that_did(self) -> None:
        """On the same connections: what was asked for once is not agreed to for ever."""
        client, origin = self.asked(ask())
        origin.send(EMPTY)
        client.clear()
        for endpoint in self.cluster.endpoints:
            endpoint.ready = endpoint is origin.protocol.endpoint
        origin.clear()
        client.send(GET)
        self.assertNotIn(b"upgrade", origin.got())
        origin.send(AGREED)
        self.turn()
        self.assertEqual((answer(client.got()).start, origin.aborted), (502, True))

    def test_filters_edit_the_agreement(self) -> None:
        """As any answer; nothing transforms what is no body; cookies that were asked for are set."""
        def edit(exchange: Exchange) -> None:
            assert exchange.response is not None
            exchange.response.fields.append((b"x-edited", b"1"))
            exchange.transform = object()       # type: ignore[assignment]
            exchange.cookies_to_set = [b"a=b"]

        self.route.response_filters = (edit,)
        client, origin = self.asked(ask())
        origin.send(AGREED + b"as it is")
        got = client.got()
        self.assertIn(b"\r\nx-edited: 1\r\nset-cookie: a=b\r\nconnection: upgrade\r\n", got)
        self.assertTrue(got.endswith(b"\r\n\r\nas it is"))
        self.assertIsNone(client.protocol.relay._exchange.transform)

    def test_a_mistake_of_a_filter(self) -> None:
        """500 and close; the endpoint's connection is cut."""
        class Mistake(Exception):
            """A bug."""

        def mistake(exchange: Exchange) -> None:
            raise Mistake("no")

        self.route.response_filters = (mistake,)
        client, origin = self.asked(ask())
        origin.send(AGREED)
        self.turn()
        self.assertEqual((answer(client.got()).start, origin.aborted, len(self.failures(Mistake))), (500, True, 1))

    def test_cut_anywhere(self) -> None:
        """The 101, an interim answer before it and frames behind it, in two pieces at every place: the same bytes arrive."""
        stream = b"HTTP/1.1 103 Early Hints\r\n\r\n" + AGREED + b"frames"
        expected: bytes | None = None
        for at in range(len(stream)):
            client, origin = self.asked(ask())
            if at:
                origin.send(stream[:at])
            origin.send(stream[at:])
            got = client.got()
            expected = expected or got
            self.assertEqual(got, expected, at)
            client.reset()
            self.turn()

    def test_another_endpoint_after_a_refused_connection(self) -> None:
        """The request to switch goes to the other one as it is."""
        client = self.client()
        client.send(ask())
        self.dialled.fail()
        origin = self.accept()
        self.assertIn(b"\r\nconnection: upgrade\r\nupgrade: websocket\r\n", origin.got())
        origin.send(AGREED)
        self.assertTrue(client.got().startswith(b"HTTP/1.1 101 "))

    def test_a_policy_may_try_again(self) -> None:
        """503 instead of 101: the next endpoint is asked to switch, too. The tunnel is no retry under way."""
        self.route.retry = RetryPlan(frozenset(("5xx",)))
        client, first = self.asked(ask())
        first.send(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
        self.advance(0.05)
        second = self.accept()
        self.assertIn(b"\r\nupgrade: websocket\r\n", second.got())
        second.send(AGREED)
        self.assertTrue(client.got().startswith(b"HTTP/1.1 101 "))
        self.assertEqual((self.cluster.retries, self.cluster.active), (0, 1))

    def test_the_first_to_agree_has_it(self) -> None:
        """With hedging: the late one agrees after all, and the other one's connection is cut."""
        self.route.retry = RetryPlan(frozenset(("5xx",)), per_try_timeout_s=0.2, hedge=True)
        client, first = self.asked(ask())
        self.advance(0.2)
        second = self.accept()
        first.send(AGREED + b"hello")
        self.assertTrue(second.aborted)
        self.assertTrue(client.got().endswith(b"\r\n\r\nhello"))
        client.send(b"you")
        self.assertTrue(first.got().endswith(b"you"))
        self.assertEqual((self.cluster.retries, sum(endpoint.active for endpoint in self.cluster.endpoints)), (0, 1))


class RefusalTests(UpgradeCase):
    def test_it_stays_http(self) -> None:
        """200, 403 or 426 instead of 101: a usual answer; the connections serve on, and what was sent ahead is a request."""
        for status in (200, 403, 426):
            client = self.client()
            client.send(ask() + b"GET /next HTTP/1.1\r\nHost: shop\r\n\r\n")
            origin = self.accept() if self.rig.dials else next(each for each in self.rig.origins if each.written)
            self.assertEqual([message.target for message in requests(origin.got())], [b"/chat"])
            origin.send(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nno" % status)
            self.turn()
            message = answer(client.got())
            self.assertEqual((message.start, message.get(b"upgrade"), message.get(b"connection")), (status, None, None))
            following = self.accept() if self.rig.dials else next(each for each in self.rig.origins if each.written)
            self.assertEqual([message.target for message in requests(following.got())], [b"/next"])
            following.send(EMPTY)
            self.assertEqual((answer(client.got()).start, client.gone), (200, False))
        self.assertEqual(self.rig.counters.tunnels, 0)

    def test_frames_sent_ahead_of_a_refusal(self) -> None:
        """They were no HTTP: 400 behind the refusal, and close; no endpoint gets them (promises 3.3)."""
        client, origin = self.asked(ask() + b"\x81\x85abcdefghi\r\n\r\n")
        origin.clear()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
        self.turn()
        self.assertEqual((origin.written, client.finished), (b"", True))
        self.assertIn(b"HTTP/1.1 400 ", client.got())

    def test_a_smuggled_request_behind_a_refusal(self) -> None:
        """What looks like a request is one, answered by its own route, not by whoever was asked to switch."""
        client, origin = self.asked(ask() + b"GET /admin HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n")
        origin.clear()
        seen: list[bytes] = []
        self.route.request_filters = (lambda exchange: seen.append(exchange.request.path),)
        origin.send(EMPTY)
        self.turn()
        self.assertEqual(seen, [b"/admin"])
        (self.accept() if self.rig.dials else origin).send(EMPTY)

    def test_no_answer(self) -> None:
        """504 after the time for an answer's head; the longer time of a tunnel has not begun."""
        client, origin = self.asked(ask())
        self.advance(RESPONSE_HEAD_TIMEOUT_S + LATE)
        self.assertEqual((answer(client.got()).start, origin.aborted), (504, True))


class TunnelTests(UpgradeCase):
    def test_bytes_both_ways(self) -> None:
        """Whatever they are, and however much looks like HTTP."""
        client, origin = self.tunnel()
        for data in (b"\x81\x05hello", GET, b"\r\n\r\n", bytes(range(256)) * 100):
            client.send(data)
            self.assertEqual(origin.got(), data)
            origin.send(data)
            self.assertEqual(client.got(), data)

    def test_what_came_with_the_heads(self) -> None:
        """Frames behind the request and behind the 101 arrive first, in order."""
        client, origin = self.asked(ask() + b"early ")
        client.send(b"bird")
        self.assertEqual(origin.got().count(b"early"), 0)
        origin.send(AGREED + b"worm")
        self.assertEqual(origin.got(), b"early bird")
        self.assertTrue(client.got().endswith(b"\r\n\r\nworm"))
        client.send(b"!")
        self.assertEqual(origin.got(), b"!")

    def test_what_waits_for_the_agreement_is_bounded(self) -> None:
        """The client is not read any further, and read again in the tunnel."""
        client, origin = self.asked(ask())
        origin.clear()
        sent = 0
        while client.reading:
            client.send(b"x" * 10_000)
            sent += 10_000
        self.assertLessEqual(sent, MAX_PIPELINED_BYTES + 10_000)
        origin.send(AGREED)
        self.assertTrue(client.reading)
        client.send(b"y")
        self.assertEqual(origin.got(), b"x" * sent + b"y")

    def test_back_pressure(self) -> None:
        """A peer that does not read stops the other one, with one buffer between them (promise 19)."""
        client, origin = self.tunnel()
        for source, sink in ((client, origin), (origin, client)):
            sink.stall()
            while source.reading:
                source.send(b"x" * 10_000)
            self.assertLessEqual(sink.waiting, BUFFER_HIGH_WATER_BYTES + 10_000)
            sink.take()
            self.assertTrue(source.reading)

    def test_a_client_that_did_not_read_before(self) -> None:
        """Answers that still wait for it count: the endpoint is stopped from the beginning."""
        client, origin = self.asked()
        client.stall()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (BUFFER_HIGH_WATER_BYTES - 1000)
                    + b"x" * (BUFFER_HIGH_WATER_BYTES - 1000))
        for endpoint in self.cluster.endpoints:
            endpoint.ready = endpoint is origin.protocol.endpoint
        client.send(ask())
        origin.send(AGREED + b"y" * 5_000)
        self.assertFalse(origin.reading)
        client.take()
        self.assertTrue(origin.reading)

    def test_half_close(self) -> None:
        """FIN of either side is passed on behind the data; the other direction goes on until it ends, too."""
        for first in ("client", "origin"):
            client, origin = self.tunnel()
            one, other = (client, origin) if first == "client" else (origin, client)
            one.send(b"last words")
            one.fin()
            self.assertEqual((other.got(), other.finished, other.gone), (b"last words", True, False))
            other.send(b"answer")
            self.assertEqual(one.got(), b"answer")
            other.fin()
            self.turn()
            self.assertEqual((one.gone, other.gone, one.aborted, other.aborted), (True, True, False, False))
            self.assertEqual((self.records[-1].flag, self.under_way()), ("", {}))

    def test_resets(self) -> None:
        """RST is passed on as RST; the record names the side."""
        for first, flag in (("client", "DC"), ("origin", "UC")):
            client, origin = self.tunnel()
            one, other = (client, origin) if first == "client" else (origin, client)
            one.reset()
            self.turn()
            self.assertEqual((other.aborted, self.records[-1].flag, self.under_way()), (True, flag, {}))

    def test_the_record(self) -> None:
        """One record, at the end: 101, bytes of heads and tunnel, when what was; counted with its route and cluster."""
        request = ask()
        client, origin = self.asked(request)
        origin.send(AGREED + b"abc")
        head = client.got()
        self.advance(5)
        client.send(b"12345")
        origin.send(b"xyz")
        self.assertEqual((self.records, self.rig.counters.tunnels_open, self.cluster.active), ([], 1, 1))
        client.fin()
        origin.fin()
        self.turn()
        record, = self.records
        self.assertEqual((record.response_code, record.bytes_in, record.bytes_out, record.flag),
                         (101, len(request) + 5, len(head) + 3, ""))
        self.assertEqual((record.attempts, record.endpoint, record.transform), (1, origin.protocol.relay._upstream.endpoint, None))
        self.assertGreaterEqual(record.t_downstream_last - record.t_downstream_first, 5)
        self.assertEqual((self.route.counters.status[1], self.cluster.counters.status[1]), (1, 1))
        self.assertEqual((self.rig.counters.tunnels, self.rig.counters.tunnels_open, self.cluster.active), (1, 0, 0))

    def test_silence(self) -> None:
        """An hour without a byte either way, or as long as the route says; both get a proper end."""
        for idle_s in (0.0, 20.0):
            self.route.idle_timeout_s = idle_s
            client, origin = self.tunnel()
            self.advance((idle_s or TUNNEL_IDLE_TIMEOUT_S) - 1)
            client.send(b"x")
            self.advance((idle_s or TUNNEL_IDLE_TIMEOUT_S) - 1)
            self.assertEqual((client.gone, origin.gone), (False, False))
            self.advance((idle_s or TUNNEL_IDLE_TIMEOUT_S) + LATE)
            self.assertEqual((client.gone, origin.gone, client.aborted, self.records[-1].flag), (True, True, False, "SI"))

    def test_other_times_do_not_act(self) -> None:
        """Neither the route's timeout nor keep-alive nor the time between body bytes ends a tunnel in use."""
        self.route.timeout_s = 5.0
        client, origin = self.tunnel()
        for _ in range(12):
            self.advance(600 / 12)
            origin.send(b"ping")
        self.assertEqual((client.gone, client.got()), (False, b"ping" * 12))

    def test_a_peer_that_takes_nothing_at_the_end(self) -> None:
        """Closing a silent tunnel does not wait for it without end."""
        client, origin = self.tunnel()
        client.stall()
        origin.send(b"x" * 100)
        self.advance(2 * TUNNEL_IDLE_TIMEOUT_S + LINGER_TIMEOUT_S + LATE)
        self.assertEqual((client.gone, origin.gone), (True, True))

    def test_a_drain(self) -> None:
        """Tunnels go on until the drain's time is up; then both sides are closed, and the factory forgets them."""
        client, origin = self.tunnel()
        self.assertEqual(len(self.http.connections), 1)
        self.http.drain()
        client.send(b"x")
        self.assertEqual(origin.got(), b"x")
        self.http.close()
        self.turn()
        self.assertEqual((client.gone, origin.gone, self.records[0].detail, len(self.http.connections)), (True, True, "drained", 0))

    def test_a_failure_of_ours(self) -> None:
        """The guard resets both sides; the record says whose fault it was."""
        client, origin = self.tunnel()
        client.protocol.crashed()
        self.turn()
        self.assertEqual((client.aborted, origin.aborted, self.records[0].flag), (True, True, "IE"))

    def test_on_a_pooled_connection(self) -> None:
        """It leaves the pool for good."""
        idle, = self.warm()
        for endpoint in self.cluster.endpoints:
            endpoint.ready = endpoint is idle.protocol.endpoint
        client = self.client()
        client.send(ask())
        idle.send(AGREED)
        client.clear()
        client.send(b"x")
        self.assertTrue(idle.got().endswith(b"\r\n\r\nx"))
        client.fin()
        idle.fin()
        self.turn()
        self.assertEqual((self.under_way(), sum(len(endpoint.pool) for endpoint in self.cluster.endpoints)), ({}, 0))

    def test_an_endpoint_that_has_left_its_cluster(self) -> None:
        """What is under way on it may finish, like any exchange."""
        client, origin = self.tunnel()
        self.cluster.retire()
        client.send(b"x")
        self.assertEqual(origin.got(), b"x")
