"""Request bodies on their way: framing, back-pressure, expectations, answers that come early, bodies that are none
(promises 3.1)."""

from __future__ import annotations

from tests.proxy.rig import EMPTY, GET, ProxyCase, Wire, answer, answers, requests
from tests.support import interpreted_only
from voltgw.errors import BadRequest
from voltgw.proxy import http1

POST = b"POST / HTTP/1.1\r\nHost: shop\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
EXPECT = POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def length(size: int) -> bytes:
    """A head that announces so many bytes."""
    return POST + b"Content-Length: %d\r\n\r\n" % size


class StreamingTests(ProxyCase):
    def test_a_body_in_pieces(self) -> None:
        """Head and pieces go on as they come; the connection is kept on both sides."""
        client, origin = self.asked(length(10) + b"01")
        self.assertTrue(origin.got().endswith(b"\r\n\r\n01"))
        for piece in (b"2345", b"678", b"9"):
            client.send(piece)
            self.assertEqual(origin.got(), piece)
        origin.send(EMPTY)
        self.assertEqual((answer(client.got()).start, len(self.endpoint.pool), client.gone), (200, 1, False))

    def test_a_chunked_body_in_pieces(self) -> None:
        """Chunks go on as they come; the last one only when it is whole, without extensions and trailers."""
        client, origin = self.asked(CHUNKED + b"3\r\nab")
        self.assertTrue(origin.got().endswith(b"\r\n\r\n3\r\nab"))
        client.send(b"c\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n")
        self.assertEqual(origin.got(), b"c\r\n2\r\nde\r\n")
        client.send(b"\r\n")
        self.assertEqual(origin.got(), b"0\r\n\r\n")
        origin.send(EMPTY)
        self.assertEqual((answer(client.got()).start, len(self.endpoint.pool)), (200, 1))

    def test_a_body_that_comes_while_the_endpoint_is_dialled(self) -> None:
        """It waits, and follows the head in order; what is behind it is the next request."""
        for head, body in ((length(6), b"012345"), (CHUNKED, b"6\r\n012345\r\n0\r\n\r\n")):
            client = self.client()
            client.send(head + body[:2])
            client.send(body[2:4])
            client.send(body[4:] + GET)
            origin = self.accept()
            message, = requests(origin.got())
            self.assertEqual((message.body, message.whole), (b"012345", True))
            origin.send(EMPTY)
            self.turn()
            self.assertEqual(requests(origin.got())[0].start, b"GET")
            origin.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.turn()
            self.assertEqual(len(answers(client.got(), [b"POST", b"GET"])), 2)

    def test_a_body_on_a_pooled_connection(self) -> None:
        """It streams from the first byte."""
        idle, = self.warm()
        client = self.client()
        client.send(length(4) + b"0")
        client.send(b"123" + GET)
        self.assertEqual(requests(idle.got())[0].body, b"0123")
        idle.send(EMPTY)
        self.turn()
        self.assertEqual(requests(idle.got())[0].start, b"GET")

    def test_an_endpoint_that_does_not_read_pauses_the_client(self) -> None:
        """At most one buffer waits for it; when it reads, all arrives in order (promise 19)."""
        client, origin = self.asked(length(1_000_000))
        head = origin.got()
        origin.stall()
        for number in range(100):
            client.send(bytes([number]) * 10_000)
        self.assertFalse(client.reading)
        self.assertLess(origin.waiting, 64 * 1024 + 20_000)
        self.assertGreater(client.unread, 900_000)
        origin.take()
        self.turn()
        self.assertEqual(requests(head + origin.got())[0].body,
                         b"".join(bytes([number]) * 10_000 for number in range(100)))
        self.assertTrue(client.reading)
        origin.send(EMPTY)
        self.assertEqual(len(self.endpoint.pool), 1)

    def test_a_client_is_bounded_while_the_endpoint_is_dialled(self) -> None:
        """Not more than one buffer of its body waits for the endpoint to accept."""
        client = self.client()
        client.send(length(1_000_000))
        for _ in range(50):
            client.send(b"x" * 10_000)
        self.assertFalse(client.reading)
        self.assertGreater(client.unread, 400_000)
        origin = self.accept()
        self.turn()
        self.assertTrue(client.reading)
        client.send(b"x" * 500_000)
        self.assertEqual(len(requests(origin.got())[0].body), 1_000_000)

    def test_a_bad_chunk_ends_both_sides(self) -> None:
        """400, the endpoint's connection is cut before it could take the body for whole, and nothing behind is a
        request."""
        for tail in (b"3\r\nabcX\r\n0\r\n\r\n", b"x\r\n", b"3\nabc\r\n0\r\n\r\n", b"0\r\nGET / HTTP/1.1\r\n\r\n"):
            client, origin = self.asked(CHUNKED + b"3\r\nabc\r\n")
            client.send(tail + GET)
            self.turn()
            self.assertEqual((answer(client.got()).start, origin.aborted, client.finished), (400, True, True), tail)
            self.assertNotIn(b"0\r\n\r\n", origin.got())
            client.send(GET)
            self.assertEqual((client.written, self.rig.dials), (b"", []))
        self.assertEqual(self.counters.bad_requests, 4)
        self.assertEqual({record.flag for record in self.records}, {"DPE"})

    def test_a_bad_chunk_in_the_first_piece_reaches_nobody(self) -> None:
        """No endpoint is even dialled."""
        client = self.client()
        client.send(CHUNKED + b"z\r\n")
        self.assertEqual((answer(client.got()).start, self.rig.dials, len(self.records)), (400, [], 1))

    def test_a_bad_chunk_while_the_answer_comes(self) -> None:
        """Nothing can be said any more: both connections are cut."""
        client, origin = self.asked(CHUNKED)
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
        client.send(b"z\r\n")
        self.turn()
        self.assertEqual((client.aborted, origin.aborted, self.records[0].flag), (True, True, "DPE"))


