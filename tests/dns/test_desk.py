"""Queries in batches: what is ready is what the responder says, to the byte; and who is answered where."""

from __future__ import annotations

import errno
import random
import socket
import struct
from collections import Counter
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_network
from typing import Any

import dns.edns
import dns.message
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.test_zone import APEX, host, zone
from tests.support import SteppedLoopCase, interpreted_only
from voltgw.dns import desk as module
from voltgw.dns.cookies import Cookies, own_digest
from voltgw.dns.desk import Desk
from voltgw.dns.rates import ResponseRates
from voltgw.dns.responder import Responder
from voltgw.net.batches import IN_BYTES, OUT_BYTES, BatchPort, Slots, available
from voltgw.net.datagrams import datagram_socket
from voltgw.routing.zone import Order, Target, Zones
from voltgw.wire.dnsmsg import CNAME, MX, NS, TXT, A, name_of

_NAMES = ("shop", "SHOP", "two", "turn", "near", "long", "alias", "deep.under.sub", "sub", "any.wild", "wild", "nothing", "a.b.c",
          "x.shop", "", "ns1", "mail", "six")


def zones() -> Zones:
    """One of everything."""
    made = zone({"long": [(TXT, [b"\xff" + bytes((65 + number,)) * 255 for number in range(8)])],
                 "alias": [(CNAME, [name_of(f"shop.{APEX}")])], "sub": [(NS, [name_of("ns.example.net")])],
                 "*.wild": [(A, [b"\1\2\3\4"])], "mail": [(MX, [b"\0\1" + name_of(f"shop.{APEX}")])]})
    made.set_host(host("shop", "10.0.0.1"))
    made.set_host(host("six", "2001:db8::1"))
    made.set_host(host("two", "10.0.0.1", "10.0.0.2", "10.0.0.3"))
    made.set_host(host("turn", *(Target(made.hosts[name_of(f"two.{APEX}")].targets[at].address, weight=at + 1) for at in range(3)),
                       order=Order.WEIGHTED))
    near = made.hosts[name_of(f"two.{APEX}")].targets
    made.set_host(host("near", Target(near[0].address, clients=(ip_network("192.0.2.0/25"),)), near[1], order=Order.CLIENT_SUBNET))
    return Zones([made])


class Bench:
    """A desk without a socket, and a responder that is asked the same."""

    def __init__(self, *, six: bool = False, rates: int = 0) -> None:
        self.now, self.at = 1e9, 5.0
        self.slots = Slots(socket.AF_INET6 if six else socket.AF_INET)
        self.both = []
        for _ in range(2):
            cookies = Cookies(bytes(16), lambda: self.now, own_digest)
            self.both.append(Responder(zones(), cookies, ResponseRates(rates, 2, lambda: self.at) if rates else None))
        self.posted: list[int] = []
        self.desk = Desk(self.both[0], self.slots, lambda first, count: self.posted.extend(range(first, first + count)))
        self.slow = 0
        respond = self.both[0].respond

        def counted(*what: Any) -> bytes | None:
            self.slow += 1
            return respond(*what)

        self.both[0].respond = counted      # type: ignore[assignment,method-assign]

    def ask(self, batch: list[tuple[bytes, str]]) -> tuple[list[bytes | None], list[bytes | None]]:
        """The answers of the desk, and of the responder."""
        self.posted = []
        for slot, (data, peer) in enumerate(batch):
            self.slots.heap[slot * IN_BYTES:slot * IN_BYTES + len(data)] = data
            if self.slots.six:
                raw = struct.pack("=H", socket.AF_INET6) + b"\1\0" + bytes(4) + socket.inet_pton(socket.AF_INET6, peer) + bytes(4)
            else:
                raw = struct.pack("=H", socket.AF_INET) + b"\1\0" + socket.inet_aton(peer) + bytes(8)
            self.slots.peers[slot * len(raw):(slot + 1) * len(raw)] = raw
        self.desk.serve([len(data) for data, _ in batch])
        found: list[bytes | None] = [None] * len(batch)
        for slot in self.posted:
            size = self.slots.sizes[2 * slot + 1]
            found[slot] = self.slots.out[slot * OUT_BYTES:slot * OUT_BYTES + size]
        return found, [self.both[1].respond(data, peer) for data, peer in batch]


def query(name: str, kind: str = "A", chance: random.Random | None = None, **more: Any) -> bytes:
    """A query; with `chance`, its letters in any case."""
    text = f"{name}.{APEX}" if name else APEX
    if chance is not None:
        text = "".join(chance.choice((each.lower(), each.upper())) for each in text)
    return dns.message.make_query(text, kind, id=(chance or random).randrange(65536), **more).to_wire()


def cookie(data: bytes) -> dns.edns.GenericOption:
    """An option."""
    return dns.edns.GenericOption(dns.edns.OptionType.COOKIE, data)


