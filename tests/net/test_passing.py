"""Messages with descriptors between two processes' ends of a Unix socket, on the real reactor."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from voltgw.net import passing
from voltgw.net.passing import FDS_AT_ONCE, Channel, NotOurs, check_peer, peer_of, receive_frame, send_frame


class ChannelTests(TestCase):
    def setUp(self) -> None:
        """Two ends; what comes at the second stands in `got`."""
        ours, theirs = socket.socketpair()
        self.got: list[tuple[bytes, int]] = []
        self.kept: list[int] = []
        self.lost: list[str] = []
        self.takes = False
        self.one = Channel(reactor, ours, lambda data, fds: None, self.lost.append)
        self.other = Channel(reactor, theirs, self.take, self.lost.append)
        for each in (self.one, self.other):
            each.start()
            self.addCleanup(each.abort)
        self.addCleanup(self.let_go)

    def take(self, data: bytes, fds: list[int]) -> None:
        """A message has come."""
        self.got.append((data, len(fds)))
        if self.takes:
            self.kept += fds
            fds.clear()

    def let_go(self) -> None:
        """Close what was kept."""
        for fd in self.kept:
            os.close(fd)

    async def until(self, count: int) -> None:
        """So many have come."""
        for _ in range(400):
            if len(self.got) >= count:
                return
            await deferLater(reactor, 0.005)
        self.fail(f"{len(self.got)} of {count} messages have come")

    async def test_in_order(self) -> None:
        """Short ones, empty ones and one that is larger than any buffer."""
        large = os.urandom(3 << 20)
        for data in (b"a", b"", large, b"z"):
            self.one.send(data, [0] if not data else [])
        await self.until(4)
        self.assertEqual([(len(data), count) for data, count in self.got], [(1, 0), (0, 1), (len(large), 0), (1, 0)])
        self.assertEqual(self.got[2][0], large)
        self.assertEqual(self.one.waiting_bytes, 0)

    async def test_descriptors(self) -> None:
        """They are open, another number than ours, close-on-exec; those of one message are not another's."""
        self.takes = True
        read, write = os.pipe()
        self.one.send(b"two", [read, write])
        self.one.send(b"none")
        os.close(read)
        os.close(write)
        await self.until(2)
        self.assertEqual(self.got, [(b"two", 2), (b"none", 0)])
        their_read, their_write = self.kept
        os.write(their_write, b"through")
        self.assertEqual(os.read(their_read, 100), b"through")
        self.assertEqual([os.get_inheritable(fd) for fd in self.kept], [False, False])

    async def test_more_than_the_kernel_takes_at_once(self) -> None:
        """They arrive with their message, all of them; those that nobody takes are closed."""
        await deferLater(reactor, 0.005)  # its own descriptors are open now
        before = len(os.listdir("/proc/self/fd"))
        self.one.send(b"many", [0] * (2 * FDS_AT_ONCE + 50))
        self.one.send(b"next", [0])
        await self.until(2)
        self.assertEqual(self.got, [(b"many", 2 * FDS_AT_ONCE + 50), (b"next", 1)])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    async def test_nobody_reads(self) -> None:
        """What waits is counted, and says when it is much."""
        reactor.removeReader(self.other)
        for _ in range(6):
            self.one.send(bytes(1 << 20))
        self.assertTrue(self.one.full)
        reactor.addReader(self.other)
        await self.until(6)
        self.assertFalse(self.one.full)

    async def test_the_other_end_is_gone(self) -> None:
        """It is told once, and what is sent afterwards goes nowhere."""
        done: Deferred[Any] = Deferred()
        self.one.lost = done.callback
        self.other.abort()
        self.assertIn("closed", await done)
        self.one.send(b"x", [0])
        self.assertTrue(self.one.closed)

    async def test_no_frame(self) -> None:
        """A frame that is too long, or lies about its descriptors, ends the channel."""
        for head in (struct.pack("!II", 1 << 30, 0), struct.pack("!II", 1, 3) + b"x"):
            ours, theirs = socket.socketpair()
            done: Deferred[Any] = Deferred()
            channel = Channel(reactor, theirs, self.take, done.callback)
            channel.start()
            ours.send(head)
            why = await done
            self.assertTrue("too large" in why or "announced" in why, why)
            ours.close()
        self.assertEqual(self.got, [])

    async def test_a_bug_in_the_receiver(self) -> None:
        """The next message is handed over all the same."""
        def broken(data: bytes, fds: list[int]) -> None:
            self.got.append((data, 0))
            raise RuntimeError("of this test")

        self.other.received = broken
        self.one.send(b"a")
        self.one.send(b"b")
        await self.until(2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_who_is_there(self) -> None:
        """The other end's process and user are known; another user is refused."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        self.assertEqual(peer_of(ours), (os.getpid(), os.geteuid()))
        self.assertEqual(check_peer(ours), os.getpid())
        self.patch(os, "getuid", lambda: 4000)
        self.patch(os, "geteuid", lambda: 4000)
        self.patch(passing, "peer_of", lambda sock: (7, 4711))
        self.assertRaises(NotOurs, check_peer, ours)
        self.assertEqual(check_peer(ours, 4711), 7)

    def test_blocking_ends(self) -> None:
        """The same frames without a reactor."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        send_frame(ours, b"x" * 1000, [0] * (FDS_AT_ONCE + 3))
        data, fds = receive_frame(theirs)
        self.assertEqual((data, len(fds)), (b"x" * 1000, FDS_AT_ONCE + 3))
        for fd in fds:
            os.close(fd)
        send_frame(ours, b"x" * 1000)
        self.assertRaises(ValueError, receive_frame, theirs, 10)
