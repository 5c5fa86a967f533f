"""A TlsStream in the wild: large and slow, cut off, closed in all its ways, and driven by peers that do not play fair."""

from __future__ import annotations

import errno
import operator
import os
import random
import shutil
import socket
import ssl
import subprocess
from functools import partial
from hashlib import sha256
from select import EPOLLOUT
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost

from tests.net.streams import MIB
from tests.net.tls import NAME, TlsCase
from tests.support import TIMEOUT_S, HalfCloser, Recorder, Recorders
from voltgw.net.sockets import listening_socket
from voltgw.net.tls import stdlib
from voltgw.net.tls.context import best_engine, server_context
from voltgw.net.tls.engine import Engine, TlsBroken
from voltgw.net.tls.handshakes import Shaking
from voltgw.net.tls.stream import TlsStream
from voltgw.values.tls import Version


class Flows(TlsCase):
    """Both directions at once, with pauses at random."""

    def test_ten_mebibytes_both_ways_with_stalls(self) -> None:
        """Every byte arrives, in order, whatever is paused when; what waits stays bounded by the producer's pauses."""
        chance = random.Random(5)
        listener, factory = self.serve()
        client = self.connect(listener)
        self.spin(lambda: factory.built)
        server = factory.built[0]
        data = chance.randbytes(10 * MIB)
        sides = (client, server)
        sources = [Source(side.transport, data, chance) for side in sides]
        for side, source in zip(sides, sources, strict=True):
            side.transport.registerProducer(source, True)
            source.resumeProducing()
        stalled: list[Any] = []
        while min(len(side.data) for side in sides) < len(data):
            if self.wait(0.01):
                self.turn()
            if chance.random() < 0.1:
                side = chance.choice(sides)
                side.transport.pauseProducing()
                stalled.append(side)
            if stalled and chance.random() < 0.3:
                stalled.pop(0).transport.resumeProducing()
            for side in sides:
                self.assertLess(side.transport.unsent, 2 * MIB)
        for side in stalled:                # one that does not read does not notice the end, either
            side.transport.resumeProducing()
        for side in sides:
            self.assertEqual(sha256(side.data).digest(), sha256(data).digest())
            self.assertEqual((side.transport.bytes_in, side.transport.bytes_out), (len(data), len(data)))

    def test_one_large_write(self) -> None:
        """A write of 8 MiB to a peer that begins to read late, then small ones behind it."""
        listener, factory = self.serve()
        stranger = self.stranger(listener)
        self.until_done(stranger.do_handshake)
        self.spin(lambda: factory.built)
        data = random.Random(1).randbytes(8 * MIB)
        transport = factory.built[0].transport
        transport.write(data)
        for _ in range(100):
            transport.write(b"tail.")
        self.assert_quiet(60)
        self.assertGreater(transport.unsent, MIB)
        transport.loseConnection()
        heard = bytearray()
        while True:
            piece = self.until_done(lambda: stranger.recv(MIB))
            if not piece:
                break
            heard += piece
        self.assertEqual(sha256(heard).digest(), sha256(data + b"tail." * 100).digest())
        self.spin(lambda: factory.built[0].reason)
        self.assertIsInstance(factory.built[0].reason.value, ConnectionDone)


class Source:
    """A push producer of `data` in pieces of random size."""

    def __init__(self, transport: Any, data: bytes, chance: random.Random) -> None:
        self.transport, self.data, self.chance = transport, data, chance
        self.at = 0
        self.paused = True

    def resumeProducing(self) -> None:
        """Write until paused."""
        self.paused = False
        while not self.paused and self.at < len(self.data):
            size = self.chance.choice((1, 100, 16_384, 16_385, 100_000, 700_000))
            piece, self.at = self.data[self.at:self.at + size], self.at + size
            self.transport.write(piece)

    def pauseProducing(self) -> None:
        """Enough."""
        self.paused = True

    def stopProducing(self) -> None:
        """The end."""
        self.paused = True


