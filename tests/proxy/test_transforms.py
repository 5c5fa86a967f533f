"""Bodies that a response filter changes on their way: framing, pace, ends, and answers that have no body to change."""

from __future__ import annotations

from tests.proxy.rig import EMPTY, GET, ProxyCase, Wire, answer
from voltgw.values.defaults import BUFFER_HIGH_WATER_BYTES
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Reply

HEAD = b"HEAD / HTTP/1.1\r\nHost: shop\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"


class Mistake(Exception):
    """A bug of a transform."""


class Shout:
    """Upper case, in pairs of bytes: what is left of a pair waits. It ends with an exclamation mark."""

    def __init__(self) -> None:
        self.fed: list[bytes] = []
        self.rest = b""
        self.finished = False

    def feed(self, data: bytes) -> bytes:
        """What may go on."""
        assert data and not self.finished
        self.fed.append(data)
        data = self.rest + data
        whole = len(data) // 2 * 2
        self.rest = data[whole:]
        return data[:whole].upper()

    def finish(self) -> bytes:
        """The rest."""
        assert not self.finished
        self.finished = True
        return self.rest.upper() + b"!"


class TransformCase(ProxyCase):
    def setUp(self) -> None:
        """A filter that changes every body."""
        super().setUp()
        self.made: list[Shout] = []
        self.route.response_filters = (self.shout,)

    def shout(self, exchange: Exchange) -> None:
        """The filter."""
        self.made.append(Shout())
        exchange.transform = self.made[-1]
        assert exchange.response is not None
        exchange.response.fields.append((b"x-shouted", b"1"))


