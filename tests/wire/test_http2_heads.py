"""Fields of HTTP/2 to heads (RFC 9113 8.2, 8.3): what a head says, what is malformed, what is answered."""

from __future__ import annotations

import hpack
from twisted.trial.unittest import SynchronousTestCase

from tests.wire.h2rig import GET, POST
from tests.wire.heads import request
from voltgw.errors import BadRequest
from voltgw.values.compiling import slots_of
from voltgw.values.head import CHUNKED, Field, RequestHead, ResponseHead
from voltgw.wire import huffman
from voltgw.wire.h2heads import Malformed, MalformedAnswer, RequestReader, ResponseReader, connect_fields, read_priority
from voltgw.wire.hpack import BadBlock, Encoder


def read(fields: list[Field], ended: bool = True, *, connect: bool = False, normalised: bool = True) -> RequestHead:
    """The head of a request with these fields."""
    reader = RequestReader(60000, 128, normalised=normalised, extended_connect=connect)
    return reader.read(Encoder().encode(fields), ended)


def answer(fields: list[Field], ended: bool = True, bodiless: bool = False) -> ResponseHead:
    """The head of a response with these fields."""
    return ResponseReader(60000, 128).read(Encoder().encode(fields), ended, bodiless)


def with_path(path: bytes, method: bytes = b"GET") -> list[Field]:
    """A request for a path."""
    return [(b":method", method), *GET[1:3], (b":path", path)]


def _outcome(reader: RequestReader, block: bytes, ended: bool) -> object:
    """Everything that reading a block gives, so that it can be compared."""
    try:
        head = reader.read(block, ended)
    except (BadBlock, BadRequest) as error:
        return type(error), str(error)
    if head.shared is not None:             # only one that is known has it
        assert (head.shared.fields, head.shared.text) == (head.fields, b"\r\n".join(map(b": ".join, head.fields)))
        head.shared = None
    said = [getattr(head, name) for name in slots_of(RequestHead)]
    for each in (head.fields, head.connection, head.forwarding or []):
        each.append((b"changed", b"by a filter"))
    return repr(said), reader.priority, reader.protocol, reader.decoder.never_indexed, reader.decoder.generation


