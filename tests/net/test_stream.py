"""`voltgw.net.stream`: what it is, sending and reading."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from zope.interface.verify import verifyObject

from tests.net.streams import MIB, PLENTY, StreamCase
from tests.support import Recorder
from voltgw.net.outgoing import JOIN_BYTES
from voltgw.net.stream import MAX_READ_BYTES, READ_BYTES, Stream


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

    def test_released(self) -> None:
        """The socket goes to another stream; the protocol hears nothing of it, and nothing that was on the way is lost."""
        first, sock = self.pair()
        stream = first.transport
        stream.pauseProducing()
        sock.sendall(b"early")
        released = stream.release()
        self.assertEqual((first.events, self.loop.open), (["made"], 0))
        second = Recorder()
        Stream(self.loop, released, stream.peer, stream.local).open(second)
        self.spin(lambda: second.data)
        self.assertEqual((second.data, first.data), (b"early", b""))
        second.transport.loseConnection()
        self.spin(lambda: second.reason)
        self.assertEqual((first.events, self.loop.open), (["made"], 0))

    def test_what_cannot_be_released(self) -> None:
        """A stream with bytes that wait for the kernel, and one that has ended."""
        protocol, sock = self.pair()
        stream = protocol.transport
        stream.write(b"x" * PLENTY)
        self.assertRaises(RuntimeError, stream.release)
        stream.abortConnection()
        self.spin(lambda: protocol.reason)
        self.assertRaises(RuntimeError, stream.release)


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
        for _ in range(3):
            sent = stream.bytes_out
            while stream.bytes_out == sent:
                sock.recv(MIB)
                self.wait(0.01)
                self.turn()
            self.assertIs(stream._out[0].obj, data)
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
        self.assertTrue(stream._blocked)            # what anybody writes now is not even offered to the kernel
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
