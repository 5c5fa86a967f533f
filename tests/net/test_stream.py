"""`voltgw.net.stream`: sending, closing, half closing, producers, and all the ways in which a peer can go away."""

from __future__ import annotations

import errno
import hashlib
import socket
import struct
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from zope.interface.verify import verifyObject

from tests.support import HalfCloser, Recorder, SteppedLoopCase
from voltgw.net.closing import CLOSE_TIMEOUT_S
from voltgw.net.stream import JOIN_BYTES, LOW_WATER_BYTES, MAX_READ_BYTES, READ_BYTES
from voltgw.values.defaults import BUFFER_HIGH_WATER_BYTES, LINGER_BYTES, LINGER_TIMEOUT_S

MIB = 1 << 20
#: More than any pair of kernel buffers on loopback takes.
PLENTY = 24 * MIB


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class StreamCase(SteppedLoopCase):
    def read_all(self, sock: socket.socket, wanted: int | None = None) -> bytes:
        """What the plain socket gets until the end, or until it has `wanted` bytes, while the loop runs."""
        sock.setblocking(False)
        pieces: list[bytes] = []
        total = 0
        end = [False]

        def more() -> bool:
            nonlocal total
            try:
                while True:
                    data = sock.recv(4 * MIB)
                    pieces.append(data)
                    total += len(data)
                    if not data:
                        end[0] = True
                        return True
            except BlockingIOError:
                return wanted is not None and total >= wanted

        deadline = 0
        while not more():
            self.wait(0.02)
            self.turn()
            deadline += 1
            self.assertLess(deadline, 20_000)
        sock.settimeout(5)
        return b"".join(pieces)


class InterfaceTests(StreamCase):
    def test_interfaces(self) -> None:
        """It provides what it says: ITCPTransport (with ITransport), IConsumer, IPushProducer."""
        protocol, _ = self.pair()
        for interface in (ITCPTransport, IConsumer, IPushProducer):
            verifyObject(interface, protocol.transport)
        protocol.transport.loseConnection()

    def test_addresses_and_options(self) -> None:
        """Both addresses are the kernel's; TCP_NODELAY and keep-alive are on, and can be switched."""
        protocol, sock = self.pair()
        stream = protocol.transport
        peer, host = stream.getPeer(), stream.getHost()
        self.assertEqual((peer.type, peer.host, peer.port), ("TCP", *sock.getsockname()))
        self.assertEqual((host.type, host.host, host.port), ("TCP", *sock.getpeername()))
        self.assertEqual((stream.peer, stream.local), (sock.getsockname(), sock.getpeername()))
        self.assertEqual((stream.getTcpNoDelay(), stream.getTcpKeepAlive()), (True, True))
        stream.setTcpNoDelay(False)
        stream.setTcpKeepAlive(False)
        self.assertEqual((stream.getTcpNoDelay(), stream.getTcpKeepAlive()), (False, False))
        stream.loseConnection()

    def test_the_local_address_outlives_the_connection(self) -> None:
        """Asked once, it is kept; asked for the first time after the end, it is empty rather than an error."""
        protocol, sock = self.pair()
        stream = protocol.transport
        stream._local = None
        local = stream.local
        self.assertEqual(local, sock.getpeername())
        stream.abortConnection()
        self.spin(lambda: protocol.reason)
        self.assertEqual(stream.local, local)
        stream._local = None
        self.assertEqual(stream.local, ("", 0))

    def test_what_twisted_protocols_ask(self) -> None:
        """`connected`, `disconnecting`, `disconnected` mean what they mean on Twisted's transports."""
        protocol, sock = self.pair()
        stream = protocol.transport
        stream.write(b"x" * PLENTY)
        self.assertEqual((stream.connected, stream.disconnecting, stream.disconnected), (True, False, False))
        stream.loseConnection()
        self.assertEqual((stream.connected, stream.disconnecting, stream.disconnected), (True, True, False))
        sock.close()
        self.spin(lambda: protocol.reason)
        self.assertEqual((stream.connected, stream.disconnected), (False, True))

    def test_another_protocol_in_mid_stream(self) -> None:
        """`protocol` may be set, as on Twisted's transports; the new one hears the rest and the end."""
        first, sock = self.pair()
        second = Recorder()
        self.assertIs(first.transport.protocol, first)
        first.transport.protocol = second
        sock.sendall(b"x")
        self.spin(lambda: second.data)
        first.transport.loseConnection()
        self.spin(lambda: second.reason)
        self.assertEqual((first.events, second.events), (["made"], ["data", "lost"]))


