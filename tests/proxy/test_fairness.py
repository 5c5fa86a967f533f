"""One greedy client and a polite one, on real sockets: how many requests of the other go before that of the polite one."""

from __future__ import annotations

import socket

from hpack import Encoder

from tests.proxy.sockets import SocketCase
from voltgw.proxy.http2 import REQUESTS_A_TURN
from voltgw.values.reply import Reply

GET = b"GET /%b HTTP/1.1\r\nHost: shop\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"


class FairnessTests(SocketCase):
    """Every request is answered by us, so that all of the work is done in the turn that begins it."""

    def setUp(self) -> None:
        super().setUp()
        self.route.answer = lambda head, asked: Reply(200, body=b"ok")
        self.route.split = self.route.cluster = None
        self.factory = self.http()
        self.factory.prior_knowledge = self.host.prior_knowledge = True
        self.port = self.listen(self.factory)

    def beside(self, greedy: bytes) -> tuple[int, int]:
        """A greedy client has said all that at once, then a polite one asks.

        How many requests of the greedy one were begun between the polite one's and its answer, and the turns that it took.
        """
        hog, polite = self.socket(self.port), self.socket(self.port)
        self.spin(lambda: self.loop.accepted == 2)
        hog.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        hog.setblocking(False)
        self.assertEqual(hog.send(greedy), len(greedy))
        self.spin(lambda: self.records.exchanges)
        before, turns = self.of_the_hog(), self.loop.turns
        polite.sendall(GET % b"polite")
        self.spin(lambda: any(each.request.path == b"/polite" for each in self.records.exchanges))
        found = (self.of_the_hog() - before, self.loop.turns - turns)
        hog.setblocking(True)
        while self.of_the_hog() < 1000:     # nothing of what it has asked for is lost
            self.turn()
            try:
                hog.recv(1 << 20, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
        return found

    def of_the_hog(self) -> int:
        """Its requests so far."""
        return sum(each.request.path == b"/hog" for each in self.records.exchanges)

    def test_a_pipelining_client(self) -> None:
        """With 1,000 requests sent ahead it has one a turn, and the other is answered in the turn that reads it."""
        begun, turns = self.beside((GET % b"hog") * 1000)
        self.assertTrue(turns <= 2, turns)
        self.assertTrue(begun <= 4, begun)

    def test_a_client_of_http_2(self) -> None:
        """With 1,000 requests sent at once it has `REQUESTS_A_TURN` a turn."""
        encoder = Encoder()
        sent = [PREFACE]
        for number in range(1000):
            block = encoder.encode([(":method", "GET"), (":scheme", "http"), (":authority", "shop"), (":path", "/hog")])
            sent.append(len(block).to_bytes(3, "big") + b"\x01\x05" + (1 + 2 * number).to_bytes(4, "big") + block)
        begun, turns = self.beside(b"".join(sent))
        self.assertTrue(turns <= 2, turns)
        self.assertTrue(begun <= 2 * REQUESTS_A_TURN, begun)
