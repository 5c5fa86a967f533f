"""Fuzz targets of what comes from DNS servers and from the kernel: whatever the bytes, nothing but the expected comes out."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.wire.dnsanswer import MAX_CHAIN, BadAnswer, read_answer, write_question
from voltgw.wire.dnsmsg import AAAA, A, name_of
from voltgw.wire.rtnetlink import NEWADDR, Refused, address_request, read_address, read_messages, read_route

_NAMES = ("app.example", "b.example", "c.example", "example")
_IDENTITY = 4660


def _record(name: str, to: str | int) -> dns.RRHeader:
    if isinstance(to, int):
        return dns.RRHeader(name, dns.A, ttl=to % 100, payload=dns.Record_A(str(IPv4Address(to))))
    return dns.RRHeader(name, dns.CNAME, ttl=7, payload=dns.Record_CNAME(to))


def _message(records: list[tuple[str, str | int]]) -> bytes:
    message = dns.Message(id=_IDENTITY, answer=True)
    message.queries = [dns.Query(_NAMES[0], dns.A)]
    message.answers = [_record(name, to) for name, to in records]
    return message.toStr()


_RECORDS = st.lists(st.tuples(st.sampled_from(_NAMES), st.one_of(st.sampled_from(_NAMES), st.integers(1, 2 ** 32 - 1))), max_size=6)


class DnsAnswerTests(SynchronousTestCase):
    @examples(400)
    @given(records=_RECORDS, changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
           cut=st.integers(0, 500), kind=st.sampled_from((A, AAAA)))
    def test_whatever_comes(self, records: list[tuple[str, str | int]], changes: list[tuple[int, int]], cut: int, kind: int) -> None:
        """It is an answer with addresses of the type that was asked for, or it is refused."""
        data = bytearray(_message(records))
        for at, octet in changes:
            if at < len(data):
                data[at] = octet
        with contextlib.suppress(BadAnswer):
            found = read_answer(bytes(data[:cut] if cut < 400 else data), _IDENTITY, name_of(_NAMES[0]), kind)
            wanted = IPv4Address if kind == A else IPv6Address
            self.assertTrue(all(isinstance(address, wanted) for address in found.addresses))
            self.assertGreaterEqual(found.ttl_s, 0)

    @examples(300)
    @given(records=_RECORDS)
    def test_a_chain_is_followed_as_it_is_written(self, records: list[tuple[str, str | int]]) -> None:
        """The addresses are those at the end of the chain, the first alias of a name counts, a ring has none."""
        aliases: dict[str, str] = {}
        for name, to in records:
            if isinstance(to, str):
                aliases.setdefault(name, to)
        name = _NAMES[0]
        for _ in range(MAX_CHAIN):
            here = [to for owner, to in records if owner == name and isinstance(to, int)]
            if here or name not in aliases:
                break
            name = aliases[name]
        expected = tuple(dict.fromkeys(IPv4Address(to) for owner, to in records if owner == name and isinstance(to, int)))
        self.assertEqual(read_answer(_message(records), _IDENTITY, name_of(_NAMES[0]), A).addresses, expected)

    @examples(100)
    @given(data=st.binary(max_size=80))
    def test_noise(self, data: bytes) -> None:
        """It is no answer, even with the right beginning."""
        for piece in (data, write_question(_IDENTITY, name_of(_NAMES[0]), A)[:12] + data, _message([])[:12] + data):
            with contextlib.suppress(BadAnswer):
                self.assertEqual(read_answer(piece, _IDENTITY, name_of(_NAMES[0]), A).addresses, ())


class NetlinkTests(SynchronousTestCase):
    @examples(300)
    @given(changes=st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=4), cut=st.integers(0, 90))
    def test_whatever_it_says(self, changes: list[tuple[int, int]], cut: int) -> None:
        """Messages of the kernel that are cut or changed are read, or refused with a ValueError or the kernel's error."""
        data = bytearray(address_request(NEWADDR, 0, 7, 3, "192.0.2.10", 30))
        for at, octet in changes:
            if at < len(data):
                data[at] = octet
        with contextlib.suppress(ValueError, Refused):
            for answer in read_messages(bytes(data[:cut]), 7):
                if answer is not None:
                    for read in (read_address, read_route):
                        with contextlib.suppress(ValueError):
                            read(answer[1])
