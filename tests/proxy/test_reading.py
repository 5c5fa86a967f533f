"""How much is read at once: bodies that are only counted in large pieces, everything that a codec looks at in small ones."""

from __future__ import annotations

import select
import socket

from tests.proxy.rig import EMPTY, GET, answer
from tests.proxy.sockets import BodyCase
from voltgw.net.closing import unread_bytes
from voltgw.net.stream import MAX_READ_BYTES, READ_BYTES
from voltgw.proxy.reading import BULK_READ_BYTES

LONG = 4 * 1024 * 1024


class ReadingTests(BodyCase):
    def test_a_long_download(self) -> None:
        """A body of known length is read in large pieces, and the next head in small ones again."""
        self.ask()
        stream = self.stream("Upstream")
        self.assertEqual(stream.max_read_bytes, MAX_READ_BYTES)
        self.origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LONG)
        self.turn()
        self.assertEqual(stream.max_read_bytes, BULK_READ_BYTES)
        got = self.pump(self.origin, self.client, b"x" * LONG, LONG + 50)
        self.assertEqual(answer(got).body, b"x" * LONG)
        self.assertEqual(stream.max_read_bytes, MAX_READ_BYTES)
        self.assertLessEqual(stream._read_bytes, MAX_READ_BYTES)
        self.client.sendall(GET)
        self.heard(self.origin)
        self.origin.sendall(EMPTY)
        self.assertEqual(answer(self.heard(self.client)).start, 200)

    def test_a_body_that_ends_with_the_connection(self) -> None:
        """The same; nobody knows how long it is, and to an old client it passes as it is."""
        self.ask(b"GET / HTTP/1.0\r\n\r\n")
        self.origin.sendall(b"HTTP/1.1 200 OK\r\n\r\nx")
        self.heard(self.client)
        self.assertEqual(self.stream("Upstream").max_read_bytes, BULK_READ_BYTES)
        self.origin.close()
        self.spin(lambda: self.records.exchanges)

    def test_a_chunked_body(self) -> None:
        """Every chunk costs a look, so that a turn may not bring too many of them; whatever the body before was."""
        self.ask()
        self.origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LONG)
        self.pump(self.origin, self.client, b"x" * LONG, LONG + 50)
        self.spin(lambda: self.records.exchanges)
        self.client.sendall(GET)
        self.heard(self.origin)
        self.origin.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100)
        self.heard(self.client)
        stream = self.stream("Upstream")
        self.assertEqual(stream.max_read_bytes, MAX_READ_BYTES)
        self.pump(self.origin, self.client, b"1\r\nx\r\n" * 100_000, 600_000)
        self.assertLessEqual(stream._read_bytes, MAX_READ_BYTES)
        self.assertLess(self.loop.longest_turn_s, 0.5)

    def test_a_short_answer(self) -> None:
        """One that fits in a usual read changes nothing."""
        self.ask()
        self.origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        self.heard(self.client)
        self.assertEqual(self.stream("Upstream").max_read_bytes, MAX_READ_BYTES)

    def test_a_usual_body(self) -> None:
        """64 KiB, a usual size of buffers, come in one read with their head once reads have grown."""
        body = b"x" * 65536
        wire = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        self.ask()
        stream = self.stream("Upstream")
        stream._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        for _ in range(5):
            self.assertEqual(answer(self.pump(self.origin, self.client, wire, len(body) + 100)).body, body)
            self.client.sendall(GET)
            self.heard(self.origin)
        self.records.exchanges.clear()
        self.origin.sendall(wire)
        for _ in range(1000):               # turns of the loop would read
            if unread_bytes(stream.fd) == len(wire):
                break
            select.select([], [], [], 0.001)
        while not self.records.exchanges:
            self.assertEqual(stream.bytes_in, 5 * len(wire))        # nothing of it was read before
            self.turn()

    def test_uploads(self) -> None:
        """The client's side: a long body of known length in large pieces until its end, a chunked one in small ones."""
        self.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % LONG)
        stream = self.stream("Downstream")
        self.assertEqual(stream.max_read_bytes, BULK_READ_BYTES)
        self.assertEqual(len(self.pump(self.client, self.origin, b"x" * LONG, LONG)), LONG)
        self.assertEqual(stream.max_read_bytes, MAX_READ_BYTES)
        self.origin.sendall(EMPTY)
        self.heard(self.client)
        self.client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.heard(self.origin)
        self.assertEqual(stream.max_read_bytes, MAX_READ_BYTES)

    def test_what_a_stream_does(self) -> None:
        """`Stream.read_at_most` bounds the next read, too, and reads grow to the new bound and not beyond it."""
        self.ask(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        stream = self.stream("Downstream")
        stream.read_at_most(BULK_READ_BYTES)
        stream._read_bytes = BULK_READ_BYTES
        stream.read_at_most(READ_BYTES)
        self.assertEqual(stream._read_bytes, READ_BYTES)
        stream.read_at_most(2 * READ_BYTES)
        for _ in range(20):
            self.pump(self.client, self.origin, b"%x\r\n%b\r\n" % (LONG // 40, b"x" * (LONG // 40)), LONG // 40)
        self.assertLessEqual(stream._read_bytes, 2 * READ_BYTES)
