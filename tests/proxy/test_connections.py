"""Connections on both sides: kept, pooled, pipelined, drained, closed so that the last answer arrives (RFC 9112 9)."""

from __future__ import annotations

from tests.proxy.rig import EMPTY, GET, ProxyCase, answer, answers, requests
from voltgw.values.defaults import LINGER_BYTES, LINGER_TIMEOUT_S, MAX_PIPELINED_BYTES

CLOSE = b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"


def numbered(number: int) -> bytes:
    """A request with a number in its path."""
    return b"GET /%d HTTP/1.1\r\nHost: shop\r\n\r\n" % number


class KeepAliveTests(ProxyCase):
    def test_one_connection_each_serves_many_requests(self) -> None:
        """Client and endpoint connection are kept; the pool holds it only between requests."""
        client, origin = self.asked()
        for _ in range(5):
            self.assertEqual((len(self.endpoint.pool), self.endpoint.active), (0, 1))
            origin.send(EMPTY)
            self.assertEqual((len(self.endpoint.pool), self.endpoint.active), (1, 0))
            client.send(GET)
        self.assertEqual((len(self.rig.origins), self.cluster.counters.connects, self.endpoint.connections), (1, 1, 1))
        self.assertEqual(len(answers(client.got(), [b"GET"] * 5)), 5)

    def test_clients_share_the_pool(self) -> None:
        """The newest idle connection is used first, so that the oldest may time out."""
        first, second = self.warm(2)
        client = self.client()
        client.send(GET)
        self.assertEqual([bool(first.written), bool(second.written)], [False, True])

    def test_a_client_that_says_close_is_closed(self) -> None:
        """After the answer, which says so; the endpoint's connection is kept."""
        client, origin = self.asked(CLOSE)
        self.assertNotIn(b"connection", requests(origin.got())[0].names())
        origin.send(EMPTY)
        self.turn()
        self.assertEqual((answer(client.got()).get(b"connection"), client.gone, client.aborted),
                         (b"close", True, False))
        self.assertEqual(len(self.endpoint.pool), 1)

    def test_an_endpoint_that_says_close_is_closed(self) -> None:
        """The client does not hear of it and keeps its connection."""
        for data in (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
                     b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"):
            client, origin = self.asked()
            origin.send(data)
            self.turn()
            self.assertEqual((answer(client.got()).get(b"connection"), client.gone), (None, False))
            self.assertEqual((origin.gone, len(self.endpoint.pool)), (True, 0))

    def test_an_endpoint_of_1_0_that_keeps_alive_is_kept(self) -> None:
        """RFC 9112 9.3: HTTP/1.0 with ``Connection: keep-alive`` and a length."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(len(self.endpoint.pool), 1)
        self.assertFalse(client.gone)

    def test_an_idle_connection_that_closes_leaves_the_pool(self) -> None:
        """FIN or RST of an idle endpoint connection: the next request makes a new one."""
        first, second, third = self.warm(3)
        first.fin()
        second.reset()
        self.assertEqual(len(self.endpoint.pool), 1)
        third.fin()
        self.assertEqual(len(self.endpoint.pool), 0)
        self.asked()[1].send(EMPTY)

    def test_bytes_on_an_idle_connection_close_it(self) -> None:
        """An answer that nobody asked for must not become the next one's."""
        idle, = self.warm()
        idle.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nEVIL!")
        self.turn()
        self.assertEqual((idle.gone, len(self.endpoint.pool)), (True, 0))
        client, origin = self.asked()
        origin.send(EMPTY)
        self.assertEqual(answer(client.got()).body, b"")

    def test_an_answer_longer_than_announced_is_cut_and_its_connection_closed(self) -> None:
        """What is over never reaches anybody (promise 5), in the same piece as the head or later."""
        for pieces in ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"],
                       [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"okHTTP/1.1 200 OK\r\n"],
                       [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                        b"2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"],
                       [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"]):
            client, origin = self.asked()
            for piece in pieces:
                origin.send(piece)
            self.turn()
            self.assertEqual(answer(client.got()).body, b"ok")
            self.assertEqual((origin.gone, len(self.endpoint.pool), client.gone), (True, 0, False), pieces)

    def test_a_connection_serves_only_so_many_requests(self) -> None:
        """cluster.max_requests_per_connection: the endpoint's connection retires behind the last; the client's goes
        on."""
        self.cluster.max_requests_per_connection = 2
        client, first = self.asked()
        first.send(EMPTY)
        client.send(GET)
        first.send(EMPTY)
        self.turn()
        self.assertTrue(first.gone)
        client.send(GET)
        self.accept().send(EMPTY)
        self.assertEqual(len(answers(client.got(), [b"GET"] * 3)), 3)

    def test_a_client_connection_serves_only_so_many_requests(self) -> None:
        """virtual_host.max_requests_per_connection: the last answer says close, and what is behind it is not
        answered."""
        self.host.max_requests_per_connection = 2
        client, origin = self.asked()
        origin.send(EMPTY)
        client.send(GET)
        origin.send(EMPTY)
        self.turn()
        found = answers(client.got(), [b"GET"] * 2)
        self.assertEqual([message.get(b"connection") for message in found], [None, b"close"])
        self.assertTrue(client.finished)
        client.fin()
        self.assertTrue(client.gone)
        self.assertFalse(client.aborted)

    def test_a_drained_pool_takes_nothing_back(self) -> None:
        """The endpoint has left its cluster: idle connections close at once, busy ones behind their answer."""
        idle, busy = self.warm(2)
        client = self.client()
        client.send(GET)
        self.assertTrue(busy.written)
        self.endpoint.pool.drain()
        self.turn()
        self.assertEqual((idle.gone, busy.gone), (True, False))
        busy.send(EMPTY)
        self.turn()
        self.assertTrue(busy.gone)
        self.assertEqual((answer(client.got()).start, len(self.endpoint.pool)), (200, 0))


class PipelineTests(ProxyCase):
    def test_requests_sent_ahead_are_answered_in_order(self) -> None:
        """One at a time, each to its own answer (RFC 9112 9.3.2), although the endpoint could take them all."""
        client = self.client()
        client.send(b"".join(map(numbered, range(10))))
        origin = self.accept()
        for number in range(10):
            self.assertEqual([message.target for message in requests(origin.got())], [b"/%d" % number])
            origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
            self.turn()
        found = answers(client.got(), [b"GET"] * 10)
        self.assertEqual([message.body for message in found], [b"%d" % number for number in range(10)])
        self.assertEqual(len(self.records), 10)

    def test_however_the_bytes_are_cut(self) -> None:
        """Bodies and heads of several requests, byte by byte: the endpoint gets the same requests."""
        stream = (b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                  b"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n\r\n"
                  b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
        for step in (1, 2, 7, 50, 1000):
            client = self.client()
            seen = []
            for at in range(0, len(stream), step):
                client.send(stream[at:at + step])
                self.turn()
                while self.rig.dials or any(wire.written for wire in self.rig.origins if not wire.gone):
                    if self.rig.dials:
                        self.accept()
                    origin = next(wire for wire in self.rig.origins if wire.written)
                    found = requests(origin.written)
                    if not found[-1].whole:
                        break
                    seen += [(message.target, message.body) for message in found]
                    origin.clear()
                    origin.send(EMPTY)
                    self.turn()
            self.assertEqual(seen, [(b"/1", b"abc"), (b"/2", b"de"), (b"/3", b"")], step)
            self.assertEqual(len(answers(client.got(), [b"POST", b"POST", b"GET"])), 3)

    def test_local_answers_keep_their_place(self) -> None:
        """An answer of our own waits for the one before it."""
        client = self.client()
        client.send(numbered(1) + b"GET /2 HTTP/1.1\r\nHost: shop\r\n\r\n" + numbered(3))
        origin = self.accept()
        self.endpoint.ready = False
        self.assertEqual(client.written, b"")
        origin.send(EMPTY)
        self.turn()
        self.assertEqual([message.start for message in answers(client.got(), [b"GET"] * 3)], [200, 503, 503])

    def test_one_request_a_turn(self) -> None:
        """A client that sends many ahead does not hold the loop: each further one waits for the next turn."""
        self.endpoint.ready = False         # so that we answer at once, without anybody else
        client = self.client()
        client.send(GET * 10)
        for count in range(1, 11):
            self.assertEqual(len(self.records), count)
            self.hand.turn()
        self.assertEqual(len(self.records), 10)

    def test_what_is_sent_ahead_is_bounded(self) -> None:
        """Over `MAX_PIPELINED_BYTES` we stop reading, and go on when it is used up (promise 19)."""
        client, origin = self.asked()
        count = 0
        while client.reading:
            client.send(numbered(7))
            count += 1
        self.assertLess(count * len(numbered(7)), MAX_PIPELINED_BYTES + 1000)
        client.send(numbered(8))
        self.assertEqual(client.unread, len(numbered(8)))
        for _ in range(count + 2):
            origin.send(EMPTY)
            self.turn()
        self.assertEqual(requests(origin.got())[-1].target, b"/8")
        self.assertTrue(client.reading)

    def test_nothing_behind_a_close_is_answered(self) -> None:
        """RFC 9112 9.6: after ``Connection: close`` the rest is not looked at, and does not cost the answer."""
        client, origin = self.asked(CLOSE + numbered(2))
        origin.send(EMPTY)
        self.turn()
        self.assertEqual(answer(client.got()).get(b"connection"), b"close")
        self.assertEqual((client.finished, client.aborted), (True, False))
        client.send(numbered(3))
        client.fin()
        self.turn()
        self.assertEqual((client.gone, client.written, client.aborted), (True, b"", False))
        self.assertEqual(len(requests(origin.got())), 1)

    def test_an_empty_line_before_a_request_is_skipped(self) -> None:
        """RFC 9112 2.2: old clients send one behind a body; whole, in pieces, on a new connection or a used one."""
        client, origin = self.asked(b"\r\n" + numbered(1))
        origin.send(EMPTY)
        for pieces in ([b"\r\n" + numbered(2)], [b"\r\n", numbered(2)], [b"\r", b"\n" + numbered(2)],
                       [b"\r\n\r\n" + numbered(2)],
                       [b"\r\n", b"\r\n", numbered(2)], [b"\r\nGET /2", b" HTTP/1.1\r\nHost: shop\r\n\r\n"]):
            origin.clear()
            for piece in pieces:
                client.send(piece)
            self.assertEqual([message.target for message in requests(origin.got())], [b"/2"], pieces)
            origin.send(EMPTY)
        self.assertFalse(client.gone)


class LingerTests(ProxyCase):
    """Closing in stages (RFC 9112 9.6): the peer reads the answer before it meets a reset."""

    def test_a_refused_upload_is_drained_then_closed(self) -> None:
        """The client gets the answer and FIN; what it still sends is read and thrown away, never taken for a
        request."""
        client = self.client()
        self.endpoint.ready = False
        client.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000\r\n\r\n")
        self.assertEqual(answer(client.got()).get(b"connection"), b"close")
        self.assertEqual((client.finished, client.gone), (True, False))
        client.send(GET)
        client.send(b"x" * 1000)
        self.assertEqual((client.gone, client.written, len(self.records)), (False, b"", 1))
        client.fin()
        self.assertEqual((client.gone, client.aborted), (True, False))

    def test_draining_has_an_end(self) -> None:
        """So many bytes, or so many seconds."""
        self.endpoint.ready = False
        first, second = self.client(), self.client()
        for client in (first, second):
            client.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(LINGER_BYTES // 65536):
            first.send(b"x" * 65536)
        self.assertFalse(first.gone)
        first.send(b"x" * 65536)
        self.assertTrue(first.aborted)
        self.advance(LINGER_TIMEOUT_S - 1)
        self.assertFalse(second.gone)
        second.send(b"x")
        self.advance(1.5)
        self.assertTrue(second.gone)

    def test_a_close_of_ours_waits_for_the_client(self) -> None:
        """We close (drain, most requests served): the client may have sent the next one, which must not cost it the
        answer."""
        self.host.max_requests_per_connection = 1
        client, origin = self.asked()
        origin.send(EMPTY)
        self.turn()
        self.assertEqual((client.finished, client.gone), (True, False))
        client.send(GET)
        self.turn()
        self.assertEqual((answer(client.got()).start, client.aborted, len(self.records)), (200, False, 1))
        self.advance(LINGER_TIMEOUT_S + 0.5)
        self.assertTrue(client.gone)

    def test_a_slow_reader_gets_the_whole_last_answer(self) -> None:
        """A close of ours has no hurry: what waits for a client that reads slowly is not thrown away with the
        connection."""
        self.host.max_requests_per_connection = 1
        client, origin = self.asked()
        client.stall()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)
        self.advance(LINGER_TIMEOUT_S * 4)
        self.assertEqual((client.gone, client.aborted), (False, False))
        client.take()
        self.turn()
        self.assertEqual((len(answer(client.got()).body), client.gone, client.aborted), (60_000, True, False))


class DrainTests(ProxyCase):
    def test_idle_connections_close_at_once(self) -> None:
        """Those that have served, and those that have said nothing yet."""
        client, origin = self.asked()
        origin.send(EMPTY)
        silent = self.client()
        self.http.drain()
        self.turn()
        self.assertEqual((client.gone, silent.gone, client.aborted, silent.aborted), (True, True, False, False))

    def test_a_busy_connection_closes_behind_its_answer(self) -> None:
        """The answer says so."""
        client, origin = self.asked()
        self.http.drain()
        self.assertFalse(client.gone)
        origin.send(EMPTY)
        self.turn()
        self.assertEqual((answer(client.got()).get(b"connection"), client.finished), (b"close", True))

    def test_a_head_that_has_begun_is_served(self) -> None:
        """Half a request is a request: it is answered, with close."""
        client = self.client()
        client.send(GET[:10])
        self.http.drain()
        self.assertFalse(client.gone)
        client.send(GET[10:])
        self.accept().send(EMPTY)
        self.assertEqual(answer(client.got()).get(b"connection"), b"close")

    def test_what_is_left_is_cut(self) -> None:
        """When the drain's time is up."""
        client, origin = self.asked()
        self.http.drain()
        self.http.close()
        self.turn()
        self.assertEqual((client.aborted, origin.aborted), (True, True))
        self.assertEqual((len(self.records), self.records[0].detail, self.under_way()), (1, "drained", {}))
