"""Zones that are handed over, signatures, and the word that a zone has changed: judged by dnspython."""

from __future__ import annotations

import struct
import time
from collections import Counter
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.xfr
import dns.zone
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.test_zone import APEX, host, zone
from voltgw.dns.cookies import Cookies
from voltgw.dns.rates import ResponseRates
from voltgw.dns.responder import Responder
from voltgw.dns.transfers import MAX_NOTIFIES, MAX_TRANSFERS, Notifier, Secondary, Transfers, described
from voltgw.dns.tsig import Keyring, SharedKey
from voltgw.routing.zone import Zones, is_newer
from voltgw.wire.dnsmsg import CNAME, NS, TXT, A, name_of

PEER = "192.0.2.53"
KEY = SharedKey("Backup.example", "hmac-sha256", b"0123456789abcdef0123456789abcdef")
RING = {dns.name.from_text("backup.example"): dns.tsig.Key("backup.example", KEY.secret, "hmac-sha256")}
WRONG = {dns.name.from_text("backup.example"): dns.tsig.Key("backup.example", b"x" * 32, "hmac-sha256")}


class Case(SynchronousTestCase):
    """A zone with many names, and one secondary."""

    secondary = Secondary(PEER, key=KEY)

    def setUp(self) -> None:
        """Enough names for several messages of a transfer."""
        self.zone = zone({
            "long": [(TXT, [b"\xff" + bytes((65 + number,)) * 255 for number in range(8)])], "www": [(CNAME, [name_of(f"shop.{APEX}")])],
            "*.wild": [(A, [bytes((192, 0, 2, 7))])], "sub": [(NS, [name_of(f"ns.sub.{APEX}")])], "ns.sub": [(A, [bytes((192, 0, 2, 8))])]})
        for number in range(1500):
            self.zone.set_host(host(f"h{number}", f"10.0.{number >> 8}.{number & 255}", "2001:db8::1"))
        self.counts: Counter[str] = Counter()
        self.wall = time.time()
        self.transfers = Transfers({self.zone.apex: (self.secondary,)}, lambda: self.wall, self.counts)
        self.responder = Responder(
            Zones([self.zone]), Cookies(bytes(16), lambda: self.wall), keyring=Keyring([KEY], lambda: self.wall), transfers=self.transfers)

    def query(self, kind: str, ring: Any = None, serial: int | None = None, **more: Any) -> dns.message.Message:
        """A secondary's question."""
        query = dns.message.make_query(APEX, kind, **more)
        if serial is not None:
            query.authority.append(dns.rrset.from_text(f"{APEX}.", 0, "IN", "SOA", f". . {serial} 0 0 0 0"))
        if ring is not None:
            query.use_tsig(ring)
        return query

    def fetched(self, query: dns.message.Message, peer: str = PEER) -> dns.zone.Zone:
        """The zone as dnspython understands it, with all signatures checked."""
        made = dns.zone.Zone(APEX)
        context = None
        with dns.xfr.Inbound(made, dns.rdatatype.AXFR) as inbound:
            self.messages = 0
            for wire in self.responder.respond_all(query.to_wire(), peer):
                message = dns.message.from_wire(wire, keyring=query.keyring, request_mac=query.mac, xfr=True, origin=made.origin,
                                                tsig_ctx=context, multi=True, one_rr_per_rrset=True)
                if query.keyring is not None:
                    self.assertTrue(message.had_tsig)
                context = message.tsig_ctx
                self.messages += 1
                done = inbound.process_message(message)
        self.assertTrue(done)
        return made

    def rcode(self, query: dns.message.Message, peer: str = PEER) -> str:
        """What a single answer says, by TCP."""
        answers = list(self.responder.respond_all(query.to_wire(), peer))
        self.assertEqual(len(answers), 1)
        return dns.rcode.to_text(dns.rcode.from_flags(struct.unpack_from("!H", answers[0], 2)[0], 0))