class WriteTests(StreamCase):
    def test_at_once(self) -> None:
        """What the kernel takes is sent before `write` returns; nothing waits."""
        protocol, sock = self.pair()
        protocol.transport.write(b"hello ")
        protocol.transport.writeSequence([b"wor", b"ld"])
        protocol.transport.write(b"")
        self.assertEqual(sock.recv(100), b"hello world")
        self.assertEqual((protocol.transport.unsent, protocol.transport.bytes_out), (0, 11))
        protocol.transport.loseConnection()

    def test_more_than_the_kernel_takes(self) -> None:
        """The rest waits, goes out in order when there is room, and later writes go behind it."""
        protocol, sock = self.pair()
        stream = protocol.transport
        sent = hashlib.sha256()
        for number in range(48):
            data = bytes([number]) * (MIB // 2)
            sent.update(data)
            stream.write(data)
        for number in range(1000):
            data = b"%d," % number
            sent.update(data)
            stream.write(data)
        self.assertGreater(stream.unsent, 0)
        stream.loseConnection()
        self.assertEqual(hashlib.sha256(self.read_all(sock)).digest(), sent.digest())
        self.spin(lambda: protocol.reason)
        self.assertEqual(protocol.events, ["made", "lost"])

    def test_small_pieces_that_wait_are_joined(self) -> None:
        """Ten thousand small writes behind a full kernel need few sends, none of them larger than needed to be copied."""
        protocol, sock = self.pair()
        stream = protocol.transport
        stream.write(b"x" * PLENTY)
        for _ in range(10_000):
            stream.write(b"0123456789")
        sends: list[int] = []
        real = stream._send

        def send(data: Any) -> int:
            sends.append(len(data))
            sent: int = real(data)
            return sent

        stream._send = send
        self.read_all(sock, PLENTY + 100_000)
        self.assertEqual(stream.unsent, 0)
        self.assertLess(len([size for size in sends if size <= JOIN_BYTES]), 50)
        stream.loseConnection()

    def test_a_large_piece_is_not_copied_again_for_every_send(self) -> None:
        """The rest of a large write is a view of it, so that sending n bytes does not cost n squared."""
        protocol, sock = self.pair()
        stream = protocol.transport
        data = b"x" * PLENTY
        stream.write(data)
        self.assertIs(stream._out[0].obj, data)
        sock.recv(4 * MIB)
        self.spin(lambda: stream.unsent < PLENTY - stream.bytes_out + 1 and stream._out[0].obj is data)
        stream.abortConnection()

    def test_not_bytes(self) -> None:
        """Text is a TypeError, whether or not the kernel has room."""
        protocol, _ = self.pair()
        self.assertRaises(TypeError, protocol.transport.write, "text")
        protocol.transport.write(b"x" * PLENTY)
        self.assertRaises(TypeError, protocol.transport.write, "text")
        protocol.transport.abortConnection()

    def test_after_the_end(self) -> None:
        """Writing to a stream that is closing or gone does nothing, and raises nothing."""
        protocol, sock = self.pair()
        protocol.transport.loseConnection()
        protocol.transport.write(b"late")
        self.spin(lambda: protocol.reason)
        protocol.transport.write(b"later")
        self.assertEqual(sock.recv(100), b"")

    def test_aborted_while_a_producer_is_resumed(self) -> None:
        """A producer that aborts its own consumer in the middle of a flush: nothing is written to the dead stream."""
        protocol, sock = self.pair()
        stream = protocol.transport

        class Producer:
            def pauseProducing(self) -> None:
                pass

            def resumeProducing(self) -> None:
                stream.abortConnection()
                stream.write(b"late")

            def stopProducing(self) -> None:
                pass

        stream.registerProducer(Producer(), True)
        stream.write(b"x" * PLENTY)
        with self.assertRaises(ConnectionResetError):
            self.read_all(sock)
        self.spin(lambda: protocol.reason)
        stream.write(b"later")
        self.assertEqual(stream.unsent, 0)


class ReadTests(StreamCase):
    def test_reads_grow_and_shrink(self) -> None:
        """A stream that is always full reads more at a time, up to its limit; small messages bring it back."""
        sizes: list[int] = []
        protocol, sock = self.pair(Recorder(lambda _, data: sizes.append(len(data))))
        sock.setblocking(False)
        for _ in range(200):
            try:
                sock.send(b"x" * MIB)
            except BlockingIOError:
                pass
            self.turn()
        self.assertEqual(max(sizes), MAX_READ_BYTES)
        self.spin(lambda: not self.wait(0))
        for _ in range(10):
            sock.send(b"x")
            self.spin(lambda: sizes[-1] == 1)
            sizes[-1] = 0
        self.assertEqual(protocol.transport._read_bytes, READ_BYTES)
        protocol.transport.loseConnection()

    def test_paused(self) -> None:
        """A paused stream reads nothing, however much waits, and does not keep the loop awake; resumed, it reads all."""
        protocol, sock = self.pair()
        protocol.transport.pauseProducing()
        protocol.transport.pauseProducing()
        sock.sendall(b"x" * 1000)
        self.assert_quiet()
        self.assertEqual(protocol.data, b"")
        protocol.transport.resumeProducing()
        self.spin(lambda: len(protocol.data) == 1000)
        protocol.transport.loseConnection()

    def test_delivered_elsewhere(self) -> None:
        """`deliver_to` hands what is read straight to a relay's other side, and allows larger reads."""
        protocol, sock = self.pair()
        other: list[bytes] = []
        protocol.transport.deliver_to(other.append)
        sock.sendall(b"x")
        self.spin(lambda: other)
        self.assertEqual((other, protocol.data), ([b"x"], b""))
        self.assertEqual(protocol.transport.max_read_bytes, MIB)
        protocol.transport.loseConnection()

    def test_counts(self) -> None:
        """`bytes_in` and `bytes_out` are what the kernel gave and took."""
        protocol, sock = self.pair()
        sock.sendall(b"x" * 12345)
        self.spin(lambda: len(protocol.data) == 12345)
        protocol.transport.write(b"y" * PLENTY)
        stream = protocol.transport
        self.assertEqual((stream.bytes_in, stream.bytes_out + stream.unsent), (12345, PLENTY))
        stream.abortConnection()


class CloseTests(StreamCase):
    def test_by_us(self) -> None:
        """What was written arrives, then FIN; `connectionLost(ConnectionDone)` comes later, not from inside the call."""
        protocol, sock = self.pair()
        protocol.transport.write(b"bye")
        protocol.transport.loseConnection()
        self.assertIs(protocol.reason, None)
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionDone))
        self.assertEqual((sock.recv(10), sock.recv(10)), (b"bye", b""))

    def test_by_us_with_bytes_unsent_and_bytes_unread(self) -> None:
        """All that was written arrives although the peer still says something, which is not delivered any more."""
        protocol, sock = self.pair()
        protocol.transport.write(b"x" * PLENTY)
        protocol.transport.loseConnection()
        sock.sendall(b"unheard")
        self.turn()
        self.assertEqual(protocol.data, b"")
        self.assertIs(protocol.reason, None)
        self.assertEqual(len(self.read_all(sock)), PLENTY)
        sock.close()
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionDone))

    def test_by_us_while_the_peer_goes_on_talking(self) -> None:
        """Closing with bytes unread would be RST, and what was sent last might be lost: we send FIN and read on, but only
        so long and so much.
        """
        for pause, enough in ((LINGER_TIMEOUT_S + 1, 1), (0, LINGER_BYTES + MIB)):
            protocol, sock = self.pair()
            protocol.transport.pauseProducing()
            sock.sendall(b"x" * 100)
            self.turn()
            protocol.transport.write(b"answer")
            protocol.transport.loseConnection()
            protocol.transport.pauseProducing()     # too late: nobody is asked any more
            self.assertEqual((sock.recv(100), sock.recv(100)), (b"answer", b""))
            self.assertIs(protocol.reason, None)
            sock.setblocking(False)
            while enough > 0 and protocol.reason is None:
                try:
                    enough -= sock.send(b"x" * min(enough, MIB))
                except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                    enough -= 0 if protocol.reason is None else enough
                self.turn()
            self.advance(pause)
            self.spin(lambda: protocol.reason)      # noqa: B023
            self.assertTrue(protocol.reason.check(ConnectionDone))
            self.assertEqual(protocol.data, b"")

    def test_by_us_while_the_peer_ends_with_bytes_unread(self) -> None:
        """The peer's own FIN ends the lingering, its reset does, too."""
        for end in (socket.socket.close, reset):
            protocol, sock = self.pair()
            protocol.transport.pauseProducing()
            sock.sendall(b"x" * 100)
            self.turn()
            protocol.transport.loseConnection()
            self.assertEqual(sock.recv(100), b"")
            self.turn()
            self.assertIs(protocol.reason, None)
            end(sock)
            self.spin(lambda: protocol.reason)      # noqa: B023
            self.assertEqual(self.loop.open, 0)

    def test_a_reader_that_is_gone_does_not_linger(self) -> None:
        """`stopProducing` with bytes unread: nobody wants to hear more, and the peer may know it (RST)."""
        protocol, sock = self.pair()
        protocol.transport.pauseProducing()
        sock.sendall(b"x" * 100)
        self.turn()
        protocol.transport.stopProducing()
        self.spin(lambda: protocol.reason)
        self.assertRaises(ConnectionResetError, sock.recv, 1)

    def test_by_us_while_the_peer_never_reads(self) -> None:
        """The wait for unsent bytes ends when the peer takes none of them for `CLOSE_TIMEOUT_S`; then it is cut."""
        protocol, _ = self.pair()
        protocol.transport.write(b"x" * PLENTY)
        protocol.transport.loseConnection()
        self.advance(CLOSE_TIMEOUT_S - 1)
        self.assertIs(protocol.reason, None)
        self.advance(2)
        self.assertTrue(protocol.reason.check(ConnectionAborted))
        self.assertEqual(self.loop.open, 0)

    def test_by_us_while_the_peer_reads_slowly(self) -> None:
        """A peer that takes something every now and then is waited for, as long as it needs."""
        protocol, sock = self.pair()
        protocol.transport.write(b"x" * PLENTY)
        protocol.transport.loseConnection()
        for _ in range(4):
            sent = protocol.transport.bytes_out
            while protocol.transport.bytes_out == sent:
                sock.recv(MIB)
                self.wait(0.01)
                self.turn()
            self.advance(CLOSE_TIMEOUT_S * 0.9)
            self.assertIs(protocol.reason, None)
        self.assertEqual(len(self.loop.deadlines), 1)
        reset(sock)
        self.spin(lambda: protocol.reason)
        self.advance(5)
        self.assertEqual(len(self.loop.deadlines), 0)       # the end is not kept in memory for the rest of the wait

    def test_by_us_while_the_peer_sends(self) -> None:
        """Closing with bytes unsent does not spin although more arrives that nobody reads."""
        protocol, sock = self.pair()
        protocol.transport.write(b"x" * PLENTY)
        protocol.transport.loseConnection()
        sock.sendall(b"y" * 1000)
        self.assert_quiet()
        protocol.transport.abortConnection()

    def test_by_the_peer(self) -> None:
        """Its last bytes are delivered before `connectionLost(ConnectionDone)`."""
        protocol, sock = self.pair()
        sock.sendall(b"last")
        sock.close()
        self.spin(lambda: protocol.reason)
        self.assertEqual((protocol.events, protocol.data), (["made", "data", "lost"], b"last"))
        self.assertTrue(protocol.reason.check(ConnectionDone))

    def test_by_the_peer_with_a_reset(self) -> None:
        """`connectionLost(ConnectionLost)`, which ConnectionDone is not."""
        protocol, sock = self.pair()
        reset(sock)
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionLost))
        self.assertIn("reset", protocol.reason.getErrorMessage())

    def test_aborted(self) -> None:
        """The peer gets RST, what waits is dropped; `connectionLost(ConnectionAborted)` comes later."""
        protocol, sock = self.pair()
        protocol.transport.write(b"x" * PLENTY)
        protocol.transport.abortConnection()
        self.assertEqual(protocol.transport.unsent, 0)
        self.assertIs(protocol.reason, None)
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionAborted))
        self.assertRaises(ConnectionResetError, self.read_all, sock)

    def test_aborted_or_closed_from_inside_data_received(self) -> None:
        """Nothing more is delivered, and the end is told after the call has returned."""
        for end in ("abortConnection", "loseConnection", "stopProducing"):
            def leave(protocol: Recorder, data: bytes, end: str = end) -> None:
                getattr(protocol.transport, end)()
                protocol.transport.write(b"late")
                protocol.note("after")

            protocol, sock = self.pair(Recorder(leave))
            protocol.transport._read_bytes = protocol.transport.max_read_bytes = 10
            sock.sendall(b"x" * 1000)
            self.spin(lambda: protocol.transport.disconnecting or protocol.reason)      # noqa: B023
            sock.close()
            self.spin(lambda: protocol.reason)      # noqa: B023
            self.assertEqual(protocol.events, ["made", "data", "after", "lost"])
            self.assertEqual(len(protocol.data), 10)

    def test_closed_from_inside_make_connection(self) -> None:
        """A protocol that turns the peer away at once: nothing is read, the end is told afterwards."""
        class Turner(Recorder):
            def makeConnection(self, transport: Any) -> None:
                super().makeConnection(transport)
                transport.write(b"no")
                transport.loseConnection()
                self.note("after")

        protocol, sock = self.pair(Turner())
        self.spin(lambda: protocol.reason)
        self.assertEqual(protocol.events, ["made", "after", "lost"])
        self.assertEqual((sock.recv(10), sock.recv(10)), (b"no", b""))

    def test_reset_while_closing(self) -> None:
        """A peer that resets while we wait for our last bytes to go ends the wait."""
        protocol, sock = self.pair()
        protocol.transport.write(b"x" * PLENTY)
        protocol.transport.loseConnection()
        reset(sock)
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionLost))
        self.assert_quiet()

    def test_reset_while_bytes_wait(self) -> None:
        """Unsent bytes are dropped; the end is told once, as a loss."""
        protocol, sock = self.pair()
        protocol.transport.write(b"x" * PLENTY)
        reset(sock)
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionLost))
        self.assertEqual(protocol.transport.unsent, 0)

    def test_reset_while_bytes_wait_and_reading_is_paused(self) -> None:
        """The same when nothing is read: sending tells."""
        protocol, sock = self.pair()
        protocol.transport.write(b"x" * PLENTY)
        protocol.transport.pauseProducing()
        reset(sock)
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionLost))

    def test_written_to_a_peer_that_has_reset(self) -> None:
        """`write` finds out, raises nothing, and the end is told later, from the loop."""
        protocol, sock = self.pair()
        reset(sock)
        protocol.transport.write(b"x")
        protocol.transport.write(b"y")
        self.assertIs(protocol.reason, None)
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionLost))
        self.assertEqual(protocol.events, ["made", "lost"])

    def test_written_to_a_peer_that_has_reset_while_paused(self) -> None:
        """A writer that does not read learns of it, too."""
        protocol, sock = self.pair()
        protocol.transport.pauseProducing()
        reset(sock)
        protocol.transport.write(b"x")
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionLost))

    def test_an_answer_before_the_reset_is_read(self) -> None:
        """A peer answers early, then closes with our bytes unread (which makes RST): its answer is delivered although our
        sending failed, and the end is told as a loss.
        """
        protocol, sock = self.pair()
        protocol.transport.write(b"request")
        sock.sendall(b"answer")
        sock.close()
        protocol.transport.write(b"x" * 1000)
        protocol.transport.write(b"x" * PLENTY)
        self.spin(lambda: protocol.reason)
        self.assertEqual((protocol.events, protocol.data), (["made", "data", "lost"], b"answer"))
        self.assertTrue(protocol.reason.check(ConnectionLost))
        self.assertEqual(protocol.reason.value.osError, errno.ECONNRESET)

    def test_an_answer_before_the_reset_while_bytes_wait(self) -> None:
        """The same when the failure is found while flushing what waits; a large answer is read to its end."""
        protocol, sock = self.pair()
        stream = protocol.transport
        stream._read_bytes = stream.max_read_bytes = 1000
        stream.write(b"x" * PLENTY)
        sock.sendall(b"answer" * 5000)
        sock.close()
        self.spin(lambda: protocol.reason)
        self.assertEqual(len(protocol.data), 30_000)
        self.assertTrue(protocol.reason.check(ConnectionLost))

    def test_paused_after_a_reset_was_found(self) -> None:
        """Whoever stops reading the rest of a stream that was reset gives it up: the end is told at once."""
        protocol, sock = self.pair(Recorder(lambda protocol, data: protocol.transport.pauseProducing()))
        stream = protocol.transport
        stream._read_bytes = stream.max_read_bytes = 100
        sock.sendall(b"x" * 10_000)
        stream.write(b"unread")
        sock.close()
        stream.write(b"x")
        stream.write(b"x")
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionLost))
        self.assertEqual(len(protocol.data), 100)

    def test_reset_while_paused(self) -> None:
        """A hang-up of a stream that wants no events does not spin; resumed, it delivers the rest and then the end."""
        protocol, sock = self.pair()
        protocol.transport.pauseProducing()
        protocol.transport.write(b"unread")
        sock.sendall(b"rest")
        sock.close()                                # with bytes unread: RST
        self.assert_quiet()
        self.assertIs(protocol.reason, None)
        protocol.transport.resumeProducing()
        self.spin(lambda: protocol.reason)
        self.assertEqual((protocol.data, protocol.events[-1]), (b"rest", "lost"))
        self.assertTrue(protocol.reason.check(ConnectionLost))

    def test_closed_by_the_peer_while_paused(self) -> None:
        """FIN while paused: quiet until resumed, then the rest and the end."""
        protocol, sock = self.pair()
        protocol.transport.pauseProducing()
        sock.sendall(b"rest")
        sock.close()
        self.assert_quiet()
        protocol.transport.resumeProducing()
        self.spin(lambda: protocol.reason)
        self.assertEqual(protocol.data, b"rest")
        self.assertTrue(protocol.reason.check(ConnectionDone))

    def test_a_send_error_that_is_no_reset(self) -> None:
        """Any other error of sending ends the stream at once: bytes are missing, and the peer must not take it for whole."""
        protocol, sock = self.pair()

        def send(data: bytes) -> int:
            raise OSError(errno.ENOBUFS, "No buffer space available")

        protocol.transport._send = send
        protocol.transport.write(b"x")
        self.assertTrue(protocol.transport.disconnected)
        self.spin(lambda: protocol.reason)
        self.assertIn("buffer space", protocol.reason.getErrorMessage())
        self.assertEqual(sock.recv(10), b"")

    def test_no_ring_of_references(self) -> None:
        """Once the end was told, the stream lets go of its protocol: neither waits for the garbage collector."""
        protocol, _ = self.pair()
        stream = protocol.transport
        stream.loseConnection()
        self.spin(lambda: protocol.reason)
        self.assertIs(stream.protocol, None)
        self.assertIs(stream._deliver, None)


