"""Header compression (RFC 7541): the RFC's own examples, the errors, what is never indexed, and what a bomb gets."""

from __future__ import annotations

import tracemalloc

import hpack
from twisted.trial.unittest import SynchronousTestCase

from tests.support import interpreted_only
from voltgw.values.head import Field
from voltgw.wire import huffman
from voltgw.wire.hpack import MISPLACED, STATIC, BadBlock, Decoder, Encoder, ListTooLarge, integer, packed, text

_REQUESTS: list[list[Field]] = [
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com"),
     (b"cache-control", b"no-cache")],
    [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"), (b":authority", b"www.example.com"),
     (b"custom-key", b"custom-value")],
]
_DATES = b"Mon, 21 Oct 2013 20:13:21 GMT", b"Mon, 21 Oct 2013 20:13:22 GMT"
_WHERE = (b"location", b"https://www.example.com")
_RESPONSES: list[list[Field]] = [
    [(b":status", b"302"), (b"cache-control", b"private"), (b"date", _DATES[0]), _WHERE],
    [(b":status", b"307"), (b"cache-control", b"private"), (b"date", _DATES[0]), _WHERE],
    [(b":status", b"200"), (b"cache-control", b"private"), (b"date", _DATES[1]), _WHERE, (b"content-encoding", b"gzip"),
     (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")],
]
#: RFC 7541 C.3 to C.6: blocks that follow one another, and the table's size.
_EXAMPLES = {
    "C.3": (4096, _REQUESTS, (
        "828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565")),
    "C.4": (4096, _REQUESTS, (
        "828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf")),
    "C.5": (256, _RESPONSES, (
        ("4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
        "6e1768747470733a2f2f7777772e6578616d706c652e636f6d"),
        "4803333037c1c0bf",
        ("88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a"
        "584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31"))),
    "C.6": (256, _RESPONSES, (
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        ("88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f36"
        "72c1ab270fb5291f9587316065c003ed4ee5b1063d5007"))),
}


class ExampleTests(SynchronousTestCase):
    def test_the_examples_of_the_rfc(self) -> None:
        """The sequences of Appendix C, plain and Huffman-coded, with and without evictions, read as it says."""
        for name, (size, expected, blocks) in _EXAMPLES.items():
            decoder = Decoder(table_bytes=size)
            for fields, block in zip(expected, blocks, strict=True):
                self.assertEqual(decoder.decode(bytes.fromhex(block)), (fields, []), name)

    def test_integers(self) -> None:
        """C.1: 10 and 1337 behind five bits, 42 behind eight; and every length comes back."""
        self.assertEqual((packed(10, 5, 0), packed(1337, 5, 0), packed(42, 8, 0)), (b"\x0a", b"\x1f\x9a\x0a", b"\x2a"))
        for value in (31, 32, 127, 128, 16383, 16384, 1 << 20, 1 << 28):
            octets = packed(value, 5, 0)
            self.assertEqual(integer(octets, 1, 31), (value, len(octets)))

    def test_the_huffman_code(self) -> None:
        """Every octet's code is the library's, alone and in text, and reads back."""
        judge = hpack.huffman.HuffmanEncoder(
            hpack.huffman_constants.REQUEST_CODES, hpack.huffman_constants.REQUEST_CODES_LENGTH)
        for value in [*(bytes((octet,)) for octet in range(256)), bytes(range(256)), b"", b"/api/v1/items?x=1"]:
            self.assertEqual(huffman.encode(value), judge.encode(value))
            self.assertEqual(huffman.decode(huffman.encode(value)), value)

    def test_bad_padding_and_eos(self) -> None:
        """Padding of zeros, of eight ones, and the code of EOS are errors (5.2)."""
        for coded in (b"\x00", b"\xff", b"\x1f\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\xfc\x07"):
            self.assertRaises(huffman.BadHuffman, huffman.decode, coded)
            self.assertRaises(BadBlock, Decoder().decode, b"\x00\x01a" + bytes((0x80 | len(coded),)) + coded)


class DecoderTests(SynchronousTestCase):
    def test_blocks_that_are_none(self) -> None:
        """Indexes beyond the tables, truncated or endless numbers and texts, misplaced and too large size updates."""
        for block in (
            b"\x80", b"\xbe", b"\xff\xff\xff\xff\x7f", b"\x7f", b"\x7f\x80\x01", b"\x0f\xff", b"\xff\x80\x80\x80\x80\x80\x01",
            b"\x40", b"\x40\x01", b"\x40\x01a", b"\x40\x01a\x05abc", b"\x00\x7f\xff\xff\xff\x7fa", b"\x3f\xe2\x1f", b"\x82\x20",
            b"\x7e\x01a",
        ):
            self.assertRaises(BadBlock, Decoder().decode, block)

    def test_size_updates(self) -> None:
        """A smaller table loses its oldest entries, an empty one all; it may grow again up to what was announced (4.3)."""
        decoder = Decoder()
        decoder.decode(b"\x40\x01a\x01b\x40\x01c\x01d")
        self.assertEqual(decoder.decode(b"\x3f\x03\xbe")[0], [(b"c", b"d")])       # 34 octets: one entry
        self.assertRaises(BadBlock, decoder.decode, b"\xbf")
        decoder.decode(b"\x20\x3f\xe1\x1f")
        self.assertRaises(BadBlock, decoder.decode, b"\xbe")
        self.assertEqual(decoder.table_bytes, 4096)

    def test_an_entry_larger_than_the_table(self) -> None:
        """It empties the table, and that is no error (4.4)."""
        decoder = Decoder(table_bytes=40)
        decoder.decode(b"\x40\x01a\x01b")
        self.assertEqual(decoder.decode(b"\x40\x01a\x14" + b"x" * 20)[0], [(b"a", b"x" * 20)])
        self.assertRaises(BadBlock, decoder.decode, b"\xbe")

    def test_a_name_of_an_entry_that_the_field_pushes_out(self) -> None:
        """A new entry may be named after the one that makes room for it (4.4)."""
        decoder = Decoder(table_bytes=70)
        decoder.decode(b"\x40\x03abc\x01x\x40\x03def\x01y")
        self.assertEqual(decoder.decode(b"\x7e\x01z\xbe")[0], [(b"def", b"z"), (b"def", b"z")])

    def test_codes(self) -> None:
        """Fields with a code come apart, and pseudo-fields behind a field without one are marked."""
        decoder = Decoder(lambda name, value: -1 if name.startswith(b":") else 7 if name == b"host" else 0)
        block = b"\x82\x00\x01a\x01b\x87\x66\x01h"
        self.assertEqual(decoder.decode(block), (
            [(b"a", b"b")], [((b":method", b"GET"), -1), ((b":scheme", b"https"), MISPLACED), ((b"host", b"h"), 7)]))
        self.assertEqual(decoder.decode(b"\xbe"), ([], [((b"host", b"h"), 7)]))

    def test_lists_that_are_too_large(self) -> None:
        """The list is refused, but the table is as it should be: the next block reads well (RFC 9113 10.5.1)."""
        decoder = Decoder(max_list_bytes=1000, max_fields=20)
        self.assertRaises(ListTooLarge, decoder.decode, b"\x40\x01a\x64" + b"x" * 100 + b"\xbe" * 9)
        self.assertEqual(decoder.decode(b"\xbe")[0], [(b"a", b"x" * 100)])
        self.assertRaises(ListTooLarge, decoder.decode, b"\x82" * 21)
        self.assertEqual(len(decoder.decode(b"\x82" * 20)[0]), 20)

    @interpreted_only
    def test_a_bomb(self) -> None:
        """64 KiB of indexes that would be 260 MB of fields are refused, and take less than 4 MiB meanwhile (7.3)."""
        decoder = Decoder()
        decoder.decode(b"\x40\x01a" + text(b"x" * 4000))
        tracemalloc.start()
        try:
            self.assertRaises(ListTooLarge, decoder.decode, b"\xbe" * 65536)
            self.assertLess(tracemalloc.get_traced_memory()[1], 4 << 20)
        finally:
            tracemalloc.stop()

    def test_never_indexed_fields_are_told(self) -> None:
        """Their names come with the block that held them, and only with that one (6.2.3)."""
        decoder = Decoder()
        decoder.decode(b"\x10\x01a\x01b\x00\x01c\x01d")
        self.assertEqual(decoder.never_indexed, [b"a"])
        decoder.decode(b"\x82")
        self.assertEqual(decoder.never_indexed, [])


class EncoderTests(SynchronousTestCase):
    def representation(self, block: bytes) -> int:
        """How the first field of a block is written: the bits of RFC 7541 6."""
        first = block[0]
        return 0x80 if first & 0x80 else 0x40 if first & 0x40 else first & 0x10

    def test_static_fields_are_one_octet(self) -> None:
        """Each of the fields that the static table has whole is its index."""
        for field in STATIC:
            if field[1]:
                block = Encoder().encode([field])
                self.assertEqual((len(block), STATIC[(block[0] & 0x7F) - 1]), (1, field))

    def test_secrets_are_never_indexed(self) -> None:
        """Authorization, cookies and what sounds like a secret cannot be guessed by their sizes (7.1.3), however often sent."""
        encoder = Encoder()
        for name in (b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key", b"x-auth-token"):
            for _ in range(3):
                self.assertEqual(self.representation(encoder.encode([(name, b"a")])), 0x10, name)

    def test_what_came_never_indexed_stays_so(self) -> None:
        """Even a field that the table holds already (6.2.3)."""
        encoder = Encoder()
        encoder.encode([(b"server", b"a")])
        for fields in ([(b"server", b"a")], [(b"x-pin", b"1234")], [(b":method", b"GET")]):
            block = encoder.encode(fields, (b"server", b"x-pin", b":method"))
            self.assertEqual(self.representation(block), 0x10)
            self.assertEqual(hpack.Decoder().decode(block, raw=True), fields)

    def test_what_stays_is_indexed_and_what_changes_is_not(self) -> None:
        """Server at once, an unknown field the second time, a path or etag never."""
        for name, expected in ((b"server", [0x40, 0x80, 0x80]), (b"x-a", [0, 0x40, 0x80]), (b"etag", [0, 0, 0]),
                               (b":path", [0, 0, 0])):
            encoder = Encoder()
            self.assertEqual([self.representation(encoder.encode([(name, b"/v")])) for _ in range(3)], expected)

    def test_ever_new_values_do_not_push_out_what_stays(self) -> None:
        """A full table is left as it is; what does not fit is sent as it is."""
        encoder, judge = Encoder(), hpack.Decoder()
        judge.decode(encoder.encode([(b"server", b"s")]))
        for number in range(300):
            fields = [(b"vary", b"%d" % number)]
            self.assertEqual(judge.decode(encoder.encode(fields), raw=True), fields)
            block = encoder.encode([(b"server", b"s")])
            self.assertEqual((self.representation(block), judge.decode(block, raw=True)), (0x80, [(b"server", b"s")]))

    def test_the_peer_changes_its_table(self) -> None:
        """The lowest size in between and the last one are announced in the next block (4.2); never more than 4096."""
        encoder, judge = Encoder(), hpack.Decoder()
        judge.max_allowed_table_size = 65536
        fields = [(b"server", b"s"), (b"vary", b"v"), (b"x-a", b"1")]
        judge.decode(encoder.encode(fields))
        encoder.resize(0)
        encoder.resize(100)
        block = encoder.encode(fields)
        self.assertEqual(block[:3], b"\x20\x3f\x45")
        self.assertEqual((judge.decode(block, raw=True), judge.header_table_size), (fields, 100))
        for size in (65536, 40, 4096, 0):
            encoder.resize(size)
            for _ in range(2):
                self.assertEqual(judge.decode(encoder.encode(fields), raw=True), fields)
            self.assertEqual(judge.header_table_size, min(size, 4096))

    def test_long_names_and_values(self) -> None:
        """Lengths beyond one octet, either way."""
        for size in (126, 127, 128, 255, 5000):
            fields = [(b"x" * size, b"y" * size), (b"etag", b"z" * size)]
            block = Encoder().encode(fields)
            self.assertEqual(hpack.Decoder(max_header_list_size=1 << 20).decode(block, raw=True), fields)
            self.assertEqual(Decoder().decode(block)[0], fields)
