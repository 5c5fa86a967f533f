"""The data plane on real sockets and our own streams, where the kernel has a say: closes, resets, full buffers."""

from __future__ import annotations

import socket
from typing import Any

from tests.proxy.rig import EMPTY, GET, answer
from tests.proxy.sockets import SocketCase
from voltgw.net.deadlines import TICK_S
from voltgw.values.defaults import BODY_IDLE_TIMEOUT_S, KEEP_ALIVE_TIMEOUT_S, LINGER_TIMEOUT_S, TUNNEL_IDLE_TIMEOUT_S
from voltgw.values.exchange import Exchange

LATE = 4 * TICK_S


class Mistake(Exception):
    """A bug of a filter."""


class HttpTests(SocketCase):
    def until_closed(self, client: socket.socket) -> bytes:
        """All that the client gets, to the FIN."""
        data = b""
        while piece := self.heard(client):
            data += piece
        return data

    def test_an_early_answer_is_read_in_spite_of_the_upload(self) -> None:
        """The client goes on sending after the endpoint has said 413: it reads the answer whole, and no reset before
        it."""
        client = self.connect(self.http())
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n" + b"x" * 1000)
        self.accept()
        self.heard(self.origin)
        self.origin.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        self.spin(lambda: self.records.exchanges)
        for _ in range(50):
            client.sendall(b"x" * 10_000)
            self.turn()
        self.assertEqual((answer(self.until_closed(client)).start, self.cluster.connections), (413, 0))

    def test_a_refused_request_is_answered_in_spite_of_what_follows(self) -> None:
        """400, then FIN; what was sent behind it is read and thrown away, so that no reset overtakes the answer."""
        client = self.connect(self.http())
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" + GET * 2000)
        self.assertEqual(answer(self.until_closed(client)).start, 400)
        client.sendall(GET)
        client.shutdown(socket.SHUT_WR)
        self.spin(lambda: not self.loop.open)
        self.assertEqual(len(self.records.exchanges), 1)

    def test_a_mistake_of_a_filter(self) -> None:
        """The guard of the loop lets the connection answer 500 before it closes."""
        def mistake(exchange: Exchange) -> None:
            raise Mistake("no")

        self.route.request_filters = (mistake,)
        client = self.connect(self.http())
        client.sendall(GET)
        self.assertEqual(answer(self.until_closed(client)).start, 500)
        self.assertEqual((self.loop.failures, len(self.flushLoggedErrors(Mistake))), (1, 1))

    def test_a_client_that_never_reads(self) -> None:
        """Its keep-alive connection times out with an answer unread: it is closed for good, not only half (promise
        19)."""
        client = self.connect(self.http())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.accept()
        self.heard(self.origin)
        self.origin.setblocking(False)
        stream = next(iter(self.streams("Downstream")))
        self.origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not stream._out_bytes:        # until the kernel takes no more for the client
            try:
                self.origin.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
            except BlockingIOError:
                pass
            self.turn()
        self.origin.settimeout(5)
        self.origin.sendall(b"0\r\n\r\n")
        self.spin(lambda: self.records.exchanges)
        self.assertTrue(stream._out_bytes)
        self.advance(KEEP_ALIVE_TIMEOUT_S + LATE)
        self.assertEqual(len(self.streams("Downstream")), 1)        # it has still time to read
        self.advance(BODY_IDLE_TIMEOUT_S + LATE)
        self.assertEqual(self.streams("Downstream"), [])

    def test_a_stale_connection(self) -> None:
        """The endpoint has closed a pooled connection: the request goes out again on a new one, and the client notices
        nothing."""
        client = self.connect(self.http())
        client.sendall(GET)
        self.accept()
        self.heard(self.origin)
        self.origin.sendall(EMPTY)
        self.heard(client)
        self.origin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.sendall(GET)                 # both wait for the same turn: the request and the reset
        self.origin.close()
        self.accept()
        self.heard(self.origin)
        self.origin.sendall(EMPTY)
        self.assertEqual(answer(self.heard(client)).start, 200)

    def test_switching_protocols(self) -> None:
        """From the 101 on the streams are joined directly; all bytes arrive, both ways at once, and FIN behind them."""
        self.route.upgrades = frozenset((b"websocket",))
        client = self.connect(self.http())
        client.sendall(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
        self.accept()
        self.heard(self.origin)
        self.origin.sendall(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nworm")
        self.assertEqual(self.heard(self.origin), b"early")
        self.assertTrue(self.heard(client).endswith(b"\r\n\r\nworm"))
        total = 4 * 1024 * 1024
        heard = {client: 0, self.origin: 0}
        left = {client: total, self.origin: total}
        for sock in heard:
            sock.setblocking(False)
        while any(left.values()) or sum(heard.values()) < 2 * total:
            for sock in heard:
                try:
                    left[sock] -= sock.send(b"x" * min(left[sock], 200_000)) if left[sock] else 0
                except BlockingIOError:
                    pass
                try:
                    heard[sock] += len(sock.recv(1 << 20))
                except BlockingIOError:
                    pass
            self.turn()
        for sock in heard:
            sock.settimeout(5)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(self.heard(self.origin), b"")
        self.origin.sendall(b"last")
        self.assertEqual(self.heard(client), b"last")
        self.origin.close()
        self.spin(lambda: not self.loop.open)
        record, = self.records.exchanges
        self.assertEqual((record.response_code, record.flag, record.bytes_out - record.bytes_in < 1000), (101, "", True))
        self.assertGreater(record.bytes_in, total)

    def test_a_close_of_ours_ends(self) -> None:
        """A client that keeps its end open after the last answer holds nothing for long."""
        self.host.max_requests_per_connection = 1
        client = self.connect(self.http())
        client.sendall(GET)
        self.accept()
        self.heard(self.origin)
        self.origin.sendall(EMPTY)
        self.assertEqual(answer(self.until_closed(client)).get(b"connection"), b"close")
        self.assertEqual(len(self.streams("Downstream")), 1)
        self.advance(LINGER_TIMEOUT_S + LATE)
        self.assertEqual(self.streams("Downstream"), [])

    def streams(self, protocol: str) -> list[Any]:
        """The open streams with a protocol of this name."""
        return [owner for owner in self.loop._owners() if protocol in repr(owner)]


class TcpTests(SocketCase):
    def test_half_close_both_ways(self) -> None:
        """FIN follows the data in each direction; the other stays open."""
        for first in ("client", "origin"):
            client = self.connect(self.tcp())
            self.accept()
            one, other = (client, self.origin) if first == "client" else (self.origin, client)
            one.sendall(b"last words")
            one.shutdown(socket.SHUT_WR)
            self.assertEqual((self.heard(other), self.heard(other)), (b"last words", b""))
            other.sendall(b"answer")
            self.assertEqual(self.heard(one), b"answer")
            other.shutdown(socket.SHUT_WR)
            self.assertEqual(self.heard(one), b"")
            self.spin(lambda: not self.loop.open)
        self.assertEqual([(record.flag, record.bytes_in, record.bytes_out) for record in self.records.connections],
                         [("", 10, 6), ("", 6, 10)])

    def test_a_reset_is_passed_on(self) -> None:
        """RST arrives as RST, either way."""
        for first in ("client", "origin"):
            client = self.connect(self.tcp())
            self.accept()
            one, other = (client, self.origin) if first == "client" else (self.origin, client)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()
            self.assertRaises(ConnectionResetError, self.heard, other)
            self.spin(lambda: not self.loop.open)
        self.assertEqual([record.flag for record in self.records.connections], ["DC", "UC"])

    def test_an_endpoint_that_never_reads(self) -> None:
        """The client's bytes stop at the buffers; the silent relay is closed for good in the end."""
        client = self.connect(self.tcp())
        self.accept()
        client.setblocking(False)
        sent, idle = 0, 0
        while idle < 20:
            try:
                sent += client.send(b"x" * 65536)
                idle = 0
            except BlockingIOError:
                idle += 1
            self.turn()
        held: list[Any] = [stream for stream in self.loop._owners() if "Server" in repr(stream)]
        self.assertEqual(len(held), 1)
        self.assertLess(held[0]._out_bytes, 2 * 1024 * 1024)        # one read of a relay, and the mark
        self.advance(2 * TUNNEL_IDLE_TIMEOUT_S + LINGER_TIMEOUT_S + LATE)
        self.assertEqual(self.loop.open, 0)