class RequestTests(SynchronousTestCase):
    def refusal(self, fields: list[Field], ended: bool = True, connect: bool = False) -> int:
        """0 if accepted, 1 if malformed, else the status of the answer."""
        try:
            read(fields, ended, connect=connect)
        except Malformed:
            return 1
        except BadRequest as error:
            return error.answer
        return 0

    def test_a_head(self) -> None:
        """It has the shape of one of HTTP/1.1."""
        head = read([*GET, (b"accept", b"*/*"), (b"x-a", b"")])
        self.assertEqual((head.method, head.target, head.path, head.query, head.minor), (b"GET", b"/x?y=1", b"/x", b"y=1", 2))
        self.assertEqual((head.authority, head.host, head.port), (b"a.example", b"a.example", None))
        self.assertEqual((head.fields, head.length, head.keep_alive), ([(b"accept", b"*/*"), (b"x-a", b"")], 0, True))
        self.assertEqual(read(POST, False).length, CHUNKED)
        self.assertEqual(read([*POST, (b"content-length", b"5")], False).length, 5)

    def test_paths_are_those_of_version_1(self) -> None:
        """Any path becomes what HTTP/1.1 makes of it, or is refused where that refuses it (promise 12)."""
        for path in (b"/", b"/a/../b?c", b"/%2e%2e/a", b"/%7euser", b"/a%2fb", b"//", b"/./", b"/\xc3\xa4", b"/[x]", b"/?a=[b]|",
                     b"/%00", b"/%zz", b"/a#b", b"/..%2f", b"/%c0%ae", b"/a;b", b"/\\..", b"/?%00"):
            try:
                ours = read(with_path(path))
            except BadRequest as error:
                ours_or_status: object = error.answer
            else:
                ours_or_status = ours.path, ours.query, ours.forward
            try:
                old = request(b"GET %b HTTP/1.1\r\nHost: a.example\r\n\r\n" % path)
            except BadRequest as error:
                old_or_status: object = error.answer
            else:
                old_or_status = old.path, old.query, old.forward
            self.assertEqual(ours_or_status, old_or_status, path)
        self.assertEqual(read(with_path(b"/a/../b"), normalised=False).path, b"/a/../b")

    def test_pseudo_fields(self) -> None:
        """Missing, empty, unknown, doubled or misplaced ones are malformed (8.3, 8.3.1)."""
        method, scheme, authority, path = GET
        for fields in (
            [scheme, authority, path], [method, authority, path], [method, scheme, authority], [method, scheme, path], [],
            [*GET, method], [*GET, path], [*GET, (b":status", b"200")], [*GET, (b":foo", b"x")], [(b"", b"x"), *GET],
            [method, scheme, (b"x-a", b"b"), authority, path], [method, (b"cookie", b"b"), scheme, authority, path],
            [*GET, (b"host", b"a.example"), path], [method, scheme, (b":authority", b""), path],
            [(b":method", b""), *GET[1:]], [(b":method", b"G T"), *GET[1:]], [(b":method", b"G\0T"), *GET[1:]],
            [method, (b":scheme", b"ftp"), authority, path], [method, (b":scheme", b""), authority, path],
            with_path(b""), with_path(b"x"), with_path(b"*"), with_path(b"http://b/"), [*GET, (b":protocol", b"websocket")],
            with_path(b"/\0"), with_path(b"/\r\nx: y"), with_path(b"/ "), [method, scheme, (b":authority", b"a\r\n"), path],
        ):
            self.assertEqual(self.refusal(fields), 1, fields)
        self.assertEqual(self.refusal(with_path(b"*", b"OPTIONS")), 0)
        self.assertEqual(self.refusal(with_path(b"/", b"PURGE")), 0)

    def test_answered_with_an_error(self) -> None:
        """What is a request, but none that we serve."""
        for fields, status in (
            (with_path(b"/a b"), 400), (with_path(b"/#"), 400), ([(b":method", b"CONNECT"), GET[2]], 405),
            ([*GET, (b"expect", b"x")], 417), ([*GET[:2], (b":authority", b"a@b"), GET[3]], 400),
            ([*GET[:2], (b":authority", b"a:99999"), GET[3]], 400), ([*GET, *[(b"x-a", b"b")] * 130], 431),
            ([*GET, (b"x-a", b"b" * 60000)], 431),
        ):
            self.assertEqual(self.refusal(fields), status, fields[:5])

    def test_connection_fields(self) -> None:
        """What speaks of the connection is malformed, and te is only trailers (8.2.2)."""
        for field in ((b"connection", b"close"), (b"keep-alive", b"5"), (b"proxy-connection", b"x"),
                      (b"transfer-encoding", b"chunked"), (b"upgrade", b"h2c"), (b"te", b"gzip"), (b"te", b"trailers, gzip")):
            self.assertEqual(self.refusal([*GET, field]), 1, field)
        head = read([*GET, (b"te", b"trailers"), (b"trailer", b"x"), (b"http2-settings", b"x"), (b"proxy-authorization", b"x")])
        self.assertEqual((len(head.connection), head.fields), (4, []))

    def test_names_and_values(self) -> None:
        """Upper case, white space, controls: malformed (8.2.1), also where the table hands them out a second time."""
        for field in ((b"X-A", b"b"), (b"x a", b"b"), (b"x:a", b"b"), (b"x\xe4", b"b"), (b"x\0", b"b"), (b"", b"b"),
                      (b"x-a", b" b"), (b"x-a", b"b "), (b"x-a", b"b\t"), (b"x-a", b"a\rb"), (b"x-a", b"a\nb"), (b"x-a", b"a\0b"),
                      (b"x-a", b"a\x7fb"), (b"x-a", b"a\x01b"), (b"cookie", b"a\nb"), (b"host", b"a.example\r\n")):
            self.assertEqual(self.refusal([*GET, field]), 1, field)
            reader, encoder = RequestReader(60000, 128), Encoder()
            for _ in range(3):
                self.assertRaises(Malformed, reader.read, encoder.encode([*GET, field]), True)
        self.assertEqual(read([*GET, (b"x-a", b"a\tb \xe4")]).fields, [(b"x-a", b"a\tb \xe4")])

    def test_host(self) -> None:
        """It stands in for :authority, agrees with it, or the request is malformed (8.3.1)."""
        method, scheme, authority, path = GET
        self.assertEqual(read([method, scheme, path, (b"host", b"B.example:8")]).host, b"b.example")
        self.assertEqual(read([*GET, (b"host", b"A.EXAMPLE.")]).authority, b"a.example")
        for fields in ([*GET, (b"host", b"b.example")], [*GET, (b"host", b"a.example:81")],
                       [*GET, (b"host", b"a.example"), (b"host", b"a.example")]):
            self.assertEqual(self.refusal(fields), 1, fields)
        self.assertEqual(self.refusal([*GET, (b"host", b"a/b")]), 400)

    def test_content_length(self) -> None:
        """One plain number, and none beside the end of the stream (8.1.1)."""
        for value in (b"", b"+5", b"-5", b"5,5", b"0x5", b"5 ", b"9" * 19, b"1_0"):
            self.assertEqual(self.refusal([*POST, (b"content-length", value)], False), 1, value)
        self.assertEqual(self.refusal([*POST, (b"content-length", b"5"), (b"content-length", b"5")], False), 1)
        self.assertEqual(self.refusal([*POST, (b"content-length", b"5")]), 1)
        self.assertEqual(self.refusal([*POST, (b"content-length", b"0")]), 0)

    def test_cookie_crumbs(self) -> None:
        """They are one field again (8.2.3)."""
        head = read([*GET, (b"cookie", b"a=b"), (b"x-a", b"1"), (b"cookie", b"c=d"), (b"cookie", b"e=f")])
        self.assertEqual(head.fields, [(b"x-a", b"1"), (b"cookie", b"a=b; c=d; e=f")])

    def test_set_aside(self) -> None:
        """What speaks of the client, and names with an underscore, do not reach filters."""
        head = read([*GET, (b"x-forwarded-for", b"1"), (b"x_a", b"2"), (b"forwarded", b"for=x"), (b"expect", b"100-continue")])
        self.assertEqual((head.fields, head.underscored, head.expect_continue), ([], 1, True))
        self.assertEqual(head.forwarding, [(b"x-forwarded-for", b"1"), (b"forwarded", b"for=x")])

    def test_extended_connect(self) -> None:
        """It is the upgrade request of HTTP/1.1 where it is served (RFC 8441), and malformed elsewhere."""
        fields = connect_fields(b"WebSocket", b"https", b"a.example", b"/chat?x", [(b"origin", b"o")])
        head = read(fields, False, connect=True)
        self.assertEqual((head.method, head.upgrade, head.path, head.length, head.fields),
                         (b"GET", b"websocket", b"/chat", 0, [(b"origin", b"o")]))
        self.assertEqual(self.refusal(fields, False), 1)
        for wrong in ([(b":method", b"GET"), *fields[1:]], [*fields[:2], *fields[3:]], [*fields[:4], fields[5]],
                      [fields[0], (b":protocol", b"a b"), *fields[2:]]):
            self.assertEqual(self.refusal(wrong, False, True), 1, wrong)

    def test_the_same_block_again(self) -> None:
        """What is remembered of a block holds as long as the table; heads do not share their lists."""
        reader = RequestReader(60000, 128)
        block = b"\x82\x87\x01\x01a\x04\x02/x\x00\x01b\x01c"
        first = reader.read(block, True)
        second = reader.read(block, False)
        first.fields.append((b"d", b"e"))
        self.assertEqual((second.fields, second.length, second.path), ([(b"b", b"c")], CHUNKED, b"/x"))
        dynamic = b"\x82\x87\x84\xbe"
        encoder = Encoder()
        for authority in (b"one", b"two", b"one"):
            reader.read(encoder.encode([*GET[:2], (b":authority", authority + b".example"), GET[3]]), True)
        before = [reader.read(dynamic, True).host for _ in range(2)]
        reader.read(b"\x82\x87\x84\x41\x05three", True)
        self.assertEqual((before, reader.read(dynamic, True).host), ([b"two.example"] * 2, b"three"))

    def test_another_path_around_which_nothing_differs(self) -> None:
        """A reader that knows the rest of a block reads it as one that sees it for the first time, whatever the path is."""
        fields = [(b"te", b"trailers"), (b"x-forwarded-for", b"192.0.2.1"), (b"cookie", b"a=1"), (b"cookie", b"b=2"),
                  (b"priority", b"u=1"), (b"x_y", b"z"), (b"accept", b"*/*")]
        encoder = hpack.Encoder()
        before, behind = ([(b":method", b"GET"), (b":authority", b"shop.example:8080")], [(b":scheme", b"https"), *fields])
        first = encoder.encode(before) + b"\x04\x02/0" + encoder.encode(behind)       # every field enters the table
        before_path, behind_path = encoder.encode(before), encoder.encode(behind)
        self.assertEqual(len(before_path + behind_path), len([*before, *behind]))
        knows = RequestReader(60000, 128)
        knows.read(first, True)
        knows.read(before_path + b"\x04\x02/1" + behind_path, True)
        coded = huffman.encode(b"/a-path?with=a&query")
        paths = (b"\x02/2", b"\x02/2", b"\x05/%41b", b"\x07/a/../b", b"\x01*", b"\x00", b"\x03/ x", b"\x03/\x00x", b"\x03/_\xff",
                 b"\x7f\x02/" + b"y" * 128, b"\x7e/" + b"y" * 125, bytes((0x80 | len(coded),)) + coded, b"\x81\x00",
                 b"\x84\xff\xff\xff\xff", b"\x03/2", b"\x01/2", b"\x02/3\x82", b"\x02/2")
        for representation in (b"\x04", b"\x05", b"\x14", b"\x00\x05:path"):
            for path in paths:
                for ended in (True, False):
                    block = before_path + representation + path + behind_path
                    fresh = RequestReader(60000, 128)
                    fresh.read(first, False)
                    self.assertEqual(_outcome(knows, block, ended), _outcome(fresh, block, ended), (representation, path))
        block = before_path + b"\x04\x02/2" + behind_path
        knows.read(block, True)
        other = before_path + b"\x04\x02/2" + behind_path[:1] + behind_path[-1:] + behind_path[2:]
        self.assertEqual(_outcome(knows, other, True), _outcome(fresh, other, True))
        knows.read(block, True)
        newer = b"\x82\x87\x84\x41\x05other"
        for each in (knows, fresh):
            each.read(newer, True)          # an entry more, so that the others have other numbers
        self.assertEqual(_outcome(knows, block, True), _outcome(fresh, block, True))

    def test_trailers(self) -> None:
        """What would change the head is left out; pseudo-fields and bad ones are malformed (8.1; RFC 9110 6.5.1)."""
        reader = RequestReader(60000, 128)
        kept = reader.trailers(Encoder().encode([(b"x-a", b"1"), (b"host", b"b"), (b"content-length", b"5"), (b"cookie", b"c"),
                                                 (b"authorization", b"x"), (b"x-forwarded-for", b"1"), (b"grpc-status", b"0")]))
        self.assertEqual(kept, [(b"x-a", b"1"), (b"grpc-status", b"0")])
        for field in ((b":path", b"/"), (b"X", b"y"), (b"x", b"\n"), (b"connection", b"x"), (b"x-a", b"b" * 60000)):
            self.assertRaises(Malformed, reader.trailers, Encoder().encode([(b"a", b"b"), field]))