class HalfCloseTests(StreamCase):
    def test_the_peer_finishes_first(self) -> None:
        """A protocol that knows half-closed connections is told, may still write, and ends when it wants to."""
        protocol, sock = self.pair(HalfCloser())
        sock.sendall(b"question")
        sock.shutdown(socket.SHUT_WR)
        self.spin(lambda: protocol.events[-1] == "eof")
        self.assert_quiet()
        protocol.transport.resumeProducing()        # nothing is left to read: it must not spin on the FIN
        self.assert_quiet()
        protocol.transport.write(b"x" * PLENTY)
        protocol.transport.loseConnection()
        self.assertEqual(len(self.read_all(sock)), PLENTY)
        self.spin(lambda: protocol.reason)
        self.assertEqual(protocol.events, ["made", "data", "eof", "lost"])

    def test_the_peer_finishes_and_the_protocol_does_not_know(self) -> None:
        """A FIN is the end for a protocol without IHalfCloseableProtocol, as in Twisted."""
        protocol, sock = self.pair(Recorder())
        sock.shutdown(socket.SHUT_WR)
        self.spin(lambda: protocol.reason)
        self.assertEqual(protocol.events, ["made", "lost"])
        self.assertEqual(sock.recv(1), b"")

    def test_we_finish_first(self) -> None:
        """FIN goes out behind what waits; the protocol is told; it still hears the peer, and the peer's FIN ends it."""
        protocol, sock = self.pair(HalfCloser())
        protocol.transport.write(b"x" * PLENTY)
        protocol.transport.loseWriteConnection()
        protocol.transport.loseWriteConnection()
        protocol.transport.write(b"dropped")
        self.assertEqual(len(self.read_all(sock)), PLENTY)
        self.spin(lambda: protocol.events[-1] == "write closed")
        sock.sendall(b"answer")
        self.spin(lambda: protocol.data == b"answer")
        sock.close()
        self.spin(lambda: protocol.reason)
        self.assertEqual(protocol.events, ["made", "write closed", "data", "lost"])
        self.assertTrue(protocol.reason.check(ConnectionDone))

    def test_we_finish_first_and_the_protocol_does_not_know(self) -> None:
        """`loseWriteConnection` works for any protocol; nobody is told of the FIN."""
        protocol, sock = self.pair()
        protocol.transport.loseWriteConnection()
        self.assertEqual(sock.recv(1), b"")
        sock.sendall(b"answer")
        sock.close()
        self.spin(lambda: protocol.reason)
        self.assertEqual((protocol.events, protocol.data), (["made", "data", "lost"], b"answer"))

    def test_both_finish_with_bytes_unsent(self) -> None:
        """Our FIN waits for our bytes although the peer's FIN is there; then it is over."""
        protocol, sock = self.pair(HalfCloser())
        protocol.transport.write(b"x" * PLENTY)
        sock.shutdown(socket.SHUT_WR)
        self.spin(lambda: protocol.events[-1] == "eof")
        protocol.transport.loseWriteConnection()
        self.assertEqual(len(self.read_all(sock)), PLENTY)
        self.spin(lambda: protocol.reason)
        self.assertEqual(protocol.events, ["made", "eof", "lost"])

    def test_lost_before_write_connection_lost_was_told(self) -> None:
        """The FIN and the end in one turn: nothing is called after `connectionLost`."""
        protocol, sock = self.pair(HalfCloser())
        sock.shutdown(socket.SHUT_WR)
        protocol.transport.loseWriteConnection()
        protocol.transport.abortConnection()
        self.spin(lambda: protocol.reason)
        self.turn()
        self.assertEqual(protocol.events[-1], "lost")
        self.assertNotIn("write closed", protocol.events)

    def test_half_closed_and_reset(self) -> None:
        """After its FIN the peer resets: the next write learns of it, and nothing spins before."""
        protocol, sock = self.pair(HalfCloser())
        sock.shutdown(socket.SHUT_WR)
        self.spin(lambda: protocol.events[-1] == "eof")
        reset(sock)
        self.assert_quiet()
        protocol.transport.write(b"x")
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionLost))

    def test_half_closed_by_us_and_reset(self) -> None:
        """Our FIN was sent; the peer resets while we read: the end is a loss."""
        protocol, sock = self.pair(HalfCloser())
        protocol.transport.loseWriteConnection()
        self.spin(lambda: protocol.events[-1] == "write closed")
        reset(sock)
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionLost))

    def test_a_half_close_that_comes_after_a_reset(self) -> None:
        """`loseWriteConnection` on a connection that was reset: what the peer said before is read, the end is a loss."""
        protocol, sock = self.pair(HalfCloser())
        protocol.transport.write(b"unread")
        sock.sendall(b"answer")
        sock.close()
        protocol.transport.loseWriteConnection()
        self.spin(lambda: protocol.reason)
        self.assertEqual(protocol.data, b"answer")
        self.assertTrue(protocol.reason.check(ConnectionLost))
        self.assertEqual(protocol.reason.value.osError, errno.ECONNRESET)

    def test_closed_after_a_half_close(self) -> None:
        """`loseConnection` behind `loseWriteConnection` ends both halves, once the bytes are out."""
        protocol, sock = self.pair(HalfCloser())
        protocol.transport.write(b"x" * PLENTY)
        protocol.transport.loseWriteConnection()
        protocol.transport.loseConnection()
        self.assertEqual(len(self.read_all(sock)), PLENTY)
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionDone))


