"""Fuzz targets of the HTTP/2 codec: whatever the bytes, nothing but the expected comes out, and the libraries agree."""

from __future__ import annotations

from itertools import pairwise

import hpack
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from tests.wire.h2rig import GET, Bench, Record, data, frame
from voltgw.errors import BadRequest
from voltgw.values.head import Field
from voltgw.wire import h2frames as frames
from voltgw.wire.h2heads import RequestReader, response_fields
from voltgw.wire.h2limits import Limits
from voltgw.wire.hpack import STATIC, BadBlock, Decoder, Encoder, ListTooLarge
from voltgw.wire.http2 import Server

_NAMES = st.one_of(st.sampled_from([name for name, _ in STATIC] + [b"x-a", b"x-b", b"x-request-id", b"grpc-status", b"X", b""]),
                   st.binary(max_size=5))
_VALUES = st.one_of(st.sampled_from([b"", b"GET", b"200", b"gzip, deflate", b"/", b"https", b"5", b"trailers"]),
                    st.binary(max_size=40))
_FIELDS = st.lists(st.tuples(_NAMES, _VALUES), max_size=8)
_BLOCKS = st.lists(_FIELDS, min_size=1, max_size=6)
_SIZES = st.sampled_from([None, None, None, 0, 40, 100, 4096])

_OPCODES = st.sampled_from([b"\x82", b"\x87", b"\x84", b"\xbe", b"\xbf", b"\xff\x01", b"\x41\x01a", b"\x7f\x02\x01b", b"\x40\x01x\x01y",
                            b"\x00\x81\xf3\x81\xff", b"\x10\x01x\x01y", b"\x20", b"\x3f\xe1\x1f", b"\x80", b"\x0f\x0d\x01z", b"\x88"])
_OCTETS = st.lists(st.one_of(_OPCODES, st.binary(max_size=3)), max_size=12).map(b"".join)

_bench = Bench()
_PIECES = st.one_of(
    st.sampled_from([
        frames.settings({}), frames.SETTINGS_ACK, frames.settings({4: 0}), frames.settings({4: 100, 1: 0}), frames.ping(bytes(8)),
        frame(1, 5, 1, _bench.block(GET)), frame(1, 5, 3, b"\x82\x87\x84\x41\x01a"), frame(1, 4, 5, b"\x83\x87\x84\x41\x01a"),
        frame(1, 4, 7, b"\x83\x87\x84\x41\x01a\x0f\x0d\x013"), frame(1, 0, 9, b"\x82\x87"), frame(9, 4, 9, b"\x84\x41\x01a"),
        frame(9, 0, 9, b""), frame(1, 5, 5, b"\x40\x01x\x01y"), data(5, b"abc"), data(5, b"", True), data(7, b"abc", padding=2),
        data(7, b"", True), data(1, b"x"), frames.rst_stream(5, 8), frames.rst_stream(7, 0), frames.window_update(0, 7),
        frames.window_update(5, 0), frames.window_update(5, 70000), frame(16, 0, 0, b"\0\0\0\5u=0"), frame(2, 0, 5, bytes(5)),
        frames.goaway(0, 0), frame(99, 1, 1, b"x"), frame(5, 4, 1, bytes(5)), frame(1, 0x2D, 11, b"\0" + bytes(5) + b"\x82\x87\x84\x41\x01a"),
    ]),
    st.builds(frame, st.integers(0, 17), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=12)),
    st.binary(max_size=4),
)
_CUTS = st.lists(st.integers(0, 600), max_size=6)


