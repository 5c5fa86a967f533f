"""Who is shut out for wrong tokens at the admin interface, and who is not for what others have shown."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.observe.test_admin import AdminCase, At, Config
from voltgw.observe import callers as module
from voltgw.observe import site
from voltgw.observe.callers import MOST_WRONG, NOTHING, OPERATE, READ, Callers
from voltgw.observe.site import MAX_CONNECTIONS, MOST_OF_ONE, AdminSite, BoundedFactory, Root

TOKEN = "a-token-to-change-things"
TOKENS = (("deploy", TOKEN.encode(), OPERATE),)


class NetworkTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Nobody has shown anything yet."""
        self.callers = Callers(Clock().seconds, TOKENS)

    def guess(self, *sources: str) -> None:
        for source in sources:
            self.assertIsNone(self.callers.of_token(b"Bearer guess", source))

    def test_ipv6(self) -> None:
        """Whoever has a network of 64 bits gets no more tries than whoever has one address."""
        self.guess(*(f"2001:db8:0:7::{number:x}" for number in range(MOST_WRONG)))
        self.assertTrue(self.callers.is_shut_out("2001:db8::7:ffff:0:0:1"))
        self.assertIsNone(self.callers.of_token(f"Bearer {TOKEN}".encode(), "2001:db8:0:7:1::"))
        self.assertFalse(self.callers.is_shut_out("2001:db8:0:8::1"))

    def test_ipv4(self) -> None:
        """One address is one, in whatever form it comes."""
        self.guess(*["::ffff:192.0.2.1", "192.0.2.1"] * (MOST_WRONG // 2))
        self.assertTrue(self.callers.is_shut_out("192.0.2.1"))
        self.assertFalse(self.callers.is_shut_out("::ffff:192.0.2.2"))


class UnixTests(AdminCase):
    async def test_users(self) -> None:
        """On the Unix socket one user who shows wrong tokens shuts out nobody else."""
        path = self.socket_path()
        self.serve(Config(At(unix=path, tokens=TOKENS, users=((4242, READ),))))
        user = 4242
        self.patch(site, "user_of", lambda sock: user)
        for _ in range(MOST_WRONG):
            self.assertIn((await self.ask(path, "/clusters", Authorization="Bearer guess")).status, (401, 429))
        self.assertEqual((await self.ask(path, "/clusters", Authorization=f"Bearer {TOKEN}")).status, 429)
        user = 4243
        self.assertEqual((await self.ask(path, "/clusters", Authorization=f"Bearer {TOKEN}")).status, 200)

    def test_our_own_user(self) -> None:
        """It is the one as which the process runs now, not the one that it was started by."""
        made = Callers(Clock().seconds, users=((4242, READ),))
        one, other = socket.socketpair(socket.AF_UNIX)
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        self.patch(module, "user_of", lambda sock: 4243)
        self.assertEqual(made.of_process(one).role, NOTHING)
        self.patch(os, "geteuid", lambda: 4243)
        self.assertEqual(made.of_process(one).role, OPERATE)


class PlaceTests(SynchronousTestCase):
    def factory(self) -> BoundedFactory:
        """That of an admin interface with no pages."""
        clock = Clock()
        return BoundedFactory(AdminSite(Root({}, clock, clock.seconds), clock))

    def connect(self, factory: BoundedFactory, *hosts: str) -> list[Any]:
        """Connections from there that were taken."""
        taken = []
        for host in hosts:
            peer = IPv6Address("TCP", host, 4000) if ":" in host else IPv4Address("TCP", host, 4000)
            protocol = factory.buildProtocol(peer)
            if protocol is not None:
                protocol.makeConnection(StringTransport(peerAddress=peer))
                taken.append(protocol)
        self.addCleanup(lambda: [each.connectionLost(Failure(ConnectionDone())) for each in taken if each in factory.protocols])
        return taken

    def test_one_that_only_connects(self) -> None:
        """It leaves room for others; a connection that ends makes room for another one of it."""
        factory = self.factory()
        taken = self.connect(factory, *["192.0.2.1"] * MAX_CONNECTIONS)
        self.assertEqual(len(taken), MOST_OF_ONE)
        self.assertEqual(len(self.connect(factory, "192.0.2.2", "2001:db8::1", "127.0.0.1")), 3)
        taken[0].connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.connect(factory, "192.0.2.1", "192.0.2.1")), 1)

    def test_a_network(self) -> None:
        """Addresses of one network of 64 bits are one."""
        self.assertEqual(len(self.connect(self.factory(), *(f"2001:db8::{number:x}" for number in range(1, 40)))), MOST_OF_ONE)

    def test_this_host(self) -> None:
        """Scrapers and probes of this host come from one address, and may have all."""
        self.assertEqual(len(self.connect(self.factory(), *["127.0.0.1"] * (MAX_CONNECTIONS + 1))), MAX_CONNECTIONS)
