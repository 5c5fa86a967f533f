"""What a hostile client of HTTP/2 gets: an end that says why, bounded memory, and no work for endpoints (RFC 9113 10.5)."""

from __future__ import annotations

from typing import Final

from hpack import Encoder

from tests.proxy.rig import EMPTY, Wire
from tests.proxy.rig2 import ASK, Proxy2Case, frames
from voltgw.proxy.http2 import REQUESTS_A_TURN

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000 04 00 00000000")
CALM: Final = 11
HEADERS, RST_STREAM, SETTINGS, GOAWAY = 1, 3, 4, 7


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


class LimitCase(Proxy2Case):
    def setUp(self) -> None:
        """An encoder for what the client says."""
        super().setUp()
        self.encoder = Encoder()

    def raw(self) -> Wire:
        """A client that will say anything."""
        wire = self.client()
        wire.send(PREFACE)
        self.turn()
        wire.clear()
        return wire

    def block(self, *fields: tuple[bytes, bytes]) -> bytes:
        """A header block."""
        block: bytes = self.encoder.encode(list(fields))
        return block

    def goaway(self, wire: Wire) -> int:
        """The code of the GOAWAY with which the connection has ended."""
        self.turn()
        codes = [int.from_bytes(payload[4:8], "big") for kind, _, _, payload in frames(wire.got()) if kind == GOAWAY]
        self.assertEqual(len(codes), 1)
        self.assertTrue(wire.gone)
        return codes[0]


class FloodTests(LimitCase):
    def test_rapid_reset(self) -> None:
        """Requests that are given up at once: the connection ends, and with it all that endpoints were asked for it."""
        wire = self.raw()
        block = self.block(*ASK)
        for number in range(1, 1001, 2):
            if wire.gone:
                break
            wire.send(frame(HEADERS, 5, number, block) + frame(RST_STREAM, 0, number, b"\0\0\0\x08"))
            self.turn()
        self.assertEqual(self.goaway(wire), CALM)
        self.assertLess(number, 500)
        self.assertEqual(self.rig.counters.http2_downstream.spent["resets"], 1)
        self.assertEqual(self.cluster.active, 0)
        self.assertEqual({each.flag for each in self.records}, {"DC"})

    def test_made_to_reset(self) -> None:
        """The same by making us reset the streams (MadeYouReset, CVE-2025-8671)."""
        wire = self.raw()
        block = self.block(*ASK)
        for number in range(1, 1001, 2):
            if wire.gone:
                break
            wire.send(frame(HEADERS, 4, number, block) + frame(8, 0, number, b"\0\0\0\0"))
            self.turn()
        self.assertEqual(self.goaway(wire), CALM)
        self.assertLess(number, 500)
        self.assertEqual(self.cluster.active, 0)

    def test_floods(self) -> None:
        """Each kind of frame that brings nobody forward has its budget."""
        for kind, sent in (
            ("settings", frame(SETTINGS, 0, 0)),
            ("pings", frame(6, 0, 0, bytes(8))),
            ("priorities", frame(2, 0, 1, bytes(5))),
            ("window_updates", frame(8, 0, 0, b"\0\0\0\x01")),
            ("empty_data", frame(0, 0, 1)),
            ("strays", frame(0xEE, 0, 0)),
        ):
            self.encoder = Encoder()
            wire = self.raw()
            wire.send(frame(HEADERS, 4, 1, self.block((b":method", b"POST"), *ASK[1:])))
            self.turn()
            for _ in range(60):
                if not wire.gone:
                    wire.send(sent * 50)
                    self.turn()
            self.assertEqual(self.goaway(wire), CALM, kind)
            self.assertEqual(self.rig.counters.http2_downstream.spent[kind], 1, kind)
            self.assertEqual(self.cluster.active, 0)

    def test_a_head_without_end(self) -> None:
        """CONTINUATION after CONTINUATION: the connection ends at a number of frames and at a size."""
        for piece, count in ((b"\x82", 40), (b"\x82" * 16000, 20)):
            wire = self.raw()
            wire.send(frame(HEADERS, 1, 1, b"\x82"))
            for _ in range(count):
                if not wire.gone:
                    wire.send(frame(9, 0, 1, piece))
                    self.turn()
            self.assertEqual(self.goaway(wire), CALM)

    def test_a_head_that_drips(self) -> None:
        """It has a head's time, whatever else the connection does."""
        wire = self.raw()
        wire.send(frame(HEADERS, 5, 1, self.block(*ASK)))
        origin = self.accept()
        wire.send(frame(HEADERS, 1, 3, b"\x82"))
        for _ in range(int(self.http.head_timeout_s)):
            self.advance(1.0)
        self.assertFalse(origin.aborted)
        self.advance(1.0)
        self.assertTrue(wire.gone)
        self.assertTrue(origin.aborted)
        self.assertEqual(self.counters.timeouts, 1)

    def test_who_says_nothing(self) -> None:
        """Not even a preface: a head's time, as in HTTP/1.1."""
        self.http.only_2 = True
        wire = self.client()
        self.advance(self.http.head_timeout_s + 1)
        self.assertTrue(wire.gone)

    def test_who_asks_for_much_at_once(self) -> None:
        """Has so many requests taken in one turn as anybody; it is not read meanwhile, and all are answered in the end."""
        wire = self.raw()
        self.cluster.pick = lambda key: None        # each request is answered at once
        block = self.block(*ASK)
        wire.send(b"".join(frame(HEADERS, 5, 1 + 2 * each, block) for each in range(80)))
        for done in range(REQUESTS_A_TURN, 80, REQUESTS_A_TURN):
            self.assertEqual((len(self.records), wire.reading), (done, False))
            self.hand.turn()
        self.assertEqual((len(self.records), wire.reading), (80, True))
        self.assertEqual({record.response_code for record in self.records}, {503})

    def test_who_goes_while_much_is_left(self) -> None:
        """What it has asked for and was not begun is nobody's any more."""
        wire = self.raw()
        self.cluster.pick = lambda key: None
        block = self.block(*ASK)
        wire.send(b"".join(frame(HEADERS, 5, 1 + 2 * each, block) for each in range(80)))
        wire.reset()
        self.turn()
        self.assertEqual(len(self.records), REQUESTS_A_TURN)

    def test_who_asks_for_much_and_reads_nothing(self) -> None:
        """What was held is begun when it reads again, and not before."""
        wire = self.raw()
        self.cluster.pick = lambda key: None
        self.host.custom_errors = {503: b"x" * 20_000}
        block = self.block(*ASK)
        wire.stall()
        wire.send(b"".join(frame(HEADERS, 5, 1 + 2 * each, block) for each in range(80)))
        for _ in range(20):
            self.hand.turn()
        self.assertLess(len(self.records), 80)
        self.assertFalse(wire.reading)
        wire.take()
        wire.send(frame(8, 0, 0, (1 << 24).to_bytes(4, "big")))
        self.turn()
        self.assertEqual(len(self.records), 80)

    def test_who_does_not_read(self) -> None:
        """A client that asks on and on without reading is not read from: what we keep for it is bounded."""
        wire = self.raw()
        wire.stall()
        block = self.block(*ASK)
        self.cluster.pick = lambda key: None        # each request is answered at once
        for number in range(1, 20001, 2):
            wire.send(frame(HEADERS, 5, number, block))
            self.turn()
        self.assertLess(wire.waiting, 256 * 1024)
        self.assertGreater(wire.unread, 0)
        wire.take()
        self.turn()
        self.assertEqual(wire.unread, 0)