class PendingTests(TlsCase):
    """Bytes inside the library, of which the kernel knows nothing."""

    def test_a_request_that_comes_with_the_end_of_the_handshake(self) -> None:
        """It is delivered though no further byte comes."""
        listener, factory = self.serve()
        client = self.connect(listener, protocol=Talker(b"GET / HTTP/1.1\r\n\r\n"))
        self.spin(lambda: factory.built and factory.built[0].data)
        self.assertEqual(factory.built[0].data, b"GET / HTTP/1.1\r\n\r\n")
        del client

    def test_a_pause_with_bytes_inside(self) -> None:
        """While paused nothing is delivered, after it all is; neither spins."""
        listener, factory = self.serve(factory=Recorders(lambda: Recorder(pause_once)))
        client = self.connect(listener)
        self.spin(lambda: factory.built)
        server = factory.built[0]
        server.transport.read_at_most(1000)
        client.transport.write(b"x" * 5000)
        self.spin(lambda: server.data)
        self.assert_quiet()
        self.assertLess(len(server.data), 5000)
        server.reaction = None
        server.transport.resumeProducing()
        self.spin(lambda: len(server.data) == 5000)
        self.assert_quiet()


class Partial(TlsCase):
    def test_half_a_record(self) -> None:
        """The beginning of a record, alone or behind whole ones, waits for its end without anybody looking at it."""
        listener, factory = self.serve()
        client = self.connect(listener)
        self.spin(lambda: factory.built)
        server = factory.built[0]
        client.transport.write(b"whole")
        os.write(client.transport._fd, b"\x17\3\3\x40\0" + bytes(100))
        self.spin(lambda: server.data)
        self.assert_quiet()
        os.write(client.transport._fd, bytes(100))
        self.assert_quiet()
        self.assertIsNone(server.reason)


    def test_a_fin_behind_a_record(self) -> None:
        """What came before a FIN without close_notify is delivered, and nothing is said to a peer that is gone."""
        for version in (Version.TLS_1_2, Version.TLS_1_3):
            listener, factory = self.serve()
            client = self.connect(listener, self.client_tls(minimum=version, maximum=version))
            self.spin(partial(len, factory.built))
            server = factory.built[0]
            before = server.transport.carried()[1]
            client.transport.write(b"last words")
            client.transport._sock.shutdown(socket.SHUT_WR)
            self.spin(partial(getattr, server, "reason"))
            self.assertEqual(server.data, b"last words")
            self.assertIsInstance(server.reason.value, ConnectionLost)
            self.assertEqual(server.reason.value.osError, errno.ECONNRESET)
            self.assertEqual(server.transport.carried()[1], before)     # no alert


class Talker(Recorder):
    """Says something the moment it is connected."""

    def __init__(self, words: bytes) -> None:
        super().__init__()
        self.words = words

    def makeConnection(self, transport: Any) -> None:
        """Connected."""
        super().makeConnection(transport)
        transport.write(self.words)


def pause_once(recorder: Any, data: bytes) -> None:
    """Pause on the first delivery."""
    recorder.transport.pauseProducing()


