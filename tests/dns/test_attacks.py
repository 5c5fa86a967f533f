"""Floods and tricks against the DNS server, from networks that forge, crowd and ask for nonsense."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Any

import dns.edns
import dns.message
import dns.name
import dns.tsig
from twisted.internet.address import IPv6Address as PeerAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.dns.test_server import StreamTests as _StreamTests
from tests.dns.test_server import framed, responder
from tests.dns.test_transfers import KEY, RING
from tests.routing.test_zone import APEX, zone
from voltgw.dns import server
from voltgw.dns.cookies import MAX_REMEMBERED, Cookies
from voltgw.dns.rates import MAX_NETWORKS, ResponseRates, Verdict
from voltgw.dns.responder import Responder
from voltgw.dns.tsig import Keyring
from voltgw.routing.zone import Zones

SHOP = f"shop.{APEX}"


class CrowdTests(_StreamTests):
    """Connections of one client that has many addresses; beside all that holds for streams."""

    def test_many_addresses_of_one_network(self) -> None:
        """A /64 has the share of one client: it closes nobody else's connections, however many addresses it comes from."""
        self.patch(server, "MAX_CONNECTIONS", 8)
        self.patch(server, "MAX_FROM_ONE", 4)
        other = self.connect("192.0.2.1")
        made = []
        for number in range(20):
            made.append(self.factory.buildProtocol(PeerAddress("TCP", str(IPv6Address(0x20010DB8 << 96 | number)), 5353)))
        self.assertEqual([each is not None for each in made], [True] * 4 + [False] * 16)
        self.assertFalse(other[1].disconnecting)
        other[0].dataReceived(framed(identity=7))
        self.assertEqual(self.identities(other[1]), [7])
        self.assertIsNotNone(self.factory.buildProtocol(PeerAddress("TCP", "2001:db8:0:1::1", 5353)))
        for each in (*made, *list(self.factory.open)):
            if each is not None:
                self.factory.gone(each)
                self.factory.gone(each)
        self.assertEqual((dict(self.factory.open), self.factory._from), ({}, {}))

    def test_thousands_of_queries_in_one_read(self) -> None:
        """A client that sends them and takes nothing: its answers do not pile up, they are made as they are taken."""
        protocol, transport = self.connect()
        write, sent = transport.write, []

        def full(data: bytes) -> None:
            sent.append(len(data))
            write(data)
            if sum(sent) > 4096:
                protocol.pauseProducing()   # as the kernel's buffer has it

        self.patch(transport, "write", full)
        self.patch(transport, "writeSequence", lambda pieces: full(b"".join(pieces)))
        protocol.dataReceived(b"".join(framed(f"long.{APEX}", number & 0xFFFF) for number in range(3000)))
        self.assertLess(sum(sent), 8192)
        self.factory.close()


