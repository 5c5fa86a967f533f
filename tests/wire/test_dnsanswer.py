"""A client's questions of DNS, and what it believes of answers; Twisted's codec is the second opinion."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from voltgw.wire.dnsanswer import Answer, BadAnswer, read_answer, write_question
from voltgw.wire.dnsmsg import AAAA, A, name_of

NAME = name_of("app.example")


def answer(*records: dns.RRHeader, number: int = 7, name: str = "app.example", kind: int = A, rcode: int = 0,
           truncated: bool = False) -> bytes:
    """What a server sends, written by Twisted."""
    message = dns.Message(id=number, answer=True, rCode=rcode, trunc=truncated)
    message.queries = [dns.Query(name, kind)]
    message.answers = list(records)
    return message.toStr()


def a(address: str, name: str = "app.example", ttl: int = 60) -> dns.RRHeader:
    """An A record."""
    return dns.RRHeader(name, dns.A, ttl=ttl, payload=dns.Record_A(address))


def alias(to: str, name: str = "app.example", ttl: int = 60) -> dns.RRHeader:
    """A CNAME record."""
    return dns.RRHeader(name, dns.CNAME, ttl=ttl, payload=dns.Record_CNAME(to))


class QuestionTests(SynchronousTestCase):
    def test_twisted_reads_it(self) -> None:
        """One question, recursion desired, EDNS."""
        message = dns._EDNSMessage()
        message.fromStr(write_question(7, NAME, AAAA))
        (query,) = message.queries
        self.assertEqual((message.id, message.recDes, query.name.name, query.type), (7, True, b"app.example", dns.AAAA))
        self.assertEqual((message.ednsVersion, message.maxSize), (0, 1232))


class AnswerTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        """All of the name, each once, with the shortest time to live."""
        found = read_answer(answer(a("192.0.2.1"), a("192.0.2.2", ttl=5), a("192.0.2.1")), 7, NAME, A)
        self.assertEqual(found, Answer(0, (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")), 5, False))
        six = dns.RRHeader("app.example", dns.AAAA, ttl=9, payload=dns.Record_AAAA("2001:db8::1"))
        self.assertEqual(read_answer(answer(six, kind=AAAA), 7, NAME, AAAA).addresses, (IPv6Address("2001:db8::1"),))

    def test_a_chain_of_names(self) -> None:
        """It is followed within the answer, whatever the order and the case."""
        found = read_answer(answer(alias("B.example"), a("192.0.2.9", "c.example"), alias("c.example", "b.EXAMPLE", 3)), 7, NAME, A)
        self.assertEqual((found.addresses, found.ttl_s), ((IPv4Address("192.0.2.9"),), 3))

    def test_a_chain_in_a_ring(self) -> None:
        """It has no address."""
        found = read_answer(answer(alias("b.example"), alias("app.example", "b.example")), 7, NAME, A)
        self.assertEqual((found.addresses, found.ttl_s), ((), 0))

    def test_addresses_of_other_names(self) -> None:
        """A server may not slip them in."""
        self.assertEqual(read_answer(answer(a("192.0.2.66", "evil.example")), 7, NAME, A).addresses, ())

    def test_what_answers_something_else(self) -> None:
        """Another number, name or type, or no answer at all: passed over."""
        for data in (answer(number=8), answer(name="other.example"), answer(kind=AAAA), write_question(7, NAME, A), b"", b"\0" * 12):
            with self.assertRaises(BadAnswer):
                read_answer(data, 7, NAME, A)

    def test_no_such_name(self) -> None:
        """That is an answer."""
        self.assertEqual(read_answer(answer(rcode=3), 7, NAME, A), Answer(3, (), 0, False))

    def test_cut_at_every_byte(self) -> None:
        """It is refused, or, where the server says that it was cut, there is more by TCP; nothing else is raised."""
        whole = answer(a("192.0.2.1"), alias("b.example", "x.example"), truncated=True)
        for size in range(len(whole)):
            try:
                self.assertTrue(read_answer(whole[:size], 7, NAME, A).truncated)
            except BadAnswer:
                continue
        for size in range(len(whole)):
            with self.assertRaises(BadAnswer):
                read_answer(whole[:2] + b"\x81\x80" + whole[4:size], 7, NAME, A)

    def test_names_that_do_not_end(self) -> None:
        """Pointers ahead, to themselves, and labels of unknown form."""
        head = answer()[:12]
        for name in (b"\xc0\x0c", b"\xc0\xff", b"\x80a", b"\x40a", b"\xc0"):
            with self.assertRaises(BadAnswer):
                read_answer(head + name, 7, NAME, A)
