"""Further tries, copies, bodies that are read first, waiting and tunnels, where one side or both speak HTTP/2."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address

from tests.proxy.rig import EMPTY, Wire, requests
from tests.proxy.rig2 import ASK, Peer2, Proxy2Case, frames
from voltgw.cluster.cluster import Limits
from voltgw.values.retry import GRPC_CONDITIONS, MirrorPlan, RetryPlan

POST = ((b":method", b"POST"), *ASK[1:])
CONNECT = ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *ASK[1:], (b"sec-websocket-version", b"13"))
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_of(key: bytes) -> bytes:
    """What a WebSocket server says to a key (RFC 6455 4.2.2)."""
    return b64encode(sha1(key + GUID).digest())


class FromVersion2Tests(Proxy2Case):
    endpoint_count = 2

    def test_an_endpoint_that_refuses(self) -> None:
        """The other one is asked, with the whole body."""
        client = self.client2()
        stream = client.ask([*POST, (b"content-length", b"3")], ended=False)
        client.send(stream, b"abc", ended=True)
        self.dialled.fail()
        origin = self.accept()
        self.settle(client)
        [request] = requests(origin.got())
        self.assertEqual((request.body, request.whole), (b"abc", True))
        origin.send(EMPTY)
        self.settle(client)
        self.assertEqual(client.seen[stream].status, 200)

    def test_a_body_of_unknown_length_is_sent_again(self) -> None:
        """What was kept goes out in chunks once more, with its end."""
        self.route.retry = RetryPlan(frozenset(("5xx",)), 1, base_s=0.0, max_s=0.0, non_idempotent=True)
        client = self.client2()
        stream = client.ask(POST, ended=False)
        first = self.accept()
        self.turn()
        client.send(stream, b"abc")
        self.turn()
        client.send(stream, b"de", ended=True)
        self.turn()
        self.assertEqual(requests(first.got())[0].body, b"abcde")
        first.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
        self.turn()
        second = self.accept()
        self.turn()
        [request] = requests(second.got())
        self.assertEqual((request.body, request.whole), (b"abcde", True))
        second.send(EMPTY)
        self.settle(client)
        self.assertEqual(client.seen[stream].status, 200)
        self.assertEqual(self.records[0].attempts, 2)

    def test_a_body_that_is_read_first(self) -> None:
        """The endpoint gets it whole, with its length; a larger one is refused."""
        self.route.buffer_bytes = 4
        client = self.client2()
        stream = client.ask([*POST, (b"expect", b"100-continue")], ended=False)
        self.settle(client)
        self.assertEqual(client.seen[stream].status, 100)
        client.send(stream, b"ab")
        client.send(stream, b"c", ended=True)
        self.turn()
        origin = self.accept()
        [request] = requests(origin.got())
        self.assertEqual((request.get(b"content-length"), request.body), (b"3", b"abc"))
        origin.send(EMPTY)
        large = client.ask(POST, ended=False)
        client.send(large, b"abcdef")
        self.settle(client)
        self.assertEqual((client.seen[large].status, client.seen[large].ended), (413, True))

    def test_a_copy(self) -> None:
        """It is complete, chunks and all."""
        other = self.make_cluster("default/copies")
        self.route.mirror = MirrorPlan(other, 1, 1)
        client = self.client2()
        stream = client.ask(POST, ended=False)
        origin = self.accept()
        self.turn()
        client.send(stream, b"abc", ended=True)
        self.turn()
        copy = self.accept()
        [request] = requests(copy.got())
        self.assertEqual((request.get(b"host"), request.body, request.whole), (b"shop-shadow", b"abc", True))
        copy.send(EMPTY)
        origin.send(EMPTY)
        self.settle(client)
        self.assertEqual(client.seen[stream].status, 200)
        copy.reset()
        self.turn()

    def test_a_body_that_stops(self) -> None:
        """408 after the time between two pieces; other streams of the connection go on."""
        self.host.idle_timeout_s = 5.0
        client = self.client2()
        slow = client.ask(POST, ended=False)
        self.accept()
        self.turn()
        client.send(slow, b"abc")
        self.advance(6)
        self.settle(client)
        self.assertEqual((client.seen[slow].status, client.seen[slow].ended), (408, True))
        other = client.ask()
        self.accept().send(EMPTY)
        self.settle(client)
        self.assertEqual(client.seen[other].status, 200)

    def test_an_answer_that_nobody_reads(self) -> None:
        """What the endpoint has said is held for the time of a body, then the stream is given up."""
        self.host.idle_timeout_s = 5.0
        client = self.client2(window=10)
        client.greedy = False
        stream = client.ask()
        self.accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n" + b"x" * 30)
        self.settle(client)
        self.assertEqual((client.seen[stream].body, client.seen[stream].ended), (b"x" * 10, False))
        self.advance(6)
        self.settle(client)
        self.assertEqual(client.seen[stream].reset, 8)
        self.assertEqual(len(self.endpoint.pool) + len(self.cluster.endpoints[1].pool), 1)

    def test_a_bug_of_one(self) -> None:
        """The client hears a 500 on that stream, the others know nothing of it."""
        def broken(exchange: Any) -> None:
            if exchange.request.path == b"/bug":
                raise ZeroDivisionError

        self.route.request_filters = (broken,)
        client = self.client2()
        good = client.ask()
        bad = client.ask([*ASK[:3], (b":path", b"/bug")])
        self.settle(client)
        self.failures(ZeroDivisionError)
        self.assertEqual((client.seen[bad].status, client.seen[bad].ended), (500, True))
        self.accept().send(EMPTY)
        self.settle(client)
        self.assertEqual(client.seen[good].status, 200)

    def test_as_many_as_a_host_allows(self) -> None:
        """The last request is answered, then the connection ends with a GOAWAY."""
        self.host.max_requests_per_connection = 2
        client = self.client2()
        client.ask()
        client.ask()
        for dial in list(self.rig.dials):
            dial.accept().send(EMPTY)
        self.turn()
        came = frames(client.wire.got())
        self.assertEqual([payload[3] for kind, _, _, payload in came if kind == 7], [3])
        self.assertEqual([stream for kind, _, stream, _ in came if kind == 1], [1, 3])
        self.assertTrue(client.wire.gone)
        self.assertEqual(len(self.records), 2)


class ToVersion2Tests(Proxy2Case):
    origin_2 = True
    endpoint_count = 2

    def test_an_answer_that_asks_for_another_try(self) -> None:
        """The other endpoint is asked; the first one's connection stays."""
        self.route.retry = RetryPlan(frozenset(("5xx",)), 1, base_s=0.0, max_s=0.0)
        client = self.client()
        client.send(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        first = self.accept2()
        first.answer(1, 503, [], b"no")
        self.turn()
        second = self.accept2()
        second.answer(1, 200, [(b"content-length", b"2")], b"ok")
        self.turn()
        self.assertTrue(client.got().endswith(b"\r\n\r\nok"))
        self.assertFalse(first.wire.gone)
        self.assertEqual(self.records[0].attempts, 2)

    def test_a_grpc_status_that_asks_for_another_try(self) -> None:
        """14 (unavailable) counts as a 503 does; 5 (not found) is an answer."""
        self.route.retry = RetryPlan(frozenset(("gateway-error",)), 1, base_s=0.0, max_s=0.0, non_idempotent=True)
        client = self.client2()
        fields = [*POST, (b"content-type", b"application/grpc"), (b"te", b"trailers")]
        stream = client.ask(fields)
        first = self.accept2()
        first.answer(1, 200, [(b"content-type", b"application/grpc"), (b"grpc-status", b"14")])
        self.turn()
        second = self.accept2()
        second.answer(1, 200, [(b"content-type", b"application/grpc"), (b"grpc-status", b"5")])
        self.settle(client)
        self.assertEqual((client.seen[stream].status, client.seen[stream].get(b"grpc-status")), (200, b"5"))

    def test_codes_of_grpc_that_are_named(self) -> None:
        """Each name asks for another try after its code, POST or not, where nothing but the code was answered; others do not."""
        fields = [*POST, (b"content-type", b"application/grpc"), (b"te", b"trailers")]
        kind = (b"content-type", b"application/grpc")
        for code, name in ((1, "cancelled"), (4, "deadline-exceeded"), (8, "resource-exhausted"), (13, "internal"), (14, "unavailable")):
            for conditions, again in ((frozenset((name,)), True), (frozenset(GRPC_CONDITIONS.values()) - {name}, False)):
                self.route.retry = RetryPlan(conditions, 1, base_s=0.0, max_s=0.0, grpc=True)
                client = self.client2()
                stream = client.ask(fields)
                first = self.accept2()
                first.answer(first.requests[-1], 200, [kind, (b"grpc-status", b"%d" % code)])
                self.turn()
                if again:
                    second = self.accept2()
                    second.answer(second.requests[-1], 200, [kind], b"hello", ended=False)
                    second.trailers(second.requests[-1], [(b"grpc-status", b"%d" % code)])
                self.settle(client)
                seen = client.seen[stream]
                self.assertEqual((seen.body, seen.ended, self.records[-1].attempts), (b"hello" if again else b"", True, 1 + again), name)
                for dial in (first, *([second] if again else [])):
                    dial.wire.reset()
                client.wire.reset()
                self.turn()

    def test_a_refused_stream(self) -> None:
        """Nothing was done: the other endpoint is asked, whatever the method, as long as the body is still here."""
        client = self.client2()
        stream = client.ask([*POST, (b"content-length", b"3")], ended=False)
        client.send(stream, b"abc", ended=True)
        first = self.accept2()
        self.settle(client, first)
        self.assertEqual(first.seen[1].body, b"abc")
        first.reset(1, 7)
        self.turn()
        second = self.accept2()
        self.settle(client, second)
        self.assertEqual((second.seen[1].body, second.seen[1].ended), (b"abc", True))
        second.answer(1, 204)
        self.settle(client)
        self.assertEqual(client.seen[stream].status, 204)

    def test_a_refused_stream_with_a_long_body(self) -> None:
        """More of it has gone than is kept: 502, and no other endpoint gets half a request."""
        client = self.client2()
        stream = client.ask(POST, ended=False)
        first = self.accept2()
        for _ in range(8):
            client.send(stream, b"x" * 10_000)
            self.settle(client, first)
        first.reset(1, 7)
        self.settle(client)
        self.assertEqual(self.rig.dials, [])
        self.assertEqual((client.seen[stream].status, self.records[0].flag), (502, "UR"))

    def test_a_try_beside_another(self) -> None:
        """With hedging the faster of two lanes wins, the other stream is reset."""
        self.route.retry = RetryPlan(frozenset(("5xx",)), 1, per_try_timeout_s=0.5, hedge=True)
        client = self.client()
        client.send(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        first = self.accept2()
        self.advance(0.6)
        second = self.accept2()
        second.answer(1, 204)
        self.settle(first, second)
        self.assertIn(b"HTTP/1.1 204 ", client.got())
        self.assertEqual(first.seen[1].reset, 8)

    def test_a_copy(self) -> None:
        """From a request of HTTP/1.1 to a cluster of HTTP/2, body included."""
        other = self.make_cluster("default/copies", http2=True)
        self.cluster.http2 = False
        self.route.mirror = MirrorPlan(other, 1, 1)
        client = self.client()
        client.send(b"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        origin = self.accept()
        self.turn()
        copy = self.accept2()
        seen = copy.seen[1]
        self.assertEqual((seen.get(b":authority"), seen.body, seen.ended), (b"shop-shadow", b"abc", True))
        copy.answer(1, 200, [], b"xyz")
        origin.send(EMPTY)
        self.turn()
        self.assertIn(b" 200 OK", client.got())
        self.assertEqual(self.rig.counters.shadows_open, 0)
        copy.wire.reset()
        self.turn()

    def test_headers_of_version_1(self) -> None:
        """A client of HTTP/1.0 gets a body of unknown length until the connection closes."""
        client = self.client()
        client.send(b"GET / HTTP/1.0\r\nHost: shop\r\n\r\n")
        origin = self.accept2()
        origin.answer(1, 200, [], b"abc")
        self.turn()
        data = client.got()
        self.assertTrue(data.startswith(b"HTTP/1.1 200 OK\r\n") and data.endswith(b"\r\nconnection: close\r\n\r\nabc"), data)
        self.assertTrue(client.gone)

    def test_an_answer_that_is_none(self) -> None:
        """502; the stream is reset, the connection stays."""
        client = self.client()
        client.send(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        origin = self.accept2()
        origin.answer(1, 200, [(b"connection", b"close")], ended=False)
        self.settle(origin)
        self.assertIn(b"HTTP/1.1 502 ", client.got())
        self.assertEqual(origin.seen[1].reset, 1)
        self.assertEqual(self.records[0].flag, "UPE")

    def test_a_flood_from_the_endpoint(self) -> None:
        """Its connection ends with ENHANCE_YOUR_CALM, and what was under way with it."""
        client = self.client()
        client.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n")
        origin = self.accept2()
        for _ in range(300):
            if not origin.wire.gone:
                origin.wire.send(bytes.fromhex("000008 06 00 00000000 0000000000000000"))
        self.settle(origin)
        self.assertTrue(origin.wire.gone)
        self.assertIn(b"HTTP/1.1 502 ", client.got())
        self.assertEqual(self.rig.counters.http2_upstream.spent["pings"], 1)


class WaitingTests(Proxy2Case):
    origin_2 = True
    limits = Limits(connections=1)

    def test_until_a_stream_ends(self) -> None:
        """With one connection of one stream, requests wait for their turn."""
        client = self.client2()
        client.ask()
        origin = self.accept2(max_streams=1)
        client.ask()
        client.ask()
        self.settle(client, origin)
        self.assertEqual((origin.requests, self.cluster.pending), ([1], 2))
        for stream in (1, 3, 5):
            origin.answer(stream, 204)
            self.settle(client, origin)
        self.assertEqual(origin.requests, [1, 3, 5])
        self.assertEqual([client.seen[each].status for each in (1, 3, 5)], [204] * 3)
        self.assertEqual(self.cluster.pending, 0)


class WaitingForAnotherTests(Proxy2Case):
    origin_2 = True
    endpoint_count = 2
    limits = Limits(connections=1)

    def test_an_idle_connection_gives_way(self) -> None:
        """One that nobody uses is closed so that another endpoint may be asked."""
        client = self.client2()
        client.ask()
        origin = self.accept2()
        origin.answer(1, 204)
        self.settle(client, origin)
        for endpoint in self.cluster.endpoints:
            endpoint.ready = not endpoint.pool.trunks    # type: ignore[attr-defined]
        self.cluster.pick = lambda key: next(each for each in self.cluster.endpoints if each.ready)
        client.ask()
        self.settle(client, origin)
        self.assertTrue(origin.wire.gone)
        other = self.accept2()
        other.answer(1, 204)
        self.settle(client)
        self.assertEqual([client.seen[each].status for each in (1, 3)], [204, 204])


class TunnelTests(Proxy2Case):
    """WebSocket: Upgrade in HTTP/1.1, extended CONNECT in HTTP/2 (RFC 8441)."""

    def setUp(self) -> None:
        """The route allows it."""
        super().setUp()
        self.route.upgrades = frozenset((b"websocket",))
        self.http.tunnels = True

    def talk(self, client: Peer2, stream: int, origin: Any) -> None:
        """Bytes both ways, then an end from either side."""
        client.send(stream, b"to")
        self.turn()
        self.assertTrue(origin.got().endswith(b"to"))
        origin.send(b"fro")
        self.settle(client)
        self.assertEqual(client.seen[stream].body, b"fro")
        self.assertEqual(self.rig.counters.tunnels_open, 1)

    def test_from_version_2_to_version_1(self) -> None:
        """The endpoint gets an Upgrade with a key of ours, whose proof is checked; the client gets a 200."""
        client = self.client2()
        stream = client.ask(CONNECT, ended=False)
        origin = self.accept()
        [request] = requests(origin.written)
        key = request.get(b"sec-websocket-key")
        assert key is not None
        self.assertEqual((request.start, request.get(b"upgrade"), request.get(b"connection")), (b"GET", b"websocket", b"upgrade"))
        origin.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: " + accept_of(key) + b"\r\n\r\n")
        self.settle(client)
        seen = client.seen[stream]
        self.assertEqual((seen.status, seen.get(b"sec-websocket-protocol"), seen.get(b"sec-websocket-accept")), (200, b"chat", None))
        self.talk(client, stream, origin)
        client.send(stream, b"", ended=True)
        self.turn()
        self.assertTrue(origin.finished)
        origin.fin()
        self.settle(client)
        self.assertTrue(seen.ended)
        [record] = self.records
        self.assertEqual((record.response_code, record.flag, self.rig.counters.tunnels_open), (200, "", 0))
        self.assertFalse(client.wire.gone)

    def test_an_endpoint_that_resets(self) -> None:
        """So is the stream; other streams go on."""
        client = self.client2()
        stream = client.ask(CONNECT, ended=False)
        origin = self.accept()
        key = requests(origin.written)[0].get(b"sec-websocket-key") or b""
        origin.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Accept: " + accept_of(key) + b"\r\n\r\n")
        self.settle(client)
        origin.reset()
        self.settle(client)
        self.assertEqual(client.seen[stream].reset, 8)
        self.assertFalse(client.wire.gone)

    def test_a_wrong_proof_and_no_switch(self) -> None:
        """502 either way: the client must not take it for a tunnel. An error of the endpoint's is passed on."""
        for answer, status in (
            (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n", 502),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 502),
            (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403),
        ):
            client = self.client2()
            stream = client.ask(CONNECT, ended=False)
            self.accept().send(answer)
            self.settle(client)
            self.assertEqual(client.seen[stream].status, status, answer)

    def test_a_route_that_does_not_allow_it(self) -> None:
        """501, and nobody is asked."""
        self.route.upgrades = frozenset()
        client = self.client2()
        stream = client.ask(CONNECT, ended=False)
        self.settle(client)
        self.assertEqual(client.seen[stream].status, 501)
        self.assertEqual(self.rig.dials, [])

    def test_from_version_1_to_version_2(self) -> None:
        """The endpoint gets an extended CONNECT once its settings allow it; the client's key is proved by us."""
        self.cluster.http2 = True
        client = self.client()
        key = b64encode(b"0123456789abcdef")
        client.send(b"GET /chat HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Key: " + key + b"\r\n\r\n")
        origin = self.accept2(connect=1)
        seen = origin.seen[1]
        self.assertEqual((seen.get(b":method"), seen.get(b":protocol"), seen.get(b"sec-websocket-key")),
                         (b"CONNECT", b"websocket", None))
        origin.answer(1, 200, [(b"sec-websocket-protocol", b"chat")], ended=False)
        self.turn()
        data = client.got()
        self.assertTrue(data.startswith(b"HTTP/1.1 101 Switching Protocols\r\n"))
        self.assertIn(b"\r\nsec-websocket-accept: " + accept_of(key) + b"\r\n", data)
        client.send(b"to")
        self.settle(origin)
        self.assertEqual(seen.body, b"to")
        origin.send(1, b"fro")
        self.turn()
        self.assertEqual(client.got(), b"fro")
        client.fin()
        self.settle(origin)
        self.assertTrue(seen.ended)
        origin.send(1, b"", ended=True)
        self.turn()
        self.assertTrue(client.gone)
        self.assertFalse(origin.wire.gone)

    def test_an_endpoint_that_does_not_know_it(self) -> None:
        """502: its settings do not allow extended CONNECT."""
        self.cluster.http2 = True
        client = self.client()
        client.send(b"GET /chat HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n")
        self.accept2()
        self.turn()
        self.assertIn(b"HTTP/1.1 502 ", client.got())

    def test_version_2_all_the_way(self) -> None:
        """No key is made up or passed on."""
        self.cluster.http2 = True
        client = self.client2()
        stream = client.ask(CONNECT, ended=False)
        origin = self.accept2(connect=1)
        self.assertIsNone(origin.seen[1].get(b"sec-websocket-key"))
        origin.answer(1, 200, [], ended=False)
        self.settle(client)
        self.assertEqual(client.seen[stream].status, 200)
        client.send(stream, b"to")
        origin.send(1, b"fro")
        self.settle(client, origin)
        self.assertEqual((client.seen[stream].body, origin.seen[1].body), (b"fro", b"to"))
        client.reset(stream, 8)
        self.settle(client, origin)
        self.assertEqual(origin.seen[1].reset, 8)


class AlpnTests(Proxy2Case):
    """What TLS has agreed on decides the version, on either side."""

    def tls(self, alpn: bytes) -> Any:
        """What a finished handshake leaves at a transport."""
        return SimpleNamespace(alpn=alpn, sni="shop", version="TLSv1.3", cipher="TLS_AES_128_GCM_SHA256", peer=())

    def test_a_client(self) -> None:
        """h2 makes it HTTP/2 from the first byte, https in what the endpoint is told."""
        self.host.prior_knowledge = self.http.prior_knowledge = False
        protocol = self.http.buildProtocol(None)
        wire = Wire(self.hand, IPv4Address("TCP", "192.0.2.7", 50000), protocol)
        wire.handshake = self.tls(b"h2")    # type: ignore[attr-defined]
        self.rig.clients.append(wire)
        protocol.makeConnection(wire)
        client = Peer2(wire, True)
        stream = client.ask()
        origin = self.accept()
        self.assertEqual(requests(origin.got())[0].get(b"x-forwarded-proto"), b"https")
        origin.send(EMPTY)
        self.settle(client)
        self.assertEqual(client.seen[stream].status, 200)
        self.assertEqual(self.records[0].client.tls_version, "TLSv1.3")

    def test_an_endpoint_that_chooses_version_1(self) -> None:
        """The first request has the connection, the others get one each; what comes back is used again."""
        self.cluster.http2 = self.cluster.by_alpn = True
        client = self.client2()
        first, second = client.ask(), client.ask()
        one = self.accept()                 # without TLS nothing was agreed on
        self.turn()
        other = self.accept()
        for origin in (one, other):
            self.assertEqual(len(requests(origin.got())), 1)
            origin.send(EMPTY)
        self.settle(client)
        self.assertEqual([client.seen[each].status for each in (first, second)], [200, 200])
        third = client.ask()
        self.settle(client)
        self.assertEqual(self.rig.dials, [])
        self.assertEqual((one.written, len(requests(other.got()))), (b"", 1))
        other.send(EMPTY)
        self.settle(client)
        self.assertEqual(client.seen[third].status, 200)