class ForgeryTests(SynchronousTestCase):
    def test_a_cookie_of_somebody_else(self) -> None:
        """It is good from the address that it was given to, and does not lift the limit of another one."""
        now = [1e9]
        cookies = Cookies(bytes(range(16)), lambda: now[0])
        made = Responder(Zones([zone()]), cookies, ResponseRates(1, 0, lambda: 0.0))
        client = b"8 octets"
        good = cookies.make(client, bytes((192, 0, 2, 1)), int(now[0]))

        def asks(address: str, cookie: bytes) -> bool:
            query = dns.message.make_query(SHOP, "A", use_edns=0, options=[dns.edns.GenericOption(dns.edns.OptionType.COOKIE, cookie)])
            return made.respond(query.to_wire(), address) is not None

        self.assertEqual([asks("192.0.2.1", client + good) for _ in range(5)], [True] * 5)
        self.assertEqual([asks("198.51.100.1", client + good) for _ in range(3)], [True, False, False])
        changed = good[:-1] + bytes((good[-1] ^ 1,))
        self.assertEqual([asks("203.0.113.1", client + changed) for _ in range(3)], [True, False, False])
        now[0] += 7200
        self.assertEqual([asks("192.0.2.1", client + good) for _ in range(3)], [True, False, False])
        now[0] -= 4 * 3600                  # the clock is set back: a cookie from the future is none
        self.assertFalse(asks("192.0.2.1", client + good))

    def test_cookies_by_the_million(self) -> None:
        """What is remembered of them is bounded, of good ones and of new ones."""
        cookies = Cookies(bytes(16), lambda: 1e9)
        made = Responder(Zones([zone()]), cookies)
        chance = random.Random(0)
        for _ in range(MAX_REMEMBERED + 2000):
            query = b"\0\1\0\0\0\1\0\0\0\0\0\1\1x\0\0\1\0\1" + b"\0\0\x29\4\xd0\0\0\0\0\0\x0c\0\x0a\0\x08" + chance.randbytes(8)
            self.assertIsNotNone(made.respond(query, "192.0.2.1"))
        self.assertLessEqual(len(cookies._fresh), MAX_REMEMBERED)

    def test_networks_by_the_hundred_thousand(self) -> None:
        """Rates are remembered of so many; a victim's is still held while others come."""
        now = [0.0]
        rates = ResponseRates(5, 0, lambda: now[0])
        victim = bytes((192, 0, 2, 1))
        self.assertEqual([rates.take(victim) for _ in range(6)], [Verdict.SEND] * 5 + [Verdict.DROP])
        sent = 0
        for number in range(MAX_NETWORKS + 50_000):
            rates.take(number.to_bytes(3, "big") + b"\1")
            if number % 100 == 0:
                sent += rates.take(victim) is Verdict.SEND
        self.assertLessEqual(len(rates), MAX_NETWORKS)
        self.assertEqual(sent, 0, "what others ask has given a victim more answers")

    def test_messages_at_random(self) -> None:
        """Thousands of changed queries: an answer, or silence; never an error, never more than was asked for, never slow."""
        made = responder()
        chance = random.Random(7)
        whole = dns.message.make_query(SHOP, "A", use_edns=0, payload=4096, options=[
            dns.edns.ECSOption("192.0.2.0", 24), dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"8 octets")]).to_wire()
        began = time.process_time()
        for _ in range(6000):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 5)):
                at = chance.randrange(len(data))
                kind = chance.randrange(4)
                if kind == 0:
                    data[at] = chance.choice((0, 1, 0x3F, 0x40, 0xC0, 0xFF, chance.randrange(256)))
                elif kind == 1:
                    del data[at:at + chance.randint(1, 8)]
                elif kind == 2:
                    data[at:at] = chance.randbytes(chance.randint(1, 12))
                else:
                    data[at:at + 2] = struct.pack("!H", 0xC000 | chance.randrange(64))
                if not data:
                    data = bytearray(1)
            tcp = chance.random() < 0.3
            answer = made.respond(bytes(data), "192.0.2.1", tcp)
            if answer is not None:
                self.assertGreaterEqual(len(answer), 12)
                self.assertTrue(answer[2] & 0x80)
                self.assertEqual(answer[:2], bytes(data[:2]))
                self.assertTrue(tcp or len(answer) <= 1232, len(answer))
                self.assertFalse(data[2] & 0x80)
        self.assertLess(time.process_time() - began, 5.0)

    def test_nothing_is_given_to_who_asks_for_many_records(self) -> None:
        """One question, one OPT, whatever the counts say: what is more is malformed, and refused with no more than a header."""
        made = Responder(Zones([zone()]), Cookies(bytes(16), lambda: 1e9))
        question = b"\4shop\7example\0\0\1\0\1"
        opt = b"\0\0\x29\4\xd0" + bytes(6)
        for counts, rest in (((0, 0, 0, 0), b""), ((2, 0, 0, 0), question * 2), ((65535, 0, 0, 0), question), ((1, 0, 0, 2), question + opt * 2),
                             ((1, 0, 0, 65535), question + opt), ((1, 0, 0, 1), question + opt[:-1]),
                             ((1, 0, 0, 1), question + b"\1x\0" + opt[1:]), ((1, 0, 0, 1), question + b"\xc0\x0c" + opt[1:])):
            answer = made.respond(struct.pack("!HHHHHH", 9, 0, *counts) + rest, "192.0.2.1")
            assert answer is not None
            self.assertEqual((len(answer), answer[3] & 0xF), (12, 1), counts)