class TransformTests(TransformCase):
    def test_every_framing_reaches_every_client(self) -> None:
        """Length, chunks or close; at once or in pieces; 1.1 clients get chunks, 1.0 clients the body and the end."""
        for head, body, end in ((b"Content-Length: 5\r\n\r\n", b"hello", b""),
                                (b"Transfer-Encoding: chunked\r\n\r\n", b"3;x\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n", b""),
                                (b"\r\n", b"hello", b"fin")):
            for request, size in ((GET, 1000), (GET, 1), (GET, 3), (OLD, 1000), (OLD, 1)):
                client, origin = self.asked(request) if not len(self.endpoint.pool) else (self.client(), self.rig.origins[-1])
                if not origin.written:
                    client.send(request)
                origin.clear()
                data = b"HTTP/1.1 200 OK\r\n" + head + body
                for at in range(0, len(data), size):
                    origin.send(data[at:at + size])
                if end:
                    origin.fin()
                self.turn()
                message = answer(client.got(), closed=client.finished or client.gone)
                self.assertEqual((message.body, message.get(b"content-length"), message.get(b"x-shouted")), (b"HELLO!", None, b"1"))
                self.assertEqual(message.get(b"transfer-encoding"), b"chunked" if request is GET else None)
                self.assertEqual(len(self.endpoint.pool), 0 if end else 1)
                self.assertTrue(self.made[-1].finished)
                self.assertIsNone(self.records[-1].transform)
        for origin in self.rig.origins:
            self.assertFalse(origin.aborted)

    def test_the_next_answer_is_not_changed(self) -> None:
        """On the same connections, in every framing and for every client: nothing of the last one is left."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        client.clear()
        self.route.response_filters = ()
        client.send(GET)
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nso")
        origin.send(b"so")
        self.assertEqual(answer(client.got()).body, b"soso")
        client.send(GET)
        origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nso\r\n")
        origin.send(b"0\r\n\r\n")
        self.assertEqual(answer(client.got()).body, b"so")

    def test_the_next_answer_to_an_old_client(self) -> None:
        """Chunks that a transform needed are not put into an answer for HTTP/1.0."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        self.route.response_filters = ()
        old = self.client()
        old.send(OLD)
        origin.send(b"HTTP/1.1 200 OK\r\n\r\nso")
        origin.fin()
        self.turn()
        self.assertEqual(answer(old.got(), closed=True).body, b"so")

    def test_answers_without_a_body_are_left_alone(self) -> None:
        """HEAD, 204, 304 and an empty body: nothing is fed, and no length is told that a GET would not have."""
        for request, data, lengths in (
            (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", None), (GET, b"HTTP/1.1 204 X\r\n\r\n", None),
            (GET, b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n", None), (GET, EMPTY, b"0"),
        ):
            got = self.exchange(request, data)[1]
            message = answer(got, request[:4].strip())
            self.assertEqual((message.body, message.get(b"content-length"), message.get(b"transfer-encoding")), (b"", lengths, None))
            self.assertEqual((self.made[-1].fed, self.made[-1].finished, self.records[-1].transform), ([], False, None))
            self.assertEqual(len(self.endpoint.pool), 1)

    def test_what_it_gives_is_counted(self) -> None:
        """`bytes_out` are the bytes that the client gets."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        self.assertEqual(self.records[0].bytes_out, len(client.got()))

    def test_a_piece_of_which_nothing_goes_on_yet(self) -> None:
        """No empty chunk, which would be the last one."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
        client.clear()
        origin.send(b"a")
        self.assertEqual(client.got(), b"")
        origin.send(b"b")
        self.assertEqual(client.got(), b"2\r\nAB\r\n")
        origin.send(b"c")
        self.assertEqual(client.got(), b"2\r\nC!\r\n0\r\n\r\n")

    def test_a_client_that_does_not_read_pauses_the_endpoint(self) -> None:
        """At most one buffer waits, of what the transform gave."""
        client, origin = self.asked()
        client.stall()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while origin.reading:
            origin.send(b"x" * 10_000)
        self.assertLess(client.waiting, BUFFER_HIGH_WATER_BYTES + 2 * 10_100)
        client.take()
        self.assertTrue(origin.reading)

    def test_an_answer_that_breaks_off(self) -> None:
        """The client is cut: what was changed so far must not look like a whole body."""
        for end in (Wire.fin, Wire.reset):
            client, origin = self.asked()
            origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabcd")
            end(origin)
            self.turn()
            self.assertEqual((client.aborted, self.made[-1].finished, self.records[-1].transform), (True, False, None))
            self.assertFalse(client.got().endswith(b"0\r\n\r\n"))

    def test_a_bad_chunk(self) -> None:
        """Nothing of it is fed."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n")
        origin.send(b"zz\r\n")
        self.turn()
        self.assertEqual((client.aborted, self.made[-1].fed), (True, [b"abcd"]))

    def test_the_client_leaves(self) -> None:
        """The transform is let go, and its record holds none of it."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabcd")
        client.reset()
        self.assertEqual((origin.aborted, self.records[0].transform, origin.protocol._transform), (True, None, None))

    def test_a_longer_answer_than_announced(self) -> None:
        """What is over is neither fed nor sent; the connection is closed."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n")
        self.turn()
        self.assertEqual((answer(client.got()).body, origin.gone, len(self.endpoint.pool)), (b"AB!", True, 0))

    def test_mistakes(self) -> None:
        """In `feed` or `finish`: the answer has begun, so the client is cut; logged once, nothing left."""
        for name in ("feed", "finish"):
            client, origin = self.asked()
            origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")

            def fail(*data: bytes) -> bytes:
                raise Mistake("no")

            setattr(self.made[-1], name, fail)
            origin.send(b"abcd")
            self.turn()
            self.assertEqual((client.aborted, origin.aborted, len(self.failures(Mistake)), self.records[-1].flag),
                             (True, True, 1, "IE"))

    def test_answers_of_our_own(self) -> None:
        """A direct response is changed as a whole and keeps a length; an error page is not touched."""
        self.route.answer = lambda head, client: Reply(200, [], b"hello")
        client = self.client()
        for request in (GET, HEAD):
            client.send(request)
            message = answer(client.got(), request[:4].strip())
            self.assertEqual((message.body, message.get(b"content-length")), (b"HELLO!" if request is GET else b"", b"6"))
        for status, body in ((204, b""), (404, b"")):
            self.route.answer = lambda head, client, status=status, body=body: Reply(status, [], body)
            client.send(GET)
            self.assertEqual(answer(client.got()).body, b"")
        self.assertIsNone(self.records[-1].transform)


class RetriedTransformTests(TransformCase):
    def test_no_answer(self) -> None:
        """An answer of ours to a failure is not changed, and nothing of a transform is left."""
        client, origin = self.asked()
        origin.fin()
        self.assertEqual((answer(client.got()).start, self.made), (502, []))
