"""Names in zones of BIND and Knot: what the servers hold then, what they refuse, and what they are asked."""

from __future__ import annotations

import base64
import random
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import dns.message
import dns.query
import dns.rdatatype
import dns.tsigkeyring
import dns.update
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.dnsservers import updatable_knot, updatable_named
from tests.integration.gateway import free_port
from tests.servers import Server, require
from voltgw.config.objects.delegation import TsigAlgorithm
from voltgw.control.publish.dns_update import DnsUpdateRegistrar
from voltgw.control.publish.dnsclient import Account
from voltgw.control.publish.entries import NameState, PublishCounters, Terms, World
from voltgw.control.publish.names import FREE, Act, Change, Held, Observed, Refused, Vip, Wanted
from voltgw.control.publish.publisher import Publisher
from voltgw.control.publish.registrar import RegistryError

ZONE = "apps.example.test"
KEY = "gateway-key"
SECRET = b"0123456789abcdef0123456789abcdef"
TEXT = (f"$ORIGIN {ZONE}.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nmail A 192.0.2.25\n"
        "old A 192.0.2.8\nalias CNAME old\n*.wild A 192.0.2.9\n*.wild TXT \"v=spf1 -all\"\n")
SHOP = f"shop.{ZONE}"


def wanted(name: str, *addresses: str) -> Wanted:
    """A name at these addresses."""
    return Wanted(name, tuple(Vip(address, 80) for address in addresses))


def rows(port: int, name: str, kind: str) -> set[tuple[str, int]]:
    """What the server answers: text and TTL of each record."""
    got = dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", 5.0, port)
    return {(rdata.to_text(), rrset.ttl) for rrset in got.answer for rdata in rrset if rrset.rdtype == dns.rdatatype.from_text(kind)}