class TransferTests(Case):
    """`Transfers`, as `Responder.respond_all` uses it."""

    def test_a_whole_zone(self) -> None:
        """Every record comes once, names of virtual hosts with all their addresses, in several messages that are all signed."""
        made = self.fetched(self.query("AXFR", RING))
        self.assertGreater(self.messages, 4)
        self.assertEqual(len(made.nodes), 1500 + 7)
        origin = dns.name.from_text(APEX)

        def texts(name: str, kind: str) -> list[str]:
            return sorted(rdata.derelativize(origin).to_text() if hasattr(rdata, "derelativize") else rdata.to_text()
                          for rdata in made.find_rdataset(name, kind))
        self.assertEqual(texts("h1499", "A") + texts("h1499", "AAAA"), ["10.0.5.219", "2001:db8::1"])
        self.assertEqual((texts("*.wild", "A"), texts("ns.sub", "A")), (["192.0.2.7"], ["192.0.2.8"]))
        self.assertEqual(made.find_rdataset("@", "SOA")[0].serial, self.zone.serial)
        self.assertEqual(self.counts, {"full": 1})
        self.assertEqual(described(self.transfers, self.zone)[0]["why"], "it has the zone as it is")

    def test_who_may(self) -> None:
        """Another address, no signature, or a key that is not that zone's: refused, and counted."""
        self.assertEqual(self.rcode(self.query("AXFR", RING), "192.0.2.54"), "REFUSED")
        self.assertEqual(self.rcode(self.query("AXFR")), "REFUSED")
        self.responder.keyring = Keyring([KEY, SharedKey("other", "hmac-sha256", b"y" * 32)], lambda: self.wall)
        other = {dns.name.from_text("other"): dns.tsig.Key("other", b"y" * 32, "hmac-sha256")}
        self.assertEqual(self.rcode(self.query("AXFR", other)), "REFUSED")
        self.assertEqual(self.counts, {"refused": 3})

    def test_by_address_alone(self) -> None:
        """Where no key is asked for; an IPv4-mapped address is the same one."""
        self.responder.transfers = Transfers({self.zone.apex: (Secondary(PEER),)}, lambda: self.wall, self.counts)
        self.fetched(self.query("AXFR"), f"::ffff:{PEER}")
        self.assertEqual(self.rcode(self.query("AXFR"), "::1"), "REFUSED")

    def test_incremental(self) -> None:
        """A version that is current gets the SOA alone, an older one the whole zone; by UDP the SOA, whatever the version."""
        current = list(self.responder.respond_all(self.query("IXFR", RING, self.zone.serial).to_wire(), PEER))
        self.assertEqual(len(current), 1)
        self.assertEqual(dns.message.from_wire(current[0], ignore_trailing=True, keyring=False).answer[0][0].serial, self.zone.serial)
        self.assertGreater(len(list(self.responder.respond_all(self.query("IXFR", RING, self.zone.serial - 1).to_wire(), PEER))), 4)
        query = self.query("IXFR", RING, 1)
        answer = self.responder.respond(query.to_wire(), PEER)
        assert answer is not None
        self.assertEqual(len(dns.message.from_wire(answer, keyring=RING, request_mac=query.mac).answer), 1)
        self.assertEqual(self.counts, {"current": 1, "full": 1})

    def test_not_over_udp(self) -> None:
        """A whole zone is never sent by UDP, not even to a secondary."""
        answer = self.responder.respond(self.query("AXFR", RING).to_wire(), PEER)
        assert answer is not None
        self.assertEqual((answer[3] & 0xF, answer[7]), (5, 0))

    def test_many_at_once(self) -> None:
        """Beyond the limit whoever comes is refused; one that breaks off makes room."""
        under_way = []
        for _ in range(MAX_TRANSFERS):
            answers = self.responder.respond_all(self.query("AXFR", RING).to_wire(), PEER)
            next(answers)
            under_way.append(answers)
        self.assertEqual(self.rcode(self.query("AXFR", RING)), "REFUSED")
        self.assertEqual(self.counts, {"busy": 1})
        del answers
        under_way.pop()
        self.fetched(self.query("AXFR", RING))

    def test_reloads(self) -> None:
        """What is known of a secondary is known afterwards; one that is new starts from nothing."""
        self.fetched(self.query("AXFR", RING))
        after = Transfers({self.zone.apex: (self.secondary, Secondary("192.0.2.60", notify=False))}, lambda: 0.0, Counter())
        after.inherit(self.transfers)
        self.assertEqual([each["fetched"] for each in described(after, self.zone)], [self.zone.serial, None])

    def test_transfers_over_a_reload(self) -> None:
        """Those that are under way count for whoever comes after it; when they end there is room again."""
        under_way = [self.responder.respond_all(self.query("AXFR", RING).to_wire(), PEER) for _ in range(MAX_TRANSFERS)]
        for each in under_way:
            next(each)
        after = Transfers(self.transfers.secondaries, lambda: 0.0, self.counts)
        after.inherit(self.transfers)
        self.responder.transfers = after
        self.assertEqual((after.under_way, self.rcode(self.query("AXFR", RING))), (MAX_TRANSFERS, "REFUSED"))
        for each in under_way:
            list(each)
        self.assertEqual(after.under_way, 0)
        self.fetched(self.query("AXFR", RING))

    def test_serials(self) -> None:
        """They go round (RFC 1982)."""
        self.assertTrue(is_newer(1, 0xFFFFFFFF))
        self.assertFalse(is_newer(7, 7))
        self.assertFalse(is_newer(7, 8))


