"""The kernel's relay: every byte once and in order, whatever stalls; ends, resets, and what happens when pipes run out."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import socket
from functools import partial
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.net import test_relay
from tests.net.streams import reset
from tests.support import HalfCloser, SteppedLoopCase
from voltgw.net.splice import RETRY_S, Pipes
from voltgw.net.stream import SPLICE_AFTER_BYTES
from voltgw.values.defaults import BUFFER_HIGH_WATER_BYTES, SPLICE_PIPE_BYTES

MIB = 1 << 20


class Side(test_relay.Side):
    """One side of a relay; it passes a FIN on, and a reset."""

    def connectionLost(self, reason: Any) -> None:
        """Both end alike."""
        HalfCloser.connectionLost(self, reason)
        if getattr(reason.value, "osError", None) == errno.ECONNRESET:
            self.other.transport.abortConnection()
        else:
            self.other.transport.loseConnection()

    def pauseProducing(self) -> None:
        """The other side cannot keep up."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """It can again."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """It is gone, and its protocol says how."""


class Talker:
    """One end of a relay, which writes and reads as chance says, and sums up what it wrote and what it got."""

    def __init__(self, sock: socket.socket, total: int, chance: random.Random) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.left = total
        self.chance = chance
        self.wrote = hashlib.sha256()
        self.got = hashlib.sha256()
        self.received = 0
        self.ended = False
        self._block = chance.randbytes(2 * MIB)
        self._stalled = 0

    def step(self) -> None:
        """Write some, unless all is written; read some, unless it stands still."""
        if self.left:
            start = self.chance.randrange(MIB)
            size = min(self.left, self.chance.choice((1, 100, 5000, 70_000, MIB)))
            try:
                sent = self.sock.send(self._block[start:start + size])
            except BlockingIOError:
                sent = 0
            self.wrote.update(self._block[start:start + sent])
            self.left -= sent
            if not self.left:
                self.sock.shutdown(socket.SHUT_WR)
        if self._stalled:
            self._stalled -= 1
        elif self.chance.random() < 0.05:
            self._stalled = self.chance.randrange(20)
        elif not self.ended:
            try:
                data = self.sock.recv(self.chance.choice((1000, 100_000, 2 * MIB)))
            except BlockingIOError:
                return
            self.ended = not data
            self.received += len(data)
            self.got.update(data)


class SpliceCase(SteppedLoopCase):
    def relay(self) -> tuple[list[Side], list[socket.socket]]:
        """Two streams joined as `proxy.relay` does it, and the plain sockets at both ends."""
        sides, socks = [], []
        for _ in range(2):
            side, sock = self.pair(Side())
            sides.append(side)
            socks.append(sock)
        for side, other in (sides, sides[::-1]):
            side.other = other
            other.transport.registerProducer(side, True)
            side.transport.deliver_to(other.transport.write)
            side.transport.splice_to(other.transport)
        return sides, socks

    def both_ways(self, total: int, seed: int) -> list[Side]:
        """`total` bytes each way under random stalls: all arrive, in order, and the ends after them."""
        sides, socks = self.relay()
        chance = random.Random(seed)
        talkers = [Talker(sock, total, chance) for sock in socks]
        for _ in range(200_000):
            for talker in talkers:
                talker.step()
            self.turn()
            if all(talker.ended for talker in talkers):
                break
        one, other = talkers
        self.assertEqual((one.received, other.received), (total, total))
        self.assertEqual((one.got.digest(), other.got.digest()), (other.wrote.digest(), one.wrote.digest()))
        for sock in socks:
            sock.close()
        self.spin(lambda: all(side.reason for side in sides))
        self.assertEqual([side.transport.bytes_in for side in sides], [total, total])
        self.assertEqual([side.transport.bytes_out for side in sides], [total, total])
        self.assertEqual(self.loop.pipes.lent, 0)
        return sides

    def large(self, writer: socket.socket, reader: socket.socket) -> None:
        """Make the flow so large that the kernel carries it."""
        writer.setblocking(False)
        reader.setblocking(False)
        before = self.loop.pipes.carried_bytes
        sent = received = 0
        block = b"x" * MIB
        while self.loop.pipes.carried_bytes == before or received < sent:
            if self.loop.pipes.carried_bytes == before:
                self.assertLess(sent, 200 * MIB)
                try:
                    sent += writer.send(block)
                except BlockingIOError:
                    pass
            self.turn()
            try:
                received += len(reader.recv(4 * MIB))
            except BlockingIOError:
                pass

    def fill(self, sides: list[Side], writer: socket.socket) -> int:
        """Write until nothing goes on; the bytes that were written."""
        sent = idle = 0
        while idle < 5 or sides[0].transport._reading:
            try:
                sent += writer.send(b"y" * MIB)
                idle = 0
            except BlockingIOError:
                idle += 1
            self.wait(0.001)
            self.turn()
        return sent


class BytesTests(SpliceCase):
    def test_random_stalls_both_ways(self) -> None:
        """Pieces of any size, each side standing still as chance says: both get what the other wrote, byte for byte, and both
        ways of relaying took part.
        """
        for seed in range(4):
            before = self.loop.pipes.carried_bytes
            self.both_ways(16 * MIB, seed)
            carried = self.loop.pipes.carried_bytes - before
            self.assertGreater(carried, MIB)
            self.assertLess(carried, 32 * MIB - SPLICE_AFTER_BYTES)

    def test_a_pool_that_runs_dry_now_and_then(self) -> None:
        """Pieces through memory and pieces through pipes keep their order, however often they alternate."""
        chance = random.Random(7)
        take = Pipes.take
        with mock.patch.object(Pipes, "take", lambda pipes: take(pipes) if chance.random() < 0.5 else None):
            self.both_ways(16 * MIB, 11)
        self.assertGreater(self.loop.pipes.carried_bytes, MIB)

    def test_short_flows_have_none(self) -> None:
        """Below a mebibyte nothing is asked of the kernel but reading and writing."""
        self.both_ways(SPLICE_AFTER_BYTES - 1, 3)
        self.assertEqual((self.loop.pipes.made, self.loop.pipes.carried_bytes), (0, 0))

    def test_a_large_flow_that_grows_small(self) -> None:
        """A flow of small pieces goes back to reading and writing, and holds no pipe while it is silent."""
        sides, (writer, reader) = self.relay()
        self.large(writer, reader)
        for _ in range(3):
            writer.send(b"small")
            self.spin(lambda: self.waiting(reader) == 5)
            reader.recv(100)
        carried = self.loop.pipes.carried_bytes
        writer.send(b"small")
        self.spin(lambda: self.waiting(reader) == 5)
        self.assertEqual((self.loop.pipes.carried_bytes, self.loop.pipes.lent), (carried, 0))
        self.large(writer, reader)
        self.assertGreater(self.loop.pipes.carried_bytes, carried)
        self.close(sides, writer, reader)

    def waiting(self, sock: socket.socket) -> int:
        try:
            return len(sock.recv(100, socket.MSG_PEEK))
        except BlockingIOError:
            return 0

    def close(self, sides: list[Side], *socks: socket.socket) -> None:
        for sock in socks:
            sock.close()
        self.spin(lambda: all(side.reason for side in sides))


class PressureTests(SpliceCase):
    def test_a_reader_that_stands_still(self) -> None:
        """At most one pipe holds what it does not take; the writer is stopped, and nothing keeps a core busy."""
        sides, (writer, reader) = self.relay()
        self.large(writer, reader)
        self.fill(sides, writer)
        self.assertFalse(sides[0].transport._reading)
        self.assertGreater(sides[1].transport.unsent, BUFFER_HIGH_WATER_BYTES)
        self.assertLessEqual(sides[1].transport.unsent, BUFFER_HIGH_WATER_BYTES + SPLICE_PIPE_BYTES)
        self.assertEqual(self.loop.pipes.lent, 1)
        self.assert_quiet()
        for sock in (writer, reader):
            sock.close()
        self.spin(lambda: all(side.reason for side in sides))
        self.assertEqual((self.loop.pipes.lent, self.loop.pipes.made), (0, 0))      # what lay in it is gone with it

    def test_fin_behind_what_lies_in_a_pipe(self) -> None:
        """A half-close passes behind it, and the answer still comes."""
        sides, (writer, reader) = self.relay()
        self.large(writer, reader)
        sent = self.fill(sides, writer)
        writer.shutdown(socket.SHUT_WR)
        heard = bytearray()

        def all_heard() -> bool:
            try:
                data = reader.recv(MIB)
            except BlockingIOError:
                return False
            heard.extend(data)
            return not data

        self.spin(all_heard)
        self.assertEqual(heard, b"y" * sent)
        reader.sendall(b"answer")
        reader.close()
        self.spin(lambda: all(side.reason for side in sides))
        self.assertEqual((writer.recv(100), writer.recv(100)), (b"answer", b""))

    def test_a_stop_behind_what_lies_in_a_pipe(self) -> None:
        """`loseConnection` waits for it, as for bytes in memory."""
        sides, (writer, reader) = self.relay()
        self.large(writer, reader)
        self.fill(sides, writer)
        held = sides[1].transport.unsent
        sides[1].transport.unregisterProducer()
        sides[1].transport.loseConnection()
        self.assertFalse(sides[1].transport.disconnected)
        count = 0

        def all_read() -> bool:
            nonlocal count
            try:
                data = reader.recv(MIB)
            except BlockingIOError:
                return False
            count += len(data)
            return not data

        self.spin(all_read)
        self.assertGreaterEqual(count, held)
        for sock in (writer, reader):
            sock.close()
        self.spin(lambda: all(side.reason for side in sides))

    def test_resets_pass(self) -> None:
        """Whoever resets, the other one is reset; with bytes in a pipe and without; no pipe with a rest is used again."""
        for stalled in (False, True):
            for who in (0, 1):
                sides, socks = self.relay()
                self.large(*socks)
                if stalled:
                    self.fill(sides, socks[0])
                reset(socks[who])
                other = socks[1 - who]
                self.spin(partial(self.was_reset, other))    # it has read everything that came before
                self.spin(partial(self.ended, sides))
                other.close()
                self.assertEqual(self.loop.pipes.lent, 0)

    def ended(self, sides: list[Side]) -> bool:
        """Whether both are told."""
        return all(side.reason for side in sides)

    def was_reset(self, sock: socket.socket) -> bool:
        """Take what there is; whether it has been reset."""
        try:
            self.assertNotEqual(sock.recv(MIB), b"")
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        return False


class PipesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.pipes = Pipes(lambda: self.now, 2, 65536)
        self.addCleanup(self.pipes.close)

    def test_the_bound(self) -> None:
        """There are never more than the limit; what could not be had is counted."""
        one, two = self.pipes.take(), self.pipes.take()
        assert one is not None and two is not None
        self.assertIsNone(self.pipes.take())
        self.assertEqual((self.pipes.made, self.pipes.lent, self.pipes.refused), (2, 2, 1))
        self.pipes.give(one)
        self.assertIs(self.pipes.take(), one)
        self.pipes.drop(one)
        self.assertRaises(OSError, os.fstat, one.read_fd)
        self.assertEqual((self.pipes.made, self.pipes.lent), (1, 1))
        self.pipes.give(two)

    def test_a_host_that_gives_none(self) -> None:
        """It is asked again after a while, not at every event; no descriptor is left behind."""
        before = len(os.listdir("/proc/self/fd"))
        with mock.patch("fcntl.fcntl", side_effect=PermissionError(errno.EPERM, "no")) as asked:
            for now in (100.0, 101.0, 100.0 + RETRY_S):
                self.now = now
                self.assertIsNone(self.pipes.take())
        self.assertEqual((asked.call_count, self.pipes.refused, self.pipes.made), (2, 3, 0))
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
