"""The PROXY protocol: every split, every mistake, and what we write is what we read."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis.strategies import binary
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.wire.proxyproto import (
    MAX_HEADER_BYTES,
    MAX_LINE_BYTES,
    SIGNATURE,
    TLV_ALPN,
    TLV_AUTHORITY,
    TLV_CRC32C,
    ProxyHeader,
    ProxyHeaderRefused,
    crc32c,
    header_2,
    line_1,
    read_header,
    tlv,
)

FOUR = (("192.0.2.1", 40000), ("198.51.100.2", 443))
SIX = (("2001:db8::1", 1), ("2001:db8::2", 65535))


def head(command: int = 0x21, family: int = 0x11, body: bytes = b"", length: int | None = None) -> bytes:
    """A header of version 2, right or wrong."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


GOOD = {
    "v1 IPv4": (b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n", ProxyHeader(45, *FOUR)),
    "v1 IPv6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", ProxyHeader(44, *SIX)),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", ProxyHeader(15)),
    "v1 unknown with words": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ProxyHeader(35)),
    "v2 IPv4": (header_2(*FOUR), ProxyHeader(28, *FOUR)),
    "v2 IPv6": (header_2(*SIX), ProxyHeader(52, *SIX)),
    "v2 local": (head(0x20, 0), ProxyHeader(16)),
    "v2 local with addresses": (head(0x20, 0x11, b"\x01" * 12), ProxyHeader(28)),
    "v2 unspecified": (head(0x21, 0, tlv(4, b"abc")), ProxyHeader(22, None, None, ((4, b"abc"),))),
    "v2 unix": (head(0x21, 0x31, b"\0" * 216), ProxyHeader(232)),
    "v2 TLVs": (header_2(*FOUR, ((TLV_ALPN, b"h2"), (TLV_AUTHORITY, b"a.example"), (0xE0, b""))),
                ProxyHeader(48, *FOUR, ((TLV_ALPN, b"h2"), (TLV_AUTHORITY, b"a.example"), (0xE0, b"")))),
}

BAD = {
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01",
    "almost": b"PROXX TCP4",
    "lower case": b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
    "no addresses": b"PROXY TCP4\r\n",
    "one word too many": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
    "two spaces": b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
    "leading zero of a port": b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
    "port too large": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
    "negative port": b"PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
    "family and address disagree": b"PROXY TCP4 ::1 ::2 1 2\r\n",
    "a name": b"PROXY TCP4 localhost 2.2.2.2 1 2\r\n",
    "not ASCII": b"PROXY TCP4 1.1.1.\xff 2.2.2.2 1 2\r\n",
    "UDP in version 1": b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
    "a line without end": b"PROXY TCP4 " + b"1" * MAX_LINE_BYTES,
    "LF alone": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n" + b"x" * MAX_LINE_BYTES,
    "version 3": head(0x31, 0x11, b"\0" * 12),
    "unknown command": head(0x22, 0x11, b"\0" * 12),
    "unknown family": head(0x21, 0x41, b"\0" * 12),
    "unknown transport": head(0x21, 0x13, b"\0" * 12),
    "addresses cut off": head(0x21, 0x21, b"\0" * 12),
    "TLV cut off": head(0x21, 0x11, b"\0" * 12 + b"\x01\0\x05ab"),
    "TLV head cut off": head(0x21, 0x11, b"\0" * 12 + b"\x01\0"),
    "too long": head(0x21, 0x11, length=MAX_HEADER_BYTES),
    "wrong checksum": header_2(*FOUR, ((TLV_CRC32C, b"\0\0\0\1"),)),
    "checksum of three bytes": header_2(*FOUR, ((TLV_CRC32C, b"\0\0\1"),)),
}


class ReadingTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """What is meant, and how long it is; what follows is not looked at."""
        for name, (data, meant) in GOOD.items():
            for rest in (b"", b"GET / HTTP/1.1\r\n", b"\0\xff"):
                self.assertEqual(read_header(data + rest), meant, name)
            self.assertEqual(meant.size, len(data), name)

    def test_every_split(self) -> None:
        """Before its end a header asks for more, never for more than there is."""
        for name, (data, _) in GOOD.items():
            for cut in range(1, len(data)):
                more = read_header(data[:cut])
                assert isinstance(more, int), name
                self.assertTrue(0 < more <= len(data) - cut, f"{name} cut at {cut}: {more}")

    def test_what_is_none(self) -> None:
        """Refused, whole and, once it can be told, cut."""
        for name, data in BAD.items():
            with self.assertRaises(ProxyHeaderRefused, msg=name):
                read_header(data)

    def test_checksum(self) -> None:
        """Of the whole header, with zeros for itself; what stands behind it counts."""
        before = header_2(*FOUR, ((TLV_CRC32C, b"\0" * 4), (TLV_ALPN, b"h2")))
        right = before.replace(b"\x03\0\x04\0\0\0\0", b"\x03\0\x04" + crc32c(before).to_bytes(4, "big"))
        found = read_header(right)
        assert isinstance(found, ProxyHeader)
        self.assertEqual(found.source, FOUR[0])
        with self.assertRaises(ProxyHeaderRefused):
            read_header(right.replace(b"h2", b"h3"))

    def test_the_checksum_is_castagnolis(self) -> None:
        """The published check value (RFC 9260 B.4 has the table)."""
        self.assertEqual(crc32c(b"123456789"), 0xe3069283)

    @examples(300)
    @given(binary(max_size=60))
    def test_anything(self, rest: bytes) -> None:
        """Behind either beginning: a header within the data, a wish for more, or a refusal."""
        for beginning in (SIGNATURE, SIGNATURE + b"\x21\x11", b"PROXY ", b"PROXY TCP4 "):
            data = beginning + rest
            try:
                found = read_header(data)
            except ProxyHeaderRefused:
                continue
            if isinstance(found, int):
                self.assertGreater(found, 0)
            else:
                self.assertLessEqual(found.size, len(data))


class WritingTests(SynchronousTestCase):
    def test_what_we_write_is_what_we_read(self) -> None:
        """Both versions, both families."""
        for source, destination in (FOUR, SIX):
            for data in (line_1(source, destination), header_2(source, destination)):
                found = read_header(data)
                assert isinstance(found, ProxyHeader)
                self.assertEqual((found.source, found.destination), (source, destination))

    def test_two_families(self) -> None:
        """A header that says nothing of the addresses, since it could only say something wrong."""
        self.assertEqual(line_1(FOUR[0], SIX[0]), b"PROXY UNKNOWN\r\n")
        self.assertEqual(read_header(header_2(FOUR[0], SIX[0])), ProxyHeader(16))

    def test_a_zone_means_nothing_elsewhere(self) -> None:
        """It is left out."""
        found = read_header(line_1(("fe80::1%eth0", 1), ("fe80::2%eth0", 2)))
        assert isinstance(found, ProxyHeader)
        self.assertEqual(found.source, ("fe80::1", 1))
