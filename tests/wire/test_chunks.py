"""Chunked bodies as they pass (RFC 9112 7.1): what comes out, where they end, what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import h11
from twisted.trial.unittest import SynchronousTestCase

from tests.wire.heads import h11_events
from voltgw.errors import BadRequest, BadResponse
from voltgw.values.defaults import MAX_CHUNK_EXTENSION_BYTES, MAX_TRAILER_BYTES
from voltgw.wire.chunks import LAST_CHUNK, ChunkScanner, chunk

#: A body as it comes -> as it goes on, and the data in it.
GOOD = {
    b"0\r\n\r\n": (b"0\r\n\r\n", b""),
    b"5\r\nhello\r\n0\r\n\r\n": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n": (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
    b"a\r\n0123456789\r\n00\r\n\r\n": (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    b"A\r\n0123456789\r\n0\r\n\r\n": (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    b"0005\r\nhello\r\n0\r\n\r\n": (b"0005\r\nhello\r\n0\r\n\r\n", b"hello"),
    b"0000000000000005\r\nhello\r\n0\r\n\r\n": (b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
    # data that looks like framing
    b"5\r\n0\r\n\r\n\r\n0\r\n\r\n": (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    b"2\r\n\r\n\r\n1\r\n\n\r\n0\r\n\r\n": (b"2\r\n\r\n\r\n1\r\n\n\r\n0\r\n\r\n", b"\r\n\n"),
    # extensions are dropped
    b"5;a\r\nhello\r\n0\r\n\r\n": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    b'5 ; a="b;c" ;d\r\nhello\r\n1;e=f\r\n!\r\n0;g\r\n\r\n': (b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!"),
    b"5;\r\nhello\r\n0\r\n\r\n": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    # trailers are dropped
    b"5\r\nhello\r\n0\r\nX-A: b\r\nX-C:\r\n\r\n": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    b"0\r\nContent-Length: 5\r\nHost: evil\r\nTransfer-Encoding: chunked\r\n\r\n": (b"0\r\n\r\n", b""),
}

#: What is no chunked body: nothing of the offending piece may count as one.
BAD = {
    "no size": b"\r\nhello\r\n", "an empty size with an extension": b";a\r\n", "0x": b"0x5\r\nhello\r\n",
    "a plus sign": b"+5\r\nhello\r\n",
    "a minus sign": b"-5\r\nhello\r\n", "an underscore": b"1_0\r\n0123456789abcdef\r\n",
    "a space before": b" 5\r\nhello\r\n",
    "a space behind": b"5 \r\nhello\r\n", "a tab behind": b"5\t\r\nhello\r\n", "no hexadecimal": b"g\r\n",
    "17 digits": b"00000000000000005\r\nhello\r\n",
    "2**64 + 5": b"10000000000000005\r\nhello\r\n", "2**63": b"8000000000000000\r\n", "2**62": b"4000000000000000\r\n",
    "bare LF behind the size": b"5\nhello\r\n", "bare CR behind the size": b"5\rhello\r\n",
    "NUL in the size": b"5\0\r\nhello\r\n",
    "bare LF in an extension": b"5;a\nb\r\nhello\r\n", "bare CR in an extension": b"5;a\rb\r\nhello\r\n",
    "CR CR LF": b"5\r\r\nhello\r\n",
    "NUL in an extension": b"5;\0\r\nhello\r\n", "a comma behind the size": b"5,5\r\nhello\r\n",
    "a quote before the size": b'"5"\r\nhello\r\n',
    "a chunk longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "a chunk shorter than its size": b"6\r\nhello\r\n0\r\n\r\n",
    "bare LF behind a chunk": b"5\r\nhello\n0\r\n\r\n", "bare CR behind a chunk": b"5\r\nhello\r0\r\n\r\n",
    "nothing behind a chunk": b"5\r\nhello0\r\n\r\n",
    "bare LF at the very end": b"0\r\n\n", "bare LF for the last size": b"0\n\r\n",
    "a bare LF in a trailer": b"0\r\nA: b\nC: d\r\n\r\n",
    "a bare CR in a trailer": b"0\r\nA: b\rC: d\r\n\r\n", "a trailer without colon": b"0\r\nA\r\n\r\n",
    "a trailer with a space before the colon": b"0\r\nA : b\r\n\r\n",
    "a folded trailer": b"0\r\nA: b\r\n c\r\n\r\n", "NUL in a trailer": b"0\r\nA: \0\r\n\r\n",
    "the next request as a trailer": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "Arabic digits": b"\xd9\xa5\r\nhello\r\n",
}


def feed(scanner: ChunkScanner, pieces: Iterator[bytes]) -> tuple[bytes, bytes]:
    """What passes and what is over when the scanner is fed these pieces until it is done."""
    passed = b""
    for piece in pieces:
        out, over = scanner.feed(piece)
        passed += out
        if scanner.done:
            return passed, over + b"".join(pieces)
    return passed, b""


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """`data` whole, byte by byte, in threes, and in two pieces cut at every place."""
    yield [data]
    yield [data[at:at + 1] for at in range(len(data))]
    yield [data[at:at + 3] for at in range(0, len(data), 3)]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


class ChunkTests(SynchronousTestCase):
    def test_good_bodies_pass_however_they_are_cut(self) -> None:
        """Chunks as they came, without extensions and trailers; what follows the body is handed back, untouched."""
        for body, (expected, _) in GOOD.items():
            for pieces in cuts(body + b"GET / HTTP/1.1\r\n"):
                scanner = ChunkScanner(BadRequest)
                self.assertEqual(feed(scanner, iter(pieces)), (expected, b"GET / HTTP/1.1\r\n"), pieces)
                self.assertTrue(scanner.done)

    def test_good_bodies_are_dechunked_however_they_are_cut(self) -> None:
        """For a client of HTTP/1.0 only the data comes out."""
        for body, (_, expected) in GOOD.items():
            for pieces in cuts(body + b"over"):
                self.assertEqual(feed(ChunkScanner(BadResponse, dechunk=True), iter(pieces)), (expected, b"over"),
                                 pieces)

    def test_bad_bodies_are_refused_however_they_are_cut(self) -> None:
        """RFC 9112 7.1: never repaired; the error is the one that the side which sent it deserves."""
        for name, body in BAD.items():
            for pieces in cuts(body):
                for error in (BadRequest, BadResponse):
                    scanner = ChunkScanner(error)
                    self.assertRaises(error, feed, scanner, iter(pieces))
                    self.assertFalse(scanner.done, name)
                    self.assertRaises(error, feed, ChunkScanner(error, dechunk=True), iter(pieces))

    def test_what_passes_is_a_chunked_body_to_h11_too(self) -> None:
        """The second opinion reads the same data and the same end from what we pass on, and finds no trailers."""
        for body, (_, expected) in GOOD.items():
            passed, _ = feed(ChunkScanner(BadRequest), iter([body]))
            events = h11_events(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + passed,
                                h11.SERVER)
            data = b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))
            self.assertEqual(data, expected)
            end = events[-1]
            assert isinstance(end, h11.EndOfMessage), events
            self.assertEqual(list(end.headers), [])

    def test_h11_reads_the_same_data_from_what_came(self) -> None:
        """What we take for data is what another parser of the original bytes takes for data.

        Except where h11 does not know that white space may stand before the semicolon (RFC 9112 7.1.1).
        """
        for body, (_, expected) in GOOD.items():
            if b" ;" in body:
                continue
            events = h11_events(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body, h11.SERVER)
            self.assertEqual(b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data)), expected)
            self.assertIsInstance(events[-1], h11.EndOfMessage)

    def test_a_body_that_is_not_over_is_not_done(self) -> None:
        """No proper beginning of a body counts as its end, and the last chunk is not passed on before all of it is
        here."""
        for body, (expected, _) in GOOD.items():
            for at in range(len(body)):
                scanner = ChunkScanner(BadRequest)
                passed, over = feed(scanner, iter([body[:at]]))
                self.assertFalse(scanner.done)
                self.assertEqual(over, b"")
                self.assertTrue(expected[:-len(LAST_CHUNK)].startswith(passed), passed)

    def test_a_long_chunk_passes_as_it_comes(self) -> None:
        """The bytes of a chunk are not collected: each piece goes on at once."""
        scanner = ChunkScanner(BadRequest)
        self.assertEqual(scanner.feed(b"ffffff\r\n"), (b"ffffff\r\n", b""))
        piece = b"x" * 65536
        for _ in range(100):
            out, _ = scanner.feed(piece)
            self.assertIs(out, piece)

    def test_chunk_writes_what_the_scanner_reads(self) -> None:
        """`chunk` frames the body of an origin that ends it by closing."""
        wire = b"".join(chunk(data) for data in (b"a", b"b" * 17, b"\r\n"))
        self.assertEqual(wire, b"1\r\na\r\n11\r\n" + b"b" * 17 + b"\r\n2\r\n\r\n\r\n")
        self.assertEqual(feed(ChunkScanner(BadResponse, dechunk=True), iter([wire + b"0\r\n\r\n"]))[0],
                         b"a" + b"b" * 17 + b"\r\n")


class BoundTests(SynchronousTestCase):
    def test_extensions_are_bounded_altogether(self) -> None:
        """Many small extensions or a large one: over the bound the body is refused."""
        good, bad = ChunkScanner(BadRequest), ChunkScanner(BadRequest)
        small = b"1;" + b"x" * 99 + b"\r\n!\r\n"
        for _ in range(MAX_CHUNK_EXTENSION_BYTES // 100):
            good.feed(small)
        self.assertRaises(BadRequest, good.feed, small)
        self.assertRaises(BadRequest, bad.feed, b"1;" + b"x" * MAX_CHUNK_EXTENSION_BYTES + b"\r\n")

    def test_a_size_line_without_end_is_bounded(self) -> None:
        """A line that drips in for ever is refused at the bound; what is held never exceeds it."""
        scanner = ChunkScanner(BadRequest)
        with self.assertRaises(BadRequest):
            for _ in range(MAX_CHUNK_EXTENSION_BYTES // 64 + 2):
                scanner.feed(b"1" * 64)
                self.assertLessEqual(len(scanner._held), MAX_CHUNK_EXTENSION_BYTES)

    def test_underscores_in_trailers(self) -> None:
        """As in a head: dropped where a client says them, kept where an endpoint does."""
        for error, expected in ((BadRequest, [(b"x-a", b"2")]), (BadResponse, [(b"x_a", b"1"), (b"x-a", b"2")])):
            scanner = ChunkScanner(error, dechunk=True)
            scanner.feed(b"0\r\nX_a: 1\r\nX-A: 2\r\n\r\n")
            self.assertEqual(scanner.trailers, expected)

    def test_trailers_are_bounded_altogether(self) -> None:
        """Many small trailers, a large one, or one without end."""
        many = ChunkScanner(BadRequest)
        many.feed(b"0\r\n")
        with self.assertRaises(BadRequest):
            for _ in range(MAX_TRAILER_BYTES // 10 + 1):
                many.feed(b"X: 34567\r\n")
        self.assertRaises(BadRequest, ChunkScanner(BadRequest).feed,
                          b"0\r\nX: " + b"y" * MAX_TRAILER_BYTES + b"\r\n\r\n")
        endless = ChunkScanner(BadRequest)
        endless.feed(b"0\r\n")
        with self.assertRaises(BadRequest):
            for _ in range(MAX_TRAILER_BYTES // 64 + 2):
                endless.feed(b"X" * 64)
                self.assertLessEqual(len(endless._held), MAX_TRAILER_BYTES)

    def test_what_is_held_between_pieces_is_never_data(self) -> None:
        """Only the beginning of a line or of a chunk's end waits; a body of any size needs no memory."""
        scanner = ChunkScanner(BadRequest)
        body = (b"3e8\r\n" + b"d" * 1000 + b"\r\n") * 20 + b"0\r\n\r\n"
        for at in range(0, len(body), 7):
            scanner.feed(body[at:at + 7])
            self.assertLessEqual(len(scanner._held), 5)
        self.assertTrue(scanner.done)