class ExpectTests(ProxyCase):
    def test_the_expectation_is_the_endpoint_s_to_meet(self) -> None:
        """RFC 9110 10.1.1: it is forwarded, the 100 comes back, then the body flows."""
        client, origin = self.asked(EXPECT)
        message, = requests(origin.written)
        self.assertEqual((message.get(b"expect"), message.whole), (b"100-continue", False))
        self.assertEqual(client.written, b"")
        origin.send(CONTINUE)
        self.assertEqual(client.got(), CONTINUE)
        client.send(b"hello")
        origin.send(EMPTY)
        self.assertEqual((answer(client.got()).start, len(self.endpoint.pool), client.gone), (200, 1, False))

    def test_a_client_that_does_not_wait(self) -> None:
        """The body may come before the 100; a late 100 is passed on all the same, and does no harm."""
        client, origin = self.asked(EXPECT + b"hello")
        origin.send(CONTINUE + EMPTY)
        self.assertEqual([message.start for message in answers(client.got(), [b"POST"])], [100, 200])
        self.assertEqual(len(self.endpoint.pool), 1)

    def test_a_final_answer_instead(self) -> None:
        """The body never comes: the answer goes on with close, the endpoint's connection is not used again."""
        client, origin = self.asked(EXPECT)
        origin.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
        self.turn()
        message = answer(client.got())
        self.assertEqual((message.start, message.body, message.get(b"connection")), (417, b"no", b"close"))
        self.assertEqual((origin.gone, len(self.endpoint.pool), client.finished), (True, 0, True))
        client.send(b"hello" + GET)         # too late: it is neither a body nor a request
        self.assertEqual((self.rig.dials, len(self.records)), ([], 1))

    def test_a_refusal_of_our_own(self) -> None:
        """No route: no 100, a final answer at once."""
        self.host.only = None
        client = self.client()
        client.send(EXPECT)
        self.assertEqual([message.start for message in answers(client.got(), [b"POST"])], [404])

    def test_an_expectation_without_a_body_is_dropped(self) -> None:
        """There is nothing to wait for."""
        _, origin = self.asked(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
        self.assertIs(requests(origin.got())[0].get(b"expect"), None)

    def test_another_expectation_is_417(self) -> None:
        """RFC 9110 10.1.1; the body behind it is not taken for a request."""
        client = self.client()
        client.send(POST + b"Content-Length: 40\r\nExpect: 100-continue, x\r\n\r\n" + GET)
        self.assertEqual((answer(client.got()).start, self.rig.dials), (417, []))
        client.send(GET)
        self.assertEqual((client.written, self.rig.dials), (b"", []))

    def test_a_client_of_1_0_waits_for_nothing(self) -> None:
        """RFC 9110 10.1.1: its expectation is ignored."""
        client, origin = self.asked(b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi")
        self.assertIs(requests(origin.got())[0].get(b"expect"), None)


class EarlyAnswerTests(ProxyCase):
    """The endpoint answers before it has got the whole request (RFC 9112 9.5, 9.6)."""

    def uploading(self) -> tuple[Wire, Wire]:
        """A client in the middle of an upload."""
        client, origin = self.asked(length(1000) + b"x" * 10)
        origin.clear()
        return client, origin

    def test_a_short_answer(self) -> None:
        """It is passed on with close; the endpoint's connection is cut, the client's drained and closed."""
        client, origin = self.uploading()
        origin.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        self.turn()
        message = answer(client.got())
        self.assertEqual((message.start, message.get(b"connection")), (413, b"close"))
        self.assertEqual((origin.gone, len(self.endpoint.pool)), (True, 0))
        self.assertEqual((client.finished, client.gone, client.reading), (True, False, True))
        client.send(b"x" * 990 + GET)
        self.turn()
        self.assertEqual((self.rig.dials, client.written, len(self.records)), ([], b"", 1))

    def test_a_long_answer_while_the_body_flows(self) -> None:
        """Both directions go on at once; if the request ends first, the endpoint's connection may be used again."""
        client, origin = self.uploading()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
        client.send(b"x" * 990)
        self.assertEqual(len(origin.got()), 990)
        origin.send(b"56789")
        self.turn()
        message = answer(client.got())
        self.assertEqual((message.body, message.get(b"connection"), client.finished), (b"0123456789", b"close", True))
        self.assertEqual((origin.gone, len(self.endpoint.pool)), (False, 1))

    def test_an_answer_that_ends_before_the_request(self) -> None:
        """Never reused: the endpoint still expects the rest (promise 5)."""
        client, origin = self.uploading()
        origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"x" * 100)
        origin.send(b"2\r\nok\r\n0\r\n\r\n")
        self.turn()
        self.assertEqual((answer(client.got()).body, origin.gone, len(self.endpoint.pool)), (b"ok", True, 0))

    def test_the_endpoint_answers_and_closes(self) -> None:
        """The answer arrives although the connection is gone."""
        client, origin = self.uploading()
        origin.send(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n")
        origin.send(b"no")
        origin.fin()
        self.turn()
        self.assertEqual((answer(client.got()).body, client.finished), (b"no", True))

    def test_the_endpoint_stops_reading_after_its_answer(self) -> None:
        """Closing does not wait for ever for a peer that takes nothing: the connection is cut after a while."""
        client, origin = self.uploading()
        origin.stall()
        client.send(b"x" * 500)
        origin.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        self.turn()
        self.assertEqual((answer(client.got()).start, origin.gone), (413, False))
        self.advance(10)
        self.assertTrue(origin.aborted)

    def test_a_paused_client_is_read_again_for_draining(self) -> None:
        """Back-pressure from the endpoint ends with the endpoint."""
        client, origin = self.uploading()
        client.send(b"x" * 10)
        origin.stall()
        big, other = self.asked(length(10_000_000))
        other.stall()
        big.send(b"x" * 200_000)
        self.assertFalse(big.reading)
        other.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        self.turn()
        self.assertEqual((answer(big.got()).start, big.reading), (413, True))


class SmugglingTests(ProxyCase):
    """A request within a request is never answered and never forwarded as one."""

    SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: shop\r\n\r\n"

    def test_refused_framing_closes_the_connection(self) -> None:
        """After 400 nothing that follows on this connection is looked at."""
        heads = {
            "CL.TE": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "TE.CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
            "TE.TE": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
            "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n",
            "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n",
            "signed length": POST + b"Content-Length: +40\r\n\r\n",
            "TE in 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "space before colon": POST + b"Content-Length : 0\r\n\r\n",
            "folded": POST + b"X: y\r\n Content-Length: 0\r\n\r\n",
            "bare CR": POST + b"X: y\rContent-Length: 0\r\n\r\n",
            "bare LF": POST + b"X: y\nContent-Length: 0\r\n\r\n",
            "NUL": POST + b"X: \0\r\n\r\n",
        }
        for name, head in heads.items():
            client = self.client()
            client.send(head + self.SMUGGLED)
            client.send(self.SMUGGLED)
            self.turn()
            message = answer(client.got())
            self.assertEqual((message.start, message.get(b"connection")), (400, b"close"), name)
            self.assertEqual((client.finished, self.rig.dials), (True, []), name)
            client.fin()
            self.assertTrue(client.gone)
        self.assertEqual((self.counters.bad_requests, len(self.records)), (len(heads), len(heads)))

    def test_a_body_stays_a_body(self) -> None:
        """GET or POST, with a length or chunked: what looks like a request inside is data (CL.0, 0.CL)."""
        for method in (b"GET", b"POST", b"OPTIONS"):
            for framing, body in ((b"Content-Length: %d" % len(self.SMUGGLED), self.SMUGGLED),
                                  (b"Transfer-Encoding: chunked",
                                   b"%x\r\n%b\r\n0\r\n\r\n" % (len(self.SMUGGLED), self.SMUGGLED))):
                got, _ = self.exchange(method + b" / HTTP/1.1\r\nHost: shop\r\n" + framing + b"\r\n\r\n" + body, EMPTY)
                message, = requests(got)
                self.assertEqual((message.start, message.body), (method, self.SMUGGLED))

    def test_connect_is_refused_in_every_form(self) -> None:
        """No tunnel, nothing forwarded (promise 16)."""
        for target in (b"shop:443", b"/", b"http://shop/", b"*"):
            client = self.client()
            client.send(b"CONNECT " + target + b" HTTP/1.1\r\nHost: shop\r\n\r\n" + self.SMUGGLED)
            self.assertEqual((answer(client.got()).start, self.rig.dials), (405, []))

    def test_what_is_not_http_is_told_at_once(self) -> None:
        """TLS, a PROXY header that nobody configured, HTTP/2: refused without waiting for a deadline."""
        for data, status in ((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
                             (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n" + GET, 400),
                             (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505), (b"GET / HTTP/1.1\nHost: a\n\n", 400)):
            client = self.client()
            client.send(data)
            self.assertEqual((answer(client.got()).start, client.finished), (status, True), data)

    @interpreted_only
    def test_a_head_that_drips_in_is_looked_at_once(self) -> None:
        """Each byte of it, not all of it for each byte: else a head in single bytes costs the square of its length."""
        looked: list[int] = []

        def bad_start(data: bytes, seen: int = 0) -> BadRequest | None:
            looked.append(len(data) - seen)
            return None

        self.patch(http1, "bad_start", bad_start)
        client = self.client()
        for request in (GET, GET):
            for at in range(len(request)):
                client.send(request[at:at + 1])
            (self.accept() if self.rig.dials else self.rig.origins[0]).send(EMPTY)
        self.assertEqual(set(looked), {1})

    def test_heads_beyond_the_bounds(self) -> None:
        """431: a line of 100 kB, 5,000 lines, at once or in pieces; nothing is kept (promises 3.5)."""
        long_line = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"
        many_lines = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5000 + b"\r\n"
        some_lines = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n"
        for data in (long_line, many_lines, some_lines):
            for step in (1000, len(data)):
                client = self.client()
                for at in range(0, len(data), step):
                    if not client.finished:
                        client.send(data[at:at + step])
                self.assertEqual(answer(client.got()).start, 431)
                protocol = client.protocol
                self.assertEqual((protocol._held, client.finished), (b"", True))