class SignatureTests(Case):
    """TSIG on queries of every kind (RFC 8945 5.2)."""

    def ask(self, query: dns.message.Message) -> bytes:
        """The answer by UDP."""
        answer = self.responder.respond(query.to_wire(), PEER)
        assert answer is not None
        return answer

    def test_a_query_that_is_signed(self) -> None:
        """Its answer is, too, and fits into what the client takes; limits of rate are for those whom nobody knows."""
        self.responder = Responder(
            Zones([self.zone]), Cookies(bytes(16), lambda: self.wall), ResponseRates(1, 0, lambda: 0.0),
            keyring=Keyring([KEY], lambda: self.wall))
        for _ in range(5):
            query = dns.message.make_query(f"h7.{APEX}", "A", use_edns=0, payload=512)
            query.use_tsig(RING)
            answer = dns.message.from_wire(self.ask(query), keyring=RING, request_mac=query.mac)
            self.assertTrue(answer.had_tsig)
            self.assertEqual(len(answer.answer), 1)
        query = dns.message.make_query(f"long.{APEX}", "TXT", use_edns=0, payload=512)
        query.use_tsig(RING)
        wire = self.ask(query)
        self.assertLess(len(wire), 512)
        self.assertTrue(dns.message.from_wire(wire, keyring=RING, request_mac=query.mac, raise_on_truncation=False).flags & dns.flags.TC)

    def test_signatures_that_do_not_hold(self) -> None:
        """NOTAUTH with BADSIG or BADKEY, which nobody has signed; each is counted; no record is given away."""
        for ring, error in ((WRONG, dns.tsig.PeerBadSignature), (
                {dns.name.from_text("who"): dns.tsig.Key("who", b"x" * 32)}, dns.tsig.PeerBadKey), (
                {dns.name.from_text("backup.example"): dns.tsig.Key("backup.example", KEY.secret, "hmac-sha512")}, dns.tsig.PeerBadKey)):
            query = dns.message.make_query(f"h7.{APEX}", "A")
            query.use_tsig(ring)
            wire = self.ask(query)
            self.assertEqual((wire[3] & 0xF, wire[6:8]), (9, b"\0\0"))
            self.assertRaises(error, dns.message.from_wire, wire, keyring=ring, request_mac=query.mac)
            self.assertEqual(self.rcode(query), "NOTAUTH")
        self.assertEqual(self.responder.counters.unverified, {"BADSIG": 2, "BADKEY": 4})

    def test_clocks_that_differ(self) -> None:
        """BADTIME is signed, by the client's time, and tells ours."""
        self.wall += 1000
        query = dns.message.make_query(f"h7.{APEX}", "A")
        query.use_tsig(RING)
        wire = self.ask(query)
        self.assertRaises(dns.tsig.PeerBadTime, dns.message.from_wire, wire, keyring=RING, request_mac=query.mac)
        self.assertEqual(int.from_bytes(wire[-6:], "big"), int(self.wall))
        self.assertEqual(self.responder.counters.unverified, {"BADTIME": 1})

    def test_records_that_are_no_signature(self) -> None:
        """FORMERR, whatever is wrong in them."""
        query = dns.message.make_query(f"h7.{APEX}", "A")
        query.use_tsig(RING)
        wire = query.to_wire()
        start = wire.index(b"\x06backup")
        for at, byte in ((start + 16 + 3, 1), (start + 16 + 7, 9), (start + 16 + 9, 200), (len(wire) - 3, 16)):
            broken = bytearray(wire)
            broken[at] = byte
            answer = self.responder.respond(bytes(broken), PEER)
            assert answer is not None
            self.assertIn(answer[3] & 0xF, (1, 9), at)
            self.assertEqual(answer[6:8], b"\0\0")

    def test_keys_of_one_name(self) -> None:
        """The same key twice is one; two of one name cannot be told apart."""
        self.assertEqual(len(Keyring([KEY, KEY], time.time)), 1)
        self.assertRaises(ValueError, Keyring, [KEY, SharedKey("backup.example", "hmac-sha256", b"z")], time.time)
        self.assertNotIn("0123", repr(KEY))


