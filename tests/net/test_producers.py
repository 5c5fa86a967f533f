"""Producers on a stream: push and pull, paused and resumed, and how they and the end of a stream wait for each other."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone

from tests.net.streams import PLENTY, StreamCase
from voltgw.net.outgoing import LOW_WATER_BYTES
from voltgw.values.defaults import BUFFER_HIGH_WATER_BYTES, CLOSE_TIMEOUT_S


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
