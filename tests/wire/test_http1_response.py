"""Response heads: what an origin may say, what it may not, and where its body ends (RFC 9112 6.3)."""

from __future__ import annotations

import h11
from twisted.trial.unittest import SynchronousTestCase

from tests.wire.heads import ENDS, GET, answer, forget_lines, h11_events, refused, response
from voltgw.values.defaults import MAX_RESPONSE_FIELDS
from voltgw.values.head import CHUNKED, UNTIL_CLOSE, ResponseHead
from voltgw.wire import http1
from voltgw.wire.http1 import ResponseParser, http_date

#: Field lines -> whether the head is refused.
FRAMING = {
    (b"Content-Length: 5",): False,
    (b"Content-Length: 0",): False,
    (b"Transfer-Encoding: chunked",): False,
    (b"Transfer-Encoding: Chunked",): False,
    (): False,
    (b"Content-Length: 5", b"Content-Length: 5"): True,
    (b"Content-Length: 5", b"Content-Length: 6"): True,
    (b"Content-Length: 5, 5",): True,
    (b"Content-Length: +5",): True,
    (b"Content-Length: -5",): True,
    (b"Content-Length: 0x5",): True,
    (b"Content-Length:",): True,
    (b"Content-Length: 18446744073709551621",): True,
    (b"Content-Length: 5", b"Transfer-Encoding: chunked"): True,
    (b"Transfer-Encoding: chunked", b"Content-Length: 5"): True,
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"): True,
    (b"Transfer-Encoding: gzip, chunked",): True,
    (b"Transfer-Encoding: chunked, identity",): True,
    (b"Transfer-Encoding: identity",): True,
    (b"Transfer-Encoding: \x0bchunked",): True,
    (b"Transfer-Encoding : chunked",): True,
    (b"X: y", b" z"): True,
    (b"X : y",): True,
    (b"X: \0",): True,
    (b"X: a\rb",): True,
    (b"X: a\nb",): True,
    (b": y",): True,
    (b"y",): True,
    (b"X\xe9: y",): True,
}

STATUS_LINES = {
    b"HTTP/1.1 200 OK": False, b"HTTP/1.0 200 OK": False, b"HTTP/1.1 200 ": False, b"HTTP/1.1 200": False,
    b"HTTP/1.1 404 Nicht gefunden \xfc\t!": False, b"HTTP/1.1 599 X": False,
    b"HTTP/1.1 600 X": True, b"HTTP/1.1 099 X": True, b"HTTP/1.1 20 X": True, b"HTTP/1.1 2000 X": True,
    b"HTTP/1.1  200 OK": True,
    b"HTTP/2.0 200 OK": True, b"HTTP/1.2 200 OK": True, b"http/1.1 200 OK": True, b"ICY 200 OK": True,
    b"HTTP/1.1 2xx OK": True,
    b"HTTP/1.1 200 O\0K": True, b"HTTP/1.1 200 O\rK": True, b"HTTP/1.1 200 O\nK": True, b" HTTP/1.1 200 OK": True,
    b"": True,
    b"HTTP/1.1 +20 OK": True, b"HTTP/1.1 200OK": True, b"\xff": True,
}


class FramingTests(SynchronousTestCase):
    def test_every_way_to_say_the_length_is_taken_or_refused_as_the_table_says(self) -> None:
        """Two lengths, a length beside chunked, or anything that is not plainly one of them: 502, never forwarded."""
        self.assertEqual({lines: refused(answer(*lines)) for lines in FRAMING}, FRAMING)

    def test_every_status_line_is_taken_or_refused_as_the_table_says(self) -> None:
        """Three digits from 100 to 599, HTTP/1.1 or 1.0, a reason without controls."""
        self.assertEqual({line: refused(answer(start=line)) for line in STATUS_LINES}, STATUS_LINES)

    def test_where_the_body_ends(self) -> None:
        """RFC 9112 6.3, in its order."""
        length, chunked = b"Content-Length: 5", b"Transfer-Encoding: chunked"
        table = {
            (GET, b"200", length): 5, (GET, b"200", chunked): CHUNKED, (GET, b"200", b"X: y"): UNTIL_CLOSE,
            (b"HEAD", b"200", length): 0, (b"HEAD", b"200", chunked): 0, (b"HEAD", b"200", b"X: y"): 0,
            (GET, b"204", length): 0, (GET, b"204", chunked): 0, (GET, b"204", b"X: y"): 0,
            (GET, b"304", length): 0, (GET, b"304", b"X: y"): 0, (GET, b"100", b"X: y"): 0, (GET, b"103", length): 0,
            (b"POST", b"500", length): 5, (b"POST", b"205", b"X: y"): UNTIL_CLOSE,
        }
        found = {
            (method, status, line): response(answer(line, start=b"HTTP/1.1 %b X" % status), method).length
            for method, status, line in table
        }
        self.assertEqual(found, table)

    def test_chunked_from_an_origin_of_1_0_is_refused(self) -> None:
        """RFC 9112 6.1: HTTP/1.0 has no transfer coding; the framing is faulty."""
        self.assertTrue(refused(answer(b"Transfer-Encoding: chunked", start=b"HTTP/1.0 200 OK")))

    def test_the_declared_length_survives_where_no_body_does(self) -> None:
        """A HEAD or 304 tells the length that a GET would have (RFC 9110 8.6)."""
        self.assertEqual(response(answer(b"Content-Length: 5"), b"HEAD").declared, 5)
        self.assertEqual(response(answer(b"Content-Length: 5", start=b"HTTP/1.1 304 X")).declared, 5)
        self.assertEqual(response(answer()).declared, -1)

    def test_a_204_that_announces_a_body_ends_its_connection(self) -> None:
        """RFC 9110 8.6 forbids it; whatever follows could be read as the answer to the next request."""
        self.assertFalse(response(answer(b"Content-Length: 5", start=b"HTTP/1.1 204 X")).keep_alive)
        self.assertFalse(response(answer(b"Transfer-Encoding: chunked", start=b"HTTP/1.1 204 X")).keep_alive)
        self.assertTrue(response(answer(b"Content-Length: 0", start=b"HTTP/1.1 204 X")).keep_alive)
        self.assertTrue(response(answer(start=b"HTTP/1.1 204 X")).keep_alive)
        self.assertTrue(response(answer(b"Content-Length: 5"), b"HEAD").keep_alive)

    def test_as_many_fields_as_allowed_pass_and_one_more_does_not(self) -> None:
        """The bound counts field lines."""
        lines = [b"X-%d: y" % number for number in range(MAX_RESPONSE_FIELDS)]
        self.assertFalse(refused(answer(*lines)))
        self.assertTrue(refused(answer(*lines, b"X: y")))


