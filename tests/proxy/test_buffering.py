"""Whole requests first: no endpoint hears of a request before its body is here, in time and not too large."""

from __future__ import annotations

from tests.proxy.rig import EMPTY, GET, ProxyCase, Wire, answer, requests
from voltgw.net.deadlines import TICK_S
from voltgw.values.defaults import BODY_IDLE_TIMEOUT_S, MAX_PIPELINED_BYTES
from voltgw.values.reply import Delay, Reply

LATE = 4 * TICK_S
POST = b"POST / HTTP/1.1\r\nHost: shop\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def length(size: int) -> bytes:
    """A head that announces so many bytes."""
    return POST + b"Content-Length: %d\r\n\r\n" % size


class BufferCase(ProxyCase):
    def setUp(self) -> None:
        """Up to ten bytes."""
        super().setUp()
        self.route.buffer_bytes = 10

    def refused(self, client: Wire, status: int) -> None:
        """The client is told, and no endpoint was."""
        message = answer(client.got())
        self.assertEqual((message.start, self.rig.dials, self.rig.origins), (status, [], []))


class WholeTests(BufferCase):
    def test_the_endpoint_hears_of_it_when_it_is_whole(self) -> None:
        """In one piece, with its length, whatever pieces and framing it came in."""
        for pieces in ([length(10), b"01234", b"56789"], [length(10) + b"0", b"123456789"], [length(10) + b"0123456789"],
                       [CHUNKED, b"4\r\n0123\r\n", b"6;ext=1\r\n4567", b"89\r\n0\r\nTrailer: x\r\n\r\n"],
                       [CHUNKED + b"5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"]):
            client = self.client()
            for piece in pieces[:-1]:
                client.send(piece)
                self.assertEqual(self.rig.dials, [])
            origins = len(self.rig.origins)
            client.send(pieces[-1])
            origin = self.accept() if self.rig.dials else self.rig.origins[0]
            message, = requests(origin.got())
            self.assertEqual((message.body, message.get(b"content-length"), message.get(b"transfer-encoding")),
                             (b"0123456789", b"10", None))
            origin.send(EMPTY)
            self.assertEqual((answer(client.got()).start, origins <= 1), (200, True))

    def test_a_request_without_a_body(self) -> None:
        """Goes on at once; a chunked one that turns out empty has the length zero."""
        self.assertEqual(len(requests(self.exchange(GET, EMPTY)[0])), 1)
        got, _ = self.exchange(CHUNKED + b"0\r\n\r\n", EMPTY)
        self.assertEqual(requests(got)[0].get(b"content-length"), b"0")

    def test_what_is_behind_it_is_the_next_request(self) -> None:
        """Byte by byte, too."""
        for step in (1000, 1):
            client = self.client()
            data = length(3) + b"abc" + CHUNKED + b"3\r\ndef\r\n0\r\n\r\n" + GET
            bodies: list[bytes] = []
            for at in range(0, len(data), step):
                client.send(data[at:at + step])
                self.turn()
                while True:
                    origin = self.accept() if self.rig.dials else next((each for each in self.rig.origins if each.written), None)
                    if origin is None:
                        break
                    bodies += [message.body for message in requests(origin.got())]
                    origin.send(EMPTY)
                    self.turn()
            self.assertEqual(bodies, [b"abc", b"def", b""])

    def test_a_body_that_came_while_a_filter_waited(self) -> None:
        """It is taken from where it was held."""
        self.route.request_filters = (lambda exchange: Delay(1.0),)
        client = self.client()
        client.send(length(6) + b"ab")
        client.send(b"cdef" + GET)
        self.advance(1)
        origin = self.accept()
        self.assertEqual([message.body for message in requests(origin.got())], [b"abcdef"])
        origin.send(EMPTY)
        self.turn()
        self.advance(1.1)
        self.assertEqual(len(requests(origin.got())), 1)

    def test_a_large_one_that_was_held(self) -> None:
        """The client is read again."""
        self.route.buffer_bytes = 1_000_000
        self.route.request_filters = (lambda exchange: Delay(1.0),)
        client = self.client()
        client.send(length(200_000))
        while client.reading:
            client.send(b"x" * 20_000)
        self.assertGreater(200_000, MAX_PIPELINED_BYTES)
        self.advance(1)
        self.assertTrue(client.reading)
        client.send(b"x" * (200_000 - sum(map(len, client.protocol._gathered.body))))
        self.assertEqual(len(requests(self.accept().got())[0].body), 200_000)

    def test_the_client_is_told_to_go_on(self) -> None:
        """Expect: 100-continue is met by us, once; the endpoint neither sees it nor waits."""
        client = self.client()
        client.send(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual((client.got(), self.rig.dials), (CONTINUE, []))
        client.send(b"hi")
        origin = self.accept()
        message, = requests(origin.got())
        self.assertEqual((message.body, message.get(b"expect")), (b"hi", None))
        origin.send(CONTINUE + EMPTY)
        self.assertEqual(answer(client.got()).start, 200)
        client.send(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\nh")
        self.assertEqual(client.got(), b"")         # it has not waited

    def test_bytes_are_counted_once(self) -> None:
        """`bytes_in` is what came."""
        client = self.client()
        data = length(10)
        for piece in (data, b"01234", b"56789"):
            client.send(piece)
        self.accept().send(EMPTY)
        self.assertEqual(self.records[0].bytes_in, len(data) + 10)

    def test_it_can_be_sent_again(self) -> None:
        """A connect failure leads to another try with the whole body, however large it is."""
        self.route.buffer_bytes = 200_000
        second = self.make_cluster("default/two")
        client = self.client()
        client.send(length(150_000))
        client.send(b"x" * 150_000)
        self.assertEqual(second.active, 0)
        self.accept().fin()
        self.assertEqual(answer(client.got()).start, 502)
        client.send(length(150_000).replace(b"POST", b"PUT"))
        client.send(b"x" * 150_000)
        self.accept().send(EMPTY)
        client.clear()
        client.send(length(150_000).replace(b"POST", b"PUT"))
        client.send(b"x" * 150_000)
        self.rig.origins[-1].fin()          # it was stale
        self.assertEqual(len(requests(self.accept().got())[0].body), 150_000)

    def test_answers_of_the_route_come_at_once(self) -> None:
        """A redirect need not wait for a body."""
        self.route.answer = lambda head, client: Reply(302)
        client = self.client()
        client.send(length(10))
        self.refused(client, 302)


class BoundTests(BufferCase):
    def test_too_large(self) -> None:
        """413 as soon as it is known: announced, in one piece, in pieces, in chunks; the connection closes behind it."""
        for pieces in ([length(11)], [length(11) + b"0" * 11], [CHUNKED, b"5\r\n01234\r\n", b"6\r\n567890\r\n"],
                       [CHUNKED + b"b\r\n01234567890\r\n"], [CHUNKED + b"b\r\n0123456789", b"0"]):
            client = self.client()
            for piece in pieces:
                client.send(piece)
            self.refused(client, 413)
            self.assertEqual((self.records[-1].flag, self.records[-1].detail), ("DPE", "request_payload_too_large"))

    def test_exactly_so_much(self) -> None:
        """Ten bytes in ten chunks are ten bytes, whatever the chunks add."""
        client = self.client()
        client.send(CHUNKED)
        for _ in range(10):
            client.send(b"1\r\nx\r\n")
        client.send(b"0\r\n\r\n")
        self.assertEqual(requests(self.accept().got())[0].body, b"x" * 10)

    def test_what_follows_a_refusal_is_not_a_request(self) -> None:
        """The rest of the body is thrown away."""
        client = self.client()
        client.send(length(50))
        self.refused(client, 413)
        client.send(GET + GET)
        self.turn()
        self.assertEqual((len(self.records), self.rig.dials, client.finished), (1, [], True))

    def test_a_whole_one_that_is_too_large_does_not_close(self) -> None:
        """When all of it has come anyway the connection is sound."""
        client = self.client()
        client.send(length(11) + b"0" * 11)
        self.assertEqual(answer(client.got()).get(b"connection"), None)
        client.send(GET)
        self.accept().send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_a_bad_chunk(self) -> None:
        """400; no endpoint is dialled."""
        client = self.client()
        client.send(CHUNKED + b"2\r\nab\r\n")
        client.send(b"zz\r\n")
        self.refused(client, 400)


class TimeTests(BufferCase):
    def test_the_policy_s_time(self) -> None:
        """max_request_time: 408 when the body is not complete by then, however steadily it comes."""
        self.route.buffer_time_s = 5.0
        client = self.client()
        client.send(length(10))
        for _ in range(5):
            client.send(b"x")
            self.advance(0.9)
        self.assertEqual(client.written, b"")
        self.advance(0.5 + LATE)
        self.refused(client, 408)
        self.assertEqual((self.counters.timeouts, client.finished), (1, True))

    def test_in_time(self) -> None:
        """Then it does not count against the answer."""
        self.route.buffer_time_s = 2.0
        client = self.client()
        client.send(length(2) + b"a")
        self.advance(1)
        client.send(b"b")
        origin = self.accept()
        self.advance(20)
        origin.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_the_host_s_time_holds_as_well(self) -> None:
        """The earlier one of the two ends it."""
        self.host.request_timeout_s, self.route.buffer_time_s = 2.0, 60.0
        client = self.client()
        client.send(length(2) + b"a")
        self.advance(2 + LATE)
        self.refused(client, 408)

    def test_a_body_that_stops(self) -> None:
        """Without a time of its own, the usual pause between two bytes."""
        client = self.client()
        client.send(length(10))
        self.advance(BODY_IDLE_TIMEOUT_S - 1)
        client.send(b"x")
        self.advance(BODY_IDLE_TIMEOUT_S - 1)
        self.assertEqual(client.written, b"")
        self.advance(1 + LATE)
        self.refused(client, 408)

    def test_the_client_leaves(self) -> None:
        """Nothing is left of what was gathered."""
        client = self.client()
        client.send(length(10) + b"abc")
        client.reset()
        self.assertEqual((self.records[0].flag, self.rig.dials, client.protocol._gathered), ("DC", [], None))

    def test_a_drain(self) -> None:
        """It is under way, so it may finish."""
        client = self.client()
        client.send(length(4) + b"ab")
        self.http.drain()
        client.send(b"cd")
        self.accept().send(EMPTY)
        self.assertEqual(answer(client.got()).get(b"connection"), b"close")


class MostTests(ProxyCase):
    """`Route.max_body_bytes`, where bodies stream."""

    def setUp(self) -> None:
        """Up to ten bytes."""
        super().setUp()
        self.route.max_body_bytes = 10

    def test_announced(self) -> None:
        """A length that is too large is refused before an endpoint hears of it, also of one who waits for 100."""
        for data in (length(11), length(11) + b"x" * 11, POST + b"Expect: 100-continue\r\nContent-Length: 11\r\n\r\n"):
            client = self.client()
            client.send(data)
            self.turn()
            self.assertEqual((answer(client.got()).start, self.rig.dials, self.records[-1].flag), (413, [], "DPE"))

    def test_exactly_so_much(self) -> None:
        """Passes, however it comes."""
        for pieces in ((length(10) + b"x" * 10,), (length(10), b"xxxxx", b"xxxxx"), (CHUNKED, b"0\r\n", b"\r\n")):
            client, origin = self.asked(pieces[0])
            for piece in pieces[1:]:
                client.send(piece)
            self.assertTrue(requests(origin.got())[0].whole)
            origin.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.turn()
            self.assertEqual(answer(client.got()).start, 200)

    def test_chunks_without_end(self) -> None:
        """The endpoint never gets what it could take for the whole; what follows is not looked at."""
        client, origin = self.asked(CHUNKED + b"1\r\nx\r\n")
        client.send(b"9\r\nxxxxxxxxx\r\n")
        client.send(b"0\r\n\r\n" + GET)
        self.turn()
        self.assertEqual((answer(client.got()).start, client.finished, origin.aborted), (413, True, True))
        message, = requests(origin.got())
        self.assertEqual((message.whole, message.body, self.rig.dials), (False, b"x", []))

    def test_all_of_it_at_once(self) -> None:
        """A chunked body that came with its head is judged before an endpoint is asked; the connection goes on."""
        client = self.client()
        client.send(CHUNKED + b"9\r\nxxxxxxxxx\r\n0\r\n\r\n")
        self.assertEqual((answer(client.got()).start, client.finished, self.rig.dials), (413, False, []))

    def test_the_answer_has_begun(self) -> None:
        """The client is cut: it must not take the answer for one to what it has sent."""
        client, origin = self.asked(CHUNKED + b"1\r\nx\r\n")
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
        client.send(b"9\r\nxxxxxxxxx\r\n")
        self.turn()
        self.assertEqual((client.aborted, origin.aborted, self.records[0].flag), (True, True, "DPE"))

    def test_with_a_buffer_policy(self) -> None:
        """The smaller bound holds."""
        self.route.buffer_bytes = 100
        client = self.client()
        client.send(CHUNKED)
        client.send(b"4\r\nxxxx\r\n7\r\nxxxxxxx\r\n")
        self.turn()
        self.assertEqual((answer(client.got()).start, self.rig.dials), (413, []))
        self.route.buffer_bytes = 5
        self.assertEqual(answer(self.refusal(length(6))).start, 413)

    def refusal(self, data: bytes) -> bytes:
        """What a new client is told."""
        client = self.client()
        client.send(data)
        self.turn()
        return client.got()
