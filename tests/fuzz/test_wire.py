"""Fuzz targets of the HTTP/1 codec: whatever the bytes, only the expected errors come out, and what passes is HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import h11
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from tests.wire.heads import ENDS, h11_events, h11_request
from voltgw.errors import BadRequest, BadResponse
from voltgw.values.defaults import MAX_CHUNK_EXTENSION_BYTES, MAX_TRAILER_BYTES
from voltgw.values.head import CHUNKED, RequestHead, ResponseHead
from voltgw.wire import http1
from voltgw.wire.authority import known_authorities
from voltgw.wire.chunks import ChunkScanner
from voltgw.wire.http1 import RequestParser, ResponseParser, bad_start, parse_request, parse_response
from voltgw.wire.path import BadTarget, normal_target, normalise

#: Pieces that heads and bodies are made of, the tricky ones among them; glued together they reach every branch.
_PIECES = [
    b"GET", b"POST", b"HEAD", b"CONNECT", b"OPTIONS", b"G\0T", b" ", b"  ", b"\t", b"/", b"*", b"/a/../b", b"/%2e%2e/",
    b"/%00", b"http://a",
    b"http://", b"?q", b"#", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 200 OK", b"HTTP/1.1 204 X",
    b"HTTP/1.0 304 X", b"\r\n", b"\r\n", b"\r\n", b"\n",
    b"\r", b":", b": ", b",", b"Host", b"Host: a", b"host: b:80", b"Content-Length", b"Content-Length: 5",
    b"content-length: 0", b"5", b"+5",
    b"Transfer-Encoding", b"Transfer-Encoding: chunked", b"chunked", b"identity", b"Connection: close",
    b"Connection: x-a, keep-alive",
    b"X-A: 1", b"X_A: 2", b"X-Forwarded-For: 1", b"Upgrade: h2c", b"Expect: 100-continue", b"Date: x", b"Server: y",
    b"\0", b"\x7f", b"\x80\xff", b"\x0b",
]
_ANY_HEAD = st.lists(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=4)), max_size=24).map(b"".join)

_TOKENS = st.sampled_from([b"X-A", b"X-B", b"Accept", b"Cookie", b"X_C", b"Via", b"a!#$%&'*+-.^`|~1"])
_VALUES = st.binary(max_size=12).map(lambda value: bytes(octet for octet in value if octet >= 32 and octet != 127))
_SPECIALS = [
    b"Content-Length: 5", b"Content-Length: 05", b"Transfer-Encoding: chunked", b"Transfer-Encoding:CHUNKED ",
    b"Connection: close",
    b"Connection: keep-alive", b"Connection: X-A,close", b"Connection: upgrade, x-b", b"Upgrade: websocket",
    b"Keep-Alive: 5", b"TE: trailers",
    b"Trailer: x", b"Expect: 100-Continue", b"X-Forwarded-For: 192.0.2.1", b"Forwarded: for=x",
    b"Date: Tue, 15 Nov 1994 08:12:31 GMT", b"Server: s",
    b"Set-Cookie: a=b", b"Proxy-Connection: x",
]
_LINES = st.lists(
    st.one_of(st.sampled_from(_SPECIALS), st.builds(lambda name, value: name + b":" + value, _TOKENS, _VALUES)),
    max_size=6,
).map(lambda lines: b"".join(b"\r\n" + line for line in lines))
_PATHS = st.lists(
    st.sampled_from([b"/", b".", b"..", b"%2e", b"%2E", b"%2f", b"%5c", b"\\", b"%25", b"2e", b"%00", b"%", b"a", b"~",
                     b"%7e", b";", b"//", b"\xc0\xae", b"?", b"#", b" "]),
    max_size=12,
).map(lambda parts: b"/" + b"".join(parts))
_REQUESTS = st.builds(
    lambda method, target, version, lines: method + b" " + target + b" " + version + b"\r\nHost: a" + lines + ENDS,
    st.sampled_from([b"GET", b"POST", b"HEAD", b"PURGE"]), st.one_of(_PATHS,
                                                                     st.sampled_from([b"/", b"/a?b", b"http://b/c",
                                                                                      b"*"])),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]), _LINES,
)
_RESPONSES = st.builds(
    lambda start, lines: start + lines + ENDS,
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.0 404 X", b"HTTP/1.1 204 ", b"HTTP/1.1 304 X",
                     b"HTTP/1.1 103 E"]), _LINES,
)
_CHUNK_PIECES = [
    b"0", b"1", b"5", b"a", b"F", b"00", b"\r\n", b"\r\n", b"\r\n", b"\r", b"\n", b";", b";x=y", b" ", b"0x", b"hello",
    b"5\r\nhello\r\n", b"1\r\nx\r\n",
    b"3;e\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"A: b", b":", b"fffffffffffffffff", b"\0", b"-",
]
_ANY_CHUNKS = st.lists(st.one_of(st.sampled_from(_CHUNK_PIECES), st.binary(max_size=3)), max_size=16).map(b"".join)
_GOOD_CHUNKS = st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.sampled_from([b"", b";a", b' ; b="c"'])),
                        max_size=5)
_CUTS = st.lists(st.integers(0, 200), max_size=6)


def _cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    borders = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(borders)]


def _parts_of_request(head: RequestHead) -> tuple[object, ...]:
    return tuple(getattr(head, name) for name in (
        "method", "target", "forward", "path", "query", "minor", "authority", "host", "port", "fields", "length",
        "keep_alive",
        "expect_continue", "forwarding", "upgrade", "underscored"))


def _parts_of_response(head: ResponseHead) -> tuple[object, ...]:
    return tuple(getattr(head, name) for name in (
        "status", "reason", "minor", "fields", "length", "keep_alive", "upgrade", "declared", "server", "dated"))


class RequestHeadFuzz(SynchronousTestCase):
    @examples(300)
    @given(_ANY_HEAD)
    def test_any_bytes_are_a_head_or_a_bad_request(self, data: bytes) -> None:
        """Nothing but `BadRequest` escapes; what is accepted holds no control character and no dot segment."""
        bad_start(data or b"G")
        data += ENDS
        try:
            head = parse_request(data, data.index(ENDS))
        except BadRequest as error:
            self.assertIn(error.answer, (400, 405, 417, 431, 501, 505))
            return
        for name, value in [*head.fields, *head.connection, *(head.forwarding or ())]:
            self.assertNotRegex(name, rb"[\x00-\x20\x7f:A-Z]")
            self.assertNotRegex(value, rb"[\x00-\x08\x0a-\x1f\x7f]")
        self.assertNotRegex(head.forward, rb"[\x00-\x20\x7f-\xff#]")
        self.assertFalse({b".", b".."} & set(head.path.split(b"/")), head.path)
        self.assertFalse({name for name, _ in head.fields} & {
            b"host", b"content-length", b"transfer-encoding", b"connection", b"te", b"trailer", b"upgrade",
            b"keep-alive", b"expect",
            b"proxy-connection", b"http2-settings", b"x-forwarded-for", b"forwarded"})

    @examples(200)
    @given(_REQUESTS)
    def test_h11_accepts_what_we_accept(self, data: bytes) -> None:
        """The second opinion finds the same method, target, version, fields and framing in what we accept."""
        try:
            ours = parse_request(data, data.index(ENDS))
        except BadRequest:
            return
        if max(ours.target) > 0x7e:
            return                          # we encode such bytes, h11 refuses them
        theirs = h11_request(data)
        self.assertEqual((ours.method, ours.target, b"1.%d" % ours.minor),
                         (theirs.method, theirs.target, theirs.http_version))
        fields = list(theirs.headers)
        for field in ours.fields:
            self.assertIn(field, fields)
        self.assertEqual(ours.length == CHUNKED, (b"transfer-encoding", b"chunked") in fields)
        self.assertEqual(max(ours.length, 0), int(dict(fields).get(b"content-length", b"0")))

    @examples(200)
    @given(st.lists(_REQUESTS, min_size=2, max_size=5), st.booleans())
    def test_what_a_connection_has_seen_changes_no_verdict(self, datas: list[bytes], repeat: bool) -> None:
        """One parser for all requests of a connection says of each what a fresh one says."""
        parser = RequestParser()
        for data in [*datas, *datas] if repeat else datas:
            end = data.index(ENDS)
            try:
                expected = _parts_of_request(parse_request(data, end))
            except BadRequest as error:
                refused = self.assertRaises(BadRequest, parser.parse, data, end)
                self.assertEqual(refused.answer, error.answer)
            else:
                self.assertEqual(_parts_of_request(parser.parse(data, end)), expected)


class ResponseHeadFuzz(SynchronousTestCase):
    @examples(300)
    @given(_ANY_HEAD, st.sampled_from([b"GET", b"HEAD"]))
    def test_any_bytes_are_a_head_or_a_bad_response(self, data: bytes, method: bytes) -> None:
        """Nothing but `BadResponse` escapes; what is accepted holds no control character."""
        data = b"HTTP/1.1 200 OK\r\n" + data + ENDS
        try:
            head = parse_response(data, data.index(ENDS), method)
        except BadResponse:
            return
        self.assertNotRegex(head.reason, rb"[\x00-\x08\x0a-\x1f\x7f]")
        for name, value in head.fields:
            self.assertNotRegex(name, rb"[\x00-\x20\x7f:A-Z]")
            self.assertNotRegex(value, rb"[\x00-\x08\x0a-\x1f\x7f]")
            self.assertNotIn(name, (b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"upgrade",
                                    b"trailer"))

    @examples(200)
    @given(_RESPONSES)
    def test_h11_accepts_what_we_accept(self, data: bytes) -> None:
        """The second opinion finds the same status, reason and fields in what we accept."""
        try:
            ours = parse_response(data, data.index(ENDS), b"GET")
        except BadResponse:
            return
        theirs = h11_events(data, h11.CLIENT)[0]
        assert isinstance(theirs, (h11.Response, h11.InformationalResponse))
        self.assertEqual((ours.status, ours.reason), (theirs.status_code, theirs.reason))
        for field in ours.fields:
            self.assertIn(field, list(theirs.headers))

    @examples(200)
    @given(st.lists(st.tuples(_RESPONSES, st.sampled_from([b"GET", b"HEAD"])), min_size=2, max_size=5))
    def test_what_a_connection_has_seen_changes_no_verdict(self, datas: list[tuple[bytes, bytes]]) -> None:
        """One parser for all answers of a connection says of each what a fresh one says."""
        parser = ResponseParser()
        for data, method in [*datas, *datas]:
            end = data.index(ENDS)
            try:
                expected = _parts_of_response(parse_response(data, end, method))
            except BadResponse:
                self.assertRaises(BadResponse, parser.parse, data, end, method)
            else:
                self.assertEqual(_parts_of_response(parser.parse(data, end, method)), expected)

    def test_the_tables_are_bounded_after_all_that(self) -> None:
        """Whatever was fed to the parsers, what they remember has its bound."""
        for memo in (http1._request_lines, http1._response_lines, known_authorities):
            self.assertLessEqual(len(memo), http1.MEMO_LINES)
            self.assertLessEqual(max(map(len, memo), default=0), http1.MEMO_LINE_BYTES)


class ChunkFuzz(SynchronousTestCase):
    @examples(300)
    @given(_ANY_CHUNKS, _CUTS, st.booleans())
    def test_cuts_change_nothing(self, data: bytes, places: list[int], dechunk: bool) -> None:
        """Any bytes, whole or cut anywhere: the same verdict, the same output, the same rest; only the given error
        escapes."""
        results = []
        for pieces in ([data], _cut(data, places), [data[at:at + 1] for at in range(len(data))]):
            scanner = ChunkScanner(BadResponse, dechunk)
            passed = over = b""
            try:
                for piece in pieces:
                    if scanner.done:
                        over += piece
                        continue
                    out, over = scanner.feed(piece)
                    passed += out
                    self.assertLessEqual(len(scanner._held), max(MAX_CHUNK_EXTENSION_BYTES, MAX_TRAILER_BYTES))
            except BadResponse:
                results.append(("refused", False, b"", b""))
            else:
                results.append(("taken", scanner.done, passed, over))
        self.assertEqual(results[0], results[1])
        self.assertEqual(results[0], results[2])

    @examples(150)
    @given(_GOOD_CHUNKS, _CUTS, st.sampled_from([b"", b"X: y\r\n"]))
    def test_good_bodies_pass(self, chunks: list[tuple[bytes, bytes]], places: list[int], trailer: bytes) -> None:
        """A well-formed body comes out as one that h11 reads, with the same data, without extensions and trailers."""
        wire = b"".join(b"%X%b\r\n%b\r\n" % (len(data), extension, data) for data,
                        extension in chunks) + b"0\r\n" + trailer + b"\r\n"
        expected = b"".join(data for data, _ in chunks)
        scanner, plain = ChunkScanner(BadRequest), ChunkScanner(BadRequest, dechunk=True)
        pieces = _cut(wire, places)
        passed = b"".join(scanner.feed(piece)[0] for piece in pieces if not scanner.done)
        self.assertTrue(scanner.done)
        self.assertEqual(b"".join(plain.feed(piece)[0] for piece in pieces if not plain.done), expected)
        events = h11_events(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + passed, h11.SERVER)
        self.assertEqual(b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data)), expected)
        self.assertIsInstance(events[-1], h11.EndOfMessage)


class PathFuzz(SynchronousTestCase):
    @examples(400)
    @given(st.one_of(_PATHS, st.binary(max_size=20).map(lambda data: b"/" + data)))
    def test_the_form_is_safe_and_stable(self, target: bytes) -> None:
        """A form is its own form, holds no dot segment in any spelling, nothing but visible ASCII; else it is
        refused."""
        try:
            path, query = normalise(target)
        except BadTarget:
            return
        self.assertEqual(normalise(path), (path, None))
        self.assertTrue(path.startswith(b"/"))
        self.assertNotRegex(path, rb"[^\x21-\x7e]|[?#\\]")
        segments = path.lower().replace(b"%2e", b".").split(b"/")
        self.assertFalse({b".", b".."} & set(segments), path)
        if query is not None:
            self.assertNotRegex(query, rb"[^\x21-\x7e]|#")
            self.assertEqual(normalise(b"/?" + query), (b"/", query))

    @examples(150)
    @given(_PATHS)
    def test_the_plain_target_is_its_own_form(self, target: bytes) -> None:
        """The codec's short cut for plain targets never lets one through that has another form."""
        if normal_target(target) is not None and b"/." not in target:
            path, query = normalise(target)
            self.assertEqual(path if query is None else path + b"?" + query, target)