class HpackFuzz(SynchronousTestCase):
    @examples(200)
    @given(st.lists(st.tuples(_SIZES, _FIELDS), min_size=1, max_size=6))
    def test_the_library_reads_what_we_write(self, blocks: list[tuple[int | None, list[Field]]]) -> None:
        """Also while its table changes size between the blocks."""
        encoder, judge = Encoder(), hpack.Decoder()
        for size, fields in blocks:
            if size is not None:
                encoder.resize(size)
            self.assertEqual([tuple(each) for each in judge.decode(encoder.encode(fields), raw=True)], fields)

    @examples(200)
    @given(st.lists(st.tuples(_SIZES, st.booleans(), _FIELDS), min_size=1, max_size=6))
    def test_we_read_what_the_library_writes(self, blocks: list[tuple[int | None, bool, list[Field]]]) -> None:
        """Plain or Huffman-coded, with tables of all sizes."""
        encoder, decoder = hpack.Encoder(), Decoder()
        for size, coded, fields in blocks:
            if size is not None:
                encoder.header_table_size = size
            self.assertEqual(decoder.decode(encoder.encode(fields, huffman=coded)), (fields, []))

    @examples(400)
    @given(st.lists(_OCTETS, min_size=1, max_size=4))
    def test_any_octets(self, blocks: list[bytes]) -> None:
        """We take what the library takes, with the same meaning, and refuse what it refuses."""
        ours, judge = Decoder(max_list_bytes=1 << 24, max_fields=1 << 20), hpack.Decoder(max_header_list_size=1 << 24)
        for block in blocks:
            try:
                expected = [tuple(each) for each in judge.decode(block, raw=True)]
            except (hpack.HPACKError, IndexError):
                self.assertRaises(BadBlock, ours.decode, block)
                return
            self.assertEqual(ours.decode(block)[0], expected)


class HeadFuzz(SynchronousTestCase):
    @examples(400)
    @given(_BLOCKS, st.booleans())
    def test_any_fields(self, blocks: list[list[Field]], ended: bool) -> None:
        """A head comes out that HTTP/1.1 may carry, or the errors that are meant; reading it twice gives the same."""
        encoder = Encoder()
        reader, other = RequestReader(4000, 20), RequestReader(4000, 20)
        for fields in blocks:
            block = encoder.encode([*GET, *fields])
            heads: list[object] = []
            for each in (reader, other):
                try:
                    head = each.read(block, ended)
                except BadRequest:
                    heads.append(None)
                    continue
                heads.append((head.fields, head.forward, head.authority, head.length))
                for name, value in [*head.fields, (b"host", head.authority), (b"x", head.forward)]:
                    self.assertRegex(name, rb"\A[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
                    self.assertNotRegex(value, rb"[\x00-\x08\x0a-\x1f\x7f]")
                    self.assertNotIn(name, (b"connection", b"transfer-encoding", b"upgrade", b"te"))
            self.assertEqual(heads[0], heads[1])

    @examples(200)
    @given(_OCTETS)
    def test_any_octets(self, block: bytes) -> None:
        """Only the errors that are meant."""
        try:
            RequestReader(4000, 20).read(block, True)
        except (BadBlock, BadRequest, ListTooLarge):
            pass


class ConnectionFuzz(SynchronousTestCase):
    @examples(400)
    @given(st.lists(_PIECES, max_size=20), _CUTS, st.booleans())
    def test_any_frames(self, pieces: list[bytes], places: list[int], answers: bool) -> None:
        """`receive` never raises, windows keep their bounds, every stream that began ends, and cuts change nothing."""
        stream = frames.PREFACE + frames.settings({}) + b"".join(pieces)
        borders = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
        results = []
        for parts in ([stream], [stream[begin:end] for begin, end in pairwise(borders)]):
            handler = Record()
            server = handler.connection = Server(handler, Limits(max_streams=3))
            for part in parts:
                server.receive(part, 1.0)
            results.append((handler.log, server.fault is None))
            for each in list(server.streams.values()):
                if answers and not each.local_ended:
                    server.send_head(each, response_fields(200, []), False)
                    server.send_data(each, b"x" * 200, True)
            while server.take():
                pass
            self.assertLessEqual(server.send_window, frames.MAX_WINDOW)
            for each in server.streams.values():
                self.assertEqual((each.unread, each.recv_window >= 0), (0, True))
            resets = [each[1] for each in handler.log if each[0] == "reset"]
            self.assertEqual(len(resets), len(set(resets)))
            self.assertLessEqual(set(resets), handler.streams.keys())
        self.assertEqual(results[0], results[1])