class ResponseTests(SynchronousTestCase):
    def test_a_head(self) -> None:
        """It has the shape of one of HTTP/1.1."""
        head = answer([(b":status", b"200"), (b"server", b"s"), (b"date", b"d"), (b"x_a", b"1"), (b"content-length", b"5")], False)
        self.assertEqual((head.status, head.minor, head.server, head.dated, head.declared, head.length),
                         (200, 2, b"s", True, 5, 5))
        self.assertEqual(sorted(head.fields), [(b"date", b"d"), (b"x_a", b"1")])
        self.assertEqual(answer([(b":status", b"200")], False).length, CHUNKED)

    def test_answers_without_a_body(self) -> None:
        """HEAD, 204, 304 and interim answers have none, whatever they declare."""
        length = (b"content-length", b"5")
        self.assertEqual(answer([(b":status", b"200"), length], True, True).declared, 5)
        for status in (b"204", b"304"):
            self.assertEqual(answer([(b":status", status), length], False).length, 0)
        self.assertEqual(answer([(b":status", b"103"), (b"link", b"x")], False).length, 0)

    def test_malformed(self) -> None:
        """:status is missing, doubled, no number or not first; 101; an interim answer that ends; connection fields."""
        good = (b":status", b"200")
        for fields, ended in (
            ([], True), ([(b"x", b"y")], True), ([good, good], True), ([(b"server", b"x"), good], True), ([(b"x", b"y"), good], True),
            ([(b":status", b"2")], True), ([(b":status", b"0200")], True), ([(b":status", b"099")], True), ([(b":status", b"600")], True),
            ([(b":status", b"101")], False), ([(b":status", b"100")], True), ([good, (b":path", b"/")], True),
            ([good, (b"connection", b"x")], True), ([good, (b"transfer-encoding", b"chunked")], True), ([good, (b"X", b"y")], True),
            ([good, (b"x", b"\r\ny")], True), ([good, (b"content-length", b"5")], True), ([good, (b"content-length", b"x")], False),
            ([good, (b"content-length", b"1"), (b"content-length", b"1")], False), ([good, (b"x", b"y" * 60000)], True),
        ):
            self.assertRaises(MalformedAnswer, answer, fields, ended)


class PriorityTests(SynchronousTestCase):
    def test_priorities(self) -> None:
        """Urgency and incremental are read, anything else is ignored (RFC 9218 4)."""
        for value, expected in (
            (b"", (3, False)), (b"u=0", (0, False)), (b"u=7, i", (7, True)), (b"i=?1,u=2", (2, True)), (b"i=?0", (3, False)),
            (b"u=8", (3, False)), (b"u=-1", (3, False)), (b"u=1;x=2, foo, i;a", (1, True)), (b"\xff,u=5", (5, False)),
            (b"u=1, u=4", (4, False)),
        ):
            self.assertEqual(read_priority(value), expected, value)