class FieldTests(SynchronousTestCase):
    def test_end_to_end_fields_come_out_in_order(self) -> None:
        """Set-Cookie stays one line per cookie; names are lower case."""
        head = response(answer(b"Set-Cookie: a=1", b"X-Powered-By: y", b"Set-Cookie: b=2; Path=/",
                               b"Content-Length: 0"))
        self.assertEqual(head.fields, [(b"set-cookie", b"a=1"), (b"x-powered-by", b"y"),
                                       (b"set-cookie", b"b=2; Path=/")])

    def test_fields_of_one_hop_are_set_aside(self) -> None:
        """RFC 9110 7.6.1, with what Connection names."""
        head = response(answer(b"Connection: X-A, keep-alive", b"X-A: 1", b"Keep-Alive: timeout=5", b"Trailer: x",
                               b"Upgrade: h2",
                               b"Proxy-Connection: x", b"Proxy-Authenticate: Basic", b"X-B: 2"))
        self.assertEqual(head.fields, [(b"x-b", b"2")])

    def test_connection_cannot_take_away_the_framing(self) -> None:
        """``Connection: content-length`` leaves the length."""
        self.assertEqual(response(answer(b"Connection: Content-Length", b"Content-Length: 5")).length, 5)

    def test_server_and_date_are_marked(self) -> None:
        """Server is set aside for the virtual host to judge; Date stays and is known to be there."""
        head = response(answer(b"Server: nginx", b"Date: Tue, 15 Nov 1994 08:12:31 GMT"))
        self.assertEqual((head.server, head.dated, [name for name, _ in head.fields]), (b"nginx", True, [b"date"]))
        head = response(answer())
        self.assertEqual((head.server, head.dated), (None, False))

    def test_who_keeps_the_connection(self) -> None:
        """RFC 9112 9.3, as for requests."""
        table = {(b"1", b""): True, (b"1", b"close"): False, (b"1", b"x, Close"): False, (b"0", b""): False,
                 (b"0", b"Keep-Alive"): True, (b"0", b"close, keep-alive"): False}
        found = {}
        for minor, value in table:
            lines = [b"Connection: " + value] if value else []
            found[minor, value] = response(answer(*lines, start=b"HTTP/1.%b 200 OK" % minor)).keep_alive
        self.assertEqual(found, table)

    def test_the_reason_is_kept(self) -> None:
        """It is passed on as it is, empty if it is."""
        self.assertEqual([response(answer(start=line)).reason for line in (b"HTTP/1.1 200 Fine, thanks",
                                                                           b"HTTP/1.1 200 ", b"HTTP/1.1 200")],
                         [b"Fine, thanks", b"", b""])


class MemoTests(SynchronousTestCase):
    def setUp(self) -> None:
        forget_lines()

    def test_secrets_are_never_remembered(self) -> None:
        """No cookie or token that an origin sets stays in the process."""
        response(answer(b"Set-Cookie: hunter2", b"X-Auth-Token: hunter2", b"Set-Cookie2: hunter2",
                        b"X-Subject-Token: hunter2",
                        b"Authentication-Info: hunter2"))
        self.assertEqual([line for line in http1._response_lines if b"hunter2" in line], [])

    def test_the_tables_are_bounded(self) -> None:
        """However many different lines origins send."""
        for number in range(http1.MEMO_LINES + 10):
            response(answer(b"X: %d" % number, start=b"HTTP/1.1 200 %d" % number))
        self.assertLessEqual(len(http1._response_lines), http1.MEMO_LINES)
        self.assertLessEqual(len(http1._status_lines), 256)

    def test_requests_and_responses_do_not_share_a_table(self) -> None:
        """A line means another thing to a request: Server, Date, Host, Expect."""
        self.assertIsNot(http1._request_lines, http1._response_lines)
        self.assertEqual(response(answer(b"Host: x", b"Expect: y")).fields, [(b"host", b"x"), (b"expect", b"y")])