class Source:
    """A producer that writes down what it is told."""

    def __init__(self, consumer: Any = None, pieces: int = 0, size: int = 1000) -> None:
        self.told: list[str] = []
        self.consumer = consumer
        self.pieces = pieces
        self.size = size

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def stopProducing(self) -> None:
        self.told.append("stop")

    def resumeProducing(self) -> None:
        self.told.append("resume")
        if self.consumer is not None:
            if self.pieces:
                self.pieces -= 1
                self.consumer.write(b"x" * self.size)
            else:
                self.consumer.unregisterProducer()


class ProducerTests(StreamCase):
    def test_paused_and_resumed(self) -> None:
        """It is paused once more than the high-water mark waits, and resumed when little is left: each once."""
        protocol, sock = self.pair()
        stream, source = protocol.transport, Source()
        stream.registerProducer(source, True)
        stream.write(b"x" * PLENTY)
        self.assertEqual(source.told, ["pause"])
        stream.write(b"x" * PLENTY)
        self.assertEqual(source.told, ["pause"])
        self.read_all(sock, 2 * PLENTY)
        self.assertEqual(source.told, ["pause", "resume"])
        self.assertLessEqual(stream.unsent, LOW_WATER_BYTES)
        stream.unregisterProducer()
        stream.loseConnection()

    def test_not_paused_below_the_mark(self) -> None:
        """Up to the high-water mark may wait."""
        protocol, sock = self.pair()
        stream, source = protocol.transport, Source()
        stream._blocked = True                      # as if the kernel were full
        stream.registerProducer(source, True)
        stream.write(b"x" * BUFFER_HIGH_WATER_BYTES)
        self.assertEqual(source.told, [])
        stream.write(b"x")
        self.assertEqual(source.told, ["pause"])
        self.assertEqual(len(self.read_all(sock, BUFFER_HIGH_WATER_BYTES + 1)), BUFFER_HIGH_WATER_BYTES + 1)
        stream.abortConnection()

    def test_registered_when_too_much_waits_already(self) -> None:
        """It is paused at once."""
        protocol, _ = self.pair()
        source = Source()
        protocol.transport.write(b"x" * PLENTY)
        protocol.transport.registerProducer(source, True)
        self.assertEqual(source.told, ["pause"])
        protocol.transport.abortConnection()
        self.spin(lambda: protocol.reason)
        self.assertEqual(source.told, ["pause", "stop"])

    def test_two_at_once(self) -> None:
        """A second one is refused (RuntimeError), as Twisted does; after the first has left it is welcome."""
        protocol, _ = self.pair()
        stream = protocol.transport
        stream.registerProducer(Source(), True)
        self.assertRaises(RuntimeError, stream.registerProducer, Source(), True)
        stream.unregisterProducer()
        stream.registerProducer(Source(), True)
        stream.unregisterProducer()
        stream.loseConnection()

    def test_registered_after_the_end(self) -> None:
        """It is stopped at once."""
        protocol, _ = self.pair()
        source = Source()
        protocol.transport.abortConnection()
        protocol.transport.registerProducer(source, True)
        self.assertEqual(source.told, ["stop"])

    def test_stopped_before_the_protocol_is_told(self) -> None:
        """When the consumer is lost its producer is stopped, then `connectionLost` is called, as in Twisted."""
        order: list[str] = []
        protocol, sock = self.pair()
        source = Source()
        source.stopProducing = lambda: order.append("stop")                 # type: ignore[method-assign]
        protocol.transport.registerProducer(source, True)
        protocol.note = order.append
        sock.close()
        self.spin(lambda: protocol.reason)
        self.assertEqual(order, ["stop", "lost"])

    def test_a_producer_that_raises_when_stopped(self) -> None:
        """The protocol is told all the same, and the counts are right."""
        protocol, sock = self.pair()
        protocol.transport.registerProducer(object(), True)
        sock.close()
        self.spin(lambda: protocol.reason)
        self.assertEqual(self.loop.open, 0)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_closing_does_not_wait_for_a_push_producer(self) -> None:
        """`loseConnection` with a push producer closes once nothing waits, as Twisted's TCP transport does: stock relays
        never unregister.
        """
        for waiting in (0, PLENTY):
            protocol, sock = self.pair()
            stream, source = protocol.transport, Source()
            stream.registerProducer(source, True)
            stream.write(b"x" * waiting)
            stream.loseConnection()
            self.assertEqual(len(self.read_all(sock)), waiting)
            self.spin(lambda: protocol.reason)      # noqa: B023
            self.assertEqual(source.told[-1], "stop")
            self.assertTrue(protocol.reason.check(ConnectionDone))

    def test_closing_waits_for_a_pull_producer(self) -> None:
        """`loseConnection` with a pull producer: it may finish, and its unregistering closes."""
        protocol, sock = self.pair()
        stream, source = protocol.transport, Source()
        stream.registerProducer(source, False)
        stream.loseConnection()
        sock.sendall(b"unheard")
        self.assert_quiet()
        stream.write(b"the rest")
        self.spin(lambda: not stream.unsent)
        self.assertIs(protocol.reason, None)
        stream.unregisterProducer()
        self.assertEqual((sock.recv(100), sock.recv(100)), (b"the rest", b""))
        sock.close()
        self.spin(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionDone))
        self.assertEqual(protocol.data, b"")

    def test_closing_with_a_paused_push_producer(self) -> None:
        """It is resumed when there is room; what it writes at once still goes out, and then the stream closes."""
        protocol, sock = self.pair()
        stream = protocol.transport
        stream.registerProducer(Source(stream, 1), True)
        stream.write(b"x" * PLENTY)
        stream.loseConnection()
        self.assertEqual(len(self.read_all(sock)), PLENTY + 1000)
        self.spin(lambda: protocol.reason)

    def test_closing_with_a_producer_that_never_ends(self) -> None:
        """Nor writes: it is given up like a peer that takes nothing, and keeps nobody awake until then."""
        protocol, _ = self.pair()
        source = Source()
        protocol.transport.registerProducer(source, False)
        protocol.transport.loseConnection()
        self.assert_quiet()
        self.advance(CLOSE_TIMEOUT_S + 1)
        self.assertTrue(protocol.reason.check(ConnectionAborted))
        self.assertEqual(source.told, ["resume", "stop"])

    def test_pulled_when_it_has_nothing_yet(self) -> None:
        """A pull producer that writes only later is asked again once that has gone out; meanwhile nothing spins."""
        protocol, sock = self.pair()
        stream, source = protocol.transport, Source()
        stream.registerProducer(source, False)
        self.assert_quiet()
        self.assertEqual(source.told, ["resume"])
        stream.write(b"late")
        self.spin(lambda: source.told == ["resume"] * 2)
        self.assertEqual(sock.recv(10), b"late")
        stream.unregisterProducer()
        stream.write(b"direct")
        self.assertEqual((stream.unsent, sock.recv(10)), (0, b"direct"))
        stream.loseConnection()

    def test_unregistered_while_bytes_wait(self) -> None:
        """Whoever left hears nothing more; what it wrote still goes out."""
        protocol, sock = self.pair()
        stream, source = protocol.transport, Source()
        stream.registerProducer(source, True)
        stream.write(b"x" * PLENTY)
        stream.unregisterProducer()
        stream.loseConnection()
        self.assertEqual(len(self.read_all(sock)), PLENTY)
        self.spin(lambda: protocol.reason)
        self.assertEqual(source.told, ["pause"])

    def test_pulled(self) -> None:
        """A pull producer is asked for one piece a turn while nothing waits, and not from inside `registerProducer`."""
        protocol, sock = self.pair()
        stream = protocol.transport
        source = Source(stream, 5)
        stream.registerProducer(source, False)
        self.assertEqual(source.told, [])
        turns = self.loop.turns
        self.spin(lambda: stream._producer is None)
        self.assertEqual(source.told, ["resume"] * 6)
        self.assertGreaterEqual(self.loop.turns - turns, 6)
        stream.loseConnection()
        self.assertEqual(len(self.read_all(sock)), 5000)

    def test_pulled_while_the_kernel_is_full(self) -> None:
        """It is asked again only when what it gave has gone out, then once."""
        protocol, sock = self.pair()
        stream = protocol.transport
        source = Source(stream, 3, PLENTY)
        stream.registerProducer(source, False)
        self.spin(lambda: stream.unsent)
        self.assert_quiet()
        self.assertEqual(source.told, ["resume"])
        stream.loseConnection()                     # it may finish
        self.assertEqual(len(self.read_all(sock)), 3 * PLENTY)
        self.spin(lambda: protocol.reason)
        self.assertEqual(source.told, ["resume"] * 4)

    def test_pull_producers_one_after_the_other(self) -> None:
        """One that registers its successor from inside `resumeProducing` does not double the pace."""
        protocol, sock = self.pair()
        stream = protocol.transport
        second = Source(stream, 50, 1)

        class First(Source):
            def resumeProducing(self) -> None:
                stream.unregisterProducer()
                stream.registerProducer(second, False)

        stream.registerProducer(First(), False)
        self.turn()
        for _ in range(10):
            before = len(second.told)
            self.turn()
            self.assertLessEqual(len(second.told), before + 1)
        self.assertGreater(len(second.told), 5)
        stream.abortConnection()
        self.spin(lambda: protocol.reason)
        sock.close()

    def test_a_stream_as_producer(self) -> None:
        """`stopProducing` closes it: its reader is gone for good."""
        protocol, sock = self.pair()
        protocol.transport.stopProducing()
        self.spin(lambda: protocol.reason)
        self.assertEqual(sock.recv(1), b"")
