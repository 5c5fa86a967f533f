"""QUIC through a UDP_PROXY: who moves is found by its connection id (packets made by hand; RFC 8999, 9000 9)."""

from __future__ import annotations

import socket
from random import Random

from tests.proxy.test_udp import UdpCase
from voltgw.proxy.quic import AMPLIFICATION, MAX_IDS, MAX_LENGTHS, PROOF_DATAGRAMS, ConnectionIds
from voltgw.values.defaults import UDP_IDLE_TIMEOUT_S

FIRST, SERVER, LATER = b"firstid8", b"server-1", b"server-2"


def long(destination: bytes, source: bytes = b"", rest: bytes = b"") -> bytes:
    """A packet with a long header."""
    return b"\xc0\0\0\0\1" + bytes((len(destination),)) + destination + bytes((len(source),)) + source + rest


def short(destination: bytes, rest: bytes = b"") -> bytes:
    """One with a short header."""
    return b"\x40" + destination + rest


class QuicCase(UdpCase):
    def setUp(self) -> None:
        super().setUp()
        self.ids = ConnectionIds()
        self.factory.quic = self.ids

    def connect(self, client: socket.socket, first: bytes = FIRST, own: bytes = SERVER, server: int = 0) -> None:
        """What both say first."""
        self.say(client, long(first, b"client"))
        self.answer(self.endpoints[server], long(b"client", own))
        self.assertEqual(client.recv(100), long(b"client", own))

    def moved(self) -> int:
        """How often a client has."""
        return self.factory.counters.sessions_moved


class MovingTests(QuicCase):
    def test_a_client_moves(self) -> None:
        """From another port, and from another address: the same session, the same endpoint, and answers go to the new one."""
        old = self.client()
        self.connect(old)
        for number, new in enumerate((self.client(), self.client("127.0.0.9")), 1):
            self.say(new, short(SERVER, b"?" * 50))
            self.assertEqual(self.answer(self.endpoints[0], short(b"client", b"!"))[0], short(SERVER, b"?" * 50))
            self.assertEqual(new.recv(100), short(b"client", b"!"))
            self.assertEqual((self.sessions(), self.moved()), (1, number))
        self.say(old, short(SERVER, b"?" * 50))                 # and back
        self.answer(self.endpoints[0], b"!")
        self.assertEqual((old.recv(100), self.moved()), (b"!", 3))

    def test_without_the_option(self) -> None:
        """The same packets from another port begin another session, at another endpoint."""
        self.factory.quic = None
        self.connect(self.client())
        self.say(self.client(), short(SERVER, b"?"))
        self.assertEqual(self.endpoints[1].recv(100), short(SERVER, b"?"))
        self.assertEqual(self.sessions(), 2)

    def test_before_the_endpoint_has_said_its_id(self) -> None:
        """A first packet that is sent again from another port is the same connection's."""
        self.say(self.client(), long(FIRST))
        self.say(self.client(), long(FIRST))
        self.assertEqual((self.sessions(), self.moved()), (1, 1))

    def test_an_id_that_was_offered_in_secret(self) -> None:
        """It is learned where the client uses it from an address that is known; then the client may move with it."""
        client = self.client()
        self.connect(client)
        self.say(client, short(LATER, b"?"))
        self.say(self.client(), short(LATER, b"?"))
        self.assertEqual((self.sessions(), self.moved()), (1, 1))

    def test_an_id_that_nobody_has_seen(self) -> None:
        """From an address that nobody knows, too: a session begins, as for any datagram."""
        self.connect(self.client())
        self.say(self.client(), short(LATER, b"?"))
        self.assertEqual((self.sessions(), self.moved()), (2, 0))

    def test_two_connections_of_one_socket(self) -> None:
        """Each has its session and its endpoint; what the id does not say goes with the latest one."""
        client = self.client()
        self.connect(client)
        self.connect(client, b"firstid9", b"server-9", 1)
        self.assertEqual(self.sessions(), 2)
        for own, server in ((SERVER, 0), (b"server-9", 1), (LATER, 1)):
            self.say(client, short(own, b"?"))
            self.assertEqual(self.endpoints[server].recv(100), short(own, b"?"))

    def test_ids_of_other_lengths(self) -> None:
        """Endpoints need not agree on one."""
        one, other = self.client(), self.client()
        self.connect(one, b"firstid1", b"s" * 8)
        self.connect(other, b"firstid2", b"t" * 20, 1)
        for own, server in ((b"s" * 8, 0), (b"t" * 20, 1), (b"s" * 8, 0)):
            self.say(self.client(), short(own, b"??"))
            self.assertEqual(self.endpoints[server].recv(100), short(own, b"??"))
        self.assertEqual((self.sessions(), self.moved()), (2, 3))

    def test_what_is_no_quic(self) -> None:
        """Anything else on the port is known by its address, as ever."""
        one, other = self.client(), self.client()
        for data in (b"", b"\x80", b"\xc0\0\0\0\1\xffx", b"x" * 5):
            self.say(one, data)
            self.say(other, data)
        self.assertEqual((self.sessions(), self.moved()), (2, 0))