class RequestTests(LimitCase):
    def refused(self, *fields: tuple[bytes, bytes], body: bytes | None = None) -> int:
        """The code of the reset with which a request ends; no endpoint was asked for it."""
        self.encoder = Encoder()
        wire = self.raw()
        wire.send(frame(HEADERS, 4 if body is not None else 5, 1, self.block(*fields)))
        if body is not None:
            wire.send(frame(0, 1, 1, body))
        self.turn()
        resets = [payload for kind, _, _, payload in frames(wire.got()) if kind == RST_STREAM]
        self.assertEqual(len(resets), 1, fields)
        self.assertFalse(wire.gone)
        return int.from_bytes(resets[0], "big")

    def test_smuggling(self) -> None:
        """What HTTP/2 forbids is malformed: PROTOCOL_ERROR, and nothing goes on (RFC 9113 8.1.1, 8.2)."""
        for field in (
            (b"transfer-encoding", b"chunked"), (b"connection", b"close"), (b"upgrade", b"h2c"), (b"x-a", b"1\r\nx-b: 2"),
            (b"x-a", b"1\0"), (b"x a", b"1"), (b"X-A", b"1"), (b"te", b"gzip"), (b"host", b"other"), (b"content-length", b"3"),
            (b":path", b"/other"), (b"content-length", b"+1"),
        ):
            self.assertEqual(self.refused(*ASK, field), 1, field)
        for field in ((b":path", b"/a b"), (b":authority", b"a b")):
            wire = self.raw()
            self.encoder = Encoder()
            wire.send(frame(HEADERS, 5, 1, self.block(*[each for each in ASK if each[0] != field[0]], field)))
            self.turn()
            self.assertEqual([flags for kind, flags, _, _ in frames(wire.got()) if kind == HEADERS], [4])   # a 400 with a body
        self.assertEqual(self.rig.dials, [])

    def test_a_body_of_another_length(self) -> None:
        """It ends the stream before the endpoint could take it for a whole request."""
        wire = self.raw()
        wire.send(frame(HEADERS, 4, 1, self.block((b":method", b"POST"), *ASK[1:], (b"content-length", b"5"))))
        origin = self.accept()
        wire.send(frame(0, 1, 1, b"abc"))
        self.turn()
        self.assertTrue(origin.aborted)
        self.assertNotIn(b"abc", origin.got())
        self.assertEqual((self.records[0].flag, self.records[0].detail), ("DC", "bad_request"))

    def test_a_list_that_is_too_large(self) -> None:
        """431, and the connection goes on."""
        client = self.client2()
        large = client.ask([*ASK, *((b"x-%d" % number, b"y" * 1000) for number in range(70))])
        self.settle(client)
        self.assertEqual(client.seen[large].status, 431)
        stream = client.ask()
        self.accept().send(EMPTY)
        self.settle(client)
        self.assertEqual(client.seen[stream].status, 200)

    def test_more_streams_than_allowed(self) -> None:
        """Those above the limit are refused, unseen by any endpoint; the others go on."""
        wire = self.raw()
        block = self.block(*ASK)
        self.cluster.max_pending = 200
        for number in range(1, 205, 2):
            wire.send(frame(HEADERS, 5, number, block))
        self.turn()
        refused = [stream for kind, _, stream, payload in frames(wire.got()) if (kind, payload) == (RST_STREAM, b"\0\0\0\x07")]
        self.assertEqual(refused, [201, 203])
        self.assertEqual(self.cluster.active, 100)
        self.assertEqual(self.rig.counters.http2_downstream.refused_streams, 2)
        wire.reset()
        self.turn()
