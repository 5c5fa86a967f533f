"""What an HTTP/2 peer may not overdo (RFC 9113 10.5; promises 3.4): each flood by name, and what honest peers may."""

from __future__ import annotations

import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from tests.wire.h2rig import GET, POST, Bench, data, frame
from voltgw.wire import h2frames as frames
from voltgw.wire.h2frames import header, ping, rst_stream, settings, window_update
from voltgw.wire.h2heads import response_fields
from voltgw.wire.h2limits import Account, Budget, Limits
from voltgw.wire.hpack import text

CALM = [(0, frames.ENHANCE_YOUR_CALM)]


class FloodTests(SynchronousTestCase):
    def calmed(self, bench: Bench, kind: str) -> None:
        """The connection is over for a flood of this kind ("" = none with a budget), counted, and its output was bounded."""
        fault = bench.connection.fault
        assert fault is not None
        self.assertEqual((fault.code, bench.counters.floods), (frames.ENHANCE_YOUR_CALM, 1), str(fault))
        self.assertEqual({name: count for name, count in bench.counters.spent.items() if count}, {kind: 1} if kind else {})
        self.assertEqual(bench.log[-1], ("fault", frames.ENHANCE_YOUR_CALM))

    def test_rapid_reset(self) -> None:
        """Streams that are opened and reset at once (CVE-2023-44487); every request was told of its end."""
        bench = Bench()
        for stream_id in range(1, 2000, 2):
            bench.receive(bench.head(stream_id), rst_stream(stream_id, frames.CANCEL))
            bench.connection.take()
        self.calmed(bench, "resets")
        requests = [each for each in bench.log if each[0] == "request"]
        resets = [each for each in bench.log if each[0] == "reset"]
        self.assertEqual(len(requests), len(resets))
        self.assertLess(len(requests), 300)

    def test_made_you_reset(self) -> None:
        """Streams that we must reset for what the peer sends (CVE-2025-8671), in each of the known ways."""
        for provoke in (lambda s: window_update(s, 0), lambda s: window_update(s, (1 << 31) - 1), lambda s: data(s, b"x"),
                        lambda s: frame(frames.PRIORITY, 0, s, b"abcd"), lambda s: frame(frames.HEADERS, 5, s, b"\x82")):
            bench = Bench()
            for stream_id in range(1, 2000, 2):
                bench.receive(bench.head(stream_id), provoke(stream_id))
                bench.connection.take()
            self.assertEqual(bench.counters.floods, 1)
            self.assertLess(len([each for each in bench.log if each[0] == "request"]), 300)

    def test_malformed_requests(self) -> None:
        """They are resets of ours, too."""
        bench = Bench()
        for stream_id in range(1, 2000, 2):
            bench.receive(frame(frames.HEADERS, 5, stream_id, b"\x82"))
        self.calmed(bench, "resets")

    def test_streams_above_the_limit(self) -> None:
        """Each is refused, unread but for the table; who goes on and on is told to calm down (5.1.2)."""
        bench = Bench(Limits(max_streams=2))
        bench.receive(bench.head(1), bench.head(3), bench.head(5, [*GET, (b"server", b"in the table")]))
        self.assertEqual(bench.codes(), [(5, frames.REFUSED_STREAM)])
        bench.connection.send_head(bench.handler.streams[1], response_fields(204, []), True)
        bench.receive(bench.head(7, [*GET, (b"server", b"in the table")]))
        self.assertEqual(bench.log[-1][1:6:4], (7, ((b"server", b"in the table"),)))
        self.assertEqual(bench.counters.refused_streams, 1)
        for stream_id in range(9, 2000, 2):
            bench.receive(bench.head(stream_id))
        self.calmed(bench, "resets")

    def test_floods_of_small_frames(self) -> None:
        """SETTINGS, PING, their answers, priorities, windows, empty DATA, unknown frames, frames on closed streams."""
        for kind, piece in (
            ("settings", settings({})), ("settings", frames.SETTINGS_ACK), ("pings", ping(bytes(8))),
            ("pings", ping(bytes(8), frames.ACK)), ("priorities", frame(frames.PRIORITY, 0, 9, bytes(5))),
            ("priorities", frame(frames.PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=1")), ("window_updates", window_update(0, 1)),
            ("window_updates", window_update(1, 1)), ("empty_data", data(1, b"")), ("empty_data", data(1, b"", padding=9)),
            ("strays", frame(99, 0, 0, b"")), ("strays", rst_stream(3, 8)), ("strays", frames.goaway(0, 0)),
        ):
            bench = Bench()
            bench.receive(bench.head(1, POST, False), bench.head(3), rst_stream(3, 8))
            for _ in range(40):
                bench.receive(piece * 50)
                self.assertLess(len(bench.connection.take()), 4000)
            self.calmed(bench, kind)

    def test_header_blocks_without_end(self) -> None:
        """CONTINUATION frames, empty or full, are bounded in number and octets."""
        for fragment, most in ((b"", 40 * 9), (b"\0" * 16000, 200000)):
            bench = Bench()
            tracemalloc.start()
            try:
                bench.receive(header(0, frames.HEADERS, 0, 1))
                count = 0
                while bench.connection.fault is None:
                    bench.receive(frame(frames.CONTINUATION, 0, 1, fragment))
                    count += len(fragment) + 9
                    self.assertLess(count, most)
            finally:
                tracemalloc.stop()
            self.calmed(bench, "")

    def test_a_hpack_bomb(self) -> None:
        """Heads of 16 KB that mean 64 MB each are answered 431 and keep no memory; who goes on is told to calm down (promise 9)."""
        bench = Bench()
        bench.receive(frame(frames.HEADERS, 5, 1, b"\x82\x87\x84\x41\x01a\x40\x01b" + text(b"x" * 4000)))
        bomb = b"\x82\x87\x84\xbf" + b"\xbe" * 16000

        def throw(stream_ids: range) -> None:
            for stream_id in stream_ids:
                bench.receive(frame(frames.HEADERS, 5, stream_id, bomb))
                if bench.connection.fault is not None:
                    return
                bench.connection.send_head(bench.handler.streams[stream_id], response_fields(431, []), True)
                bench.connection.take()

        tracemalloc.start()
        try:
            throw(range(3, 43, 2))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.assertLess(peak, 4 << 20)
        self.assertEqual({each[::2] for each in bench.log[1:]}, {("bad", 431)})
        throw(range(43, 2000, 2))
        self.calmed(bench, "resets")
        self.assertLess(len(bench.log), 300)

    def test_a_peer_that_asks_and_does_not_read(self) -> None:
        """Acknowledgements and resets that nobody takes are bounded."""
        bench = Bench(Limits(max_queued_control=100, pings=Budget(10000, 0.0)))
        for _ in range(3):
            bench.receive(ping(bytes(8)) * 50)
        self.assertEqual(bench.codes(), CALM)

    def test_a_peer_that_dribbles(self) -> None:
        """Windows of an octet do not earn more of them, so that small frames end (CVE-2019-9511)."""
        bench = Bench(peer={frames.INITIAL_WINDOW_SIZE: 0})
        bench.receive(bench.head(1))
        bench.connection.send_data(bench.handler.streams[1], b"x" * 60000)
        sent = 0
        while bench.connection.fault is None:
            bench.receive(window_update(1, 1))
            sent += len(bench.sent())
            self.assertLess(sent, 2000)
        self.calmed(bench, "window_updates")


class HonestTests(SynchronousTestCase):
    def test_an_answered_stream_earns_a_reset(self) -> None:
        """A client that gives up half of what it asks, for hours, is no attacker."""
        bench = Bench()
        for stream_id in range(1, 20000, 4):
            bench.receive(bench.head(stream_id), bench.head(stream_id + 2), rst_stream(stream_id + 2, 8))
            bench.connection.send_head(bench.handler.streams[stream_id], response_fields(204, []), True)
            bench.connection.take()
        self.assertIsNone(bench.connection.fault)

    def test_windows_for_what_we_send(self) -> None:
        """A client that grants windows frame by frame, on both levels, is well behaved."""
        bench = Bench()
        bench.receive(bench.head(1))
        stream = bench.handler.streams[1]
        for _ in range(5000):
            bench.connection.send_data(stream, b"x" * 1400)
            bench.connection.take()
            bench.receive(window_update(1, 1400), window_update(0, 1400))
        self.assertIsNone(bench.connection.fault)

    def test_time_gives_budgets_back(self) -> None:
        """So many a second for ever, and after a pause a burst again, but not two."""
        account = Account(Budget(10, 2.0), 0.0)
        self.assertEqual(sum(account.spend(0.0) for _ in range(20)), 10)
        self.assertEqual(sum(account.spend(1.0) for _ in range(20)), 2)
        self.assertEqual(sum(account.spend(1000.0) for _ in range(20)), 10)
        account.earn(50)
        self.assertEqual(sum(account.spend(1000.0) for _ in range(20)), 10)
        bench = Bench()
        for _ in range(1000):
            bench.now += 0.2
            bench.receive(ping(bytes(8)))
            bench.connection.take()
        self.assertIsNone(bench.connection.fault)

    def test_many_resets_that_cross(self) -> None:
        """What comes for the streams that we have reset lately is ignored."""
        bench = Bench()
        for stream_id in range(1, 200, 2):
            bench.receive(bench.head(stream_id, POST, False))
            bench.connection.reset(bench.handler.streams[stream_id], frames.CANCEL)
            bench.connection.take()
        bench.receive(*(data(stream_id, b"x", True) for stream_id in range(1, 200, 2)))
        self.assertIsNone(bench.connection.fault)
