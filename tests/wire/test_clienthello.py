"""Hellos whole, byte by byte, cut at every offset, over any number of records; and everything that is none."""

from __future__ import annotations

import ssl

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.wire.clienthello import (
    DECODE_ERROR,
    ILLEGAL_PARAMETER,
    MAX_HELLO_BYTES,
    ClientHello,
    HelloRefused,
    NotHello,
    is_grease,
    read_hello,
)
from voltgw.wire.fingerprints import fingerprints, ja3, ja3_text, ja4


def extension(kind: int, body: bytes) -> bytes:
    """One extension."""
    return kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def vector(body: bytes, width: int = 2) -> bytes:
    """A length and what it announces."""
    return len(body).to_bytes(width, "big") + body


def server_name(name: bytes) -> bytes:
    """RFC 6066 3."""
    return extension(0, vector(b"\0" + vector(name)))


def message(
    extensions: bytes | None = b"", version: bytes = b"\3\3", suites: bytes = b"\x13\x01\x13\x02", session: bytes = b"",
    compressions: bytes = b"\0",
) -> bytes:
    """A hello as a handshake message."""
    body = version + b"R" * 32 + vector(session, 1) + vector(suites) + vector(compressions, 1)
    if extensions is not None:
        body += vector(extensions)
    return b"\1" + vector(body, 3)


def record(piece: bytes) -> bytes:
    """A handshake record."""
    return b"\x16\3\1" + vector(piece)


def records(whole: bytes, size: int) -> bytes:
    """`whole` in records of `size`."""
    return b"".join(record(whole[at:at + size]) for at in range(0, len(whole), size))


