"""Endpoints that attack: their answers are as untrusted as requests; what the client has received of them (promises 3.1)."""

from __future__ import annotations

from tests.proxy.rig import EMPTY, GET, ProxyCase, Wire, answer, answers
from tests.wire.test_chunks import BAD
from tests.wire.test_http1_response import FRAMING, STATUS_LINES
from voltgw.values.defaults import MAX_INTERIM_RESPONSES, MAX_RESPONSE_HEAD_BYTES, RESPONSE_HEAD_TIMEOUT_S

#: What must never be taken for an answer.
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


class OriginCase(ProxyCase):
    def answered(self, data: bytes, request: bytes = GET, step: int = 0) -> tuple[Wire, Wire]:
        """A client that has asked, and the endpoint that has said `data`, at once or in pieces."""
        client, origin = self.asked(request)
        for at in range(0, len(data), step or len(data)):
            if not origin.gone:
                origin.send(data[at:at + (step or len(data))])
        self.turn()
        return client, origin

    def never_again(self, origin: Wire) -> None:
        """The endpoint's connection does not serve anybody else."""
        self.assertTrue(origin.gone)
        self.assertEqual(len(self.endpoint.pool), 0)


class HeadTests(OriginCase):
    def test_every_length_of_the_table(self) -> None:
        """Two lengths, a length beside chunked, and whatever is not plain: 502, and nothing behind it is an answer."""
        for lines, bad in FRAMING.items():
            if not bad:
                continue
            for step in (0, 7):
                client, origin = self.answered(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b"hello" + EVIL]), step=step)
                told = client.got()
                self.assertEqual(answer(told).start, 502, lines)
                self.assertNotIn(b"evil", told)
                self.never_again(origin)

    def test_every_status_line_of_the_table(self) -> None:
        """502 for what is none; nothing of it is shown to the client."""
        for line, bad in STATUS_LINES.items():
            if not bad:
                continue
            client, origin = self.answered(line + b"\r\nContent-Length: 0\r\nX-Evil: evil\r\n\r\n" + EVIL)
            told = client.got()
            self.assertEqual(answer(told).start, 502, line)
            self.assertNotIn(b"evil", told)
            self.never_again(origin)

    def test_head_bombs(self) -> None:
        """A line of 100 kB, 5,000 lines, a head that never ends: 502, and what was held of it is bounded and let go."""
        start = b"HTTP/1.1 200 OK\r\n"
        for bomb in (start + b"X: " + b"y" * MAX_RESPONSE_HEAD_BYTES + b"\r\n\r\n", start + b"X: y\r\n" * 5000 + b"\r\n",
                     b"HTTP/1.1 200 " + b"y" * 2 * MAX_RESPONSE_HEAD_BYTES, start + b"".join(b"X%d: y\r\n" % n for n in range(20_000))):
            client, origin = self.asked()
            most = 0
            for at in range(0, len(bomb), 1000):
                if not origin.gone:
                    origin.send(bomb[at:at + 1000])
                    most = max(most, len(origin.protocol._held))
            self.turn()
            self.assertEqual(answer(client.got()).start, 502)
            self.assertLessEqual(most, MAX_RESPONSE_HEAD_BYTES)
            self.never_again(origin)

    def test_a_head_without_end_in_time(self) -> None:
        """A byte every second does not move the deadline: 504, cut."""
        client, origin = self.asked()
        head = b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100
        for at in range(int(RESPONSE_HEAD_TIMEOUT_S) + 1):
            if not origin.gone:
                origin.send(head[at:at + 1])
            self.advance(1.0)
        self.assertEqual(answer(client.got()).start, 504)
        self.never_again(origin)


class InterimTests(OriginCase):
    def test_ten_thousand_early_hints(self) -> None:
        """So many are passed on as the bound says, then 502; at once, one by one, or cut anywhere."""
        hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        for step in (0, len(hint), 17):
            client, origin = self.answered(hint * 10_000, step=step)
            found = answers(client.got())
            self.assertEqual([each.start for each in found], [103] * MAX_INTERIM_RESPONSES + [502])
            self.never_again(origin)

    def test_hints_to_a_client_of_1_0(self) -> None:
        """It would take one for its answer: it gets none, and the storm ends all the same."""
        client, origin = self.answered(b"HTTP/1.1 103 X\r\n\r\n" * 100, b"GET / HTTP/1.0\r\nHost: shop\r\n\r\n")
        self.assertEqual([each.start for each in answers(client.got(), closed=True)], [502])
        self.never_again(origin)