class EndTests(TlsCase):
    def _pair(self, kind: Any = Recorder, client: Any = None, **fields: Any) -> tuple[Any, Any]:
        listener, factory = self.serve(factory=Recorders(kind))
        peer = self.connect(listener, self.client_tls(**fields), protocol=client)
        self.spin(lambda: factory.built)
        return factory.built[0], peer

    def test_both_say_goodbye(self) -> None:
        """`loseConnection` sends close_notify: the other side's end is a clean one."""
        server, client = self._pair()
        server.transport.write(b"bye")
        server.transport.loseConnection()
        self.spin(lambda: server.reason and client.reason)
        self.assertEqual(client.data, b"bye")
        for side in (server, client):
            self.assertIsInstance(side.reason.value, ConnectionDone)

    def test_a_goodbye_behind_data_and_no_fin(self) -> None:
        """Some peers keep the socket open behind their close_notify: the end is told all the same."""
        listener, factory = self.serve()
        stranger = self.stranger(listener)
        self.until_done(stranger.do_handshake)
        self.spin(lambda: factory.built)
        stranger.send(b"question")
        self.assertRaises(ssl.SSLWantReadError, stranger.unwrap)        # ours has not come yet
        server = factory.built[0]
        self.spin(lambda: server.reason)
        self.assertEqual(server.data, b"question")
        self.assertIsInstance(server.reason.value, ConnectionDone)
        stranger.close()

    def test_a_fin_without_goodbye_is_a_loss(self) -> None:
        """Truncation: anybody on the way can send a FIN."""
        server, client = self._pair()
        client.transport._sock.shutdown(socket.SHUT_WR)
        self.spin(lambda: server.reason)
        self.assertIsInstance(server.reason.value, ConnectionLost)
        self.assertIn("close_notify", str(server.reason.value))

    def test_a_reset(self) -> None:
        """`abortConnection` sends RST, which the other side is told of as such."""
        server, client = self._pair()
        client.transport.abortConnection()
        self.spin(lambda: server.reason)
        self.assertIsInstance(server.reason.value, ConnectionLost)

    def test_half_close_by_the_client(self) -> None:
        """After the client's close_notify a server that can go on answering does; in TLS 1.2 and 1.3."""
        for version in (Version.TLS_1_2, Version.TLS_1_3):
            server, client = self._pair(HalfCloser, HalfCloser(), maximum=version)
            client.transport.write(b"question")
            client.transport.loseWriteConnection()
            self.spin(partial(operator.contains, server.events, "eof"))
            self.assertEqual(server.data, b"question")
            server.transport.write(b"answer" * 10_000)
            server.transport.loseConnection()
            self.spin(partial(getattr, client, "reason"))
            self.assertEqual(client.data, b"answer" * 10_000)
            self.assertIsInstance(client.reason.value, ConnectionDone)

    def test_goodbye_to_a_peer_that_does_not_read(self) -> None:
        """The close waits for room, and is cut in the end."""
        server, client = self._pair()
        client.transport.pauseProducing()
        server.transport.write(b"x" * 24 * MIB)
        server.transport.loseConnection()
        self.assert_quiet(60)
        self.advance(61)
        self.spin(lambda: server.reason)
        self.assertIsNotNone(server.reason)

    def test_an_answer_to_one_that_still_sends(self) -> None:
        """We close with bytes unread: the answer arrives whole all the same."""
        listener, factory = self.serve()
        stranger = self.stranger(listener)
        self.until_done(stranger.do_handshake)
        self.spin(lambda: factory.built)
        server = factory.built[0]
        server.transport.pauseProducing()
        stranger.send(b"y" * 10_000)
        stranger.send(b"y" * 10_000)
        server.transport.write(b"no")
        server.transport.loseConnection()
        self.assertEqual(self.until_done(lambda: stranger.recv(10)), b"no")
        self.assertEqual(self.until_done(lambda: stranger.recv(10)), b"")
        stranger.close()
        self.spin(lambda: server.reason)

    def test_an_early_answer_before_a_reset(self) -> None:
        """A peer that answers and resets while we still send: what it said is read all the same."""
        server, client = self._pair()
        client.transport._reading = False       # its answer and its reset have come before we look
        client.transport._want(0)
        server.transport.write(b"early")
        server.transport.abortConnection()
        self.assert_quiet()
        client.transport._reading = True
        client.transport.write(b"x" * MIB)
        self.spin(lambda: client.reason)
        self.assertEqual(client.data, b"early")
        self.assertIsInstance(client.reason.value, ConnectionLost)

    def test_garbage_in_the_middle(self) -> None:
        """Bytes that are no TLS end that connection, and only that one."""
        server, client = self._pair()
        os.write(client.transport._fd, b"this is not a record")
        self.spin(lambda: server.reason)
        self.assertIsInstance(server.reason.value, ConnectionLost)
        self.assertEqual(self.loop.failures, 0)

    def test_the_loop_stops(self) -> None:
        """Everybody is told."""
        server, client = self._pair()
        self.loop.stop()
        self.assertTrue(server.reason and client.reason)