@interpreted_only
class DeskTests(SynchronousTestCase):
    def both_say(self, bench: Bench, rounds: int, *, seed: int, peers: tuple[str, ...]) -> None:
        """Put the same to both, whole queries and broken ones."""
        chance = random.Random(seed)
        learned: dict[str, bytes] = {}
        for _ in range(rounds):
            batch = []
            for _ in range(chance.randint(1, 60)):
                peer = chance.choice(peers)
                options: list[Any] = []
                if chance.random() < 0.6:
                    options.append(cookie(b"8 octets" + (learned.get(peer, b"") if chance.random() < 0.7 else b"")))
                if chance.random() < 0.1:
                    options.append(dns.edns.ECSOption(chance.choice(("192.0.2.0", "198.51.100.0")), 24))
                more: dict[str, Any] = {} if chance.random() < 0.2 else {
                    "use_edns": 0, "payload": chance.choice((512, 1232)), "options": options,
                    "ednsflags": chance.choice((0, 0x8000))}
                name = chance.choice(_NAMES) if chance.random() < 0.9 else f"no{chance.randrange(99)}.{chance.choice(_NAMES)}".strip(".")
                data = bytearray(query(name, chance.choice(("A", "A", "A", "AAAA", "TXT", "ANY", "DS", "NS", "HTTPS", "TYPE97", "CNAME",
                                                           "SOA", "AXFR")), chance, **more))
                if chance.random() < 0.2:
                    data[2] ^= chance.choice((1, 1, 0x78, 0x80, 2))
                if chance.random() < 0.15:
                    for _ in range(chance.randint(1, 3)):
                        data[chance.randrange(len(data))] = chance.choice((0, 1, 0x3F, 0x40, 0xC0, 0xFF, chance.randrange(256)))
                if chance.random() < 0.05:
                    del data[chance.randrange(len(data)):]
                batch.append((bytes(data), peer))
            found, wanted = bench.ask(batch)
            for (asked, peer), ours, theirs in zip(batch, found, wanted, strict=True):
                self.assertEqual(ours, theirs, f"{asked.hex()} of {peer}")
                at = -1 if ours is None else ours.find(b"\0\x0a\0\x18" + b"8 octets")
                if ours is not None and at >= 0:
                    learned[peer] = ours[at + 12:at + 28]
            bench.now += chance.choice((0, 0, 0, 0, 0.3, 7, 40, 900))
            bench.at += 0.02
        first, second = (each.counters for each in bench.both)
        for name in ("queries", "answers", "limited", "slipped", "truncated", "dropped"):
            self.assertEqual(getattr(first, name), getattr(second, name), name)

    def test_the_same_to_everybody(self) -> None:
        """Names, types, flags, cookies that age, subnets, what is cut or changed: byte for byte what the responder says."""
        bench = Bench()
        self.both_say(bench, 80, seed=1, peers=("192.0.2.1", "192.0.2.200", "198.51.100.7"))
        total = sum(bench.both[1].counters.queries.values())
        self.assertGreater(min(total - bench.slow, bench.slow), 200)     # both ways have been gone

    def test_the_same_over_six(self) -> None:
        """The same with IPv6 clients, and IPv4 ones on an IPv6 socket."""
        self.both_say(Bench(six=True), 20, seed=2, peers=("2001:db8::7", "::ffff:192.0.2.1"))

    def test_the_same_limits(self) -> None:
        """Who is let wait, and who is asked to come by TCP, is the same one."""
        bench = Bench(rates=20)
        self.both_say(bench, 40, seed=3, peers=("192.0.2.1", "198.51.100.7"))
        self.assertGreater(bench.both[0].counters.slipped, 20)
        self.assertGreater(bench.both[0].counters.limited, 20)

    def test_what_is_ready(self) -> None:
        """A client that asks for many names, letters in any case, with its cookie: the responder is asked once; and again in
        the next minute, when its cookie is another one, or when the clock is set back."""
        bench, chance = Bench(), random.Random(4)

        def many() -> None:
            found, wanted = bench.ask([
                (query(chance.choice(("shop", f"no{chance.randrange(9999)}", "two", "any.wild")), "A", chance, use_edns=0,
                       options=[cookie(b"8 octets")]), "192.0.2.1") for _ in range(60)])
            self.assertEqual(found, wanted)

        for later, slow in ((0, 1), (0, 1), (59, 2), (0, 2), (-3600, 3)):
            bench.now += later
            many()
            self.assertEqual(bench.slow, slow)

    def test_one_that_fails(self) -> None:
        """A fault of ours over one query is logged once, and the others of its batch are answered."""
        bench = Bench()
        answer = bench.both[0].zones.answer

        def fault(asked: Any, peer: str) -> Any:
            if asked.name.startswith(b"\4ouch"):
                raise ZeroDivisionError
            return answer(asked, peer)

        self.patch(bench.both[0].zones, "answer", fault)
        found, _ = bench.ask([(query("shop"), "192.0.2.1"), (query("ouch", "TXT"), "192.0.2.9"), (query("shop"), "192.0.2.1")])
        self.assertEqual([each is None for each in found], [False, True, False])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_memory(self) -> None:
        """Ways of asking are remembered up to a bound."""
        self.patch(module, "MAX_PLANS", 10)
        bench = Bench()
        for number in range(25):
            bench.ask([(query("shop", use_edns=0, options=[cookie(number.to_bytes(8, "big"))]), "192.0.2.1")])
        self.assertLessEqual(len(bench.desk._plans), 10)


