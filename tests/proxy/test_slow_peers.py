"""Long bodies to peers that read slowly, on real sockets: what the gateway may hold of them, and that every byte comes."""

from __future__ import annotations

import socket
import tracemalloc
from hashlib import sha256

from tests.proxy.sockets import SocketCase
from voltgw.net.outgoing import JOIN_BYTES
from voltgw.net.stream import Stream

#: What one exchange may hold of bytes that its peer has not taken.
MOST_BYTES = 256 * 1024
#: Beside them, all objects that hold those bytes. (A piece of which a part is sent stays whole in memory until all of it is.)
OBJECT_BYTES = 8 * 1024
#: More than what the kernel's own buffers on the way take together, so that the writer is stopped.
BODY_BYTES = 24 * 1024 * 1024
PIECE = bytes(range(256)) * 256
CHUNK = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
PIECES = BODY_BYTES // len(PIECE)
#: How much the slow peer reads each time that nothing else happens.
SIP_BYTES = 32 * 1024
LENGTH = b"Content-Length: %d\r\n\r\n" % BODY_BYTES
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


class SlowPeerTests(SocketCase):
    def pass_on(self, writer: socket.socket, reader: socket.socket, piece: bytes, end: bytes, most: int) -> None:
        """Write all pieces as fast as they go, read them a sip at a time; `most` bytes may the gateway hold meanwhile."""
        writer.setblocking(False)
        reader.setblocking(False)
        whole, got = sha256(piece * PIECES + end).digest(), sha256()
        left, rest, unsent, size, held = PIECES, memoryview(piece), 0, len(piece) * PIECES + len(end), 0
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        base, _ = tracemalloc.get_traced_memory()
        for _ in range(200_000):
            stuck = True
            if len(rest):
                try:
                    rest = rest[writer.send(rest):]
                    stuck = False
                except BlockingIOError:
                    pass
                if not len(rest) and left:
                    left -= 1
                    rest = memoryview(piece if left else end)
            while self.wait(0.0):
                before = sum(each.bytes_in + each.bytes_out for each in self.streams())
                self.turn()
                unsent = max(unsent, sum(each.unsent for each in self.streams()))
                held = max(held, tracemalloc.get_traced_memory()[0] - base)
                if before == sum(each.bytes_in + each.bytes_out for each in self.streams()):
                    break
                stuck = False
            if stuck:
                try:
                    data = reader.recv(SIP_BYTES)
                except BlockingIOError:
                    continue
                self.assertTrue(data)
                got.update(data)
                size -= len(data)
                del data                    # ours, not the gateway's
                if not size:
                    break
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertEqual((size, got.digest()), (0, whole))
        self.assertGreater(unsent, 0, "the reader was never too slow")
        self.assertLess(unsent, most)
        self.assertLess(held, most + OBJECT_BYTES, "memory between two turns")
        self.assertLess(peak - base, most + JOIN_BYTES, "memory while one turn lasts, in which small pieces are joined for one send")

    def streams(self) -> list[Stream]:
        """Connections of the gateway."""
        return [owner for owner in self.loop._owners() if isinstance(owner, Stream)]

    def head(self, sock: socket.socket) -> None:
        """Read a head, which is all that has come."""
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += self.heard(sock, 1)

    def upload(self, framing: bytes, piece: bytes, end: bytes) -> None:
        """A client that writes fast, an endpoint that reads slowly."""
        client = self.connect(self.http())
        client.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\n" + framing)
        self.accept()
        self.head(self.origin)
        self.pass_on(client, self.origin, piece, end, MOST_BYTES)
        self.origin.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.spin(lambda: self.records.exchanges)

    def download(self, framing: bytes, piece: bytes, end: bytes) -> None:
        """An endpoint that writes fast, a client that reads slowly."""
        client = self.connect(self.http())
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.accept()
        self.head(self.origin)
        self.origin.sendall(b"HTTP/1.1 200 OK\r\n" + framing)
        self.head(client)
        self.pass_on(self.origin, client, piece, end, MOST_BYTES)
        self.spin(lambda: self.records.exchanges)

    def test_an_upload_of_known_length(self) -> None:
        """At most 256 KiB of it are held, though the endpoint reads a sip at a time (promises 3.5)."""
        self.upload(LENGTH, PIECE, b"")

    def test_a_chunked_upload(self) -> None:
        """Likewise."""
        self.upload(CHUNKED, CHUNK, b"0\r\n\r\n")

    def test_a_download_of_known_length(self) -> None:
        """At most 256 KiB of it are held, though the client reads a sip at a time."""
        self.download(LENGTH, PIECE, b"")

    def test_a_chunked_download(self) -> None:
        """Likewise."""
        self.download(CHUNKED, CHUNK, b"0\r\n\r\n")