class SplittingTests(OriginCase):
    def test_a_second_answer_behind_the_first(self) -> None:
        """Whatever ends the first one, the second is nobody's answer: its connection is closed, the next client asks anew."""
        firsts = [EMPTY, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n",
                  b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
        for first in firsts:
            for apart in (False, True):
                client, origin = self.asked()
                origin.send(first if apart else first + EVIL)
                self.turn()
                if apart and not origin.gone:
                    origin.send(EVIL)
                    self.turn()
                self.assertNotIn(b"evil", client.got())
                self.never_again(origin)
                other, fresh = self.asked(client=client)
                fresh.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ngood")
                self.turn()
                self.assertEqual(answer(other.got()).body, b"good")

    def test_an_answer_to_head_with_a_body(self) -> None:
        """None of it is sent on, and the connection is not used again."""
        client, origin = self.answered(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(EVIL), EVIL),
                                       b"HEAD / HTTP/1.1\r\nHost: shop\r\n\r\n")
        told = client.got()
        self.assertEqual((answer(told, b"HEAD").start, b"evil" in told), (200, False))
        self.never_again(origin)

    def test_line_ends_in_fields(self) -> None:
        """Bare CR, bare LF, NUL and folding are ways to make one field two: 502, nothing of it is passed on."""
        for end in (b"\r", b"\n", b"\0", b"\r\n ", b"\r\n\t", b"\r\r\n", b"\n\r\n"):
            for place in (b"X: a%bSet-Cookie: evil=1\r\n", b"Set-Cookie: a=1%bX: evil\r\n", b"X%bevil: a\r\n"):
                client, origin = self.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + place.replace(b"%b", end) + b"\r\n")
                told = client.got()
                self.assertEqual((answer(told).start, b"evil" in told), (502, False), (end, place))
                self.never_again(origin)

    def test_connection_names_what_the_client_needs(self) -> None:
        """The framing stays; fields of one hop and those that Connection names do not pass."""
        client, origin = self.answered(b"HTTP/1.1 200 OK\r\nConnection: Content-Length, X-Hop, keep-alive\r\nX-Hop: 1\r\n"
                                       b"Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok")
        message = answer(client.got())
        self.assertEqual((message.body, [name for name in message.names() if name not in (b"date", b"server")]),
                         (b"ok", [b"content-length"]))
        self.assertFalse(origin.gone)

    def test_cookies_and_the_server_pass_unchanged(self) -> None:
        """Set-Cookie is one field each and X-Powered-By stays; what names us has no version."""
        client, _ = self.answered(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1, b\r\nSet-Cookie: c=2; Path=/\r\nX-Powered-By: x/1\r\n"
                                  b"Server: nginx/1.2\r\nContent-Length: 0\r\n\r\n")
        fields = answer(client.got()).fields
        self.assertEqual([field for field in fields if field[0] in (b"set-cookie", b"x-powered-by", b"server")],
                         [(b"set-cookie", b"a=1, b"), (b"set-cookie", b"c=2; Path=/"), (b"x-powered-by", b"x/1"), (b"server", b"voltgw")])


class BodyTests(OriginCase):
    def test_every_bad_chunked_body(self) -> None:
        """The client never gets what it could take for the whole: it is cut, and so is the endpoint."""
        for name, body in BAD.items():
            for step in (0, 1):
                client, origin = self.asked()
                origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                for at in range(0, len(body), step or len(body)):
                    if not origin.gone:
                        origin.send(body[at:at + (step or len(body))])
                if not origin.gone:
                    origin.send(b"\r\n0\r\n\r\n" + EVIL)
                self.turn()
                self.assertEqual((client.aborted, self.records[-1].flag), (True, "UPE"), name)
                message, = answers(client.got())
                self.assertEqual((message.whole, message.body[:3], b"evil" in message.body), (False, b"abc", False), name)
                self.never_again(origin)

    def test_a_body_shorter_than_announced(self) -> None:
        """The endpoint ends in the middle: the client is cut, and cannot take the part for the whole."""
        for framing in (b"Content-Length: 10", b"Transfer-Encoding: chunked"):
            client, origin = self.asked()
            origin.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n3\r\nabc")
            origin.fin()
            self.turn()
            message, = answers(client.got())
            self.assertEqual((message.whole, client.aborted, self.records[-1].flag), (False, True, "UC"), framing)

    def test_trailers_are_not_merged(self) -> None:
        """Trailers never become fields of the head, whatever they are called."""
        client, _ = self.answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n2\r\nok\r\n"
                                  b"0\r\nSet-Cookie: evil=1\r\nContent-Length: 77777\r\n\r\n")
        told = client.got()
        self.assertEqual((answer(told).body, b"evil" in told, b"77777" in told), (b"ok", False, False))