def from_library(name: str, alpn: tuple[str, ...] = ()) -> bytes:
    """What Python's ssl says."""
    context = ssl.create_default_context()
    if alpn:
        context.set_alpn_protocols(list(alpn))
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(heard, said, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return said.read()


#: A browser's, with GREASE in every list (RFC 8701), in one record.
BROWSER = record(message(
    extension(0x1a1a, b"") + server_name(b"Shop.Example") + extension(10, vector(b"\x2a\x2a\x11\xec\0\x1d\0\x17"))
    + extension(11, vector(b"\0", 1)) + extension(16, vector(vector(b"h2", 1) + vector(b"http/1.1", 1)))
    + extension(13, vector(b"\4\3\x08\x04\4\1")) + extension(43, vector(b"\x3a\x3a\3\4\3\3", 1)) + extension(0xfe0d, b"\0ech")
    + extension(0x4a4a, b"\0"), suites=b"\x0a\x0a\x13\x01\x13\x02\xc0\x2b", session=b"S" * 32))
SAMPLES = (
    BROWSER, from_library("a.example", ("h2", "http/1.1")), from_library("127.0.0.1"), record(message()), record(message(None)),
    records(message(server_name(b"a.example")), 1), records(message(server_name(b"a.example")), 7),
    records(message(extension(21, bytes(10_000)) + server_name(b"late.example")), 4096),
)


class SampleTests(SynchronousTestCase):
    def test_a_browsers_hello(self) -> None:
        """All that matters is found; the name is lower-case."""
        hello = read_hello(BROWSER)
        assert isinstance(hello, ClientHello)
        self.assertEqual((hello.sni, hello.alpn, hello.ech, hello.literal), ("shop.example", (b"h2", b"http/1.1"), True, False))
        self.assertEqual(hello.versions, (0x3a3a, 0x0304, 0x0303))
        self.assertEqual(hello.signatures, (0x0403, 0x0804, 0x0401))
        self.assertEqual(hello.suites, (0x0a0a, 0x1301, 0x1302, 0xc02b))
        self.assertEqual(hello.groups[1:], (0x11ec, 0x001d, 0x0017))

    def test_every_sample_cut_anywhere(self) -> None:
        """A part asks for more, never for more than there is; the whole is always read the same, whatever stands behind."""
        for sample in SAMPLES:
            whole = read_hello(sample)
            self.assertIsInstance(whole, ClientHello)
            for at in range(len(sample)):
                needed = read_hello(sample[:at])
                assert isinstance(needed, int)
                self.assertGreater(needed, 0)
                self.assertLessEqual(at + needed, len(sample))
            self.assertEqual(read_hello(sample + b"\x17\3\3\0\1x"), whole)

    def test_asking_for_what_is_said_to_be_needed_comes_to_an_end(self) -> None:
        """Reading as the sniffer does takes few looks."""
        for sample in (BROWSER, SAMPLES[-1]):
            looks = at = 0
            while isinstance(found := read_hello(sample[:at]), int):
                at += found
                looks += 1
            self.assertLess(looks, 10)

    def test_in_records_of_any_size(self) -> None:
        """RFC 8446 5.1: where records end says nothing."""
        whole = read_hello(BROWSER)
        for size in range(1, len(BROWSER)):
            self.assertEqual(read_hello(records(BROWSER[5:], size)), whole)

    def test_fingerprints(self) -> None:
        """GREASE is left out of both; JA4 sorts, and ends its first part in the first protocol's ends."""
        hello = read_hello(BROWSER)
        assert isinstance(hello, ClientHello)
        self.assertEqual(fingerprints(hello), (ja3(hello), ja4(hello)))
        self.assertEqual(ja3_text(hello), "771,4865-4866-49195,0-10-11-16-13-43-65037,4588-29-23,0")
        self.assertEqual(len(ja3(hello)), 32)
        first, suites, rest = ja4(hello).split("_")
        self.assertEqual(first, "t13d0307h2")
        self.assertRegex(suites + rest, "^[0-9a-f]{24}$")
        bare = read_hello(record(message(None, suites=b"\0\x2f")))
        assert isinstance(bare, ClientHello)
        self.assertEqual(ja4(bare), "t12i010000_" + ja4(bare).split("_")[1] + "_000000000000")

    def test_ja4_does_not_care_for_the_order_of_extensions(self) -> None:
        """Browsers shuffle them; JA3 does care."""
        a, b = extension(10, vector(b"\0\x1d")), extension(11, vector(b"\0", 1))
        one, other = read_hello(record(message(a + b))), read_hello(record(message(b + a)))
        assert isinstance(one, ClientHello) and isinstance(other, ClientHello)
        self.assertEqual(ja4(one), ja4(other))
        self.assertNotEqual(ja3(one), ja3(other))

    def test_grease(self) -> None:
        """Sixteen values, no others."""
        self.assertEqual([n for n in range(65536) if is_grease(n)][:3], [0x0a0a, 0x1a1a, 0x2a2a])
        self.assertEqual(sum(map(is_grease, range(65536))), 16)


class NameTests(SynchronousTestCase):
    def _name(self, name: bytes) -> tuple[str, bool]:
        hello = read_hello(record(message(server_name(name))))
        assert isinstance(hello, ClientHello)
        return hello.sni, hello.literal

    def test_names(self) -> None:
        """Lower-case, no final dot; an address is no name, and says so."""
        for name, expected in (
            (b"A.Example", ("a.example", False)), (b"a.example.", ("a.example", False)), (b"x_y.z", ("x_y.z", False)),
            (b"192.0.2.1", ("", True)), (b"2001:db8::1", ("", True)), (b"1.2.3.example", ("1.2.3.example", False)),
        ):
            self.assertEqual(self._name(name), expected)

    def test_names_that_are_none(self) -> None:
        """Refused, not passed on: they would reach logs and look-ups."""
        for name in (b"", b"a\0b.example", b"\xc3\xa4.example", b"a b", b".", b"a..b", b".a", b"x" * 256, b"a/b", b"a.example..", b"*"):
            with self.assertRaises(HelloRefused) as caught:
                self._name(name)
            self.assertIs(caught.exception.kind, NotHello.MALFORMED)


class RefusalTests(SynchronousTestCase):
    def test_what_is_no_hello(self) -> None:
        """Each is told apart, as soon as it can be."""
        for data, kind in (
            (b"GET / HTTP/1.1\r\n", NotHello.HTTP), (b"POST ", NotHello.HTTP), (b"PRI * HTTP/2.0", NotHello.HTTP),
            (b"SSH-2.0", NotHello.GARBAGE), (b"\0", NotHello.GARBAGE), (b"\x16\2", NotHello.GARBAGE),
            (b"\x80\x2e\1\0\2", NotHello.SSLV2), (b"\x80\x2e\1\3\1", NotHello.SSLV2),
            (b"\x15\3\1\0\2\1\0", NotHello.ALERT), (b"\x15\3\1\0\2\2\x28", NotHello.ALERT), (b"\x15\x99", NotHello.GARBAGE),
            (b"\x16\3\1\0\0", NotHello.MALFORMED), (b"\x16\3\1\x40\1", NotHello.MALFORMED),
            (b"\x16\3\1\0\1\2", NotHello.MALFORMED), (b"\x16\3\1\0\5\1\0\0\x09\3\x17", NotHello.MALFORMED),
            (b"\x16\3\1\0\4\1\0\x40\1", NotHello.TOO_LARGE), (b"\x16\3\1\0\4\1\xff\xff\xff", NotHello.TOO_LARGE),
        ):
            with self.assertRaises(HelloRefused, msg=data) as caught:
                read_hello(data)
            self.assertIs(caught.exception.kind, kind, data)

    def test_too_little_to_tell(self) -> None:
        """A prefix of something asks for more."""
        for data in (b"", b"G", b"GET", b"\x16", b"\x16\3", b"\x16\3\1\0", b"\x15", b"\x15\3\1\0\2\2", b"\x80\x2e\1\0"):
            self.assertIsInstance(read_hello(data), int)

    def test_larger_by_option(self) -> None:
        """The bound is 16 KiB unless somebody asks for more."""
        large = message(extension(21, bytes(30_000)) + extension(22, b""))
        self.assertGreater(len(large), MAX_HELLO_BYTES)
        with self.assertRaises(HelloRefused):
            read_hello(records(large, 16384))
        self.assertIsInstance(read_hello(records(large, 16384), 64 * 1024), ClientHello)

    def test_more_records_than_sense(self) -> None:
        """A large hello in one-byte records is a way to keep us busy."""
        with self.assertRaises(HelloRefused):
            read_hello(records(message(extension(21, bytes(3000))), 1))

    def test_malformed(self) -> None:
        """Lengths must fit, extensions be there once; the alert says which rule it was."""
        twice = extension(23, b"") * 2
        for body, description in (
            (message(twice), ILLEGAL_PARAMETER), (message(server_name(b"a.b") + server_name(b"a.b")), ILLEGAL_PARAMETER),
            (message(extension(0, vector((b"\0" + vector(b"a")) * 2))), ILLEGAL_PARAMETER), (message(extension(0, b"")), DECODE_ERROR),
            (message(extension(0, vector(b""))), DECODE_ERROR), (message(extension(16, vector(b"\0"))), DECODE_ERROR),
            (message(extension(16, vector(b""))), DECODE_ERROR), (message(extension(43, b"\3\3\4\3")), DECODE_ERROR),
            (message(extension(10, b"\0\3\0\x1d\0")), DECODE_ERROR), (message(suites=b""), DECODE_ERROR),
            (message(suites=b"\x13"), DECODE_ERROR), (message(compressions=b""), DECODE_ERROR),
            (message(session=b"S" * 33), DECODE_ERROR), (message(b"\0"), DECODE_ERROR), (message(b"\0\x17\0\5abc"), DECODE_ERROR),
        ):
            with self.assertRaises(HelloRefused, msg=body) as caught:
                read_hello(record(body))
            self.assertEqual(caught.exception.alert, description, body)


class FuzzTests(SynchronousTestCase):
    @examples(100)
    @given(st.one_of(st.binary(max_size=400), st.binary(max_size=200).map(lambda tail: b"\x16\3\1" + tail),
                     st.binary(max_size=200).map(lambda tail: record(b"\1" + vector(tail, 3))),
                     st.binary(max_size=120).map(lambda tail: record(message(tail)))))
    def test_anything(self, data: bytes) -> None:
        """A hello, a positive number or its own error: nothing else, for any bytes."""
        try:
            found = read_hello(data)
        except HelloRefused:
            return
        if isinstance(found, int):
            self.assertGreater(found, 0)
        else:
            ja3(found)
            ja4(found)

    @examples(100)
    @given(st.sampled_from(SAMPLES), st.data())
    def test_one_changed_byte(self, sample: bytes, draw: st.DataObject) -> None:
        """A broken sample is read or refused."""
        at = draw.draw(st.integers(0, len(sample) - 1))
        broken = sample[:at] + bytes((draw.draw(st.integers(0, 255)),)) + sample[at + 1:]
        try:
            found = read_hello(broken)
        except HelloRefused:
            return
        if not isinstance(found, int):
            ja4(found)