class ServerTests(TestCase):
    """The same with BIND, and below with Knot."""

    timeout = 60

    def serve(self, **more: Any) -> Server:
        """The server."""
        return updatable_named(self, ZONE, TEXT, KEY, base64.b64encode(SECRET).decode(), **more)

    def registrar(self, port: int, owner: str = "edge-1", secret: bytes = SECRET, key: str = KEY, zone: str = ZONE,
                  ttl: int = 30, algorithm: str = "hmac-sha256") -> DnsUpdateRegistrar:
        """One for it."""
        made = DnsUpdateRegistrar(reactor, reactor, Account("127.0.0.1", port, key, algorithm, secret), zone, ttl, owner)
        self.addCleanup(made.close)
        return made

    async def made(self, registrar: DnsUpdateRegistrar, act: Act, each: Wanted | str, held: Held = FREE) -> Refused | None:
        """One change."""
        name = each if isinstance(each, str) else each.name
        (outcome,) = await registrar.apply([Change(act, name, None if isinstance(each, str) else each, held)])
        return outcome

    async def why(self, asking: Any) -> str:
        """Why it cannot be done."""
        try:
            await asking
        except RegistryError as error:
            return str(error)
        raise AssertionError("it was done")

    async def rows(self, port: int, name: str, kind: str) -> set[tuple[str, int]]:
        """What the server answers."""
        result: set[tuple[str, int]] = await deferToThread(rows, port, name, kind)
        return result

    def other_writes(self, port: int, edit: Any) -> None:
        """Somebody else, who has the key, too."""
        update = dns.update.UpdateMessage(ZONE, keyring=dns.tsigkeyring.from_text({KEY: base64.b64encode(SECRET).decode()}),
                                          keyalgorithm="hmac-sha256")
        edit(update)
        self.assertEqual(dns.query.tcp(update, "127.0.0.1", 5.0, port=port).rcode(), 0)

    async def test_a_life(self) -> None:
        """A name is made, changed, emptied and taken out; so is a wildcard; what is beside it stays."""
        port = self.serve().port
        registrar = self.registrar(port)
        star = f"*.shops.{ZONE}"
        self.assertIsNone(await self.made(registrar, Act.CREATE, wanted(SHOP, "192.0.2.1", "2001:db8::1")))
        self.assertIsNone(await self.made(registrar, Act.CREATE, wanted(star, "192.0.2.3")))
        self.assertEqual(await self.rows(port, SHOP, "A"), {("192.0.2.1", 30)})
        self.assertEqual(await self.rows(port, SHOP, "AAAA"), {("2001:db8::1", 30)})
        self.assertEqual(await self.rows(port, f"x.shops.{ZONE}", "A"), {("192.0.2.3", 30)})
        self.assertEqual(await self.rows(port, f"_voltgw.{SHOP}", "TXT"), {('"heritage=voltgw owner=edge-1"', 30)})
        self.other_writes(port, lambda update: update.add("shop", 60, "MX", "10 mail"))
        self.assertIsNone(await self.made(registrar, Act.REPLACE, wanted(SHOP, "192.0.2.2")))
        self.assertEqual((await self.rows(port, SHOP, "A"), await self.rows(port, SHOP, "AAAA")), ({("192.0.2.2", 30)}, set()))
        observed = await registrar.observe([SHOP, star])
        self.assertEqual(observed.held[SHOP].content, registrar.content(wanted(SHOP, "192.0.2.2")))
        self.assertEqual(observed.held[star].content, registrar.content(wanted(star, "192.0.2.3")))
        self.assertIsNone(await self.made(registrar, Act.REPLACE, wanted(SHOP)))
        self.assertEqual((await self.rows(port, SHOP, "A"), len(await self.rows(port, f"_voltgw.{SHOP}", "TXT"))), (set(), 1))
        self.assertIsNone(await self.made(registrar, Act.REMOVE, SHOP))
        self.assertIsNone(await self.made(registrar, Act.REMOVE, star))
        self.assertEqual(await self.rows(port, f"_voltgw.{SHOP}", "TXT"), set())
        self.assertEqual(await self.rows(port, f"x.shops.{ZONE}", "A"), set())
        self.assertEqual(len(await self.rows(port, SHOP, "MX")), 1)

    async def test_what_is_not_ours(self) -> None:
        """A name that is there without a mark, or with another's, is not written, whatever we think that we have seen."""
        port = self.serve().port
        registrar, other = self.registrar(port), self.registrar(port, "edge-2")
        for name in (f"mail.{ZONE}", f"alias.{ZONE}"):
            outcome = await self.made(registrar, Act.CREATE, wanted(name, "192.0.2.1"))
            assert outcome is not None
            self.assertEqual((outcome.foreign, outcome.why), (True, "there are records of that name without our mark"))
        self.assertIsNone(await self.made(other, Act.CREATE, wanted(SHOP, "192.0.2.7")))
        for act, each in ((Act.CREATE, wanted(SHOP, "192.0.2.1")), (Act.REPLACE, wanted(SHOP, "192.0.2.1")), (Act.REMOVE, SHOP),
                          (Act.REMOVE, f"mail.{ZONE}")):
            outcome = await self.made(registrar, act, each)
            self.assertTrue(outcome is not None and outcome.foreign, act)
        self.assertEqual(await self.rows(port, SHOP, "A"), {("192.0.2.7", 30)})
        self.assertEqual(await self.rows(port, f"mail.{ZONE}", "A"), {("192.0.2.25", 60)})

    async def test_what_is_found(self) -> None:
        """With a transfer: all that is ours, also what nobody asks for; what is another's is said; a wildcard's answer is not ours."""
        port = self.serve().port
        registrar, other = self.registrar(port), self.registrar(port, "edge-2")
        forgotten, star = f"forgotten.{ZONE}", f"a.wild.{ZONE}"
        for each, name in ((registrar, SHOP), (registrar, forgotten), (other, f"their.{ZONE}")):
            await self.made(each, Act.CREATE, wanted(name, "192.0.2.1"))
        found = await registrar.observe([SHOP, f"old.{ZONE}", f"their.{ZONE}", f"nobody.{ZONE}", star])
        self.assertTrue(found.complete)
        self.assertEqual({name: (held.owner, held.occupied) for name, held in found.held.items()}, {
            SHOP: ("edge-1", ""), forgotten: ("edge-1", ""), f"their.{ZONE}": ("edge-2", ""), f"old.{ZONE}": ("", "192.0.2.8"),
            f"nobody.{ZONE}": ("", ""), star: ("", "")})

    async def test_without_a_transfer(self) -> None:
        """Names are asked for one by one, many at once; those of ours that nobody asks for are found by an index in the zone, which
        only has what is ours."""
        port = self.serve(transfer=False).port
        registrar = self.registrar(port)
        names = [f"n{count}.{ZONE}" for count in range(150)]
        await registrar.observe(names)
        self.assertEqual(await registrar.apply([Change(Act.CREATE, name, wanted(name, "192.0.2.1"), FREE) for name in names[:100]]),
                         [None] * 100)
        below = wanted(f"a.wild.{ZONE}", "192.0.2.1")       # a wildcard answers for its mark
        self.assertEqual((await registrar.observe([below.name])).held[below.name].owner, "")
        self.assertIsNone(await self.made(registrar, Act.CREATE, below))
        self.assertEqual((await registrar.observe([below.name])).held[below.name].content, registrar.content(below))
        found = await registrar.observe(names[50:])
        self.assertTrue(found.complete)
        self.assertEqual(set(found.held), {*names, below.name})
        self.assertEqual({name for name, held in found.held.items() if held.owner == "edge-1"}, {*names[:100], below.name})
        other = self.registrar(port, "edge-2")
        self.assertEqual(set((await other.observe([])).held), set())
        self.other_writes(port, lambda update: update.delete(f"_voltgw.{names[3]}."))
        again = self.registrar(port)                        # another life
        found = await again.observe([])
        self.assertEqual((len([held for held in found.held.values() if held.owner]), found.held[names[3]].owner), (100, ""))
        self.assertEqual(await again.apply([Change(Act.REMOVE, name, None, found.held[name]) for name in (*names[:3], *names[4:100])]), [None] * 99)
        self.assertEqual(set((await again.observe([])).held), {below.name})
        self.assertEqual({held.content for held in found.held.values() if held.owner},
                         {registrar.content(wanted("x", "192.0.2.1"))})

    async def test_what_others_have_changed(self) -> None:
        """Other addresses, another TTL and an alias in place of an address are seen, and put right."""
        port = self.serve().port
        registrar = self.registrar(port)
        good = wanted(SHOP, "192.0.2.1")
        await self.made(registrar, Act.CREATE, good)

        def alias(update: Any) -> None:
            update.delete("shop", "A")
            update.add("shop", 60, "CNAME", "old")

        for edit in (lambda update: update.add("shop", 30, "A", "203.0.113.1"), lambda update: update.replace("shop", 99, "A", "192.0.2.1"),
                     lambda update: update.delete("shop", "A"), alias):
            self.other_writes(port, edit)
            held = (await registrar.observe([SHOP])).held[SHOP]
            self.assertEqual(held.owner, "edge-1")
            self.assertNotEqual(held.content, registrar.content(good))
            self.assertIsNone(await self.made(registrar, Act.REPLACE, good))
            self.assertEqual((await registrar.observe([SHOP])).held[SHOP].content, registrar.content(good))
            self.assertEqual(await self.rows(port, SHOP, "A"), {("192.0.2.1", 30)})

    async def test_nothing_has_changed(self) -> None:
        """While the zone's serial number stays, nothing but that is asked for."""
        registrar = self.registrar(self.serve().port)
        await self.made(registrar, Act.CREATE, wanted(SHOP, "192.0.2.1"))
        first: Observed = await registrar.observe([SHOP])
        self.assertIs(await registrar.observe([SHOP]), first)
        self.assertIsNot(await registrar.observe([SHOP, f"other.{ZONE}"]), first)

    async def test_a_large_zone(self) -> None:
        """A transfer of many messages is verified to its end."""
        text = TEXT + "".join(f"h{count} A 192.0.2.1\n" for count in range(20_000))
        registrar = self.registrar(self.serve_text(text).port)
        await self.made(registrar, Act.CREATE, wanted(SHOP, "192.0.2.1"))
        found = await registrar.observe([SHOP, f"h19999.{ZONE}"])
        self.assertEqual((found.held[SHOP].owner, found.held[f"h19999.{ZONE}"].occupied, found.complete),
                         ("edge-1", "192.0.2.1", True))

    def serve_text(self, text: str) -> Server:
        """The server with another zone."""
        return updatable_named(self, ZONE, text, KEY, base64.b64encode(SECRET).decode())

    async def test_a_reload_amid_updates(self) -> None:
        """Other names and another TTL while hundreds of names are being written: in the end the zone is as it should be, and no
        name that was there and stays has been away for a moment."""
        port = self.serve().port
        counters = PublishCounters()
        made = Publisher(World(reactor, time.time, random.random), self.registrar(port), Terms(3600.0), counters)
        self.addCleanup(made.abandon)
        names = [f"n{count}.{ZONE}" for count in range(400)]
        made.want({name: wanted(name, "192.0.2.1") for name in names[:300]})
        await self.until(lambda: counters.writes["create"] >= 150)
        away: list[str] = []
        over = threading.Event()

        def watch() -> None:
            while not over.is_set():
                if not rows(port, names[140], "A"):
                    away.append("it was away")

        await self.until(lambda: made.entries[names[140]].state is NameState.BOUND)
        watching = threading.Thread(target=watch)
        watching.start()
        try:
            made.follow(self.registrar(port, ttl=99), Terms(3600.0))
            made.want({name: wanted(name, "192.0.2.2" if name == names[7] else "192.0.2.1") for name in names[100:] + names[7:8]})
            await self.until(lambda: {entry.state for entry in made.entries.values()} == {NameState.BOUND} and len(made.entries) == 301)
        finally:
            over.set()
            await deferToThread(watching.join)
        self.assertEqual(away, [])
        found = (await self.registrar(port, ttl=99).observe([])).held
        self.assertEqual(set(found), {*names[100:], names[7]})
        found = (await self.registrar(port, ttl=99).observe(names)).held
        good = self.registrar(port, ttl=99)
        self.assertEqual({name for name in names[100:] if found[name].content != good.content(wanted(name, "192.0.2.1"))}, set())
        self.assertEqual(found[names[7]].content, good.content(wanted(names[7], "192.0.2.2")))
        self.assertEqual({found[name].owner for name in names[:100] if name != names[7]}, {""})

    async def until(self, fact: Callable[[], object]) -> None:
        """Let the reactor run until it is so."""
        end = time.monotonic() + 40.0
        while not fact():
            self.assertLess(time.monotonic(), end)
            await deferLater(reactor, 0.01, lambda: None)

    async def test_wrong_keys(self) -> None:
        """Another secret, another name, another algorithm: each is said as what it is, and nothing is written."""
        port = self.serve().port
        for made, words in (
            (self.registrar(port, secret=bytes(32)), ("the server does not take our key gateway-key", "BADSIG")),
            (self.registrar(port, key="nobody"), ("the server does not take our key nobody", "BADKEY")),
        ):
            why = await self.why(made.observe([SHOP]))
            for word in words:
                self.assertIn(word, why)
            self.assertIn(words[0], await self.why(made.apply([Change(Act.CREATE, SHOP, wanted(SHOP, "192.0.2.1"), FREE)])))
        self.assertEqual(await self.rows(port, SHOP, "A"), set())

    async def test_algorithms(self) -> None:
        """Each way of signing is understood; another one than the server has is said."""
        for algorithm in TsigAlgorithm:
            server = self.serve(algorithm=algorithm.value)
            registrar = self.registrar(server.port, algorithm=algorithm.value)
            self.assertIsNone(await self.made(registrar, Act.CREATE, wanted(SHOP, "192.0.2.1")))
            self.assertEqual((await registrar.observe([])).held[SHOP].owner, "edge-1")
            other = "hmac-sha256" if algorithm is TsigAlgorithm.HMAC_SHA512 else "hmac-sha512"
            self.assertIn("another secret or algorithm", await self.why(self.registrar(server.port, algorithm=other).observe([])))
            registrar.close()
            await deferToThread(server.stop)

    async def test_another_zone(self) -> None:
        """A zone that the server does not have."""
        port = self.serve().port
        why = await self.why(self.registrar(port, zone="other.example").observe([]))
        self.assertRegex(why, "the server answers (REFUSED|NOTAUTH)|its answer is not signed .(REFUSED|NOTAUTH)")
        self.assertRegex(await self.why(self.registrar(port, zone="other.example").apply(
            [Change(Act.CREATE, "a.other.example", wanted("a.other.example", "192.0.2.1"), FREE)])),
            "NOTAUTH: it is not the zone's primary server|its answer is not signed .NOTAUTH")

    async def test_no_server(self) -> None:
        """Nobody is there: it is said at once, and the next question goes well when somebody is."""
        port = free_port()
        registrar = self.registrar(port)
        self.assertIn("cannot connect: Connection was refused", await self.why(registrar.observe([SHOP])))
        server = self.serve(port=port)
        self.assertEqual((await registrar.observe([SHOP])).held[SHOP].owner, "")
        await deferToThread(server.stop)
        self.assertRegex(await self.why(registrar.observe([SHOP])), "the connection has ended|cannot connect")

    async def test_nsupdate_agrees(self) -> None:
        """What a foreign client reads with the same key is what we have written."""
        port = self.serve().port
        await self.made(self.registrar(port), Act.CREATE, wanted(SHOP, "192.0.2.1"))
        shown = await deferToThread(
            subprocess.run, [require("dig"), "@127.0.0.1", "-p", str(port), ZONE, "AXFR", "-y",
                             f"hmac-sha256:{KEY}:{base64.b64encode(SECRET).decode()}"], check=True, capture_output=True, text=True)
        self.assertRegex(shown.stdout, rf"_voltgw.{SHOP}.\s+30\s+IN\s+TXT\s+\"heritage=voltgw owner=edge-1\"")
        self.assertRegex(shown.stdout, rf"\n{SHOP}.\s+30\s+IN\s+A\s+192.0.2.1\n")


