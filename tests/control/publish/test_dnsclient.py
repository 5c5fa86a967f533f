"""A DNS server that does not mean well, or is broken: nothing it says is believed that is not signed, and everything is bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rrset
import dns.tsig
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.support import LoopCase, Peer
from voltgw.control.publish import dnsclient
from voltgw.control.publish.dnsclient import ANSWER_S, Account, DnsClient, NoTransfer
from voltgw.control.publish.registrar import RegistryError

SECRET = b"0123456789abcdef0123456789abcdef"
KEY = dns.tsig.Key("k.", SECRET, "hmac-sha256")
OTHER = dns.tsig.Key("k.", bytes(32), "hmac-sha256")
ZONE = dns.name.from_text("apps.example")
SOA = "ns. hostmaster. 1 3600 600 86400 60"

#: A question, whole, with its TSIG read; what is answered, each message without its length.
Answers = Callable[[dns.message.Message], list[bytes]]


def _rrset(row: str) -> dns.rrset.RRset:
    name, ttl, klass, kind, rdata = row.split(" ", 4)
    return dns.rrset.from_text(name, int(ttl), klass, kind, rdata)


def answer(query: dns.message.Message, *rows: str, key: dns.tsig.Key | None = KEY) -> bytes:
    """A signed answer with these records."""
    made = dns.message.make_response(query)
    for row in rows:
        made.answer.append(_rrset(row))
    if key is None:
        made.tsig = None
        made.keyring = None
        return made.to_wire()
    made.use_tsig(key)
    made.request_mac = query.mac or b""
    return made.to_wire(max_size=65535)


class ClientTests(LoopCase):
    """`DnsClient`."""

    def serve(self, answers: Answers, *, cut: bool = False, clock: Any = reactor) -> DnsClient:
        """A server on a port of its own, and a client for it."""
        def came(peer: Peer, data: bytes) -> None:
            whole = bytes(peer.received)
            while len(whole) >= 2 and len(whole) >= 2 + int.from_bytes(whole[:2], "big"):
                size = int.from_bytes(whole[:2], "big")
                query: dns.message.Message = dns.message.from_wire(whole[2:2 + size], keyring={KEY.name: KEY})
                whole = whole[2 + size:]
                for each in answers(query):
                    peer.send(len(each).to_bytes(2, "big") + each)
                if cut:
                    transport: Any = peer.transport
                    transport.loseConnection()
            peer.received = whole

        origin = self.origin(came)
        client = DnsClient(reactor, clock, Account("127.0.0.1", origin.port, "k", "hmac-sha256", SECRET))
        self.addCleanup(client.close)
        return client

    async def why(self, answers: Answers, **more: Any) -> str:
        """Why an answer is not taken."""
        try:
            await self.serve(answers, **more).ask(dns.message.make_query(ZONE, "SOA"))
        except RegistryError as error:
            return str(error)
        raise AssertionError("it was taken")

    async def test_what_is_not_believed(self) -> None:
        """Unsigned, signed by another secret, an answer to something else, and nonsense."""
        def other_question(query: dns.message.Message) -> list[bytes]:
            made = dns.message.make_response(query)
            made.question[0].name = dns.name.from_text("other.example")
            made.use_tsig(KEY)
            made.request_mac = query.mac or b""
            return [made.to_wire()]

        def no_answer_bit(query: dns.message.Message) -> list[bytes]:
            made = dns.message.make_response(query)
            made.flags &= ~dns.flags.QR
            made.use_tsig(KEY)
            made.request_mac = query.mac or b""
            return [made.to_wire()]

        for answers, words in (
            (lambda query: [answer(query, key=None)], "its answer is not signed (NOERROR)"),
            (lambda query: [answer(query, key=OTHER)], "signature does not hold"),
            (other_question, "to another question"), (no_answer_bit, "to another question"),
            (lambda query: [query.id.to_bytes(2, "big") + b"\xff" * 30], "cannot be read"),
            (lambda query: [answer(query)[:-3]], "cannot be read"),
        ):
            self.assertIn(words, await self.why(answers))

    async def test_answers_to_nobody(self) -> None:
        """Messages with other ids, and ones too short to have any, are dropped; the right one counts."""
        client = self.serve(lambda query: [b"", b"\0", bytes(40), answer(query, f"{ZONE} 60 IN SOA {SOA}")])
        said = await client.ask(dns.message.make_query(ZONE, "SOA"))
        self.assertEqual(len(said.answer), 1)

    async def test_many_at_once(self) -> None:
        """Answers may come in another order; no more than the window are under way."""
        waiting: list[tuple[dns.message.Message, bytes]] = []
        most = [0]

        def hold(query: dns.message.Message) -> list[bytes]:
            waiting.append((query, answer(query)))
            most[0] = max(most[0], len(waiting))
            if len(waiting) < dnsclient.WINDOW:
                return []
            out = [each for _, each in reversed(waiting)]
            waiting.clear()
            return out

        client = self.serve(hold)
        names = [f"n{count}.apps.example." for count in range(2 * dnsclient.WINDOW)]
        asked = [Deferred.fromCoroutine(client.ask(dns.message.make_query(name, "A"))) for name in names]
        said = [await each for each in asked]
        self.assertEqual([each.question[0].name.to_text() for each in said], names)
        self.assertEqual(most[0], dnsclient.WINDOW)

    async def test_no_answer(self) -> None:
        """It is given up in time; so is an answer that never ends."""
        clock = Clock()
        client = self.serve(lambda query: [], clock=clock)
        failed = self.assertFailure(Deferred.fromCoroutine(client.ask(dns.message.make_query(ZONE, "SOA"))), RegistryError)
        await self.until(lambda: client._wire is not None and client._wire.waiting)
        clock.advance(ANSWER_S + 1.0)
        self.assertIn("does not answer within", str(await failed))
        self.assertEqual(client._wire.waiting, {})

    async def test_a_connection_that_ends(self) -> None:
        """Whoever waits is told; the next question makes another connection."""
        client = self.serve(lambda query: [answer(query)], cut=True)
        await client.ask(dns.message.make_query(ZONE, "SOA"))
        await self.until(lambda: client._wire.lost is not None)
        await client.ask(dns.message.make_query(ZONE, "SOA"))
        self.assertIn("the connection has ended", await self.why(lambda query: [], cut=True))

    async def transfer(self, answers: Answers, **more: Any) -> tuple[str, int]:
        """What becomes of a transfer: why it failed, and how many records were taken."""
        taken: list[int] = []

        def take(part: dns.message.Message) -> None:
            taken.append(sum(len(rrset) for rrset in part.answer))

        try:
            await self.serve(answers, **more).transfer(ZONE, take)
        except (NoTransfer, RegistryError) as error:
            return f"{type(error).__name__}: {error}", sum(taken)
        return "", sum(taken)

    async def test_transfers(self) -> None:
        """Only whole ones, from the SOA to the SOA, signed at both ends, and of bounded size."""
        soa = f"{ZONE} 60 IN SOA {SOA}"
        rows = [f"n{count}.{ZONE} 60 IN A 192.0.2.1" for count in range(3)]

        def several(query: dns.message.Message, *parts: list[str], forge: int = -1, unsigned: int = -1) -> list[bytes]:
            out, context = [], None
            for number, part in enumerate(parts):
                made = dns.message.make_response(query)
                for row in part:
                    made.answer.append(_rrset(row))
                if number == unsigned:
                    made.tsig = made.keyring = None
                    out.append(made.to_wire())
                    continue
                made.use_tsig(KEY)
                made.request_mac = query.mac or b""
                wire = made.to_wire(multi=True, tsig_ctx=context)
                context = made.tsig_ctx
                out.append(wire[:-60] + bytes((wire[-60] ^ 1,)) + wire[-59:] if number == forge else wire)
            return out

        self.assertEqual(await self.transfer(lambda query: several(query, [soa, *rows, soa])), ("", 5))
        self.assertEqual(await self.transfer(lambda query: several(query, [soa], rows, [soa])), ("", 5))
        for answers, words in (
            (lambda query: several(query, rows, [soa]), "NoTransfer: what it sends does not begin with the zone's SOA"),
            (lambda query: several(query, [soa], rows, [soa], forge=1), "RegistryError"),
            (lambda query: several(query, [soa], rows, [soa], unsigned=2), "RegistryError"),
            (lambda query: several(query, [soa, soa], unsigned=0), "NoTransfer: its answer is not signed (NOERROR)"),
            (lambda query: [answer(query, key=OTHER)], "NoTransfer: its answer's signature does not hold"),
            (lambda query: [], "RegistryError: the connection has ended amid a transfer"),
            (lambda query: several(query, [soa], rows), "RegistryError: the connection has ended amid a transfer"),
        ):
            why, _ = await self.transfer(answers, cut=True)
            self.assertIn(words, why)
        self.patch(dnsclient, "MOST_RECORDS", 3)
        self.assertEqual(await self.transfer(lambda query: several(query, [soa], rows, [soa])),
                         ("NoTransfer: the zone has more than 3 records", 1))

    async def test_a_transfer_that_dries_up(self) -> None:
        """The next part must come in time."""
        clock = Clock()
        soa = f"{ZONE} 60 IN SOA {SOA}"
        taken: list[object] = []
        client = self.serve(lambda query: [answer(query, soa)], clock=clock)
        transferring: Any = Deferred.fromCoroutine(client.transfer(ZONE, taken.append))
        failed = self.assertFailure(transferring, RegistryError)
        await self.until(lambda: taken)
        clock.advance(31.0)
        self.assertIn("the next part of a transfer has not come within 30 s", str(await failed))

    def test_a_key_that_cannot_be(self) -> None:
        """Its name is no name of DNS."""
        self.assertRaises(ValueError, DnsClient, reactor, reactor, Account("127.0.0.1", 53, "x" * 70, "hmac-sha256", SECRET))
