"""A listener's hosts while a CA looks: its question is answered before any route, all others as ever."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import request
from voltgw.routing.challenged import PREFIX, ChallengedTable
from voltgw.routing.hosts import HostTable
from voltgw.routing.match import EVERYTHING
from voltgw.routing.route import Route, Rule, VirtualHost


def made(name: str, *domains: str) -> VirtualHost:
    """A host with one route for everything."""
    host = VirtualHost(name, domains=domains)
    route = Route(host, f"{name}/0")
    host.install((Rule(route, ((EVERYTHING, route),)),))
    return host


class ChallengedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.shop, self.other = made("shop", "shop.example", "*.shop.example"), made("other", "other.example")
        self.whole = HostTable([(host.domains, host) for host in (self.shop, self.other)])
        self.table = ChallengedTable(self.whole, {b"shop.example": {b"t1": b"t1.print"}, b"new.example": {b"t2": b"t2.print"}})

    def routed(self, host: bytes, path: bytes, method: bytes = b"GET") -> Route | None:
        """What takes a request."""
        found = self.table.exact.get(host) or self.table.choose(host, None, 80)
        return None if found is None else found.only or found.choose(request(path, method=method), 80)

    def answer(self, host: bytes, path: bytes) -> bytes:
        """The body that it gets."""
        route = self.routed(host, path)
        assert route is not None and route.answer is not None
        asked: Any = None                   # nothing of it is looked at
        reply = route.answer(request(path), asked)
        self.assertEqual((reply.status, reply.detail), (200, "acme_challenge"))
        return reply.body

    def test_the_cas_question(self) -> None:
        """Answered for a host that is there, and for a name that nobody has; names compare without case."""
        self.assertEqual(self.answer(b"shop.example", PREFIX + b"t1"), b"t1.print")
        self.assertEqual(self.answer(b"new.example", PREFIX + b"t2"), b"t2.print")
        self.assertEqual(self.answer(b"Shop.EXAMPLE.", PREFIX + b"t1"), b"t1.print")

    def test_other_questions(self) -> None:
        """Another token, another method, another name's token: they go where they would have gone."""
        for path, method in ((PREFIX + b"t2", b"GET"), (PREFIX, b"GET"), (b"/", b"GET"), (PREFIX + b"t1", b"POST")):
            route = self.routed(b"shop.example", path, method)
            assert route is not None
            self.assertEqual((route.name, route.host), ("shop/0", self.shop), path)
        self.assertIsNone(self.routed(b"new.example", b"/"))
        self.assertIsNone(self.routed(b"nobody.example", PREFIX + b"t1"))

    def test_other_hosts(self) -> None:
        """They are found as ever, and pay nothing."""
        self.assertIs(self.table.exact[b"other.example"], self.other)
        self.assertNotIn(b"shop.example", self.table.exact)
        self.assertIs(self.table.choose(b"a.shop.example", None, 80), self.shop)

    def test_what_stands_in(self) -> None:
        """It has everything that the host has, and is the same one each time."""
        self.shop.max_requests_per_connection, self.shop.server_line = 7, b"server: shop"
        found = self.table.choose(b"shop.example", None, 80)
        assert found is not None
        self.assertEqual((found.name, found.max_requests_per_connection, found.server_line), ("shop", 7, b"server: shop"))
        self.assertIs(self.table.choose(b"shop.example", None, 80), found)
