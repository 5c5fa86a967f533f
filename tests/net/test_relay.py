"""Back-pressure: what a relay of two streams holds when one side does not read."""

from __future__ import annotations

import hashlib
import socket
from typing import Any

from twisted.internet.protocol import Factory
from twisted.protocols.portforward import Proxy

from tests.support import HalfCloser, SteppedLoopCase
from voltgw.net.stream import RELAY_READ_BYTES, Stream
from voltgw.values.defaults import BUFFER_HIGH_WATER_BYTES

MIB = 1 << 20


class Side(HalfCloser):
    """One side of a relay; it passes a FIN on, and ends when the other does."""

    other: Side

    def readConnectionLost(self) -> None:
        """Pass it on."""
        super().readConnectionLost()
        self.other.transport.loseWriteConnection()

    def connectionLost(self, reason: Any) -> None:
        """Both end."""
        super().connectionLost(reason)
        self.other.transport.loseConnection()


class RelayTests(SteppedLoopCase):
    def relay(self, direct: bool) -> tuple[list[Side], list[socket.socket]]:
        """Two streams joined to a relay, and the plain sockets at both ends; `direct` as `proxy.tcp` does it."""
        sides, socks = [], []
        for _ in range(2):
            side, sock = self.pair(Side())
            sock.setblocking(False)
            sides.append(side)
            socks.append(sock)
        for side, other in (sides, sides[::-1]):
            side.other = other
            other.transport.registerProducer(side.transport, True)
            if direct:
                side.transport.deliver_to(other.transport.write)
            else:
                side.reaction = lambda side, data: side.other.transport.write(data)
        return sides, socks

    def send_some(self, sock: socket.socket, data: memoryview) -> int:
        try:
            return sock.send(data)
        except BlockingIOError:
            return 0

    def receive_some(self, sock: socket.socket) -> bytes | None:
        try:
            return sock.recv(4 * MIB)
        except BlockingIOError:
            return None

    def test_64_mib_while_the_reader_stalls(self) -> None:
        """Never more than the high-water mark and one read are held, whether the reader stands still or reads in fits; the
        writer is stopped by its own kernel; every byte arrives, in order; the other direction is as free as before.
        """
        total = 64 * MIB
        block = memoryview(hashlib.sha512(b"block").digest() * (MIB // 64))
        for direct, read_bytes in ((True, RELAY_READ_BYTES), (False, 256 * 1024)):
            sides, (writer, reader) = self.relay(direct)
            stream: Stream = sides[1].transport
            sent = received = most = stalls = 0
            given, got = hashlib.sha256(), hashlib.sha256()
            stalled = 0                                 # turns without progress since the reader has stopped reading
            while received < total:
                count = self.send_some(writer, block[sent % MIB:sent % MIB + min(MIB, total - sent)]) if sent < total else 0
                given.update(block[sent % MIB:sent % MIB + count])
                sent += count
                self.wait(0.001)
                self.turn()
                most = max(most, stream.unsent)
                stalled = 0 if count else stalled + 1
                held_up = not sides[0].transport._reading
                if (stalled < 4 or not (stalls or held_up)) and sent < total:
                    continue                            # the reader stands still until nothing moves, at first because we do not read
                stalls += 1
                self.assertFalse(sides[0].transport._reading and stream.unsent > BUFFER_HIGH_WATER_BYTES)
                for _ in range(8):
                    data = self.receive_some(reader)
                    if data is None:
                        break
                    got.update(data)
                    received += len(data)
            self.assertEqual((received, got.digest()), (total, given.digest()))
            self.assertGreater(stalls, 2)
            self.assertGreater(most, BUFFER_HIGH_WATER_BYTES)
            self.assertLessEqual(most, BUFFER_HIGH_WATER_BYTES + read_bytes)
            reader.send(b"answer")
            self.turn()
            writer.settimeout(5)
            self.assertEqual(writer.recv(100), b"answer")
            self.end(sides, [writer, reader])

    def test_a_stalled_relay_sleeps(self) -> None:
        """While the reader stands still nothing is ready: neither the full writer nor the full reader keeps a core busy."""
        sides, (writer, reader) = self.relay(True)
        block = memoryview(b"x" * MIB)
        idle = 0
        while idle < 5 or sides[0].transport._reading:      # bounded by what the kernel holds, which is not endless
            idle = 0 if self.send_some(writer, block) else idle + 1
            self.wait(0.001)
            self.turn()
        self.assert_quiet()
        self.assertFalse(sides[0].transport._reading)
        self.end(sides, [writer, reader])

    def test_fin_behind_64_kib_that_wait(self) -> None:
        """A half-close passes behind what is held; the answer still comes back through the other half."""
        sides, (writer, reader) = self.relay(True)
        writer.setblocking(True)
        writer.sendall(b"question" * 8192)
        writer.shutdown(socket.SHUT_WR)
        heard = bytearray()

        def all_heard() -> bool:
            data = self.receive_some(reader)
            heard.extend(data or b"")
            return data == b""

        self.spin(all_heard)
        self.assertEqual(heard, b"question" * 8192)
        reader.sendall(b"answer")
        reader.close()
        self.spin(lambda: all(side.reason for side in sides))
        self.assertEqual((writer.recv(100), writer.recv(100)), (b"answer", b""))

    def end(self, sides: list[Side], socks: list[socket.socket]) -> None:
        for sock in socks:
            sock.close()
        self.spin(lambda: all(side.reason for side in sides))

    def test_twisteds_own_relay_on_our_streams(self) -> None:
        """portforward.Proxy, which registers each transport with the other, holds no more than ours does."""
        sides = []
        socks = []
        for _ in range(2):
            factory = Factory.forProtocol(Proxy)
            factory.noisy = False
            built: list[Any] = []
            factory.buildProtocol = lambda addr, built=built: built.append(Proxy()) or built[-1]    # type: ignore[method-assign, misc]
            listener = self.listen(factory)
            sock = self.socket(listener)
            self.spin(lambda built=built: built)            # type: ignore[misc]
            sock.setblocking(False)
            sides.append(built[0])
            socks.append(sock)
        for side, other in (sides, sides[::-1]):
            side.setPeer(other)
            side.transport.registerProducer(other.transport, True)
        block = memoryview(b"x" * MIB)
        idle = most = 0
        while idle < 5 or sides[0].transport._reading:      # bounded by what the kernel holds, which is not endless
            idle = 0 if self.send_some(socks[0], block) else idle + 1
            self.wait(0.001)
            self.turn()
            most = max(most, sides[1].transport.unsent)
        self.assertGreater(most, 0)
        self.assertLessEqual(most, BUFFER_HIGH_WATER_BYTES + 256 * 1024)
        self.assert_quiet()
        for sock in socks:
            sock.close()
        self.spin(lambda: self.loop.open == 0)
