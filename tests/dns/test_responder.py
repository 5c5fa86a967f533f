"""The server's answers by case: the table of promises about DNS, asked with dnspython."""

from __future__ import annotations

import struct
from random import Random

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
from dns.edns import OptionType
from hypothesis import given
from hypothesis.strategies import binary
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from tests.routing.test_zone import APEX, host, zone
from voltgw.dns.cookies import Cookies
from voltgw.dns.rates import ResponseRates
from voltgw.dns.responder import Responder
from voltgw.routing.zone import Zones
from voltgw.wire.dnsmsg import TXT

PEER = "192.0.2.1"


class ResponderTests(SynchronousTestCase):
    """`Responder.respond`."""

    def setUp(self) -> None:
        """A zone with a host of forty addresses."""
        made = zone({"long": [(TXT, [b"\xff" + bytes((65 + number,)) * 255 for number in range(8)])]})
        made.set_host(host("shop", *(f"10.0.0.{number}" for number in range(40))))
        self.zones = Zones([made])
        self.responder = Responder(self.zones, Cookies(bytes(16), lambda: 1e9))

    def ask(self, name: str = f"shop.{APEX}", kind: str = "A", *, tcp: bool = False, peer: str = PEER, **more: object) -> dns.message.Message:
        """The answer to a query that dnspython makes."""
        answer = self.responder.respond(dns.message.make_query(name, kind, **more).to_wire(), peer, tcp)    # type: ignore[arg-type]
        assert answer is not None
        return dns.message.from_wire(answer)

    def test_an_answer(self) -> None:
        """AA, no RA, RD given back, counted."""
        answer = self.ask()
        self.assertEqual(dns.flags.to_text(answer.flags), "QR AA RD")
        self.assertEqual(len(answer.answer[0]), 16)
        counters = self.responder.counters
        self.assertEqual((counters.queries, counters.answers), ({("udp", "A"): 1}, {"NOERROR": 1}))

    def test_outside_the_zone(self) -> None:
        """REFUSED with the reason, no referral upwards."""
        answer = self.ask("www.example.org", use_edns=0)
        self.assertEqual((answer.rcode(), answer.authority, answer.additional), (5, [], []))
        self.assertEqual(answer.options[0].to_text(), "EDE 20 (Not Authoritative)")

    def test_transfers(self) -> None:
        """AXFR and IXFR are refused by UDP and TCP."""
        for kind in ("AXFR", "IXFR"):
            for tcp in (False, True):
                self.assertEqual(self.ask(APEX, kind, tcp=tcp).rcode(), 5)
        self.assertEqual(len(list(self.responder.respond_all(dns.message.make_query(APEX, "AXFR").to_wire(), PEER))), 1)

    def test_other_opcodes_and_classes(self) -> None:
        """NOTIMP, and REFUSED; ANY class is ours."""
        for opcode in (1, 2, 4, 5, 6, 15):
            query = dns.message.make_query(APEX, "SOA")
            data = bytearray(query.to_wire())
            data[2] = data[2] & 0x87 | opcode << 3
            answer = self.responder.respond(bytes(data), PEER)
            assert answer is not None
            self.assertEqual((answer[2] >> 3 & 15, answer[3] & 15), (opcode, 4))
        self.assertEqual(self.ask("version.bind", "TXT", rdclass="CH").rcode(), 5)
        self.assertEqual(self.ask(rdclass="ANY").rcode(), 0)

    def test_edns_versions(self) -> None:
        """BADVERS with an OPT of version 0 and nothing else."""
        answer = self.ask(use_edns=1)
        self.assertEqual((answer.rcode(), answer.edns, answer.answer), (16, 0, []))

    def test_sizes(self) -> None:
        """512 bytes without EDNS, what is advertised up to 1232 with it, all of it by TCP."""
        for name, kind, more, cut in (
            (f"long.{APEX}", "TXT", {}, True), (f"shop.{APEX}", "A", {}, False), (f"long.{APEX}", "TXT", {"use_edns": 0, "payload": 4096}, True),
            (f"long.{APEX}", "TXT", {"tcp": True}, False),
        ):
            answer = self.ask(name, kind, **more)
            self.assertEqual(bool(answer.flags & dns.flags.TC), cut)
            self.assertEqual(bool(answer.answer), not cut)
        self.assertEqual(self.responder.counters.truncated, 2)

    def test_case(self) -> None:
        """The question comes back byte by byte."""
        self.assertEqual(self.ask("sHoP.aPpS.eXaMpLe").question[0].name.to_text(), "sHoP.aPpS.eXaMpLe.")

    def test_unknown_options_and_flags(self) -> None:
        """They change nothing and are not copied; DO is."""
        plain = self.ask(use_edns=0, ednsflags=0x8001, options=[dns.edns.GenericOption(OptionType(65001), b"x")])
        self.assertEqual((plain.options, plain.ednsflags), ((), 0x8000))

    def test_cookies(self) -> None:
        """A client's cookie gets one of ours; whoever shows that is not limited."""
        self.responder = Responder(self.zones, Cookies(bytes(16), lambda: 1e9), ResponseRates(1, 1, lambda: 5.0))
        cookie = self.ask(use_edns=0, options=[dns.edns.GenericOption(OptionType.COOKIE, b"12345678")]).options[0]
        for _ in range(5):
            answer = self.ask(use_edns=0, options=[cookie])
            self.assertTrue(answer.answer)
        self.assertFalse(self.ask(use_edns=0).answer)
        self.assertEqual(self.responder.counters.slipped, 1)

    def test_rates(self) -> None:
        """Beyond the rate an answer is truncated or dropped, of errors too; TCP is not limited."""
        self.responder = Responder(self.zones, Cookies(bytes(16), lambda: 1e9), ResponseRates(2, 2, lambda: 5.0))
        wire = dns.message.make_query(f"shop.{APEX}", "A").to_wire()
        answers = [self.responder.respond(wire, PEER) for _ in range(6)]
        self.assertEqual([None if each is None else each[2] & 2 for each in answers], [0, 0, None, 2, None, 2])
        self.assertIsNone(self.responder.respond(wire[:-1], PEER))
        self.assertTrue(self.ask(tcp=True).answer)
        self.assertTrue(self.ask(peer="203.0.113.1").answer)
        self.assertEqual((self.responder.counters.limited, self.responder.counters.slipped), (3, 2))

    def test_random_names(self) -> None:
        """A flood of names that are not there leaves nothing behind, and is limited by its network."""
        self.responder = Responder(self.zones, Cookies(bytes(16), lambda: 1e9), ResponseRates(100, 0, lambda: 5.0))
        random = Random(1)
        before = len(self.zones.nodes)
        answered = sum(self.responder.respond(dns.message.make_query(f"{random.random()}.{APEX}", "A").to_wire(), PEER) is not None
                       for _ in range(500))
        self.assertEqual((answered, len(self.zones.nodes)), (100, before))

    def test_subnets(self) -> None:
        """Given back with a scope of 0 where the answer is for all."""
        option = self.ask(use_edns=0, options=[dns.edns.ECSOption("10.1.2.0", 24)]).options[0]
        self.assertEqual(option.to_text(), "ECS 10.1.2.0/24 scope/0")

    def test_keepalive(self) -> None:
        """TCP clients that ask are told how long they may idle, in tenths of a second (RFC 7828)."""
        for tcp in (True, False):
            answer = self.ask(use_edns=0, options=[dns.edns.GenericOption(OptionType(11), b"")], tcp=tcp)
            self.assertEqual([option.to_wire() for option in answer.options], [struct.pack("!H", 300)] if tcp else [])

    def test_never_answered(self) -> None:
        """Answers and scraps."""
        for data in (b"", b"x" * 11, struct.pack("!HHHHHH", 1, 0x8000, 1, 0, 0, 0) + b"\0\0\1\0\1"):
            self.assertIsNone(self.responder.respond(data, PEER))
        self.assertEqual(sum(self.responder.counters.dropped.values()), 3)

    @given(binary(max_size=200))
    @examples(400)
    def test_any_bytes(self, data: bytes) -> None:
        """An answer that is a message, or none; never an exception."""
        for each in (data, struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 0) + data):
            answer = self.responder.respond(each, PEER)
            if answer is not None:
                self.assertEqual((answer[:2], answer[2] & 0x80), (each[:2], 0x80))
