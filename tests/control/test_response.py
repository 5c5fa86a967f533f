"""Tests for `voltgw.control.probes.response`."""

from __future__ import annotations

from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from voltgw.control.probes.response import MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_INTERIM, ResponseReader
from voltgw.errors import BadResponse


class Outcome(NamedTuple):
    """What came of reading: `done` whether it wanted no more, before or after the connection closed."""

    done: bool
    status: int
    found: bool


def read(pieces: list[bytes], expected: bytes = b"") -> Outcome:
    """Feed the pieces, then close."""
    reader = ResponseReader(expected)
    done = False
    for piece in pieces:
        done = reader.feed(piece)
        if done:
            break
    return Outcome(done or reader.closed(), reader.status, reader.found)


GOOD = {
    "no body wanted": (b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", b"", Outcome(True, 200, False)),
    "no reason": (b"HTTP/1.1 204 \r\n\r\n", b"", Outcome(True, 204, False)),
    "no reason and no space": (b"HTTP/1.0 500\r\n\r\n", b"", Outcome(True, 500, False)),
    "after interim answers": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"", Outcome(True, 200, False)),
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nall ok", b"ok", Outcome(True, 200, False)),
    "length, found": (b"HTTP/1.1 200 OK\r\ncontent-LENGTH:6\r\n\r\nall ok", b"ok", Outcome(True, 200, True)),
    "length, found at once": (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nok", b"ok", Outcome(True, 200, True)),
    "length, cut off": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall", b"ok", Outcome(False, 200, False)),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"ok", Outcome(True, 200, False)),
    "same length twice": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", b"ok", Outcome(True, 200, True)),
    "no content": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", b"ok", Outcome(True, 304, False)),
    "until close": (b"HTTP/1.1 200 OK\r\n\r\nall bad", b"ok", Outcome(True, 200, False)),
    "until close, found": (b"HTTP/1.1 200 OK\r\n\r\nall ok", b"ok", Outcome(True, 200, True)),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall \r\n3;a=b\r\nbad\r\n0\r\nX: y\r\n\r\n", b"ok",
        Outcome(True, 200, False)),
    "found across chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nall o\r\n1\r\nk\r\n0\r\n\r\n", b"ok",
        Outcome(True, 200, True)),
    "a size that looks like the expected bytes": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxx\r\n0\r\n\r\n", b"2", Outcome(True, 200, False)),
}

BAD = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "not even begun": b"x",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nServer: x\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 600": b"HTTP/1.1 600 What\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nServer\r\n\r\n",
    "folded": b"HTTP/1.1 200 OK\r\nServer: x\r\n y\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nServer: \0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nServer : x\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "many interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1),
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nxyz",
    "a signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nxy",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    "chunk longer than it said": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "endless chunk extension": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 9000,
    "endless head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES,
}


class GoodResponsesTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """Every sample in one piece."""
        for name, (data, expected, outcome) in GOOD.items():
            self.assertEqual(read([data], expected), outcome, name)

    def test_byte_by_byte(self) -> None:
        """Every sample one byte at a time."""
        for name, (data, expected, outcome) in GOOD.items():
            self.assertEqual(read([data[n:n + 1] for n in range(len(data))], expected), outcome, name)

    def test_cut_at_every_offset(self) -> None:
        """Every sample in two pieces, wherever it is cut."""
        for name, (data, expected, outcome) in GOOD.items():
            for cut in range(1, len(data)):
                self.assertEqual(read([data[:cut], data[cut:]], expected), outcome, f"{name} cut at {cut}")

    def test_a_body_is_looked_at_to_its_bound(self) -> None:
        """Expected bytes count up to 64 KiB into the body; beyond that nothing is read and nothing is kept."""
        head = b"HTTP/1.1 200 OK\r\n\r\n"
        inside = b"x" * (MAX_BODY_BYTES - 2) + b"ok"
        self.assertEqual(read([head + inside], b"ok"), Outcome(True, 200, True))
        reader = ResponseReader(b"ok")
        self.assertTrue(reader.feed(head + b"x" + inside + b"x" * 100_000))
        self.assertFalse(reader.found)
        self.assertEqual(len(reader.body), MAX_BODY_BYTES)


class BadResponsesTests(SynchronousTestCase):
    def test_whole_and_byte_by_byte(self) -> None:
        """What the data plane would not forward is refused, however it is cut."""
        for name, data in BAD.items():
            for pieces in ([data], [data[n:n + 1] for n in range(len(data))]):
                with self.assertRaises(BadResponse, msg=name):
                    read(pieces, b"never there")
