"""How much is read at once: bodies that are only counted in large pieces, everything that a codec looks at in small ones."""

from __future__ import annotations

import socket
from typing import Any

from tests.proxy.rig import EMPTY, GET, answer
from tests.proxy.sockets import SocketCase
from voltgw.net.stream import MAX_READ_BYTES, READ_BYTES
from voltgw.proxy.reading import BULK_READ_BYTES

LONG = 4 * 1024 * 1024


class ReadingTests(SocketCase):
    def setUp(self) -> None:
        """A client."""
        super().setUp()
        self.client = self.connect(self.http())

    def stream(self, protocol: str) -> Any:
        """The one stream with a protocol of this name."""
        found, = (owner for owner in self.loop._owners() if protocol in repr(owner))
        return found

    def ask(self, request: bytes = GET) -> None:
        """A request on a new connection to the endpoint."""
        self.client.sendall(request)
        self.accept()
        self.heard(self.origin)

    def pump(self, source: socket.socket, sink: socket.socket, data: bytes, wanted: int) -> bytes:
        """Send `data` while reading at the other end, until `wanted` bytes have come."""
        for sock in (source, sink):
            sock.setblocking(False)
        view, pieces, come = memoryview(data), [], 0
        for _ in range(100_000):
            if view:
                try:
                    view = view[source.send(view):]
                except BlockingIOError:
                    pass
            self.turn()
            try:
                pieces.append(sink.recv(1 << 20))
                come += len(pieces[-1])
            except BlockingIOError:
                pass
            if come >= wanted:
                break
        for sock in (source, sink):
            sock.settimeout(5)
        return b"".join(pieces)

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
