"""A warm request over HTTP/2 passes through few calls of ours, whether or not its path was seen before."""

from __future__ import annotations

from typing import Final

from hpack import Decoder, Encoder

from tests.proxy.rig2 import frames
from tests.proxy.sockets import SocketCase
from tests.proxy.test_call_count import ANSWER, request_filter, response_filter
from voltgw.wire import huffman

#: Calls into our own code for one warm GET with a filter each way and an endpoint of HTTP/1.1.
MOST: Final = 50
#: The same for a path that was never seen: its octets are decoded, and tables of Huffman's code may grow by a row each.
MOST_NEW: Final = 64
LEAST: Final = 10
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000 04 00 00000000")


class Request2Case(SocketCase):
    def setUp(self) -> None:
        """A filter for each direction, and a client of HTTP/2."""
        super().setUp()
        self.route.request_filters = (request_filter,)
        self.route.response_filters = (response_filter,)
        self.host.prior_knowledge = True
        factory = self.http()
        factory.prior_knowledge = True
        self.client = self.connect(factory)
        self.encoder, self.decoder = Encoder(), Decoder()
        self.stream = -1
        self.client.sendall(PREFACE)
        self.heard(self.client)

    def request(self, path: bytes, indexed: bool = False) -> bytes:
        """HEADERS of one GET. The path is a literal outside the table, as most clients send it, unless it is `indexed`."""
        self.stream += 2
        block = self.encoder.encode([(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"shop.example")])
        if indexed:
            block += self.encoder.encode([(b":path", path)])
        else:
            coded = huffman.encode(path)
            block += bytes((0x04, 0x80 | len(coded))) + coded
        block += self.encoder.encode([
            (b"user-agent", b"test/1.0"), (b"accept", b"*/*"), (b"accept-encoding", b"gzip"), (b"cookie", b"session=1")])
        return len(block).to_bytes(3, "big") + b"\x01\x05" + self.stream.to_bytes(4, "big") + block

    def answer(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """The fields of the one answer in `data`, which has its body as well."""
        came = [each for each in frames(data) if each[2] == self.stream]
        self.assertEqual([(kind, flags) for kind, flags, _, _ in came], [(1, 4), (0, 1)])
        self.assertEqual(came[1][3], b"hello")
        return list(self.decoder.decode(came[0][3], raw=True))

    def serve(self, path: bytes) -> None:
        """One request through the gateway."""
        self.client.sendall(self.request(path))
        if not hasattr(self, "origin"):
            self.accept()
        self.assertIn(b"x-added: 1\r\n", self.heard(self.origin))
        self.origin.sendall(ANSWER)
        data = b""
        while b"hello" not in data:
            data += self.heard(self.client)
        self.assertIn((b"x-added", b"1"), self.answer(data))


class CallCount2Tests(Request2Case):
    def calls_of_a_request(self, path: bytes, indexed: bool = False) -> list[str]:
        """Our own calls for one request on warm connections."""
        self.client.sendall(self.request(path, indexed))
        calls = self.calls_of_a_turn()
        self.assertTrue(self.origin.recv(65536).startswith(b"GET " + path + b" HTTP/1.1\r\n"))
        self.origin.sendall(ANSWER)
        calls += self.calls_of_a_turn()
        self.answer(self.client.recv(65536))
        return calls

    def test_a_warm_get_stays_within_its_calls(self) -> None:
        """From the readable socket to the answer's write: at most `MOST` calls of ours, and at least `LEAST`."""
        for number in range(3):
            self.serve(b"/index.html?x=%d" % number)
        for path, indexed, most in ((b"/index.html?x=1", False, MOST), (b"/index.html?x=2", False, MOST),
                                    (b"/never/seen?y=1", False, MOST_NEW), (b"/never/seen?y=2", True, MOST_NEW)):
            calls = self.calls_of_a_request(path, indexed)
            self.assertLessEqual(len(calls), most, calls)
            self.assertGreaterEqual(len(calls), LEAST, calls)
