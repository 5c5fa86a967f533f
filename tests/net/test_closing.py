"""All the ways in which a stream ends: by us, by the peer, by half, by reset; and how long closing may take."""

from __future__ import annotations

import errno
import select
import socket
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost

from tests.net.streams import MIB, PLENTY, StreamCase, reset
from tests.support import HalfCloser, Recorder
from voltgw.values.defaults import CLOSE_TIMEOUT_S, LINGER_BYTES, LINGER_TIMEOUT_S


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

    def test_an_error_alone(self) -> None:
        """ERR without more, while nothing is read and bytes wait: it would be told for ever, and is the end."""
        protocol, _ = self.pair()
        protocol.transport.write(b"x" * PLENTY)
        protocol.transport.pauseProducing()
        protocol.transport._ready(select.EPOLLIN)   # an old event of this batch: somebody has just paused us
        self.assertIs(protocol.reason, None)
        protocol.transport._ready(select.EPOLLERR)
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
