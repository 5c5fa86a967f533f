"""Rules of RFC 9113 that stand alone: what we acknowledge, in which order settings count, what we send and what we never send."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.wire.h2rig import GET, POST, Bench, data, frame, split
from voltgw.wire import h2frames as frames
from voltgw.wire.h2frames import PREFACE, error_name, goaway, header, ping, rst_stream, settings, window_update
from voltgw.wire.h2heads import response_fields
from voltgw.wire.h2limits import Limits

OK = response_fields(200, [(b"server", b"voltgw")])


class SettingsTests(SynchronousTestCase):
    def test_the_first_frame_is_settings(self) -> None:
        """From either side; the client's stands behind its preface (3.4). A server announces no push, a client forbids it (6.5.2)."""
        for client in (False, True):
            bench = Bench(client=client)
            self.assertEqual(bench.first.startswith(PREFACE), client)
            kind, flags, stream_id, payload = split(bench.first.removeprefix(PREFACE))[0]
            self.assertEqual((kind, flags, stream_id), (frames.SETTINGS, 0, 0))
            pairs = {int.from_bytes(payload[at:at + 2], "big"): int.from_bytes(payload[at + 2:at + 6], "big")
                     for at in range(0, len(payload), 6)}
            self.assertEqual(pairs.get(frames.ENABLE_PUSH), 0 if client else None)
            self.assertEqual(pairs[frames.MAX_HEADER_LIST_SIZE], Limits().max_list_bytes)
            self.assertEqual(pairs.get(frames.MAX_CONCURRENT_STREAMS), None if client else Limits().max_streams)

    def test_each_is_acknowledged_once(self) -> None:
        """With an empty frame; an acknowledgement is not acknowledged (6.5.3)."""
        bench = Bench()
        bench.receive(settings({77: 1}), frames.SETTINGS_ACK, settings({}))
        self.assertEqual(bench.sent(), [(frames.SETTINGS, frames.ACK, 0, b"")] * 2)

    def test_values_count_in_their_order(self) -> None:
        """The last one of a kind is in force, and those that nobody knows are ignored (6.5.3, 6.5.2)."""
        bench = Bench()
        pair = (frames.INITIAL_WINDOW_SIZE).to_bytes(2, "big")
        bench.receive(frame(frames.SETTINGS, 0, 0, pair + (7).to_bytes(4, "big") + b"\xee\xee" + bytes(4) + pair + (3).to_bytes(4, "big")))
        bench.receive(bench.head(1))
        stream = bench.handler.streams[1]
        bench.sent()
        bench.connection.send_head(stream, OK, False)
        bench.connection.send_data(stream, b"12345", True)
        self.assertEqual([payload for kind, _, _, payload in bench.sent() if kind == frames.DATA], [b"123"])

    def test_frames_are_as_large_as_the_peer_takes(self) -> None:
        """16,384 octets unless it says more, for DATA and for fields; a larger block goes on in CONTINUATION at once (4.2, 4.3, 6.10)."""
        for most in (None, 20000):
            bench = Bench(peer={} if most is None else {frames.MAX_FRAME_SIZE: most})
            bench.receive(bench.head(1), window_update(0, 1 << 20), window_update(1, 1 << 20))
            bench.sent()
            stream = bench.handler.streams[1]
            bench.connection.send_head(stream, response_fields(200, [(b"x-a", b"\xff" * 50000)]), False)
            bench.connection.send_data(stream, b"x" * 50000, True)
            sent = bench.sent()
            sizes = [len(payload) for _, _, _, payload in sent]
            self.assertEqual(max(sizes), most or 16384)
            kinds = [kind for kind, _, _, _ in sent]
            blocks = kinds.index(frames.DATA)
            self.assertEqual(kinds[:blocks], [frames.HEADERS, *[frames.CONTINUATION] * (blocks - 1)])
            self.assertEqual([flags & frames.END_HEADERS for _, flags, _, _ in sent[:blocks]], [0] * (blocks - 1) + [frames.END_HEADERS])


class PingTests(SynchronousTestCase):
    def test_its_octets_come_back(self) -> None:
        """With ACK; an ACK is not answered (6.7)."""
        bench = Bench()
        bench.receive(ping(b"12345678"), ping(b"87654321", frames.ACK))
        self.assertEqual(bench.sent(), [(frames.PING, frames.ACK, 0, b"12345678")])
        self.assertEqual(bench.log, [("pong", b"87654321")])


