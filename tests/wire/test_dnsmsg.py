"""DNS messages: every mistake in a query, and answers that dnspython and Twisted read as they were meant."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import cast

import dns.edns
import dns.message
import dns.rdata
from dns.rdatatype import RdataType
from hypothesis import given
from hypothesis.strategies import binary, integers, lists, sampled_from, text
from twisted.names import dns as twisted_dns
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.wire.dnsmsg import (
    AA,
    AAAA,
    IN,
    MAX_TCP_BYTES,
    MAX_UDP_BYTES,
    A,
    Malformed,
    Sections,
    Unanswerable,
    checked_labels,
    error_option,
    https_rdata,
    name_of,
    read_query,
    record,
    refusal,
    text_of,
    truncated,
    type_name,
    write_answer,
)

HEAD = struct.Struct("!HHHHHH")
NAME = b"\x04shop\x07example\x00"
ASK = struct.pack("!HH", A, IN)


def message(body: bytes = NAME + ASK, flags: int = 0, counts: tuple[int, int, int, int] = (1, 0, 0, 0)) -> bytes:
    """A message with an id of 7."""
    return HEAD.pack(7, flags, *counts) + body


def with_opt(rdata: bytes, size: int = 4096, ttl: int = 0) -> bytes:
    """A query with an OPT record."""
    return message(NAME + ASK + struct.pack("!BHHIH", 0, 41, size, ttl, len(rdata)) + rdata, 0x0100, (1, 0, 0, 1))


class ReadTests(SynchronousTestCase):
    """`read_query`."""

    def test_a_query(self) -> None:
        """Its name is looked up in lower case, and given back as it was sent."""
        query = read_query(message(b"\x04sHoP\x07EXAMPLE\x00" + ASK, 0x0100))
        self.assertEqual((query.id, query.name, query.kind, query.klass, query.opt), (7, NAME, A, IN, False))
        self.assertEqual(query.question, b"\x04sHoP\x07EXAMPLE\x00" + ASK)
        self.assertEqual(repr(query), "<Query shop.example A>")
        self.assertEqual(checked_labels(query), (b"shop", b"example"))

    def test_what_is_never_answered(self) -> None:
        """Less than a header, and answers: to answer those could loop."""
        for data in (b"", b"\0" * 11, message(flags=0x8000)):
            self.assertRaises(Unanswerable, read_query, data)

    def test_what_is_malformed(self) -> None:
        """FORMERR with the id, and no more than a header."""
        for body, counts in (
            (b"", (1, 0, 0, 0)), (NAME, (1, 0, 0, 0)), (NAME + ASK[:3], (1, 0, 0, 0)), (NAME + ASK, (0, 0, 0, 0)),
            (NAME + ASK, (2, 0, 0, 0)), (b"\xc0\x0c" + ASK, (1, 0, 0, 0)), (NAME + ASK, (1, 0, 0, 1)),
            (NAME + ASK + b"\0\0\x29", (1, 0, 0, 1)), (NAME + ASK + b"\x03ab", (1, 0, 0, 1)),
            (NAME + ASK + struct.pack("!BHHIH", 0, 41, 512, 0, 9), (1, 0, 0, 1)),
            (NAME + ASK + struct.pack("!BHHIH", 0, 41, 512, 0, 0) * 2, (1, 0, 0, 2)),
            (NAME + ASK + b"\x01a\0" + struct.pack("!HHIH", 41, 512, 0, 0), (1, 0, 0, 1)),
        ):
            caught = self.assertRaises(Malformed, read_query, message(body, counts=counts))
            self.assertEqual(caught.answer, HEAD.pack(7, 0x8001, 0, 0, 0, 0))

    def test_names_that_are_none(self) -> None:
        """Found out when they are not found: pointers, labels with a zero byte, more than 255 bytes."""
        for name in (b"\x04shop\xc0\x0c\0", b"\x04sh\0p\x00", b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 63 + b"\x3f" + b"c" * 63
                     + b"\x3f" + b"d" * 63 + b"\0"):
            query = read_query(message(name + ASK))
            self.assertRaises(Malformed, checked_labels, query)

    def test_opt(self) -> None:
        """Sizes between 512 and 1232, the version, DO, and options that are not known."""
        for size, most in ((0, 512), (512, 512), (900, 900), (1232, 1232), (4096, 1232), (65535, 1232)):
            query = read_query(with_opt(b"", size, 0x8000))
            self.assertEqual((query.opt, query.size, query.version, query.dnssec), (True, most, 0, True))
        self.assertEqual(read_query(with_opt(b"", 512, 1 << 16)).version, 1)
        unknown = read_query(with_opt(struct.pack("!HH", 65001, 3) + b"abc" + struct.pack("!HH", 11, 0)))
        self.assertEqual((unknown.cookie, unknown.subnet, unknown.keepalive), (b"", None, True))

    def test_options_that_are_malformed(self) -> None:
        """Cut off, too many, cookies of no known size, subnets against RFC 7871."""
        option = struct.Struct("!HH")
        for rdata in (
            b"\0", option.pack(10, 9) + b"12345678", option.pack(10, 4) + b"1234", option.pack(10, 9) + b"1" * 9,
            option.pack(10, 41) + b"1" * 41, option.pack(3, 0) * 17, option.pack(8, 3) + b"\0\1\0",
            option.pack(8, 7) + b"\0\1\x18\x18abc", option.pack(8, 6) + b"\0\1\x18\0ab", option.pack(8, 8) + b"\0\1\x21\0abcd",
            option.pack(8, 7) + b"\0\1\x11\0ab\x40", option.pack(8, 5) + b"\0\3\x08\0a",
        ):
            self.assertRaises(Malformed, read_query, with_opt(rdata))

    def test_subnet_and_cookie(self) -> None:
        """As they were sent."""
        query = read_query(with_opt(struct.pack("!HHHBB", 8, 7, 1, 24, 0) + b"\x0a\1\2" + struct.pack("!HH", 10, 24) + b"c" * 24))
        self.assertEqual((query.cookie, query.server_cookie), (b"c" * 8, b"c" * 16))
        assert query.subnet is not None
        self.assertEqual((query.subnet.family, query.subnet.bits, query.subnet.address), (1, 24, b"\x0a\1\2"))
        self.assertIn("/24", repr(query.subnet))

    def test_signed(self) -> None:
        """A TSIG in the last place is seen, behind records of other sections, too; elsewhere it is an error."""
        tsig = b"\x01k\0" + struct.pack("!HHIH", 250, 255, 0, 0)
        at = 12 + len(NAME + ASK)
        self.assertEqual(read_query(message(NAME + ASK + tsig, counts=(1, 0, 0, 1))).tsig, at)
        other = b"\xC0\x0C" + struct.pack("!HHIH", 1, 1, 0, 4) + bytes(4)
        self.assertEqual(read_query(message(NAME + ASK + other + tsig, counts=(1, 0, 1, 1))).tsig, at + len(other))
        self.assertRaises(Malformed, read_query, message(NAME + ASK + tsig + other, counts=(1, 0, 0, 2)))
        self.assertRaises(Malformed, read_query, message(NAME + ASK, counts=(1, 0, 1, 1)))

    def test_serial_of_an_incremental_transfer(self) -> None:
        """It is read from the SOA that the client has; other queries' authority says nothing."""
        soa = b"\xC0\x0C" + struct.pack("!HHIH", 6, 1, 0, 22) + bytes(2) + struct.pack("!5I", 7, 1, 2, 3, 4)
        for kind, serial in ((251, 7), (1, None)):
            query = read_query(message(NAME + struct.pack("!HH", kind, 1) + soa, counts=(1, 0, 1, 0)))
            self.assertEqual(query.serial, serial)

    @given(binary(max_size=80))
    @examples(500)
    def test_any_bytes(self, data: bytes) -> None:
        """A query, or one of the two refusals; never anything else."""
        for each in (data, message(data), message(NAME + ASK + data, counts=(1, 0, 0, 1))):
            try:
                checked_labels(read_query(each))
            except (Malformed, Unanswerable):
                pass

    @given(lists(text("abcXYZ019-", min_size=1, max_size=12), min_size=1, max_size=6), sampled_from([1, 28, 16, 65]),
           integers(0, 65535), sampled_from([-1, 0]))
    @examples(200)
    def test_what_dnspython_writes(self, labels: list[str], kind: int, identity: int, edns: int) -> None:
        """It is read as it was meant."""
        made = dns.message.make_query(".".join(labels), RdataType(kind), use_edns=edns, id=identity)
        query = read_query(made.to_wire())
        self.assertEqual((query.id, query.kind, query.opt), (identity, kind, edns == 0))
        self.assertEqual(query.name, name_of(".".join(labels)))


