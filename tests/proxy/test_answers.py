"""What a client gets of an endpoint's answer: framing for its version, Server, Date, fields of one hop (promises 3.1,
3.3)."""

from __future__ import annotations

from tests.proxy.rig import DATE, EMPTY, GET, ProxyCase, Wire, answer, answers
from voltgw.values.defaults import BODY_IDLE_TIMEOUT_S, KEEP_ALIVE_TIMEOUT_S, MAX_INTERIM_RESPONSES

GET_10 = b"GET / HTTP/1.0\r\nHost: shop\r\n\r\n"
GET_10_KEEP = b"GET / HTTP/1.0\r\nHost: shop\r\nConnection: keep-alive\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: shop\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


class FieldTests(ProxyCase):
    def test_an_answer_arrives_as_it_was_sent(self) -> None:
        """Status, reason, end-to-end fields in order, body; nothing of the hop between us and the endpoint."""
        _, got = self.exchange(GET,
                               b"HTTP/1.1 404 Not here\r\nDate: x\r\nX-B: 1\r\nSet-Cookie: a\r\nX-Powered-By: p\r\nSet-Cookie: b\r\n"
                                    b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nno")
        self.assertEqual(got,
                         b"HTTP/1.1 404 Not here\r\ndate: x\r\nx-b: 1\r\nset-cookie: a\r\nx-powered-by: p\r\nset-cookie: b\r\n"
                              b"server: voltgw\r\ncontent-length: 2\r\n\r\nno")

    def test_a_missing_date_is_added(self) -> None:
        """RFC 9110 6.6.1."""
        self.assertEqual(answer(self.exchange(GET, EMPTY)[1]).get(b"date"), DATE)

    def test_who_is_named_as_server(self) -> None:
        """Ours by default, without a version; the endpoint's, or a name only where it gives none, as configured."""
        with_server = b"HTTP/1.1 200 OK\r\nServer: theirs/1.0\r\nContent-Length: 0\r\n\r\n"
        table: list[tuple[bytes | None, bool, bytes | None, bytes | None]] = [
            (b"server: voltgw", False, b"voltgw", b"voltgw"),
            (None, True, b"theirs/1.0", None),                      # pass_through
            (b"server: own", True, b"theirs/1.0", b"own"),          # append_server_name
            (b"server: own", False, b"own", b"own"),                # server_name
        ]
        for line, keep, with_theirs, without in table:
            self.host.server_line, self.host.keep_server = line, keep
            found = [answer(self.exchange(GET, data)[1]).get(b"server") for data in (with_server, EMPTY)]
            self.assertEqual(found, [with_theirs, without], (line, keep))

    def test_connection_cannot_take_away_the_framing(self) -> None:
        """``Connection: content-length`` from an endpoint leaves the length."""
        _, got = self.exchange(GET,
                               b"HTTP/1.1 200 OK\r\nConnection: Content-Length, Date, X-A\r\nContent-Length: 2\r\nX-A: 1\r\n\r\nok")
        message = answer(got)
        self.assertEqual((message.body, message.get(b"x-a")), (b"ok", None))

    def test_counters_and_record(self) -> None:
        """One answer is one record, with what came and went, and one count in each place."""
        request = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 3\r\n\r\nabc"
        _, got = self.exchange(request, b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 2\r\n\r\nok")
        record, = self.records
        self.assertEqual((record.response_code, record.flag, record.attempts, record.bytes_in, record.bytes_out),
                         (302, "", 1, len(request), len(got)))
        self.assertIs(record.endpoint, self.endpoint)
        self.assertIs(record.route, self.route)
        counters = self.route.counters
        self.assertEqual((counters.status, counters.bytes_in, counters.bytes_out, sum(counters.latency.buckets)),
                         ([0, 0, 0, 1, 0, 0], len(request), len(got), 1))
        self.assertEqual((self.cluster.counters.status[3], self.endpoint.status[3], self.endpoint.requests), (1, 1, 1))

    def test_bytes_of_long_answers_are_counted_too(self) -> None:
        """Interim answers and every piece of a body count in ``bytes_out``."""
        client, origin = self.asked()
        for piece in (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", CHUNKED, b"3\r\nabc\r\n", b"0\r\n\r\n"):
            origin.send(piece)
        self.assertEqual(self.records[0].bytes_out, len(client.written))


class FramingTests(ProxyCase):
    def pieces(self, client: Wire, origin: Wire, *pieces: bytes) -> bytes:
        """What the client gets when the endpoint sends these, one by one."""
        for piece in pieces:
            origin.send(piece)
        self.turn()
        return client.got()

    def test_every_framing_reaches_every_client(self) -> None:
        """Length, chunks or close from the endpoint; HTTP/1.1 and 1.0 clients: the same body, validly framed."""
        origins = {
            "length": ([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234", b"56789"], False),
            "length at once": ([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"], False),
            "chunks": ([CHUNKED, b"5;x=y\r\n01234\r\n5\r\n5", b"6789\r\n0\r\nX: y\r\n\r\n"], False),
            "chunks at once": ([CHUNKED + b"a\r\n0123456789\r\n0\r\n\r\n"], False),
            "close": ([UNTIL_CLOSE + b"01234", b"56789"], True),
            "close from 1.0": ([b"HTTP/1.0 200 OK\r\n\r\n", b"0123456789"], True),
            "length from 1.0": ([b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n", b"0123456789"], False),
        }
        for name, (pieces, closes) in origins.items():
            for request in (GET, GET_10, GET_10_KEEP):
                client = self.client()
                client.send(request)
                origin = self.accept() if self.rig.dials else [wire for wire in self.rig.origins if not wire.gone][-1]
                for piece in pieces:
                    origin.send(piece)
                if closes:
                    origin.fin()
                self.turn()
                message = answer(client.written, closed=client.finished or client.gone)
                self.assertEqual(message.body, b"0123456789", (name, request))
                self.assertFalse(client.aborted)
                length_known = name.startswith("length")
                if request is GET:
                    self.assertEqual((message.get(b"connection"), client.finished or client.gone), (None, False), name)
                    self.assertEqual(message.get(b"transfer-encoding"), None if length_known else b"chunked")
                else:
                    self.assertEqual(message.get(b"transfer-encoding"), None)
                    keeps = length_known and request is GET_10_KEEP
                    self.assertEqual(message.get(b"connection"), b"keep-alive" if keeps else b"close", (name, request))
                    self.assertEqual(client.finished or client.gone, not keeps)

    def test_a_long_body_of_known_length_passes_untouched(self) -> None:
        """The pieces go on as they come; the connection goes back to the pool only behind the last byte."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(9):
            origin.send(b"x" * 10_000)
            self.assertEqual((len(self.endpoint.pool), self.cluster.active), (0, 1))
        origin.send(b"x" * 10_000)
        self.assertEqual((len(self.endpoint.pool), self.cluster.active), (1, 0))
        self.assertEqual(len(answer(client.got()).body), 100_000)

    def test_an_endless_body_is_passed_on_as_it_comes(self) -> None:
        """An event stream: nothing waits for more."""
        client, origin = self.asked()
        self.pieces(client, origin, CHUNKED)
        for number in range(5):
            piece = b"7\r\nevent %d\r\n" % number
            self.assertEqual(self.pieces(client, origin, piece), piece)

    def test_answers_without_a_body(self) -> None:
        """RFC 9112 6.3 item 1: after HEAD, 204 and 304 nothing follows the head, whatever it says; lengths are as RFC
        9110 8.6."""
        table = [
            (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"5"),
            (HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
            (HEAD, b"HTTP/1.1 200 OK\r\n\r\n", None),
            (GET, b"HTTP/1.1 204 No Content\r\n\r\n", None),
            (GET, b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", None),
            (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"5"),
        ]
        for request, data, length in table:
            origin_got, got = self.exchange(request, data)
            message = answer(got, request.partition(b" ")[0])
            self.assertEqual((message.get(b"content-length"), message.get(b"transfer-encoding"), message.body),
                             (length, None, b""), data)
            self.assertTrue(got.endswith(b"\r\n\r\n"))
        self.assertEqual(len(self.rig.origins), 1)      # each one left the connection good for the next

    def test_a_body_where_none_may_be_is_never_sent_on(self) -> None:
        """HEAD, 204 or 304 with a body: it is dropped and the endpoint's connection closed, never pooled."""
        for request, start in ((HEAD, b"HTTP/1.1 200 OK"), (GET, b"HTTP/1.1 204 X"), (GET, b"HTTP/1.1 304 X")):
            client, origin = self.asked(request)
            got = self.pieces(client, origin, start + b"\r\nContent-Length: 5\r\n\r\nhello")
            self.assertEqual(answer(got, request.partition(b" ")[0]).body, b"")
            self.assertTrue(origin.gone)
            self.assertEqual(len(self.endpoint.pool), 0)

    def test_a_body_that_comes_later_where_none_may_be(self) -> None:
        """It meets an idle connection, which closes: bytes that nobody asked for are never an answer."""
        client, origin = self.asked(HEAD)
        self.pieces(client, origin, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"hello")
        self.assertTrue(origin.gone)
        self.assertEqual(len(self.endpoint.pool), 0)

    def test_a_204_that_announces_a_body_is_the_last_on_its_connection(self) -> None:
        """The body it must not have would be read as the next answer."""
        client, origin = self.asked()
        self.pieces(client, origin, b"HTTP/1.1 204 X\r\nContent-Length: 19\r\n\r\n")
        self.assertTrue(origin.gone)


class InterimTests(ProxyCase):
    def test_early_hints_are_passed_on(self) -> None:
        """RFC 9110 15.2: 1xx other than 101 goes to a 1.1 client, before the final answer."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual([message.start for message in answers(client.got())], [103, 102, 200])
        self.assertEqual(len(self.endpoint.pool), 1)

    def test_a_client_of_1_0_gets_none(self) -> None:
        """RFC 9110 15.2: a server must not send 1xx to an HTTP/1.0 client."""
        _, got = self.exchange(GET_10, b"HTTP/1.1 103 Early Hints\r\n\r\n" + EMPTY)
        self.assertEqual([message.start for message in answers(got, closed=True)], [200])

    def test_a_100_that_nobody_asked_for_is_dropped(self) -> None:
        """The client sent no Expect (RFC 9110 15.2.1)."""
        _, got = self.exchange(GET, b"HTTP/1.1 100 Continue\r\n\r\n" + EMPTY)
        self.assertEqual([message.start for message in answers(got)], [200])

    def test_cut_anywhere(self) -> None:
        """Interim and final answers in one stream of bytes, cut at every place, give the same."""
        stream = b"HTTP/1.1 103 E\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 3\r\n\r\nabc"
        results = set()
        for at in range(1, len(stream)):
            client, origin = self.asked()
            origin.send(stream[:at])
            origin.send(stream[at:])
            results.add(client.got())
            self.endpoint.pool.drain()
            self.endpoint.pool.draining = False     # type: ignore[attr-defined]  # so that each cut has a connection of its own
            self.turn()
        self.assertEqual(len(results), 1)
        self.assertEqual([message.start for message in answers(results.pop())], [103, 200])

    def test_a_storm_of_them_ends_with_502(self) -> None:
        """After `MAX_INTERIM_RESPONSES` the endpoint's connection is cut and the client told; 10,000 cost no memory."""
        client, origin = self.asked()
        for _ in range(10_000):
            if not origin.gone:
                origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        found = answers(client.got())
        self.assertEqual([message.start for message in found], [103] * MAX_INTERIM_RESPONSES + [502])
        self.assertEqual((origin.aborted, self.records[0].flag), (True, "UPE"))

    def test_the_count_is_per_answer(self) -> None:
        """A connection may bring a few of them for each of many requests."""
        client, origin = self.asked()
        for _ in range(3):
            origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * (MAX_INTERIM_RESPONSES - 1) + EMPTY)
            client.send(GET)
        self.assertFalse(origin.gone)

    def test_switching_protocols_unasked_is_refused(self) -> None:
        """We forward no Upgrade, so a 101 is an error of the endpoint: 502, and no tunnel."""
        client, origin = self.asked(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        origin.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw")
        self.assertEqual((answer(client.got()).start, origin.aborted), (502, True))


class BackPressureTests(ProxyCase):
    def test_a_client_that_does_not_read_pauses_the_endpoint(self) -> None:
        """At most one buffer waits for it; when it reads again, all comes, in order (promise 19)."""
        client, origin = self.asked()
        client.stall()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        sent = 0
        while sent < 1_000_000:
            piece = bytes([sent // 10_000]) * 10_000
            origin.send(piece)
            sent += len(piece)
        self.assertFalse(origin.reading)
        self.assertLess(client.waiting, 64 * 1024 + 20_000)
        self.assertGreater(origin.unread, 900_000)
        client.take()
        self.turn()
        self.assertEqual(answer(client.got()).body, b"".join(bytes([number]) * 10_000 for number in range(100)))
        self.assertTrue(origin.reading)
        self.assertEqual(len(self.endpoint.pool), 1)

    def test_a_client_that_asks_on_and_on_without_reading(self) -> None:
        """Whole answers count too: over one buffer of them its next requests wait, unread, until it reads (promise
        19)."""
        page = b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + b"x" * 10_000
        for ahead in (1, 100):              # one request at a time, and many sent ahead
            client = self.client()
            client.stall()
            for _ in range(200 // ahead):
                client.send(GET * ahead)
                for _ in range(ahead):
                    if self.rig.dials:
                        self.accept()
                    origin = next(wire for wire in self.rig.origins if not wire.gone)
                    if origin.got():
                        origin.send(page)
                    self.turn()
            self.assertLess(client.waiting, 64 * 1024 + 2 * len(page))
            served = len(self.records)
            self.assertLess(served, 10)
            for _ in range(300):
                client.take()
                client.stall()
                self.turn()
                if origin.got():
                    origin.send(page)
                self.turn()
            client.take()
            self.turn()
            self.assertEqual(len(answers(client.got(), [b"GET"] * 200)), 200)
            self.assertTrue(client.reading)
            client.fin()
            self.turn()
            self.records.clear()

    def test_it_may_ask_for_answers_of_ours(self) -> None:
        """The same bound holds for them."""
        self.endpoint.ready = False
        client = self.client()
        client.stall()
        for _ in range(50):
            client.send(GET * 50)
            self.turn()
        self.assertLess(client.waiting, 80_000)
        self.assertLess(len(self.records), 400)
        self.assertFalse(client.reading)
        self.host.only = None
        for _ in range(100):
            client.take()
            client.stall()
            self.turn()
        client.take()
        self.turn()
        self.assertEqual((len(self.records), client.reading), (2500, True))

    def test_what_it_sends_in_the_same_turn(self) -> None:
        """The turn that was to bring its next request finds it backed up by what came in between."""
        self.endpoint.ready = False
        client = self.client()
        client.stall()
        while client.reading:
            client.send(GET * 2)            # each time one is answered and one waits for the next turn
        count = len(self.records)
        self.turn()
        self.assertEqual(len(self.records), count)

    def test_a_large_first_piece(self) -> None:
        """The endpoint is paused with the very first piece if that is too much for the client."""
        client, origin = self.asked()
        client.stall()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000)
        self.assertFalse(origin.reading)
        client.take()
        self.turn()
        self.assertTrue(origin.reading)

    def test_a_streamed_answer_that_ends_unread(self) -> None:
        """The next request waits until the client has read; then it is read, and the endpoint's connection is another's."""
        client, origin = self.asked()
        client.stall()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        origin.send(b"x" * 100_000)
        self.assertEqual((client.reading, origin.reading, len(self.endpoint.pool)), (False, True, 1))
        client.send(GET)
        origin.clear()
        self.turn()
        self.assertEqual(origin.written, b"")
        client.take()
        self.turn()
        self.assertTrue(client.reading)
        origin.send(EMPTY)
        self.assertEqual(len(answers(client.got(), [b"GET"] * 2)), 2)

    def test_one_that_never_reads_is_let_go(self) -> None:
        """After the time of an idle connection, without a word; what it had sent ahead is forgotten."""
        self.endpoint.ready = False
        client = self.client()
        client.stall()
        for _ in range(50):
            client.send(GET * 50)
            self.turn()
        count = len(self.records)
        self.advance(KEEP_ALIVE_TIMEOUT_S + BODY_IDLE_TIMEOUT_S + 2)
        self.assertEqual((client.aborted, len(self.records)), (True, count))

    def test_an_upload_goes_on_while_the_answer_waits(self) -> None:
        """A client that first writes all and then reads is not held up by an answer that came early."""
        client, origin = self.asked(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 100000\r\n\r\n")
        client.stall()
        origin.send(CHUNKED + b"186a0\r\n" + b"x" * 100_000)
        self.assertFalse(origin.reading)
        origin.clear()
        client.send(b"y" * 100_000)
        self.assertEqual(len(origin.got()), 100_000)
        client.take()
        self.turn()
        self.assertTrue(origin.reading)
        origin.send(b"\r\n0\r\n\r\n")
        self.assertEqual(len(answer(client.got()).body), 100_000)

    def test_a_paused_endpoint_is_read_again_for_the_next_request(self) -> None:
        """The last piece may be what paused it: in the pool it must be read, or its FIN would go unseen."""
        client, origin = self.asked()
        client.stall()
        origin.send(CHUNKED)
        origin.send(b"15f90\r\n" + b"x" * 90_000 + b"\r\n0\r\n\r\n")
        self.turn()
        self.assertTrue(origin.reading)
        origin.fin()
        self.assertEqual(len(self.endpoint.pool), 0)
        client.take()
        self.assertEqual(len(answer(client.got()).body), 90_000)