class EndTests(SynchronousTestCase):
    def test_a_fault_names_the_last_stream_that_counted(self) -> None:
        """GOAWAY has the highest stream of the peer's that was looked at, the code, and words for whoever debugs (5.4.1, 6.8)."""
        bench = Bench()
        bench.receive(bench.head(5), bench.head(9, POST, False), ping(bytes(8)), data(0, b"x"), bench.head(11))
        kind, _, stream_id, payload = bench.sent()[-1]
        self.assertEqual((kind, stream_id, payload[:8]), (frames.GOAWAY, 0, b"\0\0\0\x09\0\0\0\x01"))
        self.assertIn(b"stream 0" if b"stream 0" in payload else b"DATA", payload)
        bench.receive(ping(bytes(8)))
        self.assertEqual(bench.sent(), [], "nothing is said after it")

    def test_a_reset_is_not_answered_with_one(self) -> None:
        """Neither of an open stream nor of one that is over (5.4.2)."""
        bench = Bench()
        bench.receive(bench.head(1, POST, False), rst_stream(1, frames.CANCEL), rst_stream(1, frames.CANCEL))
        self.assertEqual(bench.sent(), [])

    def test_unknown_codes_mean_nothing_special(self) -> None:
        """In RST_STREAM and GOAWAY (7)."""
        bench = Bench()
        bench.receive(bench.head(1, POST, False), rst_stream(1, 0xDEADBEEF), goaway(0, 0xDEADBEEF))
        self.assertEqual(bench.log[1:], [("reset", 1, 0xDEADBEEF, False), ("goaway", 0, 0xDEADBEEF)])
        self.assertIsNone(bench.connection.fault)
        self.assertIn("deadbeef", error_name(0xDEADBEEF).lower())

    def test_numbers_of_streams_run_out(self) -> None:
        """A client that has used them all opens no other, so that a new connection is made (5.1.1)."""
        bench = Bench(client=True)
        bench.connection._next_id = frames.MAX_STREAM_ID
        self.assertTrue(bench.connection.can_open)
        self.assertEqual(bench.connection.open(b"GET", b"http", b"a", b"/", [], True).id, frames.MAX_STREAM_ID)
        self.assertFalse(bench.connection.can_open)

    def test_a_client_goes_on_after_goaway(self) -> None:
        """With the streams that it names, and opens no other (6.8)."""
        bench = Bench(client=True)
        for _ in range(2):
            bench.connection.open(b"GET", b"http", b"a", b"/", [], True)
        bench.receive(goaway(1, frames.NO_ERROR))
        self.assertFalse(bench.connection.can_open)
        self.assertEqual(bench.log, [("reset", 3, frames.REFUSED_STREAM, False), ("goaway", 1, frames.NO_ERROR)])
        bench.receive(bench.head(1, [(b":status", b"204")]))
        self.assertEqual(bench.log[-1][:3], ("response", 1, 204))


class StateTests(SynchronousTestCase):
    def test_what_may_come_on_a_half_closed_stream(self) -> None:
        """WINDOW_UPDATE, PRIORITY and RST_STREAM (5.1)."""
        bench = Bench()
        bench.receive(bench.head(1), window_update(1, 5), frame(frames.PRIORITY, 0, 1, bytes(5)), rst_stream(1, 8))
        self.assertEqual((bench.codes(), bench.log[-1]), ([], ("reset", 1, 8, False)))

    def test_what_we_never_send(self) -> None:
        """Pushes, padding, priorities of RFC 7540: none in a whole conversation (8.4, 10.7, 5.3)."""
        bench = Bench()
        seen = set()
        for stream_id in range(1, 40, 2):
            bench.receive(bench.head(stream_id, POST, False), data(stream_id, b"x" * 5000, True, padding=9), ping(bytes(8)))
            stream = bench.handler.streams[stream_id]
            bench.connection.send_head(stream, response_fields(103, []), False)
            bench.connection.send_head(stream, OK, False)
            bench.connection.send_data(stream, b"y" * 3000)
            bench.connection.send_trailers(stream, [(b"x-a", b"b")])
            for kind, flags, _, _ in bench.sent():
                seen.add(kind)
                self.assertFalse(flags & (frames.PADDED | frames.PRIORITISED) and kind in (frames.HEADERS, frames.DATA))
        self.assertFalse(seen & {frames.PUSH_PROMISE, frames.PRIORITY})
        self.assertTrue({frames.HEADERS, frames.DATA} <= seen)

    def test_padding_is_as_if_it_were_not_there(self) -> None:
        """But it counts against the windows, and they are given back (6.1)."""
        bench = Bench(eager=False)
        before = bench.connection.recv_window
        bench.receive(bench.head(1, POST, False), data(1, b"abc", True, padding=200))
        self.assertEqual(bench.log[-1], ("data", 1, b"abc", True))
        self.assertEqual(before - bench.connection.recv_window, 204)

    def test_the_reserved_bit_of_a_stream_number(self) -> None:
        """Is ignored, in frame heads and in what they say (4.1, 6.8, 6.9)."""
        bench = Bench()
        block = bench.block(GET)
        bench.receive(header(len(block), frames.HEADERS, 5, 1 << 31 | 1) + block, header(4, frames.WINDOW_UPDATE, 0, 0) + b"\x80\0\0\x05")
        self.assertEqual((bench.log[0][:2], bench.connection.send_window), (("request", 1), 65535 + 5))
