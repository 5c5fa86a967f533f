"""DNS cookies: RFC 9018's own vectors, and who is believed for how long."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.dns.cookies import LIFE_S, MAX_REMEMBERED, Cookies, own_digest
from voltgw.dns.rates import packed
from voltgw.wire.dnsmsg import Query

SECRET = bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf")
CLIENT = bytes.fromhex("2464c4abcf10c957")


def query(client: bytes = CLIENT, server: bytes = b"") -> Query:
    """A query with a cookie."""
    made = Query(1, 0, b"", b"\0", 1, 1)
    made.cookie, made.server_cookie = client, server
    return made


class CookieTests(SynchronousTestCase):
    """`Cookies`."""

    def setUp(self) -> None:
        """A clock that stands at a whole minute."""
        self.now = 1559731980.0
        self.cookies = Cookies(SECRET, lambda: self.now)

    def test_published_vectors(self) -> None:
        """RFC 9018 appendix A.1 (a new cookie), A.3 (one with reserved bits) and A.4 (IPv6)."""
        made = self.cookies.make(CLIENT, packed("198.51.100.100"), 1559731985)
        self.assertEqual(made.hex(), "010000005cf79f111f8130c3eee29480")
        six = Cookies(bytes.fromhex("dd3bdf9344b678b185a6f5cb60fca715"), lambda: 1559741961.0)
        theirs = bytes.fromhex("010000005cf7c57926556bd0934c72f8")
        self.assertTrue(six.look(query(bytes.fromhex("22681ab97d52c298"), theirs), packed("2001:db8:220:1:59de:d0f4:8769:82b8"))[0])

    def test_our_own_digest(self) -> None:
        """Where nobody shares the secret: other bytes than SipHash's, tied to the address, the client's cookie and the secret."""
        address, now = packed("198.51.100.100"), int(self.now)
        ours = Cookies(SECRET, lambda: self.now, own_digest)
        made = {ours.make(CLIENT, address, now), self.cookies.make(CLIENT, address, now), ours.make(CLIENT, packed("::1"), now),
                ours.make(b"8 octets", address, now), Cookies(bytes(16), lambda: self.now, own_digest).make(CLIENT, address, now)}
        self.assertEqual((len(made), {len(each) for each in made}), (5, {16}))
        self.assertTrue(ours.look(query(server=ours.make(CLIENT, address, now)), address)[0])
        self.assertFalse(ours.look(query(server=self.cookies.make(CLIENT, address, now)), address)[0])

    def test_how_long_an_answer_stays_the_same(self) -> None:
        """Until the next minute where the cookie is new; until it is renewed, and no longer than it is believed, where not."""
        address = packed("192.0.2.1")
        theirs = self.cookies.look(query(), address)[1][12:]
        for later, server in ((0, b""), (59, b""), (0, theirs), (1790, theirs), (1801, theirs), (3595, theirs), (3601, theirs)):
            self.now = 1559731980.0 + later
            found = self.cookies.look(query(server=server), address)
            until = self.cookies.steady(query(server=server), found[0])
            self.assertTrue(self.now < until <= self.now + 60, later)
            self.now = until - 1
            self.assertEqual(self.cookies.look(query(server=server), address), found, later)

    def test_who_is_believed(self) -> None:
        """Whoever shows the cookie that we gave to that address, for an hour; after half of it there is a new one."""
        address = packed("192.0.2.1")
        good, option = self.cookies.look(query(), address)
        self.assertFalse(good)
        theirs = option[12:]
        for _ in range(2):                      # computed, then remembered
            self.assertEqual(self.cookies.look(query(server=theirs), address), (True, option))
        for later, believed, renewed in ((1799, True, False), (1800, True, True), (3600, True, True), (3601, False, True),
                                         (-300, True, False), (-301, False, True)):
            self.now = 1559731980.0 + later
            good, given = self.cookies.look(query(server=theirs), address)
            self.assertEqual((good, given != option), (believed, renewed), later)
        self.assertEqual(LIFE_S, 3600)

    def test_who_is_not_believed(self) -> None:
        """Another address, another client cookie, another version, any changed bit, another size."""
        address = packed("192.0.2.1")
        theirs = self.cookies.look(query(), address)[1][12:]
        for made, whose in ((query(server=theirs), packed("192.0.2.2")), (query(b"x" * 8, theirs), address),
                            (query(server=b"\2" + theirs[1:]), address), (query(server=theirs + b"\0"), address),
                            *((query(server=theirs[:at] + bytes((theirs[at] ^ 1,)) + theirs[at + 1:]), address)
                              for at in range(16))):
            self.assertFalse(self.cookies.look(made, whose)[0])

    def test_new_ones_within_a_minute(self) -> None:
        """Whoever asks again gets the same one, dated back to the minute; in the next minute it is another."""
        address = packed("192.0.2.1")
        first = self.cookies.look(query(), address)
        self.now += 59
        self.assertEqual(self.cookies.look(query(), address), first)
        self.now += 1
        self.assertNotEqual(self.cookies.look(query(), address), first)

    def test_memory(self) -> None:
        """Good cookies, and new ones, are remembered up to a bound; forged ones never."""
        address = packed("192.0.2.1")
        for number in range(10):
            self.cookies.look(query(server=bytes((1, 0, 0, number)) * 4), address)
        self.assertEqual(len(self.cookies._good), 0)
        self.cookies._good.update({number.to_bytes(4, "big"): 0 for number in range(MAX_REMEMBERED)})
        self.cookies._fresh.update({number.to_bytes(4, "big"): (0, b"") for number in range(MAX_REMEMBERED)})
        address = packed("192.0.2.77")
        theirs = self.cookies.look(query(), address)[1][12:]
        self.cookies.look(query(server=theirs), address)
        self.assertEqual((len(self.cookies._good), len(self.cookies._fresh)), (1, 1))