class UnprovenTests(QuicCase):
    def test_an_address_that_has_proven_nothing(self) -> None:
        """A copied packet brings its sender no more than three times its bytes; some more datagrams are a proof."""
        old = self.client()
        self.connect(old)
        new = self.client()
        data = short(SERVER, b"?")
        self.say(new, data)
        _, who = self.endpoints[0].recvfrom(100)
        self.endpoints[0].sendto(b"x" * AMPLIFICATION * len(data), who)
        self.endpoints[0].sendto(b"y", who)
        self.spin(self.dropped)
        self.assertEqual((new.recv(100), self.dropped()), (b"x" * AMPLIFICATION * len(data), {"unproven": 1}))
        for _ in range(PROOF_DATAGRAMS):
            self.say(new, data)
            self.endpoints[0].recv(100)
        self.endpoints[0].sendto(b"z" * 1000, who)
        self.assertEqual(self.take(new), b"z" * 1000)

    def take(self, client: socket.socket) -> bytes:
        """The next answer."""
        before = self.factory.counters.datagrams_out
        self.spin(lambda: self.factory.counters.datagrams_out > before)
        return client.recv(2000)

    def test_the_owner_goes_on(self) -> None:
        """Its next datagram takes the session back."""
        old = self.client()
        self.connect(old)
        self.say(self.client("127.0.0.66"), short(SERVER, b"?"))
        self.endpoints[0].recv(100)
        self.say(old, short(SERVER, b"mine"))
        self.answer(self.endpoints[0], b"!")
        self.assertEqual(old.recv(100), b"!")


class AtRandomTests(QuicCase):
    def test_packets_of_all_sorts(self) -> None:
        """Whatever clients and endpoints say, from wherever: ids are those of sessions that live, and bounded; in the end none is left."""
        chance = Random(6)
        clients = [self.client() for _ in range(6)]
        ids = [bytes((65 + number,)) * chance.choice((1, 4, 8, 20)) for number in range(40)]
        for _ in range(1500):
            kind = chance.random()
            if kind < 0.5:
                packet = long(chance.choice(ids), chance.choice((b"", *ids)))
            elif kind < 0.9:
                packet = short(chance.choice(ids), b"?" * chance.randrange(30))
            else:
                packet = chance.randbytes(chance.randrange(12))
            self.say(chance.choice(clients), packet)
            if chance.random() < 0.5 and self.factory.connections:
                session = chance.choice(list(self.factory.connections.values()))
                self.ids.answers(session, memoryview(long(chance.choice(ids), chance.choice(ids))))
            if chance.random() < 0.05 and self.factory.connections:
                chance.choice(list(self.factory.connections.values())).close()
            alive = set(self.factory.connections.values())
            self.assertLessEqual(set(self.ids._by_id.values()) | set(self.ids._by_address.values()), alive)
            self.assertEqual(set(self.ids._ids), alive)
            self.assertLessEqual(max(map(len, self.ids._ids.values()), default=0), MAX_IDS)
            self.assertLessEqual(len(self.ids._lengths), MAX_LENGTHS)
        self.assertGreater(self.moved(), 100)
        self.factory.close()
        self.assertEqual([len(each) for each in (self.ids._by_id, self.ids._by_address, self.ids._ids, self.ids._addresses,
                                                 self.ids._unproven)], [0] * 5)


class BoundTests(QuicCase):
    def test_ids_of_one_session(self) -> None:
        """So many, the oldest goes; with the session all go."""
        client = self.client()
        self.connect(client)
        for number in range(50):
            self.say(client, short(b"%08d" % number, b"?"))
        self.assertEqual(len(self.ids), MAX_IDS)
        for _ in range(20):
            self.say(self.client(), short(b"%08d" % 49, b"?"))
        self.assertEqual((self.sessions(), len(self.ids), self.moved()), (1, MAX_IDS, 20))
        self.factory.close()
        self.assertEqual(len(self.ids), 0)
        for held in (self.ids._ids, self.ids._addresses, self.ids._by_address, self.ids._unproven):
            self.assertEqual(len(held), 0)

    def test_sessions_that_expire(self) -> None:
        """Their ids are nobody's: the next one begins a session."""
        client = self.client()
        self.connect(client)
        self.advance(UDP_IDLE_TIMEOUT_S + 1)
        self.assertEqual((self.sessions(), len(self.ids)), (0, 0))
        self.say(self.client(), short(SERVER, b"?"))
        self.assertEqual((self.sessions(), self.moved()), (1, 0))