class SignatureTests(SynchronousTestCase):
    """Whoever has no key, but knows the name of one."""

    def setUp(self) -> None:
        self.wall = 1e9
        self.responder = Responder(Zones([zone()]), Cookies(bytes(16), lambda: self.wall), keyring=Keyring([KEY], lambda: self.wall))

    def ask(self, changed: Callable[[Any], Any], ring: dict[dns.name.Name, dns.tsig.Key] = RING) -> bytes:
        """The answer to a signed query whose TSIG was changed."""
        query = dns.message.make_query(SHOP, "A")
        plain = query.to_wire()
        query.use_tsig(ring)
        query.to_wire()                     # that makes the signature
        assert query.tsig is not None
        rdata = changed(query.tsig[0]).to_wire()
        owner = dns.name.from_text("backup.example").to_wire() or b""
        wire = plain[:10] + b"\0\1" + plain[12:] + owner + struct.pack("!HHIH", 250, 255, 0, len(rdata)) + rdata
        answer = self.responder.respond(wire, "192.0.2.53")
        assert answer is not None
        return answer

    def test_nobody_is_given_a_signature(self) -> None:
        """Neither for another time nor for a signature of any length of its own making (CVE-2017-3143's way): BADSIG, unsigned."""
        for change in (lambda record: record.replace(mac=b"x" * 32, time_signed=1), lambda record: record.replace(mac=b"x" * 32, time_signed=1 << 47),
                       lambda record: record.replace(mac=b""), lambda record: record.replace(mac=b"y" * 1000, time_signed=7),
                       lambda record: record.replace(mac=b"x" * 16), lambda record: record.replace(mac=record.mac[:16])):
            answer = self.ask(change)
            self.assertEqual(answer[3] & 0xF, 9)
            self.assertRaises(dns.tsig.PeerBadSignature, dns.message.from_wire, answer, keyring=RING)
            algorithm = dns.tsig.HMAC_SHA256.to_wire() or b""
            behind = answer.index(algorithm) + len(algorithm) + 8       # the time and the fudge
            self.assertEqual(answer[behind:behind + 2], b"\0\0", "there is a signature")
        self.assertEqual(self.responder.counters.unverified, {"BADSIG": 6})

    def test_a_query_that_is_sent_again_later(self) -> None:
        """A fudge of eighteen hours makes nothing of it good for so long."""
        query = dns.message.make_query(SHOP, "A")
        query.use_tsig(RING, fudge=65535)
        wire = query.to_wire()
        assert query.tsig is not None
        signed = query.tsig[0].time_signed
        for later, known in ((0, True), (299, True), (301, False), (3600, False), (-301, False)):
            self.wall = signed + later
            answer = self.responder.respond(wire, "192.0.2.53")
            assert answer is not None
            self.assertEqual(answer[3] & 0xF == 9, not known, later)

    def test_signed_messages_at_random(self) -> None:
        """Thousands of changed ones: refused or not, but never an error of ours; what was changed before its TSIG is not believed."""
        query = dns.message.make_query(SHOP, "A", use_edns=0)
        plain = query.to_wire()
        query.use_tsig(RING)
        whole = query.to_wire()
        assert query.tsig is not None
        self.wall = float(query.tsig[0].time_signed)
        good = self.responder.respond(whole, "192.0.2.53")
        assert good is not None
        self.assertNotEqual(good[3] & 0xF, 9)
        chance = random.Random(5)
        for _ in range(4000):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 3)):
                at = chance.randrange(2, len(data))
                kind = chance.randrange(4)
                if kind == 0:
                    data[at] = chance.choice((0, 1, 0x3F, 0xC0, 0xFF, chance.randrange(256)))
                elif kind == 1:
                    del data[at:at + chance.randint(1, 9)]
                elif kind == 2:
                    data[at:at] = chance.randbytes(chance.randint(1, 9))
                else:
                    data[at:at + 2] = struct.pack("!H", 0xC000 | chance.randrange(80))
            for tcp in (False, True):
                answer = self.responder.respond(bytes(data), "192.0.2.53", tcp)
                if answer is not None:
                    self.assertTrue(answer[2] & 0x80)
                    self.assertLessEqual(len(answer), 65535 if tcp else 1232)
            list(self.responder.respond_all(bytes(data), "192.0.2.53"))
            changed_before = bytes(data[2:12]) != whole[2:12] and bytes(data[12:]) == whole[12:]
            if changed_before and answer is not None and answer[3] & 0xF == 0:
                self.fail(data.hex())
        self.assertNotEqual(plain, whole)

    def test_keys_that_are_none_of_ours(self) -> None:
        """BADKEY without a signature, in RFC 8945's form, and at a tenth of what a good one costs: a flood of them is no way to keep us busy."""
        other = {dns.name.from_text("Who.example"): dns.tsig.Key("who.example", b"x" * 32, "hmac-sha512")}
        query = dns.message.make_query(SHOP, "A", use_edns=0)
        query.use_tsig(other)
        wire = query.to_wire()
        answer = self.responder.respond(wire, "192.0.2.53")
        assert answer is not None
        self.assertRaises(dns.tsig.PeerBadKey, dns.message.from_wire, answer, keyring=other, request_mac=query.mac)
        self.assertEqual(self.responder.counters.unverified, {"BADKEY": 1})
        known = dns.message.make_query(SHOP, "A")
        known.use_tsig(RING)
        costs = []
        for data in (wire, known.to_wire()):
            began = time.process_time()
            for _ in range(300):
                self.responder.respond(data, "192.0.2.53")
            costs.append(time.process_time() - began)
        self.assertLess(costs[0], costs[1] / 3)
