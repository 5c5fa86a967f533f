"""The door at which a new process asks for the place of the one that serves: who is let in, and what becomes of those who give up."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from typing import Any
from unittest.mock import Mock

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from voltgw.app import handover
from voltgw.app.handover import Handover, Predecessor, ask
from voltgw.app.settings import StartError
from voltgw.net import passing
from voltgw.net.inherited import TCP, SocketKey
from voltgw.net.passing import NotOurs
from voltgw.net.sockets import listening_socket
from voltgw.net.tls.tickets import TicketKeys


class HandoverTests(TestCase):
    def setUp(self) -> None:
        """A gateway with one socket."""
        folder = tempfile.mkdtemp()         # its path is short
        self.addCleanup(shutil.rmtree, folder)
        self.path = f"{folder}/restart"
        self.sock = listening_socket("127.0.0.1", 0)
        self.addCleanup(self.sock.close)
        self.key = SocketKey("listener", TCP, "127.0.0.1", 0)
        self.gateway = Mock()
        self.gateway.deps.reactor = reactor
        self.gateway.draining = False
        self.gateway.generation = 7
        self.gateway.affinity_key = b"k" * 32
        self.gateway.tickets = TicketKeys(lambda: 0.0)
        self.gateway.listening.handed.side_effect = lambda: [(self.key, self.sock.fileno())]
        self.gateway.dns.handed.side_effect = self.gateway.admin.handed.side_effect = list
        self.gateway.runtime.config.gateway.restart_socket = self.path
        self.handover = Handover(self.gateway)
        self.handover.start()
        self.addCleanup(self.handover.stop)

    async def asked(self) -> Predecessor:
        """A new process asks."""
        found: Predecessor = await deferToThread(ask, self.path)
        self.addCleanup(found.let_go)
        self.addCleanup(found.inherited.rest)
        return found

    async def refused(self) -> str:
        """What one is told."""
        try:
            await self.asked()
        except StartError as error:
            return str(error)
        raise AssertionError("it was let in")

    def run_it(self, test: Any) -> Deferred[None]:
        """As a Deferred."""
        return Deferred.fromCoroutine(test())

    def test_what_is_handed_over(self) -> Deferred[None]:
        """The same socket, and the keys; the old one gives way when it is asked to, and not before."""
        async def test() -> None:
            found = await self.asked()
            self.assertEqual((found.generation, found.affinity_key, found.pid), (7, b"k" * 32, os.getpid()))
            self.assertEqual(found.tickets, self.gateway.tickets.export())
            taken = found.inherited.take(self.key)
            assert taken is not None
            with taken:
                self.assertEqual(taken.getsockname(), self.sock.getsockname())
            self.gateway.give_way.assert_not_called()
            over: list[int] = []
            self.handover.gives_way = over.append
            await deferToThread(found.replace)
            self.gateway.give_way.assert_called_once_with()
            self.assertEqual((over, self.handover.handed_over, found.replaced), ([os.getpid()], True, True))

        return self.run_it(test)

    def test_one_at_a_time(self) -> Deferred[None]:
        """While one is about to take over another one is refused; when the first gives up the next one may."""
        async def test() -> None:
            first = await self.asked()
            self.assertIn("another process is about to take over", await self.refused())
            first.let_go()
            while not self.handover.failed:
                await deferLater(reactor, 0.01)
            self.assertEqual((self.handover.failed, self.handover.handed_over), (1, False))
            await self.asked()

        return self.run_it(test)

    def test_of_somebody_else(self) -> Deferred[None]:
        """A process of another user gets nothing: no descriptor, no key."""
        inside = threading.get_ident()
        check = passing.check_peer

        def stranger(sock: Any) -> int:
            if threading.get_ident() == inside:     # at the door, which is ours
                raise NotOurs("process 7 runs as user 4711")
            return check(sock)

        self.patch(handover, "check_peer", stranger)

        async def test() -> None:
            await self.refused()
            self.gateway.listening.handed.assert_not_called()
            self.assertEqual(self.handover.failed, 0)

        return self.run_it(test)

    def test_while_it_drains(self) -> Deferred[None]:
        """There is nothing to be had any more."""
        self.gateway.draining = True

        async def test() -> None:
            self.assertIn("it drains", await self.refused())

        return self.run_it(test)

    def test_the_file(self) -> None:
        """Only our user may connect; it goes with us; one that was left behind is replaced, one that is answered is not."""
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        other = Handover(self.gateway)
        other.start()
        self.assertEqual(other.fileno(), -1)
        self.handover.stop()
        self.assertFalse(os.path.exists(self.path))
        listening_socket(self.path, 0).close()      # its file stays
        other.start()
        self.addCleanup(other.stop)
        self.assertGreater(other.fileno(), -1)
        self.assertEqual(os.listdir(os.path.dirname(self.path)), ["restart"])