class RepeatedHeadTests(SynchronousTestCase):
    """A connection's parser compares a head with its last one instead of reading it again."""

    def setUp(self) -> None:
        self.parser = ResponseParser()

    def parse(self, data: bytes, method: bytes = GET) -> ResponseHead:
        """The head of `data`, as this connection's next one."""
        return self.parser.parse(data, data.index(ENDS), method)

    def test_the_same_lines_mean_the_same_again(self) -> None:
        """Whatever the status line says, all else is equal."""
        lines = [b"Date: Tue, 15 Nov 1994 08:12:31 GMT", b"Server: s", b"Content-Length: 5", b"X: y"]
        first = self.parse(answer(*lines))
        again = self.parse(answer(*lines, start=b"HTTP/1.1 404 No"))
        self.assertEqual((again.status, again.reason), (404, b"No"))
        for name in ("fields", "server", "dated", "declared", "length", "keep_alive", "minor", "upgrade"):
            self.assertEqual(getattr(again, name), getattr(first, name), name)

    def test_the_end_of_the_body_follows_method_and_status(self) -> None:
        """The same lines in an answer to HEAD, in a 204 or a 304 announce no body, and in a 204 end the connection."""
        lines = [b"Date: x", b"Content-Length: 5"]
        heads = [self.parse(answer(*lines)), self.parse(answer(*lines), b"HEAD"), self.parse(answer(*lines)),
                 self.parse(answer(*lines, start=b"HTTP/1.1 304 X")),
                 self.parse(answer(*lines, start=b"HTTP/1.1 204 X")),
                 self.parse(answer(*lines))]
        self.assertEqual([head.length for head in heads], [5, 0, 5, 0, 0, 5])
        self.assertEqual([head.keep_alive for head in heads], [True, True, True, True, False, True])

    def test_the_version_counts(self) -> None:
        """The same lines from an origin of HTTP/1.0 do not keep the connection."""
        lines = [b"Date: x", b"Content-Length: 5"]
        self.assertTrue(self.parse(answer(*lines)).keep_alive)
        self.assertFalse(self.parse(answer(*lines, start=b"HTTP/1.0 200 OK")).keep_alive)
        self.assertTrue(self.parse(answer(*lines)).keep_alive)

    def test_a_filter_that_edits_one_head_does_not_edit_the_next(self) -> None:
        """Each head has a list of fields of its own."""
        for _ in range(3):
            head = self.parse(answer(b"Date: x", b"X: y"))
            self.assertEqual(head.fields, [(b"date", b"x"), (b"x", b"y")])
            head.fields.clear()

    def test_a_head_that_is_there_in_part_is_none(self) -> None:
        """Only a whole one is found without a look for its end."""
        data = answer(b"Date: x", b"X: y")
        self.assertIs(self.parser.repeated(data, GET), None)
        self.parse(data)
        for end in range(len(data)):
            self.assertIs(self.parser.repeated(data[:end], GET), None)
        found = self.parser.repeated(data + b"body", GET)
        assert found is not None
        self.assertEqual((found.fields, self.parser.end), ([(b"date", b"x"), (b"x", b"y")], data.index(ENDS)))

    def test_a_large_head_is_not_kept(self) -> None:
        """What an idle connection remembers is bounded."""
        self.parse(answer(b"Date: x", b"X: " + b"y" * http1.MEMO_BLOCK_BYTES))
        self.assertEqual(self.parser._text, b"")


class SecondOpinionTests(SynchronousTestCase):
    def test_h11_refuses_no_head_that_we_accept(self) -> None:
        """Whatever we would pass on, a strict client reads, with the same status and fields."""
        datas = [answer(*lines) for lines, bad in FRAMING.items() if not bad]
        datas += [answer(start=line) for line, bad in STATUS_LINES.items() if not bad]
        for data in datas:
            ours = response(data)
            theirs = h11_events(data, h11.CLIENT)[0]
            assert isinstance(theirs, h11.Response)
            self.assertEqual((ours.status, ours.reason), (theirs.status_code, theirs.reason))
            for field in ours.fields:
                self.assertIn(field, list(theirs.headers))


class DateTests(SynchronousTestCase):
    def test_dates_are_in_the_one_form(self) -> None:
        """IMF-fixdate (RFC 9110 5.6.7), the same text within a second."""
        self.assertEqual(http_date(784111777.9), b"Sun, 06 Nov 1994 08:49:37 GMT")
        self.assertEqual(http_date(784111777.1), b"Sun, 06 Nov 1994 08:49:37 GMT")
        self.assertEqual(http_date(784111778.0), b"Sun, 06 Nov 1994 08:49:38 GMT")