class BindTests(ServerTests):
    """What only BIND can be told."""

    async def test_rights(self) -> None:
        """A name that the server's policy does not let us write is refused with that reason, and the others are written."""
        port = self.serve(rights=f"name {SHOP}. ANY; grant \"{KEY}\" name _voltgw.{SHOP}. ANY").port
        names = [f"a.{ZONE}", SHOP, "elsewhere.example"]
        outcomes = await self.registrar(port).apply([Change(Act.CREATE, name, wanted(name, "192.0.2.1"), FREE) for name in names])
        self.assertIn(f"REFUSED: its policy does not allow that to the key {KEY}", outcomes[0].why)     # type: ignore[union-attr]
        self.assertIsNone(outcomes[1])
        self.assertIn("NOTZONE: the name is not in the zone", outcomes[2].why)      # type: ignore[union-attr]
        self.assertEqual(await self.rows(port, SHOP, "A"), {("192.0.2.1", 30)})

    async def test_an_index_that_is_refused(self) -> None:
        """Where the server gives no transfer and does not let us write the index, names are published all the same; what is not found is said."""
        port = self.serve(rights=f"name {SHOP}. ANY; grant \"{KEY}\" name _voltgw.{SHOP}. ANY", transfer=False).port
        registrar = self.registrar(port)
        self.assertTrue((await registrar.observe([SHOP])).complete)
        self.assertIsNone(await self.made(registrar, Act.CREATE, wanted(SHOP, "192.0.2.1")))
        found = await registrar.observe([SHOP])
        self.assertEqual((found.complete, found.held[SHOP].owner), (False, "edge-1"))
        self.assertIsNone(await self.made(registrar, Act.REMOVE, SHOP))
        self.assertEqual(await self.rows(port, SHOP, "A"), set())


class KnotTests(ServerTests):
    """Knot."""

    def serve(self, **more: Any) -> Server:
        """The server."""
        return updatable_knot(self, ZONE, TEXT, KEY, base64.b64encode(SECRET).decode(), **more)

    def serve_text(self, text: str) -> Server:
        """The server with another zone."""
        return updatable_knot(self, ZONE, text, KEY, base64.b64encode(SECRET).decode())


del ServerTests         # it has no server of its own