class NotifyTests(Case):
    """`Notifier`."""

    def setUp(self) -> None:
        """A clock of ours, and a way out that is a list."""
        super().setUp()
        self.clock = Clock()
        self.sent: list[tuple[bytes, str, int]] = []
        self.told: Counter[str] = Counter()
        self.notifier = Notifier(self.clock, self.send, lambda: 77, lambda: self.wall, self.told)

    def send(self, data: bytes, address: str, port: int) -> bool:
        """What is sent."""
        self.sent.append((data, address, port))
        return True

    def answer(self, identity: int = 77, rcode: int = 0, opcode: int = 4) -> bytes:
        """What a secondary says."""
        return struct.pack("!HHHHHH", identity, 0x8000 | opcode << 11 | rcode, 0, 0, 0, 0)

    def test_a_change(self) -> None:
        """The secondary gets a signed NOTIFY with the SOA; its answer ends it, and the next change begins anew."""
        self.notifier.changed(self.transfers, self.zone)
        data, address, port = self.sent[0]
        message = dns.message.from_wire(data, keyring=RING)
        self.assertEqual((address, port, dns.opcode.to_text(message.opcode()), message.had_tsig), (PEER, 53, "NOTIFY", True))
        self.assertEqual(message.answer[0][0].serial, self.zone.serial)
        self.assertTrue(self.notifier.heard(self.transfers, self.answer(), PEER, 53))
        self.assertEqual((self.notifier.waiting, self.clock.getDelayedCalls()), (0, []))
        self.notifier.changed(self.transfers, self.zone)        # it is confirmed
        self.assertEqual(len(self.sent), 1)
        self.zone.changed()
        self.notifier.changed(self.transfers, self.zone)
        self.assertEqual(len(self.sent), 2)
        self.notifier.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.told, {"sent": 2, "answered": 1})

    def test_nobody_answers(self) -> None:
        """It is said again, less and less often, and given up."""
        self.notifier.changed(self.transfers, self.zone)
        self.clock.pump([1.0] * 300)
        self.assertEqual(len(self.sent), MAX_NOTIFIES)
        self.assertEqual(self.told, {"sent": MAX_NOTIFIES, "given_up": 1})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_way_to_it(self) -> None:
        """A secondary of a family that no address of ours has is named in the log once, counted, and shown for what it is; until
        something can be sent to it."""
        warnings: list[Any] = []
        keep: Any = warnings.append
        self.addCleanup(globalLogPublisher.removeObserver, keep)
        globalLogPublisher.addObserver(keep)
        self.patch(self.notifier, "_send", lambda data, address, port: False)
        self.notifier.changed(self.transfers, self.zone)
        self.clock.pump([1.0] * 300)
        self.assertEqual(self.told, {"unsent": MAX_NOTIFIES, "given_up": 1})
        said = [formatEvent(each) for each in warnings if each["log_level"] is LogLevel.warn]
        self.assertEqual(len(said), 1)
        self.assertIn("no address of `gateway.dns` is of its family", said[0])
        self.assertIn("cannot be told", described(self.transfers, self.zone)[0]["why"])
        self.patch(self.notifier, "_send", self.send)
        self.zone.changed()
        self.notifier.changed(self.transfers, self.zone)
        self.assertNotIn("cannot be told", described(self.transfers, self.zone)[0]["why"])
        self.notifier.stop()

    def test_answers_of_others(self) -> None:
        """Another number, address, port or kind of message is no answer; a refusal ends it, and is counted as one."""
        self.notifier.changed(self.transfers, self.zone)
        for data, peer, port in ((self.answer(1), PEER, 53), (self.answer(), "192.0.2.54", 53), (self.answer(), PEER, 54),
                                 (self.answer(opcode=0), PEER, 53), (b"\0", PEER, 53)):
            self.assertFalse(self.notifier.heard(self.transfers, data, peer, port))
        self.assertTrue(self.notifier.heard(self.transfers, self.answer(rcode=5), PEER, 53))
        self.assertEqual(self.told, {"sent": 1, "refused": 1})
        self.assertIsNone(described(self.transfers, self.zone)[0]["confirmed"])

    def test_the_responder_hands_answers_on(self) -> None:
        """A message that is an answer is never answered: it goes to whoever waits for it, and is counted otherwise."""
        heard: list[tuple[str, int]] = []

        def hear(data: bytes, peer: str, port: int) -> bool:
            heard.append((peer, port))
            return port == 53
        responder = Responder(Zones([self.zone]), Cookies(bytes(16), lambda: 0.0), heard=hear)
        for port in (53, 54):
            self.assertIsNone(responder.respond(self.answer(), PEER, False, port))
        self.assertEqual(heard, [(PEER, 53), (PEER, 54)])
        self.assertEqual(responder.counters.dropped, {"itself an answer": 1})