class BatchPortTests(SteppedLoopCase):
    """`BatchPort` with real sockets."""

    def start(self, address: str | None) -> tuple[BatchPort, list[int]]:
        """A port that gives back what comes, in capitals; not what begins with a minus. And how many came at once."""
        batches: list[int] = []

        def serve(lengths: Sequence[int]) -> None:
            batches.append(len(lengths))
            slots, posted = port.slots, 0
            for slot, length in enumerate(lengths):
                data = slots.heap[slot * IN_BYTES:slot * IN_BYTES + length]
                if data.startswith(b"-"):
                    port.post(posted, slot - posted)
                    posted = slot + 1
                    continue
                slots.out[slot * OUT_BYTES:slot * OUT_BYTES + length] = data.upper()
                slots.sizes[2 * slot + 1] = length
            port.post(posted, len(lengths) - posted)

        self.undelivered: Counter[str] = Counter()
        port = BatchPort(self.loop, datagram_socket(address, 0), self.undelivered)
        port.serve = serve
        port.startListening()
        self.addCleanup(port.stopListening)
        return port, batches

    def client(self, family: socket.AddressFamily, address: str, port: int) -> socket.socket:
        """Somebody who hears only whom it has asked."""
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.settimeout(5)
        self.addCleanup(sock.close)
        sock.connect((address, port))
        return sock

    def test_available(self) -> None:
        """Here it is, so that the tests of the server have gone this way."""
        self.assertTrue(available())

    def test_many_at_once(self) -> None:
        """Of a hundred, each client gets its own; a turn has no more than its share; some get nothing."""
        port, batches = self.start("127.0.0.1")
        clients = [self.client(socket.AF_INET, *port.address) for _ in range(100)]
        for number, client in enumerate(clients):
            client.send(b"-" if number % 7 == 3 else b"n%d" % number)
        self.spin(lambda: sum(batches) == 100)
        self.assertEqual(batches, [64, 36])
        for number, client in enumerate(clients):
            if number % 7 == 3:
                client.setblocking(False)
                self.assertRaises(BlockingIOError, client.recv, 10)
            else:
                self.assertEqual(client.recv(10), b"N%d" % number)

    @staticmethod
    def has(batches: list[int], wanted: int) -> bool:
        """Whether so many datagrams have come by now."""
        return sum(batches) == wanted

    def test_every_address(self) -> None:
        """Answers leave from the address that was asked, again and again, IPv4 and IPv6 on one socket."""
        for bound, asked in (("0.0.0.0", ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.9"))),
                             (None, ((socket.AF_INET, "127.0.0.9"), (socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")))):
            port, batches = self.start(bound)
            clients = [self.client(family, address, port.address[1]) for family, address in asked]
            for turn in range(1, 4):
                for client in clients:
                    client.send(b"a%d" % turn)
                wanted = turn * len(clients)
                self.spin(partial(self.has, batches, wanted))
                self.assertEqual([client.recv(10) for client in clients], [b"A%d" % turn] * len(clients))

    def test_what_cannot_be_sent(self) -> None:
        """One that has no way is counted, and the others go; of a full buffer all that are left are."""
        port, _ = self.start("127.0.0.1")
        answers = [(2, 0), (-1, errno.EINVAL), (1, 0), (-1, errno.EAGAIN)]
        called = []

        def write(_fd: int, _first: Any, count: int, _flags: int) -> int:
            called.append(count)
            result, port._ffi.errno = answers.pop(0)
            return result

        port._write = write
        port.post(0, 10)
        self.assertEqual((called, dict(self.undelivered)), ([10, 8, 7, 6], {"unreachable": 1, "full": 6}))

    def test_one_that_is_too_long(self) -> None:
        """It is cut where it comes in; the next one is whole."""
        port, _ = self.start("127.0.0.1")
        client = self.client(socket.AF_INET, *port.address)
        client.send(b"-" * 9000)
        client.send(b"whole")
        self.spin(lambda: port.slots.out[:5] == b"WHOLE" or port.slots.out[OUT_BYTES:OUT_BYTES + 5] == b"WHOLE")
        self.assertEqual(client.recv(10), b"WHOLE")
