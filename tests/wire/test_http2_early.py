"""Answers that end before their requests do (RFC 9113 8.1): windows for the rest, and what comes of a stream that is reset."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.wire.h2rig import POST, Bench, data
from voltgw.wire import h2frames as frames
from voltgw.wire.h2heads import response_fields
from voltgw.wire.h2limits import Limits
from voltgw.wire.h2sending import EARLY_BYTES

OK = response_fields(200, [(b"server", b"voltgw")])
WINDOW = 64 * 1024
LENGTH = 3_000_000


class EarlyTests(SynchronousTestCase):
    def asked(self, length: int | None = LENGTH) -> Bench:
        """A connection with a request that has filled its window, which is not read."""
        bench = Bench(Limits(), eager=False)
        declared = [] if length is None else [(b"content-length", b"%d" % length)]
        bench.receive(bench.head(1, [*POST, *declared], False), *(data(1, bytes(1 << 14)) for _ in range(4)))
        bench.sent()
        return bench

    def windows(self, bench: Bench) -> dict[int, int]:
        """By how much the windows of the streams have grown, 0 being the connection, before the answer's end."""
        grown: dict[int, int] = {}
        for kind, flags, stream_id, payload in bench.sent():
            if flags & frames.END_STREAM:
                break
            if kind != frames.WINDOW_UPDATE:
                continue
            grown[stream_id] = grown.get(stream_id, 0) + int.from_bytes(payload, "big")
        return grown

    def test_the_rest_may_come_in_one_go(self) -> None:
        """Before the answer's end the peer hears that it may send all that it has declared, however the answer ends."""
        grown = {1: LENGTH - WINDOW, 0: LENGTH - WINDOW - (1024 * 1024 - WINDOW)}
        bench = self.asked()
        bench.connection.send_answer(bench.handler.streams[1], OK, b"of ours")
        self.assertEqual(self.windows(bench), grown)
        bench = self.asked()
        bench.connection.send_head(bench.handler.streams[1], OK, True)
        self.assertEqual(self.windows(bench), grown)
        bench = self.asked()
        stream = bench.handler.streams[1]
        bench.connection.send_head(stream, OK, False)
        bench.sent()
        bench.connection.send_data(stream, b"", True)
        self.assertEqual(self.windows(bench), grown)
        bench = self.asked()
        stream = bench.handler.streams[1]
        bench.connection.send_head(stream, OK, False)
        bench.sent()
        bench.connection.send_trailers(stream, [(b"grpc-status", b"0")])
        self.assertEqual(self.windows(bench), grown)

    def test_a_rest_of_unknown_length(self) -> None:
        """Without a Content-Length the windows grow to a limit, and once."""
        bench = self.asked(None)
        stream = bench.handler.streams[1]
        bench.connection.send_head(stream, OK, True)
        self.assertEqual(self.windows(bench)[1], EARLY_BYTES)
        self.assertEqual(stream.recv_window, EARLY_BYTES)

    def test_an_answer_that_waits_asks_once(self) -> None:
        """An end that is held because the peer's window is full does not let the windows grow again when it goes."""
        bench = self.asked()
        stream = bench.handler.streams[1]
        bench.connection.send_head(stream, OK, False)
        bench.connection.send_data(stream, bytes(100_000), True)
        first = [each for each in bench.sent() if each[0] == frames.WINDOW_UPDATE]
        bench.receive(frames.window_update(1, 100_000), frames.window_update(0, 100_000))
        self.assertEqual((len(first), [each for each in bench.sent() if each[0] == frames.WINDOW_UPDATE]), (2, []))

    def test_the_connection_has_its_size_again(self) -> None:
        """What the connection was lent is kept of what arrives, so that its window is never more than its size in the end."""
        bench = self.asked()
        stream = bench.handler.streams[1]
        bench.connection.send_answer(stream, OK, b"x")
        bench.connection.ignore(stream)
        left = LENGTH - WINDOW
        while left:
            part = min(left, 1 << 14)
            left -= part
            bench.receive(data(1, bytes(part), left == 0))
        self.assertIsNone(bench.connection.fault)
        self.assertNotIn(1, bench.connection.streams)
        self.assertLessEqual(bench.connection.recv_window, Limits().window_bytes)
        self.assertGreater(bench.connection.recv_window, Limits().window_bytes // 2)

    def test_the_peer_hears_when_all_has_come(self) -> None:
        """A last WINDOW_UPDATE of the connection wakes a peer that waits for a sign of life."""
        bench = self.asked()
        stream = bench.handler.streams[1]
        bench.connection.send_answer(stream, OK, b"x")
        bench.connection.ignore(stream)
        bench.sent()
        bench.receive(data(1, b"", True))       # it has given up: nobody minds its Content-Length any more
        said = bench.sent()
        self.assertEqual([each[:3] for each in said], [(frames.WINDOW_UPDATE, 0, 0)])
        self.assertEqual(bench.codes(), [])

    def test_tunnels_have_two_ways(self) -> None:
        """The end of one way of a tunnel (RFC 8441) lets no window grow."""
        bench = Bench(Limits(extended_connect=True), eager=False)
        bench.receive(bench.head(1, [
            (b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"https"), (b":authority", b"a.example"),
            (b":path", b"/")], False), data(1, bytes(1 << 14)))
        stream = bench.handler.streams[1]
        bench.connection.send_head(stream, OK, False)
        bench.sent()
        bench.connection.send_data(stream, b"", True)
        self.assertEqual(self.windows(bench), {})

    def test_what_was_on_its_way(self) -> None:
        """DATA that crosses our RST_STREAM costs nothing while it keeps to its window; what is beyond does, and ends it."""
        bench = Bench(Limits(), eager=False)
        for stream_id in range(1, 2001, 2):
            bench.receive(bench.head(stream_id, POST, False))
            bench.connection.reset(bench.handler.streams[stream_id], frames.NO_ERROR)
            bench.receive(*(data(stream_id, bytes(1 << 12)) for _ in range(16)))
            bench.sent()
        self.assertIsNone(bench.connection.fault)
        for _ in range(Limits().strays.burst + 1):
            bench.receive(data(1999, bytes(100)))
        self.assertEqual(bench.codes(), [(0, frames.ENHANCE_YOUR_CALM)])
        self.assertEqual(bench.counters.spent["strays"], 1)
