"""Requests over HTTP/2 on either side, or on both, on the same way through the gateway as those of HTTP/1.1."""

from __future__ import annotations

from tests.proxy.rig import Wire, answer, requests
from tests.proxy.rig2 import ASK, Peer2, Proxy2Case
from voltgw.values.defaults import LINGER_TIMEOUT_S
from voltgw.values.reply import Reply

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


class ToVersion1Tests(Proxy2Case):
    """Clients of HTTP/2, endpoints of HTTP/1.1."""

    def begin(self) -> tuple[Peer2, Wire]:
        """A client whose first request has come to an endpoint."""
        client = self.client2()
        client.ask()
        return client, self.accept()

    def test_a_get(self) -> None:
        """It comes to the endpoint as HTTP/1.1, and the answer goes back with our fields in it."""
        client = self.client2()
        stream = client.ask([*ASK[:3], (b":path", b"/a?b=c"), (b"accept", b"*/*"), (b"cookie", b"a=1"), (b"cookie", b"b=2")])
        origin = self.accept()
        [request] = requests(origin.got())
        self.assertEqual((request.start, request.target, request.get(b"host")), (b"GET", b"/a?b=c", b"shop"))
        self.assertEqual(request.get(b"cookie"), b"a=1; b=2")
        self.assertEqual(request.get(b"x-forwarded-for"), b"192.0.2.7")
        origin.send(OK)
        self.settle(client)
        seen = client.seen[stream]
        self.assertEqual((seen.status, seen.body, seen.ended), (200, b"hello", True))
        self.assertEqual(seen.get(b"content-length"), b"5")
        self.assertEqual(seen.get(b"server"), b"voltgw")
        [record] = self.records
        self.assertEqual((record.response_code, record.flag, record.request.minor), (200, "", 2))
        self.assertGreater(record.bytes_in, 0)
        self.assertGreater(record.bytes_out, 5)

    def test_many_at_a_time(self) -> None:
        """Answers come as they are ready, whatever the order of the requests."""
        client = self.client2()
        first, second = client.ask(), client.ask()
        one, other = self.rig.dials
        slow, fast = one.accept(), other.accept()
        fast.send(OK)
        self.settle(client)
        self.assertTrue(client.seen[second].ended)
        self.assertEqual(client.seen[first].heads, [])
        slow.send(OK.replace(b"hello", b"there"))
        self.settle(client)
        self.assertEqual(client.seen[first].body, b"there")
        self.assertEqual(len(self.endpoint.pool), 2)

    def test_a_body_of_known_length(self) -> None:
        """It goes on as it comes, with its Content-Length."""
        client = self.client2()
        stream = client.ask([(b":method", b"POST"), *ASK[1:], (b"content-length", b"6")], ended=False)
        client.send(stream, b"abc")
        origin = self.accept()
        self.turn()
        client.send(stream, b"def", ended=True)
        self.turn()
        [request] = requests(origin.got())
        self.assertEqual((request.get(b"content-length"), request.body, request.whole), (b"6", b"abcdef", True))
        origin.send(OK)
        self.settle(client)
        self.assertTrue(client.seen[stream].ended)

    def test_a_body_of_unknown_length(self) -> None:
        """It is put into chunks."""
        client = self.client2()
        stream = client.ask([(b":method", b"POST"), *ASK[1:]], ended=False)
        origin = self.accept()
        client.send(stream, b"abc")
        client.send(stream, b"", ended=True)
        self.turn()
        [request] = requests(origin.got())
        self.assertEqual((request.get(b"transfer-encoding"), request.body, request.whole), (b"chunked", b"abc", True))
        origin.send(OK)
        self.settle(client)
        self.assertTrue(client.seen[stream].ended)

    def test_a_body_that_is_too_large(self) -> None:
        """``max_request_body``: refused by its length at once; one of unknown length when it is over, and the endpoint is cut."""
        self.route.max_body_bytes = 5
        client = self.client2()
        stream = client.ask([(b":method", b"POST"), *ASK[1:], (b"content-length", b"6")], ended=False)
        self.settle(client)
        self.assertEqual((client.seen[stream].status, self.rig.dials), (413, []))
        stream = client.ask([(b":method", b"POST"), *ASK[1:]], ended=False)
        client.send(stream, b"abc")
        origin = self.accept()
        self.turn()
        client.send(stream, b"def")
        self.settle(client)
        [request] = requests(origin.got())
        self.assertEqual((client.seen[stream].status, request.whole, origin.aborted), (413, False, True))
        stream = client.ask([*ASK])
        self.accept().send(OK)
        self.settle(client)
        self.assertEqual(client.seen[stream].status, 200)

    def test_trailers_either_way(self) -> None:
        """They go on behind the last chunk, and come back from behind it."""
        client = self.client2()
        stream = client.ask([(b":method", b"POST"), *ASK[1:], (b"te", b"trailers")], ended=False)
        origin = self.accept()
        client.send(stream, b"abc")
        client.trailers(stream, [(b"x-sum", b"1")])
        self.turn()
        self.assertTrue(origin.got().endswith(b"3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"))
        origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 2\r\nContent-Length: 9\r\n\r\n")
        self.settle(client)
        seen = client.seen[stream]
        self.assertEqual((seen.body, seen.trailers, seen.ended), (b"hi", [(b"x-sum", b"2")], True))

    def test_answers_without_a_body(self) -> None:
        """HEAD, 204 and 304 end with their head."""
        for method, head, length in (
            (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", b"7"),
            (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", None),
            (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", b"7"),
            (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"0"),
        ):
            client = self.client2()
            stream = client.ask([(b":method", method), *ASK[1:]])
            origin = self.accept() if self.rig.dials else self.rig.origins[-1]
            origin.send(head)
            self.settle(client)
            seen = client.seen[stream]
            self.assertEqual((seen.body, seen.ended, seen.get(b"content-length")), (b"", True, length), head)

    def test_an_answer_that_ends_by_closing(self) -> None:
        """Its end is the stream's; one that breaks off is a reset."""
        client, origin = self.begin()
        origin.send(b"HTTP/1.0 200 OK\r\n\r\nabc")
        self.settle(client)
        self.assertEqual((client.seen[1].body, client.seen[1].ended), (b"abc", False))
        origin.fin()
        self.settle(client)
        self.assertTrue(client.seen[1].ended)
        stream = client.ask()
        origin = self.accept()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        self.settle(client)
        origin.reset()
        self.settle(client)
        self.assertEqual((client.seen[stream].body, client.seen[stream].ended, client.seen[stream].reset), (b"abc", False, 2))

    def test_interim_answers(self) -> None:
        """A 103 is passed on, a 100 to who asked for it."""
        client = self.client2()
        stream = client.ask([(b":method", b"POST"), *ASK[1:], (b"expect", b"100-continue")], ended=False)
        origin = self.accept()
        self.assertIn(b"\r\nexpect: 100-continue\r\n", origin.got())
        origin.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        self.settle(client)
        client.send(stream, b"abc", ended=True)
        self.turn()
        origin.send(OK)
        self.settle(client)
        self.assertEqual([head[0] for head in client.seen[stream].heads],
                         [(b":status", b"100"), (b":status", b"103"), (b":status", b"200")])

    def test_an_early_answer(self) -> None:
        """It is passed on whole; the rest of the request is thrown away for a moment, then declined (RFC 9113 8.1)."""
        client = self.client2()
        for patient in (True, False):
            stream = client.ask([(b":method", b"POST"), *ASK[1:]], ended=False)
            origin = self.accept()
            self.turn()
            origin.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            self.settle(client)
            seen = client.seen[stream]
            self.assertEqual((seen.status, seen.body, seen.ended, seen.reset), (413, b"no", True, None))
            self.assertTrue(origin.gone)
            for _ in range(10):
                client.send(stream, b"x" * 16_000)
                self.settle(client)
            if patient:
                client.send(stream, b"", ended=True)
            self.advance(LINGER_TIMEOUT_S + 1)
            self.settle(client)
            self.assertEqual(client.seen[stream].reset, None if patient else 0)
        self.assertFalse(client.wire.gone)

    def test_a_client_that_gives_up(self) -> None:
        """Its reset ends the request at the endpoint; other streams go on."""
        client = self.client2()
        first, second = client.ask(), client.ask()
        one, other = (dial.accept() for dial in list(self.rig.dials))
        client.reset(first, 8)
        self.turn()
        self.assertTrue(one.aborted)
        other.send(OK)
        self.settle(client)
        self.assertTrue(client.seen[second].ended)
        self.assertEqual([(each.flag, each.detail) for each in self.records], [("DC", "downstream_remote_reset"), ("", "")])

    def test_a_client_that_leaves(self) -> None:
        """All its requests end."""
        client = self.client2()
        client.ask()
        client.ask()
        one, other = (dial.accept() for dial in list(self.rig.dials))
        client.wire.fin()
        self.turn()
        self.assertTrue(one.aborted and other.aborted)
        self.assertEqual([each.flag for each in self.records], ["DC", "DC"])

    def test_a_client_that_does_not_read(self) -> None:
        """The endpoint is paused, what we hold is bounded; when the window opens the answer goes on to its end."""
        client = self.client2()
        client.greedy = False
        stream = client.ask()
        origin = self.accept()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        sent = 0
        while origin.reading and sent < 1000000:
            origin.send(b"x" * 10000)
            sent += 10000
            self.settle(client)
        self.assertLess(sent, 200_000)
        self.assertFalse(origin.reading)
        client.greedy = True
        client.h2.acknowledge_received_data(len(client.seen[stream].body), stream)
        client.flush()
        for _ in range(200):
            self.settle(client)
            if sent < 1000000 and origin.reading:
                origin.send(b"x" * 10000)
                sent += 10000
        self.assertEqual((len(client.seen[stream].body), client.seen[stream].ended), (1000000, True))

    def test_an_endpoint_that_does_not_read(self) -> None:
        """The client's window is not given back: it can send no more than that and what the endpoint's side buffers."""
        client = self.client2()
        stream = client.ask([(b":method", b"POST"), *ASK[1:]], ended=False)
        origin = self.accept()
        self.turn()
        origin.stall()
        sent = 0
        for _ in range(100):
            room = client.h2.local_flow_control_window(stream)
            if room <= 0:
                break
            client.send(stream, b"x" * min(room, 16384))
            sent += min(room, 16384)
            self.settle(client)
        self.assertLess(sent, 256 * 1024)
        origin.take()
        self.settle(client)
        self.assertGreater(client.h2.local_flow_control_window(stream), 0)
        client.send(stream, b"", ended=True)
        self.turn()
        origin.send(OK)
        self.settle(client)
        self.assertTrue(client.seen[stream].ended)

    def test_errors_of_ours(self) -> None:
        """No endpoint, no host: an answer like any other, in problem+json."""
        self.endpoint.ready = False
        self.cluster.pick = lambda key: None
        client = self.client2()
        stream = client.ask()
        self.settle(client)
        seen = client.seen[stream]
        self.assertEqual((seen.status, seen.get(b"content-type"), seen.ended), (503, b"application/problem+json", True))

    def test_grpc_hears_of_limits_in_its_own_way(self) -> None:
        """RESOURCE_EXHAUSTED, when to come again, and how long a client's library shall wait on its own."""
        self.route.request_filters = (lambda exchange: Reply(429, [(b"retry-after", b"7")], flag="RL", negotiate=True),)
        client = self.client2()
        stream = client.ask([(b":method", b"POST"), *ASK[1:], (b"content-type", b"application/grpc"), (b"te", b"trailers")],
                            ended=False)
        self.settle(client)
        seen = client.seen[stream]
        self.assertEqual((seen.status, seen.body), (200, b""))
        self.assertEqual([seen.get(name) for name in (b"grpc-status", b"retry-after", b"grpc-retry-pushback-ms")],
                         [b"8", b"7", b"7000"])

    def test_grpc_hears_of_errors_in_its_own_way(self) -> None:
        """A 200 without a body whose grpc-status says it."""
        self.cluster.pick = lambda key: None
        client = self.client2()
        stream = client.ask([(b":method", b"POST"), *ASK[1:], (b"content-type", b"application/grpc+proto"), (b"te", b"trailers")],
                            ended=False)
        self.settle(client)
        seen = client.seen[stream]
        self.assertEqual((seen.status, seen.get(b"grpc-status"), seen.body), (200, b"14", b""))
        self.assertEqual(self.rig.counters.grpc[14], 1)

    def test_what_is_no_request(self) -> None:
        """Malformed: a reset, nothing is forwarded, and it is recorded. An expectation we do not know: 417."""
        client = self.client2()
        bad = client.ask([*ASK, (b"connection", b"close")])
        odd = client.ask([*ASK, (b"expect", b"more")])
        self.settle(client)
        self.assertEqual(client.seen[bad].reset, 1)
        self.assertEqual(client.seen[odd].status, 417)
        self.assertEqual(self.rig.dials, [])
        self.assertEqual([each.flag for each in self.records], ["DPE", "DPE"])
        self.assertEqual(self.counters.bad_requests, 2)

    def test_an_idle_connection(self) -> None:
        """It closes after the keep-alive time, with a GOAWAY."""
        client, origin = self.begin()
        origin.send(OK)
        self.settle(client)
        self.advance(self.http.keep_alive_timeout_s + 1)
        self.settle(client)
        self.assertEqual([each.error_code for each in client.goaways], [0])
        self.assertTrue(client.wire.gone)

    def test_a_drain(self) -> None:
        """Two GOAWAY; what came before the second one is served, then the connection closes."""
        client, origin = self.begin()
        self.http.drain()
        self.settle(client)
        self.assertEqual(client.goaways[0].last_stream_id, (1 << 31) - 1)
        self.advance(2.0)
        self.settle(client)
        self.assertEqual([each.last_stream_id for each in client.goaways], [(1 << 31) - 1, 1])
        client.wire.clear()
        origin.send(OK)
        self.turn()
        self.assertTrue(client.wire.got().endswith(b"hello"))   # the library reads nothing behind a GOAWAY
        self.assertTrue(client.wire.gone)
        self.assertEqual([each.response_code for each in self.records], [200])

    def test_a_host_that_does_not_enable_it(self) -> None:
        """Without TLS only hosts whose options name HTTP/2 are served by it (421)."""
        self.host.prior_knowledge = False
        client = self.client2()
        stream = client.ask()
        self.settle(client)
        self.assertEqual(client.seen[stream].status, 421)

    def test_a_host_of_nothing_else(self) -> None:
        """It answers 505 in HTTP/1.1, where another host of the listener speaks that; else a client must begin with HTTP/2."""
        self.host.version_1 = False
        client = self.client()
        client.send(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        self.assertEqual(answer(client.got()).start, 505)
        self.http.only_2 = True
        client = self.client()
        client.send(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        self.turn()
        self.assertNotIn(b"HTTP/1.1", client.got())
        self.assertTrue(client.gone)

    def test_a_listener_that_does_not_enable_it(self) -> None:
        """The preface is no request there."""
        self.http.prior_knowledge = False
        client = self.client()
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.turn()
        self.assertEqual(answer(client.got(), closed=True).start, 505)


class ToVersion2Tests(Proxy2Case):
    """Endpoints of HTTP/2; clients of either version."""

    origin_2 = True

    def test_a_get_from_version_1(self) -> None:
        """The endpoint gets HTTP/2, the client HTTP/1.1; the connection is shared and stays."""
        client = self.client()
        client.send(b"GET /a HTTP/1.1\r\nHost: shop\r\nConnection: x-hop\r\nX-Hop: 1\r\nAccept: */*\r\n\r\n")
        origin = self.accept2()
        seen = origin.seen[1]
        self.assertEqual(seen.head[:4], [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"shop"), (b":path", b"/a")])
        self.assertEqual((seen.get(b"accept"), seen.get(b"x-hop"), seen.ended), (b"*/*", None, True))
        origin.answer(1, 200, [(b"content-length", b"5"), (b"x-a", b"1")], b"hello")
        self.turn()
        got = answer(client.got())
        self.assertEqual((got.start, got.get(b"x-a"), got.body), (200, b"1", b"hello"))
        client.send(b"GET /b HTTP/1.1\r\nHost: shop\r\n\r\n")
        self.settle(origin)
        self.assertEqual(origin.requests, [1, 3])
        origin.answer(3, 204)
        self.turn()
        self.assertEqual(answer(client.got()).start, 204)

    def test_bodies_from_version_1(self) -> None:
        """Chunks become DATA, and DATA of unknown length chunks; trailers pass both ways."""
        client = self.client()
        client.send(b"POST / HTTP/1.1\r\nHost: shop\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        origin = self.accept2()
        client.send(b"2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n")
        self.settle(origin)
        seen = origin.seen[1]
        self.assertEqual((seen.body, seen.trailers, seen.ended), (b"abcde", [(b"x-sum", b"1")], True))
        origin.answer(1, 200, [], b"hi", ended=False)
        origin.trailers(1, [(b"x-sum", b"2")])
        self.turn()
        data = client.got()
        self.assertIn(b"\r\ntransfer-encoding: chunked\r\n", data)
        self.assertTrue(data.endswith(b"2\r\nhi\r\n0\r\nx-sum: 2\r\n\r\n"), data)

    def test_all_the_way(self) -> None:
        """HTTP/2 on both sides, with a body and trailers each way, as gRPC has it."""
        client = self.client2()
        stream = client.ask([(b":method", b"POST"), *ASK[1:], (b"content-type", b"application/grpc"), (b"te", b"trailers")],
                            ended=False)
        origin = self.accept2()
        self.assertEqual(origin.seen[1].get(b"te"), b"trailers")
        client.send(stream, b"abc")
        self.settle(client, origin)
        self.assertEqual(origin.seen[1].body, b"abc")
        origin.answer(1, 200, [(b"content-type", b"application/grpc")], b"xyz", ended=False)
        self.settle(client, origin)
        self.assertEqual(client.seen[stream].body, b"xyz")
        client.send(stream, b"", ended=True)
        self.settle(client, origin)
        self.assertTrue(origin.seen[1].ended)
        origin.trailers(1, [(b"grpc-status", b"0")])
        self.settle(client, origin)
        self.assertEqual((client.seen[stream].trailers, client.seen[stream].ended), ([(b"grpc-status", b"0")], True))
        self.assertEqual((self.rig.counters.grpc[0], sum(self.rig.counters.grpc)), (1, 1))

    def test_one_connection_for_many(self) -> None:
        """Requests that come while it is made join it."""
        clients = [self.client2() for _ in range(3)]
        for client in clients:
            client.ask()
        origin = self.accept2()
        self.assertEqual(origin.requests, [1, 3, 5])
        for stream in (5, 1, 3):
            origin.answer(stream, 200, [], b"%d" % stream)
        self.settle(*clients)
        self.assertEqual([client.seen[1].body for client in clients], [b"1", b"3", b"5"])
        self.assertEqual(self.cluster.counters.connects, 1)

    def test_more_than_the_endpoint_takes(self) -> None:
        """Above its limit of streams there is another connection."""
        client = self.client2()
        client.ask()
        origin = self.accept2(max_streams=1)
        client.ask()
        other = self.accept2()
        self.assertEqual((origin.requests, other.requests), ([1], [1]))
        origin.answer(1, 204)
        other.answer(1, 204)
        self.settle(client)
        self.assertEqual([client.seen[each].status for each in (1, 3)], [204, 204])

    def test_an_endpoint_that_cannot_be_reached(self) -> None:
        """All who waited for the connection hear of it; it counts once."""
        client = self.client2()
        client.ask()
        client.ask()
        self.dialled.fail()
        self.settle(client)
        self.assertEqual([client.seen[each].status for each in (1, 3)], [502, 502])
        self.assertEqual(self.endpoint.connect_failures, 1)

    def test_goaway(self) -> None:
        """Streams it leaves out go to a new connection, whatever their method; the others end where they are."""
        client = self.client2()
        client.ask()
        client.ask([(b":method", b"POST"), *ASK[1:]])
        origin = self.accept2()
        origin.h2.close_connection(0, last_stream_id=1)
        origin.flush()
        self.settle(client)
        other = self.accept2()
        self.assertEqual(other.seen[1].get(b":method"), b"POST")
        other.answer(1, 204)
        origin.wire.send(bytes.fromhex("000001 01 05 00000001 89"))        # :status 204, which the library would no longer say
        self.settle(client)
        self.assertEqual([client.seen[each].status for each in (1, 3)], [204, 204])
        self.assertTrue(origin.wire.gone)

    def test_a_stream_that_is_reset(self) -> None:
        """Before the answer: 502. After its head: the client's stream is reset, too. The connection stays."""
        client = self.client2()
        first, second = client.ask(), client.ask()
        origin = self.accept2()
        origin.reset(1, 2)
        origin.answer(3, 200, [], b"abc", ended=False)
        origin.reset(3, 2)
        self.settle(client)
        self.assertEqual((client.seen[first].status, client.seen[first].get(b"content-type")), (502, b"application/problem+json"))
        self.assertEqual((client.seen[second].body, client.seen[second].reset), (b"abc", 2))
        self.assertEqual([each.flag for each in self.records], ["UR", "UR"])
        self.assertFalse(origin.wire.gone)

    def test_the_connection_ends(self) -> None:
        """All that were under way hear of it."""
        client = self.client2()
        client.ask([(b":method", b"POST"), *ASK[1:]])
        client.ask([(b":method", b"POST"), *ASK[1:]])
        origin = self.accept2()
        origin.wire.reset()
        self.settle(client)
        self.assertEqual([client.seen[each].status for each in (1, 3)], [502, 502])
        self.assertEqual(self.endpoint.pool.trunks, [])         # type: ignore[attr-defined]

    def test_a_client_that_gives_up(self) -> None:
        """The endpoint's stream is reset, its connection stays."""
        client = self.client2()
        stream = client.ask()
        origin = self.accept2()
        client.reset(stream, 8)
        self.settle(client, origin)
        self.assertEqual(origin.seen[1].reset, 8)
        self.assertFalse(origin.wire.gone)

    def test_a_client_that_does_not_read(self) -> None:
        """The endpoint's stream is not given its window back."""
        client = self.client2()
        client.greedy = False
        client.ask()
        origin = self.accept2()
        origin.answer(1, 200, [], b"x", ended=False)
        sent = 0
        for _ in range(200):
            self.settle(client, origin)
            room = origin.h2.local_flow_control_window(1)
            if room <= 0:
                break
            origin.send(1, b"x" * min(room, 16384))
            sent += min(room, 16384)
        self.assertLess(sent, 300_000)

    def test_idle_and_silent_connections(self) -> None:
        """An idle one closes after its time; one that does not even answer a ping is given up with its requests."""
        client = self.client2()
        client.ask()
        origin = self.accept2()
        origin.answer(1, 204)
        self.settle(client)
        self.advance(self.cluster.idle_timeout_s - 60)
        self.assertFalse(origin.wire.gone)
        self.advance(62)
        self.assertTrue(origin.wire.gone)
        self.route.timeout_s = 0.0
        self.host.idle_timeout_s = 1000.0
        client = self.client2()
        client.ask()
        origin = self.accept2()
        self.advance(31)
        self.settle(origin)                 # it answers the ping
        self.advance(35)
        self.assertFalse(origin.wire.gone)
        self.advance(15)                    # now it does not
        self.settle(client)
        self.assertTrue(origin.wire.gone)
        self.assertEqual(client.seen[1].status, 502)

    def test_the_deadline_of_a_grpc_client(self) -> None:
        """grpc-timeout bounds the exchange as a route's timeout does, and the answer is a grpc-status."""
        client = self.client2()
        stream = client.ask([(b":method", b"POST"), *ASK[1:], (b"content-type", b"application/grpc"), (b"grpc-timeout", b"2S"),
                             (b"te", b"trailers")])
        origin = self.accept2()
        self.advance(3)
        self.settle(client, origin)
        self.assertEqual((client.seen[stream].status, client.seen[stream].get(b"grpc-status")), (200, b"4"))
        self.assertEqual(origin.seen[1].reset, 8)


class FairnessTests(Proxy2Case):
    """Whose DATA leaves first when there is more than the client takes (RFC 9218)."""

    def finished(self, *priorities: bytes) -> list[int]:
        """The numbers of answers of 60,000 octets in the order in which they end; each request has one of `priorities`."""
        client = self.client2(window=100_000)
        client.greedy = False
        streams = [client.ask([*ASK, (b"priority", each)]) for each in priorities]
        for origin in [dial.accept() for dial in list(self.rig.dials)]:
            origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)
        order: list[int] = []
        for _ in range(100):                # the connection's window lets 65,535 go; now a little at a time
            self.settle(client)
            order += [each for each in streams if client.seen[each].ended and each not in order]
            if len(order) == len(streams):
                break
            client.h2.increment_flow_control_window(8_000)
            client.flush()
        return [streams.index(each) for each in order]

    def test_urgency(self) -> None:
        """The more urgent one first, whenever it was asked for."""
        self.assertEqual(self.finished(b"u=6", b"u=5", b"u=1", b"u=3")[-3:], [2, 3, 1])

    def test_equals_that_are_used_as_they_come(self) -> None:
        """They take turns, so that the last one asked for does not wait for the whole of the others."""
        client = self.client2(window=100_000)
        client.greedy = False
        streams = [client.ask([*ASK, (b"priority", b"i")]) for _ in range(4)]
        for origin in [dial.accept() for dial in list(self.rig.dials)]:
            origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)
        self.settle(client)
        client.h2.increment_flow_control_window(90_000)
        client.flush()
        self.settle(client)
        came = [len(client.seen[each].body) for each in streams[1:]]
        self.assertGreater(min(came), 15_000)
        self.assertLess(max(came) - min(came), 40_000)