class RudeTests(TlsCase):
    def _openssl(self, listener: Any, *options: str) -> subprocess.Popen[bytes]:
        program = shutil.which("openssl")
        assert program is not None
        process = subprocess.Popen([program, "s_client", "-connect", f"127.0.0.1:{self.port_of(listener)}", "-servername", NAME,
                                    *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(self._reap, process)
        return process

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.communicate()

    def test_renegotiation_is_refused(self) -> None:
        """TLS 1.2: the client that asks for it gets no second handshake."""
        listener, factory = self.serve()
        process = self._openssl(listener, "-tls1_2")
        self.spin(lambda: factory.built)
        steps = self.loop.handshakes.steps
        assert process.stdin is not None
        process.stdin.write(b"R\n")
        process.stdin.flush()
        self.spin(lambda: factory.built[0].reason or process.poll() is not None)
        self.spin(lambda: factory.built[0].reason)
        self.assertEqual(self.loop.handshakes.steps, steps)
        self.assertEqual(factory.built[0].data, b"")

    def test_key_updates_without_end(self) -> None:
        """TLS 1.3 messages without data: a few are served, a flood ends the connection instead of holding the loop."""
        listener, factory = self.serve()
        process = self._openssl(listener, "-tls1_3")
        self.spin(lambda: factory.built)
        assert process.stdin is not None
        for line in (b"K\n", b"hello\n"):
            process.stdin.write(line)
            process.stdin.flush()
            for _ in range(10):             # s_client takes a command only when it stands first in what it reads
                if self.wait(0.02):
                    self.turn()
        self.spin(lambda: b"hello" in factory.built[0].data)
        for _ in range(200):
            try:
                process.stdin.write(b"K\n")
                process.stdin.flush()
            except BrokenPipeError:
                break
            if self.wait(0.02):
                self.turn()
            if factory.built[0].reason:
                break
        self.spin(lambda: factory.built[0].reason)
        self.assertIn("without data", str(factory.built[0].reason.value))


class StdlibFlows(Flows):
    """The same on Python's ssl module."""

    engine: Engine | None = stdlib.Stdlib()


class StdlibEnds(EndTests):
    """The same on Python's ssl module."""

    engine: Engine | None = stdlib.Stdlib()


class StdlibPending(PendingTests):
    """The same on Python's ssl module."""

    engine: Engine | None = stdlib.Stdlib()


class TakenOverTests(TlsCase):
    """TLS on a connection from which somebody has read."""

    def test_what_was_read_comes_first(self) -> None:
        """The beginning of a hello, or all of it; what follows comes from the socket."""
        context = server_context(self.server_tls(), None, best_engine())
        listening = listening_socket("127.0.0.1", 0)
        self._sockets.append(listening)
        for wanted in (1, 5, 100, 5000):
            sock = socket.create_connection(listening.getsockname(), TIMEOUT_S)
            sock.setblocking(False)
            stranger = self.stranger_context().wrap_socket(sock, server_hostname=NAME, do_handshake_on_connect=False)
            self._sockets.append(stranger)
            self.assertRaises(ssl.SSLWantReadError, stranger.do_handshake)
            accepted = listening.accept()[0]
            first = accepted.recv(wanted)
            accepted.setblocking(False)
            server = Recorder(lambda one, data: one.transport.write(data.upper()))
            self.shake(context.accept(accepted, None, first), server)
            self.until_done(stranger.do_handshake)
            stranger.send(b"hello")
            self.assertEqual(self.until_done(partial(stranger.recv, 10)), b"HELLO")
            server.transport.loseConnection()
            self.spin(partial(getattr, server, "reason"))

    def test_a_library_that_cannot(self) -> None:
        """Python's ssl module reads sockets alone."""
        context = server_context(self.server_tls(), None, stdlib.Stdlib())
        near, far = socket.socketpair()
        self._sockets += [near, far]
        self.assertRaises(TlsBroken, context.accept, near, None, b"\x16")

    def shake(self, connection: Any, protocol: Any) -> None:
        """Its handshake, and `protocol` on it."""
        def done(connection: Any, handshake: Any) -> None:
            TlsStream(self.loop, connection, handshake, ("127.0.0.1", 1)).inherit().open(protocol)

        Shaking(self.loop, connection, self.loop.monotonic() + TIMEOUT_S, done, self.fail).start(EPOLLOUT)