class WriteTests(SynchronousTestCase):
    """`write_answer` and its like."""

    def answer(self, wire: bytes, records: int = 2, limit: int = MAX_TCP_BYTES, options: bytes = b"") -> bytes:
        """An answer of some addresses to a query."""
        data = b"".join(record(b"\xc0\x0c", A, 30, bytes((10, 0, 0, number))) for number in range(records))
        return write_answer(read_query(wire), Sections(AA, records, 0, 0, data), limit, options)

    def test_two_judges(self) -> None:
        """dnspython and Twisted both read the answer."""
        wire = dns.message.make_query("Shop.Example", "A", use_edns=0, payload=1232).to_wire()
        data = self.answer(wire)
        read = dns.message.from_wire(data)
        self.assertEqual(read.question[0].name.to_text(), "Shop.Example.")
        self.assertEqual(read.answer[0].to_text(), "Shop.Example. 30 IN A 10.0.0.0\nShop.Example. 30 IN A 10.0.0.1")
        self.assertEqual((read.edns, read.payload), (0, MAX_UDP_BYTES))
        other = twisted_dns.Message()
        other.fromStr(data)
        self.assertEqual([cast(twisted_dns.Record_A, each.payload).dottedQuad() for each in other.answers], ["10.0.0.0", "10.0.0.1"])
        self.assertTrue(other.auth)

    def test_no_opt_for_whom_has_sent_none(self) -> None:
        """RFC 6891 7; RD and the opcode are given back, other flags are not."""
        read = dns.message.from_wire(self.answer(message(flags=0x0170)))
        self.assertEqual(read.edns, -1)
        self.assertEqual(int(read.flags), 0x8000 | AA | 0x0100)

    def test_too_long(self) -> None:
        """TC, no records, OPT kept with its options; exactly at the limit it is whole."""
        whole = self.answer(with_opt(b"", 512), 20)
        for wire, limit, cut in ((with_opt(b"", 512), len(whole), False), (with_opt(b"", 512), len(whole) - 1, True),
                                 (message(), len(whole) - 11, False), (message(), len(whole) - 12, True)):
            read = dns.message.from_wire(self.answer(wire, 20, limit))
            self.assertEqual((bool(read.flags & 0x0200), bool(read.answer)), (cut, not cut))
            self.assertEqual(read.edns, 0 if wire != message() else -1)
        self.assertTrue(dns.message.from_wire(truncated(read_query(with_opt(b"")), error_option(22, "why"))).options)

    def test_extended_errors(self) -> None:
        """BADVERS needs eight bits more than the header has; reasons have numbers and words (RFC 8914)."""
        read = dns.message.from_wire(refusal(read_query(with_opt(b"", 512, 1 << 16)), 16, error_option(20, "not ours")))
        self.assertEqual(read.rcode(), 16)
        option = read.options[0]
        assert isinstance(option, dns.edns.EDEOption)
        self.assertEqual((option.code, option.text), (20, "not ours"))

    def test_https(self) -> None:
        """dnspython reads the parameters, in the order in which they must stand."""
        for alpn, port, words in (
            ([b"h2", b"http/1.1"], None, '1 . alpn="h2,http/1.1" ipv4hint="10.0.0.1" ipv6hint="2001:db8::1"'),
            ([b"h2"], 8443, '1 . alpn="h2" no-default-alpn port="8443" ipv4hint="10.0.0.1" ipv6hint="2001:db8::1"'),
        ):
            rdata = https_rdata(alpn, port, [ip_address("10.0.0.1"), ip_address("2001:db8::1")])
            self.assertEqual(dns.rdata.from_wire("IN", "HTTPS", rdata, 0, len(rdata)).to_text(), words)


class NameTests(SynchronousTestCase):
    """`name_of` and `text_of`."""

    def test_there_and_back(self) -> None:
        """In lower case."""
        for text_form, back in (("Shop.Example.", "shop.example"), (".", "."), ("", "."), ("*.a", "*.a")):
            self.assertEqual(text_of(name_of(text_form)), back)
        self.assertEqual(text_of(b"\x03a.\n\0"), "a\\046\\010")
        self.assertEqual((type_name(AAAA), type_name(1234)), ("AAAA", "TYPE1234"))

    def test_names_that_are_none(self) -> None:
        """Empty and long labels, long names, letters beyond ASCII."""
        for name in ("a..b", "a" * 64, ".".join(["a" * 63] * 4), "schön.example"):
            self.assertRaises(ValueError, name_of, name)
